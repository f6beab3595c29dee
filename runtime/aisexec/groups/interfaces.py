"""The interface that an address of this machine stands on (Linux)."""

import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass

from corosync_amf.config.machine import interface_addresses

SIOCGIFMTU = 0x8921
MTU_DEFAULT = 1500


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; `index` changes when it is removed and made again."""

    name: str
    index: int

    def exists(self) -> bool:
        """Whether it is still there, and not another one of its name."""
        try:
            return socket.if_nametoindex(self.name) == self.index
        except OSError:
            return False


def interface_of(address: str) -> Interface | None:
    """Where an address of this machine stands; None when it is not one (127.0.0.0/8 counts as a whole).

    Raises: ValueError when it is not an IP address.
    """
    plain, _, zone = address.partition("%")
    wanted = ipaddress.ip_address(plain)
    names = [
        entry.interface
        for entry in interface_addresses()
        if zone in ("", entry.interface) and ipaddress.ip_address(entry.address) == wanted
    ]
    if not names and wanted.version == 4 and wanted.is_loopback:
        names = [entry.interface for entry in interface_addresses() if entry.address.startswith("127.")]
    try:
        return Interface(names[0], socket.if_nametoindex(names[0])) if names else None
    except OSError:  # gone meanwhile
        return None


def mtu_of(interface: Interface) -> int:
    """Largest IP packet of an interface, in bytes; 1500 when the kernel does not say."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        try:
            answer = fcntl.ioctl(asker.fileno(), SIOCGIFMTU, struct.pack("16sI12x", interface.name.encode()[:15], 0))
        except OSError:
            return MTU_DEFAULT
    return int(struct.unpack_from("=I", answer, 16)[0])
