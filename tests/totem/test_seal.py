import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisexec.totem.seal import HEADER, OVERHEAD_BYTES, AesSeal, NullSeal, Rejected, Suite

KEY = bytes(range(128))


SUITES = [Suite(), Suite("aes128", "sha512"), Suite("chacha20", "sha384"), Suite("none")]


def _pairs() -> list[tuple[Any, Any]]:
    keyed = [(AesSeal(KEY, "c", 1, 7, suite), AesSeal(KEY, "c", 2, 8, suite)) for suite in SUITES]
    return [*keyed, (NullSeal("c", 1, 7), NullSeal("c", 2, 8))]


def _reason(seal: Any, datagram: bytes) -> str:
    with pytest.raises(Rejected) as refused:
        seal.open(datagram)
    return refused.value.reason


@given(st.integers(0, 255), st.binary(max_size=3000))
def test_a_member_reads_what_another_sealed(kind: int, body: bytes):
    for one, other in _pairs():
        assert other.open(one.seal(kind, body)) == (kind, 1, 7, body)


@pytest.mark.parametrize("suite", SUITES)
def test_the_body_is_not_readable_and_the_overhead_is_as_told(suite: Suite):
    datagram = AesSeal(KEY, "c", 1, 7, suite).seal(1, b"secret secret")
    assert (b"secret" in datagram) is (suite.cipher == "none")
    assert len(datagram) == len(b"secret secret") + OVERHEAD_BYTES


@pytest.mark.parametrize("suite", SUITES)
def test_no_changed_byte_and_no_other_suite_is_accepted(suite: Suite):
    datagram = AesSeal(KEY, "c", 1, 7, suite).seal(1, b"body")
    for place in range(3, len(datagram)):
        changed = bytearray(datagram)
        changed[place] ^= 1
        assert _reason(AesSeal(KEY, "c", 2, 8, suite), bytes(changed)) == "digest"
    for other in (*SUITES, Suite(digest="sha512")):
        if other != suite:
            assert _reason(AesSeal(KEY, "c", 2, 8, other), datagram) == "digest"


def test_a_packet_is_accepted_once():
    sender, receiver = AesSeal(KEY, "c", 1, 7), AesSeal(KEY, "c", 2, 8)
    datagram = sender.seal(1, b"x")
    receiver.open(datagram)
    assert _reason(receiver, datagram) == "replayed"


def test_packets_out_of_order_are_each_accepted_once():
    sender, receiver = AesSeal(KEY, "c", 1, 7), AesSeal(KEY, "c", 2, 8)
    datagrams = [sender.seal(1, b"%d" % number) for number in range(200)]
    for datagram in datagrams[::-3] + [d for place, d in enumerate(datagrams) if (199 - place) % 3]:
        receiver.open(datagram)
    assert all(_reason(receiver, datagram) == "replayed" for datagram in datagrams)


def test_a_packet_far_behind_the_newest_counts_as_a_replay():
    sender, receiver = AesSeal(KEY, "c", 1, 7), AesSeal(KEY, "c", 2, 8)
    old = sender.seal(1, b"old")
    for _ in range(1100):
        newest = sender.seal(1, b"new")
    receiver.open(newest)
    assert _reason(receiver, old) == "replayed"


@pytest.mark.parametrize(
    "make", [lambda node, life: AesSeal(KEY, "c", node, life), lambda node, life: NullSeal("c", node, life)]
)
def test_an_incarnation_that_is_over_is_refused(make: Any):
    receiver, old, new = make(2, 1), make(1, 7), make(1, 8)
    late = old.seal(1, b"late")
    receiver.open(old.seal(1, b"x"))
    receiver.open(new.seal(1, b"x"))
    assert _reason(receiver, late) == "stale"


@pytest.mark.parametrize(
    ("stranger", "reason"),
    [
        (AesSeal(bytes(128), "c", 1, 7), "digest"),
        (AesSeal(KEY, "other", 1, 7), "digest"),
        (NullSeal("c", 1, 7), "digest"),
    ],
)
def test_another_key_or_cluster_name_is_an_invalid_digest(stranger: Any, reason: str):
    assert _reason(AesSeal(KEY, "c", 2, 8), stranger.seal(1, bytes(100))) == reason


def test_without_authentication_another_cluster_name_is_still_told_apart():
    assert _reason(NullSeal("c", 2, 8), NullSeal("other", 1, 7).seal(1, b"x")) == "digest"


def test_an_unauthentic_incarnation_does_not_displace_the_true_one():
    sender, forger, receiver = AesSeal(KEY, "c", 1, 7), AesSeal(bytes(128), "c", 1, 99), AesSeal(KEY, "c", 2, 8)
    receiver.open(sender.seal(1, b"x"))
    assert _reason(receiver, forger.seal(1, b"x")) == "digest"
    assert receiver.open(sender.seal(1, b"y"))[3] == b"y"


def test_another_protocol_number_is_refused_by_name():
    datagram = bytearray(AesSeal(KEY, "c", 1, 7).seal(1, b"x"))
    datagram[2] = 9
    with pytest.raises(Rejected, match="Protocol 9 refused") as refused:
        AesSeal(KEY, "c", 2, 8).open(bytes(datagram))
    assert refused.value.reason == "protocol"


def test_a_key_of_another_length_is_refused():
    with pytest.raises(ValueError, match="127 bytes"):
        AesSeal(bytes(127), "c", 1, 7)


@given(st.binary(max_size=80))
def test_noise_is_refused(noise: bytes):
    for seal in (AesSeal(KEY, "c", 2, 8), NullSeal("c", 2, 8)):
        assert _reason(seal, noise) in ("garbage", "truncated", "protocol", "digest")


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_noticed(place: int, bit: int):
    for sender, receiver in (
        (AesSeal(KEY, "c", 1, 7), AesSeal(KEY, "c", 2, 8)),
        (NullSeal("c", 1, 7), NullSeal("c", 2, 8)),
    ):
        datagram = bytearray(sender.seal(1, bytes(60)))
        datagram[place % len(datagram)] ^= 1 << bit
        with pytest.raises(Rejected):
            receiver.open(bytes(datagram))


@given(st.integers(0, 200))
def test_a_packet_cut_short_is_refused(length: int):
    for sender, receiver in (
        (AesSeal(KEY, "c", 1, 7), AesSeal(KEY, "c", 2, 8)),
        (NullSeal("c", 1, 7), NullSeal("c", 2, 8)),
    ):
        datagram = sender.seal(1, bytes(60))
        with pytest.raises(Rejected):
            receiver.open(datagram[: min(length, len(datagram) - 1)])


def test_the_cache_of_senders_is_bounded():
    receiver = NullSeal("c", 2, 8)
    for node in range(10, 1000):
        receiver.open(NullSeal("c", node, 1).seal(1, b""))
    assert receiver.open(NullSeal("c", 10, 1).seal(1, b""))[1] == 10


def test_two_incarnations_never_seal_alike():
    one, other = AesSeal(KEY, "c", 1, 7), AesSeal(KEY, "c", 1, 8)
    assert one.seal(1, b"same")[HEADER.size :] != other.seal(1, b"same")[HEADER.size :]
    assert struct.unpack_from("<2s", one.seal(1, b""))[0] == b"AX"
