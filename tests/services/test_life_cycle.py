"""What every service has in common, on one node and on three: to begin, to hear events, to end."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from aisexec.drive import open_driver
from aisexec.groups.local import LocalNetwork
from corosync_amf import ckpt, clm, errors
from corosync_amf.ais import DispatchFlags
from corosync_amf.engine import Service
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.clm import messages as m
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.session import Session

from .loopback import Loopback, LoopbackNode, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]
MODULES = pytest.mark.parametrize("module", [ckpt, clm], ids=["ckpt", "clm"])
NEWEST = {ckpt: "B.02.02", clm: "B.04.01"}


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), CkptEngine()], request.param) as running:
        yield running


def begin(cluster: Loopback, module: ModuleType, **arguments: Any) -> Any:
    return module.initialize(address=cluster.nodes[max(cluster.nodes)].address, **arguments)


@MODULES
async def test_versions_are_negotiated(cluster: Loopback, module: ModuleType) -> None:
    newest = NEWEST[module]
    for asked, agreed in ((newest, newest), ("B.01.09", "B.01.01"), (f"{newest[:5]}99", newest)):
        async with begin(cluster, module, version=asked) as service:
            assert service.version == agreed
    for unknown in ("A.01.01", "C.01.01", "B.00.01", "B.09.01"):
        with pytest.raises(errors.Version) as caught:
            await begin(cluster, module, version=unknown)
        assert newest in caught.value.supported
    for impossible in ("B.1.1", "b.01.01", "B.01.01 ", "", None, 17):
        if impossible is not None:
            with pytest.raises(errors.InvalidParam):
                await begin(cluster, module, version=impossible)


@MODULES
async def test_event_kinds_are_of_the_modules_type(cluster: Loopback, module: ModuleType) -> None:
    for events in (1, "ALL", DispatchFlags.ALL):
        with pytest.raises(errors.InvalidParam):
            await begin(cluster, module, events=events)
    async with begin(cluster, module, events=module.Callback(0)):
        pass


@MODULES
async def test_dispatch_hands_out_what_waits(cluster: Loopback, module: ModuleType) -> None:
    async with begin(cluster, module) as service:
        seen: list[Any] = []
        assert service.selection_object_get() >= 0
        for flags in (0, 4, "ALL", None):
            with pytest.raises(errors.InvalidParam):
                await service.dispatch(flags, seen.append)
        with pytest.raises(errors.InvalidParam):
            await service.dispatch(DispatchFlags.ALL, None)
        for flags in (DispatchFlags.ONE, DispatchFlags.ALL):
            assert await service.dispatch(flags, seen.append) == 0
        for number in range(3):
            await ask_for_an_event(service, number)
        assert await service.dispatch(DispatchFlags.ONE, seen.append) == 1
        assert await service.dispatch(DispatchFlags.ALL, seen.append) == 2
        assert [event.invocation for event in seen] == [0, 1, 2]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.dispatch, DispatchFlags.BLOCKING, seen.append)
            await ask_for_an_event(service, 3)
            while len(seen) < 4:
                await anyio.lowlevel.checkpoint()
            await service.finalize()


async def ask_for_an_event(service: Any, number: int) -> None:
    try:
        if isinstance(service, clm.ClmService):
            await service.cluster_node_get_async(invocation=number)
        else:
            await service.checkpoint_open_async("nothing", invocation=number)
    except errors.NotExist:
        pass


@MODULES
async def test_what_is_finalized_is_a_bad_handle(cluster: Loopback, module: ModuleType) -> None:
    service = await begin(cluster, module)
    await service.finalize()
    with pytest.raises(errors.BadHandle):
        service.selection_object_get()
    for call in (service.finalize, lambda: service.dispatch(DispatchFlags.ALL, print)):
        with pytest.raises(errors.BadHandle):
            await call()
    assert [event async for event in service] == []


@MODULES
async def test_objects_belong_to_one_thread(cluster: Loopback, module: ModuleType) -> None:
    async with begin(cluster, module) as service:
        caught: list[BaseException] = []

        def elsewhere() -> None:
            try:
                service.session.poll()
            except errors.InvalidParam as error:
                caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
        assert caught


@MODULES
async def test_an_executive_that_knows_no_membership_yet_is_not_ready(tmp_path: Path, module: ModuleType) -> None:
    async with open_driver() as driver:
        group = LocalNetwork().group(1)
        node = LoopbackNode(1, group, driver, tmp_path / "1.sock", [ClmEngine(), CkptEngine()], 0)
        node.listener.open()
        try:
            with pytest.raises(errors.TryAgain):
                await module.initialize(address=node.address, retry=False)
        finally:
            node.listener.close()


async def test_the_time_for_a_local_answer_is_that_for_trying_again(tmp_path: Path) -> None:
    async with open_driver() as driver:
        node = LoopbackNode(1, LocalNetwork().group(1), driver, tmp_path / "1.sock", [ClmEngine()], 0)
        node.listener.open()
        session = await Session.open(node.address)
        try:
            for timeout in (0, 0.05):
                with anyio.fail_after(2), pytest.raises(errors.TimedOut, match="transferred"):
                    await session.ask(Service.CLM, m.GetNode(1), m.Node, timeout=timeout)
            with pytest.raises(errors.TryAgain):
                await session.ask(Service.CLM, m.GetNode(1), m.Node, timeout=0, retry=False)
        finally:
            await session.close()
            node.listener.close()


@MODULES
async def test_without_an_executive_there_is_no_library(tmp_path: Path, module: ModuleType) -> None:
    with pytest.raises(errors.Library):
        await module.initialize(address=str(tmp_path / "none.sock"))
