"""A whole cluster in simulated time: production rings, nodes and engines, clients that write checkpoints, and faults.

    python -m aisexec simulate --seeds 200            and to see what one of them does: --seed 42 --trace

Faults come for a while, at most a minority of nodes being down or without the state at a time; then peace; then:

    convergence     every node is a running member of one quorate membership
    equal replicas  the snapshots of all engines have equal bytes
    durability      no write that was acknowledged is missing
    one order       a membership and its place in the order are the same wherever it was installed

The ring by itself is checked in `ringworld`.
"""

import random
from dataclasses import dataclass, replace
from typing import Any

from aisexec.groups import Configuration, Delivered, RingId
from aisexec.node import ClientLost, Node, NodeOptions, Phase
from aisexec.outbox import CloseClient, Logged, ToClient
from aisexec.quorum import QuorumOptions
from aisexec.simulation.network import Network, PacketOptions
from aisexec.simulation.stack import Stack
from aisexec.simulation.writers import CHECKPOINT, Writer
from aisexec.totem.events import Log, RingOptions
from aisexec.totem.ring import Ring
from aisexec.totem.seal import NullSeal
from aisexec.totem.timeouts import Timeouts
from corosync_amf.ais import NodeId
from corosync_amf.engine import Engine, Membership, NodeFacts, Service
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.wire import encode

CONVERGENCE = 60.0
STEP = 0.25
LEASE_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Result:
    """`faults` in words, empty when all is well; `trace` what happened, one line each, when it was asked for."""

    seed: int
    faults: list[str]
    trace: list[str]
    simulated_seconds: float
    datagrams: int
    acknowledged: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed stands for."""

    nodes: int
    packets: PacketOptions
    timeouts: Timeouts
    seconds: float
    fault_every: float
    write_every: float
    section_bytes: int


class ClusterWorld:
    """`run` does all of it; the parts are for tests that write their own story."""

    def __init__(self, seed: int, *, trace: bool = False) -> None:
        self.seed = seed
        self.tracing = trace
        self.trace: list[str] = []
        self.faults: list[str] = []
        self.plan = draw(random.Random(f"plan {seed}"))
        self.network = Network(seed, self.plan.packets, self._observe)
        self.nodes: list[NodeId] = list(range(1, self.plan.nodes + 1))
        self.stacks: dict[NodeId, Stack] = {}
        self.writers: dict[NodeId, Writer] = {
            node: Writer(node, 1, b"c%d" % node, random.Random(f"writer {node} {seed}")) for node in self.nodes
        }
        self._lives: dict[NodeId, int] = {}
        self._installed: dict[RingId, tuple[NodeId, Membership]] = {}
        self._rng = random.Random(f"faults {seed}")
        self._load = random.Random(f"load {seed}")
        self._quiet = False
        self._clients = 0

    # ---- nodes

    def engines(self) -> list[Engine]:
        """The engines of one node."""
        return [ClmEngine(), CkptEngine()]

    def boot(self, node_id: NodeId) -> None:
        """Start a node, or start it again."""
        now, plan = self.network.now, self.plan
        life = self._lives[node_id] = self._lives.get(node_id, 0) + 1
        incarnation = 1 + int(now * 1e6)
        votes = dict.fromkeys(self.nodes, 1)
        quorum = QuorumOptions(enabled=True, votes=votes, lease=LEASE_SHARE * plan.timeouts.token)
        facts = NodeFacts(node_id, f"node-{node_id}", f"10.0.0.{node_id}", now, incarnation)
        options = RingOptions(node_id, incarnation, plan.timeouts, peers=tuple(self.nodes), ring_seq=int(now * 1000))
        ring = Ring(options, NullSeal("sim", node_id, incarnation), now)
        node = Node(NodeOptions(facts, quorum, era=1 + int(now)), self.engines())
        self.stacks[node_id] = stack = Stack(ring, node)
        self._note(node_id, f"starts, life {life}")
        self.network.boot(node_id, stack)
        self._connect(node_id)

    def crash(self, node_id: NodeId) -> None:
        """The node is gone, with its clients."""
        self._note(node_id, "crashes")
        self.network.crash(node_id)
        del self.stacks[node_id]
        self.writers[node_id].lost()

    def _connect(self, node_id: NodeId) -> None:
        self._clients += 1
        writer = self.writers[node_id]
        writer.client = self._clients
        for event in writer.connect():
            self.network.handle(node_id, event)

    # ---- the story

    def run(self) -> Result:
        """Faults under load; then peace, until all agree; then the checks."""
        network, plan = self.network, self.plan
        for node_id in self.nodes:
            network.at(self._load.random() * 0.2, lambda node_id=node_id: self.boot(node_id))  # type: ignore[misc]
        network.at(0.5, self._work)
        network.at(1.5, self._fault)
        network.run_until(plan.seconds)
        self._make_peace()
        converged = self._converge()
        self._check(converged)
        acknowledged = sum(writer.acknowledged for writer in self.writers.values())
        return Result(self.seed, self.faults, self.trace, network.now, network.datagrams, acknowledged)

    def _work(self) -> None:
        if self._quiet:
            return
        node_id = self._load.choice(self.nodes)
        writer = self.writers[node_id]
        host = self.network.hosts.get(node_id)
        if host is not None and host.paused_until <= self.network.now:
            if not writer.connected:
                self._connect(node_id)
            elif len(writer.written) < 100:
                for event in writer.write():
                    self.network.handle(node_id, event)
        self.network.at(self.network.now + self._load.expovariate(1 / self.plan.write_every), self._work)

    def _fault(self) -> None:
        if self._quiet:
            return
        rng, network = self._rng, self.network
        match rng.randrange(8):
            case 0 | 1:
                self._crash_or_boot(rng)
            case 2:
                order = rng.sample(self.nodes, len(self.nodes))
                cut = rng.randrange(1, max(2, len(order)))
                self._note(None, f"partition {sorted(order[:cut])} | {sorted(order[cut:])}")
                network.partition(order[:cut], order[cut:])
            case 3:
                source, target = rng.choice(self.nodes), rng.choice(self.nodes)
                self._note(None, f"one way cut {source} -> {target}")
                network.block(source, target)
            case 4 | 5:
                self._note(None, "all links heal")
                network.heal()
            case 6:
                node_id, seconds = rng.choice(self.nodes), rng.random() * 2 * self.plan.timeouts.token
                self._note(node_id, f"paused for {seconds:.3f} s")
                network.pause(node_id, seconds)
            case _:
                self._drop_client(rng)
        network.at(network.now + rng.expovariate(1 / self.plan.fault_every), self._fault)

    def _crash_or_boot(self, rng: random.Random) -> None:
        """A quorum of nodes that have the state always lives: what it acknowledged must then be there for ever."""
        down = sorted(set(self.nodes) - set(self.stacks))
        if down and rng.random() < 0.6:
            self.boot(rng.choice(down))
            return
        victim = rng.choice(self.nodes)
        if victim in self.stacks and self._others_hold_the_state(victim):
            self.crash(victim)
            if rng.random() < 0.3:  # so fast that nobody missed it
                self.network.at(self.network.now + rng.random() * 0.05, lambda: self._boot_if_down(victim))

    def _others_hold_the_state(self, victim: NodeId) -> bool:
        latest = max((stack.node.membership.order if stack.node.membership else 0) for stack in self.stacks.values())
        holders = [
            node_id
            for node_id, stack in self.stacks.items()
            if node_id != victim
            and stack.node.phase is Phase.RUNNING
            and stack.node.quorate
            and stack.node.membership is not None
            and stack.node.membership.order == latest
        ]
        return 2 * len(holders) > len(self.nodes)

    def _drop_client(self, rng: random.Random) -> None:
        node_id = rng.choice(self.nodes)
        writer = self.writers[node_id]
        if writer.connected:
            self.network.handle(node_id, ClientLost(writer.client))
            writer.lost()

    def _boot_if_down(self, node_id: NodeId) -> None:
        if node_id not in self.stacks:
            self.boot(node_id)

    def _make_peace(self) -> None:
        self._note(None, "peace")
        self._quiet = True
        self.network.heal()
        options = self.network.options
        self.network.options = replace(options, loss=min(options.loss, 0.02), corrupt=0.0)
        for node_id in self.nodes:
            self._boot_if_down(node_id)

    def _converge(self) -> bool:
        for _ in range(int(CONVERGENCE / STEP)):
            self.network.run_until(self.network.now + STEP)
            if self._agreed():
                return True
        return False

    def _agreed(self) -> bool:
        everybody = tuple(self.nodes)
        if len({stack.node.order for stack in self.stacks.values()}) > 1:
            return False
        return all(
            stack.node.phase is Phase.RUNNING
            and stack.node.quorate
            and stack.node.membership is not None
            and stack.node.membership.members == everybody
            and not stack.ring.backlog_bytes
            for stack in self.stacks.values()
        ) and all(not writer.written or not writer.connected for writer in self.writers.values())

    # ---- checks

    def _check(self, converged: bool) -> None:
        if not converged:
            self.faults.append(f"no agreement after the faults stopped: {self._standings()}")
        if converged:
            self._check_replicas()
            self._check_durability()

    def _check_membership(self, node_id: NodeId) -> None:
        node = self.stacks[node_id].node
        change, ring_id = node.membership, node.ring_id
        assert change is not None
        assert ring_id is not None
        other, expected = self._installed.setdefault(ring_id, (node_id, change))
        if expected != change:
            self.faults.append(f"one order: nodes {other} and {node_id} installed ring {ring_id.seq} differently")

    def _check_replicas(self) -> None:
        first, *others = (self.stacks[node_id].node for node_id in self.nodes)
        for number, engine in first.engines.items():
            expected = encode(engine.snapshot())
            for other in others:
                if encode(other.engines[number].snapshot()) != expected:
                    name = Service(number).name
                    self.faults.append(f"equal replicas: {name} differs on nodes {first.local} and {other.local}")

    def _check_durability(self) -> None:
        engine = self.stacks[self.nodes[0]].node.engines[Service.CKPT]
        contents = sections_of(engine.snapshot(), CHECKPOINT)
        for writer in self.writers.values():
            found = int(contents.get(writer.section, b"0").split()[0])
            if found < writer.acknowledged:
                self.faults.append(
                    f"durability: node {writer.node} was acknowledged {writer.acknowledged}, the replicas have {found}"
                )

    def _standings(self) -> str:
        return "; ".join(
            f"node {node_id} {stack.ring.state.value} ring {stack.ring.ring_id.seq} of {stack.ring.members}"
            f" {stack.node.phase.value} quorate {stack.node.quorate} backlog {stack.ring.backlog_bytes}"
            f" unanswered {len(self.writers[node_id].written)}"
            for node_id, stack in sorted(self.stacks.items())
        )

    # ---- what machines hand up

    def _observe(self, node_id: NodeId, effect: Any) -> None:
        match effect:
            case Logged(_, text) if text.startswith("NODE: members"):
                self._note(node_id, text)
                self._check_membership(node_id)
            case ToClient(client, frames):
                if client == self.writers[node_id].client:
                    self.writers[node_id].hear(frames)
            case CloseClient(client, reason):
                self._note(node_id, f"closes client {client}: {reason}")
                if client == self.writers[node_id].client:
                    self.writers[node_id].lost()
            case Logged(_, text):
                self._note(node_id, text)
                if "failed\nTraceback" in text:
                    self.faults.append(f"node {node_id}: {text}")
            case Log(level, text):
                self._note(node_id, f"{level}: {text}")
            case Configuration(kind, ring_id, members, _) if self.tracing:
                names = ", ".join(map(str, members))
                self._note(node_id, f"{kind.value} configuration {ring_id.seq}/{ring_id.representative} of {names}")
            case Delivered(messages) if self.tracing:
                self._note(node_id, f"delivers {len(messages)}")
            case _:
                pass

    def _note(self, node_id: NodeId | None, text: str) -> None:
        if self.tracing:
            who = "network" if node_id is None else f"node {node_id}"
            self.trace.append(f"{self.network.now:10.6f} {who}: {text}")


def sections_of(snapshot: Any, name: str) -> dict[bytes, bytes]:
    """The sections of the named checkpoint in a snapshot of CKPT; none when it is not there."""
    for record in snapshot.checkpoints:
        if record.name == name and record.linked:
            return {section.section_id: section.data for section in record.sections}
    return {}


def draw(rng: random.Random) -> Plan:
    """Choose what a seed stands for."""
    bad = rng.random()
    packets = PacketOptions(
        loss=rng.choice((0.0, 0.01, 0.1)) * bad,
        duplicate=rng.choice((0.0, 0.05)),
        corrupt=0.0,
        delay_mean=rng.choice((0.0002, 0.001, 0.004)),
        reorder=rng.choice((0.0, 0.0, 0.1)),
        reorder_delay=rng.choice((0.002, 0.02)),
    )
    return Plan(
        nodes=rng.choice((3, 3, 3, 4, 5)),
        packets=packets,
        timeouts=Timeouts.from_token(rng.choice((0.3, 0.5, 1.0))),
        seconds=rng.choice((6.0, 10.0)),
        fault_every=rng.choice((0.3, 0.8, 2.0)),
        write_every=rng.choice((0.005, 0.02)),
        section_bytes=rng.choice((10, 1000)),
    )


def run_seed(seed: int, *, trace: bool = False) -> Result:
    """Run one seed. The same seed gives the same run, with or without `trace`."""
    return ClusterWorld(seed, trace=trace).run()
