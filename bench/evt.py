"""Events from one publisher to three subscribers, one on each of three executives on loopback, 1 KB, encrypted."""

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from bench.common import RUNS, Row, print_table, repeat
from corosync_amf.development import DevelopmentCluster, development_cluster
from corosync_amf.services import evt

IN_FLIGHT = 64
BATCH = 64
BATCHES_IN_FLIGHT = 4
SIZE = 1024
QUEUE_LENGTH = 100_000
CHANNEL = "bench"
LAST = b"last"
TICKS = os.sysconf("SC_CLK_TCK")


def run(*, quick: bool) -> None:
    """Print events per second that reach every subscriber, and the processor time that one takes in all processes."""
    rows = [
        Row(f"events, 1 KB, {IN_FLIGHT} publishes in flight", "1/s", 10_000, 183_000),
        Row("  processor time of all seven processes", "us", None, None, less_is_better=True),
        Row(f"events, 1 KB, batches of {BATCH}", "1/s", 10_000, 183_000),
        Row("  processor time of all seven processes", "us", None, None, less_is_better=True),
    ]
    anyio.run(_measure, rows, quick)
    print_table("Events: one publisher, three subscribers, at every one of them (openais: 18,327 publishes/s)", rows)


async def _measure(rows: list[Row], quick: bool) -> None:
    with TemporaryDirectory() as directory:
        amf_conf = Path(directory) / "amf.conf"
        amf_conf.write_text("applications: {}\n", encoding="utf-8")
        async with development_cluster(amf_conf) as cluster:
            await cluster.until(lambda status: len(status.cluster.members) == len(cluster.nodes), "three members")
            seconds, runs = (0.3, 1) if quick else (2.0, RUNS)
            for place, batch in ((0, 1), (2, BATCH)):
                values = [await _events(cluster, batch, seconds) for _ in range(runs)]
                turns = iter(values)
                repeat(rows[place : place + 2], lambda turns=turns: next(turns), runs)  # type: ignore[misc]


async def _events(cluster: DevelopmentCluster, batch: int, seconds: float) -> tuple[float, float]:
    """Events per second, and microseconds of processor time for each."""
    flags = evt.ChannelOpenFlags.PUBLISHER | evt.ChannelOpenFlags.CREATE
    async with (
        evt.initialize(address=str(cluster.nodes[0].socket_path)) as service,
        service.channel_open(CHANNEL, flags) as channel,
    ):
        subscribers = [await _subscriber(str(node.socket_path)) for node in cluster.nodes]
        pids = [node.process.pid for node in cluster.nodes if node.process is not None]
        pids += [os.getpid(), *(process.pid for process, _ in subscribers)]
        before, start = _processor_seconds(pids), time.perf_counter()
        count = await _publish(channel, batch, seconds)
        await channel.publish(LAST)
        received = [int(await lines.receive_until(b"\n", 100)) for _, lines in subscribers]
        took, used = time.perf_counter() - start, _processor_seconds(pids) - before
        for process, _ in subscribers:
            await process.stdin.aclose()
            await process.wait()
        if any(number != count for number in received):
            print(f"  lost: {[count - number for number in received]} of {count}", file=sys.stderr)
    return min(received) / took, used / count * 1e6


async def _subscriber(address: str) -> tuple[Any, BufferedByteReceiveStream]:
    process = await anyio.open_process([sys.executable, "-m", "bench.evt_subscriber", address], stderr=None)
    assert process.stdout is not None
    lines = BufferedByteReceiveStream(process.stdout)
    assert await lines.receive_until(b"\n", 100) == b"ready"
    return process, lines


async def _publish(channel: evt.Channel, batch: int, seconds: float) -> int:
    data = [bytes(SIZE)] * batch
    end = time.perf_counter() + seconds
    counts = [0]

    async def publish() -> None:
        while time.perf_counter() < end:
            if batch == 1:
                await channel.publish(data[0])
            else:
                await channel.publish_batch(data)
            counts[0] += batch

    async with anyio.create_task_group() as tasks:
        for _ in range(IN_FLIGHT if batch == 1 else BATCHES_IN_FLIGHT):
            tasks.start_soon(publish)
    return counts[0]


def _processor_seconds(pids: list[int]) -> float:
    used = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used / TICKS
