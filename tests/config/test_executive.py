import pytest
from hypothesis import given
from hypothesis import strategies as st

from corosync_amf.config import ConfigError, ExecutiveConfig, InterfaceAddress, Machine, Severity, parse_executive
from corosync_amf.config.executive_tables import SECTIONS
from corosync_amf.config.settings import Cipher, Hash, Provider, Transport

LAN = Machine(
    host_name="node-b.example",
    addresses=(
        InterfaceAddress("lo", "127.0.0.1", 8),
        InterfaceAddress("eth0", "192.168.5.71", 26),
        InterfaceAddress("eth0", "fd00::7", 64),
    ),
    default_address="192.168.5.71",
    hosts={"node-a": ("192.168.5.70",), "node-b": ("fd00::7", "192.168.5.71"), "node-c": ("192.168.5.72",)},
)
LOOPBACK = Machine()
NODE_B = 192 << 24 | 168 << 16 | 5 << 8 | 71


def config(text: str, machine: Machine = LAN, **environ: str) -> ExecutiveConfig:
    found, problems = parse_executive(text, "corosync.conf", machine, environ)
    assert problems == []
    return found


def said(text: str, machine: Machine = LAN) -> list[str]:
    """What is said about a text: errors, or warnings when there are none."""
    try:
        _, problems = parse_executive(text, "corosync.conf", machine, {})
    except ConfigError as error:
        problems = [problem for problem in error.problems if problem.severity is Severity.ERROR]
        assert problems
    return [f"{p.line}:{p.column} {p.object}: {p.message}" for p in problems]


def section(name: str, *lines: str) -> str:
    return f"{name} {{\n" + "".join(line + "\n" for line in lines) + "}\n"


def nodelist(*nodes: str) -> str:
    return section("nodelist", *(section("node", *(line.strip() for line in node.split(","))) for node in nodes))


THREE = nodelist("ring0_addr: 192.168.5.70", "ring0_addr: 192.168.5.71", "ring0_addr: 192.168.5.72")
TWO = nodelist("ring0_addr: 192.168.5.70", "ring0_addr: 192.168.5.71")


def test_without_a_file_all_defaults_hold():
    found = config("")
    totem = found.totem
    assert (found.node_name, found.node_id) == ("node-b.example", NODE_B)
    assert (totem.transport, totem.secauth, totem.crypto_cipher, totem.crypto_hash) == (
        Transport.UDP,
        True,
        Cipher.AES256,
        Hash.SHA256,
    )
    assert (totem.token, totem.token_retransmit, totem.hold, totem.consensus) == (1.0, 0.238, 0.18, 1.2)
    assert (totem.join, totem.merge, totem.window_size, totem.max_messages) == (0.05, 0.2, 50, 17)
    assert totem.lease == pytest.approx(0.8)
    assert totem.guard == pytest.approx(0.84)
    (ring,) = found.interfaces
    assert (ring.bind_address, ring.mcast_port, ring.ttl) == ("192.168.5.71", 5405, 1)
    assert ring.mcast_address.startswith("239.192.")
    assert (found.quorum.provider, found.quorum.quorum) == (Provider.NONE, 0)
    assert found.amf_enabled is None
    assert found.key_file == "/etc/ais/authkey"
    assert found.node_names == ("node-b.example",)


def test_three_nodes_are_found_and_counted():
    found = config(THREE)
    assert found.totem.transport is Transport.UDPU
    assert [node.node_id for node in found.nodes] == [NODE_B - 1, NODE_B, NODE_B + 1]
    assert (found.node_id, found.node_name) == (NODE_B, "192.168.5.71")
    assert found.interfaces[0].bind_address == "192.168.5.71"
    assert (found.quorum.expected_votes, found.quorum.quorum, found.quorum.two_node) == (3, 2, False)


def test_two_nodes_need_a_tie_breaker_and_get_one():
    quorum = config(TWO).quorum
    assert (quorum.two_node, quorum.wait_for_all, quorum.auto_tie_breaker) == (True, True, True)
    assert (quorum.auto_tie_breaker_node, quorum.quorum) == ("lowest", 2)
    text = TWO + section("quorum", f"auto_tie_breaker_node: {NODE_B} {NODE_B - 1}")
    assert config(text).quorum.auto_tie_breaker_ids == (NODE_B, NODE_B - 1)


def test_token_dependent_times_follow_the_token():
    found = config(THREE + section("totem", "token: 5000", "token_coefficient: 650")).totem
    assert (found.token, found.consensus) == (5.65, 6.78)
    assert (found.token_retransmit, found.hold) == (1.345, 1.066)
    found = config(TWO + section("totem", "token: 5000", "token_coefficient: 650")).totem
    assert found.token == 5.0


def test_the_highest_node_may_break_ties_and_code_points_have_names():
    found = config(TWO + section("quorum", "auto_tie_breaker_node: highest") + section("totem", "ip_dscp: ef"))
    assert (found.quorum.auto_tie_breaker_node, found.quorum.auto_tie_breaker_ids) == ("highest", ())
    assert found.totem.ip_dscp == 46


def test_names_are_resolved_by_the_preferred_family():
    names = nodelist("ring0_addr: node-a, nodeid: 1", "ring0_addr: node-b, nodeid: 2", "ring0_addr: node-c, nodeid: 3")
    assert said(names) == [
        "8:13 nodelist.node[1]: fd00::7 is of another family than 192.168.5.70, the address of the first node"
    ]
    found = config(names + section("totem", "ip_version: ipv4"))
    assert [node.ip_addresses for node in found.nodes] == [("192.168.5.70",), ("192.168.5.71",), ("192.168.5.72",)]
    assert (found.node_name, found.node_id) == ("node-b", 2)
    found = config(nodelist("ring0_addr: node-b, nodeid: 2", "ring0_addr: fd00::9, nodeid: 3"))
    assert [node.ip_addresses for node in found.nodes] == [("fd00::7",), ("fd00::9",)]


@pytest.mark.parametrize(
    ("bindnetaddr", "bound"),
    [
        ("192.168.5.71", "192.168.5.71"),
        ("192.168.5.64", "192.168.5.71"),
        ("127.0.0.0", "127.0.0.1"),
        ("127.0.0.3", "127.0.0.3"),
    ],
)
def test_bindnetaddr_is_an_address_or_a_network_of_this_machine(bindnetaddr, bound):
    assert (
        config(section("totem", section("interface", f"bindnetaddr: {bindnetaddr}"))).interfaces[0].bind_address
        == bound
    )


def test_an_ipv6_ring_is_configured_by_its_address_and_a_nodeid():
    text = section("totem", "nodeid: 7", section("interface", "bindnetaddr: fd00::7", "mcastaddr: ff15::1"))
    found = config(text)
    assert (found.node_id, found.interfaces[0].mcast_address) == (7, "ff15::1")
    assert config(text.replace("mcastaddr: ff15::1", "")).interfaces[0].mcast_address.startswith("ff15::")
    assert said(text.replace("nodeid: 7", "")) == ["1:1 totem: An IPv6 network needs a nodeid"]


def test_clusters_of_different_names_have_different_multicast_addresses():
    first, second = (config(section("totem", f"cluster_name: {name}")) for name in ("one", "two"))
    assert first.interfaces[0].mcast_address != second.interfaces[0].mcast_address


def test_members_of_the_old_form_make_it_unicast():
    member = section("member", "memberaddr: 192.168.5.70")
    found = config(section("totem", section("interface", member, section("member", "memberaddr: node-c"))))
    assert found.totem.transport is Transport.UDPU
    assert found.interfaces[0].members == ("192.168.5.70", "192.168.5.72")


def test_a_node_list_on_one_machine_needs_to_be_told_which_node_this_is():
    nodes = nodelist(*(f"ring0_addr: 127.0.0.{n}, name: node-{n}, nodeid: {n}" for n in (1, 2, 3)))
    assert said(nodes, LOOPBACK) == [
        "2:1 nodelist: several nodes of the list are on this machine: node-1, node-2, node-3"
    ]
    found = config(nodes + section("totem", "nodeid: 2"), LOOPBACK)
    assert (found.node_name, found.node_id, found.interfaces[0].bind_address) == ("node-2", 2, "127.0.0.2")
    named = Machine(host_name="node-3")
    assert config(nodes, named).node_id == 3


def test_logging_subsystems_start_from_the_main_settings():
    text = section(
        "logging",
        "to_syslog: yes",
        "to_file: on",
        "logfile: /tmp/log",
        "logfile_priority: error",
        section("logger_subsys", "subsys: AMF", "debug: trace"),
    )
    found = config(text)
    assert (found.logging.to_syslog, found.logging.to_logfile, found.logging.logfile_priority) == (True, True, "err")
    assert (found.subsystems["AMF"].debug, found.subsystems["AMF"].to_syslog) == ("trace", True)
    assert found.logging.debug == "off"


def test_the_other_sections_are_read():
    text = (
        section("event", "delivery_queue_size: 10", "delivery_queue_resume: 5", "retention_max: 60s")
        + section("amf", "mode: disabled")
        + section("uidgid", "uid: alice")
        + section("uidgid", "gid: staff")
        + section("persistence", "directory: /srv/state")
    )
    found = config(text)
    assert (found.event.delivery_queue_size, found.event.delivery_queue_resume) == (10, 5)
    assert found.event.retention_max == 60.0
    assert found.amf_enabled is False
    assert (found.allowed_users, found.allowed_groups) == (("alice",), ("staff",))
    assert found.persistence_directory == "/srv/state"
    assert config("").persistence_directory is None
    assert config("", Machine(may_persist=True)).persistence_directory == "/var/lib/corosync-amf"


def test_the_key_file_of_the_environment_comes_first():
    text = section("totem", "keyfile: /a/key")
    assert config(text).key_file == "/a/key"
    assert config(text, COROSYNC_TOTEM_AUTHKEY_FILE="/b/key").key_file == "/b/key"


def test_a_key_in_the_file_counts_where_no_key_file_is_named():
    text = section("totem", "key: secret")
    found, _ = parse_executive(text, "corosync.conf", LAN, {})
    assert found.totem.key == "secret"
    found, _ = parse_executive(text, "corosync.conf", LAN, {"COROSYNC_TOTEM_AUTHKEY_FILE": "/b/key"})
    assert (found.totem.key, found.key_file) == (None, "/b/key")


def test_repeated_sections_continue_and_the_last_value_counts():
    text = section("totem", "token: 900", "join: 60") + section("totem", "token: 800")
    found, problems = parse_executive(text, "corosync.conf", LAN, {})
    assert (found.totem.token, found.totem.join) == (0.8, 0.06)
    assert [problem.message for problem in problems] == [
        "'token' is given again (first in line 2); the last one counts"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (section("totem", "version: 1"), "2:10 totem: version: 1 is out of range"),
        (section("totem", "tokn: 5"), "2:1 totem: unknown directive 'tokn'"),
        (section("totem", "Token: 500"), "2:1 totem: unknown directive 'Token'"),
        (section("Totem", "token: 500"), "1:1 : unknown section 'Totem'"),
        ("token: 500\n", "1:1 : directive 'token' stands outside of a section"),
        (section("totem", "transport: iba"), "2:12 totem: transport: 'iba' is not allowed here"),
        (section("totem", "nodeid: 0"), "2:9 totem: nodeid: 0 is out of range"),
        (section("totem", "interface: x"), "2:1 totem: 'interface' is a section"),
        (section("totem", section("iface")), "2:1 totem: unknown section 'iface'"),
        (section("totem", "consensus: 1000"), "2:12 totem: consensus is below 1.2 x token (1200 ms)"),
        (section("totem", "secauth: off"), "2:10 totem: secauth off is refused on a network"),
        (section("totem", "crypto_hash: none"), "2:14 totem: crypto_hash none needs secauth off"),
        (section("totem", "rrp_mode: active"), "2:11 totem: redundant rings are not supported yet"),
        (section("totem", section("interface"), section("interface")), "5:1 totem: redundant rings are not supported"),
        (
            section("totem", section("interface", "ringnumber: 1")),
            "3:13 totem.interface[0]: ring 1 stands where ring",
        ),
        (section("totem", section("interface", "mcastport: 80")), "3:12 totem.interface[0]: mcastport: 80 is out of"),
        (section("totem", section("interface", "bindnetaddr: 10.0.0.0")), "3:14 totem.interface[0]: no interface of"),
        (section("totem", section("interface", "bindnetaddr: here")), "3:14 totem.interface[0]: no interface of this"),
        (section("totem", section("interface", "mcastaddr: 10.0.0.1")), "3:12 totem.interface[0]: '10.0.0.1' is not a"),
        (section("totem", section("interface", "mcastaddr: ff15::1")), "3:12 totem.interface[0]: 'ff15::1' is not of"),
        (
            section("totem", section("interface", "broadcast: yes", "mcastaddr: 239.1.1.1")),
            "3:12 totem.interface[0]: broadcast excludes mcastaddr",
        ),
        (section("totem", section("interface", section("member"))), "3:1 totem.interface[0].member[0]: a member needs"),
        (nodelist("name: x"), "2:1 nodelist.node[0]: a node needs a ring0_addr"),
        (nodelist("ring0_addr: nowhere, nodeid: 1"), "3:13 nodelist.node[0]: 'nowhere' is neither an address nor"),
        (nodelist("ring0_addr: node-a"), "2:1 nodelist.node[0]: a node that is named by host name needs a nodeid"),
        (nodelist("ring0_addr: fd00::7"), "2:1 nodelist.node[0]: An IPv6 network needs a nodeid"),
        (nodelist("ring0_addr: 10.1.1.1"), "2:1 nodelist: this machine (node-b.example) is not in the nodelist"),
        (
            nodelist("ring0_addr: 10.1.1.1, nodeid: 1", "ring0_addr: 192.168.5.71, nodeid: 1"),
            "9:9 nodelist.node[1]: nodeid 1 is that of nodelist.node[0], too",
        ),
        (
            nodelist("ring0_addr: 10.1.1.1, name: x", "ring0_addr: 192.168.5.71, name: x"),
            "9:7 nodelist.node[1]: name x is that of nodelist.node[0], too",
        ),
        (section("quorum", "provider: corosync_votequorum"), "2:11 quorum: votequorum needs a nodelist"),
        (section("quorum", "expected_votes: 3", "two_node: 1"), "3:11 quorum: two_node needs exactly two votes"),
        (section("Qb"), "1:1 : unknown section 'Qb'"),
        (section("totem", "link_mode: passive"), "2:12 totem: redundant rings are not supported yet"),
        (
            section("totem", "token_retransmit: 5000"),
            "2:19 totem: token_retransmit (5000 ms) must be below token (1000",
        ),
        (section("totem", "token_retransmits_before_loss_const: 1000"), "2:38 totem: token_retransmit would be 0 ms"),
        (section("totem", "hold: 238"), "2:7 totem: hold (238 ms) must be below token_retransmit (238 ms)"),
        (section("totem", "join: 1200"), "2:7 totem: join (1200 ms) must be below consensus (1200 ms)"),
        (
            section("quorum", "expected_votes: 1") + section("totem", "consensus: 900"),
            "5:12 totem: consensus is below to",
        ),
        (TWO + section("totem", "consensus: 900"), "12:12 totem: consensus is below 1.2 x token (1200 ms)"),
        (section("totem", "nodeid: 4294967296"), "2:9 totem: nodeid: 4294967296 is out of range"),
        (section("totem", section("interface", "linknumber: 1")), "3:13 totem.interface[0]: ring 1 stands where"),
        (section("logging", "to_file: yes"), "2:10 logging: to_logfile needs a logfile"),
        ("totem { token: 500 }\n", "1:8 totem: what a section contains begins on the next line"),
        (
            nodelist("ring0_addr: 192.168.5.71, name: other", "ring0_addr: 192.168.5.70, name: node-b"),
            "8:13 nodelist.node[1]: this node is node-b by its host name, and has no address 192.168.5.70",
        ),
        (TWO + section("quorum", "auto_tie_breaker_node: 5"), "12:24 quorum: auto_tie_breaker_node 5 is no node"),
        (section("quorum", "auto_tie_breaker_node: ,"), "2:24 quorum: auto_tie_breaker_node: names no node"),
        (section("quorum", "witness: here"), "2:10 quorum: witness: 'here' is not address:port"),
        (section("quorum", "witness: a:1 b:x"), "2:14 quorum: witness: port of 'b:x': 'x' is not a whole number"),
        (section("logging", "to_logfile: yes"), "2:13 logging: to_logfile needs a logfile"),
        (section("logging", section("logger_subsys")), "2:1 logging.logger_subsys[0]: logger_subsys needs a subsys"),
        (section("quorum", "expected_votes: 3", "last_man_standing: 1"), "3:20 quorum: last_man_standing needs wait"),
        (section("event", "delivery_queue_resume: 2000"), "2:24 event: delivery_queue_resume must be below"),
        (section("event", "retention_max: 100001s"), "2:16 event: retention_max: '100001s' is out of range"),
        (section("totem", "ip_dscp: 64"), "2:10 totem: ip_dscp: 64 is out of range"),
    ],
)
def test_what_makes_no_sense_is_refused(text, expected):
    found = said(text)
    assert len(found) == 1, found
    assert found[0].startswith(expected), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (nodelist("ring0_addr: 192.168.5.71") + section("totem", "transport: knet"), "8:12 totem: 'knet' is read as"),
        (section("totem", "transport: udpu"), "2:12 totem: udpu without a nodelist or members: this node finds no"),
        (section("totem", "miss_count_const: 8"), "2:1 totem: 'miss_count_const' has no effect here"),
        (section("totem", "rrp_problem_count_threshold: 5"), "2:1 totem: 'rrp_problem_count_threshold' has no effect"),
        (section("quorum", "expected_votes: 2"), "2:17 quorum: no node breaks a tie without a nodelist"),
        (
            section("quorum", "expected_votes: 3", "wait_for_all: 1", "last_man_standing: 1"),
            "4:20 quorum: last_man_standing is not supported yet",
        ),
        (section("quorum", "expected_votes: 3", "witness: 10.0.0.1:5"), "3:10 quorum: a witness is not supported yet"),
        (nodelist("ring0_addr: 192.168.5.71, ring1_addr: 10.0.0.1"), "4:1 nodelist.node[0]: redundant rings are not"),
        (section("totem", "heartbeat_failures_allowed: 2"), "2:29 totem: heartbeat detection is not supported yet"),
        (section("totem", "crypto_hash: sha1"), "2:14 totem: 'sha1' is read as sha256"),
        (section("totem", "vsftype: ykd"), "2:1 totem: 'vsftype' has no effect here"),
        (section("totem", "knet_pmtud_interval: 5"), "2:1 totem: 'knet_pmtud_interval' has no effect here"),
        (section("totem", "key: secret"), "2:6 totem: the key stands in a file that others may read"),
        (section("totem", "key: secret", "keyfile: /k"), "2:6 totem: 'key' has no effect beside 'keyfile'"),
        (section("totem", "secauth: off", "allow_insecure: yes"), "2:10 totem: secauth off: packets are neither"),
        (section("totem", section("interface", "mcastaddr: 224.0.0.9")), "3:12 totem.interface[0]: '224.0.0.9' is res"),
        (TWO + section("totem", "consensus: 1100"), "12:12 totem: consensus is below 1.2 x token"),
        (section("service", "name: corosync_amf"), "1:1 service: section 'service' has no effect here"),
        (section("robots"), "1:1 : unknown section 'robots'"),
        ("compatibility: whitetank\n", "1:1 : 'compatibility' has no effect here"),
        (section("quorum", section("device")), "2:1 quorum: 'device' has no effect here"),
        (
            section("logging", section("logger_subsys", "subsys: FOO")),
            "3:9 logging.logger_subsys[0]: unknown sub",
        ),
        (TWO + section("quorum", "two_node: 1", "wait_for_all: 0"), "13:15 quorum: two_node implies wait_for_all"),
        (TWO + section("quorum", "two_node_policy: available"), "12:18 quorum: two_node_policy available: both halves"),
    ],
)
def test_what_is_doubtful_is_warned_about(text, expected):
    found = said(text)
    assert len(found) == 1, found
    assert found[0].startswith(expected), found


def test_without_encryption_a_loopback_cluster_runs_with_a_warning():
    assert said(section("totem", "secauth: off"), LOOPBACK) == [
        "2:10 totem: secauth off: packets are neither authenticated nor encrypted"
    ]


def test_both_halves_of_a_pair_go_on_only_when_asked_for():
    text = TWO + section("quorum", "two_node_policy: available")
    found, _ = parse_executive(text, "corosync.conf", LAN, {})
    assert found.quorum.quorum == 1


def test_all_mistakes_of_a_file_are_reported_in_file_order():
    text = (
        "totem {\n\ttokn: 5\n\ttoken: soon\n\tinterface {\n\t\tmcastport: 99\n\t}\n}\n"
        "loging {\n}\nquorum {\n\tprovider: majority\n\twait_for_all: perhaps\n\twhat\n}\n"
    )
    assert said(text) == [
        "2:2 totem: unknown directive 'tokn'",
        "3:9 totem: token: 'soon' is not a time",
        "5:14 totem.interface[0]: mcastport: 99 is out of range",
        "11:12 quorum: provider: 'majority' is not allowed here",
        "12:16 quorum: wait_for_all: 'perhaps' is neither yes nor no",
        "13:6 quorum: after 'what' a ':' or '{' is expected",
    ]


words = st.sampled_from(["yes", "0", "-1", "99999999999999999999", "x", "", "::1", "10.0.0.1", "lowest", '"', "a:b"])
directives = st.sampled_from(sorted({key for table in SECTIONS.values() for key in table.keys} | {"node", "member"}))
lines = st.builds("{}: {}".format, directives, words) | directives.map("{} {{".format) | st.just("}")
opened = st.sampled_from(sorted(SECTIONS)).map("{} {{".format)


@given(st.lists(lines | opened, max_size=25).map("\n".join) | st.text(max_size=50))
def test_no_text_raises_anything_but_config_error(text):
    try:
        found: object = parse_executive(text, "corosync.conf", LAN, {})[0]
    except ConfigError as error:
        found = error
    assert isinstance(found, ExecutiveConfig | ConfigError)


@given(st.sampled_from(sorted(SECTIONS)), st.lists(st.tuples(directives, words), max_size=8))
def test_no_directive_raises_anything_but_config_error(name, pairs):
    inner = [f"{key}: {value}" for key, value in pairs]
    text = (
        section(name, *inner)
        + section("totem", section("interface", *inner))
        + section("nodelist", section("node", *inner))
    )
    try:
        found: object = parse_executive(text, "corosync.conf", LAN, {})[0]
    except ConfigError as error:
        found = error
    assert isinstance(found, ExecutiveConfig | ConfigError)
