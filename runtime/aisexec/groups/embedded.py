"""The group that is built in: a Totem ring over UDP.

One callback does everything: drain the socket, give the datagrams to the ring in one call, carry out its effects in
their order (packets first, what happened last), and let the ring prepare its next packets. No queue and no task stands
between the socket and the ring.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from socket import socket

import anyio

from aisexec.drive import Driver, Timer, open_driver
from aisexec.groups import Happening
from aisexec.groups.sockets import Address
from aisexec.groups.udp import UdpOptions, UdpTransport
from aisexec.totem.ring import (
    PAYLOAD_BYTES_MAX,
    Broadcast,
    Effect,
    Leave,
    Log,
    MulticastMany,
    Received,
    Ring,
    RingOptions,
    Send,
)
from aisexec.totem.seal import AesSeal, NullSeal
from aisexec.totem.timeouts import Timeouts
from corosync_amf.ais import NodeId

logger = logging.getLogger("TOTEM")
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
FRAGMENTED_WINDOW = 0.6
"""Share of the receive buffer that counts when packets arrive in pieces: each piece is charged its own overhead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedOptions:
    """How one node takes part in the group: plain values, lengths of time in seconds.

    node_id             1..2^32-1, unique in the cluster
    incarnation         greater at every start of this node: nanoseconds of the wall clock will do
    address, port       an address of this machine that the node takes unicast on
    peers               address and port of the other nodes; without any, they are found by multicast
    multicast           group address and port of IP multicast; None sends to each of `peers` (unicast fan-out)
    ttl                 0..255, of multicast
    netmtu              largest datagram, 576..65507; None: large packets, segmented where the network needs it
    dscp                0..63
    key                 contents of the authkey; None switches authentication and encryption off
    cluster_name        nodes with another name cannot join
    timeouts            see `aisexec.totem.timeouts`
    downcheck           between looks whether the multicast membership went with its interface
    block_unlisted      with peers: drop what comes from other addresses
    ring                what else the ring may be told: fields of `RingOptions` by name (window_packets, ...)
    """

    node_id: NodeId
    incarnation: int
    address: str
    port: int
    peers: Mapping[NodeId, tuple[str, int]] = field(default_factory=dict)
    multicast: tuple[str, int] | None = None
    ttl: int = 1
    netmtu: int | None = None
    dscp: int = 0
    key: bytes | None = None
    cluster_name: str = ""
    timeouts: Timeouts = field(default_factory=Timeouts)
    downcheck: float = 1.0
    block_unlisted: bool = True
    ring: Mapping[str, int | float] = field(default_factory=dict)


class EmbeddedGroup:
    """One node's end of a ring. The sockets are open from the start; the ring turns while `run` runs.

    Raises: TransportError when the network cannot be used as configured, ValueError for options out of range.
    """

    def __init__(self, options: EmbeddedOptions) -> None:
        self.local = options.node_id
        self._options = options
        self.transport = UdpTransport(_udp_options(options))
        self._seal = (
            NullSeal(options.cluster_name, options.node_id, options.incarnation)
            if options.key is None
            else AesSeal(options.key, options.cluster_name, options.node_id, options.incarnation)
        )
        self._ring_options = _ring_options(options, self.transport)
        self._peers = {node: self.transport.resolve(*where) for node, where in sorted(options.peers.items())}
        self._peers.pop(self.local, None)
        self._fan_out: list[Address] = []
        self._fan_out_beyond: list[Address] = []
        self._members: tuple[NodeId, ...] = ()
        self._ring: Ring | None = None
        self._driver: Driver | None = None
        self._timer: Timer | None = None
        self._deliver: Callable[[list[Happening]], None] = _discard
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._turn_asked = False
        self._busy = False  # in the ring or in `deliver`: what is queued now goes out at the end
        self._left = anyio.Event()
        self._ring_calls = 0

    # ---- what the node needs to know

    @property
    def heard(self) -> Mapping[NodeId, float]:
        """When each other node was last heard in an authenticated packet, on the clock of the event loop."""
        return {} if self._ring is None else self._ring.heard

    @property
    def known_heard(self) -> Mapping[NodeId, float]:
        """A time at or after which each other node is known to have heard this one (the basis of the lease)."""
        return {} if self._ring is None else self._ring.known_heard

    @property
    def departed(self) -> Mapping[NodeId, int]:
        """Nodes known to be gone for good, with the incarnation that is gone."""
        return {} if self._ring is None else self._ring.departed

    @property
    def counters(self) -> dict[str, int]:
        """What ring and sockets did and dropped, by name; `calls` is how often the ring was called."""
        ring = {} if self._ring is None else self._ring.counters.as_dict()
        ring["calls"] = self._ring_calls
        return ring | {f"udp_{name}": count for name, count in self.transport.counters.as_dict().items()}

    @property
    def backlog_bytes(self) -> int:
        """Bytes queued and not yet sent."""
        return self._queued_bytes + (0 if self._ring is None else self._ring.backlog_bytes)

    # ---- what it does

    def multicast(self, payload: bytes) -> None:
        """Queue a payload for the total order. Never waits.

        Raises: ValueError above PAYLOAD_BYTES_MAX.
        """
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"a payload of {len(payload)} bytes is above {PAYLOAD_BYTES_MAX}")
        self._queue.append(payload)
        self._queued_bytes += len(payload)
        if not self._turn_asked and not self._busy and self._driver is not None:
            self._turn_asked = True
            self._driver.soon(self._take_turn)

    async def run(self, deliver: Callable[[list[Happening]], None]) -> None:
        """Take part in the group until cancelled. `deliver` gets what happened, in order, and never waits.

        Cancelling is like a crash: the others find out by themselves. `leave` first says goodbye.
        """
        try:
            async with open_driver() as driver:
                self._start(driver, deliver)
                await anyio.sleep_forever()
        finally:
            self._driver = None
            self.transport.close()

    async def leave(self) -> None:
        """Say goodbye and wait (about a token timeout at most) until the others know. Needs `run` to be running."""
        if self._driver is not None and self._ring is not None:
            self._turn(Leave())
            await self._left.wait()

    def close(self) -> None:
        """Close the sockets of a group that never ran."""
        self.transport.close()

    # ---- callbacks

    def _start(self, driver: Driver, deliver: Callable[[list[Happening]], None]) -> None:
        now = driver.now()
        self._driver, self._deliver = driver, deliver
        self._ring = Ring(self._ring_options, self._seal, now)
        self._timer = driver.timer(self._wake)
        self._watch_interface(driver.timer, driver.now)
        for sock in self.transport.sockets:
            driver.on_readable(sock.fileno(), partial(self._receive, sock))
        self._carry_out(self._ring.start(now))
        self._take_turn()

    def _watch_interface(self, timer_of: Callable[[Callable[[], None]], Timer], now: Callable[[], float]) -> None:
        if self.transport.group is None:
            return

        def look() -> None:
            self.transport.rejoin()
            timer.set(now() + self._options.downcheck)

        timer = timer_of(look)
        timer.set(now() + self._options.downcheck)

    def _receive(self, sock: socket) -> None:
        if datagrams := self.transport.receive(sock):
            self._turn(Received(datagrams))

    def _take_turn(self) -> None:
        self._turn_asked = False
        self._turn()

    def _turn(self, *events: Received | Leave) -> None:
        """Give the ring what is queued, then the events, then what was queued because of them."""
        assert self._ring is not None
        assert self._driver is not None
        self._busy = True
        ring, now = self._ring, self._driver.now()
        if self._queue:
            self._carry_out(ring.handle(MulticastMany(self._take_queue()), now))
            self._ring_calls += 1
        for event in events:
            self._carry_out(ring.handle(event, now))
            self._ring_calls += 1
        if self._queue:
            self._carry_out(ring.handle(MulticastMany(self._take_queue()), now))
            self._ring_calls += 1
        self._settle(ring)

    def _wake(self) -> None:
        assert self._ring is not None
        assert self._driver is not None
        self._busy = True
        self._carry_out(self._ring.wake(self._driver.now()))
        self._ring_calls += 1
        self._settle(self._ring)

    def _settle(self, ring: Ring) -> None:
        self._busy = False
        if self._queue and not self._turn_asked and self._driver is not None:
            self._turn_asked = True
            self._driver.soon(self._take_turn)
        if self._timer is not None:
            self._timer.set(ring.next_deadline())
        if ring.left:
            self._left.set()

    def _take_queue(self) -> list[bytes]:
        taken, self._queue, self._queued_bytes = self._queue, [], 0
        return taken

    # ---- effects

    def _carry_out(self, effects: list[Effect]) -> None:
        happenings: list[Happening] = []
        for effect in effects:
            match effect:
                case Broadcast(packets, beyond):
                    self._broadcast(packets, beyond)
                case Send(to, packet):
                    if (address := self._address_of(to)) is not None:
                        self.transport.send(packet, (address,))
                case Log(level, text):
                    logger.log(LEVELS[level], "%s", text)
                case _:
                    happenings.append(effect)
        if happenings:
            self._deliver(happenings)

    def _broadcast(self, packets: list[bytes], beyond: bool) -> None:
        send = self.transport.send
        if self.transport.group is not None:
            for packet in packets:
                self.transport.send_to_group(packet)
            return
        addresses = self._addresses(beyond)
        for packet in packets:
            send(packet, addresses)

    def _addresses(self, beyond: bool) -> list[Address]:
        """Of the members, or of every node known or configured."""
        assert self._ring is not None
        if not beyond and self._ring.members == self._members and self._fan_out:
            return self._fan_out
        nodes = set(self._ring.members)
        if beyond:
            nodes |= self._peers.keys() | self._ring.sources.keys()
        found = [self._address_of(node) for node in sorted(nodes) if node != self.local]
        addresses = [address for address in found if address is not None]
        if not beyond:
            self._members, self._fan_out = self._ring.members, addresses
        return addresses

    def _address_of(self, node: NodeId) -> Address | None:
        assert self._ring is not None
        return self._peers.get(node) or self._ring.sources.get(node)  # type: ignore[return-value]


def _discard(happenings: list[Happening]) -> None:
    """Before `run` nobody listens."""


def _udp_options(options: EmbeddedOptions) -> UdpOptions:
    others = [where for node, where in sorted(options.peers.items()) if node != options.node_id]
    listed = frozenset({options.address} | {address for address, _ in options.peers.values()})
    return UdpOptions(
        address=options.address,
        port=options.port,
        multicast=options.multicast,
        ttl=options.ttl,
        netmtu=options.netmtu,
        dscp=options.dscp,
        peers=tuple(others),
        block_unlisted=listed if options.peers and options.block_unlisted else None,
    )


def _ring_options(options: EmbeddedOptions, transport: UdpTransport) -> RingOptions:
    window = transport.receive_buffer_bytes
    return RingOptions(
        node_id=options.node_id,
        incarnation=options.incarnation,
        timeouts=options.timeouts,
        cluster_name=options.cluster_name,
        window_bytes=int(window * FRAGMENTED_WINDOW) if transport.fragments else window,
        packet_bytes_max=transport.packet_bytes_max,
        peers=tuple(node for node in sorted(options.peers) if node != options.node_id),
        **options.ring,  # type: ignore[arg-type]
    )
