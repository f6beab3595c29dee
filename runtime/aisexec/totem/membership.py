"""Who will be in the next ring: the arithmetic of join messages.

Each node tells whom it considers (`proc`) and whom of those it has given up (`fail`); both only grow. When all that
are left in `proc` without `fail` say the same, they are agreed.

Source: Totem single-ring protocol, membership: my_proc_set, my_fail_set, consensus.
"""

from collections.abc import Iterable, Mapping

from aisexec.totem.packets import Join
from corosync_amf.ais import NodeId


class Gathering:
    """One attempt to agree on a membership.

    joins   the latest join message of each node
    since   since when each node has been asked
    first   incarnation and number of the first join message that this node sends in this attempt
    """

    __slots__ = ("fail", "first", "joins", "local", "proc", "since")

    def __init__(
        self, local: NodeId, proc: Iterable[NodeId], fail: Iterable[NodeId], now: float, first: tuple[int, int]
    ) -> None:
        self.local = local
        self.first = first
        self.fail = set(fail) - {local}
        self.proc = set(proc) | self.fail | {local}
        self.joins: dict[NodeId, Join] = {}
        self.since = dict.fromkeys(self.proc, now)

    @property
    def members(self) -> tuple[NodeId, ...]:
        """Who would be in the ring, in ring order."""
        return tuple(sorted(self.proc - self.fail))

    def hear(self, sender: NodeId, join: Join, now: float) -> bool:
        """Take a join message; True when it changed what this node wants, so that it has to tell the others."""
        if sender in self.fail or self._is_outdated(join):
            return False
        self.joins[sender] = join
        before = len(self.proc) + len(self.fail)
        self.proc.add(sender)
        self.proc.update(join.proc, join.fail)
        if self.local in join.fail:
            self.fail.add(sender)  # it goes on without this node
        else:
            self.fail.update(join.fail)
        for node in self.proc:
            self.since.setdefault(node, now)
        return len(self.proc) + len(self.fail) != before

    def _is_outdated(self, join: Join) -> bool:
        """Whether the sender gave this node up before it could know of this attempt. It will hear of it, and think
        again; to give it up in turn could go on for ever, each always answering the other's last attempt."""
        if self.local not in join.fail:
            return False
        last = {node: (incarnation, number) for node, incarnation, number in join.last}
        return last.get(self.local, (0, 0)) < self.first

    def give_up(self, nodes: Iterable[NodeId]) -> bool:
        """Leave nodes out; True when that changed anything."""
        before = len(self.fail)
        self.fail.update(set(nodes) & self.proc - {self.local})
        return len(self.fail) != before

    def sorted_sets(self) -> tuple[tuple[NodeId, ...], tuple[NodeId, ...]]:
        """`proc` and `fail` as join messages carry them."""
        return tuple(sorted(self.proc)), tuple(sorted(self.fail))

    def asked(self, nodes: Iterable[NodeId], since: float) -> None:
        """These have been asked whether they are there since that time already."""
        self.since.update((node, since) for node in nodes if node in self.proc)

    def laggards(self) -> list[NodeId]:
        """Those that are wanted and have not said the same as this node."""
        proc, fail = self.sorted_sets()
        return [
            node
            for node in self.members
            if node != self.local and ((join := self.joins.get(node)) is None or join.proc != proc or join.fail != fail)
        ]

    def silent(self, heard: dict[NodeId, float], now: float, silence: float) -> list[NodeId]:
        """Those that are wanted and have not been heard for `silence` seconds, though they were asked."""
        since = self.since
        return [
            node
            for node in self.members
            if node != self.local and now - max(heard.get(node, since[node]), since[node]) >= silence
        ]

    def ring_seq(self) -> int:
        """The highest ring sequence number that anybody told."""
        return max((join.ring_seq for join in self.joins.values()), default=0)

    def all_fresh(self) -> bool:
        """No node heard was in a ring before."""
        return all(join.fresh for join in self.joins.values())


def reason_to_gather(
    local: NodeId, ring_seq: int, incarnations: Mapping[NodeId, int], sender: NodeId, incarnation: int, join: Join
) -> str | None:
    """Why a member of an operational ring gathers when it hears a join message; None when it does not.

    Messages that members sent before the ring was formed are late. A stranger that has given this node up is left
    alone: its ring will show itself, and then be merged.
    """
    if incarnations.get(sender) == incarnation:
        if join.ring_seq < ring_seq:
            return None
        return join.reason if ", says node " in join.reason else f"{join.reason}, says node {sender}"
    if local in join.fail:
        return None
    return f"node {sender} was started again" if sender in incarnations else f"node {sender} joins"
