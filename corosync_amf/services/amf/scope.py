"""What an object comprises: the SUs, SIs and service groups that an operation on it touches."""

from enum import Enum

from corosync_amf.ais import Dn

from .model import Index
from .names import parent
from .states import View


class Class(Enum):
    """The class of a configured object."""

    CLUSTER = "cluster"
    NODE = "node"
    NODE_GROUP = "node group"
    APPLICATION = "application"
    SG = "service group"
    SU = "service unit"
    COMPONENT = "component"
    SI = "service instance"
    CSI = "component service instance"


def class_of(index: Index, dn: Dn) -> Class:
    """The class of an object that exists."""
    for kind, members in (
        (Class.COMPONENT, index.components),
        (Class.SU, index.units),
        (Class.SI, index.instances),
        (Class.CSI, index.csis),
        (Class.SG, index.groups),
        (Class.NODE, index.nodes),
        (Class.NODE_GROUP, index.node_groups),
        (Class.APPLICATION, index.applications),
    ):
        if dn in members:
            return kind
    return Class.CLUSTER


def units_of(view: View, dn: Dn) -> list[Dn]:
    """The SUs that an object comprises, in configuration order; none for SIs and CSIs."""
    index = view.index
    match class_of(index, dn):
        case Class.CLUSTER:
            return list(index.units)
        case Class.NODE:
            return [su for su, host in view.host.items() if host == index.nodes[dn].name]
        case Class.NODE_GROUP:
            return [su for su, host in view.host.items() if host in index.node_groups[dn].nodes]
        case Class.APPLICATION:
            return [unit.dn for group in index.applications[dn].service_groups for unit in group.units]
        case Class.SG:
            return [unit.dn for unit in index.groups[dn].units]
        case Class.SU:
            return [dn]
        case Class.COMPONENT:
            return [index.unit_of_component[dn].dn]
        case Class.SI | Class.CSI:
            return []


def instances_of(view: View, dn: Dn) -> list[Dn]:
    """The SIs that an object comprises, in configuration order."""
    index = view.index
    match class_of(index, dn):
        case Class.CLUSTER:
            return list(index.instances)
        case Class.APPLICATION:
            return [si.dn for si in index.applications[dn].service_instances]
        case Class.SG:
            return [si.dn for si in index.instances_of_group[dn]]
        case Class.SI:
            return [dn]
        case Class.CSI:
            return [index.instance_of_csi[dn].dn]
        case _:
            return []


def groups_of(view: View, dn: Dn) -> list[Dn]:
    """The service groups that an operation on the object touches, in configuration order."""
    index = view.index
    touched = {index.group_of_unit[su].dn for su in units_of(view, dn)}
    touched |= {index.instances[si].protected_by for si in instances_of(view, dn)}
    return [group for group in index.groups if group in touched]


def is_related(dn: Dn, other: Dn) -> bool:
    """Whether one is the other, above it or below it in the tree of names."""
    return other == dn or other in above(dn) or dn in above(other)


def above(dn: Dn) -> list[Dn]:
    """The DNs above, nearest first."""
    found: list[Dn] = []
    while dn := parent(dn):
        found.append(dn)
    return found


def is_settled(view: View, dn: Dn) -> bool:
    """Whether nothing is under way in the groups of an object: no callback, no command."""
    components = {
        component.dn
        for group in groups_of(view, dn)
        for unit in view.index.groups[group].units
        for component in unit.components
    }
    if any(callback.component in components for callback in view.facts.callbacks.values()):
        return False
    facts = [view.facts.component(comp) for comp in sorted(components)]
    return not any(fact.doing is not None or fact.terminating or fact.doomed for fact in facts)
