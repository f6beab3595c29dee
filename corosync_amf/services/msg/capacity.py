"""Capacity thresholds: when a queue, or a group of queues, is nearly full, and who is told."""

from typing import Final

from corosync_amf.engine import Effect, Forward, Notice, Service

from .groups import Group
from .store import Queue
from .values import PRIORITIES, CapacityStatus

OBJECT_STATE_CHANGE: Final = 0x3001
SERVICE: Final = "safApp=safMsgService"
VENDOR: Final = 18568
"""The SA Forum, as `vendor id` of a notification's class."""
SA_SVC_MSG: Final = 6
DESTINATION_CAPACITY_STATUS: Final = 1
"""SA_MSG_DEST_CAPACITY_STATUS: the state whose values are those of `CapacityStatus`."""
MINOR: Final = 0x64
"""The minor id of a notification's class is this and the `CapacityStatus`: 0x65 to 0x68."""


def updated(queue: Queue) -> list[Effect]:
    """Look at a queue whose usage, or thresholds, have changed."""
    thresholds, used, size = queue.thresholds, queue.used, queue.size
    if thresholds is None:
        return []
    if queue.is_reached:
        free_again = any(used[each] < thresholds.capacity_available[each] for each in range(PRIORITIES))
        is_reached = not free_again
    else:
        is_reached = all(
            used[each] > thresholds.capacity_reached[each] or used[each] >= size[each] for each in range(PRIORITIES)
        )
    if is_reached == queue.is_reached:
        return []
    queue.is_reached = is_reached
    status = CapacityStatus.QUEUE_CAPACITY_REACHED if is_reached else CapacityStatus.QUEUE_CAPACITY_AVAILABLE
    effects: list[Effect] = [_notice(queue.name, status)]
    for name in sorted(queue.groups):
        effects += group_updated(queue.groups[name])
    return effects


def group_updated(group: Group) -> list[Effect]:
    """Look at a group whose queues, or the state of one of them, have changed."""
    is_reached = bool(group.queues) and all(queue.is_reached for queue in group.queues)
    if is_reached == group.is_reached:
        return []
    group.is_reached = is_reached
    reached, available = CapacityStatus.QUEUE_GROUP_CAPACITY_REACHED, CapacityStatus.QUEUE_GROUP_CAPACITY_AVAILABLE
    return [_notice(group.name, reached if is_reached else available)]


def _notice(name: str, status: CapacityStatus) -> Forward:
    what = "queue group" if status > CapacityStatus.QUEUE_CAPACITY_AVAILABLE else "queue"
    how = "reached" if status in (1, 3) else "available again"
    notice = Notice(
        OBJECT_STATE_CHANGE,
        name,
        SERVICE,
        (VENDOR, SA_SVC_MSG, MINOR + status),
        f"the capacity of message {what} {name} is {how}",
        states=((DESTINATION_CAPACITY_STATUS, None, int(status)),),
    )
    return Forward(Service.NTF, notice)
