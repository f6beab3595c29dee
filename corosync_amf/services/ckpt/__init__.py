"""CKPT: state that outlives the process that wrote it, replicated in the memory of every node.

A checkpoint is a named set of sections of bytes. Who has it open reads and writes them; when its node dies another
opens the same name and finds them.

Source: SAI-AIS-CKPT-B.02.02.
"""

from .checkpoint import Checkpoint, CheckpointSynchronized, SectionsChanged
from .client import CheckpointOpened, CkptService, initialize
from .iteration import SectionIterator
from .values import (
    DEFAULT_SECTION_ID,
    GENERATED_SECTION_ID,
    Callback,
    CheckpointStatus,
    CreationAttributes,
    CreationFlags,
    IoVector,
    OpenFlags,
    SectionChange,
    SectionDescriptor,
    SectionOperation,
    SectionsChosen,
    SectionState,
)

__all__ = [
    "DEFAULT_SECTION_ID",
    "GENERATED_SECTION_ID",
    "Callback",
    "Checkpoint",
    "CheckpointOpened",
    "CheckpointStatus",
    "CheckpointSynchronized",
    "CkptService",
    "CreationAttributes",
    "CreationFlags",
    "IoVector",
    "OpenFlags",
    "SectionChange",
    "SectionDescriptor",
    "SectionIterator",
    "SectionOperation",
    "SectionState",
    "SectionsChanged",
    "SectionsChosen",
    "initialize",
]
