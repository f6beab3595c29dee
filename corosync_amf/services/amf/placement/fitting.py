"""Which component of an SU takes which CSI: types, capability models and limits."""

from collections.abc import Mapping, Sequence
from typing import Final

from corosync_amf.ais import Dn, HaState
from corosync_amf.services.amf.lifecycle import registers
from corosync_amf.services.amf.model import Capability, Component, ComponentServiceInstance, CsType, ServiceInstance

from . import Unit

_ONE_ACTIVE: Final = frozenset(
    {
        Capability.ONE_ACTIVE_OR_Y_STANDBY,
        Capability.ONE_ACTIVE_OR_ONE_STANDBY,
        Capability.ONE_ACTIVE,
        Capability.NON_PRE_INSTANTIABLE,
    }
)
_NO_STANDBY: Final = frozenset({Capability.X_ACTIVE, Capability.ONE_ACTIVE, Capability.NON_PRE_INSTANTIABLE})
_TRIES_MAX: Final = 2000

Load = list[tuple[str, HaState]]
"""(type, HA state) of the CSIs that a component has."""


def can_add(component: Component, load: Load, csi_type: str, ha_state: HaState) -> bool:
    """Whether a component with that load can also take a CSI of that type as ACTIVE or STANDBY."""
    support = _support(component, csi_type)
    if support is None:
        return False
    same = [state for kind, state in load if kind == csi_type]
    alike = same.count(ha_state)
    if support.capability is not Capability.X_ACTIVE_AND_Y_STANDBY and alike < len(same):
        return False
    total = sum(state is ha_state for _, state in load)
    if total and not registers(component.category):
        return False
    if ha_state is HaState.ACTIVE:
        limits = [support.max_active, 1 if support.capability in _ONE_ACTIVE else None]
        overall = component.max_active_csis
    else:
        one = support.capability is Capability.ONE_ACTIVE_OR_ONE_STANDBY
        none = support.capability in _NO_STANDBY
        limits = [support.max_standby, 1 if one else None, 0 if none else None]
        overall = component.max_standby_csis
    return all(limit is None or alike < limit for limit in limits) and (overall is None or total < overall)


def _support(component: Component, csi_type: str) -> CsType | None:
    """How the component supports a type; one without `cs_types` supports every type."""
    if not registers(component.category):
        return CsType(name=csi_type, capability=Capability.NON_PRE_INSTANTIABLE)
    if not component.cs_types:
        return CsType(name=csi_type, capability=component.capability)
    return next((support for support in component.cs_types if support.name == csi_type), None)


def fit(
    unit: Unit, instances: Sequence[ServiceInstance], ha_state: HaState, held: Mapping[Dn, Mapping[Dn, Dn]]
) -> dict[Dn, dict[Dn, Dn]]:
    """SI -> CSI -> component, for as many SIs (in the given order) as find a place in the SU, all in one HA state.

    `held` is the same for what the SU has now: a component keeps its CSI where it can.
    """
    loads: dict[Dn, Load] = {component.dn: [] for component in unit.components}
    room = dict(unit.room) if unit.room is not None else None
    placed: dict[Dn, dict[Dn, Dn]] = {}
    for instance in instances:
        weight = instance.active_weight if ha_state is HaState.ACTIVE else instance.standby_weight
        if not instance.csis or (room is not None and any(room.get(k, 0) < v for k, v in weight.items())):
            continue
        chosen = _place(unit, instance, ha_state, held.get(instance.dn, {}), loads)
        if chosen is None:
            continue
        placed[instance.dn] = chosen
        for csi in instance.csis:
            if csi.dn in chosen:
                loads[chosen[csi.dn]].append((csi.type, ha_state))
        if room is not None:
            room = {resource: left - weight.get(resource, 0) for resource, left in room.items()}
    return placed


def _place(
    unit: Unit, instance: ServiceInstance, ha_state: HaState, held: Mapping[Dn, Dn], before: Mapping[Dn, Load]
) -> dict[Dn, Dn] | None:
    """A component for every CSI of one SI, or None; depth first, a bounded number of tries."""
    loads = {dn: list(load) for dn, load in before.items()}
    chosen: dict[Dn, Dn] = {}
    csis = [csi for csi in instance.csis if ha_state is HaState.ACTIVE or _may_stand_by(unit, csi)]
    if not csis:
        return None
    tries = [0]

    def candidates(csi: ComponentServiceInstance) -> list[Component]:
        fitting = [
            component
            for component in unit.components
            if (component.dn, csi.dn, ha_state) not in unit.refused
            and can_add(component, loads[component.dn], csi.type, ha_state)
        ]
        return sorted(fitting, key=lambda comp: (held.get(csi.dn) != comp.dn, len(loads[comp.dn]), _breadth(comp)))

    def descend(position: int) -> bool:
        if position == len(csis):
            return True
        csi = csis[position]
        for component in candidates(csi):
            tries[0] += 1
            if tries[0] > _TRIES_MAX:
                return False
            loads[component.dn].append((csi.type, ha_state))
            chosen[csi.dn] = component.dn
            if descend(position + 1):
                return True
            loads[component.dn].pop()
            del chosen[csi.dn]
        return False

    return chosen if descend(0) else None


def _may_stand_by(unit: Unit, csi: ComponentServiceInstance) -> bool:
    """Whether any component of the SU could have the CSI as STANDBY; one that starts on demand cannot, and the rest
    of its SI has a standby without it."""
    return any(can_add(component, [], csi.type, HaState.STANDBY) for component in unit.components)


def _breadth(component: Component) -> tuple[int, Dn]:
    """Components that support few types first, so that the versatile ones stay free."""
    return len(component.cs_types) or 1 << 30, component.dn
