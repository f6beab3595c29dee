"""Administrative operations: refused, queued per service group, run, and answered when their effect is complete.

Source: SAI-AIS-AMF-B.04.01 section 8.
"""

from collections.abc import Callable
from typing import Final

from corosync_amf.ais import Admin as State
from corosync_amf.ais import (
    AdminOperation,
    Dn,
    ErrorCode,
    HaState,
    Presence,
    Readiness,
)
from corosync_amf.engine import Done, Origin
from corosync_amf.errors import NotExist

from . import adjusting
from .adjusting import ideal
from .components import clean_up, is_on_demand, monitor, needed_up
from .facts import Operation
from .faults import note_failovers, restart_application
from .lifecycle import Happening
from .messages import Admin, Verb
from .refusals import TARGET, Refusal, refused, transition
from .scope import Class, class_of, groups_of, instances_of, is_settled, units_of
from .states import (
    FAILED,
    View,
    assignments_of_instance,
    instances_of_unit,
    unit_ha_state,
    unit_presence,
    unit_readiness,
    units_of_instance,
)
from .turn import OPERATION, Turn
from .upkeep import begin_repair, is_alive, is_broken

QUEUE_MAX: Final = 64
TIMEOUT_MAX: Final = 1e7
"""Seconds."""
_OP = AdminOperation
_STATEFUL: Final = frozenset(Class) - {Class.COMPONENT, Class.CSI}
_ALLOWED: Final = {
    _OP.UNLOCK: _STATEFUL,
    _OP.LOCK: _STATEFUL,
    _OP.SHUTDOWN: _STATEFUL,
    _OP.LOCK_INSTANTIATION: _STATEFUL - {Class.SI},
    _OP.UNLOCK_INSTANTIATION: _STATEFUL - {Class.SI},
    _OP.RESTART: frozenset({Class.COMPONENT, Class.SU, Class.NODE, Class.APPLICATION}),
    _OP.SI_SWAP: frozenset({Class.SI}),
    _OP.SG_ADJUST: frozenset({Class.SG}),
    _OP.REPAIRED: frozenset({Class.COMPONENT, Class.SU, Class.NODE}),
    _OP.EAM_START: frozenset({Class.COMPONENT}),
    _OP.EAM_STOP: frozenset({Class.COMPONENT}),
}
_MOVING: Final = frozenset({Presence.INSTANTIATING, Presence.TERMINATING, Presence.RESTARTING})


def asked(turn: Turn, message: Admin, origin: Origin) -> None:
    """An administrator asks for an operation."""
    try:
        dn = turn.index.resolve(message.dn)
        operation = AdminOperation(message.operation)
    except NotExist as error:
        turn.refuse(origin, ErrorCode.NOT_EXIST, error.reason)
        return
    except ValueError:
        turn.refuse(origin, ErrorCode.INVALID_PARAM, f"{message.operation} is not an operation")
        return
    if message.timeout is not None and not 0.0 <= message.timeout <= TIMEOUT_MAX:
        turn.refuse(origin, ErrorCode.INVALID_PARAM, f"a timeout of {message.timeout} s")
        return
    if class_of(turn.index, dn) not in _ALLOWED[operation]:
        turn.refuse(origin, ErrorCode.NOT_SUPPORTED, f"{operation.name} is not defined for {dn}")
        return
    if not turn.facts.quorate:
        turn.refuse(origin, ErrorCode.TRY_AGAIN, "partition has no quorum")
        return
    groups = groups_of(turn.view, dn)
    superseded = _superseded(turn, dn, operation)
    ahead = [
        other
        for other in turn.facts.operations
        if other not in superseded and (other.dn == dn or set(other.groups) & set(groups))
    ]
    refusal = refused(turn, dn, operation) if not ahead else None
    if not message.queue and refusal is None:
        busy = "another operation is under way" if ahead else transition(turn.view, groups)
        refusal = (ErrorCode.TRY_AGAIN, busy) if busy else None
    if len(ahead) >= QUEUE_MAX:
        refusal = ErrorCode.TRY_AGAIN, f"{QUEUE_MAX} operations are waiting already"
    if refusal is not None:
        turn.refuse(origin, *refusal)
        return
    for other in superseded:
        _finish(turn, other, (ErrorCode.INTERRUPT, f"{operation.name} took its place"))
    facts = turn.facts
    facts.last_operation += 1
    facts.operations.append(Operation(facts.last_operation, dn, operation, origin, groups, since=turn.time))
    if message.timeout is not None:
        turn.alarm(OPERATION, str(facts.last_operation), message.timeout)
    turn.changed = True


def timed_out(turn: Turn, number: str) -> None:
    """The time of whoever asked is over; the operation goes on."""
    for operation in turn.facts.operations:
        if str(operation.number) == number:
            turn.refuse(operation.origin, ErrorCode.TIMEOUT, _waiting_for(turn, operation))
            operation.origin = None


def _waiting_for(turn: Turn, operation: Operation) -> str:
    return "the operation goes on" if operation.running else "the operation waits for others and will still run"


def _superseded(turn: Turn, dn: Dn, operation: AdminOperation) -> list[Operation]:
    """A lock or an unlock ends the shutdown of the same object."""
    if operation not in (_OP.LOCK, _OP.UNLOCK):
        return []
    return [
        other for other in turn.facts.operations if other.dn == dn and other.operation == _OP.SHUTDOWN and other.running
    ]


def attend(turn: Turn) -> None:
    """Begin the operations whose turn it is, and end those whose effect is complete."""
    adjusting.watch(turn)
    for operation in list(turn.facts.operations):
        if not operation.running and _is_turn(turn, operation):
            _start(turn, operation)
        elif operation.running:
            _continue(turn, operation)
    _lock_what_was_shut_down(turn)


def _lock_what_was_shut_down(turn: Turn) -> None:
    """A shutdown that nobody waits for any more (the quorum was lost meanwhile) ends, too."""
    awaited = {operation.dn for operation in turn.facts.operations}
    for dn, state in list(turn.facts.admin.items()):
        if state is State.SHUTTING_DOWN and dn not in awaited and turn.facts.quorate and _is_emptied(turn, dn)[0]:
            set_admin(turn, dn, State.LOCKED)


def _is_turn(turn: Turn, operation: Operation) -> bool:
    before = turn.facts.operations[: turn.facts.operations.index(operation)]
    return not any(other.dn == operation.dn or set(other.groups) & set(operation.groups) for other in before)


def _start(turn: Turn, operation: Operation) -> None:
    kind = AdminOperation(operation.operation)
    refusal = refused(turn, operation.dn, kind)
    if refusal is not None:
        _finish(turn, operation, refusal)
        return
    operation.running = turn.changed = True
    turn.say(operation.dn, f"administrator: {kind.name.lower().replace('_', '-')}")
    _BEGIN[kind](turn, operation)


def _finish(turn: Turn, operation: Operation, refusal: Refusal | None) -> None:
    turn.facts.operations.remove(operation)
    turn.changed = True
    turn.disarm(OPERATION, str(operation.number))
    if refusal is None:
        turn.reply(operation.origin, Done())
    else:
        turn.refuse(operation.origin, *refusal)


# ---- beginnings


def _set_state(turn: Turn, operation: Operation) -> None:
    kind = AdminOperation(operation.operation)
    set_admin(turn, operation.dn, TARGET[kind])
    if kind in (_OP.LOCK, _OP.SHUTDOWN):
        note_failovers(turn, _losing(turn.view, operation.dn), kind.name.lower(), None)


def _losing(view: View, dn: Dn) -> list[Dn]:
    return [] if class_of(view.index, dn) is Class.SI else units_of(view, dn)


def set_admin(turn: Turn, dn: Dn, state: State) -> None:
    """Change an administrative state."""
    old = turn.facts.admin.get(dn, State.UNLOCKED)
    turn.facts.admin[dn] = state
    turn.changed = True
    turn.say(dn, f"{old.name} -> {state.name}")
    turn.notify(_NOTIFICATION[class_of(turn.index, dn)], dn, "administrative state", old, state)


_NOTIFICATION: Final = {
    Class.NODE: 0x65,
    Class.NODE_GROUP: 0x65,
    Class.SU: 0x66,
    Class.SG: 0x67,
    Class.SI: 0x68,
    Class.APPLICATION: 0x69,
    Class.CLUSTER: 0x6A,
}


def _begin_restart(turn: Turn, operation: Operation) -> None:
    dn = operation.dn
    match class_of(turn.index, dn):
        case Class.APPLICATION:
            restart_application(turn, dn)
        case Class.NODE:
            is_up = Presence.INSTANTIATED
            operation.targets = [su for su in units_of(turn.view, dn) if unit_presence(turn.view, su) is is_up]
            if operation.targets:
                _restart_next(turn, operation)
        case Class.SU:
            operation.targets = [dn]
            _restart_next(turn, operation)
        case _:
            operation.targets = [turn.index.unit_of_component[dn].dn]
            _restart_next(turn, operation)


def _restart_next(turn: Turn, operation: Operation) -> None:
    """Restart the components of the first target; one that may not be restarted first gives its work away."""
    su = operation.targets[0]
    own = _own_components(turn, operation, su)
    if any(turn.index.components[comp].disable_restart for comp in own) and instances_of_unit(turn.view, su):
        turn.facts.unit(su).evacuate = True
        operation.phase = 1
    else:
        _doom(turn, own)
        operation.phase = 2
    turn.changed = True


def _own_components(turn: Turn, operation: Operation, su: Dn) -> list[Dn]:
    if class_of(turn.index, operation.dn) is Class.COMPONENT:
        return [operation.dn]
    return [component.dn for component in turn.index.units[su].components]


def _doom(turn: Turn, components: list[Dn]) -> None:
    for comp in components:
        fact = turn.facts.component(comp)
        if fact.presence is Presence.INSTANTIATED:
            fact.doomed = Verb.TERMINATE
            fact.restarts += 1


def _begin_swap(turn: Turn, operation: Operation) -> None:
    si = operation.dn
    states = {su: unit_ha_state(turn.view, su, si) for su in units_of_instance(turn.view, si)}
    standby = next(su for su, state in states.items() if state is HaState.STANDBY)
    active = next(su for su, state in states.items() if state is HaState.ACTIVE)
    operation.targets = [standby]
    turn.facts.preferred[turn.index.instances[si].protected_by] = [standby, active]
    note_failovers(turn, [active], "si-swap", None)


def _begin_adjust(turn: Turn, operation: Operation) -> None:
    group = turn.index.groups[operation.dn]
    turn.facts.preferred[group.dn] = ideal(turn.view, group.dn)
    turn.changed = True


def _begin_repair(turn: Turn, operation: Operation) -> None:
    if class_of(turn.index, operation.dn) is Class.NODE:
        turn.facts.node(turn.index.nodes[operation.dn].name).disabled = False
        turn.changed = True
    for su in units_of(turn.view, operation.dn):
        if not is_broken(turn, su):
            continue
        turn.facts.unit(su).repair_at = None
        begin_repair(turn, su)
        for component in turn.index.units[su].components:
            if turn.facts.component(component.dn).presence is Presence.TERMINATION_FAILED:
                clean_up(turn, component.dn, Happening.REPAIRED, "")


def _begin_monitor(turn: Turn, operation: Operation) -> None:
    monitor(turn, operation.dn, Verb.AM_START if operation.operation == _OP.EAM_START else Verb.AM_STOP)


_BEGIN: Final[dict[AdminOperation, Callable[[Turn, Operation], None]]] = {
    _OP.UNLOCK: _set_state,
    _OP.LOCK: _set_state,
    _OP.SHUTDOWN: _set_state,
    _OP.LOCK_INSTANTIATION: _set_state,
    _OP.UNLOCK_INSTANTIATION: _set_state,
    _OP.RESTART: _begin_restart,
    _OP.SI_SWAP: _begin_swap,
    _OP.SG_ADJUST: _begin_adjust,
    _OP.REPAIRED: _begin_repair,
    _OP.EAM_START: _begin_monitor,
    _OP.EAM_STOP: _begin_monitor,
}


# ---- ends


def _continue(turn: Turn, operation: Operation) -> None:
    match AdminOperation(operation.operation):
        case _OP.LOCK | _OP.SHUTDOWN:
            _end_lock(turn, operation)
        case _OP.LOCK_INSTANTIATION:
            _end_lock_instantiation(turn, operation)
        case _OP.UNLOCK_INSTANTIATION:
            _end_unlock_instantiation(turn, operation)
        case _OP.RESTART:
            _end_restart(turn, operation)
        case _OP.SI_SWAP:
            _end_swap(turn, operation)
        case _OP.SG_ADJUST if is_settled(turn.view, operation.dn):
            turn.facts.preferred.pop(operation.dn, None)
            _finish(turn, operation, None)
        case _OP.REPAIRED if is_settled(turn.view, operation.dn):
            broken = [su for su in units_of(turn.view, operation.dn) if is_broken(turn, su)]
            failure = f"{', '.join(map(turn.index.short, broken))} failed again"
            _finish(turn, operation, (ErrorCode.FAILED_OPERATION, failure) if broken else None)
        case _OP.UNLOCK if is_settled(turn.view, operation.dn):
            _finish(turn, operation, None)
        case _OP.EAM_START | _OP.EAM_STOP if turn.facts.component(operation.dn).monitor is None:
            is_up = turn.facts.component(operation.dn).presence is Presence.INSTANTIATED
            fault = operation.fault if is_up or operation.fault else "it is not there any more"
            _finish(turn, operation, (ErrorCode.FAILED_OPERATION, fault) if fault else None)
        case _:
            pass


def _is_emptied(turn: Turn, dn: Dn) -> tuple[bool, list[Dn]]:
    """Whether the object holds nothing, or only what cannot be taken from it; the components that have that."""
    view = turn.view
    kind = class_of(view.index, dn)
    rows = [
        (comp, row)
        for si in (instances_of(view, dn) if kind in _OF_INSTANCES else view.index.instances)
        for _, comp, row in assignments_of_instance(view, si)
        if kind in _OF_INSTANCES or view.index.unit_of_component[comp].dn in units_of(view, dn)
    ]
    stuck = [comp for comp, _ in rows if view.facts.component(comp).presence is Presence.TERMINATION_FAILED]
    is_empty = not rows or bool(stuck and all(row.invocation == 0 for _, row in rows))
    return is_empty and is_settled(view, dn), stuck


def _end_lock(turn: Turn, operation: Operation) -> None:
    is_emptied, stuck = _is_emptied(turn, operation.dn)
    if not is_emptied:
        return
    if operation.operation == _OP.SHUTDOWN:
        set_admin(turn, operation.dn, State.LOCKED)
    _finish(turn, operation, (ErrorCode.REPAIR_PENDING, f"{stuck[0]} cannot be cleaned up") if stuck else None)


_OF_INSTANCES: Final = frozenset({Class.SI})


def _end_lock_instantiation(turn: Turn, operation: Operation) -> None:
    components = _components(turn, operation.dn)
    if not is_settled(turn.view, operation.dn) or any(is_alive(turn, comp) for comp in components):
        return
    failed = [comp for comp in components if turn.facts.component(comp).presence is Presence.TERMINATION_FAILED]
    refusal = (ErrorCode.REPAIR_PENDING, f"{failed[0]} could not be terminated") if failed else None
    _finish(turn, operation, refusal)


def _components(turn: Turn, dn: Dn) -> list[Dn]:
    return [component.dn for su in units_of(turn.view, dn) for component in turn.index.units[su].components]


def _end_unlock_instantiation(turn: Turn, operation: Operation) -> None:
    if not is_settled(turn.view, operation.dn):
        return
    failed = [comp for comp in _components(turn, operation.dn) if turn.facts.component(comp).presence in FAILED]
    refusal = (ErrorCode.TIMEOUT, f"{failed[0]} could not be instantiated") if failed else None
    _finish(turn, operation, refusal)


def _end_restart(turn: Turn, operation: Operation) -> None:
    if operation.fault:
        for su in operation.targets:
            turn.facts.unit(su).evacuate = False
        _finish(turn, operation, (ErrorCode.FAILED_OPERATION, operation.fault))
        return
    if not is_settled(turn.view, operation.dn):
        return
    if not operation.targets:
        if operation.dn not in turn.facts.restarting_applications:
            _finish(turn, operation, None)
        return
    su = operation.targets[0]
    own = _own_components(turn, operation, su)
    if operation.phase == 1:
        if not instances_of_unit(turn.view, su):
            _doom(turn, own)
            operation.phase = 2
            turn.changed = True
        return
    # One that is UNINSTANTIATED now is no longer wanted; there is nothing to wait for.
    if any(turn.facts.component(comp).presence in _MOVING for comp in own if _counts(turn, su, comp)):
        return
    turn.facts.unit(su).evacuate = False
    turn.changed = True
    del operation.targets[0]
    if operation.targets:
        _restart_next(turn, operation)


def _counts(turn: Turn, su: Dn, comp: Dn) -> bool:
    return comp in needed_up(turn, su) or not is_on_demand(turn.view, comp)


def _end_swap(turn: Turn, operation: Operation) -> None:
    si, wanted = operation.dn, operation.targets[0]
    group = turn.index.instances[si].protected_by
    is_possible = unit_readiness(turn.view, wanted) is Readiness.IN_SERVICE
    if is_possible and not operation.fault and not is_settled(turn.view, si):
        return
    turn.facts.preferred.pop(group, None)
    is_done = unit_ha_state(turn.view, wanted, si) is HaState.ACTIVE
    reason = operation.fault or f"{turn.index.short(wanted)} is not in service"
    _finish(turn, operation, None if is_done else (ErrorCode.FAILED_OPERATION, reason))
