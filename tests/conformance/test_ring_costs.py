"""Speed kept by counting: system calls, seals and calls of the ring, which do not depend on the machine."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import anyio
import msgspec

from aisexec.groups import Configuration, Delivered, Happening
from aisexec.groups.embedded import EmbeddedGroup, EmbeddedOptions
from tests.conformance.nets import KEY, TIMEOUTS, loopback_address

NODES = (1, 2, 3)
Counts = dict[str, int]


class Ring:
    """Three nodes on loopback, in one process."""

    def __init__(self) -> None:
        addresses = {node: (loopback_address(), 5405) for node in NODES}
        self.groups = {
            node: EmbeddedGroup(
                EmbeddedOptions(
                    node_id=node,
                    incarnation=1,
                    address=address,
                    port=port,
                    peers=addresses,
                    key=KEY,
                    timeouts=TIMEOUTS,
                )
            )
            for node, (address, port) in addresses.items()
        }
        self.members: dict[int, tuple[int, ...]] = {}
        self.delivered = dict.fromkeys(NODES, 0)
        self._changed = anyio.Event()

    async def run(self, node: int) -> None:
        def deliver(happenings: list[Happening]) -> None:
            for happening in happenings:
                if isinstance(happening, Configuration):
                    self.members[node] = happening.members
                elif isinstance(happening, Delivered):
                    self.delivered[node] += len(happening.messages)
            self._changed.set()

        await self.groups[node].run(deliver)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed = anyio.Event()
            await self._changed.wait()

    async def carry(self, payloads: list[bytes]) -> None:
        """Every node sends these payloads; wait until every node has them all."""
        goal = self.delivered[1] + len(NODES) * len(payloads)
        for group in self.groups.values():
            for payload in payloads:
                group.multicast(payload)
        await self.until(lambda: set(self.delivered.values()) == {goal})

    def counts(self) -> list[Counts]:
        return [group.counters for group in self.groups.values()]


def on_a_ring(test: Callable[[Ring], Awaitable[None]]) -> Callable[[], None]:
    async def main() -> None:
        ring = Ring()
        async with AsyncExitStack() as stack:
            stack.enter_context(anyio.fail_after(60))
            tasks = await stack.enter_async_context(anyio.create_task_group())
            for node in NODES:
                tasks.start_soon(ring.run, node)
            await ring.until(lambda: list(ring.members.values()) == [NODES] * 3)
            await test(ring)
            tasks.cancel_scope.cancel()

    def wrapped() -> None:
        anyio.run(main)

    wrapped.__name__ = test.__name__
    return wrapped


def spent(before: list[Counts], after: list[Counts]) -> list[Counts]:
    """What each node did between two readings."""
    return [{name: now[name] - then.get(name, 0) for name in now} for then, now in zip(before, after, strict=True)]


@on_a_ring
async def test_thousand_messages_of_every_node_cost_a_handful_of_calls(ring: Ring) -> None:
    await ring.carry([bytes(100)] * 1000)
    before = ring.counts()
    rounds = 20
    for _ in range(rounds):
        await ring.carry([bytes(100)] * 1000)
    for cost in spent(before, ring.counts()):
        assert cost["payloads_sent"] == 1000 * rounds
        assert cost["packets_sent"] <= 2 * rounds
        assert cost["udp_packets"] <= 4 * rounds  # seals: the packets, and a token for each visit
        assert cost["udp_send_calls"] <= 6 * rounds
        assert cost["udp_receive_calls"] <= 9 * rounds
        assert cost["calls"] <= 4 * rounds
        assert cost["retransmissions"] == cost["tokens_retransmitted"] == 0


@on_a_ring
async def test_thousand_messages_in_bundles_cost_no_more_than_their_bytes(ring: Ring) -> None:
    bundle = msgspec.msgpack.encode([bytes(100)] * 500)
    await ring.carry([bundle] * 2)
    before = ring.counts()
    rounds = 20
    for _ in range(rounds):
        await ring.carry([bundle] * 2)
    for cost in spent(before, ring.counts()):
        assert cost["packets_sent"] <= 2 * rounds
        assert cost["udp_packets"] <= 4 * rounds
        assert cost["udp_send_calls"] <= 6 * rounds
        assert cost["udp_receive_calls"] <= 9 * rounds
        assert cost["calls"] <= 4 * rounds


@on_a_ring
async def test_rotation_of_an_idle_ring_costs_one_seal_and_one_packet_for_each_node(ring: Ring) -> None:
    await anyio.sleep(4 * TIMEOUTS.hold)  # until it is idle
    before = ring.counts()
    await anyio.sleep(6 * TIMEOUTS.hold)
    for cost in spent(before, ring.counts()):
        rotations = cost["tokens"]
        assert 1 <= rotations <= 7
        assert abs(cost["udp_packets"] - rotations) <= 1
        assert cost["udp_send_calls"] == cost["udp_packets"]
        assert cost["udp_receive_calls"] == 2 * rotations
        assert cost["calls"] <= 3 * rotations + 2  # the datagram, the hold, other timers
        assert cost["probes"] == 0
