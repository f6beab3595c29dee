"""The total order of one ring, seen from one member: what it does while it has the token.

    arrive(token)   learn what is safe, find what others miss
    depart(token)   send what waits, say what is missing here, hand the token on

Source: Totem single-ring protocol, total ordering: seq, aru, rtr, fcc.
"""

from typing import Protocol

from aisexec.groups import RingId
from aisexec.totem.flow import NOTHING, Limits, Traffic, allowance, charge_bytes, credit
from aisexec.totem.packets import FRAME, Token
from aisexec.totem.seal import OVERHEAD_BYTES
from aisexec.totem.window import AHEAD_MAX, Window
from corosync_amf.ais import NodeId

_HELD_WINDOWS_MAX = 6


class Outgoing(Protocol):
    """What waits to be sent: an `Outbox`, or the frames of a former ring (`Resending`)."""

    @property
    def backlog_bytes(self) -> int: ...
    @property
    def pending(self) -> int: ...
    @property
    def prompt(self) -> bool: ...
    def next_bytes(self) -> int: ...
    def take(self) -> tuple[int, bytes]: ...


class Ordering:
    """One member's part in the order of one ring.

    safe     all frames up to this one are held by all members
    visits   how often the token was here
    idle     the last so many visits brought nothing new, and everybody has everything
    stuck    the last so many visits, one other member kept back what all hold
    sent     the last frame this member sent
    """

    def __init__(self, ring_id: RingId, local: NodeId, limits: Limits, requests_max: int) -> None:
        self.local = local
        self.window = Window()
        self.safe = 0
        self.visits = 0
        self.idle = 0
        self.stuck = 0
        self.sent = 0
        self._ring_id = ring_id
        self._limits = limits
        self._requests_max = requests_max
        self._arrived_seq = 0
        self._forwarded_aru = 0
        self._aru_before = (0, 0)
        self._seq_before = -1
        self._saved = NOTHING
        self._sent_bytes = 0
        self._sent_packets = 0
        self._backlog_told = 0
        self._pending_told = 0

    @property
    def told(self) -> int:
        """The part of the token's backlog that is this member's."""
        return self._backlog_told

    @property
    def ring_id(self) -> RingId:
        return self._ring_id

    def arrive(self, token: Token) -> list[bytes]:
        """The token comes. Gives the frames that others miss and this member holds, to be sent again.

        A frame is safe when the aru that this member let pass came back no lower: every member had its say.
        """
        window = self.window
        if self.visits:
            self.safe = max(self.safe, min(self._forwarded_aru, token.aru))
            window.release(self.safe)
        self.visits += 1
        stable = token.seq == self._seq_before and token.aru == token.seq and not token.rtr
        self.idle = self.idle + 1 if stable and not token.backlog_bytes and not token.pending else 0
        held_back = token.aru < token.seq and token.aru_id != self.local
        aru_now = (token.aru, token.aru_id)
        self.stuck = self.stuck + 1 if held_back and aru_now == self._aru_before else 0
        self._aru_before = aru_now
        self._seq_before = self._arrived_seq = token.seq
        return self._answer_requests(token) if token.rtr else []

    def _answer_requests(self, token: Token) -> list[bytes]:
        room = self._limits.window_bytes // 2
        found: list[bytes] = []
        still_wanted: list[int] = []
        for seq in token.rtr:
            frame = self.window.get(seq)
            if frame is None or (found and room < len(frame)):
                still_wanted.append(seq)
            else:
                room -= charge_bytes(len(frame))
                found.append(frame)
        token.rtr = still_wanted
        return found

    def depart(self, token: Token, outgoing: Outgoing, resent: list[bytes]) -> list[bytes]:
        """Write this member's part into the token and give the new frames to send before it. `resent`, what `arrive`
        gave, counts as sent."""
        frames = self._originate(token, outgoing, resent)
        window, local = self.window, self.local
        if token.aru_id in (0, local) or window.aru < token.aru:
            token.aru = window.aru
            token.aru_id = 0 if window.aru == token.seq else local
        self._forwarded_aru = token.aru
        self._request_missing(token)
        backlog = outgoing.backlog_bytes
        token.backlog_bytes = max(token.backlog_bytes - self._backlog_told, 0) + backlog
        self._backlog_told = backlog
        pending = outgoing.pending
        token.pending = max(token.pending - self._pending_told, 0) + pending
        self._pending_told = pending
        return frames

    def _originate(self, token: Token, outgoing: Outgoing, resent: list[bytes]) -> list[bytes]:
        window, ring_id, limits = self.window, self._ring_id, self._limits
        others = Traffic(max(token.sent_bytes - self._sent_bytes, 0), max(token.sent_packets - self._sent_packets, 0))
        charged = sum(charge_bytes(len(frame) + OVERHEAD_BYTES) for frame in resent)
        frames: list[bytes] = []
        room = token.seq - token.aru < AHEAD_MAX // 2 and window.held_bytes < _HELD_WINDOWS_MAX * limits.window_bytes
        if room and outgoing.backlog_bytes:
            own = credit(limits, outgoing.backlog_bytes, token.backlog_bytes - self._backlog_told, self._saved)
            allowed = allowance(limits, others, own)
            while len(frames) + 1 <= allowed.packets and (size := outgoing.next_bytes()):
                charge = charge_bytes(size + FRAME.size + OVERHEAD_BYTES)
                if charged + charge > allowed.charged_bytes:
                    break
                charged += charge
                kind, content = outgoing.take()
                token.seq += 1
                frame = FRAME.pack(ring_id.seq, ring_id.representative, token.seq, self.local, kind) + content
                window.insert(token.seq, frame)
                frames.append(frame)
            if frames:
                self.sent = token.seq
            self._saved = own - Traffic(charged, len(frames)) if outgoing.backlog_bytes else NOTHING
        self._sent_bytes, self._sent_packets = charged, len(frames)
        token.sent_bytes = int(others.charged_bytes) + charged
        token.sent_packets = int(others.packets) + len(frames)
        return frames

    def _request_missing(self, token: Token) -> None:
        """Ask for what had been sent before the token came and is not here."""
        if self.window.aru >= self._arrived_seq:
            return
        wanted = set(token.rtr)
        for seq in self.window.missing(self._arrived_seq, self._requests_max):
            if seq not in wanted and len(token.rtr) < self._requests_max:
                token.rtr.append(seq)
