"""Reading and building single SIP messages (RFC 3261) on top of `sipmessage`. Nothing here knows about calls."""

import ipaddress

from sipmessage import URI, Address, Message, Request, Response, Via

Endpoint = tuple[str, int]  # an IP address and a UDP port

MESSAGE_MAX = 8192
VIAS_MAX = 16
ROUTES_MAX = 16
CSEQ_MAX = 2**31 - 1  # RFC 3261 section 8.1.1.5
PORT = 5060
PORT_MAX = 65535

REASONS = {
    100: "Trying",
    200: "OK",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    487: "Request Terminated",
    491: "Request Pending",
    500: "Server Internal Error",
    503: "Service Unavailable",
}
ALLOW = "INVITE, ACK, CANCEL, BYE, INFO, OPTIONS"
COPIED = ("Content-Type", "Content-Disposition", "Subject", "Priority", "Reason")


def parse(data: bytes) -> Request | Response | None:
    """The message in a datagram, or None if it is not one that can be answered.

    What comes back has valid Via, From, To, Call-ID and CSeq headers, a From tag and a body cut to its Content-Length.
    """
    if len(data) > MESSAGE_MAX:
        return None
    try:
        message = Message.parse(data)
        vias = message.via
        sound = (
            0 < len(vias) <= VIAS_MAX
            and bool(vias[0].parameters.get("branch"))
            and bool(message.call_id)
            and bool(tag(message.from_address))
            and message.to_address is not None
            and 0 <= message.cseq.sequence <= CSEQ_MAX
            and len(message.contact) <= 1
            and len(message.record_route) <= ROUTES_MAX
        )
        length = message.content_length
        if isinstance(message, Request):
            sound = sound and message.cseq.method == message.method and (message.max_forwards or 0) >= 0
        else:
            sound = sound and 100 <= message.code <= 699
    except (ValueError, KeyError, TypeError):
        return None
    if not sound or (length is not None and not 0 <= length <= len(message.body)):
        return None
    if length is not None:
        message.body = message.body[:length]
    return message


def timestamp(request: Request) -> float | None:
    """When the sender, by its own clock, first sent this (RFC 3261 section 20.38)."""
    text = (request.headers.get("Timestamp", "") or "").split(" ")[0]
    return float(text) if len(text) < 20 and text.replace(".", "", 1).isdecimal() and text.isascii() else None


def tag(address: Address) -> str:
    return address.parameters.get("tag") or ""


def branch(message: Request | Response) -> str:
    return message.via[0].parameters.get("branch") or ""


def with_tag(header: str, value: str) -> str:
    """A From or To header with this tag in place of any other."""
    address = Address.parse(header)
    return str(Address(address.uri, address.name, address.parameters.replace(tag=value)))


def received(vias: list[Via], source: Endpoint) -> tuple[tuple[str, ...], Endpoint]:
    """The Via headers to answer with, and where to send the answer (RFC 3261 section 18.2, RFC 3581)."""
    top = vias[0]
    port = top.port if top.port and top.port <= PORT_MAX else PORT
    parameters = top.parameters
    if top.host != source[0] or "rport" in parameters:
        parameters = parameters.replace(received=source[0])
    if "rport" in parameters:
        port = source[1]
        parameters = parameters.replace(rport=str(port))
    top = Via(top.transport, top.host, top.port, parameters)
    return (str(top), *(str(via) for via in vias[1:])), (source[0], port)


def endpoint(uri: str, otherwise: Endpoint) -> Endpoint:
    """Where a URI points to. Names are not looked up: for them it is `otherwise`."""
    parsed = URI.parse(uri)
    try:
        ipaddress.ip_address(parsed.host)
    except ValueError:
        return otherwise
    port = PORT if parsed.port is None else parsed.port
    return (parsed.host, port) if 0 < port <= PORT_MAX else otherwise


def copied(message: Request | Response) -> dict[str, str]:
    """The headers that pass from one leg to the other as they are."""
    headers = {name: message.headers.get(name) for name in COPIED}
    return {name: value for name, value in headers.items() if value is not None}


def finish(message: Request | Response, headers: dict[str, str], body: bytes) -> bytes:
    """Add the last headers and the body."""
    for name, value in headers.items():
        if body or not name.startswith("Content-"):
            message.headers.set(name, value)
    message.headers.set("Content-Length", str(len(body)))
    message.body = body
    return bytes(message)


def response(code: int, reason: str, vias: tuple[str, ...], sender: str, to: str, call_id: str, cseq: str) -> Response:
    answer = Response(code, reason or REASONS.get(code, "Unknown"))
    answer.headers.setlist("Via", list(vias))
    answer.headers.set("From", sender)
    answer.headers.set("To", to)
    answer.headers.set("Call-ID", call_id)
    answer.headers.set("CSeq", cseq)
    return answer


def refuse(request: Request, code: int, source: Endpoint, to_tag: str, **extra: str) -> tuple[bytes, Endpoint]:
    """An answer to a request that begins nothing and leaves nothing behind, and where to send it."""
    vias, target = received(request.via, source)
    to = request.headers["To"]
    if not tag(request.to_address):
        to = with_tag(to, to_tag)
    answer = response(code, "", vias, request.headers["From"], to, request.call_id, request.headers["CSeq"])
    return finish(answer, {name.replace("_", "-"): value for name, value in extra.items()}, b""), target


def hop_by_hop(invite: bytes, method: str, to: str) -> bytes:
    """The CANCEL of an INVITE, or the ACK of its refusal: same branch and number (RFC 3261, 9.1 and 17.1.1.3)."""
    sent = Message.parse(invite)
    assert isinstance(sent, Request)
    request = Request(method, sent.uri)
    request.headers.set("Via", sent.headers["Via"])
    request.headers.setlist("Route", sent.headers.getlist("Route"))
    request.headers.set("Max-Forwards", "70")
    request.headers.set("From", sent.headers["From"])
    request.headers.set("To", to or sent.headers["To"])
    request.headers.set("Call-ID", sent.call_id)
    request.headers.set("CSeq", f"{sent.cseq.sequence} {method}")
    return finish(request, {}, b"")
