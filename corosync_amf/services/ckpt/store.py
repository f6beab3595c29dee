"""The data of one checkpoint: its sections, and what may be done to them. Knows no clients but the holders of handles.

Every change is in two steps: `check_...` raises what is wrong and changes nothing, then the change itself cannot fail.
"""

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client
from corosync_amf.errors import AccessDenied, Exist, InvalidParam, NoResources, NoSpace, NotExist

from .messages import Attributes, Change, CheckpointRecord, Extent, Part, SectionRecord, Tracking
from .values import (
    CALL_BYTES_MAX,
    DEFAULT_SECTION_ID,
    CreationFlags,
    SectionDescriptor,
    SectionsChosen,
    SectionState,
)

IN_PLACE_BYTES: Final = 32_768
"""From this size on a section is changed in place, not copied, when a part of it is written."""


class Section(msgspec.Struct, gc=False):
    """One section. `born` numbers the creations of its checkpoint: `Checkpoint.sections` is in that order."""

    section_id: bytes
    data: bytes | bytearray
    born: int
    updated: float
    expiration: float | None = None

    def write(self, offset: int, data: bytes) -> None:
        """Put `data` at `offset`; a gap before it becomes zeros."""
        old, end = self.data, offset + len(data)
        size = len(old)
        if offset == 0 and end >= size:
            self.data = data
        elif end < IN_PLACE_BYTES and size < IN_PLACE_BYTES:
            self.data = b"".join((old[:offset], bytes(max(0, offset - size)), data, old[end:]))
        else:
            if not isinstance(old, bytearray):
                self.data = old = bytearray(old)
            if offset > size:
                old.extend(bytes(offset - size))
            old[offset:end] = data

    def record(self) -> SectionRecord:
        """The section in a snapshot."""
        return SectionRecord(self.section_id, bytes(self.data), self.born, self.updated, self.expiration)

    def descriptor(self) -> SectionDescriptor:
        """The section for an iteration."""
        return SectionDescriptor(self.section_id, self.expiration, len(self.data), SectionState.VALID, self.updated)

    def is_chosen(self, chosen: SectionsChosen, time: float | None) -> bool:
        """Whether an iteration over `chosen` (with its time) yields the section."""
        match chosen:
            case SectionsChosen.ANY:
                return True
            case SectionsChosen.FOREVER:
                return self.expiration is None
            case SectionsChosen.CORRUPTED:
                return False
            case SectionsChosen.LEQ_EXPIRATION_TIME:
                return self.expiration is not None and time is not None and self.expiration <= time
            case SectionsChosen.GEQ_EXPIRATION_TIME:
                return time is not None and (self.expiration is None or self.expiration >= time)


class Handle:
    """One opened checkpoint of one client."""

    __slots__ = ("checkpoint", "client", "number", "open_flags", "tracking")

    def __init__(
        self, client: Client, number: int, checkpoint: "Checkpoint", open_flags: int, tracking: Tracking
    ) -> None:
        self.client = client
        self.number = number
        self.checkpoint = checkpoint
        self.open_flags = open_flags
        self.tracking = tracking


class Checkpoint:
    """One checkpoint. `sequence` counts changes, `fence` is the highest epoch seen, `closing` counts last closes."""

    def __init__(self, number: int, name: str, attributes: Attributes) -> None:
        self.number = number
        self.name = name
        self.attributes = attributes
        flags = attributes.creation_flags
        self.is_safe = bool(flags & CreationFlags.WR_ALL_REPLICAS)
        self.is_collocated = bool(flags & CreationFlags.CHECKPOINT_COLLOCATED)
        self.chooses_active = self.is_collocated and not self.is_safe
        self.linked = True
        self.sections: dict[bytes, Section] = {}
        self.size = 0
        self.sequence = 0
        self.births = 0
        self.fence: int | None = None
        self.active: NodeId | None = None
        self.closing = 0
        self.handles: dict[tuple[Client, int], Handle] = {}
        self.trackers: list[Handle] = []
        self._expiring: list[tuple[float, bytes]] = []

    @classmethod
    def made(cls, number: int, name: str, attributes: Attributes, time: float) -> "Checkpoint":
        """A new checkpoint, with its default section if it is to have just that."""
        checkpoint = cls(number, name, attributes)
        if attributes.max_sections == 1:
            checkpoint.create(DEFAULT_SECTION_ID, b"", None, time)
        return checkpoint

    @classmethod
    def restored(cls, record: CheckpointRecord) -> "Checkpoint":
        """The checkpoint of a snapshot."""
        checkpoint = cls(record.number, record.name, record.attributes)
        checkpoint.linked, checkpoint.closing = record.linked, record.closing
        checkpoint.sequence, checkpoint.births = record.sequence, record.births
        checkpoint.fence, checkpoint.active = record.fence, record.active
        checkpoint.put(record.sections)
        return checkpoint

    def put(self, records: Iterable[SectionRecord]) -> None:
        """Add sections that are known from elsewhere, in the order of their creation."""
        for record in records:
            section = self.sections[record.section_id] = Section(
                record.section_id, record.data, record.born, record.updated, record.expiration
            )
            self.size += len(section.data)
            if section.expiration is not None:
                self._expiring.append((section.expiration, section.section_id))
        heapq.heapify(self._expiring)

    def record(self) -> CheckpointRecord:
        """The checkpoint in a snapshot."""
        return CheckpointRecord(
            self.number,
            self.name,
            self.linked,
            self.attributes,
            self.sequence,
            self.births,
            self.fence,
            self.active,
            self.closing,
            [section.record() for section in self.sections.values()],
        )

    # ---- handles

    def add(self, handle: Handle) -> None:
        """Somebody opened the checkpoint."""
        self.handles[handle.client, handle.number] = handle
        if handle.tracking is not Tracking.OFF:
            self.track(handle, handle.tracking)

    def remove(self, handle: Handle) -> None:
        """Somebody closed it."""
        del self.handles[handle.client, handle.number]
        self.track(handle, Tracking.OFF)

    def track(self, handle: Handle, tracking: Tracking) -> None:
        """Change what the holder of a handle is told. Trackers are kept in the same order on all replicas."""
        handle.tracking = tracking
        others = [each for each in self.trackers if each is not handle]
        if tracking is not Tracking.OFF:
            others.append(handle)
        self.trackers = sorted(others, key=lambda each: (each.client, each.number))

    # ---- checks

    def check_epoch(self, epoch: int | None) -> None:
        """Raises: AccessDenied: older than the fence."""
        if epoch is not None and self.fence is not None and epoch < self.fence:
            raise AccessDenied(f"epoch {epoch} is older than the fence {self.fence}", epoch=self.fence)

    def section(self, section_id: bytes, index: int | None = None) -> Section:
        """The section of that id. Raises: NotExist."""
        section = self.sections.get(section_id)
        if section is None:
            raise NotExist(f"no section {section_id!r}", erroneous_vector_index=index)
        return section

    def check_replica(self) -> None:
        """Raises: NotExist: the checkpoint has no active replica now and needs one."""
        if self.active is None and self.chooses_active:
            raise NotExist("the checkpoint has no active replica")

    def check_create(self, section_id: bytes | None, data: bytes) -> bytes:
        """Say under which id a section with `data` can be created. Raises: NotExist, Exist, NoSpace."""
        self.check_replica()
        if section_id in self.sections:
            raise Exist(f"section {section_id!r} exists")
        if len(self.sections) >= self.attributes.max_sections:
            raise NoSpace(f"there are max_sections ({self.attributes.max_sections}) sections")
        self._check_size(self.size + len(data))
        return self._free_id() if section_id is None else section_id

    def check_overwrite(self, section_id: bytes, data: bytes) -> Section:
        """Raises: NotExist, NoSpace."""
        self.check_replica()
        section = self.section(section_id)
        self._check_size(self.size + len(data) - len(section.data))
        return section

    def check_write(self, parts: Sequence[Part]) -> None:
        """Raises: NotExist, NoSpace, with the index of the part."""
        self.check_replica()
        sections, size, most = self.sections, self.size, self.attributes.checkpoint_size
        lengths: dict[bytes, int] = {}
        full_at: int | None = None
        for index, part in enumerate(parts):
            section_id, end = part.section_id, part.offset + len(part.data)
            length = lengths.get(section_id)
            if length is None:
                section = sections.get(section_id)
                length = len(self.section(section_id, index).data if section is None else section.data)
            if end > length:
                lengths[section_id] = end
                size += end - length
                if size > most and full_at is None:
                    full_at = index
        if full_at is not None:
            self._check_size(size, full_at)

    def check_batch(self, changes: Sequence[Change]) -> None:
        """Raises: NotExist, NoSpace, with the index of the change."""
        self.check_replica()
        limits, size, count = self.attributes, self.size, len(self.sections)
        lengths: dict[bytes, int | None] = {}
        full_at: int | None = None
        for index, change in enumerate(changes):
            section_id, data = change.section_id, change.data
            length = lengths[section_id] if section_id in lengths else self._length(section_id)
            if data is None:
                if length is None:
                    raise NotExist(f"no section {section_id!r}", erroneous_vector_index=index)
                size, count, lengths[section_id] = size - length, count - 1, None
                continue
            size += len(data) - (length or 0)
            count += length is None
            lengths[section_id] = len(data)
            if full_at is None and (size > limits.checkpoint_size or count > limits.max_sections):
                full_at = index
        if count > limits.max_sections:
            raise NoSpace(f"there would be over {limits.max_sections} sections", erroneous_vector_index=full_at)
        self._check_size(size, full_at)

    def check_read(self, extents: Sequence[Extent]) -> list[bytes]:
        """What the extents hold. Raises: InvalidParam, NotExist, NoResources, with the index of the extent."""
        self.check_replica()
        items: list[bytes] = []
        total = 0
        for index, extent in enumerate(extents):
            data = self.section(extent.section_id, index).data
            offset, length = extent.offset, len(data)
            if not 0 <= offset <= length:
                what = f"offset {offset} is not in the section of {length} bytes"
                raise InvalidParam(what, erroneous_vector_index=index)
            size = length - offset if extent.size is None else min(extent.size, length - offset)
            if size < 0:
                raise InvalidParam(f"size {extent.size}", erroneous_vector_index=index)
            total += size
            if total > CALL_BYTES_MAX:
                raise NoResources(f"over {CALL_BYTES_MAX} bytes in one read", erroneous_vector_index=index)
            items.append(bytes(data[offset : offset + size]))
        return items

    def _length(self, section_id: bytes) -> int | None:
        section = self.sections.get(section_id)
        return None if section is None else len(section.data)

    def _check_size(self, size: int, index: int | None = None) -> None:
        if size > self.attributes.checkpoint_size:
            what = f"{size} bytes are over checkpoint_size {self.attributes.checkpoint_size}"
            raise NoSpace(what, erroneous_vector_index=index)

    def _free_id(self) -> bytes:
        number = self.births + 1
        while (section_id := f"{number & 0xFFFFFFFF:08x}".encode()) in self.sections:
            number += 1
        return section_id

    # ---- changes

    def create(self, section_id: bytes, data: bytes, expiration: float | None, time: float) -> None:
        """Add a section."""
        self.births += 1
        self.sections[section_id] = Section(section_id, data, self.births, time)
        self.size += len(data)
        if expiration is not None:
            self.expire_at(self.sections[section_id], expiration)

    def delete(self, section_id: bytes) -> None:
        """Remove a section."""
        self.size -= len(self.sections.pop(section_id).data)

    def overwrite(self, section: Section, data: bytes, time: float) -> None:
        """Replace content and size."""
        self.size += len(data) - len(section.data)
        section.data, section.updated = data, time

    def write(self, parts: Iterable[Part], time: float) -> None:
        """Write parts that `check_write` has let pass."""
        for part in parts:
            section = self.sections[part.section_id]
            before = len(section.data)
            section.write(part.offset, part.data)
            section.updated = time
            self.size += len(section.data) - before

    def expire_at(self, section: Section, expiration: float | None) -> None:
        """Set when a section is deleted; None never."""
        section.expiration = expiration
        if expiration is not None:
            heapq.heappush(self._expiring, (expiration, section.section_id))
        if len(self._expiring) > 2 * len(self.sections) + 64:
            current = [(each.expiration, key) for key, each in self.sections.items() if each.expiration is not None]
            self._expiring = current
            heapq.heapify(self._expiring)

    def next_expiration(self) -> float | None:
        """When the first section expires."""
        expiring = self._expiring
        while expiring:
            time, section_id = expiring[0]
            section = self.sections.get(section_id)
            if section is not None and section.expiration == time:
                return time
            heapq.heappop(expiring)
        return None

    def expired(self, time: float) -> list[bytes]:
        """Delete the sections whose time is over; return their ids, in the order of their expiration."""
        gone: list[bytes] = []
        while (due := self.next_expiration()) is not None and due <= time:
            _, section_id = heapq.heappop(self._expiring)
            self.delete(section_id)
            gone.append(section_id)
        return gone

    # ---- reading on

    def born_between(self, after: int, until: int) -> list[Section]:
        """The sections whose creations are numbered after+1 .. until, in that order."""
        sections = list(self.sections.values())
        first = bisect_right(sections, after, key=lambda section: section.born)
        if sections and sections[-1].born <= until:
            return sections[first:]
        return sections[first : bisect_right(sections, until, key=lambda section: section.born)]
