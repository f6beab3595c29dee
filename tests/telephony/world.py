"""Telephones in virtual time, a network of one millisecond, and call servers that can die between any two steps."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from telephony import sip
from telephony.calls import Calls
from telephony.ids import Ids
from telephony.model import Bill, Cdr, Commit, Send, Service, decode
from telephony.phone import Phone, Step

SERVER = ("127.0.1.100", 5060)
CALLER = ("127.0.0.1", 5071)
CALLEE = ("127.0.0.1", 5070)
LATENCY = 0.001
PACKET = 0.02
START = 1_700_000_000.0

SERVICE = Service(ids=Ids(b"secret"), address=SERVER, route=CALLEE, ring_max=20.0, talk_max=60.0)


@dataclass
class Crash:
    """The server dies at its `step`-th commit: before it is safe, before anything is sent, or after all is."""

    step: int
    when: str  # "before", "between" or "after"
    outage: float


@dataclass
class World:
    script: Sequence[tuple[float, Step]] = ()
    callee_script: Sequence[tuple[float, Step]] = ()
    ring: float = 0.3
    refuse: int = 0
    crashes: Sequence[Crash] = ()
    lose: frozenset[int] = frozenset()  # the numbers of datagrams that are lost on the way
    service: Service = SERVICE
    now: float = START
    steps: int = 0
    datagrams: int = 0
    cdrs: list[Cdr] = field(default_factory=list)
    safe: dict[str, bytes] = field(default_factory=dict)
    seen: list[tuple[sip.Endpoint, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last_audio: dict[int, float] = {}
        self.server: Calls | None = Calls(self.service, self.last_audio)
        self.caller = Phone("alice", CALLER, SERVER, ("127.0.0.1", 6000), self.script)
        self.callee = Phone(
            "bob", CALLEE, SERVER, ("127.0.0.1", 6002), self.callee_script, ring=self.ring, refuse=self.refuse
        )
        self.phones = {CALLER: self.caller, CALLEE: self.callee}
        self.flying: list[tuple[float, int, sip.Endpoint, sip.Endpoint, bytes]] = []
        self.return_at: float | None = None
        self.tick_at = self.now

    def run(self, seconds: float) -> "World":
        end = self.now + seconds
        self._send(CALLER, self.caller.call(self.now))
        while (when := self._next()) is not None and when <= end:
            self.now = max(self.now, when)
            self._step()
        return self

    def _next(self) -> float | None:
        times = [self.flying[0][0]] if self.flying else []
        owners: list[Phone | Calls] = [self.caller, self.callee, *([self.server] if self.server else [])]
        times += [t for owner in owners if (t := owner.next_deadline()) is not None]
        if self.return_at is not None:
            times.append(self.return_at)
        if self.caller.talking or self.callee.talking:
            times.append(self.tick_at)
        return min(times, default=None)

    def _step(self) -> None:
        if self.return_at is not None and self.return_at <= self.now:
            self.return_at = None
            self.last_audio.clear()
            self.server = Calls(self.service, self.last_audio)
            self.server.adopt(decode(record) for record in self.safe.values())
            self._carry_out(self.server.takeover(self.now))
        if self.tick_at <= self.now:
            self.tick_at = self.now + PACKET
            self._audio()
        for place, phone in self.phones.items():
            if (due := phone.next_deadline()) is not None and due <= self.now:
                self._send(place, phone.wake(self.now))
        if self.server and (due := self.server.next_deadline()) is not None and due <= self.now:
            self._carry_out(self.server.wake(self.now))
        while self.flying and self.flying[0][0] <= self.now:
            _, _, source, to, data = heapq.heappop(self.flying)
            self._deliver(source, to, data)

    def _deliver(self, source: sip.Endpoint, to: sip.Endpoint, data: bytes) -> None:
        self.seen.append((to, data))
        if to == SERVER:
            if self.server is not None:
                self._carry_out(self.server.handle(data, source, self.now))
            return
        message = sip.parse(data)
        assert message is not None, data
        self._send(to, self.phones[to].handle(message, self.now))

    def _audio(self) -> None:
        for phone in self.phones.values():
            if phone.talking and not phone.held and phone.peer_audio and self.server is not None:
                port = phone.peer_audio[1]
                self.last_audio[port] = self.now
                for call in list(self.server.calls.values()):
                    if port == call.a.port:
                        self._carry_out(self.server.audible(call.id, "a", self.now))
                    elif port == call.b.port:
                        self._carry_out(self.server.audible(call.id, "b", self.now))
                    if self.server is None:
                        return

    def _carry_out(self, effects: list[Commit]) -> None:
        for effect in effects:
            self.steps += 1
            crash = next((crash for crash in self.crashes if crash.step == self.steps), None)
            if crash is None or crash.when != "before":
                for key, value in effect.changes.items():
                    if value is None:
                        del self.safe[key]
                    else:
                        self.safe[key] = value
            if crash is None or crash.when == "after":
                self._finish(effect)
            if crash is not None:
                self.server = None
                self.return_at = self.now + crash.outage
                return

    def _finish(self, effect: Commit) -> None:
        for then in effect.then:
            if isinstance(then, Send):
                self._send(SERVER, [then])
        for then in effect.then:
            if isinstance(then, Bill) and self.server is not None:
                if then.record.id not in [cdr.id for cdr in self.cdrs]:
                    self.cdrs.append(then.record)
                self._carry_out(self.server.billed([then.record.id], self.now))

    def _send(self, source: sip.Endpoint, sends: list[Send]) -> None:
        for send in sends:
            self.datagrams += 1
            if self.datagrams not in self.lose:
                heapq.heappush(self.flying, (self.now + LATENCY, self.datagrams, source, send.to, send.data))
