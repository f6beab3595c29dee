"""Rings alone on the simulated network: random load and faults from one seed, then peace, then the checks."""

import random
from dataclasses import dataclass, replace
from typing import Any

from aisexec.groups import Configuration, Delivered, Safe
from aisexec.simulation.checkers import History, check
from aisexec.simulation.network import Network, PacketOptions
from aisexec.totem.events import Expect, Leave, Log, MulticastMany, RingOptions, RingState
from aisexec.totem.ring import Ring
from aisexec.totem.seal import AesSeal, NullSeal, Seal
from aisexec.totem.timeouts import Timeouts
from corosync_amf.ais import NodeId

_AUTHKEY = bytes(range(128))
_CONVERGENCE = 30.0
_BACKLOG_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Result:
    """`faults` in words, empty when all is well; `trace` what happened, one line each, when it was asked for."""

    seed: int
    faults: list[str]
    trace: list[str]
    simulated_seconds: float
    datagrams: int
    delivered: int
    configurations: int


@dataclass(slots=True)
class _Plan:
    """What a seed stands for."""

    nodes: int
    packets: PacketOptions
    timeouts: Timeouts
    packet_bytes_max: int
    window_bytes: int
    sealed: bool
    seconds: float
    fault_every: float
    multicast_every: float
    peers_known: bool
    payload_bytes: int


class RingWorld:
    """N rings under a workload. `run` does all of it; the parts are for tests that write their own story."""

    def __init__(self, seed: int, *, trace: bool = False) -> None:
        self._faults_random = random.Random(f"faults {seed}")
        self._workload = random.Random(f"workload {seed}")
        self.plan = _draw(random.Random(f"plan {seed}"))
        self.network = Network(seed, self.plan.packets, self._observe)
        self.nodes: list[NodeId] = list(range(1, self.plan.nodes + 1))
        self.rings: dict[NodeId, Ring] = {}
        self.histories: list[History] = []
        self.trace: list[str] = []
        self.delivered = 0
        self._tracing = trace
        self._lives: dict[NodeId, History] = {}
        self._crashed: set[tuple[NodeId, int]] = set()
        self._number = 0
        self._quiet = False

    # Nodes

    def boot(self, node: NodeId) -> None:
        """Start a node, or start it again."""
        history = self._lives.get(node)
        life = 1 if history is None else history.life + 1
        history = self._lives[node] = History(node, life)
        self.histories.append(history)
        plan = self.plan
        incarnation = 1 + int(self.network.now * 1e6)
        options = RingOptions(
            node,
            incarnation,
            plan.timeouts,
            window_bytes=plan.window_bytes,
            packet_bytes_max=plan.packet_bytes_max,
            peers=tuple(self.nodes) if plan.peers_known else (),
            ring_seq=int(self.network.now * 1000),
        )
        seal: Seal = AesSeal(_AUTHKEY, "sim", node, incarnation) if plan.sealed else NullSeal("sim", node, incarnation)
        self._note(node, f"starts, life {life}")
        self.rings[node] = ring = Ring(options, seal, self.network.now)
        self.network.boot(node, ring)

    def crash(self, node: NodeId) -> None:
        """The node's process is gone."""
        if self.rings.pop(node, None) is not None:
            self._crashed.add((node, self._lives[node].life))
            self._note(node, "crashes")
            self.network.crash(node)

    def multicast(self, node: NodeId, payloads: list[bytes]) -> None:
        """Give a node something to send, unless it is stopped or has enough to do."""
        host = self.network.hosts.get(node)
        busy = node in self.rings and self.rings[node].backlog_bytes > _BACKLOG_BYTES
        if host is not None and host.paused_until <= self.network.now and not busy:
            self._lives[node].sent += payloads
            is_awaited = len(payloads) % 2 == 1
            if is_awaited:  # as if a client had asked it because it was told something, and would go on like that
                self.network.handle(node, Expect())
            self.network.handle(node, MulticastMany(payloads, prompt=is_awaited))
            if is_awaited:
                self.network.handle(node, Expect())

    def leave(self, node: NodeId) -> None:
        """The node says goodbye, and stops when it has."""
        self._note(node, "is asked to leave")
        self.network.handle(node, Leave())
        self._crashed.add((node, self._lives[node].life))  # what is queued may be left unsaid

    # The story

    def run(self) -> Result:
        """Faults under load; then peace, until all agree; then the checks."""
        network, plan = self.network, self.plan
        for node in self.nodes:
            network.at(self._workload.random() * 0.2, lambda node=node: self.boot(node))  # type: ignore[misc]
        network.at(0.0, self._work)
        network.at(plan.fault_every * self._faults_random.random() + 0.3, self._fault)
        network.run_until(plan.seconds)
        self._make_peace()
        converged = self._converge()
        faults = [] if converged else ["no agreement after the faults stopped: " + self._standings()]
        alive = {(history.node, history.life) for history in self.histories} - self._crashed
        faults += check(self.histories, alive=alive if converged else set())
        return Result(
            0, faults, self.trace, network.now, network.datagrams, self.delivered,
            sum(len(history.stays) for history in self.histories),
        )  # fmt: skip

    def _work(self) -> None:
        rng, network = self._workload, self.network
        if self._quiet:
            return
        if self.rings:
            payloads = []
            count = rng.choice((1, 1, 1, 2, 5, 30))
            for _ in range(count):
                self._number += 1
                size = rng.choice((0, 10, 100, 1000, rng.randrange(self.plan.payload_bytes)))
                size = min(size, 50_000 // count)
                payloads.append(b"%d " % self._number + bytes(size))
            self.multicast(rng.choice(sorted(self.rings)), payloads)
        network.at(network.now + rng.expovariate(1 / self.plan.multicast_every), self._work)

    def _fault(self) -> None:
        rng, network = self._faults_random, self.network
        if self._quiet:
            return
        up = sorted(self.rings)
        choice = rng.randrange(9)
        if choice == 0 and up:
            self.crash(rng.choice(up))
        elif choice in (1, 2):
            down = sorted(set(self.nodes) - set(self.rings))
            if down:
                self.boot(rng.choice(down))
            elif up:  # so fast that nobody missed it
                node = rng.choice(up)
                self.crash(node)
                network.at(network.now + 0.001 + rng.random() * 0.05, lambda: self._boot_if_down(node))
        elif choice == 3:
            order = rng.sample(self.nodes, len(self.nodes))
            cut = rng.randrange(1, len(order)) if len(order) > 1 else 1
            self._note(None, f"partition {sorted(order[:cut])} | {sorted(order[cut:])}")
            network.partition(order[:cut], order[cut:])
        elif choice == 4:
            source, target = rng.choice(self.nodes), rng.choice(self.nodes)
            self._note(None, f"one way cut {source} -> {target}")
            network.block(source, target)
        elif choice in (5, 6):
            self._note(None, "all links heal")
            network.heal()
        elif choice == 7 and up:
            node, seconds = rng.choice(up), rng.random() * 3 * self.plan.timeouts.token
            self._note(node, f"paused for {seconds:.3f} s")
            network.pause(node, seconds)
        elif choice == 8 and up:
            self._leave_or_clog(rng, up)
        network.at(network.now + rng.expovariate(1 / self.plan.fault_every), self._fault)

    def _leave_or_clog(self, rng: random.Random, up: list[NodeId]) -> None:
        if rng.random() < 0.5:
            self.leave(rng.choice(up))
            return
        source, target, seconds = rng.choice(self.nodes), rng.choice(self.nodes), rng.random()
        self._note(None, f"link {source} -> {target} clogged for {seconds:.3f} s")
        self.network.clog(source, target, seconds)

    def _boot_if_down(self, node: NodeId) -> None:
        if node not in self.rings:
            self.boot(node)

    def _make_peace(self) -> None:
        self._note(None, "peace")
        self._quiet = True
        self.network.heal()
        options = self.network.options
        self.network.options = replace(options, loss=0.0, corrupt=0.0, reorder=0.0)
        for node, ring in sorted(self.rings.items()):
            if ring.left or (node, self._lives[node].life) in self._crashed:
                self.crash(node)
        for node in self.nodes:
            self._boot_if_down(node)

    def _converge(self) -> bool:
        network = self.network
        for _ in range(int(_CONVERGENCE / 0.5)):
            network.run_until(network.now + 0.5)
            if self._agreed():
                return True
        return False

    def _agreed(self) -> bool:
        first = self.rings[self.nodes[0]]
        everybody = tuple(self.nodes)
        counts = {self._lives[node].stays[-1].safe if self._lives[node].stays else -1 for node in self.nodes}
        return len(counts) == 1 and all(
            ring.state is RingState.OPERATIONAL
            and ring.members == everybody
            and ring.ring_id == first.ring_id
            and not ring.backlog_bytes
            and self._lives[node].stays[-1].safe == len(self._lives[node].stays[-1].regular)
            for node, ring in self.rings.items()
        )

    def _standings(self) -> str:
        return "; ".join(
            f"node {node} {ring.state.value} ring {ring.ring_id.seq} of {ring.members} backlog {ring.backlog_bytes}"
            for node, ring in sorted(self.rings.items())
        )

    def _observe(self, node: NodeId, effect: Any) -> None:
        self._lives[node].take(effect)
        if isinstance(effect, Delivered):
            self.delivered += len(effect.messages)
        if not self._tracing:
            return
        match effect:
            case Log(level, text):
                self._note(node, f"{level}: {text}")
            case Configuration(kind, ring_id, members, _):
                names = ", ".join(map(str, members))
                self._note(node, f"{kind.value} configuration {ring_id.seq}/{ring_id.representative} of {names}")
            case Delivered(messages):
                self._note(node, f"delivers {len(messages)}: {_brief(messages[0])} .. {_brief(messages[-1])}")
            case Safe(count):
                self._note(node, f"{count} safe")
            case _:
                pass

    def _note(self, node: NodeId | None, text: str) -> None:
        if self._tracing:
            who = "network" if node is None else f"node {node}"
            self.trace.append(f"{self.network.now:10.6f} {who}: {text}")


def _brief(message: tuple[NodeId, bytes]) -> str:
    return f"{message[1].split(b' ')[0].decode()} of {message[0]}"


def _draw(rng: random.Random) -> _Plan:
    bad = rng.random()
    token = rng.choice((0.3, 0.5, 1.0))
    packets = PacketOptions(
        loss=rng.choice((0.0, 0.01, 0.1, 0.2)) * bad,
        duplicate=rng.choice((0.0, 0.05)),
        corrupt=rng.choice((0.0, 0.01)),
        delay_mean=min(rng.choice((0.0002, 0.001, 0.004, 0.015)), token / 75),
        reorder=rng.choice((0.0, 0.0, 0.1)),
        reorder_delay=rng.choice((0.002, 0.02, 0.3)),
    )
    return _Plan(
        nodes=rng.choice((1, 2, 3, 3, 3, 4, 5, 5, 7)),
        packets=packets,
        timeouts=Timeouts.from_token(token),
        packet_bytes_max=rng.choice((512, 1400, 1400, 9000, 60_000)),
        window_bytes=rng.choice((4096 if packets.delay_mean < 0.002 else 50_000, 50_000, 212_992, 4_000_000)),
        sealed=rng.random() < 0.3,
        seconds=rng.choice((4.0, 8.0)),
        fault_every=rng.choice((0.03, 0.1, 0.4, 1.0)),
        multicast_every=rng.choice((0.001, 0.005, 0.02)),
        peers_known=rng.random() < 0.5,
        payload_bytes=rng.choice((200, 3000, 30_000)),
    )


def run_ring_seed(seed: int, *, trace: bool = False) -> Result:
    """Run one seed. The same seed gives the same run, with or without `trace`."""
    return replace(RingWorld(seed, trace=trace).run(), seed=seed)
