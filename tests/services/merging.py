"""Partitions of replicas, and what happens when they meet again."""

from collections.abc import Iterable

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, Origin
from corosync_amf.wire import decode, encode

from .harness import Replicas


def split(replicas: Replicas, nodes: Iterable[NodeId], *, quorate: bool = False) -> Replicas:
    """Cut `nodes` off: returned is their part, which has all that happened until now."""
    cut = sorted(nodes)
    other = Replicas(replicas.make, members=tuple(cut), now=replicas.now, is_persistent=replicas.is_persistent)
    other.commands.clear()
    state = encode(replicas.engines[cut[0]].snapshot())
    for engine in other.engines.values():
        engine.restore(decode(state, engine.snapshot_type))
    other.order, other.alarms, other.events, other.lines = replicas.order, dict(replicas.alarms), [], []
    other.answers = {origin: answer for origin, answer in replicas.answers.items() if origin.client.node in cut}
    other.holds_multicasts = replicas.holds_multicasts
    other.held.clear()
    other.members = replicas.members  # those that are cut off leave it now
    other.change(left=set(replicas.members) - set(cut), quorate=quorate)
    replicas.change(left=cut)
    return other


def meet(standing: Replicas, other: Replicas, *, quorate: bool = True) -> None:
    """`other` gives way: its nodes take over the standing state and bring their remnants along."""
    remnants = {node: engine.remnant(node) for node, engine in sorted(other.engines.items())}
    standing.change(joined=other.members, quorate=quorate)
    standing.answers |= other.answers
    for node, remnant in remnants.items():
        if remnant is None:
            continue
        standing.order += 1
        origin = Origin(Client(node, 0), 0, standing.order, standing.now)
        data = encode(remnant)
        effects = [
            (each, engine.merge(decode(data, engine.remnant_type), origin))
            for each, engine in sorted(standing.engines.items())
        ]
        standing._all(effects)
        standing.deliver_held()
