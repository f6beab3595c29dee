"""CPG as applications use it: real sessions on executives in one process."""

import os
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from corosync_amf import connect, cpg, errors
from corosync_amf.ais import DispatchFlags
from corosync_amf.engine import Service
from corosync_amf.messaging import PACK_BYTES, pack
from corosync_amf.services.cpg import (
    Address,
    ConfigurationChanged,
    Delivered,
    FlowControlState,
    GroupDescription,
    Guarantee,
    IterationType,
    Reason,
    TotemConfigurationChanged,
)
from corosync_amf.services.cpg import messages as m
from corosync_amf.services.cpg.engine import CpgEngine

from .loopback import Loopback, eventually, loopback, take

pytestmark = [pytest.mark.anyio, pytest.mark.real]
PID = os.getpid()
SAFE = Guarantee.SAFE


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Loopback]:
    async with loopback(lambda: [CpgEngine()], request.param) as running:
        yield running


@pytest.fixture
async def three() -> AsyncIterator[Loopback]:
    async with loopback(lambda: [CpgEngine()], 3) as running:
        yield running


def on(cluster: Loopback, node: int = 1, **arguments: Any) -> Any:
    """A session on a node, or on the last one if there are not so many."""
    return cpg.initialize(address=cluster.nodes[min(node, len(cluster.nodes))].address, **arguments)


async def until_all_have(cluster: Loopback, members: int) -> None:
    """Every replica has applied the joins."""
    await eventually(lambda: all(len(engine._group_of) == members for engine in cluster.engines(CpgEngine)))


def messages(events: list[Any]) -> list[bytes]:
    return [event.message for event in events if isinstance(event, Delivered)]


async def test_members_hear_of_one_another_and_get_all_messages_in_one_order(cluster: Loopback) -> None:
    async with on(cluster, 1) as a, on(cluster, 2) as b:
        await a.join("chat")
        await b.join("chat")
        me, other = Address(a.local_get(), PID), Address(b.local_get(), PID)
        await a.mcast_joined(b"hello")
        await b.mcast_joined(b"hi", SAFE)
        events_a, events_b = await take(a, 4), await take(b, 3)
        assert events_a[1:] == events_b
        first, second = events_a[:2]
        assert (first.members, first.left, first.joined) == ((me,), (), (Address(me.node_id, PID, Reason.JOIN),))
        assert (second.members, second.joined) == ((me, other), (Address(other.node_id, PID, Reason.JOIN),))
        assert second.group == "chat"
        assert sorted(messages(events_a)) == [b"hello", b"hi"]
        assert Delivered("chat", me.node_id, PID, b"hello") in events_a


async def test_leaving_says_so_to_all(cluster: Loopback) -> None:
    async with on(cluster, 1) as a, on(cluster, 2) as b:
        await a.join(b"g")
        await b.join(b"g")
        await a.leave()
        events_a, events_b = await take(a, 3), await take(b, 2)
        assert events_a[-1] == events_b[-1]
        assert events_a[-1].left == (Address(a.local_get(), PID, Reason.LEAVE),)
        assert events_a[-1].group == b"g"
        assert events_a[-1].reason == f"process {PID} on node {a.local_get()} left"
        with pytest.raises(errors.NotExist):
            await a.leave()
        with pytest.raises(errors.NotExist):
            await a.mcast_joined(b"x")
        await a.join("another")
        assert (await take(a, 1))[0].group == "another"


async def test_finalize_leaves_and_what_was_sent_before_arrives(cluster: Loopback) -> None:
    a = await on(cluster, 1)
    async with on(cluster, 2) as b:
        await b.join("g")
        await a.join("g")
        await a.mcast_joined(b"last words")
        await a.finalize()
        *_, message, left = await take(b, 4)
        assert message.message == b"last words"
        assert [each.reason for each in left.left] == [Reason.LEAVE]
    for call in (a.local_get, a.flow_control_state_get, a.max_atomic_msgsize_get, a.iteration, a.selection_object_get):
        with pytest.raises(errors.BadHandle):
            call()
    for call in (lambda: a.join("g"), a.leave, a.finalize, lambda: a.mcast_joined(b"x"), lambda: a.membership_get("g")):
        with pytest.raises(errors.BadHandle):
            await call()
    assert [event async for event in a] == []
    assert [batch async for batch in a.batches()] == []


async def test_a_process_that_dies_is_down(cluster: Loopback) -> None:
    a = await on(cluster, 1)
    async with on(cluster, 2) as b:
        await b.join("g")
        await a.join("g")
        await a.session.close()
        *_, event = await take(b, 3)
        assert event.left == (Address(min(1, len(cluster.nodes)), PID, Reason.PROCDOWN),)
        assert len(event.members) == 1


async def test_a_node_that_dies_is_down(three: Loopback) -> None:
    async with on(three, 1, totem_events=True) as a, on(three, 2) as b:
        c = await on(three, 3)
        for session in (a, b, c):
            await session.join("g")
        await until_all_have(three, 3)
        three.die(3)
        events = await take(a, 5)
        totem, event = events[-2:]
        assert isinstance(totem, TotemConfigurationChanged)
        assert totem.members == (1, 2)
        assert totem.ring_id.node_id == 1
        assert event.left == (Address(3, PID, Reason.NODEDOWN),)
        assert event.reason == "node 3 was lost"
        with pytest.raises(errors.Library):
            await c.leave()
        with pytest.raises(errors.Library):
            await c.mcast_joined(b"x")
        with pytest.raises(errors.Library):
            await c.membership_get("g")
        with pytest.raises(errors.Library):
            await take(c, 1000)
        await c.finalize()


async def test_the_ring_is_told_at_the_beginning_if_wanted(cluster: Loopback) -> None:
    async with on(cluster, initial_totem=True) as a:
        (event,) = await take(a, 1)
        assert event.members == tuple(cluster.nodes)
        assert event.ring_id.seq > 0


async def test_what_is_wanted_of_the_ring_is_a_bool(three: Loopback) -> None:
    for wrong in (None, 1, "yes"):
        with pytest.raises(errors.InvalidParam):
            await on(three, totem_events=wrong)
        with pytest.raises(errors.InvalidParam):
            await on(three, initial_totem=wrong)


async def test_many_messages_in_one_call(cluster: Loopback) -> None:
    batch = [number.to_bytes(4, "big") * 30 for number in range(5000)]
    async with on(cluster, 1) as a, on(cluster, 2) as b:
        await a.join("g")
        await b.join("g")
        await a.mcast_joined(batch)
        await a.mcast_joined(tuple(batch[:3]), SAFE)
        await a.mcast_joined([bytearray(b"x"), memoryview(b"y"), b""])
        got: list[bytes] = []
        with anyio.fail_after(10):
            async for events in b.batches():
                got += messages(events)
                if len(got) == 5006:
                    break
        assert got == [*batch, *batch[:3], b"x", b"y", b""]


async def test_messages_of_all_sizes_keep_their_order(cluster: Loopback) -> None:
    sizes = [0, 1, PACK_BYTES - 5, PACK_BYTES - 4, PACK_BYTES, 10, 1024 * 1024, 3, 30_000, 30_000, 30_000]
    sent = [bytes([number]) * size for number, size in enumerate(sizes)]
    async with on(cluster, 1) as a, on(cluster, 2) as b:
        assert a.max_atomic_msgsize_get() == 1024 * 1024
        await a.join("g")
        await b.join("g")
        for message in sent:
            await a.mcast_joined(message)
        await a.mcast_joined(sent)
        assert messages(await take(b, 1 + 2 * len(sent))) == sent * 2


async def test_guarantees_are_mixed_in_one_order(cluster: Loopback) -> None:
    guarantees = [*Guarantee, Guarantee.SAFE, Guarantee.AGREED] * 20
    async with on(cluster, 1) as a, on(cluster, 2) as b:
        await a.join("g")
        await b.join("g")
        for number, guarantee in enumerate(guarantees):
            await a.mcast_joined(bytes([number]), guarantee)
            if number % 7 == 0:
                await anyio.lowlevel.checkpoint()
        expected = [bytes([number]) for number in range(len(guarantees))]
        assert messages(await take(a, 2 + len(guarantees))) == expected
        assert messages(await take(b, 1 + len(guarantees))) == expected


async def test_flow_control_makes_senders_wait_in_turn(cluster: Loopback) -> None:
    message = bytes(1024 * 1024)
    async with on(cluster, 1) as a, on(cluster, 2) as b, anyio.create_task_group() as tasks:
        await a.join("g")
        await b.join("g")
        eager = await on(cluster, 1, retry=False)
        await eager.join("other")
        assert eager.flow_control_state_get() is FlowControlState.DISABLED
        while eager.flow_control_state_get() is FlowControlState.DISABLED:
            await eager.mcast_joined(message)
        with pytest.raises(errors.TryAgain):
            await eager.mcast_joined(b"small")
        assert eager.flow_control_state_get() is FlowControlState.ENABLED
        await eventually(lambda: eager.flow_control_state_get() is FlowControlState.DISABLED)
        await eager.mcast_joined(b"again")
        await eager.finalize()
        for number in range(6):
            tasks.start_soon(a.mcast_joined, [bytes([number]), message])
        for number in range(300):
            tasks.start_soon(a.mcast_joined, b"small%d" % number)
        for session, more in ((a, 1), (b, 0)):  # neither reads meanwhile what the other one gets
            assert len(messages(await take(session, 313 + more))) == 312


async def test_who_reads_nothing_is_sent_no_more_than_it_can_hold(cluster: Loopback) -> None:
    async with on(cluster) as a:
        await a.join("g")

        async def send() -> None:
            for _ in range(20):
                await a.mcast_joined([bytes(1000)] * 1000)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await eventually(lambda: a.session.waiting(Service.CPG) > 3000)
            await anyio.wait_all_tasks_blocked()
            assert a.session.waiting(Service.CPG) < 4000
            assert len(messages(await take(a, 20_001))) == 20_000


async def test_a_session_that_reads_nothing_can_be_finalized(cluster: Loopback) -> None:
    a = await on(cluster)
    await a.join("g")
    with anyio.move_on_after(0.5):
        while True:
            await a.mcast_joined([bytes(1000)] * 1000)
    with anyio.fail_after(5):
        await a.finalize()
    await until_all_have(cluster, 0)


async def test_a_session_is_in_one_group(cluster: Loopback) -> None:
    async with on(cluster) as a:
        await a.join("g")
        for group in ("g", "h"):
            with pytest.raises(errors.Exist):
                await a.join(group)
        await a.mcast_joined(b"still in g")
        assert [event.group for event in await take(a, 2)] == ["g", "g"]


@pytest.mark.parametrize("group", ["", b"", None, 7, "\ud800", [], ["g"]])
async def test_bad_groups_are_refused(three: Loopback, group: Any) -> None:
    async with on(three) as a:
        for call in (a.join, a.membership_get):
            with pytest.raises(errors.InvalidParam):
                await call(group)
        with pytest.raises(errors.InvalidParam):
            a.iteration(IterationType.ONE_GROUP, group)


async def test_long_groups_are_refused(cluster: Loopback) -> None:
    async with on(cluster) as a:
        for group in ("x" * 129, "ä" * 65, b"x" * 129):
            for call in (a.join, a.membership_get):
                with pytest.raises(errors.NameTooLong):
                    await call(group)
        await a.join("ä" * 64)


async def test_bad_messages_are_refused(cluster: Loopback) -> None:
    async with on(cluster) as a:
        with pytest.raises(errors.NotExist):
            await a.mcast_joined(b"x")
        for is_in in (False, True):
            if is_in:
                await a.join("g")
            message: Any
            long = bytes(1024 * 1024 + 1)
            for message in (None, "text", 7, [], [b"x", "y"], [None], {b"x"}, [long, "y"], [bytearray(long), None]):
                with pytest.raises(errors.InvalidParam):
                    await a.mcast_joined(message)
            for guarantee in (4, -1, None, "SAFE"):
                with pytest.raises(errors.InvalidParam):
                    await a.mcast_joined(b"x", guarantee)
            for message in (long, [long], [b"x", long], bytearray(long), [bytearray(long)]):
                with pytest.raises(errors.TooBig):
                    await a.mcast_joined(message)
            with pytest.raises(errors.InvalidParam):
                await a.mcast_joined(long, 4)
        await a.mcast_joined(b"x")
        assert messages(await take(a, 2)) == [b"x"]


async def test_who_only_sends_learns_that_the_executive_is_gone(cluster: Loopback) -> None:
    a = await on(cluster)
    await a.join("g")
    cluster.die(1)
    await a.mcast_joined(b"handed over, but to nobody")
    await anyio.wait_all_tasks_blocked()
    with pytest.raises(errors.Library):
        await a.mcast_joined(b"x")
    await a.finalize()


async def test_the_membership_can_be_asked_for(cluster: Loopback) -> None:
    async with on(cluster, 1) as a, on(cluster, 2) as b:
        assert await a.membership_get("nobody") == ()
        await a.join("g")
        await b.join(b"g")
        members = (Address(a.local_get(), PID), Address(b.local_get(), PID))
        assert await b.membership_get("g") == members
        assert a.context is None
        a.context = members
        assert a.context is members


async def test_groups_can_be_iterated_over(cluster: Loopback) -> None:
    async with on(cluster, 1) as a, on(cluster, 2) as b, on(cluster, 1) as c:
        assert [each async for each in a.iteration()] == []
        for session, group in ((c, "z"), (a, "b"), (b, "b")):
            await session.join(group)
        await until_all_have(cluster, 3)
        one, two = a.local_get(), b.local_get()
        both = [GroupDescription("b", one, PID), GroupDescription("b", two, PID)]
        assert [each async for each in a.iteration()] == [*both, GroupDescription("z", one, PID)]
        names = [each async for each in a.iteration(IterationType.NAME_ONLY)]
        assert names == [GroupDescription("b", 0, 0), GroupDescription("z", 0, 0)]
        assert [each async for each in a.iteration(IterationType.ONE_GROUP, "b")] == both
        assert [each async for each in a.iteration(IterationType.ONE_GROUP, "x")] == []
        for kind in (0, 4, None):
            with pytest.raises(errors.InvalidParam):
                a.iteration(kind)


async def test_events_can_be_dispatched(cluster: Loopback) -> None:
    async with on(cluster) as a:
        seen: list[Any] = []
        assert await a.dispatch(DispatchFlags.ALL, seen.append) == 0
        await a.join("g")
        await a.mcast_joined([b"1", b"2", b"3"])
        assert await a.membership_get("g")
        await eventually(lambda: a.session.waiting(Service.CPG) == 4 or a.session.poll() is not None)
        assert a.selection_object_get() >= 0
        assert await a.dispatch(DispatchFlags.ONE, seen.append) == 1
        assert isinstance(seen[0], ConfigurationChanged)
        assert await a.dispatch(DispatchFlags.ALL, seen.append) == 3
        assert messages(seen) == [b"1", b"2", b"3"]


async def test_a_batch_begins_where_the_iteration_stopped(cluster: Loopback) -> None:
    async with on(cluster) as a:
        await a.join("g")
        await a.mcast_joined([b"1", b"2", b"3"])
        assert messages(await take(a, 2)) == [b"1"]
        batch = await anext(a.batches())
        assert messages(batch) == [b"2", b"3"]


async def test_a_pack_that_lies_is_dropped_by_all(cluster: Loopback) -> None:
    async with on(cluster, 1) as a, on(cluster, 2) as b:
        await a.join("g")
        await b.join("g")
        for data, count in ((pack([b"x"]), 2), (memoryview(b"\xc1" * 9), 1), (pack([b"x", b"y", b"z"]), 2)):
            a.session.post(Service.CPG, m.Multicast(False, count, data))
        await a.mcast_joined(b"true")
        assert messages(await take(a, 3)) == messages(await take(b, 2)) == [b"true"]


async def test_other_threads_are_refused(cluster: Loopback) -> None:
    async with on(cluster) as a:
        await a.join("g")

        def multicast() -> None:
            coroutine = a.mcast_joined(b"x")
            with pytest.raises(errors.InvalidParam):
                coroutine.send(None)

        await anyio.to_thread.run_sync(multicast)


async def test_a_cancelled_join_is_taken_back(cluster: Loopback) -> None:
    async with on(cluster) as a:
        with anyio.move_on_after(0):
            await a.join("g")
        await a.join("h")
        assert await a.membership_get("g") == ()


async def test_two_sessions_of_a_process_share_what_they_can(cluster: Loopback) -> None:
    async with connect(cluster.nodes[1].address) as connection:
        async with connection.cpg(initial_totem=True) as a, connection.cpg() as b:
            await a.join("g")
            await b.join("g")
            await b.mcast_joined(b"x")
            assert isinstance((await take(a, 1))[0], TotemConfigurationChanged)
            assert messages(await take(a, 3)) == messages(await take(b, 2)) == [b"x"]
        async with connection.cpg() as again:
            await again.join("g")
            (event,) = await take(again, 1)
            assert len(event.members) == 1


async def test_there_must_be_an_executive() -> None:
    with pytest.raises(errors.Library):
        await cpg.initialize(address="/nowhere")
