"""The replicated timers of one node: every member keeps the table, the coordinator rings. Pure."""

import heapq
import math
from dataclasses import dataclass

from corosync_amf.engine import Request


@dataclass(frozen=True, slots=True)
class Armed:
    """One timer. `generation` is the place in the order at which it was armed."""

    generation: int
    deadline: float
    message: Request


class Alarms:
    """Timers by service and key, and which of them are due."""

    def __init__(self) -> None:
        self.armed: dict[tuple[int, str], Armed] = {}
        self._heap: list[tuple[float, int, tuple[int, str]]] = []

    def set(self, service: int, key: str, armed: Armed | None) -> None:
        """Arm or, with None, take back."""
        if armed is None:
            self.armed.pop((service, key), None)
            return
        self.armed[service, key] = armed
        heapq.heappush(self._heap, (armed.deadline, armed.generation, (service, key)))

    def take(self, service: int, key: str, generation: int) -> Request | None:
        """The message of a timer that rang, which is then gone; None when it was replaced or taken back before."""
        armed = self.armed.get((service, key))
        if armed is None or armed.generation != generation:
            return None
        del self.armed[service, key]
        return armed.message

    def next_deadline(self) -> float:
        """When the next one is due; infinity when there is none."""
        while self._heap and self._is_stale(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def due(self, now: float) -> list[tuple[int, str, int]]:
        """The timers that are due, each named once: they stay armed until `take`, for another coordinator to ring."""
        rung: list[tuple[int, str, int]] = []
        while self.next_deadline() <= now:
            _, generation, (service, key) = heapq.heappop(self._heap)
            rung.append((service, key, generation))
        return rung

    def ring_again(self) -> None:
        """Forget what `due` has named: a new coordinator rings what its predecessor may not have rung."""
        self._heap = [(armed.deadline, armed.generation, name) for name, armed in self.armed.items()]
        heapq.heapify(self._heap)

    def _is_stale(self, entry: tuple[float, int, tuple[int, str]]) -> bool:
        armed = self.armed.get(entry[2])
        return armed is None or armed.generation != entry[1] or armed.deadline != entry[0]
