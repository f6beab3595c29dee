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
from logging import CRITICAL, ERROR, INFO, WARNING
from traceback import format_exc
from typing import assert_never

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
from .entry import Entry, Kept
from .groups import Configuration, ConfigurationKind, Delivered, Happening, RingId, Safe
from .outbox import CloseClient, Command, Fence, Local, Logged, NodeEffect, Outbox
from .quorum import QuorumOptions, is_quorate

NEEDS_QUORUM = frozenset({Service.CKPT, Service.LCK, Service.MSG})


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
    """What the group hands up.

    `heard` tells when each other node was last heard (monotonic seconds), `departed` which incarnation of a node is
    known to be gone for good.
    """

    happenings: list[Happening]
    heard: Mapping[NodeId, float] = field(default_factory=dict)
    departed: Mapping[NodeId, int] = field(default_factory=dict)


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
        self._entry: Entry | None = None
        self._former: tuple[NodeId, ...] = ()
        self._state: sync.StateId | None = None
        self._installed: Configuration | None = None
        self._all_seen = False
        self.kin: frozenset[NodeId] = frozenset()
        """Nodes that cannot have installed another membership since this node installed its own."""
        self._met: dict[NodeId, NodeFacts | None] = {}
        """Members of the installed membership and of all rings since: each may act on a membership with this node."""
        self._quorate_seq = 0
        self._order = 0
        self._held: list[bytes] = []
        self._unsafe: deque[tuple[int, int, int, Message]] = deque()
        self._position = 0

    # ---- the machine

    def handle(self, event: NodeEvent, now: float) -> list[NodeEffect]:
        match event:
            case Happened():
                for happening in event.happenings:
                    self._happened(happening, event, now)
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
        if self._entry is not None and now >= self._entry.hello_at:
            self._say_hello(self._entry, now)
        if self._is_coordinator():
            for service, key, generation in self._alarms.due(now):
                self._send(encode(payloads.Rung(service, key, generation, self._wall(now))))
        return self._out.empty()

    def next_deadline(self) -> float | None:
        deadline = math.inf if self._entry is None else self._entry.hello_at
        if self._is_coordinator():
            deadline = min(deadline, self._alarms.next_deadline())
        return None if deadline == math.inf else deadline

    @property
    def quorate(self) -> bool:
        """Whether the installed membership may act."""
        return self.membership is not None and self.membership.quorate

    @property
    def order(self) -> int:
        """The order number of what was applied last."""
        return self._order

    @property
    def ring_id(self) -> RingId | None:
        """The ring of the installed membership."""
        return self._installed.ring_id if self._installed else None

    @property
    def held_bytes(self) -> int:
        """What clients asked while the node could not put it into the order."""
        return sum(map(len, self._held))

    # ---- the group

    def _happened(self, happening: Happening, event: Happened, now: float) -> None:
        match happening:
            case Configuration(ConfigurationKind.TRANSITIONAL, _, members):
                self._former = members
            case Configuration():
                self._new_ring(happening, event, now)
            case Delivered(messages):
                assert self._entry is not None  # a configuration comes before its first message
                for sender, payload in messages:
                    self._entry.delivered += 1
                    self._deliver(self._entry, sender, payload, now)
            case Safe(count):
                assert self._entry is not None
                self._entry.safe = count
                while self._unsafe and 0 <= self._unsafe[0][0] <= count:
                    _, client, request, message = self._unsafe.popleft()
                    self._out.reply(client, request, message)
            case _:
                assert_never(happening)

    def _deliver(self, entry: Entry, sender: NodeId, payload: bytes, now: float) -> None:
        try:
            value = payloads.read(payload)
        except BadMessage as error:
            self._out.effects.append(Logged(ERROR, f"NODE: node {sender} sent a payload that cannot be read: {error}"))
            return
        if isinstance(value, sync.Hello):
            self._heard_hello(entry, sender, value, now)
        elif isinstance(value, sync.Chunk):
            self._heard_chunk(entry, value, now)
        elif self.phase is Phase.RUNNING:
            self._position = entry.delivered
            self._apply(sender, value, now)
        else:
            entry.kept.append(Kept(sender, value, payload, entry.delivered))

    def _apply(self, sender: NodeId, value: payloads.Bundle | payloads.Gone | payloads.Rung, now: float) -> None:
        match value:
            case payloads.Bundle():
                self._apply_bundle(sender, value, now)
            case payloads.Gone(client, time):
                self._order += 1
                origin = Origin(Client(sender, client), 0, self._order, time)
                for service, engine in self.engines.items():
                    self._perform(service, self._applied(engine, ClientGone(), origin), now)
            case payloads.Rung(service, key, generation, time):
                message = self._alarms.take(service, key, generation)
                if message is not None:
                    self._order += 1
                    origin = Origin(Client(sender, 0), 0, self._order, time)
                    self._perform(service, self._applied(self.engines[service], message, origin), now)

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
            if refused is None or message.without_quorum:
                origin = Origin(client, request, self._order, bundle.time)
                self._perform(bundle.service, self._applied(engine, message, origin), now)
            elif is_local:
                self._out.reply(bundle.client, request, refused)

    def _applied(self, engine: Engine, message: Request, origin: Origin) -> list[Effect]:
        """What the engine makes of a request. A fault of the engine's own is the same on every replica: the request is
        answered with it, and the executives live on."""
        try:
            return engine.apply(message, origin)
        except Exception:
            text = f"{engine.service.name}: {type(message).__name__} of {origin.client} failed\n{format_exc()}"
            self._out.effects.append(Logged(CRITICAL, text))
            return [Reply(origin, Failed(ErrorCode.LIBRARY, "the service failed; see the executive's log"))]

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
        if safe and self._entry is not None and self._position > self._entry.safe:
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

    def _new_ring(self, configuration: Configuration, event: Happened, now: float) -> None:
        former = self._entry
        for member in former.members if former is not None else ():
            hello = former.hellos.get(member) if former is not None else None
            if hello is not None or member not in self._met:
                self._met[member] = hello.facts if hello is not None else None
        if self.phase is Phase.RUNNING and self._installed is not None:
            ring_id, counts = self._installed.ring_id, self.options.quorum.enabled and self.quorate
            self._state = sync.StateId(
                self._quorate_seq, counts, ring_id.seq, ring_id.representative, self._former, self._order
            )
        elif self.phase is Phase.WAITING and former is not None:
            # Nobody has applied what came before the cut: who sent it sends it again, in the new ring.
            self._held[:0] = [kept.payload for kept in former.kept if kept.sender == self.local]
        self.phase = Phase.WAITING
        self.kin &= frozenset(self._former)
        self._entry = entry = Entry(configuration)
        self._former = configuration.members
        self._unsafe = deque((-1, client, request, message) for _, client, request, message in self._unsafe)
        lost = self._lost(configuration, event)
        guard = self.options.quorum.guard
        entry.hello_at = max([now, *(event.heard[node] + guard for node in lost if node in event.heard)])
        if lost and self.options.fence and self.local == configuration.members[0] and self._will_be_quorate(entry):
            self._fence(entry, lost)
        elif entry.hello_at <= now:
            self._say_hello(entry, now)

    def _lost(self, configuration: Configuration, event: Happened) -> list[NodeId]:
        """Nodes that are not in the new ring and may still be at work."""
        lost = sorted(self._met.keys() - set(configuration.members))
        return [node for node in lost if not _is_gone(self._met[node], event.departed.get(node, 0))]

    def _will_be_quorate(self, entry: Entry) -> bool:
        return is_quorate(self.options.quorum, entry.members, all_seen=self._all_seen)

    def _fence(self, entry: Entry, lost: list[NodeId]) -> None:
        """No membership takes effect before the coordinator's hello: so the fence comes before any promotion."""
        entry.hello_at = math.inf
        nodes = tuple(facts for node in lost if (facts := self._met[node]) is not None)
        self._out.effects.append(Fence(entry.configuration.ring_id.seq, nodes))

    def _fenced(self, ring_seq: int, ok: bool, now: float) -> None:
        entry = self._entry
        if entry is None or ring_seq != entry.configuration.ring_id.seq or self.phase is not Phase.WAITING:
            return
        if not ok and self.options.fence_required:
            text = "NODE: fencing failed and is required: nothing is promoted until it succeeds"
            self._out.effects.append(Logged(ERROR, text))
            self._fence(entry, sorted(self._met.keys() - set(entry.members)))
        else:
            self._say_hello(entry, now)

    def _say_hello(self, entry: Entry, now: float) -> None:
        entry.hello_at = math.inf
        hello = entry.hello(
            self.options.facts,
            self._state,
            self.membership.members if self.membership else (),
            all_seen=self._all_seen,
            era=self.options.era,
            time=self._wall(now),
        )
        self._out.payloads.append(encode(hello))

    def _heard_hello(self, entry: Entry, sender: NodeId, hello: sync.Hello, now: float) -> None:
        if self.phase is Phase.WAITING and entry.is_about(hello):
            entry.hellos[sender] = hello
            if len(entry.hellos) == len(entry.members):
                self._cut(entry, now)

    def _cut(self, entry: Entry, now: float) -> None:
        """All members are known to one another: from here on they agree on whose state stands."""
        verdict = entry.conclude(self.options.quorum)
        if self.local in verdict.restoring:
            self._give_way()
            return
        if verdict.restoring and self.local == verdict.sender:
            entry.outgoing.extend(sync.chunks(entry.number, self._snapshot(now)))
            self._pump(entry, sync.CHUNKS_IN_FLIGHT_MAX)
        self._install(entry, verdict.order, now)

    def _give_way(self) -> None:
        """Another partition's state stands: what is held here belongs to the past."""
        self.phase = Phase.CATCHING_UP
        if self._state is not None:
            self._held.clear()
            self._unsafe.clear()
            reason = "the node has taken over the state of another partition: connect again"
            self._out.effects.append(Logged(WARNING, f"SYNC: {reason}"))
            self._out.effects.extend(CloseClient(client, reason) for client in sorted(self.clients))
            self.clients.clear()

    def _snapshot(self, now: float) -> bytes:
        engines = [(number, encode(engine.snapshot())) for number, engine in self.engines.items()]
        alarms = [
            sync.PendingAlarm(service, key, armed.generation, armed.deadline - now, encode(armed.message))
            for (service, key), armed in sorted(self._alarms.armed.items())
        ]
        return encode(sync.Snapshot(self._order, engines, alarms))

    def _pump(self, entry: Entry, count: int) -> None:
        self._out.payloads.extend(encode(chunk) for chunk in entry.next_chunks(count))

    def _heard_chunk(self, entry: Entry, chunk: sync.Chunk, now: float) -> None:
        if not entry.is_about(chunk):
            return
        self._pump(entry, 1)
        if self.phase is Phase.CATCHING_UP:
            entry.incoming.append(chunk)
            if chunk.last:
                self._take_over(entry, now)

    def _take_over(self, entry: Entry, now: float) -> None:
        snapshot = decode(sync.joined(entry.incoming), sync.Snapshot)
        entry.incoming = []
        for number, data in snapshot.engines:
            engine = self.engines[number]
            engine.restore([decode(data, engine.snapshot_type)])
        self._alarms = Alarms()
        for alarm in snapshot.alarms:
            message = decode(alarm.message, self.engines[alarm.service].request_type)
            armed = Armed(alarm.generation, now + alarm.remaining, message)
            self._alarms.set(alarm.service, alarm.key, armed)
        self._install(entry, snapshot.order, now)

    def _install(self, entry: Entry, order: int, now: float) -> None:
        """The membership takes effect, then what was delivered since the cut."""
        change = entry.change
        assert change is not None
        self._installed, self.membership, self._all_seen = entry.configuration, change, entry.all_seen
        self.phase, self._state, self._quorate_seq = Phase.RUNNING, None, entry.quorate_seq
        self.kin = frozenset(change.members)
        self._met = dict(change.nodes)
        self._order = order + 1
        self._position = entry.delivered
        self._alarms.ring_again()
        members = ", ".join(f"{node.name} ({node.node_id}, {node.address})" for node in change.nodes.values())
        text = f"NODE: members: {members}{'' if change.quorate else '; no quorum'}"
        self._out.effects.append(Logged(INFO, text))
        for service, engine in self.engines.items():
            self._perform(service, engine.membership(change), now)
        kept, entry.kept = entry.kept, []
        for item in kept:
            self._position = item.position
            self._apply(item.sender, item.value, now)
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


def _is_gone(facts: NodeFacts | None, departed: int) -> bool:
    """Whether the incarnation that was met is known to be gone; of one that never said hello it is not known."""
    return facts is not None and departed >= facts.incarnation


def _number(engine: Engine) -> int:
    return int(engine.service)
