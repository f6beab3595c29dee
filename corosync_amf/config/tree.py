"""The tree that every configuration grammar is read into: text, and where it stood.

Positions (line and column from 1; 0: nowhere) take no part in comparisons.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import SequenceMatcher, get_close_matches
from typing import Final

DEPTH_MAX: Final = 32
FILE_BYTES_MAX: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Text:
    """A name or a value."""

    value: str
    line: int = field(default=0, compare=False)
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    values: "tuple[Value, ...]"
    line: int = field(default=0, compare=False)
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Pair:
    """`key: value`, `key { ... }`, `key = NAME { ... }` or a bare word (no value). `comments` stood before it."""

    key: Text
    value: "Value" = None
    name: Text | None = None
    comments: tuple[str, ...] = ()

    @property
    def at(self) -> "Text | Items | Block":
        """Where a problem with the value is shown."""
        return self.value if isinstance(self.value, Text) else self.key


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two braces, a YAML mapping, or a whole file."""

    pairs: tuple[Pair, ...] = ()
    line: int = field(default=0, compare=False)
    column: int = field(default=0, compare=False)

    def get(self, key: str) -> Pair | None:
        """Return the last pair with this key."""
        return next((pair for pair in reversed(self.pairs) if pair.key.value == key), None)


Value = Text | Items | Block | None


def _likeness(word: str, name: str) -> float:
    return SequenceMatcher(None, name.lower(), word.lower()).ratio()


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names what was probably meant and what is known; "" when nothing is known."""
    names = list(known)
    folded = {name.lower(): name for name in names}
    close = [folded[name] for name in get_close_matches(word.lower(), folded, n=2, cutoff=0.6)]
    if len(close) == 2 and _likeness(word, close[1]) < _likeness(word, close[0]) - 0.05:
        close.pop()
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    meant = "did you mean " + " or ".join(f"'{name}'" for name in close) + "?" if close else ""
    if close and len(names) > 12:
        return meant
    return f"{meant} known: {shown}".strip() if names else ""
