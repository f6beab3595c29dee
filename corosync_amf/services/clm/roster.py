"""Who is in the ring, who of them is a member, and who follows that."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from logging import INFO

from corosync_amf.ais import LOCAL_NODE_ID, Admin, NodeId, TrackFlags
from corosync_amf.engine import Client, Effect, Event, Log, Membership, NodeFacts, NodeLocks, Run
from corosync_amf.errors import InvalidParam, NotExist, Unavailable

from .messages import MemberRecord, NodeInfo, RememberLocks, RememberView, Tracked
from .values import ChangeStep, ClusterChange, ClusterNode, ClusterView
from .views import (
    CHANGE_FLAGS,
    NODE_JOIN,
    NODE_LEAVE,
    NODE_RECONFIGURED,
    Changes,
    dn_of,
    is_concerned,
    log_line,
    named,
    node_of,
    notice,
    view_for,
)

JOINED, LEFT = ClusterChange.JOINED, ClusterChange.LEFT


class Roster:
    """See the module. `locked` and `known` are names of nodes; `trackers` are clients with their flags.

    `locks_version` counts the changes of `locked`, and how often there was quorum anew. Persistent nodes remember both,
    as the last quorate cluster knew them: each quorate cluster has a node of the one before, counts on from there, and
    so knows what is newer. A part without quorum counts nothing.
    """

    def __init__(self, known: frozenset[str]) -> None:
        self.view_number = 0
        self.quorate = False
        self.ring: dict[NodeId, MemberRecord] = {}
        self.known = set(known)
        self.locked: set[str] = set()
        self.locks_version = 0
        self.trackers: dict[Client, int] = {}

    # ---- questions

    def members(self) -> list[MemberRecord]:
        """The members, in order of their ids."""
        return [self.ring[node_id] for node_id in sorted(self.ring) if self.is_member(node_id)]

    def is_member(self, node_id: NodeId) -> bool:
        """Whether the node is in the ring and not locked."""
        record = self.ring.get(node_id)
        return record is not None and record.facts.name not in self.locked

    def named(self, name: str) -> MemberRecord | None:
        """The node in the ring that has this name."""
        found = [record for record in self.ring.values() if record.facts.name == name]
        return min(found, key=lambda record: record.facts.node_id) if found else None

    def check_available(self, client: Client) -> None:
        """Raises: Unavailable: the client's node is no member. The executive itself is always served."""
        if client.number and not self.is_member(client.node):
            raise Unavailable("the node is not a member of the cluster")

    def node(self, node_id: NodeId, client: Client) -> ClusterNode:
        """A member. Raises: Unavailable, InvalidParam, NotExist."""
        self.check_available(client)
        wanted = client.node if node_id == LOCAL_NODE_ID else node_id
        if wanted == 0:
            raise InvalidParam("0 is no node id")
        if not self.is_member(wanted):
            raise NotExist(f"node {wanted} is no member")
        return node_of(self.ring[wanted], member=True)

    def view(self, flags: int, client: Client, changes: Changes | None = None) -> ClusterView:
        """The view for a client, after `changes`."""
        return view_for(flags, client.node, self.view_number, self.quorate, self.members(), changes or {})

    def info(self, name: str, admin: Admin) -> NodeInfo:
        """A node for operators."""
        record = self.named(name)
        if record is None:
            return NodeInfo(name, 0, "", False, admin.name, 0.0, 0)
        facts = record.facts
        is_member = self.is_member(facts.node_id)
        return NodeInfo(
            name,
            facts.node_id,
            facts.address,
            is_member,
            admin.name,
            facts.boot_timestamp,
            record.initial_view_number if is_member else 0,
        )

    # ---- changes

    def lock(self, names: Iterable[str]) -> None:
        """These nodes are locked from now on."""
        if not self.locked.issuperset(names):
            self.locked.update(names)
            self.locks_version += int(self.quorate)

    def unlock(self, name: str) -> None:
        """This node is not locked any more."""
        self.locked.discard(name)
        self.locks_version += int(self.quorate)

    def locks(self) -> NodeLocks:
        """The locks with their version."""
        return NodeLocks(self.locks_version, tuple(sorted(self.locked)))

    def remember_locks(self, nodes: Collection[NodeId] | None = None) -> list[Effect]:
        """The locks are to outlive a restart of the whole cluster: have `nodes` (None: all) remember them.

        A part without quorum remembers nothing: what stands after it is what the quorate part knew.
        """
        if not self.quorate:
            return []
        locks = self.locks()
        return [Run(node, RememberLocks(locks)) for node in self._keepers() if nodes is None or node in nodes]

    def meet(self, other: NodeLocks) -> list[Effect]:
        """A part that gave way had these locks: the present ones stand, and are newer from now on."""
        if other.version < self.locks_version or other == self.locks():
            return []
        self.locks_version = other.version + 1
        return self.remember_locks()

    def _recall_locks(self, brought: Sequence[NodeLocks]) -> None:
        """Nodes that join remember locks from former lives: newer ones than those that are known stand."""
        newest = max((each.version for each in brought), default=0)
        if newest > self.locks_version:
            self.locks_version = newest
            self.locked = {name for each in brought if each.version == newest for name in each.names}
            self.known |= self.locked

    def enter(self, change: Membership, locked: Sequence[str]) -> list[Effect]:
        """The ring changes, and with it the nodes `locked` are. A node that died and came back at once left in one
        view and joined in the next.
        """
        before = {record.facts.node_id for record in self.members()}
        old = dict(self.ring)
        facts = {node: change.nodes.get(node) or _unknown(node) for node in change.members}
        self._recall_locks([facts[node].last_locks for node in sorted(change.joined) if node in facts])
        if change.quorate and not self.quorate:
            self.locks_version += 1
        self.quorate = change.quorate
        self.lock(locked)
        self.known.update(each.name for each in facts.values())
        remembered = [facts[node].last_view for node in change.joined if node in facts]
        self.view_number = max([self.view_number, *remembered])
        back = {node for node in change.left & change.joined if node in old and node in facts}
        self.ring = {node: old.get(node, MemberRecord(facts[node], 0)) for node in facts if node not in back}
        joined = {node for node in self.ring if self.is_member(node)} - before
        left = [old[node] for node in sorted(before) if not self.is_member(node)]
        effects: list[Effect] = []
        if joined or left:
            effects = self.turn(joined, left, _reason(facts, joined, left, change))
        self.ring |= {node: MemberRecord(facts[node], 0) for node in back}
        joined = {node for node in back if self.is_member(node)}
        if joined:
            effects += self.turn(joined, [], _reason(facts, joined, [], change))
        return effects

    def turn(self, joined: set[NodeId], left: Sequence[MemberRecord], reason: str) -> list[Effect]:
        """Count a new view, log it and tell the trackers. The ring and the locks are as they are after it."""
        self.view_number += 1
        for node_id in joined:
            self.ring[node_id] = MemberRecord(self.ring[node_id].facts, self.view_number)
        changes = {record.facts.node_id: (node_of(record, member=False), LEFT) for record in left}
        changes |= {node_id: (node_of(self.ring[node_id], member=True), JOINED) for node_id in joined}
        arrived = [self.ring[node_id].facts for node_id in sorted(joined)]
        gone = [record.facts for record in left]
        members = [record.facts for record in self.members()]
        cause = dn_of((gone or arrived)[0].name)
        return [
            Log(INFO, log_line(self.view_number, members, arrived, gone, reason)),
            *self._remembered(),
            *self.told(changes, ChangeStep.COMPLETED, reason, cause),
            *(notice(NODE_LEAVE, each.name, f"{named(each)}: {reason}") for each in gone),
            *(notice(NODE_JOIN, each.name, f"{named(each)}: {reason}") for each in arrived),
        ]

    def _remembered(self) -> list[Effect]:
        """The view number is not to come back after a restart of the whole cluster."""
        return [Run(node, RememberView(self.view_number)) for node in self._keepers()]

    def _keepers(self) -> list[NodeId]:
        return [node for node in sorted(self.ring) if self.ring[node].facts.is_persistent]

    def count_on(self, node: NodeId) -> list[Effect]:
        """A node has brought along a view as new as the present one, which therefore gets another number."""
        record = self.ring.get(node)
        if record is None:
            return []
        self.view_number += 1
        members = [each.facts for each in self.members()]
        reason = f"{named(record.facts)} has come back from another partition"
        is_member = self.is_member(node)
        changes = {node: (node_of(record, member=True), ClusterChange.RECONFIGURED)} if is_member else {}
        return [
            Log(INFO, log_line(self.view_number, members, (), (), reason)),
            *self._remembered(),
            *self.told(changes, ChangeStep.COMPLETED, reason, dn_of(record.facts.name)),
            notice(NODE_RECONFIGURED, record.facts.name, reason),
        ]

    def rejoined(self, trackers: Mapping[Client, int], former: Sequence[MemberRecord]) -> list[Effect]:
        """Trackers go on that have last seen the members `former`: they get the difference to the present view."""
        self.trackers |= trackers
        before = {record.facts.node_id: record for record in former}
        now = {record.facts.node_id: record for record in self.members()}
        changes = {
            node: (node_of(record, member=False), LEFT) for node, record in before.items() if node not in now
        } | {node: (node_of(record, member=True), JOINED) for node, record in now.items() if node not in before}
        reason = "the partitions have met again"
        return [
            Event(client, Tracked(self.view(flags, client, changes), ChangeStep.COMPLETED, reason))
            for client, flags in sorted(trackers.items())
            if is_concerned(flags, client.node, changes)
        ]

    def told(self, changes: Changes, step: ChangeStep, reason: str, cause: str) -> list[Effect]:
        """An event for each tracker that `changes` concern."""
        return [
            Event(client, Tracked(self.view(self.trackers[client], client, changes), step, reason, cause))
            for client in sorted(self.trackers)
            if is_concerned(self.trackers[client], client.node, changes)
        ]

    def asked(self, flag: TrackFlags, node_id: NodeId) -> list[Client]:
        """The trackers that are asked at a step about a node: with this flag, and with LOCAL only on that node."""
        return [
            client
            for client in sorted(self.trackers)
            if self.trackers[client] & flag
            and self.trackers[client] & CHANGE_FLAGS
            and (client.node == node_id or not self.trackers[client] & TrackFlags.LOCAL)
        ]


def _unknown(node: NodeId) -> NodeFacts:
    return NodeFacts(node, str(node), "-", 0.0, 0)


def _reason(
    facts: dict[NodeId, NodeFacts], joined: set[NodeId], left: Sequence[MemberRecord], change: Membership
) -> str:
    """Why, in words: `node3(3) token lost, node4(4) joined`."""
    parts = [f"{named(each.facts)} {_why_left(each.facts.node_id, change)}" for each in left]
    return ", ".join(parts + [f"{named(facts[node])} joined" for node in sorted(joined)])


def _why_left(node: NodeId, change: Membership) -> str:
    is_there = node in change.members and node not in change.left
    return "is locked, as a node that joins remembers" if is_there else change.reasons.get(node, "left")
