"""State transfer after a membership change: whose state stands, who must take it over, and how it travels. Pure.

Every member of a new ring says in a `Hello` what its state is. When all hellos are in - at the same place of the
order on every member, the *cut* - all compute the same `Verdict`: the nodes with the standing state go on at once;
the others (fresh nodes, nodes of a partition that gave way) keep what is delivered from then on, restore the snapshot
that the lowest node of the standing ones cut off at that very place, and then catch up. Nobody who works stops
working because somebody joins.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import NodeFacts

CHUNK_BYTES: Final = 48_000
CHUNKS_IN_FLIGHT_MAX: Final = 64
ERA_SHIFT: Final = 44
MEMBERSHIP_STEP: Final = 1 << 26
"""So far beyond the last place of the standing state is that of a new membership. A lost node may have applied, and
have told its clients of, requests that nobody else ever got, but not so many (a ring's window does not hold them):
whatever is decided from here on has a greater order number than what that node decided, as fencing tokens must."""


class StateId(msgspec.Struct, frozen=True, order=True, array_like=True, forbid_unknown_fields=True):
    """Names one state: equal ids mean equal replicas.

    A state is what came of the membership installed in the ring `seq`, up to the place `order`, among the nodes that
    left that ring together (`former`): virtual synchrony gave them the same messages. `quorate_seq` is the last
    quorate ring that it saw: what a quorum has acknowledged since is not in states with a lower one.
    """

    quorate_seq: int
    quorate: bool
    seq: int
    representative: NodeId
    former: tuple[NodeId, ...]
    order: int


class Hello(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="hello"):
    """What a member of the new ring (`seq`, `representative`) says of itself.

    `state` is None on a node that has none yet. `members` and `all_seen` are those of its last installed membership.
    `highest`: (service, the highest number that its engine has given).
    """

    seq: int
    representative: NodeId
    facts: NodeFacts
    state: StateId | None
    members: tuple[NodeId, ...]
    all_seen: bool
    era: int
    time: float
    reasons: tuple[tuple[NodeId, str], ...] = ()
    highest: tuple[tuple[int, int], ...] = ()


class Chunk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="chunk"):
    """A part of the snapshot that was cut off in the ring (`seq`, `representative`)."""

    seq: int
    representative: NodeId
    index: int
    last: bool
    data: bytes


class PendingAlarm(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A replicated timer in a snapshot; `remaining` seconds as its sender saw them."""

    service: int
    key: str
    generation: int
    remaining: float
    message: bytes


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """One node's replicated state: each engine's snapshot, the replicated timers, and who is on the way back."""

    order: int
    engines: list[tuple[int, bytes]]
    alarms: list[PendingAlarm]
    awaited: list[tuple[NodeId, int, int]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all members of the new ring conclude from the same hellos.

    `standing` are the nodes whose state stands (ascending), empty when nobody has one: then all start from nothing at
    `order`. `restoring` are those that take it over. `left` counts from the last membership of the standing state.
    """

    standing: tuple[NodeId, ...]
    restoring: tuple[NodeId, ...]
    left: frozenset[NodeId]
    order: int
    time: float
    all_seen: bool
    quorate_seq: int
    reasons: Mapping[NodeId, str]

    @property
    def sender(self) -> NodeId:
        """Who sends the snapshot."""
        return self.standing[0]


def judge(hellos: Mapping[NodeId, Hello]) -> Verdict:
    """Decide whose state stands: that of the latest quorum, then of more nodes, then of lower ids."""
    stamp = hellos[min(hellos)]
    reasons = {node: why for node in sorted(hellos) for node, why in hellos[node].reasons}
    groups: dict[StateId, list[NodeId]] = {}
    for node in sorted(hellos):
        state = hellos[node].state
        if state is not None:
            groups.setdefault(state, []).append(node)
    if not groups:
        era = max(hello.era for hello in hellos.values())
        everyone = tuple(sorted(hellos))
        return Verdict(everyone, (), frozenset(), era << ERA_SHIFT, stamp.time, False, 0, reasons)
    best = max(groups, key=lambda state: _standing(state, groups[state]))
    standing = tuple(groups[best])
    restoring = tuple(node for node in sorted(hellos) if node not in standing)
    former = hellos[standing[0]]
    left = frozenset(former.members) - frozenset(standing)
    return Verdict(standing, restoring, left, best.order, stamp.time, former.all_seen, best.quorate_seq, reasons)


def _standing(state: StateId, nodes: list[NodeId]) -> tuple[int, bool, int, int, int, int]:
    return (state.quorate_seq, state.quorate, len(nodes), state.seq, state.order, -nodes[0])


def chunks(ring: tuple[int, NodeId], snapshot: bytes) -> list[Chunk]:
    """Cut an encoded snapshot into parts for the ring."""
    starts = range(0, max(len(snapshot), 1), CHUNK_BYTES)
    return [
        Chunk(*ring, index, start + CHUNK_BYTES >= len(snapshot), snapshot[start : start + CHUNK_BYTES])
        for index, start in enumerate(starts)
    ]


def joined(parts: Iterable[Chunk]) -> bytes:
    """The snapshot that consecutive chunks make."""
    return b"".join(part.data for part in parts)
