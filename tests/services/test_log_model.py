"""LOG against plain lists: whatever is written in whatever order, every replica fills its files as the lists do."""

from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from corosync_amf import errors
from corosync_amf.engine import Client
from corosync_amf.services.log import messages as m
from corosync_amf.services.log.engine import LogEngine
from corosync_amf.services.log.values import FullAction

from .harness import Replicas, refused

FILE_BYTES, RECORD_BYTES = 300, 150
ACTIONS = {"wraps": FullAction.WRAP, "halts": FullAction.HALT, "rotates": FullAction.ROTATE}


@dataclass(eq=False)
class Model:
    """One stream as it should be: the lines of each of its files, the present one last."""

    name: str
    files: list[list[bytes]] = field(default_factory=lambda: [[]])
    records: int = 0
    opened: int = 0
    severities: int = 0x7F
    is_halted: bool = False

    def write(self, body: bytes) -> bytes | None:
        """The line; None: the stream has halted."""
        line = b"%d %s\n" % (self.records + 1, body)
        line = line if len(line) <= RECORD_BYTES else line[: RECORD_BYTES - 1] + b"\n"
        if sum(map(len, self.files[-1])) + len(line) > FILE_BYTES:
            if self.name == "halts":
                self.is_halted = True
                return None
            self.files.append([])
        self.records += 1
        self.files[-1].append(line)
        return line


@dataclass(eq=False)
class Held:
    """An open handle."""

    client: Client
    number: int
    model: Model


class StreamsAndLists(RuleBasedStateMachine):
    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.replicas = Replicas(LogEngine)
        self.named: dict[str, Model] = {}
        self.held: list[Held] = []
        self.number = 0

    @rule(target=handles, name=st.sampled_from(sorted(ACTIONS)), node=st.integers(1, 3), process=st.integers(1, 2))
    def open(self, name: str, node: int, process: int) -> Held:
        self.number += 1
        client = Client(node if node in self.replicas.members else self.replicas.members[0], process)
        attributes = m.Attributes(name, ".", FILE_BYTES, RECORD_BYTES, name != "wraps", ACTIONS[name], 3, "@Cr @Cb")
        answer = self.replicas.send(client, m.Open(self.number, name, attributes))
        assert answer.message == m.Opened(attributes)
        model = self.named.setdefault(name, Model(name))
        model.opened += 1
        held = Held(client, self.number, model)
        self.held.append(held)
        self.replicas.commands.clear()
        return held

    @rule(held=consumes(handles))
    def close(self, held: Held) -> None:
        self.replicas.send(held.client, m.Close((held.number,)))
        self._forget([held])

    @rule(node=st.integers(1, 3), process=st.integers(1, 2))
    def die(self, node: int, process: int) -> None:
        self.replicas.gone(Client(node, process))
        self._forget([held for held in self.held if held.client == Client(node, process)])

    @rule(node=st.integers(1, 3))
    def lose_or_gain(self, node: int) -> None:
        if node in self.replicas.members and len(self.replicas.members) > 1:
            self.replicas.change(left=[node])
            self._forget([held for held in self.held if held.client.node == node])
        elif node not in self.replicas.members:
            self.replicas.change(joined=[node])

    @rule(name=st.sampled_from(sorted(ACTIONS)), severities=st.sampled_from([0x7F, 0x7F, 0x0F]))
    def set_filter(self, name: str, severities: int) -> None:
        answer = self.replicas.send(Client(self.replicas.members[0], 9), m.SetFilter(name, severities))
        if name in self.named:
            self.named[name].severities = severities
            assert answer.error is None
        else:
            assert isinstance(refused(answer), errors.NotExist)

    @rule(held=handles, body=st.integers(0, 200), severity=st.sampled_from([3, 4]))
    def write(self, held: Held, body: int, severity: int) -> None:
        self.replicas.commands.clear()
        answer = self.replicas.send(held.client, m.Write(held.number, b"x" * body, severity, "user"))
        model = held.model
        if held not in self.held:
            assert isinstance(refused(answer), errors.BadHandle)
            return
        if not model.severities >> severity & 1:
            assert answer.message == m.Written(0)
            assert not self.replicas.commands
            return
        files = len(model.files)
        line = None if model.is_halted else model.write(b"x" * body)
        if line is None:
            assert isinstance(refused(answer), errors.TryAgain)
            return
        assert answer.message == m.Written(model.records)
        assert answer.safe
        writers = self.replicas.members if model.name != "wraps" else self.replicas.members[:1]
        assert [node for node, _ in self.replicas.commands] == list(writers)
        for _, command in self.replicas.commands:
            assert isinstance(command, m.Append)
            is_new = len(model.files) > files
            assert command.line == line
            assert bool(command.closed) == (is_new and model.name == "rotates")
            assert command.is_wrapped == (is_new and model.name == "wraps")

    def _forget(self, gone: list[Held]) -> None:
        for held in gone:
            if held in self.held:
                self.held.remove(held)
                held.model.opened -= 1
        self.named = {name: model for name, model in self.named.items() if model.opened}

    @invariant()
    def the_replicas_know_what_the_lists_know(self) -> None:
        answer = self.replicas.ask(Client(self.replicas.members[0], 9), m.ListStreams())
        assert isinstance(answer, m.Streams)
        found = {shown.name: shown for shown in answer.streams[3:]}
        assert sorted(found) == sorted(self.named)
        for name, model in self.named.items():
            shown = found[name]
            size = sum(map(len, model.files[-1]))
            assert (shown.records, shown.size, shown.opened) == (model.records, size, model.opened)
            assert (shown.is_halted, shown.severities) == (model.is_halted, model.severities)


StreamsAndLists.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestStreamsAndLists = StreamsAndLists.TestCase
