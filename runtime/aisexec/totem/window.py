"""The frames of one ring that a node holds: which arrived, which are missing, which may be forgotten.

Source: Totem single-ring protocol, my_aru and the input buffer.
"""

from typing import Final

AHEAD_MAX: Final = 4096


class Window:
    """Frames by sequence number, from 1.

    aru         all frames up to this one have arrived ("all received up to")
    high        the highest that has arrived
    delivered   all up to this one were taken
    released    all up to this one were forgotten
    held_bytes  size of the frames held
    """

    __slots__ = ("_frames", "aru", "delivered", "held_bytes", "high", "released")

    def __init__(self) -> None:
        self._frames: dict[int, bytes] = {}
        self.aru = 0
        self.high = 0
        self.delivered = 0
        self.released = 0
        self.held_bytes = 0

    def insert(self, seq: int, frame: bytes) -> bool:
        """Keep a frame; False for one that came before, or is too far ahead to be kept."""
        frames, aru = self._frames, self.aru
        if seq <= aru or seq in frames or seq > aru + AHEAD_MAX:
            return False
        frames[seq] = frame
        self.held_bytes += len(frame)
        if seq > self.high:
            self.high = seq
        if seq == aru + 1:
            aru = seq
            while aru + 1 in frames:
                aru += 1
            self.aru = aru
        return True

    def get(self, seq: int) -> bytes | None:
        """The frame if it is held."""
        return self._frames.get(seq)

    def missing(self, seq: int, limit: int) -> list[int]:
        """The first `limit` frames up to `seq` that have not arrived."""
        if seq <= self.aru:
            return []
        frames = self._frames
        found = []
        for candidate in range(self.aru + 1, min(seq, self.aru + AHEAD_MAX) + 1):
            if candidate not in frames:
                found.append(candidate)
                if len(found) == limit:
                    break
        return found

    def take(self) -> list[bytes]:
        """The frames that can be delivered in order and were not yet taken."""
        start, self.delivered = self.delivered + 1, self.aru
        frames = self._frames
        return [frames[seq] for seq in range(start, self.aru + 1)]

    def take_one(self) -> None:
        """Count the next frame as taken."""
        self.delivered += 1

    def beyond_gap(self) -> list[bytes]:
        """The frames held after the first missing one, in order."""
        return [self._frames[seq] for seq in sorted(self._frames) if seq > self.aru]

    def release(self, seq: int) -> None:
        """Forget the frames up to `seq` that were delivered; all members hold them."""
        end = min(seq, self.delivered)
        for old in range(self.released + 1, end + 1):
            self.held_bytes -= len(self._frames.pop(old))
        self.released = max(self.released, end)
