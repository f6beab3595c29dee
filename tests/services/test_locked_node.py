"""A node that CLM has locked: every service is Unavailable there, and what was held before the lock stays stale."""

from collections.abc import AsyncIterator

import pytest

from corosync_amf import ckpt, clm, connect, cpg, errors, evs, lck, log, msg
from corosync_amf.engine import Done, Service
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.clm import messages as m
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.clm.messages import NodeOperation
from corosync_amf.services.cpg.engine import CpgEngine
from corosync_amf.services.evs.engine import EvsEngine
from corosync_amf.services.lck.engine import LckEngine
from corosync_amf.services.log.engine import LogEngine
from corosync_amf.services.msg.engine import MsgEngine
from corosync_amf.session import Session
from corosync_amf.versions import SUPPORTED

from .loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]
ATTRIBUTES = ckpt.CreationAttributes()
WEAK = ckpt.CreationAttributes(ckpt.CreationFlags.WR_ACTIVE_REPLICA_WEAK)


@pytest.fixture
async def cluster() -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), CkptEngine()], 3) as running:
        yield running


async def change(cluster: Loopback, operation: NodeOperation, name: str = "node3") -> None:
    """As an operator does it, on the node itself or elsewhere."""
    session = await Session.open(cluster.nodes[3].address)
    await session.request(Service.CLM, m.Operate(operation, name), Done)
    await session.close()


async def lock(cluster: Loopback) -> None:
    await change(cluster, NodeOperation.LOCK)


async def unlock(cluster: Loopback) -> None:
    await change(cluster, NodeOperation.UNLOCK)


async def test_handles_are_unavailable_while_their_node_is_locked_and_stay_so(cluster: Loopback) -> None:
    address = cluster.nodes[3].address
    service = await ckpt.initialize(address=address)
    handle = await service.checkpoint_open("c", creation_attributes=ATTRIBUTES)
    tracker = await clm.initialize(address=address)
    await lock(cluster)
    for is_locked in (True, False):
        for call in (
            lambda: handle.write_batch({"s": b""}),
            handle.read_all,
            handle.status_get,
            lambda: service.checkpoint_open("d", creation_attributes=ATTRIBUTES),
            lambda: service.checkpoint_unlink("c"),
            lambda: service.checkpoint_open_async("d", creation_attributes=ATTRIBUTES),
            tracker.cluster_node_get,
            lambda: tracker.cluster_track(clm.TrackFlags.CHANGES),
        ):
            with pytest.raises(errors.Unavailable):
                await call()
        if is_locked:
            await unlock(cluster)
            await eventually(lambda: cluster.engines(ClmEngine)[2].is_member(3))
    with pytest.raises(errors.Unavailable):
        await handle.close()
    await service.finalize()
    await tracker.finalize()
    await eventually(lambda: not any(engine.snapshot().handles for engine in cluster.engines(CkptEngine)))
    async with ckpt.initialize(address=address) as again:
        await again.checkpoint_open("c", creation_attributes=ATTRIBUTES)


async def test_no_service_begins_on_a_locked_node(cluster: Loopback) -> None:
    address = cluster.nodes[3].address
    await lock(cluster)
    for module in (ckpt, clm):
        with pytest.raises(errors.Unavailable):
            await module.initialize(address=address)
        with pytest.raises(errors.Library):
            await module.initialize(address=address, version="B.01.01")
    await unlock(cluster)
    async with ckpt.initialize(address=address), clm.initialize(address=address):
        pass


async def test_old_sessions_get_another_word_for_it(cluster: Loopback) -> None:
    async with ckpt.initialize(address=cluster.nodes[3].address, version="B.01.01") as service:
        handle = await service.checkpoint_open("c", creation_attributes=ATTRIBUTES)
        await lock(cluster)
        with pytest.raises(errors.Library, match="node was locked"):
            await handle.write_batch({"s": b""})
        await unlock(cluster)
        with pytest.raises(errors.Library, match="initialize again"):
            await handle.read_all()


@pytest.mark.parametrize("version", ["oldest", "newest"])
async def test_what_is_handed_over_gets_the_word_that_the_version_has(version: str) -> None:
    """Also where no event tells the outcome, or not always."""

    place = 0 if version == "oldest" else -1
    engines = [ClmEngine, CkptEngine, MsgEngine, LckEngine, LogEngine]
    async with loopback(lambda: [make() for make in engines], 3) as cluster:
        address = cluster.nodes[3].address
        async with (
            msg.initialize(address=address, version=SUPPORTED["MSG"][place]) as messages,
            lck.initialize(address=address, version=SUPPORTED["LCK"][place]) as locks,
            log.initialize(address=address, version="A.01.01") as logs,
            ckpt.initialize(address=address, version=SUPPORTED["CKPT"][place]) as checkpoints,
        ):
            queue = await messages.queue_open("q", msg.QueueCreationAttributes())
            resource = await locks.resource_open("r")
            stream = await logs.stream_open(log.STREAM_SYSTEM)
            checkpoint = await checkpoints.checkpoint_open("c", creation_attributes=WEAK)
            await messages.message_send("q", msg.Message(b"ask"))
            await queue.message_get()
            await lock(cluster)
            word = errors.Library if version == "oldest" else errors.Unavailable
            for pending in (
                messages.message_send_async("q", msg.Message(b"silent")),
                messages.message_send_async("q", msg.Message(b"told"), msg.AckFlags.DELIVERED_ACK),
                checkpoint.synchronize_async(),
                messages.queue_open_async("q"),
            ):
                with pytest.raises(word, match="node was locked"):
                    await pending
            with pytest.raises(word, match="node was locked"):
                await resource.lock_async().granted()
            with pytest.raises(errors.Unavailable, match="node was locked"):
                await stream.write_log_async("no version of LOG is too old for it")
            told = [await anext(aiter(messages)), await anext(aiter(messages))]
            assert [type(event.error) for event in told] == [word, word]


async def test_what_is_multicast_on_a_locked_node_is_refused_once_that_is_known() -> None:
    """The first message is handed over without waiting for an answer."""
    async with loopback(lambda: [ClmEngine(), CpgEngine(), EvsEngine()], 3) as cluster:
        for module in (cpg, evs):
            async with module.initialize(address=cluster.nodes[3].address) as session:
                await session.join("g")
                await lock(cluster)
                await session.mcast_joined(b"goes nowhere")
                with pytest.raises(errors.Unavailable):
                    await session.leave("g") if module is evs else await session.leave()
                for is_locked in (True, False):
                    for guarantee in module.Guarantee:
                        with pytest.raises(errors.Unavailable):
                            await session.mcast_joined(b"x", guarantee)
                    if is_locked:
                        await unlock(cluster)
                        await eventually(lambda: cluster.engines(ClmEngine)[2].is_member(3))
            async with module.initialize(address=cluster.nodes[3].address) as session:
                await session.join("g")
                await session.mcast_joined(b"x")


async def test_on_a_shared_connection_each_service_begins_anew_by_itself(cluster: Loopback) -> None:
    async with connect(cluster.nodes[3].address) as session, session.clm() as tracker:
        service = await session.ckpt()
        handle = await service.checkpoint_open("c", creation_attributes=ATTRIBUTES)
        await handle.write_batch({"s": b"kept"})
        await lock(cluster)
        await unlock(cluster)
        with pytest.raises(errors.Unavailable):
            await handle.read_all()
        await service.finalize()
        async with session.ckpt() as again:
            with pytest.raises(errors.NotExist):  # the handle was given back, and with it the checkpoint
                await again.checkpoint_open("c")
            await again.checkpoint_open("c", creation_attributes=ATTRIBUTES)
        with pytest.raises(errors.Unavailable):
            await tracker.cluster_node_get()


async def test_leaving_the_blocks_of_a_locked_node_is_silent(cluster: Loopback) -> None:
    async with (
        ckpt.initialize(address=cluster.nodes[3].address) as service,
        service.checkpoint_open("c", creation_attributes=ATTRIBUTES),
    ):
        await lock(cluster)


async def test_other_nodes_clients_notice_nothing(cluster: Loopback) -> None:
    async with (
        ckpt.initialize(address=cluster.nodes[1].address) as service,
        service.checkpoint_open("c", creation_attributes=ATTRIBUTES) as handle,
    ):
        await lock(cluster)
        await handle.write_batch({"s": b""})
        assert await handle.read_all() == {b"s": b""}
