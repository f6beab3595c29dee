"""EVS as applications use it: real sessions on executives in one process."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from corosync_amf import connect, errors, evs
from corosync_amf.ais import DispatchFlags
from corosync_amf.engine import Service
from corosync_amf.services.evs import REGULAR, TRANSITIONAL, ConfigurationChanged, Delivered, Guarantee
from corosync_amf.services.evs.engine import EvsEngine
from corosync_amf.services.evs.values import GROUPS_MAX

from .loopback import Loopback, eventually, loopback, take

pytestmark = [pytest.mark.anyio, pytest.mark.real]
SAFE = Guarantee.SAFE


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Loopback]:
    async with loopback(lambda: [EvsEngine()], request.param) as running:
        yield running


@pytest.fixture
async def three() -> AsyncIterator[Loopback]:
    async with loopback(lambda: [EvsEngine()], 3) as running:
        yield running


def on(cluster: Loopback, node: int = 1, **arguments: Any) -> Any:
    """A session on a node, or on the last one if there are not so many."""
    return evs.initialize(address=cluster.nodes[min(node, len(cluster.nodes))].address, **arguments)


def messages(events: list[Any]) -> list[bytes]:
    return [event.message for event in events if isinstance(event, Delivered)]


async def until_all_have(cluster: Loopback, groups: int) -> None:
    await eventually(lambda: all(len(engine._groups) == groups for engine in cluster.engines(EvsEngine)))


async def test_the_configuration_comes_first_then_the_messages_in_one_order(cluster: Loopback) -> None:
    async with on(cluster, 1) as a, on(cluster, 2) as b:
        await a.join("x", b"y")
        await b.join("y")
        await a.mcast_joined(b"1")
        await b.mcast_joined(b"2", SAFE)
        events_a, events_b = await take(a, 3), await take(b, 3)
        assert events_a == events_b
        first = events_a[0]
        nodes = tuple(cluster.nodes)
        assert (first.members, first.left, first.joined, first.kind) == (nodes, (), nodes, REGULAR)
        assert first.ring_id.node_id == 1
        assert sorted(messages(events_a)) == [b"1", b"2"]
        assert Delivered(1, b"1") in events_a


async def test_a_message_to_several_groups_comes_once(cluster: Loopback) -> None:
    async with on(cluster, 1) as a, on(cluster, 2) as b, on(cluster, 1) as c:
        await a.join("x", "y")
        await b.join("y", "z")
        await c.join("other")
        await until_all_have(cluster, 4)
        await a.mcast_groups(["x", b"z", "z"], b"1")
        await a.mcast_groups(("other",), [b"2", b"3"], SAFE)
        await a.mcast_groups({"nobody"}, b"4")
        await a.mcast_joined(b"5")
        assert messages(await take(a, 3)) == messages(await take(b, 3)) == [b"1", b"5"]
        assert messages(await take(c, 3)) == [b"2", b"3"]


async def test_the_ring_changes_in_two_steps(three: Loopback) -> None:
    async with on(three, 1) as a, on(three, 2) as b:
        c = await on(three, 3)
        for session in (a, b, c):
            await session.join("g")
        for number in range(50):
            await a.mcast_joined(bytes([number]), Guarantee(number % 4))
        events_a, events_b = await take(a, 51), await take(b, 51)
        three.die(3)
        transitional, regular = await take(a, 2)
        assert [transitional, regular] == await take(b, 2)
        assert (transitional.kind, transitional.members, transitional.left) == (TRANSITIONAL, (1, 2), (3,))
        assert (regular.kind, regular.members, regular.joined) == (REGULAR, (1, 2), ())
        assert transitional.reason == "node 3 was lost"
        assert regular.ring_id.seq > events_b[0].ring_id.seq
        assert messages(events_a) == messages(events_b) == [bytes([number]) for number in range(50)]
        assert (await a.membership_get()).members == (1, 2)
        for call in (lambda: take(c, 1000), lambda: c.mcast_joined(b"x"), c.membership_get):
            with pytest.raises(errors.Library):
                await call()
        await c.finalize()


async def test_joining_and_leaving(cluster: Loopback) -> None:
    async with on(cluster) as a:
        await a.join("x", "x", "y")
        for groups in (("x",), ("z", "y")):
            with pytest.raises(errors.Exist):
                await a.join(*groups)
        with pytest.raises(errors.NotExist):
            await a.leave("x", "z")
        await a.leave("x")
        await a.mcast_groups(["x"], b"1")
        await a.mcast_groups(["y"], b"2")
        assert messages(await take(a, 2)) == [b"2"]
        await a.leave(b"y")
        for call in (lambda: a.mcast_joined(b"x"), lambda: a.mcast_groups(["x"], b"x"), lambda: a.leave("y")):
            with pytest.raises(errors.NotExist):
                await call()


@pytest.mark.parametrize(
    "groups", [(), ("",), (b"",), ("x" * 33,), ("ä" * 17,), (None,), ("x", 7), (["x"],), ("\ud800",)]
)
async def test_bad_groups_are_refused(three: Loopback, groups: Any) -> None:
    async with on(three) as a:
        for call in (a.join, a.leave, lambda *names: a.mcast_groups(names, b"x")):
            with pytest.raises(errors.InvalidParam):
                await call(*groups)


async def test_more_groups_than_there_can_be_are_too_many_resources(three: Loopback) -> None:
    async with on(three) as a:
        every = [f"g{number}" for number in range(GROUPS_MAX)]
        with pytest.raises(errors.NoResources):
            await a.join(*every, "more")
        await a.join(*every)
        with pytest.raises(errors.NoResources):
            await a.join("more")


async def test_bad_messages_are_refused(cluster: Loopback) -> None:
    async with on(cluster) as a:
        for is_in in (False, True):
            if is_in:
                await a.join("g")
            for mcast in (a.mcast_joined, lambda *rest: a.mcast_groups(["g"], *rest)):
                for message in (None, "text", [], [b"x", "y"]):
                    with pytest.raises(errors.InvalidParam):
                        await mcast(message)
                for guarantee in (4, -1, None):
                    with pytest.raises(errors.InvalidParam):
                        await mcast(b"x", guarantee)
                with pytest.raises(errors.TooBig):
                    await mcast(bytes(1024 * 1024 + 1))
        for groups in (None, "g", b"g", 7):
            with pytest.raises(errors.InvalidParam):
                await a.mcast_groups(groups, b"x")
        await a.mcast_joined(bytes(1024 * 1024))
        assert len(messages(await take(a, 2))[0]) == 1024 * 1024


async def test_flow_control(cluster: Loopback) -> None:
    async with on(cluster, retry=False) as a:
        await a.join("g")
        count = 0
        while a.has_room():
            await a.mcast_joined(bytes(1024 * 1024))
            count += 1
        with pytest.raises(errors.TryAgain):
            await a.mcast_joined(b"x")
        assert len(messages(await take(a, 1 + count))) == count
        await eventually(a.has_room)
        await a.mcast_joined(b"on")
        assert messages(await take(a, 1)) == [b"on"]


async def test_many_messages(cluster: Loopback) -> None:
    async with on(cluster, 1) as a, on(cluster, 2) as b, anyio.create_task_group() as tasks:
        await a.join("g")
        await b.join("g")

        async def send(session: Any) -> None:
            for number in range(3000):
                await session.mcast_joined(b"%d" % number)
            await session.mcast_joined([b"last"] * 3000)

        async def receive(session: Any) -> None:
            got: list[Any] = []
            async for batch in session.batches():
                got += batch
                if len(got) == 12_001:
                    break
            for node in (1, min(2, len(cluster.nodes))):
                mine = [event.message for event in got[1:] if event.node_id == node]
                if len(mine) == 6000:
                    assert mine == [*(b"%d" % number for number in range(3000)), *[b"last"] * 3000]
            results.append(got[1:])

        results: list[list[Any]] = []
        with anyio.fail_after(10):
            async with anyio.create_task_group() as receivers:
                for session in (a, b):
                    tasks.start_soon(send, session)
                    receivers.start_soon(receive, session)
        assert results[0] == results[1]


async def test_after_the_end_nothing_works(cluster: Loopback) -> None:
    a = await on(cluster)
    await a.join("g")
    await a.mcast_joined(b"x")
    await a.finalize()
    for call in (
        lambda: a.join("g"),
        lambda: a.leave("g"),
        a.finalize,
        lambda: a.mcast_joined(b"x"),
        lambda: a.mcast_groups(["g"], b"x"),
        a.membership_get,
    ):
        with pytest.raises(errors.BadHandle):
            await call()
    with pytest.raises(errors.BadHandle):
        a.selection_object_get()
    assert [event async for event in a] == []
    await eventually(lambda: not any(engine._sessions for engine in cluster.engines(EvsEngine)))


async def test_a_process_that_dies_is_forgotten(cluster: Loopback) -> None:
    a = await on(cluster)
    await a.join("g")
    await a.session.close()
    await eventually(lambda: not any(engine._sessions for engine in cluster.engines(EvsEngine)))


async def test_a_cancelled_join_is_taken_back(cluster: Loopback) -> None:
    async with on(cluster) as a:
        with anyio.move_on_after(0):
            await a.join("g")
        await a.join("g")
        await a.mcast_joined(b"x")
        assert messages(await take(a, 2)) == [b"x"]


async def test_events_can_be_dispatched(cluster: Loopback) -> None:
    async with on(cluster) as a:
        seen: list[Any] = []
        assert await a.dispatch(DispatchFlags.ONE, seen.append) == 1
        assert isinstance(seen.pop(), ConfigurationChanged)
        await a.join("g")
        await a.mcast_joined([b"1", b"2"])
        await eventually(lambda: a.session.poll() is not None or a.session.waiting(Service.EVS) == 2)
        assert await a.dispatch(DispatchFlags.ALL, seen.append) == 2
        assert messages(seen) == [b"1", b"2"]
        assert await a.membership_get() == evs.Membership(1, tuple(cluster.nodes))
        a.context = seen
        assert a.context is seen


async def test_both_kinds_of_groups_on_one_connection(cluster: Loopback) -> None:
    async with connect(cluster.nodes[1].address) as connection:
        async with connection.evs() as a, connection.evs() as b:
            await a.join("g")
            await b.join("g")
            await b.mcast_joined(b"x")
            assert messages(await take(a, 2)) == messages(await take(b, 2)) == [b"x"]
        async with connection.evs() as again:
            assert len(await take(again, 1)) == 1
            with pytest.raises(errors.NotExist):
                await again.mcast_joined(b"x")
