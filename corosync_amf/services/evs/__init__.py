"""EVS: group messaging with extended virtual synchrony, many groups per session.

Source: evs.h of corosync.
"""

from .client import EvsService, initialize
from .values import (
    GROUP_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    ConfigurationChanged,
    ConfigurationKind,
    Delivered,
    Guarantee,
    Membership,
    RingId,
)

REGULAR, TRANSITIONAL = ConfigurationKind.REGULAR, ConfigurationKind.TRANSITIONAL

__all__ = [
    "GROUP_BYTES_MAX",
    "MESSAGE_BYTES_MAX",
    "REGULAR",
    "TRANSITIONAL",
    "ConfigurationChanged",
    "ConfigurationKind",
    "Delivered",
    "EvsService",
    "Guarantee",
    "Membership",
    "RingId",
    "initialize",
]
