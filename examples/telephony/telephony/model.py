"""What is known of a call: one frozen record, which is one section of the checkpoint.

Facts only. What can be derived from them (what must be sent again, when something is due) is derived in `duties`.
All times are absolute, in seconds of the wall clock, because another node may have to go on with them.
"""

from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from telephony.ids import Ids
from telephony.sip import Endpoint

Side = Literal["a", "b"]  # a: the leg to the caller, b: the leg to the callee
PREFIX = "call-"
EXCHANGES_MAX = 6


def other(side: Side) -> Side:
    return "b" if side == "a" else "a"


class Leg(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dialog (RFC 3261 section 12), with the peer's and our own identifiers in it."""

    call_id: str
    local: str  # our From or To header, with our tag
    remote: str  # the peer's, with its tag once it is known
    target: str  # the peer's contact
    address: Endpoint  # where the peer was last heard
    port: int  # our RTP port for this peer
    sent: int  # the last CSeq number we used
    received: int = 0  # the last CSeq number the peer used
    routes: tuple[str, ...] = ()
    media: Endpoint | None = None  # where the peer wants its audio
    clock: float | None = None  # our clock minus the peer's, as far as its requests told the time
    audible: bool = False  # the peer has sent audio


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request that we sent on `toward`, mostly on behalf of the other leg, and what became of it."""

    toward: Side
    method: str
    number: int  # our CSeq number on `toward`
    since: float
    request: bytes = b""  # as sent; dropped when it need not be sent again
    ours: bool = False  # nobody asked for it and nobody waits for the answer
    cseq: int = 0  # the CSeq number of the request that asked for it
    vias: tuple[str, ...] = ()
    reply_to: Endpoint = ("", 0)
    provisional: bool = False
    code: int = 0  # of the final response, 0: there is none yet
    final_at: float = 0.0
    response: bytes = b""  # the final response that the asking side gets; dropped when it need not be sent again
    ack: bytes = b""  # the ACK we sent on `toward`
    acked: bool = False  # the asking side has acknowledged the response
    media: Endpoint | None = None  # what becomes of the asking side's media and hold when this is accepted
    hold: bool | None = None

    @property
    def key(self) -> tuple[str, int, str]:
        return self.toward, self.number, self.method


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    a: Leg
    b: Leg
    caller: str
    callee: str
    created_at: float
    exchanges: tuple[Exchange, ...] = ()
    answered_at: float = 0.0
    ended_at: float = 0.0  # one side has hung up
    closed_at: float = 0.0  # nothing more will be forwarded; the record stays for late retransmissions
    outcome: int = 0  # the final code of the call
    held: bool = False
    billed: bool = False

    def leg(self, side: Side) -> Leg:
        return self.a if side == "a" else self.b

    def with_leg(self, side: Side, leg: Leg) -> "Call":
        return replace(self, a=leg) if side == "a" else replace(self, b=leg)

    def asked(self, side: Side, method: str, cseq: int) -> Exchange | None:
        """The exchange that a request from `side` began."""
        for e in self.exchanges:
            if e.toward != side and not e.ours and e.cseq == cseq and e.method == method:
                return e
        return None

    def sent(self, side: Side, method: str, number: int) -> Exchange | None:
        """The exchange whose request we sent on `side`."""
        for e in self.exchanges:
            if e.toward == side and e.number == number and e.method == method:
                return e
        return None

    def with_exchange(self, exchange: Exchange) -> "Call":
        """The same call with this exchange added, or put in place of its former state."""
        if any(e.key == exchange.key for e in self.exchanges):
            return replace(self, exchanges=tuple(exchange if e.key == exchange.key else e for e in self.exchanges))
        kept = list(self.exchanges)
        done = [e for e in kept if settled(e)]
        for e in done[: max(0, len(kept) + 1 - EXCHANGES_MAX)]:
            kept.remove(e)
        return replace(self, exchanges=(*kept, exchange))


def settled(e: Exchange) -> bool:
    return e.method == "CANCEL" or (e.code != 0 and (e.method != "INVITE" or e.acked or e.ours))


def replacing(call: Call, e: Exchange, **changes: Any) -> Call:
    """The same call with exchange `e` changed."""
    return call.with_exchange(replace(e, **changes))


def encode(call: Call) -> bytes:
    return _encoder.encode(call)


def decode(data: bytes) -> Call:
    """Raises `msgspec.MsgspecError` for what is not the record of a call."""
    return _decoder.decode(data)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Call)


class Service(msgspec.Struct, frozen=True):
    """How this call server is set up; equal on all instances. Times in seconds."""

    ids: Ids
    address: Endpoint  # where it is reached, whoever is active
    route: Endpoint  # where calls are sent to
    first_port: int = 20000  # RTP ports
    last_port: int = 29999
    ring_max: float = 180.0
    talk_max: float = 4 * 3600.0
    calls_max: int = 5000


class Send(msgspec.Struct, frozen=True):
    data: bytes
    to: Endpoint


class Cdr(msgspec.Struct, frozen=True):
    """A call detail record. `id` is the idempotency key: two records with one id are one call."""

    id: str
    caller: str
    callee: str
    created_at: float
    answered_at: float
    ended_at: float
    duration: float  # seconds between answer and end; 0 for a call that was never answered
    outcome: int  # 200: a call that was answered and ended, otherwise why it failed


class Bill(msgspec.Struct, frozen=True):
    record: Cdr


class Commit(msgspec.Struct, frozen=True):
    """First make `changes` safe (None deletes), then carry out `then`, in order."""

    changes: dict[str, bytes | None]
    then: tuple[Send | Bill, ...]

    @property
    def names(self) -> list[str]:
        """The calls that change."""
        return [key.removeprefix(PREFIX) for key in self.changes]
