"""Speed kept by counting: what a thousand small messages cost in calls, which do not depend on the machine."""

import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import pytest

from corosync_amf import cpg
from corosync_amf.services.cpg import Delivered
from corosync_amf.services.cpg.engine import CpgEngine

from .loopback import loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]

COUNT = 1000
MESSAGE = bytes(100)
BESIDES = 1500
"""Calls of the event loop, the session, and the executive, whatever the number of messages; with room to spare."""


class Calls:
    """Counts calls of Python functions, in all and by file, while the block runs."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "Calls":
        def count(frame: FrameType, event: str, argument: object) -> None:
            if event == "call":
                self.count += 1

        sys.setprofile(count)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.setprofile(None)


async def cost_of(carry: Callable[[Any], Awaitable[None]]) -> int:
    async with (
        loopback(lambda: [CpgEngine()], 1) as cluster,
        cpg.initialize(address=cluster.nodes[1].address) as session,
    ):
        await session.join("g")
        await anext(aiter(session))
        await carry(session)  # the first time is not counted
        with Calls() as calls:
            await carry(session)
        return calls.count


async def receive(session: Any) -> None:
    got = 0
    async for batch in session.batches():
        got += sum([type(event) is Delivered for event in batch])
        if got == COUNT:
            break


async def test_a_batch_costs_no_call_per_message() -> None:
    async def carry(session: Any) -> None:
        await session.mcast_joined([MESSAGE] * COUNT)
        await receive(session)

    assert await cost_of(carry) < BESIDES


async def test_one_call_per_message_costs_two() -> None:
    async def carry(session: Any) -> None:
        for _ in range(COUNT):
            await session.mcast_joined(MESSAGE)
        await receive(session)

    assert await cost_of(carry) < 2 * COUNT + BESIDES


async def test_taking_events_one_by_one_costs_one_call_each() -> None:
    async def carry(session: Any) -> None:
        await session.mcast_joined([MESSAGE] * COUNT)
        got = 0
        async for _ in session:
            got += 1
            if got == COUNT:
                break

    assert await cost_of(carry) < COUNT + BESIDES
