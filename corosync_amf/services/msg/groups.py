"""Queue groups: which queue of a group a message goes to, and who follows the group."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from corosync_amf.ais import NodeId, TrackFlags
from corosync_amf.engine import Client, Effect, Event
from corosync_amf.errors import QueueFull, QueueNotAvailable

from .messages import GroupChanged, GroupRecord
from .store import Queue
from .values import GroupChange, GroupNotification, GroupView, QueueGroupPolicy

CHANGES_ONLY: Final = int(TrackFlags.CHANGES_ONLY)
NO_CHANGE, REMOVED = GroupChange.NO_CHANGE, GroupChange.REMOVED
EVERYWHERE: Final = 0
"""The turn that all nodes share, among those of each node."""


class Group:
    """A group. `turns`: which place in `queues` is next, of the cluster's round and of each node's own."""

    __slots__ = ("is_reached", "name", "policy", "queues", "trackers", "turns")

    def __init__(self, name: str, policy: QueueGroupPolicy) -> None:
        self.name = name
        self.policy = policy
        self.queues: list[Queue] = []
        self.turns: dict[NodeId, int] = {}
        self.is_reached = False
        self.trackers: dict[Client, int] = {}

    @classmethod
    def restored(cls, record: GroupRecord, queues: Mapping[int, Queue]) -> "Group":
        """The group of a snapshot."""
        group = cls(record.name, record.policy)
        group.queues = [queues[number] for number in record.queues]
        for queue in group.queues:
            queue.groups[group.name] = group
        group.turns = dict(record.turns)
        group.is_reached = record.is_reached
        group.trackers = dict(record.trackers)
        return group

    def record(self) -> GroupRecord:
        """The group in a snapshot."""
        return GroupRecord(
            self.name,
            self.policy,
            [queue.number for queue in self.queues],
            sorted(self.turns.items()),
            self.is_reached,
            sorted(self.trackers.items()),
        )

    # ---- members

    def insert(self, queue: Queue) -> None:
        """Add a queue at the end."""
        self.queues.append(queue)
        queue.groups[self.name] = self

    def remove(self, queue: Queue) -> None:
        """Take a queue out; whose turn it is stays."""
        place = self.queues.index(queue)
        del self.queues[place], queue.groups[self.name]
        self.turns = {node: turn - (turn > place) for node, turn in self.turns.items()}

    # ---- where a message goes

    def choose(self, node: NodeId, priority: int, size: int) -> list[Queue]:
        """The queues that a message from `node` goes to.

        Raises: QueueNotAvailable: the group has no queue; QueueFull.
        """
        if not self.queues:
            raise QueueNotAvailable(f"queue group {self.name!r} has no queues")
        match self.policy:
            case QueueGroupPolicy.BROADCAST:
                full = [queue.name for queue in self.queues if not queue.has_room(priority, size)]
                if full:
                    raise QueueFull(f"queue {full[0]!r} of group {self.name!r} has no room")
                return self.queues
            case QueueGroupPolicy.LOCAL_BEST_QUEUE:
                chosen = self._best(node, priority, size)
            case QueueGroupPolicy.LOCAL_ROUND_ROBIN:
                local = self._next(node, priority, size, lambda queue: _is_local(queue, node))
                chosen = local or self._round(priority, size)
            case _:
                chosen = self._round(priority, size)
        if chosen is None:
            raise QueueFull(f"no queue of group {self.name!r} has room")
        return [chosen]

    def _round(self, priority: int, size: int) -> Queue | None:
        """Open queues first: a closed one gets a message only when no open one can take it."""
        chosen = self._next(EVERYWHERE, priority, size, lambda queue: queue.is_open)
        return chosen or self._next(EVERYWHERE, priority, size, lambda queue: not queue.is_open)

    def _next(self, turn: NodeId, priority: int, size: int, is_eligible: Callable[[Queue], bool]) -> Queue | None:
        queues, count = self.queues, len(self.queues)
        start = self.turns.get(turn, 0)
        for step in range(count):
            place = (start + step) % count
            queue = queues[place]
            if is_eligible(queue) and queue.has_room(priority, size):
                self.turns[turn] = (place + 1) % count
                return queue
        return None

    def _best(self, node: NodeId, priority: int, size: int) -> Queue | None:
        fitting = [queue for queue in self.queues if queue.has_room(priority, size)]
        local = [queue for queue in fitting if _is_local(queue, node)]
        return max(local or fitting, key=lambda queue: queue.free(priority), default=None)

    # ---- who follows

    def view(self, changes: Mapping[str, GroupChange] | None = None) -> GroupView:
        """All queues, those of `changes` with what happened to them."""
        changes = changes or {}
        shown = [GroupNotification(queue.name, changes.get(queue.name, NO_CHANGE)) for queue in self.queues]
        shown += [GroupNotification(name, REMOVED) for name, change in changes.items() if change is REMOVED]
        return GroupView(self.policy, tuple(shown), len(self.queues))

    def tell(self, queue: Queue, change: GroupChange) -> list[Effect]:
        """What the trackers hear of a change."""
        if not self.trackers:
            return []
        only = GroupView(self.policy, (GroupNotification(queue.name, change),), len(self.queues))
        whole = GroupChanged(self.name, self.view({queue.name: change}))
        part = GroupChanged(self.name, only, is_whole=False)
        return [
            Event(client, part if flags & CHANGES_ONLY else whole) for client, flags in sorted(self.trackers.items())
        ]

    def tell_present(self, client: Client) -> Event:
        """The present view for one client."""
        return Event(client, GroupChanged(self.name, self.view()))


def _is_local(queue: Queue, node: NodeId) -> bool:
    return queue.opener is not None and queue.opener.node == node


def gone(name: str, clients: Sequence[Client]) -> list[Effect]:
    """What those hear who followed a group that is not there any more."""
    return [Event(client, GroupChanged(name, None)) for client in clients]
