"""Events that a client must not see before every member of the ring has what caused them. Pure.

Only what is asked to be safe waits, and what comes behind it for the same service and client: the order stays.
"""

from collections import deque
from collections.abc import Container
from typing import Final

from corosync_amf.engine import Message

from .outbox import Outbox

Waiting = deque[tuple[int, Message]]
"""(how many payloads of the ring must be safe, event); 0: as soon as what stands before it has gone."""
CARRIED: Final = -1
"""Of an event of a former ring: it waits for the next membership, and nothing that is safe in this ring lets it go."""


class SafeEvents:
    """Events on their way to the clients of this node."""

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self._waiting: dict[tuple[int, int], Waiting] = {}
        self._safe = 0

    def add(self, client: int, service: int, event: Message, position: int) -> None:
        """An event that waits until the first `position` payloads of the present ring are safe (0: for nothing)."""
        key = (client, service)
        needed = position if position > self._safe else 0
        if needed or key in self._waiting:
            self._waiting.setdefault(key, deque()).append((needed, event))
        else:
            self._out.event(client, service, event)

    def is_safe(self, count: int) -> None:
        """Every member has the first `count` payloads of the present ring."""
        self._safe = count
        for key in list(self._waiting):
            client, service = key
            waiting = self._waiting[key]
            while waiting and 0 <= waiting[0][0] <= count:
                self._out.event(client, service, waiting.popleft()[1])
            if not waiting:
                del self._waiting[key]

    def new_ring(self) -> None:
        """Counting begins anew. Those that go on together have all that waited: it goes with the next membership that
        its client is told of."""
        self._safe = 0
        self._waiting = {key: deque((CARRIED, event) for _, event in each) for key, each in self._waiting.items()}

    def settle(self, away: Container[int] = ()) -> None:
        """The next membership is here: what was carried goes, but for that of the services whose clients are `away`:
        they have not been told of it."""
        for key, waiting in self._waiting.items():
            if key[1] not in away:
                self._waiting[key] = deque((max(needed, 0), event) for needed, event in waiting)
        self.is_safe(self._safe)

    def forget(self, client: int) -> None:
        """A client is gone, and what waited for it."""
        self._waiting = {key: waiting for key, waiting in self._waiting.items() if key[0] != client}
