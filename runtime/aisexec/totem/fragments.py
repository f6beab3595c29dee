"""Payloads into the contents of frames, and back: many small ones share a frame, a large one is cut into several."""

from collections import deque
from itertools import accumulate
from typing import Final

from aisexec.totem.events import PAYLOAD_BYTES_MAX
from aisexec.totem.packets import BUNDLE, FRAGMENT, FRAGMENT_END, FRAME, BadPacket, pack_bundle, unpack_bundle
from aisexec.totem.seal import OVERHEAD_BYTES
from corosync_amf.ais import NodeId

_PAYLOAD_OVERHEAD: Final = 5  # of msgpack, at most, for a payload and for the list
_LARGE: Final = -1


def content_bytes_max(packet_bytes_max: int) -> int:
    """What a frame's content may take so that it still fits when it is sent again inside a frame of another ring."""
    return packet_bytes_max - OVERHEAD_BYTES - 2 * FRAME.size


class Outbox:
    """What this node has to send. Bundles are packed as soon as they are full, so that little is left to do when the
    token comes.

    prompt      somebody waits for the members to have something of what is in here
    """

    __slots__ = ("_capacity", "_cut", "_loose", "_loose_bytes", "_ready", "backlog_bytes", "prompt")

    def __init__(self, content_bytes: int) -> None:
        self._capacity = content_bytes
        self._ready: deque[tuple[int, bytes, int]] = deque()  # content kind, content, bytes of its payloads
        self._loose: list[bytes] = []
        self._loose_bytes = _PAYLOAD_OVERHEAD
        self._cut = 0
        self.backlog_bytes = 0
        self.prompt = False

    def __bool__(self) -> bool:
        return bool(self._ready or self._loose)

    @property
    def pending(self) -> int:
        """Nothing of a former ring waits here."""
        return 0

    def add(self, payloads: list[bytes], *, prompt: bool = False) -> None:
        """Raises: ValueError when a payload is larger than PAYLOAD_BYTES_MAX; then none of them is taken."""
        if not payloads:
            return
        total = sum(map(len, payloads))
        largest = total if len(payloads) == 1 else max(map(len, payloads))
        if largest > PAYLOAD_BYTES_MAX:
            raise ValueError(f"a payload of {largest} bytes is larger than {PAYLOAD_BYTES_MAX}")
        self.backlog_bytes += total + len(payloads)
        self.prompt |= prompt
        room = self._capacity - self._loose_bytes
        size = total + _PAYLOAD_OVERHEAD * len(payloads)
        if size <= room:
            self._loose += payloads
            self._loose_bytes += size
        elif largest + 2 * _PAYLOAD_OVERHEAD <= self._capacity:
            self._pack(payloads)
        else:
            for payload in payloads:
                if len(payload) + 2 * _PAYLOAD_OVERHEAD <= self._capacity:
                    self._pack([payload])
                else:
                    self._flush()
                    self._ready.append((_LARGE, payload, len(payload) + 1))

    def _pack(self, payloads: list[bytes]) -> None:
        """Greedily, a bundle at a time; each payload fits into a bundle."""
        sizes = list(accumulate(len(payload) + _PAYLOAD_OVERHEAD for payload in payloads))
        start = taken = 0
        for index, size in enumerate(sizes):
            if self._loose_bytes + size - taken > self._capacity:
                self._loose += payloads[start:index]
                self._flush()
                start, taken = index, sizes[index - 1] if index else 0
        self._loose += payloads[start:]
        self._loose_bytes += sizes[-1] - taken

    def _flush(self) -> None:
        loose = self._loose
        if loose:
            self._ready.append((BUNDLE, pack_bundle(loose), sum(map(len, loose)) + len(loose)))
            self._loose = []
        self._loose_bytes = _PAYLOAD_OVERHEAD

    def next_bytes(self) -> int:
        """Size of what `take` would give; 0 when there is nothing."""
        if not self._ready:
            self._flush()
            if not self._ready:
                return 0
        kind, content, _ = self._ready[0]
        return min(len(content) - self._cut, self._capacity) if kind == _LARGE else len(content)

    def take(self) -> tuple[int, bytes]:
        """Kind and content of the next frame; ask `next_bytes` first."""
        kind, content, size = self._ready[0]
        if kind != _LARGE:
            self._taken(size)
            return kind, content
        piece = content[self._cut : self._cut + self._capacity]
        self._cut += len(piece)
        if self._cut < len(content):
            return FRAGMENT, piece
        self._taken(size)
        self._cut = 0
        return FRAGMENT_END, piece

    def _taken(self, size: int) -> None:
        self._ready.popleft()
        self.backlog_bytes -= size
        self.prompt = self.prompt and bool(self)

    def rewind(self) -> None:
        """Send a payload that is cut in the middle again from its start: the new members have not its first pieces."""
        self._cut = 0


class Assembler:
    """Contents of frames, in the total order, back into payloads. What does not decode is left out: every member sees
    the same bytes and leaves out the same. It also knows which payload each frame completed, see `count_up_to`."""

    __slots__ = ("_count", "_marks", "_pieces", "bad")

    def __init__(self) -> None:
        self._pieces: dict[NodeId, tuple[list[bytes], int]] = {}
        self._count = 0
        self._marks: deque[tuple[int, int]] = deque()  # frame, payloads complete with it
        self.bad = 0

    def add(self, frames: list[bytes]) -> list[tuple[NodeId, bytes]]:
        """The payloads that these frames complete, each with its origin."""
        messages: list[tuple[NodeId, bytes]] = []
        for frame in frames:
            _, _, seq, origin, kind = FRAME.unpack_from(frame)
            if kind == BUNDLE:
                try:
                    payloads = unpack_bundle(memoryview(frame)[FRAME.size :])
                except BadPacket:
                    self.bad += 1
                else:
                    messages += [(origin, payload) for payload in payloads]
            elif kind in (FRAGMENT, FRAGMENT_END):
                payload = self._piece(origin, frame[FRAME.size :], last=kind == FRAGMENT_END)
                if payload is not None:
                    messages.append((origin, payload))
            self._marks.append((seq, self._count + len(messages)))
        self._count += len(messages)
        return messages

    def count_up_to(self, seq: int) -> int | None:
        """How many payloads the frames up to `seq` completed since `clear`; None when it was told before."""
        count = None
        marks = self._marks
        while marks and marks[0][0] <= seq:
            count = marks.popleft()[1]
        return count

    def _piece(self, origin: NodeId, piece: bytes, *, last: bool) -> bytes | None:
        pieces, size = self._pieces.pop(origin, ([], 0))
        size += len(piece)
        if size > PAYLOAD_BYTES_MAX:
            pieces = []  # too large to be from `Outbox`: only its size is kept until its end
        else:
            pieces.append(piece)
        if not last:
            self._pieces[origin] = (pieces, size)
            return None
        if size > PAYLOAD_BYTES_MAX:
            self.bad += 1
            return None
        return b"".join(pieces)

    def clear(self) -> None:
        """Forget unfinished payloads: a new ring begins, and their senders begin them anew."""
        self._pieces.clear()
        self._marks.clear()
        self._count = 0
