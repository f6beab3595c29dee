"""Packets larger than the network's MTU, cut into segments of one size and put together again. Pure.

With segmentation in the kernel (UDP_SEGMENT) one call sends a buffer that the kernel, or the network card, cuts into
datagrams of equal size; each of them begins with a small header, so that the receiver can tell which packet it is part
of. What is lost or forged here is lost: the packet as a whole is authenticated after it was put together, and the ring
asks for it again.
"""

import struct
from collections.abc import Hashable

HEADER = struct.Struct(">4sIHH")
"""Marker, number of the packet (of its sender), index of the segment, segments of the packet."""
MARKER = b"\xa5seg"
SEGMENTS_MAX = 60
"""The kernel cuts at most 64 (UDP_MAX_SEGMENTS); newer ones 128."""
INCOMPLETE_MAX = 32


def packet_bytes_max(segment_bytes: int) -> int:
    """The largest packet that `cut` can cut into segments of `segment_bytes` (headers included)."""
    return (segment_bytes - HEADER.size) * SEGMENTS_MAX


def cut(packet: bytes, segment_bytes: int, number: int) -> bytes:
    """The segments of a packet, one behind the other; all but the last are `segment_bytes` long, header included."""
    room = segment_bytes - HEADER.size
    count = -(-len(packet) // room)
    parts: list[bytes] = []
    for index in range(count):
        parts.append(HEADER.pack(MARKER, number, index, count))
        parts.append(packet[index * room : index * room + room])
    return b"".join(parts)


class Reassembly:
    """Packets of one receiver that are not complete yet. Bounded: the oldest incomplete packet makes room."""

    def __init__(self) -> None:
        self.dropped = 0
        self._incomplete: dict[tuple[Hashable, int], dict[int, bytes]] = {}

    def add(self, source: Hashable, data: bytes, stride: int) -> list[bytes]:
        """Take one datagram, or several that the kernel has joined (`stride` bytes each, the last may be shorter).

        Returns the packets that are complete now; what is no segment counts as a packet of its own.
        """
        packets: list[bytes] = []
        for offset in range(0, len(data), stride or len(data) or 1):
            segment = data[offset : offset + stride] if 0 < stride < len(data) else data
            if not segment.startswith(MARKER) or len(segment) <= HEADER.size:
                packets.append(segment)
            elif (packet := self._add_segment(source, segment)) is not None:
                packets.append(packet)
        return packets

    def _add_segment(self, source: Hashable, segment: bytes) -> bytes | None:
        _, number, index, count = HEADER.unpack_from(segment)
        if not 0 <= index < count <= SEGMENTS_MAX:
            self.dropped += 1
            return None
        key = (source, number)
        parts = self._incomplete.get(key)
        if parts is None:
            if len(self._incomplete) >= INCOMPLETE_MAX:
                del self._incomplete[next(iter(self._incomplete))]
                self.dropped += 1
            parts = self._incomplete[key] = {}
        parts[index] = segment
        if len(parts) < count:
            return None
        del self._incomplete[key]
        if max(parts) != count - 1:  # segments of one number that disagree on their count
            self.dropped += 1
            return None
        return b"".join([parts[position][HEADER.size :] for position in range(count)])
