import random

from hypothesis import given
from hypothesis import strategies as st

from aisexec.groups import RingId
from aisexec.totem.packets import BUNDLE, FRAME, RECOVERED, Entry
from aisexec.totem.recovery import Resending, absorb, deliverable_after_gap, frames_to_resend, transitional_members
from aisexec.totem.window import Window

OLD = RingId(5, 1)


def _frame(seq: int, origin: int) -> bytes:
    return FRAME.pack(OLD.seq, OLD.representative, seq, origin, BUNDLE) + b"x"


def _window(origins: dict[int, int], held: set[int]) -> Window:
    window = Window()
    for seq in held:
        window.insert(seq, _frame(seq, origins[seq]))
    return window


def _entry(node: int, window: Window, old: RingId = OLD) -> Entry:
    return Entry(node, 1, 4096, old.seq, old.representative, window.aru, window.high)


def test_only_members_of_the_same_old_ring_go_together():
    entries = (Entry(1, 1, 1, 5, 1), Entry(2, 1, 1, 6, 1), Entry(3, 1, 1, 5, 1), Entry(4, 1, 1))
    assert transitional_members(entries, OLD) == (1, 3)
    assert transitional_members(entries, None) == ()


def test_the_holder_of_the_longest_stretch_sends_it_alone():
    origins = dict.fromkeys(range(1, 6), 9)
    longest, shorter = _window(origins, {1, 2, 3, 4}), _window(origins, {1, 2})
    entries = (_entry(1, longest), _entry(2, shorter))
    assert frames_to_resend(longest, entries, OLD, 1) == [_frame(3, 9), _frame(4, 9)]
    assert frames_to_resend(shorter, entries, OLD, 2) == []


def test_beyond_the_longest_stretch_the_origin_sends_or_else_whoever_holds_it():
    origins = {1: 1, 2: 9, 3: 1, 4: 9}
    one, two = _window(origins, {1, 3}), _window(origins, {1, 3, 4})
    entries = (_entry(1, one), _entry(2, two))
    assert frames_to_resend(one, entries, OLD, 1) == [_frame(3, 1)]
    assert frames_to_resend(two, entries, OLD, 2) == [_frame(4, 9)]


def test_a_node_that_comes_alone_sends_nothing():
    window = _window({1: 1}, {1})
    assert frames_to_resend(window, (_entry(1, window), Entry(2, 1, 1, 7, 2)), OLD, 1) == []


def test_after_a_gap_only_what_members_sent_themselves_is_delivered():
    window = _window({1: 1, 3: 9, 4: 2}, {1, 3, 4})
    assert deliverable_after_gap(window, (1, 2)) == [_frame(4, 2)]


@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(0, 25))
def test_after_the_exchange_all_hold_all_that_any_held(seed: int, members: int, count: int):
    """Whatever each missed; but an origin that is a member always has its own frames."""
    rng = random.Random(seed)
    nodes = list(range(1, members + 1))
    origins = {seq: rng.choice([*nodes, 99]) for seq in range(1, count + 1)}
    windows = {
        node: _window(origins, {seq for seq in origins if origins[seq] == node or rng.random() < 0.6}) for node in nodes
    }
    everything = {seq for seq in origins if any(windows[node].get(seq) for node in nodes)}
    entries = tuple(_entry(node, windows[node]) for node in nodes)
    sent = [frame for node in nodes for frame in frames_to_resend(windows[node], entries, OLD, node)]
    for node in nodes:
        forming = Window()
        for place, frame in enumerate(sent):
            forming.insert(place + 1, FRAME.pack(6, 1, place + 1, 1, RECOVERED) + frame)
        absorb(forming, windows[node], OLD)
        assert forming.delivered == len(sent)
        assert {seq for seq in origins if windows[node].get(seq)} == everything


def test_absorbing_stops_at_the_first_gap_and_at_frames_of_the_new_ring_itself():
    forming, old = Window(), Window()
    inner = _frame(1, 1)
    forming.insert(1, FRAME.pack(6, 1, 1, 1, RECOVERED) + inner)
    forming.insert(2, FRAME.pack(6, 1, 2, 1, RECOVERED) + FRAME.pack(4, 1, 1, 1, BUNDLE))
    forming.insert(3, FRAME.pack(6, 1, 3, 1, RECOVERED) + b"short")
    forming.insert(4, FRAME.pack(6, 1, 4, 1, BUNDLE) + b"new")
    forming.insert(6, FRAME.pack(6, 1, 6, 1, RECOVERED) + inner)
    absorb(forming, old, OLD)
    assert (forming.delivered, old.get(1), old.high) == (3, inner, 1)
    assert forming.take()[0].endswith(b"new")


def test_what_is_to_be_resent_is_counted():
    resending = Resending([b"abc", b"de"])
    assert (resending.pending, resending.backlog_bytes, resending.next_bytes()) == (2, 5, 3)
    assert resending.take() == (RECOVERED, b"abc")
    assert resending.take() == (RECOVERED, b"de")
    assert (resending.pending, resending.backlog_bytes, resending.next_bytes()) == (0, 0, 0)
