"""The states of AMF, derived from the model and the facts: one function each, none stored.

Source: SAI-AIS-AMF-B.04.01 section 3.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from corosync_amf.ais import (
    Admin,
    Assignment,
    Dn,
    HaReadiness,
    HaState,
    Operational,
    Presence,
    Readiness,
    RedundancyModel,
)

from .facts import AssignmentFact, Facts
from .lifecycle import registers
from .model import Index, ServiceInstance, ServiceUnit
from .names import parent
from .placement.fitting import can_add

FAILED: Final = frozenset({Presence.INSTANTIATION_FAILED, Presence.TERMINATION_FAILED})
DOWN: Final = frozenset({Presence.UNINSTANTIATED, Presence.INSTANTIATION_FAILED})
"""Certainly no process."""
HOLDING: Final = frozenset({HaState.ACTIVE, HaState.QUIESCING})
"""States in which a component does the work."""
_WORST: Final = {Admin.UNLOCKED: 0, Admin.SHUTTING_DOWN: 1, Admin.LOCKED: 2, Admin.LOCKED_INSTANTIATION: 3}
_NO_STANDBY: Final = frozenset({RedundancyModel.N_WAY_ACTIVE, RedundancyModel.NO_REDUNDANCY})


@dataclass(frozen=True, slots=True)
class View:
    """The model, what happened, on which node each SU lives, which components register (the others are
    instantiated by being assigned), and which CSIs no component can have as STANDBY."""

    index: Index
    facts: Facts
    host: dict[Dn, str]
    registering: frozenset[Dn]
    active_only: frozenset[Dn]
    _scopes: dict[Dn, list[Dn]]


def view_of(index: Index, facts: Facts) -> View:
    """The view of a model and its facts."""
    registering = frozenset(dn for dn, component in index.components.items() if registers(component.category))
    return View(index, facts, hosting(index), registering, _active_only(index), {})


def _active_only(index: Index) -> frozenset[Dn]:
    found: set[Dn] = set()
    for instance in index.instances.values():
        units = index.groups[instance.protected_by].units
        components = [component for unit in units for component in unit.components]
        for csi in instance.csis:
            if not any(can_add(component, [], csi.type, HaState.STANDBY) for component in components):
                found.add(csi.dn)
    return frozenset(found)


def hosting(index: Index) -> dict[Dn, str]:
    """SU -> its node's name: where pinned, else the allowed node with the fewest SUs of the group, then by name."""
    hosts: dict[Dn, str] = {}
    for group in index.groups.values():
        load = dict.fromkeys(index.node_named, 0)
        for unit in group.units:
            if unit.node:
                load[unit.node] = load.get(unit.node, 0) + 1
        for unit in group.units:
            name = unit.node
            if not name:
                name = min(unit.hosts, key=lambda node: (load.get(node, 0), node))
                load[name] = load.get(name, 0) + 1
            hosts[unit.dn] = name
    return hosts


def admin(view: View, dn: Dn) -> Admin:
    """The administrative state of one object itself."""
    return view.facts.admin.get(dn, Admin.UNLOCKED)


def _worst(view: View, dns: list[Dn]) -> Admin:
    states = view.facts.admin
    return max((states.get(dn, Admin.UNLOCKED) for dn in dns), key=_WORST.__getitem__)


def node_scopes(view: View, name: str) -> list[Dn]:
    """What a node's administrative state depends on: itself, its groups, the cluster."""
    index = view.index
    groups = [group.dn for group in index.node_groups.values() if name in group.nodes]
    return [index.node_named[name].dn, *groups, index.cluster.dn]


def unit_scopes(view: View, su: Dn) -> list[Dn]:
    """The objects whose administrative state bears on an SU."""
    if su not in view._scopes:
        group = view.index.group_of_unit[su].dn
        view._scopes[su] = [su, group, parent(group), *node_scopes(view, view.host[su])]
    return view._scopes[su]


def instance_scopes(view: View, si: Dn) -> list[Dn]:
    """The objects whose administrative state bears on an SI."""
    if si not in view._scopes:
        view._scopes[si] = [si, parent(si), view.index.cluster.dn]
    return view._scopes[si]


def unit_admin(view: View, su: Dn) -> Admin:
    """The effective administrative state of an SU. A node that CLM locks locks its SUs."""
    own, clm = _worst(view, unit_scopes(view, su)), view.facts.node(view.host[su]).clm
    return own if clm is Admin.UNLOCKED else max(own, clm, key=_WORST.__getitem__)


def instance_admin(view: View, si: Dn) -> Admin:
    """The effective administrative state of an SI."""
    return _worst(view, instance_scopes(view, si))


def is_pre_instantiable(view: View, unit: ServiceUnit) -> bool:
    """Whether the SU can be instantiated without being assigned: one of its components can."""
    return any(component.dn in view.registering for component in unit.components)


def unit_presence(view: View, su: Dn) -> Presence:
    """SaAmfPresenceStateT of an SU."""
    unit = view.index.units[su]
    states = [view.facts.components[comp.dn].presence for comp in unit.components]
    needed = states
    if is_pre_instantiable(view, unit):
        needed = [view.facts.components[comp.dn].presence for comp in unit.components if comp.dn in view.registering]
    for state in (Presence.TERMINATION_FAILED, Presence.INSTANTIATION_FAILED, Presence.TERMINATING):
        if state in states:
            return state
    if states and all(state is Presence.RESTARTING for state in states):
        return Presence.RESTARTING
    up = [state in (Presence.INSTANTIATED, Presence.RESTARTING) for state in needed]
    if up and all(up):
        return Presence.INSTANTIATED
    if Presence.INSTANTIATING in states or any(up):
        return Presence.INSTANTIATING
    return Presence.UNINSTANTIATED


def component_operational(view: View, comp: Dn) -> Operational:
    """SaAmfOperationalStateT of a component."""
    fact = view.facts.component(comp)
    return Operational.DISABLED if fact.disabled or fact.presence in FAILED else Operational.ENABLED


def unit_operational(view: View, su: Dn) -> Operational:
    """SaAmfOperationalStateT of an SU."""
    members = [component_operational(view, comp.dn) for comp in view.index.units[su].components]
    node_left = view.facts.node(view.host[su]).node_id is None
    bad = view.facts.unit(su).disabled or node_left or Operational.DISABLED in members
    return Operational.DISABLED if bad else Operational.ENABLED


def node_operational(view: View, name: str) -> Operational:
    """SaAmfOperationalStateT of a node."""
    fact = view.facts.node(name)
    return Operational.DISABLED if fact.disabled or fact.failfast else Operational.ENABLED


def unit_readiness(view: View, su: Dn) -> Readiness:
    """SaAmfReadinessStateT of an SU."""
    name, unit = view.host[su], view.index.units[su]
    presence = unit_presence(view, su)
    if is_pre_instantiable(view, unit):
        is_up = presence in (Presence.INSTANTIATED, Presence.RESTARTING)
    else:
        is_up = presence not in FAILED
    enabled = Operational.ENABLED
    is_able = unit_operational(view, su) is enabled and node_operational(view, name) is enabled
    if not (is_up and is_able and view.facts.quorate):
        return Readiness.OUT_OF_SERVICE
    match unit_admin(view, su):
        case Admin.UNLOCKED:
            return Readiness.IN_SERVICE
        case Admin.SHUTTING_DOWN:
            return Readiness.STOPPING
        case _:
            return Readiness.OUT_OF_SERVICE


def component_readiness(view: View, comp: Dn) -> Readiness:
    """SaAmfReadinessStateT of a component."""
    if component_operational(view, comp) is Operational.DISABLED:
        return Readiness.OUT_OF_SERVICE
    return unit_readiness(view, view.index.unit_of_component[comp].dn)


def ha_readiness(view: View, comp: Dn, csi: Dn | None = None) -> HaReadiness:
    """Which roles a component is ready to take, for one CSI or (None) in general."""
    fact = view.facts.component(comp)
    return fact.csi_readiness.get(csi, fact.readiness) if csi else max([fact.readiness, *fact.csi_readiness.values()])


def unit_ha_readiness(view: View, su: Dn) -> HaReadiness:
    """The worst of an SU's components."""
    states = [ha_readiness(view, comp.dn) for comp in view.index.units[su].components]
    return max(states, default=HaReadiness.READY_FOR_ASSIGNMENT)


def assignments_of_instance(view: View, si: Dn) -> Iterator[tuple[Dn, Dn, AssignmentFact]]:
    """(CSI, component, assignment) of an SI, in configuration order of its CSIs."""
    for csi in view.index.instances[si].csis:
        for comp, fact in view.facts.assigned(csi.dn).items():
            yield csi.dn, comp, fact


def assignments_of_component(view: View, comp: Dn) -> list[tuple[Dn, AssignmentFact]]:
    """(CSI, assignment) of a component."""
    return [(csi, held[comp]) for csi, held in view.facts.assignments.items() if comp in held]


def units_of_instance(view: View, si: Dn) -> list[Dn]:
    """The SUs that hold any assignment of an SI, in order of their names."""
    return sorted({view.index.unit_of_component[comp].dn for _, comp, _ in assignments_of_instance(view, si)})


def instances_of_unit(view: View, su: Dn) -> list[Dn]:
    """The SIs of which an SU holds any assignment, in order of their names."""
    own = {comp.dn for comp in view.index.units[su].components}
    return sorted(
        {view.index.instance_of_csi[csi].dn for csi, held in view.facts.assignments.items() if own & set(held)}
    )


def holds(fact: AssignmentFact) -> bool:
    """Whether the component may be doing the CSI's work: it has, or was told, ACTIVE or QUIESCING."""
    return fact.state in HOLDING or fact.asked in HOLDING


def unit_ha_state(view: View, su: Dn, si: Dn) -> HaState | None:
    """The HA state of an SU for an SI: the least far of its components; None: nothing confirmed yet."""
    own = {comp.dn for comp in view.index.units[su].components}
    rows = [fact for _, comp, fact in assignments_of_instance(view, si) if comp in own]
    states = {fact.state for fact in rows if fact.confirmed or fact.kept}
    csis = view.index.instances[si].csis
    has_all = all(fact.confirmed or fact.kept for fact in rows)
    is_complete = len(rows) == len(csis) and has_all
    could_stand_by = len(rows) >= sum(csi.dn not in view.active_only for csi in csis) and has_all
    if HaState.QUIESCING in states:
        return HaState.QUIESCING
    if states == {HaState.ACTIVE}:
        return HaState.ACTIVE if is_complete else None
    if HaState.QUIESCED in states:
        return HaState.ACTIVE if HaState.ACTIVE in states else HaState.QUIESCED
    return HaState.STANDBY if HaState.STANDBY in states and could_stand_by else None


def instance_assignment(view: View, si: Dn) -> Assignment:
    """SaAmfAssignmentStateT of an SI."""
    instance = view.index.instances[si]
    states = [unit_ha_state(view, su, si) for su in units_of_instance(view, si)]
    active = sum(state in HOLDING for state in states)
    if active == 0:
        return Assignment.UNASSIGNED
    wanted_active, wanted_standby = wanted(view, instance)
    full = states.count(HaState.ACTIVE) >= wanted_active and states.count(HaState.STANDBY) >= wanted_standby
    return Assignment.FULLY_ASSIGNED if full else Assignment.PARTIALLY_ASSIGNED


def wanted(view: View, instance: ServiceInstance) -> tuple[int, int]:
    """How many active and standby SUs an SI prefers under its redundancy model."""
    model = view.index.groups[instance.protected_by].redundancy_model
    if all(csi.dn in view.active_only for csi in instance.csis):
        return (instance.preferred_active if model is RedundancyModel.N_WAY_ACTIVE else 1), 0
    if model is RedundancyModel.N_WAY_ACTIVE:
        return instance.preferred_active, 0
    if model in _NO_STANDBY:
        return 1, 0
    return 1, instance.preferred_standby if model is RedundancyModel.N_WAY else 1
