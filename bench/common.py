"""Runs that are repeated, the steal that spoils them, and the table that shows what came out."""

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RUNS = 5
STEAL_MAX = 0.05
REPEATS_MAX = 10


class Steal:
    """The share of this machine's time that the hypervisor took since this object was made."""

    def __init__(self) -> None:
        self._start = _ticks()

    def share(self) -> float:
        """0 to 1; 0 when no time has passed."""
        stolen, total = (now - then for now, then in zip(_ticks(), self._start, strict=True))
        return stolen / total if total else 0.0


def _ticks() -> tuple[int, int]:
    columns = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return columns[7], sum(columns)


@dataclass(slots=True)
class Row:
    """One figure. `must`, `goal` and `openais`, what openais reached on such a machine, are None where there is none;
    `values` holds one value per run."""

    figure: str
    unit: str
    must: float | None = None
    goal: float | None = None
    less_is_better: bool = False
    openais: float | None = None
    values: list[float] = field(default_factory=list)
    steal: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def reaches(self, bound: float | None) -> bool:
        """Whether the median is at the bound or better; true without a bound."""
        if bound is None:
            return True
        return self.median <= bound if self.less_is_better else self.median >= bound


def repeat(rows: Sequence[Row], measure: Callable[[], Sequence[float]], runs: int = RUNS) -> None:
    """Let `measure` give one value for each row, `runs` times. Runs with more than 5 % steal are made again, at most
    ten of them in all; what is left then counts, and the table shows the steal."""
    again = REPEATS_MAX
    done = 0
    while done < runs:
        steal = Steal()
        values = measure()
        share = steal.share()
        if share > STEAL_MAX and again:
            again -= 1
            print(f"  repeated: {share:.0%} steal", file=sys.stderr)
            continue
        done += 1
        for row, value in zip(rows, values, strict=True):
            row.values.append(value)
            row.steal = max(row.steal, share)


def number(value: float | None) -> str:
    """A figure with three significant digits, thousands grouped."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class Table:
    """What a benchmark found."""

    title: str
    rows: Sequence[Row]


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Figures beside what must be reached."""
    lines = [("figure", "unit", "median", "lowest", "highest", "openais", "must", "goal", "steal", "")]
    for row in rows:
        verdict = "goal" if row.reaches(row.goal) else "must" if row.reaches(row.must) else "MISSED"
        if row.must is None and row.goal is None:
            verdict = ""
        measured = (row.median, min(row.values), max(row.values))
        figures = [number(each) for each in (*measured, row.openais, row.must, row.goal)]
        lines.append((row.figure, row.unit, *figures, f"{row.steal:.0%}", verdict))  # type: ignore[arg-type]
    if all(row.openais is None for row in rows):
        lines = [line[:5] + line[6:] for line in lines]  # type: ignore[misc]
    last = len(lines[0]) - 1
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    print(f"\n{title}\n")
    for line in lines:
        cells = [
            text.ljust(width) if column < 2 or column == last else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
