"""2N: one SU has every active, one other SU has every standby, the rest are spares.

Source: SAI-AIS-AMF-B.04.01 section 3.6.1.
"""

from collections.abc import Mapping
from typing import Final

from corosync_amf.ais import Dn, HaState
from corosync_amf.services.amf.model import ServiceInstance

from . import Assignments, Current, Group, Place, Unit, by_rank
from .fitting import fit

_WORKING: Final = frozenset({HaState.ACTIVE, HaState.QUIESCING})


def assign(group: Group, in_service: frozenset[Dn], current: Current) -> Assignments:
    """Who is to be active and who standby.

    Active stays where it is; else the SU that an administrator prefers, the one that was quiesced, the standby, the
    best-ranked one. Standby stays where it is; else the best-ranked other SU.
    """
    units = [unit for unit in group.units if unit.dn in in_service]
    active, placed = _first(units, group, current, HaState.ACTIVE, group.instances, group.policy.max_active_sis_per_su)
    if active is None:
        return {}
    target: Assignments = {si: {active.dn: Place(HaState.ACTIVE, comps)} for si, comps in placed.items()}
    others = [_beside(unit, active, group, placed) for unit in units if unit.dn != active.dn]
    backed = [instance for instance in group.instances if instance.dn in placed]
    limit = group.policy.max_standby_sis_per_su
    standby, backing = _first(others, group, current, HaState.STANDBY, backed, limit)
    if standby is not None:
        for si, comps in backing.items():
            target[si][standby.dn] = Place(HaState.STANDBY, comps, rank=1)
    return target


def _first(
    units: list[Unit],
    group: Group,
    current: Current,
    ha_state: HaState,
    instances: list[ServiceInstance] | tuple[ServiceInstance, ...],
    limit: int | None,
) -> tuple[Unit | None, dict[Dn, dict[Dn, Dn]]]:
    """The first SU in order of preference that can take any SI, and what it takes."""
    for unit in sorted(units, key=lambda unit: _preference(unit, group, current, ha_state)):
        held = {si: had[unit.dn].components for si, had in current.items() if unit.dn in had}
        placed = fit(unit, instances, ha_state, held)
        if placed:
            return unit, dict(list(placed.items())[:limit])
    return None, {}


def _preference(unit: Unit, group: Group, current: Current, ha_state: HaState) -> tuple[object, ...]:
    had = [held[unit.dn].ha_state for held in current.values() if unit.dn in held]
    if ha_state is HaState.STANDBY:
        return (unit.dn,) != group.preferred[1:2], not had, by_rank(unit)
    working = sum(state in _WORKING for state in had)
    return (
        (unit.dn,) != group.preferred[:1],
        -working,
        unit.degraded,
        -had.count(HaState.QUIESCED),
        -had.count(HaState.STANDBY),
        by_rank(unit),
    )


def _beside(unit: Unit, active: Unit, group: Group, placed: Mapping[Dn, object]) -> Unit:
    """The unit with the room that is left when the active one is on the same node."""
    if unit.room is None or unit.node != active.node:
        return unit
    room = dict(unit.room)
    for instance in group.instances:
        if instance.dn in placed:
            for resource, weight in instance.active_weight.items():
                room[resource] = room.get(resource, 0) - weight
    return Unit(unit.dn, unit.rank, unit.node, unit.components, unit.refused, unit.degraded, room)
