"""EVT as a replicated state machine: every request on three replicas, splits and merges."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from corosync_amf import errors
from corosync_amf.engine import Client, ClientGone, Done, Event, Message, Origin, Reply
from corosync_amf.errors import AisError
from corosync_amf.services.evt import messages as m
from corosync_amf.services.evt import retention
from corosync_amf.services.evt.engine import EvtEngine
from corosync_amf.services.evt.merging import REMNANT_BYTES_MAX
from corosync_amf.services.evt.tally import STAYS_MAX, Tally, lost
from corosync_amf.services.evt.values import ChannelOpenFlags, FilterType
from corosync_amf.wire import decode, encode

from .harness import Answer, Replicas, refused

P, S, C = (int(flag) for flag in ChannelOpenFlags)
ALL = P | S | C
A, B, D, E = (Client(node, 1) for node in (1, 2, 3, 4))
EXACT = int(FilterType.EXACT)


def made(*clients: Client, name: str = "c") -> Replicas:
    """Replicas on which each client has the channel open as handle 1, with subscription 1 to all events."""
    replicas = Replicas(EvtEngine)
    for client in clients:
        join(replicas, client, name)
    return replicas


def join(replicas: Replicas, client: Client, name: str = "c") -> None:
    assert replicas.send(client, m.Open(1, name, ALL)).message == Done()
    assert replicas.send(client, m.Subscribe(1, 1, ())).message == Done()


def publish(
    replicas: Replicas, client: Client, *data: bytes, retention: float = 0.0, priority: int = 3, handle: int = 1
) -> int:
    answer = replicas.send(client, m.Publish(handle, (b"p",), priority, retention, "", list(data or (b"x",))))
    assert isinstance(answer.message, m.Published)
    return answer.message.event_id


def heard(replicas: Replicas, client: Client) -> list[bytes]:
    return [data for event in replicas.events_for(client) for data in event.data]


def missed(replicas: Replicas, client: Client) -> int:
    """How many events the client is told to have lost, and nothing else."""
    (event,) = replicas.events_for(client)
    (text,) = event.data
    assert event == lost(int(text), (1,))
    return int(text)


def state(replicas: Replicas) -> m.Snapshot:
    snapshot = replicas.engines[replicas.members[0]].snapshot()
    assert isinstance(snapshot, m.Snapshot)
    return snapshot


def retained(replicas: Replicas, name: str = "c") -> list[bytes]:
    return [event.data for record in state(replicas).channels if record.name == name for event in record.retained]


# ---- requests


def test_each_subscriber_is_told_once_of_all_its_subscriptions_that_fit() -> None:
    replicas = made(A, B)
    replicas.send(B, m.Subscribe(1, 2, ((EXACT, b"p"),)))
    replicas.send(B, m.Subscribe(1, 3, ((EXACT, b"q"),)))
    event_id = publish(replicas, A, b"1", b"2")
    (event,) = replicas.events_for(B)
    assert event == m.Delivered((1, 2), event_id, replicas.now, (b"p",), 3, 0.0, "", [b"1", b"2"])
    assert heard(replicas, A) == [b"1", b"2"]


def test_ids_grow_and_differ_from_node_to_node() -> None:
    replicas = made(A, B)
    ids = [publish(replicas, client, b"1", b"2") for client in (A, B, A)]
    assert ids == sorted(ids)
    assert min(ids) > 1000
    assert [event_id % m.NEXT_EVENT for event_id in ids] == [1, 2, 1]
    assert ids[1] // m.NEXT_EVENT == ids[0] // m.NEXT_EVENT + 2


def test_ids_follow_the_clock_and_fit_into_64_bits_whatever_it_says() -> None:
    ids = []
    for time in (-5.0, 0.0, 1.0, 1.8e9, 1e300):
        engine = EvtEngine()  # a node that has forgotten all
        engine.apply(m.Open(1, "c", ALL), Origin(A, 1, 1, time))
        for number in range(2):
            reply = engine.apply(m.Publish(1, (), 3, 0.0, "", [b""] * 10), Origin(A, 2 + number, 2 + number, time))[-1]
            assert isinstance(reply, Reply)
            assert isinstance(reply.message, m.Published)
            ids.append(reply.message.event_id)
    assert ids[2:] == sorted(set(ids[2:]))
    assert 1000 < min(ids) < max(ids) < 2**64


REFUSED: list[tuple[Any, type[AisError]]] = [
    (m.Open(2, "c", 0), errors.BadFlags),
    (m.Open(2, "c", 8), errors.BadFlags),
    (m.Open(2, "", C), errors.InvalidParam),
    (m.Open(2, "a\0", C), errors.InvalidParam),
    (m.Open(2, "x" * 2049, C), errors.InvalidParam),
    (m.Open(2, "nowhere", P), errors.NotExist),
    (m.Open(1, "c", P), errors.NoResources),
    (m.Unlink("nowhere"), errors.NotExist),
    (m.Subscribe(9, 5, ()), errors.BadHandle),
    (m.Subscribe(1, 1, ()), errors.NoResources),
    (m.Subscribe(1, 5, ((0, b""),)), errors.InvalidParam),
    (m.Subscribe(1, 5, ((1, b"x" * 256),)), errors.TooBig),
    (m.Subscribe(1, 5, ((1, b""),) * 17), errors.TooBig),
    (m.Subscribe(3, 5, ()), errors.Access),
    (m.Unsubscribe(9, 1), errors.BadHandle),
    (m.Publish(9, (), 3, 0.0, "", [b""]), errors.BadHandle),
    (m.Publish(3, (), 3, 0.0, "", [b""]), errors.Access),
    (m.Publish(1, (), 4, 0.0, "", [b""]), errors.InvalidParam),
    (m.Publish(1, (), -1, 0.0, "", [b""]), errors.InvalidParam),
    (m.Publish(1, (), 3, float("nan"), "", [b""]), errors.InvalidParam),
    (m.Publish(1, (), 3, -1.0, "", [b""]), errors.InvalidParam),
    (m.Publish(1, (), 3, float("inf"), "", [b""]), errors.TooBig),
    (m.Publish(1, (), 3, 0.0, "x" * 256, [b""]), errors.InvalidParam),
    (m.Publish(1, (b"x" * 256,), 3, 0.0, "", [b""]), errors.TooBig),
    (m.Publish(1, (b"",) * 17, 3, 0.0, "", [b""]), errors.TooBig),
    (m.Publish(1, (), 3, 0.0, "", []), errors.InvalidParam),
    (m.Publish(1, (), 3, 0.0, "", [b""] * 4097), errors.TooBig),
    (m.Publish(1, (), 3, 0.0, "", [bytes(2**20 + 1)]), errors.TooBig),
    (m.Publish(1, (), 3, 0.0, "", [bytes(2**20)] * 5), errors.TooBig),
    (m.ClearRetention(9, 5000), errors.BadHandle),
    (m.ClearRetention(1, 5000), errors.NotExist),
    (m.Purge("nowhere"), errors.NotExist),
    (m.RetentionOver(), errors.Access),
]


@pytest.mark.parametrize(("request_", "error"), REFUSED)
def test_a_hostile_client_is_refused_and_changes_nothing(request_: Any, error: type[AisError]) -> None:
    replicas = made(A)
    replicas.send(A, m.Open(3, "c", C))
    before = state(replicas)
    assert type(refused(replicas.send(A, request_))) is error
    assert state(replicas) == before


def test_unknown_names_are_not_listed() -> None:
    replicas = made()
    for query in (m.ListOpeners("nowhere"), m.ListRetained("nowhere")):
        assert isinstance(refused(replicas.ask(A, query)), errors.NotExist)
    assert replicas.ask(A, m.ListChannels()) == m.Channels([])


def test_there_are_limits() -> None:
    replicas = Replicas(EvtEngine, members=(1,))
    engine = replicas.engines[1]

    def ask(message: Any, client: Client = A) -> Message:
        reply = engine.apply(message, Origin(client, 1, 1, replicas.now))[-1]
        assert isinstance(reply, Reply)
        return reply.message

    for number in range(4096):
        assert ask(m.Open(number, f"c{number}", ALL)) == Done()
    assert isinstance(refused(ask(m.Open(9999, "c0", ALL))), errors.NoResources)
    assert isinstance(refused(ask(m.Open(1, "more", ALL), B)), errors.NoResources)
    assert ask(m.Open(1, "c0", ALL), B) == Done()
    for number in range(4096):
        assert ask(m.Subscribe(1, number, ()), B) == Done()
    assert isinstance(refused(ask(m.Subscribe(1, 9999, ()), B)), errors.NoResources)
    for number in range(256):
        assert isinstance(ask(m.Publish(number, (), 3, 9.0, "", [bytes(2**20)])), m.Published)
    assert isinstance(refused(ask(m.Publish(1, (), 3, 9.0, "", [b"x"]))), errors.NoResources)


# ---- retention


def test_a_late_subscriber_gets_what_is_retained() -> None:
    replicas = made(A)
    ids = [publish(replicas, A, b"1", retention=10.0), publish(replicas, A, b"2", retention=5.0, priority=0)]
    publish(replicas, A, b"not retained")
    replicas.send(B, m.Open(1, "c", S))
    replicas.send(B, m.Subscribe(1, 7, ()))
    events = replicas.events_for(B)
    assert [(event.event_id, event.data, event.at_subscribe) for event in events] == [
        (ids[0], [b"1"], True),
        (ids[1], [b"2"], True),
    ]
    replicas.send(B, m.Subscribe(1, 8, ((EXACT, b"q"),)))
    assert replicas.events_for(B) == []


def test_retention_ends_by_the_clock_of_the_order() -> None:
    replicas = made(A)
    publish(replicas, A, b"1", retention=10.0)
    publish(replicas, A, b"2", b"3", retention=5.0)
    replicas.advance(4.9)
    assert retained(replicas) == [b"1", b"2", b"3"]
    replicas.advance(0.2)
    assert retained(replicas) == [b"1"]
    replicas.advance(5.0)
    assert retained(replicas) == []
    assert replicas.alarms == {}


def test_what_is_over_is_not_delivered_before_the_alarm_has_gone_off() -> None:
    replicas = made(A)
    event_id = publish(replicas, A, retention=10.0)
    replicas.events_for(A)
    replicas.now += 11.0
    replicas.send(A, m.Subscribe(1, 2, ()))
    assert replicas.events_for(A) == []
    assert isinstance(refused(replicas.send(A, m.ClearRetention(1, event_id))), errors.NotExist)


def test_a_late_or_repeated_alarm_is_harmless() -> None:
    replicas = made(A)
    publish(replicas, A, b"1", retention=10.0)
    replicas.send(Client(1, 0), m.RetentionOver())
    assert retained(replicas) == [b"1"]
    assert "retention" in replicas.alarms
    replicas.advance(10.1)
    replicas.send(Client(1, 0), m.RetentionOver())
    assert replicas.alarms == {}


def test_clearing_purging_and_dropping_take_the_alarm_back() -> None:
    replicas = made(A)
    event_id = publish(replicas, A, retention=10.0)
    assert replicas.send(A, m.ClearRetention(1, event_id)).message == Done()
    assert replicas.alarms == {}
    publish(replicas, A, b"1", b"2", retention=10.0)
    assert replicas.send(B, m.Purge("c")).message == m.Purged(2)
    assert (replicas.alarms, retained(replicas)) == ({}, [])
    publish(replicas, A, retention=10.0)
    replicas.send(B, m.Unlink("c"))
    assert "retention" in replicas.alarms
    replicas.gone(A)
    assert (replicas.alarms, state(replicas).channels) == ({}, [])


def test_a_full_channel_lets_the_oldest_of_the_lowest_priority_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RETAINED_PER_CHANNEL_MAX", 3)
    replicas = made(A)
    publish(replicas, A, b"urgent", retention=10.0, priority=0)
    publish(replicas, A, b"1", b"2", b"3", retention=10.0)
    assert retained(replicas) == [b"urgent", b"2", b"3"]
    publish(replicas, A, b"a", b"b", retention=10.0, priority=1)
    assert retained(replicas) == [b"urgent", b"a", b"b"]


def test_many_cleared_events_leave_nothing_behind() -> None:
    replicas = made(A)
    engine = replicas.engines[1]
    for _ in range(300):
        replicas.send(A, m.ClearRetention(1, publish(replicas, A, retention=100.0)))
    assert isinstance(engine, EvtEngine)
    assert len(engine._retention._ends) < 100
    assert len(state(replicas).cleared) == 300
    publish(replicas, A, retention=101.0)
    replicas.advance(102.0)
    assert state(replicas).cleared == []


# ---- life and death


def test_a_channel_outlives_its_openers_until_it_is_unlinked() -> None:
    replicas = made(A)
    publish(replicas, A, b"1", retention=10.0)
    replicas.gone(A)
    assert retained(replicas) == [b"1"]
    replicas.send(B, m.Unlink("c"))
    assert state(replicas).channels == []
    assert isinstance(refused(replicas.send(B, m.Open(1, "c", S))), errors.NotExist)


def test_an_unlinked_channel_and_its_namesake_are_separate() -> None:
    replicas = made(A)
    replicas.send(B, m.Unlink("c"))
    assert isinstance(refused(replicas.send(B, m.Unlink("c"))), errors.NotExist)
    join(replicas, B)
    publish(replicas, A, b"old")
    publish(replicas, B, b"new")
    assert (heard(replicas, A), heard(replicas, B)) == ([b"old"], [b"new"])
    replicas.send(A, m.Close((1, 5)))
    assert [record.is_linked for record in state(replicas).channels] == [True]


def test_a_lost_node_takes_its_clients_but_not_what_they_published() -> None:
    replicas = made(A, B, D)
    publish(replicas, D, b"1", retention=10.0)
    replicas.change(left=[3])
    assert [record.client for record in state(replicas).handles] == [A, B]
    assert retained(replicas) == [b"1"]
    replicas.change(joined=[3])
    join(replicas, D)
    assert [event.data for event in replicas.events_for(D) if event.at_subscribe] == [[b"1"]]
    replicas.change(left=[2], joined=[2])
    assert [record.client for record in state(replicas).handles] == [A, D]


# ---- merge


class Split:
    """Two parts of a cluster that was one: `stands` (nodes 1 and 2) and `lost` (node 3, or 3 and 4)."""

    def __init__(self, *clients: Client, lost: Iterable[int] = (3,), before: Any = None, edge: Any = None) -> None:
        lost = tuple(lost)
        whole = Replicas(EvtEngine, members=(1, 2, *lost))
        for client in clients:
            join(whole, client)
        if before is not None:
            before(whole)
        snapshot = encode(whole.engines[1].snapshot())
        self.stands, self.lost = whole, Replicas(EvtEngine, members=lost)
        for engine in self.lost.engines.values():
            engine.restore(decode(snapshot, m.Snapshot))
        self.lost.order = whole.order
        if edge is not None:
            edge(self.stands, self.lost)
        self.stands.change(left=lost)
        self.lost.change(left=[1, 2])
        self.remnants: dict[int, bytes] = {}
        self.stands.events.clear()
        self.lost.events.clear()

    def meet(self) -> Replicas:
        """The lost part takes over what stands; nothing is merged yet."""
        self.remnants = {node: encode(self.lost.engines[node].remnant(node)) for node in self.lost.members}
        self.stands.change(joined=self.lost.members)
        return self.stands

    def merge(self, *nodes: int) -> Replicas:
        """Merge what these nodes bring (all, in ascending order, when none is named)."""
        replicas = self.stands if self.remnants else self.meet()
        for node in nodes or sorted(self.remnants):
            origin = replicas._origin(Client(node, 0))
            found = [
                (each, engine.merge(decode(self.remnants[node], m.Remnant), origin))
                for each, engine in sorted(replicas.engines.items())
            ]
            replicas._all(found)
        return replicas


def test_subscribers_of_the_lost_part_go_on() -> None:
    split = Split(A, D)
    split.lost.send(D, m.Subscribe(1, 2, ((EXACT, b"p"),)))
    replicas = split.merge()
    publish(replicas, A, b"1")
    (event,) = replicas.events_for(D)
    assert event.subscriptions == (1, 2)
    publish(replicas, D, b"2")
    assert heard(replicas, A) == [b"1", b"2"]
    assert replicas.send(D, m.Close((1,))).message == Done()


def test_retained_events_are_united_and_told_to_those_who_had_them_not() -> None:
    split = Split(A, D, lost=(3, 4))
    publish(split.stands, A, b"here", retention=60.0)
    publish(split.lost, D, b"there", retention=50.0, priority=0)
    split.stands.events_for(A)
    split.lost.events_for(D)
    replicas = split.merge(3)
    assert (heard(replicas, A), heard(replicas, D)) == ([b"there"], [b"here"])
    replicas = split.merge(4)
    assert (heard(replicas, A), heard(replicas, D)) == ([], [])
    assert sorted(retained(replicas)) == [b"here", b"there"]
    replicas.advance(51.0)
    assert retained(replicas) == [b"here"]


def test_what_both_parts_had_is_told_to_nobody() -> None:
    split = Split(A, D, before=lambda whole: publish(whole, A, b"old", retention=60.0))
    replicas = split.merge()
    assert (heard(replicas, A), heard(replicas, D)) == ([], [])
    assert retained(replicas) == [b"old"]


def test_what_a_part_missed_is_told_as_lost_before_what_it_gets() -> None:
    split = Split(A, D, E, lost=(3, 4))
    publish(split.stands, A, b"1")
    publish(split.lost, D, b"2", retention=60.0)
    publish(split.lost, E, b"3", b"4")
    split.lost.events.clear()
    split.stands.events.clear()
    split.meet()
    publish(split.stands, A, b"5")
    split.stands.events_for(A)
    replicas = split.merge(3)
    first, second = replicas.events_for(A)
    assert (first, second.data) == (lost(2, (1,)), [b"2"])
    assert missed(replicas, D) == 2
    replicas = split.merge(4)
    assert (heard(replicas, A), heard(replicas, D), missed(replicas, E)) == ([], [], 2)
    publish(replicas, E, b"6")
    assert [heard(replicas, client) for client in (A, D, E)] == [[b"6"]] * 3


def test_parts_that_published_nothing_have_missed_nothing() -> None:
    def publish_all(whole: Replicas) -> None:
        for client in (A, D):
            publish(whole, client, b"1", b"2")
        whole.events.clear()

    replicas = Split(A, D, lost=(3, 4), before=publish_all).merge()
    assert (heard(replicas, A), heard(replicas, D)) == ([], [])


def test_a_publisher_that_died_in_one_part_and_came_back_in_another_is_counted_in_both() -> None:
    split = Split(A, E, lost=(3, 4))
    join(split.lost, D)
    publish(split.lost, D, b"1", b"2")
    split.lost.change(left=[3])
    split.stands.change(joined=[3])
    join(split.stands, D)
    publish(split.stands, D, b"3", b"4")
    split.lost.events.clear()
    split.stands.events.clear()
    replicas = split.merge()
    assert [missed(replicas, client) for client in (A, D, E)] == [2, 2, 2]


def test_the_same_remnant_twice_changes_nothing() -> None:
    split = Split(A, D)
    publish(split.lost, D, b"there", retention=50.0)
    publish(split.stands, A, b"here", retention=50.0)
    before = encode(split.merge().engines[1].snapshot())
    split.stands.events.clear()
    replicas = split.merge(3)
    assert encode(replicas.engines[1].snapshot()) == before
    assert replicas.events == []


def test_ids_given_in_both_parts_never_meet() -> None:
    split = Split(A, D)
    ids = [publish(split.stands, A, retention=9.0) for _ in range(3)]
    ids += [publish(split.lost, D, retention=9.0) for _ in range(5)]
    replicas = split.merge()
    ids += [publish(replicas, D, retention=9.0), publish(replicas, A, retention=9.0)]
    assert len(set(ids)) == len(ids) == len(retained(replicas))
    assert ids[-1] == max(ids)


@pytest.mark.parametrize("clearing", ["stands", "lost"])
def test_an_event_cleared_in_one_part_is_cleared(clearing: str) -> None:
    ids: list[int] = []
    split = Split(A, D, before=lambda whole: ids.append(publish(whole, A, b"old", retention=60.0)))
    part, client = (split.stands, A) if clearing == "stands" else (split.lost, D)
    part.send(client, m.ClearRetention(1, ids[0]))
    replicas = split.merge()
    assert retained(replicas) == []
    assert replicas.alarms == {}
    assert (heard(replicas, A), heard(replicas, D)) == ([], [])


@pytest.mark.parametrize("unlinking", ["stands", "lost"])
def test_a_channel_unlinked_in_one_part_is_unlinked(unlinking: str) -> None:
    split = Split(A, D, before=lambda whole: publish(whole, A, b"old", retention=60.0))
    (split.stands if unlinking == "stands" else split.lost).send(Client(1, 9), m.Unlink("c"))
    replicas = split.merge()
    assert isinstance(refused(replicas.send(B, m.Open(1, "c", S))), errors.NotExist)
    publish(replicas, A, b"1")
    assert (heard(replicas, A), heard(replicas, D)) == ([b"1"], [b"1"])  # handles go on
    replicas.gone(A)
    assert retained(replicas) == [b"old"]
    replicas.gone(D)
    assert state(replicas).channels == []


@pytest.mark.parametrize("unlinking", ["stands", "lost"])
def test_an_unlinked_channel_that_nobody_has_open_does_not_come_back(unlinking: str) -> None:
    def before(whole: Replicas) -> None:
        join(whole, B)
        publish(whole, B, b"old", retention=60.0)
        whole.gone(B)

    split = Split(before=before)
    (split.stands if unlinking == "stands" else split.lost).send(Client(1, 9), m.Unlink("c"))
    replicas = split.merge()
    assert state(replicas).channels == []
    assert replicas.alarms == {}


def test_a_channel_that_one_part_dropped_lives_on_for_its_openers_in_the_other() -> None:
    split = Split(A, D)
    split.stands.send(A, m.Unlink("c"))
    split.stands.gone(A)
    assert state(split.stands).channels == []
    publish(split.lost, D, b"retained", retention=60.0)
    replicas = split.merge()
    join(replicas, B)
    publish(replicas, B, b"new")
    publish(replicas, D, b"old")
    assert heard(replicas, D) == [b"old"]
    assert heard(replicas, B) == [b"new"]
    replicas.gone(D)
    assert len(state(replicas).channels) == 1


def test_channels_made_in_both_parts_under_one_name_become_one() -> None:
    split = Split(lost=(3, 4))
    join(split.stands, A, "new")
    join(split.lost, D, "new")
    publish(split.stands, A, b"here", retention=60.0)
    publish(split.lost, D, b"there", retention=60.0)
    split.stands.events_for(A)
    split.lost.events_for(D)
    replicas = split.merge(3)
    assert (heard(replicas, A), heard(replicas, D)) == ([b"there"], [b"here"])
    publish(replicas, D, b"together")
    assert heard(replicas, A) == [b"together"]
    assert replicas.send(B, m.Unlink("new")).message == Done()
    replicas = split.merge(4)  # it brings the name once more
    assert isinstance(refused(replicas.send(B, m.Open(1, "new", S))), errors.NotExist)
    assert sorted(retained(replicas, "new")) == [b"here", b"there"]


def test_a_channel_of_the_lost_part_alone_comes_along_with_its_events() -> None:
    split = Split()
    join(split.lost, D, "new")
    publish(split.lost, D, b"1", retention=60.0)
    split.lost.gone(D)
    replicas = split.merge()
    assert retained(replicas, "new") == [b"1"]
    assert "retention" in replicas.alarms


def test_what_has_run_out_meanwhile_does_not_come_back() -> None:
    split = Split(A, D)
    publish(split.lost, D, b"1", retention=5.0)
    split.lost.events.clear()
    split.stands.now += 6.0
    replicas = split.merge()
    assert retained(replicas) == []
    assert missed(replicas, A) == 1


def test_what_has_run_out_does_not_come_back_with_a_node_whose_clock_is_behind() -> None:
    split = Split(A, D, before=lambda whole: publish(whole, A, b"1", retention=5.0))
    split.stands.advance(5.1)
    assert retained(split.stands) == []
    split.stands.now -= 1.0
    replicas = split.merge()
    assert retained(replicas) == []
    assert heard(replicas, A) == []


def test_what_had_run_out_for_one_returning_node_is_not_told_again_by_another_whose_clock_is_behind() -> None:
    split = Split(A, D, lost=(3, 4))
    publish(split.lost, D, b"1", retention=5.0)
    split.lost.events.clear()
    split.meet()
    split.stands.now = split.lost.now + 5.1
    replicas = split.merge(3)
    assert (missed(replicas, A), heard(replicas, D)) == (1, [])
    split.stands.now -= 1.0
    replicas = split.merge(4)
    assert retained(replicas) == []
    assert (heard(replicas, A), heard(replicas, D)) == ([], [])


def test_what_had_to_make_room_is_not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RETAINED_PER_CHANNEL_MAX", 2)
    split = Split(A, D, before=lambda whole: publish(whole, A, b"old", retention=60.0))
    publish(split.lost, D, b"1", b"2", retention=60.0)
    split.lost.events.clear()
    replicas = split.merge()
    assert retained(replicas) == [b"1", b"2"]
    assert (heard(replicas, A), heard(replicas, D)) == ([b"1", b"2"], [])


def test_a_remnant_is_bounded_and_takes_the_newest() -> None:
    split = Split(A, D)
    count = 2 * REMNANT_BYTES_MAX // 2**20
    for number in range(count):
        publish(split.lost, D, number.to_bytes(2**20, "big"), retention=60.0)
    split.lost.events.clear()
    split.meet()
    assert len(split.remnants[3]) < 1.1 * REMNANT_BYTES_MAX
    replicas = split.merge()
    found = [int.from_bytes(data, "big") for data in retained(replicas)]
    assert found == list(range(count - len(found), count))
    assert len(found) > count // 3
    assert replicas.events_for(D) == []


class OnItsWay:
    """One event of D that both parts got just before they heard of the split, the standing one after another event."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def __call__(self, stands: Replicas, lost: Replicas) -> None:
        stands._apply(m.Publish(1, (), 3, 60.0, "", [b"x"]), Origin(B, 5, stands.order + 1, stands.now))
        asked = m.Publish(1, (), 3, 60.0, "", [b"1", b"2"])
        for name, part in (("stands", stands), ("lost", lost)):
            origin = Origin(D, 77, part.order + 2, part.now)
            answer = part.answers[origin] = Answer()
            part._apply(asked, origin)
            assert isinstance(answer.message, m.Published)
            self.ids[name] = answer.message.event_id


def test_an_event_that_has_two_ids_is_one_event() -> None:
    edge = OnItsWay()
    split = Split(A, B, D, lost=(3, 4), edge=edge)
    assert edge.ids["stands"] != edge.ids["lost"]
    replicas = split.merge(3)
    assert heard(replicas, A) == []
    assert heard(replicas, D) == [b"x"]
    assert retained(replicas) == [b"x", b"1", b"2"]
    before = encode(replicas.engines[1].snapshot())
    assert encode(split.merge(4).engines[1].snapshot()) == before
    assert replicas.send(D, m.ClearRetention(1, edge.ids["lost"])).message == Done()
    assert retained(replicas) == [b"x", b"2"]
    assert isinstance(refused(replicas.send(A, m.ClearRetention(1, edge.ids["stands"]))), errors.NotExist)
    assert replicas.send(A, m.ClearRetention(1, edge.ids["stands"] + m.NEXT_EVENT)).message == Done()
    replicas.advance(61.0)
    assert retained(replicas) == []


def test_an_event_that_has_two_ids_is_cleared_on_both_sides() -> None:
    edge = OnItsWay()
    split = Split(A, B, D, edge=edge)
    split.lost.send(D, m.ClearRetention(1, edge.ids["lost"]))
    assert retained(split.merge()) == [b"x", b"2"]


def test_events_that_got_the_same_id_are_two_events() -> None:
    split = Split(A, D)
    origin = Origin(Client(3, 1), 5, split.lost.order + 1, split.lost.now)
    split.lost._apply(m.Publish(1, (), 3, 60.0, "", [b"there"]), origin)
    taken = state(split.lost).channels[0].retained[0].event_id
    for engine in split.stands.engines.values():
        assert isinstance(engine, EvtEngine)
        snapshot = engine.snapshot()
        other = m.Retained(taken, 1_000_000.5, (), 3, 60.0, "", b"here", (3, 9, 9, 0))
        channel = msgspec.structs.replace(snapshot.channels[0], retained=[other])
        engine.restore(msgspec.structs.replace(snapshot, channels=[channel]))
    replicas = split.merge()
    assert sorted(retained(replicas)) == [b"here", b"there"]
    assert len({event.event_id for event in state(replicas).channels[0].retained}) == 2


def test_a_client_that_died_meanwhile_is_gone_after_the_merge() -> None:
    split = Split(A, D)
    replicas = split.merge()
    replicas.gone(D)
    publish(replicas, A, b"1")
    assert replicas.events_for(D) == []


def test_counts_are_bounded_and_what_is_forgotten_was_not_missed() -> None:
    here, there = Tally(), Tally()
    for ring in range(1, STAYS_MAX + 3):
        here.add((1, ring, 1), 10)
    assert (len(here.counts()), here.forgotten) == (STAYS_MAX, 2)
    there.add((1, 2, 1), 10)
    there.add((1, 3, 1), 12)
    there.add((2, 3, 2), 1)
    assert here.missing(there) == 3
    there.unite(here)
    assert here.missing(there) == there.missing(here) == 0
    assert len(there.counts()) <= STAYS_MAX


def test_clients_of_nodes_that_are_gone_are_not_told() -> None:
    engine = EvtEngine()
    engine.apply(m.Open(1, "c", ALL), Origin(A, 1, 1, 1.0))
    engine.apply(m.Subscribe(1, 1, ()), Origin(A, 2, 2, 1.0))
    assert engine.apply(ClientGone(), Origin(A, 0, 3, 1.0)) == []
    engine.apply(m.Open(1, "c", ALL), Origin(B, 1, 4, 1.0))
    effects = engine.apply(m.Publish(1, (), 3, 0.0, "", [b""]), Origin(B, 2, 5, 1.0))
    assert not [effect for effect in effects if isinstance(effect, Event)]
