"""How many events of a channel each part of the cluster has had, so that a merge knows who missed some.

Every node counts what each publisher's node has published since it joined. Parts that have heard the same have the same
counts; of a node that published in one part only, the other one counts less.
"""

from collections.abc import Iterable
from typing import Final, Self

from .messages import Delivered, Stay
from .values import EVENT_ID_LOST, HIGHEST_PRIORITY, LOST_EVENT_PATTERN

STAYS_MAX: Final = 128
"""So many counts are kept for a channel; those of the oldest rings are forgotten first."""


class Tally:
    """The counts of a channel. Of nodes that joined in the ring `forgotten`, or before it, nothing is known."""

    __slots__ = ("_counts", "forgotten")

    def __init__(self, counts: Iterable[tuple[Stay, int]] = (), forgotten: int = -1) -> None:
        self._counts = dict(counts)
        self.forgotten = forgotten

    def add(self, stay: Stay, count: int) -> None:
        """So many events more of that node."""
        self._counts[stay] = self._counts.get(stay, 0) + count
        if len(self._counts) > STAYS_MAX:
            self._forget()

    def missing(self, other: Self) -> int:
        """How many events of the other part have not been here, as far as can be known."""
        known = max(self.forgotten, other.forgotten)
        return sum(
            max(count - self._counts.get(stay, 0), 0) for stay, count in other._counts.items() if stay[1] > known
        )

    def unite(self, other: Self) -> None:
        """What has been in either part has been here."""
        for stay, count in other._counts.items():
            self._counts[stay] = max(count, self._counts.get(stay, 0))
        self.forgotten = max(self.forgotten, other.forgotten)
        self._forget()

    def counts(self) -> list[tuple[Stay, int]]:
        """The counts, in the order of nodes and rings."""
        return sorted(self._counts.items())

    def _forget(self) -> None:
        rings = sorted((stay[1] for stay in self._counts), reverse=True)
        self.forgotten = max([self.forgotten, *rings[STAYS_MAX:]])
        self._counts = {stay: count for stay, count in self._counts.items() if stay[1] > self.forgotten}


def lost(count: int, subscriptions: tuple[int, ...] = ()) -> Delivered:
    """What tells subscriptions that they missed so many events."""
    text = b"%d" % count
    return Delivered(subscriptions, EVENT_ID_LOST, 0.0, (LOST_EVENT_PATTERN,), HIGHEST_PRIORITY, 0.0, "", [text])
