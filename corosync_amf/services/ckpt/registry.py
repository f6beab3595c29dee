"""Which checkpoints there are, under which names, and who has them open with which rights."""

from collections.abc import Sequence
from typing import Final

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.checks import check_name
from corosync_amf.engine import Alarm, Client, Effect, Origin
from corosync_amf.errors import (
    Access,
    BadHandle,
    BadOperation,
    Exist,
    InvalidParam,
    NoResources,
    NotExist,
    NotSupported,
)

from .limits import OPEN_FLAGS, is_duration, problem_of
from .messages import Attributes, CheckpointRecord, Expire, HandleRecord, Open, RetentionOver, Tracking
from .store import Checkpoint, Handle
from .values import CHECKPOINTS_MAX, HANDLES_MAX, OpenFlags

SOONEST: Final = 0.01
"""Seconds: the least delay of an expiration alarm, for a coordinator whose clock lags behind."""
WRITE, CREATE = int(OpenFlags.WRITE), int(OpenFlags.CREATE)


class Registry:
    """See the module. `numbers` counts the checkpoints ever made."""

    def __init__(self) -> None:
        self.numbers = 0
        self.checkpoints: dict[int, Checkpoint] = {}
        self.names: dict[str, Checkpoint] = {}
        self.handles: dict[Client, dict[int, Handle]] = {}
        self.keepers: tuple[NodeId, ...] = ()
        """The nodes that can keep checkpoints on disk."""
        self.begun: list[Checkpoint] = []
        self.ended: list[Checkpoint] = []
        """What was created, and what has lost its name or is gone, for the journals."""

    @classmethod
    def restored(
        cls, numbers: int, checkpoints: Sequence[CheckpointRecord], handles: Sequence[HandleRecord]
    ) -> "Registry":
        """The registry of a snapshot."""
        registry = cls()
        registry.numbers = numbers
        registry.checkpoints = {record.number: Checkpoint.restored(record) for record in checkpoints}
        registry.names = {each.name: each for each in registry.checkpoints.values() if each.linked}
        for record in handles:
            checkpoint = registry.checkpoints[record.checkpoint]
            registry._add(Handle(record.client, record.number, checkpoint, record.open_flags, record.tracking))
        return registry

    def records(self) -> tuple[list[CheckpointRecord], list[HandleRecord]]:
        """The registry in a snapshot."""
        handles = [
            HandleRecord(client, handle.number, handle.checkpoint.number, handle.open_flags, handle.tracking)
            for client, numbered in self.handles.items()
            for handle in numbered.values()
        ]
        return [self.checkpoints[number].record() for number in sorted(self.checkpoints)], sorted(handles)

    def handle(self, client: Client, number: int) -> Handle:
        """What the client's number stands for. Raises: BadHandle."""
        try:
            return self.handles[client][number]
        except KeyError:
            raise BadHandle("the checkpoint is not open") from None

    def writable(self, client: Client, number: int) -> Checkpoint:
        """The checkpoint that the client may change under this number. Raises: BadHandle, Access."""
        try:
            handle = self.handles[client][number]
        except KeyError:
            raise BadHandle("the checkpoint is not open") from None
        if not handle.open_flags & WRITE:
            raise Access("the handle was not opened for writing")
        return handle.checkpoint

    # ---- opening

    def open(self, message: Open, origin: Origin) -> tuple[Checkpoint, list[Effect]]:
        """Open, and create if need be.

        Raises: InvalidParam, TooBig, NotExist, Exist, NotSupported, NoResources.
        """
        handles = self.handles.get(origin.client, {})
        checkpoint = self._existing(message, origin.client.node in self.keepers)
        if message.handle in handles or len(handles) >= HANDLES_MAX:
            raise NoResources(f"a client has at most {HANDLES_MAX} checkpoints open, each under its own number")
        if checkpoint is None:
            checkpoint = self._create(message.name, message.attributes, origin)
        handle = Handle(origin.client, message.handle, checkpoint, message.open_flags, message.tracking)
        return checkpoint, self.resume(handle)

    def resume(self, handle: Handle) -> list[Effect]:
        """Add a handle; the retention time of its checkpoint runs no longer."""
        checkpoint = handle.checkpoint
        is_taken_up = bool(checkpoint.closing and not checkpoint.handles)
        self._add(handle)
        return [Alarm(_retention(checkpoint), None)] if is_taken_up else []

    def _existing(self, message: Open, is_kept: bool) -> Checkpoint | None:
        """The checkpoint that is there; None when it is to be created. `is_kept`: the node has a journal."""
        flags, attributes, checkpoint = message.open_flags, message.attributes, self.names.get(message.name)
        check_name(message.name)
        if not flags or flags & ~OPEN_FLAGS or bool(flags & CREATE) != (attributes is not None):
            raise InvalidParam("flags and attributes do not fit together")
        if attributes is None:
            if checkpoint is None:
                raise NotExist(f"no checkpoint {message.name!r}")
            return checkpoint
        if problem := problem_of(attributes):
            raise InvalidParam(problem)
        if attributes.persistent and not is_kept:
            raise NotSupported("persistent checkpoints need a persistence directory in corosync.conf")
        if checkpoint is not None and not is_equal(attributes, checkpoint.attributes):
            raise Exist(f"checkpoint {message.name!r} exists with other attributes")
        return checkpoint

    def _create(self, name: str, attributes: Attributes | None, origin: Origin) -> Checkpoint:
        if attributes is None or len(self.checkpoints) >= CHECKPOINTS_MAX:
            raise NoResources(f"the cluster has at most {CHECKPOINTS_MAX} checkpoints")
        checkpoint = self.add(name, attributes, origin.time)
        self.begun.append(checkpoint)
        return checkpoint

    def add(self, name: str, attributes: Attributes, time: float = 0.0) -> Checkpoint:
        """A new checkpoint of that name."""
        self.numbers += 1
        checkpoint = Checkpoint.made(self.numbers, name, attributes, time)
        self.checkpoints[checkpoint.number] = self.names[name] = checkpoint
        return checkpoint

    def _add(self, handle: Handle) -> None:
        handle.checkpoint.add(handle)
        self.handles.setdefault(handle.client, {})[handle.number] = handle

    # ---- closing

    def close(self, client: Client, numbers: Sequence[int]) -> tuple[list[Handle], list[Effect]]:
        """Close what of these is open; say which those were."""
        handles = self.handles.get(client, {})
        closed = [handles.pop(number) for number in numbers if number in handles]
        effects: list[Effect] = []
        for handle in closed:
            handle.checkpoint.remove(handle)
            effects += self._released(handle.checkpoint)
        if not handles:
            self.handles.pop(client, None)
        return closed, effects

    def _released(self, checkpoint: Checkpoint) -> list[Effect]:
        duration = checkpoint.attributes.retention_duration
        if checkpoint.handles:
            return []
        if not checkpoint.linked or duration == 0:
            return self._end(checkpoint)
        return self.unopened(checkpoint, 0.0)

    def unopened(self, checkpoint: Checkpoint, least: float) -> list[Effect]:
        """The retention time of a checkpoint begins; it is at least so many seconds."""
        duration = checkpoint.attributes.retention_duration
        checkpoint.closing += 1
        if duration is None:
            return []
        over = RetentionOver(checkpoint.number, checkpoint.closing)
        return [Alarm(_retention(checkpoint), max(duration, least), over)]

    def retention_over(self, number: int, closing: int) -> list[Effect]:
        """A retention time has run out; of no effect when somebody has opened the checkpoint since it began."""
        checkpoint = self.checkpoints.get(number)
        if checkpoint is None or checkpoint.handles or checkpoint.closing != closing:
            return []
        return self._end(checkpoint)

    def named(self, name: str) -> Checkpoint:
        """The checkpoint of that name. Raises: NotExist."""
        checkpoint = self.names.get(name)
        if checkpoint is None:
            raise NotExist(f"no checkpoint {name!r}")
        return checkpoint

    def unlink(self, name: str) -> list[Effect]:
        """Take the name away, and the checkpoint when nobody has it open. Raises: NotExist."""
        checkpoint = self.named(name)
        if not checkpoint.handles:
            return self._end(checkpoint)
        self.ended.append(checkpoint)
        del self.names[name]
        checkpoint.linked = False
        return []

    def _end(self, checkpoint: Checkpoint) -> list[Effect]:
        if checkpoint.linked:
            self.ended.append(checkpoint)
        return self.drop(checkpoint)

    def drop(self, checkpoint: Checkpoint) -> list[Effect]:
        """Forget a checkpoint that nobody has open."""
        del self.checkpoints[checkpoint.number]
        if checkpoint.linked:
            del self.names[checkpoint.name]
        effects: list[Effect] = [Alarm(_retention(checkpoint), None)] if checkpoint.closing else []
        return effects if checkpoint.next_expiration() is None else [*effects, Alarm(_expiry(checkpoint), None)]

    def set_retention(self, checkpoint: Checkpoint, duration: float | None) -> None:
        """Raises: InvalidParam, BadOperation."""
        if not is_duration(duration):
            raise InvalidParam("the duration must be 0 or more, or None")
        if not checkpoint.linked:
            raise BadOperation("the checkpoint is unlinked")
        checkpoint.attributes = msgspec.structs.replace(checkpoint.attributes, retention_duration=duration)

    def track(self, client: Client, numbers: Sequence[int], tracking: Tracking) -> None:
        """Change the tracking of several handles. Raises, for a single one: BadHandle, Exist, NotExist."""
        if len(numbers) == 1:
            present = self.handle(client, numbers[0]).tracking
            if tracking is present is Tracking.OFF:
                raise NotExist("the checkpoint is not tracked")
            if tracking is not Tracking.OFF and present is not Tracking.OFF:
                raise Exist("the checkpoint is tracked already")
        for number in numbers:
            handle = self.handles.get(client, {}).get(number)
            if handle is not None:
                handle.checkpoint.track(handle, tracking)


def rearmed(checkpoint: Checkpoint, earliest: float | None, time: float) -> list[Effect]:
    """The alarm for the next expiration of a section, if that is not `earliest` as before."""
    due = checkpoint.next_expiration()
    if due == earliest:
        return []
    if due is None:
        return [Alarm(_expiry(checkpoint), None)]
    return [Alarm(_expiry(checkpoint), max(due - time, SOONEST), Expire(checkpoint.number))]


def _expiry(checkpoint: Checkpoint) -> str:
    return f"expiry {checkpoint.number}"


def _retention(checkpoint: Checkpoint) -> str:
    return f"retention {checkpoint.number}"


def is_equal(one: Attributes, other: Attributes) -> bool:
    """Whether an opening with attributes `one` may find those of `other`: the retention duration does not count."""
    replace = msgspec.structs.replace
    return replace(one, retention_duration=None) == replace(other, retention_duration=None)
