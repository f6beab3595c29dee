"""The checkpoint service as a replicated state machine: what becomes of each request.

    registry     which checkpoints there are and who has them open
    store        what one checkpoint holds
    replication  when a write is answered
    persistence  journals
    reading      answers longer than one frame
    merging      what goes on when another partition's state replaces this one

Source: SAI-AIS-CKPT-B.02.02 chapter 3.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, assert_never

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, ClientGone, Effect, Event, Membership, Message, Origin, Reply, Service
from corosync_amf.engine import failed as refusal
from corosync_amf.errors import Access, AisError, InvalidParam

from . import merging
from . import messages as m
from .entries import JournalEntry
from .limits import check_changes, check_data, check_elements, check_new, check_parts
from .messages import Tracking
from .persistence import Persistence
from .reading import Reader
from .registry import Registry, rearmed
from .replication import DONE, Replication
from .shelf import entries_of
from .store import Checkpoint, Handle
from .values import DEFAULT_SECTION_ID, WALL_CLOCK_MAX, OpenFlags, SectionChange, SectionOperation

CREATED, WRITTEN, OVERWRITTEN = SectionOperation.CREATED, SectionOperation.WRITTEN, SectionOperation.OVERWRITTEN
DELETED, EXPIRED = SectionOperation.DELETED, SectionOperation.EXPIRED
ExecutiveRequest = m.Applied | m.RetentionOver | m.Expire | m.Restore | m.Restored | m.Stored
Changes = tuple[SectionChange, ...]
LISTED_MAX: Final = 256
"""Checkpoints in one answer."""


class CkptEngine:
    """See the module."""

    service: ClassVar[Service] = Service.CKPT
    request_type: ClassVar[Any] = m.CkptRequest
    query_type: ClassVar[Any] = m.CkptQuery
    snapshot_type: ClassVar[type[msgspec.Struct]] = m.Snapshot
    remnant_type: ClassVar[Any] = m.Remnant

    def __init__(self) -> None:
        self._registry = Registry()
        self._replication = Replication()
        self._reader = Reader()
        self._persistence = Persistence(m.PersistenceRecord())
        self._quorate = False

    # ---- the engine protocol

    def apply(self, message: m.CkptRequest, origin: Origin) -> list[Effect]:
        """See `Engine`."""
        effects = self._applied(message, origin)
        self._note_lives()
        return effects + self._persistence.flush(origin.order)

    def _note_lives(self) -> None:
        registry = self._registry
        if registry.begun or registry.ended:
            for checkpoint in registry.begun:
                self._persistence.begun(checkpoint)
            for checkpoint in registry.ended:
                self._persistence.ended(checkpoint)
            registry.begun, registry.ended = [], []

    def _applied(self, message: m.CkptRequest, origin: Origin) -> list[Effect]:
        try:
            match message:
                case m.Write():
                    return self._write(message, origin)
                case m.Overwrite():
                    return self._overwrite(message, origin)
                case m.WriteBatch():
                    return self._write_batch(message, origin)
                case m.CreateSection():
                    return self._create_section(message, origin)
                case m.DeleteSection():
                    return self._delete_section(message, origin)
                case m.SetExpiration():
                    return self._set_expiration(message, origin)
                case ClientGone():
                    return self._client_gone(origin.client)
                case m.Applied() | m.RetentionOver() | m.Expire() | m.Restore() | m.Restored() | m.Stored():
                    return self._from_executive(message, origin)
                case _:
                    return self._administer(message, origin)
        except AisError as error:
            return [Reply(origin, refusal(error))]

    def _from_executive(self, message: ExecutiveRequest, origin: Origin) -> list[Effect]:
        if origin.client.number:
            raise Access("only executives may say this")
        match message:
            case m.Applied(writes):
                return self._replication.confirmed(writes)
            case m.RetentionOver(number, closing):
                return self._registry.retention_over(number, closing)
            case m.Expire(number):
                return self._expire(number, origin)
            case m.Restore():
                self._persistence.restore(message, origin.client.node, self._registry)
                return []
            case m.Restored():
                return self._persistence.restored(message, origin.client.node, self._quorate, origin, self._registry)
            case m.Stored(order):
                return self._persistence.has_stored(origin.client.node, order)
            case _:
                assert_never(message)

    def _administer(
        self,
        message: m.Open
        | m.Close
        | m.Unlink
        | m.SetRetention
        | m.SetActiveReplica
        | m.Fence
        | m.Synchronize
        | m.Track
        | m.Untrack,
        origin: Origin,
    ) -> list[Effect]:
        client, registry = origin.client, self._registry
        match message:
            case m.Open():
                self._persistence.check_settled()
                checkpoint, effects = registry.open(message, origin)
                return [*effects, Reply(origin, m.Opened(checkpoint.attributes))]
            case m.Close(handles):
                return [*self._close(client, handles), Reply(origin, DONE)]
            case m.Unlink(name):
                return [*registry.unlink(name), Reply(origin, DONE)]
            case m.SetRetention(handle, duration):
                checkpoint = registry.handle(client, handle).checkpoint
                registry.set_retention(checkpoint, duration)
                self._persistence.retains(checkpoint)
            case m.SetActiveReplica(handle):
                self._replication.choose_active(registry.writable(client, handle), client.node)
            case m.Fence(handle, epoch):
                checkpoint = registry.writable(client, handle)
                checkpoint.check_epoch(epoch)
                checkpoint.fence = epoch
                self._persistence.changed(checkpoint, origin.time)
                if self._persistence.holds_back(checkpoint, origin, None):
                    return []
            case m.Synchronize(handle):
                return self._replication.synchronize(registry.writable(client, handle), origin)
            case m.Track(handles, tracking):
                registry.track(client, handles, tracking)
            case m.Untrack(handles):
                registry.track(client, handles, Tracking.OFF)
            case _:
                assert_never(message)
        return [Reply(origin, DONE)]

    def query(self, message: m.CkptQuery, client: Client) -> Message:
        """See `Engine`."""
        try:
            return self._query(message, client)
        except AisError as error:
            return refusal(error)

    def _query(self, message: m.CkptQuery, client: Client) -> Message:
        if isinstance(message, m.ListCheckpoints):
            names = sorted(name for name in self._registry.names if name > message.beyond)[:LISTED_MAX]
            return m.Checkpoints([self._replication.info(self._registry.names[name]) for name in names])
        if isinstance(message, m.ShowCheckpoint):
            return m.Checkpoints([self._replication.info(self._registry.named(message.name))])
        handle = self._registry.handle(client, message.handle)
        checkpoint = handle.checkpoint
        match message:
            case m.Read(_, extents):
                _check_right(handle, OpenFlags.READ)
                check_elements(extents)
                return m.Data(checkpoint.check_read(extents))
            case m.ReadAll(_, more):
                _check_right(handle, OpenFlags.READ)
                checkpoint.check_replica()
                return self._reader.more(handle) if more else self._reader.start(handle)
            case m.GetStatus():
                return m.Status(self._replication.status(checkpoint))
            case m.ListSections():
                _check_right(handle, OpenFlags.READ | OpenFlags.WRITE)
                return self._reader.page(checkpoint, message)
            case _:
                assert_never(message)

    def membership(self, change: Membership) -> list[Effect]:
        """See `Engine`. What a lost node's clients had open is closed; its role as active replica is over."""
        self._replication.members, self._quorate = change.members, change.quorate
        present = frozenset(change.members) - change.left
        effects: list[Effect] = []
        for client in sorted(self._registry.handles):
            if client.node not in present:
                effects += self._client_gone(client)
        for checkpoint in self._registry.checkpoints.values():
            if checkpoint.active not in present:
                checkpoint.active = None
        effects += self._replication.ask_again(present, change.quorate, self._registry.checkpoints.get)
        self._note_lives()
        effects += self._persistence.membership(change, self._registry)
        self._registry.keepers = self._persistence.keepers
        return effects

    def snapshot(self) -> m.Snapshot:
        """See `Engine`."""
        checkpoints, handles = self._registry.records()
        replication = self._replication
        return m.Snapshot(
            replication.members,
            self._registry.numbers,
            checkpoints,
            handles,
            replication.records(),
            self._persistence.record(),
        )

    def restore(self, snapshot: m.Snapshot) -> None:
        """See `Engine`. The checkpoints of a partition that gave way are replaced."""
        state = snapshot
        self._registry = Registry.restored(state.numbers, state.checkpoints, state.handles)
        self._replication = Replication(state.members, state.waiting)
        self._reader = Reader()
        self._persistence = Persistence(state.persistence)
        self._registry.keepers = self._persistence.keepers

    def contents(self) -> list[JournalEntry]:
        """What a journal that begins now must hold. For the driver of the journal."""
        kept = [each for each in self._registry.names.values() if each.attributes.persistent]
        return entries_of(sorted(kept, key=lambda each: each.number), self._persistence.version)

    def remnant(self, node: NodeId) -> m.Remnant:
        """See `Engine`."""
        waiting = [*self._replication.waiting, *(each.origin for each in self._persistence.waiting)]
        return merging.remnant_of(self._registry, waiting, node)

    def merge(self, remnant: m.Remnant, origin: Origin) -> list[Effect]:
        """See `Engine`, and `merging` for the rule."""
        return merging.merge(self._registry, remnant, origin.client.node)

    # ---- closing

    def _close(self, client: Client, numbers: Sequence[int]) -> list[Effect]:
        closed, effects = self._registry.close(client, numbers)
        for handle in closed:
            self._reader.forget(handle)
        return effects

    def _client_gone(self, client: Client) -> list[Effect]:
        self._replication.forget(client)
        self._persistence.forget(client)
        return self._close(client, sorted(self._registry.handles.get(client, ())))

    # ---- sections

    def _write(self, message: m.Write, origin: Origin) -> list[Effect]:
        checkpoint = self._registry.writable(origin.client, message.handle)
        parts = message.parts
        check_parts(checkpoint.attributes, parts)
        checkpoint.check_write(parts)
        checkpoint.check_epoch(message.epoch)
        checkpoint.write(parts, origin.time)
        return self._changed(checkpoint, origin, message.epoch, lambda: _written(parts))

    def _overwrite(self, message: m.Overwrite, origin: Origin) -> list[Effect]:
        checkpoint = self._registry.writable(origin.client, message.handle)
        section_id, data = message.section_id, message.data
        check_data(checkpoint.attributes, data)
        section = checkpoint.check_overwrite(section_id, data)
        checkpoint.check_epoch(message.epoch)
        checkpoint.overwrite(section, data, origin.time)
        return self._changed(
            checkpoint, origin, message.epoch, lambda: (SectionChange(section_id, OVERWRITTEN, 0, data),)
        )

    def _write_batch(self, message: m.WriteBatch, origin: Origin) -> list[Effect]:
        checkpoint = self._registry.writable(origin.client, message.handle)
        check_changes(checkpoint.attributes, message.changes)
        checkpoint.check_batch(message.changes)
        checkpoint.check_epoch(message.epoch)
        earliest = checkpoint.next_expiration()
        done = tuple(_change(checkpoint, change, origin.time) for change in message.changes)
        effects = self._changed(checkpoint, origin, message.epoch, lambda: done)
        return effects + rearmed(checkpoint, earliest, origin.time)

    def _create_section(self, message: m.CreateSection, origin: Origin) -> list[Effect]:
        checkpoint = self._registry.writable(origin.client, message.handle)
        data, expiration = message.data, message.expiration_time
        check_new(checkpoint.attributes, message.section_id, data)
        _check_expiration(expiration, origin.time)
        section_id = checkpoint.check_create(message.section_id, data)
        checkpoint.check_epoch(message.epoch)
        earliest = checkpoint.next_expiration()
        checkpoint.create(section_id, data, expiration, origin.time)
        effects = self._changed(
            checkpoint, origin, message.epoch, lambda: (SectionChange(section_id, CREATED, 0, data),), section_id
        )
        if expiration is not None:
            self._persistence.expires(checkpoint, section_id, expiration)
        return effects + rearmed(checkpoint, earliest, origin.time)

    def _delete_section(self, message: m.DeleteSection, origin: Origin) -> list[Effect]:
        checkpoint = self._registry.writable(origin.client, message.handle)
        section_id = message.section_id
        if section_id == DEFAULT_SECTION_ID:
            raise InvalidParam("the default section cannot be deleted")
        checkpoint.check_replica()
        checkpoint.section(section_id)
        checkpoint.check_epoch(message.epoch)
        earliest = checkpoint.next_expiration()
        checkpoint.delete(section_id)
        effects = self._changed(checkpoint, origin, message.epoch, lambda: (SectionChange(section_id, DELETED),))
        return effects + rearmed(checkpoint, earliest, origin.time)

    def _set_expiration(self, message: m.SetExpiration, origin: Origin) -> list[Effect]:
        checkpoint = self._registry.writable(origin.client, message.handle)
        if message.section_id == DEFAULT_SECTION_ID:
            raise InvalidParam("the default section does not expire")
        _check_expiration(message.expiration_time, origin.time)
        checkpoint.check_replica()
        section = checkpoint.section(message.section_id)
        earliest = checkpoint.next_expiration()
        checkpoint.expire_at(section, message.expiration_time)
        self._persistence.expires(checkpoint, section.section_id, section.expiration)
        effects = self._acknowledged(checkpoint, origin)
        return effects + rearmed(checkpoint, earliest, origin.time)

    def _expire(self, number: int, origin: Origin) -> list[Effect]:
        checkpoint = self._registry.checkpoints.get(number)
        if checkpoint is None:
            return []
        gone = checkpoint.expired(origin.time)
        effects = rearmed(checkpoint, None, origin.time)
        if gone:
            checkpoint.sequence += 1
            changes = tuple(SectionChange(each, EXPIRED) for each in gone)
            self._persistence.changed(checkpoint, origin.time, changes)
            effects += _told(checkpoint, None, changes)
        return effects

    def _changed(
        self,
        checkpoint: Checkpoint,
        origin: Origin,
        epoch: int | None,
        changes: Callable[[], Changes],
        created: bytes | None = None,
    ) -> list[Effect]:
        """Count a change, answer it, and tell those who track the checkpoint, but not who made it."""
        checkpoint.sequence += 1
        if epoch is not None:
            checkpoint.fence = epoch
        if checkpoint.attributes.persistent:
            self._persistence.changed(checkpoint, origin.time, changes())
        effects = self._acknowledged(checkpoint, origin, created)
        if checkpoint.trackers:
            effects += _told(checkpoint, origin.client, changes())
        return effects

    def _acknowledged(self, checkpoint: Checkpoint, origin: Origin, created: bytes | None = None) -> list[Effect]:
        if checkpoint.attributes.persistent and self._persistence.holds_back(checkpoint, origin, created):
            return []
        return self._replication.acknowledge(checkpoint, origin, created)


def _check_right(handle: Handle, right: OpenFlags) -> None:
    if not handle.open_flags & right:
        raise Access(f"the handle was not opened for {right.name}")


def _check_expiration(expiration: float | None, time: float) -> None:
    if expiration is not None and not time < expiration < WALL_CLOCK_MAX:
        raise InvalidParam(f"the expiration time {expiration} is not in the future")


def _change(checkpoint: Checkpoint, change: m.Change, time: float) -> SectionChange:
    """Make one change of a batch that was checked."""
    section_id, data = change.section_id, change.data
    section = checkpoint.sections.get(section_id)
    if data is None:
        checkpoint.delete(section_id)
        return SectionChange(section_id, DELETED)
    if section is None:
        checkpoint.create(section_id, data, None, time)
        return SectionChange(section_id, CREATED, 0, data)
    checkpoint.overwrite(section, data, time)
    return SectionChange(section_id, OVERWRITTEN, 0, data)


def _written(parts: Sequence[m.Part]) -> Changes:
    return tuple(SectionChange(part.section_id, WRITTEN, part.offset, part.data) for part in parts)


def _told(checkpoint: Checkpoint, writer: Client | None, changes: Changes) -> list[Effect]:
    """One event for each handle that tracks the checkpoint."""
    effects: list[Effect] = []
    for handle in checkpoint.trackers:
        if handle.client == writer:
            continue
        seen = changes
        if handle.tracking is Tracking.IDS:
            seen = tuple(SectionChange(each.section_id, each.operation, each.offset) for each in changes)
        effects.append(Event(handle.client, m.Changed(handle.number, seen, checkpoint.fence, checkpoint.sequence)))
    return effects
