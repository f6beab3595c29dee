"""The typed snapshot that people are shown, and the answer to "why"."""

from collections.abc import Callable
from typing import TypeVar

from corosync_amf.ais import Admin, AdminOperation, Assignment, Dn, HaState, NodeId, Operational, Presence, Readiness

from . import states
from .decisions import is_eligible, is_wanted, target_of
from .facts import Operation
from .faults import policy_of
from .messages import (
    ApplicationStatus,
    AssignmentStatus,
    ClusterStatus,
    ComponentStatus,
    CsiStatus,
    GroupStatus,
    HistoryLine,
    InstanceStatus,
    NodeStatus,
    OperationStatus,
    Shown,
    Status,
    UnitStatus,
)
from .model import (
    Application,
    Component,
    ComponentServiceInstance,
    Node,
    ServiceGroup,
    ServiceInstance,
    ServiceUnit,
    child_dn,
)
from .recovery import Count, Counters, escalate
from .scope import above, is_related, is_settled
from .turn import SI_UNASSIGNED_ALARM, Turn

T = TypeVar("T", bound=Shown)


def status(view: states.View, dn: Dn | None = None) -> Status:
    """Everything, or an object with what is above and below it."""
    index = view.index

    def shown(entities: list[Dn], make: Callable[[Dn], T]) -> tuple[T, ...]:
        return tuple(make(entity) for entity in entities if dn is None or _is_shown(view, entity, dn))

    return Status(
        cluster=_cluster(view),
        nodes=shown(list(index.nodes), lambda name: _node(view, index.nodes[name])),
        applications=shown(list(index.applications), lambda name: _application(view, index.applications[name])),
        groups=shown(list(index.groups), lambda name: _group(view, index.groups[name])),
        units=shown(list(index.units), lambda name: _unit(view, index.units[name])),
        components=shown(list(index.components), lambda name: _component(view, index.components[name])),
        instances=shown(list(index.instances), lambda name: _instance(view, index.instances[name])),
        csis=shown(list(index.csis), lambda name: _csi(view, index.csis[name])),
        operations=tuple(_operation(view, operation) for operation in view.facts.operations),
        failovers=tuple(view.facts.failovers),
        history=tuple(_history(view, dn)) if dn is not None else (),
    )


def _is_shown(view: states.View, entity: Dn, dn: Dn) -> bool:
    if is_related(entity, dn) or dn == view.index.cluster.dn:
        return True
    if dn in view.index.nodes and entity in view.host:
        return view.host[entity] == view.index.nodes[dn].name
    return False


def _history(view: states.View, dn: Dn) -> list[HistoryLine]:
    """The lines of an object and of what is below it, in order."""
    lines = [line for name, lines in view.facts.history.items() if name == dn or dn in above(name) for line in lines]
    return sorted(lines, key=lambda line: line.order)


def _cluster(view: states.View) -> ClusterStatus:
    facts = view.facts
    return ClusterStatus(
        dn=view.index.cluster.dn,
        admin=states.admin(view, view.index.cluster.dn),
        quorate=facts.quorate,
        started=facts.started,
        members=facts.members,
        order=facts.order,
        time=facts.time,
    )


def _left(count: Count, probation: float, now: float) -> tuple[int, float]:
    """What a counter shows now, and the seconds that its window has left."""
    open_count = count.within(probation, now)
    return open_count.count, open_count.start + probation - now if open_count.count else 0.0


def _node(view: states.View, node: Node) -> NodeStatus:
    fact = view.facts.node(node.name)
    count, left = _left(fact.failovers, node.su_failover_probation, view.facts.time)
    return NodeStatus(
        dn=node.dn,
        name=node.name,
        node_id=fact.node_id,
        admin=states.admin(view, node.dn),
        operational=states.node_operational(view, node.name),
        failfast=fact.failfast,
        su_failovers=count,
        su_failovers_max=node.su_failover_max,
        window_left=left,
    )


def _application(view: states.View, app: Application) -> ApplicationStatus:
    return ApplicationStatus(
        dn=app.dn,
        admin=states.admin(view, app.dn),
        groups=len(app.service_groups),
        restarting=app.dn in view.facts.restarting_applications,
    )


def _group(view: states.View, group: ServiceGroup) -> GroupStatus:
    assigned = [unit for unit in group.units if states.instances_of_unit(view, unit.dn)]
    spare = [unit for unit in group.units if unit not in assigned]
    up = [unit for unit in spare if states.unit_presence(view, unit.dn) is Presence.INSTANTIATED]
    return GroupStatus(
        dn=group.dn,
        model=group.redundancy_model,
        admin=states.admin(view, group.dn),
        settled=is_settled(view, group.dn),
        assigned_sus=len(assigned),
        instantiated_spare_sus=len(up),
        uninstantiated_spare_sus=len(spare) - len(up),
        reduction=_reduction(view, group),
    )


def _reduction(view: states.View, group: ServiceGroup) -> str:
    instances = [si for si in view.index.instances_of_group[group.dn] if is_eligible(view, si.dn)]
    target = target_of(view, group)
    states_of = {si.dn: [place.ha_state for place in target.get(si.dn, {}).values()] for si in instances}
    inactive = [si for si in instances if HaState.ACTIVE not in states_of[si.dn]]
    bare = [si for si in instances if si not in inactive and len(states_of[si.dn]) < sum(states.wanted(view, si))]
    parts = []
    if inactive:
        parts.append("not assigned: " + ", ".join(si.name for si in inactive))
    if bare:
        parts.append("without a standby: " + ", ".join(si.name for si in bare))
    return "; ".join(parts)


def _unit(view: states.View, unit: ServiceUnit) -> UnitStatus:
    fact, group, now = view.facts.unit(unit.dn), view.index.group_of_unit[unit.dn], view.facts.time
    by_state = {si: states.unit_ha_state(view, unit.dn, si) for si in states.instances_of_unit(view, unit.dn)}
    restarts, restarts_left = _left(fact.component_restarts, group.component_restart_probation, now)
    su_restarts, su_restarts_left = _left(fact.su_restarts, group.su_restart_probation, now)
    return UnitStatus(
        dn=unit.dn,
        node=view.host[unit.dn],
        rank=unit.rank,
        admin=states.admin(view, unit.dn),
        effective_admin=states.unit_admin(view, unit.dn),
        operational=states.unit_operational(view, unit.dn),
        presence=states.unit_presence(view, unit.dn),
        readiness=states.unit_readiness(view, unit.dn),
        ha_readiness=states.unit_ha_readiness(view, unit.dn),
        active_sis=tuple(si for si, state in by_state.items() if state is HaState.ACTIVE),
        standby_sis=tuple(si for si, state in by_state.items() if state is HaState.STANDBY),
        other_sis=tuple(si for si, state in by_state.items() if state not in (HaState.ACTIVE, HaState.STANDBY)),
        pre_instantiable=states.is_pre_instantiable(view, unit),
        restarts=fact.restarts,
        component_restarts_in_window=restarts,
        component_restart_window_left=restarts_left,
        su_restarts_in_window=su_restarts,
        su_restart_window_left=su_restarts_left,
        next_recovery=_next_recovery(view, unit),
        repair_at=fact.repair_at,
    )


def _next_recovery(view: states.View, unit: ServiceUnit) -> str:
    """What one more fault of the SU's first component would bring."""
    if not unit.components:
        return ""
    component, node = unit.components[0], view.facts.node(view.host[unit.dn])
    fact = view.facts.unit(unit.dn)
    counters = Counters(fact.component_restarts, fact.su_restarts, node.failovers)
    now = view.facts.time
    policy = policy_of(Turn(view, view.facts.order, now), unit.dn, component.dn)
    return escalate(component.recovery_on_error, counters, policy, now).action.name.lower()


def _component(view: states.View, component: Component) -> ComponentStatus:
    fact = view.facts.component(component.dn)
    return ComponentStatus(
        dn=component.dn,
        operational=states.component_operational(view, component.dn),
        presence=fact.presence,
        readiness=states.component_readiness(view, component.dn),
        ha_readiness=states.ha_readiness(view, component.dn),
        restarts=fact.restarts,
        registered=fact.client is not None,
        instance=fact.instance,
        attempt=fact.attempt,
        doing=_doing(view, component.dn),
        last_error=fact.last_error,
    )


def _doing(view: states.View, comp: Dn) -> str:
    fact = view.facts.component(comp)
    if fact.doing is not None:
        return fact.doing.name.lower()
    if fact.terminating:
        return "terminate callback"
    if fact.delayed:
        return "waits for the next attempt"
    asked = [c for c in view.facts.callbacks.values() if c.component == comp]
    return f"{asked[0].asked.name if asked[0].asked else 'removal'} asked for" if asked else ""


def _instance(view: states.View, instance: ServiceInstance) -> InstanceStatus:
    by_su = {su: states.unit_ha_state(view, su, instance.dn) for su in states.units_of_instance(view, instance.dn)}
    return InstanceStatus(
        dn=instance.dn,
        group=instance.protected_by,
        rank=instance.rank,
        admin=states.admin(view, instance.dn),
        effective_admin=states.instance_admin(view, instance.dn),
        assignment=states.instance_assignment(view, instance.dn),
        active=tuple(su for su, state in by_su.items() if state in states.HOLDING),
        standby=tuple(su for su, state in by_su.items() if state is HaState.STANDBY),
        unassigned_since=view.facts.unassigned.get(instance.dn),
        alarm=f"{SI_UNASSIGNED_ALARM} {instance.dn}" in view.facts.alarms,
    )


def _csi(view: states.View, csi: ComponentServiceInstance) -> CsiStatus:
    rows = tuple(
        AssignmentStatus(
            csi=csi.dn,
            component=comp,
            su=view.index.unit_of_component[comp].dn,
            ha_state=row.state if row.confirmed or row.kept else None,
            requested="" if not row.invocation else row.asked.name if row.asked else "remove",
            rank=row.rank,
            epoch=row.epoch if row.state is HaState.ACTIVE or row.asked is HaState.ACTIVE else 0,
        )
        for comp, row in sorted(view.facts.assigned(csi.dn).items())
    )
    return CsiStatus(dn=csi.dn, type=csi.type, assignments=rows)


def _operation(view: states.View, operation: Operation) -> OperationStatus:
    return OperationStatus(
        dn=operation.dn,
        operation=AdminOperation(operation.operation),
        running=operation.running,
        since=operation.since,
        waits_for="" if operation.running else "earlier operations",
    )


# ---- why


def why(view: states.View, dn: Dn) -> tuple[str, ...]:
    """The present state of an object in words, what keeps it from being better, and its last events."""
    lines: list[str] = []
    if dn in view.index.instances:
        lines = _why_instance(view, dn)
    elif dn in view.index.units:
        lines = _why_unit(view, dn)
    elif dn in view.index.components:
        fact = view.facts.component(dn)
        lines = [f"{fact.presence.name} {_doing(view, dn)}".rstrip()]
        lines += [f"last error: {fact.last_error}"] if fact.last_error else []
        lines += _why_unit(view, view.index.unit_of_component[dn].dn)
    elif dn in view.index.groups:
        for unit in view.index.groups[dn].units:
            lines += _why_unit(view, unit.dn)
    elif dn in view.index.nodes:
        lines = _why_node(view, view.index.nodes[dn].name)
    history = [f"{line.time:.3f} {line.text}" for line in _history(view, dn)]
    return tuple(lines + history)


def _why_instance(view: states.View, si: Dn) -> list[str]:
    index, facts = view.index, view.facts
    assignment = states.instance_assignment(view, si)
    lines = [f"{index.short(si)} is {assignment.name}"]
    for su in states.units_of_instance(view, si):
        state = states.unit_ha_state(view, su, si)
        lines.append(f"{index.short(su)} on {view.host[su]}: {state.name if state else 'not confirmed yet'}")
    if assignment is Assignment.FULLY_ASSIGNED:
        return lines
    if not facts.quorate:
        lines.append("the partition has no quorum: nothing is assigned")
    elif not facts.started:
        lines.append("the cluster is starting: it waits for its nodes")
    for scope in states.instance_scopes(view, si):
        if states.admin(view, scope) is not Admin.UNLOCKED:
            lines.append(f"{index.short(scope)} is {states.admin(view, scope).name}")
    for sponsor in index.instances[si].depends_on:
        if states.instance_assignment(view, sponsor) is Assignment.UNASSIGNED:
            lines.append(f"its sponsor {index.short(sponsor)} is UNASSIGNED")
    if is_wanted(view, si):
        for unit in index.groups[index.instances[si].protected_by].units:
            lines += _why_unit(view, unit.dn)
    return lines


def _why_unit(view: states.View, su: Dn) -> list[str]:
    index, name = view.index, view.index.short(su)
    readiness = states.unit_readiness(view, su)
    if readiness is Readiness.IN_SERVICE:
        return [f"{name} is IN_SERVICE on {view.host[su]}"]
    reasons = [
        f"{index.short(scope)} is {states.admin(view, scope).name}"
        for scope in states.unit_scopes(view, su)
        if states.admin(view, scope) is not Admin.UNLOCKED
    ]
    reasons += _why_node(view, view.host[su])
    fact = view.facts.unit(su)
    if fact.disabled:
        reasons.append("DISABLED by a failover" + (", being repaired" if fact.repairing else ""))
    for component in index.units[su].components:
        comp = view.facts.component(component.dn)
        if states.component_operational(view, component.dn) is Operational.DISABLED:
            reasons.append(f"{component.name} is DISABLED ({comp.last_error})")
        if comp.presence is not Presence.INSTANTIATED:
            reasons.append(f"{component.name} is {comp.presence.name} {_doing(view, component.dn)}".rstrip())
    return [f"{name} is {readiness.name}: {'; '.join(reasons) or 'no reason is known'}"]


def _why_node(view: states.View, name: str) -> list[str]:
    fact = view.facts.node(name)
    if fact.node_id is None:
        return [f"node {name} is not a member"]
    if fact.failfast:
        return [f"node {name} was told to leave (failfast)"]
    reasons = [f"node {name} is {fact.clm.name} in CLM"] if fact.clm is not Admin.UNLOCKED else []
    return [*reasons, f"node {name} is DISABLED"] if fact.disabled else reasons


def derived(view: states.View) -> dict[tuple[int, Dn], int]:
    """The derived states whose changes are notified: (notification number, object) -> state."""
    shown: dict[tuple[int, Dn], int] = {}
    for name, node in view.index.node_named.items():
        shown[0x6B, node.dn] = states.node_operational(view, name)
    for su in view.index.units:
        shown[0x6C, su] = states.unit_operational(view, su)
        shown[0x6D, su] = states.unit_presence(view, su)
    for si in view.index.instances:
        shown[0x6F, si] = states.instance_assignment(view, si)
        for su in states.units_of_instance(view, si):
            shown[0x6E, child_dn("safSISU", su, si)] = states.unit_ha_state(view, su, si) or 0
    return shown


def node_id_of(view: states.View, name: str) -> NodeId | None:
    """The member that an AMF node is; None: it is not there."""
    return view.facts.node(name).node_id
