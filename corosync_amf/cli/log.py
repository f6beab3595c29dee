"""`amf log`: an operator's view of LOG: which streams there are, what stands in them, what they let through."""

import json
from typing import TYPE_CHECKING, Any, Final

import anyio
import click

from .listing import output_option, table

if TYPE_CHECKING:
    from corosync_amf.services.log import StreamStatus

SHORT: Final = ("system", "notification", "alarm")
SEVERITIES: Final = ("emergency", "alert", "critical", "error", "warning", "notice", "info")
_SEVERITY: Final = click.Choice(SEVERITIES, case_sensitive=False)
_STREAM = click.argument("stream")
_LINES = click.option(
    "-n", "--lines", type=click.IntRange(0, 10_000), default=10, show_default=True, help="How many lines, at most."
)


@click.group("log")
def command() -> None:
    """Look at log streams, and write to them.

    STREAM is a stream's name, or one of: system, notification, alarm.
    """


@command.command("list")
@output_option
def list_streams(output: str) -> None:
    """List all streams of the cluster."""
    statuses = anyio.run(_streams, None)
    if output == "json":
        click.echo(json.dumps([shown(status) for status in statuses], indent=2))
        return
    columns = ("STREAM", "FILE", "RECORDS", "BYTES", "WHEN FULL", "OPEN", "LETS THROUGH")
    click.echo(table(columns, [_row(status) for status in statuses]))


@command.command("show")
@_STREAM
@output_option
def show(stream: str, output: str) -> None:
    """Show one stream: its file, how far it is filled, what it lets through."""
    (status,) = anyio.run(_streams, stream)
    fields = shown(status)
    if output == "json":
        click.echo(json.dumps(fields, indent=2))
        return
    width = max(map(len, fields))
    for name, value in fields.items():
        click.echo(f"{name:{width}}  {', '.join(value) if isinstance(value, list) else value}")


@command.command("read")
@_STREAM
@_LINES
def read(stream: str, lines: int) -> None:
    """Print the last lines of a stream's file on this node (64 KiB at most)."""
    anyio.run(_read, stream, lines)


@command.command("follow")
@_STREAM
@_LINES
def follow(stream: str, lines: int) -> None:
    """Print the last lines, and then what is added, until interrupted."""
    try:
        anyio.run(_follow, stream, lines)
    except KeyboardInterrupt:
        pass


@command.command("write")
@_STREAM
@click.argument("text")
@click.option("--severity", type=_SEVERITY, default="info", show_default=True)
def write(stream: str, text: str, severity: str) -> None:
    """Write a record to a stream that exists."""
    anyio.run(_write, stream, text, severity)


@command.command("filter")
@_STREAM
@click.argument("severity", nargs=-1, type=_SEVERITY)
def set_filter(stream: str, severity: tuple[str, ...]) -> None:
    """Let only records of these severities through; without any, all of them."""
    anyio.run(_filter, stream, severity or SEVERITIES)


# ---- what the commands do


def full_name(stream: str) -> str:
    """The name of a stream; the well-known ones have short names."""
    from corosync_amf.services import log

    names = (log.STREAM_SYSTEM, log.STREAM_NOTIFICATION, log.STREAM_ALARM)
    return dict(zip(SHORT, names, strict=True)).get(stream, stream)


async def _streams(stream: str | None) -> "list[StreamStatus]":
    from corosync_amf.services import log

    async with log.initialize(events=log.Callback(0)) as service:
        return await service.streams(None if stream is None else full_name(stream))


async def _read(stream: str, lines: int) -> None:
    from corosync_amf.services import log

    async with log.initialize(events=log.Callback(0)) as service:
        for line in await service.tail(full_name(stream), lines):
            click.echo(line)


async def _follow(stream: str, lines: int) -> None:
    from corosync_amf.services import log

    async with log.initialize(events=log.Callback(0)) as service, service.follow(full_name(stream), lines) as added:
        async for line in added:
            click.echo(line)


async def _write(stream: str, text: str, severity: str) -> None:
    from corosync_amf.services import log

    async with (
        log.initialize(events=log.Callback(0)) as service,
        service.stream_open(full_name(stream)) as opened,
    ):
        await opened.write_log(text, severity=log.Severity[severity.upper()])


async def _filter(stream: str, severities: tuple[str, ...]) -> None:
    from corosync_amf.services import log

    async with log.initialize(events=log.Callback(0)) as service:
        await service.filter_set(full_name(stream), [log.Severity[name.upper()] for name in severities])


# ---- how it looks


def shown(status: "StreamStatus") -> dict[str, Any]:
    """A stream as JSON has it."""
    attributes = status.attributes
    return {
        "name": status.name,
        "file": file_of(status),
        "records": status.records,
        "size": status.size,
        "max_file_size": attributes.max_log_file_size,
        "max_record_size": attributes.max_log_record_size,
        "file_full_action": attributes.log_file_full_action.name.lower(),
        "files_rotated": attributes.max_files_rotated,
        "on_every_node": attributes.ha_property,
        "halted": status.is_halted,
        "opened": status.opened,
        "severities": [severity.name.lower() for severity in status.severities],
        "format": attributes.log_file_fmt,
    }


def file_of(status: "StreamStatus") -> str:
    """The path of the stream's file below the log directory."""
    path = status.attributes.log_file_path_name
    return f"{'' if path == '.' else path + '/'}{status.attributes.log_file_name}.log"


def _row(status: "StreamStatus") -> tuple[str, ...]:
    attributes = status.attributes
    action = attributes.log_file_full_action.name.lower()
    passing = [severity.name.lower() for severity in status.severities]
    return (
        status.name,
        file_of(status),
        str(status.records),
        f"{status.size} of {attributes.max_log_file_size}",
        "HALTED" if status.is_halted else action,
        str(status.opened),
        "all" if len(passing) == len(SEVERITIES) else ",".join(passing) or "nothing",
    )
