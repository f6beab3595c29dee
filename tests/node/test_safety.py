"""Events wait until they are safe, in their order; what a ring left behind waits for the next membership."""

from aisexec.outbox import Outbox, ToClient
from aisexec.safety import SafeEvents
from corosync_amf.engine import Done, Failed, Message
from corosync_amf.wire import Events, decode


def told(out: Outbox) -> list[int]:
    """The codes of the events that went out since the last call."""
    frames = [frame for effect in out.empty() if isinstance(effect, ToClient) for frame in effect.frames]
    return [decode(raw, Done | Failed).code for frame in frames for _, raw in decode(frame, Events).items]


def event(code: int) -> Message:
    return Failed(code)


def test_an_event_waits_until_it_is_safe_and_later_ones_wait_behind_it() -> None:
    out = Outbox()
    events = SafeEvents(out)
    events.add(7, 1, event(1), 0)
    events.add(7, 1, event(2), 3)
    events.add(7, 1, event(3), 0)
    events.add(7, 2, event(4), 0)
    assert told(out) == [1, 4]
    events.is_safe(2)
    assert told(out) == []
    events.is_safe(3)
    assert told(out) == [2, 3]
    events.add(7, 1, event(5), 3)
    assert told(out) == [5]


def test_what_is_safe_in_a_new_ring_lets_nothing_of_the_former_one_go() -> None:
    out = Outbox()
    events = SafeEvents(out)
    events.add(7, 1, event(1), 3)
    events.add(7, 1, event(2), 0)
    events.new_ring()
    events.is_safe(5)
    assert told(out) == []
    events.new_ring()
    events.add(7, 1, event(3), 0)
    events.add(7, 1, event(4), 2)
    events.settle()
    assert told(out) == [1, 2, 3]
    events.is_safe(2)
    assert told(out) == [4]


def test_a_firm_event_waits_for_a_quorum_that_has_the_state_in_whatever_ring() -> None:
    out = Outbox()
    events = SafeEvents(out)
    events.add(7, 1, event(1), 3, firm=True)
    events.add(7, 1, event(2), 0)
    events.is_safe(3)
    assert told(out) == []
    events.new_ring()
    events.settle()
    events.is_safe(9)
    assert told(out) == []
    events.new_ring()
    events.settle()
    events.stand_firm(2)
    events.is_safe(1)
    assert told(out) == []
    events.is_safe(2)
    assert told(out) == [1, 2]
    events.add(7, 1, event(3), 2, firm=True)
    events.add(7, 1, event(4), 3, firm=True)
    assert told(out) == [3]


def test_what_is_firm_has_not_happened_when_another_state_stands() -> None:
    out = Outbox()
    events = SafeEvents(out)
    events.add(7, 1, event(1), 3, firm=True)
    events.add(7, 1, event(2), 0)
    events.add(7, 2, event(3), 3, firm=True)
    events.new_ring()
    events.give_way()
    events.settle()
    assert told(out) == [2]
    events.stand_firm(0)
    events.is_safe(5)
    assert told(out) == []


def test_of_a_service_whose_clients_are_away_nothing_goes_before_they_are_back() -> None:
    out = Outbox()
    events = SafeEvents(out)
    for service in (1, 2):
        events.add(7, service, event(service), 3)
    events.new_ring()
    events.settle({2})
    events.is_safe(5)
    assert told(out) == [1]
    events.add(7, 2, event(3), 0)
    events.new_ring()
    events.settle({2})
    assert told(out) == []
    events.settle()
    assert told(out) == [2, 3]


def test_nothing_waits_for_a_client_that_is_gone() -> None:
    out = Outbox()
    events = SafeEvents(out)
    events.add(7, 1, event(1), 3)
    events.add(8, 1, event(2), 3)
    events.forget(7)
    events.is_safe(3)
    assert told(out) == [2]
