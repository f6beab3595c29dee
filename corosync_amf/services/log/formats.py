"""From a record to its line, as the stream's format says. Pure.

A format is text with tokens; a number after a token is its width in bytes. Text is filled with blanks on its right and
cut; a number is filled with zeros on its left and keeps its last digits. Times are UTC.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

FORMAT_BYTES_MAX: Final = 1024
WIDTH_MAX: Final = 65_535
ABBREVIATIONS: Final = (b"EM", b"AL", b"CR", b"ER", b"WA", b"NO", b"IN")
_TOKEN: Final = re.compile(r"@([A-Za-z]{0,2})([0-9]*)", re.ASCII)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
NANOSECONDS: Final = 1_000_000_000


class Kind(Enum):
    """Which header the records of a stream have."""

    EITHER = "a header of either kind"
    GENERIC = "a generic header"
    NOTIFICATION = "a notification header"


class Line(NamedTuple):
    """What a format draws from: a record with its number, and the fields of either header."""

    number: int
    time: float
    body: bytes
    class_id: tuple[int, int, int] | None
    severity: int = 0
    user: str = ""
    notification_id: int = 0
    event_type: int = 0
    event_time: float = 0.0
    notification_object: str = ""
    notifying_object: str = ""


Part = bytes | Callable[[Line], bytes]
Reader = Callable[[Line], bytes]


@lru_cache(maxsize=64)
def civil(second: int) -> datetime:
    """The calendar's view of a second since the epoch."""
    return datetime.fromtimestamp(second, UTC)


def _text(value: str) -> bytes:
    return visible(value.encode(errors="replace"))


def visible(data: bytes) -> bytes:
    """The same on one line: control characters other than tabs as `\\n`, `\\x07` ..."""
    return _CONTROL.sub(_escaped, data) if _CONTROL.search(data) else data


def _escaped(match: re.Match[bytes]) -> bytes:
    named = {b"\n": b"\\n", b"\r": b"\\r"}
    return named.get(match[0], b"\\x%02x" % match[0][0])


def _class_id(line: Line) -> bytes:
    return b"" if line.class_id is None else b"%d,%d,%d" % line.class_id


NUMBERS: Final[dict[str, tuple[Kind, int, Callable[[Line], int]]]] = {
    "Cr": (Kind.EITHER, 1, lambda line: line.number),
    "Ch": (Kind.EITHER, 2, lambda line: civil(int(line.time)).hour),
    "Cn": (Kind.EITHER, 2, lambda line: civil(int(line.time)).minute),
    "Cs": (Kind.EITHER, 2, lambda line: civil(int(line.time)).second),
    "Cm": (Kind.EITHER, 2, lambda line: civil(int(line.time)).month),
    "Cd": (Kind.EITHER, 2, lambda line: civil(int(line.time)).day),
    "CY": (Kind.EITHER, 4, lambda line: civil(int(line.time)).year),
    "Ci": (Kind.NOTIFICATION, 1, lambda line: line.notification_id),
}
CALENDAR: Final = frozenset(("Ch", "Cn", "Cs", "Cm", "Cd", "CY"))
HEXADECIMALS: Final[dict[str, tuple[Kind, int, Callable[[Line], int]]]] = {
    "Ct": (Kind.EITHER, 18, lambda line: int(line.time * NANOSECONDS)),
    "Nt": (Kind.NOTIFICATION, 18, lambda line: int(line.event_time * NANOSECONDS)),
    "Ne": (Kind.NOTIFICATION, 6, lambda line: line.event_type),
}
TEXTS: Final[dict[str, tuple[Kind, Reader]]] = {
    "Cb": (Kind.EITHER, lambda line: visible(line.body)),
    "Sl": (Kind.GENERIC, lambda line: _text(line.user)),
    "Sv": (Kind.GENERIC, lambda line: ABBREVIATIONS[line.severity]),
    "No": (Kind.NOTIFICATION, lambda line: _text(line.notification_object)),
    "Ng": (Kind.NOTIFICATION, lambda line: _text(line.notifying_object)),
    "Nc": (Kind.EITHER, _class_id),
}


def problem_of_format(text: str) -> str | None:
    """Say in words why this is no format; None when it is one."""
    if not text or not text.isprintable() or len(text.encode(errors="replace")) > FORMAT_BYTES_MAX:
        return f"log_file_fmt must be printable text of 1 to {FORMAT_BYTES_MAX} bytes"
    kinds = {Kind.EITHER}
    for name, width in _TOKEN.findall(text):
        kind = _kind(name)
        if kind is None or len(width) > len(str(WIDTH_MAX)) or (width and not 0 < int(width) <= WIDTH_MAX):
            return f"log_file_fmt: @{name}{width} is no token"
        kinds.add(kind)
    if {Kind.GENERIC, Kind.NOTIFICATION} <= kinds:
        return "log_file_fmt draws from both kinds of headers"
    return None


def kind_of(text: str) -> Kind:
    """Which header the tokens of a format need."""
    kinds = [_kind(name) for name, _ in _TOKEN.findall(text)]
    return next((kind for kind in kinds if kind not in (None, Kind.EITHER)), None) or Kind.EITHER


def _kind(name: str) -> Kind | None:
    found = NUMBERS.get(name) or HEXADECIMALS.get(name) or TEXTS.get(name)
    return None if found is None else found[0]


class Format:
    """A format that was found to be one, ready for use."""

    __slots__ = ("_parts",)

    def __init__(self, text: str) -> None:
        parts: list[Part] = []
        dated: list[Part] = []
        end = 0
        for match in (*_TOKEN.finditer(text), None):
            start = len(text) if match is None else match.start()
            dated += [text[end:start].encode()] if start > end else []
            if match is None or match[1] not in CALENDAR:
                parts += [OncePerSecond(tuple(dated))] if any(callable(part) for part in dated) else dated
                dated = []
            if match is not None:
                (dated if match[1] in CALENDAR else parts).append(
                    _reader(match[1], int(match[2]) if match[2] else None)
                )
                end = match.end()
        self._parts = tuple(parts)

    def line(self, record: Line, size_max: int) -> bytes:
        """The record's line, with its end; cut where it is longer than `size_max` bytes."""
        made = _drawn(self._parts, record)
        return (clipped(made, size_max - 1) if len(made) >= size_max else made) + b"\n"


class OncePerSecond:
    """Parts that say the date or the time of day: the same for all records of one second."""

    __slots__ = ("_drawn", "_parts", "_second")

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self._parts = parts
        self._second = -1
        self._drawn = b""

    def __call__(self, record: Line) -> bytes:
        second = int(record.time)
        if second != self._second:
            self._second, self._drawn = second, _drawn(self._parts, record)
        return self._drawn


def _drawn(parts: tuple[Part, ...], record: Line) -> bytes:
    return b"".join([part if type(part) is bytes else part(record) for part in parts])  # type: ignore[operator]


def _reader(name: str, width: int | None) -> Reader:
    if name in TEXTS:
        _, text = TEXTS[name]
        return text if width is None else lambda line: clipped(text(line), width).ljust(width)
    if name in NUMBERS:
        _, least, number = NUMBERS[name]
        if width is None:
            return lambda line: b"%0*d" % (least, number(line))
        return lambda line: (b"%0*d" % (width, number(line)))[-width:]
    _, usual, hexadecimal = HEXADECIMALS[name]
    size = usual if width is None else width
    return lambda line: (b"%#0*x" % (size, hexadecimal(line)))[-size:]


def clipped(data: bytes, size: int) -> bytes:
    """The first `size` bytes, less those of a character that would be cut through."""
    if len(data) <= size:
        return data
    end = size
    while end > max(0, size - 3) and data[end] & 0xC0 == 0x80:
        end -= 1
    return data[:end] if data[end] & 0xC0 == 0xC0 else data[:size]
