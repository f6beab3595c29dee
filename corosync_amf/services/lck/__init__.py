"""LCK: locks that the whole cluster sees, with a fencing token for each grant.

A resource is a name. Who has it open asks for a shared (PR) or an exclusive (EX) lock; requests wait in one queue over
all nodes, and a holder that dies lets go.

Source: SAI-AIS-LCK-B.03.01.
"""

from .client import LckService, ResourceOpened, initialize
from .lock import (
    Deadlock,
    DuplicateEx,
    Lock,
    LockGranted,
    LockLost,
    LockWaiter,
    NoMore,
    NotGranted,
    NotQueued,
    Orphaned,
    ResourceUnlocked,
)
from .resource import Resource
from .values import (
    Callback,
    LimitId,
    LockDescription,
    LockFlags,
    LockMode,
    LockOptions,
    LockStatus,
    ResourceDescription,
    ResourceOpenFlags,
    ResourceStatus,
)

__all__ = [
    "Callback",
    "Deadlock",
    "DuplicateEx",
    "LckService",
    "LimitId",
    "Lock",
    "LockDescription",
    "LockFlags",
    "LockGranted",
    "LockLost",
    "LockMode",
    "LockOptions",
    "LockStatus",
    "LockWaiter",
    "NoMore",
    "NotGranted",
    "NotQueued",
    "Orphaned",
    "Resource",
    "ResourceDescription",
    "ResourceOpenFlags",
    "ResourceOpened",
    "ResourceStatus",
    "ResourceUnlocked",
    "initialize",
]
