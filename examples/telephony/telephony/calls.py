"""The call server without its sockets: a machine that is fed datagrams and the time.

Output commit: everything to be sent stands behind the change of state it follows from (`Commit.then`), and the driver
sends it when that change is safe. If the server dies before, nobody has heard of the change, and the peers ask again.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace
from sipmessage import Request, Response

from telephony import billing, duties, requests, responses, sip
from telephony.model import PREFIX, Bill, Call, Commit, Send, Service, Side, encode
from telephony.timers import Timers

Repeats = dict[duties.Slot, tuple[float, float]]  # when next, and the interval that led to it
SIDES: tuple[Side, Side] = ("a", "b")


class Calls:
    """All calls of one instance.

    `last_audio` tells when audio was last heard on an RTP port; it is only read.
    """

    def __init__(self, service: Service, last_audio: Mapping[int, float] | None = None) -> None:
        self.service = service
        self.calls: dict[str, Call] = {}
        self.rejected: set[int] = set()  # RTP ports that somebody else has
        self._last_audio = last_audio if last_audio is not None else {}
        self._legs: dict[str, tuple[str, Side]] = {}
        self._ports: set[int] = set()
        self._repeats: dict[str, Repeats] = {}
        self._timers = Timers()
        self._outage: tuple[float, float] | None = None

    # State that comes from elsewhere

    def adopt(self, calls: Iterable[Call]) -> None:
        """Take over what a predecessor has left."""
        for call in calls:
            self._store(call.id, call)

    def takeover(self, now: float) -> list[Commit]:
        """Become the one who serves: send again at once what a predecessor may not have sent."""
        effects: list[Commit] = []
        if self.calls:
            self._outage = (min(now, billing.last_stamp(list(self.calls.values()))), now)
        for call in self.calls.values():
            then: list[Send | Bill] = [*duties.repeats(call, now).values(), *duties.unacknowledged(call)]
            if call.closed_at and not call.billed:
                then.append(Bill(billing.record(call)))
            self._schedule(call, now)
            if then:
                effects.append(Commit({}, tuple(then)))
        return effects

    # Events

    def handle(self, data: bytes, source: sip.Endpoint, now: float) -> list[Commit]:
        """A datagram came."""
        message = sip.parse(data)
        if isinstance(message, Request):
            return self._request(message, source, now)
        if isinstance(message, Response):
            return self._response(message, source, now)
        return []

    def billed(self, ids: Iterable[str], now: float) -> list[Commit]:
        """These records are in the file."""
        effects: list[Commit] = []
        for name in ids:
            if (call := self.calls.get(name)) is not None:
                effects += self._change(call, replace(call, billed=True), [], now)
        return effects

    def audible(self, name: str, side: Side, now: float) -> list[Commit]:
        """A side of a call has sent its first audio."""
        call = self.calls.get(name)
        if call is None or call.leg(side).audible:
            return []
        return self._change(call, call.with_leg(side, replace(call.leg(side), audible=True)), [], now)

    def next_deadline(self) -> float | None:
        return self._timers.next()

    def wake(self, now: float) -> list[Commit]:
        """Do what time demands."""
        effects: list[Commit] = []
        for name in self._timers.due(now):
            call = self.calls[name]
            deadline = duties.deadline(self.service, call)
            if deadline is not None and deadline <= now:
                effects += self._expire(call, now)
            elif sends := self._repeat(call, now):
                effects.append(Commit({}, tuple(sends)))
            if name in self.calls:
                self._schedule(self.calls[name], now)
        return effects

    # Requests and responses

    def _request(self, request: Request, source: sip.Endpoint, now: float) -> list[Commit]:
        found = self._legs.get(request.call_id)
        if found is None or self._tries_again(request, self.calls[found[0]]):
            return self._outside(request, source, now)
        call, side = self.calls[found[0]], found[1]
        code = requests.refusal(self.service, call, side, request)
        if code:
            return self._refuse(request, code, source)
        if request.method == "ACK":
            return self._change(call, *self._acknowledge(call, side, request, now), now)
        if e := call.asked(side, request.method, request.cseq.sequence):
            return _only(requests.again(self.service, call, e))
        return self._inside(call, side, request, source, now)

    def _inside(self, call: Call, side: Side, request: Request, source: sip.Endpoint, now: float) -> list[Commit]:
        match request.method:
            case "CANCEL":
                turn = requests.cancel(self.service, call, side, request, source, now)
            case "BYE":
                ended_at = self._hung_up_at(call, side, request, now)
                turn = requests.bye(self.service, call, side, request, source, now, ended_at)
            case "INVITE" if not sip.tag(request.to_address):
                turn = 482
            case "INVITE" | "INFO":
                turn = requests.inside(self.service, call, side, request, source, now)
            case "OPTIONS":
                turn = 200
            case _:
                turn = 405
        if isinstance(turn, int):
            return self._refuse(request, turn, source)
        return self._change(call, *turn, now)

    def _outside(self, request: Request, source: sip.Endpoint, now: float) -> list[Commit]:
        match request.method:
            case "INVITE" if not sip.tag(request.to_address):
                turn: requests.Turn | int = 503
                if len(self.calls) < self.service.calls_max:
                    turn = requests.new_call(self.service, request, source, now, self._ports | self.rejected)
            case "ACK":
                return []
            case "OPTIONS" if not sip.tag(request.to_address):
                turn = 200
            case "INVITE" | "BYE" | "CANCEL" | "INFO" | "OPTIONS":
                turn = 481
            case _:
                turn = 405
        if isinstance(turn, int):
            return self._refuse(request, turn, source)
        return self._change(None, *turn, now)

    def _acknowledge(self, call: Call, side: Side, request: Request, now: float) -> requests.Turn:
        first = call.asked("a", "INVITE", request.cseq.sequence) if side == "a" else None
        turn, sends = requests.acknowledge(self.service, call, side, request)
        if first is not None and not first.acked and first.final_at == call.answered_at:
            claimed = requests.claimed(call.a, request)
            turn = replace(turn, answered_at=billing.heard_at(call.answered_at, now, self._outage, claimed))
        return turn, sends

    def _response(self, response: Response, source: sip.Endpoint, now: float) -> list[Commit]:
        found = self._legs.get(response.call_id)
        if found is None:
            return []
        call, side = self.calls[found[0]], found[1]
        return self._change(call, *responses.arrived(self.service, call, side, response, source, now), now)

    def _tries_again(self, request: Request, call: Call) -> bool:
        """Whether this is the first INVITE of another attempt under the Call-ID of one that has failed."""
        return (
            request.method == "INVITE"
            and not sip.tag(request.to_address)
            and bool(call.closed_at)
            and request.call_id == call.a.call_id
            and request.cseq.sequence > call.a.received
        )

    def _refuse(self, request: Request, code: int, source: sip.Endpoint) -> list[Commit]:
        if request.method == "ACK":
            return []
        extra = {}
        if code in (200, 405):
            extra["Allow"] = sip.ALLOW
        if code in (500, 503):
            extra["Retry_After"] = "2"
        if code == 420:
            extra["Unsupported"] = ", ".join(request.require)
        tag = self.service.ids.tag(request.call_id, "none")
        data, target = sip.refuse(request, code, source, tag, **extra)
        return _only([Send(data, target)])

    def _hung_up_at(self, call: Call, side: Side, request: Request, now: float) -> float:
        leg = call.leg(side)
        last_audio = self._last_audio.get(leg.port, 0.0) if leg.audible and not call.held else None
        return billing.hung_up_at(now, self._outage, last_audio, requests.claimed(leg, request))

    # Time

    def _expire(self, call: Call, now: float) -> list[Commit]:
        if call.closed_at:
            self._store(call.id, None)
            return [Commit({PREFIX + call.id: None}, ())]
        for e in call.exchanges:
            expiry = duties.expiry(self.service, call, e)
            if expiry is None or expiry > now:
                continue
            if e.method == "BYE":
                return self._change(call, *responses.hung_up(self.service, call, e, now), now)
            if e.method == "INVITE":
                code = 487 if call.sent(e.toward, "CANCEL", e.number) else 408
                return self._change(call, *responses.refused(self.service, call, e, code, now), now)
            return self._change(call, *responses.finish(self.service, call, e, 408, now), now)
        return self._change(call, *requests.hang_up(self.service, call, now), now)

    def _repeat(self, call: Call, now: float) -> list[Send]:
        sends: list[Send] = []
        slots = self._repeats.get(call.id, {})
        for slot, send in duties.repeats(call, now).items():
            when, interval = slots.get(slot, (now, duties.T1))
            if when <= now:
                interval = duties.next_interval(slot, interval)
                slots[slot] = (now + interval, interval)
                sends.append(send)
        return sends

    def _schedule(self, call: Call, now: float) -> None:
        """Set this call's timer from its record and from what was sent when."""
        before = self._repeats.get(call.id, {})
        slots = {slot: before.get(slot, (now + duties.T1, duties.T1)) for slot in duties.repeats(call, now)}
        times = [when for when, _ in slots.values()]
        deadline = duties.deadline(self.service, call)
        if deadline is not None:
            times.append(deadline)
        if slots:
            self._repeats[call.id] = slots
        else:
            self._repeats.pop(call.id, None)
        self._timers.set(call.id, min(times, default=None))

    # The store

    def _change(self, before: Call | None, call: Call, sends: list[Send], now: float) -> list[Commit]:
        if call == before:
            return _only(sends)
        then: list[Send | Bill] = list(sends)
        if call.closed_at and not call.billed and not (before and before.closed_at):
            then.append(Bill(billing.record(call)))
        self._store(call.id, call)
        self._schedule(call, now)
        return [Commit({PREFIX + call.id: encode(call)}, tuple(then))]

    def _store(self, name: str, call: Call | None) -> None:
        old = self.calls.pop(name, None)
        if old is not None:
            self._ports -= {old.a.port, old.b.port}
            for side in SIDES:
                if self._legs.get(old.leg(side).call_id) == (name, side):
                    del self._legs[old.leg(side).call_id]
        if call is None:
            self._repeats.pop(name, None)
            self._timers.set(name, None)
            return
        self.calls[name] = call
        self._ports |= {call.a.port, call.b.port}
        for side in SIDES:
            # Two attempts under one Call-ID: what comes belongs to the one that is still alive.
            rival = self._legs.get(call.leg(side).call_id)
            if rival is None or not call.closed_at or self.calls[rival[0]].closed_at:
                self._legs[call.leg(side).call_id] = (name, side)


def _only(sends: Iterable[Send]) -> list[Commit]:
    then = tuple(sends)
    return [Commit({}, then)] if then else []
