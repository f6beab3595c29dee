"""The notification engine against a naive model, under arbitrary histories."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from corosync_amf import errors
from corosync_amf.engine import Client
from corosync_amf.services.ntf import messages as m
from corosync_amf.services.ntf import store
from corosync_amf.services.ntf.engine import NtfEngine
from corosync_amf.services.ntf.records import Record, Search, Terms
from corosync_amf.services.ntf.vocabulary import Direction
from corosync_amf.wire import decode

from .harness import Replicas, refused
from .notifications import ALARMS, CLEARED, EVERYTHING, MAJOR, alarm, record

CLIENTS = st.builds(Client, st.integers(1, 3), st.integers(1, 2))
OBJECTS = st.sampled_from(["safApp=a", "safApp=b"])
FILTERS = st.sampled_from([ALARMS, EVERYTHING, Terms(notification_objects=("safApp=a",)), Terms(severities=(MAJOR,))])
KEPT = 6


@contextmanager
def few_kept() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "KEPT_MAX", KEPT)
        yield


def wants(terms: Terms, sent: Record) -> bool:
    if terms == ALARMS:
        return sent.is_alarm
    if terms.severities:
        return sent.severity == MAJOR
    return not terms.notification_objects or sent.notification_object == "safApp=a"


class NtfMachine(RuleBasedStateMachine):
    """`kept` is what a reader must find, `raised` the alarms that are not over by object and cause."""

    def __init__(self) -> None:
        super().__init__()
        self.replicas = Replicas(NtfEngine)
        self.subscriptions: dict[tuple[Client, int], Terms] = {}
        self.expected: dict[Client, list[tuple[int, int]]] = {}
        self.kept: list[Record] = []
        self.raised: dict[tuple[str, int], int] = {}
        self.allocated: dict[int, Client] = {}
        self.used: list[int] = []
        self.highest = 0

    def is_there(self, client: Client) -> bool:
        return client.node in self.replicas.members

    def accepted(self, sent: Record, identifier: int) -> None:
        for (client, number), terms in sorted(self.subscriptions.items()):
            if wants(terms, sent):
                self.expected.setdefault(client, []).append((number, identifier))
        self.kept.append(sent)
        self.used.append(identifier)
        for is_alarm in (True, False):
            these = sorted(
                (each.identifier, position) for position, each in enumerate(self.kept) if each.is_alarm is is_alarm
            )
            if len(these) > KEPT:
                gone = self.kept.pop(these[0][1])
                self.raised = {key: each for key, each in self.raised.items() if each != gone.identifier}

    def numbered(self, sent: Record, identifier: int) -> Record:
        fields: dict[str, Any] = {name: getattr(sent, name) for name in Record.__struct_fields__}
        fields |= {"identifier": identifier}
        if sent.event_time is None:
            fields["event_time"] = self.replicas.now
        if sent.is_alarm:
            fields["correlated"] = self.correlated(sent, identifier)
        return Record(**fields)

    def correlated(self, sent: Record, identifier: int) -> tuple[int, ...]:
        cause: int = sent.facts.probable_cause  # type: ignore[union-attr]
        key = (sent.notification_object, cause)
        if sent.severity != CLEARED:
            self.raised[key] = max(identifier, self.raised.get(key, 0))
            return ()
        same = {other: each for other, each in self.raised.items() if other[0] == sent.notification_object}
        if not same:
            return ()
        ended = key if key in same else max(same, key=lambda each: same[each])
        return (self.raised.pop(ended),)

    @rule(client=CLIENTS, about=OBJECTS, time=st.none() | st.floats(0, 10))
    def send_event(self, client: Client, about: str, time: float | None) -> None:
        if self.is_there(client):
            self.send(client, record(about, time=time))

    @rule(client=CLIENTS, about=OBJECTS, severity=st.sampled_from([CLEARED, MAJOR, 2]), cause=st.integers(1, 2))
    def send_alarm(self, client: Client, about: str, severity: int, cause: int) -> None:
        if self.is_there(client):
            self.send(client, alarm(about, severity, cause))

    def send(self, client: Client, sent: Record) -> None:
        answer = self.replicas.send(client, m.Send(sent)).message
        assert isinstance(answer, m.Identified)
        assert answer.identifier > self.highest
        self.highest = answer.identifier
        self.accepted(self.numbered(sent, answer.identifier), answer.identifier)

    @rule(client=CLIENTS)
    def allocate(self, client: Client) -> None:
        if self.is_there(client):
            answer = self.replicas.send(client, m.Allocate()).message
            assert isinstance(answer, m.Identified)
            assert answer.identifier > self.highest
            self.highest = answer.identifier
            self.allocated[answer.identifier] = client

    @rule(client=CLIENTS, data=st.data())
    @precondition(lambda self: self.allocated or self.used)
    def send_with_id(self, client: Client, data: st.DataObject) -> None:
        if not self.is_there(client):
            return
        identifier = data.draw(st.sampled_from(sorted({*self.allocated, *self.used})))
        answer = self.replicas.send(client, m.SendWithId(record(identifier=identifier)))
        if any(each.identifier == identifier for each in self.kept):
            assert type(refused(answer)) is errors.Exist
        elif identifier not in self.allocated:
            assert type(refused(answer)) is errors.InvalidParam
        else:
            assert answer.message == m.Identified(identifier)
            del self.allocated[identifier]
            self.accepted(self.numbered(record(), identifier), identifier)

    @rule(client=CLIENTS, number=st.integers(1, 2), terms=FILTERS)
    def subscribe(self, client: Client, number: int, terms: Terms) -> None:
        if not self.is_there(client):
            return
        answer = self.replicas.send(client, m.Subscribe(number, (terms,)))
        if (client, number) in self.subscriptions:
            assert type(refused(answer)) is errors.Exist
        else:
            assert answer.error is None
            self.subscriptions[client, number] = terms

    @rule(client=CLIENTS, number=st.integers(1, 2))
    def unsubscribe(self, client: Client, number: int) -> None:
        if not self.is_there(client):
            return
        answer = self.replicas.send(client, m.Unsubscribe(number))
        if self.subscriptions.pop((client, number), None) is None:
            assert type(refused(answer)) is errors.NotExist
        else:
            assert answer.error is None

    @rule(client=CLIENTS)
    def gone(self, client: Client) -> None:
        if self.is_there(client):
            self.replicas.gone(client)
            self.forget(lambda each: each == client)

    def forget(self, has: Any) -> None:
        self.subscriptions = {key: each for key, each in self.subscriptions.items() if not has(key[0])}
        self.allocated = {key: each for key, each in self.allocated.items() if not has(each)}

    @rule(node=st.integers(1, 3))
    def change(self, node: int) -> None:
        if node not in self.replicas.members:
            self.replicas.change(joined=[node])
        elif len(self.replicas.members) > 1:
            self.replicas.change(left=[node])
            self.forget(lambda each: each.node == node)

    @rule(seconds=st.floats(-5, 5))
    def advance(self, seconds: float) -> None:
        self.replicas.now += seconds

    @invariant()
    def subscribers_heard_what_they_want_in_order(self) -> None:
        for client in {*self.expected, *(client for client, _ in self.replicas.events)}:
            heard = [(each.subscription_id, each.identifier) for each in self.replicas.events_for(client)]
            assert heard == self.expected.pop(client, [])

    @invariant()
    def a_reader_finds_what_is_kept(self) -> None:
        node = self.replicas.members[0]
        expected = sorted(self.kept, key=lambda each: (each.event_time, each.identifier))
        for terms in (EVERYTHING, ALARMS):
            page = self.replicas.ask(
                Client(node, 1), m.Read(Search(), (terms,), int(Direction.YOUNGER), None, 4 * KEPT)
            )
            assert isinstance(page, m.Page)
            found = [decode(data, Record) for _, _, data in page.items]
            assert found == [each for each in expected if wants(terms, each)]


def test_the_engine_does_what_the_model_does() -> None:
    with few_kept():
        run_state_machine_as_test(NtfMachine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))
