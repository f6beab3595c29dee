"""EVT as applications use it: real sessions on executives in one process, on one node and on three."""

import gc
import select
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from aisexec.engines import engines_of
from aisexec.wiring import evt_settings
from corosync_amf import connect, errors, evt
from corosync_amf.ais import DispatchFlags
from corosync_amf.config import Machine, parse_amf, parse_executive
from corosync_amf.errors import AisError
from corosync_amf.services.amf.engine import AmfEngine
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.evt import Callback, ChannelOpenFlags, EventDelivered, Filter, FilterType, LimitId
from corosync_amf.services.evt.engine import EvtEngine
from corosync_amf.services.evt.messages import Settings as EvtSettings

from .loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]

P, S, C = ChannelOpenFlags.PUBLISHER, ChannelOpenFlags.SUBSCRIBER, ChannelOpenFlags.CREATE
ALL = P | S | C


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), EvtEngine()], request.param) as running:
        yield running
        await eventually(lambda: running.states()[0] == running.states()[-1])


def on(cluster: Loopback, node: int = 1, **arguments: Any) -> Any:
    return evt.initialize(address=cluster.nodes[min(node, len(cluster.nodes))].address, **arguments)


async def next_of(source: Any) -> Any:
    with anyio.fail_after(5):
        return await anext(aiter(source))


async def datas(source: Any, count: int) -> list[bytes]:
    return [(await next_of(source)).data_get() for _ in range(count)]


# ---- the normal case


async def test_what_one_node_publishes_another_receives(cluster: Loopback) -> None:
    async with (
        on(cluster, 1) as here,
        on(cluster, 3) as there,
        here.channel_open("alarms", P | C) as publishing,
        there.channel_open("alarms", S) as subscribing,
        subscribing.event_subscribe([Filter(FilterType.PREFIX, "disk")]) as alarms,
    ):
        await publishing.publish(b"ignored", patterns=[b"fan/1"])
        event_id = await publishing.publish(
            b"sda1 full", patterns=[b"disk/sda1"], priority=0, retention_time=60.0, publisher_name="monitor"
        )
        event = await next_of(alarms)
        attributes = event.attributes_get()
        assert event.data_get() == b"sda1 full"
        assert event_id > 1000
        assert attributes == evt.EventAttributes((b"disk/sda1",), 0, 60.0, "monitor", attributes.publish_time, event_id)
        assert attributes.publish_time > 1_700_000_000
        await publishing.event_retention_time_clear(event_id)
        with pytest.raises(errors.NotExist):
            await publishing.event_retention_time_clear(event_id)


async def test_an_event_object_is_published_again_and_again(cluster: Loopback) -> None:
    async with (
        on(cluster) as service,
        service.channel_open("c", ALL) as channel,
        channel.event_subscribe() as subscription,
    ):
        event = channel.event_allocate()
        assert event.attributes_get() == evt.EventAttributes((), 3, 0.0, "", None, evt.EVENT_ID_NONE)
        event.attributes_set(patterns=["text", bytearray(b"bytes")], publisher_name="me")
        event.attributes_set(priority=1)
        event.attributes_set(retention_time=0)
        assert event.attributes_get() == evt.EventAttributes((b"text", b"bytes"), 1, 0.0, "me", None, 0)
        ids = [await event.publish(), await event.publish(memoryview(b"two"))]
        received = [await next_of(subscription), await next_of(subscription)]
        assert [each.attributes_get().event_id for each in received] == ids
        assert [each.data_get() for each in received] == [b"", b"two"]
        assert received[0].attributes_get().patterns == (b"text", b"bytes")
        assert ids == sorted(set(ids))
        event.free()
        received[0].free()
        for freed in (event, received[0]):
            for call in (freed.attributes_get, freed.attributes_set, freed.data_get, freed.free):
                with pytest.raises(errors.BadHandle):
                    call()
            with pytest.raises(errors.BadHandle):
                await freed.publish()
        again = await received[1].publish(b"republished")
        third = await next_of(subscription)
        assert (third.attributes_get().event_id, third.attributes_get().publisher_name) == (again, "me")


async def test_a_batch_is_one_step_and_each_event_has_its_id(cluster: Loopback) -> None:
    async with (
        on(cluster, 1) as here,
        on(cluster, 2) as there,
        here.channel_open("c", ALL) as channel,
        there.channel_open("c", S) as other,
        other.event_subscribe() as subscription,
    ):
        ids = await channel.publish_batch([b"%d" % number for number in range(200)], retention_time=30.0)
        events = [await next_of(subscription) for _ in range(200)]
        assert [event.attributes_get().event_id for event in events] == ids
        assert [event.data_get() for event in events] == [b"%d" % number for number in range(200)]
        assert len(set(ids)) == 200
        await channel.event_retention_time_clear(ids[7])
        async with channel.event_subscribe() as late:
            assert [event.attributes_get().event_id for event in [await next_of(late) for _ in range(199)]] == [
                event_id for event_id in ids if event_id != ids[7]
            ]


@pytest.mark.parametrize(
    ("filters", "patterns", "fits"),
    [
        ([], [], True),
        ([], [b"x"], True),
        ([Filter(FilterType.PREFIX, "ab")], [b"abc"], True),
        ([Filter(FilterType.PREFIX, "ab")], [b"a"], False),
        ([Filter(FilterType.SUFFIX, b"bc")], [b"abc"], True),
        ([Filter(FilterType.SUFFIX, b"bc")], [b"bcd"], False),
        ([Filter(FilterType.EXACT, b"abc")], [b"abc", b"further"], True),
        ([Filter(FilterType.EXACT, b"abc")], [b"abcd"], False),
        ([Filter(FilterType.PASS_ALL), Filter(FilterType.EXACT, b"x")], [b"any", b"x"], True),
        ([Filter(FilterType.PASS_ALL), Filter(FilterType.EXACT, b"x")], [b"any"], False),
        ([Filter(FilterType.PASS_ALL, b"ignored")], [], True),
        ([Filter(FilterType.EXACT, b"")], [], True),
        ([Filter(FilterType.EXACT, b"")], [b"x"], False),
    ],
)
async def test_filters_meet_patterns_place_by_place(filters: Any, patterns: Any, fits: bool) -> None:
    async with (
        loopback(lambda: [EvtEngine()], 1) as one,
        on(one) as service,
        service.channel_open("c", ALL) as channel,
        channel.event_subscribe(filters) as chosen,
        channel.event_subscribe() as every,
    ):
        await channel.publish(b"1", patterns=patterns)
        await next_of(every)
        assert len(chosen.feed.waiting) == fits


async def test_two_subscriptions_that_fit_give_two_deliveries(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        await channel.event_subscribe([], 7)
        await channel.event_subscribe([Filter(FilterType.PASS_ALL)], 8)
        await channel.publish(b"x")
        events = [await next_of(service), await next_of(service)]
        assert sorted(event.subscription_id for event in events) == [7, 8]
        assert all(isinstance(event, EventDelivered) and event.data_size == 1 for event in events)
        assert events[0].event.data_get() == events[1].event.data_get() == b"x"


# ---- where an event goes


async def test_an_event_goes_to_who_iterates_else_to_the_stream(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        subscription = await channel.event_subscribe(subscription_id=5)
        await channel.publish(b"stream")
        assert (await next_of(service)).event.data_get() == b"stream"
        await channel.publish(b"kept")
        async for event in subscription:
            assert event.data_get() == b"kept"
            await channel.publish(b"next")
            assert service.session.waiting(service.service) == 0
            break
        delivered = await next_of(service)  # the iteration has ended with this still waiting
        assert (delivered.subscription_id, delivered.event.data_get()) == (5, b"next")
        await channel.publish(b"again")
        assert await datas(subscription, 1) == [b"again"]


async def test_who_asks_a_subscription_directly_keeps_its_events(cluster: Loopback) -> None:
    async with (
        on(cluster) as service,
        service.channel_open("c", ALL) as channel,
        channel.event_subscribe() as subscription,
    ):
        await channel.publish(b"1")
        assert (await anext(subscription)).data_get() == b"1"
        await channel.publish(b"2")
        assert await service.dispatch(DispatchFlags.ALL, print) == 0
        assert (await anext(subscription)).data_get() == b"2"


async def test_a_cancelled_task_leaves_the_events_to_the_stream(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        subscription = await channel.event_subscribe()

        async def follow() -> None:
            async for _ in subscription:
                pass

        gc.disable()  # what a traceback keeps alive, the garbage collector may end much later
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            await channel.publish(b"1")
            assert (await next_of(service)).event.data_get() == b"1"
        finally:
            gc.enable()


async def test_iterations_of_several_tasks_share_a_subscription(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        subscription = await channel.event_subscribe()
        seen: list[bytes] = []

        async def follow() -> None:
            async for event in subscription:
                seen.append(event.data_get())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            tasks.start_soon(follow)
            await channel.publish_batch([b"1", b"2", b"3"])
            await eventually(lambda: sorted(seen) == [b"1", b"2", b"3"])
            await channel.event_unsubscribe(subscription.subscription_id)  # ends both


async def test_dispatch_and_the_selection_object_know_of_events(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        subscription = await channel.event_subscribe()
        descriptor = service.selection_object_get()
        seen: list[bytes] = []

        def take(delivered: EventDelivered) -> None:
            seen.append(delivered.event.data_get())

        assert await service.dispatch(DispatchFlags.ALL, take) == 0
        assert not select.select([descriptor], [], [], 0)[0]
        for number in range(3):
            await channel.publish(b"%d" % number)
        with anyio.fail_after(5):
            await anyio.wait_readable(descriptor)
        assert await service.dispatch(DispatchFlags.ONE, take) == 1
        assert select.select([descriptor], [], [], 0)[0]
        iteration = aiter(subscription)
        assert (await anext(iteration)).data_get() == b"1"
        assert not select.select([descriptor], [], [], 0)[0]  # the rest is the iteration's
        await iteration.aclose()
        assert select.select([descriptor], [], [], 0)[0]
        assert await service.dispatch(DispatchFlags.ALL, take) == 1
        assert not select.select([descriptor], [], [], 0)[0]
        await channel.publish(b"dropped")
        await channel.event_unsubscribe(subscription.subscription_id)
        assert await service.dispatch(DispatchFlags.ALL, take) == 0
        assert not select.select([descriptor], [], [], 0)[0]
        assert seen == [b"0", b"2"]
        with pytest.raises(errors.InvalidParam):
            await service.dispatch(9, take)
        with pytest.raises(errors.InvalidParam):
            await service.dispatch(DispatchFlags.ALL, None)


async def test_higher_priority_comes_first_over_all_subscriptions_of_the_stream(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        await channel.event_subscribe([Filter(FilterType.EXACT, "a")])
        await channel.event_subscribe([Filter(FilterType.EXACT, "b")])
        for number, (pattern, priority) in enumerate([("a", 3), ("b", 2), ("a", 1), ("b", 1), ("a", 0), ("b", 3)]):
            await channel.publish(b"%d" % number, patterns=[pattern], priority=priority)
        taken = [(await next_of(service)).event.data_get() for _ in range(6)]
        assert taken == [b"4", b"2", b"3", b"1", b"0", b"5"]


async def test_a_subscription_yields_higher_priority_first(cluster: Loopback) -> None:
    async with (
        on(cluster, 1) as here,
        on(cluster, 2) as there,
        here.channel_open("c", ALL) as channel,
        there.channel_open("c", S) as other,
        other.event_subscribe() as subscription,
    ):
        for priority in (3, 0, 2, 0, 1, 3):
            await channel.publish(b"%d" % priority, priority=priority)
        await there.channels()  # all has been delivered to that node by now, or is on the way
        await eventually(lambda: (there.session.poll(), len(subscription.feed.waiting) == 6)[1])
        assert await datas(subscription, 6) == [b"0", b"0", b"1", b"2", b"3", b"3"]


async def test_a_full_queue_loses_the_newest_of_the_lowest_priority_and_says_so(cluster: Loopback) -> None:
    async with (
        on(cluster) as service,
        service.channel_open("c", ALL) as channel,
        channel.event_subscribe(queue_length=4) as subscription,
    ):
        await channel.publish_batch([b"%d" % number for number in range(6)], priority=3)
        await channel.publish(b"urgent", priority=0)
        lost = await next_of(subscription)
        attributes = lost.attributes_get()
        assert (attributes.event_id, attributes.priority) == (evt.EVENT_ID_LOST, evt.HIGHEST_PRIORITY)
        assert attributes.patterns == (evt.LOST_EVENT_PATTERN,)
        assert lost.data_get() == b"3"  # 4 and 5, and 3 for the urgent one
        assert await datas(subscription, 1) == [b"urgent"]
        await channel.publish(b"too early", priority=3)
        assert await datas(subscription, 1) == [b"0"]  # half of it waits now
        await channel.publish(b"in time", priority=3)
        last = [await next_of(subscription) for _ in range(4)]
        assert [each.data_get() for each in last] == [b"1", b"1", b"2", b"in time"]
        assert [each.attributes_get().event_id == evt.EVENT_ID_LOST for each in last] == [True, False, False, False]


async def test_one_slow_subscription_hurts_neither_requests_nor_others(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        slow = await channel.event_subscribe(queue_length=10)
        async with channel.event_subscribe(queue_length=5000) as quick:
            for round in range(30):
                await channel.publish_batch([b"%d" % round] * 100)
            assert len(await datas(quick, 3000)) == 3000
        assert len(slow.feed.waiting) == 11
        assert (await next_of(service)).event.data_get() == b"2990"
        await channel.event_unsubscribe(slow.subscription_id)


async def test_a_subscriber_that_reads_nothing_stops_no_other_service_of_its_connection(cluster: Loopback) -> None:
    async with (
        connect(cluster.nodes[1].address) as connection,
        connection.evt() as service,
        connection.clm() as membership,
    ):
        channel = await service.channel_open("c", ALL)
        await channel.event_subscribe()
        for _ in range(30):
            await channel.publish_batch([b"x"] * 100)
        assert (await membership.cluster_node_get()).node_id == 1
        assert service.version == "B.03.01"


async def test_unsubscribing_drops_what_waits(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        async with channel.event_subscribe(subscription_id=3):
            await channel.publish(b"dropped")
        await channel.event_subscribe(subscription_id=3)
        await channel.publish(b"kept")
        assert (await next_of(service)).event.data_get() == b"kept"


# ---- retention


async def test_retained_events_come_first_and_in_publish_order(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, here.channel_open("c", ALL) as channel:
        await channel.publish(b"1", patterns=[b"x"], priority=3, retention_time=60.0)
        await channel.publish(b"gone", patterns=[b"x"])
        await channel.publish(b"2", patterns=[b"x"], priority=0, retention_time=60.0)
        await channel.publish(b"other", patterns=[b"y"], retention_time=60.0)
        cleared = await channel.publish(b"cleared", patterns=[b"x"], retention_time=60.0)
        await channel.event_retention_time_clear(cleared)
    async with (
        on(cluster, 3) as there,
        there.channel_open("c", P | S) as channel,
        channel.event_subscribe([Filter(FilterType.EXACT, "x")]) as late,
    ):
        await channel.publish(b"3", patterns=[b"x"], priority=0)
        assert await datas(late, 3) == [b"1", b"2", b"3"]


async def test_a_retained_event_goes_when_its_time_is_over(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        event_id = await channel.publish(b"short", retention_time=0.05)
        engines = cluster.engines(EvtEngine)
        await eventually(lambda: not any(engine.snapshot().channels[0].retained for engine in engines))
        with pytest.raises(errors.NotExist):
            await channel.event_retention_time_clear(event_id)


async def test_more_retained_events_than_a_queue_holds_are_all_delivered(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        for _ in range(3):
            await channel.publish_batch([b"x"] * 1000, retention_time=60.0)
        async with channel.event_subscribe(queue_length=10) as subscription:
            assert len(await datas(subscription, 3000)) == 3000


async def test_retained_events_survive_the_publishers_node() -> None:
    async with loopback(lambda: [EvtEngine()], 3) as cluster:
        publishing = await (await on(cluster, 3)).channel_open("c", P | C)
        event_id = await publishing.publish(b"alarm", retention_time=60.0)
        cluster.die(3)
        await eventually(lambda: cluster.nodes[1].sees(2))
        async with (
            on(cluster, 1) as service,
            service.channel_open("c", S) as channel,
            channel.event_subscribe() as subscription,
        ):
            event = await next_of(subscription)
            assert (event.data_get(), event.attributes_get().event_id) == (b"alarm", event_id)
        await publishing.service.session.close()


# ---- life of channels


async def test_a_channel_lives_until_it_is_unlinked_and_closed(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there:
        await (await here.channel_open("c", C)).close()
        old = await there.channel_open("c", P | S)  # it is still there
        old_subscription = await old.event_subscribe()
        await old.publish(b"retained", retention_time=60.0)
        await here.channel_unlink("c")
        with pytest.raises(errors.NotExist):
            await here.channel_unlink("c")
        with pytest.raises(errors.NotExist):
            await here.channel_open("c", S)
        async with here.channel_open("c", ALL) as new, new.event_subscribe() as new_subscription:
            await old.publish(b"old")
            await new.publish(b"new")
            assert await datas(new_subscription, 1) == [b"new"]
        assert await datas(old_subscription, 2) == [b"retained", b"old"]
        await old.close()


async def test_closing_takes_events_and_subscriptions_along(cluster: Loopback) -> None:
    async with on(cluster) as service:
        channel = await service.channel_open("c", ALL)
        subscription = await channel.event_subscribe()
        allocated = channel.event_allocate()
        await channel.publish(b"1")
        await channel.publish(b"2")
        received = await next_of(subscription)
        await channel.close()
        for call in (allocated.attributes_get, received.attributes_get, received.data_get, received.free):
            with pytest.raises(errors.BadHandle):
                call()
        with pytest.raises(errors.BadHandle):
            allocated.attributes_set(priority=9)
        with pytest.raises(StopAsyncIteration):
            await anext(aiter(subscription))
        for late in (
            channel.close,
            lambda: channel.publish(b""),
            lambda: channel.publish_batch([b""]),
            lambda: channel.event_subscribe(),
            lambda: channel.event_unsubscribe(1),
            lambda: channel.event_retention_time_clear(5000),
            allocated.publish,
            subscription.close,
        ):
            with pytest.raises(errors.BadHandle):
                await late()
        with pytest.raises(errors.BadHandle):
            channel.event_allocate()
        assert await service.dispatch(DispatchFlags.ALL, print) == 0


async def test_finalizing_ends_iterations_and_handles(cluster: Loopback) -> None:
    service = await on(cluster)
    channel = await service.channel_open("c", ALL)
    subscription = await channel.event_subscribe()
    ended: list[str] = []

    async def follow() -> None:
        async for _ in subscription:
            raise AssertionError("nothing was published")
        ended.append("iteration")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await service.channels()
        await service.finalize()
    assert ended == ["iteration"]
    for late in (service.finalize, channel.close, lambda: service.channel_open("c", S)):
        with pytest.raises(errors.BadHandle):
            await late()
    for call in (
        service.selection_object_get,
        lambda: service.limit_get(1),
        lambda: service.channel_open_async("c", S),
        channel.event_allocate,
    ):
        with pytest.raises(errors.BadHandle):
            call()
    await eventually(lambda: not cluster.engines(EvtEngine)[0].snapshot().handles)


async def test_a_session_that_goes_on_may_begin_anew_with_the_service(cluster: Loopback) -> None:
    async with connect(cluster.nodes[1].address) as connection:
        for _ in range(2):
            async with (
                connection.evt() as service,
                service.channel_open("c", ALL) as channel,
                channel.event_subscribe() as subscription,
            ):
                await channel.publish(b"x")
                assert await datas(subscription, 1) == [b"x"]


# ---- asynchronous opening


async def test_opening_without_waiting(cluster: Loopback) -> None:
    async with on(cluster) as service:
        pending = service.channel_open_async("c", ALL, invocation=42)
        channel = await pending
        event = await next_of(service)
        assert (event.invocation, event.channel, event.error) == (42, channel, None)
        await channel.publish(b"")
        failing = service.channel_open_async("nowhere", S)
        event = await next_of(service)
        assert (event.invocation, event.channel) == (failing.invocation, None)
        assert isinstance(event.error, errors.NotExist)
        with pytest.raises(errors.NotExist):
            await failing


# ---- the error tables


BAD_OPENINGS: list[tuple[Any, Any, type[AisError]]] = [
    ("c", 0, errors.BadFlags),
    ("c", 8, errors.BadFlags),
    ("c", ALL | 16, errors.BadFlags),
    ("c", None, errors.InvalidParam),
    ("c", "P", errors.InvalidParam),
    ("", C, errors.InvalidParam),
    ("a\0b", C, errors.InvalidParam),
    (None, C, errors.InvalidParam),
    (b"c", C, errors.InvalidParam),
    ("x" * 2049, C, errors.TooBig),
    ("", 0, errors.BadFlags),
]


async def test_impossible_openings_are_refused(cluster: Loopback) -> None:
    async with on(cluster) as service:
        for name, flags, error in BAD_OPENINGS:
            with pytest.raises(error) as caught:
                await service.channel_open(name, flags)
            assert type(caught.value) is error
            with pytest.raises(error):
                service.channel_open_async(name, flags)
        with pytest.raises(errors.NotExist):
            await service.channel_open("nowhere", P | S)
        with pytest.raises(errors.TimedOut):
            await service.channel_open("c", C, timeout=0)
        with pytest.raises(errors.InvalidParam):
            await service.channel_open("c", C, timeout=-1)
        with pytest.raises(errors.InvalidParam):
            service.channel_open_async("c", C, invocation="1")
        for name, wrong in (("", errors.InvalidParam), (None, errors.InvalidParam), ("x" * 2049, errors.TooBig)):
            with pytest.raises(wrong):
                await service.channel_unlink(name)
        assert await service.channels() == []


async def test_calls_whose_events_were_left_out_are_refused(cluster: Loopback) -> None:
    async with on(cluster, events=Callback.DELIVER) as service:
        with pytest.raises(errors.Init):
            service.channel_open_async("c", C)
        with pytest.raises(errors.Init):
            service.channel_open_async("x" * 2049, C)
    async with on(cluster, events=Callback.OPEN) as service, service.channel_open("c", P | C) as channel:
        with pytest.raises(errors.Init):
            await channel.event_subscribe()
        with pytest.raises(errors.InvalidParam):
            await channel.event_subscribe(None)


async def test_initialize_checks_its_arguments(cluster: Loopback) -> None:
    for arguments, error in (
        ({"version": "B.04.01"}, errors.Version),
        ({"version": "A.01.01"}, errors.Version),
        ({"version": "B.00.01"}, errors.Version),
        ({"version": "3"}, errors.InvalidParam),
        ({"events": 1}, errors.InvalidParam),
    ):
        with pytest.raises(error):
            await on(cluster, **arguments)
    with pytest.raises(errors.Library):
        await evt.initialize(address="/nowhere/amf.sock")


BAD_ATTRIBUTES: list[tuple[dict[str, Any], type[AisError]]] = [
    ({"priority": -1}, errors.InvalidParam),
    ({"priority": 4}, errors.InvalidParam),
    ({"priority": "0"}, errors.InvalidParam),
    ({"priority": True}, errors.InvalidParam),
    ({"retention_time": -0.1}, errors.InvalidParam),
    ({"retention_time": float("nan")}, errors.InvalidParam),
    ({"retention_time": "1"}, errors.InvalidParam),
    ({"retention_time": 100_000.5}, errors.TooBig),
    ({"retention_time": float("inf")}, errors.TooBig),
    ({"publisher_name": "x" * 256}, errors.InvalidParam),
    ({"publisher_name": b"x"}, errors.InvalidParam),
    ({"patterns": b"abc"}, errors.InvalidParam),
    ({"patterns": "abc"}, errors.InvalidParam),
    ({"patterns": [1]}, errors.InvalidParam),
    ({"patterns": [None]}, errors.InvalidParam),
    ({"patterns": 5}, errors.InvalidParam),
    ({"patterns": [b"x" * 256]}, errors.TooBig),
    ({"patterns": [b"x"] * 17}, errors.TooBig),
    ({"patterns": [b"x"] * 17, "priority": 9}, errors.InvalidParam),
]


async def test_impossible_attributes_are_refused_and_change_nothing(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        event = channel.event_allocate()
        before = event.attributes_get()
        bad: list[tuple[dict[str, Any], type[AisError]]] = [({"publisher_name": ""}, errors.InvalidParam)]
        for attributes, error in BAD_ATTRIBUTES + bad:
            with pytest.raises(error) as caught:
                event.attributes_set(**attributes)
            assert type(caught.value) is error
        assert event.attributes_get() == before
        bad = [({"patterns": None}, errors.InvalidParam), ({"priority": None}, errors.InvalidParam)]
        for attributes, error in BAD_ATTRIBUTES + bad:
            with pytest.raises(error):
                await channel.publish(b"", **attributes)
            with pytest.raises(error):
                await channel.publish_batch([b""], **attributes)
        for data in (None, "text", 5):
            with pytest.raises(errors.InvalidParam):
                await channel.publish(data)
            with pytest.raises(errors.InvalidParam):
                await event.publish(data)
            with pytest.raises(errors.InvalidParam):
                await channel.publish_batch([data])
        for too_big in (lambda: channel.publish(bytes(2**20 + 1)), lambda: event.publish(bytes(2**20 + 1))):
            with pytest.raises(errors.TooBig):
                await too_big()
        batches: list[Any] = [[], b"x", None]
        for batch in batches:
            with pytest.raises(errors.InvalidParam):
                await channel.publish_batch(batch)
        for batch in ([b""] * 4097, [bytes(2**20)] * 5):
            with pytest.raises(errors.TooBig):
                await channel.publish_batch(batch)


async def test_the_largest_event_arrives(cluster: Loopback) -> None:
    async with (
        on(cluster, 1) as here,
        on(cluster, 3) as there,
        here.channel_open("c", P | C) as channel,
        there.channel_open("c", S) as other,
        other.event_subscribe([Filter(FilterType.EXACT, bytes(255))] * 16) as subscription,
    ):
        await channel.publish(bytes(2**20), patterns=[bytes(255)] * 16, publisher_name="x" * 255)
        assert await datas(subscription, 1) == [bytes(2**20)]


async def test_rights_are_those_of_the_handle(cluster: Loopback) -> None:
    async with on(cluster) as service:
        both = await service.channel_open("c", ALL)
        for flags in (C, S):
            channel = await service.channel_open("c", flags)
            event = channel.event_allocate()
            assert event.attributes_get().priority == evt.LOWEST_PRIORITY
            with pytest.raises(errors.Access):
                event.attributes_set(priority=1)
            for publish, data in ((channel.publish, b""), (channel.publish_batch, [b""]), (event.publish, b"")):
                with pytest.raises(errors.Access):
                    await publish(data)
            with pytest.raises(errors.InvalidParam):
                event.attributes_set(priority=9)
        for flags in (C, P):
            with pytest.raises(errors.Access):
                await (await service.channel_open("c", flags)).event_subscribe()
        async with both.event_subscribe() as subscription:
            await both.publish(b"x")
            received = await next_of(subscription)
        with pytest.raises(errors.Access):
            received.attributes_set(priority=1)
        with pytest.raises(errors.BadHandle):
            both.event_allocate().data_get()


async def test_subscriptions_are_checked(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        await channel.event_subscribe(subscription_id=1)
        free = await channel.event_subscribe()
        assert free.subscription_id == 2
        long, many = [Filter(FilterType.PREFIX, "x" * 256)], [Filter(FilterType.PASS_ALL)] * 17
        refusals: list[tuple[tuple[Any, ...], type[AisError]]] = [
            (((), 1), errors.Exist),
            ((None,), errors.InvalidParam),
            (("abc",), errors.InvalidParam),
            ((5,), errors.InvalidParam),
            ((["x"],), errors.InvalidParam),
            (([Filter(5)],), errors.InvalidParam),  # type: ignore[arg-type]
            (([Filter(FilterType.EXACT, None)],), errors.InvalidParam),  # type: ignore[arg-type]
            (((), -1), errors.InvalidParam),
            (((), "1"), errors.InvalidParam),
            ((long,), errors.TooBig),
            ((many, 1), errors.TooBig),
        ]
        for arguments, error in refusals:
            with pytest.raises(error) as caught:
                await channel.event_subscribe(*arguments)
            assert type(caught.value) is error
        for length in (0, -1, None, "8", 2.5):
            with pytest.raises(errors.InvalidParam):
                await channel.event_subscribe(queue_length=length)
        other = await service.channel_open("c", S)
        await other.event_subscribe(subscription_id=1)  # unique per handle
        for unknown in (9, -1):
            with pytest.raises(errors.NotExist):
                await channel.event_unsubscribe(unknown)
        with pytest.raises(errors.InvalidParam):
            await channel.event_unsubscribe(None)
        await channel.event_unsubscribe(1)
        with pytest.raises(errors.NotExist):
            await channel.event_unsubscribe(1)
        await channel.event_subscribe(subscription_id=1)


async def test_clearing_is_checked(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("c", ALL) as channel:
        for invalid in (0, 1, 1000, -5, None, "5000", True):
            with pytest.raises(errors.InvalidParam):
                await channel.event_retention_time_clear(invalid)
        other = await service.channel_open("d", ALL)
        elsewhere = await other.publish(b"", retention_time=50.0)
        never = await channel.publish(b"")
        for missing in (1001, elsewhere, never):
            with pytest.raises(errors.NotExist):
                await channel.event_retention_time_clear(missing)


async def test_limits_are_told(cluster: Loopback) -> None:
    async with on(cluster) as service:
        assert [service.limit_get(limit) for limit in LimitId] == [4096, 2**20, 255, 16, 100_000]
        for unknown in (0, 6, None, "1"):
            with pytest.raises(errors.InvalidParam):
                service.limit_get(unknown)
    async with on(cluster, version="B.01.01") as service:
        with pytest.raises(errors.Version):
            service.limit_get(LimitId.MAX_EVT_SIZE)


async def test_sessions_keep_to_what_their_executive_is_configured_for() -> None:
    text = "event {\n delivery_queue_size: 8\n delivery_queue_resume: 1\n retention_max: 60s\n}\n"
    settings = evt_settings(parse_executive(text, "corosync.conf", Machine(), {})[0])
    model = parse_amf("applications: {}\n", "amf.conf")[0]
    async with (
        loopback(lambda: engines_of(AmfEngine(model), evt=settings), 1) as one,
        loopback(lambda: [EvtEngine()], 1) as other,
        on(one) as service,
        on(other) as generous,
        service.channel_open("c", ALL) as channel,
        generous.channel_open("c", ALL) as elsewhere,
    ):
        assert service.limit_get(LimitId.MAX_RETENTION_DURATION) == 60
        event = channel.event_allocate()
        with pytest.raises(errors.TooBig, match="60 s is the limit"):
            event.attributes_set(retention_time=61.0)
        for publish in (channel.publish(b"", retention_time=61.0), channel.publish_batch([b""], retention_time=61.0)):
            with pytest.raises(errors.TooBig, match="60 s is the limit"):
                await publish
        await channel.publish(b"", retention_time=60.0)
        await elsewhere.publish(b"", retention_time=61.0)
        async with channel.event_subscribe() as as_configured, channel.event_subscribe(queue_length=6) as as_chosen:
            await channel.publish_batch([b""] * 100)
            assert await taken_until_it_resumes(as_configured) == (8, 1)
            assert await taken_until_it_resumes(as_chosen) == (6, 3)


async def test_an_event_that_another_node_let_pass_is_not_published_anew_beyond_the_own_limit() -> None:
    settings = iter([EvtSettings(), EvtSettings(retention_max=60.0)])
    async with (
        loopback(lambda: [EvtEngine(next(settings))], 2) as two,
        on(two, 1) as generous,
        on(two, 2) as service,
        generous.channel_open("c", ALL) as elsewhere,
        service.channel_open("c", ALL) as channel,
        channel.event_subscribe() as subscription,
    ):
        await elsewhere.publish(b"", retention_time=61.0)
        event = await next_of(subscription)
        with pytest.raises(errors.TooBig, match="60 s is the limit"):
            await event.publish()
        assert two.states()[0] == two.states()[-1]


async def taken_until_it_resumes(subscription: evt.Subscription) -> tuple[int, int]:
    """How many events an overflowing subscription has kept, and at how many of them it takes new ones again."""
    while (await next_of(subscription)).attributes_get().event_id != evt.EVENT_ID_LOST:
        pass  # retained ones
    waiting = subscription.feed.waiting
    kept = len(waiting)
    while waiting.is_overflowing:
        await next_of(subscription)
    return kept, len(waiting)


async def test_what_operators_see(cluster: Loopback) -> None:
    async with on(cluster) as service, service.channel_open("alarms", ALL) as channel:
        await channel.event_subscribe()
        await channel.publish_batch([b"12345"] * 300, patterns=[b"p"], retention_time=60.0, publisher_name="me")
        (status,) = await service.channels()
        assert (status.name, status.handles, status.publishers, status.subscribers) == ("alarms", 1, 1, 1)
        assert (status.subscriptions, status.retained, status.retained_bytes) == (1, 300, 1500)
        (opener,) = await service.channel_openers("alarms")
        assert (opener.node_id, opener.open_flags, opener.subscriptions) == (1, 7, 1)
        events = [event async for event in service.channel_retained("alarms")]
        assert len(events) == 300
        assert (events[0].data_size, events[0].publisher_name, events[0].patterns) == (5, "me", (b"p",))
        assert await service.channel_purge("alarms") == 300
        assert [event async for event in service.channel_retained("alarms")] == []
        for call in (service.channel_openers, service.channel_purge):
            with pytest.raises(errors.NotExist):
                await call("nowhere")


async def test_subscribers_hear_how_much_they_missed_while_they_were_apart() -> None:
    async with (
        loopback(lambda: [ClmEngine(), EvtEngine()], 3) as cluster,
        on(cluster, 1) as here,
        on(cluster, 3) as there,
        here.channel_open("alarms", ALL) as near,
        there.channel_open("alarms", ALL) as far,
        near.event_subscribe() as nearby,
        far.event_subscribe() as distant,
    ):
        cluster.network.partition([1, 2], [3])
        await eventually(lambda: cluster.nodes[1].sees(2) and cluster.nodes[3].sees(1))
        await near.publish_batch([b"1", b"2"])
        await far.publish(b"3", retention_time=60.0)
        assert await datas(nearby, 2) == [b"1", b"2"]
        assert await datas(distant, 1) == [b"3"]
        cluster.network.heal()
        assert await datas(nearby, 1) == [b"3"]  # it was retained
        lost = await next_of(distant)
        assert (lost.attributes_get().event_id, lost.data_get()) == (evt.EVENT_ID_LOST, b"2")
        assert lost.attributes_get().patterns == (evt.LOST_EVENT_PATTERN,)
        await near.publish(b"4")
        assert [await datas(each, 1) for each in (nearby, distant)] == [[b"4"], [b"4"]]
