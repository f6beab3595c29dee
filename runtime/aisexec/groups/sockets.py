"""Opening UDP sockets on one interface, with errors that say what to do about them."""

import errno
import ipaddress
import socket
import struct

from aisexec.groups.interfaces import Interface, interface_of
from aisexec.groups.port_holder import holder_of_udp_port
from corosync_amf.config.machine import interface_addresses

Address = tuple[str, int] | tuple[str, int, int, int]

SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_DONT = 10, 23, 0
BUFFER_BYTES = 8 * 1024 * 1024
NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENODEV, errno.EADDRNOTAVAIL)


class TransportError(Exception):
    """The network cannot be used as configured. The text names the address, the interface and what would help."""


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET6 or AF_INET, by the look of a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def canonical(address: str) -> str:
    """A numeric address as the kernel writes it, without its interface.

    Raises: TransportError when it is none.
    """
    try:
        return str(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError as error:
        raise TransportError(f"{address} is not an IP address") from error


def resolve(family: socket.AddressFamily, address: str, port: int) -> Address:
    """The socket address of a numeric address; asks no name server.

    Raises: TransportError when it is not an address of this family.
    """
    try:
        found = socket.getaddrinfo(address, port, family, socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0][4]
    except OSError as error:
        wanted = "IPv6" if family == socket.AF_INET6 else "IPv4"
        raise TransportError(f"{address} is not an {wanted} address, as this node's own is") from error
    return (str(found[0]), int(found[1])) if len(found) == 2 else (str(found[0]), int(found[1]), 0, int(found[3]))


def find_interface(address: str) -> Interface:
    """Where an address of this machine stands.

    Raises: TransportError when it is not one, with the addresses that there are.
    """
    if (found := interface_of(canonical(address) + address[len(address.partition("%")[0]) :])) is not None:
        return found
    here = ", ".join(f"{entry.address}/{entry.prefix_length} ({entry.interface})" for entry in interface_addresses())
    raise TransportError(f"{address} is not an address of this machine; it has {here or 'none'}")


def open_socket(address: Address, interface: Interface, *, reuse: bool = False) -> socket.socket:
    """A socket that does not block, bound to `address`, with the largest buffers the kernel grants.

    Raises: TransportError when the address cannot be had.
    """
    family = family_of(address[0])
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DONT)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT)
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _enlarge(sock, SO_RCVBUFFORCE, socket.SO_RCVBUF)
        _enlarge(sock, SO_SNDBUFFORCE, socket.SO_SNDBUF)
        try:
            sock.bind(address)
        except OSError as error:
            raise TransportError(_explain_bind(error, address, interface)) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _enlarge(sock: socket.socket, force: int, plain: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, BUFFER_BYTES // 2)  # the kernel doubles it
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES // 2)  # as much as net.core.*mem_max allows


def _explain_bind(error: OSError, address: Address, interface: Interface) -> str:
    where = f"{address[0]} port {address[1]} on interface {interface.name}"
    if error.errno == errno.EADDRINUSE:
        holder = holder_of_udp_port(address[1])
        return f"cannot use {where}: the port is in use" + (f" by {holder}" if holder else "")
    if error.errno == errno.EACCES:
        return f"cannot use {where}: ports below 1024 need the right to bind them"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"cannot use {where}: the address is not ready (interface down, or the address a duplicate)"
    return f"cannot use {where}: {error.strerror}"


def set_traffic_class(sock: socket.socket, dscp: int) -> None:
    """Mark what is sent with a DSCP of 0..63."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)


def send_multicast_from(sock: socket.socket, address: str, interface: Interface, ttl: int) -> None:
    """What `sock` sends to a group (or broadcasts) leaves through `interface`; other nodes on this machine get it too.

    Raises: OSError when the interface is gone.
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface.index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, ttl)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
        return
    chosen = struct.pack("=4s4si", bytes(4), socket.inet_aton(address), interface.index)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, chosen)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)


def join(sock: socket.socket, group: str, interface: Interface) -> None:
    """Take what is sent to `group` on `interface`; nothing to do for a broadcast address.

    Raises: OSError, EADDRINUSE when the socket is in already.
    """
    if not ipaddress.ip_address(group.partition("%")[0]).is_multicast:
        return
    if sock.family == socket.AF_INET6:
        wanted = socket.inet_pton(socket.AF_INET6, group) + struct.pack("=i", interface.index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, wanted)
    else:
        wanted = struct.pack("=4s4si", socket.inet_aton(group), bytes(4), interface.index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, wanted)


def check_route(target: Address, source: str, interface: Interface) -> None:
    """Find out whether the kernel knows a way to `target`; sends nothing.

    Raises: TransportError with the command that would add the route.
    """
    with socket.socket(family_of(target[0]), socket.SOCK_DGRAM) as probe:
        try:
            if ipaddress.ip_address(target[0].partition("%")[0]).is_multicast:
                send_multicast_from(probe, source, interface, 1)
            else:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            probe.connect(target)
        except OSError as error:
            if error.errno in NO_ROUTE:
                raise TransportError(no_route(target[0], interface)) from error


def no_route(address: str, interface: Interface) -> str:
    """What to tell when there is no way to `address`."""
    name, plain = interface.name, ipaddress.ip_address(address.partition("%")[0])
    if not plain.is_multicast:
        version = "" if plain.version == 4 else "-6 "
        return f"no route to {address} from interface {name}; try: ip {version}route add {plain} dev {name}"
    command = (
        f"ip route add 224.0.0.0/4 dev {name}"
        if plain.version == 4
        else f"ip -6 route add multicast ff00::/8 dev {name} table local"
    )
    return f"no route to the multicast address {address} on interface {name}; try: {command}"
