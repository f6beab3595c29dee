"""`amf evt` as a process of its own, against an executive in this one."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator

import anyio
import pytest

from corosync_amf import evt
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.evt.engine import EvtEngine
from tests.services.loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]
AMF = [sys.executable, "-m", "corosync_amf.cli", "evt"]
ALL = evt.ChannelOpenFlags.PUBLISHER | evt.ChannelOpenFlags.SUBSCRIBER | evt.ChannelOpenFlags.CREATE


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster() -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), EvtEngine()], 1) as running:
        yield running


async def amf(cluster: Loopback, *words: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    environ = {**os.environ, "COROSYNC_AMF_SOCKET": cluster.nodes[1].address, "TZ": "UTC"}
    with anyio.fail_after(60):
        done = await anyio.run_process([*AMF, *words], env=environ, input=stdin, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_an_operator_looks_at_channels_and_does_away_with_them(cluster: Loopback) -> None:
    async with (
        evt.initialize(address=cluster.nodes[1].address) as service,
        service.channel_open("alarms", ALL) as channel,
        channel.event_subscribe(),
    ):
        await channel.publish(b"12345", patterns=["disk/sda1", "x"], retention_time=60.0, publisher_name="me")
        code, out, _ = await amf(cluster, "list")
        assert code == 0
        assert [line.split() for line in out.splitlines()] == [
            ["CHANNEL", "HANDLES", "PUBLISHERS", "SUBSCRIBERS", "SUBSCRIPTIONS", "RETAINED", "BYTES"],
            ["alarms", "1", "1", "1", "1", "1", "5"],
        ]
        code, out, _ = await amf(cluster, "show", "alarms")
        opener, retained = out.split("\n\n")
        assert opener.splitlines()[1].split() == ["1", str(service.session.client), "publisher+subscriber", "1"]
        assert retained.splitlines()[1].split()[-5:] == ["3", "5", "me", "disk/sda1", "x"]
        code, out, _ = await amf(cluster, "show", "alarms", "-o", "json")
        assert [event["publisher"] for event in json.loads(out)["retained"]] == ["me"]
        assert (await amf(cluster, "purge", "alarms"))[:2] == (0, "1 events purged\n")
        assert (await amf(cluster, "unlink", "alarms"))[0] == 0
        code, out, _ = await amf(cluster, "list", "-o", "json")
        assert json.loads(out) == []


async def test_what_one_command_publishes_another_follows(cluster: Loopback) -> None:
    code, out, _ = await amf(
        cluster, "publish", "alarms", "sda1 full", "--pattern", "disk/sda1", "--retention", "60", "--create"
    )
    assert code == 0
    event_id = int(out)
    lines: list[str] = []

    async def follow() -> None:
        lines.extend((await amf(cluster, "follow", "alarms", "--pattern", "disk", "--count", "2"))[1].splitlines())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        (engine,) = cluster.engines(EvtEngine)
        await eventually(lambda: any(each.subscriptions for each in engine.snapshot().handles), rounds=20_000)
        await amf(cluster, "publish", "alarms", "no", "--pattern", "fan/1")
        await amf(cluster, "publish", "alarms", "-", "--pattern", "disk/x", "--priority", "0", stdin=b"from stdin")
    assert lines[0].split("  ")[1:] == [str(event_id), "3", "amf", "disk/sda1", "sda1 full"]
    assert lines[1].split("  ")[2:] == ["0", "amf", "disk/x", "from stdin"]
    code, out, _ = await amf(cluster, "follow", "alarms", "--count", "1", "-o", "json")
    assert json.loads(out)["data"] == "sda1 full"


async def test_any_data_is_one_line_to_who_follows(cluster: Loopback) -> None:
    words = ["--retention", "60", "--publisher", "me"]
    async with (
        evt.initialize(address=cluster.nodes[1].address) as service,
        service.channel_open("odd", ALL),
    ):
        for data in ("two\nlines\x1b[31m", os.fsdecode(b"\xff")):
            assert (await amf(cluster, "publish", "odd", data, *words))[0] == 0
        code, out, _ = await amf(cluster, "follow", "odd", "--count", "2")
        assert code == 0
        assert [line.split()[-1] for line in out.splitlines()] == ["two\\nlines\\x1b[31m", "\ufffd"]


@pytest.mark.usefixtures("interruptible")
async def test_following_ends_when_it_is_interrupted(cluster: Loopback) -> None:
    async with evt.initialize(address=cluster.nodes[1].address) as service, service.channel_open("alarms", ALL):
        environ = {**os.environ, "COROSYNC_AMF_SOCKET": cluster.nodes[1].address}
        async with await anyio.open_process([*AMF, "follow", "alarms"], env=environ) as process:
            (engine,) = cluster.engines(EvtEngine)
            await eventually(lambda: any(each.subscriptions for each in engine.snapshot().handles), rounds=20_000)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            assert process.stderr is not None
            assert [each async for each in process.stderr] == []


async def test_errors_are_one_line(cluster: Loopback) -> None:
    for words in (["show", "nowhere"], ["purge", "nowhere"], ["unlink", "nowhere"], ["publish", "nowhere", "x"]):
        code, out, error = await amf(cluster, *words)
        assert (code, out) == (1, "")
        assert error.startswith("error: ")
        assert error.count("\n") == 1
