"""One suite for every group: what stands above must not see which one it has."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from aisexec.groups import Configuration, ConfigurationKind, Delivered, Group, Happening, Safe
from tests.conformance.nets import EmbeddedNet, LocalNet, Net

NETS: dict[str, Callable[[], Net]] = {
    "local": LocalNet,
    "unicast": EmbeddedNet,
    "ipv6": lambda: EmbeddedNet(ipv6=True),
    "unsealed": lambda: EmbeddedNet(key=None),
    "small packets": lambda: EmbeddedNet(netmtu=1400),
    "local on trio": LocalNet,
    "unicast on trio": EmbeddedNet,
}


class End:
    """One node: its group, and all that happened there."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.happened: list[Happening] = []
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self._changed = anyio.Event()

    async def run(self) -> None:
        with self.scope:
            await self.group.run(self._deliver)
        self.ended.set()

    def _deliver(self, happenings: list[Happening]) -> None:
        self.happened += happenings
        self._changed.set()

    async def until(self, condition: Callable[["End"], bool]) -> None:
        while not condition(self):
            self._changed = anyio.Event()
            await self._changed.wait()

    async def joined(self, *members: int) -> None:
        await self.until(lambda end: end.members == members)

    async def received(self, count: int) -> None:
        await self.until(lambda end: len(end.messages) >= count)

    @property
    def members(self) -> tuple[int, ...]:
        """Of the last regular configuration."""
        regular = [each for each in self.happened if is_regular(each)]
        return regular[-1].members if regular else ()  # type: ignore[union-attr]

    @property
    def messages(self) -> list[tuple[int, bytes]]:
        return [message for each in self.happened if isinstance(each, Delivered) for message in each.messages]

    @property
    def unsafe(self) -> int:
        """Messages since the last regular configuration that are not known to be everywhere."""
        count = safe = 0
        for each in self.happened:
            if is_regular(each):
                count = safe = 0
            elif isinstance(each, Delivered):
                count += len(each.messages)
            elif isinstance(each, Safe):
                assert safe <= each.count <= count, "safe counts grow, and never beyond what was delivered"
                safe = each.count
        return count - safe


def is_regular(happening: Happening) -> bool:
    return isinstance(happening, Configuration) and happening.kind is ConfigurationKind.REGULAR


class Cluster:
    def __init__(self, net: Net, tasks: anyio.abc.TaskGroup) -> None:
        self.net = net
        self._tasks = tasks
        self.ends: dict[int, End] = {}

    def start(self, *nodes: int) -> None:
        for node in nodes:
            end = self.ends[node] = End(self.net.group(node))
            self._tasks.start_soon(end.run)

    async def formed(self, *nodes: int) -> None:
        for node in nodes:
            await self.ends[node].joined(*nodes)

    async def received(self, count: int, nodes: Iterable[int] | None = None) -> None:
        for node in nodes or self.ends:
            await self.ends[node].received(count)

    async def kill(self, node: int) -> None:
        """As kill -9 does: nothing is said, nothing more is heard."""
        self.net.kill(node)
        end = self.ends.pop(node)
        end.scope.cancel()
        await end.ended.wait()


@asynccontextmanager
async def cluster_on(net: Net) -> AsyncIterator[Cluster]:
    async with net, anyio.create_task_group() as tasks:
        yield Cluster(net, tasks)
        tasks.cancel_scope.cancel()


def on_each_group(test: Callable[[Cluster], Awaitable[None]]) -> Callable[[str], None]:
    async def main(kind: str) -> None:
        with anyio.fail_after(60):
            async with cluster_on(NETS[kind]()) as cluster:
                await test(cluster)

    @pytest.mark.parametrize("kind", NETS)
    def wrapped(kind: str) -> None:
        anyio.run(main, kind, backend="trio" if kind.endswith("on trio") else "asyncio")

    wrapped.__name__ = test.__name__
    wrapped.__doc__ = test.__doc__
    return wrapped


@on_each_group
async def test_node_alone_gets_a_configuration_of_itself_and_then_its_messages(cluster: Cluster) -> None:
    cluster.start(1)
    cluster.ends[1].group.multicast(b"hello")
    await cluster.received(1)
    end = cluster.ends[1]
    assert end.members == (1,)
    assert end.messages == [(1, b"hello")]
    first = end.happened[0]
    assert isinstance(first, Configuration)
    await end.until(lambda end: end.unsafe == 0)


@on_each_group
async def test_three_nodes_form_one_ring_and_all_report_the_same(cluster: Cluster) -> None:
    cluster.start(1, 2, 3)
    await cluster.formed(1, 2, 3)
    last = {
        [each for each in end.happened if isinstance(each, Configuration)][-1].ring_id for end in cluster.ends.values()
    }
    assert len(last) == 1


@on_each_group
async def test_configuration_comes_before_the_first_message_of_it(cluster: Cluster) -> None:
    cluster.start(1, 2, 3)
    await cluster.formed(1, 2, 3)
    cluster.ends[2].group.multicast(b"after")
    await cluster.received(1)
    for end in cluster.ends.values():
        position = next(at for at, each in enumerate(end.happened) if isinstance(each, Delivered))
        before = [each for each in end.happened[:position] if is_regular(each)]
        assert before[-1].members == (1, 2, 3)  # type: ignore[union-attr]


@on_each_group
async def test_messages_come_in_the_same_order_everywhere_and_in_the_order_of_their_sender(cluster: Cluster) -> None:
    cluster.start(1, 2, 3)
    await cluster.formed(1, 2, 3)
    for number in range(300):
        for end in cluster.ends.values():
            end.group.multicast(b"%d" % number * (number % 40))
        if number % 50 == 0:
            await anyio.lowlevel.checkpoint()
    await cluster.received(900)
    first = cluster.ends[1].messages
    assert len(first) == 900
    assert all(end.messages == first for end in cluster.ends.values())
    for node in cluster.ends:
        sent = [payload for sender, payload in first if sender == node]
        assert sent == [b"%d" % number * (number % 40) for number in range(300)]


@on_each_group
async def test_message_of_a_megabyte_arrives_whole_beside_small_ones(cluster: Cluster) -> None:
    big = b"".join(hashlib.sha256(b"%d" % block).digest() for block in range(32 * 1024))
    cluster.start(1, 2, 3)
    await cluster.formed(1, 2, 3)
    for end in cluster.ends.values():
        end.group.multicast(b"before")
        end.group.multicast(big)
        end.group.multicast(b"")
    assert cluster.ends[1].group.backlog_bytes >= len(big)
    await cluster.received(9)
    first = cluster.ends[1].messages
    assert all(end.messages == first for end in cluster.ends.values())
    for node in cluster.ends:
        assert [payload for sender, payload in first if sender == node] == [b"before", big, b""]
    assert cluster.ends[1].group.backlog_bytes == 0


@on_each_group
async def test_everything_delivered_is_reported_safe_in_the_end(cluster: Cluster) -> None:
    cluster.start(1, 2, 3)
    await cluster.formed(1, 2, 3)
    for number in range(20):
        cluster.ends[1 + number % 3].group.multicast(b"%d" % number)
    await cluster.received(20)
    for end in cluster.ends.values():
        await end.until(lambda end: end.unsafe == 0)


@on_each_group
async def test_killed_node_leaves_the_membership_and_the_others_go_on(cluster: Cluster) -> None:
    cluster.start(1, 2, 3)
    await cluster.formed(1, 2, 3)
    await cluster.kill(2)
    await cluster.formed(1, 3)
    cluster.ends[3].group.multicast(b"still here")
    await cluster.received(1)
    for end in cluster.ends.values():
        transitional, regular = [each for each in end.happened if isinstance(each, Configuration)][-2:]
        assert transitional.kind is ConfigurationKind.TRANSITIONAL
        assert transitional.members == (1, 3)
        assert regular.reason
        assert end.messages == [(3, b"still here")]


@on_each_group
async def test_restarted_node_joins_again(cluster: Cluster) -> None:
    cluster.start(1, 2, 3)
    await cluster.formed(1, 2, 3)
    await cluster.kill(3)
    cluster.start(3)
    await cluster.ends[3].joined(1, 2, 3)
    await cluster.formed(1, 2, 3)
    cluster.ends[3].group.multicast(b"back")
    await cluster.received(1)
    assert all(end.messages == [(3, b"back")] for end in cluster.ends.values())


@on_each_group
async def test_partitioned_sides_go_on_alone_and_merge_when_the_network_heals(cluster: Cluster) -> None:
    cluster.start(1, 2, 3)
    await cluster.formed(1, 2, 3)
    cluster.net.partition({1, 2}, {3})
    await cluster.formed(1, 2)
    await cluster.formed(3)
    cluster.ends[1].group.multicast(b"majority")
    cluster.ends[3].group.multicast(b"alone")
    await cluster.received(1)
    assert [end.messages for end in cluster.ends.values()] == [[(1, b"majority")], [(1, b"majority")], [(3, b"alone")]]
    cluster.net.heal()
    await cluster.formed(1, 2, 3)
    cluster.ends[2].group.multicast(b"together")
    await cluster.received(2)
    assert all(end.messages[-1] == (2, b"together") for end in cluster.ends.values())
    transitional = [each for each in cluster.ends[3].happened if isinstance(each, Configuration)][-2]
    assert transitional.members == (3,)
