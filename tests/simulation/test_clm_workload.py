"""Views under simulated faults; and that the checker finds what it is there to find."""

import pytest

from aisexec.simulation.services import run_services_seed
from aisexec.simulation.workloads.clm import ClmWorkload, Tracker, differences
from corosync_amf.services.clm import messages as m
from corosync_amf.services.clm.values import (
    AddressFamily,
    ChangeStep,
    ClusterChange,
    ClusterNode,
    ClusterNotification,
    ClusterView,
    NodeAddress,
)

NO_CHANGE, JOINED, LEFT = ClusterChange.NO_CHANGE, ClusterChange.JOINED, ClusterChange.LEFT


@pytest.mark.parametrize("seed", range(8))
def test_all_trackers_are_told_one_history(seed: int) -> None:
    result = run_services_seed(seed, workloads=[ClmWorkload])
    assert result.faults == []


def view(number: int, *members: int, **changes: ClusterChange) -> ClusterView:
    """`n3=LEFT`: what a change is about."""
    changed = {int(name[1:]): change for name, change in changes.items()}
    notifications = tuple(
        ClusterNotification(
            ClusterNode(node, NodeAddress(AddressFamily.INET, "-"), f"n{node}", None, node in members, 0.0, 1),
            changed.get(node, NO_CHANGE),
        )
        for node in sorted({*members, *changed})
    )
    return ClusterView(number, notifications, len(members), True)


def tracker(node: int = 1) -> Tracker:
    made = Tracker(node, 7)
    made.begins(view(1, 1, 2, 3))
    return made


def told(given: ClusterView, reason: str = "") -> m.Tracked:
    return m.Tracked(given, ChangeStep.COMPLETED, reason)


def test_an_orderly_history_has_no_faults() -> None:
    subject = tracker()
    subject.told(told(view(2, 1, 2, n3=LEFT)))
    subject.told(told(view(3, 1, 2, 3, n3=JOINED)))
    subject.told(told(view(9, 1, 2, 3), "node3(3) has come back from another partition"))
    assert subject.faults == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (view(1, 1, 2, n3=LEFT), "view 1 after view 1"),
        (view(3, 1, 2, n3=LEFT), "nothing was missed"),
        (view(2, 1, 2, 3, n3=JOINED), "it is a member"),
        (view(2, 1, 2, 3, n4=LEFT), "it is no member"),
        (view(2, 1, 2, 3, 4), "it was no member"),
        (view(2, 1, 2), "its changes make"),
    ],
)
def test_a_wrong_view_is_found(wrong: ClusterView, words: str) -> None:
    subject = tracker()
    subject.told(told(wrong))
    assert words in subject.faults[0]


def test_a_node_that_leaves_twice_is_found() -> None:
    subject = tracker()
    subject.told(told(view(2, 1, 2, n3=LEFT)))
    subject.told(told(view(3, 1, 2, n3=LEFT)))
    assert "it is no member" in subject.faults[0]


def test_trackers_that_are_told_different_views_are_found() -> None:
    one, other = tracker(1), tracker(2)
    one.told(told(view(2, 1, 2, n3=LEFT)))
    other.told(told(view(2, 1, 2, 3, 4, n4=JOINED)))
    assert differences([one, other]) == ["view 2 is [1, 2] on node 1, [1, 2, 3, 4] on 2"]
    assert differences([one, one]) == []
