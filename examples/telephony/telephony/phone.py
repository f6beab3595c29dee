"""One telephone in one call: a machine for tests and for the demonstration's load.

It does what RFC 3261 asks of an endpoint, above all its retransmissions, and follows a script: wait, hold, resume,
hang up. It knows nothing of the call server's insides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from sipmessage import Request, Response

from telephony import sdp, sip
from telephony.duties import GIVE_UP, T1, T2
from telephony.model import Send

Step = Literal["hold", "resume", "bye", "cancel"]
GLARE_PAUSE = 0.3


@dataclass
class Result:
    """What this side of the call saw. Times are those given to the machine; 0: it did not come to that."""

    started_at: float = 0.0
    answered_at: float = 0.0
    ended_at: float = 0.0  # when it hung up, or heard that the other had
    over: bool = False
    failure: str = ""  # why the call was lost; a refusal is "refused <code>"


@dataclass
class _Waiting:
    """Something that is sent again until it is answered."""

    data: bytes
    method: str
    cseq: int
    give_up_at: float
    next_at: float
    interval: float = T1


@dataclass
class Phone:
    """One side of one call. `script` gives (seconds after the last step, step); it begins when the call is up.

    A caller begins with `call`; a callee with the INVITE that is given to `handle`, and answers after `ring` seconds.
    """

    name: str  # unique; Call-ID and tags are made of it
    contact: sip.Endpoint
    server: sip.Endpoint
    audio: sip.Endpoint
    script: Sequence[tuple[float, Step]] = ()
    ring: float = 0.0
    patience: float = 60.0  # how long a caller listens to the ringing
    refuse: int = 0  # answer with this code instead
    result: Result = field(default_factory=Result)
    peer_audio: sip.Endpoint | None = None
    talking: bool = False
    held: bool = False  # by either side: nobody speaks

    def __post_init__(self) -> None:
        self._call_id = f"{self.name}@{self.contact[0]}"
        self._cseq = 0
        self._stamp: tuple[str, ...] = ()
        self._local = f'"{self.name}" <sip:{self.name}@{self.contact[0]}>;tag=t{self.name}'
        self._remote = f"<sip:service@{self.server[0]}:{self.server[1]}>"
        self._target = f"sip:service@{self.server[0]}:{self.server[1]}"
        self._given_up = False  # the caller has sent CANCEL
        self._heard = False  # the INVITE has reached somebody
        self._asking: _Waiting | None = None  # a request of ours
        self._cancelling: _Waiting | None = None
        self._accepting: _Waiting | None = None  # an acceptance of ours, not acknowledged
        self._answers: dict[tuple[str, int], bytes] = {}
        self._acks: dict[int, bytes] = {}
        self._ringing: Request | None = None
        self._answer_at: float | None = None
        self._steps = list(self.script)
        self._step_at: float | None = None
        self._wanted: Step | None = None  # the step that the outstanding request carries out

    def call(self, now: float) -> list[Send]:
        """Begin: send the INVITE."""
        self.result.started_at = now
        if self._steps and self._steps[0][1] == "cancel":
            self._step_at = now + self._steps[0][0]
        return self._ask("INVITE", now, self._sdp("sendrecv"))

    def handle(self, message: Request | Response, now: float) -> list[Send]:
        if isinstance(message, Response):
            return self._response(message, now)
        return self._request(message, now)

    def next_deadline(self) -> float | None:
        times = [w.next_at for w in (self._asking, self._cancelling, self._accepting) if w]
        times += [t for t in (self._answer_at, self._step_at) if t is not None]
        return min(times, default=None)

    def wake(self, now: float) -> list[Send]:
        sends: list[Send] = []
        if self._answer_at is not None and now >= self._answer_at:
            sends += self._answer(now)
        if self._step_at is not None and now >= self._step_at:
            sends += self._take_step(now)
        for waiting in (self._asking, self._cancelling, self._accepting):
            if waiting is not None and now >= waiting.next_at:
                sends += self._again(waiting, now)
        return sends

    # What this side asks for

    def _take_step(self, now: float) -> list[Send]:
        self._step_at = None
        if self._asking is not None and self._steps[0][1] != "cancel" and self._wanted is not None:
            self._step_at = now + GLARE_PAUSE
            return []
        if self._steps[0][1] == "cancel" and self._asking is not None and not self._heard:
            self._step_at = now + GLARE_PAUSE  # RFC 3261 section 9.1: not before a provisional response
            return []
        step = self._steps.pop(0)[1]
        if step == "cancel":
            return self._cancel(now)
        self._wanted = step
        if step == "bye":
            self._ended(now)
            return self._ask("BYE", now)
        return self._ask("INVITE", now, self._sdp("sendonly" if step == "hold" else "sendrecv"))

    def _ask(self, method: str, now: float, body: bytes = b"") -> list[Send]:
        self._cseq += 1
        self._stamp = (f"Timestamp: {now - self.result.started_at:.3f}",)
        data = self._message(method, self._cseq, f"z9hG4bK{self.name}{self._cseq}", body)
        self._stamp = ()
        self._asking = _Waiting(data, method, self._cseq, now + GIVE_UP, now + T1)
        return [self._send(data)]

    def _cancel(self, now: float) -> list[Send]:
        if self._asking is None or self.result.answered_at:
            return []
        self._given_up = True
        data = self._message("CANCEL", self._cseq, f"z9hG4bK{self.name}{self._cseq}", b"")
        self._cancelling = _Waiting(data, "CANCEL", self._cseq, now + GIVE_UP, now + T1)
        return [self._send(data)]

    def _response(self, response: Response, now: float) -> list[Send]:
        number, method = response.cseq.sequence, response.cseq.method
        if method == "CANCEL":
            self._cancelling = None
            if response.code >= 300 and not self.result.over:
                self._finish("nobody knows the call")
            return []
        if method == "INVITE" and response.code >= 200 and number in self._acks:
            return [self._send(self._acks[number])]
        asking = self._asking
        if asking is None or (asking.method, asking.cseq) != (method, number):
            return []
        if response.code < 200:
            if method == "INVITE":
                self._heard = True
                asking.next_at = asking.give_up_at = now + self.patience
            return []
        self._asking = None
        if method == "BYE":
            self._finish("" if response.code < 300 else f"hang-up refused {response.code}")
            return []
        return self._invite_answered(response, asking.data, now)

    def _invite_answered(self, response: Response, invite: bytes, now: float) -> list[Send]:
        number = response.cseq.sequence
        first = not self.result.answered_at
        if response.code >= 300:
            self._acks[number] = sip.hop_by_hop(invite, "ACK", response.headers["To"])
            if first:
                self._finish(f"refused {response.code}")
            elif response.code == 491 and self._wanted:
                self._steps.insert(0, (0.0, self._wanted))
                self._step_at = now + GLARE_PAUSE
            else:
                self._finish(f"refused {response.code} in the call")
            return [self._send(self._acks[number])]
        self._remote = response.headers["To"]
        if response.contact:
            self._target = str(response.contact[0].uri)
        self._stamp = (f"Timestamp: {now - self.result.started_at:.3f}",)
        self._acks[number] = self._message("ACK", number, f"z9hG4bK{self.name}ack{number}", b"")
        self._stamp = ()
        self.peer_audio = sdp.media(response.body) or self.peer_audio
        if self._wanted:
            self.held = self._wanted == "hold"
        self._wanted = None
        if first:
            self._up(now)
        elif self._steps:
            self._step_at = now + self._steps[0][0]
        return [self._send(self._acks[number])]

    # What the other side asks for

    def _request(self, request: Request, now: float) -> list[Send]:
        number = request.cseq.sequence
        if request.method == "ACK":
            return self._acknowledged(number, now)
        if known := self._answers.get((request.method, number)):
            return [self._send(known)]
        if request.method == "CANCEL":
            sends = [self._respond(request, 200)]
            if self._ringing is not None and self._answer_at is not None:
                self._answer_at = None
                self._finish("cancelled")
                sends.append(self._respond(self._ringing, 487))
                self._accept_until_ack(sends[-1].data, number, now)
            return sends
        if request.method == "BYE":
            self._ended(now)
            self._asking = self._step_at = None
            if not self.result.over:
                self._finish("")
            return [self._respond(request, 200)]
        if request.method != "INVITE":
            return [self._respond(request, 200)]
        if self._ringing is None:
            return self._rung(request, now)
        if self._asking is not None and self._asking.method == "INVITE":
            return [self._respond(request, 491)]
        self.peer_audio = sdp.media(request.body) or self.peer_audio
        self.held = sdp.held(request.body)
        answer = self._respond(request, 200, self._sdp("recvonly" if self.held else "sendrecv"))
        self._accept_until_ack(answer.data, number, now)
        return [answer]

    def _rung(self, request: Request, now: float) -> list[Send]:
        self._call_id = request.call_id
        self._local, self._remote = sip.with_tag(request.headers["To"], "t" + self.name), request.headers["From"]
        self._target = str(request.contact[0].uri) if request.contact else self._target
        self.peer_audio = sdp.media(request.body)
        self._ringing = request
        self.result.started_at = now
        if self.refuse:
            self._finish(f"refused {self.refuse}")
            answer = self._respond(request, self.refuse)
            self._accept_until_ack(answer.data, request.cseq.sequence, now)
            return [answer]
        self._answer_at = now + self.ring
        return [self._respond(request, 180)]

    def _answer(self, now: float) -> list[Send]:
        assert self._ringing is not None
        self._answer_at = None
        answer = self._respond(self._ringing, 200, self._sdp("sendrecv"))
        self._accept_until_ack(answer.data, self._ringing.cseq.sequence, now)
        return [answer]

    def _accept_until_ack(self, data: bytes, cseq: int, now: float) -> None:
        self._accepting = _Waiting(data, "200", cseq, now + GIVE_UP, now + T1)

    def _acknowledged(self, number: int, now: float) -> list[Send]:
        if self._accepting is not None and self._accepting.cseq == number:
            self._accepting = None
            if not self.result.answered_at and not self.result.over:
                self._up(now)
        return []

    # Common

    def _up(self, now: float) -> None:
        self.result.answered_at = now
        self.talking = True
        if self._given_up:  # too late
            self._steps = [(0.0, "bye")]
        if self._steps:
            self._step_at = now + self._steps[0][0]

    def _ended(self, now: float) -> None:
        self.talking = False
        if not self.result.ended_at:
            self.result.ended_at = now

    def _finish(self, failure: str) -> None:
        self.talking = False
        self.result.over = True
        self.result.failure = self.result.failure or failure
        self._asking = self._cancelling = None
        self._step_at = None

    def _again(self, waiting: _Waiting, now: float) -> list[Send]:
        if now >= waiting.give_up_at:
            if waiting is self._asking and self._heard and not self._given_up and not self.result.answered_at:
                waiting.next_at = waiting.give_up_at = now + GIVE_UP
                return self._cancel(now)
            self._ended(now)
            self._accepting = None
            self._finish(f"no answer to {waiting.method}")
            return []
        waiting.interval *= 2
        if waiting.method != "INVITE":
            waiting.interval = min(waiting.interval, T2)
        waiting.next_at = min(now + waiting.interval, waiting.give_up_at)
        return [self._send(waiting.data)]

    def _send(self, data: bytes) -> Send:
        return Send(data, self.server)

    def _sdp(self, direction: str) -> bytes:
        host, port = self.audio
        lines = ("v=0", f"o=- 1 {self._cseq + 1} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0")
        return "".join(
            line + "\r\n"
            for line in (*lines, f"m=audio {port} RTP/AVP 8", "a=rtpmap:8 PCMA/8000", "a=ptime:20", f"a={direction}")
        ).encode()

    def _message(self, method: str, cseq: int, branch: str, body: bytes) -> bytes:
        host, port = self.contact
        return self._assemble(
            f"{method} {self._target} SIP/2.0",
            (f"SIP/2.0/UDP {host}:{port};branch={branch};rport",),
            (self._local, self._remote),
            f"{cseq} {method}",
            body,
        )

    def _respond(self, request: Request, code: int, body: bytes = b"") -> Send:
        data = self._assemble(
            f"SIP/2.0 {code} {sip.REASONS.get(code, 'Ringing')}",
            tuple(request.headers.getlist("Via")),
            (self._remote, self._local),
            request.headers["CSeq"],
            body,
        )
        self._answers[request.method, request.cseq.sequence] = data
        return self._send(data)

    def _assemble(self, first: str, vias: tuple[str, ...], people: tuple[str, str], cseq: str, body: bytes) -> bytes:
        host, port = self.contact
        kind = ("Content-Type: application/sdp",) if body else ()
        lines = (
            first,
            *(f"Via: {via}" for via in vias),
            f"From: {people[0]}",
            f"To: {people[1]}",
            f"Call-ID: {self._call_id}",
            f"CSeq: {cseq}",
            "Max-Forwards: 70",
            f"Contact: <sip:{self.name}@{host}:{port}>",
            *self._stamp,
            *kind,
            f"Content-Length: {len(body)}",
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
