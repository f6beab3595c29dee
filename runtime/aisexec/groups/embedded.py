"""The group that is built in: a Totem ring over UDP.

One callback does everything: drain the socket, give the datagrams to the ring in one call, carry out its effects in
their order (packets first, what happened last), and let the ring prepare its next packets. No queue and no task stands
between the socket and the ring.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import anyio

from aisexec.drive import Driver, Timer, open_driver
from aisexec.groups import Happening
from aisexec.groups.network import Network, NetworkOptions
from aisexec.groups.udp import UdpTransport
from aisexec.totem.ring import (
    PAYLOAD_BYTES_MAX,
    Broadcast,
    Effect,
    Expect,
    Leave,
    Log,
    MulticastMany,
    Received,
    Ring,
    RingOptions,
    Send,
)
from aisexec.totem.seal import USUAL, AesSeal, NullSeal, Suite
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
class EmbeddedOptions(NetworkOptions):
    """How one node takes part in the group: plain values, lengths of time in seconds. The fields of the first network
    stand here, see `NetworkOptions`.

    node_id             1..2^32-1, unique in the cluster
    incarnation         greater at every start of this node: nanoseconds of the wall clock will do
    second              a second network, used beside the first: everything is sent over both, what comes first counts
    fault_after         of two networks one is said to be faulty when nothing comes on it for so long (at most twice),
    fault_packets       while at least so many packets come on the other
    netmtu              largest datagram, 576..65507; None: large packets, segmented where the network needs it
    dscp                0..63
    key                 contents of the authkey; None switches authentication and encryption off
    suite               what packets are sealed with, see `aisexec.totem.seal`
    cluster_name        nodes with another name cannot join
    timeouts            see `aisexec.totem.timeouts`
    downcheck           between looks whether the multicast membership went with its interface
    block_unlisted      with peers: drop what comes from other addresses
    ring                what else the ring may be told: fields of `RingOptions` by name (window_packets, ...)
    """

    node_id: NodeId
    incarnation: int
    second: NetworkOptions | None = None
    fault_after: float = 2.0
    fault_packets: int = 10
    netmtu: int | None = None
    dscp: int = 0
    key: bytes | None = None
    suite: Suite = USUAL
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
        self.incarnation = options.incarnation
        self._options = options
        self._seal = (
            NullSeal(options.cluster_name, options.node_id, options.incarnation)
            if options.key is None
            else AesSeal(options.key, options.cluster_name, options.node_id, options.incarnation, options.suite)
        )
        self._networks = _open_networks(options)
        self._turns = list(self._networks)
        self._redundant = len(self._networks) > 1
        try:
            self._ring_options = _ring_options(options, [network.transport for network in self._networks])
        except BaseException:
            self.close()
            raise
        self._faulty: set[int] = set()
        self._came = [0] * len(self._networks)
        self._ring: Ring | None = None
        self._driver: Driver | None = None
        self._timer: Timer | None = None
        self._deliver: Callable[[list[Happening]], None] = _discard
        self._queue: list[bytes] = []
        self._queue_is_prompt = False
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
        ring["faulty_networks"] = len(self._faulty)
        for network in self._networks:
            for name, count in network.transport.counters.as_dict().items():
                ring[f"udp_{name}"] = ring.get(f"udp_{name}", 0) + count
        return ring

    @property
    def transport(self) -> UdpTransport:
        """The sockets on the first network."""
        return self._networks[0].transport

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

    def multicast_many(self, payloads: list[bytes], *, prompt: bool = False) -> None:
        """Queue payloads and give them to the ring at once: a held token goes out now, not in the loop's next round.

        `prompt`: somebody waits until they are safe; the other members are asked to acknowledge them at once.

        Raises: ValueError for one above PAYLOAD_BYTES_MAX.
        """
        for payload in payloads:
            if len(payload) > PAYLOAD_BYTES_MAX:
                raise ValueError(f"a payload of {len(payload)} bytes is above {PAYLOAD_BYTES_MAX}")
        self._queue += payloads
        self._queue_is_prompt |= prompt
        self._queued_bytes += sum(map(len, payloads))
        if not self._busy and self._driver is not None:
            self._turn()

    def expect(self) -> None:
        """A client of this node was told what it waited for: it may ask again at once."""
        if self._ring is not None and self._driver is not None:
            self._ring.handle(Expect(), self._driver.now())
            if self._timer is not None and not self._busy:
                self._timer.set(self._ring.next_deadline())

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
            self._left.set()
            self.close()

    async def leave(self) -> None:
        """Say goodbye and wait (about a token timeout at most) until the others know. Needs `run` to be running."""
        if self._driver is not None and self._ring is not None:
            self._turn(Leave())
            await self._left.wait()

    def close(self) -> None:
        """Close the sockets of a group that never ran."""
        for network in self._networks:
            network.transport.close()

    # ---- callbacks

    def _start(self, driver: Driver, deliver: Callable[[list[Happening]], None]) -> None:
        now = driver.now()
        self._driver, self._deliver = driver, deliver
        self._ring = Ring(self._ring_options, self._seal, now)
        self._timer = driver.timer(self._wake)
        if any(network.transport.group is not None for network in self._networks):
            _every(driver, self._options.downcheck, self._rejoin)
        if self._redundant:
            _every(driver, self._options.fault_after, self._look_for_faults)
        for network in self._networks:
            for sock in network.transport.sockets:
                driver.on_readable(sock.fileno(), partial(self._receive, network))
        self._carry_out(self._ring.start(now))
        self._take_turn()

    def _rejoin(self) -> None:
        for network in self._networks:
            network.transport.rejoin()

    def _look_for_faults(self) -> None:
        """Nothing is switched: all packets go over both networks anyway."""
        total = [network.transport.counters.received for network in self._networks]
        came = [now - before for now, before in zip(total, self._came, strict=True)]
        self._came = total
        for number, count in enumerate(came):
            if not count and max(came) >= self._options.fault_packets and number not in self._faulty:
                self._faulty.add(number)
                logger.error("Ring %d is faulty: nothing comes from its network any more", number)
            elif count and number in self._faulty:
                self._faulty.discard(number)
                logger.warning("Ring %d works again", number)

    def _receive(self, network: Network) -> None:
        if datagrams := network.receive():
            self._turn(Received(datagrams))
            if self._redundant and self._ring is not None:
                network.learn(self._ring.members, self._ring.sources)

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
            self._carry_out(ring.handle(self._take_queue(), now))
            self._ring_calls += 1
        for event in events:
            self._carry_out(ring.handle(event, now))
            self._ring_calls += 1
        if self._queue:
            self._carry_out(ring.handle(self._take_queue(), now))
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

    def _take_queue(self) -> MulticastMany:
        taken = MulticastMany(self._queue, self._queue_is_prompt)
        self._queue, self._queue_is_prompt, self._queued_bytes = [], False, 0
        return taken

    # ---- effects

    def _carry_out(self, effects: list[Effect]) -> None:
        assert self._ring is not None
        ring, networks = self._ring, self._turns
        sent = False
        happenings: list[Happening] = []
        for effect in effects:
            match effect:
                case Broadcast(packets, beyond):
                    sent = True
                    for network in networks:
                        network.broadcast(packets, ring.members, beyond, ring.sources)
                case Send(to, packet):
                    sent = True
                    for network in networks:
                        network.send(packet, to, ring.sources)
                case Log(level, text):
                    logger.log(LEVELS[level], "%s", text)
                case _:
                    happenings.append(effect)
        if sent and self._redundant:
            networks.reverse()  # what comes first tells where a node is: next time let it be the other network
        if happenings:
            self._deliver(happenings)


def _discard(happenings: list[Happening]) -> None:
    """Before `run` nobody listens."""


def _every(driver: Driver, period: float, callback: Callable[[], None]) -> None:
    def ring() -> None:
        callback()
        timer.set(driver.now() + period)

    timer = driver.timer(ring)
    timer.set(driver.now() + period)


def _open_networks(options: EmbeddedOptions) -> list[Network]:
    networks: list[Network] = []
    try:
        for number, each in enumerate((options, options.second)):
            if each is not None:
                networks.append(
                    Network(number, options.node_id, each, options.netmtu, options.dscp, options.block_unlisted)
                )
    except BaseException:
        for network in networks:
            network.transport.close()
        raise
    return networks


def _ring_options(options: EmbeddedOptions, transports: list[UdpTransport]) -> RingOptions:
    return RingOptions(
        node_id=options.node_id,
        incarnation=options.incarnation,
        timeouts=options.timeouts,
        cluster_name=options.cluster_name,
        window_bytes=min(_window_bytes(transport) for transport in transports),
        packet_bytes_max=min(transport.packet_bytes_max for transport in transports),
        peers=tuple(node for node in sorted(options.peers) if node != options.node_id),
        **options.ring,  # type: ignore[arg-type]
    )


def _window_bytes(transport: UdpTransport) -> int:
    granted = transport.receive_buffer_bytes
    return int(granted * FRAGMENTED_WINDOW) if transport.fragments else granted
