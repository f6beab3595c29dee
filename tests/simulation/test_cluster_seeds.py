"""Whole clusters through seeded faults; each seed is one run of the production ring, nodes and engines."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from aisexec.simulation.cluster import run_seed

SEEDS = 200
PER_TEST = 50
PROCESSES = 2


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_no_seed_violates_what_the_cluster_promises(first: int) -> None:
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        results = list(pool.map(run_seed, range(first, first + PER_TEST), chunksize=5))
    failed = [result for result in results if result.faults]
    assert not failed, "\n".join(
        f"{result.faults[0]}\nsee: python -m aisexec simulate --seed {result.seed} --trace" for result in failed
    )


def test_a_seed_gives_the_same_run_each_time_with_and_without_a_trace() -> None:
    first, second = run_seed(7), run_seed(7, trace=True)
    assert (first.datagrams, first.acknowledged) == (second.datagrams, second.acknowledged)
    assert second.trace
    assert not first.trace
