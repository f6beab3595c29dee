"""From facts to what trackers and the log are told: nodes, views, lines."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from corosync_amf.ais import Admin, NodeId, TrackFlags
from corosync_amf.engine import Forward, NodeFacts, Notice, Service

from .messages import MemberRecord
from .values import AddressFamily, ClusterChange, ClusterNode, ClusterNotification, ClusterView, NodeAddress

Changes = Mapping[NodeId, tuple[ClusterNode, ClusterChange]]
CHANGE_FLAGS: Final = int(TrackFlags.CHANGES | TrackFlags.CHANGES_ONLY)
ALL_FLAGS: Final = 0x3F
GOING: Final = (ClusterChange.LEFT, ClusterChange.SHUTDOWN)


def node_of(record: MemberRecord, *, member: bool) -> ClusterNode:
    """The public form of a node."""
    facts = record.facts
    family = AddressFamily.INET6 if ":" in facts.address else AddressFamily.INET
    return ClusterNode(
        facts.node_id,
        NodeAddress(family, facts.address),
        facts.name,
        None,
        member,
        facts.boot_timestamp,
        record.initial_view_number,
    )


def view_for(
    flags: int, local: NodeId, view_number: int, quorate: bool, members: Sequence[MemberRecord], changes: Changes
) -> ClusterView:
    """The view as a tracker with `flags` on node `local` gets it: all members, or those concerned, or just its node.

    `changes` are the nodes concerned, as they are then; who is not concerned is a member with NO_CHANGE.
    """
    shown = {node_id: ClusterNotification(node, change) for node_id, (node, change) in changes.items()}
    if not flags & TrackFlags.CHANGES_ONLY:
        for record in members:
            node_id = record.facts.node_id
            if node_id not in shown:
                unchanged = ClusterNotification(node_of(record, member=True), ClusterChange.NO_CHANGE)
                shown[node_id] = unchanged
    chosen = [local] if flags & TrackFlags.LOCAL else sorted(shown)
    notifications = tuple(shown[node_id] for node_id in chosen if node_id in shown)
    going = sum(node.member and change in GOING for node, change in changes.values())
    return ClusterView(view_number, notifications, len(members) - going, quorate)


def is_concerned(flags: int, local: NodeId, changes: Changes) -> bool:
    """Whether a tracker hears of `changes`: with LOCAL only of those of its own node."""
    return bool(flags & CHANGE_FLAGS) and (not flags & TrackFlags.LOCAL or local in changes)


def log_line(
    view_number: int, members: Iterable[NodeFacts], joined: Iterable[NodeFacts], left: Iterable[NodeFacts], reason: str
) -> str:
    """The line that every executive logs at a change: addresses first, then names and ids."""
    present = list(members)
    nodes = " ".join(named(facts) for facts in present) or "-"
    return (
        f"CLM: view {view_number}, {len(present)} members: {_addresses(present)}; "
        f"joined: {_addresses(joined)}; left: {_addresses(left)}; nodes: {nodes}; because: {reason}"
    )


def _addresses(nodes: Iterable[NodeFacts]) -> str:
    return " ".join(facts.address for facts in nodes) or "-"


def named(facts: NodeFacts) -> str:
    """A node for people: `node1(1)`."""
    return f"{facts.name}({facts.node_id})"


NODE_JOIN: Final = 0x65
NODE_LEAVE: Final = 0x66
NODE_RECONFIGURED: Final = 0x67
NODE_ADMIN_STATE: Final = 0x68
_STATE_CHANGE: Final = 0x3001
_CLUSTER_CHANGE, _ADMIN_STATE = 1, 2
"""SaClmStateT."""
_ADMIN_STATES: Final = {Admin.UNLOCKED: 1, Admin.LOCKED: 2, Admin.SHUTTING_DOWN: 3}
"""SaClmAdminStateT."""
_CHANGES: Final = {
    NODE_JOIN: ClusterChange.JOINED,
    NODE_LEAVE: ClusterChange.LEFT,
    NODE_RECONFIGURED: ClusterChange.RECONFIGURED,
}


def notice(what: int, name: str, text: str, change: tuple[Admin, Admin] | None = None) -> Forward:
    """The notification that something happened to a node; `change`: its admin state before and after."""
    states: tuple[tuple[int, int | None, int], ...]
    if change is None:
        states = ((_CLUSTER_CHANGE, None, int(_CHANGES[what])),)
    else:
        states = ((_ADMIN_STATE, _ADMIN_STATES[change[0]], _ADMIN_STATES[change[1]]),)
    class_id = (18568, 3, what)
    told = Notice(_STATE_CHANGE, dn_of(name), "safApp=safClmService", class_id, text, states=states)
    return Forward(Service.NTF, told)


def dn_of(name: str) -> str:
    """The DN of a node, as root cause."""
    return f"safNode={name}"


def name_of(given: str) -> str:
    """The node name in `given`, which is that or a DN that begins with it."""
    return given.removeprefix("safNode=").partition(",")[0] if given.startswith("safNode=") else given


def problem_of_flags(flags: int) -> str | None:
    """Say in words why nobody can track with these flags; None when one can."""
    wanted, steps = flags & CHANGE_FLAGS, flags & (TrackFlags.START_STEP | TrackFlags.VALIDATE_STEP)
    if flags & ~ALL_FLAGS or not flags & (TrackFlags.CURRENT | CHANGE_FLAGS):
        return "flags must have CURRENT, CHANGES or CHANGES_ONLY, and no unknown bits"
    if wanted == CHANGE_FLAGS:
        return "CHANGES and CHANGES_ONLY exclude one another"
    return "steps go only with CHANGES or CHANGES_ONLY" if steps and not wanted else None
