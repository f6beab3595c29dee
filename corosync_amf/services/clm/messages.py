"""What applications, executives and replicas say to one another about the membership, and the replicated state."""

from enum import IntEnum
from typing import ClassVar

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, ClientGone, Message, NodeCleared, NodeFacts, NodeLocks, Origin, Query, Request

from .values import ChangeStep, ClusterNode, ClusterView, Response

# Requests of applications and operators.


class Track(Request, frozen=True):
    """Follow the membership. Answered by View: the present one. `as_event`: send that as an event, too."""

    flags: int
    as_event: bool = False


class TrackStop(Request, frozen=True):
    """Follow it no more."""


class Respond(Request, frozen=True):
    """Answer a step."""

    invocation: int
    response: Response


class FetchNode(Request, frozen=True):
    """GetNode, in the total order."""

    node_id: NodeId


class NodeOperation(IntEnum):
    """What an operator does to a node. The values are those of SaClmAdminOperationIdT."""

    UNLOCK = 1
    LOCK = 2
    SHUTDOWN = 3


class Operate(Request, frozen=True):
    """Lock, unlock or shut down a node. `force`: also when that takes away quorum; `validate`: ask first."""

    without_membership: ClassVar[bool] = True

    operation: NodeOperation
    name: str
    force: bool = False
    validate: bool = False


class Reset(Request, frozen=True):
    """Reset a node; name None: all of them."""

    without_membership: ClassVar[bool] = True

    name: str | None


# Requests of executives.


class StepOver(Request, frozen=True):
    """The time to answer step number `number` has run out."""

    number: int


ClmRequest = Track | TrackStop | Respond | FetchNode | Operate | Reset | StepOver | NodeCleared | ClientGone


class GetNode(Query, frozen=True):
    """Answered by Node."""

    node_id: NodeId


class GetView(Query, frozen=True):
    """Answered by View."""

    flags: int


class ListNodes(Query, frozen=True):
    """All nodes that are known, for operators, on every node. Answered by Nodes."""


ClmQuery = GetNode | GetView | ListNodes


class Node(Message, frozen=True):
    """The answer of GetNode."""

    node: ClusterNode


class View(Message, frozen=True):
    """The present view."""

    view: ClusterView


class NodeInfo(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A node for operators; `node_id` 0: it is not in the ring. `admin`: UNLOCKED, LOCKED or SHUTTING_DOWN."""

    name: str
    node_id: NodeId
    address: str
    member: bool
    admin: str
    boot_timestamp: float
    initial_view_number: int


class Nodes(Message, frozen=True):
    """The answer of ListNodes."""

    view_number: int
    quorate: bool
    nodes: list[NodeInfo]


class Tracked(Message, frozen=True):
    """Event: see ClusterTrack."""

    view: ClusterView
    step: ChangeStep
    reason: str
    root_cause_entity: str | None = None
    invocation: int | None = None
    time_supervision: float | None = None


ClmEvent = Tracked


class ResetNode(Message, frozen=True):
    """Command to the drivers of a node: reset it."""


class RememberView(Message, frozen=True):
    """Command to the drivers of a node: the next life of its executive brings this along as `NodeFacts.last_view`."""

    view_number: int


class RememberLocks(Message, frozen=True):
    """Command to the drivers of a node: the next life of its executive brings this along as `NodeFacts.last_locks`."""

    locks: NodeLocks


ClmCommand = ResetNode | RememberView | RememberLocks


# The replicated state.


class MemberRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A node in the ring, and the view with which it became a member."""

    facts: NodeFacts
    initial_view_number: int


class TrackerRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Who follows the membership, and how."""

    client: Client
    flags: int


class OperationRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An operation on a node that waits for answers to its present step.

    `number` is that of the step, `caller` who asked for it. `asked` are all trackers who were told of the step,
    `waiting` those who have not answered, with the invocation they are to answer; `is_clearing`: AMF has not, either.
    """

    number: int
    name: str
    operation: NodeOperation
    step: ChangeStep
    caller: Origin
    asked: tuple[Client, ...]
    waiting: tuple[tuple[int, Client], ...]
    is_clearing: bool = False


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole state of CLM."""

    view_number: int = 0
    numbers: int = 0
    quorate: bool = False
    ring: list[MemberRecord] = []
    known: list[str] = []
    locked: list[str] = []
    trackers: list[TrackerRecord] = []
    operations: list[OperationRecord] = []
    locks_version: int = 0


class Remnant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node brings along from a partition that gave way: the last view that was seen there and its members, the
    trackers on the node, the operators' requests that were not answered yet, and the locks there."""

    view_number: int
    members: list[MemberRecord] = []
    trackers: list[TrackerRecord] = []
    callers: list[Origin] = []
    locks: NodeLocks = NodeLocks()
