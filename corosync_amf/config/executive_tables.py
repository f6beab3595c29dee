"""The directives of corosync.conf, one table for each section. Defaults are those of the settings' classes.

Source: corosync.conf(5), votequorum(5).
"""

from typing import Any, Final

from corosync_amf.config.kinds import Argv, Bad, Choice, Flag, Free, Integer, Milliseconds, Word, listed, text_of
from corosync_amf.config.schema import Option, Table
from corosync_amf.config.settings import Cipher, Hash, Provider, RedundantRing, Transport
from corosync_amf.config.tree import Value

TIME: Final = Milliseconds(0)
PERIOD: Final = Milliseconds(1)
RETENTION_MAX_MS: Final = 100_000_000
"""No replica retains an event for longer."""
PRIORITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
SUBSYSTEMS: Final = (
    *("TOTEM", "SYNC", "QUORUM", "CLM", "CKPT", "EVT", "MSG", "LCK"),
    *("AMF", "EVS", "CPG", "NTF", "LOG", "IPC", "CONFIG"),
)
_PORT: Final = Integer(1, 65535)
_CODE_POINTS: Final = {
    **{f"cs{n}": 8 * n for n in range(8)},
    **{f"af{n}{m}": 8 * n + 2 * m for n in range(1, 5) for m in range(1, 4)},
    "ef": 46,
}


class CodePoint:
    """An IP differentiated services code point: 0..63 or its name."""

    def read(self, value: Value) -> int:
        text = text_of(value, "a code point").lower()
        return _CODE_POINTS[text] if text in _CODE_POINTS else Integer(0, 63).read(value)

    def describe(self) -> str:
        return "0..63, or cs0..cs7, af11..af43, ef"


class TieBreaker:
    """`lowest`, `highest` or node ids in order."""

    def read(self, value: Value) -> str | tuple[int, ...]:
        text = text_of(value, "lowest, highest or node ids")
        if text in ("lowest", "highest"):
            return text
        ids = tuple(Integer(1).read(word) for word in listed(value))
        if not ids:
            raise Bad("names no node", "allowed: lowest, highest, or node ids")
        return ids

    def describe(self) -> str:
        return "lowest, highest, or node ids"


class Endpoints:
    """`address:port` words."""

    def read(self, value: Value) -> tuple[tuple[str, int], ...]:
        found: list[tuple[str, int]] = []
        for word in listed(value):
            host, colon, port = word.value.rpartition(":")
            if not colon or not host:
                raise Bad(f"'{word.value}' is not address:port", at=word)
            try:
                number = _PORT.read(type(word)(port))
            except Bad as bad:
                raise Bad(f"port of '{word.value}': {bad.message}", bad.hint, word) from None
            found.append((host.strip("[]"), number))
        return tuple(found)

    def describe(self) -> str:
        return "address:port, several separated by blanks"


def _choice(*words: str, **hidden: Any) -> Choice:
    return Choice({word: word for word in words}, hidden)


_PRIORITY: Final = _choice(*PRIORITIES, error="err")
_RINGS: Final = Choice({mode.value: mode for mode in RedundantRing}, {"rr": RedundantRing.PASSIVE})

TOTEM: Final = Table(
    "totem",
    [
        Option("version", Integer(2, 2), "protocol version of the file"),
        Option("cluster_name", Word(255), "nodes of another name cannot join"),
        Option(
            "transport",
            Choice({"udpu": Transport.UDPU, "udp": Transport.UDP}, {"knet": Transport.UDPU}),
            "unicast or multicast",
        ),
        Option("nodeid", Integer(1), "this node's number", field_name="node_id"),
        Option("clear_node_high_bit", Flag(), "clears bit 31 of an automatic nodeid"),
        Option("secauth", Flag(), "authenticate and encrypt all packets"),
        Option("allow_insecure", Flag(), "allow secauth off beyond loopback"),
        Option("crypto_cipher", Choice({c.value: c for c in Cipher}, {"aes192": Cipher.AES256}), "cipher"),
        Option(
            "crypto_hash",
            Choice({h.value: h for h in Hash}, {"md5": Hash.SHA256, "sha1": Hash.SHA256}),
            "hash of the key derivation",
        ),
        Option("keyfile", Word(), "file with the key", field_name="key_file"),
        Option("key", Word(), "the key itself"),
        Option("rrp_mode", _RINGS, "redundant rings"),
        Option("link_mode", _RINGS, "another name of rrp_mode"),
        Option("netmtu", Integer(576, 65507), "largest datagram", field_name="mtu_bytes"),
        Option("ip_version", _choice("ipv4", "ipv6", "ipv4-6", "ipv6-4"), "how names are resolved"),
        Option("ip_dscp", CodePoint(), "differentiated services code point"),
        Option("token", Milliseconds(50), "token loss timeout"),
        Option("token_coefficient", TIME, "added to token for each node beyond two"),
        Option("token_warning", Integer(0, 100), "warn at this share of token; 0 off"),
        Option("token_retransmits_before_loss_const", Integer(1, 1000), "token retransmits before it is lost"),
        Option("token_retransmit", Milliseconds(10), "time between them"),
        Option("hold", PERIOD, "idle hold by the representative"),
        Option("join", PERIOD, "time between join messages"),
        Option("send_join", TIME, "random wait before one"),
        Option("consensus", PERIOD, "longest wait for agreement"),
        Option("merge", PERIOD, "time between probes for other partitions"),
        Option("downcheck", PERIOD, "time between checks of an interface that is down"),
        Option("fail_recv_const", Integer(1), "rotations without progress before regathering"),
        Option("seqno_unchanged_const", Integer(1), "idle rotations before hold"),
        Option("heartbeat_failures_allowed", Integer(0), "heartbeats that may fail; 0 off"),
        Option("max_network_delay", PERIOD, "longest delay of a packet"),
        Option("window_size", Integer(1), "messages per rotation"),
        Option("max_messages", Integer(1), "messages per visit of the token"),
        Option("miss_count_const", Integer(1), "token visits before a miss is asked for again"),
        Option("rrp_problem_count_timeout", PERIOD, "time that takes one problem back"),
        Option("rrp_problem_count_threshold", Integer(2), "problems that make a ring faulty"),
        Option("rrp_problem_count_mcast_threshold", Integer(2), "the same for multicast"),
        Option("rrp_token_expired_timeout", PERIOD, "wait for the token on the other ring"),
        Option("rrp_autorecovery_check_timeout", PERIOD, "time between checks of a faulty ring"),
        Option("block_unlisted_ips", Flag(), "drop packets of addresses that are not listed"),
        Option("lease", Integer(50, 90), "lease as a share of token", field_name="lease_percent"),
    ],
    children=["interface"],
)
INTERFACE: Final = Table(
    "interface",
    [
        Option("ringnumber", Integer(0, 1), "the ring, from 0", field_name="ring"),
        Option("linknumber", Integer(0, 1), "another name of ringnumber", field_name="ring"),
        Option("bindnetaddr", Word(255), "address or IPv4 network of this machine", field_name="bind_address"),
        Option("mcastaddr", Word(255), "multicast address", field_name="mcast_address"),
        Option("mcastport", Integer(1024, 65535), "port; the one below is used, too", field_name="mcast_port"),
        Option("broadcast", Flag(), "IPv4 broadcast instead of multicast"),
        Option("ttl", Integer(0, 255), "hops of a multicast packet"),
    ],
    children=["member"],
)
MEMBER: Final = Table("member", [Option("memberaddr", Word(255), "address of a member")])
NODE: Final = Table(
    "node",
    [
        Option("ring0_addr", Word(255), "address or name on ring 0"),
        Option("ring1_addr", Word(255), "address or name on ring 1"),
        Option("nodeid", Integer(1), "the node's number", field_name="node_id"),
        Option("name", Word(255), "the node's name"),
        Option("quorum_votes", Integer(0, 65535), "votes"),
    ],
)
NODELIST: Final = Table("nodelist", [], children=["node"])
QUORUM: Final = Table(
    "quorum",
    [
        Option("provider", Choice({p.value: p for p in Provider}), "none: every partition is quorate"),
        Option("expected_votes", Integer(1, 65535), "votes of all nodes"),
        Option("two_node", Flag(), "two nodes with one vote each"),
        Option("two_node_policy", _choice("safe", "available"), "available: both halves go on"),
        Option("wait_for_all", Flag(), "first quorum only after all nodes were seen together"),
        Option("auto_tie_breaker", Flag(), "half of the votes with a certain node is a quorum"),
        Option("auto_tie_breaker_node", TieBreaker(), "that node"),
        Option("witness", Endpoints(), "witnesses that decide a tie"),
        Option("last_man_standing", Flag(), "recompute expected_votes"),
        Option("last_man_standing_window", PERIOD, "after that time"),
        Option("fence", Argv(), "command that makes sure a node is off"),
        Option("fence_timeout", PERIOD, "longest run of it"),
        Option("fence_required", Flag(), "never act for a lost node unless it succeeded"),
    ],
)
_LOG: Final = [
    Option("to_stderr", Flag(), "log to standard error"),
    Option("to_logfile", Flag(), "log to a file"),
    Option("to_file", Flag(), "old name of to_logfile", field_name="to_logfile"),
    Option("to_syslog", Flag(), "log to syslog"),
    Option("logfile", Word(), "that file"),
    Option("logfile_priority", _PRIORITY, "least priority in it"),
    Option("syslog_facility", _choice("daemon", *(f"local{n}" for n in range(8))), "facility"),
    Option("syslog_priority", _PRIORITY, "least priority in syslog"),
    Option("debug", Choice({"off": "off", "on": "on", "trace": "trace"}, {"no": "off", "yes": "on"}), "more lines"),
    Option("timestamp", Choice({"hires": "hires", "on": "on", "off": "off"}, {"no": "off", "yes": "on"}), "times"),
    Option("fileline", Flag(), "file and line of the source"),
    Option("function_name", Flag(), "function of the source"),
    Option("format", _choice("text", "logfmt", "json"), "form of a line"),
]
LOGGING: Final = Table("logging", _LOG, children=["logger_subsys"])
LOGGER_SUBSYS: Final = Table("logger_subsys", [Option("subsys", Word(32), "the subsystem"), *_LOG])
EVENT: Final = Table(
    "event",
    [
        Option("delivery_queue_size", Integer(1, 10**6), "events kept for a subscriber that does not say how many"),
        Option("delivery_queue_resume", Integer(0, 10**6), "events left when it gets new ones again"),
        Option("retention_max", Milliseconds(0, RETENTION_MAX_MS), "longest retention of an event"),
    ],
)
AMF: Final = Table("amf", [Option("mode", Choice({"enabled": True, "disabled": False}), "run AMF")])
UIDGID: Final = Table(
    "uidgid", [Option("uid", Word(255), "a user's name or number"), Option("gid", Word(255), "a group's")]
)
PERSISTENCE: Final = Table("persistence", [Option("directory", Free(), "where state is kept; empty: nowhere")])

SECTIONS: Final = {table.name: table for table in (TOTEM, NODELIST, QUORUM, LOGGING, EVENT, AMF, UIDGID, PERSISTENCE)}
"""The sections of the top level."""
NESTED: Final = {table.name: table for table in (INTERFACE, MEMBER, NODE, LOGGER_SUBSYS)}
"""Sections inside others; each repetition is one more."""
IGNORED_SECTIONS: Final = ("aisexec", "service", "qb", "resources", "system", "nozzle", "cmap")
IGNORED: Final = {
    "totem": (
        *("vsftype", "threads", "cancel_token_hold_on_retransmit"),
        *("crypto_type", "crypto_model", "crypto_compat", "crypto_accept"),
    ),
    "logging": ("tags", "blackbox"),
    "logger_subsys": ("tags", "blackbox"),
    "quorum": ("allow_downscale", "expected_votes_tracking", "device"),
}
"""Directives and sections that are accepted and have no effect; with `knet_...` in totem and interface."""
