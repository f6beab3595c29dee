"""Which SUs are to be up, and the next commands that bring them there; repair of what has failed.

Source: SAI-AIS-AMF-B.04.01 sections 3.6.1.2 (number of instantiated SUs), 3.9.2 (levels) and 3.11.1.4 (repair).
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

from corosync_amf.ais import Admin, Dn, Presence

from .components import clean_up, is_on_demand, needed_up, start, terminate
from .lifecycle import Happening, after
from .messages import Verb
from .model import ServiceGroup, ServiceUnit
from .names import parent
from .states import FAILED, assignments_of_component, instances_of_unit, unit_admin
from .turn import REPAIR, RESTART_STORM_ALARM, Turn

REPAIRS_MAX: Final = 5
REPAIRS_WINDOW: Final = 600.0
REPAIR_WAIT_MIN: Final = 10.0
REPAIR_WAIT_MAX: Final = 300.0
_ON_THE_WAY: Final = frozenset({Presence.INSTANTIATING, Presence.RESTARTING})


class Wish(Enum):
    """What is to become of an SU's components. HOLD: it is broken, nothing is started or ended."""

    RUN = "run"
    HOLD = "hold"
    STOP = "stop"


def look_after(turn: Turn) -> None:
    """Start, end and repair what can be now, everywhere."""
    _repair_nodes(turn)
    for group in turn.index.groups.values():
        for unit in group.units:
            _repair_unit(turn, group, unit)
        wishes = wishes_of(turn, group)
        for unit in group.units:
            if turn.facts.node(turn.view.host[unit.dn]).node_id is not None:
                _clean_unknown(turn, unit)
                _renew(turn, unit)
                _work_on(turn, unit, wishes[unit.dn])
            _finish_repair(turn, unit, wishes[unit.dn])
    _finish_application_restarts(turn)


def wishes_of(turn: Turn, group: ServiceGroup) -> dict[Dn, Wish]:
    """What each SU of a group is to be: the assigned and the best healthy ones run, up to the preferred number."""
    wishes: dict[Dn, Wish] = {}
    healthy: list[tuple[tuple[object, ...], Dn]] = []
    for unit in group.units:
        wish = _own_wish(turn, group, unit)
        wishes[unit.dn] = wish if wish is not None else Wish.STOP
        if wish is None:
            is_assigned = bool(instances_of_unit(turn.view, unit.dn))
            is_up = any(is_alive(turn, comp.dn) for comp in unit.components)
            healthy.append(((not is_assigned, not is_up, _rank(unit)), unit.dn))
    limit = group.preferred_inservice_sus
    for position, (key, su) in enumerate(sorted(healthy)):
        if limit is None or position < limit or not key[0]:
            wishes[su] = Wish.RUN
    return wishes


def _rank(unit: ServiceUnit) -> tuple[bool, int, Dn]:
    return unit.rank == 0, unit.rank, unit.dn


def _own_wish(turn: Turn, group: ServiceGroup, unit: ServiceUnit) -> Wish | None:
    """The wish that follows from the SU alone; None: it is healthy, and its group decides."""
    name = turn.view.host[unit.dn]
    node = turn.facts.node(name)
    state = unit_admin(turn.view, unit.dn)
    if node.failfast or node.node_id is None:
        return Wish.HOLD
    if node.disabled or state is Admin.LOCKED_INSTANTIATION or parent(group.dn) in turn.facts.restarting_applications:
        return Wish.STOP
    if is_broken(turn, unit.dn) and not turn.facts.unit(unit.dn).repairing:
        return Wish.HOLD
    return None if state is Admin.UNLOCKED and not turn.facts.unit(unit.dn).evacuate else Wish.RUN


def is_broken(turn: Turn, su: Dn) -> bool:
    """Whether the SU or one of its components has failed."""
    facts = [turn.facts.component(comp.dn) for comp in turn.index.units[su].components]
    return turn.facts.unit(su).disabled or any(fact.disabled or fact.presence in FAILED for fact in facts)


# ---- starting and ending


def _clean_unknown(turn: Turn, unit: ServiceUnit) -> None:
    for component in unit.components:
        fact = turn.facts.component(component.dn)
        if fact.dirty and fact.doing is None and fact.presence is Presence.UNINSTANTIATED:
            clean_up(turn, component.dn, Happening.GONE, "")


def _renew(turn: Turn, unit: ServiceUnit) -> None:
    """The work of an SU that is to be restarted after a fault has gone elsewhere: now its components follow."""
    fact = turn.facts.unit(unit.dn)
    if not fact.renewing or instances_of_unit(turn.view, unit.dn):
        return
    fact.renewing = fact.evacuate = False
    turn.changed = True
    for component in unit.components:
        if turn.facts.component(component.dn).presence is Presence.INSTANTIATED:
            turn.facts.component(component.dn).doomed = Verb.CLEANUP


def _work_on(turn: Turn, unit: ServiceUnit, wish: Wish) -> None:
    match wish:
        case Wish.RUN:
            _end_doomed(turn, unit)
            _start_next(turn, unit)
        case Wish.STOP:
            _end_next(turn, unit)
        case Wish.HOLD:
            _end_doomed(turn, unit)


def _start_next(turn: Turn, unit: ServiceUnit) -> None:
    """Start the components of the lowest level that is not up yet, and assigned ones that start on demand."""
    facts = {component.dn: turn.facts.component(component.dn) for component in unit.components}
    if any(fact.doomed for fact in facts.values()) or turn.facts.unit(unit.dn).renewing:
        return
    beforehand = [component for component in unit.components if not is_on_demand(turn.view, component.dn)]
    for component in unit.components:
        fact = facts[component.dn]
        is_free = fact.instance == 0 and fact.doing is None and not fact.dirty and not fact.delayed
        if not is_free or fact.presence not in _ON_THE_WAY | {Presence.UNINSTANTIATED}:
            continue
        lower = [other for other in beforehand if other.instantiation_level < component.instantiation_level]
        is_wanted = not is_on_demand(turn.view, component.dn) or assignments_of_component(turn.view, component.dn)
        if is_wanted and all(facts[other.dn].presence is Presence.INSTANTIATED for other in lower):
            start(turn, component.dn)


def _end_next(turn: Turn, unit: ServiceUnit) -> None:
    """End the components of the highest level that is still there; those with work first have to give it back."""
    for component in unit.components:
        turn.facts.component(component.dn).doomed = None
    alive = [comp for comp in unit.components if is_alive(turn, comp.dn)]
    top = max((comp.instantiation_level for comp in alive), default=0)
    if instances_of_unit(turn.view, unit.dn):
        return
    for component in alive:
        fact = turn.facts.component(component.dn)
        is_free = fact.doing in (None, Verb.INSTANTIATE) and not fact.terminating
        if component.instantiation_level == top and is_free and fact.presence not in FAILED:
            terminate(turn, component.dn)


def is_alive(turn: Turn, comp: Dn) -> bool:
    fact = turn.facts.component(comp)
    return (fact.instance != 0 and fact.presence not in FAILED) or fact.presence in _ON_THE_WAY


def _end_doomed(turn: Turn, unit: ServiceUnit) -> None:
    """End what is to be restarted, highest level first."""
    facts = {component.dn: turn.facts.component(component.dn) for component in unit.components}
    for component in unit.components:
        fact = facts[component.dn]
        above = [other for other in unit.components if other.instantiation_level > component.instantiation_level]
        is_turn = all(not facts[other.dn].doomed and not _is_ending(turn, other.dn) for other in above)
        if fact.doomed is None or not is_turn:
            continue
        if fact.presence is not Presence.INSTANTIATED:
            fact.doomed = None
            turn.changed = True
        elif fact.doomed is Verb.TERMINATE:
            terminate(turn, component.dn, restart=True)
        else:
            clean_up(turn, component.dn, Happening.RESTART, "")


def _is_ending(turn: Turn, comp: Dn) -> bool:
    fact = turn.facts.component(comp)
    return bool(fact.terminating) or fact.doing in (Verb.AM_STOP, Verb.CLEANUP, Verb.TERMINATE, Verb.AWAIT_EXIT)


# ---- repair


def _repair_nodes(turn: Turn) -> None:
    for name, node in turn.index.node_named.items():
        fact = turn.facts.node(name)
        if not fact.disabled or fact.failfast or fact.node_id is None or not node.auto_repair:
            continue
        units = [su for su, host in turn.view.host.items() if host == name]
        if all(_is_empty(turn, su, _is_down) for su in units):
            fact.disabled = False
            turn.changed = True
            turn.say(node.dn, "repaired: ENABLED")


def _is_empty(turn: Turn, su: Dn, is_down: Callable[[Turn, Dn], bool]) -> bool:
    components = turn.index.units[su].components
    return all(is_down(turn, comp.dn) for comp in components) and not instances_of_unit(turn.view, su)


def _is_down(turn: Turn, comp: Dn) -> bool:
    fact = turn.facts.component(comp)
    return fact.instance == 0 and fact.doing is None and fact.presence is not Presence.TERMINATION_FAILED


def _is_healthy_or_down(turn: Turn, comp: Dn) -> bool:
    fact = turn.facts.component(comp)
    is_failed = fact.disabled or fact.presence in FAILED
    return _is_down(turn, comp) if is_failed else not _is_ending(turn, comp)


def _repair_unit(turn: Turn, group: ServiceGroup, unit: ServiceUnit) -> None:
    """Let a broken SU be instantiated again, at once or after a while when that happens too often."""
    fact, node = turn.facts.unit(unit.dn), turn.facts.node(turn.view.host[unit.dn])
    may_repair = group.auto_repair and unit.maintenance_campaign is None
    is_there = node.node_id is not None and not node.failfast and not node.disabled
    if not may_repair or not is_there or fact.repairing or fact.repair_at is not None or not is_broken(turn, unit.dn):
        return
    if not _is_empty(turn, unit.dn, _is_healthy_or_down):
        return
    recent = [time for time in fact.repairs if turn.time - time < REPAIRS_WINDOW]
    if len(recent) < REPAIRS_MAX:
        fact.repair_wait = 0.0
        turn.clear_alarm(RESTART_STORM_ALARM, unit.dn)
        begin_repair(turn, unit.dn)
        return
    fact.repair_wait = min(max(2 * fact.repair_wait, REPAIR_WAIT_MIN), REPAIR_WAIT_MAX)
    fact.repair_at = turn.time + fact.repair_wait
    turn.alarm(REPAIR, unit.dn, fact.repair_wait, turn.order)
    text = f"failed {REPAIRS_MAX} repairs in ten minutes; next one in {fact.repair_wait:.0f} s"
    turn.raise_alarm(RESTART_STORM_ALARM, unit.dn, text, "look for the cause")


def repair_due(turn: Turn, su: Dn) -> None:
    """The wait before a repair is over."""
    fact = turn.facts.unit(su)
    if fact.repair_at is not None:
        fact.repair_at = None
        if is_broken(turn, su) and not fact.repairing:
            begin_repair(turn, su)


def begin_repair(turn: Turn, su: Dn) -> None:
    """The SU may be instantiated again."""
    fact = turn.facts.unit(su)
    fact.repairing = True
    fact.repairs = [*fact.repairs, turn.time][-REPAIRS_MAX:]
    turn.changed = True
    turn.say(su, "repair")
    for component in turn.index.units[su].components:
        comp_fact = turn.facts.component(component.dn)
        if comp_fact.presence is Presence.INSTANTIATION_FAILED:
            comp_fact.presence = after(comp_fact.presence, Happening.REPAIRED)
            comp_fact.attempt = 0


def _finish_repair(turn: Turn, unit: ServiceUnit, wish: Wish) -> None:
    """ENABLED when everything is up again, or when nothing needs to be up."""
    fact = turn.facts.unit(unit.dn)
    if not fact.repairing:
        return
    needed = needed_up(turn, unit.dn)
    is_up = all(turn.facts.component(comp).presence is Presence.INSTANTIATED for comp in needed)
    if is_up or wish is Wish.STOP:
        enable(turn, unit.dn)


def enable(turn: Turn, su: Dn) -> None:
    """The SU and its components are well."""
    fact = turn.facts.unit(su)
    fact.disabled = fact.repairing = False
    fact.repair_at = None
    for component in turn.index.units[su].components:
        comp_fact = turn.facts.component(component.dn)
        comp_fact.disabled = comp_fact.presence is Presence.TERMINATION_FAILED
    turn.changed = True
    turn.say(su, "ENABLED")


def _finish_application_restarts(turn: Turn) -> None:
    for app in list(turn.facts.restarting_applications):
        units = [unit for group in turn.index.applications[app].service_groups for unit in group.units]
        if all(not is_alive(turn, comp.dn) for unit in units for comp in unit.components):
            turn.facts.restarting_applications.remove(app)
            turn.changed = True
