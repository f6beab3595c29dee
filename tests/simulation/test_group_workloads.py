"""CPG and EVS under seeded faults, and histories that are wrong are found to be wrong."""

import pytest

from aisexec.simulation.histories import Life, View, faults_of
from aisexec.simulation.services import run_services_seed
from aisexec.simulation.workloads.cpg import CpgWorkload
from aisexec.simulation.workloads.evs import EvsWorkload

SEEDS = (2, 8, 13, 21, 34)
"""The first two once showed requests out of their order."""

V1, V2, V3 = View("one"), View("two"), View("three")
CUT = View("cut", is_transitional=True)
LATE = View("one", is_late=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_seed_breaks_virtual_synchrony(seed: int) -> None:
    assert not run_services_seed(seed, workloads=[CpgWorkload, EvsWorkload]).faults


def life(name: str, *log: View | bytes, sent: tuple[bytes, ...] = (), is_lost: bool = False) -> Life:
    return Life(name, 1, list(log), list(sent), is_lost=is_lost)


def test_a_right_history_has_no_faults() -> None:
    a = life("a", V1, b"1", b"2", CUT, b"3", V2, b"4", sent=(b"1", b"4"))
    b = life("b", V1, b"1", CUT, b"2", b"3", V2, b"4", sent=(b"2", b"3"))
    late = life("late", LATE, b"2", b"3", CUT, V2, b"4")
    lost = life("lost", V1, b"1", sent=(), is_lost=True)
    alone = life("alone", V1, V3, sent=())
    a.safe = {b"1"}
    assert faults_of([a, b, late, lost]) == []
    (fault,) = faults_of([a, alone])
    assert fault.startswith("a got b'1' as safe")
    assert fault.endswith("alone moved on without it")


@pytest.mark.parametrize(
    ("lives", "words"),
    [
        ([life("a", b"1", V1)], "before any configuration"),
        ([life("a", V1, b"1", b"1")], "more than once"),
        ([life("a", V1, sent=(b"1",))], "of its own messages it got []"),
        ([life("a", V1, b"2", b"1", sent=(b"1", b"2"))], "of its own messages it got [b'2', b'1']"),
        ([life("a", V1, b"2", sent=(b"1", b"2"), is_lost=True)], "of its own messages it got [b'2']"),
        ([life("a", V1, b"1"), life("b", V1)], "a and b differ in [b'1']"),
        ([life("a", V1, b"1", b"2"), life("b", V1, b"2", b"1")], "another order"),
        ([life("a", V1, b"1", V2), life("b", V1, V2, b"1")], "a and b differ in [b'1']"),
        ([life("a", V1, b"1", b"2"), life("b", LATE, b"1")], "a and b differ in [b'2']"),
        ([life("a", V1, b"1", CUT, V2, V1, V2), life("b", V1, b"1", CUT, V2, V1, b"2", V2)], "differ in [b'2']"),
    ],
)
def test_a_wrong_history_is_found(lives: list[Life], words: str) -> None:
    assert any(words in fault for fault in faults_of(lives))


def test_those_that_go_different_ways_may_differ_since_the_last_cut() -> None:
    small = View("two", is_cut=False)
    a, b, c = (life(name, V1, small, cut) for name, cut in (("a", V2), ("b", V3), ("c", V2)))
    a.log.insert(1, b"1")
    c.log.insert(1, b"1")
    assert faults_of([a, b, c]) == []
    del c.log[1]
    assert "a and c differ in [b'1']" in faults_of([a, b, c])[0]


def test_a_safe_message_that_somebody_moved_on_without_is_found() -> None:
    cut_b = View("cut b", is_transitional=True)
    a, b = life("a", V1, b"1", CUT, V2), life("b", V1, cut_b, V3)
    assert faults_of([a, b]) == []
    a.safe = {b"1"}
    assert "b moved on without it" in faults_of([a, b])[0]
    assert faults_of([life("a", V1, CUT, b"1", V2), b]) == []
