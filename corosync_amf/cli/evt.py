"""`amf evt list|show|follow|publish|purge|unlink`: an operator's view of event channels."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anyio
import click

from .listing import as_data, as_item, is_data, named, output_option, print_rows, printable, table, when

if TYPE_CHECKING:
    from corosync_amf.services import evt
    from corosync_amf.services.evt.messages import RetainedEvent


@click.group("evt")
def command() -> None:
    """Look at event channels and what they retain, follow a channel, publish to it."""


@command.command("list")
@output_option
def list_(output: str) -> None:
    """List the channels of the cluster: who has them open, how many events they retain."""
    anyio.run(_list, output)


async def _list(output: str) -> None:
    import msgspec

    from corosync_amf.services import evt

    async with evt.initialize() as service:
        found = await service.channels()
    heads = ["CHANNEL", "HANDLES", "PUBLISHERS", "SUBSCRIBERS", "SUBSCRIPTIONS", "RETAINED", "BYTES"]
    rows = [list(msgspec.structs.astuple(each)) for each in found]
    print_rows(output, heads, rows)


@command.command("show")
@click.argument("channel")
@output_option
def show(channel: str, output: str) -> None:
    """Show who has CHANNEL open, and the events that it retains."""
    anyio.run(_show, channel, output)


async def _show(name: str, output: str) -> None:
    from corosync_amf.services import evt

    async with evt.initialize() as service:
        openers = await service.channel_openers(name)
        retained = [event async for event in service.channel_retained(name)]
    heads = ["NODE", "CLIENT", "RIGHTS", "SUBSCRIPTIONS"]
    opened = [[each.node_id, each.client, _rights(each.open_flags), each.subscriptions] for each in openers]
    titles = ["ID", "PUBLISHED", "UNTIL", "PRIORITY", "BYTES", "PUBLISHER", "PATTERNS"]
    events = [_retained(each) for each in retained]
    if is_data(output):
        click.echo(as_data(output, {"openers": named(heads, opened), "retained": named(titles, events)}))
    else:
        click.echo(table(heads, opened) + "\n\n" + table(titles, events))


@command.command("follow")
@click.argument("channel")
@click.option("--pattern", multiple=True, help="Only events whose patterns begin so, place by place.")
@click.option("--count", type=click.IntRange(1), help="End after so many events.")
@output_option
def follow(channel: str, pattern: tuple[str, ...], count: int | None, output: str) -> None:
    """Print the events of CHANNEL, those that it retains first, one on each line, until interrupted."""
    try:
        anyio.run(_follow, channel, pattern, count, output)
    except KeyboardInterrupt:
        pass


async def _follow(name: str, prefixes: Sequence[str], count: int | None, output: str) -> None:
    from corosync_amf.services import evt

    filters = [evt.Filter(evt.FilterType.PREFIX, prefix) for prefix in prefixes]
    async with (
        evt.initialize() as service,
        service.channel_open(name, evt.ChannelOpenFlags.SUBSCRIBER) as channel,
        channel.event_subscribe(filters) as subscription,
    ):
        async for event in subscription:
            click.echo(_line(event, output))
            sys.stdout.flush()
            count = None if count is None else count - 1
            if count == 0:
                return


@command.command("publish")
@click.argument("channel")
@click.argument("data")
@click.option("--pattern", multiple=True, help="A pattern of the event; up to 16.")
@click.option("--priority", type=click.IntRange(0, 3), default=3, show_default=True, help="0 is the highest.")
@click.option("--retention", type=float, default=0.0, show_default=True, help="Seconds to keep it for subscribers.")
@click.option("--publisher", default="amf", show_default=True, help="The publisher's name.")
@click.option("--create", is_flag=True, help="Make the channel if it is not there.")
def publish(
    channel: str, data: str, pattern: tuple[str, ...], priority: int, retention: float, publisher: str, create: bool
) -> None:
    """Publish DATA (- reads it from standard input) to CHANNEL and print the event's id."""
    content = sys.stdin.buffer.read() if data == "-" else data.encode(errors="surrogateescape")
    attributes = {"patterns": pattern, "priority": priority, "retention_time": retention, "publisher_name": publisher}
    click.echo(anyio.run(_publish, channel, content, create, attributes))


async def _publish(name: str, data: bytes, create: bool, attributes: dict[str, Any]) -> int:
    from corosync_amf.services import evt

    flags = evt.ChannelOpenFlags.PUBLISHER | (evt.ChannelOpenFlags.CREATE if create else evt.ChannelOpenFlags(0))
    async with evt.initialize() as service, service.channel_open(name, flags) as channel:
        return await channel.publish(data, **attributes)


@command.command("purge")
@click.argument("channel")
def purge(channel: str) -> None:
    """End the retention of all events of CHANNEL."""
    click.echo(f"{anyio.run(_purge, channel)} events purged")


async def _purge(name: str) -> int:
    from corosync_amf.services import evt

    async with evt.initialize() as service:
        return await service.channel_purge(name)


@command.command("unlink")
@click.argument("channel")
def unlink(channel: str) -> None:
    """Take the name of CHANNEL away; who has it open goes on with it."""
    anyio.run(_unlink, channel)


async def _unlink(name: str) -> None:
    from corosync_amf.services import evt

    async with evt.initialize() as service:
        await service.channel_unlink(name)


def _line(event: "evt.Event", output: str) -> str:
    attributes, text = event.attributes_get(), event.data_get().decode(errors="replace")
    published = attributes.publish_time
    if is_data(output):
        facts = {
            "id": attributes.event_id,
            "published": published,
            "priority": attributes.priority,
            "publisher": attributes.publisher_name,
            "patterns": [pattern.decode(errors="replace") for pattern in attributes.patterns],
            "data": text,
        }
        return as_item(output, facts)
    head = [when(published), str(attributes.event_id), str(attributes.priority), attributes.publisher_name or "-"]
    return printable("  ".join([*head, _patterns(attributes.patterns) or "-", text]))


def _retained(event: "RetainedEvent") -> list[Any]:
    times = when(event.publish_time), when(event.retained_until)
    return [event.event_id, *times, event.priority, event.data_size, event.publisher_name, _patterns(event.patterns)]


def _patterns(patterns: Sequence[bytes]) -> str:
    return " ".join(pattern.decode(errors="replace") for pattern in patterns)


def _rights(open_flags: int) -> str:
    from corosync_amf.services import evt

    rights = evt.ChannelOpenFlags.PUBLISHER, evt.ChannelOpenFlags.SUBSCRIBER
    return "+".join(str(right.name).lower() for right in rights if open_flags & right) or "-"
