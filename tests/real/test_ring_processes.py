"""The embedded group in processes of their own, on loopback."""

from typing import Any

import pytest

from tests.conformance.nets import KEY, loopback_address
from tests.real.ring_nodes import RingNode, RingNodes

pytestmark = pytest.mark.real


@pytest.fixture
def nodes():
    with RingNodes() as nodes:
        yield nodes


def options(addresses: dict[int, str], node: int, **more: Any) -> dict[str, Any]:
    peers = {other: (address, 5405) for other, address in addresses.items()}
    plain = {"node_id": node, "incarnation": 1, "address": addresses[node], "port": 5405, "peers": peers}
    return plain | {"key": KEY.hex(), "token": 0.5} | more


def test_processes_agree_on_one_order_of_many_messages(nodes: RingNodes) -> None:
    addresses = {node: loopback_address() for node in (1, 2, 3)}
    for number in addresses:
        nodes[number] = RingNode(options(addresses, number, token=5.0))
    nodes.formed(1, 2, 3)
    for node in nodes.values():
        node.tell("send 2000 100")
        node.tell("send 20 60000")
        node.tell("send 2 1000000")
    nodes.agreed(6066, 1, 2, 3)
    for node in nodes.values():
        node.until(lambda node: node.safe == 6066)


def test_killed_process_is_left_out_and_joins_again_when_it_is_started_again(nodes: RingNodes) -> None:
    addresses = {node: loopback_address() for node in (1, 2, 3)}
    for number in addresses:
        nodes[number] = RingNode(options(addresses, number))
    nodes.formed(1, 2, 3)
    nodes[3].kill()
    nodes.formed(1, 2)
    nodes[3].close()
    nodes[3] = RingNode(options(addresses, 3, incarnation=2))
    nodes.formed(1, 2, 3)
    nodes[3].tell("send 10 100")
    nodes.agreed(10, 1, 2, 3)


def test_node_that_leaves_is_missed_without_waiting_for_the_token_timeout(nodes: RingNodes) -> None:
    addresses = {node: loopback_address() for node in (1, 2, 3)}
    for number in addresses:
        nodes[number] = RingNode(options(addresses, number, token=30.0))
    nodes.formed(1, 2, 3)
    nodes[2].tell("send 5 100")
    nodes[2].tell("leave")
    nodes.formed(1, 3)
    nodes.agreed(5, 1, 3)


def test_node_with_another_key_stays_alone(nodes: RingNodes) -> None:
    addresses = {node: loopback_address() for node in (1, 2, 3)}
    nodes[1] = RingNode(options(addresses, 1))
    nodes[2] = RingNode(options(addresses, 2))
    nodes.formed(1, 2)
    nodes[3] = RingNode(options(addresses, 3, key="ff" * 128))
    nodes.formed(3)
    for node in nodes.values():
        node.counted("dropped_digest", 1)
    assert [node.members for node in nodes.values()] == [[1, 2], [1, 2], [3]]


def test_nodes_find_one_another_by_multicast_without_a_node_list(nodes: RingNodes) -> None:
    group = ["239.192.77.9", 20_000 + int(loopback_address().rsplit(".", 1)[1])]
    for number in (1, 2, 3):
        address = loopback_address()
        plain = options({number: address}, number)
        nodes[number] = RingNode(plain | {"peers": {}, "multicast": group})
    nodes.formed(1, 2, 3)
    for node in nodes.values():
        node.tell("send 500 100")
    nodes.agreed(1500, 1, 2, 3)
