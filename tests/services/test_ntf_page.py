"""The code on the page of NTF does what the page says."""

from typing import Any

import anyio
import pytest

from corosync_amf import ntf
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.ntf.engine import NtfEngine

from .loopback import eventually, loopback
from .notifications import public_alarm
from .test_pages import blocks_of, names_for, program

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_the_page_of_ntf() -> None:
    sending, following = blocks_of("ntf.md")
    async with loopback(lambda: [ClmEngine(), NtfEngine()], 2) as cluster, anyio.create_task_group() as tasks:
        printed: list[tuple[Any, ...]] = []
        await program(sending, names_for(cluster, 1, printed))()
        assert printed == [(True, "41 degrees: open the door")]
        tasks.start_soon(program(following, names_for(cluster, 2, printed)))
        engine = cluster.engines(NtfEngine)[0]
        await eventually(lambda: bool(engine.snapshot().subscriptions))
        async with ntf.initialize(address=cluster.nodes[1].address) as service:
            await service.notification_send(public_alarm(additional_text="again"))
        await eventually(lambda: len(printed) == 2)
        assert printed[1] == ("safApp=a", "MAJOR", "again")
        tasks.cancel_scope.cancel()
