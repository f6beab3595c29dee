"""Clients of LCK: they lock, wait, give up and unlock, and remember who believed to hold what.

A client believes to hold a lock from the moment it hears of the grant until it sends the unlock, its connection ends,
or it is told that the lock is lost. What must hold:

    exclusion       no two clients on nodes whose leases hold believe in locks that exclude one another; who was cut off
                    since the grant is protected by its token only
    tokens          each grant has a greater token than every earlier grant that excludes it
    first come      requests are granted in the order in which they were seen to wait
    nothing silent  a lock is not there any more only when its client has given it up, or was told so
    no lost wake-up in the end every request is decided, and nothing is left
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aisexec.groups import RingId
from aisexec.node import NodeEvent
from aisexec.simulation.callers import Caller
from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import Done, Engine, Failed, Membership, Service
from corosync_amf.services.lck import messages as m
from corosync_amf.services.lck.values import LockFlags, LockMode, LockStatus, ResourceDescription

NAMES: Final = ("a", "b", "c")
HANDLES: Final = {number: NAMES[(number - 1) % 3] for number in range(1, 5)}
"""Handle 4 is "a" once more."""
REPLIES: Final = m.Verdict | m.Waits | m.Withdrawn | m.Described | Done | Failed
PENDING_MAX: Final = 6
ORPHAN: Final = int(LockFlags.ORPHAN)
EX, PR = LockMode.EX, LockMode.PR


@dataclass(eq=False, slots=True)
class Request:
    """One request to lock. `given_up`: unlock or withdrawal is sent; `stale`: its node was cut off since."""

    node: NodeId
    lock: int
    handle: int
    mode: LockMode
    token: int | None = None
    given_up: bool = False
    stale: bool = False

    @property
    def name(self) -> str:
        return HANDLES[self.handle]

    def excludes(self, other: "Request") -> bool:
        """Whether nobody may hold both."""
        return self.name == other.name and EX in (self.mode, other.mode)


class Session:
    """The client of one node."""

    def __init__(self, node: NodeId) -> None:
        self.caller = Caller(node, Service.LCK, REPLIES, m.LckEvent)
        self.opened: set[int] = set()
        self.opening: set[int] = set()
        self.requests: dict[int, Request] = {}
        self.gone: dict[int, Request] = {}
        """What was not there any more when it was given up, and was not heard of yet: an answer may overtake an event
        that waits."""
        self.empty: set[str] = set()
        """Resources where nothing was left when the client last looked, since there is peace."""

    def held(self) -> list[Request]:
        """What the client believes to hold."""
        return [each for each in self.requests.values() if each.token is not None and not each.given_up]

    def waiting(self) -> list[Request]:
        """What it asked for and has not heard of."""
        return [each for each in self.requests.values() if each.token is None and not each.given_up]


class LckWorkload:
    """See the module. `may_act` says whether the lease of a node holds; the world sets it."""

    service: Service = Service.LCK

    def __init__(self, nodes: list[NodeId], rng: random.Random) -> None:
        self.may_act: Callable[[NodeId], bool] = lambda node: True
        self.faults: list[str] = []
        self.grants = 0
        self._rng = rng
        self._sessions = {node: Session(node) for node in nodes}
        self._locks = 0
        self._highest: dict[tuple[str, LockMode], int] = {}
        self._seen: list[list[tuple[NodeId, int]]] = []
        self._decided: dict[tuple[NodeId, int], Request] = {}

    # ---- what clients do

    def connect(self, node: NodeId, client: int, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        session = self._sessions[node]
        session.opened, session.opening, session.requests, session.gone = set(), set(), {}, {}
        return [session.caller.connect(client), *self._open(session)]

    def work(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        session, rng = self._sessions[node], self._rng
        caller, held, waiting = session.caller, session.held(), session.waiting()
        session.empty.clear()
        match rng.randrange(20):
            case 0 | 1 | 2 | 3 | 4 | 5 | 6 if session.opened and len(waiting) < PENDING_MAX:
                return [self._ask(session)]
            case 7 | 8 | 9 | 10 | 11 | 12 if held:
                return [self._give_up(session, rng.choice(held))]
            case 13 if waiting:
                return [self._give_up(session, rng.choice(waiting))]
            case 14 if waiting:
                request = rng.choice(waiting)
                return [caller.request(m.Withdraw(request.lock))]
            case 15 | 16:
                return [caller.query(m.Describe(rng.choice(NAMES)))]
            case 17 if session.opened:
                return [caller.request(m.Purge(rng.choice(sorted(session.opened))))]
            case 18 if session.opened:
                return [self._close(session, rng.choice(sorted(session.opened)))]
            case _:
                return self._open(session)

    def finish(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`: give back what is held, so that the others get what they wait for."""
        session = self._sessions[node]
        events = [self._give_up(session, request) for request in session.held()]
        if len(session.caller.asked) < PENDING_MAX:
            events += [session.caller.request(m.Purge(handle)) for handle in sorted(session.opened)]
            events += [session.caller.query(m.Describe(name)) for name in NAMES]
            events += self._open(session)
        return events

    def is_settled(self) -> bool:
        """See `Workload`."""
        return all(
            session.caller.client
            and not session.requests
            and len(session.opened) == len(HANDLES)
            and len(session.empty) == len(NAMES)
            for session in self._sessions.values()
        )

    def lost(self, node: NodeId, now: float) -> None:
        """See `Workload`."""
        session = self._sessions[node]
        session.caller.lost()
        session.opened, session.opening, session.requests, session.gone = set(), set(), {}, {}

    def _open(self, session: Session) -> list[NodeEvent]:
        missing = [number for number in HANDLES if number not in session.opened | session.opening]
        session.opening.update(missing)
        return [session.caller.request(*(m.Open(number, HANDLES[number], 1) for number in missing))] if missing else []

    def _ask(self, session: Session) -> NodeEvent:
        self._locks += 1
        handle, mode = self._rng.choice(sorted(session.opened)), self._rng.choice((PR, EX))
        flags = self._rng.choice((0, 0, 0, 0, 1, 2, 3))
        session.requests[self._locks] = Request(session.caller.node, self._locks, handle, mode)
        return session.caller.request(m.Lock(handle, self._locks, mode, flags, self._locks))

    def _give_up(self, session: Session, request: Request) -> NodeEvent:
        request.given_up = True
        return session.caller.request(m.Unlock(request.lock))

    def _close(self, session: Session, handle: int) -> NodeEvent:
        session.opened.discard(handle)
        self._drop_handle(session, handle)
        return session.caller.request(m.Close((handle,)))

    def _drop_handle(self, session: Session, handle: int) -> None:
        for request in [each for each in session.requests.values() if each.handle == handle]:
            request.given_up = True
            del session.requests[request.lock]

    # ---- what they hear

    def hear(self, node: NodeId, frames: Sequence[bytes], now: float) -> list[NodeEvent]:
        """See `Workload`."""
        session = self._sessions[node]
        unknown: list[int] = []
        for asked, answer in session.caller.hear(frames):
            match asked, answer:
                case None, _:
                    self._told(session, answer)
                case m.Open(number), _:
                    self._opened(session, number, answer)
                case m.Lock(_, lock), m.Verdict():
                    self._verdict(session, lock, answer)
                case m.Lock(_, lock), Failed(ErrorCode.TIMEOUT):
                    unknown.append(lock)
                    session.requests.pop(lock, None)
                case m.Lock(_, lock), Failed(code):
                    self._expect(code in (ErrorCode.TRY_AGAIN, ErrorCode.BAD_HANDLE), f"a request got error {code}")
                    session.requests.pop(lock, None)
                case m.Withdraw(lock), m.Withdrawn(token):
                    self._withdrawn(session, lock, token)
                case m.Unlock(lock), _:
                    given_up = session.requests.pop(lock, None)
                    if given_up is not None and answer != Done():
                        session.gone[lock] = given_up
                case m.Describe(name), m.Described(resource):
                    self._look_at(resource)
                    left = resource.held or resource.waiting or resource.orphaned
                    session.empty.discard(name) if left else session.empty.add(name)
                case _:
                    pass
        return [session.caller.request(*map(m.Unlock, unknown))] if unknown else []

    def _opened(self, session: Session, number: int, answer: Any) -> None:
        session.opening.discard(number)
        if answer == Done():
            session.opened.add(number)

    def _told(self, session: Session, event: Any) -> None:
        match event:
            case m.Decided(lock, verdict):
                if verdict.status != LockStatus.GRANTED:
                    session.gone.pop(lock, None)
                self._verdict(session, lock, verdict)
            case m.HandleLost(handle, _):
                session.gone = {lock: each for lock, each in session.gone.items() if each.handle != handle}
                session.opened.discard(handle)
                self._drop_handle(session, handle)
            case m.Waiting(lock, requests):
                request = session.requests.get(lock)
                if request is not None and not request.given_up:
                    mode, is_held = request.mode, request.token is not None
                    excludes = all(EX in (mode, other) for _, other in requests)
                    self._expect(is_held and excludes, f"waiters {requests} were told to {request}")
            case _:
                self._expect(False, f"an unknown event: {event}")

    def _withdrawn(self, session: Session, lock: int, token: int | None) -> None:
        request = session.requests.get(lock)
        if request is None:
            return
        if token is None:
            self._expect(request.given_up or request.token is None, f"{request} was granted, and then withdrawn")
            del session.requests[lock]
        elif request.token is None:
            self._verdict(session, lock, m.Verdict(int(LockStatus.GRANTED), token))  # told before the event
        else:
            self._expect(token == request.token, f"withdrawing {request} gave {token}")

    def _verdict(self, session: Session, lock: int, verdict: m.Verdict) -> None:
        request = session.requests.get(lock)
        if request is None or (request.given_up and verdict.status == LockStatus.GRANTED):
            return
        if request.token is not None and verdict.token == request.token:
            return  # a withdrawal told it already
        self._expect(request.token is None, f"{request} was decided twice")
        if verdict.status != LockStatus.GRANTED:
            del session.requests[lock]
            if verdict.status == LockStatus.DEADLOCK:
                self._expect(verdict.cycle[:1] == ((request.node, request.name, lock),), f"a cycle {verdict.cycle}")
            return
        assert verdict.token is not None
        request.token = verdict.token
        self.grants += 1
        self._decided[request.node, request.lock] = request
        self._check_grant(request, verdict.token)

    # ---- what must hold

    def installed(self, node: NodeId, ring_id: RingId, change: Membership) -> None:
        """A node has installed a membership; when it comes from elsewhere, its locks did not count any more."""
        if node in change.joined:
            for request in self._sessions[node].requests.values():
                request.stale = True

    def _check_grant(self, request: Request, token: int) -> None:
        """A grant that was just heard of."""
        if not self.may_act(request.node):
            request.stale = True
            return
        for session in self._sessions.values():
            for other in session.held():
                if other is request or not other.excludes(request) or other.stale:
                    continue
                if self.may_act(other.node):
                    self.faults.append(f"both are held: {request} and {other}")
                else:
                    other.stale = True
        for mode in (EX, PR) if request.mode is EX else (EX,):
            highest = self._highest.get((request.name, mode), 0)
            self._expect(token > highest, f"{request} has a token that is not above {highest}")
        key = (request.name, request.mode)
        self._highest[key] = max(self._highest.get(key, 0), token)

    def _look_at(self, resource: ResourceDescription) -> None:
        """What a replica says of a resource."""
        locks = [*resource.held, *resource.orphaned]
        is_shared = len(locks) < 2 or all(lock.mode is PR for lock in locks)
        self._expect(is_shared, f"a replica has locks that exclude one another: {locks}")
        if len(resource.waiting) > 1:
            self._seen.append([(each.node_id, each.lock_id) for each in resource.waiting])

    def _queue_faults(self) -> Iterable[str]:
        for queue in self._seen:
            granted = [self._decided[key] for key in queue if key in self._decided]
            tokens = [each.token or 0 for each in granted if not each.stale]
            if tokens != sorted(tokens):
                yield f"requests were not granted in the order in which they waited: {granted}"

    def check(self, engines: Mapping[NodeId, Engine]) -> list[str]:
        """See `Workload`."""
        for session in self._sessions.values():
            self.faults += [f"{each} was gone without a word" for each in session.gone.values()]
        for node, engine in engines.items():
            state = engine.snapshot()
            assert isinstance(state, m.Snapshot)
            for resource in state.resources:
                left = [*resource.held, *resource.waiting, *resource.orphaned]
                self._expect(not left, f"node {node} has still {left}")
        return [*self.faults, *self._queue_faults()]

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.faults.append(otherwise)
