"""Faults and what becomes of the work: the recoveries one by one, in a world of fake processes."""

import pytest

from corosync_amf.ais import (
    AdminOperation,
    Assignment,
    ErrorCode,
    HaReadiness,
    HaState,
    Operational,
    Presence,
    Recovery,
)
from corosync_amf.services.amf import messages as amf
from corosync_amf.services.amf.model import Category, CsType
from corosync_amf.services.ntf.vocabulary import Severity

from .clusters import comp, csi, node, si, su
from .stage import admin, ask, believed, fact, kill, outcome, presence, process, said, severities, started, status, view

ACTIVE, STANDBY = HaState.ACTIVE, HaState.STANDBY
RESTART = Recovery.COMPONENT_RESTART


def test_first_assignments_follow_the_ranks():
    world = started(units=3, nodes=3)
    assert believed(world, csi()) == {comp(1): ACTIVE, comp(2): STANDBY}
    assert status(world).instances[0].assignment is Assignment.FULLY_ASSIGNED


def test_process_that_died_is_replaced_by_the_standby_and_comes_back_as_standby():
    world = started()
    kill(world, comp(1))
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}


def test_one_message_is_enough_to_promote_the_standby_of_a_cleaned_process():
    world = started()
    world.trace.clear()
    world.die(*process(world, comp(1)))
    world.run(0.002)
    fault = next(k for k, line in enumerate(world.trace) if "FaultDetected" in line)
    promotion = next(k for k, line in enumerate(world.trace) if "su2/c0: ACTIVE asked for" in line)
    assert not any("CommandDone" in line or "Response" in line for line in world.trace[fault:promotion])


def test_stages_of_the_last_failover_are_stamped():
    world = started()
    detected = world.now
    kill(world, comp(1))
    (last,) = status(world).failovers
    assert (last.si, last.from_su, last.to_su, last.cause) == (si(), su(1), su(2), "process_died")
    assert last.detected == detected
    assert last.decided is not None
    assert last.cleaned is not None
    assert last.active is not None
    assert detected <= last.decided <= last.cleaned < last.active
    assert last.epoch > 0


def test_hung_process_is_cleaned_up_before_the_standby_is_promoted():
    world = started()
    world.hang(*process(world, comp(1)))
    world.run(2.0)
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}
    found = [k for k, line in enumerate(world.trace) if "fault healthcheck_timeout" in line]
    promoted = [k for k, line in enumerate(world.trace) if "su2/c0: ACTIVE asked for" in line]
    assert any("Verb.CLEANUP" in line for line in world.trace[found[0] : promoted[0]])


def test_component_restart_keeps_the_work_where_it_is():
    world = started(components=({"recovery_on_error": RESTART},))
    kill(world, comp(1))
    assert believed(world, csi()) == {comp(1): ACTIVE, comp(2): STANDBY}
    assert fact(world, comp(1)).restarts == 1


def test_component_restart_grows_the_epoch_and_tells_that_the_former_did_not_quiesce():
    world = started(components=({"recovery_on_error": RESTART},))
    before = process(world, comp(1))[1].epochs[csi()]
    kill(world, comp(1))
    assert process(world, comp(1))[1].epochs[csi()] > before


def test_component_with_disable_restart_fails_over_instead():
    world = started(components=({"recovery_on_error": RESTART, "disable_restart": True},))
    kill(world, comp(1))
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}


@pytest.mark.parametrize("seconds", [0.001, 0.002, 0.006])
def test_more_that_is_recommended_while_a_component_restarts_is_done(seconds):
    world = started(components=({"recovery_on_error": RESTART},))
    world.report(*process(world, comp(1)), RESTART)
    world.run(0.001 + seconds)
    assert presence(world, comp(1)) is Presence.RESTARTING
    world.send(world.sites[2], 7, amf.ErrorReport(comp(1), Recovery.COMPONENT_FAILOVER))
    while believed(world, csi()).get(comp(2)) is not ACTIVE:
        world.run(0.0005)
    former = view(world).facts.former[csi()]
    assert (former.component, former.quiesced) == (comp(1), False)  # what the new one is told
    world.run(2.0)
    assert said(world, "recovery: component_failover") == 1
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}


@pytest.mark.parametrize(("recovery", "count"), [(Recovery.COMPONENT_FAILOVER, 0), (Recovery.NODE_FAILOVER, 1)])
def test_only_more_than_its_end_is_done_about_a_component_that_is_being_ended(recovery, count):
    world = started()
    admin(world, su(1), AdminOperation.LOCK)
    world.admin(su(1), AdminOperation.LOCK_INSTANTIATION)
    while presence(world, comp(1)) is not Presence.TERMINATING:
        world.run(0.0002)
    world.send(world.sites[2], 7, amf.ErrorReport(comp(1), recovery))
    world.run(2.0)
    assert said(world, "fault error_report; recovery") == count
    assert believed(world, csi()) == {comp(2): ACTIVE}


def test_repeated_faults_escalate_to_su_restart_then_to_failover():
    world = started(
        components=({"recovery_on_error": RESTART}, {"recovery_on_error": RESTART}),
        group={"component_restart_max": 1, "su_restart_max": 1},
    )
    kill(world, comp(1))
    assert said(world, "recovery: component_restart") == 1
    kill(world, comp(1))
    assert said(world, "recovery: su_restart") == 1
    assert view(world).facts.unit(su(1)).restarts == 1
    assert believed(world, csi())[comp(1)] is ACTIVE
    kill(world, comp(1))
    assert said(world, "recovery: su_failover") == 1
    assert believed(world, csi())[comp(2)] is ACTIVE


def test_su_restart_ends_the_higher_levels_first_and_starts_the_lower_first():
    world = started(
        components=(
            {"recovery_on_error": RESTART, "instantiation_level": 1},
            {"recovery_on_error": RESTART, "instantiation_level": 2},
            {"instantiation_level": 3},
        ),
        group={"component_restart_max": 0},
    )
    world.trace.clear()
    kill(world, comp(1, "c0"))
    order = [line.split("su1/")[1][:2] for line in world.trace if "su1/c" in line and "-> INSTANTIATED" in line]
    assert order == ["c0", "c1", "c2"]
    ends = [line.split("su1/")[1][:2] for line in world.trace if "su1/c" in line and "-> RESTARTING" in line]
    assert ends == ["c0", "c2", "c1"]


@pytest.mark.parametrize("auto_repair", [True, False])
def test_su_restart_with_a_component_that_must_not_be_restarted_switches_over_first(auto_repair):
    kinds = ({"recovery_on_error": RESTART}, {"disable_restart": True})
    group = {"component_restart_max": 0, "auto_repair": auto_repair}
    world = started(components=kinds, group=group)
    before = process(world, comp(1, "c1"))[1].instance
    kill(world, comp(1), 2.0)
    assert said(world, "recovery: su_restart") == 1
    assert said(world, "app/su1/c1: QUIESCED asked for") == 1
    assert process(world, comp(1, "c1"))[1].instance > before
    for name, kind in (("i0", "c0"), ("i1", "c1")):
        assert believed(world, csi(1, name)) == {comp(1, kind): STANDBY, comp(2, kind): ACTIVE}
    unit = status(world, su(1)).units[0]
    assert (unit.operational, unit.su_restarts_in_window) == (Operational.ENABLED, 1)


def test_component_failover_takes_everything_from_the_su_under_2n():
    world = started(components=({}, {}), instances=({"csis": ("i0",)}, {"csis": ("i1",)}))
    kill(world, comp(1, "c0"))
    assert believed(world, csi(1, "i0"))[comp(2, "c0")] is ACTIVE
    other = {state: name for name, state in believed(world, csi(2, "i1")).items()}
    assert other[ACTIVE].endswith(su(2))


def test_su_failover_cleans_up_all_components_of_the_su():
    world = started(components=({}, {}), unit={"su_failover": True})
    first = process(world, comp(1, "c1"))[1]
    kill(world, comp(1, "c0"))
    assert process(world, comp(1, "c1"))[1] is not first
    assert believed(world, csi(1, "i0"))[comp(2, "c0")] is ACTIVE


def test_node_switchover_moves_the_other_sus_in_order_and_repairs_the_node():
    world = started(units=2, nodes=2)
    world.report(*process(world, comp(1)), Recovery.NODE_SWITCHOVER)
    world.run(2.0)
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}
    assert said(world, "DISABLED: node_switchover") == 1
    assert status(world).nodes[0].operational is Operational.ENABLED


def test_node_failover_without_repair_leaves_the_node_disabled_and_empty():
    world = started(every_node={"auto_repair": False})
    world.report(*process(world, comp(1)), Recovery.NODE_FAILOVER)
    world.run(2.0)
    assert believed(world, csi()) == {comp(2): ACTIVE}
    assert status(world).nodes[0].operational is Operational.DISABLED
    assert presence(world, comp(1)) is Presence.UNINSTANTIATED


def test_node_failfast_moves_work_only_when_the_node_has_left():
    world = started(nodes=3)
    world.report(*process(world, comp(1)), Recovery.NODE_FAILFAST)
    world.run(0.2)
    assert believed(world, csi())[comp(2)] is STANDBY
    world.run(1.0)
    assert believed(world, csi()) == {comp(2): ACTIVE}


def test_lost_node_s_work_moves_and_a_node_that_returns_is_standby():
    world = started(nodes=3)
    world.crash(1)
    world.run(1.0)
    assert believed(world, csi()) == {comp(2): ACTIVE}
    assert said(world, "node_left") > 0
    world.restart(1)
    world.run(2.0)
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}


def test_application_restart_takes_all_work_away_and_begins_anew():
    world = started()
    before = {p.instance for _, p in world.processes()}
    world.report(*process(world, comp(2)), Recovery.APPLICATION_RESTART)
    world.run(2.0)
    assert not before & {p.instance for _, p in world.processes()}
    assert sorted(believed(world, csi()).values()) == [ACTIVE, STANDBY]


def test_work_stays_where_it_is_while_the_cleanup_fails():
    world = started(components=({"cleanup": ("cleanup",)},))
    world.refuse_cleanup = {comp(1)}
    world.hang(*process(world, comp(1)))
    world.run(3.0)
    assert presence(world, comp(1)) is Presence.TERMINATION_FAILED
    assert believed(world, csi()) == {comp(1): ACTIVE, comp(2): STANDBY}
    assert Severity.MAJOR in severities(world, 0x03)


def test_work_moves_when_the_node_of_a_failed_cleanup_has_left():
    world = started(nodes=3, components=({"cleanup": ("cleanup",)},))
    world.refuse_cleanup = {comp(1)}
    world.hang(*process(world, comp(1)))
    world.run(2.0)
    world.crash(1)
    world.run(1.0)
    assert believed(world, csi()) == {comp(2): ACTIVE}


def test_node_that_is_to_fail_fast_on_a_failed_cleanup_does():
    world = started(
        nodes=3,
        components=({"cleanup": ("cleanup",)},),
        every_node={"failfast_on_termination_failure": True},
    )
    world.refuse_cleanup = {comp(1)}
    world.hang(*process(world, comp(1)))
    world.run(3.0)
    assert world.sites[1].part is None
    assert believed(world, csi()) == {comp(2): ACTIVE}


def test_component_that_cannot_be_instantiated_is_tried_as_often_as_configured():
    world = started(
        0.0,
        components=(
            {"max_instantiate_without_delay": 2, "max_instantiate_with_delay": 1, "delay_between_attempts": 0.5},
        ),
        group={"auto_repair": False},
    )
    world.refuse_start = {comp(1)}
    world.run(5.0)
    assert presence(world, comp(1)) is Presence.INSTANTIATION_FAILED
    assert said(world, "su1/c0: attempt 3 failed") == 1
    assert said(world, "su1/c0: attempt 4 failed") == 0
    assert severities(world, 0x02)
    assert believed(world, csi()) == {comp(2): ACTIVE}


def test_repairs_that_fail_again_and_again_are_spread_out():
    world = started(0.0)
    world.refuse_start = {comp(1)}
    world.run(9.0)
    assert said(world, "su1: repair") == 5
    assert Severity.MAJOR in severities(world, 0x403)
    world.refuse_start = set()
    world.run(30.0)
    assert presence(world, comp(1)) is Presence.INSTANTIATED
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}


def test_su_is_not_repaired_while_a_maintenance_campaign_runs():
    world = started(unit={"maintenance_campaign": "upgrade"})
    kill(world, comp(1), 5.0)
    assert presence(world, comp(1)) is Presence.UNINSTANTIATED
    assert status(world).units[0].operational is Operational.DISABLED


def test_spare_becomes_standby():
    world = started(units=3, nodes=3, unit={"maintenance_campaign": "upgrade"})
    kill(world, comp(1))
    assert believed(world, csi()) == {comp(2): ACTIVE, comp(3): STANDBY}


def test_only_the_preferred_number_of_sus_is_instantiated():
    world = started(units=3, nodes=3, group={"preferred_inservice_sus": 2})
    assert presence(world, comp(3)) is Presence.UNINSTANTIATED
    world.crash(1)
    world.run(2.0)
    assert believed(world, csi()) == {comp(2): ACTIVE, comp(3): STANDBY}


def test_component_that_is_not_ready_gives_way_without_a_fault():
    world = started()
    world.send(
        world.sites[1],
        process(world, comp(1))[1].client,
        amf.HaReadinessSet(comp(1), None, HaReadiness.NOT_READY_FOR_ACTIVE),
    )
    world.run(1.0)
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}
    assert said(world, "fault") == 0


def test_last_component_that_is_not_ready_for_active_keeps_its_work():
    world = started(units=1, nodes=1)
    world.send(
        world.sites[1],
        process(world, comp(1))[1].client,
        amf.HaReadinessSet(comp(1), None, HaReadiness.NOT_READY_FOR_ACTIVE),
    )
    world.run(1.0)
    assert believed(world, csi()) == {comp(1): ACTIVE}


def test_old_process_s_fault_does_not_hit_its_successor():
    world = started()
    node_id, old = process(world, comp(1))
    kill(world, comp(1))
    world.send(world.sites[node_id], 0, amf.FaultDetected(comp(1), old.instance, amf.Kind.HEALTHCHECK_TIMEOUT))
    world.run(1.0)
    assert said(world, "fault") == 1


def test_local_component_is_instantiated_by_its_assignment_and_moves_to_a_spare():
    world = started(components=({"category": Category.LOCAL},))
    assert {p.component for _, p in world.processes()} == {comp(1)}
    kill(world, comp(1))
    assert {p.component for _, p in world.processes()} == {comp(2)}
    assert status(world).instances[0].assignment is Assignment.FULLY_ASSIGNED


def test_components_get_the_csi_types_that_they_support():
    first = {"cs_types": (CsType(name="voice"),)}
    second = {"cs_types": (CsType(name="data"),)}
    world = started(components=(first, second), instances=({"csis": ("a", "b"), "types": {"a": "data", "b": "voice"}},))
    assert believed(world, csi(1, "a")) == {comp(1, "c1"): ACTIVE, comp(2, "c1"): STANDBY}
    assert believed(world, csi(1, "b")) == {comp(1, "c0"): ACTIVE, comp(2, "c0"): STANDBY}


def test_why_tells_what_happened():
    world = started(every_node={"auto_repair": False})
    world.report(*process(world, comp(1)), Recovery.NODE_FAILOVER)
    world.run(1.0)
    lines = ask(world, amf.WhyGet("app/su1")).lines
    assert "node n1 is DISABLED" in lines[0]
    assert any("error_report" in line for line in lines)
    assert any("DISABLED: node_failover" in line for line in ask(world, amf.WhyGet(node(1))).lines)


def test_node_that_was_cut_off_and_is_back_is_ended_before_its_work_moves():
    world = started(nodes=3)
    before = process(world, comp(1))[1]
    world.blip(1)
    assert believed(world, csi()) == {comp(1): ACTIVE, comp(2): STANDBY}
    assert said(world, "was cut off and is back: what runs there is ended first") == 1
    world.run(1.0)
    assert process(world, comp(1))[1] is not before
    assert sorted(believed(world, csi()).values()) == [ACTIVE, STANDBY]


def test_cluster_reset_takes_all_nodes_out():
    world = started(nodes=3)
    world.report(*process(world, comp(2)), Recovery.CLUSTER_RESET)
    world.run(0.1)
    assert [site.part for site in world.sites.values()] == [None, None, None]
    assert severities(world, 0x04)


def test_fault_of_a_node_that_is_being_emptied_means_cleanup_only():
    world = started(units=2, nodes=1, every_node={"auto_repair": False})
    world.report(*process(world, comp(1)), Recovery.NODE_SWITCHOVER)
    world.run(0.002)
    world.die(*process(world, comp(2)))
    world.run(1.0)
    assert said(world, "process_died; cleanup only") == 1
    assert believed(world, csi()) == {}


def test_fault_of_a_node_that_is_being_emptied_still_means_failfast_where_that_is_configured():
    kind = {"recovery_on_error": Recovery.NODE_FAILFAST}
    world = started(units=2, nodes=1, components=(kind,), every_node={"auto_repair": False})
    world.report(*process(world, comp(1)), Recovery.NODE_SWITCHOVER)
    world.run(0.002)
    world.die(*process(world, comp(2)))
    world.run(1.0)
    assert said(world, "process_died; recovery: node_failfast") == 1


def test_component_with_a_terminate_command_is_ended_by_it():
    world = started(components=({"terminate": ("stop",)},))
    admin(world, su(2), AdminOperation.LOCK)
    world.trace.clear()
    assert outcome(world, su(2), AdminOperation.LOCK_INSTANTIATION) is ErrorCode.OK
    assert said(world, "Verb.TERMINATE") == 1
    assert said(world, "Verb.CLEANUP") == 0


def test_component_that_answers_the_terminate_callback_but_stays_is_cleaned_up():
    world = started()
    admin(world, su(2), AdminOperation.LOCK)
    world.stay_after_terminate = {comp(2)}
    world.trace.clear()
    assert outcome(world, su(2), AdminOperation.LOCK_INSTANTIATION) is ErrorCode.OK
    assert (said(world, "Verb.AWAIT_EXIT"), said(world, "Verb.CLEANUP")) == (1, 1)


def test_component_that_does_not_answer_the_terminate_callback_is_cleaned_up():
    world = started(components=({"terminate_callback_timeout": 0.2},))
    admin(world, su(2), AdminOperation.LOCK)
    process(world, comp(2))[1].is_hung = True
    assert outcome(world, su(2), AdminOperation.LOCK_INSTANTIATION) is ErrorCode.OK
    assert presence(world, comp(2)) is Presence.UNINSTANTIATED


def test_active_monitor_that_cannot_be_started_is_a_fault():
    world = started(
        0.0, components=({"am_start": ("watch",), "max_am_start_attempts": 2},), group={"auto_repair": False}
    )
    world.refuse_monitor = {comp(1)}
    world.run(2.0)
    assert said(world, "fault active_monitoring") == 1
    assert believed(world, csi()) == {comp(2): ACTIVE}


@pytest.mark.parametrize(("refused", "attempts"), [(set(), 1), ({comp(2)}, 3)])
def test_active_monitor_is_stopped_before_its_component_is_asked_to_end(refused, attempts):
    monitored = {"am_start": ("watch",), "am_stop": ("unwatch",), "max_am_stop_attempts": 3}
    world = started(components=(monitored,))
    admin(world, su(2), AdminOperation.LOCK)
    world.refuse_monitor = refused
    world.trace.clear()
    assert outcome(world, su(2), AdminOperation.LOCK_INSTANTIATION) is ErrorCode.OK
    told = [line for line in world.trace if "AM_STOP: 6>, ticket" in line or "AWAIT_EXIT: 3>" in line]
    assert ["AM_STOP" in line for line in told] == attempts * [True] + [False]


def test_component_that_dies_while_its_monitor_is_stopped_is_cleaned_up():
    world = started(components=({"am_start": ("watch",), "am_stop": ("unwatch",)},))
    admin(world, su(2), AdminOperation.LOCK)
    number = world.admin(su(2), AdminOperation.LOCK_INSTANTIATION)
    while fact(world, comp(2)).doing is not amf.Verb.AM_STOP:
        world.run(0.0002)
    world.die(*process(world, comp(2)))
    world.run(1.0)
    assert number in world.replies
    assert presence(world, comp(2)) is Presence.UNINSTANTIATED


def test_worst_ranked_si_gives_way_when_a_node_has_no_room():
    heavy = {"active_weight": {"cpu": 2}}
    world = started(every_node={"capacity": {"cpu": 3}}, instances=({"rank": 1, **heavy}, {"rank": 2, **heavy}))
    assert sorted(believed(world, csi(1)).values()) == [ACTIVE, STANDBY]
    assert believed(world, csi(2)) == {}


def test_alarm_of_a_node_that_fails_to_instantiate_leads_to_failfast_once():
    world = started(0.0, nodes=3, every_node={"failfast_on_instantiation_failure": True}, group={"auto_repair": False})
    world.refuse_start = {comp(1)}
    world.run(3.0)
    assert world.sites[1].part is None
    assert believed(world, csi())[comp(2)] is ACTIVE


def test_su_whose_repair_failed_half_way_is_repaired_again():
    world = started(components=({}, {}), unit={"su_failover": True})
    world.refuse_start = {comp(1, "c1")}
    kill(world, comp(1, "c0"), 5.0)
    assert presence(world, comp(1, "c0")) is Presence.INSTANTIATED
    assert presence(world, comp(1, "c1")) is Presence.INSTANTIATION_FAILED
    world.refuse_start = set()
    world.run(30.0)
    assert presence(world, comp(1, "c1")) is Presence.INSTANTIATED
    assert believed(world, csi(1, "i0"))[comp(1, "c0")] is STANDBY
