"""What applications see of CPG.

Source: cpg.h of corosync.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.messaging import MESSAGE_BYTES_MAX, Guarantee, RingId

__all__ = [
    "GROUP_BYTES_MAX",
    "MESSAGE_BYTES_MAX",
    "Address",
    "ConfigurationChanged",
    "Delivered",
    "FlowControlState",
    "GroupDescription",
    "Guarantee",
    "IterationType",
    "Reason",
    "RingId",
    "TotemConfigurationChanged",
    "TotemEvents",
]

GROUP_BYTES_MAX: Final = 128
MEMBERS_MAX: Final = 128
GROUPS_MAX: Final = 65_536


class TotemEvents(IntFlag):
    """What a session wants to know of the ring: its changes, and how it is at the beginning."""

    CHANGES = 1
    INITIAL = 2


class Reason(IntEnum):
    """cpg_reason_t: why a member came or went. UNDEFINED in a list of members."""

    UNDEFINED = 0
    JOIN = 1
    LEAVE = 2
    NODEDOWN = 3
    NODEUP = 4
    PROCDOWN = 5


class FlowControlState(IntEnum):
    """cpg_flow_control_state_t. ENABLED: who multicasts now has to wait."""

    DISABLED = 0
    ENABLED = 1


class IterationType(IntEnum):
    """cpg_iteration_type_t: the names of all groups, the members of one, the members of all."""

    NAME_ONLY = 1
    ONE_GROUP = 2
    ALL = 3


@dataclass(frozen=True, slots=True)
class Address:
    """cpg_address: a member."""

    node_id: NodeId
    pid: int
    reason: Reason = Reason.UNDEFINED


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """Event: a message. `group` as this session named it in `join`."""

    group: str | bytes
    node_id: NodeId
    pid: int
    message: bytes


@dataclass(frozen=True, slots=True)
class ConfigurationChanged:
    """Event: the group has other members now: all messages that follow, until the next one, are sent among `members`.

    `left` and `joined` say with their reasons who makes the difference; `reason` says it in words.
    """

    group: str | bytes
    members: tuple[Address, ...]
    left: tuple[Address, ...]
    joined: tuple[Address, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TotemConfigurationChanged:
    """Event: the ring has other members now, in ascending order."""

    ring_id: RingId
    members: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """One step of an iteration: a member of a group. With NAME_ONLY a group; `node_id` and `pid` are 0."""

    group: str
    node_id: NodeId
    pid: int
