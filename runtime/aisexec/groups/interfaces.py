"""The addresses of this machine, and the interface that each of them stands on (Linux, over rtnetlink)."""

import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass

RTM_GETADDR = 22
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3
IFA_ADDRESS, IFA_LOCAL = 1, 2
SIOCGIFMTU = 0x8921
MTU_DEFAULT = 1500


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """One address of this machine; `prefix` is the length of its network in bits."""

    address: str
    prefix: int
    interface: str
    index: int


def interface_addresses() -> list[InterfaceAddress]:
    """Every IPv4 and IPv6 address of this machine, in the kernel's order.

    Raises: OSError when the kernel does not answer.
    """
    found: list[InterfaceAddress] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.bind((0, 0))
        netlink.settimeout(2.0)
        netlink.send(struct.pack("=IHHII", 20, RTM_GETADDR, NLM_F_REQUEST_DUMP, 1, 0) + bytes(4))
        while True:
            answer = netlink.recv(1 << 16)
            offset = 0
            while offset + 16 <= len(answer):
                length, kind = struct.unpack_from("=IH", answer, offset)
                if kind in (NLMSG_DONE, NLMSG_ERROR) or length < 16:
                    return found
                if kind == RTM_GETADDR - 2:
                    found += _address_of(answer[offset + 16 : offset + length])
                offset += (length + 3) & ~3


def _address_of(message: bytes) -> list[InterfaceAddress]:
    family, prefix, _flags, _scope, index = struct.unpack_from("=BBBBI", message)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return []
    attributes: dict[int, bytes] = {}
    offset = 8
    while offset + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, offset)
        if length < 4:
            break
        attributes[kind] = message[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    raw = attributes.get(IFA_LOCAL, attributes.get(IFA_ADDRESS))
    if raw is None:
        return []
    try:
        interface = socket.if_indextoname(index)
    except OSError:  # gone meanwhile
        return []
    return [InterfaceAddress(socket.inet_ntop(family, raw), prefix, interface, index)]


def interface_of(address: str) -> InterfaceAddress | None:
    """Where an address of this machine stands; None when it is not one (127.0.0.0/8 counts as a whole)."""
    wanted = ipaddress.ip_address(address.partition("%")[0])
    zone = address.partition("%")[2]
    known = interface_addresses()
    for entry in known:
        if ipaddress.ip_address(entry.address) == wanted and zone in ("", entry.interface, str(entry.index)):
            return entry
    if wanted.version == 4 and wanted.is_loopback:
        return next((entry for entry in known if entry.address == "127.0.0.1"), None)
    return None


def mtu_of(interface: str) -> int:
    """Largest IP packet of an interface, in bytes; 1500 when the kernel does not say."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        try:
            answer = fcntl.ioctl(asker.fileno(), SIOCGIFMTU, struct.pack("16sI12x", interface.encode()[:15], 0))
        except OSError:
            return MTU_DEFAULT
    return int(struct.unpack_from("=I", answer, 16)[0])
