"""The AMF library: what it checks by itself, and what it tells the executive."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from corosync_amf import errors
from corosync_amf.ais import AdminOperation, HaReadiness, Recovery, TrackFlags
from corosync_amf.engine import Request, Service
from corosync_amf.services import amf
from corosync_amf.services.amf.engine import AmfEngine
from corosync_amf.services.amf.messages import (
    Admin,
    ErrorClear,
    ErrorReport,
    HaReadinessSet,
    HealthcheckConfirm,
    HealthcheckInvoked,
    HealthcheckResponse,
    HealthcheckStart,
    HealthcheckStop,
    PmStart,
    PmStop,
    QuiescingComplete,
    Register,
    Response,
    Unregister,
    Watch,
)
from corosync_amf.services.amf.messages import ProtectionGroupTrack as GroupMessage
from corosync_amf.wire import events_frame
from tests.amf.clusters import cluster
from tests.services.loopback import eventually, loopback

from .small_executive import CSI, SmallExecutive, component_without_plugin, dn, small_executive

pytestmark = pytest.mark.real
A = dn("a")


@asynccontextmanager
async def service_of(folder: Path, **options: Any) -> AsyncIterator[tuple[amf.AmfService, SmallExecutive]]:
    async with (
        small_executive(folder, component_without_plugin("a")) as executive,
        amf.initialize(address=str(executive.path), **options) as service,
    ):
        yield service, executive


Call = Callable[[amf.AmfService], Awaitable[Any]]


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        (lambda s: s.component_register(A), Register(A)),
        (lambda s: s.component_register("safComp=p", proxy=A), Register("safComp=p", A)),
        (lambda s: s.component_unregister(A), Unregister(A)),
        (lambda s: s.response(5), Response(5)),
        (lambda s: s.response(6, errors.FailedOperation("no")), Response(6, 21, "no")),
        (lambda s: s.csi_quiescing_complete(7), QuiescingComplete(7)),
        (
            lambda s: s.ha_readiness_state_set(A, CSI, HaReadiness.NOT_READY_FOR_ACTIVE),
            HaReadinessSet(A, CSI, HaReadiness.NOT_READY_FOR_ACTIVE),
        ),
        (
            lambda s: s.component_error_report(A, Recovery.COMPONENT_RESTART, detection_time=3.5, reason="hot"),
            ErrorReport(A, Recovery.COMPONENT_RESTART, 3.5, "hot"),
        ),
        (lambda s: s.component_error_clear(A), ErrorClear(A)),
        (
            lambda s: s.admin("safSu=u", AdminOperation.LOCK, timeout=4, queue=False),
            Admin("safSu=u", 2, 4, False),
        ),
        (lambda s: s.watch(), Watch(True)),
    ],
)
def test_requests_go_into_the_order(tmp_path: Path, call: Call, request_: Request) -> None:
    async def body() -> None:
        async with service_of(tmp_path) as (service, executive):
            await call(service)
            assert [message for _, message in executive.amf.heard] == [request_]

    anyio.run(body)


@pytest.mark.parametrize(
    ("call", "question"),
    [
        (
            lambda s: s.healthcheck_start(A, "alive", amf.InvocationType.AMF_INVOKED, Recovery.NODE_FAILOVER),
            HealthcheckStart(A, "alive", amf.InvocationType.AMF_INVOKED, Recovery.NODE_FAILOVER),
        ),
        (lambda s: s.healthcheck_confirm(A, "alive"), HealthcheckConfirm(A, "alive")),
        (lambda s: s.healthcheck_confirm(A, "k", errors.NoMemory()), HealthcheckConfirm(A, "k", 8)),
        (lambda s: s.healthcheck_stop(A, "alive"), HealthcheckStop(A, "alive")),
        (lambda s: s.pm_start(A, 77, 2, amf.PmErrors.ABNORMAL_END), PmStart(A, 77, 2, 4)),
        (lambda s: s.pm_stop(A, amf.StopQualifier.PROC, 77), PmStop(A, amf.StopQualifier.PROC, 77)),
        (lambda s: s.response(1 << 62 | 9), HealthcheckResponse(1 << 62 | 9)),
    ],
)
def test_monitoring_is_a_matter_of_the_node(tmp_path: Path, call: Call, question: object) -> None:
    async def body() -> None:
        async with service_of(tmp_path) as (service, executive):
            await call(service)
            assert executive.local == [question]
            assert executive.amf.heard == []

    anyio.run(body)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda s: s.component_register(), errors.NotExist),
        (lambda s: s.component_register(5), errors.InvalidParam),
        (lambda s: s.healthcheck_start(A, "", amf.InvocationType.AMF_INVOKED), errors.InvalidParam),
        (lambda s: s.healthcheck_start(A, "k" * 33, amf.InvocationType.AMF_INVOKED), errors.InvalidParam),
        (lambda s: s.healthcheck_start(A, "k", 7), errors.InvalidParam),
        (lambda s: s.healthcheck_confirm(A, "k", "bad"), errors.InvalidParam),
        (lambda s: s.pm_start(A, 0), errors.InvalidParam),
        (lambda s: s.pm_start(A, 7, -1), errors.InvalidParam),
        (lambda s: s.pm_start(A, 7, 0, 0), errors.InvalidParam),
        (lambda s: s.pm_start(A, 7, 0, 8), errors.BadFlags),
        (lambda s: s.pm_stop(A, amf.StopQualifier.PROC, 7, 9), errors.BadFlags),
        (lambda s: s.pm_stop(A, amf.StopQualifier.PROC, 7, 0), errors.InvalidParam),
        (lambda s: s.healthcheck_stop(A, "k" * 5000), errors.InvalidParam),
        (lambda s: s.pm_stop(A, 9, 7), errors.InvalidParam),
        (lambda s: s.response("5"), errors.InvalidParam),
        (lambda s: s.response(5, "no"), errors.InvalidParam),
        (lambda s: s.ha_readiness_state_set(A, None, 9), errors.InvalidParam),
        (lambda s: s.component_error_report(A, 99), errors.InvalidParam),
        (lambda s: s.component_error_report(A, detection_time=-1.0), errors.InvalidParam),
        (lambda s: s.admin(A, 99), errors.InvalidParam),
        (lambda s: s.admin("", AdminOperation.LOCK), errors.InvalidParam),
        (lambda s: s.admin(A, AdminOperation.LOCK, timeout=-1), errors.InvalidParam),
        (lambda s: s.protection_group_track(CSI, 0), errors.BadFlags),
        (lambda s: s.protection_group_track(CSI, TrackFlags.LOCAL), errors.BadFlags),
        (lambda s: s.protection_group_track(CSI, 0x40), errors.BadFlags),
        (lambda s: s.protection_group_track(CSI, 6), errors.BadFlags),
        (lambda s: s.protection_group_track("", TrackFlags.CURRENT), errors.InvalidParam),
        (lambda s: s.status(""), errors.InvalidParam),
        (lambda s: s.why(None), errors.InvalidParam),
        (lambda s: s.plan("{}"), errors.NotSupported),
        (lambda s: s.apply("{}"), errors.NotSupported),
    ],
)
def test_wrong_arguments_are_refused_without_asking_anybody(
    tmp_path: Path, call: Call, error: type[errors.AisError]
) -> None:
    async def body() -> None:
        async with service_of(tmp_path) as (service, executive):
            with pytest.raises(error):
                await call(service)
            assert executive.amf.heard == []
            assert executive.local == []

    anyio.run(body)


def test_calls_that_need_events_say_so(tmp_path: Path) -> None:
    async def body() -> None:
        async with service_of(tmp_path, events=amf.Callback.CSI_SET) as (service, _):
            with pytest.raises(errors.Init, match="CSI_REMOVE"):
                await service.component_register(A)
            with pytest.raises(errors.Init, match="HEALTHCHECK"):
                await service.healthcheck_start(A, "k", amf.InvocationType.AMF_INVOKED)
            with pytest.raises(errors.Init, match="PROTECTION_GROUP_TRACK"):
                await service.protection_group_track(CSI, TrackFlags.CHANGES)

    anyio.run(body)


def test_a_process_is_the_component_that_it_was_started_for(tmp_path: Path) -> None:
    async def body() -> None:
        async with service_of(tmp_path, component_name=A) as (service, executive):
            assert service.component_name_get() == A
            with pytest.raises(errors.InvalidParam):
                await service.component_register(dn("b"))
            await service.component_register()
            assert [message for _, message in executive.amf.heard] == [Register(A)]
            assert (await service.configuration_get()).component.dn == A

    anyio.run(body)


def test_finalized_service_refuses_every_call(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component_without_plugin("a")) as executive:
            service = await amf.initialize(address=str(executive.path))
            await service.finalize()
            for call in (service.component_register(A), service.status(), service.response(1), service.plan("")):
                with pytest.raises(errors.BadHandle):
                    await call

    anyio.run(body)


def test_events_reach_the_iterator_and_group_errors_are_exceptions(tmp_path: Path) -> None:
    async def body() -> None:
        async with service_of(tmp_path) as (service, executive):
            await service.component_register(A)
            client = executive.amf.clients[A].number
            invoked = HealthcheckInvoked(4, A, "alive")
            executive.listener.send(client, [events_frame([(Service.AMF, invoked)])])
            executive.listener.send(client, [events_frame([(Service.AMF, GroupMessage(CSI, (), 0, 12))])])
            events = aiter(service)
            assert await anext(events) == invoked
            last = await anext(events)
            assert isinstance(last, amf.ProtectionGroupTrack)
            assert isinstance(last.error, errors.NotExist)

    anyio.run(body)


def test_versions_are_negotiated(tmp_path: Path) -> None:
    async def body() -> None:
        async with service_of(tmp_path, version="B.01.01") as (service, _):
            assert service.version == "B.01.01"
        with pytest.raises(errors.Version) as refused:
            await amf.initialize(version="C.01.01", address=str(tmp_path / "nowhere"))
        assert "B.04.01" in refused.value.supported

    anyio.run(body)


def test_an_operation_that_cannot_begin_is_given_up_when_its_time_is_over() -> None:
    async def body() -> None:
        async with loopback(lambda: [AmfEngine(cluster(nodes=2))], 2, quorum=True) as nodes:
            nodes.die(2)
            await eventually(lambda: nodes.nodes[1].sees(1))
            async with amf.initialize(address=nodes.nodes[1].address) as service:
                with anyio.fail_after(5), pytest.raises(errors.TimedOut, match="no quorum"):
                    await service.admin("app/su1", AdminOperation.LOCK, timeout=0.1)

    anyio.run(body)
