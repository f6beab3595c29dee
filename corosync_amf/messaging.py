"""What EVS and CPG have in common on the wire: guarantees, limits, and many messages packed into one request. Pure.

The library packs what a process sends in one round of its event loop; no executive opens a pack on its way. A pack is
a msgspec `list[bytes]` with a head that says what can be checked without opening it.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Message

MESSAGE_BYTES_MAX: Final = 1024 * 1024
"""The longest message."""
PACK_BYTES: Final = 56 * 1024
"""A pack of this size is full; with all that is put around it, it travels in one packet of the ring."""
HEAD_BYTES_MIN: Final = 2
HEAD_BYTES_MAX: Final = 5
"""What one message takes in a pack besides its own bytes; and the list of them at most."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode


class Guarantee(IntEnum):
    """When a message is delivered. UNORDERED and FIFO are delivered as AGREED is.

    AGREED: in one order that all members see alike. SAFE: in that order, and not before every member has it.
    """

    UNORDERED = 0
    FIFO = 1
    AGREED = 2
    SAFE = 3


class RingId(msgspec.Struct, frozen=True, order=True, array_like=True, forbid_unknown_fields=True):
    """Names one configuration: `seq` grows, `node_id` is the lowest member."""

    node_id: NodeId
    seq: int


class Packed(Message, frozen=True):
    """An event that brings `count` messages, packed in `data`."""

    count: int
    data: memoryview


def pack(messages: Sequence[bytes]) -> memoryview:
    """Messages as one piece of data, of which nobody needs to make a copy."""
    return memoryview(_encode(messages))


def unpack(data: memoryview, count: int) -> list[bytes]:
    """The messages of a pack; none of a pack that is not what its head says: every receiver drops it alike."""
    try:
        messages = _decode(data)
    except msgspec.DecodeError:
        return []
    return messages if len(messages) == count else []


def is_sound(count: int, data: memoryview) -> bool:
    """Whether what comes from a client can be a pack of `count` messages, each within the limit."""
    size = len(data)
    if count == 1:
        return size <= MESSAGE_BYTES_MAX + HEAD_BYTES_MAX + 1
    return count > 1 and count * HEAD_BYTES_MIN < size <= PACK_BYTES + HEAD_BYTES_MAX
