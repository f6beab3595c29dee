"""What an application passes, checked and turned into what goes over the wire."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from corosync_amf.errors import InvalidParam
from corosync_amf.service import check_bytes, check_enum, check_int

from .limits import check_publisher_name, check_sizes
from .messages import FilterPair
from .values import LOWEST_PRIORITY, SUBSCRIPTION_ID_MAX, Filter, FilterType


class Draft(NamedTuple):
    """The attributes of an event that is to be published."""

    patterns: tuple[bytes, ...] = ()
    priority: int = LOWEST_PRIORITY
    retention_time: float = 0.0
    publisher_name: str = ""


NEW: Final = Draft()


def draft_of(
    former: Draft,
    retention_max: float,
    patterns: object = None,
    priority: object = None,
    retention_time: object = None,
    name: object = None,
) -> Draft:
    """`former` with what is given; None leaves it as it is. Raises: InvalidParam, TooBig."""
    draft = Draft(
        former.patterns if patterns is None else patterns_of(patterns),
        former.priority if priority is None else check_int(priority, "priority", maximum=LOWEST_PRIORITY),
        former.retention_time if retention_time is None else _retention_of(retention_time),
        former.publisher_name if name is None else _publisher_of(name),
    )
    check_sizes(draft.patterns, draft.retention_time, retention_max)
    return draft


def patterns_of(value: object) -> tuple[bytes, ...]:
    """Patterns; text is taken in UTF-8. Raises: InvalidParam."""
    if isinstance(value, str | bytes | bytearray | memoryview) or not isinstance(value, Sequence):
        raise InvalidParam("patterns must be a sequence of bytes")
    return tuple([each if type(each) is bytes else _pattern_of(each) for each in value])


def _pattern_of(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise InvalidParam("a pattern cannot be written in UTF-8") from None
    return check_bytes(value, what="a pattern")


def _retention_of(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise InvalidParam(f"retention_time must be seconds, 0 or more, not {value!r}")
    return float(min(value, 1e300))


def _publisher_of(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidParam("publisher_name must be text, and not empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidParam("publisher_name cannot be written in UTF-8") from None
    check_publisher_name(value)
    return value


def filters_of(value: object) -> tuple[FilterPair, ...]:
    """The filters of a subscription. Raises: InvalidParam. What is too long, `check_filters` finds."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InvalidParam("filters must be a sequence of Filter")
    pairs = []
    for each in value:
        if not isinstance(each, Filter):
            raise InvalidParam(f"a Filter is wanted, not {each!r}")
        pairs.append((int(check_enum(each.filter_type, FilterType, "filter_type")), _pattern_of(each.pattern)))
    return tuple(pairs)


def subscription_id_of(value: object) -> int | None:
    """Raises: InvalidParam."""
    return None if value is None else check_int(value, "subscription_id", maximum=SUBSCRIPTION_ID_MAX)
