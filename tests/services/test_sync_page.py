"""The code of the how-to for programs without an event loop does what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.clm.engine import ClmEngine

from .loopback import loopback

pytestmark = pytest.mark.real
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "sync-programs.md"


def test_the_page_of_programs_without_an_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    writing, beating = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    printed: list[tuple[Any, ...]] = []
    names: dict[str, Any] = {"print": lambda *words: printed.append(words)}
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(loopback(lambda: [ClmEngine(), CkptEngine()], 1)) as cluster,
    ):
        monkeypatch.setenv("COROSYNC_AMF_SOCKET", cluster.nodes[1].address)
        exec(writing, names)
        exec(beating, names)
    assert printed == [([b"answered"],), ([b"call-16", b"call-17"],), ("beat",)]
