"""openais' form of amf.conf -> the tree of the YAML form, position by position.

After this step both forms are one: the same tables read them, the same rules check them.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from corosync_amf.ais import Dn
from corosync_amf.config import amf_tables as tables
from corosync_amf.config.problems import Code, Report
from corosync_amf.config.schema import Table
from corosync_amf.config.tree import Block, Items, Pair, Text, nearest
from corosync_amf.services.amf.model import child_dn

COMMANDS: Final = {
    "saAmfCompInstantiateCmd": "instantiate",
    "saAmfCompTerminateCmd": "terminate",
    "saAmfCompCleanupCmd": "cleanup",
    "saAmfCompAmStartCmd": "am_start",
    "saAmfCompAmStopCmd": "am_stop",
}
_ARGV: Final = {f"{command}Argv": key for command, key in COMMANDS.items()}


@dataclass(frozen=True)
class _Kind:
    """A kind of section: its attributes, its sections (kind -> key in the YAML form), keys that need more work."""

    table: Table
    children: Mapping[str, str] = field(default_factory=dict)
    special: tuple[str, ...] = ()


_KINDS: Final = {
    "safAmfCluster": _Kind(
        tables.CLUSTER,
        {"safAmfNode": "nodes", "safAmfNodeGroup": "node_groups", "safApp": "applications"},
    ),
    "safAmfNode": _Kind(tables.NODE),
    "safAmfNodeGroup": _Kind(tables.NODE_GROUP),
    "safApp": _Kind(
        tables.APPLICATION,
        {"safSg": "service_groups", "safSi": "service_instances"},
        ("safCSType", "clccli_path"),
    ),
    "safSg": _Kind(tables.SERVICE_GROUP, {"safSu": "units"}, ("clccli_path",)),
    "safSu": _Kind(tables.SERVICE_UNIT, {"safComp": "components"}, ("clccli_path", "saAmfSUNumComponents")),
    "safComp": _Kind(
        tables.COMPONENT,
        {"safHealthcheckKey": "healthchecks"},
        ("clccli_path", "saAmfCompCsTypes", "saAmfCompCmdEnv", *COMMANDS, *_ARGV),
    ),
    "safHealthcheckKey": _Kind(tables.HEALTHCHECK),
    "safSi": _Kind(
        tables.SERVICE_INSTANCE,
        {"safCsi": "csis", "safDepend": "depends_on"},
        ("safRankedSu", "saAmfSINumCSIs"),
    ),
    "safDepend": _Kind(tables.DEPENDENCY),
    "safCsi": _Kind(tables.CSI, {}, ("safCSIAttr", "saAmfCsiDependencies")),
}


def to_yaml_form(tree: Block, report: Report) -> Block:
    """Return the tree that the YAML form of the same configuration has; what it cannot say goes to `report`."""
    clusters = [pair for pair in tree.pairs if pair.key.value == "safAmfCluster" and isinstance(pair.value, Block)]
    for pair in tree.pairs:
        if pair not in clusters:
            message = f"'{pair.key.value}' stands outside of the cluster"
            report.error(Code.UNKNOWN_SECTION, pair.key, "", message, "the file is: safAmfCluster = NAME { ... }")
    if len(clusters) != 1:
        if clusters:
            report.error(Code.DUPLICATE, clusters[1].key, "", "a second safAmfCluster")
        return Block()
    cluster = clusters[0]
    converter = _Converter(report)
    body = converter.entity(cluster, "", "")
    own = tuple(pair for pair in body.pairs if pair.key.value not in ("nodes", "node_groups", "applications"))
    name = cluster.name or Text("cluster", cluster.key.line, cluster.key.column)
    own = (Pair(Text("name", name.line, name.column), name), *own)
    outer = tuple(pair for pair in body.pairs if pair.key.value in ("nodes", "node_groups", "applications"))
    converter.check_attribute_names()
    return Block((Pair(Text("cluster", cluster.key.line, cluster.key.column), Block(own)), *outer))


class _Converter:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._allowed: dict[str, set[str]] = {}
        self._given: list[tuple[str, Text]] = []

    def entity(self, section: Pair, path: str, parent: Dn) -> Block:
        """The YAML form of a section and all in it. `path` is the clccli_path of the sections around it."""
        kind = _KINDS[section.key.value]
        block = section.value if isinstance(section.value, Block) else Block()
        above = "" if section.key.value == "safApp" else parent
        obj = child_dn(section.key.value, section.name.value if section.name else "", above)
        path = _last(block, "clccli_path", path)
        pairs: dict[str, Pair] = {}
        children: dict[str, list[Pair]] = {}
        for pair in block.pairs:
            if pair.key.value in kind.children:
                key = kind.children[pair.key.value]
                if self._is_named_section(pair, obj):
                    assert pair.name is not None
                    children.setdefault(key, []).append(
                        Pair(pair.name, self.entity(pair, path, obj), None, pair.comments)
                    )
            elif pair.key.value not in kind.special:
                self._attribute(pair, kind, pairs, obj)
        for key, found in children.items():
            pairs[key] = Pair(Text(key, section.key.line, section.key.column), Block(tuple(found)))
        if kind.special:
            self._special(section.key.value, block, pairs, obj, path)
        return Block(tuple(pairs.values()), section.key.line, section.key.column)

    def _is_named_section(self, pair: Pair, obj: str) -> bool:
        if isinstance(pair.value, Block) and pair.name is not None:
            return True
        message = f"'{pair.key.value}' begins a section"
        self._report.error(Code.SYNTAX, pair.key, obj, message, f"write '{pair.key.value} = NAME {{'")
        return False

    def _attribute(self, pair: Pair, kind: _Kind, pairs: dict[str, Pair], obj: str) -> None:
        name = pair.key.value
        option = kind.table.by_saf.get(name)
        key = option.key if option else name
        if key not in kind.table.options and not (key == "checkpoint" and key in kind.table.children):
            allowed = [*kind.table.by_saf, *kind.children, *kind.special]
            close = nearest(name, [*allowed, *kind.table.options]).split(" known: ")[0]
            meant = close if close.startswith("did you mean") else ""
            hint = f"{meant} allowed: {', '.join(allowed)}".strip()
            self._report.error(Code.UNKNOWN_KEY, pair.key, obj, f"unknown attribute '{name}'", hint)
            return
        if not isinstance(pair.value, Text):
            self._report.error(Code.SYNTAX, pair.key, obj, f"'{name}' needs a value", f"write '{name} = ...'")
            return
        if key in pairs:
            self._report.warning(Code.DUPLICATE, pair.key, obj, f"'{name}' stands here twice; the last one counts")
        pairs[key] = Pair(Text(key, pair.key.line, pair.key.column), pair.value, None, pair.comments)

    def _special(self, kind: str, block: Block, pairs: dict[str, Pair], obj: str, path: str) -> None:
        if kind == "safComp":
            self._component(block, pairs, obj, path)
        elif kind == "safSu":
            self._count(block, "saAmfSUNumComponents", pairs.get("components"), obj)
        elif kind == "safSi":
            self._count(block, "saAmfSINumCSIs", pairs.get("csis"), obj)
            self._ranked_sus(block, pairs, obj)
        elif kind == "safCsi":
            self._csi(block, pairs, obj)
        elif kind == "safApp":
            for pair in block.pairs:
                if pair.key.value == "safCSType" and pair.name and isinstance(pair.value, Block):
                    names = {inner.value.value for inner in pair.value.pairs if isinstance(inner.value, Text)}
                    self._allowed[pair.name.value] = names

    def _count(self, block: Block, name: str, children: Pair | None, obj: str) -> None:
        declared = block.get(name)
        if declared is None:
            return
        there = len(children.value.pairs) if children and isinstance(children.value, Block) else 0
        text = declared.value.value if isinstance(declared.value, Text) else ""
        if not (text.isascii() and text.isdigit()):
            self._report.error(Code.BAD_VALUE, declared.at, obj, f"{name}: '{text}' is not a whole number")
        elif text.lstrip("0") != str(there) and not (there == 0 and text.strip("0") == ""):
            self._report.warning(Code.CONFLICT, declared.at, obj, f"{name} is {text}, but there are {there}")

    def _component(self, block: Block, pairs: dict[str, Pair], obj: str, path: str) -> None:
        for command, key in COMMANDS.items():
            argv = self._argv(block.get(command), block.get(f"{command}Argv"), obj, path)
            if argv is not None:
                pairs[key] = argv
        types = block.get("saAmfCompCsTypes")
        if types is not None:
            words = tuple(inner.key for inner in types.value.pairs) if isinstance(types.value, Block) else ()
            value = types.value if isinstance(types.value, Text) else Items(words, types.key.line, types.key.column)
            pairs["cs_types"] = Pair(_named(types, "cs_types"), value)
        env = block.get("saAmfCompCmdEnv")
        if env is not None:
            for inner in env.value.pairs if isinstance(env.value, Block) else ():
                if not isinstance(inner.value, Text):
                    self._report.error(Code.SYNTAX, inner.key, obj, "an environment line is VARIABLE=VALUE")
            pairs["env"] = Pair(_named(env, "env"), env.value)

    def _argv(self, command: Pair | None, argv: Pair | None, obj: str, path: str) -> Pair | None:
        """A command and its arguments as one list; a relative command is looked for in `path`."""
        words: list[str] = []
        for pair in (command, argv):
            if pair is None:
                continue
            try:
                words += shlex.split(pair.value.value if isinstance(pair.value, Text) else "")
            except ValueError as error:
                self._report.error(Code.BAD_VALUE, pair.at, obj, f"{pair.key.value} cannot be split: {error}")
                return None
        if command is None:
            if argv is not None:
                name = argv.key.value.removesuffix("Argv")
                self._report.error(Code.MISSING, argv.key, obj, f"{argv.key.value} without {name}")
            return None
        if words and path and not words[0].startswith("/"):
            words[0] = f"{path.rstrip('/')}/{words[0]}"
        at = command.at
        return Pair(_named(command, COMMANDS[command.key.value]), _items(words, at.line, at.column))

    def _ranked_sus(self, block: Block, pairs: dict[str, Pair], obj: str) -> None:
        ranks: list[Pair] = []
        for pair in block.pairs:
            if pair.key.value != "safRankedSu" or not self._is_named_section(pair, obj):
                continue
            rank = pair.value.get("saAmfRank") if isinstance(pair.value, Block) else None
            assert pair.name is not None
            if rank is None:
                self._report.error(Code.MISSING, pair.key, obj, f"safRankedSu '{pair.name.value}' has no saAmfRank")
            else:
                ranks.append(Pair(pair.name, rank.value))
            pairs["ranked_sus"] = Pair(_named(pair, "ranked_sus"), Block(tuple(ranks)))

    def _csi(self, block: Block, pairs: dict[str, Pair], obj: str) -> None:
        attributes: list[Pair] = []
        type_of = pairs.get("type")
        for pair in block.pairs:
            if pair.key.value == "safCSIAttr" and self._is_named_section(pair, obj):
                assert pair.name is not None
                values = tuple(inner.key for inner in pair.value.pairs) if isinstance(pair.value, Block) else ()
                attributes.append(Pair(pair.name, Items(values, pair.key.line, pair.key.column)))
                if type_of and isinstance(type_of.value, Text):
                    self._given.append((type_of.value.value, pair.name))
        if attributes:
            pairs["attributes"] = Pair(Text("attributes", block.line, block.column), Block(tuple(attributes)))
        depends = block.get("saAmfCsiDependencies")
        if depends is not None and isinstance(depends.value, Block):
            for inner in depends.value.pairs:
                if inner.key.value != "saAmfCSIDependency":
                    message = f"unknown attribute '{inner.key.value}'"
                    self._report.error(Code.UNKNOWN_KEY, inner.key, obj, message, "allowed: saAmfCSIDependency")
            names = tuple(inner.value for inner in depends.value.pairs if isinstance(inner.value, Text))
            pairs["depends_on"] = Pair(_named(depends, "depends_on"), Items(names))

    def check_attribute_names(self) -> None:
        for type_name, attribute in self._given:
            allowed = self._allowed.get(type_name)
            if allowed and attribute.value not in allowed:
                message = f"safCSType '{type_name}' has no attribute '{attribute.value}'"
                self._report.warning(
                    Code.UNKNOWN_REFERENCE,
                    attribute,
                    f"safCSType={type_name}",
                    message,
                    nearest(attribute.value, allowed),
                )


def _last(block: Block, key: str, default: str) -> str:
    pair = block.get(key)
    return pair.value.value if pair and isinstance(pair.value, Text) else default


def _named(pair: Pair, key: str) -> Text:
    return Text(key, pair.key.line, pair.key.column)


def _items(words: list[str], line: int, column: int) -> Items:
    return Items(tuple(Text(word, line, column) for word in words), line, column)
