"""What a fault sets in motion: `recovery.escalate` says what to do, this does it; and repair afterwards.

Source: SAI-AIS-AMF-B.04.01 section 3.11.
"""

from logging import WARNING
from typing import Final

from corosync_amf.ais import Dn, HaState, Presence, Recovery

from .components import clean_up, end_without_process, fail_node_fast, instantiation_failed
from .facts import ComponentFact
from .lifecycle import Happening
from .messages import Kind, Verb
from .model import Component
from .names import parent
from .recovery import Action, Counters, Policy, Verdict, escalate
from .states import FAILED, assignments_of_component, holds, instances_of_unit
from .turn import CLUSTER_RESET_ALARM, TEXT_MAX, Turn

_COMING: Final = frozenset({Presence.INSTANTIATING, Presence.RESTARTING})
_BEYOND_SU: Final = frozenset(
    {
        Recovery.NODE_SWITCHOVER,
        Recovery.NODE_FAILOVER,
        Recovery.NODE_FAILFAST,
        Recovery.APPLICATION_RESTART,
        Recovery.CLUSTER_RESET,
    }
)
_BEYOND_RESTART: Final = _BEYOND_SU | {Recovery.COMPONENT_FAILOVER}
_LETTING_GO: Final = frozenset({HaState.QUIESCED, HaState.QUIESCING})


def detected(
    turn: Turn,
    comp: Dn,
    kind: Kind,
    detail: str = "",
    recovery: Recovery = Recovery.NO_RECOMMENDATION,
    *,
    time: float = 0.0,
    cleaned: bool = False,
) -> None:
    """A component is faulty. `time`: when that was found (0: now); `cleaned`: no process of it is left already."""
    config, fact = turn.component(comp)
    detail = detail[:TEXT_MAX]
    node = turn.facts.node(turn.node_of(comp))
    if node.failfast or fact.instance == 0 or fact.presence in FAILED:
        return
    source = kind.name.lower()
    if fact.presence is not Presence.INSTANTIATED and not _is_severe(fact, recovery):
        _fails_on_its_way(turn, comp, kind, detail, cleaned=cleaned)
        return
    fact.last_error = f"{source}: {detail}" if detail else source
    turn.blame(comp, fact.last_error)
    advice = _advised(config, recovery)
    is_ignored = node.disabled and advice is not Recovery.NODE_FAILFAST
    if is_ignored or not turn.facts.quorate:
        turn.report_error(comp, fact.last_error, recovery.name.lower(), "cleanup")
        turn.say(comp, f"fault {fact.last_error}; cleanup only", WARNING)
        clean_up(turn, comp, Happening.TERMINATE, source, cleaned=cleaned)
        return
    verdict = _judge(turn, config, advice)
    action = verdict.action
    if action is Action.SU_RESTART and _is_letting_go(turn, turn.index.unit_of_component[comp].dn):
        action = Action.SU_FAILOVER
    turn.report_error(comp, fact.last_error, recovery.name.lower(), action.name.lower())
    turn.say(comp, f"fault {fact.last_error}; recovery: {action.name.lower()}", WARNING)
    _recover(turn, comp, action, source, detected=time or turn.time, cleaned=cleaned)


def _is_severe(fact: ComponentFact, recovery: Recovery) -> bool:
    """Whether more is recommended than what goes on anyway with a component that is coming or going."""
    return recovery in (_BEYOND_RESTART if fact.presence in _COMING else _BEYOND_SU)


def _fails_on_its_way(turn: Turn, comp: Dn, kind: Kind, detail: str, *, cleaned: bool) -> None:
    """An attempt to instantiate has failed; what is on its way out in order needs no help but its cleanup."""
    fact = turn.facts.component(comp)
    if fact.doing is Verb.INSTANTIATE:
        instantiation_failed(turn, comp, kind, detail, cleaned=cleaned)
    elif fact.doing is not Verb.CLEANUP and (fact.doing not in (Verb.TERMINATE, Verb.AWAIT_EXIT) or cleaned):
        clean_up(turn, comp, Happening.RESTART, kind.name.lower(), cleaned=cleaned)


def _advised(config: Component, recovery: Recovery) -> Recovery:
    """The recovery that is recommended for a fault, be it by the configuration."""
    if recovery is Recovery.NO_RECOMMENDATION:
        recovery = config.recovery_on_error
    if recovery is Recovery.NO_RECOMMENDATION:
        return Recovery.COMPONENT_FAILOVER
    return Recovery.COMPONENT_RESTART if recovery is Recovery.CONTAINER_RESTART else recovery


def _judge(turn: Turn, config: Component, advice: Recovery) -> Verdict:
    """The recovery for the fault; notes the new counters."""
    su = turn.index.unit_of_component[config.dn].dn
    unit, node = turn.facts.unit(su), turn.facts.node(turn.view.host[su])
    counters = Counters(unit.component_restarts, unit.su_restarts, node.failovers)
    verdict = escalate(advice, counters, policy_of(turn, su, config.dn), turn.time)
    after = verdict.counters
    unit.component_restarts, unit.su_restarts, node.failovers = (
        after.component_restarts,
        after.su_restarts,
        after.su_failovers,
    )
    return verdict


def policy_of(turn: Turn, su: Dn, comp: Dn) -> Policy:
    """The limits that hold for a fault of a component now."""
    group, unit = turn.index.group_of_unit[su], turn.index.units[su]
    node = turn.index.node_named[turn.view.host[su]]
    states = [
        state for _, fact in assignments_of_component(turn.view, comp) for state in (fact.state, fact.asked) if state
    ]
    siblings = [turn.facts.component(component.dn) for component in unit.components if component.dn != comp]
    return Policy(
        component_restart_probation=group.component_restart_probation,
        component_restart_max=group.component_restart_max,
        su_restart_probation=group.su_restart_probation,
        su_restart_max=group.su_restart_max,
        su_failover_probation=node.su_failover_probation,
        su_failover_max=node.su_failover_max,
        su_failover=unit.su_failover,
        may_restart=not (turn.index.components[comp].disable_restart or _LETTING_GO & set(states)),
        is_external=unit.is_external,
        su_is_restarting=turn.facts.unit(su).su_restarts.count > 0
        and (
            turn.facts.unit(su).renewing
            or any(fact.doomed or fact.presence is Presence.RESTARTING for fact in siblings)
        ),
    )


def _recover(turn: Turn, comp: Dn, action: Action, source: str, *, detected: float, cleaned: bool) -> None:
    su = turn.index.unit_of_component[comp].dn
    node = turn.view.host[su]
    fact, unit = turn.facts.component(comp), turn.facts.unit(su)
    match action:
        case Action.COMPONENT_RESTART:
            fact.restarts += 1
            clean_up(turn, comp, Happening.RESTART, source, cleaned=cleaned)
        case Action.SU_RESTART if any(other.disable_restart for other in turn.index.units[su].components):
            unit.restarts += 1
            unit.evacuate = unit.renewing = True
            note_failovers(turn, [su], source, detected)
            end(turn, comp, source, cleaned=cleaned)
        case Action.SU_RESTART:
            unit.restarts += 1
            clean_up(turn, comp, Happening.RESTART, source, cleaned=cleaned)
            _doom(turn, su)
        case Action.NODE_FAILFAST:
            note_failovers(turn, [su for su, host in turn.view.host.items() if host == node], source, detected)
            fail_node_fast(turn, node, f"{turn.index.short(comp)}: {source}")
        case Action.CLUSTER_RESET:
            cause = f"cluster reset asked for by {comp}: {fact.last_error}"
            turn.raise_alarm(
                CLUSTER_RESET_ALARM, turn.index.cluster.dn, cause, "start the nodes again when that is gone"
            )
            for name in turn.index.node_named:
                fail_node_fast(turn, name, "cluster reset")
        case Action.APPLICATION_RESTART:
            end(turn, comp, source, cleaned=cleaned)
            restart_application(turn, parent(turn.index.group_of_unit[su].dn))
        case Action.COMPONENT_FAILOVER:
            fact.disabled = True
            note_failovers(turn, [su], source, detected)
            end(turn, comp, source, cleaned=cleaned)
        case Action.SU_FAILOVER | Action.NODE_SWITCHOVER | Action.NODE_FAILOVER:
            _fail_over(turn, comp, action, source, detected=detected, cleaned=cleaned)


def _fail_over(turn: Turn, comp: Dn, action: Action, source: str, *, detected: float, cleaned: bool) -> None:
    """SU failover, node switchover (of the other SUs: placement moves them) and node failover."""
    su = turn.index.unit_of_component[comp].dn
    node = turn.view.host[su]
    units = [su]
    if action is Action.NODE_FAILOVER:
        units = [other for other, host in turn.view.host.items() if host == node]
    if action is not Action.SU_FAILOVER:
        turn.facts.node(node).disabled = True
        turn.say(turn.index.node_named[node].dn, f"DISABLED: {action.name.lower()} after {source} of {comp}", WARNING)
    turn.facts.unit(su).disabled = True
    turn.facts.unit(su).repairing = False
    note_failovers(turn, units, source, detected)
    for unit in units:
        for component in turn.index.units[unit].components:
            is_faulty = component.dn == comp
            end(turn, component.dn, source, cleaned=cleaned and is_faulty)


def end(turn: Turn, comp: Dn, source: str, *, cleaned: bool = False) -> None:
    """End a component by cleanup, whatever it is doing."""
    fact = turn.facts.component(comp)
    if fact.instance == 0:
        end_without_process(turn, comp, restart=False)
    elif fact.doing is Verb.CLEANUP:
        fact.presence = Presence.TERMINATING if fact.presence not in FAILED else fact.presence
        turn.changed = True
    elif fact.presence not in FAILED:
        clean_up(turn, comp, Happening.TERMINATE, source, cleaned=cleaned)


def _is_letting_go(turn: Turn, su: Dn) -> bool:
    components = turn.index.units[su].components
    rows = [fact for component in components for _, fact in assignments_of_component(turn.view, component.dn)]
    return any(fact.state in _LETTING_GO or fact.asked in _LETTING_GO for fact in rows)


def _doom(turn: Turn, su: Dn) -> None:
    """All components of the SU are to be cleaned up and started again, in the order of their levels."""
    for component in turn.index.units[su].components:
        fact = turn.facts.component(component.dn)
        if fact.presence is Presence.INSTANTIATED:
            fact.doomed = Verb.CLEANUP
    turn.changed = True


def restart_application(turn: Turn, app: Dn) -> None:
    """Take all work from the application, terminate it, and begin anew."""
    if app not in turn.facts.restarting_applications:
        turn.facts.restarting_applications.append(app)
        turn.say(app, "application restart", WARNING)
        turn.changed = True


def note_failovers(turn: Turn, units: list[Dn], cause: str, detected: float | None) -> None:
    """Open the record of a failover for each SI that is active in one of the SUs."""
    for su in units:
        own = {component.dn for component in turn.index.units[su].components}
        for si in instances_of_unit(turn.view, su):
            rows = [
                fact
                for csi in turn.index.instances[si].csis
                for comp, fact in turn.facts.assigned(csi.dn).items()
                if comp in own
            ]
            if any(holds(fact) for fact in rows):
                turn.failover_begins(si, cause, su, detected)
