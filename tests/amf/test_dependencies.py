"""Dependencies between SIs, between CSIs, and between the levels of an SU."""

from typing import Any

from corosync_amf.ais import AdminOperation, HaState, Recovery
from corosync_amf.services.amf import messages as amf

from .clusters import comp, csi, si, su
from .stage import admin, believed, kill, outcome, process, said, started, view

ACTIVE, STANDBY = HaState.ACTIVE, HaState.STANDBY
OP = AdminOperation


def chain(tolerance: float = 0.0) -> tuple[dict[str, Any], ...]:
    return ({"rank": 1}, {"rank": 2, "depends_on": {si(1): tolerance}})


def changes(world, state: HaState) -> list[str]:
    """The CSIs in the order in which components said that they have a state."""
    return [line.split("AMF: app/")[1][:3] for line in world.trace if line.endswith(f": {state.name}")]


def test_dependent_becomes_active_after_its_sponsor():
    world = started(instances=chain())
    assert changes(world, ACTIVE) == ["si1", "si2"]
    assert believed(world, csi(2)) == {comp(1): ACTIVE, comp(2): STANDBY}


def test_dependent_is_quiesced_before_its_sponsor_and_active_after_it_at_a_switchover():
    world = started(instances=chain())
    world.trace.clear()
    admin(world, si(1), OP.SI_SWAP)
    assert changes(world, HaState.QUIESCED) == ["si2", "si1"]
    assert changes(world, ACTIVE) == ["si1", "si2"]


def test_dependent_goes_when_its_sponsor_is_locked_and_comes_back_with_it():
    world = started(instances=chain())
    assert admin(world, si(1), OP.LOCK) is not None
    assert believed(world, csi(1)) == believed(world, csi(2)) == {}
    admin(world, si(1), OP.UNLOCK)
    assert believed(world, csi(2)) == {comp(1): ACTIVE, comp(2): STANDBY}


def test_dependent_stays_for_as_long_as_is_tolerated():
    world = started(instances=chain(tolerance=3.0))
    admin(world, si(1), OP.LOCK)
    assert believed(world, csi(2))[comp(1)] is ACTIVE
    world.run(3.0)
    assert believed(world, csi(2)) == {}


def test_dependent_is_untouched_when_its_sponsor_comes_back_in_time():
    world = started(instances=chain(tolerance=3.0))
    admin(world, si(1), OP.LOCK)
    world.told.clear()
    admin(world, si(1), OP.UNLOCK)
    world.run(5.0)
    assert not [m for m in world.told if isinstance(m, amf.CsiSet) and m.descriptor.name == csi(2)]
    assert view(world).facts.tolerances == {}


def test_failover_of_both_activates_the_sponsor_first():
    world = started(instances=chain())
    world.trace.clear()
    kill(world, comp(1))
    assert changes(world, ACTIVE) == ["si1", "si2"]
    assert believed(world, csi(2))[comp(2)] is ACTIVE


def test_restart_of_the_sponsor_s_component_leaves_the_dependent_alone():
    world = started(
        components=({"recovery_on_error": Recovery.COMPONENT_RESTART}, {}),
        instances=(
            {"rank": 1, "csis": ("i0",), "types": {"i0": "x"}},
            *({"csis": ("i1",), "depends_on": {si(1): 0.0}},),
        ),
    )
    sponsor = next(name for name, state in believed(world, csi(1)).items() if state is ACTIVE)
    dependent = next(name for name, state in believed(world, csi(2, "i1")).items() if state is ACTIVE)
    assert sponsor != dependent
    world.told.clear()
    kill(world, sponsor)
    assert not [m for m in world.told if isinstance(m, amf.CsiSet) and m.component == dependent]


def test_csis_follow_their_order_within_an_si():
    world = started(components=({}, {}), instances=({"csis": {"i0": (), "i1": ("i0",)}},))
    names = [m.descriptor.name for m in world.told if isinstance(m, amf.CsiSet) and m.ha_state is ACTIVE]
    assert names == [csi(1, "i0"), csi(1, "i1")]
    world.told.clear()
    admin(world, si(), OP.LOCK)
    quiesced = [m.descriptor.name for m in world.told if isinstance(m, amf.CsiSet)]
    removed = [m.csi for m in world.told if isinstance(m, amf.CsiRemove) and m.component.endswith(su(1))]
    assert quiesced == removed == [csi(1, "i1"), csi(1, "i0")]


def test_levels_are_instantiated_upwards_and_terminated_downwards():
    world = started(components=({"instantiation_level": 2}, {"instantiation_level": 1}))
    first = process(world, comp(1, "c1"))[1].instance
    assert first < process(world, comp(1, "c0"))[1].instance
    world.trace.clear()
    admin(world, su(1), OP.LOCK)
    assert outcome(world, su(1), OP.LOCK_INSTANTIATION) == 1
    ends = [line.split("su1/")[1][:2] for line in world.trace if "TERMINATING -> UNINSTANTIATED" in line]
    assert ends == ["c0", "c1"]


def test_all_csis_of_a_component_change_with_one_callback():
    world = started(instances=({}, {}))
    world.told.clear()
    kill(world, comp(1))
    (promotion,) = [m for m in world.told if isinstance(m, amf.CsiSet) and m.component == comp(2)]
    assert promotion.descriptor.flags is amf.CsiFlags.TARGET_ALL
    assert promotion.descriptor.transition is amf.Transition.NOT_QUIESCED
    assert promotion.descriptor.active_component == comp(1)
    assert said(world, "started twice") == 0
