"""From facts to steps: who may work, who is to work where, and what is done about the difference.

`decide` is called after every message and asks nothing of the past.
"""

from collections.abc import Callable, Mapping
from typing import Final

from corosync_amf.ais import Admin, Assignment, Dn, HaReadiness, HaState, Presence, Readiness, RedundancyModel

from .assignments import perform
from .components import is_on_demand, needed_up
from .facts import AssignmentFact
from .model import ServiceGroup, ServiceInstance
from .names import parent
from .placement import Assign, Assignments, Current, Group, Held, Place, Unit, by_rank, two_n
from .planning import Row, Work, next_steps
from .states import (
    View,
    assignments_of_instance,
    ha_readiness,
    holds,
    instance_admin,
    instance_assignment,
    unit_admin,
    unit_ha_readiness,
    unit_readiness,
)
from .turn import SI_UNASSIGNED_ALARM, STARTUP, TOLERANCE, UNASSIGNED, Turn
from .upkeep import Wish, look_after, wishes_of

ASSIGN: Final[dict[RedundancyModel, Assign]] = {RedundancyModel.TWO_N: two_n.assign}
"""One function per redundancy model."""
UNASSIGNED_DELAY: Final = 1.0
_ROUNDS_MAX: Final = 200
_REFUSED: Final = {
    HaState.ACTIVE: frozenset({HaReadiness.NOT_READY_FOR_ACTIVE, HaReadiness.NOT_READY_FOR_ASSIGNMENT}),
    HaState.STANDBY: frozenset({HaReadiness.NOT_READY_FOR_ASSIGNMENT}),
}


def decide(turn: Turn, finish: Callable[[Turn], None]) -> None:
    """Do everything that can be done now; `finish` looks after administrative operations between the rounds."""
    for _ in range(_ROUNDS_MAX):
        turn.changed = False
        if turn.facts.quorate and turn.facts.started:
            _watch_dependencies(turn)
            for step in next_steps(works(turn.view, targets(turn.view))):
                perform(turn, step)
        # After the steps: work that a broken SU has lost goes elsewhere before its repair begins.
        look_after(turn)
        _begin(turn)
        finish(turn)
        if not turn.changed:
            return


def _begin(turn: Turn) -> None:
    """Allow the first assignments: when all nodes are in and their SUs are up, or the startup time is over."""
    facts = turn.facts
    if facts.started or not facts.quorate:
        return
    are_nodes_in = all(facts.node(name).node_id is not None for name in turn.index.node_named)
    if facts.start_due or (are_nodes_in and not any(_is_coming(turn, group) for group in turn.index.groups.values())):
        facts.started = turn.changed = True
        turn.disarm(STARTUP, turn.index.cluster.dn)
        turn.say(turn.index.cluster.dn, "first assignments")


def _is_coming(turn: Turn, group: ServiceGroup) -> bool:
    """Whether an SU of the group is still on its way up."""
    coming = (Presence.UNINSTANTIATED, Presence.INSTANTIATING)
    wishes = wishes_of(turn, group)
    return any(
        turn.facts.component(comp).presence in coming
        for su, wish in wishes.items()
        if wish is Wish.RUN
        for comp in needed_up(turn, su)
    )


# ---- eligibility


def is_wanted(view: View, si: Dn) -> bool:
    """Whether the SI may be assigned as far as administrators are concerned."""
    instance = view.index.instances[si]
    is_restarting = parent(si) in view.facts.restarting_applications
    return instance_admin(view, si) is Admin.UNLOCKED and bool(instance.csis) and not is_restarting


def is_eligible(view: View, si: Dn) -> bool:
    """Whether the SI may be assigned: it is wanted, and each sponsor is there, on its way, or tolerably absent."""
    if not is_wanted(view, si):
        return False
    for sponsor in view.index.instances[si].depends_on:
        if instance_assignment(view, sponsor) is not Assignment.UNASSIGNED:
            continue
        if view.facts.tolerances.get(si, {}).get(sponsor, 0) > 0:
            continue
        group = view.index.groups[view.index.instances[sponsor].protected_by]
        has_place = any(unit_readiness(view, unit.dn) is Readiness.IN_SERVICE for unit in group.units)
        if not has_place or not is_eligible(view, sponsor):
            return False
    return True


def _is_held_back(view: View, si: Dn, leaving: set[Dn]) -> bool:
    """Whether a sponsor has been away for longer than tolerated, or goes away and its absence is not tolerated."""
    return any(
        view.facts.tolerances.get(si, {}).get(sponsor, 0) <= 0
        and (instance_assignment(view, sponsor) is Assignment.UNASSIGNED or (sponsor in leaving and tolerance == 0))
        for sponsor, tolerance in view.index.instances[si].depends_on.items()
    )


def _has_active(view: View, si: Dn) -> bool:
    return any(holds(fact) for _, _, fact in assignments_of_instance(view, si))


def _watch_dependencies(turn: Turn) -> None:
    """Start and stop the timers of absent sponsors, and those of unassigned SIs."""
    view = turn.view
    for si, instance in turn.index.instances.items():
        state = instance_assignment(view, si)
        if state is Assignment.UNASSIGNED and is_wanted(view, si):
            if si not in turn.facts.unassigned:
                turn.facts.unassigned[si] = turn.time
                turn.alarm(UNASSIGNED, si, UNASSIGNED_DELAY)
        elif turn.facts.unassigned.pop(si, None) is not None:
            turn.disarm(UNASSIGNED, si)
            turn.clear_alarm(SI_UNASSIGNED_ALARM, si)
        for sponsor, tolerance in instance.depends_on.items():
            _watch_sponsor(turn, si, sponsor, tolerance)


def _watch_sponsor(turn: Turn, si: Dn, sponsor: Dn, tolerance: float) -> None:
    running = turn.facts.tolerances.get(si, {})
    is_away = instance_assignment(turn.view, sponsor) is Assignment.UNASSIGNED
    if not is_away or not _has_active(turn.view, si):
        if sponsor in running and not is_away:
            del running[sponsor]
            turn.disarm(TOLERANCE, f"{si} {sponsor}")
            if not running:
                del turn.facts.tolerances[si]
    elif tolerance > 0 and sponsor not in running:
        turn.facts.tolerances.setdefault(si, {})[sponsor] = turn.order
        turn.alarm(TOLERANCE, f"{si} {sponsor}", tolerance, turn.order)


# ---- targets


def targets(view: View) -> dict[Dn, Assignments]:
    """Service group -> where its SIs are to be."""
    return {dn: target_of(view, group) for dn, group in view.index.groups.items()}


def target_of(view: View, group: ServiceGroup, *, empty: bool = False) -> Assignments:
    """Where the SIs of a group are to be; `empty`: if nothing were assigned yet."""
    assign = ASSIGN.get(group.redundancy_model)
    if assign is None:
        return {}
    in_service = frozenset(
        unit.dn
        for unit in group.units
        if unit_readiness(view, unit.dn) is Readiness.IN_SERVICE and not view.facts.unit(unit.dn).evacuate
    )
    return assign(placement_group(view, group), in_service, {} if empty else current_of(view, group))


def placement_group(view: View, group: ServiceGroup) -> Group:
    """A service group as placement sees it."""
    instances = [si for si in view.index.instances_of_group[group.dn] if is_eligible(view, si.dn)]
    units = [
        Unit(
            dn=unit.dn,
            rank=unit.rank,
            node=view.host[unit.dn],
            components=unit.components,
            refused=_refused(view, group, unit.dn),
            degraded=unit_ha_readiness(view, unit.dn) is HaReadiness.READY_FOR_ACTIVE_DEGRADED,
            room=_room(view, group, view.host[unit.dn]),
        )
        for unit in group.units
    ]
    preferred = tuple(view.facts.preferred.get(group.dn, ()))
    return Group(group, tuple(sorted(units, key=by_rank)), tuple(sorted(instances, key=by_rank)), preferred)


def _refused(view: View, group: ServiceGroup, su: Dn) -> frozenset[tuple[Dn, Dn, HaState]]:
    refused: set[tuple[Dn, Dn, HaState]] = set()
    for component in view.index.units[su].components:
        fact = view.facts.component(component.dn)
        if fact.readiness is HaReadiness.READY_FOR_ASSIGNMENT and not fact.csi_readiness:
            continue
        for si in view.index.instances_of_group[group.dn]:
            for csi in si.csis:
                ready = ha_readiness(view, component.dn, csi.dn)
                bad_for = {state for state, bad in _REFUSED.items() if ready in bad}
                if ready is HaReadiness.NOT_READY_FOR_ACTIVE and _is_irreplaceable(view, component.dn, csi.dn):
                    bad_for = set()
                refused |= {(component.dn, csi.dn, state) for state in bad_for}
    return frozenset(refused)


def _is_irreplaceable(view: View, comp: Dn, csi: Dn) -> bool:
    """Whether a component does the work of a CSI and no standby is ready to take over."""
    held = view.facts.assigned(csi)
    if comp not in held or not holds(held[comp]):
        return False
    return not any(
        row.state is HaState.STANDBY
        and row.confirmed
        and ha_readiness(view, other, csi) not in _REFUSED[HaState.ACTIVE]
        and unit_readiness(view, view.index.unit_of_component[other].dn) is Readiness.IN_SERVICE
        for other, row in held.items()
    )


def _room(view: View, group: ServiceGroup, node: str) -> dict[str, int] | None:
    """What a node's capacity leaves to a group."""
    capacity = view.index.node_named[node].capacity
    if not capacity:
        return None
    room = dict(capacity)
    for instance in view.index.instances.values():
        if instance.protected_by == group.dn:
            continue
        held = {
            (view.index.unit_of_component[comp].dn, holds(fact))
            for _, comp, fact in assignments_of_instance(view, instance.dn)
        }
        for su in {su for su, _ in held if view.host[su] == node}:
            weight = instance.active_weight if (su, True) in held else instance.standby_weight
            room = {resource: left - weight.get(resource, 0) for resource, left in room.items()}
    return room


_FARTHEST: Final = (HaState.ACTIVE, HaState.QUIESCING, HaState.QUIESCED, HaState.STANDBY)


def current_of(view: View, group: ServiceGroup) -> Current:
    """What the SUs of a group have, or were told to have."""
    current: dict[Dn, dict[Dn, Held]] = {}
    for instance in view.index.instances_of_group[group.dn]:
        states: dict[Dn, set[HaState]] = {}
        components: dict[Dn, dict[Dn, Dn]] = {}
        for csi, comp, fact in assignments_of_instance(view, instance.dn):
            if fact.invocation and fact.asked is None:
                continue
            su = view.index.unit_of_component[comp].dn
            states.setdefault(su, set()).add(_heading(fact))
            components.setdefault(su, {})[csi] = comp
        current[instance.dn] = {
            su: Held(next(state for state in _FARTHEST if state in found), components[su])
            for su, found in states.items()
        }
    return current


def _heading(fact: AssignmentFact) -> HaState:
    return fact.asked if fact.asked is not None else fact.state


# ---- works


def works(view: View, target: dict[Dn, Assignments]) -> list[Work]:
    """What planning needs to know of each SI."""
    rows = {si: _rows(view, si) for si in view.index.instances}
    wanted = {si: target.get(view.index.instances[si].protected_by, {}).get(si, {}) for si in view.index.instances}
    stuck = {si for si in rows if any(_is_stuck(view, row.component) for row in rows[si])}
    leaving = {si for si in rows if any(row.holds and not _stays(wanted[si], row) for row in rows[si])} - stuck
    held_back = {si for si in rows if _is_held_back(view, si, leaving)}
    going = leaving | held_back
    able = frozenset(dn for dn in view.index.components if _is_able(view, dn))
    crowded = {
        row.component
        for si in rows
        for row in rows[si]
        if row.su not in wanted[si] or wanted[si][row.su].components.get(row.csi) != row.component
    }
    found: list[Work] = []
    for si, instance in view.index.instances.items():
        if si in stuck:
            continue
        found.append(
            Work(
                si=si,
                csis={csi.dn: csi.depends_on for csi in instance.csis},
                rows=rows[si],
                target=wanted[si],
                able=able,
                stopping=frozenset(row.su for row in rows[si] if _is_stopping(view, row.su, si)),
                crowded=frozenset(crowded),
                may_activate=_sponsors_stay(view, instance, leaving),
                held_back=si in held_back,
                waits_for_dependents=any(
                    si in other.depends_on and dn in going and any(row.holds for row in rows[dn])
                    for dn, other in view.index.instances.items()
                ),
                actives_max=instance.preferred_active if _shares(view, instance) else 1,
            )
        )
    return found


def _shares(view: View, instance: ServiceInstance) -> bool:
    return view.index.groups[instance.protected_by].redundancy_model is RedundancyModel.N_WAY_ACTIVE


def _rows(view: View, si: Dn) -> tuple[Row, ...]:
    rows: list[Row] = []
    for csi, comp, fact in assignments_of_instance(view, si):
        rows.append(
            Row(
                csi=csi,
                component=comp,
                su=view.index.unit_of_component[comp].dn,
                state=fact.state,
                confirmed=fact.confirmed,
                busy=fact.invocation > 0 or _is_starting(view, comp, fact),
                able=_is_able(view, comp) and (fact.confirmed or not is_on_demand(view, comp)),
                clear=_is_clear(view, comp, fact),
                holds=holds(fact),
            )
        )
    return tuple(rows)


def _is_clear(view: View, comp: Dn, fact: AssignmentFact) -> bool:
    """Whether certainly no process has the assignment: the present one, if any, was never told."""
    if is_on_demand(view, comp):
        return view.facts.component(comp).instance == 0
    return not fact.confirmed and fact.asked is None and fact.invocation == 0


def _is_starting(view: View, comp: Dn, fact: AssignmentFact) -> bool:
    """A component that is instantiated by being assigned is on its way; no step can be added to that."""
    component = view.facts.component(comp)
    is_on_its_way = component.presence not in (Presence.INSTANTIATED, Presence.UNINSTANTIATED)
    return is_on_demand(view, comp) and is_on_its_way and not (fact.kept and component.instance == 0)


def _is_able(view: View, comp: Dn) -> bool:
    """Whether the component can be called, or, when it is instantiated by being assigned, started."""
    fact = view.facts.component(comp)
    if view.facts.node(view.host[view.index.unit_of_component[comp].dn]).failfast:
        return False
    if fact.doomed or fact.terminating or fact.doing is not None:
        return False
    if is_on_demand(view, comp):
        is_idle = fact.presence is Presence.UNINSTANTIATED and not fact.dirty and not fact.disabled
        return fact.presence is Presence.INSTANTIATED or is_idle
    return fact.presence is Presence.INSTANTIATED and fact.client is not None


def _is_stuck(view: View, comp: Dn) -> bool:
    return view.facts.component(comp).presence is Presence.TERMINATION_FAILED


def _stays(target: Mapping[Dn, Place], row: Row) -> bool:
    place = target.get(row.su)
    return place is not None and place.ha_state is HaState.ACTIVE and place.components.get(row.csi) == row.component


def _is_stopping(view: View, su: Dn, si: Dn) -> bool:
    return Admin.SHUTTING_DOWN in (unit_admin(view, su), instance_admin(view, si))


def _sponsors_stay(view: View, instance: ServiceInstance, leaving: set[Dn]) -> bool:
    """Whether every sponsor is assigned, or tolerably absent, and not about to be deactivated."""
    return all(
        sponsor not in leaving and instance_assignment(view, sponsor) is not Assignment.UNASSIGNED
        for sponsor in instance.depends_on
    )
