"""Quorum and lease: may this partition act, and until when may this node keep its active components? Pure functions.

Quorum is a majority of the expected votes; the exceptions of a two-node cluster stand in `QuorumOptions`. A node's
lease ends a fixed time after a moment at which a quorum is known to have heard it, so that an isolated node stops
before the others, who wait a little longer, go on without it.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from corosync_amf.ais import NodeId

GUARD_PER_LEASE = 1.05
"""The others wait this much longer than the lease: clocks drift."""


@dataclass(frozen=True, slots=True)
class QuorumOptions:
    """How votes are counted.

    `votes` of the listed nodes (1 for a node that is not listed); `expected_votes` 0 means the sum of them. With
    `enabled` False every partition counts as quorate, and there is neither lease nor guard. `lease` is in seconds.
    """

    enabled: bool = False
    votes: Mapping[NodeId, int] = field(default_factory=dict)
    expected_votes: int = 0
    wait_for_all: bool = False
    available: bool = False
    tie_breaker: tuple[NodeId, ...] = ()
    lease: float = 0.8

    @property
    def expected(self) -> int:
        return self.expected_votes or sum(self.votes.values())

    @property
    def guard(self) -> float:
        """Seconds that must pass since a lost node was last heard, before others act in its place."""
        return self.lease * GUARD_PER_LEASE if self.enabled else 0.0


def votes_of(options: QuorumOptions, nodes: Collection[NodeId]) -> int:
    return sum(options.votes.get(node, 1) for node in nodes)


def is_quorate(options: QuorumOptions, members: Collection[NodeId], *, all_seen: bool) -> bool:
    """Whether `members` together may act. `all_seen`: all expected votes were together once (for wait_for_all)."""
    if not options.enabled:
        return True
    votes, expected = votes_of(options, members), options.expected
    if options.wait_for_all and not all_seen and votes < expected:
        return False
    if 2 * votes > expected:
        return True
    if 2 * votes < expected:
        return False
    return options.available or _holds_tie_breaker(options, members)


def _holds_tie_breaker(options: QuorumOptions, members: Collection[NodeId]) -> bool:
    """With exactly half of the votes: the first listed node that could be there decides."""
    return bool(options.tie_breaker) and options.tie_breaker[0] in members


def lease_deadline(
    options: QuorumOptions, local: NodeId, known_heard: Mapping[NodeId, float], kin: Collection[NodeId]
) -> float:
    """The monotonic time until which `local` may keep active components.

    `known_heard` tells for each other node the latest local time at or after which it is known to have heard us; `kin`
    are the nodes that cannot have gone on without us in another membership: only their hearing counts.
    Without quorum in use the lease never ends.
    """
    if not options.enabled:
        return math.inf
    heard = sorted(((at, node) for node, at in known_heard.items() if node in kin and node != local), reverse=True)
    together = [local]
    if is_quorate(options, together, all_seen=True):
        return math.inf
    for at, node in heard:
        together.append(node)
        if is_quorate(options, together, all_seen=True):
            return at + options.lease
    return -math.inf
