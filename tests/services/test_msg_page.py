"""The code on the page of MSG does what the page says."""

from typing import Any

import anyio
import pytest

from corosync_amf import msg
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.msg.engine import MsgEngine

from .loopback import eventually, loopback
from .test_pages import blocks_of, names_for, program

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_the_page_of_msg() -> None:
    sending, serving = blocks_of("msg.md")
    async with loopback(lambda: [ClmEngine(), MsgEngine()], 2) as cluster:
        printed: list[tuple[Any, ...]] = []
        await program(sending, names_for(cluster, 1, printed))()
        assert printed == [(b"order 1",)]
        async with (
            msg.initialize(address=cluster.nodes[2].address) as service,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(program(serving, names_for(cluster, 1, printed)))
            answer = await service.message_send_receive("orders", msg.Message(b"order 2"))
            assert answer.data == b"done: order 2"
            tasks.cancel_scope.cancel()
        await eventually(lambda: cluster.states()[0] == cluster.states()[1])
