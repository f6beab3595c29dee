"""The code on the page of EVT does what the page says."""

from typing import Any

import pytest

from corosync_amf.services.evt.engine import EvtEngine

from .loopback import loopback
from .test_pages import blocks_of, names_for, program

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_the_page_of_evt() -> None:
    single, batch = blocks_of("evt.md")
    async with loopback(lambda: [EvtEngine()], 2) as cluster:
        printed: list[tuple[Any, ...]] = []
        await program(single, names_for(cluster, 1, printed))()
        await program(batch, names_for(cluster, 2, printed))()
        assert printed == [((b"disk/sda1",), b"sda1 full"), (64,)]
