"""EVS's replicas: groups, messages, configurations."""

from typing import Any

import pytest

from corosync_amf import errors
from corosync_amf.engine import Client, Done, Event, Membership, Origin, Reply
from corosync_amf.messaging import RingId, pack
from corosync_amf.services.evs import messages as m
from corosync_amf.services.evs.engine import ADDRESSES_MAX, REGULAR, TRANSITIONAL, EvsEngine
from corosync_amf.services.evs.values import GROUPS_MAX
from corosync_amf.wire import decode, encode

from .harness import Replicas, facts_of, refused

A, B, C, A2 = Client(1, 1), Client(2, 1), Client(3, 1), Client(1, 2)
DONE = Done()


def message_of(*messages: bytes, groups: tuple[bytes, ...] | None = None, safe: bool = False) -> m.Multicast:
    return m.Multicast(groups, safe, len(messages), pack(messages))


def joined(replicas: Replicas, client: Client, *groups: bytes) -> None:
    assert replicas.send(client, m.Open()).message == DONE
    if groups:
        assert replicas.send(client, m.Join(groups)).message == DONE
    replicas.events_for(client)


@pytest.fixture
def replicas() -> Replicas:
    return Replicas(EvsEngine)


def test_a_session_is_told_of_the_configuration_first(replicas: Replicas) -> None:
    replicas.send(A, m.Open())
    nodes, ring = (1, 2, 3), RingId(1, 1)
    assert replicas.events == [(A, m.Changed(nodes, (), nodes, ring, REGULAR, "the present configuration"))]
    assert replicas.ask(A, m.GetMembers()) == m.Members((1, 2, 3))


def test_a_message_reaches_the_sessions_in_any_of_the_groups_once(replicas: Replicas) -> None:
    joined(replicas, A, b"x", b"y")
    joined(replicas, B, b"x", b"y")
    joined(replicas, C, b"y")
    joined(replicas, A2, b"z")
    assert replicas.send(A, message_of(b"1")).message == DONE
    assert [to for to, _ in replicas.events] == [A, B, C]
    assert replicas.events_for(B) == [m.Messages(1, pack([b"1"]), 1)]
    replicas.events.clear()
    replicas.send(A, message_of(b"2", groups=(b"z",)))
    assert [to for to, _ in replicas.events] == [A2]
    replicas.events.clear()
    replicas.send(C, message_of(b"3", groups=(b"nobody",)))
    assert replicas.events == []


def test_who_joins_or_leaves_meanwhile_gets_more_or_no_more(replicas: Replicas) -> None:
    joined(replicas, A, b"x")
    replicas.send(A, message_of(b"1"))
    joined(replicas, B, b"x")
    replicas.send(A, message_of(b"2"))
    replicas.send(B, m.Leave((b"x",)))
    replicas.send(A, message_of(b"3"))
    assert [event.data for event in replicas.events_for(B)] == [pack([b"2"])]
    assert len(replicas.events_for(A)) == 3


def test_a_safe_pack_waits(replicas: Replicas) -> None:
    joined(replicas, A, b"x")
    effects = replicas.engines[1].apply(message_of(b"1", safe=True), Origin(A))
    assert effects == [Event(A, m.Messages(1, pack([b"1"]), 1), safe=True), Reply(Origin(A), DONE)]


def test_joining_is_all_or_nothing(replicas: Replicas) -> None:
    joined(replicas, A, b"x")
    assert isinstance(refused(replicas.send(A, m.Join((b"y", b"x")))), errors.Exist)
    assert isinstance(refused(replicas.send(A, m.Leave((b"x", b"y")))), errors.NotExist)
    assert replicas.send(A, m.Leave((b"x",))).message == DONE
    assert isinstance(refused(replicas.send(A, message_of(b"1"))), errors.NotExist)


@pytest.mark.parametrize("groups", [(), (b"",), (b"x" * 33,), (b"x", b"")])
def test_bad_groups_are_refused(replicas: Replicas, groups: tuple[bytes, ...]) -> None:
    joined(replicas, A, b"a")
    for request in (m.Join(groups), m.Leave(groups), message_of(b"1", groups=groups)):
        assert isinstance(refused(replicas.send(A, request)), errors.InvalidParam)


def test_who_has_no_session_is_refused(replicas: Replicas) -> None:
    for request in (m.Join((b"x",)), m.Leave((b"x",)), message_of(b"1")):
        assert isinstance(refused(replicas.send(A, request)), errors.BadHandle)
    assert replicas.send(A, m.Finalize()).message == DONE


def test_a_pack_that_cannot_be_one_is_refused(replicas: Replicas) -> None:
    joined(replicas, A, b"x")
    assert isinstance(refused(replicas.send(A, m.Multicast(None, False, 0, pack([])))), errors.InvalidParam)


def test_the_cluster_has_an_end_of_groups() -> None:
    engine = EvsEngine()
    groups = tuple(number.to_bytes(4, "big") for number in range(GROUPS_MAX))
    engine.restore(m.Snapshot([m.SessionRecord(A, groups), m.SessionRecord(B, ())], (1,), RingId(1, 1)))
    (reply,) = engine.apply(m.Join((b"more",)), Origin(B))
    assert isinstance(reply, Reply)
    assert isinstance(refused(reply.message), errors.NoResources)
    (reply,) = engine.apply(m.Join((groups[0],)), Origin(B))
    assert isinstance(reply, Reply)
    assert reply.message == DONE


def test_what_is_remembered_of_addresses_has_an_end() -> None:
    engine = EvsEngine()
    engine.apply(m.Open(), Origin(A))
    engine.apply(m.Join((b"x",)), Origin(A))
    for number in range(ADDRESSES_MAX + 10):
        engine.apply(message_of(b"1", groups=(number.to_bytes(4, "big"),)), Origin(A))
    assert len(engine._receivers) <= ADDRESSES_MAX
    told = engine.apply(message_of(b"1", groups=(b"x",)), Origin(A))
    assert [effect.to for effect in told if isinstance(effect, Event)] == [A]


def test_a_change_of_the_ring_is_two_configurations(replicas: Replicas) -> None:
    joined(replicas, A)
    joined(replicas, C, b"x")
    replicas.change(left=[3], reasons={3: "node 3 was lost"})
    ring = RingId(1, replicas.order)
    assert replicas.events == [
        (A, m.Changed((1, 2), (3,), (), ring, TRANSITIONAL, "node 3 was lost")),
        (A, m.Changed((1, 2), (), (), ring, REGULAR, "node 3 was lost")),
    ]
    replicas.events.clear()
    replicas.change(joined=[3])
    ring = RingId(1, replicas.order)
    assert replicas.events == [
        (A, m.Changed((1, 2), (), (), ring, TRANSITIONAL, "node 3 joined")),
        (A, m.Changed((1, 2, 3), (), (3,), ring, REGULAR, "node 3 joined")),
    ]


def test_the_transitional_configuration_goes_ahead() -> None:
    engine = EvsEngine()
    nodes = {node: facts_of(node) for node in (1, 2)}
    engine.membership(Membership((1, 2), frozenset((1, 2)), frozenset(), True, nodes, ring_seq=5))
    engine.apply(m.Open(), Origin(A))
    same = Membership((1, 2), frozenset(), frozenset(), True, nodes, ring_seq=6)
    effects: list[Any] = engine.membership(same)
    assert [(effect.ahead, effect.message.kind) for effect in effects] == [(True, TRANSITIONAL), (False, REGULAR)]
    assert effects[0].message.ring_id == RingId(1, 6)
    assert effects[0].message.reason == "the ring formed anew"


def test_a_node_that_came_back_at_once_has_left_and_joined(replicas: Replicas) -> None:
    joined(replicas, A)
    joined(replicas, B)
    replicas.change(left=[2], joined=[2])
    transitional, regular = replicas.events_for(A)
    assert (transitional.members, transitional.left, regular.joined) == ((1, 3), (2,), (2,))
    assert not replicas.events_for(B)


def test_a_process_that_dies_gets_no_more(replicas: Replicas) -> None:
    joined(replicas, A, b"x")
    joined(replicas, B, b"x")
    replicas.gone(B)
    replicas.send(A, message_of(b"1"))
    assert [to for to, _ in replicas.events] == [A]


def test_sessions_of_a_node_that_gives_way_go_on() -> None:
    standing, other = Replicas(EvsEngine), Replicas(EvsEngine)
    for replicas in (standing, other):
        joined(replicas, A, b"x")
        joined(replicas, C, b"x")
    standing.change(left=[3])
    other.change(left=[1])
    joined(other, Client(3, 2), b"y")
    standing.events.clear()
    remnant = other.engines[3].remnant(3)
    assert other.engines[3].remnant(2) is None
    standing.change(joined=[3])
    assert [event.kind for event in standing.events_for(A)] == [TRANSITIONAL, REGULAR]
    assert not standing.events
    origin = standing._origin(Client(3, 0))
    kind = EvsEngine.remnant_type
    standing._all(
        [
            (node, engine.merge(decode(encode(remnant), kind), origin))
            for node, engine in sorted(standing.engines.items())
        ]
    )
    for client in (C, Client(3, 2)):
        transitional, regular = standing.events_for(client)
        assert (transitional.members, transitional.left, transitional.kind) == ((3,), (2,), TRANSITIONAL)
        assert (regular.members, regular.joined, regular.kind) == ((1, 2, 3), (1, 2), REGULAR)
    standing.send(A, message_of(b"1"))
    assert [to for to, _ in standing.events] == [A, C]


def test_a_remnant_speaks_for_its_own_node_only() -> None:
    engine = EvsEngine()
    remnant = m.Remnant([m.SessionRecord(A, (b"x",))], (1, 3))
    assert engine.merge(remnant, Origin(Client(3, 0))) == []
    assert engine.remnant(1) is None
