"""What corosync.conf says, typed and complete. Times are seconds, sizes bytes; derived values are filled in."""

from enum import Enum
from typing import Final

import msgspec

LEASE_DRIFT: Final = 1.05
"""A guard outlasts a lease by this factor, so that clocks may differ."""


class Transport(Enum):
    UDP = "udp"
    UDPU = "udpu"


class Cipher(Enum):
    AES256 = "aes256"
    AES128 = "aes128"
    CHACHA20 = "chacha20"
    NONE = "none"


class Hash(Enum):
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"
    NONE = "none"


class RedundantRing(Enum):
    NONE = "none"
    ACTIVE = "active"
    PASSIVE = "passive"


class Provider(Enum):
    VOTEQUORUM = "corosync_votequorum"
    NONE = "none"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all sections."""


class TotemSettings(Settings, frozen=True, kw_only=True):
    """The ring. `key_file` None: the authkey of the environment; `key`: the text that takes the place of a key file,
    None where there is one; `mtu_bytes` None: automatic.

    Source: corosync.conf(5), section totem.
    """

    version: int = 2
    cluster_name: str = ""
    transport: Transport = Transport.UDP
    node_id: int = 0
    clear_node_high_bit: bool = False
    secauth: bool = True
    allow_insecure: bool = False
    crypto_cipher: Cipher = Cipher.AES256
    crypto_hash: Hash = Hash.SHA256
    key_file: str | None = None
    key: str | None = None
    rrp_mode: RedundantRing = RedundantRing.NONE
    mtu_bytes: int | None = None
    ip_version: str = "ipv4"
    ip_dscp: int = 0
    token: float = 1.0
    token_coefficient: float = 0.0
    token_warning: int = 75
    token_retransmits_before_loss_const: int = 4
    token_retransmit: float = 0.238
    hold: float = 0.18
    join: float = 0.05
    send_join: float = 0.0
    consensus: float = 1.2
    merge: float = 0.2
    downcheck: float = 1.0
    fail_recv_const: int = 2500
    seqno_unchanged_const: int = 3
    heartbeat_failures_allowed: int = 0
    max_network_delay: float = 0.05
    window_size: int = 50
    max_messages: int = 17
    miss_count_const: int = 5
    rrp_problem_count_timeout: float = 2.0
    rrp_problem_count_threshold: int = 10
    rrp_problem_count_mcast_threshold: int = 100
    rrp_token_expired_timeout: float = 0.047
    rrp_autorecovery_check_timeout: float = 1.0
    block_unlisted_ips: bool = True
    lease_percent: int = 80

    @property
    def lease(self) -> float:
        """How long a node may keep active components after a quorum is known to have heard it."""
        return self.token * self.lease_percent / 100

    @property
    def guard(self) -> float:
        """How long the others wait before they promote for a node they lost."""
        return self.lease * LEASE_DRIFT


class Interface(Settings, frozen=True, kw_only=True):
    """One ring's network. `bind_address` is an address of this machine; uses `mcast_port` and the port below it."""

    ring: int = 0
    bind_address: str = ""
    mcast_address: str = ""
    mcast_port: int = 5405
    broadcast: bool = False
    ttl: int = 1
    members: tuple[str, ...] = ()


class NodeEntry(Settings, frozen=True, kw_only=True):
    """A member of the nodelist. `addresses` are as configured, one for each ring; `ip_addresses` resolved."""

    node_id: int
    name: str
    addresses: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    quorum_votes: int = 1


class QuorumSettings(Settings, frozen=True, kw_only=True):
    """Who may go on. `auto_tie_breaker_node` is "lowest", "highest", or empty when `..._ids` lists node ids."""

    provider: Provider = Provider.NONE
    expected_votes: int = 0
    two_node: bool = False
    two_node_policy: str = "safe"
    wait_for_all: bool = False
    auto_tie_breaker: bool = False
    auto_tie_breaker_node: str = "lowest"
    auto_tie_breaker_ids: tuple[int, ...] = ()
    witness: tuple[tuple[str, int], ...] = ()
    last_man_standing: bool = False
    last_man_standing_window: float = 10.0
    fence: tuple[str, ...] | None = None
    fence_timeout: float = 5.0
    fence_required: bool = False

    @property
    def quorum(self) -> int:
        """The votes that a partition needs; 0 with provider `none`."""
        if self.provider is Provider.NONE:
            return 0
        if self.two_node and self.two_node_policy == "available":
            return 1
        return self.expected_votes // 2 + 1


class LogSettings(Settings, frozen=True, kw_only=True):
    """Where log lines go and which. Priorities are syslog's words."""

    to_stderr: bool = True
    to_logfile: bool = False
    to_syslog: bool = False
    logfile: str | None = None
    logfile_priority: str = "info"
    syslog_facility: str = "daemon"
    syslog_priority: str = "info"
    debug: str = "off"
    timestamp: str = "hires"
    fileline: bool = False
    function_name: bool = False
    format: str = "text"


class EventSettings(Settings, frozen=True, kw_only=True):
    delivery_queue_size: int = 1000
    delivery_queue_resume: int = 500
    retention_max: float = 100_000.0


class ExecutiveConfig(Settings, frozen=True, kw_only=True):
    """All that the executive reads from corosync.conf and the environment.

    `node_name` and `node_id` are this node's; `nodes` is the nodelist, empty without one. `subsystems` holds the
    log settings of those that have their own. `amf_enabled` None: as the presence of amf.conf says.
    """

    file: str
    node_name: str
    node_id: int
    totem: TotemSettings
    interfaces: tuple[Interface, ...]
    nodes: tuple[NodeEntry, ...] = ()
    quorum: QuorumSettings = QuorumSettings()
    logging: LogSettings = LogSettings()
    subsystems: dict[str, LogSettings] = {}
    event: EventSettings = EventSettings()
    amf_enabled: bool | None = None
    allowed_users: tuple[str, ...] = ()
    allowed_groups: tuple[str, ...] = ()
    persistence_directory: str | None = None
    key_file: str = "/etc/ais/authkey"

    @property
    def node_names(self) -> tuple[str, ...]:
        """The members that are known beforehand: the nodelist's, else this node."""
        return tuple(node.name for node in self.nodes) or (self.node_name,)
