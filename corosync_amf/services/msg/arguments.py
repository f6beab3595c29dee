"""What an application passes, checked and turned into what goes over the wire.

TooBig comes last of what a call can refuse by itself: it has functions of its own (`limits`).
"""

import sys

from corosync_amf.ais import TrackFlags
from corosync_amf.errors import BadFlags, InvalidParam, TooBig
from corosync_amf.service import check_bytes, check_flags, check_int, check_name

from .limits import CHANGE_FLAGS, TRACK_FLAGS, check_opening, is_trackable
from .messages import Attributes, Body
from .values import (
    NUMBER_MAX,
    PRIORITIES,
    PRIORITY_LOWEST,
    CreationFlags,
    Message,
    QueueCreationAttributes,
    QueueOpenFlags,
    QueueThresholds,
    Sizes,
)

INT_MAX = 2**63 - 1
FLOAT_MAX = sys.float_info.max


def name_of(name: object, what: str = "name") -> str:
    """A name, of whatever length. Raises: InvalidParam."""
    try:
        return check_name(name, what)
    except TooBig:
        return str(name)


def opening_of(name: object, open_flags: object, attributes: object) -> tuple[str, int, Attributes | None]:
    """Name, flags and attributes of an opening call; no flags named: CREATE exactly when attributes are given.

    Raises: BadFlags, InvalidParam.
    """
    if open_flags is None:
        flags = QueueOpenFlags.NONE if attributes is None else QueueOpenFlags.CREATE
    else:
        flags = check_flags(open_flags, QueueOpenFlags, "open_flags")
    if isinstance(attributes, QueueCreationAttributes):
        check_flags(attributes.creation_flags, CreationFlags, "creation_flags")
        given: Attributes | None = _attributes_of(attributes)
    elif attributes is None:
        given = None
    else:
        raise InvalidParam("creation_attributes must be QueueCreationAttributes")
    try:
        check_opening(int(flags), given)
    except TooBig:
        pass
    return name_of(name), int(flags), given


def _attributes_of(given: QueueCreationAttributes) -> Attributes:
    return Attributes(int(given.creation_flags), sizes_of(given.size, "size"), duration_of(given.retention_time))


def sizes_of(value: object, what: str) -> Sizes:
    """Four numbers of bytes. Raises: InvalidParam."""
    if not isinstance(value, tuple | list) or len(value) != PRIORITIES:
        raise InvalidParam(f"{what} must have {PRIORITIES} numbers, not {value!r}")
    first, second, third, fourth = (check_int(each, what) for each in value)
    return first, second, third, fourth


def duration_of(value: object) -> float | None:
    """Seconds, 0 or more; None for ever. Raises: InvalidParam."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= FLOAT_MAX:
        raise InvalidParam(f"retention_time must be None or seconds, 0 or more, not {value!r}")
    return float(value)


def thresholds_of(value: object) -> QueueThresholds:
    """Raises: InvalidParam."""
    if not isinstance(value, QueueThresholds):
        raise InvalidParam("thresholds must be QueueThresholds")
    reached = sizes_of(value.capacity_reached, "capacity_reached")
    return QueueThresholds(reached, sizes_of(value.capacity_available, "capacity_available"))


def body_of(message: object) -> Body:
    """What goes out of a message, of whatever size. Raises: InvalidParam."""
    if not isinstance(message, Message):
        raise InvalidParam(f"message must be a Message, not {type(message).__qualname__}")
    return Body(
        check_bytes(message.data),
        check_int(message.type, "type", maximum=NUMBER_MAX),
        check_int(message.version, "version", maximum=NUMBER_MAX),
        check_int(message.priority, "priority", maximum=PRIORITY_LOWEST),
        None if message.sender_name is None else name_of(message.sender_name, "sender_name"),
    )


def sender_id_of(value: object) -> int:
    """Raises: InvalidParam: None, or no sender id."""
    if value is None:
        raise InvalidParam("the sender of the message does not wait for a reply: its sender_id is None")
    return check_int(value, "sender_id", maximum=INT_MAX)


def track_flags_of(value: object) -> TrackFlags:
    """Raises: BadFlags, InvalidParam."""
    number = check_int(value, "flags", minimum=None)
    if not is_trackable(number):
        unknown = number & ~TRACK_FLAGS
        why = "CHANGES and CHANGES_ONLY exclude one another" if number & CHANGE_FLAGS == CHANGE_FLAGS else "none"
        raise BadFlags(f"flags have unknown bits: {unknown:#x}" if unknown else f"flags: {why}")
    return TrackFlags(number)
