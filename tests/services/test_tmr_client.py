"""TMR as applications use it, on both event loops."""

import gc
import os
import select
import threading
import time
from typing import Any

import anyio
import pytest

from corosync_amf import ais, connect, errors, tmr
from corosync_amf.errors import AisError
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.tmr.session import TimerSession
from corosync_amf.services.tmr.table import Moment
from corosync_amf.services.tmr.values import TIMERS_MAX

from .loopback import eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]
ABSOLUTE, DURATION = tmr.TimeType.ABSOLUTE, tmr.TimeType.DURATION
NOON = 1_800_000_000.0
SOON = 0.001


def lasting(seconds: float, period: float = 0.0) -> tmr.TimerAttributes:
    return tmr.TimerAttributes(DURATION, seconds, period)


class Clock:
    """Time as the test will have it. The kernel's alarm goes on with its own."""

    def __init__(self) -> None:
        self.moment = Moment(0.0, NOON)

    def __call__(self) -> Moment:
        return self.moment

    def set(self, monotonic: float, step: float = 0.0) -> None:
        self.moment = Moment(monotonic, NOON + monotonic + step)


def with_clock(clock: Clock, **arguments: Any) -> Any:
    return tmr.TmrService.opening(session=TimerSession(clock), **arguments)


async def dispatched(service: tmr.TmrService, flags: ais.DispatchFlags = ais.DispatchFlags.ALL) -> list[Any]:
    events: list[Any] = []
    await service.dispatch(flags, events.append)
    return [(event.data, event.expiration_count) for event in events]


# ---- real time


async def test_a_beat_comes_at_its_period() -> None:
    async with tmr.initialize() as service:
        began = time.monotonic()
        beat = service.timer_start(lasting(0.02, 0.02), data="beat")
        count = 0
        async for event in service:
            assert isinstance(event, tmr.TimerExpired)
            assert (event.timer, event.data) == (beat, "beat")
            count += event.expiration_count
            assert time.monotonic() - began >= 0.02 * count - 0.001
            if count >= 5:
                break
        assert beat.cancel() == "beat"


async def test_an_absolute_timer_expires_at_its_time() -> None:
    async with tmr.initialize() as service:
        when = service.time_get() + 0.05
        service.timer_start(tmr.TimerAttributes(ABSOLUTE, when))
        async for event in service:
            assert event.expiration_count == 1
            assert service.time_get() >= when - 0.001
            break


async def test_who_waits_already_is_woken_by_an_earlier_timer() -> None:
    async with tmr.initialize() as service, anyio.create_task_group() as tasks:
        heard: list[object] = []

        async def listen() -> None:
            async for event in service:
                heard.append(event.data)

        service.timer_start(lasting(1000.0), "late")
        tasks.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        service.timer_start(lasting(SOON), "early")
        await eventually(lambda: heard == ["early"])
        tasks.cancel_scope.cancel()


async def test_each_timer_can_be_iterated_by_itself() -> None:
    async with tmr.initialize() as service, anyio.create_task_group() as tasks:
        heard: dict[object, int] = {}

        async def follow(timer: tmr.Timer) -> None:
            async for event in timer:
                assert event.timer is timer
                heard[event.data] = heard.get(event.data, 0) + event.expiration_count

        async def listen() -> None:
            async for event in service:
                heard[event.data] = heard.get(event.data, 0) + 1

        timers = [service.timer_start(lasting(SOON, 0.01), number) for number in range(3)]
        for timer in timers:
            tasks.start_soon(follow, timer)
        tasks.start_soon(listen)
        await eventually(lambda: len(heard) == 3 and min(heard.values()) > 2)
        service.timer_start(lasting(SOON), "once")
        await eventually(lambda: heard.get("once") == 1)
        for timer in timers:
            timer.cancel()  # which ends the iteration
        await service.finalize()


async def test_iterating_a_timer_that_expires_once_ends() -> None:
    async with tmr.initialize() as service:
        timer = service.timer_start(lasting(SOON), "once")
        assert [event.data async for event in timer] == ["once"]
        assert [event async for event in timer] == []
        with pytest.raises(errors.NotExist):
            timer.cancel()


async def test_blocking_dispatch_goes_on_until_finalize() -> None:
    async with tmr.initialize() as service:
        service.timer_start(lasting(SOON, 0.005))
        handled: list[object] = []

        async def handle(event: object) -> None:
            handled.append(event)
            if len(handled) == 3:
                await service.finalize()

        assert await service.dispatch(ais.DispatchFlags.BLOCKING, handle) == 3


async def test_the_descriptor_is_readable_while_an_expiry_waits() -> None:
    async with tmr.initialize() as service:
        descriptor = service.selection_object_get()

        def is_readable(timeout: float = 0.0) -> bool:
            return bool(select.select([descriptor], [], [], timeout)[0])

        assert not is_readable()
        timer = service.timer_start(lasting(SOON, 0.01))
        assert is_readable(10.0)
        assert len(await dispatched(service)) == 1
        assert is_readable(10.0)
        timer.remaining_time_get()  # looks, and finds it
        assert is_readable()
        timer.cancel()
        assert await dispatched(service) == []
        assert not is_readable()


async def test_the_executive_and_its_socket_are_not_needed(tmp_path: Any) -> None:
    async with tmr.initialize(address=str(tmp_path / "nobody"), retry=False) as service:
        assert service.version == "A.01.01"
        assert service.time_get() == pytest.approx(time.time(), abs=1.0)
        assert 0 < service.clock_tick_get() < 0.1


async def test_timers_of_a_cluster_object() -> None:
    async with (
        loopback(lambda: [ClmEngine()], 1) as running,
        connect(running.nodes[1].address) as cluster,
        cluster.tmr() as service,
        cluster.tmr(events=tmr.Callback.EXPIRED) as other,
    ):
        service.timer_start(lasting(SOON), "mine")
        other.timer_start(lasting(SOON), "its")
        async for event in service:
            assert event.data == "mine"
            break


async def test_dropped_iterations_and_services_leave_nothing_behind() -> None:
    service = await tmr.initialize()
    timer = service.timer_start(lasting(SOON, 0.001))
    async for _ in timer:
        break
    async for _ in service:
        break
    descriptors = [service.session.alarm.fileno()]
    await service.finalize()
    other = TimerSession()
    descriptors.append(other.alarm.fileno())
    del other
    gc.collect()
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


# ---- the time as an argument


async def test_what_nobody_takes_is_one_event_that_counts() -> None:
    clock = Clock()
    async with with_clock(clock) as service:
        service.timer_start(lasting(1.0, 1.0), "a")
        service.timer_start(lasting(2.5), "b")
        clock.set(1.0)
        await service.dispatch(ais.DispatchFlags.ONE, lambda event: None)
        for seconds in (2.0, 3.0, 10.0):
            clock.set(seconds)
            service.session.poll()
        assert await dispatched(service) == [("a", 9), ("b", 1)]
        assert await dispatched(service) == []


async def test_dispatch_takes_one_or_all() -> None:
    clock = Clock()
    async with with_clock(clock) as service:
        assert await dispatched(service, ais.DispatchFlags.ONE) == []
        for number in range(3):
            service.timer_start(lasting(float(number)), number)
        clock.set(2.0)
        assert await dispatched(service, ais.DispatchFlags.ONE) == [(0, 1)]
        assert await dispatched(service) == [(1, 1), (2, 1)]


async def test_a_timer_that_expired_once_is_there_until_that_is_delivered() -> None:
    clock = Clock()
    async with with_clock(clock) as service:
        timer = service.timer_start(lasting(1.0), "egg")
        assert timer.remaining_time_get() == 1.0
        clock.set(5.0)
        assert timer.remaining_time_get() == 0.0
        assert timer.attributes_get() == lasting(1.0)
        with pytest.raises(errors.NotExist):
            timer.reschedule(lasting(1.0))
        assert await dispatched(service) == [("egg", 1)]
        for call in (timer.remaining_time_get, timer.attributes_get, timer.cancel, timer.skip):
            with pytest.raises(errors.NotExist):
                call()
        with pytest.raises(errors.NotExist):
            timer.reschedule(lasting(1.0))


async def test_cancelling_returns_the_data_and_drops_what_waits() -> None:
    clock, data = Clock(), object()
    async with with_clock(clock) as service:
        timer = service.timer_start(lasting(1.0, 1.0), data)
        clock.set(3.0)
        service.session.poll()
        assert timer.cancel() is data
        assert await dispatched(service) == []
        with pytest.raises(errors.NotExist):
            timer.cancel()


async def test_rescheduling_tells_when_it_was_called() -> None:
    clock = Clock()
    async with with_clock(clock) as service:
        timer = service.timer_start(lasting(1.0, 1.0), "a")
        assert timer.call_time == NOON
        clock.set(1.5)
        assert timer.reschedule(tmr.TimerAttributes(ABSOLUTE, NOON + 60.0, 10.0)) == timer.call_time == NOON + 1.5
        assert timer.remaining_time_get() == 58.5
        assert await dispatched(service) == [("a", 1)]
        clock.set(70.0)
        assert await dispatched(service) == [("a", 2)]


async def test_skipping_leaves_out_one_expiry_a_call() -> None:
    clock = Clock()
    async with with_clock(clock) as service:
        timer, once = service.timer_start(lasting(1.0, 1.0), "a"), service.timer_start(lasting(100.0))
        timer.skip()
        timer.skip()
        assert timer.remaining_time_get() == 3.0
        clock.set(2.5)
        assert await dispatched(service) == []
        clock.set(3.0)
        assert await dispatched(service) == [("a", 1)]
        with pytest.raises(errors.InvalidParam):
            once.skip()


async def test_an_absolute_timer_follows_when_the_clock_is_set_while_somebody_waits() -> None:
    clock = Clock()
    async with with_clock(clock) as service, anyio.create_task_group() as tasks:
        heard: list[object] = []

        async def listen() -> None:
            async for event in service:
                heard.append(event.data)

        service.timer_start(tmr.TimerAttributes(ABSOLUTE, NOON + 3600.0), "meeting")
        egg = service.timer_start(lasting(3600.0), "egg")
        tasks.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        clock.set(0.0, step=7200.0)
        await eventually(lambda: heard == ["meeting"])  # within the second
        assert egg.remaining_time_get() == 3600.0
        tasks.cancel_scope.cancel()


async def test_expiries_move_to_who_iterates_and_back() -> None:
    clock = Clock()
    async with with_clock(clock) as service:
        first, second = service.timer_start(lasting(1.0), 1), service.timer_start(lasting(1.0, 1.0), 2)
        clock.set(2.0)
        service.session.poll()
        assert [event.data async for event in first] == [1]
        async for event in second:
            assert event.expiration_count == 2
            clock.set(5.0)
            service.session.poll()
            assert await dispatched(service) == []
            break
        gc.collect()
        assert await dispatched(service) == [(2, 3)]


async def test_only_one_iteration_of_a_timer_at_a_time() -> None:
    clock = Clock()
    async with with_clock(clock) as service:
        timer = service.timer_start(lasting(0.0, 1.0))
        service.session.poll()
        async with timer.__aiter__() as going_on:
            await going_on.__anext__()
            with pytest.raises(errors.InvalidParam):
                async for _ in timer:
                    pass


# ---- errors


IMPOSSIBLE: list[Any] = [
    None,
    "soon",
    lasting(-1.0),
    lasting(1.0, -1.0),
    lasting(float("nan")),
    lasting(None),  # type: ignore[arg-type]
    tmr.TimerAttributes(3, 1.0),  # type: ignore[arg-type]
    tmr.TimerAttributes(ABSOLUTE, NOON - 1.0),
]


@pytest.mark.parametrize("attributes", IMPOSSIBLE)
async def test_impossible_attributes_are_refused_and_change_nothing(attributes: Any) -> None:
    async with with_clock(Clock()) as service:
        with pytest.raises(errors.InvalidParam):
            service.timer_start(attributes)
        timer = service.timer_start(lasting(9.0))
        with pytest.raises(errors.InvalidParam):
            timer.reschedule(attributes)
        with pytest.raises(errors.InvalidParam):
            timer.reschedule(lasting(1.0, 1.0))
        assert timer.remaining_time_get() == 9.0


async def test_without_the_callback_no_timer_is_started() -> None:
    async with tmr.initialize(events=tmr.Callback(0)) as service:
        with pytest.raises(errors.Init):
            service.timer_start(lasting(1.0))
        with pytest.raises(errors.InvalidParam):
            service.timer_start(lasting(-1.0))


async def test_a_session_has_65536_timers() -> None:
    async with with_clock(Clock()) as service:
        timers = [service.timer_start(lasting(1.0)) for _ in range(TIMERS_MAX)]
        with pytest.raises(errors.NoResources):
            service.timer_start(lasting(1.0))
        timers[7].cancel()
        service.timer_start(lasting(1.0))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"version": "A.02.01"}, errors.Version),
        ({"version": "B.01.01"}, errors.Version),
        ({"version": "A.1.1"}, errors.InvalidParam),
        ({"version": None}, errors.InvalidParam),
        ({"events": 1}, errors.InvalidParam),
        ({"events": tmr.Callback(2)}, errors.InvalidParam),
    ],
)
async def test_initialize_refuses(arguments: dict[str, Any], error: type[AisError]) -> None:
    with pytest.raises(error):
        await tmr.initialize(**arguments)


async def test_nothing_works_after_finalize() -> None:
    service = await tmr.initialize(version="A.01.09")
    assert service.version == "A.01.01"
    timer = service.timer_start(lasting(1.0, 1.0))
    iteration = timer.__aiter__()
    await service.finalize()
    for call in (
        service.time_get,
        service.clock_tick_get,
        service.selection_object_get,
        timer.cancel,
        timer.skip,
        timer.remaining_time_get,
        timer.attributes_get,
        lambda: timer.reschedule(lasting(1.0, 1.0)),
        lambda: service.timer_start(lasting(1.0)),
    ):
        with pytest.raises(errors.BadHandle):
            call()
    with pytest.raises(errors.BadHandle):
        await service.finalize()
    with pytest.raises(errors.BadHandle):
        await iteration.__anext__()
    assert [event async for event in service] == []


async def test_another_thread_is_refused() -> None:
    async with tmr.initialize() as service:
        timer = service.timer_start(lasting(1.0, 1.0))
        refused: list[type[Exception]] = []

        def elsewhere() -> None:
            for call in (service.time_get, timer.cancel, timer.skip, lambda: service.timer_start(lasting(1.0))):
                try:
                    call()
                except AisError as error:
                    refused.append(type(error))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
        assert refused == [errors.InvalidParam] * 4
        timer.cancel()
