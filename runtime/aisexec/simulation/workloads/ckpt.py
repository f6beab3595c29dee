"""Clients that write and read registers: sections of one WR_ALL_REPLICAS checkpoint, each value written once.

What must hold:

    lost writes       what was acknowledged is there in the end, or was overwritten later
    phantom values    nothing is read that nobody wrote, or whose write was refused
    one order         the writes of a register have an order that agrees with real time as far as they were
                      acknowledged, and in which what each client reads never goes backwards, nor behind its own writes

A read is of the local replica, and may see what is not acknowledged yet. That can be lost when the partition of its
node gives way: then a client's reads may go back, but never behind a write of its own that was acknowledged.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from aisexec.node import NodeEvent
from aisexec.simulation.callers import Caller
from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import Done, Engine, Failed, Service
from corosync_amf.services.ckpt import messages as m
from corosync_amf.services.ckpt.values import CreationFlags, OpenFlags

NAME: Final = "registers"
HANDLE: Final = 1
SECTIONS: Final = (b"x", b"y", b"z")
ATTRIBUTES: Final = m.Attributes(int(CreationFlags.WR_ALL_REPLICAS), 3000, None, 3, 1000, 10, False)
FLAGS: Final = int(OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE)
REPLIES: Final = m.Opened | m.SectionCreated | m.Data | Done | Failed
ASKED_MAX: Final = 20
UNKNOWN: Final = frozenset({ErrorCode.TIMEOUT, ErrorCode.LIBRARY})
"""Answers to a write that do not say whether it took effect."""


@dataclass(slots=True)
class Written:
    """One write of one register. `end` is when it was acknowledged, infinity when it was not."""

    section: bytes
    value: bytes
    client: int
    begin: float
    end: float = inf
    is_refused: bool = False


@dataclass(slots=True)
class History:
    """What all clients did and saw. `after` is value -> values that come later in the order of their register.

    `seen` is (client, section) -> what its next read may not be behind: what it read last, and wrote since.
    """

    writes: dict[bytes, Written] = field(default_factory=dict)
    after: dict[bytes, set[bytes]] = field(default_factory=dict)
    seen: dict[tuple[int, bytes], list[bytes]] = field(default_factory=dict)
    latest: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    own: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    """The last write of each client that was acknowledged, as `latest` is the last that was asked for."""
    values: set[bytes] = field(default_factory=set)
    """All that was ever read."""
    wrong: list[str] = field(default_factory=list)

    def write(self, client: int, section: bytes, value: bytes, now: float) -> None:
        """A client asks for a write; those of one client keep their order."""
        self.writes[value] = Written(section, value, client, now)
        self.after[value] = set()
        before = self.latest.get((client, section))
        if before is not None:
            self.after[before].add(value)
        self.latest[client, section] = value

    def wrote(self, value: bytes, now: float) -> None:
        """A write was acknowledged: its client sees it, or later ones, from now on."""
        written = self.writes[value]
        written.end = now
        self.seen.setdefault((written.client, written.section), []).append(value)
        self.own[written.client, written.section] = value

    def gave_way(self, client: int) -> None:
        """Another partition's state stands where the client reads."""
        for key in [key for key in self.seen if key[0] == client]:
            self.seen[key] = [self.own[key]] if key in self.own else []

    def refused(self, value: bytes) -> None:
        """A write was refused: nobody ever sees it."""
        self.writes[value].is_refused = True

    def read(self, client: int, section: bytes, value: bytes) -> None:
        """A client has read a register."""
        before = self.seen.get((client, section), [])
        self.values.add(value)
        if value and value not in self.writes:
            self.wrong.append(f"phantom value: client {client} read {value!r} of {section!r}")
        elif not value and before:
            self.wrong.append(f"one order: client {client} saw {section!r} empty after {before[-1]!r}")
        elif value:
            for each in before:
                if each != value:
                    self.after[each].add(value)
            self.seen[client, section] = [value]

    def faults(self, final: Mapping[bytes, bytes]) -> list[str]:
        """What is wrong; `final` is what the registers hold in the end."""
        found = list(self.wrong)
        for value in sorted(self.values | set(final.values())):
            if value in self.writes and self.writes[value].is_refused:
                found.append(f"phantom value: {value!r} is there, although its write was refused")
        for section in sorted({written.section for written in self.writes.values()}):
            found += self._faults_of(section, final.get(section, b""))
        return found

    def _faults_of(self, section: bytes, last: bytes) -> list[str]:
        writes = {value: each for value, each in self.writes.items() if each.section == section}
        after = {value: set(self.after[value]) for value in writes}
        ended = sorted((each for each in writes.values() if each.end < inf), key=lambda each: each.end)
        if ended and last not in writes:
            return [f"lost write: {section!r} is {last!r} in the end"]
        for each in writes.values():
            for other in ended:
                if other.end >= each.begin:
                    break
                after[other.value].add(each.value)
        for other in ended:
            if other.value != last:
                after[other.value].add(last)
        circle = circle_in(after)
        return [f"one order: of {section!r} in a circle: {' '.join(map(repr, circle))}"] if circle else []


def circle_in(after: Mapping[bytes, Iterable[bytes]]) -> list[bytes]:
    """Values each of which must come before the next, and the last before the first; empty when there are none."""
    done: set[bytes] = set()
    for start in after:
        path: list[bytes] = []
        on_path: set[bytes] = set()
        stack: list[tuple[bytes, bool]] = [(start, True)]
        while stack:
            value, enters = stack.pop()
            if not enters:
                path.pop()
                on_path.discard(value)
                done.add(value)
            elif value in on_path:
                return path[path.index(value) :]
            elif value not in done:
                path.append(value)
                on_path.add(value)
                stack.append((value, False))
                stack.extend((later, True) for later in sorted(after[value]))
    return []


class CkptWorkload:
    """See the module, and `Workload`."""

    service: Service = Service.CKPT

    def __init__(self, nodes: Sequence[NodeId], rng: random.Random) -> None:
        self.history = History()
        self._rng = rng
        self._callers = {node: Caller(node, Service.CKPT, REPLIES, m.CkptEvent) for node in nodes}
        self._opened: set[NodeId] = set()
        self._finished: set[NodeId] = set()
        self._values = 0

    def connect(self, node: NodeId, client: int, now: float) -> list[NodeEvent]:
        caller = self._callers[node]
        self._opened.discard(node)
        self._finished.discard(node)
        return [caller.connect(client), *self._open(caller)]

    def _open(self, caller: Caller) -> list[NodeEvent]:
        sections = [m.CreateSection(HANDLE, section, b"") for section in SECTIONS]
        return [caller.request(self.opening(caller.node), *sections)]

    def opening(self, node: NodeId) -> m.Open:
        """How the client of a node opens the checkpoint."""
        return m.Open(HANDLE, NAME, FLAGS, ATTRIBUTES, m.Tracking.IDS)

    def work(self, node: NodeId, now: float) -> list[NodeEvent]:
        caller = self._callers[node]
        if node not in self._opened:
            return [] if caller.asked else self._open(caller)
        if len(caller.asked) >= ASKED_MAX:
            return []
        match self._rng.randrange(4):
            case 0:
                return [caller.request(*[self._write(caller, now) for _ in range(self._rng.choice((1, 5)))])]
            case 1:
                return [caller.request(self._write_two(caller, now))]
            case _:
                return [self._read(caller)]

    def _value(self, caller: Caller, section: bytes, now: float) -> bytes:
        self._values += 1
        value = b"%d from %d" % (self._values, caller.client)
        self.history.write(caller.client, section, value, now)
        return value

    def _write(self, caller: Caller, now: float) -> m.Overwrite:
        section = self._rng.choice(SECTIONS)
        return m.Overwrite(HANDLE, section, self._value(caller, section, now))

    def _write_two(self, caller: Caller, now: float) -> m.WriteBatch:
        sections = self._rng.sample(SECTIONS, 2)
        return m.WriteBatch(HANDLE, [m.Change(each, self._value(caller, each, now)) for each in sections])

    def _read(self, caller: Caller) -> NodeEvent:
        return caller.query(m.Read(HANDLE, [m.Extent(section) for section in SECTIONS]))

    def hear(self, node: NodeId, frames: Sequence[bytes], now: float) -> list[NodeEvent]:
        caller = self._callers[node]
        for asked, answer in caller.hear(frames):
            match asked, answer:
                case None, m.Changed():
                    if answer.is_merge:
                        self.history.gave_way(caller.client)
                case m.Open(), m.Opened():
                    self._opened.add(node)
                case m.Read(), m.Data(items):
                    for section, value in zip(SECTIONS, items, strict=True):
                        self.history.read(caller.client, section, value)
                case ((m.Overwrite() | m.WriteBatch()), _):
                    self._answered(values_of(asked), answer, now)
                case _:
                    pass
        return []

    def _answered(self, values: list[bytes], answer: Any, now: float) -> None:
        for value in values:
            if isinstance(answer, Done):
                self.history.wrote(value, now)
            elif isinstance(answer, Failed) and answer.code not in UNKNOWN:
                self.history.refused(value)

    def lost(self, node: NodeId, now: float) -> None:
        self._callers[node].lost()
        self._opened.discard(node)
        self._finished.discard(node)

    def finish(self, node: NodeId, now: float) -> list[NodeEvent]:
        caller = self._callers[node]
        if caller.asked or node in self._finished:
            return []
        if node not in self._opened:
            return self._open(caller)
        self._finished.add(node)
        return [self._read(caller)]

    def is_settled(self) -> bool:
        return all(node in self._finished and not caller.asked for node, caller in self._callers.items())

    def check(self, engines: Mapping[NodeId, Engine]) -> list[str]:
        snapshot: Any = engines[min(engines)].snapshot()
        final = {
            section.section_id: section.data
            for record in snapshot.checkpoints
            if record.name == NAME
            for section in record.sections
        }
        return self.history.faults(final)


def values_of(message: Any) -> list[bytes]:
    """What a write writes."""
    if isinstance(message, m.Overwrite):
        return [message.data]
    return [change.data for change in message.changes if change.data is not None]
