"""Nodes over a perfect order: state transfer, clients, safe replies, replicated timers."""

from collections.abc import Callable

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisexec.node import FENCE_PAUSE_SECONDS, ClientLost, Fenced, FromClients, Phase
from aisexec.outbox import CloseClient, Fence, ToClient
from aisexec.quorum import QuorumOptions
from aisexec.simulation.ideal import IdealCluster
from corosync_amf.engine import Done, Failed, Request, Service
from corosync_amf.wire import PROTOCOL, Ask, Events, Hello, Refused, Replies, Requests, Welcome, decode, encode

from .ledger import Append, AppendLater, Count, Counted, Grant, LedgerEngine, Noted

MAJORITY = QuorumOptions(enabled=True, votes={1: 1, 2: 1, 3: 1})


def cluster_of(*node_ids: int, quorum: QuorumOptions | None = None) -> IdealCluster:
    cluster = IdealCluster(lambda _: [LedgerEngine()], quorum)
    for node_id in node_ids:
        cluster.start(node_id)
    cluster.arrange(node_ids)
    cluster.deliver()
    return cluster


def connect(cluster: IdealCluster, node_id: int, client: int = 1) -> None:
    cluster.tell(node_id, FromClients([(client, Hello(PROTOCOL, 100))]))


def ask_to(cluster: IdealCluster, node_id: int, *requests: Request, client: int = 1, first: int = 1) -> None:
    frame = Requests(Service.CKPT, first, len(requests), encode(list(requests)))
    cluster.tell(node_id, FromClients([(client, frame)]))


def lines(cluster: IdealCluster, node_id: int) -> list[str]:
    engine = cluster.nodes[node_id].engines[Service.CKPT]
    assert isinstance(engine, LedgerEngine)
    return engine.lines


def frames(cluster: IdealCluster, node_id: int, client: int = 1) -> list[object]:
    sent = [e for e in cluster.effects[node_id] if isinstance(e, ToClient) and e.client == client]
    return [decode(frame, Welcome | Refused | Replies | Events) for effect in sent for frame in effect.frames]


def replies(cluster: IdealCluster, node_id: int, client: int = 1) -> dict[int, object]:
    kind = Done | Failed | Counted
    return {
        request: decode(message, kind)
        for frame in frames(cluster, node_id, client)
        if isinstance(frame, Replies)
        for request, message in frame.items
    }


def test_a_request_is_applied_on_every_node_and_answered_on_one() -> None:
    cluster = cluster_of(1, 2, 3)
    connect(cluster, 2)
    ask_to(cluster, 2, Append("a"), Append("b"))
    cluster.deliver()
    assert [lines(cluster, n) for n in (1, 2, 3)] == [["a", "b"]] * 3
    assert replies(cluster, 2) == {1: Done(), 2: Done()}
    assert not frames(cluster, 1)
    assert not frames(cluster, 3)


def test_events_and_replies_of_one_step_keep_their_order() -> None:
    cluster = cluster_of(1)
    connect(cluster, 1)
    ask_to(cluster, 1, Append("a"))
    cluster.deliver()
    welcome, events, answer = frames(cluster, 1)
    assert isinstance(welcome, Welcome)
    assert isinstance(events, Events)
    assert decode(events.items[0][1], Noted) == Noted("a")
    assert isinstance(answer, Replies)


def noted(cluster: IdealCluster, node_id: int) -> list[str]:
    """The events of client 1 of a node."""
    events = [frame for frame in frames(cluster, node_id) if isinstance(frame, Events)]
    return [decode(raw, Noted).line for frame in events for _, raw in frame.items]


def test_a_firm_event_is_told_when_all_members_are_known_to_have_what_caused_it() -> None:
    cluster = cluster_of(1, 2, 3, quorum=MAJORITY)
    for node_id in (1, 2):
        connect(cluster, node_id)
    ask_to(cluster, 1, Grant(1, "to the sender's"), Grant(2, "to another one's"))
    cluster.deliver(1, is_told_safe=False)
    assert [noted(cluster, n) for n in (1, 2)] == [[], []]
    ask_to(cluster, 2, Append("next"))
    cluster.deliver()
    assert [noted(cluster, n) for n in (1, 2)] == [["to the sender's"], ["to another one's", "next"]]


def test_what_a_lost_node_got_alone_is_not_told_as_firm() -> None:
    cluster = cluster_of(1, 2, 3, quorum=MAJORITY)
    connect(cluster, 1)
    ask_to(cluster, 1, Grant(1, "alone"))
    cluster.deliver_only_to(1)
    cluster.arrange((1,), (2, 3))
    cluster.deliver()
    cluster.arrange((1, 2, 3))
    cluster.deliver()
    assert noted(cluster, 1) == []


def test_a_joining_node_gets_the_state_and_what_was_ordered_since() -> None:
    cluster = cluster_of(1, 2)
    connect(cluster, 1)
    ask_to(cluster, 1, *[Append("x" * 1000) for _ in range(1000)])
    cluster.deliver()
    cluster.start(3)
    cluster.arrange((1, 2, 3))
    cluster.deliver(5)  # the hellos and a part of the snapshot
    assert cluster.nodes[3].phase is Phase.CATCHING_UP
    assert cluster.nodes[1].phase is Phase.RUNNING
    ask_to(cluster, 1, Append("while it joins"), first=2000)
    cluster.deliver()
    assert lines(cluster, 3) == lines(cluster, 1)
    assert lines(cluster, 3)[-1] == "while it joins"


def test_the_quorate_partition_stands_when_partitions_merge() -> None:
    cluster = cluster_of(1, 2, 3, quorum=MAJORITY)
    connect(cluster, 1)
    connect(cluster, 3)
    cluster.arrange((1,), (2, 3))
    cluster.deliver()
    ask_to(cluster, 1, Append("minority"))
    ask_to(cluster, 3, Append("majority"))
    cluster.deliver()
    refused = replies(cluster, 1)[1]
    assert isinstance(refused, Failed)
    assert refused.reason == "partition has no quorum"
    cluster.arrange((1, 2, 3))
    cluster.deliver()
    assert [lines(cluster, n) for n in (1, 2, 3)] == [["majority"]] * 3
    assert not any(isinstance(effect, CloseClient) for effect in cluster.effects[1])
    membership = cluster.nodes[2].membership
    assert membership is not None
    assert membership.joined == {1}


def test_what_a_lost_node_decided_alone_has_smaller_order_numbers_than_what_is_decided_from_then_on() -> None:
    cluster = cluster_of(1, 2, 3, quorum=MAJORITY)
    connect(cluster, 1)
    ask_to(cluster, 1, *[Append("nobody else gets this")] * 1000)
    cluster.deliver_only_to(1)
    decided_alone = cluster.nodes[1].order
    cluster.arrange((1,), (2, 3))
    cluster.deliver()
    assert len(lines(cluster, 1)) == 1000
    assert lines(cluster, 2) == lines(cluster, 3) == []
    membership = cluster.nodes[2].membership
    assert membership is not None
    assert membership.quorate
    assert membership.order > decided_alone


def test_the_clients_of_a_node_that_gives_way_go_on_with_what_it_brings_along() -> None:
    cluster = cluster_of(1, 2, 3)
    connect(cluster, 1)
    connect(cluster, 3)
    cluster.arrange((1,), (2, 3))
    cluster.deliver()
    ask_to(cluster, 1, Append("keep this"), Append("and not that"))
    ask_to(cluster, 3, Append("majority"))
    cluster.deliver()
    ask_to(cluster, 1, Append("sent before the merge"), first=10)
    cluster.arrange((1, 2, 3))
    ask_to(cluster, 1, Append("sent during the merge"), first=11)
    cluster.deliver()
    assert lines(cluster, 1) == ["majority", "1 brings keep this", "sent before the merge", "sent during the merge"]
    assert lines(cluster, 2) == lines(cluster, 3) == lines(cluster, 1)
    assert replies(cluster, 1) == dict.fromkeys((1, 2, 10, 11), Done())


def test_what_a_node_brings_along_arrives_once_though_it_is_cut_off_again_on_its_way_back() -> None:
    for step in range(1, 14):
        cluster = cluster_of(1, 2, 3)
        connect(cluster, 1)
        cluster.arrange((1,), (2, 3))
        cluster.deliver()
        ask_to(cluster, 1, Append("keep this"))
        cluster.deliver()
        cluster.arrange((1, 2, 3))
        ask_to(cluster, 1, Append("keep later"), first=2)
        cluster.deliver(step)
        cluster.arrange((1,), (2, 3))
        cluster.deliver()
        cluster.arrange((1, 2, 3))
        cluster.deliver()
        assert lines(cluster, 2) == lines(cluster, 3) == lines(cluster, 1), step
        for text in ("keep this", "keep later"):
            assert len([line for line in lines(cluster, 1) if line.endswith(text)]) == 1, (step, text)
        assert replies(cluster, 1)[2] == Done(), step


def test_a_membership_says_the_highest_number_of_all_partitions_though_the_ring_changes_while_one_takes_over() -> None:
    cluster = cluster_of(1, 2, 3)
    connect(cluster, 1)
    connect(cluster, 3)
    cluster.arrange((1,), (2, 3))
    cluster.deliver()
    ask_to(cluster, 1, Append("a"), Append("b"))
    ask_to(cluster, 3, Append("x" * 1_000_000))
    cluster.deliver()
    cluster.arrange((1, 2, 3))
    cluster.deliver(5)
    assert cluster.nodes[1].phase is Phase.CATCHING_UP
    cluster.arrange((1, 2, 3))
    cluster.deliver()
    assert len(lines(cluster, 1)) == 1
    for node in cluster.nodes.values():
        assert node.membership is not None
        assert node.membership.highest == {Service.CKPT: 2}


def test_a_write_is_not_acknowledged_while_those_who_have_the_state_are_no_quorum() -> None:
    """The last survivor would take it along if it were cut off again before the other has taken over its state."""
    cluster = cluster_of(1, 2, 3, quorum=MAJORITY)
    connect(cluster, 1)
    cluster.crash(3)
    cluster.arrange((1, 2))
    cluster.advance(MAJORITY.guard)
    cluster.crash(2)
    cluster.start(2)
    cluster.arrange((1,), (2,))
    cluster.advance(MAJORITY.guard)
    cluster.arrange((1, 2))

    def catching_up() -> bool:
        return cluster.nodes[2].phase is Phase.CATCHING_UP

    while not catching_up():
        assert cluster.deliver(1)
    ask_to(cluster, 1, Append("x" * 10, safe=True))
    while 1 not in replies(cluster, 1):
        assert cluster.nodes[1].quorate
        assert cluster.deliver(1)
    assert not catching_up()


def test_the_last_survivor_of_a_quorum_stands_against_a_node_that_was_cut_off_before() -> None:
    cluster = cluster_of(1, 2, 3, quorum=MAJORITY)
    connect(cluster, 3)
    cluster.arrange((1,), (2, 3))
    cluster.deliver()
    ask_to(cluster, 3, Append("acknowledged"))
    cluster.deliver()
    cluster.crash(2)
    cluster.arrange((3,), (1,))  # node 1 now has the higher ring
    cluster.deliver()
    cluster.start(2)
    cluster.arrange((1, 2, 3))
    cluster.deliver()
    assert [lines(cluster, n) for n in (1, 2, 3)] == [["acknowledged"]] * 3


def test_a_node_that_starts_waits_for_the_guard_while_another_is_missing() -> None:
    """Its former incarnation may have heard the missing one, whose lease then goes on."""
    cluster = IdealCluster(lambda _: [LedgerEngine()], MAJORITY)
    for node_id in (1, 3):
        cluster.start(node_id)
    cluster.arrange((1, 3))
    cluster.advance(MAJORITY.guard - 0.01)
    assert not any(node.quorate for node in cluster.nodes.values())
    cluster.advance(0.02)
    assert all(node.quorate for node in cluster.nodes.values())


def test_a_required_fence_that_fails_is_tried_again_after_a_pause_and_nobody_acts_before() -> None:
    cluster = IdealCluster(lambda _: [LedgerEngine()], MAJORITY, fences=True)
    for node_id in (1, 2, 3):
        cluster.start(node_id)
    cluster.arrange((1, 2, 3))
    cluster.deliver()
    cluster.arrange((1, 2))
    cluster.deliver()

    def fences() -> list[Fence]:
        return [effect for effect in cluster.effects[1] if isinstance(effect, Fence)]

    for attempts in (1, 2, 3):
        assert [[facts.node_id for facts in each.nodes] for each in fences()] == [[3]] * attempts
        cluster.tell(1, Fenced(fences()[-1].ring_seq, ok=False))
        cluster.advance(FENCE_PAUSE_SECONDS * 0.9)
        assert len(fences()) == attempts
        cluster.advance(FENCE_PAUSE_SECONDS * 0.2)
    assert cluster.nodes[1].phase is Phase.WAITING
    cluster.tell(1, Fenced(fences()[-1].ring_seq, ok=True))
    cluster.deliver()
    membership = cluster.nodes[2].membership
    assert membership is not None
    assert (membership.members, membership.quorate) == ((1, 2), True)


def test_what_clients_of_a_node_that_gives_way_had_queued_is_applied_once_after_its_return() -> None:
    cluster = cluster_of(1, 2, 3, quorum=MAJORITY)
    connect(cluster, 1)
    cluster.arrange((1,), (2, 3))
    cluster.deliver()
    ask_to(cluster, 1, Append("queued"))
    cluster.arrange((1, 2, 3))
    cluster.deliver()
    assert [lines(cluster, n) for n in (1, 2, 3)] == [["queued"]] * 3
    assert replies(cluster, 1) == {1: Done()}


def test_a_node_that_died_and_came_back_at_once_is_left_and_joined() -> None:
    cluster = cluster_of(1, 2, 3)
    cluster.crash(2)
    cluster.start(2)
    cluster.arrange((1, 2, 3))
    cluster.deliver()
    membership = cluster.nodes[1].membership
    assert membership is not None
    assert membership.left == {2}
    assert membership.joined == {2}


def test_a_client_that_dies_is_told_to_every_replica() -> None:
    cluster = cluster_of(1, 2)
    connect(cluster, 1, client=7)
    cluster.tell(1, ClientLost(7))
    cluster.deliver()
    assert lines(cluster, 2) == ["gone 1/7"]


def test_the_next_coordinator_rings_a_timer_whose_first_one_died() -> None:
    cluster = cluster_of(1, 2, 3)
    connect(cluster, 2)
    ask_to(cluster, 2, AppendLater("later", 5.0))
    cluster.deliver()
    cluster.advance(4.0)
    cluster.crash(1)
    cluster.arrange((2, 3))
    cluster.advance(0.5)
    assert lines(cluster, 3) == []
    cluster.advance(1.0)
    assert [lines(cluster, n) for n in (2, 3)] == [["later"]] * 2


def test_a_node_that_joins_knows_the_timers() -> None:
    cluster = cluster_of(2)
    connect(cluster, 2)
    ask_to(cluster, 2, AppendLater("later", 5.0))
    cluster.deliver()
    cluster.start(1)
    cluster.arrange((1, 2))
    cluster.advance(6.0)
    assert [lines(cluster, n) for n in (1, 2)] == [["later"]] * 2


def test_a_safe_reply_of_a_lost_ring_comes_after_the_next_membership() -> None:
    cluster = cluster_of(1, 2, 3, quorum=MAJORITY)
    connect(cluster, 2)
    node = cluster.nodes[2]
    ask_to(cluster, 2, Append("x", safe=True))
    cluster.deliver()
    assert replies(cluster, 2) == {1: Done()}
    assert node.quorate


def test_requests_of_a_node_that_waits_for_the_others_are_kept_and_then_ordered() -> None:
    cluster = cluster_of(1, 2)
    connect(cluster, 1)
    cluster.start(3)
    cluster.arrange((1, 2, 3))
    ask_to(cluster, 1, Append("kept"))
    assert cluster.nodes[1].held_bytes > 0
    cluster.deliver()
    assert [lines(cluster, n) for n in (1, 2, 3)] == [["kept"]] * 3


def test_garbage_in_a_bundle_closes_its_client_and_harms_nobody() -> None:
    cluster = cluster_of(1, 2)
    connect(cluster, 1)
    cluster.tell(1, FromClients([(1, Requests(Service.CKPT, 1, 1, b"\xc1garbage"))]))
    cluster.tell(1, FromClients([(1, Requests(99, 1, 1, b""))]))
    cluster.tell(1, FromClients([(1, Ask(Service.CKPT, 1, b"\xc1"))]))
    cluster.deliver()
    assert sum(isinstance(effect, CloseClient) for effect in cluster.effects[1]) == 3
    connect(cluster, 2)
    ask_to(cluster, 2, Append("fine"))
    cluster.deliver()
    assert lines(cluster, 1) == ["fine"]


def test_a_query_is_answered_from_the_local_replica() -> None:
    cluster = cluster_of(1, 2)
    connect(cluster, 1)
    ask_to(cluster, 1, Append("a"))
    cluster.deliver()
    cluster.tell(1, FromClients([(1, Ask(Service.CKPT, 9, encode(Count())))]))
    assert replies(cluster, 1)[9] == Counted(1)


Step = Callable[[IdealCluster, int], None]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_replicas_of_one_partition_agree_and_acknowledged_lines_survive(data: st.DataObject) -> None:
    """Random partitions, merges, crashes and restarts, also in the middle of a state transfer."""
    cluster = cluster_of(1, 2, 3, quorum=MAJORITY)
    acknowledged: list[str] = []
    for number in range(data.draw(st.integers(1, 12))):
        action = data.draw(st.sampled_from(["append", "append", "split", "merge", "restart"]))
        if action == "append":
            node_id = data.draw(st.sampled_from([1, 2, 3]))
            connect(cluster, node_id)
            ask_to(cluster, node_id, Append(f"{number} {'x' * 30_000}", safe=True), first=number)
        elif action == "split":
            alone = data.draw(st.sampled_from([1, 2, 3]))
            cluster.arrange((alone,), tuple(n for n in (1, 2, 3) if n != alone))
        elif action == "merge":
            cluster.arrange((1, 2, 3))
        else:
            node_id = data.draw(st.sampled_from([1, 2, 3]))
            cluster.crash(node_id)
            cluster.arrange(tuple(n for n in (1, 2, 3) if n != node_id))
            cluster.deliver()  # at most one node is without the state at any time
            cluster.start(node_id)
            cluster.arrange((1, 2, 3))
        cluster.deliver(data.draw(st.sampled_from([0, 1, 3, 5, None])))
        if action == "restart":
            cluster.deliver()
    cluster.arrange((1, 2, 3))
    cluster.deliver()
    for node_id in (1, 2, 3):
        answers = replies(cluster, node_id)
        acknowledged += [str(n) for n, answer in answers.items() if isinstance(answer, Done)]
    states = [msgspec.msgpack.encode(cluster.nodes[n].engines[Service.CKPT].snapshot()) for n in (1, 2, 3)]
    assert states[0] == states[1] == states[2]
    kept = {line.split()[0] for line in lines(cluster, 1)}
    assert set(acknowledged) <= kept
