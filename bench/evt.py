"""Events from one publisher to three subscribers, one on each of three executives on loopback, 1 KB, encrypted."""

import os
import time
from pathlib import Path

import anyio
import anyio.to_thread

from bench.cluster import three_nodes
from bench.common import RUNS, Row, Table, repeat
from bench.workers import Worker, command_of, workers
from corosync_amf.development import DevelopmentCluster
from corosync_amf.services import evt

IN_FLIGHT = 64
BATCH = 64
BATCHES_IN_FLIGHT = 4
SIZE = 1024
QUEUE_LENGTH = 100_000
STEP = 1000
"""So often subscribers say how far they are."""
AHEAD_MAX = 30_000
"""Events that the slowest subscriber may lack; what a queue holds is more."""
CHANNEL = "bench"
OPENAIS = 18_327
"""Publishes, not what arrives at three."""
LAST = b"last"
TICKS = os.sysconf("SC_CLK_TCK")


def run(*, quick: bool) -> Table:
    """Measure events per second that reach every subscriber, and the processor time that one takes in all processes."""
    rows = [
        Row(f"events, 1 KB, {IN_FLIGHT} publishes in flight", "1/s", 10_000, 183_000, openais=OPENAIS),
        Row("  processor time of all seven processes", "us", None, None, less_is_better=True),
        Row(f"events, 1 KB, batches of {BATCH}", "1/s", 10_000, 183_000, openais=OPENAIS),
        Row("  processor time of all seven processes", "us", None, None, less_is_better=True),
    ]
    anyio.run(_measure, rows, quick)
    return Table("Events: one publisher, three subscribers, at every one of them", rows)


async def _measure(rows: list[Row], quick: bool) -> None:
    async with three_nodes() as cluster:
        seconds, runs = (0.3, 1) if quick else (2.0, RUNS)
        for place, batch in ((0, 1), (2, BATCH)):
            values = [await _events(cluster, batch, seconds) for _ in range(runs)]
            turns = iter(values)
            repeat(rows[place : place + 2], lambda turns=turns: next(turns), runs)  # type: ignore[misc]


async def _events(cluster: DevelopmentCluster, batch: int, seconds: float) -> tuple[float, float]:
    """Events per second, and microseconds of processor time for each."""
    flags = evt.ChannelOpenFlags.PUBLISHER | evt.ChannelOpenFlags.CREATE
    commands = [command_of("bench.evt_subscriber", {"address": str(node.socket_path)}) for node in cluster.nodes]
    async with (
        evt.initialize(address=str(cluster.nodes[0].socket_path)) as service,
        service.channel_open(CHANNEL, flags) as channel,
        anyio.create_task_group() as tasks,
    ):
        with workers(commands) as subscribers:
            pids = [node.process.pid for node in cluster.nodes if node.process is not None]
            pids += [os.getpid(), *(subscriber.pid for subscriber in subscribers)]
            progress = Progress(len(subscribers))
            for place, subscriber in enumerate(subscribers):
                tasks.start_soon(progress.follow, place, subscriber)
            before, start = _processor_seconds(pids), time.perf_counter()
            count = await _publish(channel, batch, seconds, progress)
            await channel.publish(LAST)
            await progress.ended.wait()
            took, used = time.perf_counter() - start, _processor_seconds(pids) - before
    assert progress.received == [count] * len(subscribers), f"{progress.received} of {count}"
    return count / took, used / count * 1e6


class Progress:
    """How many events each subscriber has; `ended` when all have the last one."""

    def __init__(self, count: int) -> None:
        self.received = [0] * count
        self.ended = anyio.Event()
        self._going_on = count
        self._changed = anyio.Event()

    async def follow(self, place: int, subscriber: Worker) -> None:
        is_last = False
        while not is_last:
            said = await anyio.to_thread.run_sync(subscriber.answer)
            self.received[place], is_last = int(said["count"]), bool(said.get("is_last"))
            changed, self._changed = self._changed, anyio.Event()
            changed.set()
        self._going_on -= 1
        if not self._going_on:
            self.ended.set()

    async def until_room(self, published: int) -> None:
        """Wait until the slowest subscriber is not too far behind: this is about events that arrive."""
        while published - min(self.received) > AHEAD_MAX:
            await self._changed.wait()


async def _publish(channel: evt.Channel, batch: int, seconds: float, progress: Progress) -> int:
    data = [bytes(SIZE)] * batch
    end = time.perf_counter() + seconds
    counts = [0]

    async def publish() -> None:
        while time.perf_counter() < end:
            await progress.until_room(counts[0])
            counts[0] += batch
            if batch == 1:
                await channel.publish(data[0])
            else:
                await channel.publish_batch(data)

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
