"""What the commands of services print: rows as a table, or the same as JSON."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

output_option = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)  # fmt: skip


def print_rows(output: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table with a head line, or a list of objects; None is `-` in a table."""
    click.echo(json.dumps(named(columns, rows), indent=2) if output == "json" else table(columns, rows))


def named(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Each row as an object."""
    keys = [column.lower().replace(" ", "_") for column in columns]
    return [dict(zip(keys, row, strict=True)) for row in rows]


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A head line, and one for each row."""
    return "\n".join(aligned([columns, *[["-" if cell is None else _cell(cell) for cell in row] for row in rows]]))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row, the columns below one another."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def print_facts(output: str, facts: dict[str, Any]) -> None:
    """One thing: a line for each of its facts, or an object."""
    if output == "json":
        click.echo(json.dumps(facts, indent=2))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name.ljust(width)}  {'-' if value is None else _cell(value)}")


def shown(data: bytes) -> str:
    """Bytes for people: as text where they are that, else as a bytes literal."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return repr(data)
    return text if text.isprintable() else repr(data)


def printable(text: str) -> str:
    """Text from applications on one line: what would end it, or speak to the terminal, as `\\n`, `\\x1b` ..."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def when(time: float | None) -> str:
    """A point of local time in words; in seconds since the epoch where the calendar does not reach."""
    if time is None:
        return "-"
    try:
        return datetime.fromtimestamp(time).isoformat(" ", "milliseconds")
    except (OverflowError, ValueError, OSError):
        return f"{time:.0f}"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(printable(str(each)) for each in value) or "-"
    return printable(str(value))
