"""What components, nodes and administrators tell AMF, and what AMF tells them.

    requests    from component processes        Register ... ProtectionGroupTrackStop
                from executives (client 0)      FaultDetected, CommandDone, TimeUp
                from administrators             Admin, Watch
    queries     answered by every replica       StatusGet, WhyGet, HaStateGet, ProtectionGroupGet, CorrelationIdsGet,
                                            ConfigurationGet
                answered by the node itself     NodeLocal: healthchecks and process monitoring
    events      to component processes          CsiSet, CsiRemove, ComponentTerminate, ProtectionGroupTrack, ...
    commands    to an executive                 Instantiate ... Failfast, Monitor, Notify

A command that starts or ends something carries a `ticket`; its `CommandDone` brings the ticket back, and an answer to
a command that is no longer waited for is ignored. The ticket of the `Instantiate` that started a process is that
process's `instance`: a fault names it, so that news of a process that is gone never hits its successor.

Source: SAI-AIS-AMF-B.04.01 chapters 7 (library) and 8 (administration).
"""

from enum import IntEnum, IntFlag
from typing import Final

import msgspec

from corosync_amf.ais import (
    Admin as AdminState,
)
from corosync_amf.ais import (
    AdminOperation,
    Assignment,
    Dn,
    ErrorCode,
    HaReadiness,
    HaState,
    NodeId,
    Operational,
    Presence,
    Readiness,
    Recovery,
    RedundancyModel,
)
from corosync_amf.engine import ClientGone, Message, NodeLocal, Query, Request

from .model import CheckpointPolicy, Component

HEALTHCHECK_INVOCATION: Final = 1 << 62
"""Invocations of healthchecks have this bit set: their answer goes to the node (`HealthcheckResponse`)."""


class CsiFlags(IntFlag):
    """SaAmfCSIFlagsT: how much of a component's work a callback is about."""

    ADD_ONE = 1
    TARGET_ONE = 2
    TARGET_ALL = 4


class Transition(IntEnum):
    """SaAmfCSITransitionDescriptorT: what became of the former active, told with ACTIVE."""

    NEW_ASSIGN = 1
    QUIESCED = 2
    NOT_QUIESCED = 3
    STILL_ACTIVE = 4


class InvocationType(IntEnum):
    """SaAmfHealthcheckInvocationT: who starts each healthcheck."""

    AMF_INVOKED = 1
    COMPONENT_INVOKED = 2


class StopQualifier(IntEnum):
    """SaAmfPmStopQualifierT: what to stop watching."""

    PROC = 1
    PROC_AND_DESCENDANTS = 2
    ALL_PROCESSES = 3


class PmErrors(IntFlag):
    """SaAmfPmErrorsT: which ends of a watched process are faults."""

    ZERO_EXIT = 1
    NON_ZERO_EXIT = 2
    ABNORMAL_END = 4
    ALL = 7


class Change(IntEnum):
    """SaAmfProtectionGroupChangesT: what happened to a member of a protection group."""

    NO_CHANGE = 1
    ADDED = 2
    REMOVED = 3
    STATE_CHANGE = 4


class Kind(IntEnum):
    """What kind of fault was found; `name.lower()` is the word that people and cleanup commands see."""

    ERROR_REPORT = 1
    PROCESS_DIED = 2
    HEALTHCHECK_FAILED = 3
    HEALTHCHECK_TIMEOUT = 4
    PASSIVE_MONITORING = 5
    ACTIVE_MONITORING = 6
    COMMAND_FAILED = 7
    REGISTRATION_TIMEOUT = 8
    UNREGISTERED = 9
    CSI_SET_FAILED = 10
    CSI_SET_TIMEOUT = 11
    CSI_REMOVE_FAILED = 12
    CSI_REMOVE_TIMEOUT = 13
    TERMINATE_FAILED = 14
    TERMINATE_TIMEOUT = 15
    QUIESCING_TIMEOUT = 16
    PROXY_DIED = 17
    CONTAINER_DIED = 18
    NODE_LEFT = 19


class Verb(IntEnum):
    """What an executive was told to do with a component."""

    INSTANTIATE = 1
    TERMINATE = 2
    AWAIT_EXIT = 3
    CLEANUP = 4
    AM_START = 5
    AM_STOP = 6


# Requests from component processes


class Register(Request, frozen=True):
    """The component is up and takes work through the origin's session. `proxy`: who registers a proxied one."""

    component: Dn
    proxy: Dn | None = None


class Unregister(Request, frozen=True):
    """The component takes no more work."""

    component: Dn
    proxy: Dn | None = None


class Response(Request, frozen=True):
    """The answer to CsiSet, CsiRemove, ComponentTerminate, ...; `error` is OK (1) or why not.

    NOT_READY in answer to CsiSet is no fault: the component's HA readiness becomes NOT_READY_FOR_ASSIGNMENT.
    """

    invocation: int
    error: int = int(ErrorCode.OK)
    reason: str = ""


class QuiescingComplete(Request, frozen=True):
    """The work that went on after `CsiSet(QUIESCING)` of that invocation has ended."""

    invocation: int
    error: int = int(ErrorCode.OK)


class ErrorReport(Request, frozen=True):
    """Somebody says that a component is faulty. `detection_time` in seconds since the epoch; None: now."""

    component: Dn
    recovery: Recovery = Recovery.NO_RECOMMENDATION
    detection_time: float | None = None
    reason: str = ""


class ErrorClear(Request, frozen=True):
    """The component that was reported faulty is well again."""

    component: Dn


class HaReadinessSet(Request, frozen=True):
    """Which roles the component is ready to take, for one CSI or (None) for all."""

    component: Dn
    csi: Dn | None
    state: HaReadiness


class ProtectionGroupTrackStart(Request, frozen=True):
    """Tell the origin about the group of a CSI; `flags` as in `TrackFlags`. The reply is a `ProtectionGroup`."""

    csi: Dn
    flags: int


class ProtectionGroupTrackStop(Request, frozen=True):
    """Undo `ProtectionGroupTrackStart`."""

    csi: Dn


# Requests from executives


class Executive(Request, frozen=True):
    """Only executives (client 0 of a node) may send these."""


class FaultDetected(Executive, frozen=True):
    """A node found a fault of one of its components.

    `instance` names the process that failed; 0: whichever runs now. `cleaned`: the default cleanup (SIGKILL to the
    whole process group, none left) is done already, so that the standby can be promoted by this very message. `time`
    is when it was found, in seconds since the epoch.
    """

    component: Dn
    instance: int
    kind: Kind
    recovery: Recovery = Recovery.NO_RECOMMENDATION
    detail: str = ""
    time: float = 0.0
    cleaned: bool = False


class CommandDone(Executive, frozen=True):
    """What came of a command. For INSTANTIATE `ok` means that the command succeeded; registration is another matter."""

    component: Dn
    verb: Verb
    ticket: int
    ok: bool
    detail: str = ""


class TimeUp(Executive, frozen=True):
    """An alarm of AMF's own is due; `token` tells whether it still matters."""

    timer: str
    subject: str
    token: int = 0


# Requests from administrators


class Admin(Request, frozen=True):
    """An administrative operation; answered when its effect is complete.

    `timeout` in seconds: answered with TIMEOUT then, and the operation goes on. `queue` False: TRY_AGAIN at once
    instead of waiting for other operations and for transitions that are under way.
    """

    dn: Dn
    operation: int
    timeout: float | None = None
    queue: bool = True


class Watch(Request, frozen=True):
    """Send the origin every `Notification` from now on (`on` False: no more)."""

    on: bool = True


AmfComponentRequest = (
    Register
    | Unregister
    | Response
    | QuiescingComplete
    | ErrorReport
    | ErrorClear
    | HaReadinessSet
    | ProtectionGroupTrackStart
    | ProtectionGroupTrackStop
)
AmfRequest = AmfComponentRequest | FaultDetected | CommandDone | TimeUp | Admin | Watch | ClientGone


# Queries


class StatusGet(Query, frozen=True):
    """The reply is a `Status`: of everything, or of the object `dn`, what is above it and what is below it."""

    dn: Dn | None = None


class WhyGet(Query, frozen=True):
    """Why the object is in the state it is in; the reply is a `Why`."""

    dn: Dn


class HaStateGet(Query, frozen=True):
    """The reply is a `HaStateIs`."""

    component: Dn
    csi: Dn


class ProtectionGroupGet(Query, frozen=True):
    """The reply is a `ProtectionGroup`."""

    csi: Dn


class CorrelationIdsGet(Query, frozen=True):
    """The reply is a `CorrelationIds`."""

    invocation: int


class ConfigurationGet(Query, frozen=True):
    """What a component's own process needs to know of its configuration; the reply is a `Configuration`."""

    component: Dn


class HealthcheckStart(NodeLocal, frozen=True):
    """saAmfHealthcheckStart."""

    component: Dn
    key: str
    invocation_type: InvocationType
    recovery: Recovery = Recovery.NO_RECOMMENDATION


class HealthcheckConfirm(NodeLocal, frozen=True):
    """saAmfHealthcheckConfirm, for COMPONENT_INVOKED; `result` is OK (1) or an error code."""

    component: Dn
    key: str
    result: int = int(ErrorCode.OK)


class HealthcheckResponse(NodeLocal, frozen=True):
    """The answer to `HealthcheckInvoked`."""

    invocation: int
    error: int = int(ErrorCode.OK)


class HealthcheckStop(NodeLocal, frozen=True):
    """saAmfHealthcheckStop."""

    component: Dn
    key: str


class PmStart(NodeLocal, frozen=True):
    """saAmfPmStart_3; `pm_errors` as in `PmErrors`."""

    component: Dn
    process_id: int
    descendants_tree_depth: int = 0
    pm_errors: int = int(PmErrors.ALL)
    recovery: Recovery = Recovery.NO_RECOMMENDATION


class PmStop(NodeLocal, frozen=True):
    """saAmfPmStop."""

    component: Dn
    stop_qualifier: StopQualifier
    process_id: int
    pm_errors: int = int(PmErrors.ALL)


AmfNodeLocal = HealthcheckStart | HealthcheckConfirm | HealthcheckResponse | HealthcheckStop | PmStart | PmStop
AmfQuery = StatusGet | WhyGet | HaStateGet | ProtectionGroupGet | CorrelationIdsGet | ConfigurationGet | AmfNodeLocal


# Replies


class Why(Message, frozen=True):
    """In words, the present state and what led to it, the latest last."""

    lines: tuple[str, ...]


class HaStateIs(Message, frozen=True):
    ha_state: HaState


class Configuration(Message, frozen=True):
    """A component as configured, and the checkpoint policies of those CSIs that have one of their own."""

    component: Component
    redundancy_model: RedundancyModel
    checkpoints: dict[Dn, CheckpointPolicy]


class CorrelationIds(Message, frozen=True):
    """Notification ids that belong together; 0: none."""

    root: int = 0
    parent: int = 0
    notification: int = 0


class ProtectionGroupMember(msgspec.Struct, frozen=True, array_like=True):
    """One component of a CSI's protection group; `rank` is the standby rank, 0 when active."""

    component: Dn
    ha_state: HaState
    ha_readiness_state: HaReadiness
    rank: int
    change: Change = Change.NO_CHANGE


class ProtectionGroup(Message, frozen=True):
    """The members of a CSI's protection group."""

    csi: Dn
    members: tuple[ProtectionGroupMember, ...]


# Events to component processes


class CsiDescriptor(msgspec.Struct, frozen=True, array_like=True):
    """SaAmfCSIDescriptorT. With TARGET_ALL the name and the attributes are empty: all CSIs of the component are meant.

    `transition` and `active_component` go with ACTIVE (the former active) and STANDBY (the present one); `epoch` is
    the order number of the message that decided this assignment to be ACTIVE, 0 for other states.
    """

    flags: CsiFlags
    name: Dn
    attributes: dict[str, tuple[str, ...]]
    transition: Transition | None = None
    active_component: Dn | None = None
    standby_rank: int = 0
    epoch: int = 0


class HealthcheckInvoked(Message, frozen=True):
    """saAmfHealthcheckCallback."""

    invocation: int
    component: Dn
    key: str


class CsiSet(Message, frozen=True):
    """saAmfCSISetCallback: take this HA state, then answer."""

    invocation: int
    component: Dn
    ha_state: HaState
    descriptor: CsiDescriptor


class CsiRemove(Message, frozen=True):
    """saAmfCSIRemoveCallback: give the CSI back, then answer."""

    invocation: int
    component: Dn
    csi: Dn
    flags: CsiFlags


class ComponentTerminate(Message, frozen=True):
    """saAmfComponentTerminateCallback: answer, then exit."""

    invocation: int
    component: Dn


class ProxiedInstantiate(Message, frozen=True):
    """saAmfProxiedComponentInstantiateCallback."""

    invocation: int
    component: Dn


class ProxiedCleanup(Message, frozen=True):
    """saAmfProxiedComponentCleanupCallback."""

    invocation: int
    component: Dn


class ContainedInstantiate(Message, frozen=True):
    """saAmfContainedComponentInstantiateCallback."""

    invocation: int
    component: Dn


class ContainedCleanup(Message, frozen=True):
    """saAmfContainedComponentCleanupCallback."""

    invocation: int
    component: Dn


class ProtectionGroupTrack(Message, frozen=True):
    """saAmfProtectionGroupTrackCallback. `error` NOT_EXIST (12): the CSI is no longer configured; the last event."""

    csi: Dn
    members: tuple[ProtectionGroupMember, ...]
    number_of_members: int
    error: int = int(ErrorCode.OK)


class CsiAttributeChange(Message, frozen=True):
    """saAmfCSIAttributeChangeCallback."""

    invocation: int
    csi: Dn
    attributes: dict[str, tuple[str, ...]]


class Notification(Message, frozen=True):
    """Something that operators may want to know.

    `number` is the minor id of class 18568.2; `alarm`: an alarm, of which `cleared` says that it is over. `old` and
    `new` are state values (0: none), `text` says what happened and, for alarms, what to do.
    """

    number: int
    object: Dn
    time: float
    text: str
    alarm: bool = False
    cleared: bool = False
    old: int = 0
    new: int = 0


AmfEvent = (
    HealthcheckInvoked
    | CsiSet
    | CsiRemove
    | ComponentTerminate
    | ProxiedInstantiate
    | ProxiedCleanup
    | ContainedInstantiate
    | ContainedCleanup
    | ProtectionGroupTrack
    | CsiAttributeChange
    | Notification
)


# Commands to executives


class Command(Message, frozen=True):
    """Carried out by one node outside the order. `timeout` in seconds: over it the process group is killed and the
    command has failed."""


class Instantiate(Command, frozen=True):
    """Start the component's process; answered with CommandDone(INSTANTIATE). `environment` goes over the configured."""

    component: Dn
    ticket: int
    attempt: int
    timeout: float
    environment: dict[str, str] = msgspec.field(default_factory=dict)


class Terminate(Command, frozen=True):
    """Run the terminate command; CommandDone(TERMINATE) with `ok` only when no process of the component is left."""

    component: Dn
    ticket: int
    timeout: float


class AwaitExit(Command, frozen=True):
    """Wait until no process of the component is left; CommandDone(AWAIT_EXIT), not ok when the time is over."""

    component: Dn
    ticket: int
    timeout: float


class Cleanup(Command, frozen=True):
    """End whatever is left of the component, known or not; CommandDone(CLEANUP), ok only when nothing is left.

    `source` is a fault's word (`Kind`, lower case) for AMF_ERROR_SOURCE, "" when there was none.
    """

    component: Dn
    ticket: int
    timeout: float
    source: str = ""


class AmStart(Command, frozen=True):
    """Start the active monitor; CommandDone(AM_START)."""

    component: Dn
    ticket: int
    timeout: float


class AmStop(Command, frozen=True):
    """Stop the active monitor; CommandDone(AM_STOP)."""

    component: Dn
    ticket: int
    timeout: float


class Monitor(Command, frozen=True):
    """The component is instantiated: start the periodic healthcheck command, if one is configured. Terminate,
    AwaitExit and Cleanup of the component end it."""

    component: Dn
    instance: int


class Failfast(Command, frozen=True):
    """Leave the cluster at once: the node's failfast command, or kill all components and exit with 75."""

    reason: str


class Notify(Command, frozen=True):
    """Pass the notification on to the notification service."""

    notification: Notification


AmfCommand = Instantiate | Terminate | AwaitExit | Cleanup | AmStart | AmStop | Monitor | Failfast | Notify


# The status snapshot


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What every object of a status has."""

    dn: Dn


class ClusterStatus(Shown, frozen=True, kw_only=True):
    """`started`: first assignments are allowed; `order` and `time` of the last message applied."""

    admin: AdminState
    quorate: bool
    started: bool
    members: tuple[NodeId, ...]
    order: int
    time: float


class NodeStatus(Shown, frozen=True, kw_only=True):
    """`node_id` None: the node is not a member. The counter is that of escalation level 3."""

    name: str
    node_id: NodeId | None
    admin: AdminState
    operational: Operational
    failfast: bool = False
    su_failovers: int = 0
    su_failovers_max: int = 0
    window_left: float = 0.0


class ApplicationStatus(Shown, frozen=True, kw_only=True):
    admin: AdminState
    groups: int
    restarting: bool = False


class GroupStatus(Shown, frozen=True, kw_only=True):
    """`reduction`: what is given up for want of service units, in words; "" when nothing."""

    model: RedundancyModel
    admin: AdminState
    settled: bool
    assigned_sus: int
    instantiated_spare_sus: int
    uninstantiated_spare_sus: int
    reduction: str = ""


class UnitStatus(Shown, frozen=True, kw_only=True):
    """The counters are those of escalation levels 1 and 2; `next_recovery` is what one more fault would bring."""

    node: str
    rank: int
    admin: AdminState
    effective_admin: AdminState
    operational: Operational
    presence: Presence
    readiness: Readiness
    ha_readiness: HaReadiness
    active_sis: tuple[Dn, ...]
    standby_sis: tuple[Dn, ...]
    other_sis: tuple[Dn, ...]
    pre_instantiable: bool
    restarts: int = 0
    component_restarts_in_window: int = 0
    component_restart_window_left: float = 0.0
    su_restarts_in_window: int = 0
    su_restart_window_left: float = 0.0
    next_recovery: str = ""
    repair_at: float | None = None


class ComponentStatus(Shown, frozen=True, kw_only=True):
    """`doing` says what the component is busy with, in words; `instance` names its process."""

    operational: Operational
    presence: Presence
    readiness: Readiness
    ha_readiness: HaReadiness
    restarts: int
    registered: bool
    instance: int = 0
    attempt: int = 0
    doing: str = ""
    last_error: str = ""


class AssignmentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A component's assignment of a CSI. `ha_state` None: not confirmed yet; `requested`: the state or "remove" that
    it was told and has not answered."""

    csi: Dn
    component: Dn
    su: Dn
    ha_state: HaState | None
    requested: str = ""
    rank: int = 0
    epoch: int = 0


class InstanceStatus(Shown, frozen=True, kw_only=True):
    """`active`, `standby`: SUs with confirmed state. `unassigned_since`: when it lost its last active, or None."""

    group: Dn
    rank: int
    admin: AdminState
    effective_admin: AdminState
    assignment: Assignment
    active: tuple[Dn, ...]
    standby: tuple[Dn, ...]
    unassigned_since: float | None = None
    alarm: bool = False


class CsiStatus(Shown, frozen=True, kw_only=True):
    type: str
    assignments: tuple[AssignmentStatus, ...]


class OperationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An administrative operation that runs or waits for its turn. `since`: when it was asked for."""

    dn: Dn
    operation: AdminOperation
    running: bool
    since: float
    waits_for: str = ""


class FailoverStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The stages of one failover or switchover of an SI; times in seconds since the epoch, None: not yet (or not
    needed). `detected`: as stamped by who found it; `decided`: its place in the order; `cleaned`: the former active
    is known to be gone or quiesced; `active`: the new active confirmed."""

    si: Dn
    cause: str
    from_su: Dn
    to_su: Dn = ""
    epoch: int = 0
    detected: float | None = None
    decided: float | None = None
    cleaned: float | None = None
    active: float | None = None


class HistoryLine(msgspec.Struct, frozen=True, array_like=True):
    """Something that happened to an object. `time` in seconds since the epoch, `order` its place in the order."""

    time: float
    order: int
    text: str


class Status(Message, frozen=True, kw_only=True):
    """Everything that is known of the cluster's availability, in one piece; all lists in configuration order."""

    version: int = 1
    cluster: ClusterStatus
    nodes: tuple[NodeStatus, ...]
    applications: tuple[ApplicationStatus, ...]
    groups: tuple[GroupStatus, ...]
    units: tuple[UnitStatus, ...]
    components: tuple[ComponentStatus, ...]
    instances: tuple[InstanceStatus, ...]
    csis: tuple[CsiStatus, ...]
    operations: tuple[OperationStatus, ...]
    failovers: tuple[FailoverStatus, ...]
    history: tuple[HistoryLine, ...] = ()


AmfReply = Why | HaStateIs | CorrelationIds | Configuration | ProtectionGroup | Status
