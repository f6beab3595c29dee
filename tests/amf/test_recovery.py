"""The escalation policy, fault by fault."""

import pytest

from corosync_amf.ais import Recovery
from corosync_amf.services.amf.recovery import Action, Count, Counters, Policy, escalate

RESTART = Recovery.COMPONENT_RESTART


def actions(times: list[float], policy: Policy, recommended: Recovery = RESTART) -> list[Action]:
    counters, found = Counters(), []
    for time in times:
        verdict = escalate(recommended, counters, policy, time)
        counters = verdict.counters
        found.append(verdict.action)
    return found


def test_faults_in_one_window_escalate_level_by_level():
    policy = Policy(component_restart_max=2, su_restart_max=1, su_failover_max=1)
    assert actions([1.0, 1.1, 1.2, 1.3], policy) == [
        Action.COMPONENT_RESTART,
        Action.COMPONENT_RESTART,
        Action.SU_RESTART,
        Action.SU_FAILOVER,
    ]


def test_su_failovers_of_a_node_escalate_to_node_failover():
    policy = Policy(component_restart_max=0, su_restart_max=0, su_failover_max=2)
    assert actions([1.0, 2.0, 3.0], policy) == [Action.SU_FAILOVER, Action.SU_FAILOVER, Action.NODE_FAILOVER]


def test_window_that_ended_starts_again_at_level_0():
    policy = Policy(component_restart_max=1, component_restart_probation=10.0)
    assert actions([0.5, 10.6, 21.0], policy) == [Action.COMPONENT_RESTART] * 3


def test_window_begins_with_its_first_fault_and_not_with_the_latest():
    policy = Policy(component_restart_max=2, component_restart_probation=10.0)
    assert actions([1.0, 10.0, 11.5], policy) == [Action.COMPONENT_RESTART] * 3


def test_level_1_is_kept_until_its_window_ends():
    policy = Policy(component_restart_max=1, component_restart_probation=1.0, su_restart_max=3, su_restart_probation=20)
    assert actions([1.0, 1.5, 15.0, 40.0], policy) == [
        Action.COMPONENT_RESTART,
        Action.SU_RESTART,
        Action.SU_RESTART,
        Action.COMPONENT_RESTART,
    ]


def test_maximum_of_0_skips_the_level():
    assert actions([1.0], Policy(component_restart_max=0)) == [Action.SU_RESTART]
    assert actions([1.0], Policy(component_restart_max=0, su_restart_max=0)) == [Action.SU_FAILOVER]
    assert actions([1.0], Policy(component_restart_max=0, su_restart_max=0, su_failover_max=0)) == [
        Action.NODE_FAILOVER
    ]


def test_fault_during_an_su_restart_goes_to_the_next_level():
    counters = Counters(su_restarts=Count(1, 1.0))
    assert escalate(RESTART, counters, Policy(su_is_restarting=True), 1.5).action is Action.SU_FAILOVER


def test_component_that_must_not_be_restarted_fails_over():
    assert actions([1.0], Policy(may_restart=False)) == [Action.COMPONENT_FAILOVER]
    assert actions([1.0], Policy(may_restart=False, su_failover=True)) == [Action.SU_FAILOVER]


def test_external_su_never_takes_a_node_with_it():
    policy = Policy(component_restart_max=0, su_restart_max=0, su_failover_max=0, is_external=True)
    assert actions([1.0, 2.0], policy) == [Action.SU_FAILOVER, Action.SU_FAILOVER]


@pytest.mark.parametrize(
    ("recommended", "action"),
    [
        (Recovery.COMPONENT_FAILOVER, Action.COMPONENT_FAILOVER),
        (Recovery.NODE_SWITCHOVER, Action.NODE_SWITCHOVER),
        (Recovery.NODE_FAILOVER, Action.NODE_FAILOVER),
        (Recovery.NODE_FAILFAST, Action.NODE_FAILFAST),
        (Recovery.APPLICATION_RESTART, Action.APPLICATION_RESTART),
        (Recovery.CLUSTER_RESET, Action.CLUSTER_RESET),
    ],
)
def test_recovery_is_never_less_than_recommended(recommended, action):
    assert actions([1.0], Policy(), recommended) == [action]
