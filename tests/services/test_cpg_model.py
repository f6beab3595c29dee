"""CPG against plain lists: who is in which group, and what each member must have been told."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from corosync_amf.engine import Client, Done
from corosync_amf.messaging import pack, unpack
from corosync_amf.services.cpg import messages as m
from corosync_amf.services.cpg.engine import CpgEngine
from corosync_amf.services.cpg.values import Reason

from .harness import Replicas
from .test_cpg_engine import merged

NODES = (1, 2, 3)
clients = st.builds(Client, st.sampled_from(NODES), st.integers(1, 2))
groups = st.sampled_from([b"a", b"b"])


def pid_of(client: Client) -> int:
    return client.node * 10 + client.number


class GroupsAsLists(RuleBasedStateMachine):
    """Each client keeps the view of its group up to date with nothing but the events it gets."""

    @initialize()
    def begin(self) -> None:
        self.replicas = Replicas(CpgEngine, members=NODES)
        self.groups: dict[bytes, list[Client]] = {b"a": [], b"b": []}
        self.seen: dict[Client, list[tuple[int, int]]] = {}
        self.got: dict[Client, list[bytes]] = {}
        self.expected: dict[Client, list[bytes]] = {}
        self.count = 0

    def group_of(self, client: Client) -> bytes | None:
        return next((name for name, members in self.groups.items() if client in members), None)

    @rule(client=clients, group=groups)
    def join(self, client: Client, group: bytes) -> None:
        if client.node not in self.replicas.members:
            return
        answer = self.replicas.send(client, m.Join(group, pid_of(client)))
        if self.group_of(client) is None:
            assert answer.message == Done()
            self.groups[group].append(client)
            self.seen[client], self.got[client], self.expected[client] = [], [], []
        else:
            assert answer.error is not None
        self.hear()

    @rule(client=clients, how=st.sampled_from(["leave", "finalize", "die"]))
    def go(self, client: Client, how: str) -> None:
        if client.node not in self.replicas.members:
            return
        group = self.group_of(client)
        if how == "leave":
            assert (self.replicas.send(client, m.Leave(group or b"a")).error is None) == (group is not None)
        elif how == "finalize":
            self.replicas.send(client, m.Finalize())
        else:
            self.replicas.gone(client)
        if how == "leave":
            self.hear()
        self.forget([client])
        self.hear()

    @rule(client=clients, is_safe=st.booleans(), count=st.integers(1, 3))
    def multicast(self, client: Client, is_safe: bool, count: int) -> None:
        if client.node not in self.replicas.members:
            return
        messages = [b"%d" % (self.count + number) for number in range(count)]
        self.count += count
        answer = self.replicas.send(client, m.Multicast(is_safe, count, pack(messages)))
        group = self.group_of(client)
        assert (answer.error is None) == (group is not None)
        for member in self.groups[group] if group is not None else ():
            self.expected[member] += messages
        self.hear()

    @rule(node=st.sampled_from(NODES))
    def lose(self, node: int) -> None:
        if node in self.replicas.members and len(self.replicas.members) > 1:
            self.forget([client for client in self.seen if client.node == node])
            self.replicas.change(left=[node])
            self.hear()

    @rule(node=st.sampled_from(NODES))
    def join_node(self, node: int) -> None:
        if node not in self.replicas.members:
            self.replicas.change(joined=[node])
            self.hear()

    @rule(node=st.sampled_from(NODES), client=clients)
    def split_and_merge(self, node: int, client: Client) -> None:
        """The node goes on alone; meanwhile a client dies among the others; then it comes back with its own."""
        if node not in self.replicas.members or len(self.replicas.members) == 1:
            return
        other = Replicas(CpgEngine, members=(node,))
        other.engines[node].restore(self.replicas.engines[node].snapshot())
        mine = {each: group for each in self.seen if each.node == node if (group := self.group_of(each)) is not None}
        for members in self.groups.values():
            members[:] = [member for member in members if member not in mine]
        self.replicas.change(left=[node])
        self.hear()
        if client.node in self.replicas.members:
            self.replicas.gone(client)
            self.forget([client])
            self.hear()
        merged(self.replicas, other, node)
        for each in sorted(mine):
            self.groups[mine[each]].append(each)
        self.hear()

    def forget(self, clients: list[Client]) -> None:
        for client in clients:
            self.seen.pop(client, None)
            for members in self.groups.values():
                if client in members:
                    members.remove(client)

    def hear(self) -> None:
        for client in list(self.seen):
            for event in self.replicas.events_for(client):
                self._told(client, event)
        self.replicas.events.clear()

    def _told(self, client: Client, event: Any) -> None:
        if isinstance(event, m.Messages):
            self.got[client] += unpack(event.data, event.count)
            return
        assert event.left or event.joined
        view, me = self.seen[client], (client.node, pid_of(client), Reason.JOIN)
        if me in event.joined:
            view[:] = event.members
            return
        for node, pid, _ in event.left:
            view.remove((node, pid))
        view += [(node, pid) for node, pid, _ in event.joined]
        assert sorted(view) == sorted(event.members)

    @invariant()
    def everybody_knows_its_group(self) -> None:
        if not hasattr(self, "replicas"):
            return
        for client in self.seen:
            group = self.group_of(client)
            if group is not None:
                assert sorted(self.seen[client]) == sorted((each.node, pid_of(each)) for each in self.groups[group])
                assert self.got[client] == self.expected[client]
        for name, members in self.groups.items():
            answer = self.replicas.ask(Client(self.replicas.members[0], 9), m.GetMembers(name))
            assert isinstance(answer, m.Members)
            assert sorted(member.client for member in answer.members) == sorted(members)


TestGroupsAsLists = GroupsAsLists.TestCase
TestGroupsAsLists.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
