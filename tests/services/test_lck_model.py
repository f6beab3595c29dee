"""LCK against a plain list of requests: whatever is asked in whatever order, the replicas decide as the list does.

The model has one list of everything that was ever granted, queued or left behind, in the order in which it was asked,
and works out anew each time who holds what.
"""

from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from corosync_amf import errors
from corosync_amf.engine import Client
from corosync_amf.services.lck import messages as m
from corosync_amf.services.lck.engine import LckEngine
from corosync_amf.services.lck.values import LockFlags, LockMode, LockStatus

from .harness import Replicas

PR, EX = LockMode.PR, LockMode.EX
NAMES = ("x", "y", "z")
CLIENTS = [Client(1, 1), Client(1, 2), Client(2, 1), Client(3, 1)]
clients = st.sampled_from(CLIENTS)
handles = st.integers(1, 6)
"""Of each client: 1 to 3 are x, y, z, and 4 to 6 again."""


@dataclass(eq=False)
class Entry:
    """One request that was not refused."""

    client: Client
    handle: int
    lock: int
    mode: LockMode
    is_orphan_to_be: bool
    token: int | None = None
    is_orphan: bool = False

    @property
    def name(self) -> str:
        return NAMES[(self.handle - 1) % 3]

    def excludes(self, other: "Entry") -> bool:
        return self.name == other.name and EX in (self.mode, other.mode)


@dataclass
class Model:
    """All entries, oldest first."""

    entries: list[Entry] = field(default_factory=list)
    quorate: bool = True

    def in_the_way(self, entry: Entry) -> list[Entry]:
        """What `entry` waits for: holders, and older requests."""
        older = self.entries[: self.entries.index(entry)] if entry in self.entries else self.entries
        return [e for e in self.entries if e.excludes(entry) and (e.token is not None or e in older) and e is not entry]

    def settle(self, token: int) -> list[Entry]:
        """Grant what can be granted, in the order of the requests."""
        granted = []
        for entry in self.entries if self.quorate else []:
            if entry.token is None and not self.in_the_way(entry):
                entry.token = token
                granted.append(entry)
        return granted

    def is_deadlock(self, entry: Entry) -> bool:
        """Whether somebody would wait for himself, if `entry` were added."""
        self.entries.append(entry)
        edges: dict[Client, set[Client]] = {}
        for each in self.entries:
            if each.token is None:
                found = {
                    other.client
                    for other in self.in_the_way(each)
                    if not other.is_orphan and (other.client != each.client or (each is entry and other.token))
                }
                edges.setdefault(each.client, set()).update(found)
        self.entries.pop()
        reached, todo = set(), [entry.client]
        while todo:
            for other in edges.get(todo.pop(), ()):
                if other not in reached:
                    reached.add(other)
                    todo.append(other)
        return entry.client in reached

    def status(self, entry: Entry, flags: int) -> LockStatus | None:
        """What becomes of a new request; None: it waits."""
        mine = [e for e in self.entries if (e.client, e.handle) == (entry.client, entry.handle) and not e.is_orphan]
        if entry.mode is EX and any(e.mode is EX for e in mine):
            return LockStatus.DUPLICATE_EX
        in_the_way = self.in_the_way(entry)
        if not in_the_way:
            return LockStatus.GRANTED
        if flags & LockFlags.NO_QUEUE:
            return LockStatus.NOT_QUEUED
        if flags & LockFlags.ORPHAN and any(e.is_orphan and e.name == entry.name for e in self.entries):
            return LockStatus.ORPHANED
        return LockStatus.DEADLOCK if self.is_deadlock(entry) else None

    def leave(self, gone: list[Entry]) -> None:
        """These entries' handles are closed."""
        for entry in gone:
            if entry.token is not None and entry.is_orphan_to_be:
                entry.is_orphan = True
            else:
                self.entries.remove(entry)


class LocksAndAList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.replicas = Replicas(LckEngine)
        self.model = Model()
        self.number = 0
        for client in CLIENTS:
            self._open(client)

    def _open(self, client: Client) -> None:
        for handle in range(1, 7):
            self.replicas.send(client, m.Open(handle, NAMES[(handle - 1) % 3], 1))

    def _settle(self) -> None:
        """What the model grants, the clients have been told; and nothing else."""
        told = []
        for client in CLIENTS:
            for event in self.replicas.events_for(client):
                if isinstance(event, m.Decided):
                    assert event.verdict == m.Verdict(LockStatus.GRANTED, self.replicas.order)
                    told.append((client, event.lock))
        granted = self.model.settle(self.replicas.order)
        assert sorted(told) == sorted((entry.client, entry.lock) for entry in granted)

    # ---- what happens

    @precondition(lambda self: self.model.quorate)
    @rule(client=clients, handle=handles, mode=st.sampled_from(LockMode), flags=st.sampled_from([0, 0, 0, 1, 2, 3]))
    def lock(self, client: Client, handle: int, mode: LockMode, flags: int) -> None:
        if client.node not in self.replicas.members:
            return
        self.number += 1
        entry = Entry(client, handle, self.number, mode, bool(flags & LockFlags.ORPHAN))
        expected = self.model.status(entry, flags)
        waiters = [
            e for e in self.model.entries if e.excludes(entry) and e.token is not None and not e.is_orphan
        ]  # fmt: skip
        answer = self.replicas.send(client, m.Lock(handle, self.number, mode, flags, 7)).message
        told = [
            (each, event.lock, event.requests)
            for each in CLIENTS
            for event in self.replicas.events_for(each)
            if isinstance(event, m.Waiting)
        ]
        if expected is None:
            assert answer == m.Waits()
            self.model.entries.append(entry)
            assert sorted(told) == sorted((each.client, each.lock, ((7, mode),)) for each in waiters)
            return
        assert isinstance(answer, m.Verdict)
        assert answer.status == expected
        assert told == []
        if expected is LockStatus.GRANTED:
            entry.token = self.replicas.order
            self.model.entries.append(entry)
            assert answer.token == entry.token
        if expected is LockStatus.DEADLOCK:
            self._check_cycle(entry, answer)

    def _check_cycle(self, entry: Entry, answer: m.Verdict) -> None:
        """Each request of the cycle waits for something of the session of the next."""
        self.model.entries.append(entry)
        by_number = {each.lock: each for each in self.model.entries}
        cycle = [by_number[lock] for _, _, lock in answer.cycle]
        assert cycle[0] is entry
        for each, other in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert other.client in {blocking.client for blocking in self.model.in_the_way(each)}
        assert answer.cycle == tuple((each.client.node, each.name, each.lock) for each in cycle)
        self.model.entries.pop()

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data(), gently=st.booleans())
    def unlock(self, data: st.DataObject, gently: bool) -> None:
        entry = data.draw(st.sampled_from(self.model.entries))
        if entry.is_orphan:
            assert isinstance(self.replicas.send(entry.client, m.Unlock(entry.lock)).error, errors.NotExist)
        elif gently:
            answer = self.replicas.send(entry.client, m.Withdraw(entry.lock)).message
            assert answer == m.Withdrawn(entry.token)
            if entry.token is None:
                self.model.entries.remove(entry)
        else:
            assert self.replicas.send(entry.client, m.Unlock(entry.lock)).error is None
            self.model.entries.remove(entry)
        self._settle()

    @rule(client=clients, handle=handles)
    def close(self, client: Client, handle: int) -> None:
        if client.node not in self.replicas.members:
            return
        self.replicas.send(client, m.Close((handle,)))
        entries = [e for e in self.model.entries if (e.client, e.handle) == (client, handle) and not e.is_orphan]
        self.model.leave(sorted(entries, key=lambda each: each.lock))
        self._settle()
        self.replicas.send(client, m.Open(handle, NAMES[(handle - 1) % 3], 1))

    @rule(client=clients)
    def die(self, client: Client) -> None:
        if client.node in self.replicas.members:
            self.replicas.gone(client)
            self.model.leave([e for e in self.model.entries if e.client == client and not e.is_orphan])
            self._settle()
            self._open(client)

    @rule(client=clients, handle=handles)
    def purge(self, client: Client, handle: int) -> None:
        if client.node not in self.replicas.members:
            return
        self.replicas.send(client, m.Purge(handle))
        name = NAMES[(handle - 1) % 3]
        self.model.entries = [e for e in self.model.entries if not (e.is_orphan and e.name == name)]
        self._settle()

    @rule(node=st.integers(1, 3), quorate=st.booleans())
    def lose_or_join(self, node: int, quorate: bool) -> None:
        if node in self.replicas.members and len(self.replicas.members) > 1:
            self.model.quorate = quorate
            self.replicas.change(left=[node], quorate=quorate)
            gone = [e for e in self.model.entries if e.client.node == node and not e.is_orphan]
            self.model.leave(gone)
            self._settle()
            return
        missing = {1, 2, 3} - set(self.replicas.members)
        self.model.quorate = True
        self.replicas.change(joined=missing)
        self._settle()
        for client in CLIENTS:
            if client.node in missing:
                self._open(client)

    # ---- what must hold

    @invariant()
    def no_two_locks_that_exclude_one_another_are_held(self) -> None:
        held = [entry for entry in self.model.entries if entry.token is not None]
        for entry in held:
            assert not any(entry.excludes(other) for other in held if other is not entry)

    @invariant()
    def the_replicas_hold_what_the_list_does(self) -> None:
        found = self.replicas.engines[self.replicas.members[-1]].snapshot()
        assert isinstance(found, m.Snapshot)
        locks = [
            (each.client, each.lock, each.token, kind)
            for resource in found.resources
            for kind, records in enumerate((resource.held, resource.waiting, resource.orphaned))
            for each in records
        ]
        expected = [
            (each.client, each.lock, each.token, 2 if each.is_orphan else int(each.token is None))
            for each in self.model.entries
        ]
        assert sorted(locks, key=lambda lock: lock[:2]) == sorted(expected, key=lambda lock: lock[:2])
        waiting = {resource.name: [(w.client, w.lock) for w in resource.waiting] for resource in found.resources}
        for name in NAMES:
            queue = [(e.client, e.lock) for e in self.model.entries if e.name == name and e.token is None]
            assert waiting.get(name, []) == queue


TestLocksAndAList = LocksAndAList.TestCase
TestLocksAndAList.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
