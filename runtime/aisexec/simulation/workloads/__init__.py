"""What clients of each service do in a simulated cluster, and what must hold of what they were told."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from aisexec.groups import RingId
from aisexec.node import NodeEvent
from corosync_amf.ais import NodeId
from corosync_amf.engine import Engine, Membership, Message, Service


class Workload(Protocol):
    """One client of one service on each node. Made with (nodes, rng); all its chance comes from that rng.

    Each method returns what the client hands to its executive. A client is connected between `connect` and `lost`.
    """

    service: Service

    def connect(self, node: NodeId, client: int, now: float) -> list[NodeEvent]:
        """A new connection: say hello, open what is needed."""

    def work(self, node: NodeId, now: float) -> list[NodeEvent]:
        """Do something, while faults happen."""

    def hear(self, node: NodeId, frames: Sequence[bytes], now: float) -> list[NodeEvent]:
        """The executive has answered, or tells something."""

    def lost(self, node: NodeId, now: float) -> None:
        """The connection has ended: what was not answered stays unknown."""

    def finish(self, node: NodeId, now: float) -> list[NodeEvent]:
        """Peace: bring to an end what was begun. Called now and again until `is_settled`."""

    def is_settled(self) -> bool:
        """Whether nothing is under way any more."""

    def check(self, engines: Mapping[NodeId, Engine]) -> list[str]:
        """What is wrong, in words, of all that was heard and of the replicas; asked when all is settled."""


@runtime_checkable
class Leased(Protocol):
    """A workload that judges what it is told by whether the node may still act."""

    may_act: Callable[[NodeId], bool]
    """Whether the node runs and its lease holds; the world sets it."""


@runtime_checkable
class Watching(Protocol):
    """A workload that judges what it is told by which nodes were together."""

    def installed(self, node: NodeId, ring_id: RingId, change: Membership) -> None:
        """A membership has taken effect on a node: what follows belongs to it."""


@runtime_checkable
class Driving(Protocol):
    """A workload of a service that has something carried out on the nodes."""

    def command(self, node: NodeId, command: Message, now: float) -> list[NodeEvent]:
        """The drivers of a node get a command of the service; returned is what they report."""


@runtime_checkable
class Keeping(Protocol):
    """A workload of a service that keeps state on the disks of some nodes."""

    keepers: frozenset[NodeId]
    """The nodes that have a persistence directory."""
    engine_on: Callable[[NodeId], Engine]
    """The service's engine on a node; the world sets it."""
