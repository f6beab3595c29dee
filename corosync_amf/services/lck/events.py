"""The events of a session that wait to be read by the application."""

from collections import deque
from typing import Any, Final

from .lock import LockWaiter
from .values import EVENTS_MAX

KEPT: Final = EVENTS_MAX * 3 // 4
"""As many LockWaiter events of locks that are still held stay when there are too many."""


class LckEvents:
    """The events of a session, in their order. LockWaiter events are hints: who does not read them is not held up, but
    loses those for locks given back since, and if that is not enough the oldest.
    """

    __slots__ = ("_events", "_waiters")

    def __init__(self) -> None:
        self._events: deque[Any] = deque()
        self._waiters = 0

    @property
    def outcomes(self) -> int:
        """How many events wait that must not be lost."""
        return len(self._events) - self._waiters

    def __len__(self) -> int:
        return len(self._events)

    def append(self, event: Any) -> None:
        """Put an event at the end."""
        self._events.append(event)
        if type(event) is LockWaiter:
            self._waiters += 1
            if self._waiters > EVENTS_MAX:
                self._shed()

    def popleft(self) -> Any:
        """Take the oldest."""
        event = self._events.popleft()
        if type(event) is LockWaiter:
            self._waiters -= 1
        return event

    def _shed(self) -> None:
        live = [event for event in self._events if type(event) is LockWaiter and event.lock.is_held]
        kept = {id(event) for event in live[-KEPT:]}
        last = self._events.pop()  # what was just put there is never taken away
        self._events = deque(e for e in self._events if type(e) is not LockWaiter or id(e) in kept)
        self._events.append(last)
        self._waiters = sum(type(event) is LockWaiter for event in self._events)
