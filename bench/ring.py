"""Three processes on loopback, one embedded group each, encrypted: throughput, latency, idle cost.

Every node sends; a rate counts what is delivered to every one of the three (the slowest receiver's count). Batches are
what the client library makes of many messages: one payload with some hundred of them, packed and unpacked by msgspec.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.common import RUNS, Row, print_table, repeat

NODES = (1, 2, 3)
KEY = bytes(range(128))
FORMED_SECONDS = 20.0


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


class Member:
    """One node in a process of its own; see `bench.ring_member`."""

    def __init__(self, node: int, ports: dict[int, int]) -> None:
        options = {"node": node, "key": KEY.hex(), "ports": ports}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.ring_member", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, **order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a node of the benchmark has died")
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
def ring() -> Iterator[list[Member]]:
    """Three members that have formed a ring."""
    ports = _free_ports()
    members: list[Member] = []
    try:
        for node in NODES:
            members.append(Member(node, ports))
        for member in members:
            member.answer()  # the ring is formed
        yield members
    finally:
        for member in members:
            member.stop()


def _free_ports() -> dict[int, int]:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in NODES]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return {node: sock.getsockname()[1] for node, sock in zip(NODES, sockets, strict=True)}
    finally:
        for sock in sockets:
            sock.close()


def rate(members: list[Member], load: Load, seconds: float) -> float:
    """Messages a second that every member gets."""
    for member in members:
        member.tell(order="load", size=load.size, outstanding=load.outstanding, batch=load.batch, seconds=seconds)
    delivered = [member.answer()["rate"] for member in members]
    for member in members:
        member.answer()  # nothing is on the way any more
    return min(delivered)


def latency(members: list[Member], count: int) -> float:
    """Milliseconds from `multicast` to the own delivery, median over all members, one message at a time."""
    medians = []
    for member in members:
        member.tell(order="latency", count=count)
        medians.append(member.answer()["median"] * 1000)
    return sorted(medians)[1]


def idle(members: list[Member], seconds: float) -> tuple[float, float]:
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


def run(quick: bool = False) -> None:
    """Measure everything and print the table."""
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
    with ring() as members:
        repeat([cpu, memory], lambda: idle(members, seconds), runs)
        repeat([delay], lambda: [latency(members, 20 if quick else 200)], runs)
        for row, load, unit in throughput:
            repeat([row], lambda load=load, unit=unit: [rate(members, load, seconds) / unit], runs)  # type: ignore[misc]
    repeat([cold], lambda: [cold_start()], runs)
    title = f"Embedded group, 3 processes on {os.cpu_count()} CPUs, loopback, AES-256-GCM ({time.strftime('%F')})"
    print_table(title, [*(row for row, _, _ in throughput), delay, cpu, memory, cold])
