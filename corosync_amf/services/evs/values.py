"""What applications see of EVS.

Source: evs.h of corosync.
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
    "ConfigurationChanged",
    "ConfigurationKind",
    "Delivered",
    "Guarantee",
    "Membership",
    "RingId",
]

GROUP_BYTES_MAX: Final = 32
GROUPS_MAX: Final = 65_536


class NoChoice(IntFlag):
    """All events of a session are always on."""


class ConfigurationKind(IntEnum):
    """REGULAR: what is sent now is delivered to these members. TRANSITIONAL: to those members of the former
    configuration that go on together is delivered what was not safe by then.
    """

    REGULAR = 0
    TRANSITIONAL = 1


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """Event: a message to one or more of this session's groups."""

    node_id: NodeId
    message: bytes


@dataclass(frozen=True, slots=True)
class ConfigurationChanged:
    """Event: all messages that follow, until the next one, are delivered in this configuration.

    `members`, `left` and `joined` are in ascending order; `reason` says in words what happened.
    """

    members: tuple[NodeId, ...]
    left: tuple[NodeId, ...]
    joined: tuple[NodeId, ...]
    ring_id: RingId
    kind: ConfigurationKind
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """The nodes of the present configuration, in ascending order, and the one that this process is on."""

    local_node_id: NodeId
    members: tuple[NodeId, ...]
