"""What others say of nodes: CLM locks one or shuts it down, or a lost one could not be fenced.

What is assigned on a node that CLM locks moves away, then CLM gets its answer.

A lock of a node in CLM acts as a lock of its SUs, beside the administrative states that AMF has of its own.
"""

from corosync_amf.ais import Admin
from corosync_amf.engine import Forward, NodeCleared, NodeStanding, Service

from . import faults
from .messages import FencingFailed
from .model import Node
from .scope import is_settled
from .turn import FENCING_FAILED_ALARM, Turn


def is_meant(node: Node, name: str, node_id: int, address: str) -> bool:
    """Whether a cluster member is the AMF node: its name, its node id or its address is the configured one."""
    return node.clm_node in (name, str(node_id), address)


def _meant(turn: Turn, message: NodeStanding | FencingFailed) -> Node | None:
    name, address = message.name, message.address or message.name
    return next((node for node in turn.index.nodes.values() if is_meant(node, name, message.node_id, address)), None)


def fencing_failed(turn: Turn, message: FencingFailed) -> None:
    """A lost node may still be on: people have to look at it, whether or not others act in its place."""
    node = _meant(turn, message)
    if node is not None and turn.facts.node(node.name).node_id is None:
        cause = f"could not be fenced ({message.detail or 'no reason given'})"
        turn.raise_alarm(FENCING_FAILED_ALARM, node.dn, cause, "make sure that it is off, and mend the fence command")


def stands(turn: Turn, message: NodeStanding) -> None:
    """CLM tells how a node stands."""
    node = _meant(turn, message)
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
