"""The typed status snapshot: what the command line and the dashboards draw from."""

import msgspec

from corosync_amf.ais import (
    Admin,
    AdminOperation,
    Assignment,
    Dn,
    HaReadiness,
    HaState,
    NodeId,
    Operational,
    Presence,
    Readiness,
    RedundancyModel,
)
from corosync_amf.engine import Message


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What every object of a status has."""

    dn: Dn


class ClusterStatus(Shown, frozen=True, kw_only=True):
    """`started`: first assignments are allowed; `order` and `time` of the last message applied."""

    admin: Admin
    quorate: bool
    started: bool
    members: tuple[NodeId, ...]
    order: int
    time: float


class NodeStatus(Shown, frozen=True, kw_only=True):
    """`node_id` None: the node is not a member. The counter is that of escalation level 3."""

    name: str
    node_id: NodeId | None
    admin: Admin
    operational: Operational
    failfast: bool = False
    su_failovers: int = 0
    su_failovers_max: int = 0
    window_left: float = 0.0


class ApplicationStatus(Shown, frozen=True, kw_only=True):
    admin: Admin
    groups: int
    restarting: bool = False


class GroupStatus(Shown, frozen=True, kw_only=True):
    """`reduction`: what is given up for want of service units, in words; "" when nothing."""

    model: RedundancyModel
    admin: Admin
    settled: bool
    assigned_sus: int
    instantiated_spare_sus: int
    uninstantiated_spare_sus: int
    reduction: str = ""


class UnitStatus(Shown, frozen=True, kw_only=True):
    """The counters are those of escalation levels 1 and 2; `next_recovery` is what one more fault would bring."""

    node: str
    rank: int
    admin: Admin
    effective_admin: Admin
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
    admin: Admin
    effective_admin: Admin
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
