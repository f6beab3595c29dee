"""Administrative operations: effects, and every error of the tables."""

import pytest

from aisexec.simulation.fakes import Chances
from corosync_amf.ais import Admin, AdminOperation, Assignment, ErrorCode, HaState, Presence, Recovery
from corosync_amf.engine import Done
from corosync_amf.services.amf import messages as amf

from .clusters import APP, CLUSTER, SG, comp, csi, node, si, su
from .stage import admin, ask, believed, fact, kill, outcome, presence, process, refusal, said, started, status, view

ACTIVE, STANDBY, QUIESCED, QUIESCING = HaState.ACTIVE, HaState.STANDBY, HaState.QUIESCED, HaState.QUIESCING
OP, CODE = AdminOperation, ErrorCode


@pytest.mark.parametrize("dn", [su(1), node(1)])
def test_lock_moves_the_work_and_answers_when_that_is_done(dn):
    world = started()
    number = world.admin(dn, OP.LOCK)
    world.run(0.002)
    assert number not in world.replies
    world.run(1.0)
    assert len(world.replies[number]) == 1
    assert believed(world, csi()) == {comp(2): ACTIVE}
    assert presence(world, comp(1)) is Presence.INSTANTIATED


@pytest.mark.parametrize("dn", [si(), SG, APP, CLUSTER])
def test_lock_without_another_place_takes_the_work_away_and_unlock_brings_it_back(dn):
    world = started()
    assert outcome(world, dn, OP.LOCK) is CODE.OK
    assert believed(world, csi()) == {}
    assert status(world).instances[0].assignment is Assignment.UNASSIGNED
    assert outcome(world, dn, OP.UNLOCK) is CODE.OK
    assert sorted(believed(world, csi()).values()) == [ACTIVE, STANDBY]


def test_lock_of_one_si_leaves_the_others():
    world = started(instances=({}, {}))
    assert outcome(world, si(1), OP.LOCK) is CODE.OK
    assert believed(world, csi(1)) == {}
    assert believed(world, csi(2)) == {comp(1): ACTIVE, comp(2): STANDBY}


def test_unlocked_su_is_standby_without_fail_back():
    world = started()
    admin(world, su(1), OP.LOCK)
    assert outcome(world, su(1), OP.UNLOCK) is CODE.OK
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}


def test_shutdown_waits_until_the_work_has_ended_by_itself():
    world = started()
    number = world.admin(su(1), OP.SHUTDOWN)
    world.run(0.05)
    assert believed(world, csi()) == {comp(1): QUIESCING, comp(2): STANDBY}
    assert view(world).facts.admin[su(1)] is Admin.SHUTTING_DOWN
    world.run(1.0)
    assert believed(world, csi()) == {comp(2): ACTIVE}
    assert view(world).facts.admin[su(1)] is Admin.LOCKED
    assert len(world.replies[number]) == 1


def test_lock_supersedes_a_running_shutdown():
    world = started()
    shutdown = world.admin(su(1), OP.SHUTDOWN)
    world.run(0.05)
    assert outcome(world, su(1), OP.LOCK, 0.05) is CODE.OK
    assert refusal(world, shutdown).code == CODE.INTERRUPT
    assert believed(world, csi()) == {comp(2): ACTIVE}


def test_unlock_during_a_shutdown_gives_the_work_back():
    world = started()
    world.admin(su(1), OP.SHUTDOWN)
    world.run(0.05)
    assert outcome(world, su(1), OP.UNLOCK, 0.1) is CODE.OK
    assert believed(world, csi()) == {comp(1): ACTIVE, comp(2): STANDBY}


def test_quiescing_that_takes_too_long_is_a_fault():
    world = started(components=({"quiescing_complete_timeout": 0.05},))
    world.admin(su(1), OP.SHUTDOWN)
    world.run(1.0)
    assert said(world, "quiescing_timeout") > 0
    assert believed(world, csi()) == {comp(2): ACTIVE}


@pytest.mark.parametrize("dn", [su(1), SG, APP, CLUSTER, node(1)])
def test_lock_instantiation_terminates_and_unlock_instantiation_starts_again(dn):
    world = started()
    assert outcome(world, dn, OP.LOCK) is CODE.OK
    assert outcome(world, dn, OP.LOCK_INSTANTIATION) is CODE.OK
    assert presence(world, comp(1)) is Presence.UNINSTANTIATED
    assert outcome(world, dn, OP.UNLOCK_INSTANTIATION) is CODE.OK
    assert presence(world, comp(1)) is Presence.INSTANTIATED
    assert view(world).facts.admin[dn] is Admin.LOCKED
    assert outcome(world, dn, OP.UNLOCK) is CODE.OK
    assert sorted(believed(world, csi()).values()) == [ACTIVE, STANDBY]


def test_lock_instantiation_whose_termination_fails_needs_a_repair():
    world = started(components=({"cleanup": ("cleanup",)},))
    admin(world, su(2), OP.LOCK)
    world.refuse_cleanup = {comp(2)}
    world.hang(*process(world, comp(2)))
    assert outcome(world, su(2), OP.LOCK_INSTANTIATION, 10.0) is CODE.REPAIR_PENDING
    assert view(world).facts.admin[su(2)] is Admin.LOCKED_INSTANTIATION
    world.refuse_cleanup = set()
    assert outcome(world, su(2), OP.REPAIRED) is CODE.OK
    assert presence(world, comp(2)) is Presence.UNINSTANTIATED


def test_unlock_instantiation_that_fails_times_out():
    world = started(group={"auto_repair": False})
    admin(world, su(2), OP.LOCK)
    admin(world, su(2), OP.LOCK_INSTANTIATION)
    world.refuse_start = {comp(2)}
    assert outcome(world, su(2), OP.UNLOCK_INSTANTIATION, 5.0) is CODE.TIMEOUT


def test_swap_changes_the_places_of_active_and_standby():
    world = started(instances=({}, {}))
    assert outcome(world, si(1), OP.SI_SWAP) is CODE.OK
    for number in (1, 2):
        assert believed(world, csi(number)) == {comp(1): STANDBY, comp(2): ACTIVE}
    assert outcome(world, si(1), OP.SI_SWAP) is CODE.OK
    assert believed(world, csi()) == {comp(1): ACTIVE, comp(2): STANDBY}


def test_swap_tells_that_the_former_active_is_quiesced():
    world = started()
    world.told.clear()
    admin(world, si(), OP.SI_SWAP)
    told = [message for message in world.told if isinstance(message, amf.CsiSet)]
    assert [(message.component, message.ha_state) for message in told] == [
        (comp(1), QUIESCED),
        (comp(2), ACTIVE),
        (comp(1), STANDBY),
    ]
    assert told[1].descriptor.transition is amf.Transition.QUIESCED
    assert told[1].descriptor.active_component == comp(1)
    assert told[2].descriptor.active_component == comp(2)


def test_swap_whose_standby_dies_fails_and_gives_the_work_back():
    world = started(components=({}, {}))
    number = world.admin(si(), OP.SI_SWAP)
    while believed(world, csi()).get(comp(1)) is not QUIESCED:
        world.run(0.001)
    kill(world, comp(2))
    assert refusal(world, number).code == CODE.FAILED_OPERATION
    assert "su2/c0" in refusal(world, number).reason
    assert believed(world, csi())[comp(1)] is ACTIVE


def test_restart_of_a_component_ends_and_starts_it_with_the_same_work():
    world = started()
    before = process(world, comp(1))[1]
    assert outcome(world, comp(1), OP.RESTART) is CODE.OK
    assert process(world, comp(1))[1] is not before
    assert believed(world, csi()) == {comp(1): ACTIVE, comp(2): STANDBY}
    assert said(world, "fault") == 0


def test_restart_of_a_component_that_must_not_be_restarted_switches_over_first():
    world = started(components=({"disable_restart": True},))
    assert outcome(world, comp(1), OP.RESTART) is CODE.OK
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}


@pytest.mark.parametrize("dn", [su(1), node(1), APP])
def test_restart_of_larger_objects(dn):
    world = started(components=({}, {"instantiation_level": 1}))
    before = {p.instance for _, p in world.processes() if p.component.endswith(su(1))}
    assert outcome(world, dn, OP.RESTART, 3.0) is CODE.OK
    assert not before & {p.instance for _, p in world.processes()}
    assert sorted(believed(world, csi()).values()) == [ACTIVE, STANDBY]


def test_restart_that_ends_with_a_fault_fails():
    world = started()
    number = world.admin(comp(1), OP.RESTART)
    world.run(0.01)
    world.refuse_start = {comp(1)}
    world.run(5.0)
    assert refusal(world, number).code == CODE.FAILED_OPERATION


def test_adjust_goes_back_to_the_ranks():
    world = started(units=3, nodes=3)
    kill(world, comp(1))
    assert believed(world, csi()) == {comp(2): ACTIVE, comp(3): STANDBY} or comp(1) in believed(world, csi())
    assert outcome(world, SG, OP.SG_ADJUST) is CODE.OK
    assert believed(world, csi()) == {comp(1): ACTIVE, comp(2): STANDBY}


def test_auto_adjust_waits_for_its_probation_time():
    world = started(group={"auto_adjust": True, "auto_adjust_probation": 2.0})
    kill(world, comp(1))
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}
    world.run(2.0)
    assert believed(world, csi()) == {comp(1): ACTIVE, comp(2): STANDBY}


def test_repaired_brings_back_what_is_not_repaired_by_itself():
    world = started(group={"auto_repair": False})
    kill(world, comp(1))
    assert fact(world, comp(1)).disabled
    assert outcome(world, comp(1), OP.REPAIRED) is CODE.OK
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}


def test_repaired_ends_a_failed_cleanup():
    world = started(components=({"cleanup": ("cleanup",)},))
    world.refuse_cleanup = {comp(1)}
    world.hang(*process(world, comp(1)))
    world.run(3.0)
    assert outcome(world, su(1), OP.REPAIRED, 3.0) is CODE.FAILED_OPERATION
    world.refuse_cleanup = set()
    assert outcome(world, su(1), OP.REPAIRED, 3.0) is CODE.OK
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}


def test_monitor_is_started_and_stopped():
    world = started(components=({"am_start": ("watch",), "am_stop": ("unwatch",)},))
    assert outcome(world, comp(1), OP.EAM_STOP) is CODE.OK
    assert outcome(world, comp(1), OP.EAM_START) is CODE.OK


def test_monitor_that_cannot_be_started_fails_the_operation_with_its_fault():
    world = started(components=({"am_start": ("watch",), "am_stop": ("unwatch",)},))
    world.refuse_monitor = {comp(1)}
    assert outcome(world, comp(1), OP.EAM_STOP) is CODE.OK
    number = world.admin(comp(1), OP.EAM_START)
    world.run(1.0)
    refused = refusal(world, number)
    assert (refused.code, refused.reason) == (CODE.FAILED_OPERATION, "app/su1/c0: active_monitoring")
    assert said(world, "AM_STOP: 6>, ticket") == 2


def test_monitor_of_what_is_not_instantiated_is_not_started():
    world = started(components=({"am_start": ("watch",), "am_stop": ("unwatch",)},))
    for operation in (OP.LOCK, OP.LOCK_INSTANTIATION):
        assert outcome(world, su(1), operation) is CODE.OK
    assert outcome(world, comp(1), OP.EAM_START) is CODE.BAD_OPERATION


REFUSALS = [
    ("nothing", OP.LOCK, CODE.NOT_EXIST),
    (su(1), 99, CODE.INVALID_PARAM),
    (su(1), OP.UNLOCK, CODE.NO_OP),
    (su(1), OP.LOCK_INSTANTIATION, CODE.BAD_OPERATION),
    (su(1), OP.UNLOCK_INSTANTIATION, CODE.BAD_OPERATION),
    (su(1), OP.REPAIRED, CODE.NO_OP),
    (comp(1), OP.REPAIRED, CODE.NO_OP),
    (node(1), OP.REPAIRED, CODE.NO_OP),
    (si(), OP.LOCK_INSTANTIATION, CODE.NOT_SUPPORTED),
    (si(), OP.RESTART, CODE.NOT_SUPPORTED),
    (SG, OP.RESTART, CODE.NOT_SUPPORTED),
    (comp(1), OP.LOCK, CODE.NOT_SUPPORTED),
    (csi(), OP.LOCK, CODE.NOT_SUPPORTED),
    (su(1), OP.SI_SWAP, CODE.NOT_SUPPORTED),
    (comp(1), OP.EAM_START, CODE.BAD_OPERATION),
    (comp(1), OP.EAM_STOP, CODE.BAD_OPERATION),
]


@pytest.mark.parametrize(("dn", "operation", "code"), REFUSALS)
def test_refusals(dn, operation, code):
    assert outcome(started(), dn, operation) is code


@pytest.mark.parametrize(
    ("before", "operation", "code"),
    [
        ((OP.LOCK,), OP.LOCK, CODE.NO_OP),
        ((OP.LOCK,), OP.SHUTDOWN, CODE.BAD_OPERATION),
        ((OP.LOCK, OP.LOCK_INSTANTIATION), OP.LOCK, CODE.BAD_OPERATION),
        ((OP.LOCK, OP.LOCK_INSTANTIATION), OP.UNLOCK, CODE.BAD_OPERATION),
        ((OP.LOCK, OP.LOCK_INSTANTIATION), OP.SHUTDOWN, CODE.BAD_OPERATION),
        ((OP.LOCK, OP.LOCK_INSTANTIATION), OP.LOCK_INSTANTIATION, CODE.NO_OP),
        ((OP.LOCK, OP.LOCK_INSTANTIATION), OP.RESTART, CODE.BAD_OPERATION),
    ],
)
def test_refusals_that_depend_on_the_state(before, operation, code):
    world = started()
    for step in before:
        assert outcome(world, su(1), step) is CODE.OK
    assert outcome(world, su(1), operation) is code


def test_swap_without_a_standby_is_refused():
    assert outcome(started(units=1, nodes=1), si(), OP.SI_SWAP) is CODE.BAD_OPERATION
    world = started()
    admin(world, si(), OP.LOCK)
    assert outcome(world, si(), OP.SI_SWAP) is CODE.BAD_OPERATION


def test_adjust_of_a_locked_group_is_refused():
    world = started()
    admin(world, SG, OP.LOCK)
    assert outcome(world, SG, OP.SG_ADJUST) is CODE.BAD_OPERATION


def test_repair_on_an_absent_node_is_refused():
    world = started(nodes=3)
    world.crash(1)
    world.run(1.0)
    assert outcome(world, su(1), OP.REPAIRED) is CODE.BAD_OPERATION


def test_operations_on_one_group_wait_for_one_another():
    world = started()
    first = world.admin(su(1), OP.SHUTDOWN)
    second = world.admin(su(2), OP.LOCK)
    world.run(0.05)
    assert not world.replies
    assert [operation.running for operation in status(world).operations] == [True, False]
    world.run(2.0)
    assert set(world.replies) == {first, second}
    assert believed(world, csi()) == {}


def test_operation_that_may_not_wait_is_refused_while_another_runs():
    world = started()
    world.admin(su(1), OP.SHUTDOWN)
    assert outcome(world, su(2), OP.LOCK, 0.05, queue=False) is CODE.TRY_AGAIN


def test_operation_that_may_not_wait_is_refused_while_an_absent_sponsor_is_tolerated():
    world = started(instances=({"rank": 1}, {"rank": 2, "depends_on": {si(1): 5.0}}))
    assert outcome(world, si(1), OP.LOCK, 0.3) is CODE.OK
    number = world.admin(su(2), OP.LOCK, queue=False)
    world.run(0.1)
    assert refusal(world, number).reason == "app/si2 tolerates the absence of app/si1"
    world.run(6.0)
    assert outcome(world, su(2), OP.LOCK, queue=False) is CODE.OK


def test_operation_that_may_not_wait_is_refused_while_a_unit_waits_for_its_next_attempt():
    retried = {"max_instantiate_without_delay": 1, "max_instantiate_with_delay": 9, "delay_between_attempts": 5.0}
    world = started(components=(retried,), chances=Chances(slow=0.0, start_fails=1.0))
    world.is_calm = False
    kill(world, comp(2))
    number = world.admin(su(1), OP.LOCK, queue=False)
    world.run(0.1)
    refused = refusal(world, number)
    assert (refused.code, refused.reason) == (CODE.TRY_AGAIN, "app/su2 is INSTANTIATING")


def test_lock_that_is_refused_leaves_the_running_shutdown_alone():
    world = started(components=({"quiescing_complete_timeout": 60.0},))
    shutdown = world.admin(su(1), OP.SHUTDOWN)
    world.admin(su(2), OP.RESTART)
    assert outcome(world, su(1), OP.LOCK, 0.02, queue=False) is CODE.TRY_AGAIN
    assert shutdown not in world.replies
    world.run(2.0)
    assert isinstance(world.replies[shutdown][0], Done)
    assert view(world).facts.admin[su(1)] is Admin.LOCKED


def test_shutdown_that_nobody_waits_for_any_more_ends_locked():
    world = started(nodes=3, units=3)
    number = world.admin(su(1), OP.SHUTDOWN)
    world.run(0.03)
    process(world, comp(1))[1].is_hung = True  # it never completes its quiescing
    world.crash(2)
    world.crash(3)
    world.run(0.5)
    assert refusal(world, number).code == CODE.TRY_AGAIN
    assert view(world).facts.admin[su(1)] is Admin.SHUTTING_DOWN
    world.restart(2)
    world.run(3.0)
    assert view(world).facts.admin[su(1)] is Admin.LOCKED


@pytest.mark.parametrize("dn", [APP, node(1)])
def test_restart_of_what_is_not_instantiated_is_refused(dn):
    world = started()
    for operation in (OP.LOCK, OP.LOCK_INSTANTIATION):
        assert outcome(world, dn, operation) is CODE.OK
    assert outcome(world, dn, OP.RESTART) is CODE.BAD_OPERATION


def test_restart_of_a_disabled_node_is_refused():
    world = started(every_node={"auto_repair": False})
    world.report(*process(world, comp(1)), Recovery.NODE_FAILOVER)
    world.run(1.0)
    assert outcome(world, node(1), OP.RESTART) is CODE.BAD_OPERATION


def test_queue_is_bounded():
    world = started()
    world.admin(su(1), OP.SHUTDOWN)
    numbers = [world.admin(su(2), OP.RESTART) for _ in range(70)]
    world.run(0.15)
    refused = [number for number in numbers if number in world.replies]
    assert len(refused) == 7


def test_operation_that_takes_longer_than_asked_goes_on():
    world = started()
    assert outcome(world, su(1), OP.SHUTDOWN, 0.1, timeout=0.05) is CODE.TIMEOUT
    world.run(1.0)
    assert view(world).facts.admin[su(1)] is Admin.LOCKED


def test_operation_without_quorum_is_refused():
    world = started(nodes=3)
    world.isolate(3)
    world.run(0.1)
    number = world.admin(su(1), OP.LOCK, 3)
    world.run(0.1)
    assert refusal(world, number).code == CODE.TRY_AGAIN


def test_short_paths_name_objects():
    assert outcome(started(), "app/su1", OP.LOCK) is CODE.OK
    assert ask(started(), amf.StatusGet("app/nothing")).code == CODE.NOT_EXIST
