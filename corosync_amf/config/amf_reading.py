"""How the entities of an amf.conf are read: names, references, and where everything stood."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from corosync_amf.ais import Dn
from corosync_amf.config.amf_layers import Layers, as_block
from corosync_amf.config.kinds import Bad, listed
from corosync_amf.config.problems import Code, Place, Report
from corosync_amf.config.tree import Block, Pair, Text, nearest

T = TypeVar("T")


@dataclass(frozen=True)
class Places:
    """Where entities and their attributes stand: (DN, attribute or "") -> place."""

    places: dict[tuple[Dn, str], Place] = field(default_factory=dict)

    def at(self, dn: Dn, key: str = "") -> Place | None:
        """The place of the attribute, else of the entity."""
        return self.places.get((dn, key)) or self.places.get((dn, ""))

    def given(self, dn: Dn, key: str) -> bool:
        """Whether the attribute is written in the file."""
        return (dn, key) in self.places


class Reading:
    """What the readers of all entities share."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.places = Places()
        self.layers = Layers()

    def entries(self, pair: Pair | None, obj: str, *, lists: bool = False) -> tuple[Pair, ...]:
        """The pairs of a mapping of names to mappings; what is something else goes to the report."""
        if pair is None:
            return ()
        block = as_block(pair.value)
        if block is None:
            self.report.error(Code.BAD_VALUE, pair.at, obj, f"{pair.key.value}: expected a mapping of names")
            return ()
        good: list[Pair] = []
        for inner in block.pairs:
            if lists or as_block(inner.value) is not None:
                good.append(inner)
            else:
                message = f"{inner.key.value}: expected a mapping of attributes"
                self.report.error(Code.BAD_VALUE, inner.at, obj, message)
        return tuple(good)

    def named(self, entries: Iterable[Pair], attribute: str, obj: str) -> list[tuple[str, Pair, Block]]:
        """Name, pair and body of entities whose names are well formed and differ."""
        found: dict[str, tuple[str, Pair, Block]] = {}
        for entry in entries:
            name = rdn_value(entry.key.value, attribute)
            wrong = name_fault(name)
            if wrong:
                self.report.error(Code.BAD_NAME, entry.key, obj, f"'{name}' cannot be a name: {wrong}")
            elif name in found:
                self.report.error(Code.DUPLICATE, entry.key, obj, f"'{name}' stands here twice")
            else:
                found[name] = (name, entry, as_block(entry.value) or Block())
        return list(found.values())

    def texts(self, pair: Pair, obj: str) -> list[Text]:
        try:
            return listed(pair.value)
        except Bad as bad:
            self.report.error(Code.BAD_VALUE, pair.at, obj, f"{pair.key.value}: {bad.message}", bad.hint)
            return []

    def reference(self, name: str, known: Mapping[str, T], what: str, at: Place | None, obj: str) -> T | None:
        if name in known:
            return known[name]
        plain = [key for key in known if "=" not in key and not ("/" in key and key.split("/")[-1] in known)]
        hint = nearest(name, plain) or f"there is no {what} at all"
        self.report.error(Code.UNKNOWN_REFERENCE, at, obj, f"unknown {what} '{name}'", hint)
        return None

    def remember(self, dn: Dn, entry: Pair | None, pairs: Mapping[str, Pair]) -> None:
        if entry is not None:
            self.places.places[dn, ""] = entry.key
        for key, pair in pairs.items():
            self.places.places[dn, key] = pair.at


def rdn_value(name: str, attribute: str) -> str:
    """Return `su1` for `su1` and for `safSu=su1,safSg=...`."""
    if not name.startswith(attribute + "="):
        return name
    value = name[len(attribute) + 1 :].replace("\\\\", "\0").replace("\\,", "\1").split(",")[0]
    return value.replace("\1", ",").replace("\0", "\\")


def name_fault(name: str) -> str:
    """Say why an entity cannot have this name; "" when it can."""
    if not name:
        return "it is empty"
    if len(name.encode()) > 255:
        return "it has more than 255 bytes"
    if name != name.strip() or not name.isprintable():
        return "outer blanks or characters that cannot be printed"
    return "a '/' separates names in paths" if "/" in name else ""
