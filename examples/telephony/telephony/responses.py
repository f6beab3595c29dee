"""What a response does to a call. Each function gives the call as it is afterwards and what to send then."""

from msgspec.structs import replace
from sipmessage import Address, Response

from telephony import dialogs, duties, sdp, sip
from telephony.model import Call, Exchange, Send, Service, Side, other, replacing
from telephony.requests import Turn, owed


def arrived(service: Service, call: Call, side: Side, response: Response, source: sip.Endpoint, now: float) -> Turn:
    """A response came on `side`."""
    method, number = response.cseq.method, response.cseq.sequence
    e = call.sent(side, method, number)
    if e is None or sip.branch(response) != service.ids.branch(call.id, side, method, number):
        return call, []
    if method == "CANCEL":
        return (call if e.code or response.code < 200 else replacing(call, e, code=response.code)), []
    if e.code:
        return call, _final_again(service, call, e, response) if method == "INVITE" else []
    if response.code < 200:
        return _provisional(service, call, e, response) if method == "INVITE" else (call, [])
    if method == "INVITE" and response.code < 300:
        return _accepted(service, call, e, response, source, now)
    if method == "INVITE":
        return _refused(service, call, e, response, now)
    if method == "BYE":
        return hung_up(service, call, e, now)
    return finish(service, call, e, response.code, now, response)


def finish(
    service: Service, call: Call, e: Exchange, code: int, now: float, original: Response | None = None, ack: bytes = b""
) -> Turn:
    """Exchange `e` has ended with `code`: tell the side that asked for it."""
    if e.ours:
        return replacing(call, e, code=code, final_at=now, request=b""), []
    answer = dialogs.answer(service, call, e, code, original)
    return replacing(call, e, code=code, final_at=now, request=b"", response=answer.data, ack=ack), [answer]


def hung_up(service: Service, call: Call, e: Exchange, now: float) -> Turn:
    """The side that had to be told of a hang-up has answered, or is gone: whatever it said, the call is over."""
    call, sends = finish(service, call, e, 200, now)
    if all(x.code for x in call.exchanges if x.method == "BYE"):
        call = replace(call, closed_at=now, outcome=200)
    return call, sends


def refused(service: Service, call: Call, e: Exchange, code: int, now: float, original: Response | None = None) -> Turn:
    """An INVITE has failed, with the other leg's words or without."""
    ack = dialogs.acknowledge(e, original) if original is not None else b""
    call, sends = finish(service, call, e, code, now, original, ack)
    if not call.answered_at:
        call = replace(call, ended_at=now, closed_at=now, outcome=code)
    if ack:
        sends.insert(0, Send(ack, duties.next_hop(call.leg(e.toward))))
    return call, sends


def _provisional(service: Service, call: Call, e: Exchange, response: Response) -> Turn:
    sends: list[Send] = []
    if not e.provisional:
        call = replacing(call, e, provisional=True)
        if cancel := call.sent(e.toward, "CANCEL", e.number):
            sends += owed(call, cancel)
    if response.code > 100 and not call.answered_at:
        if dialogs.is_sdp(response):
            call = _with_media(call, e.toward, response)
        sends.append(dialogs.answer(service, call, e, response.code, response))
    return call, sends


def _accepted(service: Service, call: Call, e: Exchange, response: Response, source: sip.Endpoint, now: float) -> Turn:
    side = e.toward
    leg = replace(call.leg(side), address=source)
    if response.contact:
        leg = replace(leg, target=str(response.contact[0].uri))
    if not call.answered_at:
        leg = replace(leg, remote=response.headers["To"], routes=dialogs.routes(response))
    call = call.with_leg(side, leg)
    if dialogs.is_sdp(response):
        call = _with_media(call, side, response)
    if e.hold is not None:
        asker = replace(call.leg(other(side)), media=e.media or call.leg(other(side)).media)
        call = replace(call.with_leg(other(side), asker), held=e.hold)
    turn, sends = finish(service, call, e, response.code, now, response)
    return (turn if turn.answered_at else replace(turn, answered_at=now)), sends


def _refused(service: Service, call: Call, e: Exchange, response: Response, now: float) -> Turn:
    code = response.code if response.code >= 400 else 480  # nobody here follows a redirection
    return refused(service, call, e, code, now, _as(response, code))


def _as(response: Response, code: int) -> Response:
    if code != response.code:
        response.code, response.phrase = code, sip.REASONS[code]
    return response


def _final_again(service: Service, call: Call, e: Exchange, response: Response) -> list[Send]:
    """The final response to an INVITE has come once more, or another one has."""
    if response.code < 200:
        return []
    ack = [Send(e.ack, duties.next_hop(call.leg(e.toward)))] if e.ack else []
    if response.code >= 300:
        return ack if e.code >= 300 else []
    if e.code >= 300 or sip.tag(response.to_address) != sip.tag(Address.parse(call.leg(e.toward).remote)):
        return dialogs.part(service, call, e.toward, response)
    return ack or [Send(e.response, e.reply_to)]


def _with_media(call: Call, side: Side, response: Response) -> Call:
    return call.with_leg(side, replace(call.leg(side), media=sdp.media(response.body) or call.leg(side).media))
