"""An open log stream."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from corosync_amf.errors import AisError, BadHandle, TooBig
from corosync_amf.service import Pending, check_flags, check_timeout

from . import messages as m
from .arguments import record_of
from .formats import Kind, kind_of
from .values import AckFlags, Callback, LogFileCreateAttributes, LogRecord, Severity

if TYPE_CHECKING:
    from .client import LogService


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """Event: the outcome of `stream_open_async`. Source: SaLogStreamOpenCallbackT."""

    invocation: int
    stream: "Stream | None"
    error: AisError | None


@dataclass(frozen=True, slots=True)
class LogWritten:
    """Event: the outcome of `write_log_async` with RECORD_WRITE_ACK. Source: SaLogWriteLogCallbackT."""

    invocation: int
    error: AisError | None


@dataclass(frozen=True, slots=True)
class FilterSet:
    """Event: the severities that the stream lets through from now on. Others are answered, but not written.

    Source: SaLogFilterSetCallbackT.
    """

    stream: "Stream"
    severities: tuple[Severity, ...]


class Stream:
    """A handle to a log stream. Get it with `LogService.stream_open`; leave it with `close`.

    Every call raises BadHandle (SA_AIS_ERR_BAD_HANDLE) when the handle is closed.
    """

    attributes: LogFileCreateAttributes

    def __init__(self, service: "LogService", number: int, name: str) -> None:
        """For `LogService.stream_open`; open after `begin`."""
        self.name = name
        self.number = number
        self.is_open = False
        self._service = service
        self._is_notification: bool | None = None

    async def __aenter__(self) -> Self:
        self._check()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.is_open:
            await self.close()

    def begin(self, opened: m.Opened) -> None:
        """The executive has opened it."""
        self.attributes = opened.attributes.public()
        kind = kind_of(opened.attributes.format)
        self._is_notification = None if kind is Kind.EITHER else kind is Kind.NOTIFICATION
        self.is_open = True

    async def close(self) -> None:
        """Give the handle back. An application stream goes with its last one; its file stays.

        Source: saLogStreamClose.
        """
        self._check()
        self.shut()
        await self._service.give_back(m.Close((self.number,)))

    def shut(self) -> None:
        """The handle is no longer valid."""
        self.is_open = False
        self._service.forget(self)

    async def write_log(
        self, record: LogRecord | str | bytes, *, severity: Severity = Severity.INFO, timeout: float | None = 10.0
    ) -> None:
        """Write a record; return when every member of the cluster has it (in memory; its file follows at once).

        Text or bytes are written with `severity` and this process as user, a LogRecord as it says. What makes the line
        longer than the stream's `max_log_record_size` is cut. `timeout` in seconds, None: for ever.

        Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): header of the wrong kind, severity, time; TooBig: body over
        65,535 bytes; TryAgain (SA_AIS_ERR_TRY_AGAIN): the stream has halted, with `retry=False`; TimedOut.
        Source: saLogWriteLog.
        """
        self._check()
        check_timeout(timeout)
        service = self._service
        request = record_of(self.number, record, severity, self._is_notification, service.user_name, safe=True)
        await service.request(request, m.Written, timeout=timeout)

    def write_log_async(
        self,
        record: LogRecord | str | bytes,
        *,
        severity: Severity = Severity.INFO,
        ack_flags: AckFlags = AckFlags.NONE,
        invocation: int | None = None,
    ) -> Pending[None]:
        """`write_log` without waiting. With RECORD_WRITE_ACK the outcome is also an event, LogWritten, and there when
        every member has the record; without it, when this node has it.

        Raises: BadFlags (SA_AIS_ERR_BAD_FLAGS); InvalidParam, TooBig: as `write_log`; Init (SA_AIS_ERR_INIT): an
        acknowledgement is wanted, without Callback.WRITE; TryAgain: 256 requests are under way.
        Source: saLogWriteLogAsync.
        """
        self._check()
        service = self._service
        is_wanted = bool(check_flags(ack_flags, AckFlags, "ack_flags") & AckFlags.RECORD_WRITE_ACK)
        number = service.invocation(invocation)
        try:
            request = record_of(self.number, record, severity, self._is_notification, service.user_name, safe=is_wanted)
        except TooBig:
            if is_wanted:
                service.check_callback(Callback.WRITE)
            raise
        if not is_wanted:
            return service.write_untold(request, number)
        service.check_callback(Callback.WRITE)

        def event(number: int, written: None, error: AisError | None) -> LogWritten:
            return LogWritten(number, error)

        return service.submit(request, m.Written, lambda _: None, event, invocation=number)

    def _check(self) -> None:
        self._service.check_open()
        if not self.is_open:
            raise BadHandle("the stream is closed")
