"""Nodes that CLM locks or shuts down: what is assigned there moves away, then CLM gets its answer.

A lock of a node in CLM acts as a lock of its SUs, beside the administrative states that AMF has of its own.
"""

from corosync_amf.ais import Admin
from corosync_amf.engine import Forward, NodeCleared, NodeStanding, Service

from . import faults
from .model import Node
from .scope import is_settled
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
    """Tell CLM which nodes are clear now: they hold nothing, and who took their work over has done so."""
    clearing = [node for node in turn.index.nodes.values() if turn.facts.node(node.name).clearing]
    if not clearing:
        return
    holding = {turn.node_of(component) for held in turn.facts.assignments.values() for component in held}
    for node in clearing:
        if node.name not in holding and is_settled(turn.view, node.dn):
            fact = turn.facts.node(node.name)
            turn.effects.append(Forward(Service.CLM, NodeCleared(fact.clearing)))
            fact.clearing = ""
