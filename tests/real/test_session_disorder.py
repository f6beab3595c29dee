import random
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from corosync_amf.engine import Done, Service
from corosync_amf.session import Session
from corosync_amf.wire import REQUESTS_IN_FLIGHT_MAX

from .echo_executive import Burst, EchoExecutive, Peek, Said, Say, Ticked, echo_executive

pytestmark = [pytest.mark.anyio, pytest.mark.real]
EVT = Service.EVT


class Disorder:
    """Coroutines that call, listen and are cancelled by chance, and an executive that answers when it likes."""

    def __init__(self, seed: int, session: Session, executive: EchoExecutive) -> None:
        self.chance = random.Random(seed)
        self.session = session
        self.executive = executive
        self.answered = 0

    async def one(self, name: bytes) -> None:
        session = self.session
        match self.chance.randrange(4):
            case 0:
                assert (await session.submit(EVT, Say(name), Said)).data == name
            case 1:
                assert (await session.ask(EVT, Peek(name), Said)).data == name
            case 2:
                await session.request(EVT, Burst(self.chance.randrange(1, 3)), Done)
            case _:
                assert (await session.request(EVT, Say(name), Said)).data == name
        self.answered += 1

    async def some_checkpoints(self, below: int) -> None:
        for _ in range(self.chance.randrange(below)):
            await anyio.lowlevel.checkpoint()

    async def call(self, number: int) -> None:
        for turn in range(10):
            name = b"%d/%d" % (number, turn)
            if self.chance.random() < 0.6:
                await self.one(name)
                continue
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.one, name)
                await self.some_checkpoints(8)
                tasks.cancel_scope.cancel()

    async def listen(self) -> None:
        while True:
            with anyio.CancelScope() as scope:
                if self.chance.random() < 0.3:
                    scope.cancel()
                await self.session.next_events(EVT)
            await anyio.lowlevel.checkpoint()

    async def release(self) -> None:
        while True:
            await self.some_checkpoints(4)
            await anyio.lowlevel.checkpoint()
            self.executive.release(self.chance.randrange(1, 6))

    async def run(self) -> None:
        self.executive.hold = True
        async with anyio.create_task_group() as background:
            background.start_soon(self.listen)
            background.start_soon(self.release)
            async with anyio.create_task_group() as callers:
                for number in range(12):
                    callers.start_soon(self.call, number)
            background.cancel_scope.cancel()
        self.executive.hold = False
        self.executive.release()


@pytest.mark.parametrize("seed", range(15))
async def test_nobody_is_forgotten_whoever_is_cancelled_whenever(tmp_path: Path, seed: int) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        session.attach(EVT, Ticked)
        disorder = Disorder(seed, session, executive)
        with anyio.fail_after(20):
            await disorder.run()
            assert disorder.answered >= 12 * 4
            assert (await session.request(EVT, Say(b"end"), Said)).data == b"end"
            calls = [session.submit(EVT, Say(b""), Said) for _ in range(REQUESTS_IN_FLIGHT_MAX)]  # all credit is back
            for call in calls:
                await call
        await session.close()
