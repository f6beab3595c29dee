"""Clients that write records, and what must hold of the files that come of it.

one order      two nodes that both write two records write them in the same order
together       nodes that go on together write the same
numbers        the numbers of a stream's records grow, on every node that keeps its state
durability     a record that was acknowledged in a quorate membership is written by all who go on to the next one
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aisexec.groups import RingId
from aisexec.node import NodeEvent
from aisexec.simulation.callers import Caller
from corosync_amf.ais import NodeId
from corosync_amf.engine import Done, Engine, Failed, Membership, Message, Service
from corosync_amf.services.log import messages as m
from corosync_amf.services.log.values import STREAM_SYSTEM, FullAction

REPLY: Final = m.Opened | m.Written | Done | Failed
ROTATING: Final = m.Attributes("sim", ".", 600, 150, True, FullAction.ROTATE, 3, "@Cr @Cb")
WRAPPING: Final = m.Attributes("ring", "sim", 300, 150, True, FullAction.WRAP, 3, "@Cr @Cb")
SYSTEM, SIM, RING = range(3)
NAMES: Final = (STREAM_SYSTEM, "sim", "ring")
ATTRIBUTES: Final = (None, ROTATING, WRAPPING)
ASKED_MAX: Final = 60


@dataclass(slots=True)
class Stretch:
    """What a node wrote in one membership. `keeps`: it had its state from the stretch before."""

    ring_id: RingId
    quorate: bool
    keeps: bool
    written: list[tuple[int, int, bytes]] = field(default_factory=list)
    """(stream, number, body)"""

    def bodies(self) -> list[bytes]:
        return [body for _, _, body in self.written]


class LogWorkload:
    """See `Workload` and the module. `acknowledged`: by body, the node that heard it, and the record's number."""

    service = Service.LOG

    def __init__(self, nodes: list[NodeId], rng: random.Random) -> None:
        self._rng = rng
        self._callers = {node: Caller(node, Service.LOG, REPLY, m.LogEvent) for node in nodes}
        self._handles: dict[NodeId, list[int]] = {node: [] for node in nodes}
        self._count = 0
        self.stretches: dict[NodeId, list[Stretch]] = {node: [] for node in nodes}
        self.acknowledged: dict[bytes, tuple[NodeId, int]] = {}
        self.faults: list[str] = []

    # ---- the client

    def connect(self, node: NodeId, client: int, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        caller = self._callers[node]
        hello = caller.connect(client)
        self._handles[node] = [0, 0, 0]
        return [hello, caller.request(*[self._opening(node, stream) for stream in (SYSTEM, SIM, RING)])]

    def _opening(self, node: NodeId, stream: int) -> m.Open:
        self._count += 1
        self._handles[node][stream] = self._count
        return m.Open(self._count, NAMES[stream], ATTRIBUTES[stream], True)

    def work(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        caller, rng = self._callers[node], self._rng
        if not caller.client or len(caller.asked) >= ASKED_MAX:
            return []
        if rng.random() < 0.03:
            stream = rng.choice((SIM, RING))
            closing = m.Close((self._handles[node][stream],))
            return [caller.request(closing, self._opening(node, stream))]
        return [caller.request(*[self._record(node) for _ in range(rng.choice((1, 1, 3)))])]

    def _record(self, node: NodeId) -> m.Write:
        self._count += 1
        handle = self._handles[node][self._rng.choice((SYSTEM, SIM, SIM, RING))]
        body = b"%d.%d" % (node, self._count)
        return m.Write(handle, body, 6, f"node {node}", self._rng.random() < 0.8)

    def hear(self, node: NodeId, frames: Sequence[bytes], now: float) -> list[NodeEvent]:
        """See `Workload`."""
        for asked, answer in self._callers[node].hear(frames):
            if isinstance(asked, m.Write) and isinstance(answer, m.Written) and asked.safe:
                self.acknowledged[asked.body] = (node, answer.number)
        return []

    def lost(self, node: NodeId, now: float) -> None:
        """See `Workload`."""
        self._callers[node].lost()

    def finish(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        return []

    def is_settled(self) -> bool:
        """See `Workload`."""
        return not any(caller.asked for caller in self._callers.values())

    # ---- the files

    def installed(self, node: NodeId, ring_id: RingId, change: Membership) -> None:
        """See `Watching`."""
        self.stretches[node].append(Stretch(ring_id, change.quorate, node not in change.joined))

    def command(self, node: NodeId, command: Message, now: float) -> list[NodeEvent]:
        """See `Driving`."""
        if isinstance(command, m.Append) and command.line:
            number, _, rest = command.line.partition(b" ")
            body = rest.rstrip(b'"\n').rpartition(b'"')[2]
            if b" " not in body:  # what is forwarded as notifications is not ours to judge
                self.stretches[node][-1].written.append((command.file.stream, int(number), body))
        return []

    # ---- the checks

    def check(self, engines: Mapping[NodeId, Engine]) -> list[str]:
        """See `Workload`."""
        return [*self.faults, *self._order(), *self._together(), *self._numbers(), *self._durability()]

    def _order(self) -> list[str]:
        places = {
            node: {body: place for place, body in enumerate(body for each in stretches for body in each.bodies())}
            for node, stretches in self.stretches.items()
        }
        faults = []
        for one in places:
            for other in (node for node in places if node > one):
                common = [places[other][body] for body in places[one] if body in places[other]]
                if common != sorted(common):
                    faults.append(f"one order: nodes {one} and {other} wrote the same records in another order")
        return faults

    def _ways(self) -> dict[tuple[RingId, RingId | None], list[tuple[NodeId, Stretch, Stretch | None]]]:
        """Who went from which membership to which, keeping its state; to None: is there at the end."""
        ways: dict[tuple[RingId, RingId | None], list[tuple[NodeId, Stretch, Stretch | None]]] = {}
        for node, stretches in self.stretches.items():
            for stretch, following in zip(stretches, [*stretches[1:], None], strict=False):
                if following is None or following.keeps:
                    way = (stretch.ring_id, following.ring_id if following else None)
                    ways.setdefault(way, []).append((node, stretch, following))
        return ways

    def _together(self) -> list[str]:
        faults = []
        for (ring_id, _), walkers in self._ways().items():
            first, expected, _ = walkers[0]
            for node, stretch, _ in walkers[1:]:
                if stretch.written != expected.written:
                    faults.append(f"together: nodes {first} and {node} wrote different records in ring {ring_id.seq}")
        return faults

    def _numbers(self) -> list[str]:
        faults = []
        for node, stretches in self.stretches.items():
            last: dict[int, int] = {}
            for stretch in stretches:
                last = last if stretch.keeps else {}
                for stream, number, body in stretch.written:
                    if number <= last.get(stream, 0):
                        faults.append(f"numbers: node {node} wrote {body!r} as number {number} after {last[stream]}")
                    last[stream] = number
        return faults

    def _durability(self) -> list[str]:
        where = {
            (node, body): (stretch, number)
            for node, stretches in self.stretches.items()
            for stretch in stretches
            for _, number, body in stretch.written
        }
        survivors: dict[RingId, list[tuple[NodeId, frozenset[bytes]]]] = {}
        for (ring_id, _), walkers in self._ways().items():
            standing = [(node, stretch) for node, stretch, following in walkers if not following or following.quorate]
            survivors.setdefault(ring_id, []).extend((node, frozenset(each.bodies())) for node, each in standing)
        faults = []
        for body, (node, number) in self.acknowledged.items():
            found = where.get((node, body))
            if found is None or found[1] != number:
                faults.append(f"durability: node {node} acknowledged {body!r} as number {number}, but wrote {found}")
            elif found[0].quorate:
                faults += [
                    f"durability: node {node} acknowledged {body!r}, and node {other} goes on without it"
                    for other, bodies in survivors.get(found[0].ring_id, [])
                    if body not in bodies
                ]
        return faults
