"""What applications, executives and replicas say to one another about MSG, and the replicated state."""

from typing import ClassVar

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, ClientGone, Done, Failed, Message, Origin, Query, Request

from .values import GroupView, QueueGroupPolicy, QueueStatus, QueueThresholds, Sizes


class Attributes(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """QueueCreationAttributes in plain numbers."""

    creation_flags: int
    size: Sizes
    retention_time: float | None


class Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What the sender says."""

    data: bytes
    type: int
    version: int
    priority: int
    sender_name: str | None


# Requests of clients. A handle is a number that the client chose; so is the number of a get.


class Open(Request, frozen=True):
    """Answered by Opened."""

    handle: int
    name: str
    open_flags: int
    attributes: Attributes | None = None


class Close(Request, frozen=True):
    """Close handles; those that are not open are left out. `taken` as in Get."""

    without_quorum: ClassVar[bool] = True

    handles: tuple[int, ...]
    taken: tuple[int, ...] = ()


class Unlink(Request, frozen=True):
    """Take the name away."""

    name: str


class Purge(Request, frozen=True):
    """Discard the messages of a queue, whoever has it open. Answered by Purged."""

    name: str


class SetRetention(Request, frozen=True):
    """How long the queue outlives its close, in seconds; None for ever."""

    handle: int
    retention_time: float | None


class SetThresholds(Request, frozen=True):
    """When to tell that the queue's capacity is reached, or available again."""

    handle: int
    thresholds: QueueThresholds


class Send(Request, frozen=True):
    """Put a message into the queue, or queues, of a name; answered by Done when every member has it.

    `number` is new with each message of the client, and the same when the request is repeated: then the first outcome
    is the answer. The client knows the outcomes of the numbers `settled`.
    """

    number: int
    settled: tuple[int, ...]
    destination: str
    body: Body


class SendReceive(Request, frozen=True):
    """`Send` to one queue, answered by Answered when the receiver has replied."""

    number: int
    settled: tuple[int, ...]
    destination: str
    body: Body


class Respond(Request, frozen=True):
    """Answer a SendReceive; `number` and `settled` as in Send."""

    number: int
    settled: tuple[int, ...]
    sender_id: int
    body: Body


class Get(Request, frozen=True):
    """Take the next message, and wait for one if need be (`waits`). Answered by Got, without waiting by Withdrawn, too.

    The message stays in hand until the client says that it has been taken: `taken` are the numbers of gets whose
    messages the application has.
    """

    handle: int
    number: int
    waits: bool
    taken: tuple[int, ...] = ()


class Taken(Request, frozen=True):
    """The application has what these gets were answered with.

    Refused with NotExist when one of the messages was given to somebody else, while the client's node was cut off.
    """

    handle: int
    taken: tuple[int, ...]


class Withdraw(Request, frozen=True):
    """End a get. Answered by Withdrawn; if a message is in hand for it already, it stays so unless `put_back`."""

    without_quorum: ClassVar[bool] = True

    handle: int
    number: int
    put_back: bool


class Cancel(Request, frozen=True):
    """End all gets of the queue with Interrupt."""

    without_quorum: ClassVar[bool] = True

    handle: int


class WithdrawReceive(Request, frozen=True):
    """Wait no more for the reply to the SendReceive of this number. Answered by Withdrawn."""

    without_quorum: ClassVar[bool] = True

    number: int


class CreateGroup(Request, frozen=True):
    """Make a queue group."""

    name: str
    policy: QueueGroupPolicy


class DeleteGroup(Request, frozen=True):
    """Its queues stay."""

    name: str


class Insert(Request, frozen=True):
    """Add a queue to a group."""

    group: str
    queue: str


class Remove(Request, frozen=True):
    """Take a queue out of a group."""

    group: str
    queue: str


class Track(Request, frozen=True):
    """Follow a group. Answered by View; `as_event`: the present view comes as an event, too."""

    group: str
    flags: int
    as_event: bool


class TrackStop(Request, frozen=True):
    """Follow a group no more."""

    without_quorum: ClassVar[bool] = True

    group: str


# Requests of executives.


class RetentionOver(Request, frozen=True):
    """The retention time of queue `number` that began with closing number `closing` has run out."""

    number: int
    closing: int


MsgRequest = (
    Send
    | Get
    | Taken
    | SendReceive
    | Respond
    | Withdraw
    | WithdrawReceive
    | Cancel
    | Open
    | Close
    | Unlink
    | Purge
    | SetRetention
    | SetThresholds
    | CreateGroup
    | DeleteGroup
    | Insert
    | Remove
    | Track
    | TrackStop
    | RetentionOver
    | ClientGone
)


class GetStatus(Query, frozen=True):
    """Answered by Status."""

    name: str


class GetThresholds(Query, frozen=True):
    """Answered by Thresholds."""

    handle: int


class GetView(Query, frozen=True):
    """Answered by View."""

    group: str


class ListQueues(Query, frozen=True):
    """Queues behind `after` in the order of their names, one page of them. Answered by Queues."""

    after: str = ""


class ListGroups(Query, frozen=True):
    """Groups behind `after` in the order of their names, one page of them. Answered by Groups."""

    after: str = ""


MsgQuery = GetStatus | GetThresholds | GetView | ListQueues | ListGroups


# Replies.


class Opened(Message, frozen=True):
    """The queue is open."""

    attributes: Attributes


class Got(Message, frozen=True, gc=False):
    """A message, as it lies in its queue and as it is given to the receiver."""

    body: Body
    send_time: float
    sender_id: int | None


class Answered(Message, frozen=True, gc=False):
    """What the receiver of a SendReceive replied."""

    body: Body
    send_time: float


class Withdrawn(Message, frozen=True):
    """The get or receive is over; `answered`: it had been answered before."""

    answered: bool


class Purged(Message, frozen=True):
    """How many messages were discarded."""

    count: int


class View(Message, frozen=True):
    """The present view of a group."""

    view: GroupView


class Status(Message, frozen=True):
    """The answer of GetStatus; `opener` has the queue open."""

    status: QueueStatus
    opener: Client | None


class Thresholds(Message, frozen=True):
    """The answer of GetThresholds."""

    thresholds: QueueThresholds


class QueueLine(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One queue of a list."""

    name: str
    opener: Client | None
    messages: int
    used: int
    size: int


class Queues(Message, frozen=True):
    """One page; none: there are no further ones."""

    lines: list[QueueLine]


class GroupLine(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One group of a list."""

    name: str
    policy: QueueGroupPolicy
    queues: int
    open: int


class Groups(Message, frozen=True):
    """One page; none: there are no further ones."""

    lines: list[GroupLine]


# Events.


class Arrived(Message, frozen=True):
    """So many messages have come into a queue that was opened with RECEIVE_CALLBACK, or were in it."""

    handle: int
    count: int


class Lost(Message, frozen=True):
    """The queue is not this client's any more: its partition gave way, and the queue is gone or open elsewhere."""

    handle: int


class GroupChanged(Message, frozen=True):
    """A group that is followed; without a view: it is gone. `is_whole`: the view has all members."""

    group: str
    view: GroupView | None
    is_whole: bool = True


MsgEvent = Arrived | Lost | GroupChanged


# The replicated state.


class Waits(Message, frozen=True):
    """The outcome, so far, of a SendReceive: its message went to this queue."""

    sender_id: int
    queue: int


Outcome = Done | Failed | Waits
Numbered = tuple[int, Client, Got]
"""A message with its place in the total order and its sender: both together name it in all partitions."""
Handed = tuple[int, int, Client]
"""A get, and the name of the message that it was given."""


class GetRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A get that waits."""

    origin: Origin
    number: int


class QueueRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One queue of a snapshot. `in_hand` are (get, message)."""

    number: int
    name: str
    linked: bool
    attributes: Attributes
    opener: Client | None
    handle: int
    open_flags: int
    close_time: float | None
    closing: int
    thresholds: QueueThresholds | None
    is_reached: bool
    areas: tuple[list[Numbered], list[Numbered], list[Numbered], list[Numbered]]
    in_hand: list[tuple[int, Numbered]]
    taken: list[Handed]
    gets: list[GetRecord]


class GroupRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One group of a snapshot; `queues` by number, in the order of insertion."""

    name: str
    policy: QueueGroupPolicy
    queues: list[int]
    turns: list[tuple[NodeId, int]]
    is_reached: bool
    trackers: list[tuple[Client, int]]


class SentRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What became of a client's numbered requests."""

    client: Client
    outcomes: list[tuple[int, Outcome]]


class ReceiveRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A SendReceive that waits for its reply."""

    sender_id: int
    origin: Origin
    number: int
    queue: int


class ClosedRemnant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A queue that a client of the node closed in a partition without quorum, and what it had taken of late."""

    node: NodeId
    name: str
    taken: list[Handed]


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole state of MSG. `incarnations` are those of the members, and of nodes whose clients are remembered;
    `closed` is for those who go on in a partition with quorum."""

    quorate: bool = False
    numbers: int = 0
    queues: list[QueueRecord] = []
    groups: list[GroupRecord] = []
    sent: list[SentRecord] = []
    receives: list[ReceiveRecord] = []
    incarnations: list[tuple[NodeId, int]] = []
    closed: list[ClosedRemnant] = []


class HandleRemnant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A queue that a client of the node had open; name None: it was unlinked.

    `in_hand` are messages that the client was given, `taken` those of them that it has said to have taken of late.
    """

    client: Client
    handle: int
    name: str | None
    open_flags: int
    in_hand: list[Handed]
    taken: list[Handed]
    gets: list[GetRecord]


class Remnant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node brings along: what its clients hold, follow, wait for, and have closed while they were cut off.
    `clients` have numbered requests."""

    handles: list[HandleRemnant]
    receives: list[ReceiveRecord]
    trackers: list[tuple[Client, str, int]]
    clients: list[Client]
    closed: list[ClosedRemnant]
