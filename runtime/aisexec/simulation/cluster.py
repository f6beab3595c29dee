"""A whole cluster in simulated time: production rings, nodes and engines, clients that write checkpoints, and faults.

    python -m aisexec simulate --seeds 200            and to see what one of them does: --seed 42 --trace

Faults come for a while, at most a minority of nodes being down or without the state at a time; then peace; then:

    convergence     every node is a running member of one quorate membership
    equal replicas  the snapshots of all engines have equal bytes
    durability      no write that was acknowledged is missing
    one order       a membership and its place in the order are the same wherever it was installed
    one active      at no moment do two component processes do the same work, and epochs of ACTIVE only grow
    service         every service instance is fully assigned in the end

The ring by itself is checked in `ringworld`.
"""

import random
from dataclasses import dataclass, replace
from typing import Any

from aisexec.groups import Configuration, Delivered, RingId
from aisexec.node import ClientLost, FromClients, Node, NodeOptions, Phase
from aisexec.outbox import CloseClient, Command, Logged, ToClient
from aisexec.quorum import QuorumOptions, lease_deadline
from aisexec.simulation.network import Network, PacketOptions
from aisexec.simulation.residents import Later, Residents, model
from aisexec.simulation.stack import Stack
from aisexec.simulation.writers import CHECKPOINT, Writer
from aisexec.totem.events import Log, RingOptions
from aisexec.totem.ring import Ring
from aisexec.totem.seal import NullSeal
from aisexec.totem.timeouts import Timeouts
from corosync_amf.ais import Admin, AdminOperation, Assignment, Dn, NodeId
from corosync_amf.engine import Client, Engine, Membership, NodeFacts, Service
from corosync_amf.services.amf import messages as amf
from corosync_amf.services.amf.engine import AmfEngine
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.ntf.engine import NtfEngine
from corosync_amf.wire import PROTOCOL, Hello, Requests, encode

CONVERGENCE = 900.0
"""A component that failed again and again is repaired after minutes."""
STEP = 0.25
LEASE_SHARE = 0.8
OPERATOR = 1_000_000
RESIDENTS = 10_000
THAW_LOOK = 0.02


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
        self._people = random.Random(f"people {seed}")
        self._quiet = False
        self._clients = 0
        self._model = model(self.nodes)
        self._quorum = QuorumOptions(
            enabled=True, votes=dict.fromkeys(self.nodes, 1), lease=LEASE_SHARE * self.plan.timeouts.token
        )
        self._residents: dict[NodeId, Residents] = {}
        self._epochs: dict[Dn, int] = {}
        self._operations = 0

    # ---- nodes

    def engines(self) -> list[Engine]:
        """The engines of one node."""
        return [ClmEngine(), CkptEngine(), AmfEngine(self._model), NtfEngine()]

    def keepers(self) -> frozenset[NodeId]:
        """The nodes that keep state on disk."""
        return frozenset()

    def boot(self, node_id: NodeId) -> None:
        """Start a node, or start it again."""
        now, plan = self.network.now, self.plan
        life = self._lives[node_id] = self._lives.get(node_id, 0) + 1
        incarnation = 1 + int(now * 1e6)
        is_persistent = node_id in self.keepers()
        facts = NodeFacts(
            node_id, f"node-{node_id}", f"10.0.0.{node_id}", now, incarnation, is_persistent=is_persistent
        )
        options = RingOptions(node_id, incarnation, plan.timeouts, peers=tuple(self.nodes), ring_seq=int(now * 1000))
        ring = Ring(options, NullSeal("sim", node_id, incarnation), now)
        node = Node(NodeOptions(facts, self._quorum, era=1 + int(now)), self.engines())
        self.stacks[node_id] = stack = Stack(ring, node)
        rng = random.Random(f"residents {node_id} {life} {self.seed}")
        self._residents[node_id] = Residents(node_id, rng, RESIDENTS * life)
        self._residents[node_id].is_calm = self._quiet
        self._note(node_id, f"starts, life {life}")
        self.network.boot(node_id, stack)
        self._connect(node_id)

    def crash(self, node_id: NodeId) -> None:
        """The node is gone, with its clients."""
        self._note(node_id, "crashes")
        self.network.crash(node_id)
        del self.stacks[node_id]
        del self._residents[node_id]
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
        network.at(1.0, self._operate)
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
        match rng.randrange(10):
            case 8 | 9:
                self._fail_component(rng)
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

    def _fail_component(self, rng: random.Random) -> None:
        node_id = rng.choice(self.nodes)
        residents = self._residents.get(node_id)
        if residents is None or not residents.processes or not self._runs(node_id):
            return
        component = rng.choice(sorted(residents.processes))
        how = rng.choice((residents.die, residents.hang))
        self._note(node_id, f"{component} fails: {how.__name__}")
        self._later(node_id, how(component, self.network.now))

    def _operate(self) -> None:
        """An administrator does something on some node."""
        rng = self._people
        if self._quiet:
            return
        node_id = rng.choice(self.nodes)
        operations = (AdminOperation.LOCK, AdminOperation.UNLOCK, AdminOperation.UNLOCK, AdminOperation.SHUTDOWN)
        if rng.random() < 0.4:
            dn = rng.choice([si.dn for application in self._model.applications for si in application.service_instances])
            operation = AdminOperation.SI_SWAP
        else:
            groups = [group for application in self._model.applications for group in application.service_groups]
            dn = rng.choice([unit.dn for group in groups for unit in group.units])
            operation = rng.choice(operations)
        self._admin(node_id, dn, operation)
        self.network.at(self.network.now + rng.expovariate(1.0), self._operate)

    def _admin(self, node_id: NodeId, dn: Dn, operation: AdminOperation) -> None:
        self._operations += 1
        client = OPERATOR + self._operations
        self._note(node_id, f"administrator: {operation.name} {dn}")
        frame = Requests(Service.AMF, 1, 1, encode([amf.Admin(dn, int(operation))]))
        self.network.handle(node_id, FromClients([(client, Hello(PROTOCOL, client)), (client, frame)]))

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
            self._residents[node_id].is_calm = True
        self._unlock_all()

    def _unlock_all(self) -> None:
        """As long as something is locked: an administrator may have been cut off, or another one be at it still."""
        status = self._status()
        for unit in status.units if status else ():
            if unit.admin is not Admin.UNLOCKED:
                self._admin(self.nodes[0], unit.dn, AdminOperation.UNLOCK)
        self.network.at(self.network.now + 5.0, self._unlock_all)

    def _status(self) -> amf.Status | None:
        stack = self.stacks.get(self.nodes[0])
        if stack is None or stack.node.phase is not Phase.RUNNING:
            return None
        status = stack.node.engines[Service.AMF].query(amf.StatusGet(), Client(self.nodes[0], 0))
        assert isinstance(status, amf.Status)
        return status

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
        return (
            all(
                stack.node.phase is Phase.RUNNING
                and stack.node.quorate
                and stack.node.membership is not None
                and stack.node.membership.members == everybody
                and not stack.ring.backlog_bytes
                for stack in self.stacks.values()
            )
            and all(not writer.written or not writer.connected for writer in self.writers.values())
            and self._is_served()
        )

    def _is_served(self) -> bool:
        status = self._status()
        return (
            status is not None
            and all(instance.assignment is Assignment.FULLY_ASSIGNED for instance in status.instances)
            and not any(component.doing for component in status.components)
        )

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
        return (
            "; ".join(
                f"node {node_id} {stack.ring.state.value} ring {stack.ring.ring_id.seq} of {stack.ring.members}"
                f" {stack.node.phase.value} quorate {stack.node.quorate} backlog {stack.ring.backlog_bytes}"
                f" unanswered {len(self.writers[node_id].written)}"
                for node_id, stack in sorted(self.stacks.items())
            )
            + f"; {self._services()}"
        )

    def _services(self) -> str:
        status = self._status()
        if status is None:
            return "no status"
        instances = [f"{instance.dn} {instance.assignment.name}" for instance in status.instances]
        units = [f"{unit.dn} {unit.admin.name} {unit.presence.name} {unit.readiness.name}" for unit in status.units]
        return ", ".join([*instances, *units, *(f"{item.dn} {item.operation.name}" for item in status.operations)])

    # ---- what machines hand up

    def _observe(self, node_id: NodeId, effect: Any) -> None:
        match effect:
            case Logged(_, text) if text.startswith("NODE: members"):
                self._note(node_id, text)
                self._check_membership(node_id)
            case ToClient(client, frames):
                if client == self.writers[node_id].client:
                    self.writers[node_id].hear(frames)
                elif client >= RESIDENTS:
                    self._resident_hears(node_id, client, frames)
            case Command(_, command):
                self._later(node_id, self._residents[node_id].command(command, self.network.now))
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

    # ---- component processes

    def _resident_hears(self, node_id: NodeId, client: int, frames: list[bytes]) -> None:
        """A component that its executive has stopped hears nothing until it may go on."""
        residents, now = self._residents[node_id], self.network.now
        if self._may_work(node_id):
            self._later(node_id, residents.hear(client, frames, now))
            self._check_actives(node_id)
            return
        stack = self.stacks[node_id]

        def again() -> None:
            if self.stacks.get(node_id) is stack:
                self._resident_hears(node_id, client, frames)

        self.network.at(now + THAW_LOOK, again)

    def _later(self, node_id: NodeId, todo: list[Later]) -> None:
        stack = self.stacks[node_id]

        def hand_over(events: list[Any]) -> None:
            host = self.network.hosts.get(node_id)
            if self.stacks.get(node_id) is not stack or host is None:
                return
            if host.paused_until > self.network.now:
                self.network.at(host.paused_until, lambda: hand_over(events))
                return
            for event in events:
                self.network.handle(node_id, event)

        for item in todo:
            self.network.at(self.network.now + item.delay, lambda events=item.events: hand_over(events))  # type: ignore[misc]

    def _runs(self, node_id: NodeId) -> bool:
        host = self.network.hosts.get(node_id)
        return host is not None and host.paused_until <= self.network.now

    def _may_work(self, node_id: NodeId) -> bool:
        """Whether components of the node go on: it is not paused, and its lease has not ended."""
        stack = self.stacks[node_id]
        deadline = lease_deadline(self._quorum, node_id, stack.ring.known_heard, stack.node.kin)
        return self._runs(node_id) and self.network.now < deadline

    def _check_actives(self, node_id: NodeId) -> None:
        """At most one process works on a CSI; who began last has the highest epoch."""
        for csi, process in self._residents[node_id].working():
            epoch = process.epochs.get(csi, 0)
            if epoch < self._epochs.get(csi, 0):
                continue  # a leftover that is being ended; if it worked, it would be found below
            self._epochs[csi] = epoch
            for other_id, residents in sorted(self._residents.items()):
                for other_csi, other in residents.working():
                    if other_csi == csi and other is not process and self._may_work(other_id):
                        fault = f"one active: {csi} is worked on by {process.component} and by {other.component}"
                        self._note(None, fault)
                        self.faults.append(f"{fault} at {self.network.now:.6f}")

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
