"""One client of the CPG benchmark. Orders come as JSON lines on standard input, answers go to standard output."""

import os
import statistics
import time

import anyio

from bench.workers import answer, obey, options
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
        me = (self.session.local_get(), os.getpid())
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


async def main() -> None:
    given = options()
    async with cpg.initialize(address=given["address"]) as session, anyio.create_task_group() as tasks:
        member = Member(session, given["members"])
        tasks.start_soon(member.receive)
        await session.join(GROUP)
        await member.complete.wait()
        answer(complete=1)
        await obey(load=member.load, latency=member.latency)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
