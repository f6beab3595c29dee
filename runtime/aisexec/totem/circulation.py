"""One ring turning, seen from one member: the token comes, frames go out, the token goes on or is held."""

from aisexec.groups import RingId
from aisexec.totem import packets
from aisexec.totem.events import Broadcast, Counters, Effect, RingOptions, Send
from aisexec.totem.flow import Limits, charge_bytes
from aisexec.totem.ordering import Ordering, Outgoing
from aisexec.totem.packets import FRAME, BadPacket, Commit, Token, requests_max
from aisexec.totem.seal import Seal
from corosync_amf.ais import NodeId

PROMPT_BYTES_MAX = 8192
"""A single frame up to this size asks for acknowledgement at once when somebody waits for the safe point: it costs one
small datagram per member, and saves him most of a rotation."""


class Circulation:
    """`turning` is true once the first token has come; `held` is the token of an idle ring, at its representative, or
    (`keeping`) that of a quiet one, where a client may ask at once."""

    def __init__(self, commit: Commit, options: RingOptions, seal: Seal, counters: Counters) -> None:
        members = commit.members
        local = options.node_id
        limits = Limits(
            min(entry.window_bytes for entry in commit.entries),
            options.window_packets,
            options.visit_packets,
            charge_bytes(options.packet_bytes_max),
            len(members),
        )
        self.ring_id: RingId = commit.ring_id
        self.members = members
        self.ordering = Ordering(self.ring_id, local, limits, requests_max(options.packet_bytes_max))
        self.window = self.ordering.window
        self.held: Token | None = None
        self.keeping = False
        self._forwarded = b""
        self.forwarded_at = 0.0
        self._successor = members[(members.index(local) + 1) % len(members)]
        self._is_representative = local == members[0]
        self._idle_visits = options.idle_visits
        self._seal = seal
        self._counters = counters
        self._ring_seq, self._representative = self.ring_id.seq, self.ring_id.representative
        self._hop = 0
        self._forwarded_seq = 0
        self._release_wanted = False
        self._release_asked = False
        self._keeper: NodeId = 0
        self._held_by_others = {node: 0 for node in members if node != local}

    @property
    def turning(self) -> bool:
        return self._hop > 0

    @property
    def all_safe(self) -> bool:
        """Whether all that this member sent is held by all."""
        return self.ordering.safe >= self.ordering.sent

    def take_frame(self, body: bytes) -> bool:
        """Keep a frame. True when it shows that a member further on has the token.

        Raises: BadPacket.
        """
        if len(body) < FRAME.size:
            raise BadPacket("frame cut short")
        ring_seq: int
        representative: int
        seq: int
        ring_seq, representative, seq, _, _ = FRAME.unpack_from(body)
        counters = self._counters
        if ring_seq != self._ring_seq or representative != self._representative:
            counters.dropped_stale += 1
            return False
        if not self.window.insert(seq, body):
            counters.dropped_duplicate += 1
            return False
        counters.packets_received += 1
        return seq > self._forwarded_seq

    def prompted(self, sender: NodeId, body: bytes) -> bool:
        """Whether a frame that asks for acknowledgement is of this ring. Its sender holds all up to it, and may keep
        the token until all have it.

        Raises: BadPacket.
        """
        if len(body) < FRAME.size:
            raise BadPacket("frame cut short")
        ring_seq, representative, seq, _, _ = FRAME.unpack_from(body)
        if (ring_seq, representative) != (self._ring_seq, self._representative) or sender not in self._held_by_others:
            return False
        self._keeper = sender
        self._others_hold(sender, seq)
        return True

    def acknowledgement(self) -> bytes:
        """The body of an ACK: what this member holds without a gap."""
        return packets.pack_ack(self.ring_id, self.window.aru)

    def acknowledged(self, node: NodeId, body: bytes) -> None:
        """Another member says what it holds; what all hold is safe before the token tells.

        Raises: BadPacket.
        """
        ring_id, aru = packets.unpack_ack(body)
        if ring_id != self.ring_id or node not in self._held_by_others:
            self._counters.dropped_stale += 1
            return
        self._others_hold(node, aru)

    def _others_hold(self, node: NodeId, aru: int) -> None:
        self._held_by_others[node] = max(self._held_by_others[node], aru)
        safe = min(self.window.aru, *self._held_by_others.values())
        if safe > self.ordering.safe:
            self.ordering.safe = safe
            self.window.release(min(safe, self.window.delivered))

    def accept(self, token: Token) -> bool:
        """Whether this is the ring's token and was not here before."""
        if token.ring_id != self.ring_id or token.hop <= self._hop:
            return False
        self._hop = token.hop
        self._release_asked = False
        self._keeper = 0
        return True

    def hold(self, token: Token, outgoing: Outgoing) -> bool:
        """Keep the token of an idle ring, if that is this member's task and nobody wants it."""
        idle = self.ordering.idle >= self._idle_visits
        wanted, self._release_wanted = self._release_wanted, False
        if not self._is_representative or not idle or wanted or outgoing.backlog_bytes:
            return False
        self.held = token
        return True

    def may_keep(self, token: Token, outgoing: Outgoing) -> bool:
        """Whether the token may stay for a moment: nobody is known to have anything to send, nor has this member more
        than a small frame that is acknowledged at once."""
        is_wanted = self._release_wanted or token.rtr or token.pending or token.backlog_bytes > self.ordering.told
        is_complete = self.window.aru >= token.seq
        return not is_wanted and (not outgoing.backlog_bytes or (is_complete and _is_small(outgoing)))

    def release(self) -> Token | None:
        """Give the held token back; None when the token is on its way: then it will not be held when it comes."""
        token, self.held, self.keeping = self.held, None, False
        if token is not None:
            self._release_wanted = False
        return token

    def want_release(self) -> None:
        """A member has something to send: do not hold the token."""
        self._release_wanted = True

    def ask_release(self) -> list[Effect]:
        """Ask for the token whoever seems to keep it: the representative of an idle ring, or who has something
        acknowledged."""
        if self._release_asked:
            return []
        idle = not self._is_representative and self.ordering.idle >= self._idle_visits - 1
        holder = self._keeper or (self.members[0] if idle else 0)
        if not holder:
            return []
        self._release_asked = True
        return [Send(holder, self._seal.seal(packets.CANCEL, b""))]

    def keep(self, token: Token, outgoing: Outgoing) -> list[Effect]:
        """Send what waits, if anything does, and keep the token."""
        self.held, self.keeping = token, True
        if not outgoing.backlog_bytes:
            return []
        return self._sent(self.ordering.depart(token, outgoing, []), [], beyond=False, prompt=True)

    def pass_on(
        self, token: Token, outgoing: Outgoing, resent: list[bytes], now: float, *, beyond: bool
    ) -> list[Effect]:
        """Send what waits, then the token to the next member."""
        prompt = outgoing.prompt
        fresh = self.ordering.depart(token, outgoing, resent)
        effects = self._sent(fresh, resent, beyond=beyond, prompt=prompt)
        self._counters.retransmissions_requested += len(token.rtr)
        token.hop += 1
        self.forwarded_at = now
        self._forwarded_seq = token.seq
        self._forwarded = token.pack()
        effects.append(self.token_again())
        return effects

    def _sent(self, fresh: list[bytes], resent: list[bytes], *, beyond: bool, prompt: bool) -> list[Effect]:
        if not fresh and not resent:
            return []
        self._counters.retransmissions += len(resent)
        self._counters.packets_sent += len(fresh)
        seal = self._seal.seal
        is_complete = self.window.aru >= self.ordering.sent
        prompt = prompt and len(fresh) == 1 and not resent and is_complete and len(fresh[0]) <= PROMPT_BYTES_MAX
        kind = packets.PROMPT if prompt else packets.DATA
        return [Broadcast([seal(kind, frame) for frame in resent + fresh], beyond)]

    def token_again(self) -> Send:
        """The token as it was passed on last."""
        return Send(self._successor, self._seal.seal(packets.TOKEN, self._forwarded))

    def order_alone(self, outgoing: Outgoing) -> None:
        """A ring of one needs no token to travel: the next frames are safe at once."""
        if self.held is None:
            self.held = Token(self.ring_id)
        self.ordering.depart(self.held, outgoing, [])
        self.ordering.safe = self.held.seq


def _is_small(outgoing: Outgoing) -> bool:
    return outgoing.prompt and outgoing.backlog_bytes <= PROMPT_BYTES_MAX - FRAME.size
