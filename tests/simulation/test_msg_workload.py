"""MSG through seeded faults, and whether its checks bite."""

from collections.abc import Callable

import pytest

from aisexec.simulation.services import run_services_seed
from aisexec.simulation.workloads.msg import History, MsgWorkload, answer_to, faults_of, left_in
from corosync_amf.engine import Client, Origin
from corosync_amf.services.msg import messages as m
from corosync_amf.services.msg.engine import MsgEngine

FIRST, SECOND, THIRD = b"1 5 1 0 ", b"1 5 2 0 ", b"1 5 3 0 "
RECEIVER, OTHER = (2, 6), (3, 7)


@pytest.mark.parametrize("seed", [0, *range(2, 10), 11])
def test_no_seed_breaks_what_the_message_service_promises(seed: int) -> None:
    assert run_services_seed(seed, workloads=[MsgWorkload]).faults == []


def good() -> History:
    """Three messages: one taken, one answered, one left in its queue."""
    history = History(acknowledged={FIRST, THIRD}, kept={FIRST, SECOND}, confirmed=[FIRST, SECOND])
    history.delivered = [(FIRST, RECEIVER), (SECOND, RECEIVER)]
    history.answers, history.replied = [(SECOND, answer_to(SECOND))], {SECOND}
    return history


def test_a_good_history_has_no_faults() -> None:
    assert faults_of(good(), {THIRD}) == []


DOCTORED: list[tuple[str, Callable[[History], object]]] = [
    ("lost", lambda history: history.kept.discard(FIRST)),
    ("twice", lambda history: history.confirmed.append(FIRST)),
    ("refused", lambda history: history.refused.add(FIRST)),
    ("refused", lambda history: history.refused.add(THIRD)),
    ("answered twice", lambda history: history.answers.append((SECOND, answer_to(SECOND)))),
    ("wrong answer", lambda history: history.answers.append((FIRST, answer_to(SECOND)))),
    ("reply lost", lambda history: history.answers.clear()),
    ("out of order", lambda history: history.delivered.reverse()),
]


@pytest.mark.parametrize(("fault", "doctor"), DOCTORED)
def test_the_check_sees_what_is_wrong(fault: str, doctor: Callable[[History], object]) -> None:
    history = good()
    doctor(history)
    (found,) = faults_of(history, {THIRD})
    assert found.startswith(fault)


def test_what_is_not_wrong_is_not_told() -> None:
    history = good()
    history.delivered.append((FIRST, OTHER))  # the first receiver died before it said that it has it
    history.delivered.append((FIRST, RECEIVER))
    history.disordered.add(RECEIVER)  # it gave the message back itself
    history.answers.clear()
    history.ended.add(SECOND)  # its sender was lost
    assert faults_of(history, {THIRD}) == []


def test_what_is_in_hand_is_left_too() -> None:
    engine = MsgEngine()
    engine.apply(m.Open(1, "q", 1, m.Attributes(0, (99,) * 4, None)), Origin(Client(1, 1)))
    for number, data in enumerate((FIRST, SECOND)):
        engine.apply(m.Send(number, (), "q", m.Body(data, 0, 0, 0, None)), Origin(Client(1, 1), 0, number))
    engine.apply(m.Get(1, 9, False), Origin(Client(1, 1)))
    assert left_in(engine.snapshot()) == {FIRST, SECOND}
