"""Tables of options: what keys an object has, of what kind, and what they mean.

One table serves the reader, the hints for misspelt keys and the reference page.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from corosync_amf.config.kinds import Bad, Kind
from corosync_amf.config.problems import Code, Report
from corosync_amf.config.tree import Pair, nearest


@dataclass(frozen=True)
class Option:
    """One attribute. `field`: its name in the value that is built, `saf`: its names in openais' form, the standard's
    first. `merge`: a mapping that is merged with the one of the type instead of replacing it.
    """

    key: str
    kind: Kind
    help: str
    saf: tuple[str, ...] = ()
    merge: bool = False
    field_name: str = ""

    @property
    def field(self) -> str:
        return self.field_name or self.key


class Table:
    """The options of one kind of object. `children`: further keys, which hold other objects."""

    def __init__(self, name: str, options: Iterable[Option], *, children: Iterable[str] = ()) -> None:
        self.name: Final = name
        self.options: Final = {option.key: option for option in options}
        self.children: Final = tuple(children)
        self.by_saf: Final = {saf: option for option in self.options.values() for saf in option.saf}

    @property
    def keys(self) -> tuple[str, ...]:
        return (*self.options, *self.children)

    def read(self, pairs: Mapping[str, Pair], report: Report, obj: str, word: str = "attribute") -> dict[str, Any]:
        """Return field -> value of every pair that is an option; unknown keys and bad values go to `report`."""
        values: dict[str, Any] = {}
        for key, pair in pairs.items():
            option = self.options.get(key)
            if option is None:
                if key not in self.children:
                    unknown_key(pair, self.keys, report, obj, word)
                continue
            try:
                values[option.field] = option.kind.read(pair.value)
            except Bad as bad:
                report.error(Code.BAD_VALUE, bad.at or pair.at, obj, f"{key}: {bad.message}", bad.hint)
        return values


def unknown_key(pair: Pair, known: Iterable[str], report: Report, obj: str, word: str) -> None:
    report.error(Code.UNKNOWN_KEY, pair.key, obj, f"unknown {word} '{pair.key.value}'", nearest(pair.key.value, known))
