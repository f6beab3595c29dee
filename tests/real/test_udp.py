"""The sockets below the ring, on loopback and, with root, on a network of namespaces."""

import json
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from aisexec.groups.interfaces import Interface, interface_of, mtu_of
from aisexec.groups.sockets import TransportError
from aisexec.groups.udp import UdpOptions, UdpTransport
from tests.conformance.nets import loopback_address
from tests.real.namespaces import Machines, have_namespaces

pytestmark = pytest.mark.real


def read(transport: UdpTransport) -> list[bytes]:
    assert select.select(transport.sockets, [], [], 5)[0], "nothing came"
    return [packet for packet, _ in transport.receive()]


@pytest.fixture
def pair():
    address = loopback_address()
    first, second = UdpTransport(UdpOptions(address, 0)), UdpTransport(UdpOptions(address, 0))
    yield first, second
    first.close()
    second.close()


def test_packets_arrive_with_the_address_that_answers_reach(pair: tuple[UdpTransport, UdpTransport]) -> None:
    first, second = pair
    first.send(b"one", [second.local])
    first.send(bytes(60_000), [second.local])
    packets = second.receive()
    assert packets == [(b"one", first.local), (bytes(60_000), first.local)]
    assert second.receive() == []
    assert second.counters.received == 2
    assert first.counters.sent_bytes == 60_003


def test_packets_that_cannot_be_sent_are_counted_and_dropped(pair: tuple[UdpTransport, UdpTransport]) -> None:
    first, second = pair
    first.send(bytes(70_000), [second.local])
    first.send(b"x", [("255.255.255.255", 9), second.local])
    assert [packet for packet, _ in second.receive()] == [b"x"]
    assert first.counters.as_dict()["send_errors_EMSGSIZE"] == 1
    assert sum(first.counters.send_errors.values()) == 2


def test_own_and_unlisted_packets_are_dropped() -> None:
    here, listed, stranger = loopback_address(), loopback_address(), loopback_address()
    receiver = UdpTransport(UdpOptions(here, 0, block_unlisted=frozenset({here, listed})))
    senders = [UdpTransport(UdpOptions(address, 0)) for address in (listed, stranger)]
    try:
        for sender in senders:
            sender.send(sender.local[0].encode(), [receiver.local])
        receiver.send(b"own", [receiver.local])
        assert [packet for packet, _ in receiver.receive()] == [listed.encode()]
        assert receiver.counters.dropped_own == 1
        assert receiver.counters.dropped_unlisted == 1
    finally:
        for transport in (receiver, *senders):
            transport.close()


def test_multicast_on_loopback_reaches_the_other_nodes_of_the_machine() -> None:
    address, group = loopback_address(), ("239.192.77.1", free_port())
    transports = [UdpTransport(UdpOptions(address, 0, multicast=group)) for _ in range(3)]
    try:
        transports[0].send_to_group(b"to all")
        for transport in transports[1:]:
            assert read(transport) == [b"to all"]
        transports[0].rejoin()
        assert transports[0].receive() == []
        assert transports[0].counters.dropped_own == 1
    finally:
        for transport in transports:
            transport.close()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_port_in_use_is_reported_with_the_process_that_holds_it() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        with pytest.raises(TransportError, match=rf"127\.0\.0\.1 port {port} on interface lo: .*\(pid \d+\)"):
            UdpTransport(UdpOptions("127.0.0.1", port))


def test_addresses_that_are_no_use_are_reported_with_the_ones_there_are() -> None:
    with pytest.raises(
        TransportError, match=r"192\.0\.2\.77 is not an address of this machine; it has .*127\.0\.0\.1/8"
    ):
        UdpTransport(UdpOptions("192.0.2.77", 0))
    with pytest.raises(TransportError, match="nonsense is not an IP address"):
        UdpTransport(UdpOptions("nonsense", 0))
    with pytest.raises(TransportError, match="::1 is not an IPv4 address"):
        UdpTransport(UdpOptions("127.0.0.1", 0, peers=(("::1", 5405),)))


def test_any_loopback_address_stands_on_the_loopback_interface() -> None:
    loopback = interface_of(loopback_address())
    assert loopback is not None
    assert loopback.name == "lo"
    assert mtu_of(loopback) >= 16_384
    assert mtu_of(Interface("no-such-thing", 99)) == 1500


# ---- on machines of their own: this file is also the program that runs there


def on_machine(machines: Machines, number: int, *words: str) -> subprocess.Popen[str]:
    command = machines.command(number, sys.executable, "-m", "tests.real.test_udp", *words)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def outcome(process: subprocess.Popen[str]) -> dict[str, object]:
    text, _ = process.communicate(timeout=30)
    found: dict[str, object] = json.loads(text)
    return found


def program(role: str, address: str, other: str) -> None:
    """`receive`: tell what came; `send`: send packets of several sizes; `open`: only open."""
    group = ("ff15::4d:2" if ":" in address else "239.192.77.2", 5405)
    multicast = group if role != "open unicast" else None
    peers = ((other, 5404),) if role == "open unicast" else ()
    try:
        transport = UdpTransport(UdpOptions(address, 5404, multicast=multicast, peers=peers))
    except TransportError as error:
        print(json.dumps({"error": str(error)}))
        return
    if role == "receive":
        assert transport.group is not None
        print("ready", flush=True)
        print(json.dumps({"sizes": read_sizes(transport)}))
    if role == "send":
        for size in SIZES:
            transport.send(bytes(size), [transport.resolve(other, 5404)])
            transport.send_to_group(bytes(size))
        print(json.dumps({"max": transport.packet_bytes_max, "segmented": transport.counters.segmented}))


SIZES = [1, 1400, 1452, 1473, 30_000, 60_000]


def read_sizes(transport: UdpTransport) -> list[int]:
    sizes: list[int] = []
    while len(sizes) < 2 * len(SIZES) and select.select(transport.sockets, [], [], 5)[0]:
        sizes += [len(packet) for packet, _ in transport.receive()]
    return sorted(sizes)


@pytest.mark.namespaces
@pytest.mark.skipif(not have_namespaces(), reason="needs root and network namespaces")
@pytest.mark.parametrize("mtu", [1500, 9000])
@pytest.mark.parametrize("version", [4, 6])
def test_packets_above_the_mtu_are_cut_into_segments_and_put_together_again(version: int, mtu: int) -> None:
    with Machines(2, mtu) as machines:
        here, there = (machines.ipv4(1), machines.ipv4(2)) if version == 4 else (machines.ipv6(1), machines.ipv6(2))
        receiver = on_machine(machines, 2, "receive", there, here)
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        sent = outcome(on_machine(machines, 1, "send", here, there))
        assert outcome(receiver) == {"sizes": sorted(2 * SIZES)}
        assert sent["max"] == 62_000
        assert int(str(sent["segmented"])) >= 4


@pytest.mark.namespaces
@pytest.mark.skipif(not have_namespaces(), reason="needs root and network namespaces")
def test_missing_routes_are_reported_with_the_command_that_adds_them() -> None:
    with Machines(1) as machines:
        machines.ip(1, "route", "del", "default")
        far = outcome(on_machine(machines, 1, "open unicast", machines.ipv4(1), "10.99.0.1"))
        assert far["error"] == ("no route to 10.99.0.1 from interface eth0; try: ip route add 10.99.0.1 dev eth0")
        far = outcome(on_machine(machines, 1, "open unicast", machines.ipv6(1), "fd99::1"))
        assert far["error"] == "no route to fd99::1 from interface eth0; try: ip -6 route add fd99::1 dev eth0"
        machines.ip(1, "-6", "route", "flush", "table", "local", "type", "multicast")
        group = outcome(on_machine(machines, 1, "open", machines.ipv6(1), ""))
        assert "try: ip -6 route add multicast ff00::/8 dev eth0 table local" in str(group["error"])


if __name__ == "__main__":
    program(*sys.argv[1:])
