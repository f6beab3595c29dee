"""What stands above the attributes of one entity: its type, the cluster's defaults, the minimal form.

Everything here is tree -> tree, so positions stay those of the text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from corosync_amf.config.amf_tables import APPLICATION, ENTITIES
from corosync_amf.config.problems import Code, Report
from corosync_amf.config.schema import unknown_key
from corosync_amf.config.tree import Block, Items, Pair, Text, Value, nearest

MERGED: Final = frozenset(
    {"healthchecks", "checkpoint", "cs_types"}
    | {option.key for table in ENTITIES.values() for option in table.options.values() if option.merge}
)
MINIMAL_KEYS: Final = ("redundancy_model", "checkpoint", "healthchecks", "attributes", "nodes")
_KIND_WORDS: Final = {"component_service_instance": "csi", "service-unit": "service_unit"}


def as_block(value: Value) -> Block | None:
    """The mapping that a value is; nothing is an empty one."""
    return Block() if value is None else value if isinstance(value, Block) else None


def merge(low: Block, high: Block) -> Block:
    """Return both blocks' pairs; where both have a key, blocks are merged and the rest is `high`'s."""
    merged = {pair.key.value: pair for pair in low.pairs}
    for pair in high.pairs:
        below = merged.get(pair.key.value)
        if below and isinstance(below.value, Block) and isinstance(pair.value, Block):
            pair = Pair(pair.key, merge(below.value, pair.value), pair.name, pair.comments)
        merged[pair.key.value] = pair
    return Block(tuple(merged.values()), high.line or low.line, high.column or low.column)


@dataclass(frozen=True)
class Layers:
    """The `types:` and `cluster.defaults` of a file."""

    types: Mapping[str, Pair] = field(default_factory=dict)
    defaults: Mapping[str, Block] = field(default_factory=dict)

    def pairs(self, kind: str, block: Block, report: Report, obj: str) -> dict[str, Pair]:
        """Return the attributes of an entity: its own, then those of its type, then the defaults of its kind."""
        chain = [block, *self._types_of(kind, block, report, obj)]
        if kind in self.defaults:
            chain.append(self.defaults[kind])
        merged: dict[str, Pair] = {}
        for layer in reversed(chain):
            is_type = layer.get("kind") is not None
            for pair in layer.pairs:
                key = pair.key.value
                if (is_type and key in ("kind", "extends")) or (key == "type" and kind != "csi"):
                    continue
                pair = _spelled_out(pair)
                below = merged.get(key)
                if key in MERGED and below and isinstance(below.value, Block) and isinstance(pair.value, Block):
                    pair = Pair(pair.key, merge(below.value, pair.value))
                merged[key] = pair
        return merged

    def _types_of(self, kind: str, block: Block, report: Report, obj: str) -> list[Block]:
        chain: list[Block] = []
        seen: list[str] = []
        reference = block.get("extends") if block.get("kind") else block.get("type")
        while reference is not None:
            name = reference.value.value if isinstance(reference.value, Text) else ""
            if kind == "csi" and name not in self.types:
                break
            if name not in self.types:
                known = [key for key, pair in self.types.items() if kind_of(pair) == kind]
                message = f"unknown type '{name}'"
                hint = nearest(name, known) or f"no type of this kind ({kind}) is described under 'types:'"
                report.error(Code.UNKNOWN_REFERENCE, reference.at, obj, message, hint)
                break
            if name in seen:
                message = f"type '{name}' extends itself: {' -> '.join([*seen, name])}"
                report.error(Code.CYCLE, reference.at, obj, message)
                break
            found = self.types[name]
            if kind_of(found) != kind and kind == "csi":
                break
            if kind_of(found) != kind:
                message = f"type '{name}' describes a {kind_of(found)}, not a {kind}"
                report.error(Code.UNKNOWN_REFERENCE, reference.at, obj, message)
                break
            seen.append(name)
            body = as_block(found.value) or Block()
            chain.append(body)
            reference = body.get("extends")
        return chain


def _spelled_out(pair: Pair) -> Pair:
    """`checkpoint: on-change` is short for `checkpoint: {mode: on-change}`."""
    if pair.key.value != "checkpoint" or not isinstance(pair.value, Text):
        return pair
    mode = Pair(Text("mode", pair.value.line, pair.value.column), pair.value)
    return Pair(pair.key, Block((mode,), pair.key.line, pair.key.column))


def kind_of(type_pair: Pair) -> str:
    """The kind of entity that an entry of `types:` describes."""
    body = as_block(type_pair.value) or Block()
    kind = body.get("kind")
    word = kind.value.value if kind and isinstance(kind.value, Text) else ""
    return _KIND_WORDS.get(word, word)


def read_layers(tree: Block, report: Report) -> Layers:
    """Return the types and defaults of a file; unknown kinds and what is no mapping go to `report`."""
    types: dict[str, Pair] = {}
    for pair in _children(tree.get("types"), "types", report):
        obj = f"types.{pair.key.value}"
        body = as_block(pair.value)
        if body is None:
            report.error(Code.BAD_VALUE, pair.at, obj, "a type is a mapping of attributes")
            continue
        if kind_of(pair) not in ENTITIES:
            kind = body.get("kind")
            hint = "kind: " + ", ".join(ENTITIES)
            message = "its kind is not one that has types" if kind else "a type needs a kind"
            report.error(Code.MISSING, kind.at if kind else pair.key, obj, message, hint)
            continue
        types[pair.key.value] = pair
    defaults: dict[str, Block] = {}
    cluster = tree.get("cluster")
    body = as_block(cluster.value) if cluster else None
    for pair in _children(body.get("defaults") if body else None, "cluster.defaults", report):
        default = as_block(pair.value)
        if pair.key.value not in ENTITIES:
            unknown_key(pair, ENTITIES, report, "cluster.defaults", "kind")
        elif default is None:
            report.error(Code.BAD_VALUE, pair.at, "cluster.defaults", "expected a mapping of attributes")
        else:
            defaults[pair.key.value] = default
    return Layers(types, defaults)


def _children(pair: Pair | None, obj: str, report: Report) -> tuple[Pair, ...]:
    block = as_block(pair.value) if pair else None
    if pair and block is None:
        report.error(Code.BAD_VALUE, pair.at, obj, "expected a mapping of names")
    return block.pairs if block else ()


def expand_minimal(app: Pair, report: Report, obj: str) -> Block:
    """Return the full form of an application that is given by `plugin:` or `command:`; another one as it is."""
    block = as_block(app.value) or Block()
    start = block.get("plugin") or block.get("command")
    if start is None:
        return block
    clash = block.get("service_groups") or block.get("service_instances")
    if clash or (block.get("plugin") and block.get("command")):
        message = f"'{start.key.value}' is a short form and excludes '{(clash or block.pairs[-1]).key.value}'"
        report.error(Code.CONFLICT, (clash or start).key, obj, message)
        return Block(tuple(pair for pair in block.pairs if pair.key.value not in ("plugin", "command", *MINIMAL_KEYS)))
    own = {pair.key.value: pair for pair in block.pairs}
    at = start.key

    def mapping(key: str, *pairs: Pair | None) -> Pair:
        body = tuple(pair for pair in pairs if pair is not None)
        return Pair(Text(key, at.line, at.column), Block(body, at.line, at.column))

    command = start if start.key.value == "plugin" else Pair(Text("instantiate", at.line, at.column), start.value)
    component = mapping(app.key.value, command, own.get("checkpoint"), own.get("healthchecks"))
    nodes = own.get("nodes")
    count = str(max(2, len(nodes.value.values))) if nodes and isinstance(nodes.value, Items) else "2"
    units = mapping(
        "units",
        Pair(Text("count", at.line, at.column), Text(count, at.line, at.column)),
        nodes,
        mapping("template", mapping("components", component)),
    )
    group = mapping("service_groups", mapping(app.key.value, own.get("redundancy_model"), units))
    csis = mapping("csis", mapping(app.key.value, own.get("attributes")))
    instance = mapping("service_instances", mapping(app.key.value, csis))
    rest = tuple(p for p in block.pairs if p.key.value in APPLICATION.options)
    for pair in block.pairs:
        known = (start.key.value, *MINIMAL_KEYS, *APPLICATION.options)
        if pair.key.value not in known:
            unknown_key(pair, known, report, obj, "attribute")
    return Block((*rest, group, instance), block.line, block.column)
