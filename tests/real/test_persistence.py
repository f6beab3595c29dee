"""What outlives the whole cluster: three executives are killed at once and started again."""

from pathlib import Path

import anyio
import pytest

from aisexec.remembered import LOCKS, Remembered
from corosync_amf import ckpt, clm, errors
from corosync_amf.development import development_cluster
from corosync_amf.engine import NodeLocks
from tests.services.loopback import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.real]
ATTRIBUTES = ckpt.CreationAttributes(persistent=True, max_section_size=100_000)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_persistent_checkpoints_view_numbers_and_locks_outlive_all_nodes(tmp_path: Path) -> None:
    amf_conf = tmp_path / "amf.conf"
    amf_conf.write_text("applications: {}\n", encoding="utf-8")
    written = {b"s%d" % number: bytes([number]) * 50_000 for number in range(40)}
    async with development_cluster(amf_conf, token=1000) as cluster:
        await cluster.until(lambda status: len(status.cluster.members) == 3, "three members")
        addresses = [str(node.socket_path) for node in cluster.nodes]
        writer = await ckpt.initialize(address=addresses[0])
        calls = await writer.checkpoint_open("calls", creation_attributes=ATTRIBUTES)
        plain = await writer.checkpoint_open("plain", creation_attributes=ckpt.CreationAttributes())
        await plain.section_create("s")
        for key, data in written.items():
            await calls.section_create(key, data)
        await calls.write_batch({b"s0": b"last", b"s1": None}, epoch=42)
        async with clm.initialize(address=addresses[0]) as membership:
            view = await membership.cluster_track(clm.TrackFlags.CURRENT)
            assert view is not None
            await membership.node_lock(cluster.nodes[1].name)
            disks = [Remembered(str(node.directory)) for node in cluster.nodes]
            await eventually(lambda: all(disk.recall(LOCKS, NodeLocks()).names for disk in disks))

        for node in cluster.nodes:
            assert node.process is not None
            node.process.kill()
        for node in cluster.nodes:
            assert node.process is not None
            await anyio.to_thread.run_sync(node.process.wait)
        await writer.finalize()
        for node in cluster.nodes:
            cluster.start_node(node)
        await cluster.until(lambda status: len(status.cluster.members) == 3, "three members again")

        async with clm.initialize(address=addresses[2]) as membership:
            later = await membership.cluster_track(clm.TrackFlags.CURRENT)
            assert later is not None
            assert later.view_number > view.view_number
            assert [each.cluster_node.node_id for each in later.notifications] == [1, 3]
            with pytest.raises(errors.Unavailable):
                await clm.initialize(address=addresses[1])
            await membership.node_unlock(cluster.nodes[1].name)
            unlocked = await membership.cluster_track(clm.TrackFlags.CURRENT)
            assert unlocked is not None
            assert unlocked.number_of_members == 3
        async with (
            ckpt.initialize(address=addresses[2]) as service,
            service.checkpoint_open("calls") as again,
        ):
            expected = {key: data for key, data in written.items() if key != b"s1"} | {b"s0": b"last"}
            assert await again.read_all() == expected
            assert (await again.status_get()).epoch == 42
            await again.section_create("new", b"on it goes")
            async with service.checkpoint_open("plain", creation_attributes=ckpt.CreationAttributes()) as empty:
                assert await empty.read_all() == {}
        assert "persistent checkpoints are restored" in cluster.nodes[0].log_path.read_text(encoding="utf-8")
