"""EVT: a bus between any number of publishers and subscribers, with patterns, priorities and retention.

Source: SAI-AIS-EVT-B.03.01.
"""

from .channel import Channel
from .client import ChannelOpened, EventDelivered, EvtService, initialize
from .event import Event
from .subscription import Subscription
from .values import (
    EVENT_ID_LOST,
    EVENT_ID_NONE,
    HIGHEST_PRIORITY,
    LOST_EVENT_PATTERN,
    LOWEST_PRIORITY,
    Callback,
    ChannelOpenFlags,
    EventAttributes,
    Filter,
    FilterType,
    LimitId,
)

__all__ = [
    "EVENT_ID_LOST",
    "EVENT_ID_NONE",
    "HIGHEST_PRIORITY",
    "LOST_EVENT_PATTERN",
    "LOWEST_PRIORITY",
    "Callback",
    "Channel",
    "ChannelOpenFlags",
    "ChannelOpened",
    "Event",
    "EventAttributes",
    "EventDelivered",
    "EvtService",
    "Filter",
    "FilterType",
    "LimitId",
    "Subscription",
    "initialize",
]
