"""Which streams there are, how far their files are written, and who has them open. Pure.

Every replica counts the bytes of every file, whether its node writes the file or not: so all of them put a file away,
begin it again or halt at the same record.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from corosync_amf.engine import Client
from corosync_amf.errors import BadHandle, Exist, InvalidParam, NoResources, NotExist, TryAgain

from .formats import Format, Kind, Line, kind_of
from .limits import FULLY_WARNED, HALF_WARNED, HANDLES_MAX, problem_of
from .messages import Append, Attributes, FileOf, HandleRecord, Open, StreamRecord, StreamShown
from .values import (
    APPLICATION_STREAMS_MAX,
    DEFAULT_FORMAT,
    STREAM_ALARM,
    STREAM_NOTIFICATION,
    STREAM_SYSTEM,
    FullAction,
)

NOTIFICATION_FORMAT: Final = '@Cr @Ct @Nt @Ne @No @Ng "@Cb"'
WELL_KNOWN: Final = {
    STREAM_SYSTEM: Attributes("saLogSystem", ".", 5_000_000, 1024, True, FullAction.ROTATE, 4, DEFAULT_FORMAT),
    STREAM_NOTIFICATION: Attributes(
        "saLogNotification", ".", 5_000_000, 2048, True, FullAction.ROTATE, 4, NOTIFICATION_FORMAT
    ),
    STREAM_ALARM: Attributes("saLogAlarm", ".", 5_000_000, 2048, True, FullAction.ROTATE, 4, NOTIFICATION_FORMAT),
}
SEVERITIES_ALL: Final = 0x7F


class Stream:
    """One stream. `opened` counts its handles; `warned` is the percentage of its file that was warned of."""

    __slots__ = (
        "attributes", "file", "format", "kind", "name", "number", "opened", "records", "severities", "size", "warned",
    )  # fmt: skip

    def __init__(self, record: StreamRecord) -> None:
        attributes = record.attributes
        self.number = record.number
        self.name = record.name
        self.attributes = attributes
        self.records = record.records
        self.size = record.size
        self.warned = record.warned
        self.severities = record.severities
        self.opened = 0
        self.format = Format(attributes.format)
        self.kind = kind_of(attributes.format)
        self.file = FileOf(
            record.number,
            attributes.path_name,
            attributes.file_name,
            attributes.full_action,
            attributes.file_bytes_max,
            attributes.files_max,
            attributes.is_everywhere,
        )

    @property
    def is_well_known(self) -> bool:
        return self.name in WELL_KNOWN

    @property
    def is_halted(self) -> bool:
        return self.warned == FULLY_WARNED

    def record(self) -> StreamRecord:
        """The stream in a snapshot."""
        return StreamRecord(
            self.number, self.name, self.attributes, self.records, self.size, self.warned, self.severities
        )

    def shown(self) -> StreamShown:
        """The stream for an operator."""
        return StreamShown(
            self.name, self.attributes, self.records, self.size, self.is_halted, self.severities, self.opened
        )

    def check_kind(self, kind: Kind) -> None:
        """Raises: InvalidParam: records of this stream have another header."""
        if self.kind is not kind and self.kind is not Kind.EITHER:
            raise InvalidParam(f"a record of {self.name} has {self.kind.value}")

    def draw(self, line: Line) -> bytes:
        """The record's line in the file."""
        return self.format.line(line, self.attributes.record_bytes_max)

    def fits(self, line: bytes) -> bool:
        """Whether the present file has room for it."""
        return self.size + len(line) <= self.attributes.file_bytes_max

    def append(self, line: bytes, closed: str) -> Append:
        """Count a line, and say how the file takes it; `closed` names the file if it is now put away.

        Raises: TryAgain: the file is full, and the stream halts.
        """
        wrapped, away = False, ""
        if not self.fits(line):
            if self.attributes.full_action == FullAction.HALT:
                raise TryAgain(f"{self.name} has halted: its file is full")
            self.size = 0
            wrapped = self.attributes.full_action == FullAction.WRAP
            away = "" if wrapped else closed
        self.records += 1
        self.size += len(line)
        return Append(self.file, line, away, wrapped)

    def warning(self, *, refused: bool) -> int:
        """The percentage to be warned of now (80, 100), or 0. `refused`: a line did not fit any more."""
        if self.attributes.full_action != FullAction.HALT:
            return 0
        is_due = 100 * self.size >= HALF_WARNED * self.attributes.file_bytes_max
        level = FULLY_WARNED if refused else HALF_WARNED if is_due else 0
        if level <= self.warned:
            return 0
        self.warned = level
        return level


class Handle:
    """One client's way to a stream."""

    __slots__ = ("is_filtered", "number", "stream")

    def __init__(self, number: int, stream: Stream, is_filtered: bool) -> None:
        self.number = number
        self.stream = stream
        self.is_filtered = is_filtered


class Registry:
    """See the module. `numbers` counts the streams ever made, `closed` the files ever put away."""

    def __init__(self) -> None:
        self.numbers = 0
        self.closed = 0
        self.streams: dict[str, Stream] = {}
        self.handles: dict[Client, dict[int, Handle]] = {}
        for name, attributes in WELL_KNOWN.items():
            self._make(name, attributes)

    @classmethod
    def restored(
        cls, numbers: int, closed: int, streams: Sequence[StreamRecord], handles: Sequence[HandleRecord]
    ) -> "Registry":
        """The registry of a snapshot."""
        registry = cls()
        registry.numbers, registry.closed = numbers, closed
        registry.streams = {record.name: Stream(record) for record in streams}
        by_number = {stream.number: stream for stream in registry.streams.values()}
        for record in handles:
            registry.attach(record.client, record.number, by_number[record.stream], record.is_filtered)
        return registry

    def stream_records(self) -> list[StreamRecord]:
        """The streams in a snapshot, in the order of their numbers."""
        return [stream.record() for stream in sorted(self.streams.values(), key=lambda stream: stream.number)]

    def handle_records(self) -> list[HandleRecord]:
        """The handles in a snapshot."""
        return sorted(
            HandleRecord(client, handle.number, handle.stream.number, handle.is_filtered)
            for client, numbered in self.handles.items()
            for handle in numbered.values()
        )

    # ---- questions

    def stream(self, client: Client, number: int) -> Stream:
        """What the client's number stands for. Raises: BadHandle."""
        try:
            return self.handles[client][number].stream
        except KeyError:
            raise BadHandle("the stream is not open") from None

    def named(self, name: str) -> Stream:
        """Raises: NotExist."""
        try:
            return self.streams[name]
        except KeyError:
            raise NotExist(f"no stream {name!r}") from None

    def listed(self) -> list[Stream]:
        """The well-known streams, then the others by name."""
        return sorted(self.streams.values(), key=lambda stream: (not stream.is_well_known, stream.name))

    def followers(self, stream: Stream) -> Iterator[tuple[Client, Handle]]:
        """Handles whose holders hear of the severities that are let through."""
        for client in sorted(self.handles):
            for _, handle in sorted(self.handles[client].items()):
                if handle.stream is stream and handle.is_filtered:
                    yield client, handle

    def closed_name(self, stream: Stream, time: float) -> str:
        """The name that the stream's file gets when it is put away."""
        stamp = datetime.fromtimestamp(int(time), UTC).strftime("%Y%m%d_%H%M%S")
        return f"{stream.attributes.file_name}_{stamp}_{self.closed + 1:04d}"

    # ---- opening

    def open(self, client: Client, message: Open) -> Stream:
        """Open, and create if need be.

        Raises: InvalidParam, NotExist, Exist, NoResources.
        """
        handles = self.handles.get(client, {})
        stream = self._existing(message.name, message.attributes)
        if message.handle in handles or len(handles) >= HANDLES_MAX:
            raise NoResources(f"a client has at most {HANDLES_MAX} streams open, each under its own number")
        if stream is None:
            assert message.attributes is not None
            stream = self.create(message.name, message.attributes)
        self.attach(client, message.handle, stream, message.is_filtered)
        return stream

    def _existing(self, name: str, attributes: Attributes | None) -> Stream | None:
        """The stream that is there; None when it is to be created."""
        if attributes is None:
            return self.named(name)
        if not name or name in WELL_KNOWN:
            raise InvalidParam("a well-known stream has its own attributes")
        if problem := problem_of(attributes):
            raise InvalidParam(problem)
        stream = self.streams.get(name)
        if stream is not None and stream.attributes != attributes:
            raise Exist(f"stream {name!r} exists with other attributes")
        return stream

    def create(self, name: str, attributes: Attributes) -> Stream:
        """Raises: Exist: another stream writes this file; NoResources."""
        path = (attributes.path_name, attributes.file_name)
        for other in self.streams.values():
            if (other.attributes.path_name, other.attributes.file_name) == path:
                raise Exist(f"the file {attributes.path_name}/{attributes.file_name} is that of {other.name}")
        if len(self.streams) - len(WELL_KNOWN) >= APPLICATION_STREAMS_MAX:
            raise NoResources(f"the cluster has at most {APPLICATION_STREAMS_MAX} application streams")
        return self._make(name, attributes)

    def _make(self, name: str, attributes: Attributes) -> Stream:
        self.numbers += 1
        stream = self.streams[name] = Stream(StreamRecord(self.numbers, name, attributes))
        return stream

    def attach(self, client: Client, number: int, stream: Stream, is_filtered: bool) -> None:
        """A client has the stream open under this number."""
        self.handles.setdefault(client, {})[number] = Handle(number, stream, is_filtered)
        stream.opened += 1

    # ---- closing

    def close(self, client: Client, numbers: Sequence[int]) -> list[Stream]:
        """Close what of these is open; returned are the application streams that have gone with it."""
        handles = self.handles.get(client, {})
        gone: list[Stream] = []
        for handle in [handles.pop(number) for number in numbers if number in handles]:
            stream = handle.stream
            stream.opened -= 1
            if not stream.opened and not stream.is_well_known:
                del self.streams[stream.name]
                gone.append(stream)
        if not handles:
            self.handles.pop(client, None)
        return gone
