"""MSG: message queues and queue groups that survive the nodes they are used from.

Anybody sends by name to a queue, or to a group of queues; one process at a time has a queue open and gets what is in
it. Every node holds every message.

Source: SAI-AIS-MSG-B.03.01.
"""

from .client import MsgService, initialize
from .events import GroupTrack, MessageDelivered, MessageReceived, QueueOpened
from .queue import Queue
from .values import (
    AckFlags,
    Callback,
    CapacityStatus,
    CreationFlags,
    GroupChange,
    GroupNotification,
    GroupView,
    LimitId,
    Message,
    QueueCreationAttributes,
    QueueGroupPolicy,
    QueueOpenFlags,
    QueueStatus,
    QueueThresholds,
    QueueUsage,
    Received,
    SenderId,
)

__all__ = [
    "AckFlags",
    "Callback",
    "CapacityStatus",
    "CreationFlags",
    "GroupChange",
    "GroupNotification",
    "GroupTrack",
    "GroupView",
    "LimitId",
    "Message",
    "MessageDelivered",
    "MessageReceived",
    "MsgService",
    "Queue",
    "QueueCreationAttributes",
    "QueueGroupPolicy",
    "QueueOpenFlags",
    "QueueOpened",
    "QueueStatus",
    "QueueThresholds",
    "QueueUsage",
    "Received",
    "SenderId",
    "initialize",
]
