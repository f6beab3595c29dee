"""A component host in miniature: it runs call servers in this process, keeps their checkpoint, and can kill them.

It gives `CallServer` what the real host gives it (the hooks, and a context with the public names), and its checkpoint
outlives any instance, as the replicated one does.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio

from corosync_amf import Assignment, ComponentContext
from corosync_amf.ais import Dn, HaState
from corosync_amf.errors import AccessDenied
from telephony.callserver import CallServer
from telephony.model import decode

CSI = Dn("safCsi=sip,safSi=calls,safApp=phone")
COMMIT_TIME = 0.002  # about one round of the ring
log = logging.getLogger("telephony.test")


@dataclass
class FakeContext:
    """What an instance of the call server uses of `ComponentContext`."""

    host: "Host"
    csi: Assignment
    dead: bool = False
    tasks: list["asyncio.Task[object]"] = field(default_factory=list)
    log: logging.Logger = log

    async def checkpoint(self, changes: Mapping[str, bytes | None]) -> None:
        await asyncio.sleep(COMMIT_TIME)
        self.guard()
        await self.host.write(changes)

    def guard(self) -> None:
        if self.dead:
            raise AccessDenied("another component was made active")

    def start(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine))


@dataclass
class Host:
    """A 2N group of call servers without cluster: one active, one standby that follows the checkpoint."""

    attributes: dict[str, tuple[str, ...]]
    state: dict[str, bytes] = field(default_factory=dict)
    failovers: list[float] = field(default_factory=list)
    written_to: anyio.Event = field(default_factory=anyio.Event)
    writes: int = 0
    written: int = 0

    async def start(self) -> None:
        self.standby = await self._standby()
        await self._activate()

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        self.writes += 1
        self.written += sum(len(value) for value in changes.values() if value is not None)
        for key, value in changes.items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        self.written_to.set()
        self.written_to = anyio.Event()
        component, ctx = self.standby
        await component.state_updated(self.context(ctx), ctx.csi, dict(changes))

    async def kill(self, outage: float = 0.0) -> None:
        """The active instance dies as a process does: nothing of it runs any more, its sockets are gone.

        After `outage` seconds the standby is promoted.
        """
        await self._die()
        before = time.monotonic()
        await asyncio.sleep(outage)
        await self._activate()
        self.failovers.append(time.monotonic() - before)

    async def swap(self) -> None:
        """An orderly change of places."""
        await self.stop()
        await self._activate()

    async def stop(self) -> None:
        await self._set(*self.active, HaState.QUIESCED)
        await self._reap(self.active[1])

    async def until_billed(self) -> None:
        """Wait until every call that has ended is in the file of records."""
        with anyio.fail_after(20):
            while not all(call.billed for call in map(decode, self.state.values())):
                await self.written_to.wait()

    def context(self, ctx: FakeContext) -> ComponentContext:
        return cast(ComponentContext, ctx)

    def check(self) -> None:
        """Raises what a task of the active instance has raised."""
        for task in self.active[1].tasks:
            if task.done():
                task.result()

    async def _standby(self) -> tuple[CallServer, FakeContext]:
        component = CallServer()
        ctx = FakeContext(self, Assignment(CSI, HaState.STANDBY, self.attributes))
        await component.restore(self.context(ctx), ctx.csi, dict(self.state))
        await self._set(component, ctx, HaState.STANDBY)
        return component, ctx

    async def _set(self, component: CallServer, ctx: FakeContext, ha_state: HaState) -> None:
        ctx.csi.ha_state = ha_state
        await component.csi_set(self.context(ctx), ctx.csi, ha_state)

    async def _activate(self) -> None:
        self.active = self.standby
        self.standby = await self._standby()
        await self._set(*self.active, HaState.ACTIVE)

    async def _die(self) -> None:
        ctx = self.active[1]
        ctx.dead = True
        for task in ctx.tasks:
            task.cancel()
        await self._reap(ctx)

    async def _reap(self, ctx: FakeContext) -> None:
        for task in ctx.tasks:
            await asyncio.gather(task, return_exceptions=True)
        ctx.tasks.clear()


@dataclass
class Place:
    """Addresses on loopback that nobody else uses, and a file for the records."""

    server: tuple[str, int]
    callee: tuple[str, int]
    cdr: Path
    rtp: str

    @classmethod
    def find(cls, directory: Path) -> "Place":
        # Every process has an address of its own, so that test runs beside this one cannot get in the way.
        pid = os.getpid()
        host = f"127.{100 + pid // 62500 % 100}.{pid // 250 % 250}.{1 + pid % 250}"
        return cls(
            (host, free_port(host)), ("127.0.0.1", free_port("127.0.0.1")), directory / "cdr.jsonl", "20000-21999"
        )

    def attributes(self, **more: str) -> dict[str, tuple[str, ...]]:
        texts = {
            "address": f"{self.server[0]}:{self.server[1]}",
            "route": f"{self.callee[0]}:{self.callee[1]}",
            "rtp": self.rtp,
            "secret": "test",
            "cdr": str(self.cdr),
            **more,
        }
        return {name: (text,) for name, text in texts.items()}


def free_port(host: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
