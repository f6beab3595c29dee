"""How long ago a quorum is known to have heard this node: the basis of its lease."""

from collections.abc import Mapping

from corosync_amf.ais import NodeId


def contact(
    known_heard: Mapping[NodeId, float], votes: Mapping[NodeId, int], needed: int, local: NodeId, now: float
) -> float | None:
    """The latest time at or after which nodes with at least `needed` votes are known to have heard `local`.

    `known_heard` is the ring's; `local` counts as heard `now`. None when too few were ever known to hear it. The
    lease ends a lease timeout after the time returned.
    """
    gathered = votes.get(local, 0)
    if gathered >= needed:
        return now
    times = sorted(((time, node) for node, time in known_heard.items() if node != local), reverse=True)
    for time, node in times:
        gathered += votes.get(node, 0)
        if gathered >= needed:
            return time
    return None
