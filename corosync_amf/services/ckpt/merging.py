"""The merge rule: what a node's clients go on with when the state of another partition replaces theirs.

The standing checkpoints replace the lost ones. A handle goes on with the checkpoint of the same name if that is there
with the same attributes (but for the retention duration); all others are closed, and so are handles of unlinked
checkpoints. A handle that tracks is told the difference between what it had and what stands.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import Effect, Event, Failed, Origin, Reply

from .messages import Changed, HandleLost, HandleRemnant, Remnant, Tracking
from .registry import Registry, is_equal
from .store import Checkpoint, Handle, Section
from .values import SectionChange, SectionOperation

DIGEST_BYTES: Final = 8
REMNANT_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of ids and digests; what would not fit is not tracked any more: its handles are closed."""
EVENT_BYTES_MAX: Final = 4 * 1024 * 1024
OVERHEAD_BYTES: Final = 32
CREATED, OVERWRITTEN, DELETED = SectionOperation.CREATED, SectionOperation.OVERWRITTEN, SectionOperation.DELETED
OUTCOME_UNKNOWN: Final = Failed(ErrorCode.TIMEOUT, "another partition's state stands: whether it has this is unknown")


def remnant_of(registry: Registry, waiting: Iterable[Origin], node: NodeId) -> Remnant:
    """What a node brings along; `waiting` are all changes that were not answered yet."""
    handles: list[HandleRemnant] = []
    contents: dict[str, list[tuple[bytes, bytes]]] = {}
    room = REMNANT_BYTES_MAX
    for client in sorted(client for client in registry.handles if client.node == node):
        for number, handle in sorted(registry.handles[client].items()):
            checkpoint = handle.checkpoint
            name = checkpoint.name if checkpoint.linked else ""
            if name and handle.tracking is not Tracking.OFF and name not in contents:
                size = sum(len(each) + DIGEST_BYTES + OVERHEAD_BYTES for each in checkpoint.sections)
                if size > room:
                    name = ""
                else:
                    room -= size
                    contents[name] = [(key, _digest(section)) for key, section in checkpoint.sections.items()]
            handles.append(
                HandleRemnant(client, number, name, checkpoint.attributes, handle.open_flags, handle.tracking)
            )
    unanswered = sorted(origin for origin in waiting if origin.client.node == node)
    return Remnant(handles, sorted(contents.items()), unanswered)


def merge(registry: Registry, remnant: Remnant, node: NodeId) -> list[Effect]:
    """Let the clients of `node` go on."""
    effects: list[Effect] = [Reply(origin, OUTCOME_UNKNOWN) for origin in remnant.waiting if origin.client.node == node]
    contents = dict(remnant.contents)
    differences: dict[str, list[tuple[SectionChange, ...]]] = {}
    for each in remnant.handles:
        checkpoint = registry.names.get(each.name)
        if each.client.node != node or each.number in registry.handles.get(each.client, {}):
            continue
        if checkpoint is None or not is_equal(each.attributes, checkpoint.attributes):
            effects.append(Event(each.client, HandleLost(each.number)))
            continue
        handle = Handle(each.client, each.number, checkpoint, each.open_flags, each.tracking)
        effects += registry.resume(handle)
        if handle.tracking is not Tracking.OFF:
            if each.name not in differences:
                differences[each.name] = _parts(_difference(dict(contents.get(each.name, ())), checkpoint))
            effects += _told(handle, differences[each.name])
    return effects


def _digest(section: Section) -> bytes:
    return blake2b(section.data, digest_size=DIGEST_BYTES).digest()


def _difference(old: Mapping[bytes, bytes], checkpoint: Checkpoint) -> list[SectionChange]:
    """What turns the content with these ids and digests into what stands."""
    changes = [SectionChange(key, DELETED) for key in old if key not in checkpoint.sections]
    for key, section in checkpoint.sections.items():
        if key not in old:
            changes.append(SectionChange(key, CREATED, 0, bytes(section.data)))
        elif old[key] != _digest(section):
            changes.append(SectionChange(key, OVERWRITTEN, 0, bytes(section.data)))
    return changes


def _parts(changes: Sequence[SectionChange]) -> list[tuple[SectionChange, ...]]:
    """The changes in parts that fit a frame each; at least one, which says at which sequence things go on."""
    parts: list[list[SectionChange]] = []
    room = 0
    for change in changes:
        size = len(change.section_id) + len(change.data or b"") + OVERHEAD_BYTES
        if not parts or size > room:
            parts.append([])
            room = EVENT_BYTES_MAX
        parts[-1].append(change)
        room -= size
    return [tuple(part) for part in parts] or [()]


def _told(handle: Handle, parts: Sequence[tuple[SectionChange, ...]]) -> list[Effect]:
    checkpoint = handle.checkpoint
    seen = parts
    if handle.tracking is Tracking.IDS:
        seen = [tuple(SectionChange(each.section_id, each.operation) for each in part) for part in parts]
    return [
        Event(handle.client, Changed(handle.number, part, checkpoint.fence, checkpoint.sequence, True)) for part in seen
    ]
