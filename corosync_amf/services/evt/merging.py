"""What becomes of channels, retained events and subscriptions when partitions meet again.

The union of both sides, but: a channel unlinked on one side is unlinked, an event cleared on one side is cleared. One
that has come about on both sides under one name is one channel. A retained event that a side had not is delivered to
that side's subscriptions as if it were published now; of others that it missed a lost event tells how many there were.
A second node that brings the same changes nothing.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from corosync_amf.ais import NodeId
from corosync_amf.engine import Effect, Event

from .channels import Channel, Channels, Subscriptions, subscriptions_of
from .messages import ChannelRecord, Delivered, HandleRecord, Remnant, Retained, Snapshot
from .retention import Retention, size_of
from .tally import Tally, lost

REMNANT_BYTES_MAX: Final = 12 * 1024 * 1024
EVENT_OVERHEAD_BYTES: Final = 320
"""What an event's names and numbers take at most, beside data and patterns."""


def remnant_of(node: NodeId, state: Snapshot) -> Remnant:
    """What a node takes along of a state that is lost."""
    handles = [record for record in state.handles if record.client.node == node]
    opened = {record.channel for record in handles}
    chosen = [record for record in state.channels if record.is_linked or record.numbers[0] in opened]
    newest = sorted((event for record in chosen for event in record.retained), key=_id_of, reverse=True)
    room, taken = REMNANT_BYTES_MAX, set()
    for event in newest:
        room -= size_of(event) + EVENT_OVERHEAD_BYTES
        if room < 0:
            break
        taken.add(event.event_id)
    channels = [
        replace(record, retained=[event for event in record.retained if event.event_id in taken]) for record in chosen
    ]
    omitted = [[event.event_id for event in record.retained if event.event_id not in taken] for record in chosen]
    return Remnant(replace(state, channels=channels, handles=handles), omitted)


def merge(
    channels: Channels, retention: Retention, remnant: Remnant, time: float, fresh: Callable[[], int]
) -> list[Effect]:
    """Unite a remnant with the state that stands. `fresh` gives an id that nobody has."""
    state = remnant.state
    handles: dict[int, list[HandleRecord]] = defaultdict(list)
    for opened in state.handles:
        handles[opened.channel].append(opened)
    retention.expire(time)  # what this node does not bring any more, one with a slower clock does not bring back
    known = retention.by_key()
    retention.clear_all(state.cleared, known)
    unlinked = set(channels.unlinked).union(state.unlinked)
    channels.remember_unlinked(state.unlinked)
    effects: list[Effect] = []
    for record, omitted in zip(state.channels, remnant.omitted, strict=True):
        is_unlinked = not record.is_linked or not unlinked.isdisjoint(record.numbers)
        channel = _channel_for(channels, record, is_unlinked=is_unlinked, is_open=record.numbers[0] in handles)
        if channel is None:
            continue
        alive = [event for event in record.retained if event.until > retention.expired]
        evicted, united = channel.evicted, retention.unite(channel, alive, known, fresh)
        new = [event for event in united if event.event_id > evicted]  # the others this side had once
        theirs = Tally(record.published, record.forgotten)
        effects += _told(channel, subscriptions_of(channel.handles.values()), new, channel.tally.missing(theirs))
        added = [
            channels.put_back(each, channel)
            for each in handles[record.numbers[0]]
            if each.number not in channels.handles.get(each.client, ())
        ]
        unseen = _unseen(channel, record, omitted, time)
        effects += _told(channel, subscriptions_of(added), unseen, theirs.missing(channel.tally))
        channel.tally.unite(theirs)
        channel.evicted = max(channel.evicted, record.evicted)
        if is_unlinked:
            unlinked.update(channel.numbers)
    doomed = [each for each in channels.all() if each.is_linked and not unlinked.isdisjoint(each.numbers)]
    for channel in doomed:
        retention.drop(channels.unlink(channel))
    return effects


def _channel_for(channels: Channels, record: ChannelRecord, *, is_unlinked: bool, is_open: bool) -> Channel | None:
    """The channel that this record is from now on; None: there is no use for it."""
    found = next((channels.numbered[number] for number in record.numbers if number in channels.numbered), None)
    if found is None and not is_unlinked:
        found = channels.named.get(record.name)
    if found is None:
        if is_unlinked and not is_open:
            return None
        return channels.create(record.numbers, record.name, is_linked=not is_unlinked)
    fresh = [number for number in record.numbers if number not in channels.numbered]
    found.numbers = tuple(sorted({*found.numbers, *fresh}))
    for number in fresh:
        channels.numbered[number] = found
    return found


def _unseen(channel: Channel, record: ChannelRecord, omitted: list[int], time: float) -> list[Retained]:
    """The events that the part of this record had not."""
    keys, ids = {event.key for event in record.retained}, set(omitted)
    return [
        event
        for event in channel.events()
        if event.key not in keys
        and ids.isdisjoint((event.event_id, *event.also))
        and event.event_id > record.evicted
        and event.until > time
    ]


def _told(channel: Channel, subscriptions: Subscriptions, events: list[Retained], missed: int) -> list[Effect]:
    """Tell these subscriptions the events that fit; and how many of the `missed` ones those are not."""
    effects: list[Effect] = []
    if missed > len(events):
        effects += [
            Event(client, lost(missed - len(events), tuple(sorted(numbers))))
            for client, numbers in sorted(subscriptions.items())
        ]
    for event in events if subscriptions else ():
        for client, wanting in channel.targets(event.patterns):
            chosen = tuple(number for number in wanting if number in subscriptions.get(client, ()))
            if chosen:
                effects.append(Event(client, delivered(event, chosen)))
    return effects


def delivered(event: Retained, subscriptions: tuple[int, ...], *, at_subscribe: bool = False) -> Delivered:
    """A retained event, to be delivered now."""
    return Delivered(
        subscriptions,
        event.event_id,
        event.publish_time,
        event.patterns,
        event.priority,
        event.retention_time,
        event.publisher_name,
        [event.data],
        at_subscribe,
    )


def _id_of(event: Retained) -> int:
    return event.event_id
