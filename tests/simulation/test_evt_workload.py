"""EVT in simulated clusters under faults; and the checks of it find what is wrong."""

import random
from typing import Any

import pytest

from aisexec.simulation.services import run_services_seed
from aisexec.simulation.workloads.evt import BUS_HANDLE, LONG, EvtWorkload
from corosync_amf.engine import Client, Done, Message, Origin, Request
from corosync_amf.services.evt import messages as m
from corosync_amf.services.evt.engine import EvtEngine
from corosync_amf.wire import events_frame, replies_frame

SEEDS = range(10)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_seed_violates_what_the_service_promises(seed: int) -> None:
    assert not run_services_seed(seed, workloads=[EvtWorkload]).faults


def test_a_seed_gives_the_same_run_each_time() -> None:
    first, second = (run_services_seed(3, workloads=[EvtWorkload]).datagrams for _ in range(2))
    assert first == second


class Story:
    """Two clients whose executives say what the test wants."""

    def __init__(self) -> None:
        self.workload = EvtWorkload([1, 2], random.Random(1))
        for node in (1, 2):
            self.workload.connect(node, 100 + node, 0.0)

    def tell(self, numbers: list[int], first_id: int, *, node: int = 1, **changes: Any) -> None:
        data = [f"2.2 3 {number}".encode() for number in numbers]
        event = m.Delivered((1,), first_id * m.NEXT_EVENT, 0.0, (), 3, 0.0, "", data, **changes)
        self.workload.hear(node, [events_frame([(4, event)])], 0.0)

    def answer(self, asked: Request, reply: Message) -> None:
        session = self.workload.sessions[1]
        session.caller.request(asked)
        number = max(session.caller.asked)
        self.workload.hear(1, [replies_frame([(number, reply)])], 0.0)

    def faults(self, engine: EvtEngine | None = None) -> list[str]:
        return self.workload.check({1: engine or EvtEngine()})


def test_what_is_as_it_should_be_is_no_fault() -> None:
    story = Story()
    story.tell([1], 5, at_subscribe=True)
    story.tell([4, 5], 10)
    story.tell([6], 20)
    assert story.faults() == []


@pytest.mark.parametrize(
    ("numbers", "first_id", "words"),
    [([2], 21, "is missing"), ([6], 20, "came twice"), ([5], 30, "came after number 6"), ([8], 30, "7 is missing")],
)
def test_what_a_subscriber_must_not_see_is_found(numbers: list[int], first_id: int, words: str) -> None:
    story = Story()
    story.tell([4], 10) if words == "is missing" else story.tell([6], 20)
    if words == "is missing":
        numbers = [6]
    story.tell(numbers, first_id)
    assert any(words in fault for fault in story.faults())


def test_retained_events_out_of_order_are_found() -> None:
    story = Story()
    story.tell([4], 10)
    story.tell([1], 5, at_subscribe=True)
    assert any("out of order" in fault for fault in story.faults())


def test_an_id_given_twice_is_found() -> None:
    story = Story()
    story.tell([4], 10)
    story.tell([9], 10, node=2)
    assert any("was given to" in fault for fault in story.faults())


def test_a_retained_event_that_is_lost_and_a_cleared_one_that_is_not_are_found() -> None:
    story, engine = Story(), EvtEngine()
    asked = m.Publish(BUS_HANDLE, (), 3, LONG, "", [b"1.2 3 1"])
    story.answer(asked, m.Published(5 * m.NEXT_EVENT))
    assert any("lacks retained events" in fault for fault in story.faults(engine))
    origin = Origin(Client(1, 7), 1, 1, 1.0)
    engine.apply(m.Open(1, "bus", 7), origin)
    (*_, reply) = engine.apply(asked, origin)
    event_id = reply.message.event_id  # type: ignore[union-attr]
    story.answer(m.ClearRetention(BUS_HANDLE, event_id), Done())
    assert any("cleared" in fault for fault in story.faults(engine))
