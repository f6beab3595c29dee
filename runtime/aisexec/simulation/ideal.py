"""A cluster of production `Node`s over a perfect order: partitions, crashes and restarts as scripted, no packets.

For tests of what stands above the ring. Each partition delivers every payload to all of its members at one place of the
order; `arrange` changes who is together, with a transitional configuration first, as a ring would.
"""

from collections import deque
from collections.abc import Callable, Sequence

from aisexec.groups import Configuration, ConfigurationKind, Delivered, Happening, RingId, Safe
from aisexec.node import Happened, Node, NodeEvent, NodeOptions
from aisexec.outbox import NodeEffect, Payloads
from aisexec.quorum import QuorumOptions
from corosync_amf.ais import NodeId
from corosync_amf.engine import Engine, NodeFacts

Engines = Callable[[NodeId], Sequence[Engine]]


class IdealCluster:
    """Nodes, who is together with whom, and what each node wants done (`effects`, oldest first). `fences`: a lost node
    must be fenced."""

    def __init__(self, engines: Engines, quorum: QuorumOptions | None = None, *, fences: bool = False) -> None:
        self.now = 0.0
        self.nodes: dict[NodeId, Node] = {}
        self.effects: dict[NodeId, list[NodeEffect]] = {}
        self._engines = engines
        self._quorum = quorum or QuorumOptions()
        self._fences = fences
        self._parts: dict[NodeId, tuple[NodeId, ...]] = {}
        self._queues: dict[tuple[NodeId, ...], deque[tuple[NodeId, bytes]]] = {}
        self._ring_seq = 0
        self._counts: dict[tuple[NodeId, ...], int] = {}
        self._starts = 0

    def start(self, node_id: NodeId) -> None:
        """A fresh executive on a node; it is in no ring until `arrange`."""
        self._starts += 1
        facts = NodeFacts(node_id, f"node-{node_id}", f"10.0.0.{node_id}", 0.0, self._starts)
        options = NodeOptions(facts, self._quorum, fence=self._fences, fence_required=self._fences)
        self.nodes[node_id] = Node(options, self._engines(node_id))
        self.effects[node_id] = []

    def crash(self, node_id: NodeId) -> None:
        """The executive is gone, with what it had queued and not yet sent."""
        del self.nodes[node_id]
        self._parts.pop(node_id, None)

    def arrange(self, *parts: tuple[NodeId, ...]) -> None:
        """Form one ring per part; what is still queued is sent on in the new ring of its sender."""
        former = dict(self._parts)
        unsent: dict[NodeId, list[bytes]] = {node: [] for node in self.nodes}
        for queue in self._queues.values():
            for sender, payload in queue:
                if sender in unsent:
                    unsent[sender].append(payload)
        self._queues.clear()
        self._counts.clear()
        for part in parts:
            members = tuple(sorted(part))
            self._ring_seq += 4
            ring_id = RingId(self._ring_seq, members[0])
            self._queues[members] = deque((node, payload) for node in members for payload in unsent[node])
            self._counts[members] = 0
            for node in members:
                together = tuple(other for other in members if former.get(other) == former.get(node) and node in former)
                self._parts[node] = members
                self._happen(
                    node,
                    [
                        Configuration(ConfigurationKind.TRANSITIONAL, ring_id, together),
                        Configuration(ConfigurationKind.REGULAR, ring_id, members, "the parts were arranged"),
                    ],
                )

    def tell(self, node_id: NodeId, event: NodeEvent) -> None:
        """Hand an event to a node and carry out what it multicasts."""
        self._carry_out(node_id, self.nodes[node_id].handle(event, self.now))

    def deliver(self, count: int | None = None, *, is_told_safe: bool = True) -> int:
        """Deliver up to `count` payloads (all, until quiet, by default); return how many were. `is_told_safe` False:
        no member hears that the others have them."""
        done = 0
        while count is None or done < count:
            busy = [part for part, queue in sorted(self._queues.items()) if queue]
            if not busy:
                break
            part = busy[0]
            sender, payload = self._queues[part].popleft()
            self._counts[part] += 1
            done += 1
            for node in part:
                if self._parts.get(node) == part and node in self.nodes:
                    safe = [Safe(self._counts[part])] if is_told_safe else []
                    self._happen(node, [Delivered([(sender, payload)]), *safe])
        return done

    def deliver_only_to(self, node_id: NodeId) -> None:
        """Deliver all that waits in the node's ring to this node; the other members never get it."""
        part = self._parts[node_id]
        queue = self._queues[part]
        while queue:
            self._counts[part] += 1
            self._happen(node_id, [Delivered([queue.popleft()])])

    def advance(self, seconds: float) -> None:
        """Let time pass; timers ring and what they cause is delivered."""
        end = self.now + seconds
        self.deliver()
        while True:
            deadlines = [deadline for node in self.nodes.values() if (deadline := node.next_deadline()) is not None]
            if not deadlines or min(deadlines) > end:
                break
            self.now = max(self.now, min(deadlines))
            for node_id in sorted(self.nodes):
                self._carry_out(node_id, self.nodes[node_id].wake(self.now))
            self.deliver()
        self.now = end

    def _happen(self, node_id: NodeId, happenings: list[Happening]) -> None:
        self._carry_out(node_id, self.nodes[node_id].handle(Happened(happenings), self.now))

    def _carry_out(self, node_id: NodeId, effects: list[NodeEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Payloads):
                queue = self._queues.get(self._parts.get(node_id, ()))
                if queue is not None:
                    queue.extend((node_id, payload) for payload in effect.payloads)
            else:
                self.effects[node_id].append(effect)
