"""`amf clm` and `amf ckpt` against executives in one process."""

import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from click.testing import CliRunner, Result

from corosync_amf import ckpt, errors
from corosync_amf.cli import cli
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.clm.engine import ClmEngine
from tests.services.loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster() -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), CkptEngine()], 3) as running:
        yield running


async def amf(cluster: Loopback, *words: str, node: int = 1) -> Result:
    env = {"COROSYNC_AMF_SOCKET": cluster.nodes[node].address}
    return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(cli, list(words), env=env))


async def printed(cluster: Loopback, *words: str, node: int = 1) -> str:
    result = await amf(cluster, *words, node=node)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


async def as_json(cluster: Loopback, *words: str) -> Any:
    return json.loads(await printed(cluster, *words, "-o", "json"))


async def test_nodes_are_listed_locked_and_unlocked(cluster: Loopback) -> None:
    lines = (await printed(cluster, "clm", "list")).splitlines()
    assert lines[0] == "view 1, 3 members, quorate"
    assert lines[2].split() == ["NODE", "ID", "ADDRESS", "STATE", "ADMIN"]
    assert lines[3].split() == ["node1", "1", "10.0.0.1", "member", "UNLOCKED"]
    assert await printed(cluster, "clm", "lock", "node3") == "node3: locked\n"
    found = await as_json(cluster, "clm", "list")
    assert found[2] == {
        "node": "node3",
        "id": 3,
        "address": "10.0.0.3",
        "state": "not a member",
        "admin": "LOCKED",
    }
    assert await printed(cluster, "clm", "unlock", "node3", node=3) == "node3: unlocked\n"  # on the locked node itself
    assert await printed(cluster, "clm", "shutdown", "node2", "--timeout", "5") == "node2: shut down\n"
    assert (await as_json(cluster, "clm", "show", "3"))["initial_view_number"] == 3
    assert "admin" in await printed(cluster, "clm", "show", "node2")
    refused = await amf(cluster, "clm", "lock", "node2")
    assert isinstance(refused.exception, errors.NoOp)
    unknown = await amf(cluster, "clm", "show", "nobody")
    assert isinstance(unknown.exception, errors.NotExist)


@pytest.mark.parametrize("output", ["table", "json"])
async def test_changes_of_the_membership_can_be_followed(cluster: Loopback, output: str) -> None:
    lines: list[str] = []
    command = ["-c", "from corosync_amf.cli import main; main()", "clm", "follow", "-o", output]
    env = {**os.environ, "COROSYNC_AMF_SOCKET": cluster.nodes[1].address, "PYTHONUNBUFFERED": "1"}
    async with await anyio.open_process([sys.executable, *command], env=env) as process:
        assert process.stdout is not None

        async def read() -> None:
            assert process.stdout is not None
            text = b""
            async for chunk in process.stdout:
                text += chunk
                lines[:] = text.decode().splitlines()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await eventually(lambda: len(lines) == 1, 8000)
            cluster.die(3)
            await eventually(lambda: len(lines) == 2, 8000)
            process.terminate()
    if output == "json":
        former, present = map(json.loads, lines)
        assert (former["view_number"], former["members"], former["quorate"]) == (1, ["node1", "node2", "node3"], True)
        assert (present["step"], present["members"]) == ("completed", ["node1", "node2"])
        assert present["reason"].startswith("node3(3)")
        return
    assert lines[0].startswith("view 1  completed  node1 node2 node3  quorate")
    assert lines[1].startswith("view 2  completed  node1 node2  quorate  node3(3)")


async def test_checkpoints_are_listed_shown_read_and_unlinked(cluster: Loopback) -> None:
    async with ckpt.initialize(address=cluster.nodes[2].address) as service:
        calls = await service.checkpoint_open("calls", creation_attributes=ckpt.CreationAttributes())
        await calls.write_batch({"call-17": b"answered", b"\xff": b"\x00"}, epoch=7)
        assert await as_json(cluster, "ckpt", "list") == [
            {
                "name": "calls",
                "sections": 2,
                "bytes": 9,
                "flags": "WR_ALL_REPLICAS",
                "persistent": False,
                "handles": 1,
                "epoch": 7,
            }
        ]
        facts = await as_json(cluster, "ckpt", "show", "calls")
        assert (facts["sections"], facts["open_on"], facts["changes"], facts["active_replica"]) == (2, [2], 1, None)
        lines = (await printed(cluster, "ckpt", "read", "calls")).splitlines()
        assert lines[1].split() == ["call-17", "8", "answered"]
        assert lines[2].split() == ["b'\\xff'", "1", "b'\\x00'"]
        assert await printed(cluster, "ckpt", "read", "calls", "call-17") == "answered"
        assert await printed(cluster, "ckpt", "read", "calls", os.fsdecode(b"\xff")) == "\0"
        assert await printed(cluster, "ckpt", "unlink", "calls") == "calls: unlinked\n"
        for words in (("show", "calls"), ("read", "calls"), ("purge", "calls")):
            assert isinstance((await amf(cluster, "ckpt", *words)).exception, errors.NotExist)
        assert (await printed(cluster, "ckpt", "list")).splitlines()[1:] == []


async def test_long_lists_come_in_pages(cluster: Loopback) -> None:
    async with ckpt.initialize(address=cluster.nodes[1].address) as service:
        for number in range(300):
            await service.checkpoint_open(f"{number:03}", creation_attributes=ckpt.CreationAttributes())
        found = await as_json(cluster, "ckpt", "list")
        assert [each["name"] for each in found] == [f"{number:03}" for number in range(300)]
