"""What applications, executives and replicas say to one another about checkpoints, and the replicated state."""

from enum import IntEnum
from typing import Any, ClassVar

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, ClientGone, Message, Origin, Query, Request

from .values import (
    CheckpointStatus,
    CreationAttributes,
    CreationFlags,
    SectionChange,
    SectionDescriptor,
    SectionsChosen,
)

Version = tuple[int, int]
"""How far a journal has come: where in the order the last quorate membership began that it knows of, and the last place
in the order whose changes it holds. Of two journals the one with the higher version has all that was promised."""


class Tracking(IntEnum):
    """What the holder of a handle is told about changes by others."""

    OFF = 0
    IDS = 1
    DATA = 2


class Attributes(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`CreationAttributes` on the wire and in the replicas, with the size worked out."""

    creation_flags: int
    checkpoint_size: int
    retention_duration: float | None
    max_sections: int
    max_section_size: int
    max_section_id_size: int
    persistent: bool

    def public(self) -> CreationAttributes:
        """The same for the application."""
        return CreationAttributes(
            CreationFlags(self.creation_flags),
            self.checkpoint_size,
            self.retention_duration,
            self.max_sections,
            self.max_section_size,
            self.max_section_id_size,
            self.persistent,
        )


class Part(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Bytes for one place of one section."""

    section_id: bytes
    offset: int
    data: bytes


class Extent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A place of one section to read; `size` None is to the end."""

    section_id: bytes
    offset: int = 0
    size: int | None = None


class Change(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The new content of one section of a batch; None deletes it."""

    section_id: bytes
    data: bytes | None


# Requests of applications. `handle` is a number the client chose in Open.


class Open(Request, frozen=True):
    """Open, and with attributes create, a checkpoint. Answered by Opened."""

    handle: int
    name: str
    open_flags: int
    attributes: Attributes | None = None
    tracking: Tracking = Tracking.OFF


class Close(Request, frozen=True):
    """Close handles; those that are not open are left out."""

    without_quorum: ClassVar[bool] = True

    handles: tuple[int, ...]


class Unlink(Request, frozen=True):
    """Take the name away."""

    name: str


class SetRetention(Request, frozen=True):
    """How long the checkpoint outlives its last handle, in seconds; None for ever."""

    handle: int
    duration: float | None


class SetActiveReplica(Request, frozen=True):
    """Make the client's node the active replica."""

    handle: int


class CreateSection(Request, frozen=True):
    """Answered by SectionCreated."""

    handle: int
    section_id: bytes | None
    data: bytes
    expiration_time: float | None = None
    epoch: int | None = None


class DeleteSection(Request, frozen=True):
    """Delete one section."""

    handle: int
    section_id: bytes
    epoch: int | None = None


class Overwrite(Request, frozen=True):
    """Replace content and size of a section."""

    handle: int
    section_id: bytes
    data: bytes
    epoch: int | None = None


class SetExpiration(Request, frozen=True):
    """When a section is deleted, wall clock; None never."""

    handle: int
    section_id: bytes
    expiration_time: float | None


class Write(Request, frozen=True):
    """Write all parts or none."""

    handle: int
    parts: list[Part]
    epoch: int | None = None


class WriteBatch(Request, frozen=True):
    """Create, replace and delete sections, all or none."""

    handle: int
    changes: list[Change]
    epoch: int | None = None


class Fence(Request, frozen=True):
    """Refuse from now on what carries a lower epoch."""

    handle: int
    epoch: int


class Synchronize(Request, frozen=True):
    """Answered when every replica has what was written before."""

    handle: int


class Track(Request, frozen=True):
    """Send Changed for changes by others. A single handle that is tracked already is refused."""

    handles: tuple[int, ...]
    tracking: Tracking


class Untrack(Request, frozen=True):
    """Send Changed no more. A single handle that is not tracked is refused."""

    without_quorum: ClassVar[bool] = True

    handles: tuple[int, ...]


# Requests of executives.


class Applied(Request, frozen=True):
    """The node of the active replica has applied these writes."""

    writes: tuple[Origin, ...]


class RetentionOver(Request, frozen=True):
    """The retention time that began with closing number `closing` has run out."""

    checkpoint: int
    closing: int


class Expire(Request, frozen=True):
    """Look for sections whose time is over."""

    checkpoint: int


class Restore(Request, frozen=True):
    """A node brings a persistent checkpoint in, as its journal has it at `version`, in one or several parts.

    `asked` is that of the BringJournal that asked for it.
    """

    asked: int
    version: Version
    name: str
    sequence: int
    births: int
    attributes: Attributes
    fence: int | None
    sections: "list[SectionRecord]"
    is_first: bool


class Restored(Request, frozen=True):
    """A node has brought all that its journal holds."""

    asked: int
    version: Version


class Stored(Request, frozen=True):
    """The journal of the node has everything up to this place of the order on disk."""

    order: int


CkptRequest = (
    Write
    | Overwrite
    | WriteBatch
    | CreateSection
    | DeleteSection
    | Applied
    | Open
    | Close
    | Unlink
    | SetRetention
    | SetActiveReplica
    | SetExpiration
    | Fence
    | Synchronize
    | Track
    | Untrack
    | RetentionOver
    | Expire
    | Restore
    | Restored
    | Stored
    | ClientGone
)


class Read(Query, frozen=True):
    """Answered by Data."""

    handle: int
    extents: list[Extent]


class ReadAll(Query, frozen=True):
    """The whole content at one moment. Answered by Content; `more` asks for what the last Content left out."""

    handle: int
    more: bool = False


class GetStatus(Query, frozen=True):
    """Answered by Status."""

    handle: int


class ListSections(Query, frozen=True):
    """At most `count` sections born after `after` and not after `until` (None: up to now). Answered by Sections."""

    handle: int
    chosen: SectionsChosen
    expiration_time: float | None
    after: int
    until: int | None
    count: int


class ListCheckpoints(Query, frozen=True):
    """At most 256 checkpoints whose names come behind `beyond`, for operators. Answered by Checkpoints."""

    beyond: str = ""


class ShowCheckpoint(Query, frozen=True):
    """One checkpoint, for operators. Answered by Checkpoints."""

    name: str


CkptQuery = Read | ReadAll | GetStatus | ListSections | ListCheckpoints | ShowCheckpoint


class Opened(Message, frozen=True):
    """The attributes that the checkpoint has."""

    attributes: Attributes


class SectionCreated(Message, frozen=True):
    """The id given or chosen."""

    section_id: bytes


class Data(Message, frozen=True):
    """What was read, one element for each that was asked for."""

    items: list[bytes]


class Content(Message, frozen=True):
    """(id, data) of sections, as they were after change number `sequence`; `more` when others follow."""

    sequence: int
    epoch: int | None
    sections: list[tuple[bytes, bytes]]
    more: bool


class Status(Message, frozen=True):
    """The answer of GetStatus."""

    status: CheckpointStatus


class Sections(Message, frozen=True):
    """Descriptors, and the number of each section's creation; none at the end. Ask on with this `until`."""

    descriptors: list[SectionDescriptor]
    births: list[int]
    until: int


class CheckpointInfo(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A checkpoint for operators; `size` in bytes, `nodes` are those that have it open."""

    name: str
    attributes: Attributes
    sections: int
    size: int
    sequence: int
    epoch: int | None
    active: NodeId | None
    handles: int
    nodes: tuple[NodeId, ...]


class Checkpoints(Message, frozen=True):
    """The answer of ListCheckpoints and ShowCheckpoint; empty behind the last one."""

    checkpoints: list[CheckpointInfo]


class Changed(Message, frozen=True):
    """Event: a client other than the receiver changed sections of the checkpoint behind `handle`.

    `is_merge`: nobody did; another partition's content stands now, whose `sequence` may be lower.
    """

    handle: int
    changes: tuple[SectionChange, ...]
    epoch: int | None
    sequence: int
    is_merge: bool = False


class HandleLost(Message, frozen=True):
    """Event: the handle is closed; in the partition whose state stands there is no such checkpoint."""

    handle: int


CkptEvent = Changed | HandleLost


# Commands to the driver of the journal.


class WriteJournal(Message, frozen=True):
    """Append these entries (`entries.JournalEntry`); tell with Stored(order) when they are on disk."""

    order: int
    entries: list[Any]


class RewriteJournal(Message, frozen=True):
    """Begin the journal anew with what the replica has; tell with Stored(order) when that is on disk."""

    order: int


class BringJournal(Message, frozen=True):
    """Put what the journal held at the start of the executive into the order: Restore ..., Restored. `asked` goes with
    them: what was asked for in a former membership does not count."""

    asked: int


CkptCommand = WriteJournal | RewriteJournal | BringJournal


# The replicated state.


class SectionRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One section of a snapshot."""

    section_id: bytes
    data: bytes
    born: int
    updated: float
    expiration: float | None


class CheckpointRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One checkpoint of a snapshot; sections in the order in which they were created."""

    number: int
    name: str
    linked: bool
    attributes: Attributes
    sequence: int
    births: int
    fence: int | None
    active: NodeId | None
    closing: int
    sections: list[SectionRecord]


class HandleRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, order=True):
    """One handle of a snapshot."""

    client: Client
    number: int
    checkpoint: int
    open_flags: int
    tracking: Tracking


class WaitingRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A write whose confirmation by the active replica on node `asked` is awaited."""

    origin: Origin
    checkpoint: int
    asked: NodeId
    created: bytes | None


class StoringRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A change that is answered when the journals of `nodes` have it."""

    origin: Origin
    nodes: tuple[NodeId, ...]
    created: bytes | None


class PersistenceRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """See `Persistence`."""

    keepers: tuple[NodeId, ...] = ()
    is_settled: bool = False
    is_followed: bool = False
    version: Version = (0, 0)
    asked: int = 0
    awaited: list[NodeId] = []
    bringer: NodeId = 0
    waiting: list[StoringRecord] = []
    stored: list[tuple[NodeId, int]] = []


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole state of CKPT."""

    members: tuple[NodeId, ...] = ()
    numbers: int = 0
    checkpoints: list[CheckpointRecord] = []
    handles: list[HandleRecord] = []
    waiting: list[WaitingRecord] = []
    persistence: PersistenceRecord = PersistenceRecord()


class HandleRemnant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A handle of a partition that gave way; `name` empty: it cannot go on."""

    client: Client
    number: int
    name: str
    attributes: Attributes
    open_flags: int
    tracking: Tracking


class Remnant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node brings along: its clients' handles, (id, digest) of the sections that they track by the name of the
    checkpoint, and the changes that were not answered yet."""

    handles: list[HandleRemnant] = []
    contents: list[tuple[str, list[tuple[bytes, bytes]]]] = []
    waiting: list[Origin] = []
