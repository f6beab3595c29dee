"""`amf msg list|show|send|get|purge|unlink`: an operator's view of MSG."""

from typing import TYPE_CHECKING, Final

import anyio
import click

from .listing import as_data, is_data, output_option, printable, table

if TYPE_CHECKING:
    from corosync_amf.services import msg

LOWEST: Final = 3


@click.group("msg")
def command() -> None:
    """Look at message queues and groups; send, get and discard messages."""


@command.command("list")
@output_option
def list_(output: str) -> None:
    """List the queues and queue groups of the cluster: who has them open, what is in them."""
    anyio.run(_list, output)


async def _list(output: str) -> None:
    from corosync_amf.services import msg

    async with msg.initialize() as service:
        queues, groups = await service.queue_list(), await service.queue_group_list()
    found = [
        {
            "queue": each.name,
            "open_on": None if each.opener is None else each.opener.node,
            "messages": each.messages,
            "used": each.used,
            "size": each.size,
        }
        for each in queues
    ]
    grouped = [
        {"group": each.name, "policy": each.policy.name, "queues": each.queues, "open": each.open} for each in groups
    ]
    if is_data(output):
        click.echo(as_data(output, {"queues": found, "groups": grouped}))
        return
    click.echo(table(["QUEUE", "OPEN ON", "MESSAGES", "USED", "SIZE"], [list(each.values()) for each in found]))
    if grouped:
        click.echo()
        click.echo(table(["GROUP", "POLICY", "QUEUES", "OPEN"], [list(each.values()) for each in grouped]))


@command.command("show")
@click.argument("name", metavar="QUEUE|GROUP")
@output_option
def show(name: str, output: str) -> None:
    """Show how full each priority of a queue is, or which queues a group has."""
    anyio.run(_show, name, output)


async def _show(name: str, output: str) -> None:
    from corosync_amf.ais import TrackFlags
    from corosync_amf.errors import NotExist
    from corosync_amf.services import msg

    async with msg.initialize() as service:
        try:
            status = await service.queue_status_get(name)
        except NotExist:
            try:
                view = await service.queue_group_track(name, TrackFlags.CURRENT)
            except NotExist:
                raise NotExist(f"no queue or queue group {name!r}") from None
            assert view is not None
            _show_group(name, view, output)
        else:
            _show_queue(name, status, output)


def _show_queue(name: str, status: "msg.QueueStatus", output: str) -> None:
    usage = [
        {"priority": priority, "messages": each.number_of_messages, "used": each.queue_used, "size": each.queue_size}
        for priority, each in enumerate(status.usage)
    ]
    flags = status.creation_flags.name or "NONE"
    if is_data(output):
        facts = {"retention_time": status.retention_time, "close_time": status.close_time}
        click.echo(as_data(output, {"queue": name, "creation_flags": flags, **facts, "usage": usage}))
        return
    state = "open" if status.close_time is None else "closed"
    kept = "for ever" if status.retention_time is None or status.creation_flags else f"{status.retention_time:g} s"
    click.echo(f"queue {printable(name)}: {state}, kept {kept} when it is closed")
    click.echo(table(["PRIORITY", "MESSAGES", "USED", "SIZE"], [list(each.values()) for each in usage]))


def _show_group(name: str, view: "msg.GroupView", output: str) -> None:
    queues = [each.queue_name for each in view.notifications]
    if is_data(output):
        click.echo(as_data(output, {"group": name, "policy": view.policy.name, "queues": queues}))
        return
    click.echo(f"queue group {printable(name)}: {view.policy.name}, {len(queues)} queues")
    for queue in queues:
        click.echo(f"  {printable(queue)}")


@command.command("send")
@click.argument("destination", metavar="QUEUE|GROUP")
@click.argument("data")
@click.option("--priority", type=click.IntRange(0, LOWEST), default=LOWEST, show_default=True, help="0 is the highest.")
@click.option("--type", "type_", type=int, default=0, show_default=True, help="For the application that gets it.")
def send(destination: str, data: str, priority: int, type_: int) -> None:
    """Send DATA to a queue or group."""
    anyio.run(_send, destination, data, priority, type_)


async def _send(destination: str, data: str, priority: int, type_: int) -> None:
    from corosync_amf.services import msg

    async with msg.initialize() as service:
        content = data.encode(errors="surrogateescape")
        await service.message_send(destination, msg.Message(content, type_, priority=priority))


@command.command("get")
@click.argument("queue")
def get(queue: str) -> None:
    """Get one message of QUEUE, which must be closed, and write its data. A queue whose retention time is 0 cannot be
    closed and be there.
    """
    anyio.run(_get, queue)


async def _get(name: str) -> None:
    from corosync_amf.errors import Busy, NotExist, TimedOut
    from corosync_amf.services import msg

    async with msg.initialize() as service:
        try:
            opened = await service.queue_open(name)
        except Busy:
            raise Busy(f"queue {name!r} is open: its messages go to the process that has it") from None
        async with opened as queue:
            try:
                message = await queue.message_get(timeout=0)
            except TimedOut as error:
                raise NotExist(error.reason) from None  # nobody has waited
            click.echo(message.data)
    if message.sender_id is not None:
        click.echo("the sender waits for a reply, which it will not get", err=True)


@command.command("purge")
@click.argument("queue")
def purge(queue: str) -> None:
    """Discard the messages that wait in QUEUE."""
    anyio.run(_purge, queue)


async def _purge(name: str) -> None:
    from corosync_amf.services import msg

    async with msg.initialize() as service:
        count = await service.queue_purge(name)
    click.echo(f"{printable(name)}: {count} messages discarded")


@command.command("unlink")
@click.argument("queue")
def unlink(queue: str) -> None:
    """Delete QUEUE: at once if it is closed, else when it is closed."""
    anyio.run(_unlink, queue)


async def _unlink(name: str) -> None:
    from corosync_amf.services import msg

    async with msg.initialize() as service:
        await service.queue_unlink(name)
