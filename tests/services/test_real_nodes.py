"""CLM and CKPT on three executives, as processes on a real ring, one of which dies."""

from pathlib import Path

import anyio
import pytest

from corosync_amf import ckpt, clm, errors
from corosync_amf.development import development_cluster
from corosync_amf.services.clm import ClusterChange

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_what_was_acknowledged_outlives_the_node_that_wrote_it(tmp_path: Path) -> None:
    amf_conf = tmp_path / "amf.conf"
    amf_conf.write_text("applications: {}\n", encoding="utf-8")
    async with development_cluster(amf_conf, token=1000) as cluster:
        await cluster.until(lambda status: len(status.cluster.members) == 3, "three members")
        first, second, _ = cluster.nodes
        attributes = ckpt.CreationAttributes(retention_duration=None)
        writer = await ckpt.initialize(address=str(first.socket_path))
        calls = await writer.checkpoint_open("calls", creation_attributes=attributes)
        async with (
            clm.initialize(address=str(second.socket_path)) as membership,
            ckpt.initialize(address=str(second.socket_path)) as service,
            membership.views() as views,
            service.checkpoint_open("calls") as copy,
            copy.changes(current=True) as changes,
        ):
            assert (await anext(views)).number_of_members == 3
            assert (await anext(changes)).changes == ()
            await calls.write_batch({"call-17": b"answered"}, epoch=7)
            assert first.process is not None
            first.process.kill()
            await anyio.to_thread.run_sync(first.process.wait)
            with anyio.fail_after(20):
                event = await anext(views)
                assert (await anext(changes)).changes[0].data == b"answered"
            concerned = [each for each in event.view.notifications if each.cluster_change is ClusterChange.LEFT]
            assert [each.cluster_node.node_id for each in concerned] == [first.node_id]
            assert (event.number_of_members, event.view.quorate) == (2, True)
            assert await copy.read_all() == {b"call-17": b"answered"}
            await copy.write_batch({"call-18": b"new"}, epoch=8)
            with pytest.raises(errors.Library):
                await calls.read_all()
            with pytest.raises(errors.Library):
                await writer.checkpoint_open("calls")
            await writer.finalize()

            cluster.start_node(first)
            with anyio.fail_after(20):
                assert (await anext(views)).number_of_members == 3
            async with (
                ckpt.initialize(address=str(first.socket_path)) as back,
                back.checkpoint_open("calls") as again,
            ):
                assert await again.read_all() == {b"call-17": b"answered", b"call-18": b"new"}
                assert (await again.status_get()).epoch == 8
        text = second.log_path.read_text(encoding="utf-8")
        assert "CLM: view 2, 2 members: " in text


async def test_an_operator_resets_a_node_with_its_own_command(tmp_path: Path) -> None:
    amf_conf, witness = tmp_path / "amf.conf", tmp_path / "was reset"
    amf_conf.write_text(
        f"nodes: {{node-a: {{failfast_command: [touch, '{witness}']}}, node-b: {{}}, node-c: {{}}}}\n"
        "cluster: {node_lock_callback_timeout: 2500ms}\napplications: {}\n",
        encoding="utf-8",
    )
    async with development_cluster(amf_conf, token=1000) as cluster:
        await cluster.until(lambda status: len(status.cluster.members) == 3, "three members")
        first, second, _ = cluster.nodes
        async with clm.initialize(address=str(second.socket_path)) as service:
            with pytest.raises(errors.NotSupported):
                await service.node_reset("node-b")
            with pytest.raises(errors.NotSupported):
                await service.cluster_reset()
            await service.cluster_track(clm.TrackFlags.CHANGES | clm.TrackFlags.START_STEP)
            events = aiter(service)
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(service.node_lock, "node-c")
                    assert (await anext(events)).time_supervision == 2.5
                    assert (await anext(events)).step is clm.ChangeStep.COMPLETED  # nobody has answered
                await service.node_unlock("node-c")
                assert (await anext(events)).step is clm.ChangeStep.COMPLETED
                await service.node_reset("node-a")
                assert (await anext(events)).number_of_members == 2
        assert first.process is not None
        assert await anyio.to_thread.run_sync(first.process.wait) == 75
        assert witness.exists()
