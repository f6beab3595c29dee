"""What applications see of EVT: flags, filters, attributes, limits.

Source: SAI-AIS-EVT-B.03.01 section 3.3.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

HIGHEST_PRIORITY: Final = 0
LOWEST_PRIORITY: Final = 3
EVENT_ID_NONE: Final = 0
"""The id of an event that was not published."""
EVENT_ID_LOST: Final = 1
"""The id of the event that says that others were lost; its data is their number, as text."""
LOST_EVENT_PATTERN: Final = b"SA_EVT_LOST_EVENT_PATTERN"
EVENT_ID_RESERVED: Final = 1000
"""Ids up to here are never given to a published event."""

CHANNELS_MAX: Final = 4096
EVENT_BYTES_MAX: Final = 1024 * 1024
PATTERN_BYTES_MAX: Final = 255
PATTERNS_MAX: Final = 16
PUBLISHER_NAME_BYTES_MAX: Final = 255
RETENTION_SECONDS_MAX: Final = 100_000
RETAINED_PER_CHANNEL_MAX: Final = 65_536
RETAINED_MAX: Final = 262_144
"""Retained events of all channels together."""
RETAINED_BYTES_MAX: Final = 256 * 1024 * 1024
"""Data of the retained events of all channels together."""
HANDLES_MAX: Final = 4096
"""Channel handles of one client."""
SUBSCRIPTIONS_MAX: Final = 4096
"""Subscriptions of one client."""
BATCH_MAX: Final = 4096
"""Events of one `publish_batch`."""
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Data of one `publish_batch`."""
QUEUE_LENGTH_DEFAULT: Final = 1000
QUEUE_LENGTH_MAX: Final = 1_000_000
QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Data that one subscription keeps for a reader who does not come."""
SUBSCRIPTION_ID_MAX: Final = 2**32 - 1
EVENT_ID_MAX: Final = 2**64 - 1


class Callback(IntFlag):
    """The kinds of events a session wants."""

    OPEN = 1
    DELIVER = 2
    ALL = OPEN | DELIVER


class ChannelOpenFlags(IntFlag):
    """SaEvtChannelOpenFlagsT. CREATE alone gives a handle that may neither publish nor subscribe."""

    PUBLISHER = 1
    SUBSCRIBER = 2
    CREATE = 4


class FilterType(IntEnum):
    """SaEvtEventFilterTypeT: how a filter and the pattern in its place are compared."""

    PREFIX = 1
    SUFFIX = 2
    EXACT = 3
    PASS_ALL = 4


class LimitId(IntEnum):
    """SaEvtLimitIdT. Sizes are in bytes, durations in seconds."""

    MAX_NUM_CHANNELS = 1
    MAX_EVT_SIZE = 2
    MAX_PATTERN_SIZE = 3
    MAX_NUM_PATTERNS = 4
    MAX_RETENTION_DURATION = 5


LIMITS: Final = {
    LimitId.MAX_NUM_CHANNELS: CHANNELS_MAX,
    LimitId.MAX_EVT_SIZE: EVENT_BYTES_MAX,
    LimitId.MAX_PATTERN_SIZE: PATTERN_BYTES_MAX,
    LimitId.MAX_NUM_PATTERNS: PATTERNS_MAX,
}


@dataclass(frozen=True, slots=True)
class Filter:
    """SaEvtEventFilterT: filter *i* of a subscription is compared with pattern *i* of an event; text is UTF-8."""

    filter_type: FilterType
    pattern: bytes | str = b""


@dataclass(frozen=True, slots=True)
class EventAttributes:
    """What an event carries besides its data.

    `priority` is 0 (highest) to 3; `retention_time` in seconds after publication; `publish_time` is wall clock, seconds
    since the epoch, None for an event that was not received; `event_id` is then EVENT_ID_NONE.
    """

    patterns: tuple[bytes, ...]
    priority: int
    retention_time: float
    publisher_name: str
    publish_time: float | None
    event_id: int
