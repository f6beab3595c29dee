"""2N placement: properties over random groups, and the cases of the specification."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from corosync_amf.ais import HaState
from corosync_amf.services.amf.model import (
    Capability,
    Component,
    ComponentServiceInstance,
    CsType,
    ServiceGroup,
    ServiceInstance,
)
from corosync_amf.services.amf.placement import Assignments, Current, Group, Held, Unit, by_rank
from corosync_amf.services.amf.placement.fitting import can_add
from corosync_amf.services.amf.placement.two_n import assign

ACTIVE, STANDBY = HaState.ACTIVE, HaState.STANDBY
TYPES = ("x", "y")

supports = st.builds(
    CsType,
    name=st.sampled_from(TYPES),
    capability=st.sampled_from([c for c in Capability if c is not Capability.NON_PRE_INSTANTIABLE]),
    max_active=st.sampled_from([None, 1, 2]),
    max_standby=st.sampled_from([None, 1, 2]),
)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    units = []
    for number in range(draw(st.integers(1, 4))):
        count = draw(st.integers(1, 3))
        components = tuple(
            Component(
                dn=f"c{k},u{number}",
                name=f"c{k}",
                cs_types=tuple({t.name: t for t in draw(st.lists(supports, max_size=2))}.values()),
                max_active_csis=draw(st.sampled_from([None, None, 1, 2])),
            )
            for k in range(count)
        )
        units.append(Unit(f"u{number}", draw(st.integers(0, 3)), f"n{number}", components))
    instances = tuple(
        ServiceInstance(
            dn=f"s{number}",
            name=f"s{number}",
            protected_by="g",
            rank=draw(st.integers(0, 3)),
            csis=tuple(
                ComponentServiceInstance(dn=f"i{k},s{number}", name=f"i{k}", type=draw(st.sampled_from(TYPES)))
                for k in range(draw(st.integers(1, 3)))
            ),
        )
        for number in range(draw(st.integers(0, 3)))
    )
    policy = ServiceGroup(
        dn="g",
        name="g",
        max_active_sis_per_su=draw(st.sampled_from([None, None, 1, 2])),
        max_standby_sis_per_su=draw(st.sampled_from([None, None, 1])),
    )
    return Group(policy, tuple(sorted(units, key=by_rank)), tuple(sorted(instances, key=by_rank)))


def as_current(assignments: Assignments) -> Current:
    return {
        si: {su: Held(place.ha_state, place.components) for su, place in places.items()}
        for si, places in assignments.items()
    }


def actives(assignments: Assignments) -> set[str]:
    return {su for places in assignments.values() for su, place in places.items() if place.ha_state is ACTIVE}


def standbys(assignments: Assignments) -> set[str]:
    return {su for places in assignments.values() for su, place in places.items() if place.ha_state is STANDBY}


@given(groups(), st.data())
@settings(max_examples=150, deadline=None)
def test_placement_is_sound_stable_and_indifferent_to_order(group: Group, data: st.DataObject):
    names = [unit.dn for unit in group.units]
    in_service = frozenset(data.draw(st.sets(st.sampled_from(names))))
    first = assign(group, in_service, {})
    assert len(actives(first)) <= 1
    assert len(standbys(first)) <= 1
    assert not actives(first) & standbys(first)
    assert actives(first) | standbys(first) <= in_service
    units = {unit.dn: unit for unit in group.units}
    types = {csi.dn: csi.type for instance in group.instances for csi in instance.csis}
    for su in actives(first) | standbys(first):
        loads: dict[str, Any] = {component.dn: [] for component in units[su].components}
        by_dn = {component.dn: component for component in units[su].components}
        for places in first.values():
            if su in places:
                place = places[su]
                for csi, component in place.components.items():
                    assert can_add(by_dn[component], loads[component], types[csi], place.ha_state)
                    loads[component].append((types[csi], place.ha_state))
    assert assign(group, in_service, as_current(first)) == first
    shuffled = Group(group.policy, tuple(reversed(group.units)), group.instances)
    assert assign(shuffled, in_service, {}) == first


@given(groups(), st.data())
@settings(max_examples=100, deadline=None)
def test_working_su_keeps_its_work_when_others_come_and_go(group: Group, data: st.DataObject):
    names = [unit.dn for unit in group.units]
    before = frozenset(data.draw(st.sets(st.sampled_from(names), min_size=1)))
    first = assign(group, before, {})
    others = frozenset(data.draw(st.sets(st.sampled_from(names))))
    after = assign(group, frozenset(actives(first) | others), as_current(first))
    assert not first or actives(after) == actives(first)


@given(groups(), st.data())
@settings(max_examples=100, deadline=None)
def test_standby_takes_over_when_it_can_take_anything(group: Group, data: st.DataObject):
    in_service = frozenset(unit.dn for unit in group.units)
    first = assign(group, in_service, {})
    rest = in_service - actives(first)
    after = assign(group, rest, as_current(first))
    standby_alone = assign(group, frozenset(standbys(first)), {})
    if standbys(first) and standby_alone:
        assert actives(after) == standbys(first)


def group_of(units: int = 3, **options: Any) -> Group:
    component = Component(dn="c", name="c")
    made = tuple(Unit(f"u{n}", n, f"n{n}", (component,), **options) for n in range(1, units + 1))
    csi = ComponentServiceInstance(dn="i,s", name="i", type="x")
    instance = ServiceInstance(dn="s", name="s", protected_by="g", csis=(csi,), active_weight={"cpu": 3})
    return Group(ServiceGroup(dn="g", name="g"), made, (instance,))


ALL = frozenset({"u1", "u2", "u3"})


def test_best_ranks_are_chosen_when_the_choice_is_free():
    target = assign(group_of(), ALL, {})
    assert {su: place.ha_state for su, place in target["s"].items()} == {"u1": ACTIVE, "u2": STANDBY}


def test_there_is_no_fail_back():
    current = {"s": {"u2": Held(ACTIVE), "u3": Held(STANDBY)}}
    assert actives(assign(group_of(), ALL, current)) == {"u2"}
    assert standbys(assign(group_of(), ALL, current)) == {"u3"}


def test_spare_becomes_standby_when_the_standby_took_over():
    target = assign(group_of(), frozenset({"u2", "u3"}), {"s": {"u1": Held(ACTIVE), "u2": Held(STANDBY)}})
    assert (actives(target), standbys(target)) == ({"u2"}, {"u3"})


def test_alone_su_is_active_without_standby():
    target = assign(group_of(), frozenset({"u3"}), {})
    assert (actives(target), standbys(target)) == ({"u3"}, set())


def test_administrator_s_preference_wins():
    group = group_of()
    wanted = Group(group.policy, group.units, group.instances, ("u3", "u1"))
    target = assign(wanted, ALL, {"s": {"u1": Held(ACTIVE), "u2": Held(STANDBY)}})
    assert (actives(target), standbys(target)) == ({"u3"}, {"u1"})


def test_su_that_is_not_ready_for_active_is_passed_over():
    component = Component(dn="c", name="c")
    group = group_of()
    refused = Unit("u1", 1, "n1", (component,), frozenset({("c", "i,s", ACTIVE)}))
    target = assign(Group(group.policy, (refused, *group.units[1:]), group.instances), ALL, {})
    assert (actives(target), standbys(target)) == ({"u2"}, {"u1"})


def test_node_without_room_takes_nothing():
    assert assign(group_of(room={"cpu": 2}), ALL, {}) == {}
    assert actives(assign(group_of(room={"cpu": 3}), ALL, {})) == {"u1"}


def test_best_ranked_sis_are_kept_when_there_is_no_room_for_all():
    component = Component(dn="c", name="c", max_active_csis=1)
    unit = Unit("u1", 1, "n1", (component,))
    instances = tuple(
        ServiceInstance(
            dn=f"s{rank}",
            name=f"s{rank}",
            protected_by="g",
            rank=rank,
            csis=(ComponentServiceInstance(dn=f"i,s{rank}", name="i", type="x"),),
        )
        for rank in (1, 2)
    )
    target = assign(Group(ServiceGroup(dn="g", name="g"), (unit,), instances), frozenset({"u1"}), {})
    assert list(target) == ["s1"]


def test_versatile_component_is_left_for_what_only_it_can_take():
    plain = Component(dn="a", name="a", cs_types=(CsType(name="x", max_active=1),))
    versatile = Component(dn="b", name="b", cs_types=(CsType(name="x", max_active=1), CsType(name="y", max_active=1)))
    csis = tuple(ComponentServiceInstance(dn=t, name=t, type=t) for t in ("x", "y"))
    instance = ServiceInstance(dn="s", name="s", protected_by="g", csis=csis)
    group = Group(ServiceGroup(dn="g", name="g"), (Unit("u1", 1, "n1", (versatile, plain)),), (instance,))
    assert assign(group, frozenset({"u1"}), {})["s"]["u1"].components == {"x": "a", "y": "b"}
