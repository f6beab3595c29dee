"""Records survive what the simulator does; and the checks find it when they do not."""

import random

import pytest

from aisexec.groups import RingId
from aisexec.simulation.services import run_services_seed
from aisexec.simulation.workloads.log import LogWorkload
from corosync_amf.engine import Membership
from corosync_amf.services.log.messages import Append, FileOf

FILE = FileOf(1, ".", "f", 3, 1000, 3)


@pytest.mark.parametrize("seed", range(10))
def test_records_survive(seed: int) -> None:
    made: list[LogWorkload] = []

    def make(nodes: list[int], rng: random.Random) -> LogWorkload:
        made.append(LogWorkload(nodes, rng))
        return made[0]

    assert run_services_seed(seed, workloads=[make]).faults == []
    assert len(made[0].acknowledged) > 20


def history(*written: tuple[int, list[tuple[int, bytes]]], quorate: bool = True) -> LogWorkload:
    """Two rings of nodes 1 and 2; in the first one each node wrote those (number, body)."""
    workload = LogWorkload([1, 2], random.Random(0))
    for node, _ in written:
        workload.installed(node, RingId(1, 1), Membership((1, 2), frozenset((1, 2)), frozenset(), quorate, {}))
    for node, records in written:
        for number, body in records:
            workload.command(node, Append(FILE, b"%d %s\n" % (number, body)), 0.0)
    for node, _ in written:
        workload.installed(node, RingId(2, 1), Membership((1, 2), frozenset(), frozenset(), quorate, {}))
    return workload


def test_an_honest_history_has_no_fault() -> None:
    workload = history((1, [(1, b"a"), (2, b"b")]), (2, [(1, b"a"), (2, b"b")]))
    workload.acknowledged = {b"a": (1, 1), b"b": (2, 2)}
    assert workload.check({}) == []


def test_records_in_another_order_are_found() -> None:
    faults = history((1, [(1, b"a"), (2, b"b")]), (2, [(1, b"b"), (2, b"a")])).check({})
    assert any(fault.startswith("one order: nodes 1 and 2") for fault in faults)


def test_different_files_of_nodes_that_go_on_together_are_found() -> None:
    faults = history((1, [(1, b"a")]), (2, [])).check({})
    assert faults == ["together: nodes 1 and 2 wrote different records in ring 1"]


def test_numbers_that_do_not_grow_are_found() -> None:
    faults = history((1, [(2, b"a"), (2, b"b")])).check({})
    assert faults == ["numbers: node 1 wrote b'b' as number 2 after 2"]


def test_a_record_that_was_acknowledged_and_is_missing_is_found() -> None:
    workload = history((1, [(1, b"a")]), (2, []))
    workload.acknowledged = {b"a": (1, 1)}
    assert "durability: node 1 acknowledged b'a', and node 2 goes on without it" in workload.check({})
    workload.acknowledged = {b"b": (1, 1)}
    assert any("but wrote None" in fault for fault in workload.check({}))
    workload = history((1, [(1, b"a")]), (2, []), quorate=False)
    workload.acknowledged = {b"a": (1, 1)}
    assert not any(fault.startswith("durability") for fault in workload.check({}))
