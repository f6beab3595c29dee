"""Members that take over the state of others: until they say that they have it, what they ask must wait. Pure.

A node whose partition gives way brings a remnant along: what its clients hold. It multicasts that in parts (`Return`)
when it has the state that stands; then its clients go on. A node that starts says the same without a remnant.
"""

from collections.abc import Iterable

from corosync_amf.ais import NodeId
from corosync_amf.wire import encode

from .payloads import Return

Remnants = list[tuple[int, bytes]]
"""(service, encoded remnant), one for each service that brings something along."""


class Awaited:
    """Replicated: which members have not returned yet, the ring of their cut, and the part that comes next."""

    __slots__ = ("nodes",)

    def __init__(self, records: Iterable[tuple[NodeId, int, int]] = ()) -> None:
        self.nodes: dict[NodeId, tuple[int, int]] = {node: (serial, part) for node, serial, part in records}

    def records(self) -> list[tuple[NodeId, int, int]]:
        """The state, for a snapshot."""
        return [(node, *self.nodes[node]) for node in sorted(self.nodes)]

    def install(self, members: Iterable[NodeId], restoring: Iterable[NodeId], serial: int) -> None:
        """A membership takes effect; `restoring` members begin to take over its state."""
        present = set(members)
        self.nodes = {node: place for node, place in self.nodes.items() if node in present}
        self.nodes |= dict.fromkeys(restoring, (serial, 0))

    def take(self, node: NodeId, value: Return) -> bool:
        """Whether this is the part that comes next; with the last one the node has returned."""
        if self.nodes.get(node) != (value.serial, value.part):
            return False
        if value.last:
            del self.nodes[node]
        else:
            self.nodes[node] = (value.serial, value.part + 1)
        return True

    def away(self, node: NodeId, remnants: Remnants) -> frozenset[int]:
        """The services of which `node` must still bring something: its clients are not in their state."""
        _, first = self.nodes.get(node, (0, len(remnants)))
        return frozenset(service for service, _ in remnants[first:])

    def parts(self, node: NodeId, remnants: Remnants, time: float) -> list[bytes]:
        """What `node` must still multicast."""
        serial, first = self.nodes[node]
        remnants = remnants or [(0, b"")]
        end = len(remnants) - 1
        return [
            encode(Return(serial, part, part == end, time, service, data))
            for part, (service, data) in enumerate(remnants)
            if part >= first
        ]
