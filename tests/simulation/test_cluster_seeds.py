"""Whole clusters through seeded faults; each seed is one run of the production ring, nodes and engines."""

import pytest

from aisexec.simulation.cluster import run_seed

SEEDS = 200
PER_TEST = 20


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_no_seed_violates_what_the_cluster_promises(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        result = run_seed(seed)
        assert not result.faults, f"{result.faults[0]}\nsee: python -m aisexec simulate --seed {seed} --trace"


def test_a_seed_gives_the_same_run_each_time_with_and_without_a_trace() -> None:
    first, second = run_seed(7), run_seed(7, trace=True)
    assert (first.datagrams, first.acknowledged) == (second.datagrams, second.acknowledged)
    assert second.trace
    assert not first.trace
