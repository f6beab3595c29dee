"""Which queues and groups there are, under which names, and who has the queues open."""

from collections.abc import Iterable
from typing import Final

import msgspec

from corosync_amf.engine import Alarm, Client, Effect, Event
from corosync_amf.errors import BadHandle, BadOperation, Busy, Exist, InvalidParam, NoResources, NotExist

from . import messages as m
from .capacity import group_updated, updated
from .correspondence import Correspondence
from .groups import Group, gone
from .limits import CREATE, check_name, check_opening, is_duration
from .store import Queue
from .values import (
    GROUPS_MAX,
    HANDLES_MAX,
    QUEUES_MAX,
    QUEUES_PER_GROUP_MAX,
    GroupChange,
    QueueGroupPolicy,
    QueueOpenFlags,
)

RECEIVE_CALLBACK, EMPTY = int(QueueOpenFlags.RECEIVE_CALLBACK), int(QueueOpenFlags.EMPTY)
PAGE: Final = 200
"""Queues or groups in one answer."""


class Directory:
    """See the module. `numbers` counts the queues ever made; `names` are those of queues that can be found."""

    def __init__(self, correspondence: Correspondence) -> None:
        self.numbers = 0
        self.queues: dict[int, Queue] = {}
        self.names: dict[str, Queue] = {}
        self.groups: dict[str, Group] = {}
        self.handles: dict[Client, dict[int, Queue]] = {}
        self._correspondence = correspondence

    @classmethod
    def restored(cls, snapshot: m.Snapshot, correspondence: Correspondence) -> "Directory":
        """That of a snapshot."""
        made = cls(correspondence)
        made.numbers = snapshot.numbers
        for record in snapshot.queues:
            made.queues[record.number] = queue = Queue.restored(record)
            if queue.linked:
                made.names[queue.name] = queue
            if queue.opener is not None:
                made.handles.setdefault(queue.opener, {})[queue.handle] = queue
        made.groups = {record.name: Group.restored(record, made.queues) for record in snapshot.groups}
        return made

    def queue(self, client: Client, handle: int) -> Queue:
        """The queue that the client has open under this number. Raises: BadHandle."""
        try:
            return self.handles[client][handle]
        except KeyError:
            raise BadHandle("the queue is not open") from None

    def named(self, name: str) -> Queue:
        """Raises: NotExist."""
        queue = self.names.get(name)
        if queue is None:
            raise NotExist(f"no queue {name!r}")
        return queue

    def group(self, name: str) -> Group:
        """Raises: NotExist."""
        group = self.groups.get(name)
        if group is None:
            raise NotExist(f"no queue group {name!r}")
        return group

    # ---- opening

    def open(self, message: m.Open, client: Client) -> tuple[Queue, list[Effect]]:
        """Open, and create if need be.

        Raises: BadFlags, InvalidParam, TooBig, NotExist, Exist, Busy, NoResources.
        """
        attributes = message.attributes
        check_opening(message.open_flags, attributes)
        queue = self.names.get(message.name)
        if queue is None:
            if attributes is None:
                raise NotExist(f"no queue {message.name!r}")
            check_name(message.name)
            if message.name in self.groups:
                raise Exist(f"{message.name!r} is the name of a queue group")
        elif attributes is not None and not _is_alike(attributes, queue.attributes):
            raise Exist(f"queue {message.name!r} exists with other attributes")
        elif queue.is_open:
            raise Busy(f"queue {message.name!r} is open already")
        handles = self.handles.get(client, {})
        if message.handle in handles or len(handles) >= HANDLES_MAX:
            raise NoResources(f"a client has at most {HANDLES_MAX} queues open, each under its own number")
        if queue is None:
            queue = self._create(message.name, attributes)
        return queue, self.take_up(queue, client, message.handle, message.open_flags & ~CREATE)

    def _create(self, name: str, attributes: m.Attributes | None) -> Queue:
        if attributes is None or len(self.queues) >= QUEUES_MAX:
            raise NoResources(f"the cluster has at most {QUEUES_MAX} queues")
        self.numbers += 1
        queue = self.queues[self.numbers] = self.names[name] = Queue(self.numbers, name, attributes)
        return queue

    def take_up(self, queue: Queue, client: Client, handle: int, open_flags: int) -> list[Effect]:
        """The client has the queue, which was closed, from now on."""
        effects: list[Effect] = [] if queue.close_time is None else [Alarm(_retention(queue), None)]
        queue.opener, queue.handle, queue.open_flags, queue.close_time = client, handle, open_flags, None
        self.handles.setdefault(client, {})[handle] = queue
        effects += self._changed(queue)
        if open_flags & EMPTY:
            effects += self.discard(queue)
        return effects + announced(queue, queue.count())

    def discard(self, queue: Queue) -> list[Effect]:
        """Remove the messages that wait in a queue."""
        return [*self._correspondence.discarded(queue.discard()), *updated(queue)]

    def _changed(self, queue: Queue) -> list[Effect]:
        return [
            effect
            for name in sorted(queue.groups)
            for effect in queue.groups[name].tell(queue, GroupChange.STATE_CHANGED)
        ]

    # ---- closing

    def close(self, client: Client, numbers: Iterable[int], time: float) -> tuple[list[Queue], list[Effect]]:
        """Close what of these is open; what was in hand takes its place again. Say which queues those were."""
        handles = self.handles.get(client, {})
        closed = [handles.pop(number) for number in numbers if number in handles]
        effects: list[Effect] = []
        for queue in closed:
            queue.put_back(list(queue.in_hand))
            queue.taken.clear()
            queue.opener, queue.handle, queue.open_flags, queue.close_time = None, 0, 0, time
            effects += self._released(queue)
        if not handles:
            self.handles.pop(client, None)
        return closed, effects

    def _released(self, queue: Queue) -> list[Effect]:
        retention = queue.attributes.retention_time
        if not queue.linked or (retention == 0 and not queue.is_persistent):
            return self._drop(queue)
        effects = [*updated(queue), *self._changed(queue)]
        if queue.is_persistent or retention is None:
            return effects
        queue.closing += 1
        return [*effects, Alarm(_retention(queue), retention, m.RetentionOver(queue.number, queue.closing))]

    def retention_over(self, number: int, closing: int) -> list[Effect]:
        """A retention time has run out; of no effect when somebody has opened the queue since it began."""
        queue = self.queues.get(number)
        if queue is None or queue.is_open or queue.closing != closing:
            return []
        return self._drop(queue)

    def unlink(self, name: str) -> list[Effect]:
        """Take the name away, and the queue when it is closed. Raises: NotExist."""
        queue = self.named(name)
        if not queue.is_open:
            return self._drop(queue)
        effects = self._leave_groups(queue)
        del self.names[name]
        queue.linked = False
        return effects

    def _drop(self, queue: Queue) -> list[Effect]:
        effects = self._leave_groups(queue)
        del self.queues[queue.number]
        if queue.linked:
            del self.names[queue.name]
        if queue.closing:
            effects.append(Alarm(_retention(queue), None))
        return effects + self._correspondence.queue_gone(queue.number)

    def _leave_groups(self, queue: Queue) -> list[Effect]:
        return [effect for name in sorted(queue.groups) for effect in self._taken_out(queue.groups[name], queue)]

    def set_retention(self, queue: Queue, retention: float | None) -> None:
        """Raises: InvalidParam, BadOperation."""
        if not is_duration(retention):
            raise InvalidParam("the retention time must be 0 or more, or None")
        if queue.is_persistent or not queue.linked:
            raise BadOperation("the queue is persistent" if queue.linked else "the queue is unlinked")
        queue.attributes = msgspec.structs.replace(queue.attributes, retention_time=retention)

    # ---- groups

    def create_group(self, name: str, policy: QueueGroupPolicy) -> None:
        """Raises: InvalidParam, TooBig, Exist, NoResources."""
        check_name(name)
        if name in self.groups or name in self.names:
            raise Exist(f"the name {name!r} is taken")
        if len(self.groups) >= GROUPS_MAX:
            raise NoResources(f"the cluster has at most {GROUPS_MAX} queue groups")
        self.groups[name] = Group(name, policy)

    def delete_group(self, name: str) -> list[Effect]:
        """Raises: NotExist."""
        group = self.group(name)
        for queue in list(group.queues):
            group.remove(queue)
        del self.groups[name]
        return gone(name, sorted(group.trackers))

    def insert(self, group_name: str, queue_name: str) -> list[Effect]:
        """Raises: NotExist, Exist, NoResources."""
        group, queue = self.group(group_name), self.named(queue_name)
        if group_name in queue.groups:
            raise Exist(f"queue {queue_name!r} is in group {group_name!r} already")
        if len(group.queues) >= QUEUES_PER_GROUP_MAX:
            raise NoResources(f"a queue group has at most {QUEUES_PER_GROUP_MAX} queues")
        group.insert(queue)
        return [*group.tell(queue, GroupChange.ADDED), *group_updated(group)]

    def remove(self, group_name: str, queue_name: str) -> list[Effect]:
        """Raises: NotExist."""
        group, queue = self.group(group_name), self.named(queue_name)
        if group_name not in queue.groups:
            raise NotExist(f"queue {queue_name!r} is not in group {group_name!r}")
        return self._taken_out(group, queue)

    def _taken_out(self, group: Group, queue: Queue) -> list[Effect]:
        group.remove(queue)
        return [*group.tell(queue, GroupChange.REMOVED), *group_updated(group)]

    def untrack(self, client: Client) -> None:
        """The client follows nothing any more."""
        for group in self.groups.values():
            group.trackers.pop(client, None)

    # ---- lists

    def list_queues(self, after: str) -> list[m.QueueLine]:
        """One page, in the order of the names."""
        chosen = sorted(name for name in self.names if name > after)[:PAGE]
        queues = [self.names[name] for name in chosen]
        return [m.QueueLine(each.name, each.opener, each.count(), sum(each.used), sum(each.size)) for each in queues]

    def list_groups(self, after: str) -> list[m.GroupLine]:
        """One page, in the order of the names."""
        chosen = [self.groups[name] for name in sorted(name for name in self.groups if name > after)[:PAGE]]
        return [
            m.GroupLine(each.name, each.policy, len(each.queues), sum(queue.is_open for queue in each.queues))
            for each in chosen
        ]


def announced(queue: Queue, count: int) -> list[Effect]:
    """What the opener of a queue hears of messages that have come, if it wants to."""
    if not count or queue.opener is None or not queue.open_flags & RECEIVE_CALLBACK:
        return []
    return [Event(queue.opener, m.Arrived(queue.handle, count))]


def _retention(queue: Queue) -> str:
    return f"retention {queue.number}"


def _is_alike(one: m.Attributes, other: m.Attributes) -> bool:
    return one.creation_flags == other.creation_flags and one.size == other.size
