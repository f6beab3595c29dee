"""What a request may look like, whatever the state: asked by the library before it sends and by every replica."""

import math
from typing import Final

from corosync_amf.ais import NAME_BYTES_MAX, TrackFlags
from corosync_amf.errors import BadFlags, InvalidParam, TooBig

from .messages import Attributes, Body
from .values import (
    AREA_BYTES_MAX,
    NUMBER_MAX,
    PRIORITIES,
    PRIORITY_LOWEST,
    QUEUE_BYTES_MAX,
    CreationFlags,
    QueueOpenFlags,
    QueueThresholds,
    Sizes,
)

CREATE: Final = int(QueueOpenFlags.CREATE)
OPEN_FLAGS: Final = int(QueueOpenFlags.CREATE | QueueOpenFlags.RECEIVE_CALLBACK | QueueOpenFlags.EMPTY)
CREATION_FLAGS: Final = int(CreationFlags.PERSISTENT)
CHANGE_FLAGS: Final = int(TrackFlags.CHANGES | TrackFlags.CHANGES_ONLY)
TRACK_FLAGS: Final = int(TrackFlags.CURRENT) | CHANGE_FLAGS


def check_opening(flags: int, attributes: Attributes | None) -> None:
    """Raises: BadFlags; InvalidParam: flags and attributes do not fit together; TooBig: an area, or their sum."""
    if flags & ~OPEN_FLAGS or (attributes is not None and attributes.creation_flags & ~CREATION_FLAGS):
        raise BadFlags("unknown bits in open_flags or creation_flags")
    if bool(flags & CREATE) != (attributes is not None):
        raise InvalidParam("CREATE and creation_attributes go together")
    if attributes is None:
        return
    if not is_duration(attributes.retention_time):
        raise InvalidParam("retention_time must be 0 or more, or None")
    if any(size < 0 for size in attributes.size):
        raise InvalidParam("sizes must be 0 or more")
    if max(attributes.size) > AREA_BYTES_MAX or sum(attributes.size) > QUEUE_BYTES_MAX:
        raise TooBig(f"a priority area has at most {AREA_BYTES_MAX} bytes, a queue {QUEUE_BYTES_MAX}")


def is_duration(value: float | None) -> bool:
    """Whether `value` is a length of time in seconds, or None for ever."""
    return value is None or (value >= 0 and math.isfinite(value))


def check_name(name: str) -> None:
    """Raises: InvalidParam: empty or with NUL; TooBig: over 2048 bytes."""
    if not name or "\0" in name:
        raise InvalidParam("a name is not empty and has no NUL")
    if len(name.encode()) > NAME_BYTES_MAX:
        raise TooBig(f"a name has at most {NAME_BYTES_MAX} bytes")


def check_body(body: Body, limit: int) -> None:
    """Raises: InvalidParam: priority, type or version; TooBig: over `limit` bytes, or a sender name too long."""
    if not 0 <= body.priority <= PRIORITY_LOWEST:
        raise InvalidParam(f"priority must be 0..{PRIORITY_LOWEST}, not {body.priority}")
    if not 0 <= body.type <= NUMBER_MAX or not 0 <= body.version <= NUMBER_MAX:
        raise InvalidParam(f"type and version must be 0..{NUMBER_MAX}")
    if body.sender_name is not None:
        check_name(body.sender_name)
    if len(body.data) > limit:
        raise TooBig(f"a message of {len(body.data)} bytes; {limit} is the limit")


def check_thresholds(thresholds: QueueThresholds, size: Sizes) -> None:
    """Raises: InvalidParam: not available <= reached <= size in every area."""
    for each in range(PRIORITIES):
        available, reached = thresholds.capacity_available[each], thresholds.capacity_reached[each]
        if not 0 <= available <= reached <= size[each]:
            what = f"available {available}, reached {reached}, size {size[each]}"
            raise InvalidParam(f"thresholds of priority {each} are not in ascending order: {what}")


def is_trackable(flags: int) -> bool:
    """Whether a group can be tracked with these flags."""
    return 0 < flags <= TRACK_FLAGS and flags & CHANGE_FLAGS != CHANGE_FLAGS
