"""The public value types of message queues: flags, attributes, messages, limits.

Source: SAI-AIS-MSG-B.03.01 section 3.3.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, NewType

AREA_BYTES_MAX: Final = 16 * 1024 * 1024
QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024
QUEUES_MAX: Final = 4096
GROUPS_MAX: Final = 1024
QUEUES_PER_GROUP_MAX: Final = 1024
MESSAGE_BYTES_MAX: Final = 1024 * 1024
REPLY_BYTES_MAX: Final = 1024 * 1024
AREA_MESSAGES_MAX: Final = 65_536
"""Messages in one priority area."""
HANDLES_MAX: Final = 4096
"""Queues that one client has open."""
PRIORITIES: Final = 4
PRIORITY_LOWEST: Final = PRIORITIES - 1
NUMBER_MAX: Final = 0xFFFFFFFF
"""The highest `type` and `version` of a message."""

Sizes = tuple[int, int, int, int]
"""Bytes per priority area, that of priority 0 first."""

SenderId = NewType("SenderId", int)
"""Names a sender that waits for a reply; good for one reply."""


class Callback(IntFlag):
    """The kinds of events a session wants."""

    OPEN = 1
    GROUP_TRACK = 2
    DELIVERED = 4
    RECEIVED = 8
    ALL = OPEN | GROUP_TRACK | DELIVERED | RECEIVED


class CreationFlags(IntFlag):
    """SaMsgQueueCreationFlagsT. PERSISTENT: the queue lives until it is unlinked."""

    NONE = 0
    PERSISTENT = 1


class QueueOpenFlags(IntFlag):
    """SaMsgQueueOpenFlagsT. RECEIVE_CALLBACK: an event for each message; EMPTY: discard what is in the queue."""

    NONE = 0
    CREATE = 1
    RECEIVE_CALLBACK = 2
    EMPTY = 4


class AckFlags(IntFlag):
    """SaMsgAckFlagsT. DELIVERED_ACK: tell by an event what came of an asynchronous send."""

    NONE = 0
    DELIVERED_ACK = 1


class QueueGroupPolicy(IntEnum):
    """SaMsgQueueGroupPolicyT: which of its queues a message to a group goes to."""

    ROUND_ROBIN = 1
    LOCAL_ROUND_ROBIN = 2
    LOCAL_BEST_QUEUE = 3
    BROADCAST = 4


class GroupChange(IntEnum):
    """SaMsgQueueGroupChangesT. STATE_CHANGED: the queue was opened or closed."""

    NO_CHANGE = 1
    ADDED = 2
    REMOVED = 3
    STATE_CHANGED = 4


class CapacityStatus(IntEnum):
    """SaMsgMessageCapacityStatusT: the new state in a state-change notification (see `QueueThresholds`)."""

    QUEUE_CAPACITY_REACHED = 1
    QUEUE_CAPACITY_AVAILABLE = 2
    QUEUE_GROUP_CAPACITY_REACHED = 3
    QUEUE_GROUP_CAPACITY_AVAILABLE = 4


class LimitId(IntEnum):
    """SaMsgLimitIdT. Sizes are in bytes."""

    MAX_PRIORITY_AREA_SIZE = 1
    MAX_QUEUE_SIZE = 2
    MAX_NUM_QUEUES = 3
    MAX_NUM_QUEUE_GROUPS = 4
    MAX_NUM_QUEUES_PER_GROUP = 5
    MAX_MESSAGE_SIZE = 6
    MAX_REPLY_SIZE = 7


LIMITS: Final = {
    LimitId.MAX_PRIORITY_AREA_SIZE: AREA_BYTES_MAX,
    LimitId.MAX_QUEUE_SIZE: QUEUE_BYTES_MAX,
    LimitId.MAX_NUM_QUEUES: QUEUES_MAX,
    LimitId.MAX_NUM_QUEUE_GROUPS: GROUPS_MAX,
    LimitId.MAX_NUM_QUEUES_PER_GROUP: QUEUES_PER_GROUP_MAX,
    LimitId.MAX_MESSAGE_SIZE: MESSAGE_BYTES_MAX,
    LimitId.MAX_REPLY_SIZE: REPLY_BYTES_MAX,
}


@dataclass(frozen=True, slots=True)
class QueueCreationAttributes:
    """SaMsgQueueCreationAttributesT: what a queue is made for.

    `size`: bytes for the messages of each priority, 0 first; at most 16 MiB each. An area of size 0 takes no message.
    `retention_time`: seconds that the queue outlives its close; None for ever. PERSISTENT queues do not look at it.
    """

    creation_flags: CreationFlags = CreationFlags.NONE
    size: Sizes = (1048576, 1048576, 1048576, 1048576)
    retention_time: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Message:
    """SaMsgMessageT. `data` is any buffer of up to 1 MiB; `priority` 0 is the highest, 3 the lowest.

    `type` and `version` (0..2**32-1) and `sender_name` are for the application; the service does not look at them.
    """

    data: bytes = b""
    type: int = 0
    version: int = 0
    priority: int = 3
    sender_name: str | None = None


@dataclass(frozen=True, slots=True)
class Received(Message):
    """A message that came. `send_time` is the sender's wall clock, seconds since the epoch.

    `sender_id` is set when the sender waits for a reply: give it to `MsgService.message_reply`.
    """

    send_time: float = 0.0
    sender_id: SenderId | None = None


@dataclass(frozen=True, slots=True)
class QueueUsage:
    """SaMsgQueueUsageT, of one priority area; sizes in bytes."""

    queue_size: int
    queue_used: int
    number_of_messages: int


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """SaMsgQueueStatusT. `close_time` is wall clock, None while the queue is open; `usage`: one per priority.

    What was got but not yet acknowledged by the receiver's library is not counted.
    """

    creation_flags: CreationFlags
    retention_time: float | None
    close_time: float | None
    usage: tuple[QueueUsage, QueueUsage, QueueUsage, QueueUsage]


@dataclass(frozen=True, slots=True)
class GroupNotification:
    """SaMsgQueueGroupNotificationT."""

    queue_name: str
    change: GroupChange


@dataclass(frozen=True, slots=True)
class GroupView:
    """SaMsgQueueGroupNotificationBufferT: queues in the order of their insertion, a removed one last.

    `number_of_members` counts the queues after the change.
    """

    policy: QueueGroupPolicy
    notifications: tuple[GroupNotification, ...]
    number_of_members: int


@dataclass(frozen=True, slots=True)
class QueueThresholds:
    """SaMsgQueueThresholdsT: bytes used, per priority, with `capacity_available <= capacity_reached <= size`.

    The capacity is *reached* when each area is used over its `capacity_reached` (or is full), *available* again when
    one is used less than its `capacity_available`.
    """

    capacity_reached: Sizes
    capacity_available: Sizes
