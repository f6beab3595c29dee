"""One node of the ring benchmark. Orders come as JSON lines on standard input, answers go to standard output."""

import os
import statistics
import sys
import time
from functools import partial

import anyio
import msgspec

from aisexec.groups import Configuration, ConfigurationKind, Delivered, Happening
from aisexec.groups.embedded import EmbeddedGroup, EmbeddedOptions
from bench.workers import answer, obey, options

WARM_UP = 0.25
SMALL = 1000
"""A payload up to this size is no batch: a node that is slow to end its run may still send a few."""
pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(list[bytes]).decode


class Member:
    def __init__(self, node: int, key: bytes, addresses: dict[int, tuple[str, int]]) -> None:
        self.node = node
        self.nodes = tuple(sorted(addresses))
        self.group = EmbeddedGroup(
            EmbeddedOptions(
                node_id=node,
                incarnation=time.time_ns(),
                address=addresses[node][0],
                port=addresses[node][1],
                peers=addresses,
                key=key,
            )
        )
        self.started = time.monotonic()
        self.formed_after = 0.0
        self.formed = anyio.Event()
        self.delivered = 0
        self.own = 0
        self.batch = 0
        self.payload = b""
        self.sending = False
        self.changed = anyio.Event()

    def deliver(self, happenings: list[Happening]) -> None:
        for happening in happenings:
            if isinstance(happening, Delivered):
                self._count(happening.messages)
            elif isinstance(happening, Configuration):
                if happening.kind is ConfigurationKind.REGULAR and happening.members == self.nodes:
                    self.formed_after = time.monotonic() - self.started
                    self.formed.set()
                elif self.formed.is_set():
                    print(f"node {self.node}: the ring changed: {happening}", file=sys.stderr)
        self.changed.set()

    def _count(self, messages: list[tuple[int, bytes]]) -> None:
        own = [payload for sender, payload in messages if sender == self.node]
        if self.batch:
            self.delivered += sum([len(unpack(payload)) for _, payload in messages if len(payload) > SMALL])
        else:
            self.delivered += len(messages)
        self.own -= len(own)
        if self.sending:
            self.send(len(own))

    def send(self, count: int) -> None:
        multicast, batch, payload = self.group.multicast, self.batch, self.payload
        self.own += count
        for _ in range(count):
            multicast(pack([payload] * batch) if batch else payload)

    async def load(self, size: int, outstanding: int, batch: int, seconds: float) -> None:
        self.batch, self.payload, self.sending = batch, bytes(size), True
        self.send(outstanding // (batch or 1))
        await anyio.sleep(WARM_UP)
        start, before = time.monotonic(), self.delivered
        await anyio.sleep(seconds)
        took, got = time.monotonic() - start, self.delivered - before
        self.sending = False
        answer(rate=got / took)
        await self.until_quiet()
        self.batch = 0
        answer(quiet=1)

    async def until_quiet(self) -> None:
        """Wait until nothing has come for a while and nothing of this node is on the way."""
        quiet = False
        while self.own or not quiet:
            self.changed = anyio.Event()
            with anyio.move_on_after(0.1) as scope:
                await self.changed.wait()
            quiet = scope.cancelled_caught

    async def latency(self, count: int) -> None:
        self.batch, self.sending = 0, False
        took: list[float] = []
        for number in range(count):
            await anyio.sleep(0.01 + 0.0007 * (number % 13))
            start = time.monotonic()
            self.payload = bytes(100)
            self.send(1)
            while self.own:
                self.changed = anyio.Event()
                await self.changed.wait()
            took.append(time.monotonic() - start)
        answer(median=statistics.median(took))

    async def idle(self, seconds: float) -> None:
        await anyio.sleep(0.5)
        start, cpu = time.monotonic(), time.process_time()
        await anyio.sleep(seconds)
        answer(cpu=(time.process_time() - cpu) / (time.monotonic() - start), resident=resident_bytes())

    async def tell_formed(self) -> None:
        answer(formed=self.formed_after)

    async def obey(self) -> None:
        await self.formed.wait()
        await self.tell_formed()
        await obey(load=self.load, latency=self.latency, idle=self.idle, formed=self.tell_formed)


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def main() -> None:
    given = options()
    addresses = {int(node): (address, port) for node, (address, port) in given["addresses"].items()}
    member = Member(given["node"], bytes.fromhex(given["key"]), addresses)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(member.group.run, member.deliver))
        await member.obey()
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
