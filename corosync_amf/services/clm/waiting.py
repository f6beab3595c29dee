"""The events of a session that wait to be taken."""

from collections import deque
from typing import Any

from corosync_amf.streams import EVENTS_WAITING_MAX

from .messages import Tracked
from .values import ChangeStep


class Waiting:
    """A `streams.Queue` that keeps 1024 events. When so many wait a full view takes the place of the one before it:
    the newest wins, so that who does not read its views can ask and answer all the same.
    """

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events: deque[Any] = deque()

    def __len__(self) -> int:
        return len(self._events)

    def append(self, event: Any) -> None:
        """Add the newest event."""
        events = self._events
        if len(events) >= EVENTS_WAITING_MAX and _is_full_view(event) and _is_full_view(events[-1]):
            events[-1] = event
        else:
            events.append(event)

    def popleft(self) -> Any:
        """The oldest event."""
        return self._events.popleft()

    def is_full(self) -> bool:
        """Whether nothing more should be taken until events have been taken away."""
        count = len(self._events)
        return count > EVENTS_WAITING_MAX or (count == EVENTS_WAITING_MAX and not _is_full_view(self._events[-1]))


def _is_full_view(event: Any) -> bool:
    """Whether the event tells who is a member, of all nodes, and wants no answer."""
    if not isinstance(event, Tracked) or event.step is not ChangeStep.COMPLETED:
        return False
    members = [each for each in event.view.notifications if each.cluster_node.member]
    return len(members) == event.view.number_of_members
