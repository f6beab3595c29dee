"""Processes that take part in a benchmark: orders go to them as JSON lines, answers come back as JSON lines.

with workers([command, command]) as both:            the benchmark
    both[0].tell(order="load", seconds=2.0)
    both[0].answer()

await obey(load=load, latency=latency)               the worker, which calls `answer(rate=...)`
"""

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.to_thread


class Worker:
    """One process, started by `workers`."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, **order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, float]:
        """The next answer. Raises: RuntimeError: the worker has died."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a worker of the benchmark has died")
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
def workers(commands: Sequence[Sequence[str]]) -> Iterator[list[Worker]]:
    """Workers that have all given their first answer: they are ready."""
    started: list[Worker] = []
    try:
        for command in commands:
            started.append(Worker(command))
        for worker in started:
            worker.answer()
        yield started
    finally:
        for worker in started:
            worker.stop()


def command_of(module: str, options: dict[str, object], prefix: Sequence[str] = ()) -> list[str]:
    """What starts a module as a worker; it finds the options in its first argument."""
    return [*prefix, sys.executable, "-m", module, json.dumps(options)]


def latency(members: Sequence[Worker], count: int) -> float:
    """Milliseconds from the call to the own delivery, median over all members, one message at a time."""
    medians = []
    for member in members:
        member.tell(order="latency", count=count)
        medians.append(member.answer()["median"] * 1000)
    return sorted(medians)[len(medians) // 2]


# ---- in the worker


def options() -> Any:
    """What `command_of` was given."""
    return json.loads(sys.argv[1])


def answer(**facts: float) -> None:
    """Say something to the benchmark."""
    print(json.dumps(facts), flush=True)


async def obey(**orders: Callable[..., Awaitable[None]]) -> None:
    """Carry out one order after the other, until there are no more."""
    while line := await anyio.to_thread.run_sync(sys.stdin.readline):
        values: dict[str, Any] = json.loads(line)
        await orders[values.pop("order")](**values)
