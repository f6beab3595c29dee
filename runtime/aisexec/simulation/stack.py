"""One simulated machine: the production ring and the production node above it, wired as the daemon does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aisexec.groups import Configuration, Delivered, Safe
from aisexec.node import Happened, Node
from aisexec.outbox import Payloads, ToClient
from aisexec.totem.events import Expect, Leave, MulticastMany, Received
from aisexec.totem.ring import Ring


@dataclass(slots=True)
class Stack:
    """A machine on the simulated network. What neither ring nor node carry out themselves goes up to the network."""

    ring: Ring
    node: Node

    def start(self, now: float) -> list[Any]:
        return self._from_ring(self.ring.start(now), now)

    def handle(self, event: Any, now: float) -> list[Any]:
        if isinstance(event, (Received, Leave)):
            return self._from_ring(self.ring.handle(event, now), now)
        return self._from_node(self.node.handle(event, now), now)

    def wake(self, now: float) -> list[Any]:
        effects: list[Any] = []
        if _is_due(self.ring.next_deadline(), now):
            effects += self._from_ring(self.ring.wake(now), now)
        if _is_due(self.node.next_deadline(), now):
            effects += self._from_node(self.node.wake(now), now)
        return effects

    def next_deadline(self) -> float | None:
        deadlines = [self.ring.next_deadline(), self.node.next_deadline()]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def _from_ring(self, effects: Sequence[Any], now: float) -> list[Any]:
        out: list[Any] = []
        happenings: list[Any] = []
        for effect in effects:
            if isinstance(effect, (Configuration, Delivered, Safe)):
                happenings.append(effect)
            out.append(effect)
        if happenings:
            event = Happened(happenings, dict(self.ring.heard), dict(self.ring.departed))
            out += self._from_node(self.node.handle(event, now), now)
        return out

    def _from_node(self, effects: Sequence[Any], now: float) -> list[Any]:
        """Multicasts come last: the ring may deliver them at once, and what follows from that follows these effects."""
        out = [effect for effect in effects if not isinstance(effect, Payloads)]
        if any(isinstance(effect, ToClient) and effect.was_awaited for effect in effects):
            self.ring.handle(Expect(), now)
        for effect in effects:
            if isinstance(effect, Payloads):
                many = MulticastMany(effect.payloads, effect.prompt)
                out += self._from_ring(self.ring.handle(many, now), now)
        return out


def _is_due(deadline: float | None, now: float) -> bool:
    return deadline is not None and deadline <= now
