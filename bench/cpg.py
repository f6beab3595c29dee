"""Group messages through three executives on loopback, one client process on each node, encrypted.

Every client sends; a rate counts what is delivered to every one of the three (the slowest receiver's count). CPU is
that of the three executives and the three clients together.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from bench.common import RUNS, Row, print_table, repeat
from corosync_amf.development import DevelopmentCluster, development_cluster

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """Messages of `size` bytes, `batch` of them in one call (0: one)."""

    size: int
    batch: int = 0


SINGLE = Load(100)
BATCHES = Load(100, batch=500)
SIXTY_KB = Load(60_000)


class Member:
    """One client in a process of its own; see `bench.cpg_member`."""

    def __init__(self, address: str, members: int) -> None:
        options = {"address": address, "members": members}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.cpg_member", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, **order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a client of the benchmark has died")
        answer: dict[str, float] = json.loads(line)
        return answer

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@contextmanager
def _members(cluster: DevelopmentCluster) -> Iterator[list[Member]]:
    members: list[Member] = []
    try:
        for node in cluster.nodes:
            members.append(Member(str(node.socket_path), len(cluster.nodes)))
        for member in members:
            member.answer()  # all have joined
        yield members
    finally:
        for member in members:
            member.stop()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rate(members: list[Member], executives: list[int], load: Load, seconds: float) -> tuple[float, float]:
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


WARM_UP = 0.3


def latency(members: list[Member], count: int) -> float:
    """Milliseconds from the call to the own delivery, median over all members, one message at a time."""
    medians = []
    for member in members:
        member.tell(order="latency", count=count)
        medians.append(member.answer()["median"] * 1000)
    return sorted(medians)[1]


def run(*, quick: bool) -> None:
    """Measure everything and print the table."""
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
    print_table("CPG: three executives on loopback, a client process on each, AES-256-GCM", rows)


async def _measure(rows: list[Row], quick: bool) -> None:
    seconds, runs = (0.3, 1) if quick else (2.0, RUNS)
    with TemporaryDirectory() as directory:
        amf_conf = Path(directory) / "amf.conf"
        amf_conf.write_text("applications: {}\n", encoding="utf-8")
        async with development_cluster(amf_conf) as cluster:
            await cluster.until(lambda status: len(status.cluster.members) == len(cluster.nodes), "three members")
            executives = [node.process.pid for node in cluster.nodes if node.process is not None]
            with _members(cluster) as members:
                repeat([rows[6]], lambda: [latency(members, 20 if quick else 200)], runs)
                for number, load in enumerate((SINGLE, BATCHES)):
                    pair = rows[2 * number : 2 * number + 2]
                    repeat(pair, lambda load=load: rate(members, executives, load, seconds), runs)  # type: ignore[misc]
                repeat(rows[4:6], lambda: _megabytes(rate(members, executives, SIXTY_KB, seconds)), runs)


def _megabytes(figures: tuple[float, float]) -> tuple[float, float]:
    per_second, per_million = figures
    return per_second * SIXTY_KB.size / 1e6, per_million / (SIXTY_KB.size * 1e6) * 1e9
