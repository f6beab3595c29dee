"""Replicas of one engine that get the same requests in the same order, and are compared after each of them."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from corosync_amf.ais import NodeId
from corosync_amf.engine import (
    Alarm,
    Client,
    ClientGone,
    Effect,
    Engine,
    Event,
    Failed,
    Forward,
    Log,
    Membership,
    Message,
    Multicast,
    NodeFacts,
    NodeLocks,
    Origin,
    Reply,
    Request,
    Run,
    to_error,
)
from corosync_amf.errors import AisError
from corosync_amf.wire import decode, encode

START_TIME = 1_000_000.0


def facts_of(node: NodeId) -> NodeFacts:
    return NodeFacts(node, f"node{node}", f"10.0.0.{node}", 500.0 + node, 1)


@dataclass
class Answer:
    """What came of one request: its reply if there was one, whether that waits for safe delivery."""

    message: Message | None = None
    safe: bool = False

    @property
    def error(self) -> AisError | None:
        return to_error(self.message) if isinstance(self.message, Failed) else None


@dataclass
class Replicas:
    """`make` makes one engine. Clocks stand still but for `advance`."""

    make: Callable[[], Engine]
    members: tuple[NodeId, ...] = (1, 2, 3)
    now: float = START_TIME
    engines: dict[NodeId, Engine] = field(default_factory=dict)
    events: list[tuple[Client, Message]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    forwarded: list[tuple[int, Request]] = field(default_factory=list)
    commands: list[tuple[NodeId, Message]] = field(default_factory=list)
    alarms: dict[str, tuple[float, Request]] = field(default_factory=dict)
    answers: dict[Origin, Answer] = field(default_factory=dict)
    holds_multicasts: bool = False
    is_persistent: bool = False
    begins_quorate: bool = True
    remembered: dict[NodeId, NodeLocks] = field(default_factory=dict)
    held: deque[tuple[NodeId, Request]] = field(default_factory=deque)
    order: int = 0

    def __post_init__(self) -> None:
        members, self.members = self.members, ()
        self.change(joined=members, quorate=self.begins_quorate)

    # ---- what happens

    def send(self, client: Client, message: Request) -> Answer:
        """Put a request into the order; return what is answered at once (later answers appear in the same object)."""
        origin = self._origin(client)
        answer = self.answers[origin] = Answer()
        self._apply(message, origin)
        if not self.holds_multicasts:
            self.deliver_held()
        return answer

    def ask(self, client: Client, message: Message) -> Message:
        """Answer a query from the replica of the client's node."""
        engine = self.engines[client.node]
        reply = engine.query(decode(encode(message), engine.query_type), client)
        self._compare()
        return reply

    def deliver_held(self) -> None:
        """Put what executives had to multicast into the order."""
        while self.held:
            node, message = self.held.popleft()
            if node in self.members:
                self._apply(message, self._origin(Client(node, 0)))

    def advance(self, seconds: float) -> None:
        """Let time pass; alarms go off in their order."""
        end = self.now + seconds
        while due := [(deadline, key) for key, (deadline, _) in self.alarms.items() if deadline <= end]:
            deadline, key = min(due)
            _, message = self.alarms.pop(key)
            self.now = max(self.now, deadline)
            self._apply(message, self._origin(Client(self.members[0], 0)))
            self.deliver_held()
        self.now = end

    def gone(self, client: Client) -> None:
        """A client dies."""
        self._apply(ClientGone(), self._origin(client))

    def change(
        self,
        joined: Iterable[NodeId] = (),
        left: Iterable[NodeId] = (),
        *,
        quorate: bool = True,
        reasons: Mapping[NodeId, str] | None = None,
        highest: Mapping[int, int] | None = None,
    ) -> None:
        """Nodes go and come; those that come take over the state, unless nobody has one."""
        joined, left = frozenset(joined), frozenset(left)
        stayed = [node for node in self.members if node not in left]
        self.members = tuple(sorted({*stayed, *joined}))
        snapshot = encode(self.engines[stayed[0]].snapshot()) if stayed else None
        self.engines = {node: self.engines[node] for node in stayed}
        for node in sorted(joined):
            engine = self.engines[node] = self.make()
            if snapshot is not None:
                engine.restore(decode(snapshot, engine.snapshot_type))
        self.order += 1
        change = Membership(
            self.members,
            joined,
            left,
            quorate,
            {node: self._facts(node) for node in self.members},
            self.order,
            self.now,
            reasons or {},
            ring_seq=self.order,
            highest=highest or {},
        )
        self._all([(node, engine.membership(change)) for node, engine in sorted(self.engines.items())])
        if not self.holds_multicasts:
            self.deliver_held()

    # ---- the machinery

    def _facts(self, node: NodeId) -> NodeFacts:
        locks = self.remembered.get(node, NodeLocks())
        return replace(facts_of(node), is_persistent=self.is_persistent, last_locks=locks)

    def _origin(self, client: Client) -> Origin:
        self.order += 1
        return Origin(client, self.order, self.order, self.now)

    def _apply(self, message: Request, origin: Origin) -> None:
        data = encode(message)
        effects = []
        for node, engine in sorted(self.engines.items()):
            effects.append((node, engine.apply(decode(data, engine.request_type), origin)))
        self._all(effects)

    def _all(self, effects: list[tuple[NodeId, list[Effect]]]) -> None:
        for _, each in effects:
            assert each == effects[0][1]
        self._compare()
        for effect in effects[0][1]:
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Reply(to, message, safe):
                answer = self.answers.get(to)
                if answer is not None:
                    assert answer.message is None, "answered twice"
                    answer.message, answer.safe = decode(encode(message), type(message)), safe
            case Event(to, message):
                self.events.append((to, decode(encode(message), type(message))))
            case Alarm(key, delay, request):
                self.alarms.pop(key, None)
                if delay is not None and request is not None:
                    self.alarms[key] = (self.now + delay, request)
            case Multicast(node, request):
                self.held.append((node, request))
            case Run(node, command):
                self.commands.append((node, command))
            case Forward(service, message):
                self.forwarded.append((service, message))
            case Log(_, text):
                self.lines.append(text)

    def _compare(self) -> None:
        """All replicas, and one restored from a snapshot of them, have the same state."""
        states = [encode(engine.snapshot()) for engine in self.engines.values()]
        assert all(state == states[0] for state in states)
        again = self.make()
        again.restore(decode(states[0], again.snapshot_type))
        assert encode(again.snapshot()) == states[0]

    def events_for(self, client: Client) -> list[Any]:
        """The events of a client since the last call."""
        mine = [message for to, message in self.events if to == client]
        self.events = [(to, message) for to, message in self.events if to != client]
        return mine


def refused(answer: Answer | Message) -> AisError:
    """The error that was the answer."""
    message = answer.message if isinstance(answer, Answer) else answer
    assert isinstance(message, Failed), f"not refused: {message}"
    return to_error(message)
