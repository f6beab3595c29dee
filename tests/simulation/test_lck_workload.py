"""Clients of LCK in the simulated cluster; and that the checks would see what is wrong."""

import random
from collections.abc import Iterable

import pytest

from aisexec.groups import RingId
from aisexec.simulation.services import run_services_seed
from aisexec.simulation.workloads import Watching
from aisexec.simulation.workloads.lck import HANDLES, LckWorkload, Request
from corosync_amf.ais import ErrorCode
from corosync_amf.engine import Client, Done, Failed, Membership, Message, Origin, Service
from corosync_amf.services.lck import messages as m
from corosync_amf.services.lck.engine import LckEngine
from corosync_amf.services.lck.store import Resource
from corosync_amf.services.lck.values import LockMode, LockStatus
from corosync_amf.wire import events_frame, replies_frame

SEEDS = range(12)
EX, PR = LockMode.EX, LockMode.PR
GRANTED = LockStatus.GRANTED


@pytest.mark.parametrize("seed", SEEDS)
def test_no_seed_breaks_what_locks_promise(seed: int) -> None:
    result = run_services_seed(seed, workloads=[LckWorkload])
    assert not result.faults, f"seed {seed}: {result.faults[0]}"


# ---- the checks bite


class Story:
    """Two clients that were told what the test says."""

    def __init__(self) -> None:
        self.workload = LckWorkload([1, 2], random.Random(0))
        for node in (1, 2):
            self.workload.connect(node, node, 0.0)
            self.answer(node, *[Done()] * len(HANDLES))

    def ask(self, node: int, lock: int, mode: LockMode) -> None:
        """The client asks for a lock of "a"."""
        session = self.workload._sessions[node]
        session.requests[lock] = Request(node, lock, 1, mode)
        session.caller.request(m.Lock(1, lock, mode))

    def answer(self, node: int, *answers: Message) -> None:
        """Answers to the oldest requests of the client."""
        asked = sorted(self.workload._sessions[node].caller.asked)
        frame = replies_frame(list(zip(asked, answers, strict=False)))
        self.workload.hear(node, [frame], 1.0)

    def tell(self, node: int, event: Message) -> None:
        self.workload.hear(node, [events_frame([(Service.LCK, event)])], 1.0)

    def faults(self) -> list[str]:
        return self.workload.check({})

    def granted(self, node: int, lock: int, mode: LockMode, token: int) -> None:
        self.ask(node, lock, mode)
        self.answer(node, m.Verdict(GRANTED, token))


def only(faults: Iterable[str]) -> str:
    (fault,) = faults
    return fault


def test_two_holders_are_seen() -> None:
    story = Story()
    story.granted(1, 1, EX, 10)
    story.granted(2, 2, EX, 11)
    assert "both are held" in only(story.faults())


def test_a_holder_that_was_cut_off_is_protected_by_its_token_only() -> None:
    story = Story()
    story.granted(1, 1, EX, 10)
    story.workload.may_act = lambda node: node == 2
    story.granted(2, 2, EX, 11)
    story.workload.may_act = lambda node: True
    assert story.faults() == []
    story = Story()
    story.granted(1, 1, EX, 10)
    assert isinstance(story.workload, Watching)
    story.workload.installed(1, RingId(1, 1), Membership((1, 2), frozenset({1}), frozenset({1}), True, {}))
    story.granted(2, 2, EX, 11)
    assert story.faults() == []


@pytest.mark.parametrize(("first", "second"), [(EX, EX), (EX, PR), (PR, EX)])
def test_a_token_that_does_not_grow_is_seen(first: LockMode, second: LockMode) -> None:
    story = Story()
    story.granted(1, 1, first, 10)
    story.workload.lost(1, 1.0)
    story.granted(2, 2, second, 10)
    assert "is not above 10" in only(story.faults())


def test_a_lock_that_vanishes_silently_is_seen() -> None:
    story = Story()
    story.granted(1, 1, PR, 10)
    session = story.workload._sessions[1]
    story.workload._give_up(session, session.requests[1])
    story.answer(1, Failed(ErrorCode.NOT_EXIST))
    assert "gone without a word" in only(story.faults())


def test_a_lock_that_was_told_to_be_lost_is_no_fault() -> None:
    story = Story()
    story.granted(1, 1, PR, 10)
    session = story.workload._sessions[1]
    story.workload._give_up(session, session.requests[1])
    story.tell(1, m.HandleLost(1, "lost"))
    story.answer(1, Failed(ErrorCode.NOT_EXIST))
    assert story.faults() == []


def test_a_queue_that_is_not_served_in_its_order_is_seen() -> None:
    engine = LckEngine()
    engine.membership(Membership((1, 2), frozenset({1, 2}), frozenset(), True, {}))
    for order, node in enumerate((1, 2, 2), 1):
        engine.apply(m.Open(order, "a", 1), Origin(Client(node, 1), 0, order))
        engine.apply(m.Lock(order, order, EX if order == 1 else PR), Origin(Client(node, 1), 0, 10 + order))
    story = Story()
    story.workload._sessions[1].caller.query(m.Describe("a"))
    story.answer(1, engine.query(m.Describe("a"), Client(1, 1)))
    story.granted(2, 2, PR, 21)
    story.granted(2, 3, PR, 20)
    assert "not granted in the order" in only(story.faults())


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (m.Waiting(1, ((0, PR),)), "were told"),
        (m.Decided(1, m.Verdict(GRANTED, 99)), "decided twice"),
    ],
)
def test_events_out_of_place_are_seen(event: Message, words: str) -> None:
    story = Story()
    story.granted(1, 1, PR, 10)
    story.tell(1, event)
    assert words in story.faults()[0]


def test_what_is_left_in_a_replica_is_seen() -> None:
    engine = LckEngine()
    engine.membership(Membership((1,), frozenset({1}), frozenset(), True, {}))
    engine.apply(m.Open(1, "a", 1), Origin(Client(1, 1), 0, 1))
    engine.apply(m.Lock(1, 1, EX), Origin(Client(1, 1), 0, 2))
    assert "has still" in only(LckWorkload([1], random.Random(0)).check({1: engine}))


def test_an_engine_that_grants_too_much_is_caught_by_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Resource, "admits", lambda self, mode: True)
    faults = run_services_seed(0, workloads=[LckWorkload]).faults
    assert any("both are held" in fault or "exclude one another" in fault for fault in faults)


def test_an_engine_that_forgets_who_waits_is_caught_by_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Resource, "grant_waiting", lambda self, token: [])
    monkeypatch.setattr("aisexec.simulation.cluster.CONVERGENCE", 2.0)
    faults = [fault for seed in (1, 2, 3) for fault in run_services_seed(seed, workloads=[LckWorkload]).faults]
    assert "services not settled: LCK" in faults
