"""From the entries of a journal to checkpoints, and from those to what an executive brings into the order. Pure."""

from collections.abc import Iterable
from typing import Final

import msgspec

from .entries import Begun, Changed, Content, Ended, Expires, JournalEntry, Reached, Retains
from .messages import Part, Restore, Restored, SectionRecord, Version
from .store import Checkpoint
from .values import SectionOperation

CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Of sections in one request; a single section may be longer."""
OVERHEAD_BYTES: Final = 64


class Shelf:
    """The checkpoints of one journal, and its version."""

    def __init__(self) -> None:
        self.checkpoints: dict[str, Checkpoint] = {}
        self.version: Version = (0, 0)

    def add(self, entry: JournalEntry) -> None:
        """Take the next entry. One that fits nothing is left out: its checkpoint is not in this journal."""
        match entry:
            case Reached(version):
                self.version = version
            case Begun(name, attributes):
                self.checkpoints[name] = Checkpoint.made(0, name, attributes, 0.0)
            case Ended(name):
                self.checkpoints.pop(name, None)
            case _:
                found = self.checkpoints.get(entry.name)
                if found is not None:
                    _fold(found, entry)

    def requests(self, asked: int) -> list[Restore | Restored]:
        """All of it, in parts that fit requests."""
        parts = [part for name in sorted(self.checkpoints) for part in self._parts_of(self.checkpoints[name], asked)]
        return [*parts, Restored(asked, self.version)]

    def _parts_of(self, checkpoint: Checkpoint, asked: int) -> list[Restore]:
        return [
            Restore(
                asked,
                self.version,
                checkpoint.name,
                checkpoint.sequence,
                checkpoint.births,
                checkpoint.attributes,
                checkpoint.fence,
                chunk,
                index == 0,
            )
            for index, chunk in enumerate(chunked(checkpoint))
        ]


def _fold(checkpoint: Checkpoint, entry: Content | Changed | Expires | Retains) -> None:
    match entry:
        case Content(_, sequence, births, fence, sections):
            checkpoint.put(sections)
            checkpoint.sequence, checkpoint.births, checkpoint.fence = sequence, births, fence
        case Changed(_, sequence, fence, time, _):
            _change(checkpoint, entry, time)
            checkpoint.sequence, checkpoint.fence = sequence, fence
        case Expires(_, section_id, time):
            if section_id in checkpoint.sections:
                checkpoint.expire_at(checkpoint.sections[section_id], time)
        case Retains(_, duration):
            checkpoint.attributes = msgspec.structs.replace(checkpoint.attributes, retention_duration=duration)


def _change(checkpoint: Checkpoint, entry: Changed, time: float) -> None:
    for change in entry.changes:
        section_id, data = change.section_id, change.data or b""
        section = checkpoint.sections.get(section_id)
        match change.operation:
            case SectionOperation.CREATED if section is None:
                checkpoint.create(section_id, data, None, time)
            case SectionOperation.DELETED | SectionOperation.EXPIRED if section is not None:
                checkpoint.delete(section_id)
            case SectionOperation.OVERWRITTEN if section is not None:
                checkpoint.overwrite(section, data, time)
            case SectionOperation.WRITTEN if section is not None:
                checkpoint.write([Part(section_id, change.offset, data)], time)
            case _:
                pass


def chunked(checkpoint: Checkpoint) -> list[list[SectionRecord]]:
    """The sections in chunks; one empty chunk when there are none."""
    chunks: list[list[SectionRecord]] = [[]]
    room = CHUNK_BYTES
    for section in checkpoint.sections.values():
        size = len(section.data) + len(section.section_id) + OVERHEAD_BYTES
        if size > room and chunks[-1]:
            chunks.append([])
            room = CHUNK_BYTES
        chunks[-1].append(section.record())
        room -= size
    return chunks


def entries_of(checkpoints: Iterable[Checkpoint], version: Version) -> list[JournalEntry]:
    """The beginning of a journal that holds these."""
    entries: list[JournalEntry] = []
    for each in checkpoints:
        entries.append(Begun(each.name, each.attributes))
        entries += [Content(each.name, each.sequence, each.births, each.fence, chunk) for chunk in chunked(each)]
    return [*entries, Reached(version)]
