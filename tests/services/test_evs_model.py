"""EVS against plain sets: which session is in which groups, and what each must have been told."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from corosync_amf.engine import Client
from corosync_amf.messaging import pack, unpack
from corosync_amf.services.evs import messages as m
from corosync_amf.services.evs.engine import REGULAR, EvsEngine

from .harness import Replicas

NODES = (1, 2, 3)
clients = st.builds(Client, st.sampled_from(NODES), st.integers(1, 2))
group_sets = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=3, unique=True).map(tuple)


class SessionsAsSets(RuleBasedStateMachine):
    """`nodes` are, for each session, those that its configurations have told it of."""

    @initialize()
    def begin(self) -> None:
        self.replicas = Replicas(EvsEngine, members=NODES)
        self.groups: dict[Client, set[bytes]] = {}
        self.nodes: dict[Client, set[int]] = {}
        self.got: dict[Client, list[bytes]] = {}
        self.expected: dict[Client, list[bytes]] = {}
        self.count = 0

    def is_here(self, client: Client) -> bool:
        return client.node in self.replicas.members

    @rule(client=clients)
    def open(self, client: Client) -> None:
        if self.is_here(client) and client not in self.groups:
            assert self.replicas.send(client, m.Open()).error is None
            self.groups[client], self.got[client], self.expected[client] = set(), [], []
            self.nodes[client] = set()
            self.hear()

    @rule(client=clients, groups=group_sets)
    def join(self, client: Client, groups: tuple[bytes, ...]) -> None:
        if self.is_here(client):
            is_refused = client not in self.groups or not self.groups[client].isdisjoint(groups)
            assert (self.replicas.send(client, m.Join(groups)).error is not None) == is_refused
            if not is_refused:
                self.groups[client].update(groups)

    @rule(client=clients, groups=group_sets)
    def leave(self, client: Client, groups: tuple[bytes, ...]) -> None:
        if self.is_here(client):
            is_refused = client not in self.groups or not self.groups[client].issuperset(groups)
            assert (self.replicas.send(client, m.Leave(groups)).error is not None) == is_refused
            if not is_refused:
                self.groups[client].difference_update(groups)

    @rule(client=clients, is_orderly=st.booleans())
    def end(self, client: Client, is_orderly: bool) -> None:
        if self.is_here(client):
            if is_orderly:
                self.replicas.send(client, m.Finalize())
            else:
                self.replicas.gone(client)
            self.groups.pop(client, None)

    @rule(client=clients, groups=st.none() | group_sets, is_safe=st.booleans())
    def multicast(self, client: Client, groups: tuple[bytes, ...] | None, is_safe: bool) -> None:
        if not self.is_here(client):
            return
        self.count += 1
        message = b"%d" % self.count
        answer = self.replicas.send(client, m.Multicast(groups, is_safe, 1, pack([message])))
        is_refused = not self.groups.get(client)
        assert (answer.error is not None) == is_refused
        if not is_refused:
            wanted = self.groups[client] if groups is None else groups
            for each, joined in self.groups.items():
                if not joined.isdisjoint(wanted):
                    self.expected[each].append(message)
        self.hear()

    @rule(node=st.sampled_from(NODES), is_back=st.booleans())
    def lose(self, node: int, is_back: bool) -> None:
        if node in self.replicas.members and (is_back or len(self.replicas.members) > 1):
            if self.replicas.members == (node,):
                return
            self.groups = {client: groups for client, groups in self.groups.items() if client.node != node}
            self.replicas.change(left=[node], joined=[node] if is_back else [])
            self.hear()

    @rule(node=st.sampled_from(NODES))
    def join_node(self, node: int) -> None:
        if node not in self.replicas.members:
            self.replicas.change(joined=[node])
            self.hear()

    def hear(self) -> None:
        for client in self.groups:
            for event in self.replicas.events_for(client):
                self._told(client, event)
        self.replicas.events.clear()

    def _told(self, client: Client, event: Any) -> None:
        if isinstance(event, m.Messages):
            self.got[client] += unpack(event.data, event.count)
            return
        nodes = self.nodes[client]
        nodes.difference_update(event.left)
        nodes.update(event.joined)
        assert nodes == set(event.members)
        assert event.kind != REGULAR or event.members == self.replicas.members

    @invariant()
    def everybody_has_what_was_sent_to_it(self) -> None:
        if not hasattr(self, "replicas"):
            return
        for client in self.groups:
            assert self.nodes[client] == set(self.replicas.members)
            assert self.got[client] == self.expected[client]
        answer = self.replicas.ask(Client(self.replicas.members[0], 1), m.GetMembers())
        assert answer == m.Members(self.replicas.members)


TestSessionsAsSets = SessionsAsSets.TestCase
TestSessionsAsSets.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
