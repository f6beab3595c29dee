import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisexec.groups import Delivered, Safe
from aisexec.totem.delivery import Delivery
from aisexec.totem.events import PAYLOAD_BYTES_MAX, Counters
from aisexec.totem.fragments import Assembler, Outbox, content_bytes_max
from aisexec.totem.packets import BUNDLE, FRAGMENT, FRAGMENT_END, FRAME, RECOVERED, pack_bundle

CAPACITY = 400


def _frame(seq: int, origin: int, kind: int, content: bytes) -> bytes:
    return FRAME.pack(1, 1, seq, origin, kind) + content


def _drain(outbox: Outbox) -> list[tuple[int, bytes]]:
    contents = []
    while size := outbox.next_bytes():
        kind, content = outbox.take()
        assert len(content) == size
        contents.append((kind, content))
    return contents


@given(st.lists(st.lists(st.integers(0, 1500), max_size=20), max_size=6))
def test_what_goes_in_comes_out_in_order_and_no_frame_is_too_large(batches: list[list[int]]):
    rng = random.Random(1)
    outbox, assembler = Outbox(CAPACITY), Assembler()
    sent: list[bytes] = []
    for batch in batches:
        payloads = [rng.randbytes(size) for size in batch]
        sent += payloads
        outbox.add(payloads)
    assert outbox.backlog_bytes == sum(map(len, sent)) + len(sent)
    contents = _drain(outbox)
    assert all(len(content) <= CAPACITY for _, content in contents)
    frames = [_frame(place + 1, 7, kind, content) for place, (kind, content) in enumerate(contents)]
    assert assembler.add(frames) == [(7, payload) for payload in sent]
    assert (outbox.backlog_bytes, bool(outbox)) == (0, False)
    assert assembler.count_up_to(len(frames)) == (len(sent) if frames else None)


def test_small_payloads_share_frames():
    outbox = Outbox(60_000)
    outbox.add([bytes(100)] * 1000)
    assert len(_drain(outbox)) == 2


def test_a_payload_cut_in_the_middle_starts_anew_after_rewind():
    outbox, assembler = Outbox(CAPACITY), Assembler()
    large = random.Random(1).randbytes(1000)
    outbox.add([large])
    outbox.next_bytes()
    first = outbox.take()
    assert assembler.add([_frame(1, 7, *first)]) == []
    outbox.rewind()
    assembler.clear()
    frames = [_frame(place + 1, 7, kind, content) for place, (kind, content) in enumerate(_drain(outbox))]
    assert assembler.add(frames) == [(7, large)]


def test_the_largest_payload_passes_and_a_larger_one_is_refused_with_all_of_its_batch():
    outbox = Outbox(content_bytes_max(60_000))
    outbox.add([bytes(PAYLOAD_BYTES_MAX)])
    queued = outbox.backlog_bytes
    with pytest.raises(ValueError, match="larger than"):
        outbox.add([b"small", bytes(PAYLOAD_BYTES_MAX + 1)])
    assert outbox.backlog_bytes == queued


def test_fragments_of_several_senders_do_not_mix():
    frames = [
        _frame(1, 1, FRAGMENT, b"a"),
        _frame(2, 2, FRAGMENT, b"x"),
        _frame(3, 1, FRAGMENT_END, b"b"),
        _frame(4, 2, FRAGMENT_END, b"y"),
    ]
    assert Assembler().add(frames) == [(1, b"ab"), (2, b"xy")]


def test_fragments_without_end_are_bounded_and_left_out():
    assembler = Assembler()
    piece = bytes(1 << 20)
    for seq in range(1, 30):
        assert assembler.add([_frame(seq, 1, FRAGMENT, piece)]) == []
    assert assembler.add([_frame(30, 1, FRAGMENT_END, piece), _frame(31, 1, FRAGMENT_END, b"next")]) == [(1, b"next")]
    assert assembler.bad == 1


def test_a_bundle_that_does_not_decode_is_left_out_and_the_next_is_not():
    assembler = Assembler()
    frames = [_frame(1, 1, BUNDLE, b"\xff"), _frame(2, 1, BUNDLE, pack_bundle([b"ok"])), _frame(3, 1, 99, b"?")]
    assert assembler.add(frames) == [(1, b"ok")]
    assert (assembler.bad, assembler.count_up_to(1), assembler.count_up_to(3)) == (1, 0, 1)


def test_safe_is_told_once_and_only_when_a_payload_is_complete():
    delivery = Delivery(Counters())
    frames = [
        _frame(1, 1, BUNDLE, pack_bundle([b"a", b"b"])),
        _frame(2, 1, FRAGMENT, b"c"),
        _frame(3, 1, FRAGMENT_END, b"d"),
        _frame(4, 1, RECOVERED, b"old"),
    ]
    assert delivery.deliver(frames) == [Delivered([(1, b"a"), (1, b"b"), (1, b"cd")])]
    assert delivery.tell_safe(1) == [Safe(2)]
    assert delivery.tell_safe(1) == []
    assert delivery.tell_safe(2) == []
    assert delivery.tell_safe(4) == [Safe(3)]
    delivery.begin()
    assert delivery.deliver([_frame(1, 2, BUNDLE, pack_bundle([b"new"]))]) == [Delivered([(2, b"new")])]
    assert delivery.tell_safe(1) == [Safe(1)]
