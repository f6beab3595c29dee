"""One network of a ring: its sockets, and where each node is on it."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from aisexec.groups.sockets import Address
from aisexec.groups.udp import UdpOptions, UdpTransport
from corosync_amf.ais import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """Where one node stands on one network.

    address, port       an address of this machine that the node takes unicast on
    peers               address and port of the other nodes (this one may be among them); without any, they are found
                        by multicast
    multicast           group address and port of IP multicast; None sends to each of `peers` (unicast fan-out)
    ttl                 0..255, of multicast
    """

    address: str
    port: int
    peers: Mapping[NodeId, tuple[str, int]] = field(default_factory=dict)
    multicast: tuple[str, int] | None = None
    ttl: int = 1


@dataclass(frozen=True, slots=True)
class OnNetwork:
    """A source on another network than the first; a source on the first is its plain address."""

    number: int
    address: Address


class Network:
    """`number` counts from 0, as ring numbers do.

    Raises: TransportError when the network cannot be used as configured.
    """

    def __init__(
        self, number: int, local: NodeId, options: NetworkOptions, netmtu: int | None, dscp: int, block_unlisted: bool
    ) -> None:
        others = {node: where for node, where in sorted(options.peers.items()) if node != local}
        listed = frozenset({options.address} | {address for address, _ in others.values()})
        self.number = number
        self.transport = UdpTransport(
            UdpOptions(
                address=options.address,
                port=options.port,
                multicast=options.multicast,
                ttl=options.ttl,
                netmtu=netmtu,
                dscp=dscp,
                peers=tuple(others.values()),
                block_unlisted=listed if others and block_unlisted else None,
            )
        )
        self._local = local
        self._peers = {node: self.transport.resolve(*where) for node, where in others.items()}
        self._found: dict[NodeId, Address] = {}
        self._known: tuple[NodeId, ...] = ()
        self._members: tuple[NodeId, ...] = ()
        self._fan_out: list[Address] = []

    def receive(self) -> list[tuple[bytes, Hashable]]:
        """Everything that has come: each packet with its source, as `ring.sources` keeps it."""
        packets = self.transport.receive()
        if self.number == 0:
            return packets
        return [(packet, OnNetwork(self.number, source)) for packet, source in packets]  # type: ignore[arg-type]

    def send(self, packet: bytes, to: NodeId, sources: Mapping[NodeId, Hashable]) -> None:
        """Send to one node, when it is known where it is."""
        if (address := self._address_of(to, sources)) is not None:
            self.transport.send(packet, (address,))

    def broadcast(
        self, packets: list[bytes], members: tuple[NodeId, ...], beyond: bool, sources: Mapping[NodeId, Hashable]
    ) -> None:
        """Send each packet to the other members, or, `beyond`, to every node configured or ever heard."""
        if self.transport.group is not None:
            for packet in packets:
                self.transport.send_to_group(packet)
            return
        addresses = self._everybody(sources) if beyond else self._others(members, sources)
        for packet in packets:
            self.transport.send(packet, addresses)

    def _everybody(self, sources: Mapping[NodeId, Hashable]) -> list[Address]:
        nodes = sorted((self._peers.keys() | sources.keys()) - {self._local})
        found = [address for node in nodes if (address := self._address_of(node, sources)) is not None]
        return list(dict.fromkeys(found))  # a node whose id was guessed is there twice

    def _others(self, members: tuple[NodeId, ...], sources: Mapping[NodeId, Hashable]) -> list[Address]:
        if members is self._members:
            return self._fan_out
        found = [self._address_of(node, sources) for node in members if node != self._local]
        addresses = [address for address in found if address is not None]
        if len(addresses) == len(found):
            self._members, self._fan_out = members, addresses
        return addresses

    def _address_of(self, node: NodeId, sources: Mapping[NodeId, Hashable]) -> Address | None:
        if (configured := self._peers.get(node)) is not None:
            return configured
        self._note(node, sources.get(node))
        return self._found.get(node)

    def learn(self, members: tuple[NodeId, ...], sources: Mapping[NodeId, Hashable]) -> None:
        """Remember where the members are on this network. `sources` has only the last place of each, and that is on
        any network: call after packets have come, until all are known."""
        if self._known is members:
            return
        for node, source in sources.items():
            self._note(node, source)
        if all(node in self._found or node in self._peers or node == self._local for node in members):
            self._known = members

    def _note(self, node: NodeId, source: Hashable) -> None:
        if isinstance(source, OnNetwork):
            if source.number == self.number:
                self._found[node] = source.address
        elif source is not None and self.number == 0:
            self._found[node] = source  # type: ignore[assignment]
