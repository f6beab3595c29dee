"""Messages as they appear on one leg of a call: topology hiding happens here."""

from msgspec.structs import replace
from sipmessage import URI, Address, Request, Response

from telephony import duties, sdp, sip
from telephony.model import Call, Exchange, Send, Service, Side, other

SDP = "application/sdp"


def contact(service: Service, call: Call, side: Side) -> str:
    user = service.ids.tag(call.id, side)
    return str(Address(URI(scheme="sip", user=user, host=service.address[0], port=service.address[1])))


def body(service: Service, call: Call, side: Side, message: Request | Response) -> bytes:
    """The body of a message from the other leg as it is sent on `side`."""
    if not is_sdp(message):
        return message.body
    session = service.ids.number(call.id, "session-" + side, 2**31)
    return sdp.rewrite(message.body, service.address[0], call.leg(side).port, session)


def is_sdp(message: Request | Response) -> bool:
    kind = message.headers.get("Content-Type", "") or ""
    return bool(message.body) and kind.split(";")[0].strip().lower() == SDP


def request(service: Service, call: Call, side: Side, method: str, number: int) -> Request:
    """A request of ours on `side`, still without body."""
    leg = call.leg(side)
    message = Request(method, URI.parse(leg.target))
    branch = service.ids.branch(call.id, side, method, number)
    host, port = service.address
    message.headers.set("Via", f"SIP/2.0/UDP {host}:{port};branch={branch};rport")
    if leg.routes:
        message.headers.setlist("Route", list(leg.routes))
    message.headers.set("Max-Forwards", "70")
    message.headers.set("From", leg.local)
    message.headers.set("To", leg.remote)
    message.headers.set("Call-ID", leg.call_id)
    message.headers.set("CSeq", f"{number} {method}")
    if method in ("INVITE", "ACK"):
        message.headers.set("Contact", contact(service, call, side))
    return message


def passed_on(service: Service, call: Call, side: Side, number: int, original: Request) -> bytes:
    """A request from the other leg as it is sent on `side`."""
    message = request(service, call, side, original.method, number)
    hops = 70 if original.max_forwards is None else original.max_forwards
    message.headers.set("Max-Forwards", str(hops - 1))
    if original.method == "INVITE":
        message.headers.set("Allow", sip.ALLOW)
    return sip.finish(message, sip.copied(original), body(service, call, side, original))


def answer(service: Service, call: Call, e: Exchange, code: int, original: Response | None = None) -> Send:
    """The response to the side that asked for exchange `e`; `original` is what the other leg said."""
    side = other(e.toward)
    leg = call.leg(side)
    reason = original.phrase if original is not None and original.code == code else ""
    message = sip.response(code, reason, e.vias, leg.remote, leg.local, leg.call_id, f"{e.cseq} {e.method}")
    if e.method == "INVITE" and code > 100:
        message.headers.set("Contact", contact(service, call, side))
        message.headers.set("Allow", sip.ALLOW)
    if e.method == "INVITE" and call.a.routes and side == "a" and not call.answered_at:
        message.headers.setlist("Record-Route", list(call.a.routes))
    if original is None:
        return Send(sip.finish(message, {}, b""), e.reply_to)
    return Send(sip.finish(message, sip.copied(original), body(service, call, side, original)), e.reply_to)


def acknowledge(e: Exchange, refusal: Response) -> bytes:
    """The ACK of a refused INVITE."""
    return sip.hop_by_hop(e.request, "ACK", refusal.headers["To"])


def part(service: Service, call: Call, side: Side, response: Response) -> list[Send]:
    """End a dialog that nobody wants: ACK and BYE for an acceptance that came too late or from a second callee."""
    leg = call.leg(side)
    target = str(response.contact[0].uri) if response.contact else leg.target
    leg = replace(leg, remote=response.headers["To"], target=target, routes=routes(response))
    odd = call.with_leg(side, leg)
    number = response.cseq.sequence
    to = duties.next_hop(leg)
    ack = sip.finish(request(service, odd, side, "ACK", number), {}, b"")
    bye = sip.finish(request(service, odd, side, "BYE", number + 1), {}, b"")
    return [Send(ack, to), Send(bye, to)]


def routes(response: Response) -> tuple[str, ...]:
    """The route set that the caller's side of a dialog takes from the response (RFC 3261 section 12.1.2)."""
    return tuple(str(address) for address in reversed(response.record_route))
