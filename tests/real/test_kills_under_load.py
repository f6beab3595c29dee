"""Two nodes stay, the third is killed with SIGKILL again and again, under load on all three: what was acknowledged is
neither lost nor doubled. Each client writes down what it asked and what it was told; the histories are compared."""

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from corosync_amf import ckpt, lck, msg
from corosync_amf.development import DevelopmentCluster, development_cluster
from corosync_amf.development_nodes import DevelopmentNode
from corosync_amf.errors import AisError
from tests.services.loopback import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.real]

KILLS = 20
ATTRIBUTES = ckpt.CreationAttributes(retention_duration=None, max_sections=64, max_section_size=64)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class History:
    """What all clients were told, in the order in which they were."""

    written: dict[str, int] = field(default_factory=dict)
    seen: dict[str, list[int]] = field(default_factory=dict)
    sent: set[bytes] = field(default_factory=set)
    acknowledged: set[bytes] = field(default_factory=set)
    received: list[bytes] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    inside: set[str] = field(default_factory=set)
    together: list[set[str]] = field(default_factory=list)
    sections_done: int = 0
    sections_unknown: int = 0


@dataclass
class Load:
    """The clients of one node; `is_over` ends their work between two calls."""

    node: DevelopmentNode
    history: History
    is_over: bool = False
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def address(self) -> str:
        return str(self.node.socket_path)

    async def again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        """A client whose executive dies starts anew."""
        while not self.is_over:
            try:
                await work()
            except AisError:
                await anyio.sleep(0.05)

    async def write(self) -> None:
        name = self.node.name
        async with ckpt.initialize(address=self.address) as service, opened(service) as checkpoint:
            while not self.is_over:
                number = next(self.numbers)
                await checkpoint.write_batch({name: b"%d" % number})
                self.history.written[name] = number

    async def watch(self) -> None:
        async with (
            ckpt.initialize(address=self.address) as service,
            opened(service) as checkpoint,
            checkpoint.changes(current=True) as changes,
        ):
            async for changed in changes:
                for change in changed.changes:
                    if change.data is not None:
                        self.history.seen.setdefault(change.section_id.decode(), []).append(int(change.data))

    async def send(self) -> None:
        async with msg.initialize(address=self.address) as service:
            while not self.is_over:
                data = b"%s %d" % (self.node.name.encode(), next(self.numbers))
                self.history.sent.add(data)
                await service.message_send("orders", msg.Message(data))
                self.history.acknowledged.add(data)
                await anyio.sleep(0.002)

    async def count_alone(self) -> None:
        """Read, increment, write a number that only the holder of the lock may touch."""
        history = self.history
        async with (
            lck.initialize(address=self.address) as locks,
            locks.resource_open("counter") as resource,
            ckpt.initialize(address=self.address) as service,
            opened(service) as checkpoint,
        ):
            while not self.is_over:
                async with resource.lock() as lock:
                    assert lock.token is not None
                    self.enter(lock.token)
                    try:
                        (number,) = await checkpoint.read([ckpt.IoVector("counter")])
                        history.sections_unknown += 1
                        await checkpoint.write_batch({"counter": b"%d" % (int(number) + 1)})
                        history.sections_unknown -= 1
                        history.sections_done += 1
                    finally:
                        history.inside.discard(self.node.name)
                await anyio.sleep(0.005)

    def enter(self, token: int) -> None:
        self.history.tokens.append(token)
        self.history.inside.add(self.node.name)
        if len(self.history.inside) > 1:
            self.history.together.append(set(self.history.inside))


@asynccontextmanager
async def opened(service: ckpt.CkptService) -> AsyncIterator[ckpt.Checkpoint]:
    async with service.checkpoint_open("history", creation_attributes=ATTRIBUTES) as checkpoint:
        yield checkpoint


async def receive(node: DevelopmentNode, history: History) -> None:
    async with (
        msg.initialize(address=str(node.socket_path)) as service,
        service.queue_open("orders", msg.QueueCreationAttributes(), msg.QueueOpenFlags.CREATE) as queue,
    ):
        async for message in queue:
            history.received.append(message.data)


async def kill_and_restart(cluster: DevelopmentCluster, node: DevelopmentNode) -> None:
    assert node.process is not None
    node.process.kill()
    await anyio.to_thread.run_sync(node.process.wait)
    await cluster.until(lambda status: len(status.cluster.members) == 2, "two members")
    cluster.start_node(node)
    await cluster.until(lambda status: len(status.cluster.members) == 3, "three members")


@pytest.mark.timeout(280)
async def test_nothing_acknowledged_is_lost_or_doubled_while_a_node_is_killed_twenty_times(tmp_path: Path) -> None:
    amf_conf = tmp_path / "amf.conf"
    amf_conf.write_text("applications: {}\n", encoding="utf-8")
    history = History()
    async with development_cluster(amf_conf, token=500) as cluster:
        await cluster.until(lambda status: len(status.cluster.members) == 3, "three members")
        loads = [Load(node, history) for node in cluster.nodes]
        async with ckpt.initialize(address=loads[0].address) as service, opened(service) as checkpoint:
            await checkpoint.write_batch({"counter": b"0"})
            async with anyio.create_task_group() as always:
                always.start_soon(receive, cluster.nodes[0], history)
                always.start_soon(loads[1].watch)
                async with anyio.create_task_group() as tasks:
                    for load in loads:
                        for work in (load.write, load.send, load.count_alone):
                            tasks.start_soon(load.again_and_again, work)
                    for _ in range(KILLS):
                        seen = history.written.get(loads[2].node.name, 0)
                        await eventually(lambda seen=seen: history.written.get(loads[2].node.name, 0) > seen, 15_000)  # type: ignore[misc]
                        await kill_and_restart(cluster, cluster.nodes[2])
                    for load in loads:
                        load.is_over = True
                await eventually(lambda: history.acknowledged <= set(history.received), rounds=15_000)
                always.cancel_scope.cancel()
            content = await checkpoint.read_all()
    check_writes(history, content)
    check_messages(history)
    check_locks(history, int(content[b"counter"]))


def check_writes(history: History, content: dict[bytes, bytes]) -> None:
    assert len(history.written) == 3
    for name, number in history.written.items():
        assert int(content[name.encode()]) >= number, name
    for name, numbers in history.seen.items():
        assert numbers == sorted(numbers), name
        assert len(set(numbers)) == len(numbers), name


def check_messages(history: History) -> None:
    counts = Counter(history.received)
    assert {data for data, count in counts.items() if count > 1} == set()
    assert history.acknowledged <= counts.keys()
    assert counts.keys() <= history.sent
    for name in {data.split()[0] for data in history.received}:
        numbers = [int(data.split()[1]) for data in history.received if data.split()[0] == name]
        assert numbers == sorted(numbers), name


def check_locks(history: History, counted: int) -> None:
    assert not history.together
    assert history.tokens == sorted(history.tokens)
    assert len(set(history.tokens)) == len(history.tokens)
    assert history.sections_done <= counted <= history.sections_done + history.sections_unknown
