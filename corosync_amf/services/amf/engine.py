"""The availability manager as a replicated state machine.

`apply` folds one message into the facts, then `decide` does whatever the facts now call for. There is no director:
every executive holds the same facts, decides alike, and carries out the commands for its own components.
"""

from typing import Any, ClassVar, Final, assert_never

import msgspec

from corosync_amf.ais import Admin as AdminState
from corosync_amf.ais import Dn, ErrorCode, HaReadiness, NodeId, Operational, Recovery
from corosync_amf.engine import (
    Client,
    ClientGone,
    Done,
    Effect,
    Failed,
    Membership,
    Message,
    NodeFacts,
    NodeLocal,
    NodeStanding,
    Origin,
    Service,
)
from corosync_amf.errors import NotExist

from . import (
    adjusting,
    administration,
    assignments,
    components,
    decisions,
    faults,
    protection,
    standing,
    status,
    upkeep,
)
from .facts import AmfSnapshot, Facts
from .lifecycle import Happening
from .messages import (
    Admin,
    AmfComponentRequest,
    AmfQuery,
    AmfRequest,
    CommandDone,
    Configuration,
    ConfigurationGet,
    CorrelationIds,
    CorrelationIdsGet,
    ErrorClear,
    ErrorReport,
    Executive,
    Failfast,
    FaultDetected,
    FencingFailed,
    HaReadinessSet,
    HaStateGet,
    HaStateIs,
    Kind,
    ProtectionGroupGet,
    ProtectionGroupTrackStart,
    ProtectionGroupTrackStop,
    QuiescingComplete,
    Register,
    Response,
    StatusGet,
    TimeUp,
    Unregister,
    Verb,
    Watch,
    Why,
    WhyGet,
)
from .model import Cluster, Component, Index, Node, decode, encode
from .states import View, assignments_of_component, component_operational, ha_readiness, holds, view_of
from .turn import (
    ADJUST,
    CALLBACK,
    FENCING_FAILED_ALARM,
    INSTANTIATE,
    OPERATION,
    QUIESCING,
    QUORUM_LOST_ALARM,
    REPAIR,
    RETRY,
    SI_UNASSIGNED_ALARM,
    STARTUP,
    TOLERANCE,
    UNASSIGNED,
    Turn,
)

_NODE_SCOPED: Final = frozenset({Recovery.NODE_SWITCHOVER, Recovery.NODE_FAILOVER, Recovery.NODE_FAILFAST})
_DONE: Final = Done()


class AmfEngine:
    """One replica of AMF. It starts with the configured model; a joining node takes the cluster's in `restore`."""

    service: ClassVar[Service] = Service.AMF
    request_type: ClassVar[Any] = AmfRequest
    query_type: ClassVar[Any] = AmfQuery
    snapshot_type: ClassVar[type[msgspec.Struct]] = AmfSnapshot
    remnant_type: ClassVar[Any] = None

    def __init__(self, cluster: Cluster) -> None:
        self._use(cluster, Facts())
        self._set_configured_admin_states()

    @property
    def view(self) -> View:
        """The model and the facts, for reading."""
        return self._view

    # ---- the engine protocol

    def apply(self, message: AmfRequest, origin: Origin) -> list[Effect]:
        """Apply one request in its place in the total order."""
        if isinstance(message, Executive | NodeStanding) and origin.client.number != 0:
            turn = Turn(self._view, origin.order, origin.time)
            turn.refuse(origin, ErrorCode.ACCESS_DENIED, "only executives may say that")
            return turn.effects
        turn = self._turn(origin.order, origin.time)
        before = protection.tracked(self._view)
        reply = self._dispatch(turn, message, origin)
        if reply is not None and not isinstance(message, ClientGone):
            turn.reply(origin, reply)
        return self._end(turn, before)

    def query(self, message: AmfQuery, client: Client) -> Message:
        """Answer from the local replica."""
        view = self._view
        match message:
            case StatusGet(dn):
                found = self._resolve(dn) if dn is not None else None
                return found if isinstance(found, Failed) else status.status(view, found)
            case WhyGet(dn):
                found = self._resolve(dn)
                return found if isinstance(found, Failed) else Why(status.why(view, found))
            case HaStateGet(component, csi):
                row = view.facts.assigned(csi).get(component)
                if row is None or not (row.confirmed or row.kept):
                    return Failed(int(ErrorCode.NOT_EXIST), f"{component} is not assigned {csi}")
                return HaStateIs(row.state)
            case ProtectionGroupGet(csi):
                return protection.as_reply(view, csi)
            case ConfigurationGet(component):
                config = view.index.components.get(component)
                if config is None:
                    return Failed(int(ErrorCode.NOT_EXIST), f"{component} is not configured")
                return _configuration(view, config)
            case CorrelationIdsGet(invocation):
                if invocation not in view.facts.callbacks:
                    return Failed(int(ErrorCode.INVALID_PARAM), f"invocation {invocation} is unknown")
                return CorrelationIds()
            case NodeLocal():
                return Failed(int(ErrorCode.NOT_SUPPORTED), "this is answered by the node, not by the replica")
            case _:
                assert_never(message)

    def membership(self, change: Membership) -> list[Effect]:
        """Take note of a membership change, in its place in the total order."""
        turn = self._turn(change.order, change.time)
        before = protection.tracked(self._view)
        facts = turn.facts
        facts.members = change.members
        for name, node in turn.index.node_named.items():
            node_id = next((fact.node_id for fact in change.nodes.values() if is_node(node, fact)), None)
            node_id = node_id if node_id in change.members else None
            self._node_is(turn, name, node_id, change)
        for left in sorted(change.left | change.joined):
            protection.forget_node(turn, left)
            for operation in facts.operations:
                if operation.origin is not None and operation.origin.client.node == left:
                    operation.origin = None
            facts.watchers = [client for client in facts.watchers if client.node != left]
        self._quorum_is(turn, quorate=change.quorate)
        return self._end(turn, before)

    def actives(self, node_id: NodeId) -> list[Dn]:
        """The components of a node that may be doing a CSI's work: what its executive stops when the lease ends."""
        view = self.view
        names = {name for name, fact in view.facts.nodes.items() if fact.node_id == node_id}
        return [
            comp
            for comp in view.index.components
            if view.host[view.index.unit_of_component[comp].dn] in names
            and any(holds(row) for _, row in assignments_of_component(view, comp))
        ]

    def snapshot(self) -> AmfSnapshot:
        """The model and the facts."""
        return AmfSnapshot(encode(self._view.index.cluster), self._view.facts)

    def restore(self, snapshot: AmfSnapshot) -> None:
        """Take over the model and the facts of the partition that stands."""
        self._use(decode(snapshot.model), snapshot.facts)
        self._derived = status.derived(self._view)

    def remnant(self, node: NodeId) -> None:
        """See `Engine`. Components of a node that gave way are ended with it; their connections too."""

    def merge(self, remnant: Any, origin: Origin) -> list[Effect]:
        """See `Engine`."""
        return []

    # ---- one turn

    def _use(self, cluster: Cluster, facts: Facts) -> None:
        index = Index(cluster)
        self._view = view_of(index, facts)
        # Every object has its entry from the beginning: a look at one replica never makes it differ from the others.
        for name in index.node_named:
            facts.node(name)
        for su in index.units:
            facts.unit(su)
        for comp in index.components:
            facts.component(comp)
        self._derived = status.derived(self._view)

    def _set_configured_admin_states(self) -> None:
        index = self._view.index
        states: dict[Dn, AdminState] = {index.cluster.dn: index.cluster.admin_state}
        states |= {node.dn: node.admin_state for node in index.nodes.values()}
        states |= {group.dn: group.admin_state for group in index.node_groups.values()}
        states |= {app.dn: app.admin_state for app in index.applications.values()}
        states |= {group.dn: group.admin_state for group in index.groups.values()}
        states |= {unit.dn: unit.admin_state for unit in index.units.values()}
        states |= {si.dn: si.admin_state for si in index.instances.values()}
        unlocked = AdminState.UNLOCKED
        self._view.facts.admin |= {dn: state for dn, state in states.items() if state is not unlocked}

    def _turn(self, order: int, time: float) -> Turn:
        facts = self._view.facts
        facts.order, facts.time = order, time
        return Turn(self._view, order, time)

    def _end(self, turn: Turn, before: dict[Dn, protection.Members]) -> list[Effect]:
        decisions.decide(turn, administration.attend)
        standing.answer(turn)
        protection.tell(turn, before)
        shown = status.derived(self._view)
        for key, state in shown.items():
            if self._derived.get(key) != state:
                turn.notify(*key, "", self._derived.get(key, 0), state)
        self._derived = shown
        return turn.effects

    def _resolve(self, dn: Dn) -> Dn | Failed:
        try:
            return self._view.index.resolve(dn)
        except NotExist as error:
            return Failed(int(ErrorCode.NOT_EXIST), error.reason)

    # ---- requests

    def _dispatch(self, turn: Turn, message: AmfRequest, origin: Origin) -> Message | None:
        match message:
            case FaultDetected():
                return self._fault_detected(turn, message)
            case CommandDone():
                return self._command_done(turn, message)
            case TimeUp():
                self._time_up(turn, message)
            case Admin():
                administration.asked(turn, message, origin)
            case Watch(on):
                others = [client for client in turn.facts.watchers if client != origin.client]
                turn.facts.watchers = [*others, origin.client] if on else others
                return _DONE
            case NodeStanding():
                standing.stands(turn, message)
            case FencingFailed():
                standing.fencing_failed(turn, message)
            case ClientGone():
                self._client_gone(turn, origin.client)
            case _:
                return self._from_component(turn, message, origin)
        return None

    def _from_component(self, turn: Turn, message: AmfComponentRequest, origin: Origin) -> Message:
        match message:
            case Register(component, proxy):
                return self._register(turn, component, proxy, origin)
            case Unregister(component):
                return self._unregister(turn, component, origin)
            case Response(invocation, error, reason):
                return _as_reply(assignments.answered(turn, invocation, origin.client, error, reason))
            case QuiescingComplete(invocation, error):
                return _as_reply(assignments.quiescing_complete(turn, invocation, origin.client, error))
            case ErrorReport():
                return self._error_report(turn, message)
            case ErrorClear(component):
                return self._error_clear(turn, component)
            case HaReadinessSet():
                return self._ha_readiness_set(turn, message, origin)
            case ProtectionGroupTrackStart(csi, flags):
                return protection.track(turn, csi, flags, origin.client)
            case ProtectionGroupTrackStop(csi):
                return protection.stop(turn, csi, origin.client) or _DONE
            case _:
                assert_never(message)

    def _register(self, turn: Turn, component: Dn, proxy: Dn | None, origin: Origin) -> Message:
        if component not in turn.index.components or (proxy is not None and proxy not in turn.index.components):
            return Failed(int(ErrorCode.NOT_EXIST), f"{component} is not configured")
        if proxy is not None:
            return Failed(int(ErrorCode.BAD_OPERATION), f"{proxy} is no proxy of it")
        return _as_reply(components.register(turn, component, origin.client))

    def _unregister(self, turn: Turn, component: Dn, origin: Origin) -> Message:
        if component not in turn.index.components:
            return Failed(int(ErrorCode.NOT_EXIST), f"{component} is not configured")
        client = turn.facts.component(component).client
        if client is None:
            return Failed(int(ErrorCode.NOT_EXIST), "it is not registered")
        if client != origin.client:
            return Failed(int(ErrorCode.BAD_OPERATION), "it was not registered by this process")
        faults.detected(turn, component, Kind.UNREGISTERED)
        return _DONE

    def _error_report(self, turn: Turn, report: ErrorReport) -> Message:
        if report.component not in turn.index.components:
            return Failed(int(ErrorCode.NOT_EXIST), f"{report.component} is not configured")
        if turn.facts.component(report.component).instance == 0:
            return Failed(int(ErrorCode.INVALID_PARAM), "the component is not instantiated")
        if turn.index.unit_of_component[report.component].is_external and report.recovery in _NODE_SCOPED:
            return Failed(int(ErrorCode.INVALID_PARAM), "the component is on no node")
        time = report.detection_time if report.detection_time is not None else turn.time
        faults.detected(turn, report.component, Kind.ERROR_REPORT, report.reason, report.recovery, time=time)
        return _DONE

    def _error_clear(self, turn: Turn, component: Dn) -> Message:
        if component not in turn.index.components:
            return Failed(int(ErrorCode.NOT_EXIST), f"{component} is not configured")
        if component_operational(turn.view, component) is Operational.ENABLED:
            return Failed(int(ErrorCode.NO_OP), "it is ENABLED")
        fact = turn.facts.component(component)
        if fact.client is None:
            return Failed(int(ErrorCode.BAD_OPERATION), "it is not registered")
        fact.disabled = False
        turn.notify(0x192, component, "error cleared")
        return _DONE

    def _ha_readiness_set(self, turn: Turn, message: HaReadinessSet, origin: Origin) -> Message:
        csi = message.csi
        if message.component not in turn.index.components or (csi is not None and csi not in turn.index.csis):
            return Failed(int(ErrorCode.NOT_EXIST), "component or CSI is not configured")
        fact = turn.facts.component(message.component)
        if fact.client != origin.client:
            return Failed(int(ErrorCode.BAD_OPERATION), "it was not registered by this process")
        former = ha_readiness(turn.view, message.component, csi)
        if csi is None:
            fact.readiness, fact.csi_readiness = message.state, {}
        elif message.state is HaReadiness.READY_FOR_ASSIGNMENT:
            fact.csi_readiness.pop(csi, None)
        else:
            fact.csi_readiness[csi] = message.state
        turn.say(message.component, f"HA readiness {message.state.name}")
        turn.notify(0x71, message.component, csi or "", former, message.state)
        return _DONE

    def _fault_detected(self, turn: Turn, fault: FaultDetected) -> Message:
        fact = turn.facts.components.get(fault.component)
        if fact is None:
            return Failed(int(ErrorCode.NOT_EXIST), f"{fault.component} is not configured")
        if fault.instance in (0, fact.instance):
            faults.detected(
                turn,
                fault.component,
                fault.kind,
                fault.detail,
                fault.recovery,
                time=fault.time,
                cleaned=fault.cleaned,
            )
        return _DONE

    def _command_done(self, turn: Turn, done: CommandDone) -> Message:
        if done.component not in turn.index.components:
            return Failed(int(ErrorCode.NOT_EXIST), f"{done.component} is not configured")
        kind = components.command_done(turn, done)
        if kind is not None:
            faults.detected(turn, done.component, kind, done.detail)
        return _DONE

    def _client_gone(self, turn: Turn, client: Client) -> None:
        protection.forget(turn, client)
        turn.facts.watchers = [watcher for watcher in turn.facts.watchers if watcher != client]
        for comp in turn.index.components:
            if turn.facts.component(comp).client == client:
                faults.detected(turn, comp, Kind.PROCESS_DIED, "its session ended")

    def _time_up(self, turn: Turn, due: TimeUp) -> None:
        index, subject = turn.index, due.subject
        match due.timer:
            case timer if timer == CALLBACK:
                assignments.timed_out(turn, due.token)
            case timer if timer == QUIESCING:
                assignments.quiescing_timed_out(turn, due.token)
            case timer if timer == INSTANTIATE and subject in index.components:
                fact = turn.facts.component(subject)
                if fact.doing is Verb.INSTANTIATE and fact.ticket == due.token:
                    components.instantiation_failed(turn, subject, Kind.REGISTRATION_TIMEOUT, "")
            case timer if timer == RETRY and subject in index.components:
                components.retry(turn, subject, due.token)
            case timer if timer == STARTUP:
                turn.facts.start_due = turn.facts.quorate
            case timer if timer == TOLERANCE:
                self._tolerance_over(turn, subject, due.token)
            case timer if timer == REPAIR and subject in index.units:
                upkeep.repair_due(turn, subject)
            case timer if timer == OPERATION:
                administration.timed_out(turn, subject)
            case timer if timer == UNASSIGNED and subject in turn.facts.unassigned:
                turn.raise_alarm(SI_UNASSIGNED_ALARM, subject, "has no active assignment", "see `amf why`")
            case timer if timer == ADJUST:
                adjusting.due(turn, subject)
            case _:
                pass

    def _tolerance_over(self, turn: Turn, subject: str, token: int) -> None:
        for si, sponsors in turn.facts.tolerances.items():
            for sponsor, running in sponsors.items():
                if f"{si} {sponsor}" == subject and running == token:
                    sponsors[sponsor] = 0
                    turn.say(si, f"sponsor {turn.index.short(sponsor)} has been away for too long")

    # ---- membership

    def _node_is(self, turn: Turn, name: str, node_id: NodeId | None, change: Membership) -> None:
        fact, node = turn.facts.node(name), turn.index.node_named[name]
        has_joined = node_id is not None and (fact.node_id != node_id or node_id in change.joined)
        incarnation = change.nodes[node_id].incarnation if node_id is not None else fact.incarnation
        if has_joined and fact.node_id == node_id and fact.incarnation == incarnation:
            why = "was cut off and is back: what runs there is ended first"
            units = [su for su, host in turn.view.host.items() if host == name]
            faults.note_failovers(turn, units, f"node {name} {why}", change.time)
            components.node_returned(turn, name)
            if fact.failfast:
                turn.run(name, Failfast("it was told so before it was cut off"))
            turn.say(node.dn, why)
            return
        fact.incarnation = incarnation
        if fact.node_id is not None and (node_id is None or has_joined):
            why = change.reasons.get(fact.node_id, "left the cluster")
            units = [su for su, host in turn.view.host.items() if host == name]
            faults.note_failovers(turn, units, f"node {name} {why}", change.time)
            components.node_lost(turn, name)
            turn.say(node.dn, f"gone: {why}")
            fact.failfast, fact.disabled = False, fact.disabled and not node.auto_repair
        fact.node_id = node_id
        if has_joined:
            fact.failfast_spent = False
            turn.clear_alarm(FENCING_FAILED_ALARM, node.dn)
            components.node_joined(turn, name)
            turn.say(node.dn, "joined")

    def _quorum_is(self, turn: Turn, *, quorate: bool) -> None:
        facts, cluster = turn.facts, turn.index.cluster
        if facts.quorate and not quorate:
            turn.raise_alarm(QUORUM_LOST_ALARM, cluster.dn, "no quorum, nothing is assigned", "bring nodes back")
            for operation in list(facts.operations):
                turn.refuse(operation.origin, ErrorCode.TRY_AGAIN, "the partition lost its quorum")
            facts.operations.clear()
            facts.preferred.clear()
            self._clean_up_actives(turn)
        facts.quorate = quorate
        if quorate:
            turn.clear_alarm(QUORUM_LOST_ALARM, cluster.dn)
            if not facts.started:
                facts.start_due = False
                turn.alarm(STARTUP, cluster.dn, cluster.startup_timeout)

    def _clean_up_actives(self, turn: Turn) -> None:
        for comp in turn.index.components:
            fact = turn.facts.component(comp)
            rows = assignments_of_component(turn.view, comp)
            if fact.instance and any(holds(row) for _, row in rows) and fact.doing is not Verb.CLEANUP:
                components.clean_up(turn, comp, Happening.TERMINATE, "no_quorum")


def is_node(node: Node, facts: NodeFacts) -> bool:
    """Whether a cluster member is the AMF node."""
    return standing.is_meant(node, facts.name, facts.node_id, facts.address)


def _configuration(view: View, component: Component) -> Configuration:
    group = view.index.group_of_unit[view.index.unit_of_component[component.dn].dn]
    checkpoints = {dn: csi.checkpoint for dn, csi in view.index.csis.items() if csi.checkpoint is not None}
    return Configuration(component, group.redundancy_model, checkpoints)


def _as_reply(refusal: tuple[ErrorCode, str] | None) -> Message:
    return _DONE if refusal is None else Failed(int(refusal[0]), refusal[1])
