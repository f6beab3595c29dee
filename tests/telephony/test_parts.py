"""The smaller parts: relay, records, session descriptions, ports, timers, attributes, figures."""

import logging
import select
import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony import billing, ledger, ports, report, sdp, settings
from telephony.ids import Ids
from telephony.model import Call, Cdr, Leg
from telephony.phone import Phone, Result
from telephony.relay import Relay
from telephony.timers import Timers
from tests.telephony.harness import Place, free_port

log = logging.getLogger("telephony.test")
OFFER = b"v=0\r\no=- 5 7 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
VIDEO = b"m=video 5000 RTP/AVP 99\r\nc=IN IP4 10.0.0.2\r\n"


# The relay


def listener() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("127.0.0.1", 0))
    opened.settimeout(5)
    return opened


def leg(port: int, media: tuple[str, int] | None) -> Leg:
    return Leg("id", "<sip:a@h>;tag=1", "<sip:b@h>;tag=2", "sip:b@127.0.0.1", ("127.0.0.1", 5060), port, 1, media=media)


def call_between(a: socket.socket, b: socket.socket, host: str) -> Call:
    a_leg, b_leg = leg(free_port(host), a.getsockname()), leg(free_port(host), b.getsockname())
    return Call("c1", a_leg, b_leg, "sip:a@h", "sip:b@h", 1.0, answered_at=1.0)


def pump(relay: Relay, now: float) -> int:
    select.select([relay], [], [], 5)
    return relay.pump(now)


@pytest.mark.real
def test_audio_passes_both_ways_and_the_first_packet_of_each_side_is_told_once(tmp_path):
    host = Place.find(tmp_path).server[0]
    with listener() as a, listener() as b:
        call = call_between(a, b, host)
        relay = Relay(host, log)
        relay.follow("c1", call)
        for packet in (b"one", b"two"):
            a.sendto(packet, (host, call.a.port))
            assert pump(relay, 7.0) == 1
            assert b.recvfrom(100) == (packet, (host, call.b.port))
        b.sendto(b"three", (host, call.b.port))
        assert pump(relay, 8.0) == 1
        assert a.recvfrom(100) == (b"three", (host, call.a.port))
        assert relay.first_heard() == [("c1", "a"), ("c1", "b")]
        assert relay.first_heard() == []
        assert relay.last_audio == {call.a.port: 7.0, call.b.port: 8.0}
        relay.close()


@pytest.mark.real
def test_audio_follows_when_a_peer_moves_and_ends_with_the_call(tmp_path):
    host = Place.find(tmp_path).server[0]
    with listener() as a, listener() as b, listener() as moved:
        call = call_between(a, b, host)
        relay = Relay(host, log)
        relay.follow("c1", call)
        call = call.with_leg("b", msgspec.structs.replace(call.b, media=moved.getsockname()))
        relay.follow("c1", call)
        a.sendto(b"x", (host, call.a.port))
        assert pump(relay, 1.0) == 1
        assert moved.recv(100) == b"x"
        relay.follow("c1", msgspec.structs.replace(call, closed_at=9.0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as another:
            another.bind((host, call.a.port))  # free again
        relay.close()


@pytest.mark.real
def test_audio_from_a_stranger_is_not_forwarded(tmp_path):
    host = Place.find(tmp_path).server[0]
    with listener() as a, listener() as b, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.2", 0))
        call = call_between(a, b, host)
        relay = Relay(host, log)
        relay.follow("c1", call)
        stranger.sendto(b"x", (host, call.a.port))
        assert pump(relay, 1.0) == 0
        assert relay.last_audio == {}
        relay.close()


@pytest.mark.real
def test_port_that_somebody_else_has_is_avoided_by_later_calls(tmp_path):
    host = Place.find(tmp_path).server[0]
    with listener() as a, listener() as b, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        call = call_between(a, b, host)
        squatter.bind((host, call.b.port))
        relay = Relay(host, log)
        relay.follow("c1", call)
        assert relay.refused == {call.b.port}
        relay.follow("c1", None)
        relay.close()


# Session descriptions


def test_description_is_rewritten_to_our_address_port_and_session():
    assert sdp.rewrite(OFFER, "127.0.1.100", 20000, 77) == (
        b"v=0\r\no=- 77 7 IN IP4 127.0.1.100\r\ns=-\r\nc=IN IP4 127.0.1.100\r\nt=0 0\r\nm=audio 20000 RTP/AVP 8\r\n"
    )


def test_second_medium_is_refused_and_lines_with_addresses_are_left_out():
    rewritten = sdp.rewrite(OFFER + b"a=rtcp:4001 IN IP4 10.0.0.1\r\n" + VIDEO, "127.0.1.100", 20000, 77)
    assert b"m=video 0 RTP/AVP 99\r\n" in rewritten
    assert b"10.0.0" not in rewritten


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (OFFER, ("10.0.0.1", 4000)),
        (OFFER + b"c=IN IP4 10.0.0.3\r\n" + VIDEO, ("10.0.0.3", 4000)),
        (OFFER.replace(b"4000", b"0"), None),
        (OFFER.replace(b"4000", b"70000"), None),
        (OFFER.replace(b"c=IN IP4 10.0.0.1", b"c=IN IP4 0.0.0.0"), None),
        (b"", None),
        (b"\xff\n m=\r\nm=\r\nm=audio", None),
    ],
)
def test_audio_goes_where_the_first_medium_says(body, media):
    assert sdp.media(body) == media


@pytest.mark.parametrize(
    ("body", "held"), [(OFFER, False), (OFFER + b"a=sendonly\r\n", True), (OFFER + b"a=sendrecv\r\n", False)]
)
def test_hold_is_a_direction_other_than_both(body, held):
    assert sdp.held(body) is held


@given(st.binary(max_size=200))
def test_no_description_stops_the_server(body):
    sdp.media(body)
    sdp.held(body)
    sdp.rewrite(body, "127.0.0.1", 4000, 1)


# Ports and timers


@given(st.lists(st.text("abc", min_size=1), unique=True, max_size=12))
def test_ports_are_neighbours_never_shared_and_taken_as_long_as_there_are_any(names):
    used: set[int] = set()
    for name in names:
        pair = ports.allocate(Ids(b"k"), name, 20000, 20019, used)
        if len(used) == 20:
            assert pair is None
            continue
        assert pair is not None
        assert pair[0] % 2 == 0
        assert pair[1] == pair[0] + 1
        assert used.isdisjoint(pair)
        used |= set(pair)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 50))), st.integers(0, 50))
def test_timers_tell_the_same_as_a_plain_table(settings, now):
    timers = Timers()
    table: dict[str, int] = {}
    for name, when in settings:
        timers.set(name, when)
        if when is None:
            table.pop(name, None)
        else:
            table[name] = when
    assert timers.next() == min(table.values(), default=None)
    assert sorted(timers.due(now)) == sorted(name for name, when in table.items() if when <= now)
    assert timers.next() == min((when for when in table.values() if when > now), default=None)


def test_timer_that_is_moved_a_thousand_times_is_due_once():
    timers = Timers()
    for when in range(1000):
        timers.set("a", when)
    assert timers.due(998) == []
    assert timers.due(999) == ["a"]


# Records


def cdr(name: str, caller: str = "sip:call-1@127.0.0.1", duration: float = 2.0) -> Cdr:
    return Cdr(name, caller, "sip:b@h", 1.0, 2.0, 2.0 + duration, duration, 200)


def test_record_is_written_once_by_whoever_comes_later(tmp_path):
    path = tmp_path / "cdr.jsonl"
    first = ledger.Ledger(path)
    first.append([cdr("1"), cdr("2"), cdr("1")])
    first.append([cdr("2")])
    first.close()
    second = ledger.Ledger(path)
    second.written_before()
    second.append([cdr("2"), cdr("3")])
    second.close()
    assert [record.id for record in ledger.read(path)] == ["1", "2", "3"]


def test_line_that_was_half_written_spoils_no_other_and_is_written_again(tmp_path):
    path = tmp_path / "cdr.jsonl"
    path.write_bytes(msgspec.json.encode(cdr("1")) + b"\n" + msgspec.json.encode(cdr("2"))[:20])
    book = ledger.Ledger(path)
    book.written_before()
    book.append([cdr("1"), cdr("2")])
    book.close()
    assert [record.id for record in ledger.read(path)] == ["1", "2"]


def test_no_file_is_no_records(tmp_path):
    assert ledger.read(tmp_path / "none") == []


# When a call ended

OUTAGE = (100.0, 101.3)


@pytest.mark.parametrize(
    ("arrived", "last_audio", "claimed", "expected"),
    [
        (107.0, 106.99, None, 107.0),  # heard since the takeover: hung up now
        (102.3, 90.0, None, 100.8),  # repeated twice: once would be after the outage, three times before it
        (103.6, 90.0, None, 103.6),  # no: a repetition at 101.6 would have been heard
        (101.8, 90.0, None, 100.8),  # repeated once (101.3) or twice (100.3): the middle
        (101.5, 90.0, None, 100.5),  # repeated once (101.0) or twice (100.0): the middle
        (101.5, 90.0, 100.02, 100.0),  # the same, but the sender knows
        (101.5, 90.0, 101.1, 101.0),
        (101.31, 101.3, None, 101.31),
        (104.0, None, None, 104.0),  # he sends no audio, so his silence means nothing
        (104.0, None, 103.99, 104.0),
        (101.55, None, 101.04, 101.05),  # ... but he knows that he said it before
        (300.0, 90.0, 100.5, 300.0),  # nobody repeats a BYE for so long
    ],
)
def test_time_of_an_outage_is_not_billed(arrived, last_audio, claimed, expected):
    assert billing.hung_up_at(arrived, OUTAGE, last_audio, claimed) == pytest.approx(expected)


@given(st.floats(0.0, 1.3))
def test_hang_up_in_an_outage_is_dated_to_when_it_was_said(said):
    start, end = OUTAGE
    sendings = [start + said + span for span in (0.0, *billing.REPEATED_AFTER)]
    arrived = next(time for time in sendings if time > end)
    told = billing.hung_up_at(arrived, OUTAGE, start, start + said)
    assert told == pytest.approx(start + said, abs=0.01)
    guessed = billing.hung_up_at(arrived, OUTAGE, start)
    assert guessed == pytest.approx(start + said, abs=0.51)


@pytest.mark.parametrize(
    ("answered", "acknowledged", "claimed", "expected"),
    [
        (102.0, 102.1, None, 102.0),  # answered after the takeover
        (99.0, 102.0, 99.01, 99.01),
        (99.0, 102.0, 150.0, 102.0),
        (99.0, 101.0, None, 100.0),
    ],
)
def test_time_counts_from_when_the_caller_was_told(answered, acknowledged, claimed, expected):
    assert billing.heard_at(answered, acknowledged, OUTAGE, claimed) == expected
    assert billing.heard_at(answered, acknowledged, None, claimed) == answered


# The check of the records


def phone(name: str, answered: float, ended: float) -> Phone:
    made = Phone(name, ("127.0.0.1", 5071), ("127.0.1.100", 5060), ("127.0.0.1", 6000))
    made.result = Result(1.0, answered, ended, True)
    return made


@pytest.mark.parametrize(
    ("records", "errors"),
    [
        ([cdr("1")], []),
        ([cdr("1", duration=2.4)], []),
        ([], ["call-1: 0 records"]),
        ([cdr("1"), cdr("2")], ["call-1: 2 records"]),
        ([cdr("1", duration=2.6)], ["call-1: talked 2.000 s, billed 2.600 s"]),
        (
            [cdr("1"), cdr("2", "sip:nobody@127.0.0.1")],
            ["sip:nobody@127.0.0.1: 1 records of a call that nobody made"],
        ),
    ],
)
def test_records_are_checked_against_what_the_callers_saw(records, errors):
    assert report.billing_errors([phone("call-1", 10.0, 12.0)], [], records) == errors


def test_call_ends_for_billing_when_the_first_of_both_hangs_up():
    calls, answered = [phone("call-1", 10.0, 14.0)], [phone("to-call-1", 10.0, 12.0)]
    assert report.billing_errors(calls, answered, [cdr("1")]) == []


def test_percentiles_are_values_that_were_seen():
    values = [float(value) for value in range(1, 101)]
    assert [report.percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert report.percentile([7.0], 0.5) == 7.0
    assert report.spread([]) == "not measured"


# Attributes


def test_attributes_have_defaults_for_loopback():
    chosen = settings.read({})
    assert chosen.service.address == ("127.0.1.100", 5060)
    assert chosen.service.route == ("127.0.0.1", 5070)
    assert (chosen.cdr, chosen.checkpoint) == (None, True)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"adress": "127.0.0.1:5060"}, "unknown attribute 'adress'"),
        ({"address": "127.0.0.1"}, "attribute 'address' must be an IPv4 address and a port"),
        ({"route": "host:5060"}, "attribute 'route' must be an IPv4 address and a port"),
        ({"route": "127.0.0.1:0"}, "attribute 'route' must be an IPv4 address and a port"),
        ({"rtp": "20000"}, "attribute 'rtp' must be a range of ports"),
        ({"rtp": "30000-20000"}, "attribute 'rtp' must be a range of ports"),
        ({"rtp": "20001-20010"}, "attribute 'rtp' must begin with an even port"),
        ({"checkpoint": "maybe"}, "attribute 'checkpoint' must be yes or no"),
        ({"talk_max": "0"}, "attribute 'talk_max' must be seconds"),
        ({"secret": ("a", "b")}, "attribute 'secret' must have one value, not 2"),
    ],
)
def test_wrong_attribute_is_named_with_what_it_must_be(attributes, message):
    with pytest.raises(ValueError, match=message):
        settings.read(attributes)
