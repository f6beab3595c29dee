"""The code on the page of TMR does what the page says."""

from typing import Any

import anyio
import pytest

from .loopback import eventually
from .test_pages import blocks_of, program

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_the_page_of_tmr() -> None:
    beating, reminding = blocks_of("tmr.md")
    printed: list[tuple[Any, ...]] = []
    names: dict[str, Any] = {"address": None, "print": lambda *words: printed.append(words)}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(program(beating, names))
        await eventually(lambda: len(printed) == 2)
        tasks.cancel_scope.cancel()
    assert printed[0] == ("beat", 1)
    printed.clear()
    await program(reminding, names)()
    assert printed == [("call back",)]
