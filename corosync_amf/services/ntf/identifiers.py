"""The ids of notifications: growing, and not the same for two notifications in two partitions. Pure.

An id is a count and, in its lowest bits, a checksum of what it is for and who asked. Order numbers would not do, nor
would a count alone: both parts of a cluster that falls apart go on counting from the same place, and while it falls
apart each may still deliver, in the old membership, what the other never sees. The count is never behind the clock
in milliseconds, so that ids grow, too, when a cluster starts from nothing.
"""

from typing import Final
from zlib import crc32

from corosync_amf.engine import Origin

MARK_BITS: Final = 20
_SECONDS_MAX: Final = float(2**32)


def following(last: int, origin: Origin, data: bytes = b"") -> int:
    """The id after `last`, for what `origin` asked with `data`."""
    client, time = origin.client, origin.time
    clock = int(time * 1000) if 0 <= time < _SECONDS_MAX else 0
    mark = crc32(b"%d %d %d " % (client.node, client.number, origin.request) + data)
    return max((last >> MARK_BITS) + 1, clock) << MARK_BITS | mark & ((1 << MARK_BITS) - 1)
