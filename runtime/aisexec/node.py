"""One node's whole stack above the order: clients, state transfer, engines, replicated timers. Pure.

    group  --Happened-->  Node  --Payloads-->  group
    ipc    --FromClients, ClientLost-->        --ToClient, CloseClient-->  ipc
    drivers --Report-->                        --Command, Local-->         drivers

A node is WAITING while not all members of a new ring have said hello, CATCHING_UP while it takes over the standing
state, and RUNNING else. Only a running node puts its clients' requests into the order; the others keep them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from logging import ERROR, INFO, WARNING
from typing import Final, assert_never

from corosync_amf.ais import NodeId
from corosync_amf.engine import Engine, Membership, NodeFacts, Request, Service
from corosync_amf.wire import PROTOCOL, Ask, BadMessage, Hello, Requests, Welcome, encode

from . import payloads, sync
from .entry import Entry, Kept
from .groups import Configuration, ConfigurationKind, Delivered, Happening, RingId, Safe
from .outbox import CloseClient, Fence, Logged, NodeEffect, Outbox
from .payloads import Return, is_of_client
from .quorum import QuorumOptions, is_quorate, votes_of
from .replica import PROMISES_SAFETY, Replica
from .returning import Remnants

FENCE_PAUSE_SECONDS: Final = 1.0
"""After so long a fence command that failed, and must not, runs again."""


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
        self.phase = Phase.WAITING
        self.membership: Membership | None = None
        self.kin: frozenset[NodeId] = frozenset()
        """Nodes that cannot have installed another membership since this node installed its own."""
        self._out = Outbox()
        self._replica = Replica(self.local, engines, self._out)
        self._entry: Entry | None = None
        self._former: tuple[NodeId, ...] = ()
        self._state: sync.StateId | None = None
        self._installed: Configuration | None = None
        self._all_seen = False
        self._quorate_seq = 0
        self._met: dict[NodeId, NodeFacts | None] = {}
        """Members of the installed membership and of all rings since: each may act on a membership with this node."""
        self._held: list[bytes] = []
        self._again: list[bytes] = []
        """What clients asked that was delivered while their node was awaited: it goes before what is held."""
        self._remnants: Remnants = []
        self._born: float | None = None

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
                if client in self._replica.clients:
                    self._replica.forget(client)
                    self._send(encode(payloads.Gone(client, self._wall(now))))
            case Report(service, requests):
                self._send(payloads.bundle_of(service, requests, self._wall(now)), service)
            case Fenced(ring_seq, ok):
                self._fenced(ring_seq, ok, now)
            case _:
                assert_never(event)
        return self._finish(now)

    def wake(self, now: float) -> list[NodeEffect]:
        if self._entry is not None and now >= self._entry.hello_at:
            self._say_hello(self._entry, now)
        if self._entry is not None and now >= self._entry.fence_at:
            self._fence(self._entry)
        if self._is_coordinator():
            for service, key, generation in self._replica.alarms.due(now):
                self._send(encode(payloads.Rung(service, key, generation, self._wall(now))))
        return self._finish(now)

    def next_deadline(self) -> float | None:
        deadline = math.inf if self._entry is None else min(self._entry.hello_at, self._entry.fence_at)
        if self._is_coordinator():
            deadline = min(deadline, self._replica.alarms.next_deadline())
        return None if deadline == math.inf else deadline

    def _finish(self, now: float) -> list[NodeEffect]:
        for service, request in self._out.take_requests():
            self._send(payloads.bundle_of(service, [request], self._wall(now)), service)
        return self._out.empty()

    # ---- facts for reading

    @property
    def engines(self) -> dict[int, Engine]:
        """The engines, by service."""
        return self._replica.engines

    @property
    def quorate(self) -> bool:
        """Whether the installed membership may act."""
        return self.membership is not None and self.membership.quorate

    @property
    def order(self) -> int:
        """The order number of what was applied last."""
        return self._replica.order

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
                self._replica.is_safe(count)
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
            self._apply(Kept(sender, value, payload, entry.delivered), now)
        else:
            entry.kept.append(Kept(sender, value, payload, entry.delivered))

    def _apply(self, item: Kept, now: float) -> None:
        """Apply what was delivered; but what clients of a node that is awaited ask comes again after its return."""
        awaited = self._replica.awaited.nodes
        if item.sender in awaited and item.is_of_client:
            if item.sender == self.local:
                self._again.append(item.payload)
            return
        self._replica.position = item.position
        self._replica.apply(item.sender, item.value, now)
        if isinstance(item.value, Return):
            if item.sender == self.local:
                self._replica.returned(self._away())
            if item.sender not in awaited:
                self._returned(item)

    def _returned(self, item: Kept) -> None:
        """A member has taken over the state, and its clients go on."""
        self._stand_firm(item.position)
        if item.sender == self.local:
            self._remnants = []
            self._release()

    def _release(self) -> None:
        """What was held may go into the order."""
        self._out.payloads += [*self._again, *self._held]
        self._again, self._held = [], []

    def _stand_firm(self, position: int) -> None:
        """An answer that promises "all have it" counts only when those who have the state are a quorum by themselves:
        one that is still taking it over would not bring it into the next membership."""
        change, options = self.membership, self.options.quorum
        assert change is not None
        standing = [member for member in change.members if member not in self._replica.awaited.nodes]
        if not change.quorate or is_quorate(options, standing, all_seen=self._all_seen):
            self._replica.stand_firm(position)

    # ---- clients

    def _client_frame(self, client: int, frame: Hello | Requests | Ask, now: float) -> None:
        match frame:
            case Hello():
                self._replica.clients[client] = set() if frame.component is None else {int(Service.AMF)}
                welcome = Welcome(PROTOCOL, self.local, self.options.facts.name, client)
                self._out.frame(client, encode(welcome))
            case Requests():
                if client in self._replica.clients:
                    self._replica.clients[client].add(frame.service)
                wall = self._wall(now)
                for each in self._replica.without_stale(client, frame):
                    data = memoryview(each.bundle)
                    bundle = payloads.Bundle(each.service, client, each.first, each.count, wall, data)
                    self._send(encode(bundle), each.service)
            case Ask(service, request, query):
                ready = self.phase is not Phase.CATCHING_UP and self._installed is not None and not self._is_awaited()
                self._replica.query(client, service, request, query, ready=ready)
            case _:
                assert_never(frame)

    def _send(self, payload: bytes, service: int | None = None) -> None:
        """Put a payload into the order, or keep it until that may be done. `service`: whose requests these are."""
        if self.phase is Phase.RUNNING and not self._is_awaited():
            self._out.payloads.append(payload)
            self._out.prompt |= service in PROMISES_SAFETY
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
                self._quorate_seq, counts, ring_id.seq, ring_id.representative, self._former, self.order
            )
        elif former is not None:
            self._send_again(former, only_clients=self.phase is Phase.CATCHING_UP)
        self.phase = Phase.WAITING
        self._born = now if self._born is None else self._born
        self.kin &= frozenset(self._former)
        self._entry = entry = Entry(configuration)
        self._former = configuration.members
        self._replica.new_ring()
        lost = self._lost(configuration, event)
        guard = self.options.quorum.guard
        entry.guard_until = max([now, *(event.heard[node] + guard for node in lost if node in event.heard)])
        if self.membership is None and votes_of(self.options.quorum, entry.members) < self.options.quorum.expected:
            # A former incarnation of this node may have heard one that is missing here just before it ended.
            entry.guard_until = max(entry.guard_until, self._born + guard)
        if lost and self.options.fence and self.local == configuration.members[0] and self._will_be_quorate(entry):
            entry.unfenced = tuple(facts for node in lost if (facts := self._met[node]) is not None)
            self._fence(entry)
        else:
            self._hello_after_guard(entry, now)

    def _hello_after_guard(self, entry: Entry, now: float) -> None:
        if entry.guard_until <= now:
            self._say_hello(entry, now)
        else:
            entry.hello_at = entry.guard_until

    def _lost(self, configuration: Configuration, event: Happened) -> list[NodeId]:
        """Nodes that are not in the new ring and may still be at work."""
        lost = sorted(self._met.keys() - set(configuration.members))
        return [node for node in lost if not _is_gone(self._met[node], event.departed.get(node, 0))]

    def _will_be_quorate(self, entry: Entry) -> bool:
        return is_quorate(self.options.quorum, entry.members, all_seen=self._all_seen)

    def _fence(self, entry: Entry) -> None:
        """No membership takes effect before the coordinator's hello: so the fence comes before any promotion."""
        entry.fence_at = math.inf
        self._out.effects.append(Fence(entry.configuration.ring_id.seq, entry.unfenced))

    def _fenced(self, ring_seq: int, ok: bool, now: float) -> None:
        entry = self._entry
        if entry is None or ring_seq != entry.configuration.ring_id.seq or self.phase is not Phase.WAITING:
            return
        if ok and self.membership is not None:
            self._say_hello(entry, now)
        elif not ok and self.options.fence_required:
            text = "NODE: fencing failed and is required: nothing is promoted until it succeeds"
            self._out.effects.append(Logged(ERROR, text))
            entry.fence_at = now + FENCE_PAUSE_SECONDS
        else:
            self._hello_after_guard(entry, now)

    def _say_hello(self, entry: Entry, now: float) -> None:
        entry.hello_at = math.inf
        hello = entry.hello(
            self.options.facts,
            self._state,
            self.membership.members if self.membership else (),
            all_seen=self._all_seen,
            era=self.options.era,
            time=self._wall(now),
            highest=self._replica.highest(),
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
        self._send_again(entry, only_clients=self.local in verdict.restoring)
        if self.local in verdict.restoring:
            self._give_way()
            return
        if verdict.restoring and self.local == verdict.sender:
            entry.outgoing.extend(sync.chunks(entry.number, self._replica.snapshot(now)))
            self._pump(entry, sync.CHUNKS_IN_FLIGHT_MAX)
        self._install(entry, verdict.order, now)

    def _send_again(self, entry: Entry, *, only_clients: bool) -> None:
        """Nobody applies what came before the cut: who sent it sends it again, before anything newer. (If some were
        applied and some sent again, because the ring ended between them, a client's requests would change places.)
        """
        kept, entry.kept = entry.kept, []
        mine = [item for item in kept if item.sender == self.local and not isinstance(item.value, Return)]
        self._again += [item.payload for item in mine if item.is_of_client or not only_clients]

    def _give_way(self) -> None:
        """Another partition's state stands: what is held here belongs to the past."""
        self.phase = Phase.CATCHING_UP
        if self._state is None:
            return
        self._held = [payload for payload in self._held if is_of_client(payloads.read(payload))]
        self._replica.give_way()
        if not self._is_awaited():  # else it never came back from the last time: that is what its clients still have
            self._remnants = self._replica.remnants()
        reason = "the node has taken over the state of another partition: connect again"
        self._out.effects.append(Logged(WARNING, "SYNC: the node takes over the state of another partition"))
        for client in self._replica.strangers():
            self._out.effects.append(CloseClient(client, reason))
            self._replica.forget(client)

    def _pump(self, entry: Entry, count: int) -> None:
        self._out.payloads.extend(encode(chunk) for chunk in entry.next_chunks(count))

    def _heard_chunk(self, entry: Entry, chunk: sync.Chunk, now: float) -> None:
        if not entry.is_about(chunk):
            return
        self._pump(entry, 1)
        if self.phase is Phase.CATCHING_UP:
            entry.incoming.append(chunk)
            if chunk.last:
                order = self._replica.take_over(sync.joined(entry.incoming), now)
                entry.incoming = []
                self._install(entry, order, now)

    def _install(self, entry: Entry, order: int, now: float) -> None:
        """The membership takes effect, then what was delivered since the cut."""
        change = entry.change
        assert change is not None
        self._installed, self.membership, self._all_seen = entry.configuration, change, entry.all_seen
        self.phase, self._state, self._quorate_seq = Phase.RUNNING, None, entry.quorate_seq
        self.kin = frozenset(change.members)
        self._met = dict(change.nodes)
        assert change.order > order
        members = ", ".join(f"{node.name} ({node.node_id}, {node.address})" for node in change.nodes.values())
        text = f"NODE: members: {members}{'' if change.quorate else '; no quorum'}"
        self._out.effects.append(Logged(INFO, text))
        replica = self._replica
        replica.position = entry.delivered
        replica.membership(change, now)
        replica.awaited.install(change.members, entry.restoring, entry.configuration.ring_id.seq)
        replica.installed(entry.cut, self._away())
        self._stand_firm(entry.cut)
        kept, entry.kept = entry.kept, []
        for item in kept:
            self._apply(item, now)
        if not change.quorate:
            replica.settle()
        if self._is_awaited():
            self._out.payloads += replica.awaited.parts(self.local, self._remnants, self._wall(now))
        else:
            self._release()

    # ---- small facts

    def _is_awaited(self) -> bool:
        """Whether this node has not told the others yet that it has the state."""
        return self.local in self._replica.awaited.nodes

    def _away(self) -> frozenset[int]:
        """Services whose clients here must still be brought into the state that stands."""
        return self._replica.awaited.away(self.local, self._remnants)

    def _is_coordinator(self) -> bool:
        change = self.membership
        return self.phase is Phase.RUNNING and change is not None and change.members[0] == self.local

    def _wall(self, now: float) -> float:
        return now + self.options.wall_offset


def _is_gone(facts: NodeFacts | None, departed: int) -> bool:
    """Whether the incarnation that was met is known to be gone; of one that never said hello it is not known."""
    return facts is not None and departed >= facts.incarnation
