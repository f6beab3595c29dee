"""Locks on three executives on loopback, encrypted: how often one can be had and given back."""

import time
from contextlib import AsyncExitStack

import anyio

from bench.cluster import three_nodes
from bench.common import RUNS, Row, Table, repeat
from corosync_amf.development import DevelopmentCluster
from corosync_amf.services import lck

CONTENDERS = 8
MUST, GOAL = 1000, 1380
OPENAIS = 138


def run(*, quick: bool) -> Table:
    """Measure pairs of lock and unlock per second: nobody else wants the lock; eight want the same one."""
    rows = [
        Row("LCK lock+unlock pairs, uncontended, one client", "pairs/s", MUST, GOAL, openais=OPENAIS),
        Row(
            "LCK lock+unlock pairs, uncontended, eight clients, a resource each", "pairs/s", MUST, GOAL, openais=OPENAIS
        ),
        Row("LCK lock+unlock pairs, eight contenders for one resource", "pairs/s", MUST, GOAL, openais=OPENAIS),
    ]
    anyio.run(_measure, rows, quick)
    return Table("Locks: three executives, clients on all of them", rows)


async def _measure(rows: list[Row], quick: bool) -> None:
    seconds = 0.3 if quick else 2.0
    async with three_nodes() as cluster:
        values = [
            (
                await _pairs(cluster, [f"alone {turn}"], seconds),
                await _pairs(cluster, [f"own {turn} {number}" for number in range(CONTENDERS)], seconds),
                await _pairs(cluster, [f"one {turn}"] * CONTENDERS, seconds),
            )
            for turn in range(1 if quick else RUNS)
        ]
        turns = iter(values)
        repeat(rows, lambda: next(turns), len(values))


async def _pairs(cluster: DevelopmentCluster, names: list[str], seconds: float) -> float:
    """Pairs per second, one session for each name, spread over the nodes."""
    counts = [0] * len(names)
    async with AsyncExitStack() as stack:
        resources = []
        for number, name in enumerate(names):
            address = str(cluster.nodes[number % len(cluster.nodes)].socket_path)
            service = await stack.enter_async_context(lck.initialize(address=address))
            resources.append(await service.resource_open(name))
        start = time.perf_counter()
        end = start + seconds

        async def work(number: int) -> None:
            while time.perf_counter() < end:
                lock = await resources[number].lock()
                await lock.unlock()
                counts[number] += 1

        async with anyio.create_task_group() as tasks:
            for number in range(len(names)):
                tasks.start_soon(work, number)
        return sum(counts) / (time.perf_counter() - start)
