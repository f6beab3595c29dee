"""Three real executives on loopback with a real component: faults, operations, and what becomes of the state."""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from corosync_amf import ckpt, clm, errors
from corosync_amf.ais import AdminOperation, Assignment
from corosync_amf.development import DevelopmentCluster, development_cluster
from corosync_amf.services.amf.messages import Status

pytestmark = [pytest.mark.real, pytest.mark.anyio]

ROOT = Path(__file__).parents[2]
SI = "safSi=ledger,safApp=ledger"
AMF_CONF = """
applications:
  ledger:
    service_groups:
      ledger:
        units:
          count: 2
          template:
            components:
              ledger:
                plugin: %s
                healthchecks: {alive: {period: 200ms, max_duration: 1s}}
                checkpoint: {mode: on-change, hot: true}
    service_instances:
      ledger: {csis: {ledger: {attributes: {file: "%s"}}}}
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Ledger:
    """A cluster and the journal that its component writes: one line per acknowledged number."""

    def __init__(self, cluster: DevelopmentCluster, journal: Path) -> None:
        self.cluster = cluster
        self.journal = journal

    def numbers(self) -> list[int]:
        return [int(line) for line in self.journal.read_text().splitlines()] if self.journal.exists() else []

    async def until_more(self, more: int = 5) -> None:
        """Wait for `more` further numbers."""
        before = len(self.numbers())
        with anyio.fail_after(30):
            while len(self.numbers()) < before + more:  # noqa: ASYNC110 - another process writes it
                await anyio.sleep(0.02)

    def check(self, takeovers: int) -> None:
        """Never backwards; a number may be missing only where a process died between its checkpoint and its line."""
        numbers = self.numbers()
        assert all(later > earlier for earlier, later in pairwise(numbers))
        assert numbers[-1] - len(numbers) <= takeovers


@asynccontextmanager
async def ledger(
    tmp_path: Path, *, fence: bool = True, token: int = 600, plugin: str = "tests.real.ledger:Ledger"
) -> AsyncIterator[Ledger]:
    journal, amf_conf = tmp_path / "journal", tmp_path / "amf.conf"
    amf_conf.write_text(AMF_CONF % (plugin, journal))
    environ = {"PYTHONPATH": f"{ROOT}:{ROOT / 'runtime'}:{tmp_path}"}
    place = tmp_path / "cluster"
    async with development_cluster(amf_conf, directory=place, token=token, environ=environ, fence=fence) as cluster:
        await cluster.until_assigned()
        subject = Ledger(cluster, journal)
        await subject.until_more()
        yield subject


def time_of(log: Path, text: str) -> str:
    """When a text was logged last, HH:MM:SS.mmm."""
    return [line.split()[0] for line in log.read_text().splitlines() if text in line][-1]


async def test_a_killed_component_is_replaced_with_its_state(tmp_path: Path) -> None:
    async with ledger(tmp_path) as subject:
        for _ in range(3):
            fault = await subject.cluster.kill_component()
            breakdown = await subject.cluster.breakdown(fault)
            assert breakdown.detect is not None
            assert breakdown.activate is not None
            await subject.until_more()
            await subject.cluster.until_assigned()
        subject.check(takeovers=3)


async def test_a_component_is_found_by_the_name_of_its_entry_point(tmp_path: Path) -> None:
    installed = tmp_path / "ledgers-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: ledgers\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[corosync_amf.components]\nthe-ledger = tests.real.ledger:Ledger\n")
    async with ledger(tmp_path, plugin="the-ledger") as subject:
        subject.check(takeovers=0)


async def test_a_killed_node_is_replaced_and_comes_back_as_standby(tmp_path: Path) -> None:
    async with ledger(tmp_path, fence=False) as subject:
        cluster = subject.cluster
        lost = await cluster.active_node()
        await cluster.breakdown(await cluster.kill_node())
        await subject.until_more()
        cluster.start_node(lost)
        await cluster.until_assigned()
        assert (await cluster.active_node()).name != lost.name
        subject.check(takeovers=1)


async def test_a_frozen_node_is_fenced_before_the_standby_takes_over(tmp_path: Path) -> None:
    async with ledger(tmp_path) as subject:
        cluster = subject.cluster
        frozen = await cluster.active_node()
        await cluster.breakdown(await cluster.freeze_node())
        assert not frozen.running
        await subject.until_more()
        subject.check(takeovers=1)


async def test_a_node_that_cannot_be_fenced_is_replaced_after_its_guard_and_an_alarm(tmp_path: Path) -> None:
    async with ledger(tmp_path) as subject:
        cluster = subject.cluster
        (switch,) = cluster.directory.glob("**/fence*")
        switch.write_text("#!/bin/sh\nexit 3\n")
        await cluster.breakdown(await cluster.kill_node())
        await subject.until_more()
        survivors = [node for node in cluster.nodes if node.running]
        for node in survivors:
            assert "alarm: could not be fenced (exit 3)" in node.log_path.read_text()
        subject.check(takeovers=1)


async def test_an_isolated_node_stops_its_active_before_the_others_promote(tmp_path: Path) -> None:
    async with ledger(tmp_path, fence=False) as subject:
        cluster = subject.cluster
        cut = await cluster.active_node()
        await cluster.breakdown(await cluster.partition())
        await subject.until_more()
        stopped = time_of(cut.log_path, "LEASE: over")
        others = [node for node in cluster.nodes if node is not cut]
        promoted = max(time_of(node.log_path, "su2/ledger: ACTIVE asked for") for node in others)
        assert stopped < promoted
        cluster.heal()
        await cluster.until_assigned()
        subject.check(takeovers=1)
        assert (await cluster.active_node()).name != cut.name


async def test_active_and_standby_change_places(tmp_path: Path) -> None:
    async with ledger(tmp_path) as subject:
        cluster = subject.cluster
        before = (await cluster.active_node()).name
        await cluster.breakdown(await cluster.swap())
        assert (await cluster.active_node()).name != before
        await subject.until_more()
        subject.check(takeovers=1)


async def test_a_locked_unit_gives_its_work_away_and_gets_none_until_it_is_unlocked(tmp_path: Path) -> None:
    async with ledger(tmp_path) as subject:
        cluster = subject.cluster
        status = await cluster.status()
        active = status.instances[0].active[0]
        async with cluster.service() as service:
            await service.admin(active, AdminOperation.LOCK, timeout=30.0)
            locked = await service.status()
            assert active not in (*locked.instances[0].active, *locked.instances[0].standby)
            await service.admin(active, AdminOperation.LOCK_INSTANTIATION, timeout=30.0)
            await service.admin(active, AdminOperation.UNLOCK_INSTANTIATION, timeout=30.0)
            await service.admin(active, AdminOperation.UNLOCK, timeout=30.0)
        await cluster.until_assigned()
        subject.check(takeovers=1)


async def test_a_hanging_component_is_found_by_its_healthcheck(tmp_path: Path) -> None:
    async with ledger(tmp_path) as subject:
        cluster = subject.cluster
        status = await cluster.status()
        component = next(c.dn for c in status.components if c.dn.endswith(status.instances[0].active[0]))
        cluster.signal_component(component, signal.SIGSTOP)

        def others_active(status: Status) -> bool:
            active = status.instances[0].active
            return bool(active) and not component.endswith(active[0])

        await cluster.until(others_active, "the standby did not take over")
        await subject.until_more()
        subject.check(takeovers=1)


async def test_an_orderly_stop_of_a_node_moves_its_work_at_once(tmp_path: Path) -> None:
    async with ledger(tmp_path, fence=False, token=5000) as subject:
        cluster = subject.cluster
        await cluster.stop_node((await cluster.active_node()).name)
        await cluster.until(
            lambda status: (
                status.instances[0].assignment is Assignment.PARTIALLY_ASSIGNED and bool(status.instances[0].active)
            ),
            "the work did not move",
        )
        await subject.until_more()
        subject.check(takeovers=1)


async def test_the_commands_for_people_work_on_a_real_cluster(tmp_path: Path) -> None:
    async with ledger(tmp_path) as subject:
        address = str(subject.cluster.nodes[2].socket_path)

        async def amf(*words: str) -> subprocess.CompletedProcess[bytes]:
            command = [sys.executable, "-m", "corosync_amf.cli", *words]
            return await anyio.run_process(command, check=False, env={"COROSYNC_AMF_SOCKET": address})

        table = await amf("status")
        assert table.returncode == 0, table.stderr
        assert b"fully-assigned" in table.stdout
        status = json.loads((await amf("status", "-o", "json")).stdout)
        assert status["instances"][0]["dn"] == SI
        one = (await amf("status", "ledger/ledger")).stdout.decode().splitlines()
        assert one[0] == "cluster quorate, 3 of 3 nodes: node-a, node-b, node-c"
        assert one[2].split()[:2] == ["SERVICE", "INSTANCE"]
        assert [word for word in one[3].split() if word.startswith("node-")] == ["node-a", "node-b"]
        assert len(one) == 4
        swapped = await amf("swap", "ledger/ledger")
        assert swapped.returncode == 0, swapped.stderr
        adjusted = await amf("adjust", "ledger/ledger")
        assert (adjusted.returncode, adjusted.stdout) == (0, b"safSg=ledger,safApp=ledger: sg-adjust done\n")
        why = await amf("why", "ledger/ledger")
        assert why.stdout.splitlines()[0] == b"ledger/si:ledger is FULLY_ASSIGNED", why.stderr
        told = json.loads((await amf("why", "ledger/su1", "-o", "json")).stdout)
        assert told["object"] == "safSu=su1,safSg=ledger,safApp=ledger"
        assert told["why"][0] == "ledger/su1 is IN_SERVICE on node-a"
        assert (await amf("lock", "ledger/su1", "--wait", "-1")).returncode == 2
        unknown = await amf("lock", "ledger/su9")
        assert unknown.returncode == 1
        assert b"ledger/su1" in unknown.stderr
        assert (await amf("lock", "ledger/su1")).returncode == 0
        assert (await amf("lock", "ledger/su1")).returncode == 1
        degraded = await amf("status")
        assert degraded.returncode == 4
        assert (await amf("unlock", "ledger/su1")).returncode == 0
        for node in subject.cluster.nodes[:2]:
            await subject.cluster.stop_node(node.name)
        with anyio.fail_after(15):  # without a time limit of its own it would go on for half a minute
            alone = await amf("lock", "ledger/su1", "--wait", "1")
        assert alone.returncode == 5
        assert alone.stderr.startswith(b"error: no answer in 1")
        assert alone.stderr.endswith(b" s: partition has no quorum\n")
        assert (await amf("status")).returncode == 5


async def test_a_clm_lock_moves_the_work_away_first_and_an_unlock_brings_the_standby_back(tmp_path: Path) -> None:
    async with ledger(tmp_path) as subject:
        cluster = subject.cluster
        for _ in range(2):
            active = await cluster.active_node()
            other = next(node for node in cluster.nodes if node.name != active.name)
            async with clm.initialize(address=str(other.socket_path)) as membership:
                with anyio.fail_after(30):
                    await membership.node_lock(active.name)
                assert (await cluster.active_node()).name != active.name  # when the lock is done the work is elsewhere
                with pytest.raises(errors.Unavailable):
                    await ckpt.initialize(address=str(active.socket_path))
                await subject.until_more()
                await membership.node_unlock(active.name)
            await cluster.until_assigned()  # and the standby, on the same connection, has a checkpoint again
            await subject.until_more()
        subject.check(takeovers=2)
