"""What waits for a subscription: bounded, the most urgent first, and a loss is told before what comes later."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from corosync_amf.services.evt.delivery import Feed, Item, SessionQueue, Waiting
from corosync_amf.services.evt.messages import NEXT_EVENT, Delivered
from corosync_amf.services.evt.tally import lost
from corosync_amf.services.evt.values import EVENT_ID_LOST, QUEUE_BYTES_MAX

LOST = "lost"


def item(event_id: int, priority: int = 3, data: bytes = b"", *, at_subscribe: bool = False) -> Item:
    return event_id, Delivered((1,), event_id, 0.0, (), priority, 0.0, "", [data], at_subscribe), data


def taken(waiting: Waiting) -> int | str:
    event_id, message, data = waiting.popleft()
    assert message.data == [data]
    return LOST + data.decode() if event_id == EVENT_ID_LOST else event_id


def test_the_urgent_come_first_and_else_the_oldest() -> None:
    waiting = Waiting(10, 5)
    for event_id, priority in ((1001, 3), (1002, 1), (1003, 1), (1004, 0)):
        waiting.append(item(event_id, priority))
    assert [taken(waiting) for _ in range(4)] == [1004, 1002, 1003, 1001]
    assert not waiting
    with pytest.raises(IndexError):
        waiting.popleft()


def test_one_event_tells_all_that_was_lost_until_it_is_taken() -> None:
    waiting = Waiting(4, 2)
    for number in range(6):
        waiting.append(item(2000 + number))
    waiting.append(item(2006, priority=1))
    assert len(waiting) == 5
    assert [taken(waiting), taken(waiting)] == ["lost3", 2006]
    waiting.append(item(2007))  # lost, too: less than half must wait before more is taken
    assert taken(waiting) == 2000
    waiting.append(item(2008))
    assert [taken(waiting) for _ in range(4)] == ["lost1", 2001, 2002, 2008]
    assert not waiting


@pytest.mark.parametrize(("resume", "first_taken_again"), [(0, 5), (2, 3), (3, 2)])
def test_new_events_are_taken_again_when_no_more_than_the_resume_count_wait(
    resume: int, first_taken_again: int
) -> None:
    waiting = Waiting(4, resume)
    for event_id in range(2000, 2005):
        waiting.append(item(event_id))
    assert (taken(waiting), waiting.is_overflowing) == (LOST + "1", True)
    takes = 1
    while waiting.is_overflowing:
        taken(waiting)
        takes += 1
    assert takes == first_taken_again


def test_the_urgent_take_the_place_of_the_least_urgent_only() -> None:
    waiting = Waiting(2, 1)
    for event_id, priority in ((2000, 2), (2001, 3), (2002, 0), (2003, 1), (2004, 0), (2005, 0), (2006, 3)):
        waiting.append(item(event_id, priority))
    assert [taken(waiting) for _ in range(3)] == ["lost5", 2002, 2004]


def test_a_queue_of_one() -> None:
    waiting = Waiting(1, 0)
    waiting.append(item(2000))
    waiting.append(item(2001))
    assert [taken(waiting), taken(waiting)] == ["lost1", 2000]
    waiting.append(item(2002))
    assert [taken(waiting)] == [2002]


def test_retained_events_come_first_and_do_not_count() -> None:
    waiting = Waiting(1, 0)
    for number in range(5):
        waiting.append(item(3000 + number, at_subscribe=True))
    waiting.append(item(4000, 0))
    waiting.append(item(4001, 0))
    assert [taken(waiting) for _ in range(7)] == [3000, 3001, 3002, 3003, 3004, "lost1", 4000]


def test_large_events_are_bounded_by_their_bytes() -> None:
    waiting = Waiting(1000, 500)
    megabyte = bytes(2**20)
    for number in range(100):
        waiting.append(item(2000 + number, data=megabyte))
    assert len(waiting) == QUEUE_BYTES_MAX // 2**20 + 1
    assert taken(waiting) == "lost36"


def test_the_stream_forgets_what_is_iterated_over_and_gets_it_back() -> None:
    queue = SessionQueue(lambda subscription, item: (subscription, item[0]))
    feeds = {number: Feed(number, 3, 1) for number in (1, 2)}
    queue.feeds = feeds
    queue.append(Delivered((1, 2, 9), 5000, 0.0, (), 3, 0.0, "", [b"a", b"b"]))
    queue.append("outcome")
    assert len(queue) == 5
    queue.withdraw(feeds[1])
    queue.withdraw(feeds[1])
    assert len(queue) == 3
    told: list[Item] = []
    feeds[1].tell = told.append
    queue.append(Delivered((1,), 9000, 0.0, (), 3, 0.0, "", [b"c"]))
    assert [each[0] for each in told] == [9000]
    assert len(queue) == 3
    feeds[1].tell = None
    queue.give_back(feeds[1])
    queue.give_back(feeds[1])
    found: list[Any] = [queue.popleft() for _ in range(len(queue))]
    assert found[0] == "outcome"
    assert sorted(found[1:]) == sorted((number, 5000 + NEXT_EVENT * place) for number in (1, 2) for place in (0, 1))
    assert len(queue) == 0
    with pytest.raises(IndexError):
        queue.popleft()
    queue.give_back(feeds[2])
    assert len(queue) == 0


def test_what_was_lost_elsewhere_is_told_together_with_what_was_lost_here() -> None:
    waiting = Waiting(2, 1)
    for number in range(3):
        waiting.append(item(2000 + number))
    assert taken(waiting) == "lost1"
    waiting.append((EVENT_ID_LOST, lost(3), b"3"))
    waiting.append(item(2003))
    assert [taken(waiting) for _ in range(3)] == ["lost4", 2000, 2001]
    waiting.append((EVENT_ID_LOST, lost(12), b"12"))
    assert [len(waiting), taken(waiting)] == [1, "lost12"]


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 6), st.lists(st.none() | st.integers(0, 3), max_size=80))
def test_nothing_is_lost_in_silence_and_the_order_of_each_priority_holds(length: int, steps: list[int | None]) -> None:
    """None takes an event, a number appends one of that priority; then all the rest is taken."""
    waiting = Waiting(length, length // 2)
    sent: list[int] = []
    got: list[int] = []
    announced = 0
    gaps_told_at: list[tuple[int, int]] = []  # (how many were announced, how many got) at each loss
    for step in [*steps, *[None] * 100]:
        if step is not None:
            sent.append(step)
            waiting.append(item(1000 + len(sent), step))
        elif waiting:
            best = waiting.urgency
            event_id, message, data = waiting.popleft()
            assert best[0] == message.priority
            if event_id == EVENT_ID_LOST:
                announced += int(data)
                gaps_told_at.append((announced, len(got)))
            else:
                assert event_id not in got
                got.append(event_id)
        assert len(waiting) <= length + 1
    assert len(sent) == len(got) + announced
    for priority in range(4):
        mine = [event_id for event_id in got if sent[event_id - 1001] == priority]
        assert mine == sorted(mine)
    # what is announced when an event is taken covers every gap before it, in its priority
    for place, event_id in enumerate(got):
        priority = sent[event_id - 1001]
        before = [1001 + number for number in range(event_id - 1001) if sent[number] == priority]
        missing = len([each for each in before if each not in got[:place]])
        assert missing <= max((count for count, seen in gaps_told_at if seen <= place), default=0)
