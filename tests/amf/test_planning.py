"""Only the steps that are safe now."""

from collections.abc import Mapping
from typing import Any

from corosync_amf.ais import HaState
from corosync_amf.services.amf.placement import Place
from corosync_amf.services.amf.planning import Do, Row, Step, Work, next_steps

ACTIVE, STANDBY, QUIESCED, QUIESCING = HaState.ACTIVE, HaState.STANDBY, HaState.QUIESCED, HaState.QUIESCING
ABLE = frozenset({"a1", "a2", "b1", "b2"})


def row(csi: str, component: str, state: HaState, **options: bool) -> Row:
    return Row(csi, component, f"su{component[-1]}", state, holds=state in (ACTIVE, QUIESCING), **options)


def place(state: HaState, number: int, csis: str = "i") -> Place:
    return Place(state, {csi: ("a" if csi in "ik" else "b") + str(number) for csi in csis})


def work(
    *rows: Row,
    csis: Mapping[str, tuple[str, ...]] | None = None,
    target: dict[str, Place] | None = None,
    **options: Any,
) -> Work:
    return Work("si", csis or {"i": ()}, rows, target or {}, able=ABLE, **options)


def brief(steps: list[Step]) -> list[tuple[Any, ...]]:
    return [(step.do, step.component, step.csis, step.ha_state) for step in steps]


BOTH = {"su1": place(ACTIVE, 1), "su2": place(STANDBY, 2)}
SWAPPED = {"su2": place(ACTIVE, 2), "su1": place(STANDBY, 1)}


def test_active_is_added_before_any_standby():
    assert brief(next_steps([work(target=BOTH)])) == [(Do.ADD, "a1", ("i",), ACTIVE)]


def test_standby_is_added_when_the_active_is_confirmed():
    assert brief(next_steps([work(row("i", "a1", ACTIVE), target=BOTH)])) == [(Do.ADD, "a2", ("i",), STANDBY)]


def test_standby_waits_for_an_active_that_has_not_answered():
    assert next_steps([work(row("i", "a1", ACTIVE, confirmed=False, busy=True), target=BOTH)]) == []


def test_swap_quiesces_first():
    rows = row("i", "a1", ACTIVE), row("i", "a2", STANDBY)
    assert brief(next_steps([work(*rows, target=SWAPPED)])) == [(Do.CHANGE, "a1", ("i",), QUIESCED)]


def test_swap_promotes_when_the_old_active_is_quiesced():
    rows = row("i", "a1", QUIESCED), row("i", "a2", STANDBY)
    assert brief(next_steps([work(*rows, target=SWAPPED)])) == [(Do.CHANGE, "a2", ("i",), ACTIVE)]


def test_old_active_becomes_standby_when_the_new_one_is_confirmed():
    rows = row("i", "a1", QUIESCED), row("i", "a2", ACTIVE)
    assert brief(next_steps([work(*rows, target=SWAPPED)])) == [(Do.CHANGE, "a1", ("i",), STANDBY)]


def test_nobody_is_promoted_while_a_faulty_active_may_still_run():
    rows = row("i", "a1", ACTIVE, able=False), row("i", "a2", STANDBY)
    assert next_steps([work(*rows, target={"su2": place(ACTIVE, 2)})]) == []


def test_standby_is_promoted_when_the_faulty_active_is_gone():
    steps = next_steps([work(row("i", "a2", STANDBY), target={"su2": place(ACTIVE, 2)})])
    assert brief(steps) == [(Do.CHANGE, "a2", ("i",), ACTIVE)]


def test_quiesced_one_is_kept_until_the_standby_has_been_promoted():
    target = {"su2": place(ACTIVE, 2)}
    assert next_steps([work(row("i", "a1", QUIESCED), row("i", "a2", STANDBY, busy=True), target=target)]) == []
    done = next_steps([work(row("i", "a1", QUIESCED), row("i", "a2", ACTIVE), target=target)])
    assert brief(done) == [(Do.REMOVE, "a1", ("i",), None)]


def test_quiesced_one_gets_active_back_when_the_standby_failed():
    assert brief(next_steps([work(row("i", "a1", QUIESCED), target={"su1": place(ACTIVE, 1)})])) == [
        (Do.CHANGE, "a1", ("i",), ACTIVE)
    ]


def test_shutdown_lets_work_end_by_itself():
    steps = next_steps([work(row("i", "a1", ACTIVE), stopping=frozenset({"su1"}))])
    assert brief(steps) == [(Do.CHANGE, "a1", ("i",), QUIESCING)]
    assert next_steps([work(row("i", "a1", QUIESCING), stopping=frozenset({"su1"}))]) == []


def test_lock_during_shutdown_quiesces_at_once():
    assert brief(next_steps([work(row("i", "a1", QUIESCING))])) == [(Do.CHANGE, "a1", ("i",), QUIESCED)]


def test_unlock_during_shutdown_gives_active_back():
    steps = next_steps([work(row("i", "a1", QUIESCING), target={"su1": place(ACTIVE, 1)})])
    assert brief(steps) == [(Do.CHANGE, "a1", ("i",), ACTIVE)]


CHAIN = {"i": (), "j": ("i",)}
CHAINED = {"su1": place(ACTIVE, 1, "ij")}


def test_csi_that_depends_on_another_becomes_active_after_it():
    assert brief(next_steps([work(csis=CHAIN, target=CHAINED)])) == [(Do.ADD, "a1", ("i",), ACTIVE)]
    steps = next_steps([work(row("i", "a1", ACTIVE), csis=CHAIN, target=CHAINED)])
    assert brief(steps) == [(Do.ADD, "b1", ("j",), ACTIVE)]


def test_csi_that_depends_on_another_is_quiesced_and_removed_before_it():
    active = row("i", "a1", ACTIVE), row("j", "b1", ACTIVE)
    assert brief(next_steps([work(*active, csis=CHAIN)])) == [(Do.CHANGE, "b1", ("j",), QUIESCED)]
    half = row("i", "a1", ACTIVE), row("j", "b1", QUIESCED)
    assert (Do.CHANGE, "a1", ("i",), QUIESCED) in brief(next_steps([work(*half, csis=CHAIN)]))
    quiesced = row("i", "a1", QUIESCED), row("j", "b1", QUIESCED)
    assert brief(next_steps([work(*quiesced, csis=CHAIN)])) == [(Do.REMOVE, "b1", ("j",), None)]


def test_change_of_all_csis_of_a_component_is_one_step():
    csis = {"i": (), "k": ()}
    rows = row("i", "a1", STANDBY), row("k", "a1", STANDBY)
    steps = next_steps([work(*rows, csis=csis, target={"su1": place(ACTIVE, 1, "ik")})])
    assert brief(steps) == [(Do.CHANGE, "a1", ("i", "k"), ACTIVE)]
    assert steps[0].is_all


def test_change_of_some_csis_of_a_component_is_one_step_each():
    csis = {"i": (), "k": ()}
    rows = row("i", "a1", STANDBY), row("k", "a1", STANDBY, busy=True)
    steps = next_steps([work(*rows, csis=csis, target={"su1": place(ACTIVE, 1, "ik")})])
    assert [step.is_all for step in steps] == [False]


def test_dependent_si_waits_for_its_sponsor():
    assert next_steps([work(target=BOTH, may_activate=False)]) == []


def test_sponsor_is_quiesced_after_what_depends_on_it():
    assert next_steps([work(row("i", "a1", ACTIVE), waits_for_dependents=True)]) == []


def test_si_whose_sponsor_has_gone_is_quiesced_where_it_is():
    steps = next_steps([work(row("i", "a1", ACTIVE), target={"su1": place(ACTIVE, 1)}, held_back=True)])
    assert brief(steps) == [(Do.CHANGE, "a1", ("i",), QUIESCED)]
    assert next_steps([work(row("i", "a1", QUIESCED), target={"su1": place(ACTIVE, 1)}, held_back=True)]) == []


def test_restarted_component_gets_the_same_again():
    restarted = row("i", "a1", ACTIVE, confirmed=False, clear=True)
    assert brief(next_steps([work(restarted, target={"su1": place(ACTIVE, 1)})])) == [(Do.ADD, "a1", ("i",), ACTIVE)]


def test_restarted_component_that_is_wanted_elsewhere_is_forgotten():
    restarted = row("i", "a1", ACTIVE, confirmed=False, clear=True)
    assert brief(next_steps([work(restarted, target={"su2": place(ACTIVE, 2)})])) == [(Do.FORGET, "a1", ("i",), None)]


def test_component_that_has_to_give_something_back_takes_nothing_before():
    assert next_steps([work(target=BOTH, crowded=frozenset({"a1"}))]) == []
