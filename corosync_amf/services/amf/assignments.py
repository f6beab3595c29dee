"""Carrying out the steps of a plan: callbacks to components, and what they answer.

Source: SAI-AIS-AMF-B.04.01 sections 7.9 (callbacks) and 3.2.2.5 (HA states).
"""

from logging import WARNING
from typing import Final

from corosync_amf.ais import Dn, ErrorCode, HaReadiness, HaState, Presence
from corosync_amf.engine import Client

from . import faults
from .components import is_on_demand, terminate, terminate_answered
from .facts import AssignmentFact, Callback, Former
from .messages import CsiDescriptor, CsiFlags, CsiRemove, CsiSet, Kind, Transition
from .planning import Do, Step
from .states import ha_readiness, holds, unit_ha_state
from .turn import QUIESCING, Turn, describe

_CLEAR: Final = frozenset({HaState.STANDBY, HaState.QUIESCED})


def perform(turn: Turn, step: Step) -> None:
    """Send the callback that a step needs, or do what needs none."""
    turn.changed = True
    if step.do is Do.FORGET:
        for csi in step.csis:
            _forget(turn, csi, step.component)
    elif is_on_demand(turn.view, step.component):
        _perform_on_demand(turn, step)
    elif step.do is Do.REMOVE:
        _send_remove(turn, step)
    else:
        _send_set(turn, step)


def _perform_on_demand(turn: Turn, step: Step) -> None:
    """A component that knows nothing of AMF: being active means being instantiated."""
    if step.do is Do.ADD and step.ha_state is HaState.ACTIVE:
        for csi in step.csis:
            turn.facts.assignments.setdefault(csi, {})[step.component] = AssignmentFact(
                HaState.ACTIVE, epoch=turn.order
            )
            turn.say(csi, f"{turn.index.short(step.component)}: ACTIVE by instantiation")
            _note_promotion(turn, csi, step.component)
    else:
        for csi in step.csis:
            turn.facts.former[csi] = Former(step.component, quiesced=True)
        terminate(turn, step.component)


def _send_set(turn: Turn, step: Step) -> None:
    config, fact = turn.component(step.component)
    state = step.ha_state
    if state is None or fact.client is None:
        return
    invocation = turn.invoke(Callback(step.component, step.csis, state), config.csi_set_timeout)
    for csi in step.csis:
        held = turn.facts.assignments.setdefault(csi, {})
        row = held.setdefault(step.component, AssignmentFact(state))
        row.invocation, row.asked, row.rank = invocation, state, step.rank if state is HaState.STANDBY else 0
        if state is HaState.ACTIVE:
            row.epoch = turn.order
            _note_promotion(turn, csi, step.component)
        elif state in (HaState.QUIESCED, HaState.QUIESCING) and row.state is HaState.ACTIVE:
            turn.failover_begins(turn.index.instance_of_csi[csi].dn, "switchover", step.su, None)
        turn.say(csi, f"{turn.index.short(step.component)}: {state.name} asked for")
    descriptor = _descriptor(turn, step, state)
    turn.event(fact.client, CsiSet(invocation, step.component, state, descriptor))


def _send_remove(turn: Turn, step: Step) -> None:
    config, fact = turn.component(step.component)
    if fact.client is None:
        return
    for csi in step.csis:
        invocation = turn.invoke(Callback(step.component, (csi,), None), config.csi_remove_timeout)
        row = turn.facts.assignments[csi][step.component]
        row.invocation, row.asked = invocation, None
        turn.event(fact.client, CsiRemove(invocation, step.component, csi, CsiFlags.TARGET_ONE))
        turn.say(csi, f"{turn.index.short(step.component)}: removal asked for")


def _note_promotion(turn: Turn, csi: Dn, comp: Dn) -> None:
    si, su = turn.index.instance_of_csi[csi].dn, turn.index.unit_of_component[comp].dn
    turn.failover_promotes(si, su)


def _descriptor(turn: Turn, step: Step, state: HaState) -> CsiDescriptor:
    csi, comp = step.csis[0], step.component
    row = turn.facts.assignments[csi][comp]
    transition, partner = None, None
    if state is HaState.ACTIVE:
        former = turn.facts.former.get(csi)
        if row.kept:
            transition, partner = Transition.NOT_QUIESCED, comp
        elif former is None:
            transition = Transition.NEW_ASSIGN
        else:
            transition = Transition.QUIESCED if former.quiesced else Transition.NOT_QUIESCED
            partner = former.component
    elif state is HaState.STANDBY:
        held = turn.facts.assigned(csi)
        partner = next((other for other, fact in held.items() if fact.state is HaState.ACTIVE), None)
    epoch = row.epoch if state is HaState.ACTIVE else 0
    if step.is_all:
        return CsiDescriptor(CsiFlags.TARGET_ALL, "", {}, transition, partner, row.rank, epoch)
    flags = CsiFlags.ADD_ONE if step.do is Do.ADD else CsiFlags.TARGET_ONE
    return CsiDescriptor(flags, csi, turn.index.csis[csi].attributes, transition, partner, row.rank, epoch)


# ---- answers


def answered(turn: Turn, invocation: int, client: Client, error: int, reason: str) -> tuple[ErrorCode, str] | None:
    """A component's answer to a callback; return why it is refused."""
    callback = turn.facts.callbacks.get(invocation)
    if callback is None or turn.facts.component(callback.component).client != client:
        return ErrorCode.INVALID_PARAM, f"nobody waits for the answer to invocation {invocation}"
    turn.revoke(invocation)
    turn.changed = True
    if not callback.csis:
        terminate_answered(turn, callback.component, _fault_of(callback, error) if error != ErrorCode.OK else None)
    elif error == ErrorCode.OK:
        for csi in callback.csis:
            _confirmed(turn, csi, callback.component, invocation)
    elif error == ErrorCode.NOT_READY and callback.asked is not None:
        _not_ready(turn, callback)
    else:
        detail = f"{describe(callback.asked)} refused with error {error} {reason}".rstrip()
        faults.detected(turn, callback.component, _fault_of(callback, error), detail)
    return None


def _fault_of(callback: Callback, error: int) -> Kind:
    """What an error in answer to a callback amounts to; a component may find by itself that it took too long."""
    is_timeout = error == ErrorCode.TIMEOUT
    if not callback.csis:
        return Kind.TERMINATE_TIMEOUT if is_timeout else Kind.TERMINATE_FAILED
    if callback.asked is None:
        return Kind.CSI_REMOVE_TIMEOUT if is_timeout else Kind.CSI_REMOVE_FAILED
    return Kind.CSI_SET_TIMEOUT if is_timeout else Kind.CSI_SET_FAILED


def timed_out(turn: Turn, invocation: int) -> None:
    """The time limit of a callback is over."""
    callback = turn.facts.callbacks.get(invocation)
    if callback is None:
        return
    turn.facts.callbacks.pop(invocation)
    turn.changed = True
    kind = _fault_of(callback, ErrorCode.TIMEOUT)
    if not callback.csis:
        terminate_answered(turn, callback.component, kind)
    else:
        faults.detected(turn, callback.component, kind, f"no answer to {describe(callback.asked)}")


def _confirmed(turn: Turn, csi: Dn, comp: Dn, invocation: int) -> None:
    row = turn.facts.assignments[csi][comp]
    row.invocation = 0
    name = turn.index.short(comp)
    if row.asked is None:
        turn.say(csi, f"{name}: removed")
        _delete(turn, csi, comp)
        return
    if row.state in (HaState.ACTIVE, HaState.QUIESCING) and row.asked is HaState.QUIESCED:
        let_go(turn, csi, comp)
    if row.quiescing:
        turn.disarm(QUIESCING, str(row.quiescing))
        row.quiescing = 0
    former = row.state if row.confirmed else 0
    row.state, row.asked, row.confirmed, row.kept = row.asked, None, True, False
    turn.say(csi, f"{name}: {row.state.name}")
    turn.notify(0x411, comp, csi, former, row.state)
    if row.state is HaState.QUIESCING:
        row.quiescing = invocation
        limit = turn.index.components[comp].quiescing_complete_timeout
        turn.alarm(QUIESCING, str(invocation), limit, invocation)
    elif row.state is HaState.ACTIVE:
        turn.facts.former.pop(csi, None)
        si, su = turn.index.instance_of_csi[csi].dn, turn.index.unit_of_component[comp].dn
        if unit_ha_state(turn.view, su, si) is HaState.ACTIVE:
            turn.failover_ends(si)


def let_go(turn: Turn, csi: Dn, comp: Dn) -> None:
    """A component has stopped doing the work in order."""
    turn.facts.former[csi] = Former(comp, quiesced=True)
    turn.failover_cleaned(turn.index.instance_of_csi[csi].dn)


def _not_ready(turn: Turn, callback: Callback) -> None:
    """The component says that it is not ready for the CSIs: no fault, but they go elsewhere."""
    fact = turn.facts.component(callback.component)
    unready = HaReadiness.NOT_READY_FOR_ASSIGNMENT
    for csi in callback.csis:
        turn.notify(0x71, callback.component, csi, ha_readiness(turn.view, callback.component, csi), unready)
        fact.csi_readiness[csi] = unready
        row = turn.facts.assignments[csi][callback.component]
        row.invocation, row.asked = 0, None
        turn.say(csi, f"{turn.index.short(callback.component)}: not ready for {describe(callback.asked)}", WARNING)
        if not row.confirmed:
            _delete(turn, csi, callback.component)


def _forget(turn: Turn, csi: Dn, comp: Dn) -> None:
    """What a restart was to bring back goes elsewhere: its former process had it, and did not let go of it."""
    row = turn.facts.assigned(csi)[comp]
    _delete(turn, csi, comp)
    if row.kept and holds(row):
        turn.facts.former[csi] = Former(comp, quiesced=False)


def _delete(turn: Turn, csi: Dn, comp: Dn) -> None:
    row = turn.facts.assignments[csi].pop(comp)
    turn.revoke(row.invocation)
    if not turn.facts.assignments[csi]:
        del turn.facts.assignments[csi]
        turn.facts.former.pop(csi, None)
    fact = turn.facts.component(comp)
    if fact.presence is Presence.INSTANTIATED:
        turn.changed = True


def quiescing_complete(turn: Turn, invocation: int, client: Client, error: int) -> tuple[ErrorCode, str] | None:
    """The work of a QUIESCING assignment has ended; return why the call is refused."""
    rows = [
        (csi, comp, row)
        for csi, held in turn.facts.assignments.items()
        for comp, row in held.items()
        if row.quiescing == invocation and invocation
    ]
    if not rows or any(turn.facts.component(comp).client != client for _, comp, _ in rows):
        return ErrorCode.INVALID_PARAM, f"invocation {invocation} is no QUIESCING one"
    turn.disarm(QUIESCING, str(invocation))
    turn.changed = True
    if error != ErrorCode.OK:
        faults.detected(turn, rows[0][1], Kind.CSI_SET_FAILED, f"quiescing ended with error {error}")
        return None
    for csi, comp, row in rows:
        row.quiescing = 0
        if row.state is HaState.QUIESCING and not row.invocation:
            row.state = HaState.QUIESCED
            let_go(turn, csi, comp)
            turn.notify(0x411, comp, csi, HaState.QUIESCING, row.state)
            turn.say(csi, f"{turn.index.short(comp)}: quiescing complete, QUIESCED")
    return None


def quiescing_timed_out(turn: Turn, invocation: int) -> None:
    for held in list(turn.facts.assignments.values()):
        for comp, row in list(held.items()):
            if row.quiescing == invocation:
                faults.detected(turn, comp, Kind.QUIESCING_TIMEOUT, "quiescing was not completed in time")
                return
