"""The table of timers: what is due when, with the time as an argument."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from corosync_amf.errors import AisError, InvalidParam, NoResources, NotExist
from corosync_amf.services.tmr.table import LOOK_SECONDS, Moment, TimerTable, check_attributes
from corosync_amf.services.tmr.values import TIMERS_MAX, TimerAttributes, TimeType

ABSOLUTE, DURATION = TimeType.ABSOLUTE, TimeType.DURATION
NOON = 1_800_000_000.0


def at(seconds: float, wall: float = NOON) -> Moment:
    return Moment(seconds, wall + seconds)


def lasting(seconds: float, period: float = 0.0) -> TimerAttributes:
    return TimerAttributes(DURATION, seconds, period)


def until(seconds: float, period: float = 0.0) -> TimerAttributes:
    return TimerAttributes(ABSOLUTE, NOON + seconds, period)


def test_timers_expire_in_the_order_of_their_times_whatever_clock_they_go_by() -> None:
    table = TimerTable()
    third, first, second = (table.start(each, at(0)) for each in (lasting(3), until(1), lasting(2)))
    assert table.expire(at(0.5)) == []
    assert table.expire(at(3)) == [(first, 1), (second, 1), (third, 1)]
    assert table.expire(at(9)) == []


def test_periods_do_not_drift_and_missed_ones_are_counted() -> None:
    table = TimerTable()
    number = table.start(lasting(1.0, 0.1), at(0))
    assert table.expire(at(1.04)) == [(number, 1)]
    assert table.remaining(number, at(1.04)) == pytest.approx(0.06)
    assert table.expire(at(1.35)) == [(number, 3)]
    assert table.remaining(number, at(1.35)) == pytest.approx(0.05)
    assert table.expire(at(1001.0)) == [(number, 9997)]
    assert table.remaining(number, at(1001.0)) == pytest.approx(0.1)


def test_timer_that_expires_once_is_over_but_there() -> None:
    table = TimerTable()
    number = table.start(lasting(1.0), at(0))
    assert not table.is_over(number)
    assert table.expire(at(1)) == [(number, 1)]
    assert table.is_over(number)
    assert number in table
    assert table.remaining(number, at(1)) == 0.0
    assert table.attributes(number) == lasting(1.0)
    with pytest.raises(NotExist):
        table.reschedule(number, lasting(1.0), at(1))
    with pytest.raises(InvalidParam):
        table.skip(number)
    table.cancel(number)
    assert len(table) == 0


def test_absolute_timer_follows_the_wall_clock_and_a_duration_does_not() -> None:
    table = TimerTable()
    meeting, egg = table.start(until(100), at(0)), table.start(lasting(100), at(0))
    put_back = Moment(100.0, NOON + 40.0)
    assert table.expire(put_back) == [(egg, 1)]
    assert table.remaining(meeting, put_back) == 60.0
    put_forward = Moment(101.0, NOON + 3600.0)
    assert table.expire(put_forward) == [(meeting, 1)]


def test_periodic_absolute_timer_counts_what_a_step_of_the_clock_passed_over() -> None:
    table = TimerTable()
    number = table.start(until(0, 60.0), at(0))
    assert table.expire(Moment(1.0, NOON + 3600.0)) == [(number, 61)]


def test_how_long_nothing_needs_to_be_looked_at() -> None:
    table = TimerTable()
    assert table.delay(at(0)) is None
    long = table.start(lasting(50.0), at(0))
    assert table.delay(at(10)) == 40.0
    table.start(until(30), at(0))
    assert table.delay(at(10)) == LOOK_SECONDS
    assert table.delay(at(29.75)) == 0.25
    assert table.delay(at(31)) == 0.0
    table.expire(at(31))
    table.cancel(long)
    assert table.delay(at(32)) is None


def test_rescheduling_begins_anew_also_on_the_other_clock() -> None:
    table = TimerTable()
    number = table.start(lasting(10.0), at(0))
    table.reschedule(number, until(5), at(1))
    assert table.attributes(number) == until(5)
    assert table.remaining(number, at(1)) == 4.0
    assert table.expire(at(20)) == [(number, 1)]
    assert table.expire(at(30)) == []


def test_timer_stays_periodic_or_not() -> None:
    table = TimerTable()
    once, often = table.start(lasting(10.0), at(0)), table.start(lasting(10.0, 1.0), at(0))
    for number, other in ((once, lasting(1.0, 1.0)), (often, lasting(1.0))):
        with pytest.raises(InvalidParam):
            table.reschedule(number, other, at(0))
        assert table.remaining(number, at(0)) == 10.0


def test_skipping_leaves_out_expiries_and_keeps_the_beat() -> None:
    table = TimerTable()
    number = table.start(lasting(1.0, 1.0), at(0))
    table.skip(number)
    assert table.remaining(number, at(0)) == 2.0
    assert table.expire(at(1.5)) == []
    assert table.expire(at(2.0)) == [(number, 1)]
    table.skip(number)
    table.skip(number)
    assert table.expire(at(5.5)) == [(number, 1)]


def test_what_is_not_there_does_not_exist() -> None:
    table = TimerTable()
    number = table.start(lasting(1.0, 1.0), at(0))
    table.cancel(number)
    for call in (
        lambda: table.cancel(number),
        lambda: table.skip(number),
        lambda: table.remaining(number, at(0)),
        lambda: table.attributes(number),
        lambda: table.reschedule(number, lasting(1.0, 1.0), at(0)),
    ):
        with pytest.raises(NotExist):
            call()
    assert table.is_over(number)
    assert table.expire(at(9)) == []


def test_a_session_has_65536_timers_and_numbers_are_not_used_again() -> None:
    table = TimerTable()
    numbers = [table.start(lasting(1.0), at(0)) for _ in range(TIMERS_MAX)]
    with pytest.raises(NoResources):
        table.start(lasting(1.0), at(0))
    table.cancel(numbers[0])
    assert table.start(lasting(1.0), at(0)) > numbers[-1]
    assert len(table.expire(at(1))) == TIMERS_MAX


def test_rescheduling_again_and_again_takes_no_memory() -> None:
    table = TimerTable()
    number = table.start(lasting(10.0), at(0))
    for _ in range(10_000):
        table.reschedule(number, lasting(10.0), at(0))
    assert sum(map(len, table._heaps.values())) < 100


@pytest.mark.parametrize(
    "attributes",
    [
        None,
        "1",
        lasting(-1.0),
        lasting(1.0, -0.5),
        lasting(math.nan),
        lasting(1.0, math.nan),
        lasting(math.inf),
        lasting(1.0, 1e-12),
        lasting("1"),  # type: ignore[arg-type]
        lasting(None),  # type: ignore[arg-type]
        lasting(True),
        TimerAttributes(3, 1.0),  # type: ignore[arg-type]
        TimerAttributes(None, 1.0),  # type: ignore[arg-type]
        until(-0.001),
        until(-NOON),
    ],
)
def test_impossible_attributes_are_refused(attributes: Any) -> None:
    with pytest.raises(InvalidParam) as caught:
        check_attributes(attributes, NOON)
    assert isinstance(caught.value, AisError)


def test_possible_attributes_pass() -> None:
    for attributes in (lasting(0), lasting(0.0, 1e-9), until(0), TimerAttributes(2, 1)):  # type: ignore[arg-type]
        assert check_attributes(attributes, NOON) is attributes


@given(
    first=st.floats(0, 1e6),
    period=st.floats(1e-9, 1e5),
    looks=st.lists(st.floats(0, 1e6), min_size=1, max_size=20),
    kind=st.sampled_from(TimeType),
)
@settings(max_examples=300)
def test_expiries_in_all_are_those_that_were_due(
    first: float, period: float, looks: list[float], kind: TimeType
) -> None:
    table = TimerTable()
    start = at(0)
    number = table.start(TimerAttributes(kind, first + (NOON if kind is ABSOLUTE else 0), period), start)
    total = 0
    for seconds in sorted(looks):
        now = at(seconds)
        total += sum(count for _, count in table.expire(now))
        assert table.expire(now) == []
        left = table.remaining(number, now)
        assert left > 0
        exact = (now.by(kind) - start.by(kind) - first) / period + 1
        assert total == pytest.approx(max(0.0, math.floor(exact)), abs=1 + 1e-6 * abs(exact) + 1e-6 / period)


class Timers(RuleBasedStateMachine):
    """The table against one that looks at every timer each time. Times are eighths, which floats add exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.table = TimerTable()
        self.model: dict[int, tuple[TimerAttributes, float]] = {}
        self.over: set[int] = set()
        self.now = Moment(1000.0, NOON)

    times = st.integers(0, 80).map(lambda eighths: eighths / 8)
    kinds = st.sampled_from(TimeType)

    def attributes(self, kind: TimeType, first: float, period: float) -> TimerAttributes:
        return TimerAttributes(kind, first + (self.now.wall if kind is ABSOLUTE else 0.0), period)

    def deadline(self, attributes: TimerAttributes) -> float:
        return attributes.initial_expiration_time + (0.0 if attributes.type is ABSOLUTE else self.now.monotonic)

    def chosen(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.model)))

    @rule(kind=kinds, first=times, period=times)
    def start(self, kind: TimeType, first: float, period: float) -> None:
        attributes = self.attributes(kind, first, period)
        number = self.table.start(attributes, self.now)
        assert number not in self.model
        self.model[number] = attributes, self.deadline(attributes)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), kind=kinds, first=times, period=times)
    def reschedule(self, data: st.DataObject, kind: TimeType, first: float, period: float) -> None:
        number, attributes = self.chosen(data), self.attributes(kind, first, period)
        if number in self.over:
            with pytest.raises(NotExist):
                self.table.reschedule(number, attributes, self.now)
        elif bool(period) != bool(self.model[number][0].timer_period_duration):
            with pytest.raises(InvalidParam):
                self.table.reschedule(number, attributes, self.now)
        else:
            self.table.reschedule(number, attributes, self.now)
            self.model[number] = attributes, self.deadline(attributes)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def skip(self, data: st.DataObject) -> None:
        number = self.chosen(data)
        attributes, deadline = self.model[number]
        if attributes.timer_period_duration:
            self.table.skip(number)
            self.model[number] = attributes, deadline + attributes.timer_period_duration
        else:
            with pytest.raises(InvalidParam):
                self.table.skip(number)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = self.chosen(data)
        self.table.cancel(number)
        del self.model[number]
        self.over.discard(number)

    @rule(seconds=times, step=st.sampled_from([0.0] * 5 + [60.0, -60.0]))
    def pass_time(self, seconds: float, step: float) -> None:
        self.now = Moment(self.now.monotonic + seconds, self.now.wall + seconds + step)

    @rule()
    def expire(self) -> None:
        expected = {}
        for number, (attributes, deadline) in self.model.items():
            now, period = self.now.by(attributes.type), attributes.timer_period_duration
            if number in self.over or deadline > now:
                continue
            expected[number] = 1
            if not period:
                self.over.add(number)
                continue
            while (deadline := deadline + period) <= now:
                expected[number] += 1
            self.model[number] = attributes, deadline
        expired = self.table.expire(self.now)
        assert dict(expired) == expected
        assert len(expired) == len(expected)

    @invariant()
    def agrees(self) -> None:
        assert len(self.table) == len(self.model)
        due = []
        for number, (attributes, deadline) in self.model.items():
            left = max(0.0, deadline - self.now.by(attributes.type))
            assert self.table.is_over(number) == (number in self.over)
            assert self.table.attributes(number) == attributes
            if number not in self.over:
                assert self.table.remaining(number, self.now) == left
                due.append(min(left, LOOK_SECONDS) if attributes.type is ABSOLUTE else left)
        assert self.table.delay(self.now) == min(due, default=None)


TestTimers = Timers.TestCase
TestTimers.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
