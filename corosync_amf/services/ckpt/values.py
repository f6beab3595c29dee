"""The public value types of checkpoints: flags, attributes, descriptors, limits.

Source: SAI-AIS-CKPT-B.02.02 section 3.3.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

import msgspec

from corosync_amf.ais import NodeId

CHECKPOINTS_MAX: Final = 4096
SECTIONS_MAX: Final = 1_000_000
SECTION_BYTES_MAX: Final = 16 * 1024 * 1024
CHECKPOINT_BYTES_MAX: Final = 256 * 1024 * 1024
SECTION_ID_BYTES_MAX: Final = 255
CALL_BYTES_MAX: Final = 16 * 1024 * 1024
"""Data of one write or read."""
ELEMENTS_MAX: Final = 65_536
"""Elements of one vector."""
HANDLES_MAX: Final = 16_384
"""Handles of one client."""
GENERATED_ID_BYTES: Final = 8
WALL_CLOCK_MAX: Final = float(2**53)

DEFAULT_SECTION_ID: Final = b""
"""The one section of a checkpoint with max_sections 1."""
GENERATED_SECTION_ID: Final = None
"""Asks `section_create` to choose the id."""


class Callback(IntFlag):
    """The kinds of events that a session may ask for."""

    OPEN = 1
    SYNCHRONIZE = 2
    TRACK = 4
    ALL = OPEN | SYNCHRONIZE | TRACK


class OpenFlags(IntFlag):
    """SaCkptCheckpointOpenFlagsT."""

    READ = 1
    WRITE = 2
    CREATE = 4


class CreationFlags(IntFlag):
    """SaCkptCheckpointCreationFlagsT: exactly one of the WR flags, and optionally CHECKPOINT_COLLOCATED."""

    WR_ALL_REPLICAS = 1
    WR_ACTIVE_REPLICA = 2
    WR_ACTIVE_REPLICA_WEAK = 4
    CHECKPOINT_COLLOCATED = 8


class SectionsChosen(IntEnum):
    """SaCkptSectionsChosenT: which sections an iteration yields."""

    FOREVER = 1
    LEQ_EXPIRATION_TIME = 2
    GEQ_EXPIRATION_TIME = 3
    CORRUPTED = 4
    ANY = 5


class SectionState(IntEnum):
    """SaCkptSectionStateT. CORRUPTED never arises here: every write is atomic."""

    VALID = 1
    CORRUPTED = 2


class SectionOperation(IntEnum):
    """What happened to a section."""

    CREATED = 1
    WRITTEN = 2
    OVERWRITTEN = 3
    DELETED = 4
    EXPIRED = 5


@dataclass(frozen=True, slots=True)
class CreationAttributes:
    """SaCkptCheckpointCreationAttributesT: what a checkpoint is made for.

    Sizes are in bytes; `checkpoint_size` counts the data of all sections (None: as much as the sections can hold, at
    most 256 MiB). `retention_duration` is in seconds, None for ever: how long the checkpoint lives when nobody has it
    open.
    """

    creation_flags: CreationFlags = CreationFlags.WR_ALL_REPLICAS
    checkpoint_size: int | None = None
    retention_duration: float | None = 0.0
    max_sections: int = 1024
    max_section_size: int = 65536
    max_section_id_size: int = 255
    persistent: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointStatus:
    """SaCkptCheckpointDescriptorT, and which nodes hold the checkpoint.

    `memory_used` counts the data bytes of all sections. `epoch` is the fence (None: never fenced). `replicas` are the
    nodes that count as replicas; `active_replica` is None for WR_ALL_REPLICAS.
    """

    checkpoint_creation_attributes: CreationAttributes
    number_of_sections: int
    memory_used: int
    epoch: int | None
    replicas: tuple[NodeId, ...]
    active_replica: NodeId | None


@dataclass(frozen=True, slots=True)
class SectionDescriptor:
    """SaCkptSectionDescriptorT. Times are wall clock seconds since the epoch; `expiration_time` None is never."""

    section_id: bytes
    expiration_time: float | None
    section_size: int
    section_state: SectionState
    last_update: float


class SectionChange(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One section of a change. `offset` is that of a WRITTEN part; `data` is None where there is none to tell."""

    section_id: bytes
    operation: SectionOperation
    offset: int = 0
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class IoVector:
    """SaCkptIOVectorElementT. `data` (any buffer) is for `write`; `size` for `read`, None to the end of the section."""

    section_id: bytes | str
    data: bytes | bytearray | memoryview | None = None
    offset: int = 0
    size: int | None = None
