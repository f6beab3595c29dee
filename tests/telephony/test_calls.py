"""The call logic, message by message."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sipmessage import Message, Request, Response

from telephony import sip
from telephony.calls import Calls
from telephony.model import EXCHANGES_MAX, Bill, Commit, Send, decode, encode
from tests.telephony.world import CALLEE, CALLER, SERVICE, START, World

SDP = b"v=0\r\no=bob 7 9 IN IP4 10.1.1.1\r\ns=-\r\nc=IN IP4 10.1.1.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"


def messages(world: World, to) -> list[Request | Response]:
    return [Message.parse(data) for place, data in world.seen if place == to]


def request(
    method: str = "INVITE",
    call_id: str = "x1",
    cseq: int = 1,
    to_tag: str = "",
    from_tag: str = "f",
    extra: tuple[str, ...] = (),
    body: bytes = SDP,
    branch: str = "",
    uri: str = "sip:bob@127.0.1.100:5060",
) -> bytes:
    branch = branch or f"z9hG4bK{method}{cseq}"
    lines = (
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:5071;branch={branch}",
        f"From: Alice <sip:alice@10.1.1.1>;tag={from_tag}",
        f"To: <sip:bob@127.0.1.100>{';tag=' + to_tag if to_tag else ''}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
        "Contact: <sip:alice@127.0.0.1:5071>",
        *extra,
        "Content-Type: application/sdp",
        f"Content-Length: {len(body)}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def reply(sent: bytes, code: int, to_tag: str = "callee", body: bytes = b"", method: str = "") -> bytes:
    """What the callee says to a datagram it got."""
    got = Message.parse(sent)
    cseq = f"{got.cseq.sequence} {method or got.cseq.method}"
    to = sip.with_tag(got.headers["To"], to_tag)
    answer = sip.response(code, "", (got.headers["Via"],), got.headers["From"], to, got.call_id, cseq)
    answer.headers.set("Contact", "<sip:bob@127.0.0.1:5070>")
    return sip.finish(answer, {"Content-Type": "application/sdp"}, body)


def sent(effects: list[Commit], to=None) -> list[Request | Response]:
    sends = [then for effect in effects for then in effect.then if isinstance(then, Send)]
    return [Message.parse(send.data) for send in sends if to is None or send.to == to]


def raw(effects: list[Commit], to) -> bytes:
    """The only datagram to this place."""
    (data,) = [then.data for e in effects for then in e.then if isinstance(then, Send) and then.to == to]
    return data


def lines(effects: list[Commit]) -> list[str]:
    """Requests with their numbers, responses with their methods."""
    return [
        f"{got.method} {got.cseq.sequence}" if isinstance(got, Request) else f"{got.code} {got.cseq.method}"
        for got in sent(effects)
    ]


def calling(**changes) -> tuple[Calls, bytes]:
    """A server with one call that rings, and the INVITE as the callee got it."""
    calls = Calls(SERVICE)
    return calls, raw(calls.handle(request(**changes), CALLER, START), CALLEE)


def answered() -> tuple[Calls, bytes, str]:
    """A server with one call that is up, the INVITE as the callee got it, and the server's tag for the caller."""
    calls, invite = calling()
    (ok,) = sent(calls.handle(reply(invite, 200, body=SDP), CALLEE, START + 1))
    calls.handle(request("ACK", to_tag=sip.tag(ok.to_address), body=b""), CALLER, START + 1)
    return calls, invite, sip.tag(ok.to_address)


def test_neither_leg_shows_an_identifier_of_the_other():
    world = World(script=[(0.2, "hold"), (0.2, "resume"), (0.2, "bye")]).run(5)
    to_callee = b"".join(data for place, data in world.seen if place == CALLEE)
    to_caller = b"".join(data for place, data in world.seen if place == CALLER)
    for secret in (b"alice@127.0.0.1:5071", b"talice", b"z9hG4bKalice", b":5071", b" 6000 "):
        assert secret not in to_callee
    for secret in (b"tbob", b":5070", b" 6002 "):
        assert secret not in to_caller
    numbers = {m.cseq.sequence for m in messages(world, CALLEE)}
    assert numbers.isdisjoint({m.cseq.sequence for m in messages(world, CALLER)})
    assert {m.call_id for m in messages(world, CALLEE)}.isdisjoint({m.call_id for m in messages(world, CALLER)})


def test_audio_goes_through_the_relay_on_both_legs():
    world = World(script=[(0.2, "bye")]).run(5)
    for message in (*messages(world, CALLEE), *messages(world, CALLER)):
        if message.body:
            assert b"c=IN IP4 127.0.1.100\r\n" in message.body
            assert b"127.0.0.1" not in message.body


def test_nothing_is_sent_before_the_call_is_recorded():
    calls = Calls(SERVICE)
    (effect,) = calls.handle(request(), CALLER, START)
    ((key, record),) = effect.changes.items()
    assert key.startswith("call-")
    assert record is not None
    assert decode(record) == calls.calls[key.removeprefix("call-")]
    assert lines([effect])[0] == "100 INVITE"
    assert lines([effect])[1].startswith("INVITE ")
    assert len(sent([effect], CALLEE)) == 1


def test_two_instances_compute_the_same_identifiers():
    first, second = (Calls(SERVICE).handle(request(), CALLER, START + n) for n in (0, 7))
    assert [bytes(m) for m in sent(first)] == [bytes(m) for m in sent(second)]


def test_repeated_invite_changes_nothing_and_is_answered_with_trying():
    calls, _ = calling()
    (effect,) = calls.handle(request(), CALLER, START + 0.5)
    assert effect.changes == {}
    assert lines([effect]) == ["100 INVITE"]


def test_invite_is_repeated_to_the_callee_until_it_is_heard_of():
    calls, invite = calling()
    times = []
    while (due := calls.next_deadline()) is not None and due < START + 8:
        times += [round(due - START, 3) for _ in sent(calls.wake(due), CALLEE)]
    assert times == [0.5, 1.5, 3.5, 7.5]
    calls.handle(reply(invite, 100), CALLEE, START + 8)
    assert calls.next_deadline() == START + SERVICE.ring_max


def test_call_without_any_answer_ends_with_408_after_32_seconds_and_is_billed_nothing():
    calls, _ = calling()
    effects: list[Commit] = []
    while (due := calls.next_deadline()) is not None and due < START + 33:
        effects = calls.wake(due)
        if sent(effects, CALLER):
            break
    assert due == START + 32
    assert lines(effects) == ["408 INVITE"]
    (bill,) = [then for e in effects for then in e.then if isinstance(then, Bill)]
    assert (bill.record.duration, bill.record.outcome) == (0.0, 408)


def test_refusal_is_repeated_until_the_caller_acknowledges():
    calls, invite = calling()
    effects = calls.handle(reply(invite, 486), CALLEE, START + 1)
    assert lines(effects) == [f"ACK {Message.parse(invite).cseq.sequence}", "486 INVITE"]
    assert lines(calls.wake(START + 1.5)) == ["486 INVITE"]
    assert lines(calls.wake(START + 2.5)) == ["486 INVITE"]
    tag = sip.tag(sent(effects, CALLER)[0].to_address)
    calls.handle(request("ACK", to_tag=tag, body=b""), CALLER, START + 3)
    assert calls.wake(START + 30) == []
    assert lines(calls.handle(reply(invite, 486), CALLEE, START + 31)) == lines(effects)[:1]


def test_redirection_is_told_to_the_caller_as_unavailable():
    calls, invite = calling()
    assert lines(calls.handle(reply(invite, 302), CALLEE, START + 1))[1] == "480 INVITE"


def test_call_can_be_tried_again_under_its_call_id_after_a_refusal():
    calls, invite = calling()
    calls.handle(reply(invite, 407), CALLEE, START + 1)
    effects = calls.handle(request(cseq=2), CALLER, START + 2)
    assert lines(effects)[0] == "100 INVITE"
    assert len(calls.calls) == 2
    again = raw(effects, CALLEE)
    assert Message.parse(again).call_id != Message.parse(invite).call_id


def test_bye_is_answered_only_after_the_other_side_has_answered():
    calls, _, tag = answered()
    bye = request("BYE", cseq=2, to_tag=tag, body=b"")
    forwarded = calls.handle(bye, CALLER, START + 5)
    assert sent(forwarded, CALLER) == []
    assert calls.handle(bye, CALLER, START + 5.5) == []
    effects = calls.handle(reply(raw(forwarded, CALLEE), 200), CALLEE, START + 6)
    assert lines(effects) == ["200 BYE"]
    (bill,) = [then for e in effects for then in e.then if isinstance(then, Bill)]
    assert (bill.record.duration, bill.record.outcome) == (4.0, 200)
    assert lines(calls.handle(bye, CALLER, START + 7)) == ["200 BYE"]


@pytest.mark.parametrize("code", [481, 408, 500])
def test_hang_up_succeeds_whatever_the_other_side_says(code):
    calls, _, tag = answered()
    forwarded = calls.handle(request("BYE", cseq=2, to_tag=tag, body=b""), CALLER, START + 5)
    assert lines(calls.handle(reply(raw(forwarded, CALLEE), code), CALLEE, START + 6)) == ["200 BYE"]


def test_hang_up_succeeds_when_the_other_side_is_gone():
    calls, _, tag = answered()
    calls.handle(request("BYE", cseq=2, to_tag=tag, body=b""), CALLER, START + 5)
    effects: list[Commit] = []
    while not sent(effects, CALLER):
        effects = calls.wake(calls.next_deadline() or 0)
    assert lines(effects) == ["200 BYE"]


def test_ended_call_answers_for_32_seconds_and_is_then_forgotten():
    calls, _, tag = answered()
    bye = request("BYE", cseq=2, to_tag=tag, body=b"")
    forwarded = calls.handle(bye, CALLER, START + 5)
    calls.handle(reply(raw(forwarded, CALLEE), 200), CALLEE, START + 6)
    assert calls.wake(START + 37.9) == []
    (effect,) = calls.wake(START + 38.1)
    assert list(effect.changes.values()) == [None]
    assert calls.calls == {}
    assert lines(calls.handle(bye, CALLER, START + 39)) == ["481 BYE"]


def test_both_sides_may_hang_up_at_once():
    calls, invite, tag = answered()
    forwarded = calls.handle(request("BYE", cseq=2, to_tag=tag, body=b""), CALLER, START + 5)
    leg = Message.parse(invite)
    bye = bytes(request("BYE", leg.call_id, 50, sip.tag(leg.from_address), "callee", body=b""))
    assert lines(calls.handle(bye, CALLEE, START + 5)) == ["200 BYE"]
    assert lines(calls.handle(reply(raw(forwarded, CALLEE), 481), CALLEE, START + 6)) == ["200 BYE"]
    assert len(calls.calls) == 1


def test_call_that_lasts_too_long_is_ended_on_both_sides_and_billed():
    calls, _, _ = answered()
    assert calls.next_deadline() == START + 1 + SERVICE.talk_max
    effects = calls.wake(START + 1 + SERVICE.talk_max)
    assert len(sent(effects, CALLER)) == len(sent(effects, CALLEE)) == 1
    now = START + 2 + SERVICE.talk_max
    assert not any(e.then for e in calls.handle(reply(raw(effects, CALLEE), 200), CALLEE, now))
    (done,) = calls.handle(reply(raw(effects, CALLER), 200), CALLER, now)
    (bill,) = done.then
    assert isinstance(bill, Bill)
    assert bill.record.duration == SERVICE.talk_max


def test_second_reinvite_of_the_same_side_is_refused_and_one_from_the_other_side_is_told_to_wait():
    calls, invite, tag = answered()
    calls.handle(request("INVITE", cseq=2, to_tag=tag), CALLER, START + 3)
    assert lines(calls.handle(request("INVITE", cseq=3, to_tag=tag), CALLER, START + 3)) == ["500 INVITE"]
    leg = Message.parse(invite)
    crossing = request("INVITE", leg.call_id, 50, sip.tag(leg.from_address), "callee")
    assert lines(calls.handle(crossing, CALLEE, START + 3)) == ["491 INVITE"]


def test_refused_reinvite_leaves_call_and_media_as_they_were():
    calls, _, tag = answered()
    (before,) = calls.calls.values()
    moved = SDP.replace(b"4000", b"4444")
    forwarded = calls.handle(request("INVITE", cseq=2, to_tag=tag, body=moved), CALLER, START + 3)
    effects = calls.handle(reply(raw(forwarded, CALLEE), 488), CALLEE, START + 3)
    assert lines(effects)[1] == "488 INVITE"
    (after,) = calls.calls.values()
    assert (after.a.media, after.closed_at) == (before.a.media, 0.0)


def test_acceptance_that_comes_after_the_call_has_failed_is_hung_up():
    calls, invite = calling()
    while calls.calls and not next(iter(calls.calls.values())).closed_at:
        calls.wake(calls.next_deadline() or 0)
    effects = calls.handle(reply(invite, 200), CALLEE, START + 33)
    number = Message.parse(invite).cseq.sequence
    assert lines(effects) == [f"ACK {number}", f"BYE {number + 1}"]


def test_acceptance_of_a_second_callee_is_hung_up():
    calls, invite, _ = answered()
    number = Message.parse(invite).cseq.sequence
    effects = calls.handle(reply(invite, 200, to_tag="second"), CALLEE, START + 2)
    assert lines(effects) == [f"ACK {number}", f"BYE {number + 1}"]
    assert lines(calls.handle(reply(invite, 200), CALLEE, START + 2)) == [f"ACK {number}"]


def test_cancel_waits_until_the_callee_has_been_heard():
    calls, invite = calling()
    assert lines(calls.handle(request("CANCEL", body=b""), CALLER, START + 0.1)) == ["200 CANCEL"]
    effects = calls.handle(reply(invite, 180), CALLEE, START + 0.2)
    (cancel,) = sent(effects, CALLEE)
    assert cancel.cseq.method == "CANCEL"
    assert sip.branch(cancel) == sip.branch(Message.parse(invite))
    calls.handle(reply(invite, 200, method="CANCEL"), CALLEE, START + 0.3)
    assert lines(calls.handle(reply(invite, 487), CALLEE, START + 0.3))[1] == "487 INVITE"


def test_cancel_that_meets_an_acceptance_leaves_the_call_to_the_caller():
    world = World(script=[(0.301, "cancel")], ring=0.3).run(100)
    assert world.caller.result.answered_at
    assert (world.caller.result.failure, world.callee.result.failure) == ("", "")
    assert len(world.cdrs) == 1
    assert world.safe == {}


def test_answer_in_the_acknowledgement_is_passed_on():
    calls, invite = calling(body=b"")
    (ok,) = sent(calls.handle(reply(invite, 200, body=SDP), CALLEE, START + 1))
    effects = calls.handle(request("ACK", to_tag=sip.tag(ok.to_address)), CALLER, START + 1)
    (ack,) = sent(effects, CALLEE)
    assert b"c=IN IP4 127.0.1.100" in ack.body
    (call,) = calls.calls.values()
    assert (call.a.media, call.b.media) == (("10.1.1.1", 4000), ("10.1.1.1", 4000))


def test_routes_of_proxies_are_kept_on_each_leg():
    calls, _ = calling(extra=("Record-Route: <sip:127.0.0.9:5099;lr>",))
    (call,) = calls.calls.values()
    assert call.a.routes == ("<sip:127.0.0.9:5099;lr>",)
    invite = raw([Commit({}, tuple(Send(e.request, CALLEE) for e in call.exchanges))], CALLEE)
    (ok,) = sent(calls.handle(reply(invite, 200, body=SDP), CALLEE, START + 1))
    assert ok.headers.getlist("Record-Route") == ["<sip:127.0.0.9:5099;lr>"]
    leg = Message.parse(invite)
    bye = request("BYE", leg.call_id, 50, sip.tag(leg.from_address), "callee", body=b"")
    assert Message.parse(raw(calls.handle(bye, CALLEE, START + 2), ("127.0.0.9", 5099))).cseq.method == "BYE"


def test_info_is_carried_to_the_other_leg_and_its_answer_back():
    calls, _, tag = answered()
    forwarded = calls.handle(request("INFO", cseq=2, to_tag=tag, body=b"digit"), CALLER, START + 3)
    assert lines(calls.handle(reply(raw(forwarded, CALLEE), 200), CALLEE, START + 3)) == ["200 INFO"]


@pytest.mark.parametrize(
    ("datagram", "answer"),
    [
        (request("OPTIONS"), "200 OPTIONS"),
        (request("REGISTER"), "405 REGISTER"),
        (request("BYE", to_tag="x"), "481 BYE"),
        (request("INVITE", to_tag="x"), "481 INVITE"),
        (request("CANCEL"), "481 CANCEL"),
        (request(extra=("Require: 100rel",)), "420 INVITE"),
        (request(extra=("Max-Forwards: 0",)), "483 INVITE"),
        (request(uri="tel:+4930123"), "416 INVITE"),
    ],
)
def test_request_outside_a_call_is_refused_without_leaving_anything(datagram, answer):
    calls = Calls(SERVICE)
    effects = calls.handle(datagram, CALLER, START)
    assert lines(effects) == [answer]
    assert effects[0].changes == {}
    assert calls.next_deadline() is None


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"method": "BYE", "to_tag": "wrong"}, "481 BYE"),
        ({"method": "BYE", "from_tag": "wrong", "to_tag": "TAG"}, "481 BYE"),
        ({"method": "BYE"}, "481 BYE"),
        ({"method": "BYE", "cseq": 0, "to_tag": "TAG"}, "500 BYE"),
        ({"method": "INVITE", "cseq": 9}, "482 INVITE"),
        ({"method": "INVITE", "from_tag": "fork"}, "482 INVITE"),
        ({"method": "REFER", "cseq": 2, "to_tag": "TAG"}, "405 REFER"),
        ({"method": "OPTIONS", "cseq": 2, "to_tag": "TAG"}, "200 OPTIONS"),
        ({"method": "CANCEL", "cseq": 2, "to_tag": "TAG"}, "481 CANCEL"),
        ({"method": "CANCEL", "to_tag": "TAG"}, "200 CANCEL"),
    ],
)
def test_request_that_does_not_belong_into_the_call_is_refused_and_changes_nothing(changes, answer):
    calls, _, tag = answered()
    before = dict(calls.calls)
    changes = {name: tag if value == "TAG" else value for name, value in changes.items()}
    assert lines(calls.handle(request(**changes), CALLER, START + 2)) == [answer]
    assert calls.calls == before


def test_calls_beyond_the_limit_are_refused():
    calls = Calls(msgspec.structs.replace(SERVICE, calls_max=1))
    calls.handle(request(), CALLER, START)
    assert lines(calls.handle(request(call_id="x2"), CALLER, START)) == ["503 INVITE"]


def test_calls_beyond_the_ports_are_refused():
    calls = Calls(msgspec.structs.replace(SERVICE, first_port=20000, last_port=20003))
    for name in ("x1", "x2"):
        assert lines(calls.handle(request(call_id=name), CALLER, START))[0] == "100 INVITE"
    assert lines(calls.handle(request(call_id="x3"), CALLER, START)) == ["503 INVITE"]
    pairs = sorted((call.a.port, call.b.port) for call in calls.calls.values())
    assert pairs == [(20000, 20001), (20002, 20003)]


def test_response_with_another_branch_is_ignored():
    calls, invite = calling()
    assert calls.handle(reply(invite, 200).replace(b"branch=z9hG4bK", b"branch=z9hG4bKx"), CALLEE, START + 1) == []


def test_contact_with_a_name_is_reached_where_the_peer_was_heard_last():
    calls, invite = calling()
    named = reply(invite, 200, body=SDP).replace(b"Contact: <sip:bob@127.0.0.1:5070>", b"Contact: <sip:bob@phone>")
    (ok,) = sent(calls.handle(named, ("127.0.0.7", 5077), START + 1))
    ack = calls.handle(request("ACK", to_tag=sip.tag(ok.to_address), body=b""), CALLER, START + 1)
    assert Message.parse(raw(ack, ("127.0.0.7", 5077))).cseq.method == "ACK"


def test_early_audio_of_the_callee_has_a_way_to_the_caller():
    calls, invite = calling()
    (progress,) = sent(calls.handle(reply(invite, 183, body=SDP), CALLEE, START + 1))
    assert b"c=IN IP4 127.0.1.100" in progress.body
    (call,) = calls.calls.values()
    assert call.b.media == ("10.1.1.1", 4000)


def test_request_without_an_answer_is_given_up_for_both_sides():
    calls, _, tag = answered()
    calls.handle(request("INFO", cseq=2, to_tag=tag, body=b"digit"), CALLER, START + 3)
    effects: list[Commit] = []
    while not sent(effects, CALLER):
        effects = calls.wake(calls.next_deadline() or 0)
    assert lines(effects) == ["408 INFO"]


def test_requests_under_way_in_a_call_are_limited_and_old_ones_forgotten():
    calls, _, tag = answered()
    refused = 0
    for number in range(2, 20):
        effects = calls.handle(request("INFO", cseq=number, to_tag=tag, body=b"digit"), CALLER, START + 3)
        refused += lines(effects) == ["500 INFO"]
    assert refused == 18 - EXCHANGES_MAX
    calls, _, tag = answered()
    for number in range(2, 20):
        forwarded = calls.handle(request("INFO", cseq=number, to_tag=tag, body=b"digit"), CALLER, START + 3)
        assert lines(calls.handle(reply(raw(forwarded, CALLEE), 200), CALLEE, START + 3)) == ["200 INFO"]
    (call,) = calls.calls.values()
    assert len(call.exchanges) == EXCHANGES_MAX


@pytest.mark.parametrize("method", ["BYE", "INFO", "INVITE"])
def test_call_that_is_not_up_carries_nothing_but_its_invite(method):
    calls, invite = calling()
    (ringing,) = sent(calls.handle(reply(invite, 180), CALLEE, START + 1))
    tag = sip.tag(ringing.to_address)
    assert lines(calls.handle(request(method, cseq=2, to_tag=tag), CALLER, START + 2)) == [f"481 {method}"]


def test_request_in_a_call_that_has_no_hops_left_or_an_old_number_is_refused():
    calls, _, tag = answered()
    hops = request("INFO", cseq=2, to_tag=tag, extra=("Max-Forwards: 0",))
    assert lines(calls.handle(hops, CALLER, START + 2)) == ["483 INFO"]
    assert lines(calls.handle(request("INFO", cseq=0, to_tag=tag), CALLER, START + 2)) == ["500 INFO"]


def test_messages_of_unknown_calls_and_oversized_ones_are_dropped():
    calls, invite, tag = answered()
    assert calls.handle(request("ACK", call_id="unknown", to_tag="x"), CALLER, START) == []
    assert calls.handle(reply(request(call_id="unknown"), 200), CALLEE, START) == []
    assert calls.handle(request("ACK", cseq=77, to_tag=tag), CALLER, START) == []
    assert calls.handle(request("ACK", to_tag="wrong"), CALLER, START) == []
    assert calls.handle(reply(invite, 180), CALLEE, START + 2) == []
    assert calls.handle(b"x" * 9000, CALLER, START) == []


def test_record_that_was_written_is_marked_and_unknown_ones_are_ignored():
    calls, _, _ = answered()
    (name,) = calls.calls
    effects = calls.billed(["unknown", name], START + 9)
    assert [list(effect.changes) for effect in effects] == [["call-" + name]]
    assert calls.calls[name].billed


def test_first_audio_is_recorded_once():
    calls, _, _ = answered()
    (name,) = calls.calls
    assert len(calls.audible(name, "a", START + 2)) == 1
    assert calls.audible(name, "a", START + 2) == []
    assert calls.audible("unknown", "a", START + 2) == []


def test_late_answers_to_a_failed_attempt_do_not_reach_the_next_one():
    calls, invite = calling()
    calls.handle(reply(invite, 407), CALLEE, START + 1)
    calls.handle(request(cseq=2), CALLER, START + 2)
    assert lines(calls.handle(reply(invite, 407), CALLEE, START + 2.5)) == [
        f"ACK {Message.parse(invite).cseq.sequence}"
    ]
    calls.adopt(list(calls.calls.values())[:1])
    assert lines(calls.handle(request(cseq=2), CALLER, START + 3)) == ["100 INVITE"]


def test_record_of_a_call_survives_encoding():
    calls, _, _ = answered()
    (call,) = calls.calls.values()
    assert decode(encode(call)) == call


VALID = [request(), request("BYE", to_tag="t"), request("ACK"), reply(request(), 200)]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_datagram_stops_the_server(data):
    calls, invite, tag = answered()
    pool = [*VALID, reply(invite, 183), reply(invite, 200), request("INVITE", cseq=2, to_tag=tag)]
    text = bytearray(data.draw(st.sampled_from(pool)))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(text)))
        text[at : at + data.draw(st.integers(0, 8))] = data.draw(
            st.one_of(st.binary(max_size=6), st.sampled_from([b"\r\n", b";tag=", b"sip:", b"99999999999", b"<", b":0"]))
        )
    calls.handle(bytes(text), CALLER, START + 3)
    calls.handle(bytes(text), CALLEE, START + 4)
    for _ in range(20):
        if (due := calls.next_deadline()) is not None:
            calls.wake(due)
