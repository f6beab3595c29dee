"""What applications, executives and replicas say to one another about CPG, and the replicated state."""

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, ClientGone, Message, Query, Request
from corosync_amf.messaging import Packed, RingId


class Join(Request, frozen=True):
    """Become a member of a group; `pid` is the client's process. Answered by Done."""

    group: bytes
    pid: int


class Leave(Request, frozen=True):
    """Be a member of this group no more. Answered by Done."""

    group: bytes


class Finalize(Request, frozen=True):
    """The session ends: Leave, if there is something to leave, and Watch(0). Answered by Done."""


class Watch(Request, frozen=True):
    """What the session wants to know of the ring (`TotemEvents`). Answered by Done."""

    wanted: int


class Multicast(Request, frozen=True):
    """`count` messages to the client's group, packed in `data`. Answered by Done when it is in the order."""

    is_safe: bool
    count: int
    data: memoryview


CpgRequest = Join | Leave | Finalize | Watch | Multicast | ClientGone


class GetMembers(Query, frozen=True):
    """Who is in a group. Answered by Members."""

    group: bytes


class GetPage(Query, frozen=True):
    """Some of the groups, with their members if wanted, those that come after the name `last`. Answered by Page."""

    last: bytes
    with_members: bool


CpgQuery = GetMembers | GetPage


class Member(msgspec.Struct, frozen=True, order=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A member of a group: the client and its process. Two clients may be one process."""

    client: Client
    pid: int


class Members(Message, frozen=True):
    """The members of one group, in the order of their joining."""

    members: list[Member]


class Group(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A group and its members, in the order of their joining."""

    name: bytes
    members: list[Member]


class Page(Message, frozen=True):
    """Some groups by name; `is_last`: there are none after them."""

    groups: list[Group]
    is_last: bool


# Events


class Messages(Packed, frozen=True):
    """Messages of one member."""

    group: bytes
    node_id: NodeId
    pid: int


class Changed(Message, frozen=True):
    """The members of a group, and who left and joined: (node, pid, reason)."""

    group: bytes
    members: list[tuple[NodeId, int]]
    left: list[tuple[NodeId, int, int]]
    joined: list[tuple[NodeId, int, int]]
    reason: str


class Totem(Message, frozen=True):
    """The members of the ring."""

    ring_id: RingId
    members: tuple[NodeId, ...]


CpgEvent = Messages | Changed | Totem

# The replicated state


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole state of CPG, groups and watchers in order."""

    groups: list[Group]
    watchers: list[Client]
    ring_id: RingId
    nodes: tuple[NodeId, ...]


class Seen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A client of a node that gave way: its group as it last saw it."""

    client: Client
    group: bytes
    members: list[Member]


class Remnant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the clients of a node that gave way go on with."""

    seen: list[Seen]
    watchers: list[Client]
