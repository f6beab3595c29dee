"""Clients that send notifications and subscribe to them, and what must hold of what they heard.

once        a subscription hears no notification twice; ids that were not allocated beforehand grow
own         what a client was told is sent, its own subscription has heard, if it wants it
together    between two notifications that two subscriptions heard both, both heard the same of what both want, if
            their nodes were together: the membership, of which each of them hears, did not change in between,
            and its next change was the same for both (while a ring falls apart, its parts may still deliver
            different messages in the old membership), and says of neither node that it had left: one that gave way
            hears of its return what the others hear, but may have been apart from them before
unique      no id was given twice, in whatever partition
kept        what is kept under an id is what was sent with it, and all replicas keep the same
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from aisexec.node import NodeEvent
from aisexec.simulation.callers import Caller
from corosync_amf.ais import NodeId
from corosync_amf.engine import Done, Engine, Failed, Message, Request, Service
from corosync_amf.services.ntf import messages as m
from corosync_amf.services.ntf.engine import NtfEngine
from corosync_amf.services.ntf.records import AlarmFacts, Nothing, Record, Selection, Terms
from corosync_amf.services.ntf.vocabulary import EventType, NotificationType, ProbableCause, Severity
from corosync_amf.wire import decode

SUBSCRIPTION = 1
JOINED, LEFT = (18568, 3, 0x65), (18568, 3, 0x66)
MEMBERSHIP_CLASSES = (JOINED, LEFT)
MEMBERSHIP = Terms(class_ids=MEMBERSHIP_CLASSES)
CHOICES = (
    Terms(),
    Terms(types=(int(NotificationType.ALARM),)),
    Terms(notification_objects=("safApp=a",)),
    Terms(severities=(int(Severity.MAJOR), int(Severity.CLEARED))),
)
REPLIES = Done | Failed | m.Identified
UNDER_WAY_MAX = 20
NEVER, UNKNOWN = 0, -1


@dataclass(slots=True)
class Hearing:
    """One connection's subscription: what it wants, and what it heard since it is sure to be there."""

    node: NodeId
    filters: tuple[Terms, ...]
    heard: list[Record] = field(default_factory=list)
    is_subscribed: bool = False
    is_over: bool = False

    def wants(self, record: Record) -> bool:
        """Whether a filter matches."""
        return Selection(self.filters).has(record)


class NtfWorkload:
    """See `Workload`."""

    service = Service.NTF

    def __init__(self, nodes: list[NodeId], rng: random.Random) -> None:
        self._rng = rng
        self._callers = {node: Caller(node, Service.NTF, REPLIES, m.NtfEvent) for node in nodes}
        self._hearing: dict[NodeId, Hearing] = {}
        self._sent_since: dict[NodeId, set[str]] = {node: set() for node in nodes}
        self._allocated: dict[NodeId, list[int]] = {node: [] for node in nodes}
        self._owing: list[tuple[Hearing, str, int]] = []
        self._count = 0
        self.hearings: list[Hearing] = []
        self.accepted: dict[int, str] = {}
        self.early: set[int] = set()
        self.faults: list[str] = []

    # ---- what the clients do

    def connect(self, node: NodeId, client: int, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        caller, filters = self._callers[node], (self._rng.choice(CHOICES), MEMBERSHIP)
        self._hearing[node] = hearing = Hearing(node, filters)
        self.hearings.append(hearing)
        self._sent_since[node], self._allocated[node] = set(), []
        return [caller.connect(client), caller.request(m.Subscribe(SUBSCRIPTION, filters))]

    def work(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        caller = self._callers[node]
        if len(caller.asked) > UNDER_WAY_MAX:
            return []
        wanted: list[Request] = []
        for _ in range(self._rng.choice((1, 1, 2, 10))):
            match self._rng.randrange(8):
                case 0:
                    wanted.append(m.Allocate())
                case 1 if self._allocated[node]:
                    wanted.append(m.SendWithId(self._record(node, self._allocated[node].pop())))
                case _:
                    wanted.append(m.Send(self._record(node, 0)))
        return [caller.request(*wanted)]

    def _record(self, node: NodeId, identifier: int) -> Record:
        self._count += 1
        rng, text = self._rng, f"{node}: {self._count}"
        if self._hearing[node].is_subscribed:
            self._sent_since[node].add(text)
        about = rng.choice(("safApp=a", "safApp=b"))
        if rng.random() < 0.5:
            return _record(EventType.APPLICATION_EVENT, about, identifier, text, Nothing())
        facts = AlarmFacts(int(ProbableCause.SOFTWARE_ERROR), int(rng.choice((Severity.MAJOR, Severity.CLEARED, 2))))
        return _record(EventType.ALARM_QOS, about, identifier, text, facts)

    def hear(self, node: NodeId, frames: Sequence[bytes], now: float) -> list[NodeEvent]:
        """See `Workload`."""
        for asked, answer in self._callers[node].hear(frames):
            self._heard(node, asked, answer)
        return []

    def _heard(self, node: NodeId, asked: Message | None, answer: Message) -> None:
        hearing = self._hearing[node]
        match asked, answer:
            case None, m.Notified(_, _, _, data):
                hearing.heard.append(decode(data, Record))
            case m.Subscribe(), Done():
                hearing.is_subscribed = True
            case m.Allocate(), m.Identified(identifier):
                self._allocated[node].append(identifier)
                self.early.add(identifier)
            case ((m.Send(record) | m.SendWithId(record)), m.Identified(identifier)):
                self._was_sent(hearing, record, identifier)
            case m.SendWithId(), Failed():
                pass  # the state in which the id was allocated gave way
            case _:
                self.faults.append(f"node {node}: {asked} was answered with {answer}")

    def _was_sent(self, hearing: Hearing, record: Record, identifier: int) -> None:
        if identifier in self.accepted:
            self.faults.append(
                f"unique: id {identifier} was given to {self.accepted[identifier]!r} and {record.text!r}"
            )
        self.accepted[identifier] = record.text
        if hearing.wants(record) and record.text in self._sent_since[hearing.node]:
            self._owing.append((hearing, record.text, identifier))

    def lost(self, node: NodeId, now: float) -> None:
        """See `Workload`."""
        self._callers[node].lost()
        self._hearing[node].is_over = True

    def finish(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        return []

    def is_settled(self) -> bool:
        """See `Workload`."""
        return all(caller.client and not caller.asked for caller in self._callers.values())

    # ---- what must hold

    def check(self, engines: Mapping[NodeId, Engine]) -> list[str]:
        """See `Workload`."""
        faults = [*self.faults, *twice_or_disordered(self.hearings, self.early), *apart(self.hearings)]
        faults += unheard(self._owing)
        return faults + self._wrongly_kept(engines)

    def _wrongly_kept(self, engines: Mapping[NodeId, Engine]) -> list[str]:
        kept: dict[NodeId, list[m.KeptRecord]] = {}
        for node, engine in sorted(engines.items()):
            assert isinstance(engine, NtfEngine)
            kept[node] = engine.snapshot().kept
        first, *others = kept.items()
        faults = [f"kept: nodes {first[0]} and {node} keep different ones" for node, each in others if each != first[1]]
        for each in first[1]:
            record = decode(each.data, Record)
            expected = self.accepted.get(each.identifier, record.text)
            if expected != record.text or each.identifier != record.identifier:
                faults.append(f"kept: {record.text!r} stands under id {each.identifier}, which is that of {expected!r}")
        return faults


def twice_or_disordered(hearings: Iterable[Hearing], early: set[int]) -> list[str]:
    """Faults against `once`. `early`: ids that were allocated beforehand."""
    faults: list[str] = []
    for hearing in hearings:
        identifiers = [record.identifier for record in hearing.heard]
        if len(set(identifiers)) < len(identifiers):
            faults.append(f"once: node {hearing.node} heard a notification twice")
        growing = [each for each in identifiers if each not in early]
        if growing != sorted(growing):
            faults.append(f"once: node {hearing.node} heard ids that do not grow")
    return faults


def unheard(owing: Iterable[tuple[Hearing, str, int]]) -> list[str]:
    """Faults against `own`."""
    return [
        f"own: node {hearing.node} has not heard its own {text!r}, id {identifier}"
        for hearing, text, identifier in owing
        if not any(record.identifier == identifier for record in hearing.heard)
    ]


def apart(hearings: Sequence[Hearing]) -> list[str]:
    """Faults against `together`."""
    faults: list[str] = []
    for one, other in combinations([hearing for hearing in hearings if hearing.heard], 2):
        here, there = _stretches(one, other), _stretches(other, one)
        for key in sorted(here.keys() & there.keys()):
            (mine, change), (theirs, other_change) = here[key], there[key]
            if change == other_change != UNKNOWN and mine != theirs:
                faults.append(f"together: between {key} node {one.node} heard {mine}, node {other.node} {theirs}")
    return faults


def _stretches(one: Hearing, other: Hearing) -> dict[tuple[int, int], tuple[list[int], int]]:
    """What `one` heard between each two neighbours that both heard, of what `other` wants, and the next change of the
    membership after that (UNKNOWN: it was not heard any more, or the node had left; NEVER: there was none).

    Stretches in which the membership changed are left out.
    """
    common = {record.identifier for record in one.heard} & {record.identifier for record in other.heard}
    found: dict[tuple[int, int], tuple[list[int], int]] = {}
    change, end, between = UNKNOWN if one.is_over else NEVER, 0, list[int]()
    has_left = False
    for record in reversed(one.heard):
        is_change = record.class_id in MEMBERSHIP_CLASSES
        has_left = is_change and (has_left or _is_leave_of(record, one.node))
        if record.identifier in common and end:
            found[record.identifier, end] = (between[::-1], change)
        if is_change:
            change, end = UNKNOWN if has_left else record.identifier, 0
        elif record.identifier in common:
            end, between = record.identifier, []
        elif other.wants(record):
            between.append(record.identifier)
    return found


def _is_leave_of(record: Record, node: NodeId) -> bool:
    return record.class_id == LEFT and record.notification_object == f"safNode=node-{node}"


def _record(event_type: EventType, about: str, identifier: int, text: str, facts: AlarmFacts | Nothing) -> Record:
    return Record(int(event_type), about, "safApp=sim", (1, 1, 1), None, identifier, text, (), (), facts)
