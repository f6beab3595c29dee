"""Three processes on loopback, one embedded group each, encrypted: throughput, latency, idle cost.

Every node sends; a rate counts what is delivered to every one of the three (the slowest receiver's count). Batches are
what the client library makes of many messages: one payload with some hundred of them, packed and unpacked by msgspec.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.common import RUNS, Row, Table, repeat
from bench.workers import Worker, command_of, latency, workers
from tests.real.namespaces import Machines, have_namespaces

NODES = (1, 2, 3)
KEY = bytes(range(128))
Addresses = dict[int, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Load:
    """`outstanding` messages of `size` bytes on the way from each node; `batch` of them to a payload (0: single)."""

    size: int
    outstanding: int
    batch: int = 0


SINGLE = Load(100, 20_000)
BATCHES = Load(100, 60_000, batch=500)
TEN_KB = Load(10_000, 300)
SIXTY_KB = Load(60_000, 60)
MEGABYTE = Load(1_000_000, 6)


@contextmanager
def ring(machines: Machines | None = None) -> Iterator[list[Worker]]:
    """Three members that have formed a ring, on loopback or each on a machine (a network namespace) of its own."""
    addresses = _free_ports() if machines is None else {node: (machines.ipv4(node), 5405) for node in NODES}
    commands = [
        command_of(
            "bench.ring_member",
            {"node": node, "key": KEY.hex(), "addresses": addresses},
            machines.command(node) if machines else (),
        )
        for node in NODES
    ]
    with workers(commands) as members:
        yield members


def _free_ports() -> Addresses:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in NODES]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return {node: sock.getsockname() for node, sock in zip(NODES, sockets, strict=True)}
    finally:
        for sock in sockets:
            sock.close()


def rate(members: list[Worker], load: Load, seconds: float) -> float:
    """Messages a second that every member gets."""
    for member in members:
        member.tell(order="load", size=load.size, outstanding=load.outstanding, batch=load.batch, seconds=seconds)
    delivered = [member.answer()["rate"] for member in members]
    for member in members:
        member.answer()  # nothing is on the way any more
    return min(delivered)


def idle(members: list[Worker], seconds: float) -> tuple[float, float]:
    """Share of one CPU in percent, and resident megabytes, of the greediest member."""
    for member in members:
        member.tell(order="idle", seconds=seconds)
    answers = [member.answer() for member in members]
    return max(answer["cpu"] for answer in answers) * 100, max(answer["resident"] for answer in answers) / 1e6


def cold_start() -> float:
    """Milliseconds from the start of the last socket to the membership of three, in every member."""
    with ring() as members:
        for member in members:
            member.tell(order="formed")
        return max(member.answer()["formed"] for member in members) * 1000


def run(*, quick: bool) -> Table:
    """Measure everything."""
    seconds, runs = (0.2, 1) if quick else (2.0, RUNS)
    throughput = [
        (Row("100 B, one call per message", "messages/s", 100_000, 500_000), SINGLE, 1.0),
        (Row("100 B, batches of 500", "messages/s", 300_000, 1_000_000), BATCHES, 1.0),
        (Row("10 KB", "MB/s"), TEN_KB, 1e6 / 10_000),
        (Row("60 KB", "MB/s", 80, 250), SIXTY_KB, 1e6 / 60_000),
        (Row("1 MB", "MB/s"), MEGABYTE, 1.0),
    ]
    delay = Row("100 B on an idle ring, own delivery", "ms", 1.5, 0.4, less_is_better=True)
    cpu = Row("idle CPU of one node", "%", 5, 1, less_is_better=True)
    memory = Row("memory of one idle node", "MB", 80, 45, less_is_better=True)
    cold = Row("cold start of three nodes to membership", "ms", 1000, 300, less_is_better=True)
    busy = os.getloadavg()[0]
    with ring() as members:
        repeat([cpu, memory], lambda: idle(members, seconds), runs)
        repeat([delay], lambda: [latency(members, 20 if quick else 200)], runs)
        for row, load, unit in throughput:
            repeat([row], lambda load=load, unit=unit: [rate(members, load, seconds) / unit], runs)  # type: ignore[misc]
    repeat([cold], lambda: [cold_start()], runs)
    rows = [*(row for row, _, _ in throughput), delay, cpu, memory, cold]
    if have_namespaces():
        wire = Row("60 KB over an Ethernet MTU (1500), segmented", "MB/s")
        with Machines(3) as machines, ring(machines) as members:
            repeat([wire], lambda: [rate(members, SIXTY_KB, seconds) * 60_000 / 1e6], runs)
        rows.insert(5, wire)
    where = f"3 processes on {os.cpu_count()} CPUs (load before: {busy:.1f}), loopback, AES-256-GCM"
    return Table(f"Embedded group, {where}, {time.strftime('%F')}", rows)
