"""The code on the page of LOG does what the page says."""

import pytest

from corosync_amf.services.log.formats import HEXADECIMALS, NUMBERS, TEXTS

from .logs import logging_cluster
from .test_pages import PAGES, blocks_of, names_for, program

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_the_page_of_log() -> None:
    (writing,) = blocks_of("log.md")
    async with logging_cluster(2) as cluster:
        await program(writing, names_for(cluster.cluster, 1, []))()
        (line,) = await cluster.written("saLogSystem", 1)
        assert line.endswith('"call server ready"')
        calls = await cluster.written("phone/calls", 3)
        assert [call.split(" ", 2)[2] for call in calls] == [f'IN "call {number} answered"' for number in range(3)]


def test_the_page_names_every_token() -> None:
    text = (PAGES / "log.md").read_text(encoding="utf-8")
    for token in (*NUMBERS, *HEXADECIMALS, *TEXTS):
        assert f"`@{token}`" in text
