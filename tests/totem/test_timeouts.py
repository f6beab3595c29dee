import pytest

from aisexec.totem.timeouts import Timeouts


def test_the_defaults_are_those_of_a_token_timeout_of_one_second():
    derived = Timeouts.from_token(1.0)
    assert derived.token_retransmit == pytest.approx(0.238, abs=0.001)
    assert derived.hold == pytest.approx(0.180, abs=0.001)
    assert (derived.join, derived.consensus, derived.merge) == (0.05, 1.2, 0.2)


@pytest.mark.parametrize("token", [0.05, 0.1, 0.3, 1.0, 10.0, 300.0])
def test_every_token_timeout_gives_lengths_that_fit(token: float):
    derived = Timeouts.from_token(token)
    assert derived.hold < derived.token_retransmit < derived.token <= derived.consensus
    assert derived.quiet + derived.probe < derived.silence < derived.token


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"token": 0.01}, "token must"),
        ({"hold": 0.5}, "hold must"),
        ({"token_retransmit": 2.0}, "token_retransmit must"),
        ({"consensus": 0.9}, "consensus must"),
        ({"join": 0.0}, "join must"),
        ({"merge": 0.0}, "merge must"),
        ({"token_warning": 2.0}, "token_warning must"),
    ],
)
def test_lengths_that_contradict_are_refused_by_name(wrong: dict[str, float], named: str):
    with pytest.raises(ValueError, match=named):
        Timeouts(**wrong)
