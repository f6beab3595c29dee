"""The sockets of one node on one network: packets in, packets out, and clear errors when the network is not there.

Unicast stands on one socket. With IP multicast a second one receives what is sent to the group; everything is sent
from the first, so that the source of any packet is where its sender takes unicast. All sockets are raw and do not
block. What cannot be sent is counted and dropped: the ring copes with loss.
"""

import errno
import logging
import socket
import struct
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, fields

from aisexec.groups import segments
from aisexec.groups.interfaces import interface_of, mtu_of
from aisexec.groups.sockets import (
    NO_ROUTE,
    Address,
    TransportError,
    canonical,
    check_route,
    family_of,
    find_interface,
    join,
    no_route,
    open_socket,
    resolve,
    send_multicast_from,
    set_traffic_class,
)

logger = logging.getLogger("TOTEM")

UDP_SEGMENT, UDP_GRO = 103, 104
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0
IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT = 23, 0
DATAGRAM_BYTES_MAX = 65_535
DRAIN_BYTES_MAX = 2 * 1024 * 1024
DRAIN_MAX = 256
PACKET_BYTES_MAX = 62_000
"""A payload of 60,000 bytes fits whole, and 65,507 leaves room for the headers of segments."""
ANCILLARY_BYTES = 64
UDP_HEADER_BYTES, IPV4_HEADER_BYTES, IPV6_HEADER_BYTES = 8, 20, 40


@dataclass(frozen=True, slots=True)
class UdpOptions:
    """Where one node's sockets stand.

    address, port       what this node takes unicast on; an IPv6 link-local address needs its interface: fe80::1%eth0
    multicast           group address and port (IPv4, IPv6, or an IPv4 broadcast address); None: unicast only
    ttl                 0..255, of multicast
    netmtu              largest datagram, 576..65507; None: 62,000 bytes, cut into segments over a smaller MTU
    dscp                0..63
    peers               addresses of other nodes that must have a route when the sockets open
    block_unlisted      take packets from these addresses only; None takes them from anywhere
    """

    address: str
    port: int
    multicast: tuple[str, int] | None = None
    ttl: int = 1
    netmtu: int | None = None
    dscp: int = 0
    peers: tuple[tuple[str, int], ...] = ()
    block_unlisted: frozenset[str] | None = None


@dataclass(slots=True)
class UdpCounters:
    """What the sockets did since they were opened. `*_calls` are system calls; `packets` counts what was given to be
    sent, each of them sealed once, `sent` one for each address it went to."""

    receive_calls: int = 0
    send_calls: int = 0
    packets: int = 0
    received: int = 0
    received_bytes: int = 0
    sent: int = 0
    sent_bytes: int = 0
    segmented: int = 0
    dropped_own: int = 0
    dropped_unlisted: int = 0
    send_errors: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, int]:
        """Name and value of each counter, for display; errors by their errno name, such as send_errors_EAGAIN."""
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "send_errors"}
        return plain | {f"send_errors_{name}": count for name, count in sorted(self.send_errors.items())}


class UdpTransport:
    """Opens the sockets at once.

    unicast, group          the sockets; group is None without multicast
    local                   the address unicast is taken on, with the port that the kernel chose for port 0
    interface               where it stands
    receive_buffer_bytes    what the kernel granted, as it charges it
    packet_bytes_max        the largest packet that may be given to `send`

    Raises: TransportError, see there.
    """

    def __init__(self, options: UdpOptions) -> None:
        self.options = options
        self.counters = UdpCounters()
        self.interface = find_interface(options.address)
        self.group: socket.socket | None = None
        self._group_address: Address | None = None
        self.unicast = open_socket(self.resolve(options.address, options.port), self.interface)
        try:
            self.local: Address = self.unicast.getsockname()
            set_traffic_class(self.unicast, options.dscp)
            if options.multicast is not None:
                self._open_group(*options.multicast)
            for address, port in options.peers:
                check_route(self.resolve(address, port), options.address, self.interface)
            self.admit_only(options.block_unlisted)
        except BaseException:
            self.close()
            raise
        self._segment_bytes = self._prepare_segmentation()
        self._cut_by_senders = mtu_of(self.interface) < PACKET_BYTES_MAX
        self.packet_bytes_max = self._packet_bytes_max()
        self.receive_buffer_bytes = self.unicast.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._reassembly = segments.Reassembly()
        self._number = 0
        self._view = memoryview(bytearray(DATAGRAM_BYTES_MAX))

    @property
    def sockets(self) -> list[socket.socket]:
        """What to wait on."""
        return [self.unicast] if self.group is None else [self.unicast, self.group]

    @property
    def fragments(self) -> bool:
        """Whether packets of the largest size are cut by kernel or network, which charges a receiver more memory."""
        return self.packet_bytes_max > mtu_of(self.interface)

    def resolve(self, address: str, port: int) -> Address:
        """The socket address of a node, found without asking anybody.

        Raises: TransportError when it is not an address of this transport's family.
        """
        return resolve(family_of(self.options.address), address, port)

    def receive(self) -> list[tuple[bytes, Hashable]]:
        """Everything that has come, up to some megabytes: each packet with the address of its sender.

        Unicast first: what was sent to the group before a token that is found here is then found too.
        """
        return self._drain(self.unicast) + self._drain(self.group) if self.group else self._drain(self.unicast)

    def _drain(self, sock: socket.socket) -> list[tuple[bytes, Hashable]]:
        counters, view, own = self.counters, self._view, self.local
        packets: list[tuple[bytes, Hashable]] = []
        calls = taken = 0
        while calls < DRAIN_MAX and taken < DRAIN_BYTES_MAX:
            calls += 1
            try:
                if self._cut_by_senders:
                    length, ancillary, _, source = sock.recvmsg_into((view,), ANCILLARY_BYTES)
                else:
                    length, source = sock.recvfrom_into(view)
                    ancillary = []
            except BlockingIOError:
                break
            except OSError:  # an error of an earlier send, reported here: taken off the socket by this call
                continue
            taken += length
            if source == own:
                counters.dropped_own += 1
            elif self._unlisted_blocked and source[0] not in self._listed:
                counters.dropped_unlisted += 1
            elif self._cut_by_senders:
                for packet in self._reassembly.add(source, bytes(view[:length]), _stride(ancillary)):
                    packets.append((packet, source))
            else:
                packets.append((bytes(view[:length]), source))
        counters.receive_calls += calls
        counters.received += len(packets)
        counters.received_bytes += taken
        return packets

    def admit_only(self, addresses: frozenset[str] | None) -> None:
        """From now on drop what comes from other addresses than these; None takes packets from anywhere."""
        self._unlisted_blocked = addresses is not None
        self._listed = frozenset(canonical(address) for address in addresses or ())

    def send(self, packet: bytes, addresses: Iterable[Address]) -> None:
        """Send one packet to each address. What the network does not take is counted and dropped."""
        if 0 < self._segment_bytes < len(packet):
            self._number = (self._number + 1) & 0xFFFF_FFFF
            packet = segments.cut(packet, self._segment_bytes, self._number)
            self.counters.segmented += 1
        counters, sendto, length = self.counters, self.unicast.sendto, len(packet)
        counters.packets += 1
        for address in addresses:
            counters.send_calls += 1
            try:
                sendto(packet, address)
            except OSError as error:
                self._send_failed(error, address)
            else:
                counters.sent += 1
                counters.sent_bytes += length

    def _send_failed(self, error: OSError, address: Address) -> None:
        """Count it, and tell of the first, the tenth, the hundredth ... of its kind."""
        name = errno.errorcode.get(error.errno or 0, "other")
        self.counters.send_errors[name] += 1
        count = self.counters.send_errors[name]
        if str(count).strip("0") == "1":
            why = no_route(address[0], self.interface) if error.errno in NO_ROUTE else error.strerror
            times = "" if count == 1 else f" ({count} times by now)"
            logger.warning("Sending to %s port %d fails%s: %s", address[0], address[1], times, why)
        if error.errno in (errno.EIO, errno.EINVAL, errno.EMSGSIZE) and self._segment_bytes:
            self._change_segmentation()

    def send_to_group(self, packet: bytes) -> None:
        """Send one packet to the multicast group."""
        if self._group_address is not None:
            self.send(packet, (self._group_address,))

    def rejoin(self) -> None:
        """Join the multicast group again when the interface was replaced, for the membership went with it. What goes
        down and up again keeps its memberships. Call now and then."""
        if self.group is None or self._group_address is None or self.interface.exists():
            return
        found = interface_of(self.options.address)
        if found is None or found == self.interface:
            return
        try:
            send_multicast_from(self.unicast, self.options.address, found, self.options.ttl)
            join(self.group, self._group_address[0], found)
        except OSError as error:
            logger.warning("Multicast on interface %s does not work yet: %s", found.name, error.strerror)
            return
        self.interface = found
        if len(self._group_address) == 4:
            self._group_address = (*self._group_address[:3], found.index)
        logger.warning("Interface %s was replaced: joined multicast group %s again", found.name, self._group_address[0])

    def close(self) -> None:
        """Close the sockets. Nothing may wait on them any more."""
        self.unicast.close()
        if self.group is not None:
            self.group.close()

    def _prepare_segmentation(self) -> int:
        """Bytes of a segment when packets above the MTU are to be cut, or 0: never cut here."""
        headers = UDP_HEADER_BYTES + (IPV6_HEADER_BYTES if ":" in self.local[0] else IPV4_HEADER_BYTES)
        size = mtu_of(self.interface) - headers
        if self.options.netmtu is not None or size >= PACKET_BYTES_MAX:
            return 0
        try:
            self.unicast.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
            for sock in self.sockets:
                sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        except OSError:  # a kernel before 5.0: it fragments instead
            return 0
        return size

    def _change_segmentation(self) -> None:
        """The kernel refused a segment: the MTU has changed, or this device cannot segment after all."""
        former, self._segment_bytes = self._segment_bytes, self._prepare_segmentation()
        if self._segment_bytes in (0, former):
            self._segment_bytes = 0
            self.unicast.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)

    def _packet_bytes_max(self) -> int:
        if self.options.netmtu is not None:
            return min(self.options.netmtu, PACKET_BYTES_MAX)
        if self._segment_bytes:
            return min(PACKET_BYTES_MAX, segments.packet_bytes_max(self._segment_bytes))
        return PACKET_BYTES_MAX

    def _open_group(self, group: str, port: int) -> None:
        address = resolve(family_of(group), group, port)
        if len(address) == 4:
            address = (address[0], port, 0, self.interface.index)
        self.group = open_socket(address, self.interface, reuse=True)
        self._group_address = address
        try:
            send_multicast_from(self.unicast, self.options.address, self.interface, self.options.ttl)
            join(self.group, group, self.interface)
        except OSError as error:
            if error.errno in NO_ROUTE:
                raise TransportError(no_route(group, self.interface)) from error
            where = f"multicast address {group} on interface {self.interface.name}"
            raise TransportError(f"cannot use {where}: {error.strerror}") from error
        check_route(address, self.options.address, self.interface)


def _stride(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The size of the datagrams that the kernel has joined into one, or 0."""
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_UDP and kind == UDP_GRO:
            return int(struct.unpack_from("=H", value)[0])
    return 0
