"""What CLM tells the notification service: once for each change, alike on all replicas."""

from corosync_amf.ais import TrackFlags
from corosync_amf.engine import Client, Notice, Service
from corosync_amf.services.clm import messages as m
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.clm.messages import NodeOperation
from corosync_amf.services.clm.values import ClusterChange, Response
from corosync_amf.services.ntf.vocabulary import EventType

from .harness import Replicas

OPERATOR, TRACKER = Client(1, 99), Client(1, 7)
JOIN, LEAVE, ADMIN = 0x65, 0x66, 0x68
UNLOCKED, LOCKED, SHUTTING_DOWN = 1, 2, 3


def told(replicas: Replicas) -> list[tuple[int, str, int]]:
    """(minor id, object, new state) of the notices since the last call."""
    found = []
    for service, notice in replicas.forwarded:
        assert service is Service.NTF
        assert isinstance(notice, Notice)
        assert notice.event_type == EventType.OBJECT_STATE_CHANGE
        assert notice.class_id[:2] == (18568, 3)
        assert notice.notifying_object == "safApp=safClmService"
        ((_, _, state),) = notice.states
        found.append((notice.class_id[2], notice.notification_object, state))
    replicas.forwarded.clear()
    return found


def started() -> Replicas:
    replicas = Replicas(ClmEngine)
    told(replicas)
    return replicas


def operate(replicas: Replicas, operation: NodeOperation, name: str) -> None:
    assert replicas.send(OPERATOR, m.Operate(operation, name)).error is None


def test_a_cluster_that_starts_tells_who_joined() -> None:
    joined = int(ClusterChange.JOINED)
    assert told(Replicas(ClmEngine)) == [(JOIN, f"safNode=node{number}", joined) for number in (1, 2, 3)]


def test_nodes_that_leave_and_come_are_told_with_the_reason() -> None:
    replicas = started()
    replicas.change(left=[3], reasons={3: "token lost"})
    assert "token lost" in replicas.forwarded[0][1].text  # type: ignore[attr-defined]
    assert told(replicas) == [(LEAVE, "safNode=node3", int(ClusterChange.LEFT))]
    replicas.change(joined=[3])
    assert told(replicas) == [(JOIN, "safNode=node3", int(ClusterChange.JOINED))]
    replicas.change(joined=[2], left=[2])
    assert [minor for minor, _, _ in told(replicas)] == [LEAVE, JOIN]


def test_administrative_states_are_told() -> None:
    replicas = started()
    operate(replicas, NodeOperation.LOCK, "node3")
    left, joined = int(ClusterChange.LEFT), int(ClusterChange.JOINED)
    assert told(replicas) == [(LEAVE, "safNode=node3", left), (ADMIN, "safNode=node3", LOCKED)]
    operate(replicas, NodeOperation.UNLOCK, "node3")
    assert told(replicas) == [(JOIN, "safNode=node3", joined), (ADMIN, "safNode=node3", UNLOCKED)]


def test_a_shutdown_that_waits_is_told_and_so_is_its_end() -> None:
    replicas = started()
    replicas.send(TRACKER, m.Track(int(TrackFlags.CHANGES | TrackFlags.START_STEP)))
    operate(replicas, NodeOperation.SHUTDOWN, "node3")
    assert told(replicas) == [(ADMIN, "safNode=node3", SHUTTING_DOWN)]
    (event,) = replicas.events_for(TRACKER)
    replicas.send(TRACKER, m.Respond(event.invocation, Response.OK))
    assert [(minor, state) for minor, _, state in told(replicas)] == [
        (LEAVE, int(ClusterChange.LEFT)),
        (ADMIN, LOCKED),
    ]


def test_locks_of_absent_nodes_are_told_too() -> None:
    replicas = started()
    replicas.change(left=[3])
    told(replicas)
    operate(replicas, NodeOperation.LOCK, "node3")
    operate(replicas, NodeOperation.UNLOCK, "node3")
    assert [state for _, _, state in told(replicas)] == [LOCKED, UNLOCKED]


def test_a_node_that_leaves_during_its_lock_is_told_locked_once() -> None:
    replicas = started()
    replicas.send(TRACKER, m.Track(int(TrackFlags.CHANGES | TrackFlags.START_STEP)))
    operate(replicas, NodeOperation.LOCK, "node3")
    assert told(replicas) == []
    replicas.change(left=[3])
    assert sorted(minor for minor, _, _ in told(replicas)) == [LEAVE, ADMIN]
