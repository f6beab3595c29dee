"""Whole clusters through seeded faults; each seed is one run of the production ring, nodes and engines."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from aisexec.simulation.cluster import run_seed

SEEDS = 200
PER_TEST = 50
FOUND_A_FAULT = (203, 218, 256, 269, 629, 828, 899, 1047, 2690)
"""Seeds beyond those of every run that once showed two actives, or replicas that differed."""
PROCESSES = 2


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_no_seed_violates_what_the_cluster_promises(first: int) -> None:
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        results = list(pool.map(run_seed, range(first, first + PER_TEST), chunksize=5))
    failed = [result for result in results if result.faults]
    assert not failed, "\n".join(
        f"{result.faults[0]}\nsee: python -m aisexec simulate --seed {result.seed} --trace" for result in failed
    )


def test_seeds_that_found_a_fault_find_none_any_more() -> None:
    assert not [fault for seed in FOUND_A_FAULT for fault in run_seed(seed).faults]


def test_a_seed_gives_the_same_run_each_time_with_and_without_a_trace() -> None:
    first, second = run_seed(7), run_seed(7, trace=True)
    assert (first.datagrams, first.acknowledged) == (second.datagrams, second.acknowledged)
    assert second.trace
    assert not first.trace
