import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisexec.totem.flow import NOTHING, Limits, Traffic, allowance, charge_bytes, credit

LIMITS = Limits(window_bytes=200_000, window_packets=50, visit_packets=17, packet_bytes=68_000, members=4)

sizes = st.integers(0, 10_000_000)


def test_a_lone_sender_gets_the_whole_window_but_only_so_many_packets():
    assert allowance(LIMITS, NOTHING, credit(LIMITS, 1_000_000, 0, NOTHING)) == Traffic(200_000, 17)


def test_nothing_queued_gets_nothing():
    assert credit(LIMITS, 0, 500, Traffic(1000, 1)) == NOTHING


def test_members_share_the_window_by_their_backlog_and_a_quarter_evenly():
    share = credit(LIMITS, 800_000, 200_000, NOTHING)
    assert share.charged_bytes == pytest.approx(132_000 * (0.75 * 0.8 + 0.25 / 4))
    assert share.packets == pytest.approx(49 * (0.75 * 0.8 + 0.25 / 4))


def test_a_single_message_gets_its_share_beside_heaps():
    assert credit(LIMITS, 100, 10_000_000, NOTHING).charged_bytes > 8_000


def test_what_the_others_sent_is_not_available():
    full = credit(LIMITS, 1_000_000, 0, NOTHING)
    assert allowance(LIMITS, Traffic(180_000, 45), full) == Traffic(20_000, 5)


def test_a_share_too_small_for_a_packet_is_saved_but_not_without_end():
    share = credit(LIMITS, 1000, 1_000_000, NOTHING)
    assert share.charged_bytes < LIMITS.packet_bytes
    saved = share
    for _ in range(20):
        saved = credit(LIMITS, 1000, 1_000_000, saved)
    assert saved.charged_bytes == share.charged_bytes + LIMITS.packet_bytes


def test_a_packet_larger_than_the_window_goes_when_the_others_are_silent():
    limits = Limits(window_bytes=4096, window_packets=50, visit_packets=17, packet_bytes=68_000, members=2)
    saved = credit(limits, 100_000, 0, Traffic(68_000, 1))
    assert allowance(limits, NOTHING, saved).charged_bytes >= 68_000
    assert allowance(limits, Traffic(4096, 1), saved).charged_bytes == 0


def test_a_full_datagram_is_charged_more_than_its_size():
    assert charge_bytes(60_000) >= 68_000
    assert charge_bytes(100) >= 768


@given(sizes, st.integers(0, 100), sizes, sizes)
def test_a_visit_never_exceeds_what_the_window_leaves(others_bytes: int, others_packets: int, mine: int, others: int):
    allowed = allowance(LIMITS, Traffic(others_bytes, others_packets), credit(LIMITS, mine, others, NOTHING))
    assert 0 <= allowed.packets <= LIMITS.visit_packets
    assert allowed.packets + others_packets <= max(LIMITS.window_packets, others_packets)
    assert allowed.charged_bytes >= 0
    if others_packets:
        assert allowed.charged_bytes <= max(LIMITS.window_bytes - others_bytes, 0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 5_000_000), min_size=2, max_size=12), st.sampled_from([1500, 9000, 68_000]))
def test_no_member_with_a_backlog_starves(backlogs: list[int], packet: int):
    """Members send all they may, round after round, with backlogs that never shrink."""
    limits = Limits(200_000, 50, 17, 68_000, len(backlogs))
    sent, saved = [NOTHING] * len(backlogs), [NOTHING] * len(backlogs)
    totals = [0] * len(backlogs)
    for _ in range(40 * len(backlogs)):
        for member, backlog in enumerate(backlogs):
            others = [traffic for other, traffic in enumerate(sent) if other != member]
            used = Traffic(sum(t.charged_bytes for t in others), sum(t.packets for t in others))
            own = credit(limits, backlog, sum(backlogs) - backlog, saved[member])
            allowed = allowance(limits, used, own)
            count = int(min(allowed.packets, allowed.charged_bytes // packet))
            sent[member] = Traffic(count * packet, count)
            saved[member] = own - sent[member]
            totals[member] += count
    assert all(totals)
