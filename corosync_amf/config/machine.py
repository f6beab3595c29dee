"""What this machine is called and which addresses it has; the one part of configuration that asks the kernel."""

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from corosync_amf.config.executive import PERSISTENCE_DIRECTORY
from corosync_amf.config.network import LOOPBACK, InterfaceAddress, Machine

_RTM_NEWADDR: Final = 20
_RTM_GETADDR: Final = 22
_NLMSG_DONE: Final = 3
_REQUEST_DUMP: Final = 0x301
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_HEADER: Final = struct.Struct("=IHHII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")


def machine_facts() -> Machine:
    """Return this machine's facts; host names are looked up when the configuration asks for them."""
    directory = Path(PERSISTENCE_DIRECTORY)
    place = directory if directory.exists() else directory.parent
    return Machine(
        host_name=socket.gethostname(),
        addresses=interface_addresses(),
        default_address=_default_address(),
        hosts=_Resolver(),
        may_persist=os.access(place, os.W_OK),
    )


def interface_addresses() -> tuple[InterfaceAddress, ...]:
    """Return all IPv4 and IPv6 addresses of all interfaces; only loopback where the kernel does not tell."""
    try:
        found = _ask_kernel()
    except OSError:
        found = ()
    return found or (InterfaceAddress("lo", LOOPBACK, 8),)


def _ask_kernel() -> tuple[InterfaceAddress, ...]:
    names = dict(socket.if_nameindex())
    found: list[InterfaceAddress] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(2)
        body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        netlink.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETADDR, _REQUEST_DUMP, 1, 0) + body)
        while True:
            data = netlink.recv(1 << 20)
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
                if length < _HEADER.size or kind == _NLMSG_DONE:
                    return tuple(found)
                if kind == _RTM_NEWADDR:
                    found += _one_address(data[offset + _HEADER.size : offset + length], names)
                offset += (length + 3) & ~3


def _one_address(data: bytes, names: Mapping[int, str]) -> list[InterfaceAddress]:
    family, prefix, _, _, index = _ADDRESS.unpack_from(data)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return []
    attributes: dict[int, bytes] = {}
    offset = _ADDRESS.size
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        attributes[kind] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    raw = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
    return [InterfaceAddress(names.get(index, str(index)), socket.inet_ntop(family, raw), prefix)] if raw else []


def _default_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address: only the route is looked up, nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return LOOPBACK


class _Resolver(Mapping[str, tuple[str, ...]]):
    """Host name -> addresses, asked for one by one."""

    def __getitem__(self, name: str) -> tuple[str, ...]:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError):
            raise KeyError(name) from None
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
