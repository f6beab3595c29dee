"""Events that a client must not see before every member of the ring has what caused them. Pure.

Only what is asked to be safe waits, and what comes behind it for the same service and client: the order stays. What is
*firm* waits for more: those who have the state must be a quorum, too, be it that of a later membership.
"""

from collections import deque
from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from corosync_amf.engine import Message

from .outbox import Outbox

NEVER: Final = 1 << 62
CARRIED: Final = -1
"""Of an event of a former ring: it waits for the next membership, and nothing that is safe in this ring lets it go."""


@dataclass(slots=True)
class _Waiting:
    """`needed`: how many payloads of the ring must be safe; 0: as soon as what stands before it has gone."""

    needed: int
    event: Message
    firm: bool


class SafeEvents:
    """Events on their way to the clients of this node."""

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self._waiting: dict[tuple[int, int], deque[_Waiting]] = {}
        self._safe = 0
        self._floor = NEVER

    def add(self, client: int, service: int, event: Message, position: int, *, firm: bool = False) -> None:
        """An event that waits until the first `position` payloads of the present ring are safe (0: for nothing)."""
        key = (client, service)
        waiting = _Waiting(position, event, firm)
        if key in self._waiting or not self._may_go(waiting):
            self._waiting.setdefault(key, deque()).append(waiting)
        else:
            self._out.event(client, service, event, was_awaited=firm)

    def is_safe(self, count: int) -> None:
        """Every member has the first `count` payloads of the present ring."""
        self._safe = count
        for key in list(self._waiting):
            client, service = key
            waiting = self._waiting[key]
            while waiting and self._may_go(waiting[0]):
                gone = waiting.popleft()
                self._out.event(client, service, gone.event, was_awaited=gone.firm)
            if not waiting:
                del self._waiting[key]

    def _may_go(self, waiting: _Waiting) -> bool:
        needed = max(waiting.needed, self._floor) if waiting.firm else waiting.needed
        return 0 <= needed <= self._safe

    def stand_firm(self, position: int) -> None:
        """Those who have the state are a quorum, if so many payloads are safe."""
        self._floor = position
        self.is_safe(self._safe)

    def new_ring(self) -> None:
        """Counting begins anew. Those that go on together have all that waited: it goes with the next membership that
        its client is told of, and what is firm with a quorum of it."""
        self._safe, self._floor = 0, NEVER
        for each in self._waiting.values():
            for waiting in each:
                waiting.needed = 0 if waiting.firm else CARRIED

    def settle(self, away: Container[int] = ()) -> None:
        """The next membership is here: what was carried goes, but for that of the services whose clients are `away`:
        they have not been told of it."""
        for (_, service), each in self._waiting.items():
            if service not in away:
                for waiting in each:
                    waiting.needed = max(waiting.needed, 0)
        self.is_safe(self._safe)

    def give_way(self) -> None:
        """The state is about to be replaced: what is firm has not happened, and all else waits on."""
        kept = {key: deque(waiting for waiting in each if not waiting.firm) for key, each in self._waiting.items()}
        self._waiting = {key: waiting for key, waiting in kept.items() if waiting}

    def forget(self, client: int) -> None:
        """A client is gone, and what waited for it."""
        self._waiting = {key: waiting for key, waiting in self._waiting.items() if key[0] != client}
