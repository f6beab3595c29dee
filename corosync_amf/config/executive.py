"""corosync.conf -> ExecutiveConfig: the sections put together, what is not given derived."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from corosync_amf.config.executive_tables import SUBSYSTEMS
from corosync_amf.config.network import (
    Machine,
    bound_address,
    default_multicast,
    node_id_of,
    parse_address,
    resolve,
)
from corosync_amf.config.nodelist import own_node, read_nodes
from corosync_amf.config.problems import Code, Report
from corosync_amf.config.sections import EMPTY, Section, read_sections
from corosync_amf.config.settings import (
    EventSettings,
    ExecutiveConfig,
    Hash,
    Interface,
    LogSettings,
    NodeEntry,
    Provider,
    QuorumSettings,
    RedundantRing,
    TotemSettings,
    Transport,
)
from corosync_amf.config.tree import Block, Text

PERSISTENCE_DIRECTORY: Final = "/var/lib/corosync-amf"
AUTHKEY_FILE: Final = "/etc/ais/authkey"
DEFAULT_PORT: Final = 5405
WITHOUT_EFFECT: Final = (
    *("miss_count_const", "max_network_delay"),
    *("rrp_problem_count_timeout", "rrp_problem_count_threshold", "rrp_problem_count_mcast_threshold"),
    *("rrp_token_expired_timeout", "rrp_autorecovery_check_timeout"),
)
"""Directives of totem that are checked and then not used: what they tune is done in another way, or not yet."""


def build_executive(tree: Block, report: Report, machine: Machine, environ: Mapping[str, str]) -> ExecutiveConfig:
    """Return the configuration; what is wrong goes to `report`, and then the value is of no use."""
    sections = read_sections(tree, report)
    totem = sections.get("totem", Section("totem"))
    rings = totem.nested.get("interface", [])
    listed = sections.get("nodelist", EMPTY).nested.get("node", [])
    unicast = bool(listed) or any("member" in ring.nested for ring in rings)
    values = _totem_values(totem, rings, unicast, len(listed), report)
    nodes = read_nodes(listed, values, machine, report)
    own = own_node(listed, nodes, totem, machine, report)
    interfaces = _interfaces(rings, values, own, machine, report)
    node_id = own.node_id if own else _node_id(totem, values, interfaces, report)
    _check_security(totem, values, interfaces, report)
    quorum = _quorum(sections.get("quorum", Section("quorum")), nodes, report)
    _check_times(totem, values, report)
    _check_consensus(totem, values, len(nodes) or quorum.expected_votes, report)
    logging, subsystems = _logging(sections.get("logging", Section("logging")), report)
    users, groups = _uidgid(sections["uidgid"].nested["uidgid"])
    default = PERSISTENCE_DIRECTORY if machine.may_persist else ""
    persistence = sections.get("persistence", EMPTY).values.get("directory", default)
    key_file = environ.get("COROSYNC_TOTEM_AUTHKEY_FILE")
    key = None if key_file else values.get("key")
    settings = TotemSettings(**values | {"node_id": node_id, "key": key})
    return ExecutiveConfig(
        file=report.file,
        node_name=own.name if own else machine.host_name,
        node_id=node_id,
        totem=settings,
        interfaces=interfaces,
        nodes=nodes,
        quorum=quorum,
        logging=logging,
        subsystems=subsystems,
        event=_event(sections.get("event", Section("event")), report),
        amf_enabled=sections.get("amf", EMPTY).values.get("mode"),
        allowed_users=users,
        allowed_groups=groups,
        persistence_directory=persistence or None,
        key_file=key_file or settings.key_file or AUTHKEY_FILE,
    )


def _totem_values(totem: Section, rings: list[Section], unicast: bool, listed: int, report: Report) -> dict[str, Any]:
    values = dict(totem.values)
    values.setdefault("rrp_mode", values.pop("link_mode", None) or RedundantRing.NONE)
    values.pop("link_mode", None)
    values.setdefault("transport", Transport.UDPU if unicast else Transport.UDP)
    values.setdefault("ip_version", "ipv4" if values["transport"] is Transport.UDP else "ipv6-4")
    token = values.get("token", TotemSettings().token)
    if listed >= 3:
        token += (listed - 2) * values.get("token_coefficient", 0.0)
    values["token"] = token
    retransmits = values.get("token_retransmits_before_loss_const", 4)
    milliseconds = int(token * 1000 / (retransmits + 0.2))
    retransmit = values.setdefault("token_retransmit", milliseconds / 1000)
    values.setdefault("hold", max(1, int(retransmit * 1000 * 0.8 - 10)) / 1000)
    values.setdefault("consensus", round(1.2 * token, 6))
    threshold = values.get("rrp_problem_count_threshold", 10)
    values.setdefault("rrp_problem_count_mcast_threshold", 10 * threshold)
    if len(rings) > 1 or values["rrp_mode"] is not RedundantRing.NONE:
        at = rings[1].at if len(rings) > 1 else totem.place_of_any("rrp_mode", "link_mode")
        report.error(
            Code.NOT_SUPPORTED, at, totem.obj, "redundant rings are not supported yet", "configure one interface"
        )
    if values.get("heartbeat_failures_allowed"):
        message = "heartbeat detection is not supported yet and has no effect"
        report.warning(Code.NOT_SUPPORTED, totem.place("heartbeat_failures_allowed"), totem.obj, message)
    if values["transport"] is Transport.UDPU and not unicast:
        message = "udpu without a nodelist or members: this node finds no other one"
        report.warning(Code.MISSING, totem.place("transport"), totem.obj, message, "name the nodes in a nodelist")
    _warn_old_words(totem, report)
    for key in WITHOUT_EFFECT:
        if key in values and key in totem.pairs:
            report.warning(Code.IGNORED, totem.pairs[key].key, totem.obj, f"'{key}' has no effect here")
    if "key" in values and "key_file" in values:
        report.warning(Code.IGNORED, totem.place("key"), totem.obj, "'key' has no effect beside 'keyfile'")
        del values["key"]
    elif "key" in values:
        hint = "use ais-keygen and a key file"
        report.warning(
            Code.INSECURE, totem.place("key"), totem.obj, "the key stands in a file that others may read", hint
        )
    return values


def _warn_old_words(totem: Section, report: Report) -> None:
    words = {
        ("transport", "knet"): "'knet' is read as udpu",
        ("crypto_hash", "md5"): "'md5' is read as sha256",
        ("crypto_hash", "sha1"): "'sha1' is read as sha256",
    }
    for (key, word), message in words.items():
        pair = totem.pairs.get(key)
        if pair and pair.value == Text(word):
            report.warning(Code.OLD_SPELLING, pair.at, totem.obj, message)


def _check_security(
    totem: Section, values: Mapping[str, Any], interfaces: tuple[Interface, ...], report: Report
) -> None:
    if values.get("secauth", True):
        if values.get("crypto_hash") is Hash.NONE:
            message = "crypto_hash none needs secauth off"
            report.error(Code.CONFLICT, totem.place("crypto_hash"), totem.obj, message)
        return
    addresses = [parse_address(interface.bind_address) for interface in interfaces]
    if all(address is None or address.is_loopback for address in addresses) or values.get("allow_insecure"):
        message = "secauth off: packets are neither authenticated nor encrypted"
        report.warning(Code.INSECURE, totem.place("secauth"), totem.obj, message)
        return
    message = "secauth off is refused on a network: anybody on it could command the cluster"
    hint = "secauth: on and ais-keygen, or allow_insecure: yes"
    report.error(Code.INSECURE, totem.place("secauth"), totem.obj, message, hint)


def _check_times(totem: Section, values: Mapping[str, Any], report: Report) -> None:
    """What the ring needs to turn at all: each wait is shorter than the one that it is part of."""
    for short, default, least_ms, long, given in (
        ("token_retransmit", 0.0, 2, "token", ("token_retransmit", "token_retransmits_before_loss_const", "token")),
        ("hold", 0.0, 1, "token_retransmit", ("hold", "token_retransmit")),
        ("join", TotemSettings().join, 1, "consensus", ("join", "consensus")),
    ):
        length, limit = values.get(short, default), values[long]
        told = ""
        if length * 1000 < least_ms:
            told = f"{short} would be {length * 1000:g} ms, the least is {least_ms} ms"
        elif length >= limit:
            told = f"{short} ({length * 1000:g} ms) must be below {long} ({limit * 1000:g} ms)"
        if told:
            key = next((key for key in given if key in totem.pairs), short)
            report.error(Code.CONFLICT, totem.place(key), totem.obj, told, f"leave {key} out")
            return  # the others may only follow from it


def _check_consensus(totem: Section, values: Mapping[str, Any], nodes: int, report: Report) -> None:
    token, consensus = values["token"], values["consensus"]
    least = token if nodes == 1 else round(1.2 * token, 6)
    if consensus >= least:
        return
    message = f"consensus is below {'' if nodes == 1 else '1.2 x '}token ({least * 1000:g} ms)"
    tell = report.warning if nodes == 2 and consensus >= token else report.error
    tell(Code.CONFLICT, totem.place("consensus"), totem.obj, message, "leave it out")


def _interfaces(
    rings: list[Section], totem: Mapping[str, Any], own: NodeEntry | None, machine: Machine, report: Report
) -> tuple[Interface, ...]:
    return tuple(
        _interface(section, position, totem, own, machine, report)
        for position, section in enumerate(rings or [Section("totem.interface[0]")])
    )


def _interface(
    section: Section,
    position: int,
    totem: Mapping[str, Any],
    own: NodeEntry | None,
    machine: Machine,
    report: Report,
) -> Interface:
    values = dict(section.values)
    ring = values.setdefault("ring", position)
    if ring != position:
        message = f"ring {ring} stands where ring {position} is expected"
        report.error(Code.CONFLICT, section.place_of_any("ringnumber", "linknumber"), section.obj, message)
    bind = _bind_address(section, position, own, machine, report)
    parsed = parse_address(bind)
    values["bind_address"] = bind
    values.setdefault("mcast_port", DEFAULT_PORT + 2 * position)
    version = parsed.version if parsed else 4
    if values.get("broadcast"):
        if "mcast_address" in values or version == 6:
            message = "broadcast excludes mcastaddr" if version == 4 else "IPv6 has no broadcast"
            report.error(Code.CONFLICT, section.place("broadcast"), section.obj, message)
        values["mcast_address"] = "255.255.255.255"
    elif "mcast_address" in values:
        _check_multicast(section, values["mcast_address"], version, report)
    else:
        values["mcast_address"] = default_multicast(totem.get("cluster_name", ""), position, version)
    values["members"] = _members(section, totem, machine, report)
    return Interface(**values)


def _bind_address(section: Section, position: int, own: NodeEntry | None, machine: Machine, report: Report) -> str:
    given = section.values.get("bind_address")
    if given is None:
        listed = own.ip_addresses[position] if own and position < len(own.ip_addresses) else ""
        return listed or machine.default_address
    bind = bound_address(given, machine)
    if bind is None:
        known = ", ".join(f"{own.address}/{own.prefix_length} ({own.interface})" for own in machine.addresses)
        message = f"no interface of this machine has the address or network '{given}'"
        report.error(Code.ADDRESS, section.place("bindnetaddr"), section.obj, message, f"its addresses: {known}")
    return bind or machine.default_address


def _check_multicast(section: Section, text: str, version: int, report: Report) -> None:
    address, at = parse_address(text), section.place("mcastaddr")
    if address is None or not address.is_multicast:
        hint = "239.192.0.0..239.255.255.255" if version == 4 else "for instance ff15::1"
        report.error(Code.ADDRESS, at, section.obj, f"'{text}' is not a multicast address", hint)
    elif address.version != version:
        report.error(Code.ADDRESS, at, section.obj, f"'{text}' is not of the family of bindnetaddr")
    elif text.startswith("224.0.0."):
        report.warning(Code.ADDRESS, at, section.obj, f"'{text}' is reserved for the local network's own protocols")


def _members(section: Section, totem: Mapping[str, Any], machine: Machine, report: Report) -> tuple[str, ...]:
    members: list[str] = []
    for member in section.nested.get("member", []):
        name = member.values.get("memberaddr")
        address = resolve(name, machine, totem["ip_version"]) if name else None
        if address is None:
            message = f"'{name}' is neither an address nor a known host name" if name else "a member needs a memberaddr"
            report.error(Code.ADDRESS, member.place("memberaddr"), member.obj, message)
        else:
            members.append(address)
    return tuple(members)


def _node_id(totem: Section, values: Mapping[str, Any], interfaces: tuple[Interface, ...], report: Report) -> int:
    if "node_id" in values:
        return int(values["node_id"])
    found = node_id_of(interfaces[0].bind_address, values.get("clear_node_high_bit", False))
    if found is None and "nodeid" not in totem.pairs:
        report.error(
            Code.MISSING, totem.at, totem.obj, "An IPv6 network needs a nodeid", "nodeid: 1 (another for each)"
        )
    return found or 0


def _quorum(section: Section, nodes: tuple[NodeEntry, ...], report: Report) -> QuorumSettings:
    values = dict(section.values)
    votes = sum(node.quorum_votes for node in nodes)
    expected = values.setdefault("expected_votes", votes)
    values.setdefault("provider", Provider.VOTEQUORUM if expected else Provider.NONE)
    if values["provider"] is Provider.VOTEQUORUM and not expected:
        message = "votequorum needs a nodelist or expected_votes"
        report.error(Code.MISSING, section.place("provider"), section.obj, message)
    two = values.setdefault("two_node", expected == 2 and values["provider"] is Provider.VOTEQUORUM)
    if two and expected != 2:
        message = f"two_node needs exactly two votes, there are {expected}"
        report.error(Code.CONFLICT, section.place("two_node"), section.obj, message)
    waits = values.setdefault("wait_for_all", two)
    if two and not waits:
        message = "two_node implies wait_for_all"
        report.warning(Code.CONFLICT, section.place("wait_for_all"), section.obj, message)
        values["wait_for_all"] = True
    if values.get("two_node_policy") == "available":
        message = "two_node_policy available: both halves of a split go on, with two active components"
        report.warning(Code.INSECURE, section.place("two_node_policy"), section.obj, message)
    values.setdefault("auto_tie_breaker", two and not values.get("witness"))
    breaker = values.get("auto_tie_breaker_node", "lowest")
    if isinstance(breaker, tuple):
        unknown = [node_id for node_id in breaker if nodes and node_id not in {node.node_id for node in nodes}]
        if unknown:
            message = f"auto_tie_breaker_node {unknown[0]} is no node of the list"
            report.error(Code.UNKNOWN_REFERENCE, section.place("auto_tie_breaker_node"), section.obj, message)
        values |= {"auto_tie_breaker_node": "", "auto_tie_breaker_ids": breaker}
    elif values["auto_tie_breaker"] and expected and not nodes:
        place = section.place("auto_tie_breaker" if "auto_tie_breaker" in section.pairs else "expected_votes")
        message = "no node breaks a tie without a nodelist: exactly half of the votes is no quorum"
        report.warning(
            Code.NO_PROTECTION, place, section.obj, message, "list the nodes, or auto_tie_breaker_node: an id"
        )
    if values.get("last_man_standing") and not values["wait_for_all"]:
        message = "last_man_standing needs wait_for_all"
        report.error(Code.CONFLICT, section.place("last_man_standing"), section.obj, message)
    for key, what in (("witness", "a witness"), ("last_man_standing", "last_man_standing")):
        if values.get(key):
            message, hint = f"{what} is not supported yet and has no effect", "three nodes survive the loss of any one"
            report.warning(Code.NOT_SUPPORTED, section.place(key), section.obj, message, hint)
    return QuorumSettings(**values)


def _logging(section: Section, report: Report) -> tuple[LogSettings, dict[str, LogSettings]]:
    settings = LogSettings(**section.values)
    sections = [(section, settings)]
    subsystems: dict[str, LogSettings] = {}
    for inner in section.nested.get("logger_subsys", []):
        values = dict(inner.values)
        name = values.pop("subsys", None)
        if name is None:
            if "subsys" not in inner.pairs:
                report.error(Code.MISSING, inner.at, inner.obj, "logger_subsys needs a subsys")
            continue
        if name not in SUBSYSTEMS:
            hint = "known: " + ", ".join(SUBSYSTEMS)
            report.warning(
                Code.UNKNOWN_REFERENCE, inner.place("subsys"), inner.obj, f"unknown subsystem '{name}'", hint
            )
        subsystems[name] = msgspec.structs.replace(subsystems.get(name, settings), **values)
        sections.append((inner, subsystems[name]))
    for where, found in sections:
        if found.to_logfile and not found.logfile:
            at = where.place_of_any("to_logfile", "to_file")
            report.error(Code.MISSING, at, where.obj, "to_logfile needs a logfile")
    return settings, subsystems


def _event(section: Section, report: Report) -> EventSettings:
    settings = EventSettings(**section.values)
    if settings.delivery_queue_resume >= settings.delivery_queue_size:
        message = "delivery_queue_resume must be below delivery_queue_size"
        report.error(Code.CONFLICT, section.place("delivery_queue_resume"), section.obj, message)
    return settings


def _uidgid(sections: list[Section]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    users = tuple(section.values["uid"] for section in sections if "uid" in section.values)
    groups = tuple(section.values["gid"] for section in sections if "gid" in section.values)
    return users, groups
