"""Supervision as a pure machine: events and times in, effects out."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisexec.supervision import (
    Answer,
    Asked,
    Begun,
    Checked,
    ClientEnded,
    Freeze,
    Monitored,
    Over,
    ProcessEnded,
    Report,
    RunCheck,
    Supervision,
    SupervisionEffect,
    Tell,
    Thaw,
)
from aisexec.watches import WATCHES_MAX, Unwatch, Watch
from corosync_amf.ais import ErrorCode, Recovery
from corosync_amf.engine import Done, Failed
from corosync_amf.services.amf.messages import (
    HEALTHCHECK_INVOCATION,
    AmfNodeLocal,
    FaultDetected,
    HealthcheckConfirm,
    HealthcheckInvoked,
    HealthcheckResponse,
    HealthcheckStart,
    HealthcheckStop,
    InvocationType,
    Kind,
    PmErrors,
    PmStart,
    PmStop,
    StopQualifier,
)
from corosync_amf.services.amf.model import Component, Healthcheck

A, B = "safComp=a,safSu=u", "safComp=b,safSu=u"
AMF, OWN = InvocationType.AMF_INVOKED, InvocationType.COMPONENT_INVOKED
PERIOD, LIMIT = 10.0, 3.0


def check(dn: str, key: str) -> Healthcheck:
    return Healthcheck(dn=f"safHealthcheckKey={key},{dn}", name=key, period=PERIOD, max_duration=LIMIT)


COMPONENTS = {
    dn: Component(
        dn=dn,
        name=dn[8],
        healthchecks=(check(dn, "alive"), check(dn, "db")),
        healthcheck_command=("/bin/check",) if dn == B else None,
    )
    for dn in (A, B)
}


class Case:
    """One machine, and what it said last."""

    def __init__(self) -> None:
        self.machine = Supervision(COMPONENTS, wall_offset=1000.0)
        self.machine.handle(Begun(A, 7), 0.0)
        self.machine.handle(Begun(B, 8), 0.0)

    def ask(self, message: AmfNodeLocal, now: float = 0.0, client: int = 1, **facts: bool) -> Any:
        """The answer; other effects stand in `others`."""
        effects = self.machine.handle(Asked(client, 55, message, **facts), now)
        answers = [effect for effect in effects if isinstance(effect, Answer)]
        self.others = [effect for effect in effects if not isinstance(effect, Answer)]
        assert [(answer.client, answer.request) for answer in answers] == [(client, 55)]
        return answers[0].message

    def start(self, key: str = "alive", kind: InvocationType = AMF, dn: str = A, now: float = 0.0) -> None:
        assert self.ask(HealthcheckStart(dn, key, kind, Recovery.COMPONENT_RESTART), now) == Done()

    def invocation(self, effects: Sequence[SupervisionEffect]) -> int:
        """The invocation of the healthcheck that the component is asked for."""
        tells = [effect for effect in effects if isinstance(effect, Tell)]
        assert len(tells) == 1
        message = tells[0].message
        assert isinstance(message, HealthcheckInvoked)
        return message.invocation

    def started(self, key: str = "alive", now: float = 0.0) -> int:
        self.start(key, now=now)
        return self.invocation(self.others)


def faults(effects: Sequence[SupervisionEffect]) -> list[FaultDetected]:
    return [effect.fault for effect in effects if isinstance(effect, Report)]


def code(message: Any) -> int | None:
    return message.code if isinstance(message, Failed) else None


def test_component_is_asked_at_once_and_again_a_period_after_its_answer() -> None:
    case = Case()
    first = case.started()
    assert first & HEALTHCHECK_INVOCATION
    assert case.machine.next_deadline() == LIMIT
    assert case.ask(HealthcheckResponse(first), 2.0) == Done()
    assert case.machine.next_deadline() == 2.0 + PERIOD
    assert case.machine.wake(11.9) == []
    second = case.invocation(case.machine.wake(12.0))
    assert second != first
    assert case.machine.next_deadline() == 12.0 + LIMIT


def test_missing_answer_is_a_fault_that_is_reported_once() -> None:
    case = Case()
    case.started()
    (fault,) = faults(case.machine.wake(LIMIT))
    assert fault == FaultDetected(
        A, 7, Kind.HEALTHCHECK_TIMEOUT, Recovery.COMPONENT_RESTART, "healthcheck alive: no answer within 3 s", 1003.0
    )
    assert case.machine.wake(100.0) == []
    assert case.machine.next_deadline() is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ErrorCode.FAILED_OPERATION, Kind.HEALTHCHECK_FAILED), (ErrorCode.TIMEOUT, Kind.HEALTHCHECK_TIMEOUT)],
)
def test_answer_that_is_not_ok_is_a_fault(error: ErrorCode, kind: Kind) -> None:
    case = Case()
    answer = HealthcheckResponse(case.started(), int(error))
    assert case.ask(answer, 1.0) == Done()
    (fault,) = faults(case.others)
    assert (fault.kind, fault.recovery, fault.time) == (kind, Recovery.COMPONENT_RESTART, 1001.0)


def test_executive_that_looks_too_late_gives_the_answer_one_more_chance() -> None:
    case = Case()
    invocation = case.started()
    assert case.machine.wake(60.0) == []
    assert case.ask(HealthcheckResponse(invocation), 60.0) == Done()
    assert faults(case.machine.wake(60.0)) == []


def test_a_second_late_look_finds_the_fault() -> None:
    case = Case()
    case.started()
    assert case.machine.wake(60.0) == []
    assert len(faults(case.machine.wake(120.0))) == 1


def test_an_answer_is_taken_once_and_from_the_right_client_only() -> None:
    case = Case()
    invocation = case.started()
    assert code(case.ask(HealthcheckResponse(invocation), client=2)) == ErrorCode.INVALID_PARAM
    assert case.ask(HealthcheckResponse(invocation)) == Done()
    assert code(case.ask(HealthcheckResponse(invocation))) == ErrorCode.INVALID_PARAM
    assert code(case.ask(HealthcheckResponse(HEALTHCHECK_INVOCATION | 999))) == ErrorCode.INVALID_PARAM


def test_component_that_checks_itself_must_confirm_each_period() -> None:
    case = Case()
    case.start(kind=OWN)
    assert case.others == []
    assert case.ask(HealthcheckConfirm(A, "alive"), 9.0) == Done()
    assert case.machine.next_deadline() == 9.0 + PERIOD
    (fault,) = faults(case.machine.wake(19.0))
    assert fault.detail == "healthcheck alive: not confirmed within 10 s"


def test_confirming_a_failure_is_a_fault() -> None:
    case = Case()
    case.start(kind=OWN)
    assert case.ask(HealthcheckConfirm(A, "alive", int(ErrorCode.NO_MEMORY)), 1.0) == Done()
    (fault,) = faults(case.others)
    assert (fault.kind, fault.detail) == (Kind.HEALTHCHECK_FAILED, "healthcheck alive: the component says error 8")


def test_only_who_started_a_check_may_confirm_it() -> None:
    case = Case()
    case.start(kind=OWN)
    assert code(case.ask(HealthcheckConfirm(A, "alive"), client=2)) == ErrorCode.INVALID_PARAM
    case.start("db", AMF)
    assert code(case.ask(HealthcheckConfirm(A, "db"))) == ErrorCode.INVALID_PARAM
    assert code(case.ask(HealthcheckConfirm(B, "alive"))) == ErrorCode.NOT_EXIST


def test_checks_that_are_unknown_running_or_stopped_are_refused() -> None:
    case = Case()
    assert code(case.ask(HealthcheckStart(A, "no", AMF))) == ErrorCode.NOT_EXIST
    assert code(case.ask(HealthcheckStart("safComp=z", "alive", AMF))) == ErrorCode.NOT_EXIST
    case.start()
    assert code(case.ask(HealthcheckStart(A, "alive", AMF))) == ErrorCode.EXIST
    assert case.ask(HealthcheckStop(A, "alive")) == Done()
    assert code(case.ask(HealthcheckStop(A, "alive"))) == ErrorCode.NOT_EXIST
    assert case.machine.next_deadline() is None


def test_what_a_client_started_ends_with_its_connection() -> None:
    case = Case()
    case.started()
    case.ask(PmStart(A, 100), 0.0)
    assert case.machine.handle(ClientEnded(1), 1.0) == [Unwatch(100)]
    assert case.machine.next_deadline() is None


@pytest.mark.parametrize("event", [Over(A), Begun(A, 9)])
def test_a_component_that_is_ended_is_not_supervised(event: Over | Begun) -> None:
    case = Case()
    case.started()
    case.machine.handle(event, 1.0)
    assert case.machine.next_deadline() is None


def test_faults_name_the_present_instance() -> None:
    case = Case()
    case.machine.handle(Begun(A, 12), 0.0)
    case.started()
    assert [fault.instance for fault in faults(case.machine.wake(LIMIT))] == [12]


def test_frozen_components_are_not_waited_for_and_get_their_time_back() -> None:
    case = Case()
    case.started()
    case.machine.handle(Freeze(frozenset({A})), 1.0)
    assert case.machine.next_deadline() is None
    assert case.machine.wake(50.0) == []
    case.machine.handle(Thaw(), 50.0)
    assert case.machine.next_deadline() == LIMIT + 49.0


def test_healthcheck_command_is_run_each_period_after_the_last_has_ended() -> None:
    case = Case()
    assert case.machine.handle(Monitored(A, 7), 0.0) == []  # has none
    assert case.machine.handle(Monitored(B, 8), 0.0) == []
    assert case.machine.wake(PERIOD) == [RunCheck(B, 8, LIMIT)]
    assert case.machine.next_deadline() is None
    assert case.machine.handle(Checked(B, 8, True, "exit 0"), 11.0) == []
    assert case.machine.next_deadline() == 11.0 + PERIOD


@pytest.mark.parametrize(
    ("detail", "kind"), [("exit 1", Kind.HEALTHCHECK_FAILED), ("timeout", Kind.HEALTHCHECK_TIMEOUT)]
)
def test_healthcheck_command_that_fails_is_a_fault(detail: str, kind: Kind) -> None:
    case = Case()
    case.machine.handle(Monitored(B, 8), 0.0)
    case.machine.wake(PERIOD)
    (fault,) = faults(case.machine.handle(Checked(B, 8, False, detail), 12.0))
    assert (fault.component, fault.instance, fault.kind) == (B, 8, kind)


def test_what_comes_of_a_former_instances_check_means_nothing() -> None:
    case = Case()
    case.machine.handle(Monitored(B, 8), 0.0)
    case.machine.wake(PERIOD)
    case.machine.handle(Begun(B, 9), 11.0)
    assert case.machine.handle(Checked(B, 8, False, "exit 1"), 12.0) == []
    case.machine.handle(Monitored(B, 9), 12.0)
    assert case.machine.handle(Checked(B, 9, False, "exit 1"), 13.0) == []  # none is under way


def test_check_of_a_frozen_component_is_run_again() -> None:
    case = Case()
    case.machine.handle(Monitored(B, 8), 0.0)
    case.machine.wake(PERIOD)
    case.machine.handle(Freeze(frozenset({B})), 11.0)
    assert case.machine.handle(Checked(B, 8, False, "timeout"), 14.0) == []
    case.machine.handle(Thaw(), 20.0)
    assert case.machine.wake(40.0) == [RunCheck(B, 8, LIMIT)]


# ---- process monitoring


def test_watched_process_that_ends_is_a_fault() -> None:
    case = Case()
    message = PmStart(A, 100, 2, int(PmErrors.ALL), Recovery.COMPONENT_FAILOVER)
    assert case.ask(message) == Done()
    assert case.others == [Watch(100, 2)]
    effects = case.machine.handle(ProcessEnded(100, 103, PmErrors.ABNORMAL_END), 5.0)
    (fault,) = faults(effects)
    assert fault == FaultDetected(
        A, 7, Kind.PASSIVE_MONITORING, Recovery.COMPONENT_FAILOVER, "process 103 has ended (abnormal end)", 1005.0
    )
    assert effects[1:] == [Unwatch(100)]


@pytest.mark.parametrize(("how", "found"), [(PmErrors.ZERO_EXIT, 0), (PmErrors.NON_ZERO_EXIT, 1), (None, 1)])
def test_only_ends_that_are_watched_for_are_faults(how: PmErrors | None, found: int) -> None:
    case = Case()
    case.ask(PmStart(A, 100, 0, int(PmErrors.NON_ZERO_EXIT)))
    assert len(faults(case.machine.handle(ProcessEnded(100, 100, how), 1.0))) == found


def test_the_same_process_may_be_watched_for_two_components() -> None:
    case = Case()
    case.ask(PmStart(A, 100, 1))
    case.ask(PmStart(B, 100, 3), client=2)
    assert case.others == [Watch(100, 3)]
    found = faults(case.machine.handle(ProcessEnded(100, 100, None), 1.0))
    assert [fault.component for fault in found] == [A, B]


def test_monitoring_can_be_stopped_kind_by_kind() -> None:
    case = Case()
    case.ask(PmStart(A, 100))
    stop = PmStop(A, StopQualifier.PROC, 100, int(PmErrors.ZERO_EXIT | PmErrors.NON_ZERO_EXIT))
    assert case.ask(stop) == Done()
    assert case.others == [Watch(100, 0)]
    assert faults(case.machine.handle(ProcessEnded(100, 999, PmErrors.ZERO_EXIT), 1.0)) == []
    assert case.ask(PmStop(A, StopQualifier.ALL_PROCESSES, 0, int(PmErrors.ALL))) == Done()
    assert case.others == [Unwatch(100)]
    assert code(case.ask(PmStop(A, StopQualifier.ALL_PROCESSES, 0, int(PmErrors.ALL)))) == ErrorCode.NOT_EXIST


def test_another_session_may_not_stop_monitoring() -> None:
    case = Case()
    case.ask(PmStart(A, 100))
    assert code(case.ask(PmStop(A, StopQualifier.PROC, 100, 7), client=2)) == ErrorCode.BAD_HANDLE


@pytest.mark.parametrize(
    ("message", "facts", "error"),
    [
        (PmStart("safComp=z", 100), {}, ErrorCode.NOT_EXIST),
        (PmStart(A, 100), {"is_alive": False}, ErrorCode.NOT_EXIST),
        (PmStart(A, 100), {"is_own": False}, ErrorCode.ACCESS_DENIED),
        (PmStart(A, 100, -1), {}, ErrorCode.INVALID_PARAM),
        (PmStart(A, 100, 0, 0), {}, ErrorCode.INVALID_PARAM),
        (PmStart(A, 100, 0, 8), {}, ErrorCode.INVALID_PARAM),
    ],
)
def test_impossible_monitoring_is_refused(message: PmStart, facts: dict[str, bool], error: ErrorCode) -> None:
    assert code(Case().ask(message, **facts)) == error


def test_a_component_cannot_have_more_processes_watched_than_there_is_room_for() -> None:
    case = Case()
    for pid in range(WATCHES_MAX):
        assert case.ask(PmStart(A, pid + 1)) == Done()
    assert code(case.ask(PmStart(A, 5000))) == ErrorCode.NO_RESOURCES
    assert case.ask(PmStart(B, 5000)) == Done()


# ---- any history

EVENTS = st.one_of(
    st.builds(Begun, st.sampled_from([A, B]), st.integers(1, 3)),
    st.builds(Over, st.sampled_from([A, B])),
    st.builds(Monitored, st.sampled_from([A, B]), st.integers(1, 3)),
    st.builds(Checked, st.sampled_from([A, B]), st.integers(1, 3), st.booleans(), st.sampled_from(["", "timeout"])),
    st.builds(ClientEnded, st.integers(1, 2)),
    st.builds(Freeze, st.frozensets(st.sampled_from([A, B]))),
    st.just(Thaw()),
    st.builds(ProcessEnded, st.integers(1, 3), st.integers(1, 3), st.none() | st.sampled_from(PmErrors)),
    st.builds(
        Asked,
        st.integers(1, 2),
        st.integers(1, 9),
        st.one_of(
            st.builds(
                HealthcheckStart,
                st.sampled_from([A, B]),
                st.sampled_from(["alive", "db", "x"]),
                st.sampled_from(InvocationType),
            ),
            st.builds(HealthcheckConfirm, st.sampled_from([A, B]), st.just("db"), st.sampled_from([1, 2])),
            st.builds(
                HealthcheckResponse, st.integers(1, 20).map(HEALTHCHECK_INVOCATION.__or__), st.sampled_from([1, 2])
            ),
            st.builds(HealthcheckStop, st.sampled_from([A, B]), st.sampled_from(["alive", "db"])),
            st.builds(PmStart, st.sampled_from([A, B]), st.integers(1, 3), st.integers(0, 2), st.integers(1, 7)),
            st.builds(
                PmStop, st.sampled_from([A, B]), st.sampled_from(StopQualifier), st.integers(1, 3), st.integers(1, 7)
            ),
        ),
    ),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0.0, 8.0)), max_size=40))
def test_whatever_happens_questions_get_one_answer_and_deadlines_lie_ahead(history: list[tuple[Any, float]]) -> None:
    machine = Supervision(COMPONENTS)
    now = 0.0
    for event, passes in history:
        now += passes
        effects = machine.handle(event, now)
        assert sum(isinstance(effect, Answer) for effect in effects) == isinstance(event, Asked)
        machine.wake(now)
        deadline = machine.next_deadline()
        assert deadline is None or deadline > now
