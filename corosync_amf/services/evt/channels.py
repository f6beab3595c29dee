"""Channels, under which names, and who has them open with which subscriptions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from corosync_amf.engine import Client
from corosync_amf.errors import BadFlags, BadHandle, InvalidParam, NoResources, NotExist

from .matching import matches
from .messages import ChannelRecord, FilterPair, HandleRecord, Retained, SubscriptionRecord
from .tally import Tally
from .values import CHANNELS_MAX, HANDLES_MAX, SUBSCRIPTIONS_MAX, ChannelOpenFlags

CREATE: Final = int(ChannelOpenFlags.CREATE)
PUBLISHER: Final = int(ChannelOpenFlags.PUBLISHER)
SUBSCRIBER: Final = int(ChannelOpenFlags.SUBSCRIBER)
OPEN_FLAGS: Final = CREATE | PUBLISHER | SUBSCRIBER
NAME_BYTES_MAX: Final = 2048
UNLINKED_MAX: Final = 16_384
"""So many unlinked channels are remembered for a merge."""
REMEMBERED_MATCHES_MAX: Final = 1024

Target = tuple[Client, tuple[int, ...]]
"""A client and its subscriptions that want an event."""

Subscriptions = Mapping[Client, AbstractSet[int]]
"""Numbers of subscriptions, by client."""


class Handle:
    """`subscriptions`: the filters of each, by its number."""

    __slots__ = ("channel", "client", "number", "open_flags", "subscriptions")

    def __init__(self, client: Client, number: int, channel: "Channel", open_flags: int) -> None:
        self.client = client
        self.number = number
        self.channel = channel
        self.open_flags = open_flags
        self.subscriptions: dict[int, tuple[FilterPair, ...]] = {}

    def record(self) -> HandleRecord:
        """The handle in a snapshot."""
        subscriptions = [SubscriptionRecord(*each) for each in sorted(self.subscriptions.items())]
        return HandleRecord(self.client, self.number, self.channel.numbers[0], self.open_flags, subscriptions)


class Channel:
    """`numbers` identify it through splits and merges. `retained` holds its events of each priority, by id, in the
    order of their ids; `evicted` is the highest id among those that made room for others. `tally` counts all events."""

    __slots__ = ("_wanted", "evicted", "handles", "is_linked", "name", "numbers", "retained", "tally")

    def __init__(self, numbers: tuple[int, ...], name: str) -> None:
        self.numbers = numbers
        self.name = name
        self.is_linked = True
        self.handles: dict[tuple[Client, int], Handle] = {}
        self.retained: tuple[dict[int, Retained], ...] = ({}, {}, {}, {})
        self.evicted = 0
        self.tally = Tally()
        self._wanted: dict[tuple[bytes, ...], tuple[Target, ...]] = {}

    def subscriptions_changed(self) -> None:
        """Matches are to be found anew."""
        self._wanted.clear()

    def targets(self, patterns: tuple[bytes, ...]) -> tuple[Target, ...]:
        """Who wants an event with these patterns, in the order of clients."""
        found = self._wanted.get(patterns)
        if found is None:
            if len(self._wanted) >= REMEMBERED_MATCHES_MAX:
                self._wanted.clear()
            found = self._wanted[patterns] = self._targets(patterns)
        return found

    def _targets(self, patterns: tuple[bytes, ...]) -> tuple[Target, ...]:
        wanting: dict[Client, list[int]] = defaultdict(list)
        for handle in self.handles.values():
            for number, filters in handle.subscriptions.items():
                if matches(filters, patterns):
                    wanting[handle.client].append(number)
        return tuple((client, tuple(sorted(wanting[client]))) for client in sorted(wanting))

    def record(self) -> ChannelRecord:
        """The channel in a snapshot."""
        tally = self.tally
        return ChannelRecord(
            self.numbers, self.name, self.is_linked, self.evicted, self.events(), tally.counts(), tally.forgotten
        )

    def events(self) -> list[Retained]:
        """The retained events in publish order."""
        every = [event for kept in self.retained for event in kept.values()]
        every.sort(key=_id_of)
        return every


class Channels:
    """See the module. `unlinked` are numbers of channels that were unlinked, the oldest first."""

    def __init__(self) -> None:
        self.numbered: dict[int, Channel] = {}
        self.named: dict[str, Channel] = {}
        self.handles: dict[Client, dict[int, Handle]] = {}
        self.unlinked: dict[int, None] = {}

    def all(self) -> list[Channel]:
        """Every channel once, in the order of their numbers."""
        return [self.numbered[number] for number in sorted(self.numbered) if self.numbered[number].numbers[0] == number]

    def handle(self, client: Client, number: int) -> Handle:
        """What the client's number stands for. Raises: BadHandle."""
        try:
            return self.handles[client][number]
        except KeyError:
            raise BadHandle("the channel is not open") from None

    def name(self, name: str) -> Channel:
        """The channel of that name. Raises: NotExist."""
        try:
            return self.named[name]
        except KeyError:
            raise NotExist(f"no channel {name!r}") from None

    # ---- opening and closing

    def open(self, client: Client, number: int, name: str, open_flags: int, channel_number: int) -> None:
        """Open, and create as `channel_number` if need be. Raises: BadFlags, InvalidParam, NotExist, NoResources."""
        if not open_flags or open_flags & ~OPEN_FLAGS:
            raise BadFlags("open_flags has no bit, or unknown ones")
        if not name or "\0" in name or len(name.encode("utf-8", "replace")) > NAME_BYTES_MAX:
            raise InvalidParam("this cannot be the name of a channel")
        channel = self.named.get(name)
        if channel is None and not open_flags & CREATE:
            raise NotExist(f"no channel {name!r}")
        handles = self.handles.get(client, {})
        if number in handles or len(handles) >= HANDLES_MAX:
            raise NoResources(f"a client has at most {HANDLES_MAX} channels open, each under its own number")
        if channel is None:
            if len(self.numbered) >= CHANNELS_MAX:
                raise NoResources(f"the cluster has at most {CHANNELS_MAX} channels")
            channel = self.create((channel_number,), name)
        self.add(Handle(client, number, channel, open_flags))

    def create(self, numbers: tuple[int, ...], name: str, *, is_linked: bool = True) -> Channel:
        """A new channel; the caller knows that name and numbers are free."""
        channel = Channel(numbers, name)
        channel.is_linked = is_linked
        for number in numbers:
            self.numbered[number] = channel
        if is_linked:
            self.named[name] = channel
        return channel

    def add(self, handle: Handle) -> None:
        """Make a handle known."""
        handle.channel.handles[handle.client, handle.number] = handle
        self.handles.setdefault(handle.client, {})[handle.number] = handle
        if handle.subscriptions:
            handle.channel.subscriptions_changed()

    def close(self, client: Client, numbers: Iterable[int]) -> list[Channel]:
        """Close what of these is open; return the channels that are gone with it."""
        handles = self.handles.get(client, {})
        gone = []
        for number in numbers:
            handle = handles.pop(number, None)
            if handle is None:
                continue
            channel = handle.channel
            del channel.handles[client, number]
            if handle.subscriptions:
                channel.subscriptions_changed()
            if not channel.is_linked and not channel.handles:
                self._drop(channel)
                gone.append(channel)
        if not handles:
            self.handles.pop(client, None)
        return gone

    def unlink(self, channel: Channel) -> list[Channel]:
        """Take the name away; return the channel if it is gone with it."""
        if channel.is_linked:
            channel.is_linked = False
            del self.named[channel.name]
        self.remember_unlinked(channel.numbers)
        if channel.handles:
            return []
        self._drop(channel)
        return [channel]

    def remember_unlinked(self, numbers: Iterable[int]) -> None:
        """For a merge with a partition that does not know."""
        for number in numbers:
            self.unlinked.setdefault(number)
        while len(self.unlinked) > UNLINKED_MAX:
            del self.unlinked[next(iter(self.unlinked))]

    def _drop(self, channel: Channel) -> None:
        for number in channel.numbers:
            del self.numbered[number]

    # ---- subscriptions

    def subscribe(self, handle: Handle, number: int, filters: Sequence[FilterPair]) -> None:
        """Raises: NoResources: the number is in use, or there are too many."""
        known = self.handles[handle.client].values()
        if sum(len(each.subscriptions) for each in known) >= SUBSCRIPTIONS_MAX:
            raise NoResources(f"a client has at most {SUBSCRIPTIONS_MAX} subscriptions")
        if any(number in each.subscriptions for each in known):
            raise NoResources("the subscription's number is in use")
        handle.subscriptions[number] = tuple(filters)
        handle.channel.subscriptions_changed()

    def unsubscribe(self, handle: Handle, number: int) -> None:
        """End a subscription, if there is such a one."""
        if handle.subscriptions.pop(number, None) is not None:
            handle.channel.subscriptions_changed()

    # ---- the state as a whole

    def records(self) -> list[HandleRecord]:
        """All handles, in a snapshot."""
        return sorted(handle.record() for numbered in self.handles.values() for handle in numbered.values())

    def put_back(self, record: HandleRecord, channel: Channel) -> Handle:
        """A handle out of a snapshot."""
        handle = Handle(record.client, record.number, channel, record.open_flags)
        handle.subscriptions = {each.number: each.filters for each in record.subscriptions}
        self.add(handle)
        return handle


def subscriptions_of(handles: Iterable[Handle]) -> Subscriptions:
    """All subscriptions of these handles."""
    found: dict[Client, set[int]] = {}
    for handle in handles:
        if handle.subscriptions:
            found.setdefault(handle.client, set()).update(handle.subscriptions)
    return found


def _id_of(event: Retained) -> int:
    return event.event_id
