"""Timers as an application uses them.

    async with initialize() as service:
        beat = service.timer_start(TimerAttributes(TimeType.DURATION, 0.5, 0.5), data="beat")
        async for event in service:
            print(event.data, event.expiration_count)

Source: SAI-AIS-TMR-A.01.01 chapter 3.
"""

import time
from typing import Any, ClassVar

from corosync_amf.engine import Service
from corosync_amf.service import SUPPORTED, EventClient, Opening

from .session import TimerSession
from .table import check_attributes
from .timer import Timer, TimerExpired
from .values import Callback, TimerAttributes


class TmrService(EventClient):
    """A session with the timer service. Get it with `initialize`; iterate over it for the expiries of its timers."""

    service: ClassVar[Service] = Service.TMR
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["TMR"]
    callback = Callback
    event_type = TimerExpired
    session: TimerSession

    def __init__(self, session: TimerSession, **arguments: Any) -> None:
        """For `initialize`."""
        super().__init__(session, **arguments)
        self.queue = session.expiries

    @classmethod
    async def connection(cls, address: str | None) -> TimerSession:
        """See `EventClient`: nothing is connected to."""
        return TimerSession()

    def timer_start(self, attributes: TimerAttributes, data: object = None) -> Timer:
        """Start a timer; `data` comes with its events.

        A period of 0: it expires once, and is gone when that was delivered. With a period it goes on, without drift;
        expiries that nobody took in time are one event, which counts them.

        Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): ABSOLUTE in the past, a negative duration or period, an unknown
        type; Init (SA_AIS_ERR_INIT): without Callback.EXPIRED; NoResources (SA_AIS_ERR_NO_RESOURCES): over 65,536.
        Source: saTmrTimerStart.
        """
        self.check_open()
        checked = check_attributes(attributes, self.session.clock().wall)
        self.check_callback(Callback.EXPIRED)
        return self.session.start(checked, lambda number, wall: Timer(self, number, wall, data))

    def time_get(self) -> float:
        """The wall clock, in seconds since the epoch. Source: saTmrTimeGet."""
        self.check_open()
        return self.session.clock().wall

    def clock_tick_get(self) -> float:
        """The resolution of the clock of the timers, in seconds. Source: saTmrClockTickGet."""
        self.check_open()
        return time.clock_getres(time.CLOCK_MONOTONIC)


def initialize(
    *,
    version: str = SUPPORTED["TMR"][-1],
    events: Callback = Callback.ALL,
    retry: bool = True,
    address: str | None = None,
) -> Opening[TmrService]:
    """Open a session with the timer service: enter or await the result. It needs no executive.

    `events`: the kinds wanted. `retry` and `address` are there because all services have them; they change nothing.

    Raises: InvalidParam; Version (SA_AIS_ERR_VERSION).
    Source: saTmrInitialize.
    """
    return TmrService.opening(version=version, events=events, retry=retry, address=address)
