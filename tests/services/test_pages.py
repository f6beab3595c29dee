"""The code on the pages of CKPT and CLM does what the pages say."""

import re
import textwrap
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest

from corosync_amf import ckpt
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.clm.engine import ClmEngine

from .loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]
PAGES = Path(__file__).parents[2] / "docs" / "services"


def blocks_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)


def program(block: str, names: dict[str, Any]) -> Callable[[], Coroutine[Any, Any, None]]:
    """The block as a coroutine function, with `print` and the address replaced by what `names` gives."""
    body = block.replace("initialize()", "initialize(address=address)").replace("copy = {}", "copy = copies")
    exec(f"async def run():\n{textwrap.indent(body, '    ')}", names)
    run: Callable[[], Coroutine[Any, Any, None]] = names["run"]
    return run


def names_for(cluster: Loopback, node: int, printed: list[tuple[Any, ...]]) -> dict[str, Any]:
    return {"address": cluster.nodes[node].address, "print": lambda *words: printed.append(words), "copies": {}}


async def test_the_page_of_ckpt() -> None:
    writing, following = blocks_of("ckpt.md")
    async with loopback(lambda: [ClmEngine(), CkptEngine()], 2) as cluster:
        printed: list[tuple[Any, ...]] = []
        await program(writing, names_for(cluster, 1, printed))()
        assert printed == [([b"answered"],)]
        names = names_for(cluster, 2, printed)
        async with (
            ckpt.initialize(address=cluster.nodes[1].address) as service,
            service.checkpoint_open("calls") as calls,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(program(following, names))
            await eventually(lambda: names["copies"] == {b"call-17": b"answered"})
            await calls.write_batch({"call-18": b"new"})
            await calls.write([ckpt.IoVector("call-18", b"!", 4)])
            await calls.section_delete("call-17")
            await eventually(lambda: names["copies"] == {b"call-18": b"new\0!"})
            tasks.cancel_scope.cancel()


async def test_the_page_of_clm() -> None:
    (watching,) = blocks_of("clm.md")
    async with loopback(lambda: [ClmEngine(), CkptEngine()], 3) as cluster, anyio.create_task_group() as tasks:
        printed: list[tuple[Any, ...]] = []
        tasks.start_soon(program(watching, names_for(cluster, 1, printed)))
        await eventually(lambda: len(printed) == 2)
        cluster.die(3)
        await eventually(lambda: len(printed) == 3)
        assert printed[0] == ("node1", "10.0.0.1")
        assert printed[2] == (2, ["node1", "node2"], "node3(3) node 3 was lost")
        tasks.cancel_scope.cancel()
