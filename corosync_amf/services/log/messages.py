"""What applications, executives and replicas say to one another about LOG, and the replicated state."""

from typing import ClassVar

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, ClientGone, Message, NodeLocal, Notice, Query, Request

from .values import FullAction, LogFileCreateAttributes

ClassIdTuple = tuple[int, int, int]


class Attributes(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`LogFileCreateAttributes` on the wire and in the replicas; the path is in its shortest form."""

    file_name: str
    path_name: str
    file_bytes_max: int
    record_bytes_max: int
    is_everywhere: bool
    full_action: int
    files_max: int
    format: str

    def public(self) -> LogFileCreateAttributes:
        """The same for the application."""
        return LogFileCreateAttributes(
            self.file_name,
            self.path_name,
            self.file_bytes_max,
            self.record_bytes_max,
            self.is_everywhere,
            FullAction(self.full_action),
            self.files_max,
            self.format,
        )


# Requests of applications. `handle` is a number the client chose in Open.


class Open(Request, frozen=True):
    """Open a stream, with attributes an application stream that may have to be created.

    `is_filtered`: send Filter when the severities that are let through change.
    """

    handle: int
    name: str
    attributes: Attributes | None = None
    is_filtered: bool = False


class Close(Request, frozen=True):
    """Close handles; those that are not open are left out."""

    without_quorum: ClassVar[bool] = True

    handles: tuple[int, ...]


class Write(Request, frozen=True):
    """A record with a generic header. `safe`: answer when every member has it."""

    handle: int
    body: bytes
    severity: int
    user: str
    safe: bool = True
    time_stamp: float | None = None
    class_id: ClassIdTuple | None = None


class WriteNotification(Request, frozen=True):
    """A record with a notification header."""

    handle: int
    body: bytes
    notification_id: int
    event_type: int
    notification_object: str
    notifying_object: str
    class_id: ClassIdTuple | None = None
    event_time: float | None = None
    safe: bool = True
    time_stamp: float | None = None


class SetFilter(Request, frozen=True):
    """Let only these severities through (bit 1 << severity each)."""

    name: str
    severities: int


# Requests of executives.


class FileState(Request, frozen=True):
    """The executive that is the origin cannot write the file of a stream (`problem` says why), or can again (empty)."""

    stream: int
    problem: str


LogRequest = Write | WriteNotification | Open | Close | SetFilter | FileState | Notice | ClientGone


class ListStreams(Query, frozen=True):
    """Answered by Streams. `name` None: all there are."""

    name: str | None = None


class ReadFile(NodeLocal, frozen=True):
    """The end of the file of a stream on the client's node. Answered by FileText.

    `after`: only what was written since that position, which an earlier FileText gave; None: `lines` lines at most.
    """

    path_name: str
    file_name: str
    lines: int
    after: int | None = None


LogQuery = ListStreams | ReadFile


class Filter(Message, frozen=True):
    """Event: the severities that the stream behind `handle` lets through."""

    handle: int
    severities: int


LogEvent = Filter


class Opened(Message, frozen=True):
    """The attributes that the stream has."""

    attributes: Attributes


class Written(Message, frozen=True):
    """The number of the record in its stream; 0: its severity is not let through."""

    number: int


class StreamShown(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`StreamStatus` on the wire."""

    name: str
    attributes: Attributes
    records: int
    size: int
    is_halted: bool
    severities: int
    opened: int


class Streams(Message, frozen=True):
    """The well-known streams first, then the others by name."""

    streams: list[StreamShown]


class FileText(Message, frozen=True):
    """Whole lines of a file, and the position behind them. `is_gap`: what was asked for is not kept any more."""

    text: bytes
    position: int
    is_gap: bool = False


# Commands to the drivers of a node.


class FileOf(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The file of stream number `stream`: `<file_name>.log` in `path_name`, below the log directory."""

    stream: int
    path_name: str
    file_name: str
    full_action: int
    file_bytes_max: int
    files_max: int
    is_everywhere: bool = True


class Append(Message, frozen=True):
    """Write a line. `closed`: first put the file away as `<closed>.log`; `is_wrapped`: begin at its start again."""

    file: FileOf
    line: bytes
    closed: str = ""
    is_wrapped: bool = False


class CloseFile(Message, frozen=True):
    """The stream has gone."""

    file: FileOf


LogCommand = Append | CloseFile


# The replicated state.


class HandleRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, order=True):
    """One handle of a snapshot. `stream` is a number in a snapshot."""

    client: Client
    number: int
    stream: int
    is_filtered: bool


class StreamRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One stream of a snapshot. `warned` is the percentage that was warned of (0, 80, 100)."""

    number: int
    name: str
    attributes: Attributes
    records: int = 0
    size: int = 0
    warned: int = 0
    severities: int = 0x7F


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole state of LOG. `numbers` counts streams, `closed` files put away."""

    members: tuple[NodeId, ...] = ()
    numbers: int = 0
    closed: int = 0
    streams: list[StreamRecord] = []
    handles: list[HandleRecord] = []
    failing: list[tuple[NodeId, int]] = []


class Remnant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node brings along: how far every stream had come there, what its clients have open, and the numbers of the
    streams whose files it cannot write."""

    streams: list[StreamRecord]
    handles: list[HandleRecord]
    failing: list[int] = []
