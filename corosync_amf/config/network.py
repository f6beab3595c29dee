"""Addresses: what this machine has, and what a configured address or network means on it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import Final

import msgspec

Address = IPv4Address | IPv6Address
LOOPBACK: Final = "127.0.0.1"


class InterfaceAddress(msgspec.Struct, frozen=True):
    """An address of a network interface, `prefix_length` in bits."""

    interface: str
    address: str
    prefix_length: int


@dataclass(frozen=True)
class Machine:
    """What the configuration depends on of the machine that reads it.

    `default_address` is the address of the interface with the default route; `hosts` maps host names to addresses;
    `may_persist` says whether the default directory for persistent state can be written.
    """

    host_name: str = "localhost"
    addresses: tuple[InterfaceAddress, ...] = (InterfaceAddress("lo", LOOPBACK, 8),)
    default_address: str = LOOPBACK
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    may_persist: bool = False


def parse_address(text: str) -> Address | None:
    """Return the address that the text is; None when it is something else."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_local(address: Address, machine: Machine) -> bool:
    """Whether this machine has the address; every loopback address is."""
    plain = parse_address(str(address).partition("%")[0])  # fe80::1%eth0 names its interface
    return address.is_loopback or any(parse_address(own.address) == plain for own in machine.addresses)


def bound_address(text: str, machine: Machine) -> str | None:
    """Return the address of this machine that a bindnetaddr means: itself, or the one in that IPv4 network."""
    wanted = parse_address(text)
    if wanted is None:
        return None
    if is_local(wanted, machine) and not wanted.is_loopback:
        return str(wanted)
    for own in machine.addresses:
        interface = ip_interface(f"{own.address}/{own.prefix_length}")
        if interface.version == 4 and interface.network.network_address == wanted:
            return own.address
    return str(wanted) if is_local(wanted, machine) else None


def resolve(name: str, machine: Machine, ip_version: str) -> str | None:
    """Return the address of a host name (an address is its own), of the preferred family; None: unknown."""
    if parse_address(name) is not None:
        return str(parse_address(name))
    found = [address for text in machine.hosts.get(name, ()) if (address := parse_address(text)) is not None]
    for family in {"ipv4": (4,), "ipv6": (6,), "ipv4-6": (4, 6)}.get(ip_version, (6, 4)):
        for address in found:
            if address.version == family:
                return str(address)
    return None


def node_id_of(address: str, clear_high_bit: bool) -> int | None:
    """Return the node id that an IPv4 address gives; None for IPv6 and for 0."""
    parsed = parse_address(address)
    if not isinstance(parsed, IPv4Address):
        return None
    return (int(parsed) & 0x7FFFFFFF if clear_high_bit else int(parsed)) or None


def default_multicast(cluster_name: str, ring: int, version: int) -> str:
    """Return the multicast address of a cluster's ring: clusters of different names get different ones."""
    high, low = hashlib.sha256(f"{cluster_name}/{ring}".encode()).digest()[:2]
    return f"239.192.{high}.{low}" if version == 4 else f"ff15::{high:x}:{low:x}"
