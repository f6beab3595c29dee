"""What applications, executives and replicas say to one another about locks, and the replicated state.

A request to lock is answered at once: granted, refused, or that it waits. What becomes of one that waits is told by an
event, so that a request that may wait for hours does not count as one under way.
"""

from typing import ClassVar

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, ClientGone, Message, Query, Request

from .values import CycleEntry, ResourceDescription, ResourceStatus

# Requests of applications. `handle` and `lock` are numbers that the client chose in Open and Lock.


class Open(Request, frozen=True):
    """Open, and with the flag create, a resource. `wants_waiters`: tell of requests that wait for locks held here."""

    handle: int
    name: str
    open_flags: int
    wants_waiters: bool = True


class Close(Request, frozen=True):
    """Close handles; those that are not open are left out. It only gives up: no quorum is needed."""

    without_quorum: ClassVar[bool] = True

    handles: tuple[int, ...]


class Lock(Request, frozen=True):
    """Answered by Verdict or Waits."""

    handle: int
    lock: int
    mode: int
    flags: int = 0
    waiter_signal: int = 0


class Unlock(Request, frozen=True):
    """Release a lock, or withdraw a request that waits. It only gives up: no quorum is needed, but nobody else is
    granted the lock before there is one.
    """

    without_quorum: ClassVar[bool] = True

    lock: int


class Withdraw(Request, frozen=True):
    """Withdraw a request if it waits; a lock that was granted stays. Answered by Withdrawn."""

    without_quorum: ClassVar[bool] = True

    lock: int


class Purge(Request, frozen=True):
    """Do away with the orphans of a resource."""

    handle: int


LckRequest = Lock | Unlock | Withdraw | Open | Close | Purge | ClientGone


class ListResources(Query, frozen=True):
    """At most `count` resources whose names come after `beyond`. Answered by Resources."""

    beyond: str
    count: int


class Describe(Query, frozen=True):
    """Everything about one resource. Answered by Described."""

    name: str


LckQuery = ListResources | Describe


# Answers and events.


class Verdict(Message, frozen=True):
    """What became of a request to lock: `status` is a LockStatus. Of a deadlock it tells the cycle."""

    status: int
    token: int | None = None
    cycle: tuple[CycleEntry, ...] = ()


class Waits(Message, frozen=True):
    """The request waits: Decided will come."""


LockReply = Verdict | Waits


class Withdrawn(Message, frozen=True):
    """`token` is that of the lock, when the request had been granted before; else nothing of it is left."""

    token: int | None


class Resources(Message, frozen=True):
    """The answer of ListResources, in the order of the names; none: there are no more."""

    resources: tuple[ResourceStatus, ...]


class Described(Message, frozen=True):
    """The answer of Describe."""

    resource: ResourceDescription


class Decided(Message, frozen=True):
    """Event: what became of a request that waited."""

    lock: int
    verdict: Verdict


class Waiting(Message, frozen=True):
    """Event: requests that wait for a lock of the receiver, each (waiter signal, mode)."""

    lock: int
    requests: tuple[tuple[int, int], ...]


class HandleLost(Message, frozen=True):
    """Event: the handle is not valid any more, with all its locks. The partition gave way to another one."""

    handle: int
    reason: str


LckEvent = Decided | Waiting | HandleLost


# The replicated state.


class LockRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One lock, request or orphan of a resource; `token` None: it waits."""

    client: Client
    handle: int
    lock: int
    mode: int
    flags: int
    waiter_signal: int
    token: int | None


class ResourceRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One resource: its locks in the order of their grants, its requests in the order in which they wait."""

    name: str
    held: list[LockRecord]
    waiting: list[LockRecord]
    orphaned: list[LockRecord]


class HandleRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, order=True):
    """One handle."""

    client: Client
    number: int
    resource: str
    wants_waiters: bool


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole state of LCK."""

    quorate: bool = False
    resources: list[ResourceRecord] = []
    handles: list[HandleRecord] = []


class Remnant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the clients of a node whose partition gave way had: open handles, and which of these held locks; requests
    that waited, in the order of each resource.
    """

    node: NodeId
    handles: list[HandleRecord]
    holding: list[tuple[Client, int]]
    waiting: list[LockRecord]
