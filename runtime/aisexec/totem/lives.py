"""Which life of each node was seen: late messages of a former life, and lives that are over for good."""

from aisexec.totem.packets import Join
from corosync_amf.ais import NodeId


class Lives:
    """`departed`: the incarnation of each node that is known to be over, because it said goodbye or came back as a
    new one."""

    __slots__ = ("_joins", "_members", "departed")

    def __init__(self) -> None:
        self.departed: dict[NodeId, int] = {}
        self._joins: dict[NodeId, tuple[int, int]] = {}
        self._members: dict[NodeId, int] = {}

    def is_late(self, sender: NodeId, incarnation: int, join: Join) -> bool:
        """Whether a later join message of the sender came before."""
        return (incarnation, join.number) <= self._joins.get(sender, (0, 0))

    def last_join(self, node: NodeId) -> tuple[int, int]:
        """Incarnation and number of the last join message heard from a node; (0, 0) when there was none."""
        return self._joins.get(node, (0, 0))

    def hear(self, sender: NodeId, incarnation: int, join: Join, local: NodeId) -> None:
        """Learn from a join message."""
        self._joins[sender] = (incarnation, join.number)
        former = self._members.get(sender, incarnation)
        if former < incarnation:
            self.depart(sender, former)
        for node, gone in join.gone:
            if node != local:
                self.depart(node, gone)

    def depart(self, node: NodeId, incarnation: int) -> None:
        """This life of the node is over."""
        self.departed[node] = max(self.departed.get(node, 0), incarnation)

    def is_over(self, node: NodeId, incarnation: int) -> bool:
        return incarnation <= self.departed.get(node, 0)

    def joined(self, incarnations: dict[NodeId, int]) -> None:
        """These became members of a ring."""
        for node, incarnation in incarnations.items():
            former = self._members.get(node, incarnation)
            if former < incarnation:
                self.depart(node, former)
        self._members.update(incarnations)
