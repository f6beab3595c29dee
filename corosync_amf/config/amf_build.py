"""The tree of an amf.conf -> the model: defaults filled in, every name resolved."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Final

import msgspec

from corosync_amf.ais import Dn, RedundancyModel
from corosync_amf.config import amf_tables as tables
from corosync_amf.config.amf_layers import as_block, expand_minimal, kind_of, read_layers
from corosync_amf.config.amf_reading import Reading, rdn_value
from corosync_amf.config.kinds import Bad, Integer
from corosync_amf.config.problems import Code, Report
from corosync_amf.config.schema import unknown_key
from corosync_amf.config.tree import Block, Items, Pair, Text
from corosync_amf.services.amf.model import (
    Application,
    Category,
    CheckpointPolicy,
    Cluster,
    Component,
    ComponentServiceInstance,
    CsType,
    Healthcheck,
    Node,
    NodeGroup,
    ServiceGroup,
    ServiceInstance,
    ServiceUnit,
    child_dn,
)

TOP_LEVEL: Final = ("schema", "cluster", "nodes", "node_groups", "types", "applications")
HEALTHCHECK_KEY_BYTES_MAX: Final = 32
UNITS_MAX: Final = 1000
CLC: Final = ("instantiate", "terminate", "cleanup", "am_start", "am_stop")
CALLBACKS: Final = ("csi_set", "csi_remove", "terminate_callback")


@dataclass(frozen=True)
class _Scope:
    """The names of one application that others refer to, each spelling of them -> DN."""

    dn: Dn
    groups: dict[str, Dn]
    units: dict[str, Dn]
    instances: dict[str, Dn]


class Builder(Reading):
    """Reads one tree. What is wrong goes to the report; the model is of use only when that has no errors."""

    def __init__(self, report: Report, nodes: tuple[str, ...]) -> None:
        super().__init__(report)
        self._known_nodes = nodes
        self._nodes: dict[str, str] = {}
        self._node_groups: dict[str, tuple[str, ...]] = {}
        self._instances: dict[str, Dn] = {}
        self._csis: dict[str, Dn] = {}

    def cluster(self, tree: Block) -> Cluster:
        for pair in tree.pairs:
            if pair.key.value not in TOP_LEVEL:
                unknown_key(pair, TOP_LEVEL, self.report, "", "section")
        schema = tree.get("schema")
        if schema and schema.value != Text("1"):
            self.report.error(Code.BAD_VALUE, schema.at, "", "this version reads schema 1")
        self.layers = read_layers(tree, self.report)
        self._check_types()
        pairs = {pair.key.value: pair for pair in self.entries(tree.get("cluster"), "cluster", lists=True)}
        values = tables.CLUSTER.read(pairs, self.report, "cluster")
        name = values.setdefault("name", "cluster")
        dn = child_dn("safAmfCluster", name)
        self.remember(dn, tree.get("cluster"), pairs)
        values["nodes"] = self._read_nodes(tree.get("nodes"), dn)
        values["node_groups"] = self._read_node_groups(tree.get("node_groups"), dn)
        values["applications"] = self._applications(tree.get("applications"))
        return Cluster(dn=dn, **values)

    def _check_types(self) -> None:
        for name, pair in self.layers.types.items():
            table = tables.ENTITIES[kind_of(pair)]
            pairs = self.layers.pairs(table.name, as_block(pair.value) or Block(), self.report, f"types.{name}")
            table.read(pairs, self.report, f"types.{name}")
        for kind, block in self.layers.defaults.items():
            pairs = {pair.key.value: pair for pair in block.pairs if pair.key.value != "type"}
            tables.ENTITIES[kind].read(pairs, self.report, f"cluster.defaults.{kind}")

    # Nodes

    def _read_nodes(self, pair: Pair | None, parent: Dn) -> tuple[Node, ...]:
        if pair is None:
            entries = [Pair(Text(name), Block()) for name in self._known_nodes]
        elif isinstance(pair.value, Items | Text):
            entries = [Pair(text, Block()) for text in self.texts(pair, "nodes")]
        else:
            entries = list(self.entries(pair, "nodes"))
        nodes: dict[str, Node] = {}
        for name, entry, block in self.named(entries, "safAmfNode", "nodes"):
            dn = child_dn("safAmfNode", name, parent)
            pairs = self.layers.pairs("node", block, self.report, dn)
            self.remember(dn, entry, pairs)
            values = {"clm_node": name} | tables.NODE.read(pairs, self.report, dn)
            nodes[name] = Node(dn=dn, name=name, **values)
            self._nodes |= {name: name, dn: name}
        return tuple(nodes.values())

    def _read_node_groups(self, pair: Pair | None, parent: Dn) -> tuple[NodeGroup, ...]:
        groups: list[NodeGroup] = []
        for name, entry, block in self.named(self.entries(pair, "node_groups", lists=True), "safAmfNodeGroup", ""):
            dn = child_dn("safAmfNodeGroup", name, parent)
            if isinstance(entry.value, Items | Text):
                block = Block((Pair(Text("nodes", entry.key.line, entry.key.column), entry.value),))
            pairs = {inner.key.value: inner for inner in block.pairs}
            values = tables.NODE_GROUP.read(pairs, self.report, dn)
            texts = self.texts(pairs["nodes"], dn) if "nodes" in pairs else []
            found = [self.reference(text.value, self._nodes, "node", text, dn) for text in texts]
            values["nodes"] = tuple(dict.fromkeys(node for node in found if node))
            self.remember(dn, entry, pairs)
            groups.append(NodeGroup(dn=dn, name=name, **values))
            self._node_groups |= {name: values["nodes"], dn: values["nodes"]}
        return tuple(groups)

    # Applications

    def _applications(self, pair: Pair | None) -> tuple[Application, ...]:
        found: list[tuple[str, Pair, Block, _Scope]] = []
        for name, entry, _ in self.named(self.entries(pair, "applications"), "safApp", "applications"):
            dn = child_dn("safApp", name)
            block = expand_minimal(entry, self.report, dn)
            found.append((name, entry, block, self._scope(name, dn, block)))
        if found and not self._nodes:
            hint = "name them under 'nodes:' or in corosync.conf's nodelist"
            self.report.error(Code.MISSING, pair.key if pair else None, "", "there are no nodes", hint)
        return tuple(self._application(*parts) for parts in found)

    def _scope(self, name: str, dn: Dn, block: Block) -> _Scope:
        """Collect the names first, for they may be used before the place where they stand."""
        groups: dict[str, Dn] = {}
        units: dict[str, Dn] = {}
        instances: dict[str, Dn] = {}
        for group in self.entries(block.get("service_groups"), dn):
            group_name = rdn_value(group.key.value, "safSg")
            group_dn = child_dn("safSg", group_name, dn)
            groups |= {group_name: group_dn, group_dn: group_dn, f"{name}/{group_name}": group_dn}
            for unit in self._unit_entries(self._layered("service_group", group), group_dn, quiet=True):
                unit_name = rdn_value(unit.key.value, "safSu")
                unit_dn = child_dn("safSu", unit_name, group_dn)
                units |= {unit_name: unit_dn, unit_dn: unit_dn, f"{group_name}/{unit_name}": unit_dn}
        for instance in self.entries(block.get("service_instances"), dn):
            si_name = rdn_value(instance.key.value, "safSi")
            si_dn = child_dn("safSi", si_name, dn)
            instances |= {si_name: si_dn}
            self._instances |= {si_dn: si_dn, f"{name}/{si_name}": si_dn}
            for csi in self._csi_entries(self._layered("service_instance", instance), dn):
                csi_name = rdn_value(csi.key.value, "safCsi")
                csi_dn = child_dn("safCsi", csi_name, si_dn)
                self._csis |= {csi_dn: csi_dn, f"{name}/{si_name}/{csi_name}": csi_dn}
        return _Scope(dn, groups, units, instances)

    def _layered(self, kind: str, entry: Pair) -> Pair:
        pairs = self.layers.pairs(kind, as_block(entry.value) or Block(), Report(""), "")
        return Pair(entry.key, Block(tuple(pairs.values())))

    def _application(self, name: str, entry: Pair, block: Block, scope: _Scope) -> Application:
        pairs = {pair.key.value: pair for pair in block.pairs}
        values = tables.APPLICATION.read(pairs, self.report, scope.dn)
        self.remember(scope.dn, entry, pairs)
        instances: list[ServiceInstance] = []
        for si, pair, body in self.named(self.entries(pairs.get("service_instances"), ""), "safSi", scope.dn):
            instances.append(self._instance(si, pair, body, scope))
        types = tuple(sorted({csi.type for instance in instances for csi in instance.csis}))
        groups: list[ServiceGroup] = []
        for sg, pair, body in self.named(self.entries(pairs.get("service_groups"), ""), "safSg", scope.dn):
            groups.append(self._group(sg, pair, body, scope, types))
        values |= {"service_groups": tuple(groups), "service_instances": tuple(instances)}
        return Application(dn=scope.dn, name=name, **values)

    # Service groups

    def _group(self, name: str, entry: Pair, block: Block, scope: _Scope, types: tuple[str, ...]) -> ServiceGroup:
        dn = child_dn("safSg", name, scope.dn)
        pairs = self.layers.pairs("service_group", block, self.report, dn)
        values = tables.SERVICE_GROUP.read(pairs, self.report, dn)
        self.remember(dn, entry, pairs)
        hosts = tuple(dict.fromkeys(self._nodes.values()))
        if "node_group" in values:
            group = values["node_group"]
            found = self.reference(group, self._node_groups, "node group", pairs["node_group"].at, dn)
            hosts = hosts if found is None else found
            values["node_group"] = rdn_value(group, "safAmfNodeGroup")
        if values.get("redundancy_model", RedundancyModel.TWO_N) is RedundancyModel.TWO_N:
            values.setdefault("preferred_inservice_sus", 2)
        whole = Pair(entry.key, Block(tuple(pairs.values())))
        units = [
            self._unit(su, pair, body, dn, scope, hosts, types)
            for su, pair, body in self.named(self._unit_entries(whole, dn, hosts), "safSu", dn)
        ]
        return ServiceGroup(dn=dn, name=name, units=tuple(units), **values)

    def _unit_entries(
        self, group: Pair, dn: Dn, hosts: tuple[str, ...] = (), *, quiet: bool = False
    ) -> tuple[Pair, ...]:
        """The units of a group; `{count: N, template: {...}}` written out, one node for each in turn."""
        units = (as_block(group.value) or Block()).get("units")
        block = as_block(units.value) if units else None
        count = block.get("count") if block else None
        if not units or not block or not count or not isinstance(count.value, Text):
            return self.entries(units, dn)
        report = Report("") if quiet else self.report
        for pair in block.pairs:
            if pair.key.value not in ("count", "template", "nodes"):
                unknown_key(pair, ("count", "template", "nodes"), report, dn, "attribute")
        try:
            number = Integer(1, UNITS_MAX).read(count.value)
        except Bad as bad:
            report.error(Code.BAD_VALUE, count.at, dn, f"count: {bad.message}", bad.hint)
            return ()
        nodes = block.get("nodes")
        chosen = self.texts(nodes, dn) if nodes else [Text(host, count.key.line, count.key.column) for host in hosts]
        template = block.get("template")
        body = (as_block(template.value) if template else None) or Block()
        entries: list[Pair] = []
        for position in range(number):
            inner = body.pairs
            if chosen and not body.get("node"):
                node = chosen[position % len(chosen)]
                inner = (*inner, Pair(Text("node", node.line, node.column), node))
            key = Text(f"su{position + 1}", count.key.line, count.key.column)
            entries.append(Pair(key, Block(inner, block.line, block.column)))
        return tuple(entries)

    def _unit(
        self,
        name: str,
        entry: Pair,
        block: Block,
        parent: Dn,
        scope: _Scope,
        hosts: tuple[str, ...],
        types: tuple[str, ...],
    ) -> ServiceUnit:
        dn = child_dn("safSu", name, parent)
        pairs = self.layers.pairs("service_unit", block, self.report, dn)
        values = tables.SERVICE_UNIT.read(pairs, self.report, dn)
        self.remember(dn, entry, pairs)
        values["hosts"] = hosts
        if "node" in values:
            given = values.pop("node")
            if given in self._node_groups:
                values["hosts"] = self._node_groups[given]
            elif node := self.reference(given, self._nodes, "node", pairs["node"].at, dn):
                values |= {"node": node, "hosts": (node,)}
        components = [
            self._component(comp, pair, body, dn, types)
            for comp, pair, body in self.named(self.entries(pairs.get("components"), dn), "safComp", dn)
        ]
        return ServiceUnit(dn=dn, name=name, components=tuple(components), **values)

    # Components

    def _component(self, name: str, entry: Pair, block: Block, parent: Dn, types: tuple[str, ...]) -> Component:
        dn = child_dn("safComp", name, parent)
        pairs = self.layers.pairs("component", block, self.report, dn)
        values = tables.COMPONENT.read(pairs, self.report, dn)
        self.remember(dn, entry, pairs)
        if "category" in values:
            values["category"] = reduce(or_, values["category"], Category(0))
        clc = values.setdefault("clc_timeout", _default(Component, "clc_timeout"))
        callback = values.setdefault("callback_timeout", _default(Component, "callback_timeout"))
        for key in CLC:
            values.setdefault(f"{key}_timeout", clc)
        for key in CALLBACKS:
            values.setdefault(f"{key}_timeout", callback)
        for key in ("proxy_csi", "container_csi"):
            if key in values:
                values[key] = self.reference(values[key], self._csis, "CSI", pairs[key].at, dn)
        values["cs_types"] = self._cs_types(pairs.get("cs_types"), values, types, dn)
        values["healthchecks"] = self._healthchecks(pairs.get("healthchecks"), values, dn)
        values["checkpoint"] = self._checkpoint(pairs.get("checkpoint"), dn) or CheckpointPolicy()
        return Component(dn=dn, name=name, **values)

    def _cs_types(
        self, pair: Pair | None, values: Mapping[str, Any], types: tuple[str, ...], dn: Dn
    ) -> tuple[CsType, ...]:
        defaults = {
            "capability": values.get("capability", _default(Component, "capability")),
            "max_active": values.get("max_active_csis"),
            "max_standby": values.get("max_standby_csis"),
        }
        if pair is None:
            return tuple(CsType(name=name, **defaults) for name in types)
        if isinstance(pair.value, Items | Text):
            return tuple(CsType(name=text.value, **defaults) for text in self.texts(pair, dn))
        found: list[CsType] = []
        for entry in self.entries(pair, dn):
            inner = {option.key.value: option for option in (as_block(entry.value) or Block()).pairs}
            found.append(CsType(name=entry.key.value, **defaults | tables.CS_TYPE.read(inner, self.report, dn)))
        return tuple(found)

    def _healthchecks(self, pair: Pair | None, values: Mapping[str, Any], parent: Dn) -> tuple[Healthcheck, ...]:
        if pair is None:
            dn = child_dn("safHealthcheckKey", "alive", parent)
            return (Healthcheck(dn=dn, name="alive"),) if "plugin" in values else ()
        checks: list[Healthcheck] = []
        for name, entry, block in self.named(self.entries(pair, parent), "safHealthcheckKey", parent):
            dn = child_dn("safHealthcheckKey", name, parent)
            if len(name.encode()) > HEALTHCHECK_KEY_BYTES_MAX:
                message = f"a healthcheck key has at most {HEALTHCHECK_KEY_BYTES_MAX} bytes"
                self.report.error(Code.BAD_NAME, entry.key, dn, message)
            inner = {option.key.value: option for option in block.pairs}
            self.remember(dn, entry, inner)
            read = tables.HEALTHCHECK.read(inner, self.report, dn)
            checks.append(Healthcheck(dn=dn, name=name, **{"max_duration": values["callback_timeout"]} | read))
        return tuple(checks)

    def _checkpoint(self, pair: Pair | None, dn: Dn) -> CheckpointPolicy | None:
        if pair is None:
            return None
        block = as_block(pair.value)
        if block is None:
            self.report.error(Code.BAD_VALUE, pair.at, dn, "checkpoint: expected a mode or a mapping")
            return None
        inner = {option.key.value: option for option in block.pairs}
        return CheckpointPolicy(**tables.CHECKPOINT.read(inner, self.report, dn))

    # Service instances

    def _instance(self, name: str, entry: Pair, block: Block, scope: _Scope) -> ServiceInstance:
        dn = child_dn("safSi", name, scope.dn)
        pairs = self.layers.pairs("service_instance", block, self.report, dn)
        values = tables.SERVICE_INSTANCE.read(pairs, self.report, dn)
        self.remember(dn, entry, pairs)
        protected_by = pairs.get("protected_by")
        if protected_by and "protected_by" in values:
            found = self.reference(values["protected_by"], scope.groups, "service group", protected_by.at, dn)
        else:
            only = set(scope.groups.values())
            found = next(iter(only)) if len(only) == 1 else None
            if found is None:
                hint = "protected_by: one of " + ", ".join(key for key in scope.groups if "=" not in key)
                message = (
                    "no service group protects it" if not only else "it is not said which service group protects it"
                )
                self.report.error(Code.MISSING, entry.key, dn, message, hint if only else "")
        values["protected_by"] = found or ""
        ranked = values.get("ranked_sus", {})
        at = pairs["ranked_sus"].key if ranked else None
        resolved = {self.reference(su, scope.units, "service unit", at, dn): rank for su, rank in ranked.items()}
        values["ranked_sus"] = {su: rank for su, rank in sorted(resolved.items(), key=str) if su}
        values["depends_on"] = self._dependencies(pairs.get("depends_on"), scope, dn)
        entries = self._csi_entries(Pair(entry.key, Block(tuple(pairs.values()))), dn)
        named = self.named(entries, "safCsi", dn)
        names = {csi: child_dn("safCsi", csi, dn) for csi, _, _ in named}
        names |= {csi: csi for csi in names.values()}
        values["csis"] = tuple(self._csi(csi, pair, body, dn, names) for csi, pair, body in named)
        return ServiceInstance(dn=dn, name=name, **values)

    def _dependencies(self, pair: Pair | None, scope: _Scope, dn: Dn) -> dict[Dn, float]:
        if pair is None:
            return {}
        known = scope.instances | self._instances
        if isinstance(pair.value, Items | Text):
            entries = [Pair(text, Block()) for text in self.texts(pair, dn)]
        else:
            entries = list(self.entries(pair, dn))
        sponsors: dict[Dn, float] = {}
        for entry in entries:
            inner = {option.key.value: option for option in (as_block(entry.value) or Block()).pairs}
            read = tables.DEPENDENCY.read(inner, self.report, dn)
            sponsor = self.reference(entry.key.value, known, "service instance", entry.key, dn)
            if sponsor:
                sponsors[sponsor] = read.get("tolerance", 0.0)
        return dict(sorted(sponsors.items()))

    def _csi_entries(self, instance: Pair, dn: Dn) -> tuple[Pair, ...]:
        block = as_block(instance.value) or Block()
        csis = block.get("csis")
        return self.entries(csis, dn) if csis else (Pair(instance.key, Block()),)

    def _csi(
        self, name: str, entry: Pair, block: Block, parent: Dn, names: Mapping[str, Dn]
    ) -> ComponentServiceInstance:
        dn = child_dn("safCsi", name, parent)
        pairs = self.layers.pairs("csi", block, self.report, dn)
        values = {"type": name} | tables.CSI.read(pairs, self.report, dn)
        self.remember(dn, entry, pairs)
        if "depends_on" in values:
            texts = self.texts(pairs["depends_on"], dn)
            found = [self.reference(text.value, names, "CSI of this SI", text, dn) for text in texts]
            values["depends_on"] = tuple(csi for csi in found if csi)
        values["checkpoint"] = self._checkpoint(pairs.get("checkpoint"), dn)
        return ComponentServiceInstance(dn=dn, name=name, **values)


def _default(struct: type[msgspec.Struct], name: str) -> Any:
    return next(item.default for item in msgspec.structs.fields(struct) if item.name == name)
