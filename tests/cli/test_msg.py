"""`amf msg` as a process of its own, against an executive in this one."""

import json
import os
import sys
from collections.abc import AsyncIterator
from subprocess import CompletedProcess

import anyio
import pytest

from corosync_amf import msg
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.msg.engine import MsgEngine
from tests.services.loopback import Loopback, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]
AMF = [sys.executable, "-m", "corosync_amf.cli", "msg"]
SMALL = msg.QueueCreationAttributes(size=(100, 100, 100, 100), retention_time=60.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster() -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), MsgEngine()], 1) as running:
        yield running


async def amf(cluster: Loopback, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    environ = {**os.environ, "COROSYNC_AMF_SOCKET": cluster.nodes[1].address}
    with anyio.fail_after(60):
        done: CompletedProcess[bytes] = await anyio.run_process([*AMF, *words], env=environ, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_an_operator_looks_at_queues_and_groups(cluster: Loopback) -> None:
    async with msg.initialize(address=cluster.nodes[1].address) as service, service.queue_open("orders", SMALL):
        await service.queue_group_create("workers", msg.QueueGroupPolicy.ROUND_ROBIN)
        await service.queue_group_insert("workers", "orders")
        await service.message_send("orders", msg.Message(b"abc", priority=1))
        _, out, _ = await amf(cluster, "list")
        assert out.splitlines() == [
            "QUEUE   OPEN ON  MESSAGES  USED  SIZE",
            "orders  1        1         3     400",
            "",
            "GROUP    POLICY       QUEUES  OPEN",
            "workers  ROUND_ROBIN  1       1",
        ]
        _, out, _ = await amf(cluster, "list", "-o", "json")
        assert json.loads(out)["queues"][0]["open_on"] == 1
        _, out, _ = await amf(cluster, "show", "orders")
        assert out.splitlines()[:3] == [
            "queue orders: open, kept 60 s when it is closed",
            "PRIORITY  MESSAGES  USED  SIZE",
            "0         0         0     100",
        ]
        _, out, _ = await amf(cluster, "show", "orders", "-o", "json")
        assert json.loads(out)["usage"][1] == {"priority": 1, "messages": 1, "used": 3, "size": 100}
        _, out, _ = await amf(cluster, "show", "workers")
        assert out.splitlines() == ["queue group workers: ROUND_ROBIN, 1 queues", "  orders"]
        _, out, _ = await amf(cluster, "show", "workers", "-o", "json")
        assert json.loads(out) == {"group": "workers", "policy": "ROUND_ROBIN", "queues": ["orders"]}


async def test_an_operator_sends_gets_and_discards(cluster: Loopback) -> None:
    async with msg.initialize(address=cluster.nodes[1].address) as service:
        queue = await service.queue_open("orders", SMALL)
        code, out, err = await amf(cluster, "get", "orders")
        assert (code, out, err) == (
            1,
            "",
            "error: queue 'orders' is open: its messages go to the process that has it\n",
        )
        await queue.close()
        for data, priority in [("low", "3"), ("hïgh", "0"), ("more", "3")]:
            assert await amf(cluster, "send", "orders", data, "--priority", priority, "--type", "7") == (0, "", "")
        assert await amf(cluster, "get", "orders") == (0, "hïgh\n", "")
        assert await amf(cluster, "purge", "orders") == (0, "orders: 2 messages discarded\n", "")
        assert await amf(cluster, "get", "orders") == (1, "", "error: there is no message\n")
        assert await amf(cluster, "unlink", "orders") == (0, "", "")
        for words in (["show", "orders"], ["send", "orders", "x"], ["unlink", "orders"], ["purge", "orders"]):
            code, out, err = await amf(cluster, *words)
            assert (code, out) == (1, "")
            assert err.startswith("error: no queue")
            assert err.count("\n") == 1
