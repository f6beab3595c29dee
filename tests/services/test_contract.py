"""What the specification says of all services alike, checked on each of them."""

import inspect
import select
import threading
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from aisexec.engines import engines_of
from corosync_amf import ckpt, connect, errors, evt, msg, sync
from corosync_amf.ais import AdminOperation, DispatchFlags, TrackFlags
from corosync_amf.errors import AisError
from corosync_amf.services.amf.engine import AmfEngine
from corosync_amf.services.amf.model import Cluster as Model
from corosync_amf.versions import SUPPORTED

from .loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]

WITH_VERSIONS = ("clm", "ckpt", "evt", "msg", "lck", "ntf", "log", "amf", "tmr")
WITHOUT_VERSIONS = ("evs", "cpg")
SERVICES = WITH_VERSIONS + WITHOUT_VERSIONS
WITH_EXECUTIVE = tuple(service for service in SERVICES if service != "tmr")

Arguments = tuple[Any, ...]
GOOD: dict[str, tuple[str, Arguments]] = {
    "clm": ("cluster_node_get", ()),
    "ckpt": ("checkpoint_unlink", ("nothing",)),
    "evt": ("channel_unlink", ("nothing",)),
    "msg": ("queue_status_get", ("nothing",)),
    "lck": ("resource_open", ("resource",)),
    "ntf": ("identifier_allocate", ()),
    "log": ("stream_open", ("safLgStrCfg=saLogSystem,safApp=safLogService",)),
    "amf": ("status", ()),
    "tmr": ("time_get", ()),
    "evs": ("membership_get", ()),
    "cpg": ("membership_get", ("group",)),
}
"""A call that gets as far as the executive, whatever it answers."""
NONE: dict[str, list[tuple[str, Arguments]]] = {
    "clm": [
        ("cluster_track", (None,)),
        ("cluster_node_get", (None,)),
        ("cluster_node_get_async", (None,)),
        ("response", (None, None)),
        ("node_lock", (None,)),
        ("node_unlock", (None,)),
        ("node_shutdown", (None,)),
        ("node_reset", (None,)),
    ],
    "ckpt": [("checkpoint_open", (None,)), ("checkpoint_open_async", (None,)), ("checkpoint_unlink", (None,))],
    "evt": [
        ("channel_open", (None, 4)),
        ("channel_open", ("channel", None)),
        ("channel_open_async", (None, 4)),
        ("channel_open_async", ("channel", None)),
        ("channel_unlink", (None,)),
        ("limit_get", (None,)),
    ],
    "msg": [
        ("queue_open", (None,)),
        ("queue_open_async", (None,)),
        ("queue_status_get", (None,)),
        ("queue_unlink", (None,)),
        ("queue_group_create", (None, 1)),
        ("queue_group_create", ("group", None)),
        ("queue_group_delete", (None,)),
        ("queue_group_insert", (None, "queue")),
        ("queue_group_insert", ("group", None)),
        ("queue_group_remove", (None, "queue")),
        ("queue_group_remove", ("group", None)),
        ("queue_group_track", (None, TrackFlags.CURRENT)),
        ("queue_group_track", ("group", None)),
        ("queue_group_track_stop", (None,)),
        ("message_send", ("queue", None)),
        ("message_send_async", ("queue", None)),
        ("message_send_receive", ("queue", None)),
        ("message_reply", (None, None)),
        ("message_reply_async", (None, None)),
        ("limit_get", (None,)),
    ],
    "lck": [
        ("resource_open", (None,)),
        ("resource_open", ("resource", None)),
        ("resource_open_async", (None,)),
        ("limit_get", (None,)),
    ],
    "ntf": [
        ("notification_send", (None,)),
        ("notification_send_with_id", (None,)),
        ("notification_subscribe", (None,)),
        ("notification_unsubscribe", (None,)),
        ("notification_read_initialize", (None,)),
        ("localized_message_get", (None,)),
        ("variable_data_size_get", (None,)),
    ],
    "log": [("stream_open", (None,)), ("stream_open_async", (None,)), ("limit_get", (None,))],
    "amf": [
        ("protection_group_track", (None, TrackFlags.CURRENT)),
        ("protection_group_track_stop", (None,)),
        ("response", (None,)),
        ("csi_quiescing_complete", (None,)),
        ("correlation_ids_get", (None,)),
        ("admin", (None, AdminOperation.LOCK)),
        ("admin", ("safApp=a", None)),
        ("why", (None,)),
    ],
    "tmr": [("timer_start", (None,))],
    "evs": [
        ("join", (None,)),
        ("leave", (None,)),
        ("mcast_joined", (None,)),
        ("mcast_groups", (None, b"")),
        ("mcast_groups", ([b"group"], None)),
    ],
    "cpg": [("join", (None,)), ("mcast_joined", (None,)), ("membership_get", (None,))],
}
"""Calls with None where a value is required."""
NONE_ROWS = [(service, *call) for service in SERVICES for call in NONE[service]]


OPENINGS: dict[str, tuple[str, Arguments]] = {
    "ckpt": ("checkpoint_open", (None, ckpt.CreationAttributes(retention_duration=0.0))),
    "evt": ("channel_open", (evt.ChannelOpenFlags.CREATE,)),
    "msg": ("queue_open", (msg.QueueCreationAttributes(),)),
    "lck": ("resource_open", ()),
}
"""What makes and opens something that goes with its last handle (a channel: and with its name)."""


@pytest.fixture
async def cluster() -> AsyncIterator[Loopback]:
    async with loopback(lambda: engines_of(AmfEngine(Model(dn="safAmfCluster=c", name="c"))), 1) as running:
        yield running


def module_of(service: str) -> Any:
    return import_module(f"corosync_amf.services.{service}")


def initialize(service: str, cluster: Loopback, **arguments: Any) -> Any:
    return module_of(service).initialize(address=cluster.nodes[1].address, **arguments)


async def call(service: Any, method: str, arguments: Arguments) -> Any:
    outcome = getattr(service, method)(*arguments)
    return await outcome if inspect.isawaitable(outcome) else outcome


async def reached(service: Any, name: str) -> None:
    """The session works: the call is answered, if only with an error of the service's own."""
    try:
        await call(service, *GOOD[name])
    except (errors.NotExist, errors.State):
        pass


async def quiet(service: Any) -> None:
    """Nothing waits: what a service announces at the start has been taken."""
    while await service.dispatch(DispatchFlags.ALL, lambda event: None):
        pass


# ---- initialize


@pytest.mark.parametrize("name", WITH_VERSIONS)
async def test_the_newest_version_is_the_default(cluster: Loopback, name: str) -> None:
    async with initialize(name, cluster) as service:
        assert service.version == SUPPORTED[name.upper()][-1]
        await reached(service, name)


@pytest.mark.parametrize(
    ("name", "supported"), [(name, version) for name in WITH_VERSIONS for version in SUPPORTED[name.upper()]]
)
async def test_a_higher_minor_is_lowered_and_a_lower_one_is_taken(cluster: Loopback, name: str, supported: str) -> None:
    for asked in (supported, f"{supported[:4]}.99"):
        async with initialize(name, cluster, version=asked) as service:
            assert service.version == supported


@pytest.mark.parametrize("version", ["A.00.01", "B.00.01", "B.09.01", "B.99.01", "C.01.01", "Z.99.99"])
@pytest.mark.parametrize("name", WITH_VERSIONS)
async def test_an_unknown_release_or_major_is_refused_with_those_that_are_known(
    cluster: Loopback, name: str, version: str
) -> None:
    with pytest.raises(errors.Version) as caught:
        await initialize(name, cluster, version=version)
    assert caught.value.supported == SUPPORTED[name.upper()]
    async with connect(cluster.nodes[1].address) as session:
        with pytest.raises(errors.Version):
            await getattr(session, name)(version=version)


@pytest.mark.parametrize("version", [None, "", "B", "B.1.1", "B.03", "b.03.01", "B.03.01 ", "B-03-01", b"B.03.01", 3])
@pytest.mark.parametrize("name", WITH_VERSIONS)
async def test_what_is_no_version_is_refused(cluster: Loopback, name: str, version: Any) -> None:
    with pytest.raises(errors.InvalidParam):
        await initialize(name, cluster, version=version)


@pytest.mark.parametrize("name", WITH_VERSIONS)
async def test_events_must_be_of_the_type_of_the_module(cluster: Loopback, name: str) -> None:
    callback = module_of(name).Callback
    for events in (None, 1, "ALL", TrackFlags.CURRENT, callback(0x8000) | callback.ALL, [callback.ALL]):
        with pytest.raises(errors.InvalidParam):
            await initialize(name, cluster, events=events)
    for events in (callback(0), callback.ALL, next(iter(callback))):
        async with initialize(name, cluster, events=events, retry=False) as service:
            await reached(service, name)


@pytest.mark.parametrize("name", SERVICES)
async def test_whether_to_retry_is_yes_or_no(cluster: Loopback, name: str) -> None:
    for retry in (None, 1, "no"):
        with pytest.raises(errors.InvalidParam):
            await initialize(name, cluster, retry=retry)


@pytest.mark.parametrize("name", WITHOUT_VERSIONS)
async def test_services_of_corosync_have_neither_versions_nor_kinds_of_events(cluster: Loopback, name: str) -> None:
    for arguments in ({"version": "B.01.01"}, {"events": 1}):
        with pytest.raises(TypeError):
            initialize(name, cluster, **arguments)
    async with initialize(name, cluster, retry=False) as service:
        await reached(service, name)


@pytest.mark.parametrize("name", SERVICES)
async def test_arguments_have_names(cluster: Loopback, name: str) -> None:
    with pytest.raises(TypeError):
        module_of(name).initialize("B.01.01")


@pytest.mark.parametrize("name", SERVICES)
async def test_retry_is_a_bool(cluster: Loopback, name: str) -> None:
    for retry in (None, 1, "no"):
        with pytest.raises(errors.InvalidParam):
            await initialize(name, cluster, retry=retry)


@pytest.mark.parametrize("name", WITH_EXECUTIVE)
async def test_without_an_executive_nothing_opens(tmp_path: Path, name: str) -> None:
    with pytest.raises(errors.Library):
        await module_of(name).initialize(address=str(tmp_path / "nobody"))
    with pytest.raises(errors.Library):
        async with module_of(name).initialize(address=str(tmp_path / "nobody")):
            pass


@pytest.mark.parametrize("name", SERVICES)
async def test_a_session_can_be_awaited_or_entered_again_and_again(cluster: Loopback, name: str) -> None:
    opening = initialize(name, cluster)
    for _ in range(2):
        service = await opening
        await reached(service, name)
        await service.finalize()
        async with opening as service:
            await reached(service, name)
        with pytest.raises(errors.BadHandle):
            await call(service, *GOOD[name])


# ---- the end


@pytest.mark.parametrize("name", SERVICES)
async def test_nothing_works_after_finalize(cluster: Loopback, name: str) -> None:
    async with initialize(name, cluster) as service:  # leaving is silent
        await quiet(service)
        await service.finalize()
        with pytest.raises(errors.BadHandle):
            await service.finalize()
        with pytest.raises(errors.BadHandle):
            service.selection_object_get()
        for flags in (*DispatchFlags, 77):
            with pytest.raises(errors.BadHandle):
                await service.dispatch(flags, lambda event: None)
        with pytest.raises(errors.BadHandle):
            await call(service, *GOOD[name])
        assert [event async for event in service] == []
        assert [event async for event in service.events()] == []


@pytest.mark.parametrize(("name", "method", "arguments"), NONE_ROWS)
async def test_a_finalized_session_says_so_before_it_looks_at_arguments(
    cluster: Loopback, name: str, method: str, arguments: Arguments
) -> None:
    service = await initialize(name, cluster)
    await service.finalize()
    with pytest.raises(errors.BadHandle):
        await call(service, method, arguments)


@pytest.mark.parametrize("name", SERVICES)
async def test_finalize_ends_what_waits_for_events(cluster: Loopback, name: str) -> None:
    service = await initialize(name, cluster)
    await quiet(service)
    ended: list[str] = []

    async def iterate() -> None:
        async for _ in service:
            pass
        ended.append("iteration")

    async def dispatch() -> None:
        await service.dispatch(DispatchFlags.BLOCKING, lambda event: None)
        ended.append("dispatch")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(iterate)
        tasks.start_soon(dispatch)
        await anyio.wait_all_tasks_blocked()
        await service.finalize()
    assert sorted(ended) == ["dispatch", "iteration"]


@pytest.mark.parametrize("name", WITH_EXECUTIVE)
async def test_a_lost_executive_is_told_and_finalize_still_works(cluster: Loopback, name: str) -> None:
    service = await initialize(name, cluster)
    await quiet(service)
    cluster.die(1)
    with pytest.raises(errors.Library):
        async for _ in service:
            pass
    with pytest.raises(errors.Library):
        await call(service, *GOOD[name])
    await service.finalize()
    with pytest.raises(errors.BadHandle):
        await service.finalize()


# ---- dispatch


@pytest.mark.parametrize("name", SERVICES)
async def test_dispatch_wants_known_flags_and_a_handler(cluster: Loopback, name: str) -> None:
    async with initialize(name, cluster) as service:
        for flags, handler in (
            (0, print),
            (4, print),
            (-1, print),
            (None, print),
            ("ALL", print),
            (DispatchFlags.ALL, None),
            (DispatchFlags.ONE, "handler"),
            (DispatchFlags.BLOCKING, 7),
        ):
            with pytest.raises(errors.InvalidParam):
                await service.dispatch(flags, handler)


@pytest.mark.parametrize("name", SERVICES)
async def test_dispatch_returns_0_at_once_when_nothing_waits(cluster: Loopback, name: str) -> None:
    async with initialize(name, cluster) as service:
        await quiet(service)
        with anyio.fail_after(5):
            for flags in (DispatchFlags.ONE, DispatchFlags.ALL, 1, 2):
                assert await service.dispatch(flags, print) == 0


@pytest.mark.parametrize("name", SERVICES)
async def test_the_descriptor_is_not_readable_while_nothing_waits(cluster: Loopback, name: str) -> None:
    async with initialize(name, cluster) as service:
        await reached(service, name)
        descriptor = service.selection_object_get()
        assert isinstance(descriptor, int)
        assert service.selection_object_get() == descriptor
        await quiet(service)
        with anyio.fail_after(10):
            while select.select([descriptor], [], [], 0)[0]:
                await service.dispatch(DispatchFlags.ALL, lambda event: None)


# ---- arguments and threads


@pytest.mark.parametrize(("name", "method", "arguments"), NONE_ROWS)
async def test_none_for_a_value_that_is_required_is_refused(
    cluster: Loopback, name: str, method: str, arguments: Arguments
) -> None:
    async with initialize(name, cluster) as service:
        with pytest.raises(errors.InvalidParam):
            await call(service, method, arguments)
        await reached(service, name)


@pytest.mark.parametrize("name", ["evt", "msg", "lck"])
async def test_limits_are_known_from_b_03_on(cluster: Loopback, name: str) -> None:
    for version, kind in (("B.01.01", errors.Version), ("B.02.01", errors.Version), ("B.03.01", errors.InvalidParam)):
        async with initialize(name, cluster, version=version) as service:
            with pytest.raises(kind):
                service.limit_get(99)
    async with initialize(name, cluster) as service:
        assert service.limit_get(1) > 0


def elsewhere(function: Callable[[], Any]) -> type[BaseException] | None:
    """What `function` raises in a thread of its own, with an event loop of its own."""
    raised: list[type[BaseException]] = []

    async def await_it() -> None:
        outcome = function()
        if inspect.isawaitable(outcome):
            await outcome

    def run() -> None:
        try:
            anyio.run(await_it)
        except AisError as error:
            raised.append(type(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


@pytest.mark.parametrize("name", SERVICES)
async def test_another_thread_is_refused_and_nothing_is_changed(cluster: Loopback, name: str) -> None:
    async with initialize(name, cluster) as service:
        await quiet(service)
        method, arguments = GOOD[name]
        calls: list[Callable[[], Any]] = [
            lambda: getattr(service, method)(*arguments),
            lambda: service.dispatch(DispatchFlags.ALL, print),
            lambda: service.selection_object_get(),
            lambda: service.events().__anext__(),
            lambda: service.finalize(),
        ]
        assert [elsewhere(each) for each in calls] == [errors.InvalidParam] * len(calls)
        assert await service.dispatch(DispatchFlags.ALL, print) == 0
        await reached(service, name)


async def test_what_is_pending_belongs_to_its_thread_like_who_handed_it_over(cluster: Loopback) -> None:
    async with initialize("clm", cluster) as service:
        pending = service.cluster_node_get_async()
        assert elsewhere(lambda: pending) is errors.InvalidParam
        assert (await pending).node_id == 1
        assert elsewhere(lambda: pending) is errors.InvalidParam


# ---- one connection


@pytest.mark.parametrize("name", SERVICES)
async def test_two_sessions_of_a_service_on_one_cluster_object_are_two(cluster: Loopback, name: str) -> None:
    async with connect(cluster.nodes[1].address) as session, getattr(session, name)() as first:
        async with getattr(session, name)() as second:
            await reached(first, name)
            await reached(second, name)
        await reached(first, name)
        assert (name == "tmr") or first.session is session.session
    with pytest.raises(errors.BadHandle):
        await call(first, *GOOD[name])


@pytest.mark.parametrize("name", WITH_EXECUTIVE)
async def test_an_address_of_its_own_is_a_connection_of_its_own(cluster: Loopback, name: str, tmp_path: Path) -> None:
    address = cluster.nodes[1].address
    async with connect(address) as session:
        async with getattr(session, name)(address=address) as service:
            assert service.session is session.session
        with pytest.raises(errors.Library):
            await getattr(session, name)(address=str(tmp_path / "nobody"))
        with pytest.raises(errors.InvalidParam):
            await getattr(session, name)(address=17)
        for wrong in ({"nonsense": 1}, {"session": None}):
            with pytest.raises(TypeError):
                getattr(session, name)(**wrong)


async def test_all_services_share_one_connection(cluster: Loopback) -> None:
    async with connect(cluster.nodes[1].address) as session:
        services = {name: await getattr(session, name)() for name in SERVICES}
        async with anyio.create_task_group() as tasks:
            for name, service in services.items():
                tasks.start_soon(reached, service, name)
        for name in list(services):
            await services.pop(name).finalize()
            for other, service in services.items():
                await reached(service, other)


@pytest.mark.parametrize("name", SERVICES)
async def test_a_closed_connection_takes_its_services_along(cluster: Loopback, name: str) -> None:
    session = await connect(cluster.nodes[1].address)
    async with getattr(session, name)() as service:  # leaving is silent
        await session.close()
        if name != "tmr":
            with pytest.raises(errors.BadHandle):
                await call(service, *GOOD[name])
            for method, arguments in NONE[name]:
                with pytest.raises(errors.BadHandle):
                    await call(service, method, arguments)
            assert [event async for event in service] == []
            with pytest.raises(errors.BadHandle):
                await service.finalize()


@pytest.mark.parametrize("given_up_by", ["timeout", "cancellation"])
@pytest.mark.parametrize("name", OPENINGS)
async def test_what_opens_too_late_is_closed_though_nobody_reads(
    cluster: Loopback, name: str, given_up_by: str
) -> None:
    method, arguments = OPENINGS[name]
    async with initialize(name, cluster) as service, initialize(name, cluster) as other:
        opening = getattr(service, method)("door", *arguments, timeout=1e-6 if given_up_by == "timeout" else None)
        with anyio.move_on_after(5 if given_up_by == "timeout" else 0):
            with pytest.raises(errors.TimedOut):
                await opening
        await reached(other, name)  # comes behind it
        if name == "evt":
            await other.channel_unlink("door")
        await eventually(lambda: "door" not in str(cluster.states()))


@pytest.mark.parametrize("name", [*OPENINGS, "log"])
async def test_what_is_wrong_is_said_before_what_is_too_big(cluster: Loopback, name: str) -> None:
    method, arguments = OPENINGS.get(name, ("stream_open", ()))
    async with initialize(name, cluster) as service:
        for wrong in (-1, float("nan"), "1"):
            with pytest.raises(errors.InvalidParam):
                await getattr(service, method)("x" * 2049, *arguments, timeout=wrong)
        with pytest.raises(errors.InvalidParam):
            getattr(service, f"{method}_async")("x" * 2049, *arguments, invocation="1")
        with pytest.raises(errors.TooBig):
            await getattr(service, method)("x" * 2049, *arguments)


async def outcome_of(opening: Any, into: list[AisError | None]) -> None:
    try:
        await opening
    except AisError as error:
        into.append(error)
    else:
        into.append(None)


@pytest.mark.parametrize("name", OPENINGS)
async def test_what_is_being_opened_while_the_service_is_finalized_is_given_back(cluster: Loopback, name: str) -> None:
    method, arguments = OPENINGS[name]
    async with connect(cluster.nodes[1].address) as session, connect(cluster.nodes[1].address) as other:
        service = await getattr(session, name)()
        await getattr(service, method)("door 1", *arguments)  # finalize has something to wait for
        outcomes: list[AisError | None] = []
        pending = getattr(service, f"{method}_async")("door 2", *arguments)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome_of, getattr(service, method)("door 3", *arguments), outcomes)
            await anyio.lowlevel.checkpoint()
            await service.finalize()
        await outcome_of(pending, outcomes)
        assert [type(outcome) for outcome in outcomes] == [errors.BadHandle] * 2
        if name == "evt":  # channels outlive who has them open, but not that and their names
            async with other.evt() as publisher:
                for channel in ("door 1", "door 2", "door 3"):
                    await publisher.channel_unlink(channel)
        await eventually(lambda: "door" not in str(cluster.states()))


async def test_the_executive_forgets_who_has_gone(cluster: Loopback) -> None:
    async with connect(cluster.nodes[1].address) as session:
        for name in SERVICES:
            await reached(await getattr(session, name)(), name)
    async with initialize("clm", cluster) as service:
        await reached(service, "clm")
    await eventually(lambda: len(cluster.states()) == 1)


# ---- without an event loop


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_works_without_an_event_loop(name: str) -> None:
    engines = loopback(lambda: engines_of(AmfEngine(Model(dn="safAmfCluster=c", name="c"))), 1)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(engines) as cluster:
        with getattr(sync, name).initialize(address=cluster.nodes[1].address) as service:
            method, arguments = GOOD[name]
            try:
                outcome = getattr(service, method)(*arguments)
                if isinstance(outcome, sync.Opening):
                    outcome.open()
            except (errors.NotExist, errors.State):
                pass
            while service.dispatch(DispatchFlags.ALL, lambda event: None):
                pass
        with pytest.raises(errors.BadHandle):
            service.finalize()
