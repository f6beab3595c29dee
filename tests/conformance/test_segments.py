import random

from hypothesis import given
from hypothesis import strategies as st

from aisexec.groups.segments import HEADER, MARKER, SEGMENTS_MAX, Reassembly, cut, packet_bytes_max


def datagrams(buffer: bytes, segment_bytes: int) -> list[bytes]:
    return [buffer[offset : offset + segment_bytes] for offset in range(0, len(buffer), segment_bytes)]


@given(size=st.integers(1, 20_000), segment_bytes=st.integers(400, 1500), seed=st.integers(0, 99))
def test_packet_is_put_together_whatever_the_order_of_its_segments(size: int, segment_bytes: int, seed: int) -> None:
    packet = random.Random(seed).randbytes(size)
    pieces = datagrams(cut(packet, segment_bytes, seed), segment_bytes)
    random.Random(seed).shuffle(pieces)
    reassembly = Reassembly()
    found = [whole for piece in pieces + pieces[:1] for whole in reassembly.add("here", piece, 0)]
    assert found[0] == packet


@given(st.integers(1, 5_000), st.integers(1, 5_000))
def test_segments_that_the_kernel_joined_are_taken_apart(first: int, second: int) -> None:
    joined = cut(bytes(first), 1000, 1)
    assert Reassembly().add("here", joined, 1000) == [bytes(first)]
    reassembly = Reassembly()
    half = 1000 * (len(joined) // 2000)
    found = reassembly.add("here", joined[:half], 1000) if half else []
    found += reassembly.add("there", cut(b"x" * second, 1000, 1), 1000)
    found += reassembly.add("here", joined[half:], 1000)
    assert found == [b"x" * second, bytes(first)]


def test_largest_packet_fits_into_the_segments_that_one_call_takes() -> None:
    largest = packet_bytes_max(1472)
    assert largest >= 60_000
    assert len(datagrams(cut(bytes(largest), 1472, 7), 1472)) == SEGMENTS_MAX


def test_what_is_no_segment_passes_unchanged() -> None:
    reassembly = Reassembly()
    assert reassembly.add("here", b"plain", 0) == [b"plain"]
    assert reassembly.add("here", b"onetwosix", 3) == [b"one", b"two", b"six"]
    assert reassembly.add("here", MARKER, 0) == [MARKER]
    assert reassembly.add("here", b"", 0) == []


def test_incomplete_packets_are_bounded_and_the_oldest_makes_room() -> None:
    reassembly = Reassembly()
    first = datagrams(cut(bytes(1500), 1000, 0), 1000)
    assert reassembly.add("here", first[0], 0) == []
    for number in range(1, 1000):
        reassembly.add("here", datagrams(cut(bytes(1500), 1000, number), 1000)[0], 0)
    assert reassembly.add("here", first[1], 0) == []
    assert reassembly.dropped >= 900


@given(st.binary(max_size=40), st.integers(0, 65_535), st.integers(0, 65_535), st.integers(0, 50))
def test_forged_segments_do_no_harm(body: bytes, index: int, count: int, stride: int) -> None:
    reassembly = Reassembly()
    forged = HEADER.pack(MARKER, 5, index, count) + body
    reassembly.add("here", forged, stride)
    reassembly.add("here", HEADER.pack(MARKER, 5, 0, 2) + b"a", 0)
    reassembly.add("here", HEADER.pack(MARKER, 5, 1, 2) + b"b", 0)
    whole = cut(bytes(1500), 1000, 6)
    assert reassembly.add("here", whole, 1000) == [bytes(1500)]
