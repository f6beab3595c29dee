"""Notifications in a simulated cluster, and that the checkers of them bite."""

import random

import pytest
from msgspec.structs import replace

from aisexec.simulation.services import run_services_seed
from aisexec.simulation.workloads.ntf import (
    JOINED,
    LEFT,
    Hearing,
    NtfWorkload,
    apart,
    twice_or_disordered,
    unheard,
)
from corosync_amf.engine import Client, Origin
from corosync_amf.services.ntf import messages as m
from corosync_amf.services.ntf.engine import NtfEngine
from corosync_amf.services.ntf.records import Nothing, Record, Terms
from corosync_amf.services.ntf.vocabulary import EventType

FOUND_A_FAULT = (8, 17, 41, 49, 74, 85, 641)
"""Seeds in which a client once heard a later notification first, or two got one id."""


@pytest.mark.parametrize("seed", [*range(8), *FOUND_A_FAULT])
def test_notifications_keep_their_promises_whatever_fails(seed: int) -> None:
    assert run_services_seed(seed, workloads=[NtfWorkload]).faults == []


def note(identifier: int, class_id: tuple[int, int, int] = (1, 1, 1)) -> Record:
    kind = int(EventType.APPLICATION_EVENT)
    return Record(kind, "safApp=a", "safApp=b", class_id, 1.0, identifier, f"text {identifier}", (), (), Nothing())


def hearing(node: int, *identifiers: int) -> Hearing:
    return Hearing(node, (Terms(),), [note(each) for each in identifiers])


def test_what_is_heard_twice_or_out_of_order_is_found() -> None:
    assert twice_or_disordered([hearing(1, 1, 2, 3)], set()) == []
    assert twice_or_disordered([hearing(1, 1, 3, 2)], {2}) == []
    assert "twice" in twice_or_disordered([hearing(1, 1, 1)], set())[0]
    assert "grow" in twice_or_disordered([hearing(1, 2, 1)], set())[0]


def test_what_one_misses_is_found_unless_the_membership_changed() -> None:
    assert apart([hearing(1, 1, 2, 3), hearing(2, 2, 3, 4)]) == []
    assert len(apart([hearing(1, 1, 2, 3), hearing(2, 1, 3)])) == 1
    left = LEFT
    changed = [Hearing(node, (Terms(),), [note(1), note(10 + node, left), note(20)]) for node in (1, 2)]
    changed[0].heard.insert(2, note(15))
    assert apart(changed) == []
    narrow = Hearing(2, (Terms(notification_objects=("safApp=x",)),), [note(1), note(3)])
    assert apart([hearing(1, 1, 2, 3), narrow]) == []


def test_what_one_misses_may_be_because_the_ring_falls_apart_but_not_when_both_stay_together() -> None:
    left = LEFT
    one, other = hearing(1, 1, 2, 3), hearing(2, 1, 3)
    one.heard.append(note(10, left))
    other.heard.append(note(11, left))
    assert apart([one, other]) == []
    other.heard[-1] = note(10, left)
    assert len(apart([one, other])) == 1
    other.heard[-1] = one.heard[-1] = replace(note(10, left), notification_object="safNode=node-2")
    one.heard.append(note(11, JOINED))
    other.heard.append(one.heard[-1])
    assert apart([one, other]) == []  # the second gave way, and may have been alone when the first heard 2
    one.heard[-2] = other.heard[-2] = replace(note(10, left), notification_object="safNode=node-3")
    assert len(apart([one, other])) == 1
    one, other = hearing(1, 1, 2, 3), hearing(2, 1, 3)
    one.is_over = other.is_over = True
    assert apart([one, other]) == []


def test_what_the_sender_itself_does_not_hear_is_found() -> None:
    mine = hearing(1, 1, 2)
    assert unheard([(mine, "two", 2)]) == []
    assert len(unheard([(mine, "three", 3)])) == 1


def test_ids_given_twice_and_replicas_that_differ_are_found() -> None:

    workload = NtfWorkload([1, 2], random.Random(1))
    workload.connect(1, 1, 0.0)
    for _ in range(2):
        workload._heard(1, m.Send(note(0)), m.Identified(5))
    assert workload.faults[0].startswith("unique")
    engines = {node: NtfEngine() for node in (1, 2)}
    engines[1].apply(m.Send(note(0)), Origin(Client(1, 1), 1, 1, 1.0))
    assert any("keep different" in fault for fault in workload.check(engines))
    (kept,) = engines[1].snapshot().kept
    workload.accepted[kept.identifier] = "something else"
    assert any("stands under" in fault for fault in workload.check({1: engines[1]}))
