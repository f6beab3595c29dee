"""CKPT against a plain dictionary: whatever is asked in whatever order, all replicas do what the dictionary does."""

from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from corosync_amf import errors
from corosync_amf.engine import Client
from corosync_amf.errors import AisError
from corosync_amf.services.ckpt import messages as m
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.ckpt.values import CreationFlags, OpenFlags

from .harness import Answer, Replicas

SECTIONS_MAX, SECTION_BYTES, CHECKPOINT_BYTES, RETENTION = 3, 8, 16, 10.0
MODES = {"all": CreationFlags.WR_ALL_REPLICAS, "weak": CreationFlags.WR_ACTIVE_REPLICA_WEAK, "active": 2}
names = st.sampled_from(sorted(MODES))
ids = st.sampled_from([b"1", b"2", b"3", b"4"])
data = st.binary(max_size=SECTION_BYTES)
epochs = st.none() | st.integers(0, 4)
nodes = st.integers(1, 3)


@dataclass(eq=False)
class Model:
    """One checkpoint as it should be; `dies_at` is set while nobody has it open."""

    name: str
    sections: dict[bytes, bytes] = field(default_factory=dict)
    expirations: dict[bytes, float] = field(default_factory=dict)
    fence: int | None = None
    dies_at: float | None = None
    is_linked: bool = True

    def verdict(self, after: dict[bytes, bytes], epoch: int | None) -> type[AisError] | None:
        """What a change to `after` must meet, if what it names is there."""
        if len(after) > SECTIONS_MAX or sum(map(len, after.values())) > CHECKPOINT_BYTES:
            return errors.NoSpace
        if epoch is not None and self.fence is not None and epoch < self.fence:
            return errors.AccessDenied
        self.sections = after
        self.expirations = {key: time for key, time in self.expirations.items() if key in after}
        self.fence = self.fence if epoch is None else epoch
        return None


@dataclass(eq=False)
class Held:
    """An open handle."""

    client: Client
    number: int
    model: Model


class CheckpointsAndADictionary(RuleBasedStateMachine):
    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.replicas = Replicas(CkptEngine)
        self.named: dict[str, Model] = {}
        self.models: list[Model] = []
        self.held: list[Held] = []
        self.number = 0

    # ---- life

    @rule(target=handles, name=names, node=nodes, process=st.integers(1, 2))
    def open(self, name: str, node: int, process: int) -> Held:
        self.number += 1
        client = Client(node if node in self.replicas.members else self.replicas.members[0], process)
        attributes = m.Attributes(int(MODES[name]), CHECKPOINT_BYTES, RETENTION, SECTIONS_MAX, SECTION_BYTES, 20, False)
        request = m.Open(self.number, name, OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE, attributes)
        assert self.replicas.send(client, request).message == m.Opened(attributes)
        if name not in self.named:
            self.named[name] = Model(name)
            self.models.append(self.named[name])
        model = self.named[name]
        model.dies_at = None
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
        model = self.named.pop(name, None)
        assert isinstance(answer.error, errors.NotExist) == (model is None)
        if model is not None:
            model.is_linked = False
            if not any(each.model is model for each in self.held):
                self.models.remove(model)

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
        for model in list(self.models):
            for key in [key for key, time in model.expirations.items() if time <= self.replicas.now]:
                del model.sections[key], model.expirations[key]
            if model.dies_at is not None and model.dies_at <= self.replicas.now:
                self.models.remove(model)
                del self.named[model.name]

    def _release(self, released: list[Held]) -> None:
        for held in released:
            if held not in self.held:
                continue
            self.held.remove(held)
            if any(each.model is held.model for each in self.held):
                continue
            if held.model.is_linked:
                held.model.dies_at = self.replicas.now + RETENTION
            else:
                self.models.remove(held.model)

    # ---- changes

    def _check(self, held: Held, answer: Answer, expected: type[AisError] | None) -> None:
        error = answer.error
        assert (type(error) if error else None) == expected
        if isinstance(error, errors.AccessDenied):
            assert error.epoch == held.model.fence
        if error is None:
            assert answer.safe == (held.model.name == "all")

    @rule(held=handles, section=ids, data=data, epoch=epochs, delay=st.none() | st.sampled_from([3.0, 30.0]))
    def create(self, held: Held, section: bytes, data: bytes, epoch: int | None, delay: float | None) -> None:
        time = None if delay is None else self.replicas.now + delay
        answer = self.replicas.send(held.client, m.CreateSection(held.number, section, data, time, epoch))
        if held not in self.held:
            self._check(held, answer, errors.BadHandle)
            return
        model = held.model
        expected = errors.Exist if section in model.sections else model.verdict(model.sections | {section: data}, epoch)
        if expected is None and time is not None:
            model.expirations[section] = time
        self._check(held, answer, expected)

    @rule(held=handles, section=ids, epoch=epochs)
    def delete(self, held: Held, section: bytes, epoch: int | None) -> None:
        answer = self.replicas.send(held.client, m.DeleteSection(held.number, section, epoch))
        self._change(held, answer, section, lambda old: None, epoch)

    @rule(held=handles, section=ids, data=data, epoch=epochs)
    def overwrite(self, held: Held, section: bytes, data: bytes, epoch: int | None) -> None:
        answer = self.replicas.send(held.client, m.Overwrite(held.number, section, data, epoch))
        self._change(held, answer, section, lambda old: data, epoch)

    @rule(held=handles, section=ids, offset=st.integers(0, 9), data=data, epoch=epochs)
    def write(self, held: Held, section: bytes, offset: int, data: bytes, epoch: int | None) -> None:
        answer = self.replicas.send(held.client, m.Write(held.number, [m.Part(section, offset, data)], epoch))
        if held in self.held and offset + len(data) > SECTION_BYTES:
            self._check(held, answer, errors.InvalidParam)
            return

        def written(old: bytes) -> bytes:
            padded = bytearray(old.ljust(offset + len(data), b"\0"))
            padded[offset : offset + len(data)] = data
            return bytes(padded)

        self._change(held, answer, section, written, epoch)

    def _change(self, held: Held, answer: Answer, section: bytes, change: object, epoch: int | None) -> None:
        if held not in self.held:
            self._check(held, answer, errors.BadHandle)
            return
        if section not in held.model.sections:
            self._check(held, answer, errors.NotExist)
            return
        assert callable(change)
        new = change(held.model.sections[section])
        after = {key: old for key, old in held.model.sections.items() if key != section}
        if new is not None:
            after[section] = new
        self._check(held, answer, held.model.verdict(after, epoch))

    @rule(held=handles, changes=st.dictionaries(ids, st.none() | data, min_size=1), epoch=epochs)
    def write_batch(self, held: Held, changes: dict[bytes, bytes | None], epoch: int | None) -> None:
        listed = [m.Change(*change) for change in changes.items()]
        answer = self.replicas.send(held.client, m.WriteBatch(held.number, listed, epoch))
        if held not in self.held:
            self._check(held, answer, errors.BadHandle)
            return
        model = held.model
        if any(new is None and key not in model.sections for key, new in changes.items()):
            self._check(held, answer, errors.NotExist)
            return
        merged: dict[bytes, bytes | None] = {**model.sections, **changes}
        after = {key: new for key, new in merged.items() if new is not None}
        self._check(held, answer, model.verdict(after, epoch))

    @rule(held=handles, epoch=st.integers(0, 4))
    def fence(self, held: Held, epoch: int) -> None:
        answer = self.replicas.send(held.client, m.Fence(held.number, epoch))
        if held in self.held:
            is_old = held.model.fence is not None and epoch < held.model.fence
            assert isinstance(answer.error, errors.AccessDenied) == is_old
            held.model.fence = held.model.fence if is_old else epoch

    # ---- what must hold

    @invariant()
    def every_replica_holds_what_the_model_does(self) -> None:
        snapshot = self.replicas.engines[self.replicas.members[-1]].snapshot()
        assert isinstance(snapshot, m.Snapshot)
        found = sorted(
            (record.name, record.linked, record.fence or 0, sorted((s.section_id, s.data) for s in record.sections))
            for record in snapshot.checkpoints
        )
        expected = sorted(
            (model.name, model.is_linked, model.fence or 0, sorted(model.sections.items())) for model in self.models
        )
        assert found == expected
        assert len(snapshot.handles) == len(self.held)

    @invariant()
    def who_has_a_checkpoint_open_reads_what_the_model_holds(self) -> None:
        if not self.held:
            return
        held = self.held[-1]
        answer = self.replicas.ask(held.client, m.ReadAll(held.number))
        assert isinstance(answer, m.Content)
        assert dict(answer.sections) == held.model.sections


TestCheckpointsAndADictionary = CheckpointsAndADictionary.TestCase
TestCheckpointsAndADictionary.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
