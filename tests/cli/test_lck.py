"""`amf lck` as a process of its own, against an executive in this one."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import CompletedProcess

import anyio
import pytest

from corosync_amf import lck
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.lck.engine import LckEngine
from tests.services.loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]
AMF = [sys.executable, "-m", "corosync_amf.cli", "lck"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster() -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), LckEngine()], 1) as running:
        yield running


def environ(cluster: Loopback) -> dict[str, str]:
    return {**os.environ, "COROSYNC_AMF_SOCKET": cluster.nodes[1].address}


async def amf(cluster: Loopback, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    with anyio.fail_after(60):
        done: CompletedProcess[bytes] = await anyio.run_process([*AMF, *words], env=environ(cluster), check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_an_operator_looks_at_locks_and_purges_orphans(cluster: Loopback) -> None:
    async with lck.initialize(address=cluster.nodes[1].address) as service:
        resource, other = await service.resource_open("billing"), await service.resource_open("billing")
        held = await resource.lock(lck.LockMode.PR, lck.LockFlags.ORPHAN)
        await resource.lock(lck.LockMode.PR)
        code, out, _ = await amf(cluster, "list")
        assert (code, out.splitlines()) == (
            0,
            ["RESOURCE  HANDLES  HELD  WAITING  ORPHANED", "billing   2        2     0        0"],
        )
        code, out, _ = await amf(cluster, "show", "billing", "-o", "json")
        assert code == 0
        first, second = json.loads(out)
        assert (first["state"], first["mode"], first["token"]) == ("held", "PR", held.token)
        assert first["client"] == service.session.client
        await resource.close()
        code, out, _ = await amf(cluster, "show", "billing")
        assert out.splitlines()[1].split()[:4] == ["orphaned", "PR", "1", str(service.session.client)]
        assert second["state"] == "held"
        assert await amf(cluster, "purge", "billing") == (0, "billing: purged, there were 1 orphans\n", "")
        await other.lock(flags=lck.LockFlags.NO_QUEUE)


async def test_what_is_not_there_is_one_line(cluster: Loopback) -> None:
    for words in (("show", "nothing"), ("purge", "nothing")):
        assert await amf(cluster, *words) == (1, "", "error: no resource 'nothing'\n")
    assert await amf(cluster, "list", "-o", "json") == (0, "[]\n", "")


async def test_a_command_runs_under_the_lock_and_gives_its_exit_code(cluster: Loopback) -> None:
    async with lck.initialize(address=cluster.nodes[1].address) as service, service.resource_open("r") as resource:
        before = await resource.lock()
        await before.unlock()
        code, out, err = await amf(cluster, "run", "r", "--", "sh", "-c", "echo $LCK_TOKEN; exit 7")
        assert (code, err) == (7, "")
        assert before.token is not None
        assert int(out) > before.token
        async with resource.lock():
            for words in (("-n", "r", "true"), ("r", "-n", "--", "true")):
                code, out, err = await amf(cluster, "run", *words)
                assert (code, out, err) == (1, "", "error: r is locked by somebody else\n")
            code, _, err = await amf(cluster, "run", "r", "-w", "0.1", "--", "true")
            assert code == 3
            assert err.startswith("error: not granted in 0.1 s")
        async with resource.lock(lck.LockMode.PR):
            assert (await amf(cluster, "run", "-n", "--shared", "r", "true"))[0] == 0
        code, _, err = await amf(cluster, "run", "r", "--", "/nonexistent/command")
        assert code == 1
        assert err.count("\n") == 1
        await resource.lock(flags=lck.LockFlags.NO_QUEUE)


@pytest.mark.parametrize("way", ["the executive ends", "a signal"])
async def test_a_command_ends_with_the_lock_or_the_one_that_holds_it(
    cluster: Loopback, tmp_path: Path, way: str
) -> None:
    mark = tmp_path / "runs"
    command = [*AMF, "run", "r", "--", "sh", "-c", f"trap 'kill $!; exit 9' TERM; sleep 60 & touch {mark}; wait"]
    async with await anyio.open_process(command, env=environ(cluster), stdin=None, stdout=None) as process:
        await eventually(mark.exists, 20_000)
        if way == "a signal":
            process.send_signal(signal.SIGTERM)
        else:
            cluster.nodes[1].listener.close()
        with anyio.fail_after(30):
            assert await process.wait() == 9
