"""A group in one process, without a network: perfect order, and membership changes on demand.

For tests of the layers above. All ends of one `LocalNetwork` run on one event loop; what an end multicasts is ordered
in the next round of the loop, as if a token had come by. The methods of the network script what may go wrong.
"""

from collections.abc import Callable, Iterable

import anyio

from aisexec.drive import Driver, open_driver
from aisexec.groups import Configuration, ConfigurationKind, Delivered, Happening, RingId, Safe
from corosync_amf.ais import NodeId

Deliver = Callable[[list[Happening]], None]


class LocalGroup:
    """One node's end of a local group. It joins when `run` starts and leaves when `run` ends."""

    def __init__(self, network: "LocalNetwork", local: NodeId) -> None:
        self.local = local
        self.members: tuple[NodeId, ...] = ()
        self._network = network
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._inbox: list[Happening] = []
        self._delivered = 0  # since the last regular configuration
        self._turn_asked = False
        self._driver: Driver | None = None
        self._deliver: Deliver | None = None

    def multicast(self, payload: bytes) -> None:
        """Queue a payload for the total order. Never waits."""
        self._queue.append(payload)
        self._queued_bytes += len(payload)
        self._ask_for_turn()

    @property
    def backlog_bytes(self) -> int:
        """Bytes queued and not yet ordered."""
        return self._queued_bytes

    async def run(self, deliver: Deliver) -> None:
        """Take part in the group until cancelled. `deliver` gets what happened, in order, and never waits."""
        async with open_driver() as driver:
            self._driver, self._deliver = driver, deliver
            self._network.join(self)
            try:
                await anyio.sleep_forever()
            finally:
                self._driver, self._turn_asked = None, False
                self._network.leave(self.local, self)

    def leave(self) -> None:
        """Say goodbye: the others see this end go, this end gets nothing more."""
        self._network.leave(self.local, self)

    def take_queue(self) -> list[bytes]:
        """What waits to be ordered; the network calls this when it is this end's turn."""
        taken, self._queue, self._queued_bytes = self._queue, [], 0
        return taken

    def configure(self, configurations: Iterable[Configuration]) -> None:
        """Put membership changes behind what is already in the order."""
        self._settle()
        for configuration in configurations:
            self._inbox.append(configuration)
            self.members = configuration.members
            if configuration.kind is ConfigurationKind.REGULAR:
                self._delivered = 0
        self._ask_for_delivery()
        self._ask_for_turn()

    def receive(self, messages: list[tuple[NodeId, bytes]]) -> None:
        """Put one turn of the order behind what is already there."""
        self._inbox.append(Delivered(messages))
        self._delivered += len(messages)
        self._ask_for_delivery()

    def silence(self) -> None:
        """Hand up nothing more."""
        self._inbox.clear()
        self.members = ()

    def _ask_for_turn(self) -> None:
        if self._driver is not None and self._queue and self.members and not self._turn_asked:
            self._turn_asked = True
            self._driver.soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn_asked = False
        self._network.rotate(self)

    def _ask_for_delivery(self) -> None:
        if self._driver is not None:
            self._driver.soon(self._hand_up)

    def _settle(self) -> None:
        """What is ordered here is held by every member at once."""
        if self._inbox and isinstance(self._inbox[-1], Delivered):
            self._inbox.append(Safe(self._delivered))

    def _hand_up(self) -> None:
        self._settle()
        taken, self._inbox = self._inbox, []
        if taken and self._deliver is not None:
            self._deliver(taken)


class LocalNetwork:
    """What joins the ends of a local group, and tears them apart when a test says so."""

    def __init__(self) -> None:
        self._ends: dict[NodeId, LocalGroup] = {}
        self._side: dict[NodeId, int] = {}
        self._ring_seq = 0

    def group(self, local: NodeId) -> LocalGroup:
        """A new end for the node `local`; it joins when it runs."""
        return LocalGroup(self, local)

    def join(self, end: LocalGroup) -> None:
        """Take an end in. A former end of the same node is killed first."""
        if end.local in self._ends:
            self.kill(end.local)
        self._ends[end.local] = end
        self._reform(f"node {end.local} joined")

    def leave(self, node: NodeId, end: LocalGroup | None = None) -> None:
        """The node goes in order. Nothing happens when it is not in (or is in with another end than `end`)."""
        if end is None or self._ends.get(node) is end:
            self._remove(node, f"node {node} left")

    def kill(self, node: NodeId) -> None:
        """The node dies: it gets nothing more, and what it queued is lost."""
        self._remove(node, f"node {node} was lost")

    def partition(self, *sides: Iterable[NodeId]) -> None:
        """Tear the network: each side goes on alone; nodes that are not named stay together as one more side."""
        self._side = {node: number for number, side in enumerate(sides, start=1) for node in side}
        self._reform("the network was partitioned")

    def heal(self) -> None:
        """Join all sides again."""
        self._side = {}
        self._reform("the network was healed")

    def rotate(self, end: LocalGroup) -> None:
        """Order what `end` has queued."""
        if self._ends.get(end.local) is not end:
            return
        if messages := [(end.local, payload) for payload in end.take_queue()]:
            for member in end.members:
                self._ends[member].receive(messages)

    def _remove(self, node: NodeId, reason: str) -> None:
        if (end := self._ends.pop(node, None)) is not None:
            end.silence()
            self._reform(reason)

    def _reform(self, reason: str) -> None:
        """Give every side whose members changed a new ring, with the transitional configuration before it."""
        sides: dict[int, list[NodeId]] = {}
        for node in sorted(self._ends):
            sides.setdefault(self._side.get(node, 0), []).append(node)
        self._ring_seq += 1
        for nodes in sides.values():
            members = tuple(nodes)
            former = {node: self._ends[node].members for node in members}
            if all(former[node] == members for node in members):
                continue
            ring_id = RingId(self._ring_seq, members[0])
            regular = Configuration(ConfigurationKind.REGULAR, ring_id, members, reason)
            for node in members:
                stayed = tuple(other for other in members if former[other] == former[node] and former[node])
                transitional = Configuration(ConfigurationKind.TRANSITIONAL, ring_id, stayed, reason)
                self._ends[node].configure([transitional, regular] if stayed else [regular])
