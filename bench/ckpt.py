"""Checkpoint writes on three executives on loopback, one client process, WR_ALL_REPLICAS, encrypted."""

import time

import anyio

from bench.cluster import three_nodes
from bench.common import RUNS, Row, Table, repeat
from corosync_amf.development import DevelopmentCluster
from corosync_amf.services import ckpt

IN_FLIGHT = 64
KB = 1024
SIZES = (1, KB, 10 * KB, 49 * KB)
BOUNDS = {(KB, 1): (1500, 3000), (KB, IN_FLIGHT): (20_000, 100_000)}
"""must and goal, by size and writes in flight"""
OPENAIS = {(KB, 1): 5812, (49 * KB, 1): 1229}
"""Writes per second of openais, by the same; at 1 KB it was not encrypted."""


def run(*, quick: bool) -> Table:
    """Measure writes per second: one at a time, and 64 in flight."""
    rows = []
    for size in SIZES:
        name = f"{size} B" if size < KB else f"{size // KB} KB"
        for in_flight, how in ((1, "one at a time"), (IN_FLIGHT, f"{IN_FLIGHT} in flight")):
            must, goal = BOUNDS.get((size, in_flight), (None, None))
            openais = OPENAIS.get((size, in_flight))
            rows.append(Row(f"checkpoint writes, {name}, {how}", "1/s", must, goal, openais=openais))
    anyio.run(_measure, rows, quick)
    return Table("Checkpoints: three executives, every replica has each write before it is acknowledged", rows)


async def _measure(rows: list[Row], quick: bool) -> None:
    async with three_nodes() as cluster:
        for number, size in enumerate(SIZES):
            values = [await _writes(cluster, size, seconds=0.3 if quick else 2.0) for _ in range(_runs(quick))]
            turns = iter(values)
            repeat(rows[2 * number : 2 * number + 2], lambda turns=turns: next(turns), len(values))  # type: ignore[misc]


def _runs(quick: bool) -> int:
    return 1 if quick else RUNS


async def _writes(cluster: DevelopmentCluster, size: int, seconds: float) -> tuple[float, float]:
    """Writes per second, one at a time and 64 in flight."""
    attributes = ckpt.CreationAttributes(max_sections=IN_FLIGHT, max_section_size=max(size, 16))
    async with (
        ckpt.initialize(address=str(cluster.nodes[1].socket_path)) as service,
        service.checkpoint_open(f"bench-{size}-{time.monotonic_ns()}", creation_attributes=attributes) as checkpoint,
    ):
        for section in range(IN_FLIGHT):
            await checkpoint.section_create(f"s{section}", bytes(size))
        one = await _rate(checkpoint, size, 1, seconds)
        many = await _rate(checkpoint, size, IN_FLIGHT, seconds)
    return one, many


async def _rate(checkpoint: ckpt.Checkpoint, size: int, in_flight: int, seconds: float) -> float:
    data = bytes(size)
    start = time.perf_counter()
    end = start + seconds
    counts = [0] * in_flight

    async def write(number: int) -> None:
        vector = [ckpt.IoVector(f"s{number}", data)]
        while time.perf_counter() < end:
            await checkpoint.write(vector)
            counts[number] += 1

    async with anyio.create_task_group() as tasks:
        for number in range(in_flight):
            tasks.start_soon(write, number)
    return sum(counts) / (time.perf_counter() - start)
