"""CLM against two sets, who is in the ring and who is locked: who hears only of changes knows the members, too."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from corosync_amf.ais import TrackFlags
from corosync_amf.engine import Client, Done
from corosync_amf.services.clm import messages as m
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.clm.messages import NodeOperation
from corosync_amf.services.clm.values import ChangeStep, Response

from .harness import Answer, Replicas

NODES = range(1, 5)
WATCHER, OPERATOR = Client(1, 1), Client(1, 2)
nodes = st.sampled_from(NODES)
others = st.sampled_from(NODES[1:])
operations = st.sampled_from(list(NodeOperation))


class NodesAndTwoSets(RuleBasedStateMachine):
    """Node 1 stays, and is never locked, so that there is always somebody to look."""

    @initialize()
    def begin(self) -> None:
        self.replicas = Replicas(ClmEngine, members=tuple(NODES))
        self.locked: set[int] = set()
        self.members = set(NODES)
        self.view_number = 1
        self.running: dict[int, tuple[Answer, NodeOperation]] = {}
        self.asked: dict[int, tuple[Client, Any]] = {}
        self.replicas.send(WATCHER, m.Track(int(TrackFlags.CHANGES_ONLY)))

    # ---- what happens to nodes

    @rule(node=others)
    def lose(self, node: int) -> None:
        if node in self.replicas.members:
            self.replicas.change(left=[node])
            self._hear()

    @rule(node=others)
    def restart(self, node: int) -> None:
        if node in self.replicas.members:
            self.replicas.change(left=[node], joined=[node])
            self._hear()

    @rule(node=others)
    def join(self, node: int) -> None:
        if node not in self.replicas.members:
            self.replicas.change(joined=[node])
            self._hear()

    # ---- what applications and operators do

    @rule(node=nodes, number=st.integers(1, 2), flags=st.sampled_from([0x14, 0x24, 0x34, 0x3C, 0x12, 0x02]))
    def track(self, node: int, number: int, flags: int) -> None:
        client = Client(node, number)
        if node in self.replicas.members and client not in (WATCHER, OPERATOR):
            self.replicas.send(client, m.Track(flags))

    @rule(node=nodes, number=st.integers(1, 2))
    def die(self, node: int, number: int) -> None:
        client = Client(node, number)
        if client not in (WATCHER, OPERATOR):
            self.replicas.gone(client)
            self._hear()

    @rule(node=others, operation=operations, validate=st.booleans())
    def operate(self, node: int, operation: NodeOperation, validate: bool) -> None:
        answer = self.replicas.send(OPERATOR, m.Operate(operation, f"node{node}", True, validate))
        if answer.error is None and operation is NodeOperation.UNLOCK:
            assert node in self.locked
            self.locked.discard(node)
        elif answer.error is None:
            assert node not in self.locked
            if node in self.running:
                assert operation is NodeOperation.LOCK
                assert self.running[node][0].error is not None  # interrupted
            self.running[node] = (answer, operation)
        self._hear()

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), response=st.sampled_from(list(Response)))
    def respond(self, data: st.DataObject, response: Response) -> None:
        invocation = data.draw(st.sampled_from(sorted(self.asked)))
        client, _ = self.asked.pop(invocation)
        if client.node in self.replicas.members:
            self.replicas.send(client, m.Respond(invocation, response))
            self._hear()

    @rule(seconds=st.sampled_from([1.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.replicas.advance(seconds)
        self._hear()

    # ---- what is heard of it

    def _hear(self) -> None:
        for node, (answer, _) in list(self.running.items()):
            if answer.message == Done():
                self.locked.add(node)
            if answer.message is not None:
                del self.running[node]
        for to, message in self.replicas.events:
            assert isinstance(message, m.Tracked)
            if message.invocation is not None:
                assert message.invocation not in self.asked
                self.asked[message.invocation] = (to, message)
        for event in self.replicas.events_for(WATCHER):
            assert event.step is ChangeStep.COMPLETED
            self.view_number += 1
            assert event.view.view_number == self.view_number
            for each in event.view.notifications:
                node_id = each.cluster_node.node_id
                assert each.cluster_node.member != (node_id in self.members)
                self.members ^= {node_id}
            assert event.view.number_of_members == len(self.members)
        self.replicas.events.clear()

    @invariant()
    def members_are_those_in_the_ring_who_are_not_locked(self) -> None:
        assert self.members == set(self.replicas.members) - self.locked
        answer = self.replicas.ask(WATCHER, m.GetView(1))
        assert isinstance(answer, m.View)
        assert {each.cluster_node.node_id for each in answer.view.notifications} == self.members
        assert answer.view.view_number == self.view_number

    @invariant()
    def an_operation_waits_for_somebody_who_is_there(self) -> None:
        snapshot = self.replicas.engines[1].snapshot()
        assert isinstance(snapshot, m.Snapshot)
        trackers = {record.client for record in snapshot.trackers}
        for operation in snapshot.operations:
            assert operation.waiting
            assert {client for _, client in operation.waiting} <= trackers
            assert int(operation.name.removeprefix("node")) in self.members
        assert len(snapshot.operations) == len(self.running)


TestNodesAndTwoSets = NodesAndTwoSets.TestCase
TestNodesAndTwoSets.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
