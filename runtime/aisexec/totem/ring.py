"""One node's part in a Totem single ring: membership, total order, recovery."""

from aisexec.groups import RingId
from aisexec.totem.events import (
    PAYLOAD_BYTES_MAX,
    Broadcast,
    Counters,
    Effect,
    Event,
    Leave,
    Log,
    Multicast,
    MulticastMany,
    Received,
    RingOptions,
    RingState,
    Send,
    Source,
)
from aisexec.totem.seal import Seal
from corosync_amf.ais import NodeId

__all__ = [
    "PAYLOAD_BYTES_MAX", "Broadcast", "Counters", "Effect", "Event", "Leave", "Log", "Multicast", "MulticastMany",
    "Received", "Ring", "RingOptions", "RingState", "Send", "Source",
]  # fmt: skip


class Ring:
    """A machine: feed it events and the time (monotonic seconds), carry out the effects in their order.

    Call `start` once; then `handle` for each event and `wake` when `next_deadline` has come. The attributes below are
    facts to read, never to write.

    state, members, ring_id     where the ring stands; members in ring order, ring_id of the installed ring
    incarnations                of the members of the installed ring
    departed                    nodes known to be gone for good: they said goodbye, or came back as a new incarnation;
                                maps the node to the incarnation that is gone
    sources                     where each node's last authenticated packet came from
    heard                       when each node was last heard in an authenticated packet
    known_heard                 a time at or after which each node is known to have heard this one (see `contact`)
    left                        the goodbye is said; nothing more will happen
    backlog_bytes               queued and not yet sent
    counters                    see `Counters`
    """

    state: RingState
    members: tuple[NodeId, ...]
    ring_id: RingId
    incarnations: dict[NodeId, int]
    departed: dict[NodeId, int]
    sources: dict[NodeId, Source]
    heard: dict[NodeId, float]
    known_heard: dict[NodeId, float]
    left: bool
    counters: Counters

    def __init__(self, options: RingOptions, seal: Seal, now: float) -> None: ...

    @property
    def backlog_bytes(self) -> int:
        """Bytes queued and not yet sent."""
        return 0

    def start(self, now: float) -> list[Effect]:
        """Look for other nodes; a REGULAR configuration follows, of this node alone when nobody answers."""
        return []

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event.

        Raises: ValueError for a payload above PAYLOAD_BYTES_MAX; nothing else, whatever the network brings.
        """
        return []

    def wake(self, now: float) -> list[Effect]:
        """Do what is due. Harmless when nothing is."""
        return []

    def next_deadline(self) -> float | None:
        """When `wake` is wanted; None is never."""
        return None
