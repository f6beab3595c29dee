"""A timer as an application holds it, and the event of its expiry."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corosync_amf.errors import BadHandle
from corosync_amf.following import Following

from .table import check_attributes
from .values import TimerAttributes

if TYPE_CHECKING:
    from .client import TmrService
    from .session import TimerSession


@dataclass(frozen=True, slots=True)
class TimerExpired:
    """Event: a timer has expired; `expiration_count` times since its last event. `data` is that of the timer.

    Source: SaTmrTimerExpiredCallbackT.
    """

    timer: "Timer"
    data: object
    expiration_count: int


class Expiries:
    """The expiries that wait: one event for each timer, which counts (`streams.Queue`)."""

    __slots__ = ("_waiting", "delivered")

    def __init__(self, delivered: Callable[[TimerExpired], None]) -> None:
        """`delivered` is told what the application takes."""
        self.delivered = delivered
        self._waiting: dict[int, TimerExpired] = {}

    def append(self, event: TimerExpired, /) -> None:
        """Wait behind those that wait; or with the one of the same timer."""
        number = event.timer.timer_id
        waiting = self._waiting.get(number)
        if waiting is not None:
            event = TimerExpired(event.timer, event.data, waiting.expiration_count + event.expiration_count)
        self._waiting[number] = event

    def popleft(self) -> TimerExpired:
        """The oldest one, for the application."""
        event = self._waiting.pop(next(iter(self._waiting)))
        self.delivered(event)
        return event

    def remove(self, number: int) -> TimerExpired | None:
        """Take that of one timer away."""
        return self._waiting.pop(number, None)

    def __len__(self) -> int:
        return len(self._waiting)


class Timer:
    """A timer. Get it with `TmrService.timer_start`; iterate over it for its expiries alone.

    `call_time` is the wall clock when it was started, or rescheduled. Every call raises BadHandle
    (SA_AIS_ERR_BAD_HANDLE) when the service is finalized.
    """

    __slots__ = ("_service", "call_time", "data", "timer_id")

    def __init__(self, service: "TmrService", timer_id: int, call_time: float, data: object) -> None:
        """For `TmrService.timer_start`."""
        self.timer_id = timer_id
        self.call_time = call_time
        self.data = data
        self._service = service

    def reschedule(self, attributes: TimerAttributes) -> float:
        """Start the timer again with other attributes; return the wall clock, the new `call_time`.

        Expiries that were due before are delivered all the same.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): expired or cancelled; InvalidParam (SA_AIS_ERR_INVALID_PARAM): as
        `timer_start`, and one that expires once cannot become periodic, nor the reverse.
        Source: saTmrTimerReschedule.
        """
        session = self._session()
        checked = check_attributes(attributes, session.clock().wall)
        self.call_time = session.reschedule(self.timer_id, checked)
        return self.call_time

    def cancel(self) -> object:
        """End the timer; return its data. What has not been delivered is dropped.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): cancelled already, or its only expiry was delivered.
        Source: saTmrTimerCancel.
        """
        self._session().cancel(self.timer_id)
        return self.data

    def skip(self) -> None:
        """Leave out the next expiry; each call one more. The time of the others stays as it is.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): cancelled; InvalidParam (SA_AIS_ERR_INVALID_PARAM): not periodic.
        Source: saTmrPeriodicTimerSkip.
        """
        self._session().skip(self.timer_id)

    def remaining_time_get(self) -> float:
        """Seconds until the next expiry, 0.0 when there will be none.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): cancelled, or its only expiry was delivered.
        Source: saTmrTimerRemainingTimeGet.
        """
        session = self._session()
        return session.table.remaining(self.timer_id, session.collect())

    def attributes_get(self) -> TimerAttributes:
        """The attributes that it was started or rescheduled with.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): cancelled, or its only expiry was delivered.
        Source: saTmrTimerAttributesGet.
        """
        return self._session().table.attributes(self.timer_id)

    def __aiter__(self) -> Following[TimerExpired]:
        """The expiries of this timer, which then are not among the events of the session; until it is over.

        Raises, at the first item: InvalidParam: another such iteration is going on.
        """
        session, stream = self._session(), -self.timer_id
        own = Expiries(session.expiries.delivered)

        async def start() -> list[TimerExpired]:
            self._session()
            if self.timer_id in session.table:
                session.attach(stream, None, own)
                session.move(self.timer_id, session.expiries, stream)
            return []

        async def more() -> list[TimerExpired] | None:
            if self.timer_id not in session.table:
                return None
            try:
                await session.wait_events(stream)
                return session.take_events(stream)
            except BadHandle:
                if self._service.is_open and self.timer_id in session.table:
                    raise
                return None

        def stop() -> None:
            if self._service.is_open and session.is_attached(stream):
                session.detach(stream)
                session.move(self.timer_id, own, self._service.service)

        return Following(start, more, stop)

    def _session(self) -> "TimerSession":
        self._service.check_open()
        return self._service.session
