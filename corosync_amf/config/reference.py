"""The page docs/reference/config.md: every directive and attribute, out of the tables that read them.

python -m corosync_amf.config.reference > docs/reference/config.md
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

import click
import msgspec

from corosync_amf.config import amf_tables as amf
from corosync_amf.config import executive_tables as executive
from corosync_amf.config import settings
from corosync_amf.config.amf_build import CALLBACKS, CLC
from corosync_amf.config.amf_layers import MINIMAL_KEYS
from corosync_amf.config.executive import WITHOUT_EFFECT
from corosync_amf.config.kinds import Choice, Milliseconds, Words
from corosync_amf.config.schema import Option, Table
from corosync_amf.services.amf import model

_Struct = type[msgspec.Struct] | None
_EXECUTIVE: Final[tuple[tuple[str, Table, _Struct], ...]] = (
    ("totem { }", executive.TOTEM, settings.TotemSettings),
    ("totem { interface { } }", executive.INTERFACE, settings.Interface),
    ("totem { interface { member { } } }", executive.MEMBER, None),
    ("nodelist { node { } }", executive.NODE, None),
    ("quorum { }", executive.QUORUM, settings.QuorumSettings),
    ("logging { }", executive.LOGGING, settings.LogSettings),
    ("logging { logger_subsys { } }", executive.LOGGER_SUBSYS, None),
    ("event { }", executive.EVENT, settings.EventSettings),
    ("amf { }", executive.AMF, None),
    ("uidgid { }", executive.UIDGID, None),
    ("persistence { }", executive.PERSISTENCE, None),
)
_AMF: Final[tuple[tuple[str, Table, _Struct], ...]] = (
    ("cluster:", amf.CLUSTER, model.Cluster),
    ("nodes: NAME:", amf.NODE, model.Node),
    ("node_groups: NAME:", amf.NODE_GROUP, None),
    ("applications: NAME:", amf.APPLICATION, model.Application),
    ("service_groups: NAME:", amf.SERVICE_GROUP, model.ServiceGroup),
    ("units: NAME:", amf.SERVICE_UNIT, model.ServiceUnit),
    ("components: NAME:", amf.COMPONENT, model.Component),
    ("cs_types: NAME:", amf.CS_TYPE, None),
    ("healthchecks: NAME:", amf.HEALTHCHECK, None),
    ("checkpoint:", amf.CHECKPOINT, model.CheckpointPolicy),
    ("service_instances: NAME:", amf.SERVICE_INSTANCE, model.ServiceInstance),
    ("depends_on: NAME:", amf.DEPENDENCY, None),
    ("csis: NAME:", amf.CSI, model.ComponentServiceInstance),
)
_DERIVED: Final = {
    ("totem", "transport"): "udpu with a node list or members, else udp",
    ("totem", "nodeid"): "the node list's, else the IPv4 address",
    ("totem", "keyfile"): "/etc/ais/authkey",
    ("totem", "ip_version"): "ipv4 with udp, ipv6-4 with udpu",
    ("totem", "token_retransmit"): "token / (token_retransmits_before_loss_const + 0.2)",
    ("totem", "hold"): "0.8 x token_retransmit - 10",
    ("totem", "consensus"): "1.2 x token",
    ("totem", "netmtu"): "large, segmented by the kernel where it can",
    ("totem", "rrp_problem_count_mcast_threshold"): "10 x rrp_problem_count_threshold",
    ("interface", "ringnumber"): "by position",
    ("interface", "linknumber"): "by position",
    ("interface", "bindnetaddr"): "the node list's address, else that of the default route, else 127.0.0.1",
    ("interface", "mcastaddr"): "made from cluster_name",
    ("node", "nodeid"): "the IPv4 address; required for names and IPv6",
    ("node", "name"): "ring0_addr",
    ("node", "quorum_votes"): "1",
    ("quorum", "provider"): "corosync_votequorum with a node list or expected_votes, else none",
    ("quorum", "expected_votes"): "the sum of the node list's quorum_votes",
    ("quorum", "two_node"): "yes with exactly two votes",
    ("quorum", "wait_for_all"): "yes with two_node",
    ("quorum", "auto_tie_breaker"): "yes with two_node",
    ("logger_subsys", "subsys"): "required",
    ("amf", "mode"): "enabled",
    ("persistence", "directory"): "/var/lib/corosync-amf where that can be written, else nowhere",
    ("node", "ring0_addr"): "required",
    ("node", "clm_node"): "its name",
    ("service_group", "preferred_inservice_sus"): "2 with 2n, else all",
    **{("component", f"{key}_timeout"): "clc_timeout" for key in CLC},
    **{("component", f"{key}_timeout"): "callback_timeout" for key in CALLBACKS},
    **{("logger_subsys", key): "as in logging" for key in executive.LOGGING.options},
    ("cs_type", "capability"): "the component's",
    ("cs_type", "max_active"): "the component's",
    ("cs_type", "max_standby"): "the component's",
    ("cluster", "name"): "cluster",
    ("node_group", "admin_state"): "unlocked",
    ("csi", "type"): "its name",
    ("healthcheck", "period"): "1000",
    ("healthcheck", "max_duration"): "callback_timeout",
    ("service_instance", "protected_by"): "the only service group of the application",
    ("service_unit", "node"): "the service group's nodes",
    ("dependency", "tolerance"): "0",
}
_REMARKS: Final = {
    **{("totem", key): " (no effect here)" for key in WITHOUT_EFFECT},
    ("totem", "rrp_mode"): " (not supported yet)",
    ("totem", "link_mode"): " (not supported yet)",
    ("totem", "heartbeat_failures_allowed"): " (not supported yet)",
    ("node", "ring1_addr"): " (not supported yet)",
    ("quorum", "witness"): " (not supported yet)",
    ("quorum", "last_man_standing"): " (not supported yet)",
    ("service_group", "redundancy_model"): " (supported: 2n)",
    ("component", "category"): " (supported: sa-aware)",
}
_BEGIN: Final = """\
# Configuration: every key

Made from the tables that read the two files (`python -m corosync_amf.config.reference`). `aisexec -t` checks both,
`amf check` the second. Times are milliseconds, or have a unit: `250ms`, `5s`, `2min`. A default of `-` is none.

## corosync.conf

One statement on each line: `name {`, `name: value`, `}`; ` #` begins a comment. The examples are in `etc/ais`."""
_SECOND: Final = """
## amf.conf

YAML; openais' form `safAmfCluster = NAME { ... }` is read, too, with the names of the last column. `types:` has sets of
attributes that an entity refers to with `type:`, `cluster: {defaults: {KIND: {...}}}` what holds for all of a kind. An
application may be given in short: `plugin:` or `command:`, and beside it %s."""


def page() -> str:
    """The whole page."""
    lines = [_BEGIN]
    for title, table, struct in _EXECUTIVE:
        lines += ["", f"### `{title}`", "", "| directive | what it is | value | default |", "|---|---|---|---|"]
        lines += [_row(*cells) for cells in _cells(table, struct, named=False)]
    ignored = ", ".join(f"`{key}`" for keys in executive.IGNORED.values() for key in dict.fromkeys(keys))
    sections = ", ".join(f"`{name}`" for name in executive.IGNORED_SECTIONS)
    lines += [
        "",
        f"Accepted without effect, with a warning: the directives {ignored}, `knet_...`; the sections {sections}.",
    ]
    lines.append(_SECOND % ", ".join(f"`{key}`" for key in MINIMAL_KEYS))
    for title, table, struct in _AMF:
        lines += ["", f"### `{title}`", "", "| attribute | what it is | value | default | openais and SAF |"]
        lines += ["|---|---|---|---|---|", *(_row(*cells) for cells in _cells(table, struct, named=True))]
    return "\n".join(lines) + "\n"


def _cells(table: Table, struct: _Struct, *, named: bool) -> Iterator[tuple[str, ...]]:
    defaults = _defaults(struct) if struct else {}
    for key, option in table.options.items():
        text = option.help + _REMARKS.get((table.name, key), "")
        default = _DERIVED.get((table.name, key)) or _shown(option, defaults.get(option.field))
        yield f"`{key}`", text, option.kind.describe(), default, *([", ".join(option.saf) or "-"] if named else [])


def _defaults(struct: type[msgspec.Struct]) -> Mapping[str, Any]:
    return {field.name: field.default for field in msgspec.structs.fields(struct)}


def _shown(option: Option, value: Any) -> str:
    """A default as a file would give it."""
    kind = option.kind.kind if isinstance(option.kind, Words) else option.kind
    if value is None or value is msgspec.NODEFAULT or value == "" or value == ():
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(kind, Milliseconds):
        return str(round(value * 1000))
    if isinstance(kind, Choice) and isinstance(value, Enum):
        return next((word for word, meaning in kind.words.items() if meaning == value), str(value.value))
    return str(value)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    click.echo(page(), nl=False)
