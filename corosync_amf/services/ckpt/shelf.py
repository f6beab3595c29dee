"""From the entries of a journal to checkpoints, and from those to what an executive brings into the order. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from .entries import Begun, Changed, Content, Ended, Expires, JournalEntry, Retains
from .messages import Part, Restore, SectionRecord
from .store import Checkpoint
from .values import CHECKPOINTS_MAX, SectionOperation

CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Of sections in one request; a single section may be longer."""
OVERHEAD_BYTES: Final = 64


class Shelf:
    """The checkpoints of one journal; `gone` are those that ended, by name: the latest that is known to be gone."""

    def __init__(self) -> None:
        self.checkpoints: dict[str, Checkpoint] = {}
        self.gone: dict[str, int] = {}

    def add(self, entry: JournalEntry) -> None:
        """Take the next entry. One that fits nothing is left out: its checkpoint is not in this journal."""
        if isinstance(entry, Begun):
            checkpoint = Checkpoint.made(0, entry.name, entry.attributes, 0.0)
            checkpoint.born = entry.born
            self.checkpoints[entry.name] = checkpoint
            return
        if isinstance(entry, Ended):
            self.checkpoints.pop(entry.name, None)
            note_gone(self.gone, entry.name, entry.born)
            return
        found = self.checkpoints.get(entry.name)
        if found is not None:
            _fold(found, entry)

    def requests(self) -> list[Restore]:
        """All of it, in parts that fit requests."""
        return [request for name in sorted(self.checkpoints) for request in _parts_of(self.checkpoints[name])]


def note_gone(gone: dict[str, int], name: str, born: int) -> None:
    """Note that the checkpoint of this name that was born so, and what was born before it, has ended."""
    gone[name] = max(born, gone.get(name, 0))
    if len(gone) > CHECKPOINTS_MAX:
        del gone[min(gone, key=lambda each: (gone[each], each))]


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


def _parts_of(checkpoint: Checkpoint) -> list[Restore]:
    chunks = chunked(checkpoint)
    return [
        Restore(
            checkpoint.name,
            checkpoint.born,
            checkpoint.sequence,
            checkpoint.births,
            checkpoint.attributes,
            checkpoint.fence,
            chunk,
            index == 0,
            index == len(chunks) - 1,
        )
        for index, chunk in enumerate(chunks)
    ]


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


def entries_of(checkpoints: Iterable[Checkpoint], gone: Mapping[str, int]) -> list[JournalEntry]:
    """The beginning of a journal that holds these, and knows what is gone."""
    entries: list[JournalEntry] = [Ended(name, born) for name, born in sorted(gone.items())]
    for each in checkpoints:
        entries.append(Begun(each.name, each.born, each.attributes))
        entries += [Content(each.name, each.sequence, each.births, each.fence, chunk) for chunk in chunked(each)]
    return entries
