"""What an application passes, checked and turned into what goes over the wire."""

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from corosync_amf.errors import BadFlags, InvalidParam
from corosync_amf.service import check_bytes, check_flags, check_int

from .limits import problem_of
from .messages import Attributes, Change, Extent, Part
from .values import (
    CHECKPOINT_BYTES_MAX,
    SECTION_ID_BYTES_MAX,
    CreationAttributes,
    CreationFlags,
    IoVector,
    OpenFlags,
)

INT_MAX: Final = 2**63 - 1
FLOAT_MAX: Final = sys.float_info.max


def opening_of(open_flags: object, attributes: object) -> tuple[OpenFlags, Attributes | None]:
    """Flags and attributes of an opening call; no flags named: CREATE exactly when attributes are given.

    Raises: BadFlags, InvalidParam.
    """
    if open_flags is None:
        flags = OpenFlags.READ | OpenFlags.WRITE
        flags |= OpenFlags(0) if attributes is None else OpenFlags.CREATE
    else:
        flags = check_flags(open_flags, OpenFlags, "open_flags")
    if not flags:
        raise BadFlags("open_flags has no bit")
    if attributes is not None:
        if not isinstance(attributes, CreationAttributes):
            raise InvalidParam("creation_attributes must be CreationAttributes")
        check_flags(attributes.creation_flags, CreationFlags, "creation_flags")
    if bool(flags & OpenFlags.CREATE) != (attributes is not None):
        raise InvalidParam("CREATE and creation_attributes go together")
    return flags, None if attributes is None else _attributes_of(attributes)


def _attributes_of(given: CreationAttributes) -> Attributes:
    sections = check_int(given.max_sections, "max_sections", maximum=INT_MAX)
    section_bytes = check_int(given.max_section_size, "max_section_size", maximum=INT_MAX)
    size = given.checkpoint_size
    if size is None:
        size = min(sections * section_bytes, CHECKPOINT_BYTES_MAX)
    if not isinstance(given.persistent, bool):
        raise InvalidParam("persistent must be a bool")
    attributes = Attributes(
        int(given.creation_flags),
        check_int(size, "checkpoint_size", maximum=INT_MAX),
        check_duration(given.retention_duration),
        sections,
        section_bytes,
        check_int(given.max_section_id_size, "max_section_id_size", maximum=INT_MAX),
        given.persistent,
    )
    if problem := problem_of(attributes):
        raise InvalidParam(problem)
    return attributes


def check_duration(value: object) -> float | None:
    """Seconds, 0 or more; None for ever. Raises: InvalidParam."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= FLOAT_MAX:
        raise InvalidParam(f"a duration must be None or seconds, 0 or more, not {value!r}")
    return float(value)


def check_time(value: object) -> float | None:
    """A point in wall clock time; None never. Raises: InvalidParam."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FLOAT_MAX:
        raise InvalidParam(f"a time must be None or seconds since the epoch, not {value!r}")
    return float(value)


def check_epoch(value: object) -> int | None:
    """An epoch, or None. Raises: InvalidParam."""
    return None if value is None else check_int(value, "epoch", maximum=INT_MAX)


def section_id_of(value: object) -> bytes:
    """The bytes of a section id; text is taken in UTF-8. Raises: InvalidParam."""
    if isinstance(value, str):
        try:
            section_id = value.encode()
        except UnicodeEncodeError:
            raise InvalidParam("the section id cannot be written in UTF-8") from None
    else:
        section_id = value if type(value) is bytes else check_bytes(value, what="section_id")
    if len(section_id) > SECTION_ID_BYTES_MAX:
        raise InvalidParam(f"a section id has at most {SECTION_ID_BYTES_MAX} bytes")
    return section_id


def parts_of(vector: object) -> list[Part]:
    """What `write` is to write. Raises: InvalidParam, with the index of the element."""
    parts: list[Part] = []
    for index, element in enumerate(_elements(vector)):
        try:
            section_id, offset, data = section_id_of(element.section_id), element.offset, element.data
            if type(offset) is not int or offset:
                offset = check_int(offset, "offset", maximum=INT_MAX)
            parts.append(Part(section_id, offset, data if type(data) is bytes else check_bytes(data)))
        except InvalidParam as error:
            error.erroneous_vector_index = index
            raise
    return parts


def extents_of(vector: object) -> list[Extent]:
    """What `read` is to read. Raises: InvalidParam, with the index of the element."""
    extents: list[Extent] = []
    for index, element in enumerate(_elements(vector)):
        try:
            size = None if element.size is None else check_int(element.size, "size", maximum=INT_MAX)
            offset = check_int(element.offset, "offset", maximum=INT_MAX)
            extents.append(Extent(section_id_of(element.section_id), offset, size))
        except InvalidParam as error:
            error.erroneous_vector_index = index
            raise
    return extents


def _elements(vector: object) -> Sequence[IoVector]:
    if not isinstance(vector, Sequence):
        raise InvalidParam("the vector must be a sequence of IoVector")
    for element in vector:
        if type(element) is not IoVector:
            raise InvalidParam(f"an IoVector is wanted, not {element!r}", erroneous_vector_index=vector.index(element))
    return vector


def changes_of(changes: object) -> list[Change]:
    """What `write_batch` is to change. Raises: InvalidParam, with the index of the change."""
    if not isinstance(changes, Mapping):
        raise InvalidParam("changes must be a mapping of section ids to bytes, or to None")
    listed: list[Change] = []
    known: set[bytes] = set()
    for index, (key, data) in enumerate(changes.items()):
        try:
            section_id = section_id_of(key)
            if section_id in known:
                raise InvalidParam(f"section {section_id!r} stands there twice")
            known.add(section_id)
            listed.append(Change(section_id, None if data is None else check_bytes(data)))
        except InvalidParam as error:
            error.erroneous_vector_index = index
            raise
    return listed
