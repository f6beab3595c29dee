"""Group communication among the executives: totally ordered, virtually synchronous multicast.

The seam is above the ring. A group takes payloads (`multicast`) and hands up, in batches, what happened, in one order
that is the same on every member:

    Configuration   who is in; always before the first message of that membership
    Delivered       payloads in the total order, a node's own among them
    Safe            everything delivered up to a count has reached every member

Three groups keep this contract under one conformance suite: `embedded` (Totem over UDP), `local` (one process, no
network), and, later, the Corosync daemon (libcpg), which has neither transitional configurations nor safe delivery:
what sits above must need only agreed order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from corosync_amf.ais import NodeId


class ConfigurationKind(Enum):
    REGULAR = "regular"
    TRANSITIONAL = "transitional"


@dataclass(frozen=True, slots=True, order=True)
class RingId:
    """Names one configuration: `seq` grows with every new ring, the representative is its lowest member."""

    seq: int
    representative: NodeId


@dataclass(frozen=True, slots=True)
class Configuration:
    """The membership of all deliveries that follow. `reason` says in words why the former one ended."""

    kind: ConfigurationKind
    ring_id: RingId
    members: tuple[NodeId, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Consecutive payloads of the total order, each with the node that sent it."""

    messages: list[tuple[NodeId, bytes]]


@dataclass(frozen=True, slots=True)
class Safe:
    """The first `count` payloads delivered since the last REGULAR configuration are held by all of its members."""

    count: int


Happening = Configuration | Delivered | Safe


class Group(Protocol):
    """One node's end of the group."""

    local: NodeId

    def multicast(self, payload: bytes) -> None:
        """Queue a payload for the total order. Never waits."""

    @property
    def backlog_bytes(self) -> int:
        """Bytes queued and not yet sent; the edge reads its clients more slowly when this grows."""

    async def run(self, deliver: Callable[[list[Happening]], None]) -> None:
        """Take part in the group until cancelled. `deliver` gets what happened, in order, and never waits."""
