"""Rules across entities, each a function from the model to what is wrong with it.

Source: SAI-AIS-AMF-B.04.01 sections 3.6 and 3.8; the rules of the reference page.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from corosync_amf.ais import Dn, RedundancyModel
from corosync_amf.config.amf_reading import Places
from corosync_amf.config.amf_tables import CAPABILITIES, CATEGORIES, MODELS
from corosync_amf.config.problems import Code, Severity
from corosync_amf.services.amf.model import Capability, Category, Index

E, W = Severity.ERROR, Severity.WARNING
_PAIRED: Final = (RedundancyModel.TWO_N, RedundancyModel.N_PLUS_M)
PLUGIN: Final = re.compile(r"[\w.]+:[\w.]*|[\w.-]+")
"""`module:object`, or the name of an entry point."""
_NO_STANDBY: Final = (Capability.X_ACTIVE, Capability.ONE_ACTIVE)


@dataclass(frozen=True)
class Finding:
    """What a rule found: at the attribute `key` of the entity `dn`."""

    severity: Severity
    code: Code
    dn: Dn
    key: str
    message: str
    hint: str = ""


def findings(index: Index, places: Places) -> list[Finding]:
    """Return what all rules find."""
    found: list[Finding] = []
    for rule in (
        units_are_within_their_groups_nodes,
        units_have_components,
        instances_have_work,
        components_can_be_started,
        every_csi_finds_a_component,
        capabilities_allow_the_model,
        dependencies_have_no_cycles,
        dependents_rank_behind_their_sponsors,
        weights_fit_some_node,
        proxies_exist,
        units_are_on_different_nodes,
        clm_nodes_differ,
    ):
        found += rule(index)
    found += preferred_numbers_are_reachable(index, places)
    found += restart_limits_are_of_use(index, places)
    found += not_supported_yet(index)
    return found


def not_supported_yet(index: Index) -> list[Finding]:
    found: list[Finding] = []
    for dn, group in index.groups.items():
        if group.redundancy_model is not RedundancyModel.TWO_N:
            message = f"redundancy model {MODELS.word(group.redundancy_model)} is not supported yet"
            found.append(Finding(E, Code.NOT_SUPPORTED, dn, "redundancy_model", message, "supported: 2n"))
    for dn, component in index.components.items():
        if component.category is not Category.SA_AWARE:
            words = " ".join(CATEGORIES.word(each) for each in component.category) or "none"
            message = f"component category {words} is not supported yet"
            found.append(Finding(E, Code.NOT_SUPPORTED, dn, "category", message, "supported: sa-aware"))
    for dn, unit in index.units.items():
        if unit.is_external:
            message = "external service units are not supported yet"
            found.append(Finding(E, Code.NOT_SUPPORTED, dn, "is_external", message))
    return found


def units_are_within_their_groups_nodes(index: Index) -> list[Finding]:
    allowed = {group.name: group.nodes for group in index.node_groups.values()}
    found: list[Finding] = []
    for dn, unit in index.units.items():
        node_group = index.group_of_unit[dn].node_group
        outside = [host for host in unit.hosts if node_group and host not in allowed.get(node_group, unit.hosts)]
        if outside:
            message = f"node '{outside[0]}' is not in the service group's node group '{node_group}'"
            hint = "nodes of the group: " + ", ".join(allowed[node_group or ""])
            found.append(Finding(E, Code.CONFLICT, dn, "node", message, hint))
        if not unit.hosts and index.nodes:
            found.append(Finding(E, Code.MISSING, dn, "node", "there is no node that it may live on"))
    return found


def units_have_components(index: Index) -> list[Finding]:
    empty = [
        Finding(E, Code.MISSING, dn, "", "a service unit needs at least one component")
        for dn, unit in index.units.items()
        if not unit.components
    ]
    bare = [
        Finding(W, Code.MISSING, dn, "", "the service group has no service units")
        for dn, group in index.groups.items()
        if not group.units
    ]
    return empty + bare


def instances_have_work(index: Index) -> list[Finding]:
    message, hint = "a service instance without CSIs is never assigned", "leave 'csis' out for one named as the SI"
    return [
        Finding(W, Code.MISSING, dn, "csis", message, hint)
        for dn, instance in index.instances.items()
        if not instance.csis
    ]


def components_can_be_started(index: Index) -> list[Finding]:
    found: list[Finding] = []
    for dn, component in index.components.items():
        if component.plugin and component.instantiate:
            message = "plugin and instantiate exclude each other"
            found.append(Finding(E, Code.CONFLICT, dn, "instantiate", message, "a plugin is started by AMF itself"))
        elif component.plugin and not PLUGIN.fullmatch(component.plugin):
            message = f"a plugin is module:object or the name of an entry point, not '{component.plugin}'"
            found.append(Finding(E, Code.BAD_VALUE, dn, "plugin", message, "such as counter:Counter"))
        elif not component.plugin and not component.instantiate and component.category is Category.SA_AWARE:
            message = "nothing says how it is started"
            found.append(Finding(E, Code.MISSING, dn, "", message, "give it a 'plugin' or an 'instantiate' command"))
    return found


def every_csi_finds_a_component(index: Index) -> list[Finding]:
    found: list[Finding] = []
    for dn, csi in index.csis.items():
        group = index.groups.get(index.instance_of_csi[dn].protected_by)
        for unit in group.units if group else ():
            types = {cs_type.name for component in unit.components for cs_type in component.cs_types}
            if unit.components and csi.type not in types:
                message = f"no component of {index.short(unit.dn)} serves the type '{csi.type}'"
                hint = "its components serve: " + (", ".join(sorted(types)) or "nothing")
                found.append(Finding(E, Code.UNKNOWN_REFERENCE, dn, "type", message, hint))
    return found


def capabilities_allow_the_model(index: Index) -> list[Finding]:
    found: list[Finding] = []
    for dn, component in index.components.items():
        model = index.group_of_unit[index.unit_of_component[dn].dn].redundancy_model
        for cs_type in component.cs_types:
            if model in _PAIRED and cs_type.capability in _NO_STANDBY:
                wrong = "takes no standby assignments"
            elif model is RedundancyModel.N_WAY and cs_type.capability is not Capability.X_ACTIVE_AND_Y_STANDBY:
                wrong = "is not active and standby at the same time"
            else:
                continue
            word = CAPABILITIES.word(cs_type.capability)
            message = f"capability {word} for type '{cs_type.name}' {wrong}, which {MODELS.word(model)} needs"
            found.append(Finding(E, Code.CONFLICT, dn, "capability", message))
    return found


def preferred_numbers_are_reachable(index: Index, places: Places) -> list[Finding]:
    found: list[Finding] = []

    def few(dn: Dn, key: str, wanted: int, there: int) -> None:
        if places.given(dn, key) and wanted > there:
            message = f"{key} is {wanted}, but there are {there} service units"
            found.append(Finding(W, Code.UNREACHABLE, dn, key, message))

    for dn, group in index.groups.items():
        there = len(group.units)
        if group.redundancy_model is RedundancyModel.TWO_N and there == 1:
            message = "a 2n group of one service unit has no standby"
            found.append(Finding(W, Code.NO_PROTECTION, dn, "", message, "give it a second unit on another node"))
        if group.redundancy_model is RedundancyModel.N_PLUS_M:
            few(dn, "preferred_active_sus", group.preferred_active_sus, there)
            few(dn, "preferred_standby_sus", group.preferred_active_sus + group.preferred_standby_sus, there)
        few(dn, "preferred_inservice_sus", group.preferred_inservice_sus or 0, there)
        few(dn, "preferred_assigned_sus", group.preferred_assigned_sus or 0, there)
        if group.redundancy_model is RedundancyModel.TWO_N and group.preferred_inservice_sus == 1:
            message = "a 2n group keeps at least two service units in service"
            found.append(Finding(E, Code.BAD_VALUE, dn, "preferred_inservice_sus", message))
        for instance in index.instances_of_group[dn]:
            if group.redundancy_model is RedundancyModel.N_WAY_ACTIVE:
                few(instance.dn, "preferred_active", instance.preferred_active, there)
            elif instance.preferred_active > 1:
                message = f"preferred_active is {instance.preferred_active}; only n-way-active has more than one"
                found.append(Finding(E, Code.CONFLICT, instance.dn, "preferred_active", message))
    return found


def dependencies_have_no_cycles(index: Index) -> list[Finding]:
    found: list[Finding] = []
    graphs: list[Mapping[Dn, Iterable[Dn]]] = [{dn: si.depends_on for dn, si in index.instances.items()}]
    graphs.append({dn: csi.depends_on for dn, csi in index.csis.items()})
    for graph in graphs:
        for cycle in _cycles(graph):
            path = " -> ".join(index.short(dn) for dn in (*cycle, cycle[0]))
            found.append(Finding(E, Code.CYCLE, cycle[0], "depends_on", f"depends on itself: {path}"))
    return found


def _cycles(graph: Mapping[Dn, Iterable[Dn]]) -> list[tuple[Dn, ...]]:
    """One cycle of every knot of nodes that depend on themselves, without recursion."""
    done: set[Dn] = set()
    cycles: list[tuple[Dn, ...]] = []
    for start in graph:
        path: list[Dn] = []
        todo: list[tuple[Dn, bool]] = [(start, False)]
        while todo:
            dn, leaving = todo.pop()
            if leaving:
                path.pop()
                done.add(dn)
            elif dn in path:
                cycles.append(tuple(path[path.index(dn) :]))
            elif dn not in done:
                path.append(dn)
                todo.append((dn, True))
                todo += [(sponsor, False) for sponsor in graph.get(dn, ())]
    return cycles


def dependents_rank_behind_their_sponsors(index: Index) -> list[Finding]:
    found: list[Finding] = []
    for dn, instance in index.instances.items():
        for sponsor in instance.depends_on:
            other = index.instances.get(sponsor)
            if other and (instance.rank or 2**32) < (other.rank or 2**32):
                name = index.short(sponsor)
                message = f"its rank {instance.rank} is better than {other.rank} of {name}, which it depends on"
                found.append(
                    Finding(E, Code.CONFLICT, dn, "rank", message, "give the sponsor the same or a better rank")
                )
    return found


def weights_fit_some_node(index: Index) -> list[Finding]:
    found: list[Finding] = []
    for dn, instance in index.instances.items():
        group = index.groups.get(instance.protected_by)
        hosts = sorted({host for unit in group.units for host in unit.hosts}) if group else []
        for key, weights in (("active_weight", instance.active_weight), ("standby_weight", instance.standby_weight)):
            for resource, weight in weights.items():
                room = [index.node_named[host].capacity.get(resource, weight) for host in hosts]
                if room and weight > max(room):
                    message = f"needs {weight} of '{resource}', the largest node of its group has {max(room)}"
                    found.append(Finding(E, Code.UNREACHABLE, dn, key, message))
    return found


def restart_limits_are_of_use(index: Index, places: Places) -> list[Finding]:
    found: list[Finding] = []
    for dn, group in index.groups.items():
        components = [component for unit in group.units for component in unit.components]
        if components and all(component.disable_restart for component in components):
            given = [key for key in ("component_restart_max", "component_restart_probation") if places.given(dn, key)]
            message = "has no effect: all components of the group have disable_restart"
            found += [Finding(W, Code.IGNORED, dn, key, f"{key} {message}") for key in given]
    return found


def proxies_exist(index: Index) -> list[Finding]:
    found: list[Finding] = []
    for dn, component in index.components.items():
        for key, name, category, word in (
            ("proxy_csi", component.proxy_csi, Category.PROXY, "proxy"),
            ("container_csi", component.container_csi, Category.CONTAINER, "container"),
        ):
            csi = index.csis.get(name or "")
            if csi is None:
                continue
            serving = [
                other
                for other in index.components.values()
                if other.category & category and any(cs_type.name == csi.type for cs_type in other.cs_types)
            ]
            if not serving:
                message = f"no {word} component serves the type '{csi.type}' of {index.short(csi.dn)}"
                found.append(Finding(E, Code.UNKNOWN_REFERENCE, dn, key, message))
    return found


def units_are_on_different_nodes(index: Index) -> list[Finding]:
    found: list[Finding] = []
    for group in index.groups.values():
        hosts = {host for unit in group.units for host in unit.hosts}
        if group.redundancy_model is RedundancyModel.TWO_N and len(group.units) > 1 and len(hosts) == 1:
            message = f"all service units are on node '{hosts.pop()}': no protection against the loss of a node"
            found.append(Finding(W, Code.NO_PROTECTION, group.dn, "units", message))
            continue
        taken: dict[str, str] = {}
        for unit in group.units if group.redundancy_model is RedundancyModel.TWO_N else ():
            if unit.node and unit.node in taken:
                message = f"is on node '{unit.node}' like {taken[unit.node]}: no protection against its loss"
                found.append(Finding(W, Code.NO_PROTECTION, unit.dn, "node", message))
            taken.setdefault(unit.node, unit.name)
    return found


def clm_nodes_differ(index: Index) -> list[Finding]:
    found: list[Finding] = []
    taken: dict[str, str] = {}
    for dn, node in index.nodes.items():
        if node.clm_node in taken:
            message = f"maps to CLM node '{node.clm_node}' like '{taken[node.clm_node]}'"
            found.append(Finding(E, Code.DUPLICATE, dn, "clm_node", message))
        taken[node.clm_node] = node.name
    return found
