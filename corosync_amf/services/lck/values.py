"""The public value types of locks: modes, flags, states, limits, and what an operator may look at.

Source: SAI-AIS-LCK-B.03.01 section 3.3.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from corosync_amf.ais import NodeId

RESOURCES_MAX: Final = 4096
"""Resources in the cluster."""
LOCKS_MAX: Final = 65_536
"""Locks in the cluster: held, orphaned, and requests that wait."""
HANDLES_MAX: Final = 16_384
"""Handles of one client."""
SIGNAL_MAX: Final = 2**64 - 1
EVENTS_MAX: Final = 1024
"""Events of one kind that may wait to be read by the application."""
LISTED_MAX: Final = 1000
"""Entries of one list in what an operator looks at."""


class Callback(IntFlag):
    """The kinds of events that a session may ask for. LockLost comes in any case."""

    OPEN = 1
    GRANT = 2
    WAITER = 4
    UNLOCK = 8
    ALL = OPEN | GRANT | WAITER | UNLOCK


class ResourceOpenFlags(IntFlag):
    """SaLckResourceOpenFlagsT."""

    NONE = 0
    CREATE = 1


class LockMode(IntEnum):
    """SaLckLockModeT: protected read is shared, exclusive excludes all others."""

    PR = 1
    EX = 2


class LockFlags(IntFlag):
    """SaLckLockFlagsT.

    NO_QUEUE: rather be refused than wait. ORPHAN: the lock outlives its holder, and the request does not wait for a
    lock that did.
    """

    NONE = 0
    NO_QUEUE = 1
    ORPHAN = 2


class LockOptions(IntFlag):
    """SaLckOptionsT: what this implementation can do."""

    ORPHAN_LOCKS = 1
    DEADLOCK_DETECTION = 2


class LockStatus(IntEnum):
    """SaLckLockStatusT: what became of a request."""

    GRANTED = 1
    DEADLOCK = 2
    NOT_QUEUED = 3
    ORPHANED = 4
    NO_MORE = 5
    DUPLICATE_EX = 6


class LimitId(IntEnum):
    """SaLckLimitIdT."""

    MAX_NUM_LOCKS = 1


CycleEntry = tuple[NodeId, str, int]
"""(node of the session, name of the resource, lock id) of a request that waits, or would."""


@dataclass(frozen=True, slots=True)
class ResourceStatus:
    """A resource in short: how many handles are open, and its locks and requests by kind."""

    name: str
    handles: int
    held: int
    waiting: int
    orphaned: int


@dataclass(frozen=True, slots=True)
class LockDescription:
    """One lock or request: whose it is, its mode and flags, and its token (None: not granted yet).

    `client` is the number of the session's connection on its node; that of an orphan is gone.
    """

    node_id: NodeId
    client: int
    lock_id: int
    mode: LockMode
    flags: LockFlags
    token: int | None


@dataclass(frozen=True, slots=True)
class ResourceDescription:
    """A resource with its locks, those who wait in the order in which they will be served; at most 1000 of each."""

    status: ResourceStatus
    held: tuple[LockDescription, ...]
    waiting: tuple[LockDescription, ...]
    orphaned: tuple[LockDescription, ...]
