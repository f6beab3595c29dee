"""Why an administrative operation cannot be done in the present state.

Source: SAI-AIS-AMF-B.04.01 section 8, the tables of error codes.
"""

from typing import Final

from corosync_amf.ais import Admin as State
from corosync_amf.ais import (
    AdminOperation,
    Dn,
    ErrorCode,
    HaState,
    Operational,
    Presence,
    RedundancyModel,
)

from .scope import Class, class_of, is_settled, units_of
from .states import (
    FAILED,
    View,
    instance_admin,
    node_operational,
    unit_ha_state,
    unit_operational,
    unit_presence,
    units_of_instance,
)
from .turn import Turn
from .upkeep import is_broken

_OP = AdminOperation
_MOVING: Final = frozenset({Presence.INSTANTIATING, Presence.TERMINATING, Presence.RESTARTING})
_SWAPPABLE: Final = frozenset({RedundancyModel.TWO_N, RedundancyModel.N_PLUS_M, RedundancyModel.N_WAY})

Refusal = tuple[ErrorCode, str]


def refused(turn: Turn, dn: Dn, operation: AdminOperation) -> Refusal | None:
    """Why the operation cannot be done in the present state; None: it can."""
    view = turn.view
    state = view.facts.admin.get(dn, State.UNLOCKED)
    bad = ErrorCode.BAD_OPERATION
    match operation:
        case _OP.UNLOCK | _OP.LOCK | _OP.SHUTDOWN | _OP.LOCK_INSTANTIATION | _OP.UNLOCK_INSTANTIATION:
            return _refused_by_state(operation, state)
        case _OP.RESTART:
            return _restart_refused(view, dn)
        case _OP.SI_SWAP:
            return _swap_refused(view, dn)
        case _OP.SG_ADJUST:
            is_locked = state is not State.UNLOCKED
            return (bad, "the service group is locked") if is_locked else None
        case _OP.REPAIRED:
            return _repair_refused(turn, dn)
        case _OP.EAM_START | _OP.EAM_STOP:
            config = view.index.components[dn]
            command = config.am_start if operation is _OP.EAM_START else config.am_stop
            if command is None:
                return bad, "no such command is configured"
            is_up = view.facts.component(dn).presence is Presence.INSTANTIATED
            return None if is_up else (bad, "it is not instantiated")


def transition(view: View, groups: list[Dn]) -> str:
    """What goes on in these service groups by itself, in words, for who does not want to wait for it; "": nothing."""
    units = [unit.dn for group in groups for unit in view.index.groups[group].units]
    moving = next((su for su in units if unit_presence(view, su) in _MOVING), None)
    if moving is not None:
        return f"{view.index.short(moving)} is {unit_presence(view, moving).name}"
    if not all(is_settled(view, group) for group in groups):
        return "a transition is under way"
    instances = {si.dn for group in groups for si in view.index.instances_of_group[group]}
    for si, sponsors in view.facts.tolerances.items():
        for sponsor, token in sponsors.items():
            if token > 0 and instances & {si, sponsor}:
                return f"{view.index.short(si)} tolerates the absence of {view.index.short(sponsor)}"
    return "CLM is locking a node" if any(node.clearing for node in view.facts.nodes.values()) else ""


TARGET: Final = {
    _OP.UNLOCK: State.UNLOCKED,
    _OP.LOCK: State.LOCKED,
    _OP.SHUTDOWN: State.SHUTTING_DOWN,
    _OP.LOCK_INSTANTIATION: State.LOCKED_INSTANTIATION,
    _OP.UNLOCK_INSTANTIATION: State.LOCKED,
}
_FROM: Final = {
    _OP.UNLOCK: frozenset({State.LOCKED, State.SHUTTING_DOWN}),
    _OP.LOCK: frozenset({State.UNLOCKED, State.SHUTTING_DOWN}),
    _OP.SHUTDOWN: frozenset({State.UNLOCKED}),
    _OP.LOCK_INSTANTIATION: frozenset({State.LOCKED}),
    _OP.UNLOCK_INSTANTIATION: frozenset({State.LOCKED_INSTANTIATION}),
}


def _refused_by_state(operation: AdminOperation, state: State) -> Refusal | None:
    if state is TARGET[operation]:
        return ErrorCode.NO_OP, f"it is {state.name} already"
    if state not in _FROM[operation]:
        return ErrorCode.BAD_OPERATION, f"{operation.name} is not possible from {state.name}"
    return None


def _restart_refused(view: View, dn: Dn) -> Refusal | None:
    match class_of(view.index, dn):
        case Class.COMPONENT:
            fact = view.facts.component(dn)
            su = view.index.unit_of_component[dn].dn
            is_up = fact.presence is Presence.INSTANTIATED and unit_operational(view, su) is Operational.ENABLED
        case Class.SU:
            is_up = _is_up(view, dn)
        case Class.NODE:
            is_well = node_operational(view, view.index.nodes[dn].name) is Operational.ENABLED
            is_up = is_well and any(_is_up(view, su) for su in units_of(view, dn))
        case _:
            components = [component for su in units_of(view, dn) for component in view.index.units[su].components]
            failed = Presence.TERMINATION_FAILED
            is_clean = all(view.facts.component(component.dn).presence is not failed for component in components)
            is_up = is_clean and any(_is_up(view, su) for su in units_of(view, dn))
    return None if is_up else (ErrorCode.BAD_OPERATION, "it is disabled or not instantiated")


def _is_up(view: View, su: Dn) -> bool:
    is_enabled = unit_operational(view, su) is Operational.ENABLED
    return is_enabled and unit_presence(view, su) is Presence.INSTANTIATED


def _swap_refused(view: View, si: Dn) -> Refusal | None:
    group = view.index.groups[view.index.instances[si].protected_by]
    if group.redundancy_model not in _SWAPPABLE:
        return ErrorCode.NOT_SUPPORTED, f"{group.redundancy_model.name} has no standby to swap with"
    if instance_admin(view, si) is not State.UNLOCKED:
        return ErrorCode.BAD_OPERATION, "the service instance is not UNLOCKED"
    states = {su: unit_ha_state(view, su, si) for su in units_of_instance(view, si)}
    if HaState.ACTIVE not in states.values() or HaState.STANDBY not in states.values():
        return ErrorCode.BAD_OPERATION, "it has no active and standby to change places"
    return None


def _repair_refused(turn: Turn, dn: Dn) -> Refusal | None:
    view = turn.view
    units = units_of(view, dn)
    names = {view.host[su] for su in units}
    if class_of(view.index, dn) is Class.NODE:
        names = {view.index.nodes[dn].name}
    if any(view.facts.node(name).node_id is None for name in names):
        return ErrorCode.BAD_OPERATION, "its node is absent"
    if class_of(view.index, dn) is Class.COMPONENT:
        fact = view.facts.component(dn)
        is_well = not fact.disabled and fact.presence not in FAILED
    elif class_of(view.index, dn) is Class.NODE:
        is_well = not view.facts.node(view.index.nodes[dn].name).disabled
    else:
        is_well = not is_broken(turn, dn)
    return (ErrorCode.NO_OP, "it is ENABLED already") if is_well else None
