"""One ring as a node sees it, from its configuration until its membership is installed, and after. Pure.

A new configuration starts a new entry; what belonged to the former ring only is gone with it.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from corosync_amf.ais import NodeId
from corosync_amf.engine import Membership, NodeFacts

from . import sync
from .groups import Configuration
from .payloads import Bundle, Gone, Return, Rung, is_of_client
from .quorum import QuorumOptions, is_quorate, votes_of


@dataclass(frozen=True, slots=True)
class Kept:
    """A payload that was delivered while it could not be applied; `position` counts deliveries of its ring."""

    sender: NodeId
    value: Bundle | Gone | Rung | Return
    payload: bytes
    position: int

    @property
    def is_of_client(self) -> bool:
        """Whether a client stands behind it, and not the executive itself."""
        return is_of_client(self.value)


@dataclass(slots=True)
class Entry:
    """`hello_at` is when this node's hello is due, `guard_until` before when not; `unfenced` are lost nodes that are
    to be fenced before, `fence_at` is when that is tried again. `delivered` counts payloads."""

    configuration: Configuration
    hello_at: float = math.inf
    guard_until: float = 0.0
    unfenced: tuple[NodeFacts, ...] = ()
    fence_at: float = math.inf
    hellos: dict[NodeId, sync.Hello] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    incoming: list[sync.Chunk] = field(default_factory=list)
    outgoing: deque[sync.Chunk] = field(default_factory=deque)
    change: Membership | None = None
    all_seen: bool = False
    quorate_seq: int = 0
    delivered: int = 0
    cut: int = 0
    """Where all members were known to one another, in `delivered`."""
    restoring: tuple[NodeId, ...] = ()

    @property
    def members(self) -> tuple[NodeId, ...]:
        return self.configuration.members

    @property
    def number(self) -> tuple[int, NodeId]:
        """What hellos and chunks of this ring name it by."""
        return self.configuration.ring_id.seq, self.configuration.ring_id.representative

    def is_about(self, value: sync.Hello | sync.Chunk) -> bool:
        return (value.seq, value.representative) == self.number

    def hello(
        self,
        facts: NodeFacts,
        state: sync.StateId | None,
        former: tuple[NodeId, ...],
        *,
        all_seen: bool,
        era: int,
        time: float,
        highest: tuple[tuple[int, int], ...],
    ) -> sync.Hello:
        """What this node says of itself; `former` are the members that it knew last."""
        reasons = tuple((node, self.configuration.reason) for node in former if node not in self.members)
        return sync.Hello(*self.number, facts, state, former, all_seen, era, time, reasons, highest)

    def conclude(self, quorum: QuorumOptions) -> sync.Verdict:
        """All hellos are in: decide whose state stands, and set `change`."""
        verdict = sync.judge(self.hellos)
        self.cut, self.restoring = self.delivered, verdict.restoring
        self.all_seen = verdict.all_seen or votes_of(quorum, self.members) >= quorum.expected
        from_nothing = self.hellos[verdict.sender].state is None
        self.change = Membership(
            members=self.members,
            joined=frozenset(self.members if from_nothing else verdict.restoring),
            left=verdict.left,
            quorate=is_quorate(quorum, self.members, all_seen=self.all_seen),
            nodes={node: self.hellos[node].facts for node in sorted(self.hellos)},
            order=verdict.order + sync.MEMBERSHIP_STEP,
            time=verdict.time,
            reasons={node: why for node, why in verdict.reasons.items() if node in verdict.left},
            ring_seq=self.configuration.ring_id.seq,
            highest=_highest(self.hellos.values()),
        )
        may_act = quorum.enabled and self.change.quorate
        self.quorate_seq = self.configuration.ring_id.seq if may_act else verdict.quorate_seq
        return verdict

    def next_chunks(self, count: int) -> list[sync.Chunk]:
        """At most `count` further parts of the snapshot that this node sends."""
        return [self.outgoing.popleft() for _ in range(min(count, len(self.outgoing)))]


def _highest(hellos: Iterable[sync.Hello]) -> dict[int, int]:
    highest: dict[int, int] = {}
    for hello in hellos:
        for service, number in hello.highest:
            highest[service] = max(number, highest.get(service, 0))
    return highest
