from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisexec.groups import RingId
from aisexec.totem import packets
from aisexec.totem.packets import BadPacket, Commit, Control, Entry, Join, Merge, Probe, Token

seqs = st.integers(0, 2**63 - 1)
nodes = st.integers(1, 2**32 - 1)


@given(
    seqs, nodes, seqs, st.integers(0, 2**63 - 101), st.integers(0, 100), st.integers(0, 2**32 - 1), seqs,
    st.integers(0, 2**31 - 1), seqs, st.integers(0, 2**31 - 1), st.lists(seqs, max_size=packets.RTR_MAX),
)  # fmt: skip
def test_a_token_comes_back_as_it_was_packed(
    ring_seq: int, rep: int, hop: int, aru: int, ahead: int, aru_id: int, sent: int, count: int, backlog: int,
    pending: int, rtr: list[int],
):  # fmt: skip
    token = Token(RingId(ring_seq, rep), hop, aru + ahead, aru, aru_id, sent, count, backlog, pending, rtr)
    assert packets.unpack_token(token.pack()) == token


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (packets.JOIN, Join(1, 2, True, (1, 2), (2,), "why", ((3, 99),), ((2, 5, 6),))),
        (packets.COMMIT, Commit(5, 1, (Entry(1, 7, 4096, 3, 1, 10, 12), Entry(9)))),
        (packets.MERGE, Merge(5)),
        (packets.PROBE, Probe(1.5)),
    ],
)
def test_a_control_message_comes_back_as_it_was_packed(kind: int, message: Control):
    assert packets.unpack_control(kind, packets.pack_control(message)) == message


def test_messages_without_body_are_known():
    assert packets.unpack_control(packets.CANCEL, b"") is None
    assert packets.unpack_control(packets.GOODBYE, b"") is None


@pytest.mark.parametrize(
    "message",
    [
        Commit(5, 1, (Entry(2), Entry(1))),
        Commit(5, 1, (Entry(1), Entry(1))),
        Commit(5, 3, (Entry(1),)),
        Commit(5, 0, ()),
        Commit(-1, 0, (Entry(1),)),
        Commit(5, 0, (Entry(0),)),
    ],
)
def test_a_commit_token_that_contradicts_itself_is_refused(message: Commit):
    with pytest.raises(BadPacket):
        packets.unpack_control(packets.COMMIT, packets.pack_control(message))


def test_a_join_of_too_many_nodes_is_refused():
    with pytest.raises(BadPacket):
        packets.unpack_control(packets.JOIN, packets.pack_control(Join(1, 1, False, tuple(range(1, 300)), ())))


def test_a_token_whose_aru_is_ahead_of_its_seq_is_refused():
    with pytest.raises(BadPacket):
        packets.unpack_token(Token(RingId(1, 1), seq=1, aru=2).pack())


@given(st.integers(0, 255), st.binary(max_size=200))
def test_arbitrary_bytes_give_a_message_or_are_refused(kind: int, body: bytes):
    for unpack, result in (
        (packets.unpack_token, Token),
        (packets.unpack_bundle, list),
        (lambda body: packets.unpack_control(kind, body), Control | None),
    ):
        try:
            message = unpack(body)
        except BadPacket:
            continue
        assert isinstance(message, result)


@given(st.binary(max_size=120), st.integers(0, 119))
def test_a_token_cut_short_is_refused(noise: bytes, cut: int):
    body = Token(RingId(1, 1), seq=9, aru=3, rtr=[4, 5, 6, 7, 8]).pack()
    with pytest.raises(BadPacket):
        packets.unpack_token(body[: min(cut, len(body) - 1)])
    if noise:
        with pytest.raises(BadPacket):
            packets.unpack_token(body + noise)


@given(st.lists(st.binary(max_size=50)))
def test_a_bundle_comes_back_as_it_was_packed(payloads: list[bytes]):
    assert packets.unpack_bundle(packets.pack_bundle(payloads)) == payloads


@pytest.mark.parametrize(
    "wrong",
    [
        {"hop": 2**64 - 1},
        {"seq": 2**63},
        {"sent_bytes": 2**64 - 1},
        {"sent_packets": 2**32 - 1},
        {"backlog_bytes": 2**64 - 1},
        {"pending": 2**32 - 1},
    ],
)
def test_a_token_that_could_not_be_passed_on_is_refused(wrong: dict[str, Any]):
    with pytest.raises(BadPacket):
        packets.unpack_token(Token(RingId(1, 1), **wrong).pack())


def test_a_reason_that_is_no_text_is_refused():
    body = packets.pack_control(Join(1, 2, True, (1, 2), (), "why"))
    with pytest.raises(BadPacket):
        packets.unpack_control(packets.JOIN, body.replace(b"why", b"\xff\xff\xff"))
