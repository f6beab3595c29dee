"""What to do about a fault: the whole escalation policy, as one function.

    level 0   restart the component     at most component_restart_max times in component_restart_probation, per SU
    level 1   restart the SU            at most su_restart_max times in su_restart_probation
    level 2   fail the SU over          at most su_failover_max times in su_failover_probation, per node
    level 3   fail the node over

Source: SAI-AIS-AMF-B.04.01 section 3.11.2.
"""

from dataclasses import dataclass
from enum import IntEnum

import msgspec

from corosync_amf.ais import Recovery


class Action(IntEnum):
    """What is done; a greater one touches more."""

    COMPONENT_RESTART = 1
    SU_RESTART = 2
    COMPONENT_FAILOVER = 3
    SU_FAILOVER = 4
    NODE_SWITCHOVER = 5
    NODE_FAILOVER = 6
    NODE_FAILFAST = 7
    APPLICATION_RESTART = 8
    CLUSTER_RESET = 9


class Count(msgspec.Struct, frozen=True):
    """How many, in a window that began with the first; `start` in seconds since the epoch."""

    count: int = 0
    start: float = 0.0

    def within(self, probation: float, now: float) -> "Count":
        """The same, or nothing when the window has ended."""
        return self if self.count and now - self.start < probation else Count()

    def plus_one(self, now: float) -> "Count":
        """One more; the first opens the window."""
        return Count(self.count + 1, self.start if self.count else now)


class Counters(msgspec.Struct, frozen=True):
    """Level 0 and 1 of the SU, level 2 of its node."""

    component_restarts: Count = Count()
    su_restarts: Count = Count()
    su_failovers: Count = Count()


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits of the three levels (probation times in seconds; max 0 skips the level), and what bears on one fault.

    `su_failover`: a failover takes the whole SU. `may_restart` False: a component restart becomes a failover.
    `is_external`: never more than SU failover. `su_is_restarting`: level 1 is at work already.
    """

    component_restart_probation: float = 10.0
    component_restart_max: int = 3
    su_restart_probation: float = 20.0
    su_restart_max: int = 3
    su_failover_probation: float = 60.0
    su_failover_max: int = 3
    su_failover: bool = False
    may_restart: bool = True
    is_external: bool = False
    su_is_restarting: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, and the counters afterwards."""

    action: Action
    counters: Counters


_DIRECT = {
    Recovery.NODE_SWITCHOVER: Action.NODE_SWITCHOVER,
    Recovery.NODE_FAILOVER: Action.NODE_FAILOVER,
    Recovery.NODE_FAILFAST: Action.NODE_FAILFAST,
    Recovery.CLUSTER_RESET: Action.CLUSTER_RESET,
    Recovery.APPLICATION_RESTART: Action.APPLICATION_RESTART,
}


def escalate(recommended: Recovery, counters: Counters, policy: Policy, now: float) -> Verdict:
    """The recovery for a fault at `now`, never less than recommended (which is not NO_RECOMMENDATION)."""
    if recommended in _DIRECT:
        return Verdict(_DIRECT[recommended], counters)
    open_windows = Counters(
        counters.component_restarts.within(policy.component_restart_probation, now),
        counters.su_restarts.within(policy.su_restart_probation, now),
        counters.su_failovers.within(policy.su_failover_probation, now),
    )
    if recommended is Recovery.COMPONENT_FAILOVER or not policy.may_restart:
        if policy.su_failover:
            return _fail_over(open_windows, policy, now)
        return Verdict(Action.COMPONENT_FAILOVER, open_windows)
    return _restart(open_windows, policy, now)


def _restart(counters: Counters, policy: Policy, now: float) -> Verdict:
    if policy.su_is_restarting:
        return _fail_over(counters, policy, now)
    at_level_0 = counters.su_restarts.count == 0
    if at_level_0 and counters.component_restarts.count < policy.component_restart_max:
        after = Counters(counters.component_restarts.plus_one(now), counters.su_restarts, counters.su_failovers)
        return Verdict(Action.COMPONENT_RESTART, after)
    if counters.su_restarts.count < policy.su_restart_max:
        after = Counters(counters.component_restarts, counters.su_restarts.plus_one(now), counters.su_failovers)
        return Verdict(Action.SU_RESTART, after)
    return _fail_over(counters, policy, now)


def _fail_over(counters: Counters, policy: Policy, now: float) -> Verdict:
    """Levels 2 and 3; the SU's own counters begin anew."""
    if policy.is_external or counters.su_failovers.count < policy.su_failover_max:
        return Verdict(Action.SU_FAILOVER, Counters(su_failovers=counters.su_failovers.plus_one(now)))
    return Verdict(Action.NODE_FAILOVER, Counters())
