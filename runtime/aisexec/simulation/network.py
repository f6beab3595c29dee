"""A network of machines in simulated time.

One heap of actions ordered by (time, counter) and one random generator for the network's faults: the same seed gives
the same run. A machine is anything with `start`, `handle`, `wake` and `next_deadline` that takes `Received` and gives
`Send` and `Broadcast` among its effects; all other effects go to the `observe` function of the network.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aisexec.totem.events import Broadcast, Received, Send, Source
from corosync_amf.ais import NodeId


class Machine(Protocol):
    def start(self, now: float) -> Sequence[Any]: ...
    def handle(self, event: Any, now: float) -> Sequence[Any]: ...
    def wake(self, now: float) -> Sequence[Any]: ...
    def next_deadline(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class PacketOptions:
    """What happens to a datagram. Shares are 0..1, delays seconds.

    loss, duplicate, corrupt    share of datagrams lost, delivered twice, with one byte changed
    delay_min, delay_mean       delay is delay_min plus an exponential time, in sum delay_mean in the mean
    reorder, reorder_delay      share that is held back by up to `reorder_delay`; the others keep their order on a link
    """

    loss: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    delay_min: float = 0.000_05
    delay_mean: float = 0.000_2
    reorder: float = 0.0
    reorder_delay: float = 0.005


class Host:
    """One machine on the network. It can be down (gone until it is replaced) or paused (its process is stopped)."""

    __slots__ = ("inbox", "machine", "node", "paused_until", "sees_inbox", "wakes_at")

    def __init__(self, node: NodeId, machine: Machine) -> None:
        self.node = node
        self.machine = machine
        self.inbox: list[tuple[bytes, Source]] = []
        self.sees_inbox = False
        self.wakes_at = math.inf
        self.paused_until = 0.0


class Network:
    """`now` is the simulated time; `observe(node, effect)` gets what machines hand up, in order."""

    def __init__(self, seed: int, options: PacketOptions, observe: Callable[[NodeId, Any], None]) -> None:
        self.now = 0.0
        self.options = options
        self.datagrams = 0
        self.hosts: dict[NodeId, Host] = {}
        self._observe = observe
        self._random = random.Random(f"network {seed}")
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._counter = 0
        self._blocked: set[tuple[NodeId, NodeId]] = set()
        self._clogged: dict[tuple[NodeId, NodeId], float] = {}
        self._last_arrival: dict[tuple[NodeId, NodeId], float] = {}

    # Machines

    def boot(self, node: NodeId, machine: Machine) -> None:
        """Put a machine on the network in place of a former one, and start it."""
        host = self.hosts[node] = Host(node, machine)
        self._perform(host, machine.start(self.now))

    def crash(self, node: NodeId) -> None:
        """The node is gone; what it sent is still on its way."""
        self.hosts.pop(node, None)

    def pause(self, node: NodeId, seconds: float) -> None:
        """Stop the process for a while; datagrams wait for it."""
        host = self.hosts.get(node)
        if host is not None:
            host.paused_until = max(host.paused_until, self.now + seconds)

    def handle(self, node: NodeId, event: Any) -> None:
        """Give a machine an event other than datagrams; nothing when the node is down or paused."""
        host = self.hosts.get(node)
        if host is not None and host.paused_until <= self.now:
            self._perform(host, host.machine.handle(event, self.now))

    # Faults

    def partition(self, *sides: Iterable[NodeId]) -> None:
        """Nodes of different sides do not reach one another any more; nodes of no side reach all."""
        groups = [set(side) for side in sides]
        self._blocked = {
            (one, other) for group in groups for rest in groups if rest is not group for one in group for other in rest
        }

    def block(self, source: NodeId, target: NodeId) -> None:
        """Cut one direction of one link."""
        self._blocked.add((source, target))

    def heal(self) -> None:
        """Every link works again."""
        self._blocked.clear()
        self._clogged.clear()

    def clog(self, source: NodeId, target: NodeId, seconds: float) -> None:
        """Keep what is sent over a link and deliver it all after `seconds`."""
        self._clogged[source, target] = self.now + seconds

    # Time

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at a simulated time."""
        self._counter += 1
        heapq.heappush(self._heap, (max(time, self.now), self._counter, action))

    def run_until(self, time: float) -> None:
        """Do all that is due up to `time`."""
        heap = self._heap
        while heap and heap[0][0] <= time:
            self.now, _, action = heapq.heappop(heap)
            action()
        self.now = max(self.now, time)

    # Inside

    def _perform(self, host: Host, effects: Sequence[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._transmit(host.node, effect.to, effect.packet)
            elif isinstance(effect, Broadcast):
                for node in list(self.hosts):
                    if node != host.node:
                        for packet in effect.packets:
                            self._transmit(host.node, node, packet)
            else:
                self._observe(host.node, effect)
        self._schedule_wake(host)

    def _schedule_wake(self, host: Host) -> None:
        deadline = host.machine.next_deadline()
        if deadline is None or deadline >= host.wakes_at:
            return
        host.wakes_at = deadline
        self.at(deadline, lambda: self._wake(host, deadline))

    def _wake(self, host: Host, deadline: float) -> None:
        if self.hosts.get(host.node) is not host or host.wakes_at != deadline:
            return
        if host.paused_until > self.now:
            host.wakes_at = resume = host.paused_until
            self.at(resume, lambda: self._wake(host, resume))
            return
        host.wakes_at = math.inf
        due = host.machine.next_deadline()
        if due is not None and due <= self.now:
            self._perform(host, host.machine.wake(self.now))
        else:
            self._schedule_wake(host)

    def _transmit(self, source: NodeId, target: NodeId, packet: bytes) -> None:
        self.datagrams += 1
        options, rng = self.options, self._random
        if target not in self.hosts or (source, target) in self._blocked:
            return
        if options.loss and rng.random() < options.loss:
            return
        if options.corrupt and packet and rng.random() < options.corrupt:
            place = rng.randrange(len(packet))
            packet = packet[:place] + bytes([packet[place] ^ 1 << rng.randrange(8)]) + packet[place + 1 :]
        copies = 2 if options.duplicate and rng.random() < options.duplicate else 1
        for _ in range(copies):
            self.at(self._arrival(source, target), lambda: self._arrive(source, target, packet))

    def _arrival(self, source: NodeId, target: NodeId) -> float:
        options, rng = self.options, self._random
        link = (source, target)
        delay = options.delay_min + rng.expovariate(1 / max(options.delay_mean - options.delay_min, 1e-9))
        arrival = max(self.now + delay, self._clogged.get(link, 0.0))
        if options.reorder and rng.random() < options.reorder:
            return arrival + rng.random() * options.reorder_delay
        self._last_arrival[link] = arrival = max(arrival, self._last_arrival.get(link, 0.0))
        return arrival

    def _arrive(self, source: NodeId, target: NodeId, packet: bytes) -> None:
        host = self.hosts.get(target)
        if host is None or (source, target) in self._blocked:
            return
        host.inbox.append((packet, source))
        if not host.sees_inbox:
            host.sees_inbox = True
            self.at(host.paused_until, lambda: self._drain(host))

    def _drain(self, host: Host) -> None:
        if self.hosts.get(host.node) is not host:
            return
        if host.paused_until > self.now:
            self.at(host.paused_until, lambda: self._drain(host))
            return
        host.sees_inbox = False
        datagrams, host.inbox = host.inbox, []
        self._perform(host, host.machine.handle(Received(datagrams), self.now))
