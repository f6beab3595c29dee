"""One ring over real networks: three machines (network namespaces) on a switch."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.nets import KEY
from tests.real.namespaces import Machines, have_namespaces
from tests.real.ring_nodes import RingNode, RingNodes

pytestmark = [
    pytest.mark.real,
    pytest.mark.namespaces,
    pytest.mark.skipif(not have_namespaces(), reason="needs root and network namespaces"),
]
MODES = ["ipv4 multicast", "ipv6 multicast", "ipv4 unicast", "ipv6 unicast"]


@pytest.fixture
def machines() -> Iterator[Machines]:
    with Machines(3) as machines:
        yield machines


@pytest.fixture
def nodes() -> Iterator[RingNodes]:
    with RingNodes() as nodes:
        yield nodes


def network(machines: Machines, mode: str, node: int, number: int = 0) -> dict[str, Any]:
    version, way = mode.split()
    addresses = {other: getattr(machines, version)(other, number) for other in machines.numbers}
    port = 5404 + 2 * number
    plain: dict[str, Any] = {"address": addresses[node], "port": port}
    if way == "multicast":
        group = f"ff05::{number + 1}" if version == "ipv6" else f"239.192.1.{number + 1}"
        return plain | {"multicast": [group, port + 1]}
    return plain | {"peers": {other: (address, port) for other, address in addresses.items()}}


def options(machines: Machines, mode: str, node: int, **more: Any) -> dict[str, Any]:
    plain = {"node_id": node, "incarnation": 1, "key": KEY.hex(), "token": 0.5, "downcheck": 0.1}
    return plain | network(machines, mode, node) | more


def start(nodes: RingNodes, machines: Machines, mode: str, **more: Any) -> None:
    for number in machines.numbers:
        nodes[number] = RingNode(options(machines, mode, number, **more), machines.command(number))
    nodes.formed(*machines.numbers)


@pytest.mark.parametrize("mode", MODES)
def test_three_machines_form_one_ring_and_carry_large_packets(machines: Machines, nodes: RingNodes, mode: str) -> None:
    start(nodes, machines, mode)
    for node in nodes.values():
        node.tell("send 500 100")
        node.tell("send 20 50000")
        node.tell("send 1 1000000")
    nodes.agreed(1563, 1, 2, 3)
    assert nodes[1].counters()["udp_segmented"] > 0


@pytest.mark.parametrize("mode", MODES)
def test_machine_whose_link_goes_down_and_up_is_in_the_ring_again(
    machines: Machines, nodes: RingNodes, mode: str
) -> None:
    start(nodes, machines, mode)
    machines.link_down(2)
    nodes.formed(1, 3)
    nodes.formed(2)
    machines.link_up(2)
    nodes.formed(1, 2, 3)
    nodes[2].tell("send 100 1000")
    nodes.agreed(100, 1, 2, 3)


@pytest.mark.parametrize("mode", ["ipv4 unicast", "ipv6 multicast"])
def test_machine_unplugged_from_the_switch_is_in_the_ring_again_when_it_is_plugged(
    machines: Machines, nodes: RingNodes, mode: str
) -> None:
    start(nodes, machines, mode)
    machines.unplug(3)
    nodes.formed(1, 2)
    nodes.formed(3)
    machines.plug(3)
    nodes.formed(1, 2, 3)
    nodes[3].tell("send 100 1000")
    nodes.agreed(100, 1, 2, 3)


@pytest.mark.parametrize("mode", ["ipv4 multicast", "ipv6 multicast"])
def test_machine_whose_interface_is_replaced_is_in_the_ring_again(
    machines: Machines, nodes: RingNodes, mode: str
) -> None:
    start(nodes, machines, mode)
    machines.unplug(2)
    nodes.formed(1, 3)
    nodes.formed(2)
    machines.replace_interface(2)
    nodes.formed(1, 2, 3)
    nodes[2].tell("send 100 1000")
    nodes.agreed(100, 1, 2, 3)


@pytest.mark.parametrize("netmtu", [1472, 8000])
def test_network_that_must_not_or_cannot_segment_carries_the_ring(
    machines: Machines, nodes: RingNodes, netmtu: int
) -> None:
    start(nodes, machines, "ipv4 multicast", netmtu=netmtu)
    nodes[1].tell("send 200 1000")
    nodes[2].tell("send 1 500000")
    nodes.agreed(201, 1, 2, 3)
    assert nodes[1].counters()["udp_segmented"] == 0


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("mode", ["ipv4 multicast", "ipv6 unicast"])
def test_ring_on_two_networks_does_not_notice_the_loss_of_either(nodes: RingNodes, mode: str, lost: int) -> None:
    with Machines(3, networks=2) as machines:
        for number in machines.numbers:
            more = {"second": network(machines, mode, number, 1), "fault_after": 0.5, "fault_packets": 1, "token": 2.0}
            nodes[number] = RingNode(options(machines, mode, number, **more), machines.command(number))
        nodes.formed(1, 2, 3)
        nodes[3].tell("send 10 100")
        nodes.agreed(10, 1, 2, 3)
        told = len(nodes[1].told)
        machines.unplug(2, lost)
        nodes[1].tell("send 200 1000")
        nodes[2].tell("send 3 100000")
        nodes.agreed(213, 1, 2, 3)
        nodes[2].counted("faulty_networks", 1)
        assert [fact for fact in nodes[1].told[told:] if "members" in fact] == []
        machines.plug(2, lost)
        nodes[2].counted("faulty_networks", 0)
