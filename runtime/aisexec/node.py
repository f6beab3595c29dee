"""One node's whole stack above the order: clients, state transfer, engines, replicated timers. Pure.

    group  --Happened-->  Node  --Payloads-->  group
    ipc    --FromClients, ClientLost-->        --ToClient, CloseClient-->  ipc
    drivers --Report-->                        --Command, Local-->         drivers

A node is WAITING while not all members of a new ring have said hello, CATCHING_UP while it takes over the standing
state, and RUNNING else. Only a running node puts its clients' requests into the order; the others keep them.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from logging import ERROR, INFO, WARNING
from typing import Any, assert_never

from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import (
    Alarm,
    Client,
    ClientGone,
    Effect,
    Engine,
    Event,
    Failed,
    Log,
    Membership,
    Message,
    Multicast,
    NodeFacts,
    NodeLocal,
    Origin,
    Reply,
    Request,
    Run,
    Service,
)
from corosync_amf.wire import PROTOCOL, Ask, BadMessage, Hello, Requests, Welcome, decode, encode

from . import payloads, sync
from .alarms import Alarms, Armed
from .groups import Configuration, ConfigurationKind, Delivered, Happening, Safe
from .outbox import CloseClient, Command, Fence, Local, Logged, NodeEffect, Outbox
from .quorum import QuorumOptions, is_quorate, votes_of

NEEDS_QUORUM = frozenset({Service.CKPT, Service.LCK, Service.MSG})
HELD_MAX = 65_536


class Phase(Enum):
    WAITING = "waiting"
    CATCHING_UP = "catching up"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What one node is told at its start.

    `era`: the least that a cluster starting from nothing here may use. `wall_offset` turns `now` into wall time.
    `fence`: lost nodes are fenced (effect `Fence`) before the others act in their place; `fence_required`: and not
    before that has succeeded.
    """

    facts: NodeFacts
    quorum: QuorumOptions = field(default_factory=QuorumOptions)
    era: int = 1
    wall_offset: float = 0.0
    fence: bool = False
    fence_required: bool = False


@dataclass(frozen=True, slots=True)
class Happened:
    """What the group hands up, and when each other node was last heard (monotonic seconds)."""

    happenings: list[Happening]
    heard: Mapping[NodeId, float]


@dataclass(frozen=True, slots=True)
class FromClients:
    """Frames of this node's clients, in the order of their arrival."""

    frames: list[tuple[int, Hello | Requests | Ask]]


@dataclass(frozen=True, slots=True)
class ClientLost:
    """A client's connection has ended."""

    client: int


@dataclass(frozen=True, slots=True)
class Report:
    """What this node's drivers tell a service: it goes through the order like any request."""

    service: Service
    requests: list[Request]


@dataclass(frozen=True, slots=True)
class Fenced:
    """What came of `Fence`: whether all of its nodes are surely off."""

    ring_seq: int
    ok: bool


NodeEvent = Happened | FromClients | ClientLost | Report | Fenced


class Node:
    """See the module. `engines` are asked in the order of their `Service` numbers."""

    def __init__(self, options: NodeOptions, engines: Sequence[Engine]) -> None:
        self.options = options
        self.local = options.facts.node_id
        self.engines: dict[int, Engine] = {int(engine.service): engine for engine in sorted(engines, key=_number)}
        self.phase = Phase.WAITING
        self.membership: Membership | None = None
        self.clients: set[int] = set()
        self._request_types = {number: list[engine.request_type] for number, engine in self.engines.items()}  # type: ignore[name-defined]
        self._alarms = Alarms()
        self._out = Outbox()
        self._ring: Configuration | None = None
        self._former: tuple[NodeId, ...] = ()
        self._state: sync.StateId | None = None
        self._installed: Configuration | None = None
        self._all_seen = False
        self._order = 0
        self._hellos: dict[NodeId, sync.Hello] = {}
        self._hello_at = math.inf
        self._change: Membership | None = None
        self._kept: list[tuple[NodeId, Any, bytes, int]] = []
        self._held: list[bytes] = []
        self._incoming: list[sync.Chunk] = []
        self._outgoing: deque[sync.Chunk] = deque()
        self._delivered = 0
        self._safe = 0
        self._unsafe: deque[tuple[int, int, int, Message]] = deque()
        self._position = 0

    # ---- the machine

    def handle(self, event: NodeEvent, now: float) -> list[NodeEffect]:
        match event:
            case Happened(happenings, heard):
                for happening in happenings:
                    self._happened(happening, heard, now)
            case FromClients(frames):
                for client, frame in frames:
                    self._client_frame(client, frame, now)
            case ClientLost(client):
                if client in self.clients:
                    self.clients.discard(client)
                    self._send(encode(payloads.Gone(client, self._wall(now))))
            case Report(service, requests):
                self._send(payloads.bundle_of(service, requests, self._wall(now)))
            case Fenced(ring_seq, ok):
                self._fenced(ring_seq, ok, now)
            case _:
                assert_never(event)
        return self._out.empty()

    def wake(self, now: float) -> list[NodeEffect]:
        if now >= self._hello_at:
            self._say_hello(now)
        if self._is_coordinator():
            for service, key, generation in self._alarms.due(now):
                self._send(encode(payloads.Rung(service, key, generation, self._wall(now))))
        return self._out.empty()

    def next_deadline(self) -> float | None:
        deadline = self._hello_at
        if self._is_coordinator():
            deadline = min(deadline, self._alarms.next_deadline())
        return None if deadline == math.inf else deadline

    @property
    def quorate(self) -> bool:
        """Whether the installed membership may act."""
        return self.membership is not None and self.membership.quorate

    @property
    def held_bytes(self) -> int:
        """What clients asked while the node could not put it into the order."""
        return sum(map(len, self._held))

    # ---- the group

    def _happened(self, happening: Happening, heard: Mapping[NodeId, float], now: float) -> None:
        match happening:
            case Delivered(messages):
                for sender, payload in messages:
                    self._delivered += 1
                    self._deliver(sender, payload, now)
            case Safe(count):
                self._safe = count
                while self._unsafe and 0 <= self._unsafe[0][0] <= count:
                    _, client, request, message = self._unsafe.popleft()
                    self._out.reply(client, request, message)
            case Configuration(ConfigurationKind.TRANSITIONAL, _, members):
                self._former = members
            case Configuration():
                self._new_ring(happening, heard, now)
            case _:
                assert_never(happening)

    def _deliver(self, sender: NodeId, payload: bytes, now: float) -> None:
        try:
            value = payloads.read(payload)
        except BadMessage as error:
            self._out.effects.append(Logged(ERROR, f"NODE: node {sender} sent a payload that cannot be read: {error}"))
            return
        if isinstance(value, sync.Hello):
            self._heard_hello(sender, value, now)
        elif isinstance(value, sync.Chunk):
            self._heard_chunk(value, now)
        elif self.phase is Phase.RUNNING:
            self._position = self._delivered
            self._apply(sender, value, now)
        else:
            self._kept.append((sender, value, payload, self._delivered))

    def _apply(self, sender: NodeId, value: payloads.Bundle | payloads.Gone | payloads.Rung, now: float) -> None:
        match value:
            case payloads.Bundle():
                self._apply_bundle(sender, value, now)
            case payloads.Gone(client, time):
                self._order += 1
                origin = Origin(Client(sender, client), 0, self._order, time)
                for service, engine in self.engines.items():
                    self._perform(service, engine.apply(ClientGone(), origin), now)
            case payloads.Rung(service, key, generation, time):
                message = self._alarms.take(service, key, generation)
                if message is not None:
                    self._order += 1
                    origin = Origin(Client(sender, 0), 0, self._order, time)
                    self._perform(service, self.engines[service].apply(message, origin), now)

    def _apply_bundle(self, sender: NodeId, bundle: payloads.Bundle, now: float) -> None:
        client = Client(sender, bundle.client)
        is_local = sender == self.local and bundle.client in self.clients
        engine = self.engines.get(bundle.service)
        try:
            if engine is None:
                raise BadMessage(f"no service {bundle.service} here")
            messages = decode(bundle.data, self._request_types[bundle.service])
            if len(messages) != bundle.count:
                raise BadMessage(f"a bundle of {len(messages)} requests that says it has {bundle.count}")
        except BadMessage as error:
            if is_local:
                self._out.effects.append(CloseClient(bundle.client, str(error)))
            return
        refused = self._refusal(bundle)
        for request, message in enumerate(messages, bundle.first):
            self._order += 1
            if refused is None:
                origin = Origin(client, request, self._order, bundle.time)
                self._perform(bundle.service, engine.apply(message, origin), now)
            elif is_local:
                self._out.reply(bundle.client, request, refused)

    def _refusal(self, bundle: payloads.Bundle) -> Failed | None:
        if self.quorate or bundle.service not in NEEDS_QUORUM or bundle.client == 0:
            return None
        return Failed(ErrorCode.TRY_AGAIN, "partition has no quorum")

    def _perform(self, service: int, effects: list[Effect], now: float) -> None:
        for effect in effects:
            match effect:
                case Reply(to, message, safe):
                    self._reply(to, message, safe)
                case Event(to, message):
                    if to.node == self.local and to.number in self.clients:
                        self._out.event(to.number, service, message)
                case Alarm(key, delay, message):
                    armed = None if delay is None or message is None else Armed(self._order, now + delay, message)
                    self._alarms.set(service, key, armed)
                case Multicast(node, message):
                    if node == self.local:
                        self._send(payloads.bundle_of(service, [message], self._wall(now)))
                case Run(node, command):
                    if node == self.local:
                        self._out.effects.append(Command(service, command))
                case Log(level, text):
                    self._out.effects.append(Logged(level, text))
                case _:
                    assert_never(effect)

    def _reply(self, to: Origin, message: Message, safe: bool) -> None:
        client = to.client
        if client.node != self.local or client.number not in self.clients:
            return
        if safe and self._position > self._safe:
            self._unsafe.append((self._position, client.number, to.request, message))
        else:
            self._out.reply(client.number, to.request, message)

    # ---- clients

    def _client_frame(self, client: int, frame: Hello | Requests | Ask, now: float) -> None:
        match frame:
            case Hello():
                self.clients.add(client)
                welcome = Welcome(PROTOCOL, self.local, self.options.facts.name, client)
                self._out.frame(client, encode(welcome))
            case Requests(service, first, count, data):
                self._send(encode(payloads.Bundle(service, client, first, count, self._wall(now), data)))
            case Ask(service, request, query):
                self._ask(client, service, request, query)
            case _:
                assert_never(frame)

    def _ask(self, client: int, service: int, request: int, query: bytes) -> None:
        engine = self.engines.get(service)
        if engine is None or engine.query_type is None:
            self._out.effects.append(CloseClient(client, f"service {service} answers no queries here"))
            return
        try:
            message = decode(query, engine.query_type)
        except BadMessage as error:
            self._out.effects.append(CloseClient(client, str(error)))
            return
        if isinstance(message, NodeLocal):
            self._out.effects.append(Local(service, client, request, message))
        elif self.phase is Phase.CATCHING_UP or self._installed is None:
            self._out.reply(client, request, Failed(ErrorCode.TRY_AGAIN, "the state is being transferred"))
        else:
            self._out.reply(client, request, engine.query(message, Client(self.local, client)))

    def _send(self, payload: bytes) -> None:
        """Put a payload into the order, or keep it until that may be done."""
        if self.phase is Phase.RUNNING:
            self._out.payloads.append(payload)
        else:
            self._held.append(payload)

    # ---- state transfer

    def _new_ring(self, configuration: Configuration, heard: Mapping[NodeId, float], now: float) -> None:
        if self.phase is Phase.RUNNING and self._installed is not None:
            ring_id, counts = self._installed.ring_id, self.options.quorum.enabled and self.quorate
            self._state = sync.StateId(counts, ring_id.seq, ring_id.representative, self._former, self._order)
        if self.phase is Phase.WAITING:
            # Nobody has applied what came before the cut: who sent it sends it again, in the new ring.
            self._held[:0] = [payload for sender, _, payload, _ in self._kept if sender == self.local]
        self.phase = Phase.WAITING
        self._ring, self._former = configuration, configuration.members
        self._delivered = self._safe = 0
        self._unsafe = deque((-1, client, request, message) for _, client, request, message in self._unsafe)
        self._hellos, self._kept, self._incoming, self._change = {}, [], [], None
        self._outgoing.clear()
        # Nodes that are not in `heard` said goodbye, or came back as new incarnations: they are known to be gone.
        known = set(self.membership.members if self.membership else ())
        lost = sorted((known - set(configuration.members)) & heard.keys())
        guard = self.options.quorum.guard
        self._hello_at = max([now, *(heard[node] + guard for node in lost)])
        if lost and self.options.fence and self.local == configuration.members[0] and self._will_be_quorate():
            self._fence(lost)
        elif self._hello_at <= now:
            self._say_hello(now)

    def _will_be_quorate(self) -> bool:
        assert self._ring is not None
        return is_quorate(self.options.quorum, self._ring.members, all_seen=self._all_seen)

    def _fence(self, lost: list[NodeId]) -> None:
        """No membership takes effect before the coordinator's hello: so the fence comes before any promotion."""
        assert self._ring is not None
        assert self.membership is not None
        self._hello_at = math.inf
        nodes = tuple(self.membership.nodes[node] for node in lost)
        self._out.effects.append(Fence(self._ring.ring_id.seq, nodes))

    def _fenced(self, ring_seq: int, ok: bool, now: float) -> None:
        if self._ring is None or ring_seq != self._ring.ring_id.seq or self.phase is not Phase.WAITING:
            return
        if not ok and self.options.fence_required:
            text = "NODE: fencing failed and is required: nothing is promoted until it succeeds"
            self._out.effects.append(Logged(ERROR, text))
            assert self.membership is not None
            self._fence(sorted(set(self.membership.members) - set(self._ring.members)))
        else:
            self._say_hello(now)

    def _say_hello(self, now: float) -> None:
        self._hello_at = math.inf
        ring = self._ring
        assert ring is not None
        members = self.membership.members if self.membership else ()
        reasons = tuple((node, ring.reason) for node in members if node not in ring.members)
        hello = sync.Hello(
            ring.ring_id.seq,
            ring.ring_id.representative,
            self.options.facts,
            self._state,
            members,
            self._all_seen,
            self.options.era,
            self._wall(now),
            reasons,
        )
        self._out.payloads.append(encode(hello))

    def _heard_hello(self, sender: NodeId, hello: sync.Hello, now: float) -> None:
        if self._ring is None or self.phase is not Phase.WAITING or not self._is_of_ring(hello):
            return
        self._hellos[sender] = hello
        if len(self._hellos) == len(self._ring.members):
            self._cut(now)

    def _is_of_ring(self, value: sync.Hello | sync.Chunk) -> bool:
        ring = self._ring
        return ring is not None and (value.seq, value.representative) == (ring.ring_id.seq, ring.ring_id.representative)

    def _cut(self, now: float) -> None:
        """All members are known to one another: from here on they agree on whose state stands."""
        assert self._ring is not None
        verdict = sync.judge(self._hellos)
        members, quorum = self._ring.members, self.options.quorum
        self._all_seen = verdict.all_seen or votes_of(quorum, members) >= quorum.expected
        self._change = Membership(
            members=members,
            joined=frozenset(verdict.restoring if self._hellos[verdict.sender].state else members),
            left=verdict.left,
            quorate=is_quorate(quorum, members, all_seen=self._all_seen),
            nodes={node: self._hellos[node].facts for node in sorted(self._hellos)},
            order=verdict.order + 1,
            time=verdict.time,
            reasons={node: why for node, why in verdict.reasons.items() if node in verdict.left},
        )
        self._kept = [entry for entry in self._kept if entry[0] not in verdict.restoring]
        if self.local in verdict.restoring:
            self._give_way()
            return
        if verdict.restoring and self.local == verdict.sender:
            self._outgoing.extend(self._snapshot(now))
            self._pump(sync.CHUNKS_IN_FLIGHT_MAX)
        self._install(verdict.order, now)

    def _give_way(self) -> None:
        """Another partition's state stands: what is held here belongs to the past."""
        self.phase = Phase.CATCHING_UP
        self._held.clear()
        self._unsafe.clear()
        if self._state is not None:
            reason = "the node has taken over the state of another partition: connect again"
            self._out.effects.append(Logged(WARNING, f"SYNC: {reason}"))
            self._out.effects.extend(CloseClient(client, reason) for client in sorted(self.clients))
            self.clients.clear()

    def _snapshot(self, now: float) -> list[sync.Chunk]:
        engines = [(number, encode(engine.snapshot())) for number, engine in self.engines.items()]
        alarms = [
            sync.PendingAlarm(service, key, armed.generation, armed.deadline - now, encode(armed.message))
            for (service, key), armed in sorted(self._alarms.armed.items())
        ]
        assert self._ring is not None
        ring_id = self._ring.ring_id
        snapshot = sync.Snapshot(self._order, engines, alarms)
        return sync.chunks((ring_id.seq, ring_id.representative), encode(snapshot))

    def _pump(self, count: int) -> None:
        while self._outgoing and count:
            self._out.payloads.append(encode(self._outgoing.popleft()))
            count -= 1

    def _heard_chunk(self, chunk: sync.Chunk, now: float) -> None:
        if not self._is_of_ring(chunk):
            return
        if self._outgoing:
            self._pump(1)
        if self.phase is Phase.CATCHING_UP:
            self._incoming.append(chunk)
            if chunk.last:
                self._take_over(now)

    def _take_over(self, now: float) -> None:
        snapshot = decode(sync.joined(self._incoming), sync.Snapshot)
        self._incoming = []
        for number, data in snapshot.engines:
            engine = self.engines[number]
            engine.restore([decode(data, engine.snapshot_type)])
        self._alarms = Alarms()
        for alarm in snapshot.alarms:
            message = decode(alarm.message, self.engines[alarm.service].request_type)
            armed = Armed(alarm.generation, now + alarm.remaining, message)
            self._alarms.set(alarm.service, alarm.key, armed)
        self._install(snapshot.order, now)

    def _install(self, order: int, now: float) -> None:
        """The membership takes effect, then what was delivered since the cut."""
        change = self._change
        assert change is not None
        self._installed, self.membership = self._ring, change
        self.phase, self._state = Phase.RUNNING, None
        self._order = order + 1
        self._position = self._delivered
        self._alarms.ring_again()
        members = ", ".join(f"{node.name} ({node.node_id}, {node.address})" for node in change.nodes.values())
        text = f"NODE: members: {members}{'' if change.quorate else '; no quorum'}"
        self._out.effects.append(Logged(INFO, text))
        for service, engine in self.engines.items():
            self._perform(service, engine.membership(change), now)
        kept, self._kept = self._kept, []
        for sender, value, _, position in kept:
            self._position = position
            self._apply(sender, value, now)
        held, self._held = self._held, []
        self._out.payloads.extend(held)
        self._settle_unsafe()

    def _settle_unsafe(self) -> None:
        """Answer what waited for safe delivery in a ring that is gone: the members of this one all have the request."""
        carried = [entry for entry in self._unsafe if entry[0] < 0]
        self._unsafe = deque(entry for entry in self._unsafe if entry[0] >= 0)
        unknown = Failed(ErrorCode.TIMEOUT, "the partition lost its quorum before every replica was known to have it")
        for _, client, request, message in carried:
            self._out.reply(client, request, message if self.quorate else unknown)

    # ---- small facts

    def _is_coordinator(self) -> bool:
        change = self.membership
        return self.phase is Phase.RUNNING and change is not None and change.members[0] == self.local

    def _wall(self, now: float) -> float:
        return now + self.options.wall_offset


def _number(engine: Engine) -> int:
    return int(engine.service)
