"""What one queue holds: four priority areas, the messages in the receiver's hand, the gets that wait."""

from bisect import insort
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from corosync_amf.engine import Client, Origin
from corosync_amf.errors import QueueFull

from .messages import Attributes, GetRecord, Got, Handed, Numbered, QueueRecord
from .values import AREA_MESSAGES_MAX, PRIORITIES, CreationFlags, QueueStatus, QueueThresholds, QueueUsage

if TYPE_CHECKING:
    from .groups import Group

GETS_MAX: Final = 512
"""Gets of one queue that wait, or whose message is in hand."""
TAKEN_MAX: Final = 512
"""Messages of one queue that were taken last; told when the receiver's node comes back from a partition."""
PERSISTENT: Final = int(CreationFlags.PERSISTENT)


class Queue:
    """A queue. Messages are numbered by their place in the total order; gets wait only while there is no message."""

    __slots__ = (
        "areas",
        "attributes",
        "close_time",
        "closing",
        "gets",
        "groups",
        "handle",
        "in_hand",
        "is_reached",
        "linked",
        "name",
        "number",
        "open_flags",
        "opener",
        "size",
        "taken",
        "thresholds",
        "used",
    )

    def __init__(self, number: int, name: str, attributes: Attributes) -> None:
        self.number = number
        self.name = name
        self.attributes = attributes
        self.size = attributes.size
        self.linked = True
        self.opener: Client | None = None
        self.handle = 0
        self.open_flags = 0
        self.close_time: float | None = None
        self.closing = 0
        self.thresholds: QueueThresholds | None = None
        self.is_reached = False
        self.areas: tuple[deque[Numbered], ...] = tuple(deque() for _ in range(PRIORITIES))
        self.used = [0] * PRIORITIES
        self.in_hand: dict[int, Numbered] = {}
        self.taken: dict[int, tuple[int, Client]] = {}
        self.gets: dict[int, Origin] = {}
        self.groups: dict[str, Group] = {}

    @classmethod
    def restored(cls, record: QueueRecord) -> "Queue":
        """The queue of a snapshot; its groups put themselves in."""
        queue = cls(record.number, record.name, record.attributes)
        queue.linked = record.linked
        queue.opener, queue.handle, queue.open_flags = record.opener, record.handle, record.open_flags
        queue.close_time, queue.closing = record.close_time, record.closing
        queue.thresholds, queue.is_reached = record.thresholds, record.is_reached
        queue.areas = tuple(map(deque, record.areas))
        queue.used = [sum(len(got.body.data) for _, _, got in area) for area in queue.areas]
        queue.in_hand = dict(record.in_hand)
        queue.taken = {number: (order, sender) for number, order, sender in record.taken}
        queue.gets = {get.number: get.origin for get in record.gets}
        return queue

    def record(self) -> QueueRecord:
        """The queue in a snapshot."""
        first, second, third, fourth = map(list, self.areas)
        return QueueRecord(
            self.number,
            self.name,
            self.linked,
            self.attributes,
            self.opener,
            self.handle,
            self.open_flags,
            self.close_time,
            self.closing,
            self.thresholds,
            self.is_reached,
            (first, second, third, fourth),
            list(self.in_hand.items()),
            self.taken_last(),
            self.waiting(),
        )

    def waiting(self) -> list[GetRecord]:
        """The gets that wait, the oldest first."""
        return [GetRecord(origin, number) for number, origin in self.gets.items()]

    # ---- messages

    def has_room(self, priority: int, size: int) -> bool:
        """Whether a message of `size` bytes fits. Into an area of size 0 none does."""
        limit = self.size[priority]
        fits = size <= limit - self.used[priority] if size else limit > 0
        return fits and len(self.areas[priority]) < AREA_MESSAGES_MAX

    def check_room(self, priority: int, size: int) -> None:
        """Raises: QueueFull: a message of `size` bytes does not fit."""
        if not self.has_room(priority, size):
            raise QueueFull(f"queue {self.name!r} has no room for {size} bytes of priority {priority}")

    def free(self, priority: int) -> int:
        """Bytes that are free in an area; less than 0 when messages were put back into a full one."""
        return self.size[priority] - self.used[priority]

    def put(self, numbered: Numbered) -> None:
        """Add the newest message."""
        body = numbered[2].body
        self.areas[body.priority].append(numbered)
        self.used[body.priority] += len(body.data)

    def take(self) -> Numbered | None:
        """Remove the next message: the highest priority, and of that the oldest."""
        for priority, area in enumerate(self.areas):
            if area:
                numbered = area.popleft()
                self.used[priority] -= len(numbered[2].body.data)
                return numbered
        return None

    def put_back(self, numbers: Iterable[int]) -> int:
        """What is in hand for these gets takes its old place again; return how many messages that are."""
        back = [self.in_hand.pop(number) for number in numbers if number in self.in_hand]
        for numbered in back:
            body = numbered[2].body
            area = self.areas[body.priority]
            self.used[body.priority] += len(body.data)
            if not area or numbered[0] < area[0][0]:
                area.appendleft(numbered)
            else:  # others that were got before it are back already
                ordered = list(area)
                insort(ordered, numbered, key=lambda each: each[0])
                self.areas[body.priority].clear()
                self.areas[body.priority].extend(ordered)
        return len(back)

    def took(self, numbers: Iterable[int]) -> bool:
        """The receiver has the messages of these gets; False: one of them was not given to it, or too long ago."""
        is_known = True
        for number in numbers:
            numbered = self.in_hand.pop(number, None)
            if numbered is not None:
                self._remember_taken(number, numbered)
            elif number not in self.taken:
                is_known = False
        return is_known

    def _remember_taken(self, number: int, numbered: Numbered) -> None:
        self.taken[number] = numbered[:2]
        if len(self.taken) > TAKEN_MAX:
            del self.taken[next(iter(self.taken))]

    def given(self) -> list[Handed]:
        """What is in hand."""
        return [(number, order, sender) for number, (order, sender, _) in self.in_hand.items()]

    def taken_last(self) -> list[Handed]:
        """What was taken of late."""
        return [(number, order, sender) for number, (order, sender) in self.taken.items()]

    def give_again(self, in_hand: Iterable[Handed], taken: Iterable[Handed]) -> None:
        """The receiver was cut off, and comes back: what it had in hand, and is here still, it has in hand again; what
        it had taken is removed."""
        self.in_hand.update(self.take_out(in_hand))
        for number, numbered in self.take_out(taken):
            self._remember_taken(number, numbered)

    def take_out(self, handed: Iterable[Handed]) -> list[tuple[int, Numbered]]:
        """Remove the messages that were given to these gets, as far as they are here."""
        here = {numbered[:2]: numbered for area in self.areas for numbered in area}
        found = [(number, here[(order, sender)]) for number, order, sender in handed if (order, sender) in here]
        gone = {numbered[:2] for _, numbered in found}
        for priority, area in enumerate(self.areas):
            stays = [numbered for numbered in area if numbered[:2] not in gone]
            area.clear()
            area.extend(stays)
            self.used[priority] = sum(len(got.body.data) for _, _, got in stays)
        return found

    def discard(self) -> list[Got]:
        """Remove all messages."""
        gone = [got for area in self.areas for _, _, got in area]
        for area in self.areas:
            area.clear()
        self.used = [0] * PRIORITIES
        return gone

    def count(self) -> int:
        """How many messages wait to be got."""
        return sum(map(len, self.areas))

    # ---- facts

    @property
    def is_open(self) -> bool:
        """Whether somebody has it open."""
        return self.opener is not None

    @property
    def is_persistent(self) -> bool:
        """Whether it lives until it is unlinked."""
        return bool(self.attributes.creation_flags & PERSISTENT)

    def status(self) -> QueueStatus:
        """The public form."""
        first, second, third, fourth = (
            QueueUsage(size, used, len(area)) for size, used, area in zip(self.size, self.used, self.areas, strict=True)
        )
        attributes = self.attributes
        return QueueStatus(
            CreationFlags(attributes.creation_flags),
            attributes.retention_time,
            self.close_time,
            (first, second, third, fourth),
        )
