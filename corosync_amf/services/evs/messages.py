"""What applications, executives and replicas say to one another about EVS, and the replicated state."""

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, ClientGone, Message, Query, Request
from corosync_amf.messaging import Packed, RingId


class Open(Request, frozen=True):
    """Begin a session: it is told of the present configuration and of all that follow. Answered by Done."""


class Join(Request, frozen=True):
    """Get the messages to these groups; all of them or, if it is refused, none. Answered by Done."""

    groups: tuple[bytes, ...]


class Leave(Request, frozen=True):
    """Get no more messages to these groups; of all of them or, if it is refused, of none. Answered by Done."""

    groups: tuple[bytes, ...]


class Finalize(Request, frozen=True):
    """End the session. Answered by Done."""


class Multicast(Request, frozen=True):
    """`count` messages, packed in `data`, to these groups; None: to those of the sender. Answered by Done when it is
    in the order.
    """

    groups: tuple[bytes, ...] | None
    is_safe: bool
    count: int
    data: memoryview


EvsRequest = Open | Join | Leave | Finalize | Multicast | ClientGone


class GetMembers(Query, frozen=True):
    """Which nodes are there. Answered by Members."""


EvsQuery = GetMembers


class Members(Message, frozen=True):
    """The members of the present configuration, in ascending order."""

    nodes: tuple[NodeId, ...]


# Events


class Messages(Packed, frozen=True):
    """Messages of one sender."""

    node_id: NodeId


class Changed(Message, frozen=True):
    """A configuration."""

    members: tuple[NodeId, ...]
    left: tuple[NodeId, ...]
    joined: tuple[NodeId, ...]
    ring_id: RingId
    kind: int
    reason: str


EvsEvent = Messages | Changed

# The replicated state


class SessionRecord(msgspec.Struct, frozen=True, order=True, array_like=True, forbid_unknown_fields=True):
    """A session and its groups, in the order of joining."""

    client: Client
    groups: tuple[bytes, ...]


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole state of EVS; sessions by client."""

    sessions: list[SessionRecord]
    nodes: tuple[NodeId, ...]
    ring_id: RingId


class Remnant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the clients of a node that gave way go on with, and the configuration that they saw last."""

    sessions: list[SessionRecord]
    nodes: tuple[NodeId, ...]
