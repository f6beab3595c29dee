"""What components, nodes and administrators tell AMF, and what AMF tells them.

    requests    from component processes        Register ... ProtectionGroupTrackStop
                from executives (client 0)      FaultDetected, CommandDone, FencingFailed, TimeUp
                from administrators             Admin, Watch
    queries     answered by every replica       StatusGet, WhyGet, HaStateGet, ProtectionGroupGet, CorrelationIdsGet,
                                            ConfigurationGet
                answered by the node itself     NodeLocal: healthchecks and process monitoring
    events      to component processes          CsiSet, CsiRemove, ComponentTerminate, ProtectionGroupTrack, ...
    commands    to an executive                 Instantiate ... Failfast, Monitor: `commands.py`
    status      the typed snapshot              `shown.py`; enumerations: `vocabulary.py`; all can be had from here

A command that starts or ends something carries a `ticket`; its `CommandDone` brings the ticket back, and an answer to
a command that is no longer waited for is ignored. The ticket of the `Instantiate` that started a process is that
process's `instance`: a fault names it, so that news of a process that is gone never hits its successor.

Source: SAI-AIS-AMF-B.04.01 chapters 7 (library) and 8 (administration).
"""

from typing import Final

import msgspec

from corosync_amf.ais import (
    Dn,
    ErrorCode,
    HaReadiness,
    HaState,
    NodeId,
    Recovery,
    RedundancyModel,
)
from corosync_amf.engine import ClientGone, Message, NodeLocal, NodeStanding, Query, Request

from .commands import (
    AmfCommand as AmfCommand,
)
from .commands import (
    AmStart as AmStart,
)
from .commands import (
    AmStop as AmStop,
)
from .commands import (
    AwaitExit as AwaitExit,
)
from .commands import (
    Cleanup as Cleanup,
)
from .commands import (
    Command as Command,
)
from .commands import (
    Failfast as Failfast,
)
from .commands import (
    Instantiate as Instantiate,
)
from .commands import (
    Monitor as Monitor,
)
from .commands import (
    Notification as Notification,
)
from .commands import (
    Terminate as Terminate,
)
from .model import CheckpointPolicy, Component
from .shown import (
    ApplicationStatus as ApplicationStatus,
)
from .shown import (
    AssignmentStatus as AssignmentStatus,
)
from .shown import (
    ClusterStatus as ClusterStatus,
)
from .shown import (
    ComponentStatus as ComponentStatus,
)
from .shown import (
    CsiStatus as CsiStatus,
)
from .shown import (
    FailoverStatus as FailoverStatus,
)
from .shown import (
    GroupStatus as GroupStatus,
)
from .shown import (
    HistoryLine as HistoryLine,
)
from .shown import (
    InstanceStatus as InstanceStatus,
)
from .shown import (
    NodeStatus as NodeStatus,
)
from .shown import (
    OperationStatus as OperationStatus,
)
from .shown import (
    Shown as Shown,
)
from .shown import (
    Status as Status,
)
from .shown import (
    UnitStatus as UnitStatus,
)
from .vocabulary import (
    Change as Change,
)
from .vocabulary import (
    CsiFlags as CsiFlags,
)
from .vocabulary import (
    InvocationType as InvocationType,
)
from .vocabulary import (
    Kind as Kind,
)
from .vocabulary import (
    PmErrors as PmErrors,
)
from .vocabulary import (
    StopQualifier as StopQualifier,
)
from .vocabulary import (
    Transition as Transition,
)
from .vocabulary import (
    Verb as Verb,
)

HEALTHCHECK_INVOCATION: Final = 1 << 62
"""Invocations of healthchecks have this bit set: their answer goes to the node (`HealthcheckResponse`)."""


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


class FencingFailed(Executive, frozen=True):
    """The fence command could not make sure that a lost node is off; `detail` is what came of it."""

    name: str
    node_id: NodeId
    address: str
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
AmfRequest = (
    AmfComponentRequest
    | FaultDetected
    | CommandDone
    | FencingFailed
    | TimeUp
    | Admin
    | Watch
    | NodeStanding
    | ClientGone
)


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


AmfReply = Why | HaStateIs | CorrelationIds | Configuration | ProtectionGroup | Status
