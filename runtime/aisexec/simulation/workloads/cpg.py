"""CPG in a simulated cluster: one client on each node joins, multicasts, leaves, dies, and remembers what it was told.

Without transitional configurations nobody can tell here from which moment on safe messages were not safe any more: that
is for EVS to look at.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aisexec.node import NodeEvent
from aisexec.simulation.callers import Caller
from aisexec.simulation.histories import Life, View, faults_of
from corosync_amf.ais import NodeId
from corosync_amf.engine import Done, Engine, Failed, Request, Service
from corosync_amf.messaging import pack, unpack
from corosync_amf.services.cpg import messages as m
from corosync_amf.services.cpg.values import Reason

GROUPS: Final = (b"a", b"b")


class CpgClient:
    """One node's client; every membership of it is a life with a process id of its own."""

    def __init__(self, node: NodeId) -> None:
        self.caller = Caller(node, Service.CPG, Done | Failed, m.CpgEvent)
        self.life: Life | None = None
        self.group = b""
        self.pid = 0
        self.is_leaving = False


class CpgWorkload:
    """See `Workload`."""

    service = Service.CPG

    def __init__(self, nodes: list[NodeId], rng: random.Random) -> None:
        self.lives: list[Life] = []
        self._clients = {node: CpgClient(node) for node in nodes}
        self._rng = rng
        self._pids = 0
        self._refusals: list[str] = []

    def connect(self, node: NodeId, client: int, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        mine = self._clients[node]
        return [mine.caller.connect(client), self._join(mine)]

    def work(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        mine = self._clients[node]
        if mine.life is None:
            is_joining = any(isinstance(each, m.Join) for each in mine.caller.asked.values())
            return [] if is_joining else [self._join(mine)]
        if mine.is_leaving:  # the answer may be here already, and the event behind messages that are not safe yet
            return []
        if self._rng.random() < 0.05:
            mine.is_leaving = True
            return [mine.caller.request(m.Leave(mine.group))]
        packs = [self._pack(mine.life) for _ in range(self._rng.randint(1, 3))]
        return [mine.caller.request(*packs)]

    def hear(self, node: NodeId, frames: Sequence[bytes], now: float) -> list[NodeEvent]:
        """See `Workload`."""
        mine = self._clients[node]
        for asked, said in mine.caller.hear(frames):
            if asked is None:
                self._told(mine, said)
            elif isinstance(said, Failed):
                self._refusals.append(f"{asked} was refused: {said}")
        return []

    def lost(self, node: NodeId, now: float) -> None:
        """See `Workload`."""
        mine = self._clients[node]
        mine.caller.lost()
        if mine.life is not None:
            mine.life.is_lost, mine.life = True, None

    def finish(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        return []

    def is_settled(self) -> bool:
        """See `Workload`."""
        return not any(client.caller.asked for client in self._clients.values()) and all(
            life.own() == life.sent for life in self.lives if life.is_alive
        )

    def check(self, engines: Mapping[NodeId, Engine]) -> list[str]:
        """See `Workload`."""
        states = {node: engine.snapshot() for node, engine in engines.items()}
        first: Any = states[min(states)]
        faults = [f"node {node} has another state" for node, state in states.items() if state != first]
        members = {member.pid for group in first.groups for member in group.members}
        alive = {client.pid for client in self._clients.values() if client.life is not None}
        if members != alive:
            faults.append(f"members are {sorted(members)}, and {sorted(alive)} are alive")
        return [*faults, *self._refusals, *faults_of(self.lives)]

    # ---- one client

    def _join(self, mine: CpgClient) -> NodeEvent:
        self._pids += 1
        mine.pid, mine.group, mine.is_leaving = self._pids, self._rng.choice(GROUPS), False
        return mine.caller.request(m.Join(mine.group, mine.pid))

    def _pack(self, life: Life) -> Request:
        names = [f"{life.name}.{len(life.sent) + number}".encode() for number in range(self._rng.randint(1, 3))]
        life.sent += names
        return m.Multicast(self._rng.random() < 0.3, len(names), pack(names))

    def _told(self, mine: CpgClient, event: m.CpgEvent) -> None:
        match event:
            case m.Changed(_, members, left, joined, _):
                if (mine.caller.node, mine.pid, Reason.JOIN) in joined:
                    mine.life = Life(str(mine.pid), mine.caller.node)
                    self.lives.append(mine.life)
                if mine.life is None:
                    self._refusals.append(f"node {mine.caller.node}, in no group, is told {event}")
                    return
                is_cut = any(reason in (Reason.NODEDOWN, Reason.NODEUP) for _, _, reason in left + joined)
                mine.life.log.append(View((tuple(members), tuple(left), tuple(joined)), is_cut=is_cut))
                if (mine.caller.node, mine.pid, Reason.LEAVE) in left:
                    mine.life.has_left, mine.life = True, None
            case m.Messages(count, data):
                if mine.life is None:
                    self._refusals.append(f"node {mine.caller.node}, in no group, gets a message")
                else:
                    mine.life.log += unpack(data, count)
            case m.Totem():
                self._refusals.append(f"node {mine.caller.node} is told of the ring and did not ask")
