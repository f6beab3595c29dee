"""NTF as applications use it: real sessions on executives in one process, of one node and of three."""

import select
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import anyio
import pytest

from corosync_amf import connect, errors, ntf
from corosync_amf.ais import DispatchFlags
from corosync_amf.engine import Done, Notice, Service
from corosync_amf.errors import AisError
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.ntf import (
    ClassId,
    Direction,
    EventType,
    Filter,
    NotificationType,
    SearchCriteria,
    SearchMode,
    Severity,
)
from corosync_amf.services.ntf.engine import NtfEngine
from corosync_amf.services.ntf.subscriptions import SUBSCRIPTIONS_MAX
from corosync_amf.services.ntf.values import NOTIFICATION_BYTES_MAX, QUEUE_MAX

from .loopback import Loopback, eventually, loopback
from .notifications import CLEARED, public_alarm, public_event

pytestmark = [pytest.mark.anyio, pytest.mark.real]

ALARMS = Filter(types=[NotificationType.ALARM])
EVERYTHING = Filter()
OURS = Filter(notification_objects=["safApp=a", "safApp=x", "safApp=y"])


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), NtfEngine()], request.param) as running:
        yield running


def on(cluster: Loopback, node: int = 1, **arguments: Any) -> Any:
    return ntf.initialize(address=cluster.nodes[node].address, **arguments)


def last(cluster: Loopback) -> int:
    """Another node, if there is one."""
    return max(cluster.nodes)


EVERY = [
    ntf.ObjectCreateDelete(
        EventType.OBJECT_CREATION,
        "safApp=a",
        "safApp=b",
        ClassId(1, 2, 3),
        12.5,
        source_indicator=ntf.SourceIndicator.OBJECT_OPERATION,
        object_attributes=(ntf.Attribute(1, "text"), ntf.Attribute(2, b"octets")),
    ),
    ntf.AttributeChange(
        EventType.ATTRIBUTE_CHANGED,
        "safApp=a",
        "safApp=b",
        source_indicator=ntf.SourceIndicator.MANAGEMENT_OPERATION,
        changed_attributes=(ntf.ChangedAttribute(1, None, 2.0), ntf.ChangedAttribute(2, True, 3)),
    ),
    ntf.StateChange(
        EventType.OBJECT_STATE_CHANGE,
        "safApp=a",
        "safApp=b",
        source_indicator=ntf.SourceIndicator.UNKNOWN,
        changed_states=(ntf.ChangedState(1, None, 2), ntf.ChangedState(5, 1, 2)),
    ),
    ntf.Alarm(
        EventType.ALARM_QOS,
        "safApp=a",
        "safApp=b",
        additional_text="hot",
        additional_info=((1, 7), (2, 7.0), (3, "seven"), (4, b"\x07"), (5, True)),
        correlated_notifications=(5, 6),
        probable_cause=ntf.ProbableCause.TEMPERATURE_UNACCEPTABLE,
        perceived_severity=Severity.CRITICAL,
        specific_problems=(ntf.SpecificProblem(1, ClassId(1, 2, 3), "fan"), ntf.SpecificProblem(2)),
        trend=ntf.SeverityTrend.MORE_SEVERE,
        threshold_information=ntf.ThresholdInformation(1, 80.0, 5.0, 91.5, 12.0),
        monitored_attributes=(ntf.Attribute(9, 91.5),),
        proposed_repair_actions=(ntf.ProposedRepairAction(1, "open a window"),),
    ),
    ntf.SecurityAlarm(
        EventType.TIME_VIOLATION,
        "safApp=a",
        "safApp=b",
        probable_cause=ntf.ProbableCause.KEY_EXPIRED,
        severity=Severity.WARNING,
        security_alarm_detector=ntf.SecurityAlarmDetector("firewall"),
        service_user=ntf.ServiceUser(b"\x01"),
        service_provider=ntf.ServiceProvider(17),
    ),
    ntf.Miscellaneous(EventType.ERROR_REPORT, "safApp=a", "safApp=b"),
]


async def test_every_type_of_notification_arrives_as_it_was_sent(cluster: Loopback) -> None:
    async with (
        on(cluster) as sender,
        on(cluster, last(cluster)) as service,
        service.notification_subscribe([OURS]) as subscription,
    ):
        for sent in EVERY:
            number = await sender.notification_send(sent)
            got = await anext(subscription)
            time = got.event_time if sent.event_time is None else sent.event_time
            assert got == replace(sent, notification_id=number, event_time=time)
            assert got.event_time is not None
            assert [type(value) for _, value in got.additional_info] == [
                type(value) for _, value in sent.additional_info
            ]


async def test_ids_grow_on_all_nodes_and_everybody_sees_one_order(cluster: Loopback) -> None:
    async with (
        on(cluster) as one,
        on(cluster, last(cluster)) as other,
        one.notification_subscribe([OURS]) as here,
        other.notification_subscribe([OURS]) as there,
    ):
        numbers = []

        async def send(service: Any) -> None:
            for _ in range(10):
                numbers.append(await service.notification_send(public_event()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, one)
            tasks.start_soon(send, other)
        assert [(await anext(here)).notification_id for _ in range(20)] == sorted(numbers)
        assert [(await anext(there)).notification_id for _ in range(20)] == sorted(numbers)
        assert len(set(numbers)) == 20


BAD: list[tuple[Any, type[AisError]]] = [
    (None, errors.InvalidParam),
    (ntf.Notification(EventType.ALARM_QOS, "a", "b"), errors.InvalidParam),
    (ntf.Alarm(EventType.ERROR_CLEAR, "a", "b"), errors.InvalidParam),
    (ntf.Miscellaneous(EventType.ALARM_QOS, "a", "b"), errors.InvalidParam),
    (ntf.Miscellaneous(0x6008, "a", "b"), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.Miscellaneous("x", "a", "b"), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "", "b"), errors.InvalidParam),
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a", ""), errors.InvalidParam),
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a\0", "b"), errors.InvalidParam),
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a", None), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a", "\ud800"), errors.InvalidParam),
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "x" * 2049, "b"), errors.TooBig),
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a", "b", (1, 2)), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a", "b", ClassId(-1, 0, 0)), errors.InvalidParam),
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a", "b", event_time=float("nan")), errors.InvalidParam),
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a", "b", additional_text=b"x"), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a", "b", additional_info=((1, None),)), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a", "b", additional_info=((1, 2**64),)), errors.InvalidParam),
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a", "b", additional_info=(7,)), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a", "b", additional_info=7), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "a", "b", correlated_notifications=("x",)), errors.InvalidParam),  # type: ignore[arg-type]
    (public_event(additional_text="x" * NOTIFICATION_BYTES_MAX), errors.TooBig),
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "x" * 2049, "b"), errors.TooBig),
    (ntf.Miscellaneous(EventType.ERROR_CLEAR, "x" * 2049, ""), errors.InvalidParam),
    (ntf.Alarm(EventType.ALARM_QOS, "a", "b", perceived_severity=6), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.Alarm(EventType.ALARM_QOS, "a", "b", probable_cause=-1), errors.InvalidParam),
    (ntf.Alarm(EventType.ALARM_QOS, "a", "b", trend=7), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.Alarm(EventType.ALARM_QOS, "a", "b", threshold_information=3), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.Alarm(EventType.ALARM_QOS, "a", "b", specific_problems=("x",)), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.SecurityAlarm(EventType.TIME_VIOLATION, "a", "b", severity=None), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.SecurityAlarm(EventType.TIME_VIOLATION, "a", "b", service_user=object()), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.StateChange(EventType.OBJECT_STATE_CHANGE, "a", "b", source_indicator=9), errors.InvalidParam),  # type: ignore[arg-type]
    (ntf.StateChange(EventType.OBJECT_STATE_CHANGE, "a", "b", changed_states=(1,)), errors.InvalidParam),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("nodes", [1, 3])
async def test_bad_notifications_are_refused(nodes: int) -> None:
    async with loopback(lambda: [ClmEngine(), NtfEngine()], nodes) as cluster, on(cluster) as service:
        for notification, error in BAD:
            for call in (service.notification_send, service.notification_send_with_id):
                with pytest.raises(AisError) as caught:
                    await call(notification)
                assert type(caught.value) is error, notification
        reader = await service.notification_read_initialize(SearchCriteria(), [OURS])
        with pytest.raises(errors.NotExist):
            await reader.next()


async def test_tuples_and_lists_do_where_value_types_stand(cluster: Loopback) -> None:
    change: Any = ntf.StateChange(EventType.OBJECT_STATE_CHANGE, "safApp=a", "b", changed_states=[(1, None, 2)])  # type: ignore[arg-type]
    alarm: Any = ntf.SecurityAlarm(EventType.TIME_VIOLATION, "safApp=a", "b", ClassId(1, 1, 1), service_user="me")  # type: ignore[arg-type]
    async with on(cluster) as service, service.notification_subscribe([OURS]) as subscription:
        await service.notification_send(change)
        await service.notification_send(alarm)
        assert (await anext(subscription)).changed_states == (ntf.ChangedState(1, None, 2),)
        assert (await anext(subscription)).service_user == ntf.ServiceUser("me")


async def test_a_notification_is_sent_once_with_an_allocated_id(cluster: Loopback) -> None:
    async with on(cluster) as service, on(cluster, last(cluster)) as other:
        number = await service.identifier_allocate()
        assert await service.notification_send(public_event()) > number
        await other.notification_send_with_id(public_alarm(notification_id=number))
        with pytest.raises(errors.Exist):
            await service.notification_send_with_id(public_alarm(notification_id=number))
        with pytest.raises(errors.InvalidParam):
            await service.notification_send_with_id(public_alarm(notification_id=number + 1))
        with pytest.raises(errors.InvalidParam):
            await service.notification_send_with_id(public_alarm())


async def test_functions_of_version_3_need_it(cluster: Loopback) -> None:
    async with on(cluster, version="A.01.01") as service:
        assert service.version == "A.01.01"
        for call in (service.identifier_allocate, service.static_suppression_filter_set):
            with pytest.raises(errors.Version):
                await call()
        with pytest.raises(errors.Version):
            await service.notification_send_with_id(public_event(notification_id=5))
    with pytest.raises(errors.Version) as caught:
        await on(cluster, version="B.01.01")
    assert caught.value.supported == ("A.01.01", "A.02.01", "A.03.01")
    with pytest.raises(errors.InvalidParam):
        await on(cluster, version="x")
    with pytest.raises(errors.InvalidParam):
        await on(cluster, events=3)


# ---- subscribing


async def test_the_example_of_the_specification(cluster: Loopback) -> None:
    async with (
        on(cluster) as sender,
        on(cluster, last(cluster)) as service,
        service.notification_subscribe([ntf.Filter(types=[ntf.NotificationType.ALARM])]) as alarms,
    ):
        number = await sender.notification_send(public_alarm(additional_text="hot"))
        async for alarm in alarms:
            assert (alarm.notification_id, alarm.perceived_severity.name) == (number, "MAJOR")
            break


async def test_without_iteration_the_events_are_those_of_the_service(cluster: Loopback) -> None:
    async with on(cluster) as service:
        await service.notification_subscribe([ALARMS], 1)
        await service.notification_subscribe([OURS], 2)
        event, alarm = public_event(), public_alarm()
        first, second = await service.notification_send(event), await service.notification_send(alarm)
        events = aiter(service)
        got = [await anext(events) for _ in range(3)]
        assert [(each.subscription_id, each.notification.notification_id) for each in got] == [
            (2, first),
            (1, second),
            (2, second),
        ]
        assert isinstance(got[0], ntf.NotificationReceived)
        await service.notification_unsubscribe(1)
        await service.notification_send(alarm)
        seen: list[Any] = []
        assert await service.dispatch(DispatchFlags.ALL, seen.append) == 1
        assert seen[0].subscription_id == 2
        assert service.selection_object_get() >= 0
        with pytest.raises(errors.InvalidParam):
            await service.dispatch(4, seen.append)


async def test_what_waits_moves_to_the_subscription_that_is_iterated_over(cluster: Loopback) -> None:
    async with on(cluster) as service:
        one = await service.notification_subscribe([OURS], 1)
        await service.notification_subscribe([OURS], 2)
        numbers = [await service.notification_send(public_event()) for _ in range(3)]
        assert [(await anext(one)).notification_id for _ in range(3)] == numbers
        seen: list[Any] = []
        assert await service.dispatch(DispatchFlags.ALL, seen.append) == 3
        assert [each.subscription_id for each in seen] == [2, 2, 2]


async def test_errors_of_subscribing(cluster: Loopback) -> None:
    async with on(cluster) as service:
        bad: list[Any] = [
            [],
            None,
            ALARMS,
            [None],
            "x",
            [Filter(types=[7])],  # type: ignore[list-item]
            [Filter(severities=[9])],  # type: ignore[list-item]
            [Filter(event_types=3)],  # type: ignore[arg-type]
            [Filter(notification_objects="safApp=a")],
            [Filter(notifying_objects=[""])],
            [Filter(class_ids=[5])],  # type: ignore[list-item]
        ]
        for filters in bad:
            with pytest.raises(errors.InvalidParam):
                await service.notification_subscribe(filters)
        with pytest.raises(errors.TooBig):
            await service.notification_subscribe([Filter(notification_objects=["x" * 2049])])
        with pytest.raises(errors.NoResources):
            await service.notification_subscribe([ALARMS] * 65)
        for number in (-1, 2**32, "x"):
            with pytest.raises(errors.InvalidParam):
                await service.notification_subscribe([ALARMS], number)
        await service.notification_subscribe([ALARMS], 1)
        with pytest.raises(errors.Exist):
            await service.notification_subscribe([ALARMS], 1)
        await service.notification_unsubscribe(1)
        with pytest.raises(errors.NotExist):
            await service.notification_unsubscribe(1)
        with pytest.raises(errors.InvalidParam):
            await service.notification_unsubscribe(None)
        assert await service.notification_subscribe([ALARMS], 1)
    async with on(cluster, events=ntf.Callback.DISCARDED) as service:
        with pytest.raises(errors.Init):
            await service.notification_subscribe([ALARMS])
        with pytest.raises(errors.InvalidParam):
            await service.notification_subscribe([])


async def test_what_is_too_big_or_too_much_comes_after_what_is_wrong_and_what_was_left_out(cluster: Loopback) -> None:
    long = Filter(notification_objects=["x" * 2049])
    crowds = [[long], [ALARMS] * 65, [Filter(notification_objects=["x"] * 257)]]
    async with on(cluster, events=ntf.Callback.DISCARDED) as service:
        for filters in crowds:
            with pytest.raises(errors.Init):
                await service.notification_subscribe(filters)
    async with on(cluster) as service:
        for filters in crowds:
            with pytest.raises(errors.InvalidParam):
                await service.notification_subscribe(filters, -1)
        for later in (None, Filter(notifying_objects=[""])):
            with pytest.raises(errors.InvalidParam):
                await service.notification_subscribe([long, later])
        with pytest.raises(errors.InvalidParam):
            await service.static_suppression_filter_set([long, ALARMS])
        with pytest.raises(errors.TooBig):
            await service.static_suppression_filter_set([long])
        with pytest.raises(errors.TooBig):
            await service.notification_read_initialize(filters=[long])


async def test_what_waits_for_a_subscription_goes_with_it(cluster: Loopback) -> None:
    """Also when it was too much, and when the next one has its id."""
    async with on(cluster) as service:
        for about, count in (("safApp=a", QUEUE_MAX), ("safApp=x", QUEUE_MAX + 5), ("safApp=y", 1)):
            await service.notification_subscribe([OURS], 1)
            for _ in range(count):
                await service.notification_send(public_event(about))
            if about != "safApp=y":
                await service.notification_unsubscribe(1)
                assert not select.select([service.selection_object_get()], [], [], 0)[0]
        events: list[Any] = []
        assert await service.dispatch(DispatchFlags.ALL, events.append) == 1
        assert events[0].notification.notification_object == "safApp=y"


async def test_the_id_of_a_subscription_that_was_cancelled_is_free(cluster: Loopback) -> None:
    async with on(cluster) as service:
        with anyio.move_on_after(0):
            await service.notification_subscribe([OURS], 5)
        subscription = await service.notification_subscribe([OURS], 5)
        number = await service.notification_send(public_event())
        assert (await anext(subscription)).notification_id == number


async def test_a_closed_subscription_ends(cluster: Loopback) -> None:
    async with on(cluster) as service:
        async with service.notification_subscribe([OURS]) as subscription:
            await service.notification_send(public_event())
            async for _ in subscription:
                await subscription.close()
            with pytest.raises(errors.BadHandle):
                await subscription.close()
            with pytest.raises(StopAsyncIteration):
                await anext(subscription)
        async with anyio.create_task_group() as tasks:
            subscription = await service.notification_subscribe([OURS])
            ended = []

            async def iterate() -> None:
                async for _ in subscription:
                    pass
                ended.append(True)

            tasks.start_soon(iterate)
            await anyio.wait_all_tasks_blocked()
            await service.finalize()
        assert ended == [True]


async def test_a_slow_subscriber_is_told_what_it_missed_in_its_place(cluster: Loopback) -> None:
    async with on(cluster) as sender, on(cluster, last(cluster)) as service:
        subscription = await service.notification_subscribe([OURS], 5)
        numbers = [await sender.notification_send(public_event()) for _ in range(QUEUE_MAX)]
        missed = [await sender.notification_send(public_alarm()) for _ in range(3)]
        missed_too = [await sender.notification_send(public_event()) for _ in range(2)]
        got = [await anext(subscription) for _ in range(QUEUE_MAX)]
        assert [each.notification_id for each in got] == numbers
        assert await anext(subscription) == ntf.NotificationDiscarded(5, NotificationType.ALARM, tuple(missed))
        expected = ntf.NotificationDiscarded(5, NotificationType.MISCELLANEOUS, tuple(missed_too))
        assert await anext(subscription) == expected
        later = await sender.notification_send(public_event())
        assert (await anext(subscription)).notification_id == later


async def test_discards_are_events_of_the_service_or_not_told_at_all(cluster: Loopback) -> None:
    async with (
        on(cluster) as service,
        on(cluster, events=ntf.Callback.NOTIFICATION) as other,
        on(cluster, last(cluster)) as sender,
    ):
        await service.notification_subscribe([OURS], 5)
        await other.notification_subscribe([OURS], 5)
        for _ in range(QUEUE_MAX + 1):
            number = await sender.notification_send(public_event())
        for session, count in ((service, QUEUE_MAX + 1), (other, QUEUE_MAX)):
            seen: list[Any] = []

            async def has_all(session: Any = session, seen: list[Any] = seen) -> None:
                with anyio.fail_after(20):
                    async for event in session:
                        seen.append(event)
                        if len(seen) == QUEUE_MAX:
                            return

            await has_all()
            await session.dispatch(DispatchFlags.ALL, seen.append)
            assert len(seen) == count
        assert isinstance(seen[-1], ntf.NotificationReceived)
        assert number > 0


# ---- reading


async def test_a_reader_goes_both_ways_through_what_it_finds(cluster: Loopback) -> None:
    async with on(cluster) as sender, on(cluster, last(cluster)) as service:
        numbers = [await sender.notification_send(public_event(event_time=float(time))) for time in range(1, 6)]
        await service.notification_send(public_event("safApp=z"))
        async with service.notification_read_initialize(filters=[OURS]) as reader:
            assert [each.notification_id async for each in reader] == numbers
            assert (await reader.next(Direction.OLDER)).event_time == 4.0
            assert (await reader.next(Direction.OLDER)).event_time == 3.0
            assert (await reader.next(Direction.YOUNGER)).event_time == 4.0
            assert (await reader.next(Direction.YOUNGER)).event_time == 5.0
            with pytest.raises(errors.NotExist):
                await reader.next(Direction.YOUNGER)
            later = await service.notification_send(public_event(event_time=9.0))
            assert (await reader.next(Direction.YOUNGER)).notification_id == later


async def test_each_search_mode(cluster: Loopback) -> None:
    async with on(cluster) as service:
        numbers = [await service.notification_send(public_event(event_time=float(time))) for time in (1, 2, 3)]
        expected = {
            SearchMode.BEFORE_OR_AT_TIME: [1.0, 2.0],
            SearchMode.AT_TIME: [2.0],
            SearchMode.AT_OR_AFTER_TIME: [2.0, 3.0],
            SearchMode.BEFORE_TIME: [1.0],
            SearchMode.AFTER_TIME: [3.0],
        }
        for mode, these in expected.items():
            search = SearchCriteria(mode, event_time=2.0)
            async with service.notification_read_initialize(search, [OURS]) as reader:
                assert [each.event_time async for each in reader] == these
            async with service.notification_read_initialize(search, [OURS]) as reader:
                back = [(await reader.next(Direction.OLDER)).event_time for _ in these]
                assert back == these[::-1]
                with pytest.raises(errors.NotExist):
                    await reader.next(Direction.OLDER)
        search = SearchCriteria(SearchMode.NOTIFICATION_ID, notification_id=numbers[1])
        async with service.notification_read_initialize(search) as reader:
            assert [each.notification_id async for each in reader] == [numbers[1]]


async def test_errors_of_reading(cluster: Loopback) -> None:
    async with on(cluster) as service:
        bad: list[Any] = [
            None,
            SearchCriteria(0),  # type: ignore[arg-type]
            SearchCriteria(8),  # type: ignore[arg-type]
            *(SearchCriteria(SearchMode(mode)) for mode in range(1, 7)),
            SearchCriteria(SearchMode.AT_TIME, event_time="x"),  # type: ignore[arg-type]
            SearchCriteria(SearchMode.NOTIFICATION_ID, notification_id="x"),  # type: ignore[arg-type]
        ]
        for search in bad:
            with pytest.raises(errors.InvalidParam):
                await service.notification_read_initialize(search)
        for filters in (ALARMS, None, [1]):
            with pytest.raises(errors.InvalidParam):
                await service.notification_read_initialize(filters=filters)
        reader = await service.notification_read_initialize(filters=[Filter(notification_objects=["nothing"])])
        for direction in Direction:
            with pytest.raises(errors.NotExist):
                await reader.next(direction)
        with pytest.raises(errors.InvalidParam):
            await reader.next(3)
        await reader.finalize()
        for call in (reader.next, reader.finalize):
            with pytest.raises(errors.BadHandle):
                await call()


async def test_long_reads_come_in_pages(cluster: Loopback) -> None:
    async with on(cluster) as service:
        numbers = [await service.notification_send(public_event()) for _ in range(100)]
        reader = await service.notification_read_initialize(filters=[OURS])
        assert [each.notification_id async for each in reader] == numbers
        reader = await service.notification_read_initialize(filters=[OURS])
        assert [(await reader.next(Direction.OLDER)).notification_id for _ in numbers] == numbers[::-1]


# ---- the rest


async def test_a_cleared_alarm_refers_to_the_raised_one(cluster: Loopback) -> None:
    async with on(cluster) as service, service.notification_subscribe([OURS]) as alarms:
        raised = await service.notification_send(public_alarm())
        await service.notification_send(public_alarm(severity=CLEARED))
        assert (await anext(alarms)).correlated_notifications == ()
        assert (await anext(alarms)).correlated_notifications == (raised,)


async def test_suppressed_notifications_go_nowhere(cluster: Loopback) -> None:
    async with on(cluster) as service, service.notification_subscribe([OURS]) as subscription:
        await service.static_suppression_filter_set([Filter(notification_objects=["safApp=x"])])
        assert await service.notification_send(public_event("safApp=x")) > 0
        number = await service.notification_send(public_event("safApp=y"))
        assert (await anext(subscription)).notification_id == number
        with pytest.raises(errors.InvalidParam):
            await service.static_suppression_filter_set([ALARMS])
        with pytest.raises(errors.InvalidParam):
            await service.static_suppression_filter_set(None)
        await service.static_suppression_filter_set()
        number = await service.notification_send(public_event("safApp=x"))
        assert (await anext(subscription)).notification_id == number


async def test_text_and_room_of_a_notification(cluster: Loopback) -> None:
    async with on(cluster) as service:
        assert service.localized_message_get(public_event(additional_text="hot")) == "hot"
        room = service.variable_data_size_get(public_event())
        assert 0 < NOTIFICATION_BYTES_MAX - room < 100
        assert service.variable_data_size_get(public_event(additional_text="x" * 1000)) <= room - 1000
        for call in (service.localized_message_get, service.variable_data_size_get):
            with pytest.raises(errors.InvalidParam):
                call(None)


async def test_after_finalize_every_call_is_refused(cluster: Loopback) -> None:
    service = await on(cluster)
    subscription = await service.notification_subscribe([ALARMS])
    reader = await service.notification_read_initialize()
    await service.finalize()
    calls = [
        lambda: service.notification_send(public_event()),
        lambda: service.notification_send_with_id(public_event()),
        service.identifier_allocate,
        lambda: service.notification_subscribe([ALARMS]),
        lambda: service.notification_unsubscribe(1),
        service.notification_read_initialize,
        service.static_suppression_filter_set,
        service.finalize,
        reader.next,
        reader.finalize,
        subscription.close,
    ]
    for call in calls:
        with pytest.raises(errors.BadHandle):
            await call()
    for local in (lambda: service.localized_message_get(public_event()), service.selection_object_get):
        with pytest.raises(errors.BadHandle):
            local()


async def test_services_share_a_connection(cluster: Loopback) -> None:
    async with (
        connect(cluster.nodes[1].address) as connection,
        connection.ntf() as one,
        connection.ntf() as other,
        other.notification_subscribe([OURS]) as subscription,
    ):
        number = await one.notification_send(public_event())
        assert (await anext(subscription)).notification_id == number


async def test_a_client_that_pretends_to_be_an_engine_is_refused(cluster: Loopback) -> None:
    async with on(cluster) as service:
        with pytest.raises(errors.Access):
            await service.session.request(Service.NTF, Notice(0x4001, "a", "b", (1, 2, 3), "x"), Done)


async def test_membership_is_notified_and_replicas_stay_equal() -> None:
    async with loopback(lambda: [ClmEngine(), NtfEngine()], 3) as cluster, on(cluster) as service:
        joined = Filter(class_ids=[ClassId(18568, 3, 0x65)])
        reader = await service.notification_read_initialize(filters=[joined])
        assert {each.notification_object async for each in reader} >= {"safNode=node1"}
        async with service.notification_subscribe([Filter(class_ids=[ClassId(18568, 3, 0x66)])]) as leaving:
            cluster.die(3)
            left = await anext(leaving)
            assert isinstance(left, ntf.StateChange)
            assert (left.notification_object, left.changed_states) == ("safNode=node3", (ntf.ChangedState(1, None, 3),))
            assert "node3(3)" in left.additional_text
        await eventually(lambda: cluster.nodes[1].engines[1].snapshot() == cluster.nodes[2].engines[1].snapshot())


async def test_a_session_has_a_limited_number_of_subscriptions() -> None:
    async with loopback(lambda: [ClmEngine(), NtfEngine()], 1) as cluster, on(cluster) as service:
        for number in range(SUBSCRIPTIONS_MAX):
            await service.notification_subscribe([OURS], number)
        with pytest.raises(errors.NoResources):
            await service.notification_subscribe([OURS], SUBSCRIPTIONS_MAX)
        await service.notification_unsubscribe(0)
        subscription = await service.notification_subscribe([OURS], SUBSCRIPTIONS_MAX)
        number = await service.notification_send(public_event())
        assert (await anext(subscription)).notification_id == number


async def test_without_an_executive_calls_raise_library_and_finalize_succeeds() -> None:
    async with loopback(lambda: [ClmEngine(), NtfEngine()], 1) as cluster:
        service = await on(cluster)
        subscription = await service.notification_subscribe([OURS])
        cluster.nodes[1].listener.close()
        with pytest.raises(errors.Library):
            await anext(subscription)
        with pytest.raises(errors.Library):
            await service.notification_send(public_event())
        await service.finalize()
