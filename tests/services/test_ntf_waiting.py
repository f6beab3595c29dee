"""The queue of a slow subscriber against a naive one, and its bounds."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from corosync_amf.services.ntf import waiting
from corosync_amf.services.ntf.messages import Notified
from corosync_amf.services.ntf.values import NotificationDiscarded
from corosync_amf.services.ntf.vocabulary import NotificationType
from corosync_amf.services.ntf.waiting import WaitingNotifications

STEPS = st.lists(st.tuples(st.integers(1, 2), st.sampled_from([0x4001, 0x4002, 0x6001])) | st.none(), max_size=60)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_every_notification_is_given_or_named_in_its_place(steps: list[tuple[int, int] | None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting, "QUEUE_MAX", 5)
        queue = WaitingNotifications(True)
        got: list[tuple[int, int]] = []

        def take() -> None:
            event = queue.popleft()
            if isinstance(event, NotificationDiscarded):
                got.extend((event.subscription_id, each) for each in event.identifiers)
            else:
                got.append((event.subscription_id, event.identifier))

        sent: list[tuple[int, int]] = []
        for number, step in enumerate(steps):
            if step is not None:
                queue.append(Notified(step[0], number, step[1], b""))
                sent.append((step[0], number))
            elif len(queue):
                take()
            assert sum(isinstance(each, Notified) for each in queue._waiting) <= 5
        while len(queue):
            take()
        assert sorted(got) == sorted(sent)
        assert len(got) == len(sent)


def test_ids_of_what_was_discarded_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "QUEUE_MAX", 1)
    monkeypatch.setattr(waiting, "IDENTIFIERS_MAX", 3)
    queue = WaitingNotifications(True)
    for number in range(10):
        queue.append(Notified(1, number, 0x4001 if number % 2 else 0x6001, b""))
    events = [queue.popleft() for _ in range(len(queue))]
    assert sum(len(each.identifiers) for each in events[1:]) == 3
    assert max(each for event in events[1:] for each in event.identifiers) == 9


def test_other_events_pass_and_discards_may_not_be_wanted() -> None:
    queue = WaitingNotifications(False)
    queue.append("x")
    queue.append(NotificationDiscarded(1, 0x4000, (1,)))  # type: ignore[arg-type]
    assert (len(queue), queue.popleft()) == (1, "x")


def test_what_waits_for_one_subscription_is_dropped_and_leaves_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "QUEUE_MAX", 2)
    queue = WaitingNotifications(True)
    queue.append("x")
    for number, subscription in enumerate((1, 2, 1, 2)):
        queue.append(Notified(subscription, number, 0x6001, b""))
    queue.drop(1)
    queue.append(Notified(2, 4, 0x6001, b""))
    assert [queue.popleft() for _ in range(len(queue))] == [
        "x",
        Notified(2, 1, 0x6001, b""),
        NotificationDiscarded(2, NotificationType.MISCELLANEOUS, (3,)),
        Notified(2, 4, 0x6001, b""),
    ]
