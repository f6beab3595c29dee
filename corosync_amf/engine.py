"""What an AIS service is to the executive: a replicated state machine, and the values that go in and out of it.

A service's messages are frozen structs. A `Request` goes through the total order and is applied on every node; a
`Query` is answered from the local replica and changes nothing. An engine answers with effects: values that name who
carries them out, so that many replicas that compute the same list act once.

    Reply       the node that hosts the client
    Event       the node that hosts the client
    Alarm       the coordinator (the lowest member), which puts the message into the order when it is due
    Multicast   the named node, which puts the message into the order at once
    Run         the named node, outside the order (start a process, ...)
    Forward     the engine of another service, on every node, at this very place of the order
    Log         every node, in its own log
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec

from corosync_amf.ais import Admin, ErrorCode, NodeId
from corosync_amf.errors import AisError, from_code


class Service(IntEnum):
    """Names an engine in frames and payloads. CLM comes first: the others learn of a membership after it."""

    CLM = 1
    CKPT = 2
    AMF = 3
    EVT = 4
    MSG = 5
    LCK = 6
    NTF = 7
    LOG = 8
    EVS = 9
    CPG = 10
    TMR = 11
    """Only a name: timers need no engine."""


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True, forbid_unknown_fields=True):
    """Anything that crosses a process border. Encoded as an array, tagged with the class name."""


class Request(Message, frozen=True):
    """Goes through the total order and is applied on every node.

    `without_quorum`: also in a partition without quorum, of a service whose state otherwise stands still there.
    `without_membership`: also from a node that CLM has locked, where all else is Unavailable.
    """

    without_quorum: ClassVar[bool] = False
    without_membership: ClassVar[bool] = False


class Query(Message, frozen=True):
    """Answered at once from the local replica; changes nothing."""


class NodeLocal(Query, frozen=True):
    """Answered by the drivers of the client's node, not by a replica (healthchecks, process monitoring)."""


class Initialize(Query, frozen=True):
    """A service object begins on this connection, of whatever service. Answered by Done."""


class Done(Message, frozen=True):
    """The reply of a request that has nothing to say but that it succeeded."""


class Failed(Message, frozen=True):
    """The reply of a request that was refused: the AIS error and its facts."""

    code: int
    reason: str = ""
    epoch: int | None = None
    erroneous_vector_index: int | None = None
    supported: tuple[str, ...] = ()


class ClientGone(Request, frozen=True):
    """The client that is the origin has closed its session or died. Every engine gets it.

    A client may send it, too, to one service: then Done is the answer.
    """

    without_quorum: ClassVar[bool] = True
    without_membership: ClassVar[bool] = True


class NodeStanding(Request, frozen=True):
    """CLM tells AMF how a node stands, by its admin state there: LOCKED (or about to be), SHUTTING_DOWN or UNLOCKED.

    `node_id` 0 and no address: the node is not there. AMF answers LOCKED and SHUTTING_DOWN with NodeCleared.
    """

    name: str
    node_id: NodeId
    address: str
    state: Admin


class NodeCleared(Request, frozen=True):
    """AMF tells CLM that nothing is assigned any more on the node of that name."""

    name: str


class Notice(Request, frozen=True):
    """Something that operators want to know, as one service forwards it to another (NTF, LOG).

    `event_type` and `severity` are numbers of NTF (`ntf.EventType`, `ntf.Severity`; -1 where there is none);
    `states` are changes of (state id, old or None, new), `raised` names the notification that a cleared alarm ends,
    `info` are (id, value) pairs of the notification's class.
    """

    event_type: int
    notification_object: str
    notifying_object: str
    class_id: tuple[int, int, int]
    text: str
    severity: int = -1
    probable_cause: int = -1
    states: tuple[tuple[int, int | None, int], ...] = ()
    raised: int = 0
    identifier: int = 0
    info: tuple[tuple[int, bool | int | float | str], ...] = ()


class Client(msgspec.Struct, frozen=True, order=True, array_like=True):
    """One connection of a process to the executive of a node. Client 0 is the executive itself."""

    node: NodeId
    number: int


class Origin(msgspec.Struct, frozen=True, order=True, array_like=True):
    """Who asked, when, and where in the total order.

    `request` pairs a reply with its request. `order` is the order number of the message (growing, the same on every
    replica). `time` is the sender's wall clock, in seconds since the epoch: the only clock an engine may look at.
    """

    client: Client
    request: int = 0
    order: int = 0
    time: float = 0.0


class NodeLocks(msgspec.Struct, frozen=True, array_like=True):
    """Which nodes are locked, by name. `version` grows with each change: of two such lists the higher one is newer."""

    version: int = 0
    names: tuple[str, ...] = ()


class NodeFacts(msgspec.Struct, frozen=True, array_like=True):
    """What a node says of itself when it joins.

    `last_view` is the last view of CLM that it remembers from former lives, `last_locks` are the locks;
    `is_persistent`: it keeps state on disk.
    """

    node_id: NodeId
    name: str
    address: str
    boot_timestamp: float
    incarnation: int
    last_view: int = 0
    is_persistent: bool = False
    last_locks: NodeLocks = NodeLocks()


@dataclass(frozen=True, slots=True)
class Membership:
    """A change of the set of nodes, in its place in the total order.

    `members` are in ascending order; `members[0]` is the coordinator. A node that died and came back at once is in
    `left` and in `joined`. `order` and `time` are as in `Origin`; `reasons` says in words why a node left; `ring_seq`
    grows with every ring. `highest`: by service, what `Numbering` says in the states of all members, also of those that
    gave way.
    """

    members: tuple[NodeId, ...]
    joined: frozenset[NodeId]
    left: frozenset[NodeId]
    quorate: bool
    nodes: Mapping[NodeId, NodeFacts]
    order: int = 0
    time: float = 0.0
    reasons: Mapping[NodeId, str] = field(default_factory=dict)
    ring_seq: int = 0
    highest: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a request. `safe`: not before every member holds the request and those who have the state are a quorum."""

    to: Origin
    message: Message
    safe: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Tell a client something it did not ask for just now (what the C API does with a callback).

    `safe`: not before every member holds what caused it. Later events of the service for that client wait behind it,
    but for one that goes `ahead` (a transitional configuration: what waits is delivered in it). `firm`: not before all
    members of a quorum that has the state hold it, in this membership or a later one; never if another state stands.
    """

    to: Client
    message: Message
    safe: bool = False
    ahead: bool = False
    firm: bool = False


@dataclass(frozen=True, slots=True)
class Alarm:
    """Put `message` into the order after `delay` seconds. The same key again replaces it; delay None takes it back.

    A late or repeated alarm must be harmless: `apply` checks it against the state.
    """

    key: str
    delay: float | None
    message: Request | None = None


@dataclass(frozen=True, slots=True)
class Multicast:
    """The executive of `node` puts `message` into the order."""

    node: NodeId
    message: Request


@dataclass(frozen=True, slots=True)
class Run:
    """The executive of `node` carries out `command` in its world; what came of it returns as a request."""

    node: NodeId
    command: Message


@dataclass(frozen=True, slots=True)
class Forward:
    """The engine of `service` applies `message` next, as from the executive (client 0) of the sender's node."""

    service: Service
    message: Request


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the log of every node; `level` is that of the standard logging module."""

    level: int
    text: str


Effect = Reply | Event | Alarm | Multicast | Run | Forward | Log


class Engine(Protocol):
    """One AIS service. Same inputs in the same order give the same state and the same effects on every node.

    No method raises for what a client sent: a refusal is a `Reply` with `Failed`. Validate first, change after.
    """

    service: ClassVar[Service]
    request_type: ClassVar[Any]
    """The union of all requests (with ClientGone), for decoding."""
    query_type: ClassVar[Any]
    """The union of all queries, for decoding; None when there are none."""
    snapshot_type: ClassVar[type[msgspec.Struct]]
    remnant_type: ClassVar[Any]
    """What `remnant` gives, for decoding; None when a node brings nothing along."""

    def apply(self, message: Any, origin: Origin) -> list[Effect]:
        """Apply one request in its place in the total order."""

    def query(self, message: Any, client: Client) -> Message:
        """Answer from the local replica."""

    def membership(self, change: Membership) -> list[Effect]:
        """Take note of a membership change, in its place in the total order."""

    def snapshot(self) -> msgspec.Struct:
        """The whole state, canonical: equal states encode to equal bytes (sort what comes from sets and dicts)."""

    def restore(self, snapshot: Any) -> None:
        """Replace the state by the one that stands: of a node that joins, or whose partition gives way to another."""

    def remnant(self, node: NodeId) -> msgspec.Struct | None:
        """What `node` brings along when its partition gives way: what its clients hold, and what the service unites.

        Asked before `restore`, of the state that is lost. None: nothing.
        """

    def merge(self, remnant: Any, origin: Origin) -> list[Effect]:
        """A node that gave way brings its remnant along, in its place in the total order: the service's merge rule.

        `origin.client` is the executive of that node. Its clients go on with their sessions: answer the requests of
        theirs that still waited for a reply, and tell them what they have lost. They ask nothing before this.
        """


@runtime_checkable
class Roster(Protocol):
    """The engine that knows which nodes are members of the cluster: CLM's."""

    def is_member(self, node_id: NodeId) -> bool:
        """Whether the node is in the ring and not locked."""


@runtime_checkable
class Numbering(Protocol):
    """An engine whose numbers grow for every client, also for one whose partition gave way (`Membership.highest`)."""

    @property
    def highest(self) -> int:
        """The highest number that was given."""


def failed(error: AisError) -> Failed:
    """The reply that raises `error` at the client."""
    return Failed(int(error.code), error.reason, error.epoch, error.erroneous_vector_index, error.supported)


def to_error(message: Failed) -> AisError:
    """The exception that `message` stands for."""
    try:
        kind = from_code(message.code)
    except AisError:
        kind = from_code(ErrorCode.LIBRARY)
    return kind(
        message.reason,
        epoch=message.epoch,
        erroneous_vector_index=message.erroneous_vector_index,
        supported=message.supported,
    )
