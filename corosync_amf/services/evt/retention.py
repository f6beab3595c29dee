"""Retained events: how long, how many, and what makes room for what."""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Final

from corosync_amf.engine import Alarm, Effect
from corosync_amf.errors import NoResources, NotExist

from .channels import Channel
from .messages import Retained, RetentionOver
from .values import RETAINED_BYTES_MAX, RETAINED_MAX, RETAINED_PER_CHANNEL_MAX

CLEARED_MAX: Final = 16_384
"""So many cleared events are remembered for a merge."""
SOONEST: Final = 0.01
"""Seconds: the least delay of the alarm, for a coordinator whose clock lags behind."""
HEAP_SLACK: Final = 64
KEY: Final = "retention"


class Retention:
    """The retained events of all channels. `cleared` holds the ends of those that were ended before their time.

    After each method that changes something the caller calls `alarm`.
    """

    def __init__(self) -> None:
        self.kept: dict[int, Channel] = {}
        self.cleared: dict[int, float] = {}
        self.data_bytes = 0
        self._ends: list[tuple[float, int, int]] = []
        """(until, id, priority), the earliest first; those of events that are gone stay until they are met."""
        self._armed: float | None = None

    # ---- keeping

    def check_room(self, count: int, data_bytes: int) -> None:
        """Raises: NoResources: so many more are too many for the cluster."""
        if len(self.kept) + count > RETAINED_MAX or self.data_bytes + data_bytes > RETAINED_BYTES_MAX:
            raise NoResources(f"the cluster retains at most {RETAINED_MAX} events and {RETAINED_BYTES_MAX} bytes")

    def keep(self, channel: Channel, events: Iterable[Retained]) -> None:
        """Keep events with ids above those that are there. In a full channel the oldest of the lowest priority go."""
        self._add(channel, events)
        self._make_room(channel)

    def unite(self, channel: Channel, events: Iterable[Retained]) -> list[Retained]:
        """Keep events out of another partition, with any ids; return those that are new here and stay."""
        new = [event for event in events if event.event_id not in self.kept and event.event_id not in self.cleared]
        self._add(channel, new)
        for priority in {event.priority for event in new}:
            kept = channel.retained[priority]
            ordered = sorted(kept.items())
            kept.clear()
            kept.update(ordered)
        self._make_room(channel)
        return [event for event in new if event.event_id in self.kept]

    def _add(self, channel: Channel, events: Iterable[Retained]) -> None:
        for event in events:
            channel.retained[event.priority][event.event_id] = event
            self.kept[event.event_id] = channel
            self.data_bytes += size_of(event)
            heappush(self._ends, (event.until, event.event_id, event.priority))

    def _make_room(self, channel: Channel) -> None:
        for _ in range(sum(map(len, channel.retained)) - RETAINED_PER_CHANNEL_MAX):
            self._evict(channel)

    def _evict(self, channel: Channel) -> None:
        kept = next(kept for kept in reversed(channel.retained) if kept)
        event = kept[next(iter(kept))]
        channel.evicted = max(channel.evicted, event.event_id)
        self._remove(event)

    # ---- ending

    def clear(self, channel: Channel, event_id: int, time: float) -> None:
        """End one event's retention. Raises: NotExist: it is not retained in this channel (any more)."""
        event = None
        if self.kept.get(event_id) is channel:
            event = next(kept[event_id] for kept in channel.retained if event_id in kept)
        if event is None or event.until <= time:
            raise NotExist(f"event {event_id} is not retained in this channel")
        self._clear(event)

    def purge(self, channel: Channel) -> int:
        """End the retention of all events of a channel; return how many."""
        events = channel.events()
        for event in events:
            self._clear(event)
        return len(events)

    def _clear(self, event: Retained) -> None:
        self._remove(event)
        self.remember_cleared([(event.event_id, event.until)])

    def remember_cleared(self, cleared: Iterable[tuple[int, float]]) -> None:
        """For a merge with a partition that does not know."""
        for event_id, until in cleared:
            self.cleared.setdefault(event_id, until)
        while len(self.cleared) > CLEARED_MAX:
            del self.cleared[next(iter(self.cleared))]

    def remove_cleared(self, cleared: Iterable[int]) -> None:
        """End what another partition has cleared."""
        for event_id in cleared:
            channel = self.kept.get(event_id)
            if channel is not None:
                self._remove(next(kept[event_id] for kept in channel.retained if event_id in kept))

    def drop(self, channels: Iterable[Channel]) -> None:
        """These channels are gone."""
        for channel in channels:
            for event in channel.events():
                self._remove(event)

    def expire(self, time: float) -> None:
        """End what has had its time."""
        ends = self._ends
        while ends and ends[0][0] <= time:
            _, event_id, priority = heappop(ends)
            channel = self.kept.get(event_id)
            if channel is not None:
                self._remove(channel.retained[priority][event_id])
        if self.cleared:
            self.cleared = {event_id: until for event_id, until in self.cleared.items() if until > time}

    def _remove(self, event: Retained) -> None:
        channel = self.kept.pop(event.event_id)
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
