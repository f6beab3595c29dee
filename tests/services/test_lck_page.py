"""The code on the page of LCK does what the page says."""

from typing import Any

import anyio
import pytest

from corosync_amf import lck
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.lck.engine import LckEngine

from .loopback import eventually, loopback
from .test_pages import blocks_of, names_for, program

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_the_page_of_lck() -> None:
    holding, waiting = blocks_of("lck.md")
    async with loopback(lambda: [ClmEngine(), LckEngine()], 2) as cluster:
        printed: list[tuple[Any, ...]] = []
        async with (
            lck.initialize(address=cluster.nodes[2].address) as service,
            service.resource_open("billing-run") as billing,
            service.resource_open("printer") as printer,
            anyio.create_task_group() as tasks,
        ):
            await program(holding, names_for(cluster, 1, printed))()
            assert printed.pop()[0] == "mine, with token"
            async with billing.lock():
                await program(holding, names_for(cluster, 1, printed))()
            assert printed.pop() == ("somebody else is doing it",)
            async with printer.lock(waiter_signal=5):
                tasks.start_soon(program(waiting, names_for(cluster, 1, printed)))
                async for event in service:
                    assert isinstance(event, lck.LockWaiter)
                    assert event.waiter_signal == 7
                    break
            await eventually(lambda: printed == [("granted:", "GRANTED")])
            async with printer.lock(waiter_signal=5, timeout=10):
                assert printed[1:] == [("wanted by", 5)]
            tasks.cancel_scope.cancel()
