"""What happened: everything that AMF knows and that cannot be derived from the model. This is its snapshot.

Flat dictionaries keyed by DN (nodes: by name). States such as readiness or an SI's assignment state are functions of
these facts (`states.py`). Entries exist only for what differs from a fresh object, and are made by the accessors of
`Facts`, so equal histories give equal facts.
"""

from typing import Final

import msgspec

from corosync_amf.ais import Admin, Dn, HaReadiness, HaState, NodeId, Presence
from corosync_amf.engine import Client, Origin

from .messages import FailoverStatus, HistoryLine, Verb
from .recovery import Count

HISTORY_MAX: Final = 24
"""Lines kept per object."""
FAILOVERS_MAX: Final = 16


class Fact(msgspec.Struct):
    """Changed in place by the engine; encoded in the snapshot."""


class NodeFact(Fact):
    """`node_id` None: not a member. `incarnation`: of its executive, and so of its processes. `failfast`: told to leave
    the cluster, nothing else counts until it did. `clm`: its admin state in CLM; `clearing`: its name there, as long as
    CLM waits for the news that nothing is assigned on it."""

    node_id: NodeId | None = None
    incarnation: int = 0
    disabled: bool = False
    failfast: bool = False
    failfast_spent: bool = False
    failovers: Count = Count()
    clm: Admin = Admin.UNLOCKED
    clearing: str = ""


class UnitFact(Fact):
    """`disabled`: its recovery took the whole SU. `repairing`: it may be instantiated although it is disabled.
    `evacuate`: its work is to go elsewhere before a restart; `renewing`: and then all its components are restarted,
    because of a fault. `repairs`: when the latest were."""

    disabled: bool = False
    repairing: bool = False
    evacuate: bool = False
    renewing: bool = False
    component_restarts: Count = Count()
    su_restarts: Count = Count()
    restarts: int = 0
    repairs: list[float] = msgspec.field(default_factory=list)
    repair_at: float | None = None
    repair_wait: float = 0.0


class ComponentFact(Fact):
    """`doing` is the command under way and `ticket` its number; `instance` names the process that it may have.

    `dirty`: what runs on its node is unknown. `doomed`: it is to be ended for a restart, by a cleanup (CLEANUP) or
    gracefully (TERMINATE), when its turn comes. `terminating`: the invocation of its terminate callback. `monitor`:
    the command to its active monitor that is under way (AM_START, AM_STOP), the `monitor_attempt`th time.
    """

    presence: Presence = Presence.UNINSTANTIATED
    doing: Verb | None = None
    ticket: int = 0
    instance: int = 0
    commanded: bool = False
    client: Client | None = None
    attempt: int = 0
    delayed: bool = False
    disabled: bool = False
    dirty: bool = False
    doomed: Verb | None = None
    terminating: int = 0
    monitor: Verb | None = None
    monitor_attempt: int = 0
    source: str = ""
    restarts: int = 0
    last_error: str = ""
    readiness: HaReadiness = HaReadiness.READY_FOR_ASSIGNMENT
    csi_readiness: dict[Dn, HaReadiness] = msgspec.field(default_factory=dict)


class AssignmentFact(Fact):
    """A CSI on a component. `state` is what it has or, when never confirmed, what it is to have.

    `confirmed`: the process that runs there now has said so. `kept`: its predecessor had, and a restart
    brings it back. `invocation`: the callback that waits for an answer, or
    0; `asked` is the state it asks for, None: removal. `quiescing`: the invocation that told it QUIESCING.
    """

    state: HaState
    confirmed: bool = False
    kept: bool = False
    invocation: int = 0
    asked: HaState | None = None
    quiescing: int = 0
    rank: int = 0
    epoch: int = 0


class Former(Fact):
    """Who had a CSI as ACTIVE last, and whether it let go of it in order."""

    component: Dn
    quiesced: bool


class Callback(Fact):
    """A callback that waits for its answer: what `component` was asked about `csis` (empty: to terminate)."""

    component: Dn
    csis: tuple[Dn, ...]
    asked: HaState | None


class Operation(Fact):
    """An administrative operation. `origin` None: answered already (it took too long). `groups`: the service groups
    that it touches; `targets`: the SUs that it still has to deal with; `fault`: what went wrong meanwhile."""

    number: int
    dn: Dn
    operation: int
    origin: Origin | None
    groups: list[Dn] = msgspec.field(default_factory=list)
    running: bool = False
    since: float = 0.0
    phase: int = 0
    targets: list[Dn] = msgspec.field(default_factory=list)
    fault: str = ""


class Facts(Fact):
    """The whole state of AMF."""

    order: int = 0
    time: float = 0.0
    quorate: bool = False
    started: bool = False
    start_due: bool = False
    members: tuple[NodeId, ...] = ()
    last_invocation: int = 0
    last_operation: int = 0
    admin: dict[Dn, Admin] = msgspec.field(default_factory=dict)
    nodes: dict[str, NodeFact] = msgspec.field(default_factory=dict)
    units: dict[Dn, UnitFact] = msgspec.field(default_factory=dict)
    components: dict[Dn, ComponentFact] = msgspec.field(default_factory=dict)
    assignments: dict[Dn, dict[Dn, AssignmentFact]] = msgspec.field(default_factory=dict)
    former: dict[Dn, Former] = msgspec.field(default_factory=dict)
    callbacks: dict[int, Callback] = msgspec.field(default_factory=dict)
    restarting_applications: list[Dn] = msgspec.field(default_factory=list)
    preferred: dict[Dn, list[Dn]] = msgspec.field(default_factory=dict)
    """Service group -> the SUs that are to be active and standby (swap, adjust)."""
    adjusting: dict[Dn, str] = msgspec.field(default_factory=dict)
    """Service group -> the in-service SUs for which an adjustment waits."""
    tolerances: dict[Dn, dict[Dn, int]] = msgspec.field(default_factory=dict)
    """Dependent SI -> sponsor SI -> token of the timer that runs; 0: it is over."""
    unassigned: dict[Dn, float] = msgspec.field(default_factory=dict)
    """SI -> since when it has been without an active although it should have one."""
    alarms: dict[str, str] = msgspec.field(default_factory=dict)
    """`number object` of the alarms that are raised -> their text."""
    operations: list[Operation] = msgspec.field(default_factory=list)
    tracks: dict[Dn, dict[str, int]] = msgspec.field(default_factory=dict)
    """CSI -> `node client` -> flags of its protection group tracking."""
    watchers: list[Client] = msgspec.field(default_factory=list)
    failovers: list[FailoverStatus] = msgspec.field(default_factory=list)
    history: dict[Dn, list[HistoryLine]] = msgspec.field(default_factory=dict)

    def node(self, name: str) -> NodeFact:
        """What is known of a node."""
        return self.nodes.setdefault(name, NodeFact())

    def unit(self, dn: Dn) -> UnitFact:
        """What is known of an SU."""
        return self.units.setdefault(dn, UnitFact())

    def component(self, dn: Dn) -> ComponentFact:
        """What is known of a component."""
        return self.components.setdefault(dn, ComponentFact())

    def assigned(self, csi: Dn) -> dict[Dn, AssignmentFact]:
        """The assignments of a CSI by component."""
        return self.assignments.get(csi, {})


class AmfSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """The model and the facts, as one value; `model` as `model.encode` writes it."""

    model: bytes
    facts: Facts
