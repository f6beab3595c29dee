"""LCK as applications use it: real sessions on executives in one process, one of them and three."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from corosync_amf import connect, errors, lck
from corosync_amf.ais import DispatchFlags
from corosync_amf.engine import Effect
from corosync_amf.errors import AisError
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.lck import LockFlags, LockMode, LockStatus, NotGranted, ResourceOpenFlags
from corosync_amf.services.lck import engine as lck_engine
from corosync_amf.services.lck import messages as m
from corosync_amf.services.lck import store as lck_store
from corosync_amf.services.lck import values as limits
from corosync_amf.services.lck.engine import LckEngine

from .loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]

PR, EX = LockMode.PR, LockMode.EX
ALL = DispatchFlags.ALL
NO_QUEUE, ORPHAN = LockFlags.NO_QUEUE, LockFlags.ORPHAN


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), LckEngine()], request.param) as running:
        yield running
        await eventually(lambda: running.states()[0] == running.states()[-1])


def on(cluster: Loopback, node: int = 1, **arguments: Any) -> Any:
    """A session on that node, or on the last there is."""
    return lck.initialize(address=cluster.nodes[min(node, len(cluster.nodes))].address, **arguments)


class Sessions:
    """Sessions "a", "b", "c" on nodes 1, 2, 3, each with the resources it asks for."""

    def __init__(self, cluster: Loopback, stack: AsyncExitStack) -> None:
        self._cluster = cluster
        self._stack = stack
        self.services: dict[str, lck.LckService] = {}

    async def open(self, session: str, name: str = "r") -> lck.Resource:
        if session not in self.services:
            node = " abc".index(session)
            self.services[session] = await self._stack.enter_async_context(on(self._cluster, node))
        return await self.services[session].resource_open(name)

    async def events(self, session: str, count: int) -> list[Any]:
        """The next `count` events of a session, and no more are there."""
        found: list[Any] = []
        service = self.services[session]
        with anyio.fail_after(10):
            while len(found) < count:
                await service.dispatch(ALL, found.append)
                await anyio.sleep(0.001)
        await service.resource_list()  # a round trip: what was on its way is there
        await service.dispatch(ALL, found.append)
        assert len(found) == count, found
        return found

    async def waiting(self, count: int, name: str = "r") -> None:
        """Return when so many requests wait for the resource on all nodes."""

        def holds() -> bool:
            records = [
                record
                for engine in self._cluster.engines(LckEngine)
                for record in engine.snapshot().resources
                if record.name == name
            ]
            return all(len(record.waiting) == count for record in records) and bool(records)

        await eventually(holds)


@pytest.fixture
async def sessions(cluster: Loopback) -> AsyncIterator[Sessions]:
    async with AsyncExitStack() as stack:
        yield Sessions(cluster, stack)


# ---- opening and closing


async def test_what_the_service_says_of_itself(cluster: Loopback) -> None:
    async with on(cluster) as service:
        assert service.option_check() == lck.LockOptions.ORPHAN_LOCKS | lck.LockOptions.DEADLOCK_DETECTION
        assert service.limit_get(lck.LimitId.MAX_NUM_LOCKS) == 65_536
        assert service.version == "B.03.01"
        with pytest.raises(errors.InvalidParam):
            service.limit_get(2)
    for call in (service.option_check, lambda: service.limit_get(1)):
        with pytest.raises(errors.BadHandle):
            call()
    async with on(cluster, version="B.02.01") as service:
        with pytest.raises(errors.Version):
            service.limit_get(1)


async def test_a_resource_is_there_as_long_as_somebody_has_it_open(cluster: Loopback) -> None:
    async with on(cluster) as here, on(cluster, 2) as there:
        with pytest.raises(errors.NotExist):
            await there.resource_open("r", ResourceOpenFlags.NONE)
        async with here.resource_open("r") as resource:
            assert resource.name == "r"
            other = await there.resource_open("r", ResourceOpenFlags.NONE)
        await other.close()
        with pytest.raises(errors.NotExist):
            await there.resource_open("r", 0)


BAD_OPENINGS: list[tuple[tuple[Any, ...], type[AisError]]] = [
    (("r", 2), errors.BadFlags),
    (("", 2), errors.BadFlags),
    (("r", "create"), errors.InvalidParam),
    (("r", None), errors.InvalidParam),
    ((None,), errors.InvalidParam),
    (("",), errors.InvalidParam),
    (("a\0b",), errors.InvalidParam),
    (("x" * 2049,), errors.TooBig),
]


@pytest.mark.parametrize(("arguments", "error"), BAD_OPENINGS)
async def test_impossible_openings_are_refused(
    cluster: Loopback, arguments: tuple[Any, ...], error: type[AisError]
) -> None:
    async with on(cluster) as service:
        with pytest.raises(error) as caught:
            await service.resource_open(*arguments)
        assert type(caught.value) is error
        with pytest.raises(error):
            service.resource_open_async(*arguments)
        for timeout, expected in ((0, errors.TimedOut), (-1, errors.InvalidParam), ("1", errors.InvalidParam)):
            with pytest.raises(expected):
                await service.resource_open("r", timeout=timeout)
        assert await service.resource_list() == []


async def test_the_outcome_of_an_asynchronous_opening_is_also_an_event(cluster: Loopback) -> None:
    async with on(cluster) as service:
        pending = service.resource_open_async("r", invocation=77)
        opened = await pending
        assert opened.is_open
        with pytest.raises(errors.NotExist):
            await service.resource_open_async("nothing", ResourceOpenFlags.NONE, invocation=78)
        first, second = [event async for event in _first(service, 2)]
        assert first == lck.ResourceOpened(77, opened, None)
        assert (second.invocation, second.resource, type(second.error)) == (78, None, errors.NotExist)
        with pytest.raises(errors.InvalidParam):
            service.resource_open_async("r", invocation="1")


async def _first(service: Any, count: int) -> AsyncIterator[Any]:
    with anyio.fail_after(10):
        async for event in service:
            yield event
            count -= 1
            if not count:
                return


async def test_closed_objects_are_bad_handles(cluster: Loopback) -> None:
    async with on(cluster) as service:
        resource = await service.resource_open("r")
        lock = await resource.lock()
        await resource.close()
        for call in (resource.close, resource.lock_purge, lock.unlock, lock.granted):
            with pytest.raises(errors.BadHandle):
                await call()
        with pytest.raises(errors.BadHandle):
            await resource.lock()
        with pytest.raises(errors.BadHandle):
            await resource.lock(99, 99)
        with pytest.raises(errors.BadHandle):
            resource.lock_async()
        with pytest.raises(errors.BadHandle):
            lock.unlock_async()
        left = await service.resource_open("r")
        held = await left.lock()
    for call in (left.close, left.lock_purge, held.unlock, service.finalize):
        with pytest.raises(errors.BadHandle):
            await call()
    with pytest.raises(errors.BadHandle):
        await service.resource_open("r")
    with pytest.raises(errors.BadHandle):
        service.resource_open_async("r")


async def test_finalize_releases_everything_on_a_connection_that_goes_on(cluster: Loopback) -> None:
    async with connect(cluster.nodes[1].address) as session, on(cluster, 2) as other:
        theirs = await other.resource_open("r")
        async with session.lck() as service:
            await (await service.resource_open("r")).lock()
            with pytest.raises(lck.NotQueued):
                await theirs.lock(flags=NO_QUEUE)
        async with session.lck(), theirs.lock(timeout=10):
            pass


# ---- granting


async def test_an_exclusive_lock_excludes_and_tokens_grow(sessions: Sessions) -> None:
    a, b, c = [await sessions.open(name) for name in "abc"]
    tokens = []

    async def work(resource: lck.Resource) -> None:
        for _ in range(5):
            async with resource.lock() as lock:
                assert lock.token is not None
                tokens.append(lock.token)
                before = len(tokens)
                await anyio.sleep(0.001)
                assert len(tokens) == before

    async with anyio.create_task_group() as tasks:
        for resource in (a, b, c):
            tasks.start_soon(work, resource)
    assert len(tokens) == 15
    assert tokens == sorted(set(tokens))


async def test_shared_locks_are_held_together_and_wait_behind_an_exclusive_request(sessions: Sessions) -> None:
    a, b, c = [await sessions.open(name) for name in "abc"]
    first, second = await a.lock(PR), await a.lock(PR)
    assert (first.mode, first.status, first.invocation) == (PR, LockStatus.GRANTED, None)
    exclusive = c.lock_async(EX)
    await sessions.waiting(1)
    shared = b.lock_async(PR, invocation=5)
    await sessions.waiting(2)
    assert (shared.status, shared.token, shared.invocation) == (None, None, 5)
    with pytest.raises(lck.Deadlock):
        await a.lock(PR)  # behind the request that waits for the locks of this session
    await first.unlock()
    assert exclusive.status is None
    await second.unlock()
    assert await exclusive.granted() is exclusive
    assert shared.status is None
    await exclusive.unlock()
    await shared.granted()
    assert shared.token is not None
    assert exclusive.token is not None
    assert shared.token > exclusive.token
    assert shared.lock_id != exclusive.lock_id


async def test_several_shared_locks_on_one_handle_are_separate(sessions: Sessions) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    first, second = await a.lock(PR), await a.lock(PR)
    await first.unlock()
    with pytest.raises(lck.NotQueued):
        await b.lock(EX, NO_QUEUE)
    await second.unlock()
    await b.lock(EX, NO_QUEUE)


async def test_requests_are_served_in_the_order_in_which_they_came(sessions: Sessions) -> None:
    a, b, c = [await sessions.open(name) for name in "abc"]
    held = await a.lock()
    second = b.lock_async()
    await sessions.waiting(1)
    third = c.lock_async()
    await sessions.waiting(2)
    await held.unlock()
    await second.granted()
    assert third.status is None
    await second.unlock()
    await third.granted()


async def test_a_refusal_is_no_error_but_an_exception_and_a_status(sessions: Sessions) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    await a.lock()
    with pytest.raises(lck.NotQueued) as caught:
        await b.lock(EX, NO_QUEUE)
    assert caught.value.status is LockStatus.NOT_QUEUED
    assert not isinstance(caught.value, AisError)
    with pytest.raises(lck.NotQueued):
        async with b.lock(PR, NO_QUEUE):
            pass
    with pytest.raises(lck.DuplicateEx):
        await a.lock(EX, NO_QUEUE)
    refused = b.lock_async(EX, NO_QUEUE, invocation=9)
    with pytest.raises(NotGranted):
        await refused.granted()
    with pytest.raises(lck.NotQueued):
        await refused.granted()
    assert refused.status is LockStatus.NOT_QUEUED
    assert await sessions.events("b", 1) == [lck.LockGranted(9, refused, LockStatus.NOT_QUEUED, None)]
    with pytest.raises(errors.NotExist):
        await refused.unlock()


async def test_an_exclusive_request_is_a_duplicate_also_while_the_first_waits(sessions: Sessions) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    held = await a.lock()
    waiting = b.lock_async()
    await sessions.waiting(1)
    with pytest.raises(lck.DuplicateEx):
        await b.lock()
    await held.unlock()
    await waiting.granted()
    with pytest.raises(lck.DuplicateEx):
        await b.lock()


async def test_who_would_wait_for_his_own_lock_is_told(sessions: Sessions) -> None:
    a, again = await sessions.open("a"), await sessions.open("a")
    held = await a.lock(EX)
    for mode in (EX, PR):
        with pytest.raises(lck.Deadlock) as caught:
            await again.lock(mode)
        ((node, name, _),) = caught.value.cycle
        assert (node, name) == (1, "r")
    await held.unlock()
    shared = await a.lock(PR)
    for resource in (a, again):
        with pytest.raises(lck.Deadlock):
            await resource.lock(EX)
    await shared.unlock()


async def test_the_request_that_closes_a_cycle_is_refused_with_the_cycle(sessions: Sessions) -> None:
    names = ("r1", "r2", "r3")
    opened = {(s, name): await sessions.open(s, name) for s in "abc" for name in names}
    for session, name in zip("abc", names, strict=True):
        await opened[session, name].lock()
    first = opened["a", "r2"].lock_async()
    await sessions.waiting(1, "r2")
    second = opened["b", "r3"].lock_async()
    await sessions.waiting(1, "r3")
    with pytest.raises(lck.Deadlock) as caught:
        await opened["c", "r1"].lock()
    nodes = [sessions.services[session].session.node_id for session in "cab"]
    assert [entry[:2] for entry in caught.value.cycle] == list(zip(nodes, ("r1", "r2", "r3"), strict=True))
    assert [entry[2] for entry in caught.value.cycle[1:]] == [first.lock_id, second.lock_id]
    assert "'r1'" in str(caught.value)
    assert first.status is second.status is None
    await opened["c", "r3"].close()
    other = await sessions.open("c", "r2")
    waiting = other.lock_async(PR)  # it waits for a queue, but not for itself
    await sessions.waiting(2, "r2")
    assert waiting.status is None


async def test_a_lock_with_orphan_stays_until_it_is_purged(cluster: Loopback, sessions: Sessions) -> None:
    b = await sessions.open("b")
    dying = await on(cluster, 3)
    resource = await dying.resource_open("r")
    await resource.lock(EX, ORPHAN)
    waiting = b.lock_async(PR)
    await sessions.waiting(1)
    await dying.session.close()
    await eventually(lambda: all(len(e.snapshot().resources[0].orphaned) == 1 for e in cluster.engines(LckEngine)))
    a = await sessions.open("a")
    with pytest.raises(lck.Orphaned):
        await a.lock(EX, ORPHAN)
    with pytest.raises(lck.NotQueued):
        await a.lock(EX, NO_QUEUE)
    with pytest.raises(errors.TimedOut):
        await a.lock(EX, timeout=0.05)
    assert waiting.status is None
    await a.lock_purge()
    await waiting.granted()
    await a.lock_purge()
    assert waiting.status is LockStatus.GRANTED
    await waiting.unlock()
    await a.lock(EX)


async def test_closing_and_finalizing_leave_orphans_and_release_the_rest(sessions: Sessions, cluster: Loopback) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    await a.lock(PR)
    await a.lock(PR, ORPHAN)
    await a.close()
    with pytest.raises(lck.Orphaned):
        await b.lock(EX, ORPHAN)
    await b.lock(PR, ORPHAN)
    await b.close()
    async with on(cluster) as service, service.resource_open("r", ResourceOpenFlags.NONE) as again:
        assert (await service.resource_describe("r")).status.orphaned == 2
        await again.lock_purge()
        await again.lock(EX, NO_QUEUE)


async def test_a_request_that_never_was_granted_leaves_no_orphan(sessions: Sessions) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    held = await a.lock()
    b.lock_async(EX, ORPHAN)
    await sessions.waiting(1)
    await b.close()
    await held.unlock()
    await a.lock(EX, NO_QUEUE)


# ---- events


async def test_each_holder_is_told_of_each_request_that_waits_for_it(sessions: Sessions) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    held = [await a.lock(PR) for _ in range(5)]
    b.lock_async(EX, waiter_signal=2**64 - 1)
    events = await sessions.events("a", 5)
    assert events == [lck.LockWaiter(2**64 - 1, lock, PR, EX) for lock in held]


async def test_a_request_that_came_before_the_grant_is_told_with_it(sessions: Sessions) -> None:
    a, b, c = [await sessions.open(name) for name in "abc"]
    held = await a.lock(EX)
    locks = [b.lock_async(PR, invocation=number) for number in range(5)]
    await sessions.waiting(5)
    c.lock_async(EX, waiter_signal=8)
    await sessions.waiting(6)
    await held.unlock()
    events = await sessions.events("b", 10)
    granted = [lck.LockGranted(number, lock, LockStatus.GRANTED, None) for number, lock in enumerate(locks)]
    assert events == granted + [lck.LockWaiter(8, lock, PR, EX) for lock in locks]
    told = await sessions.events("a", 6)
    assert [event.mode_requested for event in told] == [PR] * 5 + [EX]


async def test_who_did_not_ask_for_waiter_events_gets_none(cluster: Loopback, sessions: Sessions) -> None:
    b = await sessions.open("b")
    async with on(cluster, events=lck.Callback.GRANT) as service, service.resource_open("r") as resource:
        held = await resource.lock()
        b.lock_async()
        await sessions.waiting(1)
        assert await service.dispatch(ALL, print) == 0
        await held.unlock()


async def test_events_that_were_left_out_cannot_be_asked_for(cluster: Loopback) -> None:
    async with on(cluster, events=lck.Callback(0)) as service, service.resource_open("r") as resource:
        for call in (
            lambda: service.resource_open_async("r"),
            lambda: service.resource_open_async("x" * 2049),
            resource.lock_async,
        ):
            with pytest.raises(errors.Init):
                call()
        with pytest.raises(errors.InvalidParam):
            resource.lock_async(3)
        lock = await resource.lock()
        with pytest.raises(errors.Init):
            lock.unlock_async()
        assert lock.is_held


async def test_an_unlock_without_waiting_is_an_event_too(sessions: Sessions) -> None:
    a = await sessions.open("a")
    lock = await a.lock()
    pending = lock.unlock_async(invocation=3)
    assert pending.invocation == 3
    await pending
    assert await sessions.events("a", 1) == [lck.ResourceUnlocked(3, None)]
    for call in (lock.unlock, lock.granted):
        with pytest.raises(errors.NotExist):
            await call()
    with pytest.raises(errors.NotExist):
        lock.unlock_async()


async def test_who_does_not_read_waiter_events_works_on(sessions: Sessions) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    service = sessions.services["a"]
    for _ in range(12):
        held = await a.lock()
        waiting = [b.lock_async(PR) for _ in range(100)]
        await sessions.waiting(100)
        await held.unlock()
        for lock in waiting:
            await lock.granted()
            await lock.unlock()
        await sessions.services["b"].dispatch(ALL, lambda event: None)
    assert 0 < service.session.waiting(service.service) <= limits.EVENTS_MAX  # those of locks given back go first
    shared = [await a.lock(PR) for _ in range(30)]
    b.lock_async(EX, waiter_signal=1)
    await sessions.waiting(1)
    await service.resource_list()
    last: list[Any] = []
    await service.dispatch(ALL, last.append)
    assert [event.lock for event in last[-30:]] == shared


# ---- giving up


async def test_a_request_that_times_out_is_withdrawn(sessions: Sessions) -> None:
    a, b, c = [await sessions.open(name) for name in "abc"]
    held = await a.lock()
    with pytest.raises(errors.TimedOut):
        await b.lock(timeout=0.05)
    with pytest.raises(errors.TimedOut):
        await b.lock(timeout=0)
    await held.unlock()
    await c.lock(EX, NO_QUEUE)


async def test_a_time_out_and_a_grant_that_meet_give_a_lock_or_nothing(sessions: Sessions) -> None:
    a, b, c = [await sessions.open(name) for name in "abc"]
    outcomes = set()
    for attempt in range(60):
        held = await a.lock()
        async with anyio.create_task_group() as tasks:

            async def ask(timeout: float = 0.0005 * (attempt % 12) + 0.0001) -> None:
                try:
                    lock = await b.lock(timeout=timeout)
                except errors.TimedOut:
                    outcomes.add("nothing")
                else:
                    outcomes.add("a lock")
                    await lock.unlock()

            tasks.start_soon(ask)
            await anyio.sleep(0.003)
            await held.unlock()
        await (await c.lock(EX, NO_QUEUE)).unlock()
    assert outcomes == {"nothing", "a lock"}


async def test_a_task_that_is_cancelled_leaks_no_lock(sessions: Sessions) -> None:
    a, b, c = [await sessions.open(name) for name in "abc"]
    for attempt in range(20):
        held = await a.lock()
        with anyio.move_on_after(0.0005 * attempt):
            async with b.lock():
                raise AssertionError("two holders")
        await held.unlock()
        with anyio.move_on_after(0.0003 * attempt):
            await anyio.lowlevel.checkpoint()
            async with b.lock():
                await anyio.sleep(0.001)
        async with c.lock(timeout=10):
            pass


async def test_unlocking_a_request_withdraws_it_and_no_event_follows(sessions: Sessions) -> None:
    a, b, c = [await sessions.open(name) for name in "abc"]
    held = await a.lock()
    pending = b.lock_async()
    await sessions.waiting(1)

    async def wait() -> None:
        with pytest.raises(errors.NotExist):
            await pending.granted()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.sleep(0.01)
        await pending.unlock()
    assert pending.status is None
    with pytest.raises(errors.NotExist):
        await pending.unlock()
    await held.unlock()
    await (await c.lock(EX, NO_QUEUE)).unlock()
    await sessions.events("b", 0)


async def test_unlocking_a_request_that_is_being_refused_finds_nothing(sessions: Sessions) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    await a.lock()
    with pytest.raises(errors.NotExist):
        await b.lock_async(EX, NO_QUEUE).unlock()
    with pytest.raises(errors.NotExist):
        await b.lock_async(EX, NO_QUEUE).unlock_async()
    waiting = b.lock_async()
    await waiting.unlock()
    assert waiting.status is None


async def test_closing_a_handle_ends_the_wait_of_its_requests(sessions: Sessions) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    await a.lock()
    pending = b.lock_async(PR)

    async def wait() -> None:
        with pytest.raises(errors.BadHandle):
            await b.lock(PR)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await sessions.waiting(2)
        await b.close()
    with pytest.raises(errors.BadHandle):
        await pending.granted()
    await sessions.events("b", 0)


async def test_leaving_an_asynchronous_lock_unlocks_it(sessions: Sessions) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    async with a.lock_async() as lock:
        assert lock.status is LockStatus.GRANTED
        with pytest.raises(lck.NotQueued):
            await b.lock(EX, NO_QUEUE)
        with anyio.move_on_after(0.02):
            async with b.lock_async():
                raise AssertionError("two holders")
    await b.lock(EX, NO_QUEUE)


async def test_leaving_is_silent_when_the_lock_or_its_handle_is_gone(sessions: Sessions) -> None:
    a = await sessions.open("a")
    async with a.lock() as lock:
        await lock.unlock()
    async with a.lock():
        await a.close()


async def test_unlock_that_has_no_time_still_happens(sessions: Sessions) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    lock = await a.lock()
    with pytest.raises(errors.InvalidParam):
        await lock.unlock(timeout=-1)
    with pytest.raises(errors.TimedOut):
        await lock.unlock(timeout=0)
    with pytest.raises(errors.NotExist):
        await lock.unlock()
    async with b.lock(timeout=10):
        pass


BAD_LOCKS: list[tuple[tuple[Any, ...], dict[str, Any], type[AisError]]] = [
    ((EX, 4), {}, errors.BadFlags),
    ((9, 4), {}, errors.BadFlags),
    ((EX, "wait"), {}, errors.InvalidParam),
    ((EX, None), {}, errors.InvalidParam),
    ((0,), {}, errors.InvalidParam),
    ((3,), {}, errors.InvalidParam),
    ((None,), {}, errors.InvalidParam),
    ((), {"waiter_signal": -1}, errors.InvalidParam),
    ((), {"waiter_signal": 2**64}, errors.InvalidParam),
    ((), {"waiter_signal": None}, errors.InvalidParam),
]


@pytest.mark.parametrize(("arguments", "named", "error"), BAD_LOCKS)
async def test_impossible_requests_are_refused(
    cluster: Loopback, arguments: tuple[Any, ...], named: dict[str, Any], error: type[AisError]
) -> None:
    async with on(cluster) as service, service.resource_open("r") as resource:
        with pytest.raises(error) as caught:
            await resource.lock(*arguments, **named)
        assert type(caught.value) is error
        with pytest.raises(error):
            resource.lock_async(*arguments, **named)
        with pytest.raises(errors.InvalidParam):
            await resource.lock(timeout=-0.5)
        with pytest.raises(errors.InvalidParam):
            await resource.lock(timeout="soon")
        assert (await service.resource_describe("r")).held == ()


async def test_more_requests_under_way_than_may_be_are_tried_again(cluster: Loopback) -> None:
    async with on(cluster) as service, service.resource_open("r") as resource:
        locks = [resource.lock_async(PR) for _ in range(256)]
        with pytest.raises(errors.TryAgain):
            resource.lock_async(PR)
        for lock in locks:
            await lock.granted()


async def test_locks_that_wait_do_not_count_as_requests_under_way(sessions: Sessions) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    held = await a.lock()
    waiting = []
    for _ in range(3):
        waiting += [b.lock_async(PR) for _ in range(200)]
        await sessions.waiting(len(waiting))
        await sessions.services["b"].resource_list()
    await held.unlock()
    for lock in waiting:
        await lock.granted()


async def test_who_does_not_read_the_outcomes_must_try_again(cluster: Loopback) -> None:
    async with on(cluster) as service, service.resource_open("r") as resource:
        for _ in range(limits.EVENTS_MAX):
            await resource.lock_async(PR).granted()
        with pytest.raises(errors.TryAgain, match="wait to be read"):
            resource.lock_async(PR)
        await service.dispatch(ALL, lambda event: None)
        await resource.lock_async(PR).granted()


async def test_a_full_table_is_no_resources_and_no_more_to_an_old_session(
    cluster: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lck_engine, "LOCKS_MAX", 2)
    monkeypatch.setattr(lck_store, "RESOURCES_MAX", 1)
    async with on(cluster) as service, on(cluster, 2, version="B.01.01") as old:
        resource = await service.resource_open("r")
        with pytest.raises(errors.NoResources):
            await service.resource_open("another")
        await resource.lock(PR)
        await resource.lock(PR)
        with pytest.raises(errors.NoResources):
            await resource.lock(PR)
        full = resource.lock_async(PR, invocation=1)
        with pytest.raises(errors.NoResources):
            await full.granted()
        (event,) = [event async for event in _first(service, 1)]
        assert (event.invocation, event.lock, event.status, type(event.error)) == (1, full, None, errors.NoResources)
        theirs = await old.resource_open("r")
        with pytest.raises(lck.NoMore):
            await theirs.lock(PR)


# ---- what an operator sees


async def test_resources_and_their_locks_can_be_looked_at(sessions: Sessions) -> None:
    a, b = await sessions.open("a"), await sessions.open("b")
    await sessions.open("a", "other")
    held = await a.lock(EX, ORPHAN)
    waiting = b.lock_async(PR)
    await sessions.waiting(1)
    service = sessions.services["a"]
    assert await service.resource_list() == [
        lck.ResourceStatus("other", 1, 0, 0, 0),
        lck.ResourceStatus("r", 2, 1, 1, 0),
    ]
    found = await service.resource_describe("r")
    assert [(each.lock_id, each.mode, each.flags, each.token) for each in found.held] == [
        (held.lock_id, EX, ORPHAN, held.token)
    ]
    assert [(each.lock_id, each.mode, each.token) for each in found.waiting] == [(waiting.lock_id, PR, None)]
    assert found.orphaned == ()
    for name, error in (("nothing", errors.NotExist), ("", errors.InvalidParam), ("x" * 2049, errors.TooBig)):
        with pytest.raises(error):
            await service.resource_describe(name)


# ---- quorum, and partitions that meet again


async def test_without_quorum_nothing_is_granted_but_everything_can_be_given_up() -> None:
    async with (
        loopback(lambda: [ClmEngine(), LckEngine()], 3, quorum=True) as cluster,
        on(cluster, 1) as there,
        on(cluster, 3, retry=False) as service,
    ):
        resource, theirs = await service.resource_open("r"), await there.resource_open("r")
        other = await service.resource_open("s")
        lock, second = await resource.lock(), await other.lock()
        waiting = theirs.lock_async()
        cluster.network.partition([1, 2], [3])
        await eventually(lambda: cluster.nodes[3].sees(1) and cluster.nodes[1].sees(2))
        await waiting.granted()
        assert waiting.token is not None
        assert lock.token is not None
        assert waiting.token > lock.token
        for call in (
            lambda: resource.lock(PR),
            lambda: service.resource_open("x"),
            resource.lock_purge,
            lambda: resource.lock_async(PR).granted(),
        ):
            with pytest.raises(errors.TryAgain, match="no quorum"):
                await call()
        assert [each.name for each in await service.resource_list()] == ["r", "s"]
        await lock.unlock()
        await other.close()
        with pytest.raises(errors.BadHandle):
            await second.unlock()


class Merging(LckEngine):
    """A purge of "merge" stands for what happens to the clients of node 1 when their partition gives way."""

    def apply(self, message: Any, origin: Any) -> list[Effect]:
        effects = super().apply(message, origin)
        if isinstance(message, m.Purge) and message.handle == self.trigger:
            remnant = self.remnant(origin.client.node)
            assert remnant is not None
            self.restore(m.Snapshot(True))
            effects += self.merge(remnant, origin)
        return effects

    trigger = 0


async def test_who_held_a_lock_on_the_side_that_gave_way_is_told_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with loopback(lambda: [ClmEngine(), Merging()], 1) as cluster, on(cluster) as service:
        holding, waiting = await service.resource_open("r"), await service.resource_open("s")
        merge = await service.resource_open("merge")
        monkeypatch.setattr(Merging, "trigger", merge.number)
        first, second = await holding.lock(PR), await holding.lock(PR)
        async with on(cluster) as other, other.resource_open("s") as theirs:
            await theirs.lock()
            request = waiting.lock_async(PR, invocation=4)
            async with holding.lock(PR) as third:
                await merge.lock_purge()
            with pytest.raises(errors.BadHandle, match="another"):
                await first.unlock()
            with pytest.raises(errors.BadHandle, match="another"):
                await holding.lock()
            with pytest.raises(errors.BadHandle):
                await holding.close()
            await request.granted()
            events: list[Any] = []
            await service.dispatch(ALL, events.append)
            assert [type(event) for event in events] == [lck.LockLost] * 3 + [lck.LockGranted]
            assert [event.lock for event in events] == [first, second, third, request]
            assert "another" in events[0].reason
            assert not first.is_held
            async with service.resource_open("r") as again, again.lock(EX, NO_QUEUE):
                pass
            await request.unlock()
