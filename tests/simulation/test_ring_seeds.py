import pytest

from aisexec.simulation.ringworld import run_ring_seed

_SEEDS = 60
_GROUPS = 12


@pytest.mark.parametrize("group", range(_GROUPS))
def test_rings_keep_extended_virtual_synchrony_whatever_the_network_does(group: int):
    for seed in range(group, _SEEDS, _GROUPS):
        result = run_ring_seed(seed)
        replay = f"python -m aisexec simulate --ring --seed {seed} --trace"
        assert not result.faults, f"replay with: {replay}\n" + "\n".join(result.faults)
        assert result.delivered


@pytest.mark.parametrize(
    "seed",
    [
        958,  # a stranger's request to release the token made a lone ring lose it
        1230,  # two nodes gave each other up in answer to the other's last attempt, for ever
        1281,
        2086,
    ],
)
def test_what_a_seed_once_found_stays_mended(seed: int):
    assert run_ring_seed(seed).faults == []


def test_a_seed_gives_the_same_run_again_with_or_without_trace():
    plain, again, traced = run_ring_seed(7), run_ring_seed(7), run_ring_seed(7, trace=True)
    assert plain == again
    assert traced.trace
    assert (traced.datagrams, traced.delivered, traced.simulated_seconds) == (
        plain.datagrams,
        plain.delivered,
        plain.simulated_seconds,
    )
