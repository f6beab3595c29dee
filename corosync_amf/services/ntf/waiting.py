"""Notifications on their way to a subscriber that may be slow."""

from collections import deque
from typing import Any, Final

from .messages import Notified
from .values import QUEUE_MAX, NotificationDiscarded
from .vocabulary import TYPE_BITS, NotificationType

IDENTIFIERS_MAX: Final = 100_000
"""Ids of discarded notifications that wait to be told; beyond that the first of them are forgotten."""


class Discards:
    """Ids that one NotificationDiscarded will tell."""

    __slots__ = ("identifiers", "subscription_id", "type")

    def __init__(self, subscription_id: int, event_type: int) -> None:
        self.subscription_id = subscription_id
        self.type = event_type & TYPE_BITS
        self.identifiers: deque[int] = deque()


class WaitingNotifications:
    """A queue that bounds itself: at most QUEUE_MAX notifications wait; of what comes then only the ids are kept, in
    its place in the order. Without `tells_discards` they are not kept either.
    """

    def __init__(self, tells_discards: bool) -> None:
        self._tells_discards = tells_discards
        self._waiting: deque[Any] = deque()
        self._notifications = 0
        self._identifiers = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, event: Any, /) -> None:
        """Take an event."""
        if isinstance(event, NotificationDiscarded):
            self._discard(event.subscription_id, event.type, event.identifiers)
        elif not isinstance(event, Notified):
            self._waiting.append(event)
        elif self._notifications < QUEUE_MAX:
            self._notifications += 1
            self._waiting.append(event)
        else:
            self._discard(event.subscription_id, event.event_type, (event.identifier,))

    def popleft(self) -> Any:
        """The oldest event."""
        event = self._waiting.popleft()
        if isinstance(event, Notified):
            self._notifications -= 1
        elif isinstance(event, Discards):
            self._identifiers -= len(event.identifiers)
            kind = NotificationType(event.type)
            return NotificationDiscarded(event.subscription_id, kind, tuple(event.identifiers))
        return event

    def drop(self, subscription_id: int) -> None:
        """Forget what waits for a subscription: it must not take the place of what others wait for."""
        waiting, self._waiting = self._waiting, deque()
        self._notifications = self._identifiers = 0
        for event in waiting:
            if not isinstance(event, Notified | Discards):
                self._waiting.append(event)
            elif event.subscription_id != subscription_id:
                self._waiting.append(event)
                self._notifications += isinstance(event, Notified)
                self._identifiers += len(event.identifiers) if isinstance(event, Discards) else 0

    def _discard(self, subscription_id: int, event_type: int, identifiers: tuple[int, ...]) -> None:
        if not self._tells_discards:
            return
        discards = self._last_of(subscription_id, event_type)
        discards.identifiers.extend(identifiers)
        self._identifiers += len(identifiers)
        while self._identifiers > IDENTIFIERS_MAX:
            self._forget_one()

    def _last_of(self, subscription_id: int, event_type: int) -> Discards:
        """The entry at the end of the queue, behind all notifications, for this subscription and type."""
        for entry in reversed(self._waiting):
            if not isinstance(entry, Discards):
                break
            if (entry.subscription_id, entry.type) == (subscription_id, event_type & TYPE_BITS):
                return entry
        entry = Discards(subscription_id, event_type)
        self._waiting.append(entry)
        return entry

    def _forget_one(self) -> None:
        told = [entry for entry in self._waiting if isinstance(entry, Discards) and entry.identifiers]
        oldest = min(told, key=lambda entry: entry.identifiers[0])
        oldest.identifiers.popleft()
        self._identifiers -= 1
