"""Clients of EVT: they publish numbered events to one channel, follow it, retain and clear. What must hold:

    at most once    no subscription gets an event twice
    order           of each publisher and priority in publish order; what was retained at the beginning comes first
    no gap          between two events of a publisher and priority none is missing, unless a lost event comes before
                    the second one, and the missing ones were published before it came
    ids             no two events have the same (one that was on its way when its node was cut off may have two)
    retention       an acknowledged retained event is in all replicas in the end, unless its publisher's node was lost
    cleared         an event whose clearing was acknowledged is in none, under the same condition

Here only a merge loses events: queues are the library's, and these clients read all.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aisexec.node import NodeEvent
from aisexec.simulation.callers import Caller
from corosync_amf.ais import NodeId
from corosync_amf.engine import Done, Engine, Failed, Message, Request, Service
from corosync_amf.services.evt import messages as m
from corosync_amf.services.evt.values import EVENT_ID_LOST

BUS: Final = "bus"
OTHER: Final = "other"
BUS_HANDLE: Final = 1
OTHER_HANDLE: Final = 2
REPLIES: Final = m.Published | m.Purged | Done | Failed
LONG: Final = 50_000.0
SHORT: Final = 2.0
ALL: Final = 7
PENDING_MAX: Final = 12

Row = tuple[str, int]
"""A publisher and a priority: its events there are numbered 1, 2, 3 ..."""


class Followed:
    """One subscription. `numbers` are the last of each row, `excused` up to which of them may be missing."""

    def __init__(self, excused: Mapping[Row, int]) -> None:
        self.seen: set[bytes] = set()
        self.last_retained = 0
        self.is_live = False
        self.numbers: dict[Row, int] = {}
        self.live: set[Row] = set()
        self.excused = dict(excused)


class Session:
    """The client of one node; a new connection is a new publisher."""

    def __init__(self, node: NodeId) -> None:
        self.caller = Caller(node, Service.EVT, REPLIES, m.EvtEvent)
        self.node = node
        self.connections = 0
        self.begin()

    def begin(self) -> None:
        self.connections += 1
        self.publisher = f"{self.caller.node}.{self.connections}"
        self.next_subscription = 1
        self.followed: dict[int, Followed] = {}
        self.retained: set[int] = set()
        self.clearing: set[int] = set()
        self.cleared: set[int] = set()


class EvtWorkload:
    """See the module."""

    service: Service = Service.EVT

    def __init__(self, nodes: list[NodeId], rng: random.Random) -> None:
        self.sessions = {node: Session(node) for node in nodes}
        self.faults: list[str] = []
        self.delivered = 0
        self._rng = rng
        self._sent: dict[Row, int] = defaultdict(int)
        self._failed: set[tuple[Row, int]] = set()
        self._ids: dict[int, bytes] = {}

    # ---- what the clients do

    def connect(self, node: NodeId, client: int, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        session = self.sessions[node]
        session.begin()
        events = [session.caller.connect(client), session.caller.request(m.Open(BUS_HANDLE, BUS, ALL))]
        return [*events, self._follow(session)]

    def work(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        session, rng = self.sessions[node], self._rng
        if len(session.caller.asked) > PENDING_MAX:
            return []
        match rng.choices(("publish", "burst", "clear", "follow", "leave", "other"), (6, 2, 3, 1, 1, 2))[0]:
            case "publish":
                return [session.caller.request(self._publication(session))]
            case "burst":
                return [session.caller.request(*(self._publication(session) for _ in range(rng.randint(2, 8))))]
            case "clear" if session.retained:
                chosen = rng.choice(sorted(session.retained))
                session.retained.remove(chosen)
                session.clearing.add(chosen)
                return [session.caller.request(m.ClearRetention(BUS_HANDLE, chosen))]
            case "follow" if len(session.followed) < 3:
                return [self._follow(session)]
            case "leave" if len(session.followed) > 1:
                number = rng.choice(sorted(session.followed))
                del session.followed[number]
                return [session.caller.request(m.Unsubscribe(BUS_HANDLE, number))]
            case "other":
                return [session.caller.request(self._other())]
            case _:
                return []

    def _follow(self, session: Session) -> NodeEvent:
        number = session.next_subscription
        session.next_subscription += 1
        session.followed[number] = Followed(self._sent)
        return session.caller.request(m.Subscribe(BUS_HANDLE, number, ()))

    def _publication(self, session: Session) -> m.Publish:
        priority, count = self._rng.randrange(4), self._rng.choice((1, 1, 1, 5))
        retention = self._rng.choice((0.0, 0.0, SHORT, LONG))
        row = (session.publisher, priority)
        data = []
        for _ in range(count):
            self._sent[row] += 1
            data.append(f"{session.publisher} {priority} {self._sent[row]}".encode())
        return m.Publish(BUS_HANDLE, (b"p",), priority, retention, session.publisher, data)

    def _other(self) -> Request:
        """Something with the channel that is made and unlinked by anybody."""
        choices: list[Request] = [
            m.Open(OTHER_HANDLE, OTHER, ALL),
            m.Close((OTHER_HANDLE,)),
            m.Unlink(OTHER),
            m.Publish(OTHER_HANDLE, (), 3, self._rng.choice((SHORT, LONG)), "", [b"x"]),
            m.Purge(OTHER),
        ]
        return self._rng.choice(choices)

    def lost(self, node: NodeId, now: float) -> None:
        """See `Workload`. The publisher is no more; what it was told is worth nothing if its node is lost, too."""
        session = self.sessions[node]
        session.caller.lost()
        session.begin()

    def finish(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        return []

    def is_settled(self) -> bool:
        """See `Workload`."""
        return all(session.caller.client and not session.caller.asked for session in self.sessions.values())

    # ---- what they are told

    def hear(self, node: NodeId, frames: Sequence[bytes], now: float) -> list[NodeEvent]:
        """See `Workload`."""
        session = self.sessions[node]
        for asked, answer in session.caller.hear(frames):
            if asked is None:
                self._delivered(session, answer)
            else:
                self._answered(session, asked, answer)
        return []

    def _answered(self, session: Session, asked: Message, answer: Any) -> None:
        match asked, answer:
            case m.Publish(handle=1), m.Published(first):
                for place, data in enumerate(asked.data):
                    self._identified(first + place * m.NEXT_EVENT, data)
                    if asked.retention_time == LONG:
                        session.retained.add(first + place * m.NEXT_EVENT)
            case m.Publish(handle=1), _:
                self._failed.update(_numbered(data) for data in asked.data)
            case m.ClearRetention(_, event_id), Done():
                session.cleared.add(event_id)
            case m.ClearRetention(_, event_id), _:
                self._fault(session, f"event {event_id} could not be cleared: {answer}")
            case _:
                pass

    def _identified(self, event_id: int, data: bytes) -> None:
        known = self._ids.setdefault(event_id, data)
        if known != data:
            self.faults.append(f"id {event_id} was given to {known!r} and to {data!r}")

    def _delivered(self, session: Session, event: m.Delivered) -> None:
        if event.event_id == EVENT_ID_LOST:
            self._missed(session, event)
            return
        for place, data in enumerate(event.data):
            self._identified(event.event_id + place * m.NEXT_EVENT, data)
            for number in event.subscriptions:
                followed = session.followed.get(number)
                if followed is not None:
                    self.delivered += 1
                    self._followed(session, followed, event, event.event_id + place * m.NEXT_EVENT, data)

    def _missed(self, session: Session, event: m.Delivered) -> None:
        """A lost event: what has been published until now may be missing, as many as it says at least."""
        if int(event.data[0]) < 1:
            self._fault(session, "nothing was lost, and a lost event says so")
        for number in event.subscriptions:
            if number in session.followed:
                session.followed[number].excused = dict(self._sent)

    def _followed(self, session: Session, followed: Followed, event: m.Delivered, event_id: int, data: bytes) -> None:
        row, number = _numbered(data)
        if data in followed.seen:
            self._fault(session, f"{data!r} came twice")
        followed.seen.add(data)
        last = followed.numbers.get(row, 0)
        if event.at_subscribe:
            if followed.is_live or event_id <= followed.last_retained:
                self._fault(session, f"retained {data!r} came out of order")
            followed.last_retained = event_id
        else:
            followed.is_live = True
            if number <= last:
                self._fault(session, f"{data!r} came after number {last}")
            if row in followed.live:
                missing = [each for each in range(last + 1, number) if (row, each) not in self._failed]
                if missing and missing[-1] > followed.excused.get(row, 0):
                    self._fault(session, f"{data!r} came after number {last}; {missing[-1]} is missing")
            followed.live.add(row)
        followed.numbers[row] = max(number, last)

    def _fault(self, session: Session, text: str) -> None:
        self.faults.append(f"node {session.node}: {text}")

    # ---- in the end

    def check(self, engines: Mapping[NodeId, Engine]) -> list[str]:
        """See `Workload`."""
        faults = list(self.faults)
        for node, engine in sorted(engines.items()):
            snapshot = engine.snapshot()
            assert isinstance(snapshot, m.Snapshot)
            events = [event for record in snapshot.channels for event in record.retained]
            kept = {number for event in events for number in (event.event_id, *event.also)}
            if len({event.key for event in events}) < len(events):
                faults.append(f"node {node} has an event twice")
            for session in self.sessions.values():
                if missing := session.retained - kept:
                    faults.append(f"node {node} lacks retained events of node {session.node}: {sorted(missing)}")
                if alive := session.cleared & kept:
                    faults.append(f"node {node} retains what node {session.node} cleared: {sorted(alive)}")
        return faults


def _numbered(data: bytes) -> tuple[Row, int]:
    publisher, priority, number = data.decode().split()
    return (publisher, int(priority)), int(number)
