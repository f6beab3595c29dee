"""Nodes that CLM locks or shuts down: what is assigned there moves away, then CLM gets its answer.

A lock of a node in CLM acts as a lock of its SUs, beside the administrative states that AMF has of its own.
"""

from corosync_amf.ais import Admin
from corosync_amf.engine import Forward, NodeCleared, NodeStanding, Service

from . import faults
from .model import Node
from .turn import Turn


def is_meant(node: Node, name: str, node_id: int, address: str) -> bool:
    """Whether a cluster member is the AMF node: its name, its node id or its address is the configured one."""
    return node.clm_node in (name, str(node_id), address)


def stands(turn: Turn, message: NodeStanding) -> None:
    """CLM tells how a node stands."""
    node = next(
        (
            each
            for each in turn.index.nodes.values()
            if is_meant(each, message.name, message.node_id, message.address or message.name)
        ),
        None,
    )
    if node is None:
        if message.node_id and message.state is not Admin.UNLOCKED:
            turn.effects.append(Forward(Service.CLM, NodeCleared(message.name)))
        return
    fact = turn.facts.node(node.name)
    fact.clearing = message.name if message.node_id and message.state is not Admin.UNLOCKED else ""
    if fact.clm is message.state:
        return
    turn.say(node.dn, f"CLM: {fact.clm.name} -> {message.state.name}")
    fact.clm, turn.changed = message.state, True
    if message.state is not Admin.UNLOCKED:
        units = [su for su, host in turn.view.host.items() if host == node.name]
        faults.note_failovers(turn, units, f"node {node.name} {message.state.name} in CLM", None)


def answer(turn: Turn) -> None:
    """Tell CLM which nodes are clear now."""
    waiting = [fact for fact in turn.facts.nodes.values() if fact.clearing]
    if not waiting:
        return
    holding = {turn.node_of(component) for held in turn.facts.assignments.values() for component in held}
    for name, fact in turn.facts.nodes.items():
        if fact.clearing and name not in holding:
            turn.effects.append(Forward(Service.CLM, NodeCleared(fact.clearing)))
            fact.clearing = ""
