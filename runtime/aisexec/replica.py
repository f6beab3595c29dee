"""The engines of one node under one order: requests in; replies, events, timers and commands out. Pure.

Every member of a membership applies the same values in the same order, so their replicas are equal; each of them keeps
only those effects for itself that name its own node.
"""

from collections import deque
from collections.abc import Container, Sequence
from logging import CRITICAL
from traceback import format_exc
from typing import Any, Final, assert_never

from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import (
    Alarm,
    Client,
    ClientGone,
    Done,
    Effect,
    Engine,
    Event,
    Failed,
    Forward,
    Initialize,
    Log,
    Membership,
    Message,
    Multicast,
    NodeLocal,
    Numbering,
    Origin,
    Query,
    Reply,
    Request,
    Run,
    Service,
)
from corosync_amf.wire import MESSAGE_BYTES_MAX, BadMessage, Requests, decode, encode

from . import sync
from .alarms import Alarms, Armed
from .outbox import CloseClient, Command, Local, Logged, Outbox
from .payloads import Bundle, Gone, Return, Rung
from .returning import Awaited, Remnants
from .safety import NEVER, SafeEvents
from .standing import STALE, UNAVAILABLE, Standing

NEEDS_QUORUM = frozenset({Service.CKPT, Service.LCK, Service.MSG})
PROMISES_SAFETY = frozenset({Service.CKPT, Service.MSG, Service.LCK, Service.LOG, Service.EVS, Service.CPG})
"""Whose replies and events may wait until every member has the request."""
REMNANT_OVERHEAD_BYTES: Final = 256
_FAULT = Failed(ErrorCode.LIBRARY, "the service failed; see the executive's log")
_NO_QUORUM = Failed(ErrorCode.TRY_AGAIN, "partition has no quorum")
_OUTCOME_UNKNOWN = Failed(ErrorCode.TIMEOUT, "the partition lost its quorum before every replica was known to have it")


class Replica:
    """`engines` by service, in the order of their numbers; `clients` of this node, with the services that each uses;
    `order` of what was applied last.

    `position` and `safe` count payloads of the present ring: the one that is being applied, and those that every member
    is known to have.
    """

    def __init__(self, local: NodeId, engines: Sequence[Engine], out: Outbox) -> None:
        self.local = local
        self.engines = {int(engine.service): engine for engine in sorted(engines, key=_number)}
        self.clients: dict[int, set[int]] = {}
        self.alarms = Alarms()
        self.order = 0
        self.quorate = False
        self.position = 0
        self.safe = 0
        self.awaited = Awaited()
        self._cut: int | None = None
        self._floor = NEVER
        self._out = out
        self._request_types: dict[int, Any] = {
            number: list[engine.request_type]  # type: ignore[name-defined]
            for number, engine in self.engines.items()
        }
        self._query_types: dict[int, Any] = {
            number: Initialize if engine.query_type is None else engine.query_type | Initialize
            for number, engine in self.engines.items()
        }
        self._standing = Standing(local, self.engines.values())
        self._unsafe: deque[tuple[int, int, int, Message]] = deque()
        self._events = SafeEvents(out)
        self._cause = Origin(Client(local, 0))

    # ---- the order

    def apply(self, sender: NodeId, value: Bundle | Gone | Rung | Return, now: float) -> None:
        """Apply one value in its place in the order."""
        match value:
            case Bundle():
                self._apply_bundle(sender, value, now)
            case Gone(client, time):
                origin = self._origin(Client(sender, client), 0, time)
                for service, engine in self.engines.items():
                    self._perform(service, self._applied(engine, ClientGone(), origin), now)
            case Rung(service, key, generation, time):
                message = self.alarms.take(service, key, generation)
                if message is not None:
                    origin = self._origin(Client(sender, 0), 0, time)
                    self._perform(service, self._applied(self.engines[service], message, origin), now)
            case Return():
                if self.awaited.take(sender, value) and value.service:
                    self._merge(sender, value, now)
            case _:
                assert_never(value)

    def _merge(self, sender: NodeId, value: Return, now: float) -> None:
        """A node's remnant of one service comes into the state that stands."""
        engine = self.engines.get(value.service)
        if engine is None or engine.remnant_type is None:
            return
        origin = self._origin(Client(sender, 0), 0, value.time)
        try:
            effects = engine.merge(decode(value.data, engine.remnant_type), origin)
        except Exception:
            self._tell_fault(engine, value, origin.client)
            return
        self._perform(value.service, effects, now)

    def membership(self, change: Membership, now: float) -> None:
        """Tell all engines of a membership change, in its place in the order."""
        self.order, self.quorate = change.order, change.quorate
        self._cause = Origin(Client(change.members[0], 0), 0, change.order, change.time)
        self.alarms.ring_again()
        told = [(service, engine.membership(change)) for service, engine in self.engines.items()]
        for service, effects in told:
            self._perform(service, effects, now)

    def _origin(self, client: Client, request: int, time: float) -> Origin:
        """The next place in the order."""
        self.order += 1
        self._cause = Origin(client, request, self.order, time)
        return self._cause

    def _apply_bundle(self, sender: NodeId, bundle: Bundle, now: float) -> None:
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
        reason = self._reason_to_refuse(bundle.service, client)
        for request, message in enumerate(messages, bundle.first):
            origin = self._origin(client, request, bundle.time)
            refusal: Message | None = None
            if reason is not None:
                exempt = message.without_membership if reason is UNAVAILABLE else message.without_quorum
                refusal = None if exempt else reason
            if refusal is None:
                self._perform(bundle.service, self._applied(engine, message, origin), now)
                if type(message) is ClientGone:
                    refusal = Done()  # no engine answers that
            if refusal is not None and is_local:
                self._out.reply(bundle.client, request, refusal)

    def _reason_to_refuse(self, service: int, client: Client) -> Failed | None:
        """What requests get that are not applied, on any replica, unless they are exempt."""
        if client.number == 0:
            return None
        if self._standing.refuses(service, client.node):
            return UNAVAILABLE
        return _NO_QUORUM if not self.quorate and service in NEEDS_QUORUM else None

    def _applied(self, engine: Engine, message: Request, origin: Origin) -> list[Effect]:
        """What the engine makes of a request. A fault of the engine's own is the same on every replica: the request is
        answered with it, and the executives live on."""
        try:
            return engine.apply(message, origin)
        except Exception:
            self._tell_fault(engine, message, origin.client)
            return [Reply(origin, _FAULT)]

    def _tell_fault(self, engine: Engine, message: Message | Return, client: Client) -> None:
        text = f"{engine.service.name}: {type(message).__name__} of {client} failed\n{format_exc()}"
        self._out.effects.append(Logged(CRITICAL, text))

    def _perform(self, service: int, effects: list[Effect], now: float) -> None:
        for effect in effects:
            match effect:
                case Reply(to, message, safe):
                    self._reply(to, message, safe)
                case Event(to, message, safe, ahead, firm):
                    if to.node != self.local or to.number not in self.clients:
                        continue
                    if ahead:
                        self._out.event(to.number, service, message)
                    else:
                        position = max(self.position, self._cut or 0) if safe or firm else 0
                        self._events.add(to.number, service, message, position, firm=firm)
                case Alarm(key, delay, message):
                    armed = None if delay is None or message is None else Armed(self.order, now + delay, message)
                    self.alarms.set(service, key, armed)
                case Multicast(node, message):
                    if node == self.local:
                        self._out.requests.append((service, message))
                case Run(node, command):
                    if node == self.local:
                        self._out.effects.append(Command(service, command))
                case Forward(other, message):
                    self._forward(other, message, now)
                case Log(level, text):
                    self._out.effects.append(Logged(level, text))
                case _:
                    assert_never(effect)
        if service == Service.CLM:
            self._standing.look(self.clients, list(self.engines))

    def _forward(self, service: Service, message: Request, now: float) -> None:
        engine = self.engines.get(service)
        if engine is not None:
            origin = self._origin(Client(self._cause.client.node, 0), 0, self._cause.time)
            self._perform(service, self._applied(engine, message, origin), now)

    # ---- replies that wait until every member has the request

    def _reply(self, to: Origin, message: Message, safe: bool) -> None:
        client = to.client
        if client.node != self.local or client.number not in self.clients:
            return
        if safe and max(self.position, self._floor) > self.safe:
            self._unsafe.append((self.position, client.number, to.request, message))
        else:
            self._out.reply(client.number, to.request, message, was_awaited=safe)

    def is_safe(self, count: int) -> None:
        """Every member has the first `count` payloads of the present ring."""
        self.safe = count
        while count >= self._floor and self._unsafe and self._unsafe[0][0] <= count:
            _, client, request, message = self._unsafe.popleft()
            self._out.reply(client, request, message, was_awaited=True)
        if self._cut is not None:
            self._events.is_safe(count)

    def installed(self, cut: int, away: Container[int]) -> None:
        """A membership has taken effect; its members knew one another when `cut` payloads were delivered. Of the
        services `away` the clients here are not in the state yet."""
        self._cut = cut
        self._events.settle(away)
        self._events.is_safe(self.safe)

    def returned(self, away: Container[int]) -> None:
        """A part of what this node brings along has been merged: of the services `away` it has not."""
        self._events.settle(away)

    def stand_firm(self, position: int) -> None:
        """Those who have the state are a quorum, or there need be none, if so many payloads are safe."""
        if self._floor == NEVER:
            self._floor = position
            self.is_safe(self.safe)
            if self.quorate:
                self._events.stand_firm(position)

    def new_ring(self) -> None:
        """Counting begins anew. What waited goes on waiting, until a quorum of the next membership has it."""
        self.position = self.safe = 0
        self._cut, self._floor = None, NEVER
        self._events.new_ring()
        self._unsafe = deque((0, client, request, message) for _, client, request, message in self._unsafe)

    def settle(self) -> None:
        """The membership has no quorum: nobody can promise what waits."""
        for _, client, request, _ in self._unsafe:
            self._out.reply(client, request, _OUTCOME_UNKNOWN)
        self._unsafe.clear()

    # ---- giving way to another partition

    def give_way(self) -> None:
        """The state is about to be replaced: what waited to be safe will not be. Events wait on, but for firm ones: a
        client must be told first that it goes on without the others (see `returned`)."""
        self.settle()
        self._events.give_way()

    def strangers(self) -> list[int]:
        """Clients that cannot go on in another state: a service that they use brings nothing along."""
        lost = {service for service, engine in self.engines.items() if engine.remnant_type is None}
        return sorted(client for client, used in self.clients.items() if not lost.isdisjoint(used))

    def remnants(self) -> Remnants:
        """What this node brings along for its clients, of the state that is about to be replaced."""
        found: Remnants = []
        for service, engine in self.engines.items():
            remnant = engine.remnant(self.local) if engine.remnant_type is not None else None
            data = b"" if remnant is None else encode(remnant)
            if len(data) > MESSAGE_BYTES_MAX - REMNANT_OVERHEAD_BYTES:
                text = f"{engine.service.name}: a remnant of {len(data)} bytes is too much: it is left behind"
                self._out.effects.append(Logged(CRITICAL, text))
            elif remnant is not None:
                found.append((service, data))
        return found

    # ---- clients of this node

    def forget(self, client: int) -> None:
        """A client of this node is gone."""
        self.clients.pop(client, None)
        self._standing.forget(client)
        self._events.forget(client)

    def without_stale(self, client: int, frame: Requests) -> list[Requests]:
        """What of a client's requests may go into the order; those of a stale service object are refused at once."""
        if not self._standing.is_stale(client, frame.service):
            return [frame]
        try:
            messages = decode(frame.bundle, self._request_types[frame.service])
        except BadMessage:
            return [frame]  # the order deals with it
        passed: list[Requests] = []
        for number, message in enumerate(messages, frame.first):
            if message.without_membership:
                passed.append(Requests(frame.service, number, 1, encode([message])))
            else:
                self._out.reply(client, number, STALE)
        return passed

    # ---- queries

    def query(self, client: int, service: int, request: int, query: bytes, *, ready: bool) -> None:
        """Answer from this replica. `ready` False: its state is not known yet."""
        engine = self.engines.get(service)
        if engine is None:
            self._out.effects.append(CloseClient(client, f"there is no service {service} here"))
            return
        try:
            message = decode(query, self._query_types[service])
        except BadMessage as error:
            self._out.effects.append(CloseClient(client, str(error)))
            return
        if isinstance(message, NodeLocal):
            self._out.effects.append(Local(service, client, request, message))
        elif not ready:
            self._out.reply(client, request, Failed(ErrorCode.TRY_AGAIN, "the state is being transferred"))
        elif isinstance(message, Initialize):
            self._out.reply(client, request, self._standing.begins(client, service) or Done())
        else:
            refusal = self._standing.refuses_query(client, service)
            answer = refusal or self._answered(engine, message, Client(self.local, client))
            self._out.reply(client, request, answer)

    def _answered(self, engine: Engine, message: Query, client: Client) -> Message:
        try:
            return engine.query(message, client)
        except Exception:
            self._tell_fault(engine, message, client)
            return _FAULT

    # ---- the state as a whole

    def highest(self) -> tuple[tuple[int, int], ...]:
        """By service, the highest number that clients of this node may know."""
        return tuple((number, each.highest) for number, each in self.engines.items() if isinstance(each, Numbering))

    def snapshot(self, now: float) -> bytes:
        """All of it, encoded, with what is left of the timers."""
        engines = [(number, encode(engine.snapshot())) for number, engine in self.engines.items()]
        alarms = [
            sync.PendingAlarm(service, key, armed.generation, armed.deadline - now, encode(armed.message))
            for (service, key), armed in sorted(self.alarms.armed.items())
        ]
        return encode(sync.Snapshot(self.order, engines, alarms, self.awaited.records()))

    def take_over(self, data: bytes, now: float) -> int:
        """Replace the state by another replica's; return the order number at which it was cut off.

        Raises: BadMessage: it is no snapshot of these engines.
        """
        snapshot: sync.Snapshot = decode(data, sync.Snapshot)
        states = [
            (self.engines[number], decode(state, self.engines[number].snapshot_type))
            for number, state in snapshot.engines
        ]
        for engine, state in states:
            engine.restore(state)
        self.awaited = Awaited(snapshot.awaited)
        self.alarms = Alarms()
        for alarm in snapshot.alarms:
            message = decode(alarm.message, self.engines[alarm.service].request_type)
            armed = Armed(alarm.generation, now + alarm.remaining, message)
            self.alarms.set(alarm.service, alarm.key, armed)
        return snapshot.order


def _number(engine: Engine) -> int:
    return int(engine.service)
