"""What goes into a ring and what comes out of it."""

from collections.abc import Hashable
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Literal

from aisexec.groups import Configuration, Delivered, Safe
from aisexec.totem.timeouts import Timeouts
from corosync_amf.ais import NodeId

PAYLOAD_BYTES_MAX = 17 * 1024 * 1024

Source = Hashable
Level = Literal["debug", "info", "notice", "warning", "error"]


class RingState(Enum):
    """Source: Totem single-ring protocol, membership: the four states of a processor."""

    OPERATIONAL = "operational"
    GATHER = "gather"
    COMMIT = "commit"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True)
class RingOptions:
    """How one node takes part.

    node_id             1..2^32-1, unique in the cluster
    incarnation         greater at every start of this node: nanoseconds of the wall clock will do (below 2^63)
    timeouts            see `Timeouts`
    cluster_name        for log lines; the seal keeps other clusters out
    window_bytes        what this node's socket can hold unread (SO_RCVBUF as the kernel charges it); the smallest of
                        all members bounds what one rotation of the token carries
    packet_bytes_max    largest datagram, 512..65507: about 60 KB on loopback or with segmentation, else the MTU
    peers               nodes to expect at the first start (the node list), empty when unknown
    ring_seq            every ring of this node gets a greater sequence number: pass what was stored of the last run,
                        or the seconds of the wall clock, so that numbers grow across restarts
    window_packets      new packets per rotation (`window_size`), over all members
    visit_packets       new packets per visit of the token (`max_messages`)
    idle_visits         visits without news before the representative holds the token (`seqno_unchanged_const`)
    fail_receive_visits visits without progress of one member before it is left out (`fail_recv_const`)
    join_jitter         seconds that this node waits before its first join message (`send_join`, drawn by the caller)
    members_max         larger memberships are refused

    Raises: ValueError when a value is out of its range.
    """

    node_id: NodeId
    incarnation: int
    timeouts: Timeouts = field(default_factory=Timeouts)
    cluster_name: str = ""
    window_bytes: int = 212_992
    packet_bytes_max: int = 60_000
    peers: tuple[NodeId, ...] = ()
    ring_seq: int = 0
    window_packets: int = 50
    visit_packets: int = 17
    idle_visits: int = 3
    fail_receive_visits: int = 2500
    join_jitter: float = 0.0
    members_max: int = 128

    def __post_init__(self) -> None:
        for problem, found in (
            ("node_id must be in 1..2^32-1", not 0 < self.node_id < 1 << 32),
            ("incarnation must be in 1..2^63-1", not 0 < self.incarnation < 1 << 63),
            ("packet_bytes_max must be in 512..65507", not 512 <= self.packet_bytes_max <= 65_507),
            ("window_bytes must be at least 4096", self.window_bytes < 4096),
            ("ring_seq must be in 0..2^63-1", not 0 <= self.ring_seq < 1 << 63),
            ("window_packets, visit_packets and idle_visits must be at least 1",
             min(self.window_packets, self.visit_packets, self.idle_visits) < 1),
            ("members_max must be in 1..128", not 1 <= self.members_max <= 128),
        ):  # fmt: skip
            if found:
                raise ValueError(problem)


@dataclass(frozen=True, slots=True)
class Received:
    """Everything one drain of the socket gave: each datagram with the address it came from."""

    datagrams: list[tuple[bytes, Source]]


@dataclass(frozen=True, slots=True)
class Multicast:
    """Put one payload into the total order. `handle` raises ValueError above PAYLOAD_BYTES_MAX."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class MulticastMany:
    """Put several payloads into the total order, in this order. `handle` raises ValueError as for `Multicast`.

    `prompt`: somebody waits until they are safe. When little is under way the other members acknowledge them at once;
    else, and without it, the token tells what is safe as it comes round.
    """

    payloads: list[bytes]
    prompt: bool = False


@dataclass(frozen=True, slots=True)
class Expect:
    """A client of this node was told what it waited for, and may ask the next thing at once: see `Lingering`."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Say goodbye: what is queued still goes out (for at most a token timeout), then the others carry on without
    this node and know that it is gone. Wait until `ring.left` is true; afterwards the ring does nothing any more."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send one datagram to one node. Where no address is configured `ring.sources` has the last one seen."""

    to: NodeId
    packet: bytes


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send each datagram to the other members of the ring; `beyond` also to every node known or configured that is
    not a member (joins, merge probes). With IP multicast both go to the group. Own packets that come back are
    ignored."""

    packets: list[bytes]
    beyond: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    level: Level
    text: str


Event = Received | Multicast | MulticastMany | Expect | Leave
Effect = Send | Broadcast | Configuration | Delivered | Safe | Log


@dataclass(slots=True)
class Counters:
    """What a ring did and dropped since it started."""

    datagrams: int = 0
    dropped_garbage: int = 0
    dropped_truncated: int = 0
    dropped_protocol: int = 0
    dropped_digest: int = 0
    dropped_replayed: int = 0
    dropped_stale: int = 0
    dropped_duplicate: int = 0
    dropped_own: int = 0
    tokens: int = 0
    tokens_retransmitted: int = 0
    tokens_lost: int = 0
    holds: int = 0
    lingers: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    retransmissions: int = 0
    retransmissions_requested: int = 0
    payloads_sent: int = 0
    payloads_delivered: int = 0
    bytes_sent: int = 0
    bytes_delivered: int = 0
    configurations: int = 0
    gathers: int = 0
    probes: int = 0

    def as_dict(self) -> dict[str, int]:
        """Name and value of each counter, for display."""
        return {counter.name: getattr(self, counter.name) for counter in fields(self)}
