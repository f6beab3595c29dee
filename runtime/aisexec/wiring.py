"""From configuration to the options of each layer. Pure."""

import logging
from pathlib import Path
from zlib import crc32

from corosync_amf.ais import NodeId
from corosync_amf.config.network import node_id_of
from corosync_amf.config.settings import ExecutiveConfig, Interface, Provider, Transport
from corosync_amf.services.amf.model import Cluster
from corosync_amf.services.clm.engine import ClmSettings
from corosync_amf.services.evt.messages import Settings as EvtSettings

from .groups.embedded import EmbeddedOptions
from .quorum import QuorumOptions
from .totem.seal import USUAL, Suite
from .totem.timeouts import Timeouts

HOUR = 3600.0
LOG_DIRECTORY = "log"


def quorum_options(config: ExecutiveConfig) -> QuorumOptions:
    """How votes are counted, and the lease."""
    quorum = config.quorum
    votes = {node.node_id: node.quorum_votes for node in config.nodes}
    ids = tuple(sorted(votes))
    lowest_first = ids if quorum.auto_tie_breaker_node == "lowest" else ids[::-1]
    return QuorumOptions(
        enabled=quorum.provider is not Provider.NONE,
        votes=votes,
        expected_votes=quorum.expected_votes,
        wait_for_all=quorum.wait_for_all,
        available=quorum.two_node and quorum.two_node_policy == "available",
        tie_breaker=(quorum.auto_tie_breaker_ids or lowest_first) if quorum.auto_tie_breaker else (),
        lease=config.totem.lease,
    )


def quorum_warnings(config: ExecutiveConfig, cluster: Cluster) -> list[tuple[int, str]]:
    """What an operator should know about quorum before a node is lost: level and text of log lines."""
    quorum = config.quorum
    if quorum.provider is Provider.NONE and cluster.applications:
        text = "QUORUM: no votes are counted: every part of a split goes on, each with active components of its own"
        return [(logging.WARNING, f"{text}; a nodelist or quorum.expected_votes prevents that")]
    if not quorum.two_node or quorum.two_node_policy == "available":
        return []  # the latter is warned about where it stands
    decisive = quorum_options(config).tie_breaker[:1]
    names = {node.node_id: node.name for node in config.nodes}
    others = [name for node, name in names.items() if node not in decisive]
    if not decisive or len(others) != 1:
        return [(logging.WARNING, "QUORUM: without a tie-breaker the pair survives the loss of neither node")]
    text = f"QUORUM: the pair survives the loss of {others[0]}, not that of {names.get(decisive[0], decisive[0])}"
    return [(logging.INFO, f"{text}; three nodes survive that of any one")]


def clm_settings(config: ExecutiveConfig, cluster: Cluster) -> ClmSettings:
    """What CLM is told of the node list, of quorum, and of what AMF's nodes can be told to do."""
    return ClmSettings(
        node_names=frozenset(config.node_names),
        node_lock_callback_timeout=cluster.node_lock_callback_timeout,
        resettable=frozenset(node.clm_node for node in cluster.nodes if node.failfast_command is not None),
        quorum_votes=config.quorum.quorum,
        votes={node.name: node.quorum_votes for node in config.nodes},
    )


def evt_settings(config: ExecutiveConfig) -> EvtSettings:
    """What this node's sessions with EVT keep to."""
    event = config.event
    return EvtSettings(event.delivery_queue_size, event.delivery_queue_resume, event.retention_max)


def embedded_options(
    config: ExecutiveConfig, key: bytes | None, wall_time: float, chance: float = 0.0
) -> EmbeddedOptions:
    """How this node takes part in the ring; `wall_time` names its incarnation, `chance` is drawn from 0..1."""
    totem, interface = config.totem, config.interfaces[0]
    multicast = totem.transport is Transport.UDP
    return EmbeddedOptions(
        node_id=config.node_id,
        incarnation=int(wall_time * 1e6),
        address=interface.bind_address,
        port=interface.mcast_port - 1 if multicast else interface.mcast_port,
        peers={} if multicast else _peers(config, interface),
        multicast=(interface.mcast_address, interface.mcast_port) if multicast else None,
        ttl=interface.ttl,
        netmtu=totem.mtu_bytes,
        dscp=totem.ip_dscp,
        key=key,
        suite=Suite(totem.crypto_cipher.value, totem.crypto_hash.value) if key is not None else USUAL,
        cluster_name=totem.cluster_name,
        timeouts=Timeouts(
            token=totem.token,
            token_retransmit=totem.token_retransmit,
            hold=totem.hold,
            join=totem.join,
            consensus=totem.consensus,
            merge=totem.merge,
            token_warning=totem.token * totem.token_warning / 100,
        ),
        downcheck=totem.downcheck,
        block_unlisted=totem.block_unlisted_ips,
        ring={
            "ring_seq": int(wall_time),
            "window_packets": totem.window_size,
            "visit_packets": totem.max_messages,
            "idle_visits": totem.seqno_unchanged_const,
            "fail_receive_visits": totem.fail_recv_const,
            "join_jitter": totem.send_join * chance,
        },
    )


def log_directory(config: ExecutiveConfig, socket_path: Path) -> Path:
    """Below which directory the files of log streams are: that of persistent state, else beside the socket."""
    directory = config.persistence_directory
    return (socket_path.parent if directory is None else Path(directory)) / LOG_DIRECTORY


def _peers(config: ExecutiveConfig, interface: Interface) -> dict[NodeId, tuple[str, int]]:
    """The other nodes. `member` sections do not say which node id is where: it is guessed, and the first packet of a
    node that has another one tells."""
    port = interface.mcast_port
    if config.nodes:
        return {node.node_id: (node.ip_addresses[0], port) for node in config.nodes}
    clear = config.totem.clear_node_high_bit
    others = [address for address in interface.members if address != interface.bind_address]
    return {node_id_of(address, clear) or crc32(address.encode()): (address, port) for address in others}


def era(stored: int, wall_time: float) -> int:
    """The least era that a cluster starting from nothing may use: order numbers never come back."""
    return max(stored + 1, int(wall_time / HOUR))
