"""The life of a component: started, registered, terminated, cleaned up, gone.

Cleanup is the fence: a component's assignments end (`gone`) only when it is known that no process of it is left.

Source: SAI-AIS-AMF-B.04.01 sections 4 (CLC interface) and 3.2.2.
"""

from logging import INFO, WARNING
from typing import Final

from corosync_amf.ais import Dn, ErrorCode, HaReadiness, Presence
from corosync_amf.engine import Client

from .facts import Callback, ComponentFact, Former
from .lifecycle import Happening, after
from .messages import (
    AmStart,
    AmStop,
    AwaitExit,
    Cleanup,
    CommandDone,
    ComponentTerminate,
    Failfast,
    Instantiate,
    Kind,
    Monitor,
    Terminate,
    Verb,
)
from .model import Component
from .states import DOWN, View, assignments_of_component, holds, is_pre_instantiable
from .turn import CLEANUP_FAILED_ALARM, INSTANTIATE, INSTANTIATION_FAILED_ALARM, RETRY, TEXT_MAX, Turn

EXIT_TIMEOUT: Final = 1.0
"""Seconds that a component has for its exit after it has answered the terminate callback."""
_STARTING: Final = frozenset({Presence.INSTANTIATING, Presence.RESTARTING})


def set_presence(turn: Turn, comp: Dn, presence: Presence, why: str, level: int = INFO) -> None:
    fact = turn.facts.component(comp)
    if fact.presence is not presence:
        old, fact.presence = fact.presence, presence
        turn.changed = True
        turn.say(comp, f"{old.name} -> {presence.name}: {why}" if why else f"{old.name} -> {presence.name}", level)
        turn.notify(0x410, comp, why, old, presence)


def is_on_demand(view: View, comp: Dn) -> bool:
    """Whether the component is instantiated by being assigned (non-SA-aware) instead of beforehand."""
    return comp not in view.registering


# ---- instantiation


def start(turn: Turn, comp: Dn) -> None:
    """Begin an attempt to instantiate a component of which no process is left."""
    config, fact = turn.component(comp)
    fact.attempt += 1
    fact.doing, fact.ticket, fact.instance = Verb.INSTANTIATE, turn.order, turn.order
    fact.commanded, fact.client = False, None
    set_presence(turn, comp, after(fact.presence, Happening.INSTANTIATE), f"attempt {fact.attempt}")
    environment = _environment(turn, comp) if is_on_demand(turn.view, comp) else {}
    command = Instantiate(comp, fact.ticket, fact.attempt, config.instantiate_timeout, environment)
    turn.run(turn.node_of(comp), command)
    turn.alarm(INSTANTIATE, comp, config.instantiate_timeout, fact.ticket)
    turn.changed = True


def _environment(turn: Turn, comp: Dn) -> dict[str, str]:
    """One variable per CSI attribute; several values joined by newlines."""
    csis = [turn.index.csis[csi] for csi, _ in assignments_of_component(turn.view, comp)]
    return {name: "\n".join(values) for csi in csis for name, values in sorted(csi.attributes.items())}


def register(turn: Turn, comp: Dn, client: Client) -> tuple[ErrorCode, str] | None:
    """A process says that it is the component; return why not."""
    config, fact = turn.component(comp)
    if is_on_demand(turn.view, comp):
        return ErrorCode.BAD_OPERATION, f"a {config.category!r} component does not register"
    if fact.client is not None:
        return ErrorCode.EXIST, "it is registered already"
    if turn.facts.node(turn.node_of(comp)).node_id != client.node:
        return ErrorCode.INVALID_PARAM, "it is configured on another node"
    if fact.doing is not Verb.INSTANTIATE:
        return ErrorCode.BAD_OPERATION, "AMF is not instantiating it"
    fact.client = client
    _check_instantiated(turn, comp)
    return None


def _check_instantiated(turn: Turn, comp: Dn) -> None:
    config, fact = turn.component(comp)
    if not fact.commanded or (fact.client is None and not is_on_demand(turn.view, comp)):
        return
    fact.doing, fact.attempt, fact.delayed = None, 0, False
    turn.disarm(INSTANTIATE, comp)
    set_presence(turn, comp, after(fact.presence, Happening.SUCCEEDED), "")
    turn.clear_alarm(INSTANTIATION_FAILED_ALARM, comp)
    node = turn.node_of(comp)
    turn.run(node, Monitor(comp, fact.instance))
    if config.am_start is not None:
        monitor(turn, comp, Verb.AM_START)
    if is_on_demand(turn.view, comp):
        for _, assignment in assignments_of_component(turn.view, comp):
            assignment.confirmed, assignment.kept = True, False


def instantiation_failed(turn: Turn, comp: Dn, kind: Kind, detail: str, *, cleaned: bool = False) -> None:
    """An attempt has failed: clean up, then see whether there is another one."""
    fact = turn.facts.component(comp)
    turn.disarm(INSTANTIATE, comp)
    turn.say(comp, f"attempt {fact.attempt} failed: {kind.name.lower()} {detail}".rstrip(), WARNING)
    fact.last_error = detail[:TEXT_MAX] or kind.name.lower()
    clean_up(turn, comp, Happening.RESTART, kind.name.lower(), cleaned=cleaned)


def _next_attempt(turn: Turn, comp: Dn) -> None:
    """After the cleanup of a failed attempt."""
    config, fact = turn.component(comp)
    at_once = config.max_instantiate_without_delay
    if fact.attempt < at_once:
        return
    if fact.attempt < at_once + config.max_instantiate_with_delay:
        fact.delayed = True
        turn.alarm(RETRY, comp, config.delay_between_attempts, turn.order)
        fact.ticket = turn.order
        return
    node = turn.node_of(comp)
    policy, node_fact = turn.index.node_named[node], turn.facts.node(node)
    fact.attempt = 0
    turn.blame(comp, "cannot be instantiated")
    _drop_assignments(turn, comp)
    turn.facts.unit(turn.index.unit_of_component[comp].dn).repairing = False
    set_presence(turn, comp, after(fact.presence, Happening.FAILED), fact.last_error, WARNING)
    advice = f"look at its log on {node}, then `amf repaired`"
    turn.raise_alarm(INSTANTIATION_FAILED_ALARM, comp, f"cannot be instantiated ({fact.last_error})", advice)
    if policy.failfast_on_instantiation_failure and not node_fact.failfast_spent:
        node_fact.failfast_spent = True
        fail_node_fast(turn, node, f"{comp} cannot be instantiated")


def retry(turn: Turn, comp: Dn, token: int) -> None:
    """The delay before the next attempt is over."""
    fact = turn.facts.component(comp)
    if fact.delayed and fact.ticket == token:
        fact.delayed = False
        turn.changed = True


# ---- termination


def terminate(turn: Turn, comp: Dn, *, restart: bool = False) -> None:
    """End a component gracefully: the terminate callback or command, then, if need be, cleanup."""
    config, fact = turn.component(comp)
    fact.doomed = None
    if fact.instance == 0:
        end_without_process(turn, comp, restart=restart)
        return
    happening = Happening.RESTART if restart else Happening.TERMINATE
    if fact.presence is not Presence.INSTANTIATED or (fact.client is None and config.terminate is None):
        clean_up(turn, comp, happening, "")
        return
    silence(turn, comp)
    set_presence(turn, comp, after(fact.presence, happening), "")
    if config.am_start is not None and config.am_stop is not None:
        fact.doing = Verb.AM_STOP
        monitor(turn, comp, Verb.AM_STOP)
    else:
        _ask_to_terminate(turn, comp)


def _ask_to_terminate(turn: Turn, comp: Dn) -> None:
    config, fact = turn.component(comp)
    fact.doing = None
    if fact.client is not None and config.terminate is None:
        callback = Callback(comp, (), None)
        fact.terminating = turn.invoke(callback, config.terminate_callback_timeout)
        turn.event(fact.client, ComponentTerminate(fact.terminating, comp))
    else:
        fact.doing, fact.ticket = Verb.TERMINATE, turn.order
        turn.run(turn.node_of(comp), Terminate(comp, fact.ticket, config.terminate_timeout))


def end_without_process(turn: Turn, comp: Dn, *, restart: bool) -> None:
    """End what waits for an attempt and has no process."""
    fact = turn.facts.component(comp)
    if fact.presence in _STARTING and not restart:
        turn.disarm(RETRY, comp)
        set_presence(turn, comp, Presence.TERMINATING, "")
        gone(turn, comp)


def terminate_answered(turn: Turn, comp: Dn, fault: Kind | None) -> None:
    """The answer to the terminate callback; `fault`: what is wrong with it, if anything."""
    fact = turn.facts.component(comp)
    fact.terminating = 0
    if fault is not None:
        clean_up(turn, comp, Happening.RESTART, fault.name.lower())
        return
    fact.doing, fact.ticket = Verb.AWAIT_EXIT, turn.order
    turn.run(turn.node_of(comp), AwaitExit(comp, fact.ticket, EXIT_TIMEOUT))


def clean_up(turn: Turn, comp: Dn, happening: Happening, source: str, *, cleaned: bool = False) -> None:
    """End whatever is left of the component. `cleaned`: its node has done the default cleanup already."""
    config, fact = turn.component(comp)
    silence(turn, comp)
    turn.disarm(INSTANTIATE, comp)
    fact.doomed, fact.source, fact.client, fact.terminating = None, source, None, 0
    fact.monitor = None
    set_presence(turn, comp, after(fact.presence, happening), source)
    if cleaned and config.cleanup is None:
        gone(turn, comp)
        return
    fact.doing, fact.ticket = Verb.CLEANUP, turn.order
    turn.run(turn.node_of(comp), Cleanup(comp, fact.ticket, config.cleanup_timeout, source))
    turn.changed = True


def silence(turn: Turn, comp: Dn) -> None:
    """The component answers no more: forget the callbacks, but not what it may have understood from them."""
    fact = turn.facts.component(comp)
    if fact.terminating:
        turn.revoke(fact.terminating)
        fact.terminating = 0
    for _, assignment in assignments_of_component(turn.view, comp):
        turn.revoke(assignment.invocation)
        turn.revoke(assignment.quiescing)
        assignment.invocation = assignment.quiescing = 0


def gone(turn: Turn, comp: Dn) -> None:
    """No process of the component is left."""
    fact = turn.facts.component(comp)
    fact.doing, fact.instance, fact.client, fact.monitor = None, 0, None, None
    fact.commanded, fact.dirty, fact.delayed, fact.terminating = False, False, False, 0
    _forget_readiness(turn, comp)
    for csi, assignment in assignments_of_component(turn.view, comp):
        if holds(assignment):
            turn.failover_cleaned(turn.index.instance_of_csi[csi].dn)
            if fact.presence is not Presence.RESTARTING:
                turn.facts.former[csi] = Former(comp, quiesced=False)
        assignment.kept = assignment.kept or assignment.confirmed
        assignment.confirmed, assignment.asked = False, None
    turn.changed = True
    if fact.presence in _STARTING:
        if fact.presence is Presence.INSTANTIATING and not is_on_demand(turn.view, comp):
            _drop_assignments(turn, comp)
        if fact.attempt > 0:
            _next_attempt(turn, comp)
        return
    _drop_assignments(turn, comp)
    fact.attempt = 0
    set_presence(turn, comp, Presence.UNINSTANTIATED, "")


def _forget_readiness(turn: Turn, comp: Dn) -> None:
    """What the process has said of its readiness goes with it."""
    fact, ready = turn.facts.component(comp), HaReadiness.READY_FOR_ASSIGNMENT
    said = {"": fact.readiness} | fact.csi_readiness
    fact.readiness, fact.csi_readiness = ready, {}
    for csi, former in said.items():
        if former is not ready:
            turn.notify(0x71, comp, csi, former, ready)


def _drop_assignments(turn: Turn, comp: Dn) -> None:
    for csi, assignment in assignments_of_component(turn.view, comp):
        turn.revoke(assignment.invocation)
        turn.revoke(assignment.quiescing)
        del turn.facts.assignments[csi][comp]
        if not turn.facts.assignments[csi]:
            del turn.facts.assignments[csi]
        turn.changed = True


def _cleanup_failed(turn: Turn, comp: Dn, detail: str) -> None:
    _, fact = turn.component(comp)
    node = turn.node_of(comp)
    fact.doing, fact.disabled = None, True
    turn.blame(comp, "cleanup failed")
    set_presence(turn, comp, after(fact.presence, Happening.CLEANUP_FAILED), detail, WARNING)
    advice = f"end its processes on {node} by hand, then `amf repaired`"
    turn.raise_alarm(CLEANUP_FAILED_ALARM, comp, f"cleanup failed ({detail or 'no reason given'})", advice)
    if turn.index.node_named[node].failfast_on_termination_failure:
        fail_node_fast(turn, node, f"{comp} cannot be cleaned up")


def fail_node_fast(turn: Turn, node: str, reason: str) -> None:
    """Tell a node to leave the cluster at once; its work moves when it is gone."""
    fact = turn.facts.node(node)
    if not fact.failfast:
        fact.failfast = True
        turn.changed = True
        turn.say(turn.index.node_named[node].dn, f"failfast: {reason}", WARNING)
        turn.run(node, Failfast(reason))


# ---- answers


def command_done(turn: Turn, done: CommandDone) -> Kind | None:
    """What came of a command; nothing if it is no longer waited for. Return the fault that it amounts to."""
    config, fact = turn.component(done.component)
    if done.verb in (Verb.AM_START, Verb.AM_STOP):
        return _monitor_done(turn, config, fact, done)
    if done.verb is not fact.doing or done.ticket != fact.ticket:
        return None
    match done.verb:
        case Verb.INSTANTIATE if done.ok:
            fact.commanded = True
            _check_instantiated(turn, done.component)
        case Verb.INSTANTIATE:
            instantiation_failed(turn, done.component, Kind.COMMAND_FAILED, done.detail)
        case Verb.CLEANUP if not done.ok:
            _cleanup_failed(turn, done.component, done.detail)
        case _ if done.ok:
            turn.clear_alarm(CLEANUP_FAILED_ALARM, done.component)
            gone(turn, done.component)
        case _:
            is_late = done.verb is Verb.AWAIT_EXIT or done.detail == "timeout"
            kind = Kind.TERMINATE_TIMEOUT if is_late else Kind.TERMINATE_FAILED
            clean_up(turn, done.component, Happening.RESTART, kind.name.lower())
    return None


# ---- the active monitor


def monitor(turn: Turn, comp: Dn, verb: Verb) -> None:
    """Start or stop the active monitor, with as many attempts as are configured."""
    fact = turn.facts.component(comp)
    fact.monitor, fact.monitor_attempt = verb, 1
    _run_monitor(turn, comp)


def _run_monitor(turn: Turn, comp: Dn) -> None:
    config, fact = turn.component(comp)
    if fact.monitor is Verb.AM_START:
        turn.run(turn.node_of(comp), AmStart(comp, fact.instance, config.am_start_timeout))
    else:
        turn.run(turn.node_of(comp), AmStop(comp, fact.instance, config.am_stop_timeout))


def _monitor_done(turn: Turn, config: Component, fact: ComponentFact, done: CommandDone) -> Kind | None:
    """A monitor that cannot be started is a fault; one that cannot be stopped is ended with its component."""
    if done.verb is not fact.monitor or done.ticket != fact.instance:
        return None
    is_start = done.verb is Verb.AM_START
    if not done.ok and fact.monitor_attempt < (
        config.max_am_start_attempts if is_start else config.max_am_stop_attempts
    ):
        fact.monitor_attempt += 1
        _run_monitor(turn, config.dn)
        return None
    fact.monitor, turn.changed = None, True
    if fact.doing is Verb.AM_STOP:
        _ask_to_terminate(turn, config.dn)
    has_failed = is_start and not done.ok and fact.presence is Presence.INSTANTIATED
    return Kind.ACTIVE_MONITORING if has_failed else None


# ---- nodes


def node_lost(turn: Turn, node: str) -> None:
    """The node has left, and what ran there is gone."""
    for su in [su for su, host in turn.view.host.items() if host == node]:
        group = turn.index.group_of_unit[su]
        unit_fact = turn.facts.unit(su)
        unit_fact.repairing = unit_fact.evacuate = unit_fact.renewing = False
        if group.auto_repair:
            unit_fact.disabled = False
        for component in turn.index.units[su].components:
            fact = turn.facts.component(component.dn)
            silence(turn, component.dn)
            turn.disarm(INSTANTIATE, component.dn)
            turn.disarm(RETRY, component.dn)
            if fact.presence is not Presence.UNINSTANTIATED:
                set_presence(turn, component.dn, Presence.TERMINATING, Kind.NODE_LEFT.name.lower())
            gone(turn, component.dn)
            fact.doomed, fact.attempt = None, 0
            turn.clear_alarm(CLEANUP_FAILED_ALARM, component.dn)
            turn.clear_alarm(INSTANTIATION_FAILED_ALARM, component.dn)
            if group.auto_repair:
                fact.disabled = False


def node_returned(turn: Turn, node: str) -> None:
    """The node was cut off and is back with its processes: they are ended, and until that is confirmed whoever was
    active there counts as active."""
    for su in [su for su, host in turn.view.host.items() if host == node]:
        for component in turn.index.units[su].components:
            fact = turn.facts.component(component.dn)
            turn.disarm(RETRY, component.dn)
            if fact.presence not in DOWN or fact.doing is not None:
                clean_up(turn, component.dn, Happening.TERMINATE, Kind.NODE_LEFT.name.lower())
            else:
                fact.dirty = True
    turn.changed = True


def node_joined(turn: Turn, node: str) -> None:
    """What runs on the node is not known: everything is cleaned up before it is instantiated."""
    for su in [su for su, host in turn.view.host.items() if host == node]:
        for component in turn.index.units[su].components:
            turn.facts.component(component.dn).dirty = True
    turn.changed = True


def needed_up(turn: Turn, su: Dn) -> list[Dn]:
    """The components that must be INSTANTIATED for the SU to be so."""
    unit = turn.index.units[su]
    if not is_pre_instantiable(turn.view, unit):
        return []
    return [component.dn for component in unit.components if not is_on_demand(turn.view, component.dn)]
