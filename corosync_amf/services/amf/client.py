"""The availability management framework, as components, operators and anyone who reports errors use it.

    async with amf.initialize() as service:
        await service.component_register()
        async for event in service:
            match event:
                case amf.CsiSet(invocation=invocation, ha_state=ha_state):
                    ...
                    await service.response(invocation)

Python components need none of this: see `corosync_amf.Component`.

Source: SAI-AIS-AMF-B.04.01 chapter 7.
"""

import os
from dataclasses import dataclass
from enum import IntFlag
from typing import Any, ClassVar, Final

from corosync_amf.ais import AdminOperation, Dn, ErrorCode, HaReadiness, HaState, Recovery, TrackFlags
from corosync_amf.checks import check_enum, check_flags, check_int, check_name, check_text, check_timeout
from corosync_amf.ending import end_with_executive
from corosync_amf.engine import Done, Failed, Service, to_error
from corosync_amf.errors import AisError, BadFlags, InvalidParam, NotExist, NotSupported
from corosync_amf.service import SUPPORTED, Opening, ServiceClient
from corosync_amf.session import Session
from corosync_amf.versions import negotiate

from .messages import (
    HEALTHCHECK_INVOCATION,
    Admin,
    AmfEvent,
    Configuration,
    ConfigurationGet,
    CorrelationIds,
    CorrelationIdsGet,
    ErrorClear,
    ErrorReport,
    HaReadinessSet,
    HaStateGet,
    HaStateIs,
    HealthcheckConfirm,
    HealthcheckResponse,
    HealthcheckStart,
    HealthcheckStop,
    InvocationType,
    Notification,
    PmErrors,
    PmStart,
    PmStop,
    ProtectionGroup,
    ProtectionGroupGet,
    ProtectionGroupMember,
    ProtectionGroupTrackStart,
    ProtectionGroupTrackStop,
    QuiescingComplete,
    Register,
    Response,
    Status,
    StatusGet,
    StopQualifier,
    Unregister,
    Watch,
    Why,
    WhyGet,
)
from .messages import ProtectionGroupTrack as ProtectionGroupTrackMessage

COMPONENT_NAME_VARIABLE: Final = "SA_AMF_COMPONENT_NAME"
HEALTHCHECK_KEY_BYTES_MAX: Final = 32
ANSWER_SECONDS: Final = 0.25
"""So long after its time the answer to an operation is waited for: it says whether that has begun."""
_CHANGE_FLAGS: Final = TrackFlags.CHANGES | TrackFlags.CHANGES_ONLY


class Callback(IntFlag):
    """SaAmfCallbacksT_4: which events a session gets."""

    HEALTHCHECK = 1
    COMPONENT_TERMINATE = 2
    CSI_SET = 4
    CSI_REMOVE = 8
    PROTECTION_GROUP_TRACK = 0x10
    PROXIED_INSTANTIATE = 0x20
    PROXIED_CLEANUP = 0x40
    CONTAINED_INSTANTIATE = 0x80
    CONTAINED_CLEANUP = 0x100
    CSI_ATTRIBUTE_CHANGE = 0x200
    ALL = 0x3FF


@dataclass(frozen=True, slots=True)
class ProtectionGroupTrack:
    """saAmfProtectionGroupTrackCallback. `error` NotExist: the CSI is no longer configured; the last event."""

    csi: Dn
    members: tuple[ProtectionGroupMember, ...]
    number_of_members: int
    error: AisError | None = None


class AmfService(ServiceClient):
    """One session with AMF; made by `initialize`."""

    service: ClassVar[Service] = Service.AMF
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["AMF"]
    callback: ClassVar[type[IntFlag]] = Callback
    event_type: ClassVar[Any] = AmfEvent
    needs_membership: ClassVar[bool] = False

    component_name: Dn | None = None

    def translate(self, message: Any) -> object | None:
        if isinstance(message, ProtectionGroupTrackMessage):
            error = None if message.error == ErrorCode.OK else to_error(Failed(message.error))
            return ProtectionGroupTrack(message.csi, message.members, message.number_of_members, error)
        return message  # type: ignore[no-any-return]

    # ---- registration

    def component_name_get(self) -> Dn:
        """Return the DN of the component that this process was started for.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): AMF did not start this process.
        Source: saAmfComponentNameGet.
        """
        self.check_open()
        if self.component_name is None:
            raise NotExist(f"AMF did not start this process: {COMPONENT_NAME_VARIABLE} is not set")
        return self.component_name

    async def component_register(self, component: Dn | None = None, proxy: Dn | None = None) -> None:
        """Tell AMF that a component (None: this process's own) is up and takes work through this session.

        A process that AMF started for the component ends at once when the executive is gone: another node may be about
        to act in its place.

        Raises: InvalidParam: this process was started for another component; NotExist: not configured, or the proxy
        is not; Exist: registered already; Init: csi_set, csi_remove or terminate events were left out; BadOperation:
        its category does not register, or `proxy` is not its proxy; AccessDenied: the proxy CSI is not ACTIVE there.
        Source: saAmfComponentRegister.
        """
        self.check_open()
        name = self._component(component)
        if proxy is not None:
            check_name(proxy, "proxy")
        elif self.component_name not in (None, name):
            raise InvalidParam(f"this process was started for {self.component_name}")
        for kind in (Callback.CSI_SET, Callback.CSI_REMOVE, Callback.COMPONENT_TERMINATE):
            self.check_callback(kind)
        await self.request(Register(name, proxy), Done)
        if proxy is None and os.environ.get(COMPONENT_NAME_VARIABLE) == name:
            self.session.when_lost = end_with_executive

    async def component_unregister(self, component: Dn | None = None, proxy: Dn | None = None) -> None:
        """Take no more work for a component. For a component that has work this is a fault.

        Raises: NotExist: not registered; BadOperation: by another process.
        Source: saAmfComponentUnregister.
        """
        self.check_open()
        await self.request(Unregister(self._component(component), _optional_name(proxy, "proxy")), Done)

    async def configuration_get(self, component: Dn | None = None) -> Configuration:
        """Return what is configured for a component.

        Raises: NotExist: no such component.
        """
        self.check_open()
        return await self.ask(ConfigurationGet(self._component(component)), Configuration)

    # ---- monitoring

    async def pm_start(
        self,
        component: Dn | None,
        process_id: int,
        descendants_tree_depth: int = 0,
        pm_errors: PmErrors = PmErrors.ALL,
        recovery: Recovery = Recovery.NO_RECOMMENDATION,
    ) -> None:
        """Have a process of a component, and its descendants to that depth, watched: their end is a fault.

        Raises: NotExist: no such component, or the process is not alive; InvalidParam: depth negative, no error bits;
        BadFlags: unknown ones; AccessDenied: the process belongs to another user.
        Source: saAmfPmStart_3.
        """
        self.check_open()
        errors, name = _pm_errors(pm_errors), self._component(component)
        process_id = check_int(process_id, "process_id", minimum=1)
        depth = check_int(descendants_tree_depth, "descendants_tree_depth")
        advice = check_enum(recovery, Recovery, "recovery")
        await self.ask(PmStart(name, process_id, depth, errors, advice), Done)

    async def pm_stop(
        self,
        component: Dn | None,
        stop_qualifier: StopQualifier,
        process_id: int,
        pm_errors: PmErrors = PmErrors.ALL,
    ) -> None:
        """Undo `pm_start`, for a process, for it and its descendants, or for all of the component.

        Raises: NotExist: no such component, or nothing to stop; InvalidParam; BadFlags; BadHandle: another session
        started it.
        Source: saAmfPmStop.
        """
        self.check_open()
        errors, name = _pm_errors(pm_errors), self._component(component)
        qualifier = check_enum(stop_qualifier, StopQualifier, "stop_qualifier")
        process_id = check_int(process_id, "process_id")
        await self.ask(PmStop(name, qualifier, process_id, errors), Done)

    async def healthcheck_start(
        self,
        component: Dn | None,
        key: str,
        invocation_type: InvocationType,
        recovery: Recovery = Recovery.NO_RECOMMENDATION,
    ) -> None:
        """Start a configured healthcheck: AMF asks (AMF_INVOKED), or the component confirms by itself.

        Raises: NotExist: the key is not configured; Exist: running; Init: AMF_INVOKED without healthcheck events;
        InvalidParam: the key is empty or over 32 bytes.
        Source: saAmfHealthcheckStart.
        """
        self.check_open()
        name, key = self._component(component), _key(key)
        kind = check_enum(invocation_type, InvocationType, "invocation_type")
        recovery = check_enum(recovery, Recovery, "recovery")
        if kind is InvocationType.AMF_INVOKED:
            self.check_callback(Callback.HEALTHCHECK)
        await self.ask(HealthcheckStart(name, key, kind, recovery), Done)

    async def healthcheck_confirm(self, component: Dn | None, key: str, result: AisError | None = None) -> None:
        """Say that a component that checks itself is well (None), or why not.

        Raises: NotExist: not started; InvalidParam: started by another process, or AMF_INVOKED.
        Source: saAmfHealthcheckConfirm.
        """
        self.check_open()
        await self.ask(HealthcheckConfirm(self._component(component), _key(key), _code(result)), Done)

    async def healthcheck_stop(self, component: Dn | None, key: str) -> None:
        """End a healthcheck.

        Raises: NotExist: not started.
        Source: saAmfHealthcheckStop.
        """
        self.check_open()
        await self.ask(HealthcheckStop(self._component(component), _key(key)), Done)

    # ---- answers and states

    async def response(self, invocation: int, error: AisError | None = None) -> None:
        """Answer an event that has an invocation: None for done, or why it could not be done.

        Raises: InvalidParam: no such invocation, or answered already.
        Source: saAmfResponse_4.
        """
        self.check_open()
        invocation = check_int(invocation, "invocation")
        code = _code(error)
        if invocation & HEALTHCHECK_INVOCATION:
            await self.ask(HealthcheckResponse(invocation, code), Done)
        else:
            await self.request(Response(invocation, code, "" if error is None else str(error)), Done)

    async def csi_quiescing_complete(self, invocation: int, error: AisError | None = None) -> None:
        """Say that the work which went on after `CsiSet(QUIESCING)` of that invocation has ended.

        Raises: InvalidParam: not the invocation of a QUIESCING that is under way.
        Source: saAmfCSIQuiescingComplete.
        """
        self.check_open()
        await self.request(QuiescingComplete(check_int(invocation, "invocation"), _code(error)), Done)

    async def ha_state_get(self, component: Dn | None, csi: Dn) -> HaState:
        """Return a component's HA state for a CSI.

        Raises: NotExist: no such component or CSI, or not assigned.
        Source: saAmfHAStateGet.
        """
        self.check_open()
        return (await self.ask(HaStateGet(self._component(component), check_name(csi, "csi")), HaStateIs)).ha_state

    async def ha_readiness_state_set(self, component: Dn | None, csi: Dn | None, state: HaReadiness) -> None:
        """Say which roles a component is ready to take for a CSI, or (None) for all.

        Raises: NotExist; InvalidParam; BadOperation: not registered by this process.
        Source: saAmfHAReadinessStateSet.
        """
        self.check_open()
        name, checked = self._component(component), check_enum(state, HaReadiness, "state")
        await self.request(HaReadinessSet(name, _optional_name(csi, "csi"), checked), Done)

    # ---- protection groups

    async def protection_group_track(
        self, csi: Dn, flags: TrackFlags, *, buffer: bool = True
    ) -> tuple[ProtectionGroupMember, ...]:
        """Ask for the components that hold a CSI (CURRENT) and for news of them (CHANGES or CHANGES_ONLY).

        Returns the present members when CURRENT is asked for with `buffer`; without, they come as an event.

        Raises: BadFlags: no flag, both change flags, or other bits; Init: events are needed and were left out;
        NotExist: no such CSI.
        Source: saAmfProtectionGroupTrack_4.
        """
        self.check_open()
        wanted = check_flags(flags, TrackFlags)
        if not wanted or wanted & ~(TrackFlags.CURRENT | _CHANGE_FLAGS) or wanted & _CHANGE_FLAGS == _CHANGE_FLAGS:
            raise BadFlags("flags must be CURRENT, CHANGES or CHANGES_ONLY, or CURRENT with one of the others")
        check_name(csi, "csi")
        if wanted & _CHANGE_FLAGS or not buffer:
            self.check_callback(Callback.PROTECTION_GROUP_TRACK)
        if wanted & _CHANGE_FLAGS:
            group = await self.request(ProtectionGroupTrackStart(csi, int(wanted)), ProtectionGroup)
        else:
            group = await self.ask(ProtectionGroupGet(csi), ProtectionGroup)
        if not wanted & TrackFlags.CURRENT:
            return ()
        if not buffer:
            self.tell(ProtectionGroupTrack(csi, group.members, len(group.members)))
            return ()
        return group.members

    async def protection_group_track_stop(self, csi: Dn) -> None:
        """Undo `protection_group_track`.

        Raises: NotExist: no such CSI, or not tracked.
        Source: saAmfProtectionGroupTrackStop.
        """
        self.check_open()
        await self.request(ProtectionGroupTrackStop(check_name(csi, "csi")), Done)

    # ---- errors

    async def component_error_report(
        self,
        component: Dn | None,
        recovery: Recovery = Recovery.NO_RECOMMENDATION,
        *,
        detection_time: float | None = None,
        reason: str = "",
    ) -> None:
        """Report a component as faulty and recommend what to do. `detection_time` in seconds since the epoch.

        Raises: NotExist: no such component; InvalidParam: unknown recovery, component not instantiated, a node-scoped
        recovery for an external one; AccessDenied: CLUSTER_RESET without the right to it.
        Source: saAmfComponentErrorReport_4.
        """
        self.check_open()
        advice = check_enum(recovery, Recovery, "recovery")
        check_timeout(detection_time)
        await self.request(ErrorReport(self._component(component), advice, detection_time, str(reason)), Done)

    async def component_error_clear(self, component: Dn | None) -> None:
        """Say that a component that was reported is well again.

        Raises: NotExist; NoOp: it is ENABLED; BadOperation: not registered.
        Source: saAmfComponentErrorClear_4.
        """
        self.check_open()
        await self.request(ErrorClear(self._component(component)), Done)

    async def correlation_ids_get(self, invocation: int) -> CorrelationIds:
        """Return the notification ids that go with an invocation.

        Raises: InvalidParam: no such invocation.
        Source: saAmfCorrelationIdsGet.
        """
        self.check_open()
        return await self.ask(CorrelationIdsGet(check_int(invocation, "invocation")), CorrelationIds)

    # ---- administration and information

    async def admin(
        self, dn: Dn, operation: AdminOperation, *, timeout: float | None = None, queue: bool = True
    ) -> None:
        """Carry out an administrative operation; returns when its effect is complete.

        `queue` False: TryAgain at once instead of waiting for operations and transitions that are under way.

        Raises: NotExist: no such object; InvalidParam: unknown operation; NoOp: the state is already so; BadOperation;
        NotSupported; TryAgain; Interrupt; TimedOut: `timeout` seconds are over, the operation goes on, unless the
        reason is that it could not begin; RepairPending; FailedOperation.
        Source: SaAmfAdminOperationIdT, section 9.4.
        """
        self.check_open()
        number = check_enum(operation, AdminOperation, "operation")
        check_timeout(timeout)
        message = Admin(check_name(dn, "dn"), int(number), timeout, bool(queue))
        patience = timeout + ANSWER_SECONDS if timeout else timeout
        await self.request(message, Done, timeout=patience, retry=queue)

    async def status(self, dn: Dn | None = None) -> Status:
        """Return what is known: of everything, or of one object, what is above it and what is below it.

        Raises: NotExist: no such object.
        """
        self.check_open()
        return await self.ask(StatusGet(_optional_name(dn, "dn")), Status)

    async def why(self, dn: Dn) -> list[str]:
        """Return in words why an object is in its state, and what led to it, the latest last.

        Raises: NotExist: no such object.
        """
        self.check_open()
        return list((await self.ask(WhyGet(check_name(dn, "dn")), Why)).lines)

    async def watch(self, on: bool = True) -> None:
        """Get every `Notification` (alarms and state changes) as an event from now on; `on` False: no more."""
        self.check_open()
        await self.request(Watch(bool(on)), Done)

    async def plan(self, text: str) -> Any:
        """What applying this amf.conf would do.

        Raises: NotSupported: changing the configuration of a running cluster is not possible yet.
        """
        self.check_open()
        raise NotSupported("the configuration of a running cluster cannot be changed yet")

    async def apply(self, text: str, *, check_index: int | None = None) -> int:
        """Make this amf.conf the cluster's configuration; returns its index.

        Raises: NotSupported: changing the configuration of a running cluster is not possible yet.
        """
        self.check_open()
        raise NotSupported("the configuration of a running cluster cannot be changed yet")

    def _component(self, component: Dn | None) -> Dn:
        return self.component_name_get() if component is None else check_name(component, "component")


def initialize(
    *,
    version: str = SUPPORTED["AMF"][-1],
    events: Callback = Callback.ALL,
    retry: bool = True,
    address: str | None = None,
    component_name: Dn | None = None,
) -> Opening[AmfService]:
    """Open a session with AMF: `async with initialize() as service`, or `await initialize()` and `finalize` later.

    `component_name`: which component this process is; default: what AMF started it for, if it did.

    Raises (when entered or awaited): Version; InvalidParam; Library: no executive at `address`.
    Source: saAmfInitialize_4.
    """
    name = component_name or os.environ.get(COMPONENT_NAME_VARIABLE) or None

    async def open() -> AmfService:
        negotiate(version, AmfService.versions)
        session = await Session.open(address, component=name)
        try:
            service = await AmfService.opening(version=version, events=events, retry=retry, session=session)
        except BaseException:
            await session.close()
            raise
        service._owner = True
        service.component_name = name
        return service

    return Opening(open, lambda service: service.finalize())


def _optional_name(name: object, what: str) -> str | None:
    return None if name is None else check_name(name, what)


def _key(key: object) -> str:
    checked = check_text(key, "key")
    if len(checked.encode()) > HEALTHCHECK_KEY_BYTES_MAX:
        raise InvalidParam(f"a healthcheck key has {HEALTHCHECK_KEY_BYTES_MAX} bytes at most")
    return checked


def _code(error: AisError | None) -> int:
    if error is None:
        return int(ErrorCode.OK)
    if not isinstance(error, AisError):
        raise InvalidParam(f"error must be None or an AisError, not {error!r}")
    return int(error.code)


def _pm_errors(errors: object) -> int:
    checked = check_flags(errors, PmErrors, "pm_errors")
    if not checked:
        raise InvalidParam("pm_errors names no error")
    return int(checked)


__all__ = ["AmfService", "Callback", "Notification", "ProtectionGroupTrack", "initialize"]
