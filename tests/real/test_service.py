import select
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from corosync_amf.ais import DispatchFlags, TrackFlags
from corosync_amf.cluster import connect
from corosync_amf.engine import Done
from corosync_amf.errors import BadHandle, Init, InvalidParam, Library, TryAgain, Version
from corosync_amf.service import Opening

from .echo_executive import (
    Burst,
    Callback,
    EchoExecutive,
    EchoService,
    Refuse,
    Said,
    Say,
    SayOutcome,
    Ticked,
    echo_executive,
)

pytestmark = [pytest.mark.anyio, pytest.mark.real]


def initialize(executive: EchoExecutive, **arguments) -> Opening[EchoService]:
    return EchoService.opening(address=str(executive.path), **arguments)


# ---- life cycle


async def test_initialize_can_be_entered_or_awaited(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        async with initialize(executive) as service:
            assert (await service.request(Say(b"a"), Said)).data == b"a"
            assert service.version == "B.02.03"
        with pytest.raises(BadHandle):
            await service.request(Say(b"a"), Said)
        service = await initialize(executive, version="B.01.09")
        assert service.version == "B.01.01"
        await service.finalize()
        with pytest.raises(BadHandle):
            await service.finalize()


async def test_leaving_a_finalized_service_is_silent(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive, initialize(executive) as service:
        await service.finalize()
        for call in (service.check_open, service.selection_object_get, lambda: service.post(Say(b""))):
            with pytest.raises(BadHandle):
                call()


async def test_initialize_refuses_bad_arguments_and_leaves_no_connection(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        for version in ("B.1.1", "b.01.01", b"B.01.01", 2, "B.01.01 "):
            with pytest.raises(InvalidParam):
                await initialize(executive, version=version)
        with pytest.raises(Version) as caught:
            await initialize(executive, version="B.03.01")
        assert caught.value.supported == ("B.01.01", "B.02.03")
        for events in (4, 1, TrackFlags.CURRENT, "TICK", Callback.ALL | 8):
            with pytest.raises(InvalidParam):
                await initialize(executive, events=events)
        assert executive.frames == []


class RefusedService(EchoService):
    async def start(self) -> None:
        await self.request(Refuse("start", 31, 1), Done)


async def test_service_that_cannot_start_ends_its_session(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        with pytest.raises(Exception, match="not yet"):
            await RefusedService.opening(address=str(executive.path))
        with anyio.fail_after(20):
            while not executive.lost:
                await anyio.lowlevel.checkpoint()


async def test_service_object_of_a_dead_executive_can_be_finalized(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        service = await initialize(executive)
        executive.listener.close()
        with pytest.raises(Library):
            await service.request(Say(b""), Said)
        await service.finalize()


class SlowToStop(EchoService):
    async def stop(self) -> None:
        await self.request(Say(b"bye"), Said)


async def test_second_finalize_is_refused_even_while_the_first_is_under_way(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        service = await SlowToStop.opening(address=str(executive.path))
        executive.hold = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.finalize)
            with anyio.fail_after(20):
                while not executive.held:
                    await anyio.lowlevel.checkpoint()
            with pytest.raises(BadHandle):
                await service.finalize()
            executive.release()
        assert not service.is_open


async def test_cancelled_finalize_still_ends_the_session(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        executive.hold = True
        with anyio.move_on_after(0.02):
            service = await SlowToStop.opening(address=str(executive.path))
            await service.finalize()
        assert not service.is_open
        with anyio.fail_after(20):
            while not executive.lost:
                await anyio.lowlevel.checkpoint()


async def test_services_of_a_cluster_share_its_connection_but_a_second_one_of_a_kind_has_its_own(
    tmp_path: Path,
) -> None:
    async with echo_executive(tmp_path) as executive:
        async with connect(str(executive.path)) as cluster:
            assert (cluster.node_id, cluster.node_name) == (3, "node-3")
            async with cluster.service(EchoService) as first, cluster.service(EchoService) as second:
                assert first.session is cluster.session
                assert second.session is not cluster.session
                assert len(executive.listener.clients) == 2
                await second.request(Burst(1), Done)
                assert second.take() == [Ticked(0)]
                assert first.take() == []
            async with cluster.service(EchoService, version="B.01.01", events=Callback.TICK) as third:
                assert third.session is cluster.session
                assert third.version == "B.01.01"
        assert not third.is_open
        with pytest.raises(BadHandle):
            await cluster.session.request(EchoService.service, Say(b""), Said)


async def test_async_call_gives_its_outcome_to_who_awaits_and_to_the_stream(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive, initialize(executive, events=Callback.SAY) as service:

        def say(message, invocation=None):
            service.check_callback(Callback.SAY)
            return service.submit(message, Said, lambda said: said.data, SayOutcome, invocation=invocation)

        pending = say(Say(b"x"), 7)
        assert pending.invocation == 7
        assert await pending == b"x"
        with pytest.raises(TryAgain):
            await say(Refuse("r", 6, 1), 8)
        first, second = [event async for _, event in azip(2, service)]
        assert first == SayOutcome(7, b"x", None)
        assert (second.invocation, second.data, type(second.error)) == (8, None, TryAgain)
        assert say(Say(b"")).invocation != say(Say(b"")).invocation
        with pytest.raises(InvalidParam):
            say(Say(b""), "7")
        with pytest.raises(Init, match="TICK"):
            service.check_callback(Callback.TICK)


async def azip(count: int, events):
    """The first `count` of the events, numbered."""
    for number in range(count):
        yield number, await anext(aiter(events))


# ---- events


async def test_events_come_one_by_one_and_leaving_the_loop_loses_none(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive, initialize(executive) as service:
        await service.request(Burst(250), Done)
        got: list[int] = []
        while len(got) < 250:
            async for event in service:
                got.append(event.number)
                if len(got) % 50 == 0:
                    break
        assert got == list(range(250))


async def test_iteration_and_blocking_dispatch_end_when_the_service_is_finalized(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive, initialize(executive) as service:
        got: list[int] = []
        counts: list[int] = []

        async def dispatch() -> None:
            counts.append(await service.dispatch(DispatchFlags.BLOCKING, lambda event: got.append(event.number)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatch)
            await service.request(Burst(3), Done)
            while len(got) < 3:
                await anyio.lowlevel.checkpoint()
            await service.finalize()
        assert (got, counts) == ([0, 1, 2], [3])
        assert [event async for event in service] == []


async def test_dispatch_one_takes_one_event_and_all_takes_those_that_wait(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive, initialize(executive) as service:
        got: list[int] = []

        async def handler(event: Ticked) -> None:
            await anyio.lowlevel.checkpoint()
            got.append(event.number)

        assert await service.dispatch(DispatchFlags.ONE, handler) == 0
        assert await service.dispatch(DispatchFlags.ALL, handler) == 0
        executive.tick(1, range(5))
        assert await service.dispatch(DispatchFlags.ONE, handler) == 1
        assert await service.dispatch(2, handler) == 4  # type: ignore[arg-type]
        assert got == list(range(5))
        for flags, called in ((0, handler), (4, handler), ("ALL", handler), (DispatchFlags.ALL, None)):
            with pytest.raises(InvalidParam):
                await service.dispatch(flags, called)  # type: ignore[arg-type]


async def test_event_whose_handler_raises_is_taken_and_the_others_still_wait(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive, initialize(executive) as service:
        executive.tick(1, range(3))
        with pytest.raises(ZeroDivisionError):
            await service.dispatch(DispatchFlags.ALL, lambda event: 1 // event.number)
        got: list[int] = []
        assert await service.dispatch(DispatchFlags.ALL, lambda event: got.append(event.number)) == 2
        assert got == [1, 2]


async def test_handler_may_finalize_the_service(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive, initialize(executive) as service:
        executive.tick(1, range(3))
        assert await service.dispatch(DispatchFlags.ALL, lambda event: service.finalize()) == 1


async def test_selection_object_is_readable_exactly_while_an_event_waits(tmp_path: Path) -> None:
    def readable(fd: int) -> bool:
        return bool(select.select([fd], [], [], 0)[0])

    async with echo_executive(tmp_path) as executive, initialize(executive) as service:
        fd = service.selection_object_get()
        assert fd == service.selection_object_get()
        assert not readable(fd)
        executive.tick(1, range(2))
        assert readable(fd)  # still in the socket
        await service.request(Say(b""), Said)
        assert readable(fd)  # in the stream
        await service.dispatch(DispatchFlags.ONE, lambda event: None)
        assert readable(fd)
        await service.dispatch(DispatchFlags.ONE, lambda event: None)
        assert not readable(fd)
        await service.request(Burst(1), Done)
        assert readable(fd)
        async for _ in service:
            break
        assert not readable(fd)
        executive.tick(1, range(1))
        with anyio.fail_after(20):
            await anyio.wait_readable(fd)


async def test_dispatch_wakes_the_reader_whose_answer_it_took(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive, initialize(executive) as service:
        executive.hold = True
        got: list[bytes] = []

        async def ask() -> None:
            got.append((await service.request(Say(b"x"), Said)).data)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                while not executive.held:
                    await anyio.lowlevel.checkpoint()
                executive.release()
                service.session.poll()
        assert got == [b"x"]


async def test_event_that_the_library_tells_wakes_who_waits_for_one(tmp_path: Path) -> None:
    async with (
        echo_executive(tmp_path) as executive,
        initialize(executive) as service,
        anyio.create_task_group() as tasks,
    ):
        heard: list[object] = []

        async def listen() -> None:
            async for event in service:
                heard.append(event)

        tasks.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        service.tell("told")
        with anyio.fail_after(20):
            while not heard:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert heard == ["told"]
