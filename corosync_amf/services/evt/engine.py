"""The event service as a replicated state machine: what becomes of each request.

    channels   which channels there are, who has them open and what their subscriptions want
    retention  which events are kept for subscribers to come
    merging    what becomes of both when partitions meet again
    listing    what operators ask

A published event is data and patterns that pass through; every replica finds the same subscriptions, and the node of
each subscriber tells it. How much waits there for a slow reader is the reader's affair (`delivery`).

Source: SAI-AIS-EVT-B.03.01 chapter 3.
"""

from typing import Any, ClassVar, Final, assert_never

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, ClientGone, Done, Effect, Event, Membership, Message, Origin, Reply, Service
from corosync_amf.engine import failed as refusal
from corosync_amf.errors import Access, AisError

from . import listing, merging
from . import messages as m
from .channels import PUBLISHER, SUBSCRIBER, Channel, Channels
from .limits import check_attributes, check_data, check_filters, check_sizes
from .matching import matches
from .merging import delivered
from .retention import Retention
from .tally import Tally

DONE: Final = Done()
NODE_MASK: Final = m.NEXT_EVENT - 1
CLOCK_MAX: Final = (1 << 64 - m.NODE_BITS) - (1 << 40)
"""Microseconds since the epoch, of a clock that may be wrong: so that there is room for ids behind it."""


class EvtEngine:
    """See the module."""

    service: ClassVar[Service] = Service.EVT
    request_type: ClassVar[Any] = m.EvtRequest
    query_type: ClassVar[Any] = m.EvtQuery
    snapshot_type: ClassVar[type[msgspec.Struct]] = m.Snapshot
    remnant_type: ClassVar[Any] = m.Remnant

    def __init__(self, settings: m.Settings | None = None) -> None:
        """`settings`: what this node's sessions keep to; the state does not depend on it, so nodes may differ."""
        self._settings = settings or m.Settings()
        self._channels = Channels()
        self._retention = Retention()
        self._last = 0
        self._stays: dict[NodeId, m.Stay] = {}

    # ---- the engine protocol

    def apply(self, message: m.EvtRequest, origin: Origin) -> list[Effect]:
        """See `Engine`."""
        try:
            if type(message) is m.Publish:
                return self._publish(message, origin)
            return self._apply(message, origin)
        except AisError as error:
            return [Reply(origin, refusal(error))]

    def _apply(self, message: m.EvtRequest, origin: Origin) -> list[Effect]:
        client, channels = origin.client, self._channels
        match message:
            case m.Publish():
                return self._publish(message, origin)
            case m.Open(handle, name, open_flags):
                number = self._next_id(origin)
                channels.open(client, handle, name, open_flags, number)
                self._take_ids(number, 1)
            case m.Close(handles):
                return [*self._close(client, handles, origin.time), Reply(origin, DONE)]
            case m.Unlink(name):
                self._retention.drop(channels.unlink(channels.name(name)))
                return [*self._retention.alarm(origin.time), Reply(origin, DONE)]
            case m.Subscribe():
                return self._subscribe(message, origin)
            case m.Unsubscribe(handle, subscription):
                channels.unsubscribe(channels.handle(client, handle), subscription)
            case m.ClearRetention(handle, event_id):
                self._retention.clear(channels.handle(client, handle).channel, event_id, origin.time)
                return [*self._retention.alarm(origin.time), Reply(origin, DONE)]
            case m.Purge(name):
                count = self._retention.purge(channels.name(name))
                return [*self._retention.alarm(origin.time), Reply(origin, m.Purged(count))]
            case m.RetentionOver():
                if client.number:
                    raise Access("only executives may say this")
                self._retention.expire(origin.time)
                return self._retention.alarm_again(origin.time)
            case ClientGone():
                return self._close(client, sorted(channels.handles.get(client, ())), origin.time)
            case _:
                assert_never(message)
        return [Reply(origin, DONE)]

    def query(self, message: m.EvtQuery, client: Client) -> Message:
        """See `Engine`."""
        try:
            return listing.answer(self._channels, self._settings, message)
        except AisError as error:
            return refusal(error)

    def membership(self, change: Membership) -> list[Effect]:
        """See `Engine`. What a lost node's clients had open is closed; what they published stays."""
        present = frozenset(change.members) - change.left
        ring = change.ring_seq, change.members[0]
        joined = {node: (node, *ring) for node in change.joined}
        self._stays = {node: stay for node, stay in self._stays.items() if node in present} | joined
        effects: list[Effect] = []
        for client in sorted(self._channels.handles):
            if client.node not in present:
                effects += self._close(client, sorted(self._channels.handles[client]), change.time)
        return effects

    def snapshot(self) -> m.Snapshot:
        """See `Engine`."""
        return m.Snapshot(
            self._last,
            [each.record() for each in self._channels.all()],
            self._channels.records(),
            list(self._channels.unlinked),
            list(self._retention.cleared.items()),
            self._retention.expired,
            sorted(self._stays.values()),
        )

    def restore(self, snapshot: m.Snapshot) -> None:
        """See `Engine`."""
        self._last = snapshot.last
        channels, retention = self._channels, self._retention = Channels(), Retention()
        channels.unlinked = dict.fromkeys(snapshot.unlinked)
        retention.cleared = dict(snapshot.cleared)
        retention.expired = snapshot.expired
        self._stays = {stay[0]: stay for stay in snapshot.stays}
        for record in snapshot.channels:
            channel = channels.create(record.numbers, record.name, is_linked=record.is_linked)
            channel.evicted, channel.tally = record.evicted, Tally(record.published, record.forgotten)
            retention.keep(channel, record.retained)
        for handle in snapshot.handles:
            channels.put_back(handle, channels.numbered[handle.channel])
        retention.restored()

    def remnant(self, node: NodeId) -> m.Remnant:
        """See `Engine`. Handles and subscriptions of the node's clients; channels and retained events of all."""
        return merging.remnant_of(node, self.snapshot())

    def merge(self, remnant: m.Remnant, origin: Origin) -> list[Effect]:
        """See `Engine`. Requests are answered at once, so none of that node's clients waits for a reply."""
        self._last = max(self._last, remnant.state.last)
        effects = merging.merge(self._channels, self._retention, remnant, origin.time, lambda: self._fresh_id(origin))
        return effects + self._retention.alarm(origin.time)

    # ---- what requests do

    def _publish(self, message: m.Publish, origin: Origin) -> list[Effect]:
        handle = self._channels.handle(origin.client, message.handle)
        data, patterns, priority = message.data, message.patterns, message.priority
        retention_time, publisher_name = message.retention_time, message.publisher_name
        check_attributes(priority, retention_time, publisher_name)
        check_sizes(patterns, retention_time)
        check_data(data)
        if not handle.open_flags & PUBLISHER:
            raise Access("the channel was not opened as PUBLISHER")
        if retention_time:
            self._retention.check_room(len(data), sum(map(len, data)))
        first, time = self._next_id(origin), origin.time
        self._take_ids(first, len(data))
        node = origin.client.node
        handle.channel.tally.add(self._stays.get(node, (node, 0, 0)), len(data))
        effects: list[Effect] = [
            Event(client, m.Delivered(wanting, first, time, patterns, priority, retention_time, publisher_name, data))
            for client, wanting in handle.channel.targets(patterns)
        ]
        if retention_time:
            effects += self._retain(message, handle.channel, first, origin)
        effects.append(Reply(origin, m.Published(first)))
        return effects

    def _retain(self, message: m.Publish, channel: Channel, first: int, origin: Origin) -> list[Effect]:
        time, source = origin.time, (origin.client.node, origin.client.number, origin.request)
        patterns, priority, length, name = (
            message.patterns,
            message.priority,
            message.retention_time,
            message.publisher_name,
        )
        events = [
            m.Retained(first + m.NEXT_EVENT * index, time, patterns, priority, length, name, data, (*source, index))
            for index, data in enumerate(message.data)
        ]
        self._retention.keep(channel, events)
        return self._retention.alarm(time)

    def _subscribe(self, message: m.Subscribe, origin: Origin) -> list[Effect]:
        client, filters = origin.client, message.filters
        handle = self._channels.handle(client, message.handle)
        check_filters(filters)
        if not handle.open_flags & SUBSCRIBER:
            raise Access("the channel was not opened as SUBSCRIBER")
        self._channels.subscribe(handle, message.subscription, filters)
        wanting = (message.subscription,)
        effects: list[Effect] = [
            Event(client, delivered(event, wanting, at_subscribe=True))
            for event in handle.channel.events()
            if event.until > origin.time and matches(filters, event.patterns)
        ]
        effects.append(Reply(origin, DONE))
        return effects

    def _close(self, client: Client, handles: Any, time: float) -> list[Effect]:
        self._retention.drop(self._channels.close(client, handles))
        return self._retention.alarm(time)

    # ---- ids

    def _next_id(self, origin: Origin) -> int:
        """The next id: microseconds since the epoch, or one more than the last, and the node.

        It grows with the order. Order numbers would not do: parts of a cluster go on counting from the same one.
        But each node is in one part only; and one that has forgotten what it gave finds the clock further on.
        """
        clock = min(max(int(origin.time * 1e6), 1), CLOCK_MAX)
        return max(self._last + 1, clock) << m.NODE_BITS | origin.client.node & NODE_MASK

    def _fresh_id(self, origin: Origin) -> int:
        fresh = self._next_id(origin)
        self._take_ids(fresh, 1)
        return fresh

    def _take_ids(self, first: int, count: int) -> None:
        self._last = (first >> m.NODE_BITS) + count - 1
