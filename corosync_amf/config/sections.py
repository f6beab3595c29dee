"""The tree of a corosync.conf -> its sections, each read with its table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from corosync_amf.config.executive_tables import IGNORED, IGNORED_SECTIONS, NESTED, SECTIONS
from corosync_amf.config.problems import Code, Place, Report
from corosync_amf.config.schema import Table, unknown_key
from corosync_amf.config.tree import Block, Pair, Text, nearest


@dataclass(frozen=True)
class Section:
    """One section that was read. `values` holds what is given, by field; `nested` the sections in it."""

    obj: str
    at: Place | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    pairs: Mapping[str, Pair] = field(default_factory=dict)
    nested: Mapping[str, "list[Section]"] = field(default_factory=dict)

    def place(self, key: str) -> Place | None:
        """Where the directive's value stands, else the section."""
        return self.pairs[key].at if key in self.pairs else self.at

    def place_of_any(self, *keys: str) -> Place | None:
        """Where the value of the first of these directives that is given stands, else the section."""
        return next((self.pairs[key].at for key in keys if key in self.pairs), self.at)


EMPTY: Final = Section("")


def read_sections(tree: Block, report: Report) -> dict[str, Section]:
    """Return the sections of a file; `uidgid` is one whose nested "uidgid" are its repetitions."""
    gathered: dict[str, list[Pair]] = {}
    first: dict[str, Text] = {}
    users: list[Section] = []
    for pair in tree.pairs:
        name = pair.key.value
        if not isinstance(pair.value, Block):
            _directive_outside(pair, report)
        elif name == "uidgid":
            users.append(_section(SECTIONS[name], list(pair.value.pairs), f"uidgid[{len(users)}]", pair.key, report))
        elif name in SECTIONS:
            gathered.setdefault(name, []).extend(pair.value.pairs)
            first.setdefault(name, pair.key)
        elif name in IGNORED_SECTIONS:
            report.warning(Code.IGNORED, pair.key, name, f"section '{name}' has no effect here")
        else:
            known = [*SECTIONS, *(IGNORED_SECTIONS if name.lower() in IGNORED_SECTIONS else ())]
            tell = report.error if name != name.lower() else report.warning
            tell(Code.UNKNOWN_SECTION, pair.key, "", f"unknown section '{name}'", nearest(name, known))
    found = {name: _section(SECTIONS[name], pairs, name, first[name], report) for name, pairs in gathered.items()}
    return found | {"uidgid": Section("uidgid", nested={"uidgid": users})}


def _directive_outside(pair: Pair, report: Report) -> None:
    name = pair.key.value
    if name == "compatibility":
        report.warning(Code.IGNORED, pair.key, "", "'compatibility' has no effect here")
        return
    homes = [table.name for table in (*SECTIONS.values(), *NESTED.values()) if name in table.options]
    hint = f"it belongs into: {', '.join(homes)}" if homes else ""
    report.error(Code.UNKNOWN_KEY, pair.key, "", f"directive '{name}' stands outside of a section", hint)


def _section(table: Table, pairs: list[Pair], obj: str, at: Place, report: Report) -> Section:
    directives: dict[str, Pair] = {}
    nested: dict[str, list[Section]] = {}
    for pair in pairs:
        name = pair.key.value
        if name in IGNORED.get(table.name, ()) or name.startswith("knet_"):
            report.warning(Code.IGNORED, pair.key, obj, f"'{name}' has no effect here")
        elif name in table.children and isinstance(pair.value, Block):
            found = nested.setdefault(name, [])
            path = f"{obj}.{name}[{len(found)}]"
            found.append(_section(NESTED[name], list(pair.value.pairs), path, pair.key, report))
        elif isinstance(pair.value, Block):
            known = [*table.children, *IGNORED.get(table.name, ())]
            unknown_key(pair, known or table.keys, report, obj, "section")
        elif name in table.children:
            report.error(Code.SYNTAX, pair.key, obj, f"'{name}' is a section", f"write '{name} {{'")
        else:
            if name in directives:
                line = directives[name].key.line
                message = f"'{name}' is given again (first in line {line}); the last one counts"
                report.warning(Code.DUPLICATE, pair.key, obj, message)
            directives[name] = pair
    values = table.read(directives, report, obj, "directive")
    return Section(obj, at, values, directives, nested)
