"""MSG as applications use it: real sessions on executives in one process."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from corosync_amf import connect, errors, msg
from corosync_amf.ais import DispatchFlags, TrackFlags
from corosync_amf.engine import Service
from corosync_amf.errors import AisError
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.msg import (
    AckFlags,
    Callback,
    CreationFlags,
    GroupChange,
    LimitId,
    Message,
    MessageDelivered,
    MessageReceived,
    QueueCreationAttributes,
    QueueGroupPolicy,
    QueueOpened,
    QueueOpenFlags,
    QueueThresholds,
)
from corosync_amf.services.msg import messages as m
from corosync_amf.services.msg.engine import MsgEngine
from corosync_amf.services.msg.values import SenderId

from .loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]

CREATE, CALLBACK = QueueOpenFlags.CREATE, QueueOpenFlags.RECEIVE_CALLBACK
SMALL = QueueCreationAttributes(size=(100, 100, 100, 100), retention_time=60.0)
ACK = AckFlags.DELIVERED_ACK
LONG = "x" * 2049
ROUND, BROADCAST = QueueGroupPolicy.ROUND_ROBIN, QueueGroupPolicy.BROADCAST


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), MsgEngine()], request.param) as running:
        yield running
        alive = [node for node in running.nodes.values() if node.sees(len(running.nodes))]
        await eventually(lambda: len({str([each.snapshot() for each in node.engines]) for node in alive}) <= 1)


def on(cluster: Loopback, node: int = 1, **arguments: Any) -> Any:
    return msg.initialize(address=cluster.nodes[min(node, len(cluster.nodes))].address, **arguments)


def waiting_gets(cluster: Loopback) -> int:
    (engine,) = cluster.nodes[1].engines[1:]
    snapshot = engine.snapshot()
    assert isinstance(snapshot, m.Snapshot)
    return sum(len(queue.gets) for queue in snapshot.queues)


def waiting_senders(cluster: Loopback) -> int:
    (engine,) = cluster.nodes[1].engines[1:]
    snapshot = engine.snapshot()
    assert isinstance(snapshot, m.Snapshot)
    return len(snapshot.receives)


# ---- messages


async def test_what_one_sends_another_gets_with_all_that_belongs_to_it(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there, here.queue_open("q", SMALL) as queue:
        await there.message_send("q", Message(bytearray(b"low"), 7, 8, 3, "me"))  # type: ignore[arg-type]
        await there.message_send("q", Message(memoryview(b"high"), priority=0))  # type: ignore[arg-type]
        high, low = await queue.message_get(), await queue.message_get(timeout=5.0)
        assert (high.data, high.priority, high.sender_name, high.sender_id) == (b"high", 0, None, None)
        assert (low.data, low.type, low.version, low.priority, low.sender_name) == (b"low", 7, 8, 3, "me")
        assert low.send_time > 1e9
        await there.message_send("q", high)  # what was received may be sent on
        assert (await queue.message_get()).data == b"high"


class Name(str):
    """Text of a class of the application's own."""


class Text(bytes):
    """And bytes."""


class Number(int):
    """And a number."""


async def test_values_of_derived_classes_are_what_they_are_derived_from(cluster: Loopback) -> None:
    attributes = QueueCreationAttributes(size=(Number(9), 9, 9, 9), retention_time=Number(5))
    async with on(cluster) as service, service.queue_open(Name("q"), attributes) as queue:
        await service.message_send(Name("q"), Message(Text(b"x"), Number(7), sender_name=Name("me")))
        got = await queue.message_get(timeout=1)
        assert (got.data, got.type, got.sender_name) == (b"x", 7, "me")
        assert (await service.queue_status_get("q")).retention_time == 5.0


async def test_a_queue_is_iterated_over_until_it_is_closed(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 2) as other:
        queue = await service.queue_open("q", SMALL)
        got: list[bytes] = []

        async def read() -> None:
            async for message in queue:
                got.append(message.data)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for data in (b"1", b"2", b"3"):
                await other.message_send("q", Message(data))
            await eventually(lambda: got == [b"1", b"2", b"3"])
            await queue.close()
        with pytest.raises(errors.BadHandle):
            await queue.message_get()


async def test_a_get_waits_its_time_and_no_longer(cluster: Loopback) -> None:
    async with on(cluster) as service, service.queue_open("q", SMALL) as queue:
        for timeout in (0, 0.02):
            with pytest.raises(errors.TimedOut):
                await queue.message_get(timeout=timeout)
        assert waiting_gets(cluster) == 0
        await service.message_send("q", Message(b"1"))
        assert (await queue.message_get(timeout=0)).data == b"1"


async def test_a_get_that_is_cancelled_takes_no_message(cluster: Loopback) -> None:
    async with on(cluster) as service, service.queue_open("q", SMALL) as queue:
        for number in range(40):
            with anyio.move_on_after(0.0005 * (number % 5)):
                await queue.message_get()
            if number % 3 == 0:
                await service.message_send("q", Message(b"%d" % number))
                assert (await queue.message_get(timeout=5.0)).data == b"%d" % number
        await eventually(lambda: waiting_gets(cluster) == 0)


async def test_no_message_is_lost_to_gets_that_time_out_as_it_comes(cluster: Loopback) -> None:
    got: list[bytes] = []
    attributes = QueueCreationAttributes()
    async with on(cluster, 1) as service, on(cluster, 2) as other, service.queue_open("q", attributes) as queue:

        async def send() -> None:
            for number in range(60):
                await other.message_send("q", Message(b"%d" % number))
                await anyio.sleep(0.001)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            while len(got) < 60:
                try:
                    got.append((await queue.message_get(timeout=0.001)).data)
                except errors.TimedOut:
                    pass
        assert got == [b"%d" % number for number in range(60)]


async def test_message_cancel_ends_all_gets_of_the_queue(cluster: Loopback) -> None:
    async with on(cluster) as service, service.queue_open("q", SMALL) as queue:
        with pytest.raises(errors.NotExist):
            await queue.message_cancel()
        ended: list[int] = []

        async def get(number: int) -> None:
            with pytest.raises(errors.Interrupt):
                await queue.message_get()
            ended.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(100):  # more than a session lets wait at the executive
                tasks.start_soon(get, number)
            await eventually(lambda: waiting_gets(cluster) == 96)
            await queue.message_cancel()
        assert len(ended) == 100


async def test_closing_ends_the_gets_that_wait(cluster: Loopback) -> None:
    async with on(cluster) as service:
        queue = await service.queue_open("q", SMALL)

        async def get() -> None:
            with pytest.raises(errors.BadHandle):
                await queue.message_get()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get)
            await eventually(lambda: waiting_gets(cluster) == 1)
            await queue.close()


async def test_what_a_client_did_not_take_is_there_for_the_next(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 2) as other:
        queue = await service.queue_open("q", SMALL)
        for data in (b"1", b"2"):
            await service.message_send("q", Message(data))
        assert (await queue.message_get()).data == b"1"
        await anyio.lowlevel.checkpoint()  # the library tells that the application has it
        await service.message_send("q", Message(b"3"))
        session = service.session
        assert (await session.request(Service.MSG, m.Get(queue.number, 10**9, False), m.Got)).body.data == b"2"
        await session.close()
        await eventually(lambda: waiting_gets(cluster) == 0)
        again = None
        while again is None:
            try:
                again = await other.queue_open("q")
            except errors.Busy:
                await anyio.sleep(0.001)
        assert [(await again.message_get(timeout=5.0)).data for _ in range(2)] == [b"2", b"3"]


# ---- replies


async def test_a_reply_comes_past_the_queues(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 2) as other, service.queue_open("q", SMALL) as queue:

        async def serve() -> None:
            message = await queue.message_get()
            assert message.sender_id is not None
            await service.message_reply(Message(b"re: " + message.data), message.sender_id)
            for sender in (message.sender_id, SenderId(12345)):
                with pytest.raises(errors.NotExist):
                    await service.message_reply(Message(b"again"), sender)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            answer = await other.message_send_receive("q", Message(b"question"))
        assert (answer.data, answer.sender_id) == (b"re: question", None)
        assert answer.send_time > 1e9


async def test_a_sender_whose_time_is_over_is_not_answered(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 2) as other, service.queue_open("q", SMALL) as queue:
        with pytest.raises(errors.TimedOut):
            await other.message_send_receive("q", Message(b""), timeout=0.02)
        with anyio.move_on_after(0.02):
            await other.message_send_receive("q", Message(b""))
        await eventually(lambda: waiting_senders(cluster) == 0)
        for _ in range(2):
            message = await queue.message_get()
            assert message.sender_id is not None
            with pytest.raises(errors.NotExist):
                await service.message_reply(Message(b"late"), message.sender_id)


async def test_many_wait_for_replies_and_the_receiver_in_the_same_session_is_not_locked_out(cluster: Loopback) -> None:
    async with on(cluster) as service, service.queue_open("q", QueueCreationAttributes()) as queue:
        answers: list[bytes] = []

        async def serve() -> None:
            async for message in queue:
                await service.message_reply(Message(message.data), message.sender_id)

        async def ask(number: int) -> None:
            answers.append((await service.message_send_receive("q", Message(b"%d" % number))).data)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            async with anyio.create_task_group() as askers:
                for number in range(300):
                    askers.start_soon(ask, number)
            tasks.cancel_scope.cancel()
        assert sorted(answers) == sorted(b"%d" % number for number in range(300))


async def test_deleting_the_queue_ends_the_wait_for_a_reply(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 2) as other:
        queue = await service.queue_open("q", QueueCreationAttributes())

        async def ask() -> None:
            with pytest.raises(errors.NotExist):
                await other.message_send_receive("q", Message(b"?"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await eventually(lambda: waiting_senders(cluster) == 1)
            await queue.close()


# ---- sending without waiting


async def test_the_outcome_of_a_send_is_told_if_that_is_asked_for(cluster: Loopback) -> None:
    async with on(cluster) as service, service.queue_open("q", SMALL) as queue:
        pending = service.message_send_async("q", Message(b"1"), ACK, invocation=5)
        assert pending.invocation == 5
        assert await pending is None
        failing = service.message_send_async("nothing", Message(b"1"), ACK, invocation=6)
        with pytest.raises(errors.NotExist):
            await failing
        assert await service.message_send_async("nothing", Message(b"1")) is None
        assert await service.message_send_async("q", Message(bytes(101))) is None
        first, second = service.take()
        assert first == MessageDelivered(5, None)
        assert (second.invocation, type(second.error)) == (6, errors.NotExist)
        assert (await queue.message_get()).data == b"1"


async def test_the_outcome_of_a_reply_is_told_if_that_is_asked_for(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 2) as other, service.queue_open("q", SMALL) as queue:

        async def serve() -> None:
            sender = (await queue.message_get()).sender_id
            assert await service.message_reply_async(Message(b"r"), sender, ACK, invocation=1) is None
            with pytest.raises(errors.NotExist):
                await service.message_reply_async(Message(b"r"), sender, ACK, invocation=2)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            assert (await other.message_send_receive("q", Message(b"?"))).data == b"r"
        assert [event.invocation for event in service.take()] == [1, 2]


# ---- queues


async def test_opening_without_waiting(cluster: Loopback) -> None:
    async with on(cluster) as service:
        queue = await service.queue_open_async("q", SMALL, invocation=3)
        with pytest.raises(errors.Busy):
            await service.queue_open_async("q", invocation=4)
        opened, busy = service.take()
        assert opened == QueueOpened(3, queue, None)
        assert (busy.queue, type(busy.error)) == (None, errors.Busy)
        await queue.close()


async def test_flags_follow_from_the_attributes_unless_they_are_named(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 2) as other:
        await (await service.queue_open("q", SMALL)).close()
        await (await other.queue_open("q")).close()
        await (await other.queue_open("q", None, QueueOpenFlags.NONE)).close()
        await (await other.queue_open("q", QueueCreationAttributes(size=SMALL.size), CREATE)).close()
        with pytest.raises(errors.Exist):
            await other.queue_open("q", QueueCreationAttributes())


async def test_the_status_of_a_queue(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 2) as other:
        queue = await service.queue_open("q", QueueCreationAttributes(CreationFlags.PERSISTENT, SMALL.size, 5.0))
        await service.message_send("q", Message(b"abc", priority=1))
        status = await service.queue_status_get("q")
        assert (status.creation_flags, status.retention_time, status.close_time) == (
            CreationFlags.PERSISTENT,
            5.0,
            None,
        )
        assert status.usage[1] == msg.QueueUsage(100, 3, 1)
        with pytest.raises(errors.BadOperation):
            await queue.retention_time_set(1.0)
        await queue.close()
        assert (await service.queue_status_get("q")).close_time > 1e9
        assert await other.queue_purge("q") == 1
        await other.queue_unlink("q")
        with pytest.raises(errors.NotExist):
            await other.queue_status_get("q")


async def test_retention_times_and_lists(cluster: Loopback) -> None:
    async with on(cluster) as service:
        async with service.queue_open("q", SMALL) as queue:
            await queue.retention_time_set(0)
            await service.queue_group_create("g", ROUND)
            await service.queue_group_insert("g", "q")
            assert [line.name for line in await service.queue_list()] == ["q"]
            assert [(line.name, line.queues) for line in await service.queue_group_list()] == [("g", 1)]
        assert await service.queue_list() == []


async def test_announcements_one_for_each_message(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 2) as other:
        await (await service.queue_open("q", SMALL)).close()
        for data in (b"1", b"2"):
            await other.message_send("q", Message(data))
        queue = await service.queue_open("q", None, CALLBACK)
        await other.message_send("q", Message(b"3"))
        got: list[bytes] = []

        async def handle(event: Any) -> None:
            assert event == MessageReceived(queue)
            got.append((await queue.message_get(timeout=0)).data)

        await eventually(lambda: service.session.waiting(Service.MSG) == 3 or service.session.poll())
        assert await service.dispatch(DispatchFlags.ALL, handle) == 3
        assert got == [b"1", b"2", b"3"]
        assert await service.dispatch(DispatchFlags.ALL, handle) == 0


async def test_thousands_of_announcements_do_not_stop_the_session(cluster: Loopback) -> None:
    async with on(cluster) as service, service.queue_open("q", SMALL, CREATE | CALLBACK) as queue:
        for _ in range(15):
            await anyio.lowlevel.checkpoint()
            pendings = [service.message_send_async("q", Message(b"")) for _ in range(200)]
            for pending in pendings:
                await pending
        assert service.session.waiting(Service.MSG) <= 512
        assert (await queue.message_get(timeout=5.0)).data == b""
        assert len([event async for event in Some(service, 3000)]) == 3000


class Some:
    """So many events of a service."""

    def __init__(self, service: Any, count: int) -> None:
        self.events, self.count = service.events(), count

    def __aiter__(self) -> "Some":
        return self

    async def __anext__(self) -> Any:
        if not self.count:
            raise StopAsyncIteration
        self.count -= 1
        return await anext(self.events)


async def test_thresholds_are_set_and_read(cluster: Loopback) -> None:
    async with on(cluster) as service, service.queue_open("q", SMALL) as queue:
        with pytest.raises(errors.NotExist):
            await queue.capacity_thresholds_get()
        thresholds = QueueThresholds((90, 80, 70, 60), (9, 8, 7, 6))
        await queue.capacity_thresholds_set(thresholds)
        assert await queue.capacity_thresholds_get() == thresholds


async def test_limits(cluster: Loopback) -> None:
    async with on(cluster) as service:
        found = [service.limit_get(limit) for limit in LimitId]
        assert found == [2**24, 2**26, 4096, 1024, 1024, 2**20, 2**20]
        assert service.limit_get(3) == 4096
        assert service.metadata_size_get() == 0
        with pytest.raises(errors.InvalidParam):
            service.limit_get(8)


async def test_older_versions_do_not_have_the_newer_functions(cluster: Loopback) -> None:
    async with on(cluster, version="B.01.01") as service, service.queue_open("q", SMALL) as queue:
        for call in (service.metadata_size_get, lambda: service.limit_get("nonsense")):
            with pytest.raises(errors.Version):
                call()
        with pytest.raises(errors.Version):
            await queue.capacity_thresholds_get()
        with pytest.raises(errors.Version):
            await queue.capacity_thresholds_set(None)


# ---- groups


async def test_a_group_spreads_what_is_sent_to_it(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 2) as other:
        queues = [await service.queue_open(name, SMALL) for name in "ab"]
        await service.queue_group_create("all", BROADCAST)
        await service.queue_group_create("one", ROUND)
        for name in "ab":
            for group in ("all", "one"):
                await other.queue_group_insert(group, name)
        await other.message_send("all", Message(b"both"))
        await other.message_send("one", Message(b"1"))
        await other.message_send("one", Message(b"2"))
        got = [[(await queue.message_get()).data for _ in range(2)] for queue in queues]
        assert got == [[b"both", b"1"], [b"both", b"2"]]
        with pytest.raises(errors.InvalidParam):
            await other.message_send_receive("all", Message(b"?"))


async def test_tracking_a_group(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 2) as other:
        for name in "ab":
            await service.queue_open(name, SMALL)
        await service.queue_group_create("g", ROUND)
        await service.queue_group_insert("g", "a")
        view = await other.queue_group_track("g", TrackFlags.CURRENT | TrackFlags.CHANGES)
        assert view == await other.queue_group_track("g", TrackFlags.CURRENT)
        assert (view.policy, view.number_of_members, len(view.notifications)) == (ROUND, 1, 1)
        assert await other.queue_group_track("g", TrackFlags.CURRENT, buffer=False) is None
        await service.queue_group_insert("g", "b")
        await service.queue_group_remove("g", "a")
        await service.queue_group_delete("g")
        events = [event async for event in Some(other, 4)]
        changes = [[each.change for each in event.view.notifications] for event in events[:3]]
        no, added, removed = GroupChange.NO_CHANGE, GroupChange.ADDED, GroupChange.REMOVED
        assert changes == [[no], [no, added], [no, removed]]
        assert (events[3].group, events[3].view, type(events[3].error)) == ("g", None, errors.NotExist)
        with pytest.raises(errors.NotExist):
            await other.queue_group_track_stop("g")


async def test_a_tracker_that_stops_hears_no_more(cluster: Loopback) -> None:
    async with on(cluster) as service:
        await service.queue_open("a", SMALL)
        await service.queue_group_create("g", ROUND)
        assert await service.queue_group_track("g", TrackFlags.CHANGES_ONLY) is None
        await service.queue_group_track_stop("g")
        await service.queue_group_insert("g", "a")
        assert service.take() == []


async def test_a_tracker_that_does_not_read_has_the_newest_view_in_the_end(cluster: Loopback) -> None:
    async with on(cluster) as service, on(cluster, 2) as tracker:
        await service.queue_open("a", SMALL)
        await service.queue_group_create("g", ROUND)
        await tracker.queue_group_track("g", TrackFlags.CHANGES)
        for _ in range(400):
            await service.queue_group_insert("g", "a")
            await service.queue_group_remove("g", "a")
        await service.queue_group_insert("g", "a")
        assert len((await tracker.queue_group_track("g", TrackFlags.CURRENT)).notifications) == 1
        assert tracker.session.waiting(Service.MSG) <= 512
        events = [event async for event in Some(tracker, 513)]
        assert events[-1].view.number_of_members == 1


# ---- every row of the error table that the library can tell

BIG = QueueCreationAttributes(size=(2**24 + 1, 0, 0, 0))
Call = Callable[[Any], Any]
ROWS: list[tuple[str, Call, type[AisError]]] = [
    ("attributes, no CREATE", lambda s: s.queue_open("x", SMALL, QueueOpenFlags.NONE), errors.InvalidParam),
    ("CREATE, no attributes", lambda s: s.queue_open("x", None, CREATE), errors.InvalidParam),
    ("attributes are none", lambda s: s.queue_open("x", "attributes"), errors.InvalidParam),
    ("three sizes", lambda s: s.queue_open("x", QueueCreationAttributes(size=(1, 2, 3))), errors.InvalidParam),  # type: ignore[arg-type]
    ("size", lambda s: s.queue_open("x", QueueCreationAttributes(size=(1, 2, 3, -1))), errors.InvalidParam),
    ("retention", lambda s: s.queue_open("x", QueueCreationAttributes(retention_time=-1.0)), errors.InvalidParam),
    ("endless", lambda s: s.queue_open("x", QueueCreationAttributes(retention_time=10**400)), errors.InvalidParam),
    ("open timeout", lambda s: s.queue_open("x", SMALL, timeout=-1), errors.InvalidParam),
    ("no name", lambda s: s.queue_open(None, SMALL), errors.InvalidParam),
    ("empty name", lambda s: s.queue_open("", SMALL), errors.InvalidParam),
    ("open bits", lambda s: s.queue_open("x", None, 8), errors.BadFlags),
    ("open bits first", lambda s: s.queue_open(None, None, 8), errors.BadFlags),
    ("creation bits", lambda s: s.queue_open("x", QueueCreationAttributes(2)), errors.BadFlags),  # type: ignore[arg-type]
    ("area", lambda s: s.queue_open("x", BIG), errors.TooBig),
    ("huge area", lambda s: s.queue_open("x", QueueCreationAttributes(size=(0, 0, 0, 2**70))), errors.TooBig),
    ("long name", lambda s: s.queue_open("x" * 2049, SMALL), errors.TooBig),
    ("absent", lambda s: s.queue_open("x"), errors.NotExist),
    ("other attributes", lambda s: s.queue_open("q", QueueCreationAttributes()), errors.Exist),
    ("busy", lambda s: s.queue_open("q"), errors.Busy),
    ("no time", lambda s: s.queue_open("x", SMALL, timeout=0), errors.TimedOut),
    ("async area", lambda s: s.queue_open_async("x", BIG), errors.TooBig),
    ("async bits", lambda s: s.queue_open_async("x", None, 8), errors.BadFlags),
    ("async name", lambda s: s.queue_open_async(3, SMALL), errors.InvalidParam),
    ("async invocation", lambda s: s.queue_open_async("x", SMALL, invocation="1"), errors.InvalidParam),
    ("async absent", lambda s: s.queue_open_async("x"), errors.NotExist),
    ("async exist", lambda s: s.queue_open_async("q", QueueCreationAttributes()), errors.Exist),
    ("status name", lambda s: s.queue_status_get(""), errors.InvalidParam),
    ("status", lambda s: s.queue_status_get("x"), errors.NotExist),
    ("unlink name", lambda s: s.queue_unlink(None), errors.InvalidParam),
    ("unlink", lambda s: s.queue_unlink("x"), errors.NotExist),
    ("purge", lambda s: s.queue_purge("x"), errors.NotExist),
    ("policy", lambda s: s.queue_group_create("x", 5), errors.InvalidParam),
    ("no policy", lambda s: s.queue_group_create("x", None), errors.InvalidParam),
    ("group name", lambda s: s.queue_group_create("", ROUND), errors.InvalidParam),
    ("group exists", lambda s: s.queue_group_create("g", ROUND), errors.Exist),
    ("group is a queue", lambda s: s.queue_group_create("q", ROUND), errors.Exist),
    ("insert group", lambda s: s.queue_group_insert("x", "q"), errors.NotExist),
    ("insert queue", lambda s: s.queue_group_insert("g", "x"), errors.NotExist),
    ("insert again", lambda s: s.queue_group_insert("b", "q"), errors.Exist),
    ("insert nothing", lambda s: s.queue_group_insert("b", None), errors.InvalidParam),
    ("remove group", lambda s: s.queue_group_remove("x", "q"), errors.NotExist),
    ("remove queue", lambda s: s.queue_group_remove("g", "x"), errors.NotExist),
    ("remove no member", lambda s: s.queue_group_remove("g", "q"), errors.NotExist),
    ("delete group", lambda s: s.queue_group_delete("x"), errors.NotExist),
    ("track nothing", lambda s: s.queue_group_track("x", 1), errors.NotExist),
    ("track without flags", lambda s: s.queue_group_track("g", 0), errors.BadFlags),
    ("track both", lambda s: s.queue_group_track("g", 6), errors.BadFlags),
    ("track local", lambda s: s.queue_group_track("g", TrackFlags.CURRENT | TrackFlags.LOCAL), errors.BadFlags),
    ("track name", lambda s: s.queue_group_track("", 1), errors.InvalidParam),
    ("track buffer", lambda s: s.queue_group_track("g", 1, buffer=2), errors.InvalidParam),
    ("stop group", lambda s: s.queue_group_track_stop("x"), errors.NotExist),
    ("stop untracked", lambda s: s.queue_group_track_stop("g"), errors.NotExist),
    ("priority", lambda s: s.message_send("q", Message(priority=4)), errors.InvalidParam),
    ("no destination", lambda s: s.message_send(None, Message()), errors.InvalidParam),
    ("no message", lambda s: s.message_send("q", None), errors.InvalidParam),
    ("text", lambda s: s.message_send("q", Message("text")), errors.InvalidParam),  # type: ignore[arg-type]
    ("type", lambda s: s.message_send("q", Message(type=-1)), errors.InvalidParam),
    ("sender", lambda s: s.message_send("q", Message(sender_name="")), errors.InvalidParam),
    ("long sender", lambda s: s.message_send("q", Message(sender_name=LONG)), errors.TooBig),
    ("timeout first", lambda s: s.message_send("q", Message(sender_name=LONG), timeout=-1), errors.InvalidParam),
    ("timeout", lambda s: s.message_send("q", Message(), timeout=float("nan")), errors.InvalidParam),
    ("send no time", lambda s: s.message_send("q", Message(), timeout=0), errors.TimedOut),
    ("send absent", lambda s: s.message_send("x", Message()), errors.NotExist),
    ("full", lambda s: s.message_send("q", Message(bytes(101))), errors.QueueFull),
    ("empty group", lambda s: s.message_send("g", Message()), errors.QueueNotAvailable),
    ("too big", lambda s: s.message_send("q", Message(bytes(2**20 + 1))), errors.TooBig),
    ("async ack", lambda s: s.message_send_async("q", None, 2), errors.BadFlags),
    ("async message", lambda s: s.message_send_async("q", None), errors.InvalidParam),
    ("async too big", lambda s: s.message_send_async("q", Message(bytes(2**20 + 1))), errors.TooBig),
    ("async full", lambda s: s.message_send_async("q", Message(bytes(101)), ACK), errors.QueueFull),
    ("async no queue", lambda s: s.message_send_async("g", Message(), ACK), errors.QueueNotAvailable),
    ("ask broadcast", lambda s: s.message_send_receive("b", Message()), errors.InvalidParam),
    ("ask absent", lambda s: s.message_send_receive("x", Message()), errors.NotExist),
    ("ask no time", lambda s: s.message_send_receive("q", Message(), timeout=0), errors.TimedOut),
    ("reply without sender", lambda s: s.message_reply(Message(), None), errors.InvalidParam),
    ("reply without message", lambda s: s.message_reply(None, 5), errors.InvalidParam),
    ("reply to nobody", lambda s: s.message_reply(Message(), 5), errors.NotExist),
    ("reply too big", lambda s: s.message_reply(Message(bytes(2**20 + 1)), 5), errors.TooBig),
    ("reply async ack", lambda s: s.message_reply_async(Message(), 5, 4), errors.BadFlags),
    ("reply async", lambda s: s.message_reply_async(Message(), None), errors.InvalidParam),
]


@pytest.mark.parametrize(("call", "error"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
async def test_each_error_of_the_table(cluster: Loopback, call: Call, error: type[AisError]) -> None:
    async with on(cluster) as service, service.queue_open("q", SMALL):
        await service.queue_group_create("g", ROUND)
        await service.queue_group_create("b", BROADCAST)
        await service.queue_group_insert("b", "q")
        with pytest.raises(AisError) as caught:
            await call(service)
        assert type(caught.value) is error


SILENT_ROWS: list[tuple[str, Call]] = [
    ("opening", lambda s: s.queue_open_async("x", SMALL)),
    ("announcements", lambda s: s.queue_open("x", SMALL, CREATE | CALLBACK)),
    ("sending", lambda s: s.message_send_async("q", Message(bytes(2**21)), ACK)),
    ("replying", lambda s: s.message_reply_async(Message(), 5, ACK)),
    ("sender", lambda s: s.message_send_async("q", Message(sender_name=LONG), ACK)),
    ("tracking", lambda s: s.queue_group_track("g", TrackFlags.CHANGES)),
    ("the present view", lambda s: s.queue_group_track("g", TrackFlags.CURRENT, buffer=False)),
]


@pytest.mark.parametrize("call", [row[1] for row in SILENT_ROWS], ids=[row[0] for row in SILENT_ROWS])
async def test_calls_that_need_an_event_kind_that_was_left_out(cluster: Loopback, call: Call) -> None:
    async with on(cluster, events=Callback(0)) as service:
        with pytest.raises(errors.Init):
            await call(service)
        await service.queue_group_create("g", ROUND)
        assert (await service.queue_group_track("g", TrackFlags.CURRENT)).number_of_members == 0


async def test_the_errors_of_a_queue(cluster: Loopback) -> None:
    async with on(cluster) as service, service.queue_open("q", SMALL) as queue:
        rows: list[tuple[Any, type[AisError]]] = [
            (queue.retention_time_set(-1), errors.InvalidParam),
            (queue.retention_time_set(float("nan")), errors.InvalidParam),
            (queue.message_get(timeout=-1), errors.InvalidParam),
            (queue.message_get(timeout="soon"), errors.InvalidParam),
            (queue.capacity_thresholds_set(None), errors.InvalidParam),
            (queue.capacity_thresholds_set(QueueThresholds((101,) * 4, (0,) * 4)), errors.InvalidParam),
            (queue.capacity_thresholds_set(QueueThresholds((10,) * 4, (11,) * 4)), errors.InvalidParam),
        ]
        for call, error in rows:
            with pytest.raises(AisError) as caught:
                await call
            assert type(caught.value) is error
        await service.queue_unlink("q")
        with pytest.raises(errors.BadOperation):
            await queue.retention_time_set(1)
        await queue.close()
        for call in (queue.close(), queue.message_get(), queue.message_cancel(), queue.retention_time_set(-1)):
            with pytest.raises(errors.BadHandle):
                await call


async def test_after_finalize_everything_is_a_bad_handle(cluster: Loopback) -> None:
    service = await on(cluster)
    queue = await service.queue_open("q", SMALL)
    await service.finalize()
    calls: list[Call] = [
        lambda s: s.queue_open("q"),
        lambda s: s.queue_open_async("q", None, 8),
        lambda s: s.message_send("q", None),
        lambda s: s.message_send_async("q", None),
        lambda s: s.limit_get(99),
        lambda s: s.queue_group_track("", 0),
        lambda s: queue.message_get(),
        lambda s: queue.close(),
        lambda s: s.finalize(),
    ]
    for call in calls:
        with pytest.raises(errors.BadHandle):
            await call(service)
    async with on(cluster) as other:
        assert (await other.queue_status_get("q")).close_time is not None


async def test_a_session_of_the_cluster_object_shares_the_connection_and_gives_all_back(cluster: Loopback) -> None:
    async with connect(cluster.nodes[1].address) as session, session.msg() as service:
        await service.queue_open("q", SMALL)
        await service.queue_group_create("g", ROUND)
        await service.queue_group_track("g", TrackFlags.CHANGES)
        assert service.version == "B.03.01"
        await service.finalize()
        async with session.msg() as again:
            await (await again.queue_open("q")).close()
            with pytest.raises(errors.NotExist):
                await again.queue_group_track_stop("g")


async def test_losing_a_queue_is_told_by_bad_handle(cluster: Loopback) -> None:
    async with on(cluster) as service:
        queue = await service.queue_open("q", SMALL)
        service._incoming.stream_of(m.Lost(queue.number))
        with pytest.raises(errors.BadHandle, match="partition"):
            await anext(queue)


# ---- what survives


async def test_messages_and_the_queue_outlive_the_node_of_the_receiver() -> None:
    async with loopback(lambda: [ClmEngine(), MsgEngine()], 3) as running:
        receiver = await on(running, 3)
        await receiver.queue_open("q", SMALL)
        async with on(running, 1) as service, on(running, 2) as other:
            await service.message_send("q", Message(b"1"))
            running.die(3)
            await eventually(lambda: running.nodes[1].sees(2))
            async with other.queue_open("q") as queue:
                assert (await queue.message_get(timeout=5.0)).data == b"1"
        await receiver.finalize()


async def test_without_quorum_nothing_is_sent_and_all_can_be_read_and_closed() -> None:
    async with loopback(lambda: [ClmEngine(), MsgEngine()], 3, quorum=True) as running, on(running, 1) as service:
        queue = await service.queue_open("q", SMALL)
        running.die(2)
        running.die(3)
        await eventually(lambda: running.nodes[1].sees(1))
        with pytest.raises(errors.TimedOut, match="quorum"):
            await service.message_send("q", Message(b"1"), timeout=0.05)
        with pytest.raises(errors.TimedOut):
            await queue.message_get(timeout=0.05)
        assert (await service.queue_status_get("q")).usage[0].number_of_messages == 0
        await queue.close()


async def test_without_retry_try_again_is_raised_at_once() -> None:
    async with (
        loopback(lambda: [ClmEngine(), MsgEngine()], 3, quorum=True) as running,
        on(running, 1, retry=False) as service,
    ):
        running.die(2)
        running.die(3)
        await eventually(lambda: running.nodes[1].sees(1))
        with pytest.raises(errors.TryAgain):
            await service.message_send("q", Message(b"1"))
