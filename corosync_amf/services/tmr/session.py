"""The timers of a session, and their expiries on the way to the application."""

import time
from collections.abc import Callable
from typing import Final

from corosync_amf.engine import Service
from corosync_amf.eventing import EventSession

from .alarm import Alarm
from .table import Moment, TimerTable
from .timer import Expiries, Timer, TimerExpired
from .values import TimerAttributes

NEVER: Final = float("inf")


class TimerSession(EventSession):
    """What a TmrService has in place of a connection to the executive."""

    def __init__(self, clock: Callable[[], Moment] | None = None) -> None:
        """`clock` tells the time; None: that of the machine."""
        self.alarm = Alarm()
        super().__init__(self.alarm, self._receive)
        self.clock = clock if clock is not None else _clock
        self.table = TimerTable()
        self.expiries = Expiries(self._delivered)
        self._timers: dict[int, Timer] = {}
        self._looks_at = NEVER

    def start(self, attributes: TimerAttributes, make: Callable[[int, float], Timer]) -> Timer:
        """A new timer, made with its number and the time. Raises: NoResources."""
        at = self.clock()
        number = self.table.start(attributes, at)
        timer = self._timers[number] = make(number, at.wall)
        self._look(at)
        return timer

    def reschedule(self, number: int, attributes: TimerAttributes) -> float:
        """See `TimerTable`; returns the time."""
        at = self.collect()
        self.table.reschedule(number, attributes, at)
        self._look(at)
        return at.wall

    def cancel(self, number: int) -> None:
        """See `TimerTable`. What has expired and not been delivered is dropped, and an iteration ends."""
        self.table.cancel(number)
        del self._timers[number]
        self.expiries.remove(number)
        self.changed(Service.TMR)
        self.detach(-number)

    def skip(self, number: int) -> None:
        """See `TimerTable`."""
        self.collect()
        self.table.skip(number)

    def move(self, number: int, waiting: Expiries, stream: int) -> None:
        """Put the expiry of one timer that waits, if one does, into another stream."""
        event = waiting.remove(number)
        if event is not None:
            self.changed(Service.TMR)
            self.tell(stream, event)

    def collect(self) -> Moment:
        """Put what has expired into the streams; return the time at which it was looked."""
        at = self.clock()
        self._tell(self.table.expire(at))
        return at

    def _receive(self) -> bool:
        if self._closed:
            return False
        at = self.clock()
        expired = self.table.expire(at)
        self._tell(expired)
        self._looks_at = NEVER
        self.alarm.set(None)
        self._look(at)
        return bool(expired)

    def _tell(self, expired: list[tuple[int, int]]) -> None:
        for number, count in expired:
            timer = self._timers[number]
            stream = -number if self.is_attached(-number) else Service.TMR
            self.tell(stream, TimerExpired(timer, timer.data, count))

    def _look(self, at: Moment) -> None:
        """See to it that `_receive` is called when something is due. Once too often does no harm."""
        delay = self.table.delay(at)
        if delay is not None and at.monotonic + delay < self._looks_at:
            self._looks_at = at.monotonic + delay
            self.alarm.set(delay)

    def _delivered(self, event: TimerExpired) -> None:
        number = event.timer.timer_id
        if number in self.table and self.table.is_over(number):
            self.table.cancel(number)
            del self._timers[number]


def _clock() -> Moment:
    return Moment(time.monotonic(), time.time())
