"""What a session is told, and how the executive's events become that.

Source: SAI-AIS-MSG-B.03.01 sections 3.5 to 3.9.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from corosync_amf.engine import Service
from corosync_amf.errors import AisError, NotExist
from corosync_amf.session import Session

from . import messages as m
from .values import GroupView

if TYPE_CHECKING:
    from .queue import Queue

CROWDED: Final = 512
"""Events that wait; from then on announcements are counted, and of the views of a group the newest is kept."""
NOWHERE: Final = 0
"""The number of no stream."""


@dataclass(frozen=True, slots=True)
class QueueOpened:
    """Event: the outcome of `queue_open_async`. Source: SaMsgQueueOpenCallbackT."""

    invocation: int
    queue: "Queue | None"
    error: AisError | None


@dataclass(frozen=True, slots=True)
class GroupTrack:
    """Event: a group that is tracked has changed; error NotExist: it was deleted, and is tracked no more.

    Source: SaMsgQueueGroupTrackCallbackT.
    """

    group: str
    view: GroupView | None
    error: AisError | None


@dataclass(frozen=True, slots=True)
class MessageDelivered:
    """Event: the outcome of an asynchronous send with DELIVERED_ACK. Source: SaMsgMessageDeliveredCallbackT."""

    invocation: int
    error: AisError | None


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """Event: a message is in the queue; another task may have got it before. Source: SaMsgMessageReceivedCallbackT."""

    queue: "Queue"


class Incoming:
    """Sorts what the executive tells. `queues` are those that are open, by number; `tracked` the groups followed."""

    def __init__(self, session: Session, queues: "dict[int, Queue]", tracked: set[str]) -> None:
        self._session = session
        self._queues = queues
        self._tracked = tracked
        self._newest: dict[str, m.GroupChanged] = {}

    def stream_of(self, event: Any) -> int:
        """The stream that an event goes into."""
        match event:
            case m.Arrived(handle, count) if count:
                self._announce(handle, count)
                return NOWHERE
            case m.Lost(handle):
                queue = self._queues.get(handle)
                if queue is not None:
                    queue.lose()
                return NOWHERE
            case m.GroupChanged(group, view, is_whole):
                if view is None:
                    self._tracked.discard(group)
                elif is_whole and self._session.waiting(Service.MSG) >= CROWDED:
                    self._newest[group] = event
                    return NOWHERE
                return Service.MSG
            case _:
                return Service.MSG

    def _announce(self, handle: int, count: int) -> None:
        """One event per message, at least one, but no more than the stream has room for: the rest follow them."""
        queue = self._queues.get(handle)
        if queue is None:
            return
        queue.unannounced += count
        room = CROWDED - self._session.waiting(Service.MSG)
        for _ in range(min(queue.unannounced, max(room, 0 if queue.announced else 1))):
            self._announce_one(queue)

    def _announce_one(self, queue: "Queue") -> None:
        queue.unannounced -= 1
        queue.announced += 1
        self._session.tell(Service.MSG, m.Arrived(queue.number, 0))

    def public(self, event: Any) -> object | None:
        """The public form of an event that is taken; None: there is none."""
        if self._newest and self._session.waiting(Service.MSG) < CROWDED:
            newest, self._newest = self._newest, {}
            for latest in newest.values():
                self._session.tell(Service.MSG, latest)
        match event:
            case m.Arrived(handle):
                queue = self._queues.get(handle)
                if queue is None:
                    return None
                queue.announced -= 1
                if queue.unannounced:
                    self._announce_one(queue)
                return MessageReceived(queue)
            case m.GroupChanged(group, view):
                error = NotExist(f"queue group {group!r} was deleted") if view is None else None
                return GroupTrack(group, view, error)
            case _:
                return None
