"""CLM: views, tracking with its steps, operations on nodes."""

from typing import Any

import msgspec
import pytest

from corosync_amf import errors
from corosync_amf.ais import LOCAL_NODE_ID, Admin, TrackFlags
from corosync_amf.engine import Client, Done, NodeCleared, NodeStanding, Origin, Request
from corosync_amf.errors import AisError
from corosync_amf.services.clm import messages as m
from corosync_amf.services.clm.engine import ClmEngine, ClmSettings
from corosync_amf.services.clm.messages import NodeOperation
from corosync_amf.services.clm.values import (
    AddressFamily,
    ChangeStep,
    ClusterChange,
    ClusterView,
    Response,
)
from corosync_amf.services.clm.views import node_of

from .harness import START_TIME, Answer, Replicas, facts_of, refused
from .merging import meet, split

A, B, C = Client(1, 7), Client(2, 7), Client(3, 7)
OPERATOR = Client(1, 99)
CURRENT, CHANGES, CHANGES_ONLY = TrackFlags.CURRENT, TrackFlags.CHANGES, TrackFlags.CHANGES_ONLY
LOCAL, START_STEP, VALIDATE_STEP = TrackFlags.LOCAL, TrackFlags.START_STEP, TrackFlags.VALIDATE_STEP
NO_CHANGE, JOINED, LEFT, SHUTTING = (
    ClusterChange.NO_CHANGE,
    ClusterChange.JOINED,
    ClusterChange.LEFT,
    ClusterChange.SHUTDOWN,
)
VALIDATE, START, ABORTED, COMPLETED = (
    ChangeStep.VALIDATE,
    ChangeStep.START,
    ChangeStep.ABORTED,
    ChangeStep.COMPLETED,
)
LOCK, UNLOCK, SHUTDOWN = NodeOperation.LOCK, NodeOperation.UNLOCK, NodeOperation.SHUTDOWN


def cluster(*members: int, settings: ClmSettings | None = None) -> Replicas:
    return Replicas(lambda: ClmEngine(settings), members=members or (1, 2, 3))


def track(replicas: Replicas, client: Client, flags: TrackFlags, *, as_event: bool = False) -> ClusterView:
    answer = replicas.send(client, m.Track(int(flags), as_event))
    assert isinstance(answer.message, m.View), answer
    return answer.message.view


def operate(replicas: Replicas, operation: NodeOperation, name: str, **more: Any) -> Answer:
    return replicas.send(OPERATOR, m.Operate(operation, name, **more))


def shown(view: ClusterView) -> list[tuple[int, ClusterChange, bool]]:
    return [(each.cluster_node.node_id, each.cluster_change, each.cluster_node.member) for each in view.notifications]


def view_of(replicas: Replicas, client: Client = A) -> ClusterView:
    answer = replicas.ask(client, m.GetView(int(CURRENT)))
    assert isinstance(answer, m.View)
    return answer.view


# ---- membership


def test_a_cluster_starts_with_view_one() -> None:
    replicas = cluster()
    view = view_of(replicas)
    assert (view.view_number, view.number_of_members, view.quorate) == (1, 3, True)
    assert shown(view) == [(1, NO_CHANGE, True), (2, NO_CHANGE, True), (3, NO_CHANGE, True)]


def test_every_change_logs_the_addresses_of_all_members() -> None:
    replicas = cluster(1, 2)
    replicas.change(joined=[3])
    replicas.change(left=[1], reasons={1: "token lost"})
    begin = "CLM: view 2, 3 members: 10.0.0.1 10.0.0.2 10.0.0.3; joined: 10.0.0.3; left: -"
    assert replicas.lines[1] == f"{begin}; nodes: node1(1) node2(2) node3(3); because: node3(3) joined"
    assert replicas.lines[2].startswith("CLM: view 3, 2 members: 10.0.0.2 10.0.0.3; joined: -; left: 10.0.0.1; ")
    assert replicas.lines[2].endswith("; because: node1(1) token lost")
    assert len(replicas.lines) == 3


def test_a_change_of_quorum_alone_is_no_new_view() -> None:
    replicas = cluster()
    replicas.change(quorate=False)
    assert (view_of(replicas).view_number, view_of(replicas).quorate) == (1, False)


def test_a_node_that_came_back_at_once_left_in_one_view_and_joined_in_the_next() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES_ONLY)
    replicas.change(left=[2], joined=[2])
    events = replicas.events_for(A)
    assert [(event.view.view_number, shown(event.view)) for event in events] == [
        (2, [(2, LEFT, False)]),
        (3, [(2, JOINED, True)]),
    ]
    node = replicas.ask(A, m.GetNode(2))
    assert isinstance(node, m.Node)
    assert node.node.initial_view_number == 3


def test_view_numbers_go_on_after_the_highest_of_all_partitions() -> None:
    here, there = cluster(1, 2), cluster(1, 2)
    for _ in range(3):
        there.change(left=[2], joined=[2])
    engine = here.engines[1]
    engine.merge(there.engines[1].remnant(1), Origin(Client(2, 0)))
    snapshot = engine.snapshot()
    assert isinstance(snapshot, m.Snapshot)
    assert snapshot.view_number == 8


def test_addresses_have_their_family() -> None:
    replicas = cluster(1)
    snapshot = replicas.engines[1].snapshot()
    assert isinstance(snapshot, m.Snapshot)
    facts = msgspec.structs.replace(facts_of(1), address="fec0::1")
    assert node_of(snapshot.ring[0], member=True).node_address.family is AddressFamily.INET
    assert node_of(m.MemberRecord(facts, 1), member=True).node_address.family is AddressFamily.INET6


def test_nodes_are_found_by_id_and_as_the_local_one() -> None:
    replicas = cluster()
    answer = replicas.ask(B, m.GetNode(LOCAL_NODE_ID))
    assert isinstance(answer, m.Node)
    node = answer.node
    assert (node.node_id, node.node_name, node.node_address.value, node.member) == (2, "node2", "10.0.0.2", True)
    assert (node.boot_timestamp, node.initial_view_number, node.execution_environment) == (502.0, 1, None)
    assert replicas.send(B, m.FetchNode(2)).message == answer
    for message in (m.GetNode(4), m.GetNode(0)):
        expected = errors.InvalidParam if message.node_id == 0 else errors.NotExist
        assert type(refused(replicas.ask(A, message))) is expected
        assert type(refused(replicas.send(A, m.FetchNode(message.node_id)))) is expected


# ---- tracking


def test_changes_shows_all_nodes_and_changes_only_those_concerned() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES)
    track(replicas, B, CHANGES_ONLY)
    replicas.change(left=[3], joined=[4], reasons={3: "token lost"})
    (all_nodes,), (changed,) = replicas.events_for(A), replicas.events_for(B)
    assert shown(all_nodes.view) == [
        (1, NO_CHANGE, True),
        (2, NO_CHANGE, True),
        (3, LEFT, False),
        (4, JOINED, True),
    ]
    assert shown(changed.view) == [(3, LEFT, False), (4, JOINED, True)]
    for event in (all_nodes, changed):
        assert (event.view.view_number, event.view.number_of_members, event.step) == (2, 3, COMPLETED)
        assert (event.invocation, event.root_cause_entity) == (None, "safNode=node3")
        assert event.reason == "node3(3) token lost, node4(4) joined"
    replicas.change(left=[4])
    assert shown(replicas.events_for(A)[0].view) == [(1, NO_CHANGE, True), (2, NO_CHANGE, True), (4, LEFT, False)]


def test_local_restricts_to_the_own_node() -> None:
    replicas = cluster()
    assert shown(track(replicas, A, CURRENT | CHANGES | LOCAL)) == [(1, NO_CHANGE, True)]
    replicas.change(left=[3])
    assert replicas.events_for(A) == []
    operate(replicas, LOCK, "node1")
    assert [shown(event.view) for event in replicas.events_for(A)] == [[(1, LEFT, False)]]


def test_a_second_track_replaces_the_flags_and_current_alone_tracks_nothing() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES)
    track(replicas, A, CHANGES_ONLY)
    track(replicas, B, CURRENT)
    replicas.change(left=[3])
    assert shown(replicas.events_for(A)[0].view) == [(3, LEFT, False)]
    assert replicas.events_for(B) == []
    assert type(refused(replicas.send(B, m.TrackStop()))) is errors.NotExist


def test_the_present_view_may_come_as_an_event() -> None:
    replicas = cluster()
    view = track(replicas, A, CURRENT, as_event=True)
    (event,) = replicas.events_for(A)
    assert (event.view, event.step, event.invocation) == (view, COMPLETED, None)


def test_tracking_stops_with_track_stop_and_death() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES)
    track(replicas, B, CHANGES)
    assert replicas.send(A, m.TrackStop()).message == Done()
    replicas.gone(B)
    track(replicas, C, CHANGES)
    replicas.change(left=[3], joined=[3])
    assert not replicas.events
    assert type(refused(replicas.send(A, m.TrackStop()))) is errors.NotExist


@pytest.mark.parametrize("flags", [0, 8, 6, 0x11, 0x21, 0x40, 0x41, 0x18])
def test_impossible_flags_are_refused(flags: int) -> None:
    assert type(refused(cluster().send(A, m.Track(flags)))) is errors.BadFlags


# ---- operations


def test_a_lock_asks_the_start_trackers_and_ends_when_all_have_answered() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES | START_STEP)
    track(replicas, B, CHANGES_ONLY | START_STEP)
    track(replicas, C, CHANGES)
    answer = operate(replicas, LOCK, "node3")
    (first,), (second,) = replicas.events_for(A), replicas.events_for(B)
    for event in (first, second):
        assert (event.step, event.time_supervision, event.view.number_of_members) == (START, 10.0, 2)
        assert event.root_cause_entity == "safNode=node3"
        assert event.view.view_number == 1
    assert shown(second.view) == [(3, LEFT, True)]
    assert replicas.events_for(C) == []
    assert replicas.send(A, m.Respond(first.invocation, Response.OK)).message == Done()
    assert answer.message is None
    assert replicas.send(B, m.Respond(second.invocation, Response.ERROR)).message == Done()
    assert answer.message == Done()
    assert shown(replicas.events_for(C)[0].view) == [(1, NO_CHANGE, True), (2, NO_CHANGE, True), (3, LEFT, False)]
    assert [event.step for event in replicas.events_for(A)] == [COMPLETED]
    assert view_of(replicas).number_of_members == 2
    assert replicas.lines[-1].endswith("left: 10.0.0.3; nodes: node1(1) node2(2); because: node3(3) locked")
    assert not replicas.alarms


def test_a_lock_ends_when_the_time_to_answer_is_over() -> None:
    replicas = cluster(settings=ClmSettings(node_lock_callback_timeout=3.0))
    track(replicas, A, CHANGES | START_STEP)
    answer = operate(replicas, LOCK, "node3")
    (event,) = replicas.events_for(A)
    replicas.advance(2.9)
    assert answer.message is None
    replicas.advance(0.2)
    assert answer.message == Done()
    assert type(refused(replicas.send(A, m.Respond(event.invocation, Response.OK)))) is errors.InvalidParam


def test_a_shutdown_has_no_time_limit() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES_ONLY | START_STEP)
    answer = operate(replicas, SHUTDOWN, "node3")
    (event,) = replicas.events_for(A)
    assert (shown(event.view), event.time_supervision) == ([(3, SHUTTING, True)], None)
    replicas.advance(1e6)
    assert answer.message is None
    replicas.send(A, m.Respond(event.invocation, Response.OK))
    assert answer.message == Done()
    assert shown(replicas.events_for(A)[0].view) == [(3, LEFT, False)]


def test_a_lock_takes_the_place_of_a_running_shutdown() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES_ONLY | START_STEP)
    shutdown = operate(replicas, SHUTDOWN, "node3")
    (first,) = replicas.events_for(A)
    lock = operate(replicas, LOCK, "node3")
    assert type(refused(shutdown)) is errors.Interrupt
    (second,) = replicas.events_for(A)
    assert type(refused(replicas.send(A, m.Respond(first.invocation, Response.OK)))) is errors.InvalidParam
    replicas.send(A, m.Respond(second.invocation, Response.OK))
    assert lock.message == Done()


def test_local_start_trackers_are_asked_only_about_their_node() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES | START_STEP | LOCAL)
    assert operate(replicas, LOCK, "node3").message == Done()
    answer = operate(replicas, LOCK, "node1")
    (event,) = replicas.events_for(A)
    replicas.send(A, m.Respond(event.invocation, Response.OK))
    assert answer.message == Done()


def test_one_rejection_stops_a_validated_operation() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES_ONLY | VALIDATE_STEP)
    track(replicas, B, CHANGES_ONLY | VALIDATE_STEP | START_STEP)
    track(replicas, C, CHANGES_ONLY | START_STEP)
    answer = operate(replicas, LOCK, "node3", validate=True)
    (first,), (second,) = replicas.events_for(A), replicas.events_for(B)
    assert (first.step, second.step, replicas.events_for(C)) == (VALIDATE, VALIDATE, [])
    replicas.send(A, m.Respond(first.invocation, Response.OK))
    replicas.send(B, m.Respond(second.invocation, Response.REJECTED))
    assert type(refused(answer)) is errors.FailedOperation
    assert [event.step for event in replicas.events_for(A) + replicas.events_for(B)] == [ABORTED, ABORTED]
    assert replicas.events_for(C) == []
    assert view_of(replicas).number_of_members == 3
    assert not replicas.alarms


def test_validation_that_is_not_rejected_goes_on_to_start() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES_ONLY | VALIDATE_STEP)
    track(replicas, B, CHANGES_ONLY | START_STEP)
    answer = operate(replicas, LOCK, "node3", validate=True)
    replicas.advance(10.1)
    (event,) = replicas.events_for(B)
    assert event.step is START
    replicas.send(B, m.Respond(event.invocation, Response.OK))
    assert answer.message == Done()
    assert [event.step for event in replicas.events_for(A)] == [VALIDATE, COMPLETED]


def test_who_dies_or_stops_tracking_is_not_waited_for() -> None:
    replicas = cluster()
    for client in (A, B, C):
        track(replicas, client, CHANGES | START_STEP)
    answer = operate(replicas, LOCK, "node3")
    replicas.gone(A)
    replicas.send(C, m.TrackStop())
    assert answer.message is None
    replicas.change(left=[2])
    assert answer.message == Done()


def test_a_node_that_leaves_while_it_is_being_locked_stays_out_when_it_comes_back() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES_ONLY | START_STEP)
    answer = operate(replicas, LOCK, "node3")
    replicas.change(left=[3], joined=[3], reasons={3: "restarted"})
    assert answer.message == Done()
    assert [shown(event.view) for event in replicas.events_for(A)] == [[(3, LEFT, True)], [(3, LEFT, False)]]
    assert view_of(replicas).number_of_members == 2
    assert not replicas.alarms


def test_a_locked_node_joins_only_when_it_is_unlocked() -> None:
    replicas = cluster()
    replicas.change(left=[3])
    assert operate(replicas, LOCK, "safNode=node3,safCluster=c").message == Done()
    track(replicas, A, CHANGES_ONLY)
    replicas.change(joined=[3])
    assert replicas.events_for(A) == []
    assert type(refused(replicas.ask(C, m.GetNode(1)))) is errors.Unavailable
    assert type(refused(replicas.ask(A, m.GetNode(3)))) is errors.NotExist
    engine = replicas.engines[1]
    assert isinstance(engine, ClmEngine)
    assert [engine.is_member(node) for node in (1, 3, 9)] == [True, False, False]
    assert operate(replicas, UNLOCK, "node3").message == Done()
    (event,) = replicas.events_for(A)
    assert (shown(event.view), event.reason) == ([(3, JOINED, True)], "node3(3) unlocked")
    assert event.view.view_number == 3
    assert replicas.ask(C, m.GetNode(1)) == replicas.ask(A, m.GetNode(1))


def test_clients_on_a_locked_node_are_unavailable_and_its_executive_is_not() -> None:
    replicas = cluster()
    track(replicas, C, CHANGES)
    executive = Client(3, 0)
    track(replicas, executive, CHANGES_ONLY)
    operate(replicas, LOCK, "node3")
    assert [shown(event.view)[-1] for event in replicas.events_for(C)] == [(3, LEFT, False)]
    for message in (m.Track(int(CHANGES)), m.TrackStop(), m.Respond(1, Response.OK), m.FetchNode(1)):
        assert type(refused(replicas.send(C, message))) is errors.Unavailable
    for query in (m.GetNode(LOCAL_NODE_ID), m.GetView(1)):
        assert type(refused(replicas.ask(C, query))) is errors.Unavailable
    operate(replicas, UNLOCK, "node3")
    assert [event.step for event in replicas.events_for(executive)] == [COMPLETED, COMPLETED]
    assert replicas.events_for(C) == []


def test_an_unlock_of_an_absent_node_lets_it_join_later() -> None:
    replicas = cluster(settings=ClmSettings(node_names=frozenset({"node4"})))
    assert operate(replicas, LOCK, "node4").message == Done()
    assert operate(replicas, UNLOCK, "node4").message == Done()
    replicas.change(joined=[4])
    assert view_of(replicas).number_of_members == 4


OPERATION_ROWS: list[tuple[str, list[tuple[NodeOperation, str]], NodeOperation, str, type[AisError]]] = [
    ("lock unknown", [], LOCK, "nobody", errors.NotExist),
    ("unlock unknown", [], UNLOCK, "nobody", errors.NotExist),
    ("shutdown unknown", [], SHUTDOWN, "nobody", errors.NotExist),
    ("locked already", [(LOCK, "node2")], LOCK, "node2", errors.NoOp),
    ("shut down locked", [(LOCK, "node2")], SHUTDOWN, "node2", errors.NoOp),
    ("not locked", [], UNLOCK, "node2", errors.NoOp),
    ("lock runs", [(LOCK, "node1")], LOCK, "node1", errors.TryAgain),
    ("unlock during lock", [(LOCK, "node1")], UNLOCK, "node1", errors.TryAgain),
    ("shutdown during lock", [(LOCK, "node1")], SHUTDOWN, "node1", errors.TryAgain),
    ("shutting down already", [(SHUTDOWN, "node1")], SHUTDOWN, "node1", errors.NoOp),
    ("unlock during shutdown", [(SHUTDOWN, "node1")], UNLOCK, "node1", errors.TryAgain),
    ("quorum", [(LOCK, "node2")], LOCK, "node3", errors.BadOperation),
    ("quorum, shutdown", [(LOCK, "node2")], SHUTDOWN, "node3", errors.BadOperation),
]


@pytest.mark.parametrize(
    ("before", "operation", "name", "error"),
    [row[1:] for row in OPERATION_ROWS],
    ids=[row[0] for row in OPERATION_ROWS],
)
def test_each_refused_operation_has_its_error_and_changes_nothing(
    before: list[tuple[NodeOperation, str]], operation: NodeOperation, name: str, error: type[AisError]
) -> None:
    replicas = cluster(settings=ClmSettings(quorum_votes=2))
    track(replicas, A, CHANGES | START_STEP | LOCAL)
    for each in before:
        operate(replicas, *each)
    state = replicas.engines[1].snapshot()
    assert type(refused(operate(replicas, operation, name))) is error
    assert replicas.engines[1].snapshot() == state


def test_force_locks_even_the_last_member_but_one_is_kept_without_it() -> None:
    replicas = cluster(1, 2)
    operate(replicas, LOCK, "node2")
    assert type(refused(operate(replicas, LOCK, "node1"))) is errors.BadOperation
    assert operate(replicas, LOCK, "node1", force=True).message == Done()
    assert operate(replicas, UNLOCK, "node1").message == Done()


def test_votes_decide_whether_quorum_would_be_lost() -> None:
    settings = ClmSettings(quorum_votes=3, votes={"node1": 3})
    assert operate(cluster(settings=settings), LOCK, "node2").message == Done()
    assert type(refused(operate(cluster(settings=settings), LOCK, "node1"))) is errors.BadOperation


RESPONSES: list[tuple[Client, int]] = [(A, 999), (B, 0)]


@pytest.mark.parametrize(("client", "invocation"), RESPONSES)
def test_only_who_was_asked_may_answer(client: Client, invocation: int) -> None:
    replicas = cluster()
    track(replicas, A, CHANGES | START_STEP)
    operate(replicas, LOCK, "node3")
    (event,) = replicas.events_for(A)
    answer = replicas.send(client, m.Respond(invocation or event.invocation, Response.OK))
    assert type(refused(answer)) is errors.InvalidParam


def test_an_answer_given_twice_is_refused() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES | START_STEP)
    track(replicas, B, CHANGES | START_STEP)
    operate(replicas, LOCK, "node3")
    (event,) = replicas.events_for(A)
    assert replicas.send(A, m.Respond(event.invocation, Response.OK)).message == Done()
    assert type(refused(replicas.send(A, m.Respond(event.invocation, Response.OK)))) is errors.InvalidParam


def test_resets_go_to_the_nodes_that_have_a_command() -> None:
    replicas = cluster(settings=ClmSettings(resettable=frozenset({"node1", "node2"})))
    assert replicas.send(OPERATOR, m.Reset("node2")).message == Done()
    assert replicas.commands == [(2, m.ResetNode())]
    rows: list[tuple[Request, type[AisError]]] = [
        (m.Reset("node3"), errors.NotSupported),
        (m.Reset("nobody"), errors.NotExist),
        (m.Reset(None), errors.NotSupported),
    ]
    for message, error in rows:
        assert type(refused(replicas.send(OPERATOR, message))) is error
    replicas.change(left=[3])
    replicas.send(OPERATOR, m.Reset(None))
    assert replicas.commands[1:] == [(1, m.ResetNode()), (2, m.ResetNode())]


def test_only_executives_say_that_time_is_over() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES | START_STEP)
    operate(replicas, LOCK, "node3")
    assert type(refused(replicas.send(A, m.StepOver(1)))) is errors.Access
    replicas.send(Client(1, 0), m.StepOver(12345))
    assert view_of(replicas).number_of_members == 3
    assert replicas.now == START_TIME


# ---- partitions that meet again


def test_trackers_of_a_node_that_gave_way_go_on_and_get_the_present_view_as_a_change() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES)
    track(replicas, C, CHANGES)
    other = split(replicas, [3])
    assert [event.view.view_number for event in other.events_for(C)] == [2]
    replicas.change(joined=[4])
    replicas.events_for(A)
    meet(replicas, other)
    (event,) = replicas.events_for(C)
    assert shown(event.view) == [(1, JOINED, True), (2, JOINED, True), (3, NO_CHANGE, True), (4, JOINED, True)]
    assert event.view.view_number == 4
    assert [each.view.view_number for each in replicas.events_for(A)] == [4]
    replicas.change(left=[4])
    assert [each.view.view_number for each in replicas.events_for(C)] == [5]


def test_a_view_that_the_other_partition_has_used_gets_another_number_for_everybody() -> None:
    replicas = cluster()
    track(replicas, A, CHANGES_ONLY)
    track(replicas, C, CHANGES_ONLY)
    other = split(replicas, [3])
    for _ in range(3):
        other.change(joined=[9])
        other.change(left=[9])
    meet(replicas, other)
    assert [event.view.view_number for event in replicas.events_for(A)] == [2, 3, 9]
    assert replicas.lines[-1].startswith("CLM: view 9, 3 members: ")


def test_an_operation_that_waited_in_the_partition_that_gave_way_has_an_unknown_outcome() -> None:
    replicas = cluster()
    track(replicas, C, CHANGES | START_STEP)
    other = split(replicas, [3])
    answer = other.send(Client(3, 99), m.Operate(LOCK, "node1", True))
    assert answer.message == Done()
    waiting = other.send(Client(3, 99), m.Operate(SHUTDOWN, "node3", True))
    assert waiting.message is None
    meet(replicas, other)
    assert type(refused(waiting)) is errors.TimedOut
    assert view_of(replicas).number_of_members == 3


def test_trackers_of_a_node_that_is_locked_in_what_stands_do_not_go_on() -> None:
    replicas = cluster()
    track(replicas, C, CHANGES)
    other = split(replicas, [3])
    operate(replicas, LOCK, "node3")
    meet(replicas, other)
    assert replicas.events_for(C) == []
    assert replicas.engines[1].snapshot().trackers == []  # type: ignore[attr-defined]


# ---- AMF, which moves work away before a node is locked


def managed() -> Replicas:
    return cluster(settings=ClmSettings(has_amf=True))


def told(replicas: Replicas) -> list[tuple[str, int, Admin]]:
    found = [each for _, each in replicas.forwarded if isinstance(each, NodeStanding)]
    replicas.forwarded.clear()
    return [(each.name, each.node_id, each.state) for each in found]


def test_a_lock_waits_until_amf_has_moved_the_work_away() -> None:
    replicas = managed()
    answer = operate(replicas, LOCK, "node3")
    assert told(replicas) == [("node3", 3, Admin.LOCKED)]
    assert answer.message is None
    replicas.send(Client(2, 0), NodeCleared("node3"))
    assert answer.message == Done()
    assert told(replicas) == [("node3", 3, Admin.LOCKED)]
    replicas.send(Client(2, 0), NodeCleared("node3"))
    operate(replicas, UNLOCK, "node3")
    assert told(replicas) == [("node3", 3, Admin.UNLOCKED)]


def test_amf_and_the_start_trackers_are_all_waited_for() -> None:
    replicas = managed()
    track(replicas, A, CHANGES | START_STEP)
    for is_amf_first in (True, False):
        answer = operate(replicas, SHUTDOWN, "node3")
        (event,) = [each for each in replicas.events_for(A) if each.step is START]
        cleared, response = (Client(2, 0), NodeCleared("node3")), (A, m.Respond(event.invocation, Response.OK))
        first, second = (cleared, response) if is_amf_first else (response, cleared)
        replicas.send(*first)
        assert answer.message is None
        replicas.send(*second)
        assert answer.message == Done()
        assert [state for _, _, state in told(replicas)] == [Admin.SHUTTING_DOWN, Admin.LOCKED]
        operate(replicas, UNLOCK, "node3")
        told(replicas)


def test_a_lock_does_not_wait_for_amf_longer_than_for_others() -> None:
    replicas = managed()
    answer = operate(replicas, LOCK, "node3")
    replicas.advance(10.1)
    assert answer.message == Done()


def test_amf_learns_of_a_locked_node_that_joins_and_of_one_that_is_not_there() -> None:
    replicas = managed()
    replicas.change(left=[3])
    operate(replicas, LOCK, "node3")
    assert told(replicas) == [("node3", 0, Admin.LOCKED)]
    replicas.change(joined=[3])
    assert told(replicas) == [("node3", 3, Admin.LOCKED)]


def test_only_executives_say_that_a_node_is_clear() -> None:
    replicas = managed()
    answer = operate(replicas, LOCK, "node3")
    assert type(refused(replicas.send(A, NodeCleared("node3")))) is errors.Access
    assert answer.message is None


def test_notifications_tell_of_members_and_admin_states() -> None:
    replicas = cluster()
    replicas.forwarded.clear()
    track(replicas, A, CHANGES | START_STEP)
    operate(replicas, SHUTDOWN, "node3")
    replicas.change(joined=[4])
    replicas.change(left=[3])
    operate(replicas, UNLOCK, "node3")
    found = [(each.class_id[2], each.notification_object, each.states) for _, each in replicas.forwarded]  # type: ignore[attr-defined]
    unlocked, locked, shutting = 1, 2, 3
    assert found == [
        (0x68, "safNode=node3", ((2, unlocked, shutting),)),
        (0x65, "safNode=node4", ((1, None, int(ClusterChange.JOINED)),)),
        (0x66, "safNode=node3", ((1, None, int(ClusterChange.LEFT)),)),
        (0x68, "safNode=node3", ((2, shutting, locked),)),
        (0x68, "safNode=node3", ((2, locked, unlocked),)),
    ]
