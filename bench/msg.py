"""Messages through a queue on three executives on loopback, one process that sends and gets, encrypted.

A pair is one send, which is done when every member holds the message, and one `message_get` of the same process. One
at a time the get is asked for together with the send, as a receiver that waits would have done before; one after the
other it is asked for when the send has returned; with 64 in flight 64 tasks ask for both together at the same time.
"""

import time

import anyio

from bench.cluster import three_nodes
from bench.common import RUNS, Row, Table, repeat
from corosync_amf.development import DevelopmentCluster
from corosync_amf.services import msg

IN_FLIGHT = 64
MESSAGE = msg.Message(bytes(1024))


def run(*, quick: bool) -> Table:
    """Measure pairs of send and get per second: one at a time, and 64 in flight."""
    rows = [
        Row("message send and get, 1 KB, one at a time", "pairs/s", 1000, 1420, openais=142),
        Row("message send, then get, 1 KB, one after the other", "pairs/s", 1000, 1420, openais=142),
        Row(f"message send and get, 1 KB, {IN_FLIGHT} in flight", "pairs/s", 1000, 1420, openais=142),
    ]
    anyio.run(_measure, rows, quick)
    return Table("Messages: three executives, all have each message before its send returns", rows)


async def _measure(rows: list[Row], quick: bool) -> None:
    async with three_nodes() as cluster:
        runs = 1 if quick else RUNS
        values = [await _pairs(cluster, 0.3 if quick else 2.0) for _ in range(runs)]
        turns = iter(values)
        repeat(rows, lambda: next(turns), runs)


async def _pairs(cluster: DevelopmentCluster, seconds: float) -> tuple[float, float, float]:
    """Pairs per second: together, one after the other, and 64 in flight."""
    attributes = msg.QueueCreationAttributes()
    async with (
        msg.initialize(address=str(cluster.nodes[1].socket_path)) as service,
        service.queue_open(f"bench-{time.monotonic_ns()}", attributes) as queue,
    ):
        together = await _rate(service, queue, 1, seconds)
        apart = await _rate_apart(service, queue, seconds)
        return together, apart, await _rate(service, queue, IN_FLIGHT, seconds)


async def _rate(service: msg.MsgService, queue: msg.Queue, in_flight: int, seconds: float) -> float:
    start = time.perf_counter()
    end = start + seconds
    count = 0

    async def pairs() -> None:
        nonlocal count
        while time.perf_counter() < end:
            sending = service.message_send_async(queue.name, MESSAGE)
            await queue.message_get()
            await sending
            count += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(in_flight):
            tasks.start_soon(pairs)
    return count / (time.perf_counter() - start)


async def _rate_apart(service: msg.MsgService, queue: msg.Queue, seconds: float) -> float:
    start = time.perf_counter()
    end = start + seconds
    count = 0
    while time.perf_counter() < end:
        await service.message_send(queue.name, MESSAGE)
        await queue.message_get()
        count += 1
    return count / (time.perf_counter() - start)
