"""LCK on three executives, as processes on a real ring, one of which dies with a holder."""

from pathlib import Path

import anyio
import pytest

from corosync_amf import errors, lck
from corosync_amf.development import development_cluster

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_lock_of_a_node_that_dies_goes_to_who_waits_but_an_orphan_stays(tmp_path: Path) -> None:
    amf_conf = tmp_path / "amf.conf"
    amf_conf.write_text("applications: {}\n", encoding="utf-8")
    async with development_cluster(amf_conf, token=1000) as cluster:
        await cluster.until(lambda status: len(status.cluster.members) == 3, "three members")
        first, second, third = cluster.nodes
        holder = await lck.initialize(address=str(first.socket_path))
        held = await (await holder.resource_open("billing")).lock()
        left = await (await holder.resource_open("ledger")).lock(flags=lck.LockFlags.ORPHAN)
        async with (
            lck.initialize(address=str(second.socket_path)) as service,
            lck.initialize(address=str(third.socket_path)) as other,
            service.resource_open("billing") as billing,
            other.resource_open("billing") as theirs,
            other.resource_open("ledger") as ledger,
        ):
            waiting = billing.lock_async()
            await service.resource_open("later")  # when that is answered the request before it is in its place
            behind = theirs.lock_async()
            with pytest.raises(errors.TimedOut):
                await theirs.lock(lck.LockMode.PR, timeout=0.2)
            assert first.process is not None
            first.process.kill()
            await anyio.to_thread.run_sync(first.process.wait)
            with pytest.raises(errors.Library):
                await held.unlock()
            with anyio.fail_after(20):
                await waiting.granted()
                assert behind.status is None
                await waiting.unlock()
                await behind.granted()
            tokens = [held.token, left.token, waiting.token, behind.token]
            assert tokens == sorted({token for token in tokens if token is not None})
            with pytest.raises(lck.Orphaned):
                await ledger.lock(flags=lck.LockFlags.ORPHAN)
            await ledger.lock_purge()
            await ledger.lock(flags=lck.LockFlags.NO_QUEUE)
        await holder.finalize()
