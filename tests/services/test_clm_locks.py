"""CLM: locks that outlive the whole cluster, and which of those that nodes remember count."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from corosync_amf.ais import Admin, NodeId, TrackFlags
from corosync_amf.engine import Client, Done, NodeLocks, NodeStanding
from corosync_amf.services.clm import messages as m
from corosync_amf.services.clm.engine import ClmEngine, ClmSettings
from corosync_amf.services.clm.messages import NodeOperation

from .harness import Replicas
from .merging import meet, split

LOCK, UNLOCK, SHUTDOWN = NodeOperation.LOCK, NodeOperation.UNLOCK, NodeOperation.SHUTDOWN


class Cluster(Replicas):
    """Nodes with a disk: `files` is what stands on it."""

    @property
    def files(self) -> dict[NodeId, NodeLocks]:
        stored = [(node, each.locks) for node, each in self.commands if isinstance(each, m.RememberLocks)]
        return self.remembered | dict(stored)

    @property
    def locked(self) -> list[str]:
        state: Any = self.engines[self.members[0]].snapshot()
        return list(state.locked)

    def operate(self, operation: NodeOperation, name: str) -> None:
        answer = self.send(Client(self.members[0], 99), m.Operate(operation, name, operation is not UNLOCK))
        assert answer.message == Done(), answer

    def names_of_members(self) -> list[str]:
        view: Any = self.ask(Client(self.members[0], 0), m.GetView(int(TrackFlags.CURRENT)))
        return [each.cluster_node.node_name for each in view.view.notifications if each.cluster_node.member]


def cluster(files: dict[NodeId, NodeLocks] | None = None, *members: NodeId, has_amf: bool = False) -> Cluster:
    """Of three nodes; those that are there at first. Two are a quorum."""
    members = members or (1, 2, 3)
    settings = ClmSettings(frozenset({"node1", "node2", "node3"}), has_amf=has_amf)
    return Cluster(
        lambda: ClmEngine(settings),
        members=members,
        is_persistent=True,
        begins_quorate=len(members) > 1,
        remembered=files or {},
    )


def locks(version: int, *names: str) -> NodeLocks:
    return NodeLocks(version, names)


def test_locks_are_remembered_by_all_nodes_and_hold_after_a_restart_of_all() -> None:
    before = cluster()
    before.operate(LOCK, "node2")
    before.operate(LOCK, "node3")
    before.operate(UNLOCK, "node3")
    assert before.files == dict.fromkeys((1, 2, 3), locks(4, "node2"))
    after = cluster(before.files)
    assert (after.locked, after.names_of_members()) == (["node2"], ["node1", "node3"])
    assert after.lines[0].startswith("CLM: view 1, 2 members: 10.0.0.1 10.0.0.3; joined: 10.0.0.1 10.0.0.3; left: -")
    after.operate(UNLOCK, "node2")
    assert after.names_of_members() == ["node1", "node2", "node3"]
    assert cluster(after.files).locked == []


def test_a_node_that_was_away_and_starts_first_does_not_bring_old_locks_back() -> None:
    before = cluster()
    before.operate(LOCK, "node2")
    before.change(left=[1])
    before.operate(UNLOCK, "node2")
    before.operate(LOCK, "node3")
    assert before.files == {1: locks(2, "node2"), 2: locks(4, "node3"), 3: locks(4, "node3")}
    after = cluster(before.files, 1)
    assert after.locked == ["node2"]
    after.change(joined=[2, 3])
    assert after.locked == ["node3"]
    assert after.names_of_members() == ["node1", "node2"]
    assert after.files == dict.fromkeys((1, 2, 3), locks(5, "node3"))


def test_a_node_that_joins_with_an_older_file_writes_the_present_locks() -> None:
    before = cluster({3: locks(4, "node3")}, 1, 2)
    for operation in (LOCK, UNLOCK, LOCK, UNLOCK, LOCK):
        before.operate(operation, "node2")
    before.change(joined=[3])
    assert (before.locked, before.files[3]) == (["node2"], locks(6, "node2"))


def test_a_part_without_quorum_writes_nothing_and_its_locks_end_with_it() -> None:
    before = cluster()
    before.operate(LOCK, "node2")
    other = split(before, [3])
    assert isinstance(other, Replicas)
    alone = Client(3, 99)
    for name in ("node1", "node9"):
        other.send(alone, m.Operate(LOCK, name, True))
    assert [each for _, each in other.commands if isinstance(each, m.RememberLocks)] == []
    assert other.engines[3].snapshot().locked == ["node1", "node2"]  # type: ignore[attr-defined]
    before.operate(UNLOCK, "node2")
    meet(before, other)
    assert before.locked == []
    newest = max(each.version for each in before.files.values())
    assert set(before.files.values()) == {locks(newest)}
    assert cluster(before.files).locked == []


def test_what_an_operator_said_while_the_nodes_were_still_coming_stands() -> None:
    files = dict.fromkeys((1, 2, 3), locks(7, "node2"))
    starting = cluster(files, 1)
    starting.operate(UNLOCK, "node2")
    starting.change(joined=[2, 3])
    assert starting.locked == []
    assert starting.files == dict.fromkeys((1, 2, 3), locks(8))


def test_what_an_operator_said_on_a_node_that_knew_only_old_locks_does_not_stand() -> None:
    starting = cluster({1: locks(2, "node2"), 2: locks(3, "node3"), 3: locks(3, "node3")}, 1)
    for operation in (UNLOCK, LOCK, UNLOCK, LOCK, UNLOCK):
        starting.operate(operation, "node2")
    starting.change(joined=[2])
    assert starting.locked == ["node3"]


def test_parts_that_knew_different_locks_of_one_version_are_told_apart_afterwards() -> None:
    before = cluster()
    other = split(before, [3], quorate=True)
    before.operate(LOCK, "node2")
    other.send(Client(3, 99), m.Operate(LOCK, "node1", True))
    meet(before, other)
    assert before.locked == ["node2"]
    assert before.files == dict.fromkeys((1, 2, 3), locks(3, "node2"))


def test_files_of_one_version_that_differ_lock_what_any_of_them_locks() -> None:
    after = cluster({1: locks(4, "node2"), 3: locks(4, "node3")})
    assert after.locked == ["node2", "node3"]
    assert after.names_of_members() == ["node1"]


def test_a_node_that_is_learnt_to_be_locked_leaves_with_its_trackers_and_amf_is_told() -> None:
    after = cluster({3: locks(2, "node2", "node9")}, 1, 2, has_amf=True)
    here, there = Client(1, 7), Client(2, 7)
    for client in (here, there):
        after.send(client, m.Track(int(TrackFlags.CHANGES)))
    waiting = after.send(here, m.Operate(SHUTDOWN, "node2", True))
    assert waiting.message is None
    after.change(joined=[3])
    assert waiting.message == Done()
    assert after.names_of_members() == ["node1", "node3"]
    (event,) = after.events_for(here)
    assert event.reason == "node2(2) is locked, as a node that joins remembers, node3(3) joined"
    assert after.engines[1].snapshot().trackers == [m.TrackerRecord(here, int(TrackFlags.CHANGES))]  # type: ignore[attr-defined]
    told = [(each.name, each.state) for _, each in after.forwarded if isinstance(each, NodeStanding)]
    assert told == [("node2", Admin.SHUTTING_DOWN), ("node2", Admin.LOCKED), ("node9", Admin.LOCKED)]
    after.operate(UNLOCK, "node9")


def test_a_node_that_is_learnt_to_be_unlocked_joins() -> None:
    after = cluster({1: locks(1, "node2"), 3: locks(9)}, 1, 2, has_amf=True)
    assert after.names_of_members() == ["node1"]
    after.change(joined=[3])
    assert after.names_of_members() == ["node1", "node2", "node3"]
    told = [(each.name, each.node_id, each.state) for _, each in after.forwarded if isinstance(each, NodeStanding)]
    assert told == [("node2", 2, Admin.LOCKED), ("node2", 2, Admin.UNLOCKED)]


nodes = st.sampled_from((1, 2, 3))


class ThreeNodesWithDisks(RuleBasedStateMachine):
    """Nodes come and go, all of them too, and operators lock and unlock whatever there is.

    `durable` is what the last quorate cluster had locked, `witnesses` who was in it when that, or its quorum, was new;
    `known` is what those have locked that run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cluster: Cluster | None = None
        self.files: dict[NodeId, NodeLocks] = {}
        self.durable: set[str] = set()
        self.witnesses: set[NodeId] = {1, 2, 3}
        self.known: set[str] = set()

    @rule(node=nodes)
    def start(self, node: NodeId) -> None:
        if self.cluster is None:
            self.cluster = cluster(self.files, node)
            self.known = set(self.cluster.locked)
            if node in self.witnesses:
                assert self.known == self.durable
        elif node not in self.cluster.members:
            members = self.cluster.members
            self.cluster.remembered = self.files
            self.cluster.change(joined=[node])
            if len(members) == 1:
                self.known = self.known if members[0] in self.witnesses else set(self.durable)
                self.witnesses = set()
            self._has_quorum()

    @rule(node=nodes)
    def stop(self, node: NodeId) -> None:
        if self.cluster is not None and node in self.cluster.members:
            if self.cluster.members == (node,):
                self.cluster = None
            else:
                self.cluster.change(left=[node], quorate=len(self.cluster.members) > 2)

    @rule()
    def power_fails(self) -> None:
        self.cluster = None

    @rule(node=nodes)
    def lock_or_unlock(self, node: NodeId) -> None:
        if self.cluster is None:
            return
        name = f"node{node}"
        self.cluster.operate(UNLOCK if name in self.known else LOCK, name)
        self.known ^= {name}
        if len(self.cluster.members) > 1:
            self.witnesses = set()
            self._has_quorum()

    def _has_quorum(self) -> None:
        assert self.cluster is not None
        self.durable = set(self.known)
        self.witnesses |= set(self.cluster.members)
        self.files = self.cluster.files

    @invariant()
    def what_is_locked_is_what_the_last_quorate_cluster_knew(self) -> None:
        if self.cluster is not None:
            assert set(self.cluster.locked) == self.known


ThreeNodesWithDisks.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestThreeNodesWithDisks = ThreeNodesWithDisks.TestCase
