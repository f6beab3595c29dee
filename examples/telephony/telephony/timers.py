"""One timer per name, cheap to set again and again."""

import heapq


class Timers:
    def __init__(self) -> None:
        self._when: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def set(self, name: str, when: float | None) -> None:
        """Set, move or (None) remove a timer."""
        if when is None:
            self._when.pop(name, None)
        elif self._when.get(name) != when:
            self._when[name] = when
            heapq.heappush(self._heap, (when, name))
            if len(self._heap) > 64 + 4 * len(self._when):  # mostly outdated entries: start again
                self._heap = [(time, key) for key, time in self._when.items()]
                heapq.heapify(self._heap)

    def next(self) -> float | None:
        while self._heap and self._when.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[str]:
        """The names whose time has come; their timers are gone."""
        names = []
        while (when := self.next()) is not None and when <= now:
            name = heapq.heappop(self._heap)[1]
            del self._when[name]
            names.append(name)
        return names
