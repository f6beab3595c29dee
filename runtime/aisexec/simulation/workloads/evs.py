"""EVS in a simulated cluster: one session on each node multicasts and remembers messages and configurations."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aisexec.node import NodeEvent
from aisexec.simulation.callers import Caller
from aisexec.simulation.histories import Life, View, faults_of
from corosync_amf.ais import NodeId
from corosync_amf.engine import Done, Engine, Failed, Request, Service
from corosync_amf.messaging import pack, unpack
from corosync_amf.services.evs import messages as m
from corosync_amf.services.evs.values import ConfigurationKind

EVERYBODY: Final = b"everybody"
SOME: Final = b"some"
TRANSITIONAL: Final = int(ConfigurationKind.TRANSITIONAL)


class EvsWorkload:
    """See `Workload`. All sessions are in EVERYBODY, half of them in SOME, too: what is sent to both comes once."""

    service = Service.EVS

    def __init__(self, nodes: list[NodeId], rng: random.Random) -> None:
        self.lives: list[Life] = []
        self._callers = {node: Caller(node, Service.EVS, Done | Failed, m.EvsEvent) for node in nodes}
        self._life_of: dict[NodeId, Life] = {}
        self._rng = rng
        self._refusals: list[str] = []

    def connect(self, node: NodeId, client: int, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        caller = self._callers[node]
        life = self._life_of[node] = Life(f"{node}/{client}", node)
        self.lives.append(life)
        groups = (EVERYBODY, SOME) if self._rng.random() < 0.5 else (EVERYBODY,)
        return [caller.connect(client), caller.request(m.Open(), m.Join(groups))]

    def work(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        life = self._life_of[node]
        return [self._callers[node].request(*[self._pack(life) for _ in range(self._rng.randint(1, 3))])]

    def hear(self, node: NodeId, frames: Sequence[bytes], now: float) -> list[NodeEvent]:
        """See `Workload`."""
        life = self._life_of[node]
        for asked, said in self._callers[node].hear(frames):
            if isinstance(said, Failed):
                self._refusals.append(f"{asked} was refused: {said}")
            elif isinstance(said, m.Messages):
                life.log += unpack(said.data, said.count)
            elif isinstance(said, m.Changed):
                # A node that comes back to another partition gets the messages from the place where it is let in.
                is_back = said.reason == f"node {life.node} is back from another partition"
                key = (said.ring_id, said.kind, said.members)
                life.log.append(View(key, said.kind == TRANSITIONAL, is_late=is_back or not life.log))
        return []

    def lost(self, node: NodeId, now: float) -> None:
        """See `Workload`."""
        self._callers[node].lost()
        self._life_of[node].is_lost = True

    def finish(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        return []

    def is_settled(self) -> bool:
        """See `Workload`."""
        return not any(caller.asked for caller in self._callers.values()) and all(
            life.own() == life.sent for life in self.lives if life.is_alive
        )

    def check(self, engines: Mapping[NodeId, Engine]) -> list[str]:
        """See `Workload`."""
        states = {node: engine.snapshot() for node, engine in engines.items()}
        first: Any = states[min(states)]
        faults = [f"node {node} has another state" for node, state in states.items() if state != first]
        if first.nodes != tuple(sorted(states)):
            faults.append(f"the configuration is {first.nodes}, and {sorted(states)} are there")
        sessions = {(record.client.node, record.client.number) for record in first.sessions}
        alive = {(life.node, self._callers[life.node].client) for life in self.lives if life.is_alive}
        if sessions != alive:
            faults.append(f"sessions are {sorted(sessions)}, and {sorted(alive)} are alive")
        return [*faults, *self._refusals, *faults_of(self.lives)]

    def _pack(self, life: Life) -> Request:
        names = [f"{life.name}.{len(life.sent) + number}".encode() for number in range(self._rng.randint(1, 3))]
        life.sent += names
        is_safe = self._rng.random() < 0.3
        if is_safe:
            life.safe.update(names)
        groups = (SOME, EVERYBODY) if self._rng.random() < 0.3 else None
        return m.Multicast(groups, is_safe, len(names), pack(names))
