"""What waits for a subscription, and for the session, until the application takes it. Pure.

Waiting        of one subscription: bounded, higher priority first, losses counted
SessionQueue   of the session's stream: outcomes, and the events of all subscriptions that nobody iterates over
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from .messages import NEXT_EVENT, Delivered
from .tally import lost
from .values import EVENT_ID_LOST, HIGHEST_PRIORITY, LOWEST_PRIORITY, QUEUE_BYTES_MAX

Item = tuple[int, Delivered, bytes]
"""An event's id, what it came in, its data."""

OUTCOMES_MAX: Final = 1024
"""So many outcomes of asynchronous calls may wait."""


class Waiting:
    """The events of one subscription.

    What was retained when it began comes first, in publish order. Then higher priority comes first. When `length`
    events wait, or 64 MiB, the newest ones of the lowest priority present are dropped, those that arrive included.
    New ones are taken again when no more than `resume` wait, and no more than 32 MiB. One event says how many were
    lost, those included that were lost before they came here.
    """

    __slots__ = (
        "_bytes",
        "_count",
        "_is_told",
        "_levels",
        "_lost",
        "_resume_at",
        "_retained",
        "is_overflowing",
        "length",
    )

    def __init__(self, length: int, resume: int) -> None:
        self.length = length
        self._resume_at = resume
        self.is_overflowing = False
        self._levels: tuple[deque[Item], ...] = tuple(deque() for _ in range(LOWEST_PRIORITY + 1))
        self._retained: deque[Item] = deque()
        self._count = 0
        self._bytes = 0
        self._lost = 0
        self._is_told = False

    def __len__(self) -> int:
        return len(self._retained) + self._count + self._tells_loss()

    def append(self, item: Item) -> None:
        """An event has arrived."""
        event_id, message, data = item
        if event_id == EVENT_ID_LOST:
            self._lost += int(data)
            self._is_told = False
            return
        if message.at_subscribe:
            self._retained.append(item)
            return
        if self._count >= self.length or self._bytes >= QUEUE_BYTES_MAX:
            self.is_overflowing = True
        if self.is_overflowing and not self._displace(message.priority):
            return
        self._levels[message.priority].append(item)
        self._count += 1
        self._bytes += len(data)

    def _displace(self, priority: int) -> bool:
        """Drop one event: the one that arrives with `priority` (then the answer is False), or one that waits."""
        self._lost += 1
        lowest = next((level for level in reversed(self._levels) if level), None)
        if lowest is None or lowest[-1][1].priority <= priority:
            return False
        self._count -= 1
        self._bytes -= len(lowest.pop()[2])
        return True

    def _tells_loss(self) -> bool:
        return self._lost > 0 and not self._is_told

    @property
    def urgency(self) -> tuple[int, int]:
        """Of the next event: its priority and its place among those of the same priority."""
        if self._retained or self._tells_loss():
            return HIGHEST_PRIORITY, 0
        item = next(level[0] for level in self._levels if level)
        return item[1].priority, item[0]

    def popleft(self) -> Item:
        """The next event. Raises: IndexError: none waits."""
        if self._retained:
            return self._retained.popleft()
        if self._tells_loss():
            return self._loss()
        for level in self._levels:
            if level:
                item = level.popleft()
                self._count -= 1
                self._bytes -= len(item[2])
                self._resume()
                return item
        raise IndexError("no event waits")

    def _resume(self) -> None:
        if self.is_overflowing and self._count <= self._resume_at and self._bytes <= QUEUE_BYTES_MAX // 2:
            self.is_overflowing = self._is_told = False

    def _loss(self) -> Item:
        event = lost(self._lost)
        self._lost = 0
        self._is_told = self.is_overflowing  # what else is lost until it ends is told then
        return EVENT_ID_LOST, event, event.data[0]


class Feed:
    """What a subscription has of the session: where its events wait, and who takes them.

    `tell` is set while somebody iterates over the subscription; else its events belong to the session's stream.
    """

    __slots__ = ("subscription", "tell", "waiting")

    def __init__(self, subscription: Any, length: int, resume: int) -> None:
        self.subscription = subscription
        self.waiting = Waiting(length, resume)
        self.tell: Callable[[Item], None] | None = None


class SessionQueue:
    """A `streams.Queue`: takes what the executive sends, and puts each event where it belongs.

    `feeds` are the subscriptions of the session by their numbers; `made` turns an event into what the stream yields.
    """

    def __init__(self, made: Callable[[Any, Item], object]) -> None:
        self.feeds: dict[int, Feed] = {}
        self.outcomes: deque[object] = deque()
        self._made = made
        self._ready: dict[Feed, None] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self.outcomes) + self._count

    def append(self, event: object) -> None:
        """Something has come: events, or the outcome of a call."""
        if type(event) is not Delivered:
            self.outcomes.append(event)
            return
        for number in event.subscriptions:
            feed = self.feeds.get(number)
            if feed is None:
                continue  # ended on the way
            event_id = event.event_id
            for data in event.data:
                self._put(feed, (event_id, event, data))
                event_id += NEXT_EVENT

    def _put(self, feed: Feed, item: Item) -> None:
        if feed.tell is not None:
            feed.tell(item)
            return
        waiting = feed.waiting
        before = len(waiting)
        waiting.append(item)
        self._count += len(waiting) - before
        self._ready[feed] = None

    def popleft(self) -> object:
        """The next outcome, or the most urgent event. Raises: IndexError: nothing waits."""
        if self.outcomes:
            return self.outcomes.popleft()
        if not self._ready:
            raise IndexError("nothing waits")
        feed = next(iter(self._ready)) if len(self._ready) == 1 else min(self._ready, key=_urgency)
        waiting = feed.waiting
        before = len(waiting)
        item = waiting.popleft()
        self._count += len(waiting) - before
        if not waiting:
            del self._ready[feed]
        return self._made(feed.subscription, item)

    def withdraw(self, feed: Feed) -> None:
        """What waits for this subscription does not belong to the stream (any more)."""
        if feed in self._ready:
            del self._ready[feed]
            self._count -= len(feed.waiting)

    def give_back(self, feed: Feed) -> None:
        """What waits for this subscription belongs to the stream again."""
        if feed not in self._ready and feed.waiting:
            self._ready[feed] = None
            self._count += len(feed.waiting)


def _urgency(feed: Feed) -> tuple[int, int]:
    return feed.waiting.urgency
