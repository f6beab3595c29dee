from hypothesis import given
from hypothesis import strategies as st

from aisexec.totem.window import AHEAD_MAX, Window


def _frame(seq: int) -> bytes:
    return b"%d" % seq


def test_frames_are_taken_in_order_up_to_the_first_gap():
    window = Window()
    for seq in (2, 1, 4):
        assert window.insert(seq, _frame(seq))
    assert window.take() == [b"1", b"2"]
    assert (window.aru, window.high, window.delivered) == (2, 4, 2)
    assert window.missing(5, 10) == [3, 5]
    assert window.missing(5, 1) == [3]
    assert window.beyond_gap() == [b"4"]
    assert window.take() == []


def test_a_frame_that_came_before_is_refused():
    window = Window()
    assert window.insert(1, b"first")
    assert not window.insert(1, b"again")
    assert window.insert(3, b"third")
    assert not window.insert(3, b"again")
    assert window.get(1) == b"first"


def test_a_frame_too_far_ahead_is_refused():
    window = Window()
    assert not window.insert(AHEAD_MAX + 1, b"")
    assert window.insert(AHEAD_MAX, b"")


def test_only_delivered_frames_are_released():
    window = Window()
    for seq in (1, 2, 3):
        window.insert(seq, b"xx")
    window.release(3)
    assert window.held_bytes == 6
    window.take()
    window.release(2)
    assert (window.held_bytes, window.released, window.get(2), window.get(3)) == (2, 2, None, b"xx")
    assert not window.insert(2, b"late")


@given(st.lists(st.integers(1, 40)), st.integers(0, 45))
def test_the_window_agrees_with_a_plain_set(arrivals: list[int], asked: int):
    window, model = Window(), set[int]()
    taken: list[bytes] = []
    for place, seq in enumerate(arrivals):
        assert window.insert(seq, _frame(seq)) == (seq not in model)
        model.add(seq)
        if place % 3 == 0:
            taken += window.take()
            window.release(window.delivered - 1)
    aru = next(seq for seq in range(50) if seq + 1 not in model)
    assert window.aru == aru
    assert window.high == max(model, default=0)
    assert taken + window.take() == [_frame(seq) for seq in range(1, aru + 1)]
    assert window.missing(asked, 100) == [seq for seq in range(1, asked + 1) if seq not in model]
    assert window.beyond_gap() == [_frame(seq) for seq in sorted(model) if seq > aru]
