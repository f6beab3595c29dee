"""CPG: closed process groups: one group per session, messages and membership in one order.

Source: cpg.h of corosync.
"""

from .client import CpgService, initialize
from .values import (
    GROUP_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    Address,
    ConfigurationChanged,
    Delivered,
    FlowControlState,
    GroupDescription,
    Guarantee,
    IterationType,
    Reason,
    RingId,
    TotemConfigurationChanged,
)

__all__ = [
    "GROUP_BYTES_MAX",
    "MESSAGE_BYTES_MAX",
    "Address",
    "ConfigurationChanged",
    "CpgService",
    "Delivered",
    "FlowControlState",
    "GroupDescription",
    "Guarantee",
    "IterationType",
    "Reason",
    "RingId",
    "TotemConfigurationChanged",
    "initialize",
]
