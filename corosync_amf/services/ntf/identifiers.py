"""The ids of notifications: growing, and never the same in two partitions. Pure.

An id is a count and, in its lowest bits, the lowest member of the partition that gave it: two partitions that go on
from one state have different ones, and what they have sent can be united when they meet. The count is never behind
the clock in milliseconds, so that ids grow, too, when a cluster starts from nothing. (Order numbers would not do: both
parts of a cluster go on counting from the same number.)
"""

from typing import Final

from corosync_amf.ais import NodeId

MEMBER_BITS: Final = 12
_SECONDS_MAX: Final = float(2**38)


def following(last: int, time: float, coordinator: NodeId) -> int:
    """The id after `last`."""
    clock = int(time * 1000) if 0 <= time < _SECONDS_MAX else 0
    return max((last >> MEMBER_BITS) + 1, clock) << MEMBER_BITS | coordinator & ((1 << MEMBER_BITS) - 1)
