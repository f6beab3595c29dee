"""CLM as applications use it: real sessions on executives in one process."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from corosync_amf import ckpt, clm, connect, errors
from corosync_amf.ais import DispatchFlags
from corosync_amf.errors import AisError
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.clm import ChangeStep, ClusterChange, Response, TrackFlags
from corosync_amf.services.clm import messages as m
from corosync_amf.services.clm.engine import ClmEngine, ClmSettings

from .loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]

CURRENT, CHANGES, CHANGES_ONLY = TrackFlags.CURRENT, TrackFlags.CHANGES, TrackFlags.CHANGES_ONLY
LOCAL, START_STEP, VALIDATE_STEP = TrackFlags.LOCAL, TrackFlags.START_STEP, TrackFlags.VALIDATE_STEP
RESETTABLE = ClmSettings(resettable=frozenset({"node1"}))


@pytest.fixture
async def cluster() -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), CkptEngine()], 3) as running:
        yield running


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
async def any_cluster(request: pytest.FixtureRequest) -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(RESETTABLE), CkptEngine()], request.param) as running:
        yield running


def on(cluster: Loopback, node: int = 1, **arguments: Any) -> Any:
    return clm.initialize(address=cluster.nodes[node].address, **arguments)


async def test_an_application_learns_who_is_there(cluster: Loopback) -> None:
    async with on(cluster) as service:
        me = await service.cluster_node_get()
        assert (me.node_id, me.node_name, me.node_address.value, me.member) == (1, "node1", "10.0.0.1", True)
        assert (await service.cluster_node_get(3, timeout=0)).node_name == "node3"
        view = await service.cluster_track(CURRENT)
        assert [each.cluster_node.node_name for each in view.notifications] == ["node1", "node2", "node3"]
        assert (view.view_number, view.number_of_members, view.quorate) == (1, 3, True)
        view = await service.cluster_track(CURRENT | LOCAL)
        assert [each.cluster_node.node_id for each in view.notifications] == [1]


async def test_views_yield_the_present_one_and_each_change(cluster: Loopback) -> None:
    async with on(cluster) as service:
        numbers = []
        async for event in service.views():
            numbers.append((event.view.view_number, event.number_of_members))
            if event.view.view_number == 1:
                cluster.die(3)
            else:
                assert event.step is ChangeStep.COMPLETED
                assert event.root_cause_entity == "safNode=node3"
                assert event.reason == "node3(3) node 3 was lost"
                break
        assert numbers == [(1, 3), (2, 2)]
        await service.cluster_track(CHANGES)  # its own tracking has ended
        async with service.views() as again:
            async for event in again:
                assert event.view.view_number == 2
                break
        with pytest.raises(errors.NotExist):
            await service.cluster_track_stop()


async def test_of_views_that_nobody_reads_the_newest_full_one_stands_and_the_session_goes_on(
    cluster: Loopback,
) -> None:
    async with on(cluster, 1) as operator, on(cluster, 2) as service:
        await service.cluster_track(CHANGES)
        for _ in range(550):
            await operator.node_lock("node3")
            await operator.node_unlock("node3")
        last = await operator.cluster_track(CURRENT)
        assert last is not None
        await service.cluster_node_get()  # reads them all
        seen: list[Any] = []
        assert await service.dispatch(DispatchFlags.ALL, seen.append) == 1024
        numbers = [event.view.view_number for event in seen]
        assert numbers == [*range(numbers[0], numbers[0] + 1023), last.view_number]
        assert [each.cluster_node.node_id for each in seen[-1].view.notifications] == [1, 2, 3]


async def test_changes_only_are_all_kept_and_while_1024_wait_nothing_is_read(cluster: Loopback) -> None:
    async with on(cluster, 1) as operator, on(cluster, 2) as service:
        await service.cluster_track(CHANGES_ONLY)
        for _ in range(550):
            await operator.node_lock("node3")
            await operator.node_unlock("node3")
        with anyio.move_on_after(0.05) as waiting:
            await service.cluster_node_get()
        assert waiting.cancelled_caught
        numbers = []
        async for event in service:
            numbers.append(event.view.view_number)
            if len(numbers) == 1100:
                break
        assert numbers == [*range(numbers[0], numbers[0] + 1100)]


async def test_views_end_when_the_service_is_finalized(any_cluster: Loopback) -> None:
    service = await on(any_cluster)
    seen = []
    async for event in service.views():
        seen.append(event.view.view_number)
        await service.finalize()
    assert seen == [1]


async def test_tracking_sends_events_and_stops(cluster: Loopback) -> None:
    async with on(cluster) as service:
        assert await service.cluster_track(CURRENT | CHANGES_ONLY, buffer=False) is None
        events = aiter(service)
        assert (await anext(events)).view.number_of_members == 3
        cluster.die(2)
        event = await anext(events)
        assert [(each.cluster_node.node_id, each.cluster_change) for each in event.view.notifications] == [
            (2, ClusterChange.LEFT)
        ]
        await service.cluster_track_stop()
        with pytest.raises(errors.NotExist):
            await service.cluster_track_stop()


async def test_events_can_be_dispatched(any_cluster: Loopback) -> None:
    async with on(any_cluster) as service:
        seen: list[Any] = []
        assert await service.dispatch(DispatchFlags.ALL, seen.append) == 0
        await service.cluster_track(CURRENT, buffer=False)
        await service.cluster_node_get()
        assert await service.dispatch(DispatchFlags.ALL, seen.append) == 1
        assert seen[0].view.view_number == 1
        assert service.selection_object_get() >= 0


async def test_a_lock_waits_for_the_trackers_and_makes_the_node_unavailable(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 3) as operator:
        await service.cluster_track(CHANGES | START_STEP)
        steps = []

        async def put_things_in_order() -> None:
            async for event in service:
                steps.append((event.step, event.invocation is not None, event.time_supervision))
                if event.step is not ChangeStep.START:
                    break
                await service.response(event.invocation, Response.OK)
                with pytest.raises(errors.InvalidParam):
                    await service.response(event.invocation, Response.OK)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put_things_in_order)
            await service.node_lock("node3")
        assert steps == [(ChangeStep.START, True, 10.0), (ChangeStep.COMPLETED, False, None)]
        for call in (operator.cluster_node_get, lambda: operator.cluster_track(CURRENT)):
            with pytest.raises(errors.Unavailable):
                await call()
        with pytest.raises(errors.Unavailable):
            await on(cluster, 3)
        with pytest.raises(errors.Library):
            await on(cluster, 3, version="B.01.01")
        with pytest.raises(errors.NoOp):
            await service.node_lock("node3")
        await service.node_unlock("node3")
        with pytest.raises(errors.NoOp):
            await service.node_unlock("node3")
        async with on(cluster, 3) as back:
            assert (await back.cluster_node_get()).initial_view_number == 3


async def test_a_shutdown_ends_at_once_when_nobody_asked_to_be_asked(cluster: Loopback) -> None:
    async with on(cluster) as service:
        await service.node_shutdown("node2", timeout=5.0)
        with pytest.raises(errors.NotExist):
            await service.cluster_node_get(2)
        with pytest.raises(errors.NotExist):
            await service.node_shutdown("nobody")
        with pytest.raises(errors.NotSupported):
            await service.node_reset("node3")
        with pytest.raises(errors.NotSupported):
            await service.cluster_reset()


async def test_a_tracker_may_reject_what_was_validated(cluster: Loopback) -> None:
    async with on(cluster, 1) as service, on(cluster, 2) as operator:
        await service.cluster_track(CHANGES | VALIDATE_STEP)

        async def reject() -> None:
            async for event in service:
                if event.step is ChangeStep.ABORTED:
                    break
                await service.response(event.invocation, Response.REJECTED)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reject)
            with pytest.raises(errors.FailedOperation):
                await operator.node_lock("node3", validate=True)


async def test_the_outcome_of_an_asynchronous_get_is_also_an_event(cluster: Loopback) -> None:
    async with on(cluster) as service:
        pending = service.cluster_node_get_async(2, invocation=11)
        assert (await pending).node_id == 2
        with pytest.raises(errors.NotExist):
            await service.cluster_node_get_async(9, invocation=12)
        events = aiter(service)
        first, second = await anext(events), await anext(events)
        assert (first.invocation, first.cluster_node.node_id, first.error) == (11, 2, None)
        assert (second.invocation, second.cluster_node, type(second.error)) == (12, None, errors.NotExist)


async def test_a_local_answer_is_never_too_late(any_cluster: Loopback) -> None:
    async with on(any_cluster) as service:
        for timeout in (0, 1e-9, 1e-6, None):
            assert (await service.cluster_node_get(timeout=timeout)).node_id == 1


BAD_CALLS: list[tuple[str, tuple[Any, ...], type[AisError]]] = [
    ("cluster_track", (TrackFlags(0),), errors.BadFlags),
    ("cluster_track", (CHANGES | CHANGES_ONLY,), errors.BadFlags),
    ("cluster_track", (CURRENT | START_STEP,), errors.BadFlags),
    ("cluster_track", (CURRENT | VALIDATE_STEP,), errors.BadFlags),
    ("cluster_track", (0x41,), errors.BadFlags),
    ("cluster_track", (None,), errors.InvalidParam),
    ("cluster_node_get", (0,), errors.InvalidParam),
    ("cluster_node_get", ("node1",), errors.InvalidParam),
    ("cluster_node_get", (2**32,), errors.InvalidParam),
    ("cluster_node_get", (9,), errors.NotExist),
    ("response", (None, Response.OK), errors.InvalidParam),
    ("response", (1, 9), errors.InvalidParam),
    ("response", (1, Response.OK), errors.InvalidParam),
    ("node_lock", ("",), errors.InvalidParam),
    ("node_lock", ("x" * 2049,), errors.TooBig),
    ("node_reset", (7,), errors.InvalidParam),
]


async def test_bad_calls_are_refused(any_cluster: Loopback) -> None:
    async with on(any_cluster) as service:
        for name, arguments, error in BAD_CALLS:
            with pytest.raises(error) as caught:
                await getattr(service, name)(*arguments)
            assert type(caught.value) is error, (name, arguments)
        with pytest.raises(errors.InvalidParam):
            await service.cluster_node_get(timeout=-1)
        with pytest.raises(errors.InvalidParam):
            await service.cluster_track(CURRENT, buffer=None)
        for operation in (service.node_lock, service.node_shutdown, service.node_unlock):
            with pytest.raises(errors.InvalidParam):  # before TooBig
                await operation("x" * 2049, timeout=-1)
        for operation in (service.node_lock, service.node_shutdown):
            for wrong in ({"force": None}, {"force": 1}, {"validate": "yes"}):
                with pytest.raises(errors.InvalidParam):
                    await operation("nobody", **wrong)
        with pytest.raises(errors.InvalidParam):
            service.cluster_node_get_async(0)
    with pytest.raises(errors.BadHandle):
        await service.cluster_node_get()


async def test_events_that_were_left_out_cannot_be_asked_for(any_cluster: Loopback) -> None:
    async with on(any_cluster, events=clm.Callback(0)) as service:
        for call in (lambda: service.cluster_track(CURRENT, buffer=False), lambda: service.cluster_track(CHANGES)):
            with pytest.raises(errors.Init):
                await call()
        with pytest.raises(errors.Init):
            service.cluster_node_get_async()
        assert await service.cluster_track(CURRENT) is not None


async def test_old_versions_lack_what_came_later(any_cluster: Loopback) -> None:
    async with on(any_cluster, version="B.01.01") as service:
        for flags in (CHANGES | START_STEP, CHANGES | VALIDATE_STEP, CURRENT | LOCAL):
            with pytest.raises(errors.Version):
                await service.cluster_track(flags)
        for invocation in (None, 1):
            with pytest.raises(errors.Version):
                await service.response(invocation, Response.OK)
        with pytest.raises(errors.InvalidParam):
            await service.cluster_node_get(9)
        with pytest.raises(errors.InvalidParam):
            await service.cluster_node_get_async(9, invocation=12)
        event = await anext(aiter(service))
        assert (event.invocation, event.cluster_node, type(event.error)) == (12, None, errors.InvalidParam)


async def test_several_services_share_one_connection(cluster: Loopback) -> None:
    async with (
        connect(cluster.nodes[2].address) as session,
        session.clm() as membership,
        session.ckpt() as checkpoints,
        checkpoints.checkpoint_open("c", creation_attributes=ckpt.CreationAttributes()) as handle,
        membership.views() as views,
        handle.changes(current=True) as changes,
    ):
        assert (await anext(views)).view.view_number == 1
        assert (await anext(changes)).changes == ()
        cluster.die(3)
        assert (await anext(views)).view.view_number == 2


async def test_a_node_that_was_cut_off_takes_over_the_others_views() -> None:
    async with loopback(lambda: [ClmEngine(), CkptEngine()], 3, quorum=True) as cluster:
        cluster.network.partition([1, 2], [3])
        await eventually(lambda: cluster.nodes[3].sees(1) and cluster.nodes[1].sees(2))
        async with on(cluster, 3) as service:
            view = await service.cluster_track(CURRENT)
            assert (view.number_of_members, view.quorate) == (1, False)
        cluster.network.heal()
        await eventually(lambda: all(node.sees(3) for node in cluster.nodes.values()))
        await eventually(lambda: cluster.states()[0] == cluster.states()[2])
        async with on(cluster, 3) as service:
            view = await service.cluster_track(CURRENT)
            assert (view.number_of_members, view.view_number, view.quorate) == (3, 3, True)


async def test_a_node_answers_for_itself_and_follows_its_changes(any_cluster: Loopback) -> None:
    count = len(any_cluster.nodes)
    async with on(any_cluster) as service:
        me = await service.cluster_node_get(timeout=0)
        assert me == await service.cluster_node_get(clm.LOCAL_NODE_ID) == await service.cluster_node_get(1)
        assert me == await service.cluster_node_get_async(1)
        assert (me.execution_environment, me.initial_view_number, me.boot_timestamp) == (None, 1, 1001.0)
        view = await service.cluster_track(CURRENT | CHANGES)
        assert (view.number_of_members, len(view.notifications)) == (count, count)
        assert await service.cluster_track(CHANGES_ONLY) is None
        assert await service.cluster_track(CURRENT, buffer=False) is None
        events = aiter(service)
        got, present = await anext(events), await anext(events)
        assert (got.cluster_node, got.error) == (me, None)
        assert (present.view.view_number, present.step, present.invocation) == (1, ChangeStep.COMPLETED, None)
        await service.cluster_track_stop()
        for _ in range(2):
            with pytest.raises(errors.NotExist):
                await service.cluster_track_stop()


async def test_views_can_be_followed_anew_right_after_a_loop_was_cancelled(any_cluster: Loopback) -> None:
    async with on(any_cluster) as service:
        for _ in range(2):
            with anyio.move_on_after(0.05) as waiting:
                async for event in service.views():
                    assert event.view.number_of_members == len(any_cluster.nodes)
            assert waiting.cancelled_caught


async def test_a_second_iteration_over_views_is_refused(any_cluster: Loopback) -> None:
    async with on(any_cluster) as service, service.views() as first:
        assert (await anext(first)).view.view_number == 1
        with pytest.raises(errors.InvalidParam):
            await anext(service.views())


async def test_a_lock_that_would_leave_nobody_needs_force(any_cluster: Loopback) -> None:
    async with on(any_cluster) as service:
        for number in range(len(any_cluster.nodes), 1, -1):
            await service.node_lock(f"node{number}")
        for operation in (service.node_lock, service.node_shutdown):
            with pytest.raises(errors.BadOperation):
                await operation("node1")
        await service.node_lock("node1", force=True)
        with pytest.raises(errors.Unavailable):
            await service.cluster_node_get()
        await service.node_unlock("node1")  # an operator's session goes on
    async with on(any_cluster) as service:
        assert (await service.cluster_track(CURRENT)).number_of_members == 1


async def test_while_an_operation_runs_others_are_refused(any_cluster: Loopback) -> None:
    name = f"node{max(any_cluster.nodes)}"
    async with on(any_cluster) as tracker, on(any_cluster, retry=False) as service:
        await tracker.cluster_track(CHANGES | START_STEP)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(interrupted, service, name)
            shutdown = await anext(aiter(tracker))
            assert (shutdown.step, shutdown.time_supervision) == (ChangeStep.START, None)
            with pytest.raises(errors.TryAgain):
                await service.node_unlock(name)
            with pytest.raises(errors.NoOp):
                await service.node_shutdown(name, force=True)
            with pytest.raises(errors.TimedOut):
                await service.node_lock(name, force=True, timeout=0.2)
            with pytest.raises(errors.TryAgain):
                await service.node_lock(name, force=True)
        lock = await anext(aiter(tracker))
        assert (lock.step, lock.time_supervision) == (ChangeStep.START, 10.0)
        with pytest.raises(errors.InvalidParam):
            await tracker.response(shutdown.invocation, Response.OK)
        await tracker.response(lock.invocation, Response.ERROR)
        assert (await anext(aiter(tracker))).step is ChangeStep.COMPLETED


async def interrupted(service: clm.ClmService, name: str) -> None:
    with pytest.raises(errors.Interrupt):
        await service.node_shutdown(name, force=True)


async def test_unknown_nodes_cannot_be_operated_on(any_cluster: Loopback) -> None:
    async with on(any_cluster) as service:
        for operation in (service.node_lock, service.node_unlock, service.node_shutdown, service.node_reset):
            with pytest.raises(errors.NotExist):
                await operation("nobody")
        with pytest.raises(errors.NoOp):
            await service.node_unlock("node1")


async def test_a_node_with_a_reset_command_is_reset(any_cluster: Loopback) -> None:
    async with on(any_cluster) as service:
        await service.node_reset("node1")
        await eventually(lambda: any_cluster.nodes[1].commands == [m.ResetNode()])
        if len(any_cluster.nodes) > 1:
            for call in (lambda: service.node_reset("node3"), service.cluster_reset):
                with pytest.raises(errors.NotSupported):
                    await call()
        else:
            await service.cluster_reset()
            await eventually(lambda: len(any_cluster.nodes[1].commands) == 2)
