"""What a request may hold: the same checks for the caller and, against a caller that skips them, in the replicas."""

from collections.abc import Sequence

from corosync_amf.errors import InvalidParam, TooBig

from .messages import FilterPair
from .values import (
    BATCH_BYTES_MAX,
    BATCH_MAX,
    EVENT_BYTES_MAX,
    LOWEST_PRIORITY,
    PATTERN_BYTES_MAX,
    PATTERNS_MAX,
    PUBLISHER_NAME_BYTES_MAX,
    RETENTION_SECONDS_MAX,
    FilterType,
)

FILTER_TYPES = frozenset(int(each) for each in FilterType)


def check_attributes(priority: int, retention_time: float, publisher_name: str) -> None:
    """Raises: InvalidParam."""
    if not 0 <= priority <= LOWEST_PRIORITY:
        raise InvalidParam(f"priority must be 0 to {LOWEST_PRIORITY}, not {priority}")
    if not retention_time >= 0:
        raise InvalidParam(f"retention_time must be seconds, 0 or more, not {retention_time}")
    if publisher_name:
        check_publisher_name(publisher_name)


def check_publisher_name(name: str) -> None:
    """Raises: InvalidParam: over 255 bytes in UTF-8."""
    if len(name.encode("utf-8", "replace")) > PUBLISHER_NAME_BYTES_MAX:
        raise InvalidParam(f"a publisher name has 1 to {PUBLISHER_NAME_BYTES_MAX} bytes")


def check_sizes(patterns: Sequence[bytes], retention_time: float, retention_max: float = RETENTION_SECONDS_MAX) -> None:
    """Raises: TooBig."""
    if patterns:
        check_patterns(patterns)
    check_retention(retention_time, retention_max)


def check_retention(retention_time: float, retention_max: float) -> None:
    """Raises: TooBig."""
    if retention_time > retention_max:
        raise TooBig(f"a retention of {retention_time:g} s; {retention_max:g} s is the limit")


def check_patterns(patterns: Sequence[bytes]) -> None:
    """Patterns of an event, or those of filters. Raises: TooBig."""
    if len(patterns) > PATTERNS_MAX:
        raise TooBig(f"{len(patterns)} patterns; {PATTERNS_MAX} is the limit")
    longest = max(map(len, patterns), default=0)
    if longest > PATTERN_BYTES_MAX:
        raise TooBig(f"a pattern of {longest} bytes; {PATTERN_BYTES_MAX} is the limit")


def check_data(data: Sequence[bytes]) -> None:
    """The data of a batch, or of the one event in it. Raises: InvalidParam: none; TooBig."""
    if not data:
        raise InvalidParam("there is no event in the batch")
    longest = max(map(len, data))
    if longest > EVENT_BYTES_MAX:
        raise TooBig(f"an event of {longest} bytes; {EVENT_BYTES_MAX} is the limit")
    if len(data) > BATCH_MAX or (len(data) > 1 and sum(map(len, data)) > BATCH_BYTES_MAX):
        raise TooBig(f"a batch has at most {BATCH_MAX} events and {BATCH_BYTES_MAX} bytes")


def check_filters(filters: Sequence[FilterPair]) -> None:
    """Raises: InvalidParam: a type that is none; TooBig."""
    for kind, _ in filters:
        if kind not in FILTER_TYPES:
            raise InvalidParam(f"{kind} is not a filter type")
    check_patterns([pattern for _, pattern in filters])
