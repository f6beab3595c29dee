"""CPG's replicas: members, messages, what nodes that go and come do to them."""

from typing import Any

import pytest

from corosync_amf import errors
from corosync_amf.engine import Client, Done, Event, Membership, Origin, Reply
from corosync_amf.messaging import PACK_BYTES, RingId, pack
from corosync_amf.services.cpg import messages as m
from corosync_amf.services.cpg.engine import CpgEngine
from corosync_amf.services.cpg.values import GROUPS_MAX, MEMBERS_MAX, MESSAGE_BYTES_MAX, Reason
from corosync_amf.wire import decode, encode

from .harness import Replicas, facts_of, refused

A, B, C, A2 = Client(1, 1), Client(2, 1), Client(3, 1), Client(1, 2)
PIDS = {A: 11, B: 21, C: 31, A2: 12}
DONE = Done()


def message_of(*messages: bytes, safe: bool = False) -> m.Multicast:
    return m.Multicast(safe, len(messages), pack(messages))


def joined(replicas: Replicas, *clients: Client, group: bytes = b"g") -> None:
    for client in clients:
        assert replicas.send(client, m.Join(group, PIDS[client])).message == DONE
    for client in clients:
        replicas.events_for(client)


@pytest.fixture
def replicas() -> Replicas:
    return Replicas(CpgEngine)


def address(client: Client, *reason: int) -> tuple[int, ...]:
    return (client.node, PIDS[client], *reason)


def test_members_are_told_of_a_join_the_new_one_too(replicas: Replicas) -> None:
    joined(replicas, A)
    replicas.send(B, m.Join(b"g", 21))
    change = m.Changed(b"g", [(1, 11), (2, 21)], [], [(2, 21, Reason.JOIN)], "process 21 on node 2 joined")
    assert replicas.events == [(A, change), (B, change)]


def test_the_one_that_leaves_is_told_so(replicas: Replicas) -> None:
    joined(replicas, A, B)
    assert replicas.send(A, m.Leave(b"g")).message == DONE
    change = m.Changed(b"g", [(2, 21)], [(1, 11, Reason.LEAVE)], [], "process 11 on node 1 left")
    assert replicas.events == [(A, change), (B, change)]
    for client, group in ((A, b"g"), (B, b"another")):
        assert isinstance(refused(replicas.send(client, m.Leave(group))), errors.NotExist)


def test_an_orderly_end_is_a_leave_and_a_death_is_not(replicas: Replicas) -> None:
    joined(replicas, A, B, C)
    replicas.send(A, m.Finalize())
    assert [event.left for event in replicas.events_for(C)] == [[(1, 11, Reason.LEAVE)]]
    replicas.gone(A)
    assert not replicas.events_for(C)
    replicas.gone(B)
    (event,) = replicas.events_for(C)
    assert (event.left, event.members) == ([(2, 21, Reason.PROCDOWN)], [(3, 31)])
    assert event.reason == "process 21 on node 2 died"
    assert replicas.ask(C, m.GetMembers(b"g")) == m.Members([m.Member(C, 31)])


def test_a_session_is_in_one_group(replicas: Replicas) -> None:
    joined(replicas, A)
    assert isinstance(refused(replicas.send(A, m.Join(b"other", 11))), errors.Exist)


@pytest.mark.parametrize("request_", [m.Join(b"", 1), m.Join(b"x" * 129, 1), m.Join(b"g", -1), m.Join(b"g", 2**32)])
def test_a_bad_join_is_refused(replicas: Replicas, request_: m.Join) -> None:
    assert isinstance(refused(replicas.send(A, request_)), errors.InvalidParam)


def test_a_group_has_an_end_of_members() -> None:
    replicas = Replicas(CpgEngine, members=(1,))
    for number in range(MEMBERS_MAX):
        replicas.send(Client(1, number + 1), m.Join(b"g", number))
    replicas.events.clear()
    assert isinstance(refused(replicas.send(Client(1, 1000), m.Join(b"g", 1))), errors.NoResources)


def test_the_cluster_has_an_end_of_groups() -> None:
    engine = CpgEngine()
    groups = [m.Group(number.to_bytes(4, "big"), [m.Member(Client(1, number), 1)]) for number in range(GROUPS_MAX)]
    engine.restore(m.Snapshot(groups, [], RingId(1, 1), (1,)))
    (reply,) = engine.apply(m.Join(b"one more", 1), Origin(Client(2, 1)))
    assert isinstance(reply, Reply)
    assert isinstance(refused(reply.message), errors.NoResources)
    last = engine.query(m.GetPage((GROUPS_MAX - 3).to_bytes(4, "big"), False), A)
    assert isinstance(last, m.Page)
    assert (len(last.groups), last.is_last) == (2, True)


def test_all_members_get_a_pack_as_it_is_and_a_safe_one_waits(replicas: Replicas) -> None:
    joined(replicas, A, B)
    engine = replicas.engines[1]
    data = pack([b"x", b"y"])
    for is_safe in (False, True):
        effects = engine.apply(m.Multicast(is_safe, 2, data), Origin(A))
        told = m.Messages(2, data, b"g", 1, 11)
        assert effects == [Event(A, told, is_safe), Event(B, told, is_safe), Reply(Origin(A), DONE)]


@pytest.mark.parametrize(
    ("count", "data"),
    [
        (0, pack([])),
        (-1, pack([])),
        (2**40, pack([b"x"])),
        (1, pack([bytes(MESSAGE_BYTES_MAX + 1)])),
        (2, pack([bytes(PACK_BYTES), b"x"])),
    ],
)
def test_a_pack_that_cannot_be_one_is_refused(replicas: Replicas, count: int, data: memoryview) -> None:
    joined(replicas, A)
    assert isinstance(refused(replicas.send(A, m.Multicast(False, count, data))), errors.InvalidParam)
    assert not replicas.events


def test_the_longest_message_passes(replicas: Replicas) -> None:
    joined(replicas, A)
    assert replicas.send(A, message_of(bytes(MESSAGE_BYTES_MAX))).message == DONE


def test_who_is_in_no_group_sends_nothing(replicas: Replicas) -> None:
    assert isinstance(refused(replicas.send(A, message_of(b"x"))), errors.NotExist)


def test_members_of_a_lost_node_are_down(replicas: Replicas) -> None:
    joined(replicas, A, B, C, A2)
    replicas.change(left=[1, 3], reasons={1: "node 1 was lost"})
    (event,) = replicas.events_for(B)
    assert event.members == [(2, 21)]
    assert event.left == [address(A, Reason.NODEDOWN), address(C, Reason.NODEDOWN), address(A2, Reason.NODEDOWN)]
    assert event.reason == "node 1 was lost; node 3 is gone"
    replicas.change(joined=[1, 3])
    assert not replicas.events


def test_a_node_that_came_back_at_once_has_lost_its_members(replicas: Replicas) -> None:
    joined(replicas, A, B)
    replicas.change(left=[1], joined=[1])
    (event,) = replicas.events_for(B)
    assert event.left == [address(A, Reason.NODEDOWN)]


def test_a_group_without_members_is_gone(replicas: Replicas) -> None:
    joined(replicas, A)
    replicas.send(A, m.Leave(b"g"))
    assert replicas.ask(B, m.GetPage(b"", True)) == m.Page([], True)


def test_watchers_are_told_of_the_ring(replicas: Replicas) -> None:
    first = RingId(1, replicas.order)
    assert replicas.send(A, m.Watch(3)).message == DONE
    replicas.send(B, m.Watch(2))
    assert replicas.events_for(A) == [m.Totem(first, (1, 2, 3))]
    assert replicas.events_for(B) == [m.Totem(first, (1, 2, 3))]
    replicas.change(left=[3])
    assert replicas.events_for(A) == [m.Totem(RingId(1, replicas.order), (1, 2))]
    assert not replicas.events
    replicas.send(A, m.Finalize())
    replicas.change(joined=[3])
    assert not replicas.events


def test_the_ring_is_named_by_its_number_and_lowest_member() -> None:
    engine = CpgEngine()
    engine.apply(m.Watch(1), Origin(A))
    change = Membership((1, 2), frozenset((1, 2)), frozenset(), True, {1: facts_of(1), 2: facts_of(2)}, ring_seq=77)
    assert engine.membership(change) == [Event(A, m.Totem(RingId(1, 77), (1, 2)))]


def test_pages_hold_all_groups_in_order(replicas: Replicas) -> None:
    clients = [Client(1, number) for number in range(600)]
    for client in clients:
        replicas.engines[1].apply(m.Join(f"{client.number:03}".encode(), 1), Origin(client))
    names: list[bytes] = []
    after, pages = b"", 0
    while True:
        page: Any = replicas.engines[1].query(m.GetPage(after, True), A)
        names += [group.name for group in page.groups]
        pages += 1
        if page.is_last:
            break
        after = names[-1]
    assert names == [f"{number:03}".encode() for number in range(600)]
    assert pages == 2


def merged(standing: Replicas, other: Replicas, node: int) -> None:
    """The node gives way with its partition: it takes over the standing state, and its remnant is applied."""
    kind = CpgEngine.remnant_type
    remnant = other.engines[node].remnant(node)
    standing.change(joined=[node])
    if remnant is None:
        return
    data = encode(remnant)
    origin = standing._origin(Client(node, 0))
    standing._all(
        [(each, engine.merge(decode(data, kind), origin)) for each, engine in sorted(standing.engines.items())]
    )


def test_groups_unite_when_partitions_meet_again() -> None:
    standing, other = Replicas(CpgEngine), Replicas(CpgEngine)
    for replicas in (standing, other):
        joined(replicas, A, B, C)
    standing.change(left=[3])
    other.change(left=[1, 2])
    joined(standing, A2)
    late = Client(3, 2)
    other.send(late, m.Join(b"g", 32))
    other.send(late, m.Watch(1))
    first_ring = standing.order
    standing.events.clear()
    merged(standing, other, 3)
    everybody = [(1, 11), (2, 21), (1, 12), (3, 31), (3, 32)]
    back = [(3, 31, Reason.NODEUP), (3, 32, Reason.NODEUP)]
    for client in (A, B, A2):
        (event,) = standing.events_for(client)
        assert (event.members, event.left, event.joined) == (everybody, [], back)
    (event,) = standing.events_for(C)
    others = [(1, 11, Reason.NODEUP), (2, 21, Reason.NODEUP), (1, 12, Reason.NODEUP)]
    assert (event.members, event.left, event.joined) == (everybody, [], others)
    totem, event = standing.events_for(late)
    assert (totem.ring_id.node_id, totem.members) == (1, (1, 2, 3))
    assert totem.ring_id.seq > first_ring
    assert event.joined == others
    assert standing.send(C, message_of(b"x")).message == DONE
    assert {to for to, _ in standing.events} == {A, B, A2, C, late}


def test_members_that_were_lost_meanwhile_are_told_to_those_that_come_back() -> None:
    standing, other = Replicas(CpgEngine), Replicas(CpgEngine)
    for replicas in (standing, other):
        joined(replicas, A, C, A2)
    standing.change(left=[3])
    standing.gone(A2)
    standing.events.clear()
    merged(standing, other, 3)  # it never knew that it was alone
    (event,) = standing.events_for(C)
    assert event.members == [(1, 11), (3, 31)]
    assert (event.left, event.joined) == ([(1, 12, Reason.NODEDOWN)], [])


def test_a_group_that_stood_nowhere_else_goes_on() -> None:
    standing, other = Replicas(CpgEngine), Replicas(CpgEngine)
    other.change(left=[1, 2])
    joined(other, C)
    standing.change(left=[3])
    merged(standing, other, 3)
    assert not standing.events  # nothing has changed for it
    assert standing.ask(A, m.GetMembers(b"g")) == m.Members([m.Member(C, 31)])


def test_a_remnant_speaks_for_its_own_node_only() -> None:
    engine = CpgEngine()
    foreign = m.Seen(A, b"g", [m.Member(A, 11)])
    assert engine.merge(m.Remnant([foreign], [A]), Origin(Client(3, 0))) == []
    assert engine.remnant(3) is None
