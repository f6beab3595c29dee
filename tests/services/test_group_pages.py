"""The code on the pages of CPG and EVS does what the pages say."""

import os
from typing import Any

import pytest

from corosync_amf.services.cpg.engine import CpgEngine
from corosync_amf.services.evs.engine import EvsEngine

from .loopback import loopback
from .test_pages import blocks_of, names_for, program

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_the_page_of_cpg() -> None:
    chatting, counting = blocks_of("cpg.md")
    async with loopback(lambda: [EvsEngine(), CpgEngine()], 2) as cluster:
        printed: list[tuple[Any, ...]] = []
        await program(chatting, names_for(cluster, 2, printed))()
        assert printed == [([2], f"process {os.getpid()} on node 2 joined"), (2, b"hello")]
        await program(counting, names_for(cluster, 1, printed))()
        assert printed[2:] == [(1000,)]


async def test_the_page_of_evs() -> None:
    (calling,) = blocks_of("evs.md")
    async with loopback(lambda: [EvsEngine(), CpgEngine()], 2) as cluster:
        printed: list[tuple[Any, ...]] = []
        await program(calling, names_for(cluster, 1, printed))()
        assert printed == [("REGULAR", (1, 2), "the present configuration"), (1, b"ringing")]
