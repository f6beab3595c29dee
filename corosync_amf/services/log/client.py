"""Log streams as an application uses them.

    async with initialize() as service:
        stream = await service.stream_open(STREAM_SYSTEM)
        await stream.write_log("call server ready", severity=Severity.NOTICE)

Source: SAI-AIS-LOG-A.02.01 chapter 3.
"""

import itertools
from collections.abc import Collection
from typing import Any, ClassVar

from corosync_amf.engine import Done, Service
from corosync_amf.errors import AisError
from corosync_amf.following import Following
from corosync_amf.handles import Handles
from corosync_amf.service import (
    SUPPORTED,
    Opening,
    Pending,
    ServiceClient,
    check_enum,
    check_int,
    check_name,
    check_timeout,
)
from corosync_amf.session import Session

from . import messages as m
from .arguments import opening_of, severities_in, severities_of, user_of_this_process
from .reading import Reader
from .stream import FilterSet, Stream, StreamOpened
from .values import (
    APPLICATION_STREAMS_MAX,
    Callback,
    LimitId,
    LogFileCreateAttributes,
    Severity,
    StreamOpenFlags,
    StreamStatus,
)


class LogService(ServiceClient):
    """A session with the log service. Get it with `initialize`; iterate over it for its events.

    `user_name` stands in records that do not name their user: the component that AMF started, else the program.
    """

    service: ClassVar[Service] = Service.LOG
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["LOG"]
    callback = Callback
    event_type = m.LogEvent
    _numbers: ClassVar = itertools.count(1)

    def __init__(self, session: Session, **arguments: Any) -> None:
        """For `initialize`."""
        super().__init__(session, **arguments)
        self.user_name = user_of_this_process()
        self._streams: Handles[Stream, m.Opened] = Handles(self, m.Opened, m.Close)

    async def stop(self) -> None:
        """See `ServiceClient`."""
        await self._streams.close_all()

    def translate(self, message: Any) -> object | None:
        """See `ServiceClient`."""
        stream = self._streams.known.get(message.handle)
        return None if stream is None else FilterSet(stream, severities_in(message.severities))

    # ---- opening

    def stream_open(
        self,
        name: str,
        create_attributes: LogFileCreateAttributes | None = None,
        open_flags: StreamOpenFlags | None = None,
        *,
        timeout: float | None = 10.0,
    ) -> Opening[Stream]:
        """Open a stream: await or enter the result. With attributes it is an application stream, created if need be.

        `open_flags` None means CREATE when attributes are given, else NONE. `timeout` in seconds, None: for ever.

        Raises: BadFlags: unknown bits; InvalidParam (SA_AIS_ERR_INVALID_PARAM): CREATE without attributes or the
        reverse, attributes for a well-known stream, sizes, a path that leaves the log directory, a bad format; TooBig:
        name; NotExist (SA_AIS_ERR_NOT_EXIST): not there; Exist (SA_AIS_ERR_EXIST): there with other attributes, or the
        file is another stream's; NoResources (SA_AIS_ERR_NO_RESOURCES): over 64 application streams; TimedOut.
        Source: saLogStreamOpen_2.
        """

        async def open() -> Stream:
            self.check_open()
            attributes = opening_of(create_attributes, open_flags)
            check_timeout(timeout)  # before the name may be too big
            request = self._request_to_open(name, attributes)
            return await self._streams.open(Stream(self, request.handle, request.name), request, timeout)

        return Opening(open, Stream.close)

    def stream_open_async(
        self,
        name: str,
        create_attributes: LogFileCreateAttributes | None = None,
        open_flags: StreamOpenFlags | None = None,
        *,
        invocation: int | None = None,
    ) -> Pending[Stream]:
        """`stream_open` without waiting; the outcome is also an event, StreamOpened.

        Raises: BadFlags, InvalidParam, TooBig; Init (SA_AIS_ERR_INIT): without Callback.OPEN.
        Source: saLogStreamOpenAsync_2.
        """
        self.check_open()
        attributes, number = opening_of(create_attributes, open_flags), self.invocation(invocation)
        with self.needing(Callback.OPEN):
            request = self._request_to_open(name, attributes)
        return self._streams.open_async(Stream(self, request.handle, request.name), request, StreamOpened, number)

    def _request_to_open(self, name: str, attributes: m.Attributes | None) -> m.Open:
        check_name(name)
        return m.Open(next(self._numbers), name, attributes, bool(self.callbacks & Callback.FILTER))

    def limit_get(self, limit_id: LimitId) -> int:
        """How many application streams the cluster may have.

        Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): unknown id; Version: session older than A.02.
        Source: saLogLimitGet.
        """
        self.check_open()
        self.check_version("A.02")
        check_enum(limit_id, LimitId, "limit_id")
        return APPLICATION_STREAMS_MAX

    # ---- administration

    async def streams(self, name: str | None = None) -> list[StreamStatus]:
        """All streams, the well-known ones first, or the one of this name. The answer is local.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): no such stream.
        """
        self.check_open()
        answer = await self.ask(m.ListStreams(None if name is None else check_name(name)), m.Streams)
        return [
            StreamStatus(
                shown.name,
                shown.attributes.public(),
                shown.records,
                shown.size,
                shown.is_halted,
                severities_in(shown.severities),
                shown.opened,
            )
            for shown in answer.streams
        ]

    async def filter_set(self, name: str, severities: Collection[Severity]) -> None:
        """Let only these severities of a stream through; those who have it open get FilterSet.

        Raises: InvalidParam; NotExist; BadOperation (SA_AIS_ERR_BAD_OPERATION): its records have no severity.
        Source: SAI-AIS-LOG-A.02.01, the attribute saLogStreamSeverityFilter of a stream.
        """
        self.check_open()
        await self.request(m.SetFilter(check_name(name), severities_of(severities)), Done)

    async def tail(self, name: str, lines: int = 10) -> list[str]:
        """The last lines (0..10,000) of the file of a stream on this node, as far as 64 KiB hold them.

        Raises: InvalidParam; NotExist (SA_AIS_ERR_NOT_EXIST): no such stream, or no file of it on this node.
        """
        self.check_open()
        reader = Reader(self, name, check_int(lines, "lines", maximum=10_000))
        return await reader.first()

    def follow(self, name: str, lines: int = 10) -> Following[str]:
        """Iterate over the last lines of a stream's file on this node, and then over those that are added. A file that
        is not there yet is waited for.

        Raises: InvalidParam; and at the first item: NotExist (SA_AIS_ERR_NOT_EXIST): no such stream.
        """
        self.check_open()
        reader = Reader(self, name, check_int(lines, "lines", maximum=10_000))
        return Following(reader.first_of_all, reader.more, lambda: None)

    # ---- for Stream

    def forget(self, stream: Stream) -> None:
        """The handle is closed."""
        self._streams.forget(stream)

    def write_untold(self, request: m.Write | m.WriteNotification, invocation: int) -> Pending[None]:
        """A record of whose outcome no event tells."""

        def outcome(answer: m.Written | AisError) -> None:
            if isinstance(answer, AisError):
                raise answer

        return self.hand_over(request, m.Written, outcome, invocation=invocation)


def initialize(
    *,
    version: str = SUPPORTED["LOG"][-1],
    events: Callback = Callback.ALL,
    retry: bool = True,
    address: str | None = None,
) -> Opening[LogService]:
    """Open a session with the log service: enter or await the result.

    `events`: the kinds wanted. `retry=False`: TryAgain is raised at once. `address`: the executive's socket, default
    from the environment.

    Raises: InvalidParam, Version (SA_AIS_ERR_VERSION), Library: no executive.
    Source: saLogInitialize.
    """
    return LogService.opening(version=version, events=events, retry=retry, address=address)
