"""One client of the CPG benchmark. Orders come as JSON lines on standard input, answers go to standard output."""

import json
import statistics
import sys
import time
from typing import Any

import anyio
import anyio.to_thread

from corosync_amf.services import cpg

WARM_UP = 0.3
GROUP = "bench"


class Member:
    """Counts what is delivered, by sender and in all."""

    def __init__(self, session: cpg.CpgService, members: int) -> None:
        self.session = session
        self.members = members
        self.complete = anyio.Event()
        self.delivered = 0
        self.own = 0
        self.is_sending = False
        self.changed = anyio.Event()

    async def receive(self) -> None:
        """Take what comes in batches; the first one tells who is there."""
        me = (self.session.local_get(), _pid())
        async for batch in self.session.batches():
            for event in batch:
                if type(event) is cpg.Delivered:
                    if event.node_id == me[0] and event.pid == me[1]:
                        self.own += 1
                elif isinstance(event, cpg.ConfigurationChanged) and len(event.members) == self.members:
                    self.complete.set()
            self.delivered += len(batch)
            self.changed.set()

    async def send(self, size: int, batch: int) -> int:
        """Send as much as flow control allows until told to stop; return how many."""
        mcast, message, sent = self.session.mcast_joined, bytes(size), 0
        many = [message] * batch
        while self.is_sending:
            if batch:
                await mcast(many)
                sent += batch
            else:
                for _ in range(50):
                    await mcast(message)
                sent += 50
        return sent

    async def load(self, size: int, batch: int, seconds: float) -> None:
        """Send and receive for so long; tell the rate, and the CPU that it took."""
        self.own, self.is_sending = 0, True
        sent = 0

        async def send() -> None:
            nonlocal sent
            sent = await self.send(size, batch)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await anyio.sleep(WARM_UP)
            start, before, cpu = time.monotonic(), self.delivered, time.process_time()
            await anyio.sleep(seconds)
            took, got = time.monotonic() - start, self.delivered - before
            answer(rate=got / took, cpu=(time.process_time() - cpu) / max(got, 1) * 1e6)
            self.is_sending = False
        while self.own < sent:
            self.changed = anyio.Event()
            await self.changed.wait()
        answer(quiet=1)

    async def latency(self, count: int) -> None:
        """One message at a time on an idle ring, from the call until its own delivery."""
        took: list[float] = []
        for number in range(count):
            await anyio.sleep(0.01 + 0.0007 * (number % 13))
            self.own = 0
            start = time.monotonic()
            await self.session.mcast_joined(bytes(100))
            while not self.own:
                self.changed = anyio.Event()
                await self.changed.wait()
            took.append(time.monotonic() - start)
        answer(median=statistics.median(took))

    async def obey(self) -> None:
        """Carry out one order after the other."""
        await self.complete.wait()
        answer(complete=1)
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            values: dict[str, Any] = json.loads(line)
            match values.pop("order"):
                case "load":
                    await self.load(**values)
                case "latency":
                    await self.latency(**values)
                case other:
                    raise ValueError(other)


def _pid() -> int:
    import os

    return os.getpid()


def answer(**facts: float) -> None:
    print(json.dumps(facts), flush=True)


async def main() -> None:
    options = json.loads(sys.argv[1])
    async with cpg.initialize(address=options["address"]) as session, anyio.create_task_group() as tasks:
        member = Member(session, options["members"])
        tasks.start_soon(member.receive)
        await session.join(GROUP)
        await member.obey()
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
