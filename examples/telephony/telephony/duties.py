"""What a call still owes to its peers: derived from its record, so a new instance owes the same."""

from telephony.model import Call, Exchange, Leg, Send, Service
from telephony.sip import Endpoint, endpoint

T1 = 0.5  # RFC 3261 section 17.1.1.1: estimated round trip
T2 = 4.0  # longest interval between retransmissions
GIVE_UP = 64 * T1

Slot = tuple[str, int, str, str]  # toward, number, method, "request" or "response"


def repeats(call: Call, now: float) -> dict[Slot, Send]:
    """The datagrams that must be sent again and again until something is heard."""
    slots: dict[Slot, Send] = {}
    for e in call.exchanges:
        if wants_answer(call, e):
            slots[e.toward, e.number, e.method, "request"] = Send(e.request, next_hop(call.leg(e.toward)))
        elif e.method == "INVITE" and e.code >= 300 and not e.acked and not e.ours and now < e.final_at + GIVE_UP:
            slots[e.toward, e.number, e.method, "response"] = Send(e.response, e.reply_to)
    return slots


def wants_answer(call: Call, e: Exchange) -> bool:
    if e.code or not e.request or call.closed_at:
        return False
    if e.method == "CANCEL":  # waits until the callee has shown that it knows the INVITE
        invite = call.sent(e.toward, "INVITE", e.number)
        return invite is not None and invite.provisional and not invite.code
    return not (e.method == "INVITE" and e.provisional)


def unacknowledged(call: Call) -> list[Send]:
    """Acceptances that the caller has not acknowledged.

    The callee repeats them, so no timer of ours is needed. But a predecessor may have died just before it sent this
    one, and the caller should not have to wait for the repetition.
    """
    return [
        Send(e.response, e.reply_to)
        for e in call.exchanges
        if e.method == "INVITE" and 200 <= e.code < 300 and e.response and not e.ack
    ]


def next_interval(slot: Slot, interval: float) -> float:
    """Requests other than INVITE, and responses, are repeated at least every T2; INVITE ever more slowly."""
    _, _, method, kind = slot
    return 2 * interval if (method, kind) == ("INVITE", "request") else min(2 * interval, T2)


def expiry(service: Service, call: Call, e: Exchange) -> float | None:
    """When to stop waiting for the final response."""
    if e.code or e.method == "CANCEL":
        return None
    if e.method == "INVITE" and (cancel := call.sent(e.toward, "CANCEL", e.number)):
        return cancel.since + GIVE_UP
    return e.since + (service.ring_max if e.provisional else GIVE_UP)


def deadline(service: Service, call: Call) -> float | None:
    """When time alone changes this call next."""
    if call.closed_at:
        return call.closed_at + GIVE_UP
    times = [t for e in call.exchanges if (t := expiry(service, call, e)) is not None]
    if call.answered_at and not call.ended_at:
        times.append(call.answered_at + service.talk_max)
    return min(times, default=None)


def next_hop(leg: Leg) -> Endpoint:
    """Where a request on this leg goes: the first route, or the peer's contact."""
    uri = leg.routes[0].split("<", 1)[-1].split(">", 1)[0] if leg.routes else leg.target
    return endpoint(uri, leg.address)
