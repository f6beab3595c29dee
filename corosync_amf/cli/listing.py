"""What the commands of services print: rows as a table, or the same as data for programs."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import click

FOR_PEOPLE: Final = ("table", "wide")
FOR_PROGRAMS: Final = ("json", "jsonl", "yaml")
_EPOCH: Final = re.compile(r"[0-9]+\.[0-9]{3}")
output_option = click.option(
    "-o",
    "--output",
    type=click.Choice([*FOR_PEOPLE, *FOR_PROGRAMS]),
    default="table",
    show_default=True,
    help="jsonl: a line for each item. wide: as table, where that leaves nothing out.",
)


def is_data(output: str) -> bool:
    """Whether a program reads it."""
    return output in FOR_PROGRAMS


def as_data(output: str, value: Any) -> str:
    """A list or an object as a program wants it."""
    if output == "yaml":
        import yaml

        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000).removesuffix("\n")
    if output == "json":
        return json.dumps(value, indent=2)
    return "\n".join(json.dumps(each) for each in (value if isinstance(value, list) else [value]))


def as_item(output: str, value: Any) -> str:
    """One of those that follow one another, as `as_data`: a line of JSON, or a document of YAML."""
    return f"---\n{as_data(output, value)}" if output == "yaml" else json.dumps(value)


def print_rows(output: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table with a head line, or a list of objects; None is `-` in a table. Of no items jsonl has no lines."""
    shown_rows = as_data(output, named(columns, rows)) if is_data(output) else table(columns, rows)
    if shown_rows:
        click.echo(shown_rows)


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
    if is_data(output):
        click.echo(as_data(output, facts))
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


def dated(line: str) -> str:
    """A line of an object's history: the seconds since the epoch at its beginning as `when`; any other as it is."""
    begin, _, rest = line.partition(" ")
    return f"{when(float(begin))}  {rest}" if _EPOCH.fullmatch(begin) else line


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(printable(str(each)) for each in value) or "-"
    return printable(str(value))
