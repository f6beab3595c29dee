"""What members of a former ring owe one another before the new ring begins.

All members read the same entries in the commit token, so they agree on who sends what again. The longest unbroken
stretch is sent by its holder alone; beyond it everybody sends what it holds, except where the frame's origin, which
surely holds it, is among them.

Source: Totem single-ring protocol, recovery; extended virtual synchrony.
"""

from collections import deque

from aisexec.groups import RingId
from aisexec.totem.packets import FRAME, RECOVERED, Entry
from aisexec.totem.window import Window
from corosync_amf.ais import NodeId


def transitional_members(entries: tuple[Entry, ...], old_ring_id: RingId | None) -> tuple[NodeId, ...]:
    """The members of the new ring that come from `old_ring_id`."""
    if old_ring_id is None:
        return ()
    return tuple(entry.node for entry in entries if entry.old_ring_id == old_ring_id)


def frames_to_resend(window: Window, entries: tuple[Entry, ...], old_ring_id: RingId, local: NodeId) -> list[bytes]:
    """The frames of the former ring that this member sends again on the new one, in order."""
    comrades = [entry for entry in entries if entry.old_ring_id == old_ring_id]
    if len(comrades) < 2:
        return []
    members = {entry.node for entry in comrades}
    lowest = min(entry.aru for entry in comrades)
    longest = max(comrades, key=lambda entry: (entry.aru, -entry.node))
    frames = []
    for seq in range(lowest + 1, window.high + 1):
        frame = window.get(seq)
        if frame is None:
            continue
        if seq <= longest.aru:
            mine = longest.node == local
        else:
            origin = FRAME.unpack_from(frame)[3]
            mine = origin == local or origin not in members
        if mine:
            frames.append(frame)
    return frames


def deliverable_after_gap(window: Window, members: tuple[NodeId, ...]) -> list[bytes]:
    """The frames beyond the first one lost for ever that may still be delivered: those whose origins are at hand, for
    what the others sent may depend on what is lost."""
    return [frame for frame in window.beyond_gap() if FRAME.unpack_from(frame)[3] in members]


class Resending:
    """Frames of a former ring, waiting to be sent inside frames of the new one."""

    __slots__ = ("_frames", "backlog_bytes")

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = deque(frames)
        self.backlog_bytes = sum(map(len, frames))

    @property
    def pending(self) -> int:
        """Frames still to be sent."""
        return len(self._frames)

    @property
    def prompt(self) -> bool:
        """Nobody waits for a forming ring."""
        return False

    def next_bytes(self) -> int:
        """Size of what `take` would give; 0 when there is nothing."""
        return len(self._frames[0]) if self._frames else 0

    def take(self) -> tuple[int, bytes]:
        """Kind and content of the next frame; ask `next_bytes` first."""
        frame = self._frames.popleft()
        self.backlog_bytes -= len(frame)
        return RECOVERED, frame


def absorb(forming: Window, old: Window | None, old_ring_id: RingId | None) -> None:
    """Put the frames of the former ring that came over the new one where they belong."""
    while (frame := forming.get(forming.delivered + 1)) is not None and forming.delivered < forming.aru:
        if FRAME.unpack_from(frame)[4] != RECOVERED:
            return
        forming.take_one()
        inner = frame[FRAME.size :]
        if old is None or len(inner) < FRAME.size:
            continue
        ring_seq, representative, seq, _, _ = FRAME.unpack_from(inner)
        if RingId(ring_seq, representative) == old_ring_id:
            old.insert(seq, inner)
