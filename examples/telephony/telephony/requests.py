"""What a request does to a call. Each function gives the call as it is afterwards and what to send then."""

from msgspec.structs import replace
from sipmessage import URI, Address, Request

from telephony import dialogs, duties, ports, sdp, sip
from telephony.model import EXCHANGES_MAX, Call, Exchange, Leg, Send, Service, Side, other, replacing, settled

Turn = tuple[Call, list[Send]]
FIRST_CSEQ_MAX = 10_000


def new_call(service: Service, request: Request, source: sip.Endpoint, now: float, used: set[int]) -> Turn | int:
    """The call that a first INVITE begins, or the code to refuse it with."""
    if request.uri.scheme != "sip":
        return 416
    if request.max_forwards == 0:
        return 483
    if request.require:
        return 420
    ids = service.ids
    name = ids.call(request.call_id, sip.tag(request.from_address), request.cseq.sequence)
    pair = ports.allocate(ids, name, service.first_port, service.last_port, used)
    if pair is None:
        return 503
    a = Leg(
        call_id=request.call_id,
        local=sip.with_tag(request.headers["To"], ids.tag(name, "a")),
        remote=request.headers["From"],
        target=str(_contact(request)),
        address=source,
        port=pair[0],
        sent=1 + ids.number(name, "cseq-a", FIRST_CSEQ_MAX),
        received=request.cseq.sequence,
        routes=tuple(str(route) for route in request.record_route),
        media=sdp.media(request.body) if dialogs.is_sdp(request) else None,
    )
    caller, host, port = request.from_address, *service.route
    callee = URI(scheme="sip", user=request.uri.user, host=host, port=port)
    ours = URI(scheme="sip", user=caller.uri.user, host=service.address[0])
    b = Leg(
        call_id=ids.call_id(name),
        local=sip.with_tag(str(Address(ours, caller.name)), ids.tag(name, "b")),
        remote=str(Address(callee)),
        target=str(callee),
        address=service.route,
        port=pair[1],
        sent=ids.number(name, "cseq-b", FIRST_CSEQ_MAX),
    )
    call = Call(name, a, b, caller=str(caller.uri), callee=str(request.uri), created_at=now)
    call, sends = _carry(service, call, "a", request, source, now)
    return call, [dialogs.answer(service, call, call.exchanges[0], 100), *sends]


def refusal(service: Service, call: Call, side: Side, request: Request) -> int:
    """The code to refuse a request inside a call with, 0 if it is sound."""
    tag, own = sip.tag(request.to_address), sip.tag(Address.parse(call.leg(side).local))
    if sip.tag(request.from_address) != sip.tag(Address.parse(call.leg(side).remote)):
        return 481 if tag else 482
    if tag and tag != own:
        return 481
    if not tag and request.method not in ("INVITE", "CANCEL", "ACK"):
        return 481
    if request.max_forwards == 0:
        return 483
    return 0


def again(service: Service, call: Call, e: Exchange) -> list[Send]:
    """The request of an exchange has come once more."""
    if e.response:
        return [Send(e.response, e.reply_to)]
    if e.method == "INVITE" and not e.code and not call.answered_at:
        return [dialogs.answer(service, call, e, 100)]
    return []


def inside(service: Service, call: Call, side: Side, request: Request, source: sip.Endpoint, now: float) -> Turn | int:
    """A new request inside a call, other than ACK, CANCEL and BYE, is carried to the other leg."""
    if call.ended_at or not call.answered_at:
        return 481
    if request.cseq.sequence <= call.leg(side).received:
        return 500
    if sum(not settled(e) for e in call.exchanges) >= EXCHANGES_MAX:
        return 500
    if request.method == "INVITE":
        for e in call.exchanges:
            if e.method == "INVITE" and not e.code:
                return 500 if e.toward == other(side) else 491  # RFC 3261 section 14.2
    return _carry(service, call, side, request, source, now)


def bye(
    service: Service, call: Call, side: Side, request: Request, source: sip.Endpoint, now: float, ended_at: float
) -> Turn | int:
    """One side hangs up at `now`; it said so first at `ended_at`. It is answered when the other side knows."""
    if call.ended_at:  # both hung up: the other side is being told, or has been
        return 200
    if not call.answered_at:
        return 481
    if request.cseq.sequence <= call.leg(side).received:
        return 500
    return _carry(service, replace(call, ended_at=max(ended_at, call.answered_at)), side, request, source, now)


def acknowledge(service: Service, call: Call, side: Side, request: Request) -> Turn:
    e = call.asked(side, "INVITE", request.cseq.sequence)
    if e is None or not e.code:
        return call, []
    if e.code >= 300:
        return replacing(call, e, acked=True), []
    toward = e.toward
    to = duties.next_hop(call.leg(toward))
    if e.ack:
        return call, [Send(e.ack, to)]
    if dialogs.is_sdp(request):  # the offer was in the acceptance, so the answer is here
        call = call.with_leg(side, replace(call.leg(side), media=sdp.media(request.body)))
    message = dialogs.request(service, call, toward, "ACK", e.number)
    ack = sip.finish(message, sip.copied(request), dialogs.body(service, call, toward, request))
    return replacing(call, e, ack=ack, acked=True, response=b""), [Send(ack, to)]


def claimed(leg: Leg, request: Request) -> float | None:
    """When the peer says it first sent this, by our clock."""
    told = sip.timestamp(request)
    return told + leg.clock if told is not None and leg.clock is not None else None


def cancel(service: Service, call: Call, side: Side, request: Request, source: sip.Endpoint, now: float) -> Turn | int:
    invite = call.asked(side, "INVITE", request.cseq.sequence)
    if invite is None:
        return 481
    if invite.code:
        return 200
    vias, reply_to = sip.received(request.via, source)
    e = Exchange(
        toward=invite.toward,
        method="CANCEL",
        number=invite.number,
        since=now,
        request=sip.hop_by_hop(invite.request, "CANCEL", ""),
        cseq=request.cseq.sequence,
        vias=vias,
        reply_to=reply_to,
    )
    answer = dialogs.answer(service, call, e, 200)
    call = call.with_exchange(replace(e, response=answer.data))
    return call, [answer, *owed(call, e)]


def owed(call: Call, e: Exchange) -> list[Send]:
    """The request of exchange `e`, if it is to be sent at all."""
    return [Send(e.request, duties.next_hop(call.leg(e.toward)))] if duties.wants_answer(call, e) else []


def hang_up(service: Service, call: Call, now: float) -> Turn:
    """The server itself ends an answered call."""
    sends: list[Send] = []
    call = replace(call, ended_at=now)
    sides: tuple[Side, Side] = ("a", "b")
    for side in sides:
        leg = replace(call.leg(side), sent=call.leg(side).sent + 1)
        call = call.with_leg(side, leg)
        data = sip.finish(dialogs.request(service, call, side, "BYE", leg.sent), {}, b"")
        call = call.with_exchange(Exchange(side, "BYE", leg.sent, since=now, request=data, ours=True))
        sends.append(Send(data, duties.next_hop(leg)))
    return call, sends


def _carry(service: Service, call: Call, side: Side, request: Request, source: sip.Endpoint, now: float) -> Turn:
    """Forward a request from `side` to the other leg, under our own number there."""
    toward = other(side)
    described = request.method == "INVITE" and dialogs.is_sdp(request)
    leg = replace(call.leg(side), received=request.cseq.sequence, address=source)
    told = sip.timestamp(request)
    if told is not None:  # the request that was least delayed tells best
        leg = replace(leg, clock=now - told if leg.clock is None else min(leg.clock, now - told))
    if request.method == "INVITE" and request.contact:
        leg = replace(leg, target=str(request.contact[0].uri))
    away = replace(call.leg(toward), sent=call.leg(toward).sent + 1)
    call = call.with_leg(side, leg).with_leg(toward, away)
    vias, reply_to = sip.received(request.via, source)
    e = Exchange(
        toward=toward,
        method=request.method,
        number=away.sent,
        since=now,
        request=dialogs.passed_on(service, call, toward, away.sent, request),
        cseq=request.cseq.sequence,
        vias=vias,
        reply_to=reply_to,
        media=sdp.media(request.body) if described else None,
        hold=sdp.held(request.body) if described else None,
    )
    return call.with_exchange(e), [Send(e.request, duties.next_hop(away))]


def _contact(request: Request) -> URI:
    return request.contact[0].uri if request.contact else request.from_address.uri
