"""CPG as a replicated state machine: who is in which group, and messages passed on unopened.

A message reaches those who are members at its place in the order, and a change of the members stands in the same
order: between two changes all members get the same messages.

Source: cpg.h of corosync.
"""

from bisect import bisect_left, bisect_right, insort
from typing import Any, ClassVar, Final, assert_never

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import (
    Client,
    ClientGone,
    Done,
    Effect,
    Event,
    Membership,
    Message,
    Origin,
    Reply,
    Service,
    failed,
)
from corosync_amf.errors import AisError, Exist, InvalidParam, NoResources, NotExist
from corosync_amf.messaging import RingId, is_sound

from . import messages as m
from .messages import Member
from .values import GROUP_BYTES_MAX, GROUPS_MAX, MEMBERS_MAX, Reason, TotemEvents

DONE: Final = Done()
PAGE_ENTRIES: Final = 512
PID_MAX: Final = 0xFFFFFFFF
UNKNOWN_RING: Final = RingId(0, 0)


class Group:
    """The members of one group in the order of their joining, with their processes."""

    __slots__ = ("clients", "members", "name")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.members: dict[Client, int] = {}
        self.clients: tuple[Client, ...] = ()

    def add(self, client: Client, pid: int) -> None:
        self.members[client] = pid
        self.clients = tuple(self.members)

    def remove(self, client: Client) -> None:
        del self.members[client]
        self.clients = tuple(self.members)

    def record(self) -> list[Member]:
        """For answers and snapshots."""
        return [Member(client, pid) for client, pid in self.members.items()]


class CpgEngine:
    """See the module. `_names` are those of the groups, in order."""

    service: ClassVar[Service] = Service.CPG
    request_type: ClassVar[Any] = m.CpgRequest
    query_type: ClassVar[Any] = m.CpgQuery
    snapshot_type: ClassVar[type[msgspec.Struct]] = m.Snapshot
    remnant_type: ClassVar[Any] = m.Remnant

    def __init__(self) -> None:
        self._groups: dict[bytes, Group] = {}
        self._names: list[bytes] = []
        self._group_of: dict[Client, Group] = {}
        self._watchers: set[Client] = set()
        self._ring_id = UNKNOWN_RING
        self._nodes: tuple[NodeId, ...] = ()

    # ---- the engine protocol

    def apply(self, message: m.CpgRequest, origin: Origin) -> list[Effect]:
        """See `Engine`."""
        try:
            match message:
                case m.Multicast():
                    return self._multicast(message, origin)
                case m.Join(group, pid):
                    return self._join(group, pid, origin)
                case m.Leave(group):
                    return self._leave(group, origin)
                case m.Finalize():
                    self._watchers.discard(origin.client)
                    return [*self._gone(origin.client, Reason.LEAVE), Reply(origin, DONE)]
                case m.Watch(wanted):
                    return self._watch(wanted, origin)
                case ClientGone():
                    self._watchers.discard(origin.client)
                    return self._gone(origin.client, Reason.PROCDOWN)
                case _:
                    assert_never(message)
        except AisError as error:
            return [Reply(origin, failed(error))]

    def query(self, message: m.CpgQuery, client: Client) -> Message:
        """See `Engine`."""
        match message:
            case m.GetMembers(name):
                group = self._groups.get(name)
                return m.Members(group.record() if group is not None else [])
            case m.GetPage(last, with_members):
                return self._page(last, with_members)
            case _:
                assert_never(message)

    def membership(self, change: Membership) -> list[Effect]:
        """See `Engine`."""
        self._nodes, self._ring_id = change.members, RingId(change.members[0], change.ring_seq)
        staying = set(change.members) - change.left
        self._watchers = {client for client in self._watchers if client.node in staying}
        effects: list[Effect] = [Event(client, self._totem()) for client in sorted(self._watchers)]
        lost = [client for client in self._group_of if client.node not in staying]
        names = sorted({self._group_of[client].name for client in lost})
        for name in names:
            group = self._groups[name]
            left = [member for member in group.record() if member.client.node not in staying]
            for member in left:
                self._remove(member.client)
            nodes = sorted({member.client.node for member in left})
            reason = "; ".join(change.reasons.get(node) or f"node {node} is gone" for node in nodes)
            effects += _told(group, group.clients, left, Reason.NODEDOWN, [], Reason.UNDEFINED, reason)
        return effects

    def snapshot(self) -> m.Snapshot:
        """See `Engine`."""
        groups = [m.Group(name, self._groups[name].record()) for name in self._names]
        return m.Snapshot(groups, sorted(self._watchers), self._ring_id, self._nodes)

    def restore(self, snapshot: m.Snapshot) -> None:
        """See `Engine`."""
        self._groups, self._names, self._group_of = {}, [], {}
        for group in snapshot.groups:
            for member in group.members:
                self._add(group.name, member)
        self._watchers = set(snapshot.watchers)
        self._ring_id, self._nodes = snapshot.ring_id, snapshot.nodes

    def remnant(self, node: NodeId) -> m.Remnant | None:
        """See `Engine`: the members on that node, each with its group as it last saw it."""
        mine = sorted(client for client in self._group_of if client.node == node)
        seen = [m.Seen(client, self._group_of[client].name, self._group_of[client].record()) for client in mine]
        watchers = sorted(client for client in self._watchers if client.node == node)
        return m.Remnant(seen, watchers) if seen or watchers else None

    def merge(self, remnant: m.Remnant, origin: Origin) -> list[Effect]:
        """See `Engine`. Groups unite: those who stood see members come, those who come see who left and who is new."""
        node = origin.client.node
        watchers = sorted(client for client in remnant.watchers if client.node == node)
        self._watchers.update(watchers)
        effects: list[Effect] = [Event(client, self._totem()) for client in watchers]
        back: dict[bytes, dict[Client, list[Member]]] = {}
        for seen in remnant.seen:
            if seen.client.node == node and seen.client not in self._group_of:
                back.setdefault(seen.group, {})[seen.client] = seen.members
        for name in sorted(back):
            effects += self._reunite(name, back[name], f"node {node} is back from another partition")
        return effects

    # ---- members

    def _join(self, name: bytes, pid: int, origin: Origin) -> list[Effect]:
        if not 1 <= len(name) <= GROUP_BYTES_MAX or not 0 <= pid <= PID_MAX:
            raise InvalidParam("a group or a process id out of range")
        if origin.client in self._group_of:
            raise Exist("this session is in a group")
        group = self._groups.get(name)
        if group is None and len(self._groups) >= GROUPS_MAX:
            raise NoResources(f"there are {GROUPS_MAX} groups")
        if group is not None and len(group.members) >= MEMBERS_MAX:
            raise NoResources(f"the group has {MEMBERS_MAX} members")
        member = Member(origin.client, pid)
        group = self._add(name, member)
        reason = f"{_words(member)} joined"
        told = _told(group, group.clients, [], Reason.UNDEFINED, [member], Reason.JOIN, reason)
        return [*told, Reply(origin, DONE)]

    def _leave(self, name: bytes, origin: Origin) -> list[Effect]:
        group = self._group_of.get(origin.client)
        if group is None or group.name != name:
            raise NotExist("this session is not in that group")
        member = Member(origin.client, group.members[origin.client])
        told = group.clients  # the one that leaves, too
        self._remove(origin.client)
        reason = f"{_words(member)} left"
        effects = _told(group, told, [member], Reason.LEAVE, [], Reason.UNDEFINED, reason)
        return [*effects, Reply(origin, DONE)]

    def _gone(self, client: Client, why: Reason) -> list[Effect]:
        """The session of a client has ended."""
        group = self._group_of.get(client)
        if group is None:
            return []
        member = Member(client, group.members[client])
        self._remove(client)
        reason = f"{_words(member)} {'left' if why is Reason.LEAVE else 'died'}"
        return _told(group, group.clients, [member], why, [], Reason.UNDEFINED, reason)

    def _reunite(self, name: bytes, back: dict[Client, list[Member]], reason: str) -> list[Effect]:
        known = self._groups.get(name)
        stood = known.clients if known is not None else ()
        for client, members in back.items():
            pids = [member.pid for member in members if member.client == client]
            self._add(name, Member(client, pids[0] if pids else 0))
        group = self._groups[name]
        members = group.record()
        coming = [member for member in members if member.client in back]
        effects = _told(group, stood, [], Reason.UNDEFINED, coming, Reason.NODEUP, reason)
        for client, saw in back.items():
            left = [member for member in saw if member not in members]
            new = [member for member in members if member not in saw]
            if left or new:
                effects += _told(group, (client,), left, Reason.NODEDOWN, new, Reason.NODEUP, reason)
        return effects

    def _add(self, name: bytes, member: Member) -> Group:
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group(name)
            insort(self._names, name)
        group.add(member.client, member.pid)
        self._group_of[member.client] = group
        return group

    def _remove(self, client: Client) -> None:
        group = self._group_of.pop(client)
        group.remove(client)
        if not group.members:
            del self._groups[group.name]
            del self._names[bisect_left(self._names, group.name)]

    # ---- messages and watchers

    def _multicast(self, message: m.Multicast, origin: Origin) -> list[Effect]:
        client = origin.client
        if not is_sound(message.count, message.data):
            raise InvalidParam("the pack is not what its head says")
        group = self._group_of.get(client)
        if group is None:
            raise NotExist("this session is in no group")
        told = m.Messages(message.count, message.data, group.name, client.node, group.members[client])
        effects: list[Effect] = [Event(each, told, message.is_safe) for each in group.clients]
        effects.append(Reply(origin, DONE))
        return effects

    def _watch(self, wanted: int, origin: Origin) -> list[Effect]:
        if wanted & TotemEvents.CHANGES:
            self._watchers.add(origin.client)
        else:
            self._watchers.discard(origin.client)
        told: list[Effect] = [Event(origin.client, self._totem())] if wanted & TotemEvents.INITIAL else []
        return [*told, Reply(origin, DONE)]

    def _totem(self) -> m.Totem:
        return m.Totem(self._ring_id, self._nodes)

    def _page(self, last: bytes, with_members: bool) -> m.Page:
        start = bisect_right(self._names, last)
        groups: list[m.Group] = []
        entries = 0
        for name in self._names[start : start + PAGE_ENTRIES]:
            members = self._groups[name].record() if with_members else []
            groups.append(m.Group(name, members))
            entries += max(1, len(members))
            if entries >= PAGE_ENTRIES:
                break
        return m.Page(groups, start + len(groups) == len(self._names))


def _told(
    group: Group,
    clients: tuple[Client, ...],
    left: list[Member],
    why_left: Reason,
    joined: list[Member],
    why_joined: Reason,
    reason: str,
) -> list[Effect]:
    """The change of a group's members, to each of `clients`."""
    members = [(client.node, pid) for client, pid in group.members.items()]
    change = m.Changed(group.name, members, _named(left, why_left), _named(joined, why_joined), reason)
    return [Event(client, change) for client in clients]


def _named(members: list[Member], reason: Reason) -> list[tuple[NodeId, int, int]]:
    return [(member.client.node, member.pid, int(reason)) for member in members]


def _words(member: Member) -> str:
    return f"process {member.pid} on node {member.client.node}"
