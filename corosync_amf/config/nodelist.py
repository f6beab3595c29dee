"""The nodelist of corosync.conf: its members, and which of them is this machine."""

from collections.abc import Mapping
from typing import Any

from corosync_amf.config.network import Machine, is_local, node_id_of, parse_address, resolve
from corosync_amf.config.problems import Code, Report
from corosync_amf.config.sections import Section
from corosync_amf.config.settings import NodeEntry


def read_nodes(
    listed: list[Section], values: Mapping[str, Any], machine: Machine, report: Report
) -> tuple[NodeEntry, ...]:
    nodes: list[NodeEntry] = []
    ids: dict[object, str] = {}
    names: dict[object, str] = {}
    for section in listed:
        addresses = tuple(section.values[key] for key in ("ring0_addr", "ring1_addr") if key in section.values)
        if "ring0_addr" not in section.values:
            if "ring0_addr" not in section.pairs:
                report.error(Code.MISSING, section.at, section.obj, "a node needs a ring0_addr")
            continue
        resolved = [resolve(address, machine, values["ip_version"]) for address in addresses]
        for address, ip in zip(addresses, resolved, strict=True):
            if ip is None:
                at = section.place("ring0_addr" if address == addresses[0] else "ring1_addr")
                report.error(Code.ADDRESS, at, section.obj, f"'{address}' is neither an address nor a known host name")
        if "ring1_addr" in section.pairs:
            message = "redundant rings are not supported yet: ring1_addr has no effect"
            report.warning(Code.NOT_SUPPORTED, section.pairs["ring1_addr"].key, section.obj, message)
        by_address = parse_address(addresses[0]) is not None
        node_id = section.values.get("node_id")
        if node_id is None and by_address:
            node_id = node_id_of(addresses[0], values.get("clear_node_high_bit", False))
        if node_id is None and "nodeid" not in section.pairs:
            why = "An IPv6 network needs a nodeid" if by_address else "a node that is named by host name needs a nodeid"
            report.error(Code.MISSING, section.at, section.obj, why)
        name = section.values.get("name", addresses[0])
        _unique(section, "nodeid", node_id, ids, report)
        _unique(section, "name", name, names, report)
        nodes.append(
            NodeEntry(
                node_id=node_id or 0,
                name=name,
                addresses=addresses,
                ip_addresses=tuple(ip or "" for ip in resolved),
                quorum_votes=section.values.get("quorum_votes", 1),
            )
        )
    if len(nodes) == len(listed):
        _one_family(listed, tuple(nodes), report)
    return tuple(nodes)


def _unique(section: Section, key: str, value: object, taken: dict[object, str], report: Report) -> None:
    if value in taken:
        message = f"{key} {value} is that of {taken[value]}, too"
        report.error(Code.DUPLICATE, section.place(key), section.obj, message)
    elif value is not None:
        taken[value] = section.obj


def _one_family(listed: list[Section], nodes: tuple[NodeEntry, ...], report: Report) -> None:
    """All nodes must be reachable from one socket."""
    parsed = [parse_address(node.ip_addresses[0]) for node in nodes]
    for section, address in zip(listed, parsed, strict=True):
        first = parsed[0]
        if address and first and address.version != first.version:
            message = f"{address} is of another family than {first}, the address of the first node"
            hint = "totem.ip_version says how names are resolved"
            report.error(Code.ADDRESS, section.place("ring0_addr"), section.obj, message, hint)


def _check_is_here(
    node: NodeEntry, here: list[NodeEntry], listed: list[Section], machine: Machine, report: Report
) -> None:
    """A node that was found by its name must have its address on this machine."""
    if node in here or not node.ip_addresses[0]:
        return
    section = next(each for each in listed if each.values.get("ring0_addr") == node.addresses[0])
    known = ", ".join(f"{own.address} ({own.interface})" for own in machine.addresses)
    message = f"this node is {node.name} by its host name, and has no address {node.ip_addresses[0]}"
    report.error(Code.ADDRESS, section.place("ring0_addr"), section.obj, message, f"its addresses: {known}")


def own_node(
    listed: list[Section], nodes: tuple[NodeEntry, ...], totem: Section, machine: Machine, report: Report
) -> NodeEntry | None:
    """Return the entry of this machine: by totem.nodeid when it lives here, by host name, by address."""
    if not nodes:
        return None
    here = [node for node in nodes if (ip := parse_address(node.ip_addresses[0])) and is_local(ip, machine)]
    host = machine.host_name
    for found in (
        [node for node in here if node.node_id == totem.values.get("node_id")],
        [node for node in nodes if node.name == host],
        [node for node in nodes if node.name == host.split(".")[0]],
        here,
    ):
        if len(found) == 1:
            _check_is_here(found[0], here, listed, machine, report)
            return found[0]
    if report.has_errors:
        return None
    if here:
        names = ", ".join(node.name for node in here)
        message = f"several nodes of the list are on this machine: {names}"
        hint = "say which one this is: totem.nodeid"
        report.error(Code.AMBIGUOUS, listed[0].at, "nodelist", message, hint)
    else:
        own = ", ".join(address.address for address in machine.addresses)
        message = f"this machine ({host}) is not in the nodelist"
        report.error(Code.ADDRESS, listed[0].at, "nodelist", message, f"its addresses: {own}")
    return None
