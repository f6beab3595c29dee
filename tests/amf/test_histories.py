"""Random histories of faults and operations: nothing forbidden on the way, everything well at the end."""

import pytest

from .histories import live_through

SEEDS = 300


@pytest.mark.parametrize("block", range(10))
def test_cluster_lives_through_random_histories(block):
    for seed in range(block * SEEDS // 10, (block + 1) * SEEDS // 10):
        live_through(seed)


def test_same_seed_is_the_same_history():
    assert live_through(3).trace == live_through(3).trace


@pytest.mark.parametrize("seed", [107, 254, 857, 958, 1111, 1945, 2261, 10398, 10566])
def test_histories_that_once_went_wrong(seed):
    live_through(seed)
