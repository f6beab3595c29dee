"""Retained events: how long, how many, and what makes room for what."""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Final

from msgspec.structs import replace

from corosync_amf.engine import Alarm, Effect
from corosync_amf.errors import NoResources, NotExist

from .channels import Channel
from .messages import Key, Retained, RetentionOver
from .values import RETAINED_BYTES_MAX, RETAINED_MAX, RETAINED_PER_CHANNEL_MAX

CLEARED_MAX: Final = 16_384
"""So many cleared events are remembered for a merge."""
SOONEST: Final = 0.01
"""Seconds: the least delay of the alarm, for a coordinator whose clock lags behind."""
HEAP_SLACK: Final = 64
KEY: Final = "retention"


Kept = dict[Key, tuple[Channel, Retained]]


class Retention:
    """The retained events of all channels, each under all its ids. `cleared` holds the ends of those that were ended
    before their time.

    After each method that changes something the caller calls `alarm`.
    """

    def __init__(self) -> None:
        self.kept: dict[int, tuple[Channel, Retained]] = {}
        self.cleared: dict[Key, float] = {}
        self.data_bytes = 0
        self.expired = 0.0
        """What ended until then is gone; a request that another clock stamped earlier does not bring it back."""
        self._ends: list[tuple[float, int]] = []
        """(until, id), the earliest first; those of events that are gone stay until they are met."""
        self._armed: float | None = None

    # ---- keeping

    def check_room(self, count: int, data_bytes: int) -> None:
        """Raises: NoResources: so many more are too many for the cluster."""
        if len(self.kept) + count > RETAINED_MAX or self.data_bytes + data_bytes > RETAINED_BYTES_MAX:
            raise NoResources(f"the cluster retains at most {RETAINED_MAX} events and {RETAINED_BYTES_MAX} bytes")

    def keep(self, channel: Channel, events: Iterable[Retained]) -> None:
        """Keep events with ids above those that are there. In a full channel the oldest of the lowest priority go."""
        for event in events:
            self._add(channel, event)
        self._make_room(channel)

    def by_key(self) -> Kept:
        """All events, by what identifies them in other parts of a cluster, too."""
        return {event.key: (channel, event) for channel, event in self.kept.values()}

    def unite(
        self, channel: Channel, events: Iterable[Retained], known: Kept, fresh: Callable[[], int]
    ) -> list[Retained]:
        """Keep events out of another partition; return those that are new here and stay.

        `known` are all events by key, and is kept so. An event that has another id here goes under both; one whose id
        is another event's gets a `fresh` one.
        """
        new: list[Retained] = []
        for event in events:
            here = known.get(event.key)
            if here is not None:
                known[event.key] = here[0], self._also(here[1], (event.event_id, *event.also))
            elif event.key not in self.cleared:
                free = tuple(number for number in (event.event_id, *event.also) if number not in self.kept)
                kept = replace(event, event_id=free[0] if free else fresh(), also=free[1:])
                self._add(channel, kept)
                known[kept.key] = channel, kept
                new.append(kept)
        for priority in {event.priority for event in new}:
            ordered = sorted(channel.retained[priority].items())
            channel.retained[priority].clear()
            channel.retained[priority].update(ordered)
        self._make_room(channel)
        return [event for event in new if event.event_id in self.kept]

    def _also(self, event: Retained, numbers: Iterable[int]) -> Retained:
        """The event, also under these ids as far as they are free."""
        free = tuple(sorted(number for number in numbers if number not in self.kept))
        if not free:
            return event
        channel, event = self.kept[event.event_id]
        event = replace(event, also=tuple(sorted((*event.also, *free))))
        channel.retained[event.priority][event.event_id] = event
        for number in (event.event_id, *event.also):
            self.kept[number] = channel, event
        return event

    def _add(self, channel: Channel, event: Retained) -> None:
        channel.retained[event.priority][event.event_id] = event
        self.kept[event.event_id] = channel, event
        for number in event.also:
            self.kept[number] = channel, event
        self.data_bytes += size_of(event)
        heappush(self._ends, (event.until, event.event_id))

    def _make_room(self, channel: Channel) -> None:
        for _ in range(sum(map(len, channel.retained)) - RETAINED_PER_CHANNEL_MAX):
            self._evict(channel)

    def _evict(self, channel: Channel) -> None:
        kept = next(kept for kept in reversed(channel.retained) if kept)
        event = kept[next(iter(kept))]
        channel.evicted = max(channel.evicted, event.event_id)
        self._remove(channel, event)

    # ---- ending

    def clear(self, channel: Channel, event_id: int, time: float) -> None:
        """End one event's retention. Raises: NotExist: it is not retained in this channel (any more)."""
        home, event = self.kept.get(event_id, (None, None))
        if event is None or home is not channel or event.until <= time:
            raise NotExist(f"event {event_id} is not retained in this channel")
        self._clear(channel, event)

    def purge(self, channel: Channel) -> int:
        """End the retention of all events of a channel; return how many."""
        events = channel.events()
        for event in events:
            self._clear(channel, event)
        return len(events)

    def _clear(self, channel: Channel, event: Retained) -> None:
        self._remove(channel, event)
        self._remember_cleared(event.key, event.until)

    def _remember_cleared(self, key: Key, until: float) -> None:
        self.cleared.setdefault(key, until)
        while len(self.cleared) > CLEARED_MAX:
            del self.cleared[next(iter(self.cleared))]

    def clear_all(self, cleared: Iterable[tuple[Key, float]], known: Kept) -> None:
        """End what another partition has cleared; `known` are all events by key, and is kept so."""
        for key, until in cleared:
            here = known.pop(key, None)
            if here is not None:
                self._remove(*here)
            self._remember_cleared(key, until)

    def drop(self, channels: Iterable[Channel]) -> None:
        """These channels are gone."""
        for channel in channels:
            for event in channel.events():
                self._remove(channel, event)

    def expire(self, time: float) -> None:
        """End what has had its time."""
        self.expired = max(self.expired, time)
        ends = self._ends
        while ends and ends[0][0] <= time:
            event_id = heappop(ends)[1]
            if event_id in self.kept:
                self._remove(*self.kept[event_id])
        if self.cleared:
            self.cleared = {key: until for key, until in self.cleared.items() if until > time}

    def _remove(self, channel: Channel, event: Retained) -> None:
        for number in (event.event_id, *event.also):
            del self.kept[number]
        del channel.retained[event.priority][event.event_id]
        self.data_bytes -= size_of(event)

    # ---- the alarm

    def alarm(self, time: float) -> list[Effect]:
        """The alarm for the next end, if that is not the one that is armed."""
        earliest = self._earliest()
        if earliest == self._armed:
            return []
        self._armed = earliest
        if earliest is None:
            return [Alarm(KEY, None)]
        return [Alarm(KEY, max(earliest - time, SOONEST), RetentionOver())]

    def alarm_again(self, time: float) -> list[Effect]:
        """The alarm has gone off."""
        self._armed = None
        return self.alarm(time)

    def restored(self) -> None:
        """All events are there that the alarm was armed for."""
        self._armed = self._earliest()

    def _earliest(self) -> float | None:
        ends, kept = self._ends, self.kept
        if len(ends) > 2 * len(kept) + HEAP_SLACK:
            ends[:] = [end for end in ends if end[1] in kept]
            heapify(ends)
        while ends and ends[0][1] not in kept:
            heappop(ends)
        return ends[0][0] if ends else None


def size_of(event: Retained) -> int:
    """What an event counts for, in bytes."""
    return len(event.data) + sum(map(len, event.patterns))
