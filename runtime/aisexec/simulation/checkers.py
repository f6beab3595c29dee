"""What must hold of everything that the members of a cluster were handed, whatever the network did.

`History` is one life of one node: what came up, in order. `check` compares all histories and gives the violations in
words; an empty list is a pass.

    configurations   begin with a regular one, rings only grow, a transitional one leads to the next regular one
    no duplicates    a payload is delivered once
    total order      any two nodes deliver what both deliver in the same order
    same ring        what two nodes deliver in the same configuration has the same origin and place
    virtual synchrony    nodes that go together from one configuration to the next delivered the same
    self delivery    a node delivers what it sent, if it lives on
    safe delivery    what a member was told to be safe, no other member of that configuration misses

Source: Extended virtual synchrony (Moser, Amir, Melliar-Smith, Agarwal, 1994), section 2.
"""

from dataclasses import dataclass, field
from typing import Any

from aisexec.groups import Configuration, ConfigurationKind, Delivered, RingId, Safe
from corosync_amf.ais import NodeId

Message = tuple[NodeId, bytes]


@dataclass(slots=True)
class Stay:
    """What a node was handed while it was in one ring: `regular` before its transitional configuration,
    `transitional` after; `next` is the ring it went to, None while it is there."""

    ring_id: RingId
    members: tuple[NodeId, ...]
    regular: list[Message] = field(default_factory=list)
    transitional: list[Message] = field(default_factory=list)
    transitional_members: tuple[NodeId, ...] | None = None
    safe: int = 0
    next: RingId | None = None

    @property
    def delivered(self) -> list[Message]:
        return self.regular + self.transitional


class History:
    """One life of one node. `sent` is what it was given to multicast."""

    def __init__(self, node: NodeId, life: int) -> None:
        self.node = node
        self.life = life
        self.stays: list[Stay] = []
        self.sent: list[bytes] = []
        self.faults: list[str] = []
        self._ahead: Configuration | None = None

    @property
    def name(self) -> str:
        return f"node {self.node} (life {self.life})"

    def take(self, effect: Any) -> None:
        """Note what the node was handed; effects that are not handed up are ignored."""
        match effect:
            case Configuration(ConfigurationKind.TRANSITIONAL, _, members, _):
                if not self.stays or self._ahead is not None:
                    self.faults.append(f"{self.name}: transitional configuration out of place: {effect}")
                else:
                    self._ahead = effect
                    self.stays[-1].transitional_members = members
            case Configuration(ConfigurationKind.REGULAR, ring_id, members, _):
                self._enter(ring_id, members)
            case Delivered(messages):
                if not self.stays:
                    self.faults.append(f"{self.name}: delivery before the first configuration")
                elif self._ahead is None:
                    self.stays[-1].regular += messages
                else:
                    self.stays[-1].transitional += messages
            case Safe(count):
                self._note_safe(count)
            case _:
                pass

    def _enter(self, ring_id: RingId, members: tuple[NodeId, ...]) -> None:
        if self.node not in members or list(members) != sorted(set(members)) or ring_id.representative != members[0]:
            self.faults.append(f"{self.name}: strange members {members} of {ring_id}")
        if self.stays:
            last = self.stays[-1]
            if self._ahead is None or self._ahead.ring_id != ring_id:
                self.faults.append(f"{self.name}: no transitional configuration before {ring_id}")
            elif not {self.node} <= set(self._ahead.members) <= set(last.members) & set(members):
                self.faults.append(f"{self.name}: strange transitional members {self._ahead.members} before {ring_id}")
            if ring_id <= last.ring_id:
                self.faults.append(f"{self.name}: {ring_id} after {last.ring_id}")
            last.next = ring_id
        self._ahead = None
        self.stays.append(Stay(ring_id, members))

    def _note_safe(self, count: int) -> None:
        stay = self.stays[-1] if self.stays else None
        if stay is None or self._ahead is not None or not stay.safe < count <= len(stay.regular):
            self.faults.append(f"{self.name}: {count} safe is out of place")
        else:
            stay.safe = count


def check(histories: list[History], *, alive: set[tuple[NodeId, int]]) -> list[str]:
    """Everything that is wrong. `alive` are the (node, life) that were not ended by a crash: only they owe self
    delivery."""
    faults = [fault for history in histories for fault in history.faults]
    faults += _duplicates(histories)
    rings: dict[RingId, list[tuple[History, Stay]]] = {}
    for history in histories:
        for stay in history.stays:
            rings.setdefault(stay.ring_id, []).append((history, stay))
    for ring_id, stays in rings.items():
        if len({stay.members for _, stay in stays}) > 1:
            faults.append(f"{ring_id} has different members on different nodes")
        faults += _order(ring_id, stays)
        faults += _synchrony(ring_id, stays)
        faults += _safety(ring_id, stays)
    for history in histories:
        if (history.node, history.life) in alive:
            faults += _self_delivery(history)
    return faults


def _duplicates(histories: list[History]) -> list[str]:
    faults = []
    for history in histories:
        messages = [message for stay in history.stays for message in stay.delivered]
        if len(set(messages)) != len(messages):
            faults.append(f"{history.name}: something was delivered twice")
    return faults


def _order(ring_id: RingId, stays: list[tuple[History, Stay]]) -> list[str]:
    """What two nodes deliver in one ring has one order; up to the first gap it is the very same."""
    faults = []
    reference = max((stay.regular for _, stay in stays), key=len)
    for history, stay in stays:
        if stay.regular != reference[: len(stay.regular)]:
            faults.append(f"{history.name}: other order in {ring_id}")
    ends = {tuple(stay.transitional): history for history, stay in stays if stay.transitional}
    for one, first in ends.items():
        for other, second in ends.items():
            common = set(one) & set(other)
            if [m for m in one if m in common] != [m for m in other if m in common]:
                faults.append(f"{first.name} and {second.name}: other order after the gap of {ring_id}")
    return faults


def _synchrony(ring_id: RingId, stays: list[tuple[History, Stay]]) -> list[str]:
    faults = []
    together: dict[RingId, list[tuple[History, Stay]]] = {}
    for history, stay in stays:
        if stay.next is not None:
            together.setdefault(stay.next, []).append((history, stay))
    for following, group in together.items():
        first, stay = group[0]
        names = {history.node for history, _ in group}
        for other, other_stay in group[1:]:
            if other_stay.regular != stay.regular or other_stay.transitional != stay.transitional:
                faults.append(f"{first.name} and {other.name} went from {ring_id} to {following} with other deliveries")
            if other_stay.transitional_members != stay.transitional_members:
                faults.append(f"{first.name} and {other.name} disagree who went from {ring_id} to {following}")
        for history, member in group:
            if not names <= set(member.transitional_members or ()):
                faults.append(f"{history.name}: somebody came from {ring_id} to {following} unannounced")
    return faults


def _safety(ring_id: RingId, stays: list[tuple[History, Stay]]) -> list[str]:
    """A safe message may not be missing at a member that has left the ring for another."""
    faults = []
    safest, witness = max(((stay.safe, history) for history, stay in stays), key=lambda pair: pair[0])
    for history, stay in stays:
        if stay.next is not None and len(stay.regular) < safest:
            faults.append(f"{history.name} misses what {witness.name} knew to be safe in {ring_id}")
    return faults


def _self_delivery(history: History) -> list[str]:
    mine = [payload for stay in history.stays for origin, payload in stay.delivered if origin == history.node]
    if mine != history.sent:
        missing = len(set(history.sent) - set(mine))
        return [f"{history.name}: own messages not delivered as sent ({missing} of {len(history.sent)} missing)"]
    return []
