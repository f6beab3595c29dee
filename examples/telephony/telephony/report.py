"""What a run has shown: the check of the records, and the lines that are printed."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from telephony.callers import Callers, Mark
from telephony.model import Cdr
from telephony.phone import Phone

TOLERANCE = 0.5  # seconds between what was talked and what is billed


class Stages(Protocol):
    """Where the time of one failover went, in milliseconds since the fault; None: not known."""

    @property
    def detect(self) -> float | None: ...
    @property
    def decide(self) -> float | None: ...
    @property
    def activate(self) -> float | None: ...
    @property
    def total(self) -> float: ...


class FaultReport(msgspec.Struct, frozen=True):
    what: str
    up: int
    lost: int
    silent: int
    failover: float  # milliseconds until the new active had confirmed, and audio flowed again
    stages: tuple[tuple[str, float], ...]
    gaps: tuple[float, ...]  # milliseconds
    delays: tuple[float, ...]  # milliseconds, of calls begun around the fault
    gap_limit: float | None = None  # milliseconds that 99 of 100 audio gaps may last

    def line(self) -> str:
        """As in `failover 9 ms (detect 2, decide 1, activate 4, first packet 2) - 212 calls up, 0 lost, ...`."""
        stages = ", ".join(f"{name} {value:.0f}" for name, value in self.stages)
        gap = f"audio gap {self.worst_gap:.0f} ms" if self.gaps else "no audio measured"
        more = f", {self.silent} without audio" if self.silent else ""
        return f"failover {self.failover:.0f} ms ({stages}) - {self.up} calls up, {self.lost} lost, {gap}{more}"

    def figures(self) -> str:
        return f"added answer delay {spread(self.delays)}, audio gap {spread(self.gaps)}"

    @property
    def over_limit(self) -> str:
        """What is wrong with the audio gaps, nothing if they are within the limit."""
        p99 = percentile(self.gaps, 0.99)
        if self.gap_limit is None or p99 <= self.gap_limit:
            return ""
        return f"audio gap p99 {p99:.0f} ms, allowed {self.gap_limit:.0f} ms"

    @property
    def worst_gap(self) -> float:
        return max(self.gaps, default=0.0)


def fault_report(what: str, at: float, mark: Mark, stages: Stages | None, callers: Callers) -> FaultReport:
    """To be made when all calls are over. `at` is the time of the fault as the callers count it.

    Lost is every call that did not go as it should on either side, whether it was up at the fault or begun later.
    """
    resumed = mark.resumed_at
    total = stages.total if stages is not None else 0.0
    named: list[tuple[str, float]] = []
    if stages is not None:
        parts = (("detect", stages.detect), ("decide", stages.decide), ("activate", stages.activate))
        named += [(name, value) for name, value in parts if value is not None]
    if resumed is not None:
        first = max(0.0, (resumed - at) * 1000 - total)
        named.append(("first packet", first))
        total += first
    return FaultReport(
        what=what,
        up=mark.up,
        lost=len(callers.lost) + sum(1 for phone in callers.calls if not phone.result.over),
        silent=mark.silent,
        failover=total,
        stages=tuple(named),
        gaps=tuple(1000 * gap for gap in mark.gaps),
        delays=tuple(1000 * delay for delay in callers.answer_delays(at - 1.0, at + 10.0)),
    )


def billing_errors(calls: Iterable[Phone], answered: Iterable[Phone], records: Iterable[Cdr]) -> list[str]:
    """What is wrong with the records of these callers' calls: nothing, or one line for each error.

    Every call that was answered has exactly one record, and its duration is the time between the caller's hearing of
    the answer and the hang-up, give or take `TOLERANCE`.
    """
    of: dict[str, list[Cdr]] = {}
    for record in records:
        of.setdefault(record.caller, []).append(record)
    hung_up = {phone.name: phone.result.ended_at for phone in answered}
    errors = []
    for phone in calls:
        mine = of.pop(f"sip:{phone.name}@{phone.contact[0]}", [])
        result = phone.result
        if len(mine) != 1:
            errors.append(f"{phone.name}: {len(mine)} records")
            continue
        ends = [time for time in (result.ended_at, hung_up.get("to-" + phone.name, 0.0)) if time]
        talked = min(ends) - result.answered_at if result.answered_at and ends else 0.0
        if abs(mine[0].duration - talked) > TOLERANCE:
            errors.append(f"{phone.name}: talked {talked:.3f} s, billed {mine[0].duration:.3f} s")
    errors += [f"{caller}: {len(records)} records of a call that nobody made" for caller, records in of.items()]
    return errors


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all are not above (nearest rank); 0 if there are none."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0


def spread(values: Sequence[float]) -> str:
    if not values:
        return "not measured"
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return f"p50 {p50:.0f} p99 {p99:.0f} max {max(values):.0f} ms (of {len(values)})"
