"""What a value may be: one small class for each kind, which reads it and can say what it accepts."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from corosync_amf.config.tree import Block, Items, Text, Value, nearest

UINT32_MAX: Final = 2**32 - 1
MILLISECONDS_MAX: Final = 10**10
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DURATION: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*(ms|s|sec|min|m|h|d)?")
_UNITS: Final = {None: 1, "ms": 1, "s": 1000, "sec": 1000, "min": 60_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FLAGS: Final = {
    "yes": True,
    "on": True,
    "true": True,
    "1": True,
    "no": False,
    "off": False,
    "false": False,
    "0": False,
}


class Bad(Exception):
    """A value that is not of its kind. `at`: where, if not at the value itself."""

    def __init__(self, message: str, hint: str = "", at: Text | None = None) -> None:
        super().__init__(message)
        self.message, self.hint, self.at = message, hint, at


class Kind(Protocol):
    """Reads a value of the tree, or raises `Bad`."""

    def read(self, value: Value) -> Any: ...
    def describe(self) -> str: ...


def text_of(value: Value, wanted: str) -> str:
    if isinstance(value, Text):
        if "\0" in value.value:
            raise Bad("contains a NUL character")
        return value.value
    found = {Items: "a list", Block: "a mapping"}.get(type(value), "nothing")
    raise Bad(f"expected {wanted}, found {found}")


@dataclass(frozen=True)
class Free:
    """Any text, also an empty one."""

    def read(self, value: Value) -> str:
        return "" if value is None else text_of(value, "text")

    def describe(self) -> str:
        return "text"


@dataclass(frozen=True)
class Word:
    """A text that is not empty."""

    length_max: int = 4096

    def read(self, value: Value) -> str:
        text = text_of(value, "text")
        if not text or len(text) > self.length_max:
            raise Bad("is empty" if not text else f"is longer than {self.length_max} characters")
        return text

    def describe(self) -> str:
        return "text"


@dataclass(frozen=True)
class Integer:
    low: int = 0
    high: int = UINT32_MAX

    def read(self, value: Value) -> int:
        text = text_of(value, "a number")
        if not _INTEGER.fullmatch(text):
            raise Bad(f"'{text}' is not a whole number", f"allowed: {self.describe()}")
        number = int(text)
        if not self.low <= number <= self.high:
            raise Bad(f"{number} is out of range", f"allowed: {self.low}..{self.high}")
        return number

    def describe(self) -> str:
        return f"{self.low}..{self.high}" if self.high != UINT32_MAX else f"a whole number, at least {self.low}"


@dataclass(frozen=True)
class Milliseconds:
    """A time; the value that is read is seconds."""

    low: int = 0
    high: int = MILLISECONDS_MAX

    def read(self, value: Value) -> float:
        text = text_of(value, "a time")
        match = _DURATION.fullmatch(text)
        if match is None:
            raise Bad(f"'{text}' is not a time", "milliseconds, or a number with a unit: 250ms, 5s, 2min")
        milliseconds = float(match[1]) * _UNITS[match[2]]
        if not self.low <= milliseconds <= self.high:
            allowed = f"{self.low}..{self.high} ms" if milliseconds > self.high else self.describe()
            raise Bad(f"'{text}' is out of range", f"allowed: {allowed}")
        return milliseconds / 1000

    def describe(self) -> str:
        if self.high != MILLISECONDS_MAX:
            return f"{self.low}..{self.high} ms"
        return f"ms, at least {self.low}" if self.low else "ms"


@dataclass(frozen=True)
class Flag:
    def read(self, value: Value) -> bool:
        text = text_of(value, "yes or no")
        if text.lower() not in _FLAGS:
            raise Bad(f"'{text}' is neither yes nor no", "allowed: yes, no, on, off, true, false, 1, 0")
        return _FLAGS[text.lower()]

    def describe(self) -> str:
        return "yes or no"


@dataclass(frozen=True)
class Choice:
    """One of some words; `_` and `-` are the same in them. `hidden` words are read but not offered."""

    words: Mapping[str, Any]
    hidden: Mapping[str, Any] = field(default_factory=dict)

    def read(self, value: Value) -> Any:
        text = text_of(value, "one of " + ", ".join(self.words))
        known = {word.replace("_", "-"): meaning for word, meaning in (*self.words.items(), *self.hidden.items())}
        if text.replace("_", "-") not in known:
            raise Bad(f"'{text}' is not allowed here", nearest(text, self.words))
        return known[text.replace("_", "-")]

    def describe(self) -> str:
        return ", ".join(self.words)

    def word(self, meaning: Any) -> str:
        """How a file says `meaning`."""
        return next(word for word, each in self.words.items() if each is meaning)


@dataclass(frozen=True)
class Words:
    """A list, or words separated by blanks or commas; a tuple of what `kind` makes of each."""

    kind: Kind = Word()

    def read(self, value: Value) -> tuple[Any, ...]:
        found: list[Any] = []
        for item in listed(value):
            try:
                found.append(self.kind.read(item))
            except Bad as bad:
                raise Bad(bad.message, bad.hint, bad.at or item) from None
        return tuple(found)

    def describe(self) -> str:
        return f"a list of: {self.kind.describe()}"


def listed(value: Value) -> list[Text]:
    """The texts of a list, of a text with blanks or commas, or of a section's bare words."""
    if value is None:
        return []
    if isinstance(value, Text):
        words = re.finditer(r"[^\s,]+", value.value)
        return [Text(word.group(), value.line, value.column + word.start()) for word in words]
    values = value.values if isinstance(value, Items) else tuple(pair.key for pair in value.pairs)
    for item in values:
        if not isinstance(item, Text):
            raise Bad("every element of this list must be a plain text")
    return [item for item in values if isinstance(item, Text)]


@dataclass(frozen=True)
class Argv:
    """A command and its arguments: a list, or one text split as a shell would (no shell runs it)."""

    def read(self, value: Value) -> tuple[str, ...]:
        if isinstance(value, Items):
            words = [text_of(item, "text") for item in value.values]
        else:
            text = text_of(value, "a command")
            try:
                words = shlex.split(text)
            except ValueError as error:
                raise Bad(f"cannot be split into words: {error}") from None
        if not words or not words[0]:
            raise Bad("names no command")
        return tuple(words)

    def describe(self) -> str:
        return "a command: a list, or text that is split like a shell's"


@dataclass(frozen=True)
class MapOf:
    """A mapping of names to values of one kind."""

    kind: Kind

    def read(self, value: Value) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, Block):
            raise Bad("expected a mapping of names to values")
        found: dict[str, Any] = {}
        for pair in value.pairs:
            try:
                found[pair.key.value] = self.kind.read(pair.value)
            except Bad as bad:
                at = bad.at or (pair.value if isinstance(pair.value, Text) else pair.key)
                raise Bad(f"{pair.key.value}: {bad.message}", bad.hint, at) from None
        return dict(sorted(found.items()))

    def describe(self) -> str:
        return f"a map of names to: {self.kind.describe()}"


@dataclass(frozen=True)
class Texts:
    """A text, or a list of texts, as a tuple; a single text is not split."""

    def read(self, value: Value) -> tuple[str, ...]:
        if isinstance(value, Items):
            return tuple(Free().read(item) for item in value.values)
        return (Free().read(value),)

    def describe(self) -> str:
        return "text or a list of texts"
