"""What is wrong with a configuration file: where, why, and what to do about it."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Protocol

import msgspec


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"


class Code(Enum):
    """The stable number of each kind of problem."""

    UNREADABLE = "E1001"
    ENCODING = "E1002"
    SYNTAX = "E1003"
    BRACES = "E1004"
    TOO_LARGE = "E1005"
    TAB = "E1006"
    TAG = "E1007"
    DUPLICATE = "E1101"
    UNKNOWN_KEY = "E1102"
    UNKNOWN_SECTION = "E1103"
    MISSING = "E1104"
    IGNORED = "E1105"
    OLD_SPELLING = "E1106"
    BAD_VALUE = "E1201"
    BAD_NAME = "E1202"
    UNKNOWN_REFERENCE = "E1203"
    AMBIGUOUS = "E1204"
    CONFLICT = "E1205"
    NOT_SUPPORTED = "E1301"
    CYCLE = "E1302"
    UNREACHABLE = "E1303"
    NO_PROTECTION = "E1304"
    INSECURE = "E1305"
    NOT_IMPORTABLE = "E1306"
    ADDRESS = "E1307"


class Place(Protocol):
    """Anything that stands somewhere in a file; line and column count from 1, 0 is nowhere."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One error or warning. `object` is the DN of the entity or the path of the section that it is about."""

    file: str
    line: int
    column: int
    severity: Severity
    object: str
    message: str
    hint: str = ""
    code: Code
    source_line: str = ""


class ConfigError(Exception):
    """A configuration that cannot be used. `problems` lists every error, and the warnings, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(render_text(self.problems))


class Report:
    """Collects the problems of one file while it is read.

    The same thing said twice about the same place (an attribute of a type that two components use) is kept once.
    """

    def __init__(self, file: str, text: str = "") -> None:
        self.file = file
        self.lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._problems: dict[tuple[int, int, str], Problem] = {}

    @property
    def problems(self) -> list[Problem]:
        """All problems so far, in file order."""
        return sorted(self._problems.values(), key=lambda problem: (problem.line, problem.column))

    @property
    def has_errors(self) -> bool:
        return any(problem.severity is Severity.ERROR for problem in self._problems.values())

    def has(self, code: Code) -> bool:
        """Whether anything of this kind was reported."""
        return any(problem.code is code for problem in self._problems.values())

    def error(self, code: Code, at: Place | None, obj: str, message: str, hint: str = "") -> None:
        self._add(Severity.ERROR, code, at, obj, message, hint)

    def warning(self, code: Code, at: Place | None, obj: str, message: str, hint: str = "") -> None:
        self._add(Severity.WARNING, code, at, obj, message, hint)

    def raise_errors(self) -> None:
        """Raises: ConfigError: when at least one problem is an error."""
        if self.has_errors:
            raise ConfigError(self.problems)

    def _add(self, severity: Severity, code: Code, at: Place | None, obj: str, message: str, hint: str) -> None:
        line, column = (at.line, at.column) if at else (0, 0)
        source = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        problem = Problem(
            file=self.file,
            line=line,
            column=column,
            severity=severity,
            object=obj,
            message=message,
            hint=hint,
            code=code,
            source_line=source[:500],
        )
        self._problems.setdefault((line, column, message), problem)


def render_text(problems: Iterable[Problem]) -> str:
    """Return the problems as people read them: place, message, the line with a caret, the hint."""
    return "\n".join(_paragraph(problem) for problem in problems)


def _paragraph(problem: Problem) -> str:
    where = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    about = f"{problem.object}: " if problem.object else ""
    lines = [f"{where}: {problem.severity.value}: {about}{problem.message}"]
    shown = problem.source_line.strip()
    if shown:
        skipped = len(problem.source_line) - len(problem.source_line.lstrip())
        before = shown[: max(0, problem.column - 1 - skipped)]
        lines.append("    " + shown)
        lines.append("    " + "".join("\t" if char == "\t" else " " for char in before) + "^")
    if problem.hint:
        lines.append(f"hint: {problem.hint}")
    return "\n".join(lines)
