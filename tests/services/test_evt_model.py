"""EVT against plain lists: whatever is asked in whatever order, all replicas do what the lists say."""

from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from corosync_amf import errors
from corosync_amf.engine import Client, Done
from corosync_amf.services.evt import messages as m
from corosync_amf.services.evt.engine import EvtEngine
from corosync_amf.services.evt.values import FilterType

from .harness import Replicas

names = st.sampled_from(["c", "d"])
patterns = st.lists(st.sampled_from([b"", b"a", b"ab", b"b"]), max_size=2).map(tuple)
filters = st.lists(st.tuples(st.sampled_from(list(FilterType)), st.sampled_from([b"", b"a", b"b"])), max_size=2).map(
    tuple
)
nodes = st.integers(1, 3)


def fits(filters: tuple[tuple[int, bytes], ...], patterns: tuple[bytes, ...]) -> bool:
    padded = [*patterns, b"", b""]
    for (kind, wanted), pattern in zip(filters, padded, strict=False):
        holds = {
            FilterType.PREFIX: pattern[: len(wanted)] == wanted,
            FilterType.SUFFIX: pattern[len(pattern) - len(wanted) :] == wanted and len(wanted) <= len(pattern),
            FilterType.EXACT: pattern == wanted,
            FilterType.PASS_ALL: True,
        }
        if not holds[FilterType(kind)]:
            return False
    return True


@dataclass(eq=False)
class Kept:
    """A retained event."""

    event_id: int
    patterns: tuple[bytes, ...]
    data: bytes
    until: float


@dataclass(eq=False)
class Model:
    """One channel as it should be."""

    name: str
    retained: list[Kept] = field(default_factory=list)
    is_linked: bool = True


@dataclass(eq=False)
class Held:
    """An open handle; `wanted` are the filters of its subscriptions by their numbers."""

    client: Client
    number: int
    model: Model
    wanted: dict[int, tuple[tuple[int, bytes], ...]] = field(default_factory=dict)


class EventsAndLists(RuleBasedStateMachine):
    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.replicas = Replicas(EvtEngine)
        self.models: list[Model] = []
        self.held: list[Held] = []
        self.number = 0
        self.given: set[int] = set()

    def named(self, name: str) -> Model | None:
        return next((model for model in self.models if model.name == name and model.is_linked), None)

    def heard(self) -> dict[tuple[Client, int], list[bytes]]:
        found: dict[tuple[Client, int], list[bytes]] = {}
        for client, event in self.replicas.events:
            assert isinstance(event, m.Delivered)
            for number in event.subscriptions:
                found.setdefault((client, number), []).extend(event.data)
        self.replicas.events.clear()
        return found

    # ---- life

    @rule(target=handles, name=names, node=nodes, process=st.integers(1, 2))
    def open(self, name: str, node: int, process: int) -> Held:
        self.number += 1
        client = Client(node if node in self.replicas.members else self.replicas.members[0], process)
        assert self.replicas.send(client, m.Open(self.number, name, 7)).message == Done()
        model = self.named(name)
        if model is None:
            model = Model(name)
            self.models.append(model)
        held = Held(client, self.number, model)
        self.held.append(held)
        return held

    @rule(held=consumes(handles))
    def close(self, held: Held) -> None:
        self.replicas.send(held.client, m.Close((held.number,)))
        self._release([held])

    @rule(held=handles)
    def die(self, held: Held) -> None:
        self.replicas.gone(held.client)
        self._release([each for each in self.held if each.client == held.client])

    @rule(name=names)
    def unlink(self, name: str) -> None:
        answer = self.replicas.send(Client(self.replicas.members[0], 9), m.Unlink(name))
        model = self.named(name)
        assert isinstance(answer.error, errors.NotExist) == (model is None)
        if model is not None:
            model.is_linked = False
            self._drop_unused()

    @rule(node=nodes, at_once=st.booleans())
    def lose_a_node(self, node: int, at_once: bool) -> None:
        if node in self.replicas.members and len(self.replicas.members) > 1:
            self.replicas.change(left=[node], joined=[node] if at_once else [])
            self._release([each for each in self.held if each.client.node == node])

    @rule()
    def join_all(self) -> None:
        if missing := {1, 2, 3} - set(self.replicas.members):
            self.replicas.change(joined=missing)

    @rule(seconds=st.sampled_from([0.5, 4.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.replicas.advance(seconds)
        for model in self.models:
            model.retained = [kept for kept in model.retained if kept.until > self.replicas.now]

    def _release(self, released: list[Held]) -> None:
        self.held = [held for held in self.held if held not in released]
        self._drop_unused()

    def _drop_unused(self) -> None:
        used = [held.model for held in self.held]
        self.models = [model for model in self.models if model.is_linked or model in used]

    # ---- events

    @rule(held=handles, filters=filters)
    def subscribe(self, held: Held, filters: tuple[tuple[int, bytes], ...]) -> None:
        self.number += 1
        answer = self.replicas.send(held.client, m.Subscribe(held.number, self.number, filters))
        if held not in self.held:
            assert isinstance(answer.error, errors.BadHandle)
            return
        held.wanted[self.number] = filters
        expected = [kept.data for kept in held.model.retained if fits(filters, kept.patterns)]
        assert self.heard() == ({(held.client, self.number): expected} if expected else {})

    @rule(held=handles)
    def unsubscribe(self, held: Held) -> None:
        number = next(iter(held.wanted), 0)
        answer = self.replicas.send(held.client, m.Unsubscribe(held.number, number))
        assert isinstance(answer.error, errors.BadHandle) == (held not in self.held)
        held.wanted.pop(number, None)

    @rule(
        held=handles, patterns=patterns, data=st.lists(st.binary(max_size=3), min_size=1, max_size=3),
        retention=st.sampled_from([0.0, 0.0, 3.0, 10.0]), priority=st.integers(0, 3),
    )  # fmt: skip
    def publish(
        self, held: Held, patterns: tuple[bytes, ...], data: list[bytes], retention: float, priority: int
    ) -> None:
        request = m.Publish(held.number, patterns, priority, retention, "me", data)
        answer = self.replicas.send(held.client, request)
        if held not in self.held:
            assert isinstance(answer.error, errors.BadHandle)
            return
        assert isinstance(answer.message, m.Published)
        ids = [answer.message.event_id + place * m.NEXT_EVENT for place in range(len(data))]
        assert self.given.isdisjoint(ids)
        assert min(ids) > max(self.given, default=1000)
        self.given.update(ids)
        assert self.heard() == {
            (each.client, number): data
            for each in self.held
            if each.model is held.model
            for number, filters in each.wanted.items()
            if fits(filters, patterns)
        }
        if retention:
            until = self.replicas.now + retention
            held.model.retained += [Kept(*each, until) for each in zip(ids, [patterns] * len(ids), data, strict=True)]

    @rule(held=handles, place=st.integers(0, 5))
    def clear(self, held: Held, place: int) -> None:
        every = [(model, kept) for model in self.models for kept in model.retained]
        model, kept = every[place % len(every)] if every else (None, None)
        answer = self.replicas.send(held.client, m.ClearRetention(held.number, kept.event_id if kept else 4096))
        if held not in self.held:
            assert isinstance(answer.error, errors.BadHandle)
        elif kept is None or model is not held.model:
            assert isinstance(answer.error, errors.NotExist)
        else:
            assert answer.message == Done()
            model.retained.remove(kept)

    @rule(name=names)
    def purge(self, name: str) -> None:
        answer = self.replicas.send(Client(self.replicas.members[0], 9), m.Purge(name))
        model = self.named(name)
        if model is None:
            assert isinstance(answer.error, errors.NotExist)
        else:
            assert answer.message == m.Purged(len(model.retained))
            model.retained.clear()

    # ---- what must hold

    @invariant()
    def every_replica_holds_what_the_lists_do(self) -> None:
        snapshot = self.replicas.engines[self.replicas.members[-1]].snapshot()
        assert isinstance(snapshot, m.Snapshot)
        found = sorted(
            (record.name, record.is_linked, [(event.event_id, event.data) for event in record.retained])
            for record in snapshot.channels
        )
        expected = sorted(
            (model.name, model.is_linked, [(kept.event_id, kept.data) for kept in model.retained])
            for model in self.models
        )
        assert found == expected
        assert len(snapshot.handles) == len(self.held)
        assert bool(self.replicas.alarms) == any(model.retained for model in self.models)

    @invariant()
    def what_operators_see_is_what_there_is(self) -> None:
        client = Client(self.replicas.members[0], 9)
        answer = self.replicas.ask(client, m.ListChannels())
        assert isinstance(answer, m.Channels)
        linked = sorted((model for model in self.models if model.is_linked), key=lambda model: model.name)
        assert [status.name for status in answer.channels] == [model.name for model in linked]
        for status, model in zip(answer.channels, linked, strict=True):
            mine = [held for held in self.held if held.model is model]
            assert (status.handles, status.retained) == (len(mine), len(model.retained))
            assert status.subscriptions == sum(len(held.wanted) for held in mine)


TestEventsAndLists = EventsAndLists.TestCase
TestEventsAndLists.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
