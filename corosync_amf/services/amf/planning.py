"""The way from the actual assignments to the target: only the steps that are safe now.

Quiesce first (dependents before what they depend on), then active, then standby, then remove. Whoever carries the
steps out comes back with the answer and asks again; so a plan is never stored, and there is nothing to undo.

Source: SAI-AIS-AMF-B.04.01 sections 3.6 (ordering) and 3.9 (dependencies).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from corosync_amf.ais import Dn, HaState

from .placement import Place


@dataclass(frozen=True, slots=True)
class Row:
    """A CSI on a component, as it is.

    `confirmed`: the present process has said that it has `state`; else a restart is to bring `state` back. `busy`: a
    callback waits for its answer. `able`: the component can be called. `clear`: certainly no process has the
    assignment, so that forgetting it ends it. `holds`: the component may be doing the work.
    """

    csi: Dn
    component: Dn
    su: Dn
    state: HaState
    confirmed: bool = True
    busy: bool = False
    able: bool = True
    clear: bool = False
    holds: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """One SI: its rows, where it is to be, and what others allow.

    `csis` maps each CSI to those it depends on. `stopping`: SUs whose active work ends by itself (QUIESCING).
    `may_activate`: all sponsors are there. `held_back`: it must not be active now. `waits_for_dependents`: what
    depends on it is still being deactivated. `able`: components that can be called; `crowded`: components that first
    have to give something back. `actives_max`: how many SUs may do the work at the same time.
    """

    si: Dn
    csis: Mapping[Dn, tuple[Dn, ...]]
    rows: tuple[Row, ...]
    target: Mapping[Dn, Place]
    able: frozenset[Dn] = frozenset()
    stopping: frozenset[Dn] = frozenset()
    crowded: frozenset[Dn] = frozenset()
    may_activate: bool = True
    held_back: bool = False
    waits_for_dependents: bool = False
    actives_max: int = 1


class Do(Enum):
    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now with the CSIs of one component; `ha_state` for ADD and CHANGE. `is_all`: they are all it has."""

    do: Do
    component: Dn
    su: Dn
    csis: tuple[Dn, ...]
    ha_state: HaState | None = None
    is_all: bool = False
    rank: int = 0


@dataclass(slots=True)
class _Scene:
    """One SI's work with its rows by place, for the questions below."""

    work: Work
    at: dict[tuple[Dn, Dn], Row] = field(default_factory=dict)

    def wanted(self, row: Row) -> HaState | None:
        place = self.work.target.get(row.su)
        if place is None or place.components.get(row.csi) != row.component:
            return None
        if place.ha_state is HaState.ACTIVE and self.work.held_back and row.state is not HaState.STANDBY:
            return HaState.QUIESCED
        return place.ha_state

    def is_at(self, place: Place, csi: Dn, state: HaState) -> bool:
        row = self.at.get((csi, place.components.get(csi, "")))
        return row is not None and row.state is state and row.confirmed and not row.busy

    def may_work(self, su: Dn, csi: Dn, component: Dn) -> bool:
        """Whether the component may become ACTIVE: nobody else may be doing the work, what it needs is there."""
        work = self.work
        if work.held_back or not work.may_activate:
            return False
        others = {row.su for row in work.rows if row.holds and row.su != su}
        if len(others) >= work.actives_max:
            return False
        if any(row.csi == csi and row.component != component and row.su == su and row.holds for row in work.rows):
            return False
        place = work.target[su]
        return all(self.is_at(place, dep, HaState.ACTIVE) for dep in work.csis[csi])

    def may_stand_by(self, su: Dn, csi: Dn) -> bool:
        """Whether the component may become STANDBY: every active is confirmed, what it needs is there."""
        work = self.work
        actives = [place for place in work.target.values() if place.ha_state is HaState.ACTIVE]
        if not actives or not all(self.is_at(place, dn, HaState.ACTIVE) for place in actives for dn in work.csis):
            return False
        place = work.target[su]
        return all(self.is_at(place, dep, HaState.STANDBY) for dep in work.csis[csi] if dep in place.components)

    def has_dependent(self, row: Row, states: frozenset[HaState]) -> bool:
        """Whether the same SU has, in one of these states, a CSI that depends on the row's and has to go before it."""
        return any(
            row.csi in self.work.csis[other.csi]
            and other.su == row.su
            and (other.busy or (other.state in states and self.wanted(other) is not other.state))
            for other in self.work.rows
        )

    def is_being_replaced(self, row: Row) -> bool:
        """Whether a standby elsewhere is on its way to take over from the quiesced row, and may yet fail."""
        for su, place in self.work.target.items():
            if place.ha_state is HaState.ACTIVE and su != row.su:
                has_begun = any(other.su == su for other in self.work.rows)
                is_done = all(self.is_at(place, csi, HaState.ACTIVE) for csi in self.work.csis)
                return has_begun and not is_done
        return False


_ACTIVE = frozenset({HaState.ACTIVE})
_ANY = frozenset(HaState)


def next_steps(works: Iterable[Work]) -> list[Step]:
    """The steps that are safe now, for all SIs; changes of all CSIs of one component to one state become one step."""
    works = list(works)
    steps = [step for work in works for step in _steps_of(work)]
    held: dict[Dn, set[Dn]] = {}
    for work in works:
        for row in work.rows:
            held.setdefault(row.component, set()).add(row.csi)
    return _gathered(steps, held)


def _gathered(steps: list[Step], held: Mapping[Dn, set[Dn]]) -> list[Step]:
    changes: dict[tuple[Dn, HaState | None], list[Step]] = {}
    for step in steps:
        if step.do is Do.CHANGE:
            changes.setdefault((step.component, step.ha_state), []).append(step)
    whole = {key for key, group in changes.items() if len(group) > 1 and len(group) == len(held[key[0]])}
    gathered: list[Step] = []
    for step in steps:
        key = (step.component, step.ha_state)
        if step.do is not Do.CHANGE or key not in whole:
            gathered.append(step)
        elif step is changes[key][0]:
            csis = tuple(other.csis[0] for other in changes[key])
            gathered.append(Step(step.do, step.component, step.su, csis, step.ha_state, is_all=True, rank=step.rank))
    # "All that it has" must reach a component before what is added to that.
    return sorted(gathered, key=lambda step: not step.is_all)


def _steps_of(work: Work) -> list[Step]:
    scene = _Scene(work, {(row.csi, row.component): row for row in work.rows})
    steps = [step for row in work.rows if not row.busy and (step := _for_row(scene, row)) is not None]
    for su, place in work.target.items():
        for csi, component in place.components.items():
            if (csi, component) not in scene.at and _may_add(scene, su, csi, component, place.ha_state):
                steps.append(Step(Do.ADD, component, su, (csi,), place.ha_state, rank=place.rank))
    return steps


def _may_add(scene: _Scene, su: Dn, csi: Dn, component: Dn, ha_state: HaState) -> bool:
    if component not in scene.work.able or component in scene.work.crowded:
        return False
    if ha_state is HaState.ACTIVE:
        return scene.may_work(su, csi, component)
    return scene.may_stand_by(su, csi)


def _for_row(scene: _Scene, row: Row) -> Step | None:
    wanted = scene.wanted(row)
    if not row.confirmed:
        return _bring_back(scene, row, wanted)
    if row.clear:
        return Step(Do.FORGET, row.component, row.su, (row.csi,))
    if not row.able or wanted is row.state:
        return None
    if wanted is None and row.state in (HaState.QUIESCED, HaState.STANDBY):
        return _remove(scene, row)
    state = _change(scene, row, wanted)
    if state is None:
        return None
    rank = scene.work.target[row.su].rank if row.su in scene.work.target else 0
    return Step(Do.CHANGE, row.component, row.su, (row.csi,), state, rank=rank)


def _bring_back(scene: _Scene, row: Row, wanted: HaState | None) -> Step | None:
    """After a restart: the same again, or nothing."""
    if wanted is not row.state:
        return Step(Do.FORGET, row.component, row.su, (row.csi,)) if row.clear else None
    if not row.able or not _may_add(scene, row.su, row.csi, row.component, row.state):
        return None
    return Step(Do.ADD, row.component, row.su, (row.csi,), row.state, rank=scene.work.target[row.su].rank)


def _change(scene: _Scene, row: Row, wanted: HaState | None) -> HaState | None:
    """The state to ask a row for next, on its way to the wanted one."""
    match row.state:
        case HaState.ACTIVE:
            if scene.work.waits_for_dependents or scene.has_dependent(row, _ACTIVE):
                return None
            return HaState.QUIESCING if row.su in scene.work.stopping else HaState.QUIESCED
        case HaState.QUIESCING:
            if wanted is HaState.ACTIVE:
                return HaState.ACTIVE
            return None if row.su in scene.work.stopping else HaState.QUIESCED
        case HaState.QUIESCED | HaState.STANDBY if wanted is HaState.ACTIVE:
            return HaState.ACTIVE if scene.may_work(row.su, row.csi, row.component) else None
        case HaState.QUIESCED if wanted is HaState.STANDBY:
            return HaState.STANDBY if scene.may_stand_by(row.su, row.csi) else None
    return None


def _remove(scene: _Scene, row: Row) -> Step | None:
    if scene.has_dependent(row, _ANY):
        return None
    is_kept = row.state is HaState.QUIESCED and row.component not in scene.work.crowded
    if is_kept and scene.is_being_replaced(row):
        return None
    return Step(Do.REMOVE, row.component, row.su, (row.csi,))
