"""Which timers there are, and which of them are due. Pure: what time it is comes in as an argument.

    table = TimerTable()
    number = table.start(attributes, at)            # at = Moment(monotonic, wall)
    for number, count in table.expire(at): ...      # count: this expiry, and those that were missed before it
    delay = table.delay(at)                         # look again after so many seconds at the latest

A period begins where the last one was due, not where somebody looked: n periods after the first expiry are n times the
period, however late each look was.
"""

import itertools
import math
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from corosync_amf.checks import check_enum
from corosync_amf.errors import InvalidParam, NoResources, NotExist

from .values import PERIOD_MIN, TIME_MAX, TIMERS_MAX, TimerAttributes, TimeType

LOOK_SECONDS: Final = 1.0
"""How often to look whether the wall clock was set, while a timer goes by it."""
STALE_MIN: Final = 64


class Moment(NamedTuple):
    """What time it is: on the clock that only runs, and on the one that can be set. In seconds."""

    monotonic: float
    wall: float

    def by(self, kind: TimeType) -> float:
        """The time on the clock that timers of this kind go by."""
        return self.wall if kind is TimeType.ABSOLUTE else self.monotonic


class _Entry:
    """A timer. `first` is when it expired first, or will; `periods` are over since then."""

    __slots__ = ("attributes", "deadline", "first", "is_over", "kind", "period", "periods", "turn")

    def __init__(self) -> None:
        self.turn = 0

    def schedule(self, attributes: TimerAttributes, at: Moment) -> None:
        self.attributes = attributes
        self.kind = TimeType(attributes.type)
        start = 0.0 if self.kind is TimeType.ABSOLUTE else at.monotonic
        self.first = self.deadline = start + attributes.initial_expiration_time
        self.period = attributes.timer_period_duration
        self.periods = 0
        self.is_over = False

    def pass_by(self, periods: int) -> None:
        self.periods += periods
        self.deadline = self.first + self.periods * self.period

    def expire(self, now: float) -> int:
        """How often it has expired until now."""
        if not self.period:
            self.is_over = True
            return 1
        count = int((now - self.deadline) // self.period) + 1
        self.pass_by(count)
        if self.deadline <= now:  # rounding
            self.pass_by(1)
            count += 1
        self.deadline = max(self.deadline, math.nextafter(now, math.inf))
        return count


class TimerTable:
    """All timers of a session, by number. Numbers are not used twice.

    A timer without period that has expired stays, with nothing left of its time, until it is cancelled.
    """

    __slots__ = ("_entries", "_heaps", "_numbers")

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._heaps: dict[TimeType, list[tuple[float, int, int]]] = {kind: [] for kind in TimeType}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    def start(self, attributes: TimerAttributes, at: Moment) -> int:
        """Begin a timer, of attributes that `check_attributes` has passed; return its number.

        Raises: NoResources: there are 65,536 of them.
        """
        if len(self._entries) >= TIMERS_MAX:
            raise NoResources(f"a session has {TIMERS_MAX} timers at most")
        number = next(self._numbers)
        entry = _Entry()
        entry.schedule(attributes, at)
        self._entries[number] = entry
        self._put(number, entry)
        return number

    def reschedule(self, number: int, attributes: TimerAttributes, at: Moment) -> None:
        """Begin a timer again, with other attributes.

        Raises: NotExist: expired or cancelled; InvalidParam: periodic, and was not, or the reverse.
        """
        entry = self._running(number)
        if bool(entry.period) != bool(attributes.timer_period_duration):
            raise InvalidParam("a timer stays periodic, or one that expires once")
        entry.schedule(attributes, at)
        self._put(number, entry)

    def cancel(self, number: int) -> None:
        """Forget a timer. Raises: NotExist."""
        self._get(number)
        del self._entries[number]

    def skip(self, number: int) -> None:
        """Leave out the next expiry of a periodic timer.

        Raises: NotExist; InvalidParam: not periodic.
        """
        entry = self._get(number)
        if not entry.period:
            raise InvalidParam("only a periodic timer can skip an expiry")
        entry.pass_by(1)
        self._put(number, entry)

    def remaining(self, number: int, at: Moment) -> float:
        """Seconds until the next expiry. Raises: NotExist."""
        entry = self._get(number)
        return max(0.0, entry.deadline - at.by(entry.kind))

    def attributes(self, number: int) -> TimerAttributes:
        """What the timer was started or rescheduled with. Raises: NotExist."""
        return self._get(number).attributes

    def is_over(self, number: int) -> bool:
        """Whether it will not expire (again)."""
        entry = self._entries.get(number)
        return entry is None or entry.is_over

    def expire(self, at: Moment) -> list[tuple[int, int]]:
        """The timers that are due, in the order of their times, each with the number of its expiries since the last
        look.
        """
        expired = []
        for kind, heap in self._heaps.items():
            now = at.by(kind)
            while heap and heap[0][0] <= now:
                deadline, number, turn = heappop(heap)
                entry = self._entries.get(number)
                if entry is None or entry.turn != turn:
                    continue
                expired.append((deadline - now, number, entry.expire(now)))
                if not entry.is_over:
                    self._put(number, entry)
        expired.sort()
        return [(number, count) for _, number, count in expired]

    def delay(self, at: Moment) -> float | None:
        """Seconds until something may be due; None: nothing will."""
        delays = []
        for kind, heap in self._heaps.items():
            while heap and self._is_stale(heap[0]):
                heappop(heap)
            if heap:
                left = max(0.0, heap[0][0] - at.by(kind))
                delays.append(min(left, LOOK_SECONDS) if kind is TimeType.ABSOLUTE else left)
        return min(delays, default=None)

    def _put(self, number: int, entry: _Entry) -> None:
        entry.turn += 1
        heap = self._heaps[entry.kind]
        heappush(heap, (entry.deadline, number, entry.turn))
        if len(heap) > 2 * len(self._entries) + STALE_MIN:
            heap[:] = [each for each in heap if not self._is_stale(each)]
            heapify(heap)

    def _is_stale(self, item: tuple[float, int, int]) -> bool:
        entry = self._entries.get(item[1])
        return entry is None or entry.turn != item[2]

    def _get(self, number: int) -> _Entry:
        try:
            return self._entries[number]
        except KeyError:
            raise NotExist("the timer has expired or was cancelled") from None

    def _running(self, number: int) -> _Entry:
        entry = self._get(number)
        if entry.is_over:
            raise NotExist("the timer has expired")
        return entry


def check_attributes(attributes: object, wall: float) -> TimerAttributes:
    """Raises: InvalidParam: no attributes, unknown type, times that are no numbers of seconds, negative, or past."""
    if not isinstance(attributes, TimerAttributes):
        raise InvalidParam(f"attributes must be TimerAttributes, not {attributes!r}")
    kind = check_enum(attributes.type, TimeType, "type")
    first = _seconds(attributes.initial_expiration_time, "initial_expiration_time")
    period = _seconds(attributes.timer_period_duration, "timer_period_duration")
    if kind is TimeType.ABSOLUTE and first < wall:
        raise InvalidParam(f"initial_expiration_time is past: {first} was {wall - first:.6f} s ago")
    if 0 < period < PERIOD_MIN:
        raise InvalidParam("timer_period_duration must be 0, or a nanosecond at least")
    return attributes


def _seconds(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= TIME_MAX:
        raise InvalidParam(f"{what} must be a number of seconds, 0 or more, not {value!r}")
    return value
