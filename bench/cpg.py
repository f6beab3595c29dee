"""Group messages through three executives on loopback, one client process on each node, encrypted.

Every client sends; a rate counts what is delivered to every one of the three (the slowest receiver's count). CPU is
that of the three executives and the three clients together.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import anyio

from bench.cluster import three_nodes
from bench.common import RUNS, Row, Table, repeat
from bench.workers import Worker, command_of, latency, workers

TICKS = os.sysconf("SC_CLK_TCK")
WARM_UP = 0.3
"""Seconds, as in the workers."""


@dataclass(frozen=True, slots=True)
class Load:
    """Messages of `size` bytes, `batch` of them in one call (0: one)."""

    size: int
    batch: int = 0


SINGLE = Load(100)
BATCHES = Load(100, batch=500)
SIXTY_KB = Load(60_000)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rate(members: list[Worker], executives: list[int], load: Load, seconds: float) -> tuple[float, float]:
    """Messages a second that every member gets, and CPU seconds of all processes for a million of them."""
    everybody = [*executives, *(member.pid for member in members)]
    for member in members:
        member.tell(order="load", size=load.size, batch=load.batch, seconds=seconds)
    before = sum(map(_cpu_seconds, everybody))
    delivered = [member.answer() for member in members]
    cpu = sum(map(_cpu_seconds, everybody)) - before
    for member in members:
        member.answer()  # nothing is on the way any more
    slowest = min(answer["rate"] for answer in delivered)
    return slowest, cpu / (slowest * (seconds + WARM_UP)) * 1e6


def run(*, quick: bool) -> Table:
    """Measure everything."""
    rows = [
        Row("100 B, one call per message", "messages/s", 100_000, 500_000),
        Row("  CPU of all six processes", "s per million", less_is_better=True),
        Row("100 B, batches of 500", "messages/s", 300_000, 1_000_000),
        Row("  CPU of all six processes", "s per million", less_is_better=True),
        Row("60 KB", "MB/s", 80, 250),
        Row("  CPU of all six processes", "s per GB", less_is_better=True),
        Row("100 B on an idle ring, own delivery", "ms", 1.5, 0.4, less_is_better=True),
    ]
    anyio.run(_measure, rows, quick)
    return Table("CPG: three executives on loopback, a client process on each, AES-256-GCM", rows)


async def _measure(rows: list[Row], quick: bool) -> None:
    seconds, runs = (0.3, 1) if quick else (2.0, RUNS)
    async with three_nodes() as cluster:
        executives = [node.process.pid for node in cluster.nodes if node.process is not None]
        commands = [
            command_of("bench.cpg_member", {"address": str(node.socket_path), "members": len(cluster.nodes)})
            for node in cluster.nodes
        ]
        with workers(commands) as members:
            repeat([rows[6]], lambda: [latency(members, 20 if quick else 200)], runs)
            for number, load in enumerate((SINGLE, BATCHES)):
                pair = rows[2 * number : 2 * number + 2]
                repeat(pair, lambda load=load: rate(members, executives, load, seconds), runs)  # type: ignore[misc]
            repeat(rows[4:6], lambda: _megabytes(rate(members, executives, SIXTY_KB, seconds)), runs)


def _megabytes(figures: tuple[float, float]) -> tuple[float, float]:
    per_second, per_million = figures
    return per_second * SIXTY_KB.size / 1e6, per_million / (SIXTY_KB.size * 1e6) * 1e9
