"""What a request may look like, whatever the state: asked by the library before it sends and by every replica."""

import math
from collections.abc import Sequence
from typing import Final

from corosync_amf.errors import InvalidParam

from .messages import Attributes, Change, Part
from .values import (
    CHECKPOINT_BYTES_MAX,
    ELEMENTS_MAX,
    GENERATED_ID_BYTES,
    SECTION_BYTES_MAX,
    SECTION_ID_BYTES_MAX,
    SECTIONS_MAX,
    CreationFlags,
    OpenFlags,
)

WRITE_MODES: Final = int(
    CreationFlags.WR_ALL_REPLICAS | CreationFlags.WR_ACTIVE_REPLICA | CreationFlags.WR_ACTIVE_REPLICA_WEAK
)
CREATION_FLAGS: Final = WRITE_MODES | CreationFlags.CHECKPOINT_COLLOCATED
OPEN_FLAGS: Final = int(OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE)


def problem_of(attributes: Attributes) -> str | None:
    """Say in words why no checkpoint can have these attributes; None when it can."""
    sections, section_bytes = attributes.max_sections, attributes.max_section_size
    if (attributes.creation_flags & WRITE_MODES).bit_count() != 1 or attributes.creation_flags & ~CREATION_FLAGS:
        return "creation_flags must hold exactly one of the WR flags"
    if not 1 <= sections <= SECTIONS_MAX:
        return f"max_sections must be 1..{SECTIONS_MAX}"
    if not 1 <= section_bytes <= SECTION_BYTES_MAX:
        return f"max_section_size must be 1..{SECTION_BYTES_MAX}"
    if not 1 <= attributes.max_section_id_size <= SECTION_ID_BYTES_MAX:
        return f"max_section_id_size must be 1..{SECTION_ID_BYTES_MAX}"
    most = min(sections * section_bytes, CHECKPOINT_BYTES_MAX)
    if not 1 <= attributes.checkpoint_size <= most:
        return f"checkpoint_size must be 1..{most}"
    return None if is_duration(attributes.retention_duration) else "retention_duration must be 0 or more, or None"


def is_duration(value: float | None) -> bool:
    """Whether `value` is a length of time in seconds, or None for ever."""
    return value is None or (value >= 0 and math.isfinite(value))


def check_elements(vector: Sequence[object]) -> None:
    """Raises: InvalidParam: no element, or more than ELEMENTS_MAX."""
    if not 1 <= len(vector) <= ELEMENTS_MAX:
        raise InvalidParam(f"a vector has 1..{ELEMENTS_MAX} elements")


def check_new(limits: Attributes, section_id: bytes | None, data: bytes) -> None:
    """Raises: InvalidParam: no section can be created so."""
    check_data(limits, data)
    if section_id is None:
        if limits.max_sections > 1 and limits.max_section_id_size < GENERATED_ID_BYTES:
            raise InvalidParam(f"a generated id does not fit max_section_id_size {limits.max_section_id_size}")
    elif len(section_id) > limits.max_section_id_size or (not section_id and limits.max_sections > 1):
        raise InvalidParam(f"a section id has 1..{limits.max_section_id_size} bytes")


def check_data(limits: Attributes, data: bytes, index: int | None = None) -> None:
    """Raises: InvalidParam: too much for one section."""
    if len(data) > limits.max_section_size:
        what = f"{len(data)} bytes are over max_section_size {limits.max_section_size}"
        raise InvalidParam(what, erroneous_vector_index=index)


def check_parts(limits: Attributes, parts: Sequence[Part]) -> None:
    """Raises: InvalidParam, with the index of the part: it does not fit a section."""
    check_elements(parts)
    most = limits.max_section_size
    for index, part in enumerate(parts):
        if part.offset < 0 or part.offset + len(part.data) > most:
            what = f"offset {part.offset} and {len(part.data)} bytes do not fit max_section_size {most}"
            raise InvalidParam(what, erroneous_vector_index=index)


def check_changes(limits: Attributes, changes: Sequence[Change]) -> None:
    """Raises: InvalidParam, with the index of the change: no section can be so."""
    check_elements(changes)
    for index, change in enumerate(changes):
        section_id, data = change.section_id, change.data
        if data is not None:
            check_data(limits, data, index)
        if limits.max_sections == 1:
            if data is None and not section_id:
                raise InvalidParam("the default section cannot be deleted", erroneous_vector_index=index)
        elif not 1 <= len(section_id) <= limits.max_section_id_size:
            what = f"a section id has 1..{limits.max_section_id_size} bytes"
            raise InvalidParam(what, erroneous_vector_index=index)
