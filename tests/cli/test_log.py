"""`amf log` against executives in this process."""

import json
import os
import sys
from collections.abc import AsyncIterator

import anyio
import anyio.streams.buffered
import pytest
import yaml

from corosync_amf.services import log
from tests.services.logs import Logging, logging_cluster

pytestmark = [pytest.mark.anyio, pytest.mark.real]
CALLS = log.LogFileCreateAttributes("calls", "phone", log_file_fmt="@Cr @Sv @Cb")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster() -> AsyncIterator[Logging]:
    async with logging_cluster(2) as running:
        yield running


async def amf(cluster: Logging, *words: str, node: int = 1) -> tuple[int, str, str]:
    """Run the command; return exit code, output, errors."""
    environ = {**os.environ, "COROSYNC_AMF_SOCKET": cluster.address(node)}
    command = [sys.executable, "-m", "corosync_amf.cli", "log", *words]
    done = await anyio.run_process(command, env=environ, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_streams_are_listed_and_shown(cluster: Logging) -> None:
    async with cluster.on() as service, service.stream_open("calls", CALLS) as stream:
        await stream.write_log("x")
        code, out, _ = await amf(cluster, "list")
        assert code == 0
        heading, *rows = [line.split() for line in out.splitlines()]
        assert heading[:3] == ["STREAM", "FILE", "RECORDS"]
        assert rows[-1] == ["calls", "phone/calls.log", "1", "7", "of", "5000000", "rotate", "1", "all"]
        assert len(rows) == 4
        listed = json.loads((await amf(cluster, "list", "-o", "json"))[1])
        assert [stream["file"] for stream in listed] == [
            "saLogAlarm.log", "saLogNotification.log", "saLogSystem.log", "phone/calls.log",
        ]  # fmt: skip
        out = (await amf(cluster, "show", "calls", node=2))[1]
        assert "file_full_action  rotate\n" in out
        assert json.loads((await amf(cluster, "show", "system", "-o", "json"))[1])["name"] == log.STREAM_SYSTEM


async def test_what_is_written_can_be_read_and_filtered(cluster: Logging) -> None:
    assert (await amf(cluster, "write", "system", "it rains", "--severity", "warning"))[0] == 0
    await cluster.written("saLogSystem", 1)
    code, out, _ = await amf(cluster, "read", "system", "-n", "5", node=2)
    assert (code, out.count("\n")) == (0, 1)
    assert "WA " in out
    assert out.endswith('"it rains"\n')
    line = out.removesuffix("\n")
    assert json.loads((await amf(cluster, "read", "system", "-o", "json"))[1]) == [line]
    assert json.loads((await amf(cluster, "read", "system", "-o", "jsonl"))[1]) == line
    assert yaml.safe_load((await amf(cluster, "read", "system", "-o", "yaml"))[1]) == [line]
    assert yaml.safe_load((await amf(cluster, "show", "system", "-o", "yaml"))[1])["records"] == 1
    assert (await amf(cluster, "filter", "system", "error", "alert"))[0] == 0
    assert "alert,error" in (await amf(cluster, "list"))[1]
    assert (await amf(cluster, "write", "system", "still"))[0] == 0
    assert (await amf(cluster, "filter", "system"))[0] == 0
    assert len(await cluster.written("saLogSystem", 1)) == 1


async def test_a_stream_is_followed(cluster: Logging) -> None:
    async with cluster.on() as service, service.stream_open(log.STREAM_SYSTEM) as stream:
        await stream.write_log("first")
        await cluster.written("saLogSystem", 1)
        environ = {**os.environ, "COROSYNC_AMF_SOCKET": cluster.address(2)}
        command = [sys.executable, "-m", "corosync_amf.cli", "log", "follow", "system"]
        async with await anyio.open_process(command, env=environ) as process:
            assert process.stdout is not None
            lines = anyio.streams.buffered.BufferedByteReceiveStream(process.stdout)
            with anyio.fail_after(30):
                assert (await lines.receive_until(b"\n", 999)).endswith(b'"first"')
                await stream.write_log("second")
                assert (await lines.receive_until(b"\n", 999)).endswith(b'"second"')
            process.terminate()


async def test_errors_are_one_line(cluster: Logging) -> None:
    for words in (("show", "nothing"), ("read", "nothing"), ("write", "nothing", "x"), ("filter", "alarm", "info")):
        code, out, err = await amf(cluster, *words)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("error: ")
    assert (await amf(cluster, "filter", "system", "loud"))[0] == 2
