"""Auto-adjust: going back to the assignment that the ranks call for, once things have been quiet for a while.

Source: SAI-AIS-AMF-B.04.01 section 3.6.1.3.
"""

from typing import Final

from corosync_amf.ais import AdminOperation, Dn, HaState, Readiness

from .decisions import current_of, target_of
from .facts import Operation
from .scope import is_settled
from .states import HOLDING, View, unit_readiness
from .turn import ADJUST, Turn

_TRIED: Final = "tried "
"""Marks the in-service SUs for which an adjustment has been made: what it could not reach is not tried again."""


def watch(turn: Turn) -> None:
    """Watch the groups that are to go back to their ideal assignment by themselves."""
    for group in turn.index.groups.values():
        if not group.auto_adjust or not turn.facts.started:
            continue
        waiting = turn.facts.adjusting.get(group.dn)
        is_still = turn.facts.quorate and is_settled(turn.view, group.dn)
        is_ideal = is_still and ideal(turn.view, group.dn) == present(turn.view, group.dn)
        if not is_still or is_ideal:
            if waiting is not None and (is_ideal or not waiting.startswith(_TRIED)):
                del turn.facts.adjusting[group.dn]
                turn.disarm(ADJUST, group.dn)
            continue
        in_service = [su.dn for su in group.units if unit_readiness(turn.view, su.dn) is Readiness.IN_SERVICE]
        key = " ".join(in_service)
        if waiting not in (key, _TRIED + key):
            turn.facts.adjusting[group.dn] = key
            turn.alarm(ADJUST, group.dn, group.auto_adjust_probation)


def present(view: View, group: Dn) -> list[Dn]:
    current = current_of(view, view.index.groups[group])
    held = {(entry.ha_state, su) for units in current.values() for su, entry in units.items()}
    actives = sorted({su for state, su in held if state in HOLDING})
    return actives + sorted({su for state, su in held if state is HaState.STANDBY})


def due(turn: Turn, group: Dn) -> None:
    """The group has been stable for its probation time."""
    facts, waiting = turn.facts, turn.facts.adjusting.get(group)
    if waiting is not None and not waiting.startswith(_TRIED):
        facts.adjusting[group] = _TRIED + waiting
        facts.last_operation += 1
        facts.operations.append(
            Operation(facts.last_operation, group, AdminOperation.SG_ADJUST, None, [group], since=turn.time)
        )
        turn.changed = True


def ideal(view: View, group: Dn) -> list[Dn]:
    """The SUs that would be active and standby if the group were assigned from nothing."""
    target = target_of(view, view.index.groups[group], empty=True)
    places = [(place.ha_state, su) for place_of in target.values() for su, place in place_of.items()]
    return [su for state in (HaState.ACTIVE, HaState.STANDBY) for su in sorted({su for s, su in places if s is state})]
