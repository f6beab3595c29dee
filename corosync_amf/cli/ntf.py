"""`amf ntf`: notifications and alarms, read, followed and sent by an operator."""

import json
import math
import re
import sys
import time
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import anyio
import click

from .listing import as_data, as_item, is_data, output_option, printable, table, when

if TYPE_CHECKING:
    from corosync_amf.services.ntf import Filter, Notification

TYPES: Final = ("alarm", "security-alarm", "state-change", "object-create-delete", "attribute-change", "miscellaneous")
SEVERITIES: Final = ("critical", "major", "minor", "warning", "indeterminate", "cleared")
NOTIFIER: Final = "safApp=amf-command"
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_COLOURS: Final = {"CRITICAL": "red", "MAJOR": "red", "MINOR": "yellow", "WARNING": "yellow", "CLEARED": "green"}

_types = click.option("--type", "types", type=click.Choice(TYPES), multiple=True, help="Only of this type.")
_objects = click.option("--object", "objects", multiple=True, metavar="DN", help="Only about this object.")


@click.group("ntf")
def command() -> None:
    """Read, follow and send notifications and alarms."""


@command.command("list")
@click.option("--alarms", is_flag=True, help="Only alarms and security alarms.")
@_types
@_objects
@click.option("--since", metavar="TIME", help="Only after it: 90s, 10m, 2h, 1d ago, or 2026-01-31T12:00.")
@click.option("-n", "--count", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@output_option
def list_command(
    alarms: bool, types: tuple[str, ...], objects: tuple[str, ...], since: str | None, count: int, output: str
) -> None:
    """List the last notifications, the youngest at the end."""
    begin = None if since is None else moment(since, time.time())
    if alarms:
        types += TYPES[:2]
    found = anyio.run(_list, types, objects, begin, count)
    shown = as_data(output, [plain(each) for each in found]) if is_data(output) else as_table(found)
    if shown:
        click.echo(shown)


async def _list(
    types: tuple[str, ...], objects: tuple[str, ...], begin: float | None, count: int
) -> "list[Notification]":
    from corosync_amf.errors import NotExist
    from corosync_amf.services import ntf

    search = ntf.SearchCriteria()
    if begin is not None:
        search = ntf.SearchCriteria(ntf.SearchMode.AT_OR_AFTER_TIME, event_time=begin)
    found: list[ntf.Notification] = []
    async with (
        ntf.initialize() as service,
        service.notification_read_initialize(search, _filters(types, objects)) as it,
    ):
        try:
            while len(found) < count:
                found.append(await it.next(ntf.Direction.OLDER))
        except NotExist:
            pass
    return found[::-1]


@command.command("show")
@click.argument("identifier", metavar="ID", type=click.IntRange(1))
@output_option
def show_command(identifier: int, output: str) -> None:
    """Show everything that notification ID says."""
    found = anyio.run(_show, identifier)
    click.echo(as_data(output, plain(found)) if is_data(output) else as_lines(found))


async def _show(identifier: int) -> "Notification":
    from corosync_amf.errors import NotExist
    from corosync_amf.services import ntf

    search = ntf.SearchCriteria(ntf.SearchMode.NOTIFICATION_ID, notification_id=identifier)
    async with ntf.initialize() as service, service.notification_read_initialize(search) as reader:
        try:
            return await reader.next()
        except NotExist:
            raise NotExist(f"no notification {identifier} is kept") from None


@command.command("follow")
@_types
@_objects
@click.option("-n", "--count", type=click.IntRange(1), help="End after so many.")
@output_option
def follow_command(types: tuple[str, ...], objects: tuple[str, ...], count: int | None, output: str) -> None:
    """Print notifications as they come, until interrupted."""
    try:
        anyio.run(_follow, types, objects, count, output)
    except KeyboardInterrupt:
        pass


async def _follow(types: tuple[str, ...], objects: tuple[str, ...], count: int | None, output: str) -> None:
    from corosync_amf.services import ntf

    shown = 0
    async with (
        ntf.initialize() as service,
        service.notification_subscribe(_filters(types, objects) or [ntf.Filter()]) as subscription,
    ):
        click.echo("following", err=True)
        async for each in subscription:
            if isinstance(each, ntf.NotificationDiscarded):
                click.echo(f"{len(each.identifiers)} of type {each.type.name} came too fast and are left out", err=True)
                continue
            click.echo(as_item(output, plain(each)) if is_data(output) else _line(each))
            shown += 1
            if shown == count:
                return


@command.command("send")
@click.argument("about", metavar="OBJECT")
@click.argument("text", default="")
@click.option("--severity", type=click.Choice(SEVERITIES), help="Send an alarm of this severity; cleared: it is over.")
@click.option("--event-type", metavar="NAME", help="Such as application-event, alarm-equipment.")
@click.option("--cause", default="unspecified-reason", show_default=True, metavar="NAME", help="Of an alarm.")
@click.option("--from", "notifier", default=NOTIFIER, show_default=True, metavar="DN", help="Who says it.")
@click.option("--class", "class_id", default="18568,0,0", show_default=True, metavar="VENDOR,MAJOR,MINOR")
def send_command(
    about: str, text: str, severity: str | None, event_type: str | None, cause: str, notifier: str, class_id: str
) -> None:
    """Send a notification about OBJECT and print its id: an alarm with --severity, else a miscellaneous one."""
    from corosync_amf.services import ntf

    parts = class_id.split(",")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise click.BadParameter(f"{class_id!r} is not VENDOR,MAJOR,MINOR", param_hint="--class")
    default = "application-event" if severity is None else "alarm-processing"
    kind = _member(ntf.EventType, event_type or default, "--event-type")
    base = (kind, about, notifier, ntf.ClassId(*map(int, parts)))
    made: ntf.Notification = ntf.Miscellaneous(*base, additional_text=text)
    if severity is not None:
        made = ntf.Alarm(
            *base,
            additional_text=text,
            probable_cause=_member(ntf.ProbableCause, cause, "--cause"),
            perceived_severity=_member(ntf.Severity, severity, "--severity"),
        )
    click.echo(anyio.run(_send, made))


async def _send(made: "Notification") -> int:
    from corosync_amf.services import ntf

    async with ntf.initialize() as service:
        return await service.notification_send(made)


def _member(kind: Any, name: str, option: str) -> Any:
    try:
        return kind[name.upper().replace("-", "_")]
    except KeyError:
        raise click.BadParameter(f"{name!r} is none of its names", param_hint=option) from None


def _filters(types: tuple[str, ...], objects: tuple[str, ...]) -> "list[Filter]":
    from corosync_amf.services.ntf import Filter, NotificationType

    wanted = [_member(NotificationType, name, "--type") for name in types]
    return [Filter(types=wanted, notification_objects=objects)] if wanted or objects else []


# ---- forms


def moment(text: str, now: float) -> float:
    """What --since means: so long ago, or a point of local time, in seconds since the epoch."""
    try:
        if span := _SPAN.fullmatch(text):
            datetime.fromtimestamp(point := now - float(span[1]) * _SECONDS[span[2]])
            return point
        return datetime.fromisoformat(text).timestamp()
    except (OverflowError, ValueError, OSError):
        raise click.BadParameter(f"{text!r} is neither a span like 10m nor a time", param_hint="--since") from None


def severity_of(notification: Any) -> str:
    """The severity of an alarm or a security alarm; empty: there is none."""
    severity = getattr(notification, "perceived_severity", getattr(notification, "severity", None))
    return "" if severity is None else str(severity.name)


def plain(value: Any) -> Any:
    """A notification, or a part of one, for JSON: enumerators by name, bytes in hexadecimal."""
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such numbers
    return value.name if isinstance(value, IntEnum) else value


def as_table(found: "list[Notification]") -> str:
    """One line for each."""
    return table(("ID", "TIME", "EVENT TYPE", "SEVERITY", "OBJECT", "TEXT"), [_row(each) for each in found])


def as_lines(found: "Notification") -> str:
    """One line for each field that says something."""
    shown = {name: value for name, value in plain(found).items() if value not in (None, "", [])}
    shown["event_time"] = when(found.event_time)
    width = max(map(len, shown)) + 2
    lines = [
        f"{name:{width}}{printable(value) if isinstance(value, str) else json.dumps(value)}"
        for name, value in shown.items()
    ]
    return "\n".join([type(found).__name__, *(f"  {line}" for line in lines)])


def _row(notification: "Notification") -> tuple[str, ...]:
    return (
        str(notification.notification_id),
        when(notification.event_time),
        notification.event_type.name.lower().replace("_", "-"),
        severity_of(notification).lower() or "-",
        notification.notification_object,
        " ".join(notification.additional_text.split()),
    )


def _line(notification: "Notification") -> str:
    severity = severity_of(notification)
    line = printable("  ".join(_row(notification))).rstrip()
    return click.style(line, fg=_COLOURS.get(severity)) if severity and sys.stdout.isatty() else line
