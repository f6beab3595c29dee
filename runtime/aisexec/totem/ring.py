"""One node's part in a Totem single ring: membership, total order, recovery.

              token lost, join, goodbye, another ring
    OPERATIONAL -----------------------------------------> GATHER   join messages until all agree
         ^                                                   |      the lowest member sends the commit token
         |  everybody has the old frames                     v
      RECOVERY <------------------------------------------ COMMIT   first round: what each member holds
         the token's first rounds: old frames again          second round: everybody reads it

From COMMIT and RECOVERY a lost token or a join leads back to GATHER. The ring that was installed last stays until the
next is: only then is it known what of the old order can still be delivered, and to whom.

Source: Y. Amir, L. Moser, P. Melliar-Smith, D. Agarwal, P. Ciarfella, The Totem Single-Ring Ordering and Membership
Protocol, ACM TOCS 13(4), 1995.
"""

import math
from collections.abc import Iterable
from enum import Enum

from aisexec.groups import Configuration, ConfigurationKind, Delivered, RingId, Safe
from aisexec.totem import packets, recovery
from aisexec.totem.events import (
    PAYLOAD_BYTES_MAX,
    Broadcast,
    Counters,
    Effect,
    Event,
    Leave,
    Level,
    Log,
    Multicast,
    MulticastMany,
    Received,
    RingOptions,
    RingState,
    Send,
    Source,
)
from aisexec.totem.flow import Limits, charge_bytes
from aisexec.totem.fragments import Assembler, Outbox, content_bytes_max
from aisexec.totem.intake import Intake, Packet
from aisexec.totem.membership import Gathering
from aisexec.totem.ordering import Ordering
from aisexec.totem.packets import BadPacket, Commit, Control, Entry, Join, Token
from aisexec.totem.seal import Seal
from corosync_amf.ais import NodeId

__all__ = [
    "PAYLOAD_BYTES_MAX", "Broadcast", "Counters", "Effect", "Event", "Leave", "Log", "Multicast", "MulticastMany",
    "Received", "Ring", "RingOptions", "RingState", "Send", "Source",
]  # fmt: skip

OPERATIONAL, GATHER, COMMIT, RECOVERY = RingState.OPERATIONAL, RingState.GATHER, RingState.COMMIT, RingState.RECOVERY


class _Timer(Enum):
    TOKEN = "token lost"
    RETRANSMIT = "token or commit token to be sent again"
    HOLD = "held token to be passed on"
    JOIN = "join message to be sent again"
    SETTLE = "first start: no longer wait for others"
    CONSENSUS = "no longer wait for agreement"
    MERGE = "show this ring to others"
    PROBE = "ask who is there"
    GOODBYE = "no longer wait for what is queued"


class Ring:
    """A machine: feed it events and the time (monotonic seconds), carry out the effects in their order.

    Call `start` once; then `handle` for each event and `wake` when `next_deadline` has come. The attributes below are
    facts to read, never to write.

    state, members, ring_id     where the ring stands; members in ring order, ring_id of the installed ring
    incarnations                of the members of the installed ring
    departed                    nodes known to be gone for good: they said goodbye, or came back as a new incarnation;
                                maps the node to the incarnation that is gone
    sources                     where each node's last authenticated packet came from
    heard                       when each node was last heard in an authenticated packet
    known_heard                 a time at or after which each node is known to have heard this one (see `contact`)
    left                        the goodbye is said; nothing more will happen
    counters                    see `Counters`
    """

    def __init__(self, options: RingOptions, seal: Seal, now: float) -> None:
        self.state = GATHER
        self.members: tuple[NodeId, ...] = ()
        self.ring_id = RingId(0, options.node_id)
        self.incarnations: dict[NodeId, int] = {}
        self.departed: dict[NodeId, int] = {}
        self.known_heard: dict[NodeId, float] = {}
        self.left = False
        self.counters = Counters()
        self._options = options
        self._local = options.node_id
        self._seal = seal.seal
        self._intake = Intake(seal, options.node_id, options.incarnation, self.counters)
        self.heard = self._intake.heard
        self.sources = self._intake.sources
        self._now = now
        self._out: list[Effect] = []
        self._timers: dict[_Timer, float] = {}
        # the order
        self._outbox = Outbox(content_bytes_max(options.packet_bytes_max))
        self._assembler = Assembler()
        self._installed: Ordering | None = None
        self._safe_told = 0
        # the token
        self._hop = 0
        self._held: Token | None = None
        self._forwarded: tuple[NodeId, int, bytes] | None = None
        self._forwarded_at = now
        self._forwarded_seq = 0
        self._release_wanted = False
        self._release_asked = False
        self._token_at = now
        self._asked_since: float | None = None
        self._warned = False
        # the next ring
        self._ring_seq = self._committed_seq = options.ring_seq
        self._reason = ""
        self._settle_at = now
        self._join_number = 0
        self._joins_seen: dict[NodeId, tuple[int, int]] = {}
        self._last_incarnations: dict[NodeId, int] = {}
        self._gathering: Gathering | None = None
        self._commit: Commit | None = None
        self._forming: Ordering | None = None
        self._resending = recovery.Resending([])
        self._install_seq: int | None = None
        self._suitors: dict[NodeId, float] = {}
        self._leaving = False

    @property
    def backlog_bytes(self) -> int:
        """Bytes queued and not yet sent."""
        return self._outbox.backlog_bytes

    # What drivers call

    def start(self, now: float) -> list[Effect]:
        """Look for other nodes; a REGULAR configuration follows, of this node alone when nobody answers."""
        self._now = now
        self._settle_at = now + self._options.join_jitter + 2 * self._options.timeouts.join
        self._gather("this node starts")
        return self._finish()

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event.

        Raises: ValueError for a payload above PAYLOAD_BYTES_MAX; nothing else, whatever the network brings.
        """
        self._now = now
        if self.left:
            return []
        if isinstance(event, Received):
            self._receive(event)
        elif isinstance(event, MulticastMany):
            self._multicast(event.payloads)
        elif isinstance(event, Multicast):
            self._multicast([event.payload])
        elif not self._leaving:
            self._leaving = True
            self._timers[_Timer.GOODBYE] = now + self._options.timeouts.token
        return self._finish()

    def wake(self, now: float) -> list[Effect]:
        """Do what is due. Harmless when nothing is."""
        self._now = now
        for timer, _ in sorted(self._timers.items(), key=lambda item: item[1]):
            if self._timers.get(timer, math.inf) <= now:
                del self._timers[timer]
                self._due(timer)
        return self._finish()

    def next_deadline(self) -> float | None:
        """When `wake` is wanted; None is never."""
        return min(self._timers.values(), default=None)

    def _finish(self) -> list[Effect]:
        self._deliver()
        if self._leaving and not self.left and self._said_everything():
            self._say_goodbye()
        out, self._out = self._out, []
        return out

    # Packets

    def _receive(self, event: Received) -> None:
        """Frames first, then the control messages in their order, the token last: it must find all that came before."""
        opened, logs = self._intake.open(event.datagrams, self._now)
        self._out += logs
        token: Token | None = None
        for packet in opened:
            kind, body = packet[0], packet[3]
            try:
                if kind == packets.DATA:
                    self._on_frame(body)
                elif kind == packets.TOKEN:
                    came = packets.unpack_token(body)
                    if token is None or (came.ring_id, came.hop) > (token.ring_id, token.hop):
                        token = came
                else:
                    self._on_control(packet, packets.unpack_control(kind, body))
            except BadPacket:
                self.counters.dropped_garbage += 1
        if token is not None:
            self._on_token(token)

    def _on_frame(self, body: bytes) -> None:
        if len(body) < packets.FRAME.size:
            raise BadPacket("frame cut short")
        ring_seq, representative, seq, _, _ = packets.FRAME.unpack_from(body)
        state = self.state
        ordering = self._forming if state is RECOVERY else None if state is COMMIT else self._installed
        if ordering is None or ordering.ring_id.seq != ring_seq or ordering.ring_id.representative != representative:
            self.counters.dropped_stale += 1
        elif ordering.window.insert(seq, body):
            self.counters.packets_received += 1
            if seq > self._forwarded_seq and state is not GATHER:
                self._timers.pop(_Timer.RETRANSMIT, None)  # somebody further on has the token
        else:
            self.counters.dropped_duplicate += 1

    def _on_control(self, packet: Packet, message: Control | None) -> None:
        kind, sender, incarnation, body = packet
        if kind == packets.PROBE:
            self._out.append(Send(sender, self._seal(packets.ANSWER, body)))
        elif kind == packets.ANSWER:
            assert isinstance(message, packets.Probe)
            self._on_answer(sender, message.time)
        elif isinstance(message, Join):
            self._on_join(sender, incarnation, message)
        elif isinstance(message, Commit):
            self._on_commit(message)
        elif kind == packets.MERGE:
            self._on_merge(sender, incarnation)
        elif kind == packets.CANCEL:
            self._release_wanted = True
            if self._held is not None:
                self._release()
        elif kind == packets.GOODBYE:
            self._on_goodbye(sender, incarnation)

    # The token

    def _on_token(self, token: Token) -> None:
        state = self.state
        ordering = self._forming if state is RECOVERY else self._installed if state is OPERATIONAL else None
        if ordering is None or token.ring_id != ordering.ring_id or token.hop <= self._hop:
            self.counters.dropped_stale += 1
            return
        self.counters.tokens += 1
        self._hop = token.hop
        self._token_is_here(ordering)
        if state is RECOVERY:
            self._absorb()
        resent = ordering.arrive(token)
        if state is RECOVERY and self._is_recovered(ordering, token):
            self._install(ordering)
        if ordering.stuck > self._options.fail_receive_visits:
            self._gather(f"node {token.aru_id} receives nothing any more", fail=(token.aru_id,))
        elif self._may_hold(ordering):
            self.counters.holds += 1
            self._held = token
            self._timers[_Timer.HOLD] = self._now + self._options.timeouts.hold
        else:
            self._pass_on(ordering, token, resent)

    def _token_is_here(self, ordering: Ordering) -> None:
        now, timeouts = self._now, self._options.timeouts
        if ordering.visits:
            # The token went through every other member since: each of them has heard this node.
            self.known_heard.update(dict.fromkeys(self._ring_members(), self._forwarded_at))
        self._expect_token()
        self._token_at = now
        self._timers.pop(_Timer.RETRANSMIT, None)
        self._release_asked = False
        if self._warned:
            self._warned = False
            self._log("notice", f"The token came back after {timeouts.token_warning:.2f} s or more")

    def _expect_token(self) -> None:
        timeouts = self._options.timeouts
        self._timers[_Timer.TOKEN] = self._now + timeouts.token
        self._timers[_Timer.PROBE] = self._now + timeouts.quiet
        self._asked_since = None

    def _ring_members(self) -> tuple[NodeId, ...]:
        """Of the ring that is forming, else of the installed one."""
        return self._commit.members if self._commit is not None else self.members

    def _may_hold(self, ordering: Ordering) -> bool:
        hold = (
            self.state is OPERATIONAL
            and self._local == self.members[0]
            and ordering.idle >= self._options.idle_visits
            and not self._release_wanted
            and not self._outbox
        )
        self._release_wanted = False
        return hold

    def _pass_on(self, ordering: Ordering, token: Token, resent: list[bytes]) -> None:
        """Send what waits, then the token to the next member."""
        outgoing = self._resending if self.state is RECOVERY else self._outbox
        fresh = ordering.depart(token, outgoing, resent)
        members = self._ring_members()
        successor = members[(members.index(self._local) + 1) % len(members)]
        counters = self.counters
        if resent or fresh:
            counters.retransmissions += len(resent)
            counters.packets_sent += len(fresh)
            seal = self._seal
            sealed = [seal(packets.DATA, frame) for frame in resent + fresh]
            self._out.append(
                Broadcast(sealed, beyond=self.state is RECOVERY)
            )  # `members` is the former ring until then
        counters.retransmissions_requested += len(token.rtr)
        token.hop += 1
        self._forwarded_at = self._now
        self._forwarded_seq = token.seq
        self._forward(successor, packets.TOKEN, token.pack())

    def _forward(self, to: NodeId, kind: int, body: bytes) -> None:
        self._forwarded = (to, kind, body)
        self._timers[_Timer.RETRANSMIT] = self._now + self._options.timeouts.token_retransmit
        self._out.append(Send(to, self._seal(kind, body)))

    def _release(self) -> None:
        """Pass the held token on."""
        token, ordering = self._held, self._installed
        assert token is not None
        assert ordering is not None
        self._held = None
        self._timers.pop(_Timer.HOLD, None)
        self._release_wanted = False
        self._pass_on(ordering, token, [])

    def _multicast(self, payloads: list[bytes]) -> None:
        self._outbox.add(payloads)
        self.counters.payloads_sent += len(payloads)
        if self.state is not OPERATIONAL or not payloads:
            return
        ordering = self._installed
        assert ordering is not None
        if len(self.members) == 1:
            self._order_alone(ordering)
        elif self._held is not None:
            self._release()
        elif (
            ordering.idle >= self._options.idle_visits - 1
            and not self._release_asked
            and self._local != self.members[0]
        ):
            self._release_asked = True
            self._out.append(Send(self.members[0], self._seal(packets.CANCEL, b"")))

    def _order_alone(self, ordering: Ordering) -> None:
        """A ring of one needs no token to travel."""
        token = self._held
        assert token is not None
        while self._outbox:
            ordering.depart(token, self._outbox, [])
            ordering.safe = token.seq
            self._deliver()
            ordering.window.release(token.seq)

    # Upwards

    def _deliver(self) -> None:
        ordering = self._installed
        if ordering is None or self.state in (COMMIT, RECOVERY):
            return
        if ordering.window.delivered != ordering.window.aru:
            self._deliver_frames(ordering.window.take())
        count = self._assembler.count_up_to(ordering.safe)
        if count is not None and count > self._safe_told:
            self._safe_told = count
            self._out.append(Safe(count))

    def _deliver_frames(self, frames: list[bytes]) -> None:
        messages = self._assembler.add(frames)
        if messages:
            self.counters.payloads_delivered += len(messages)
            self._out.append(Delivered(messages))

    def _log(self, level: Level, text: str) -> None:
        self._out.append(Log(level, text))

    # GATHER

    def _gather(
        self,
        reason: str,
        *,
        also: Iterable[NodeId] = (),
        fail: Iterable[NodeId] = (),
        join: tuple[NodeId, Join] | None = None,
    ) -> None:
        """Leave the state, look for a new membership. `join` is the message that caused it."""
        now, timeouts = self._now, self._options.timeouts
        if self.state is OPERATIONAL:
            self._reason = reason
            self._log("notice", f"Ring {self.ring_id.seq} of nodes {_names(self.members)} ends: {reason}")
        elif self._installed is not None:
            self._log("info", f"The membership is gathered again: {reason}")
        if self.state is RECOVERY:
            self._absorb()
        before = self._gathering
        proc, given_up = (before.proc, before.fail) if before is not None else (set(self.members), set[NodeId]())
        gathering = Gathering(self._local, {*proc, *also}, {*given_up, *fail}, now)
        if self._asked_since is not None:
            gathering.since.update(dict.fromkeys(self._ring_members(), self._asked_since))
        gathering.give_up(gathering.silent(self.heard, now, timeouts.silence))
        if join is not None:
            gathering.hear(*join, now)
        self._gathering = gathering
        self.state = GATHER
        self.counters.gathers += 1
        self._forming = self._commit = self._held = self._forwarded = None
        goodbye = self._timers.get(_Timer.GOODBYE)
        self._timers = {_Timer.CONSENSUS: now + timeouts.consensus, _Timer.PROBE: now + timeouts.probe}
        if goodbye is not None:
            self._timers[_Timer.GOODBYE] = goodbye
        if self._options.join_jitter:
            self._timers[_Timer.JOIN] = now + self._options.join_jitter
        else:
            self._send_join()
        self._form_if_agreed()

    def _send_join(self) -> None:
        gathering = self._gathering
        assert gathering is not None
        self._join_number += 1
        join = Join(
            self._join_number,
            self._ring_seq,
            self._installed is None,
            tuple(sorted(gathering.proc)),
            tuple(sorted(gathering.fail)),
            tuple(sorted((node, gone) for node, gone in self.departed.items() if node in gathering.proc)),
        )
        self._out.append(Broadcast([self._seal(packets.JOIN, packets.pack_control(join))], beyond=True))
        self._timers[_Timer.JOIN] = self._now + self._options.timeouts.join

    def _on_join(self, sender: NodeId, incarnation: int, join: Join) -> None:
        seen = self._joins_seen.get(sender, (0, 0))
        if (incarnation, join.number) <= seen:
            self.counters.dropped_stale += 1
            return
        if len({*join.proc, *join.fail, sender, *self.members}) > self._options.members_max:
            self._log("warning", f"Node {sender} refused: more than {self._options.members_max} members")
            return
        self._joins_seen[sender] = (incarnation, join.number)
        self._note_departed(sender, incarnation, join)
        gathering = self._gathering
        if self.state is GATHER:
            assert gathering is not None
            if gathering.hear(sender, join, self._now):
                self._sets_changed()
            self._form_if_agreed()
        elif self.state is OPERATIONAL:
            self._on_join_when_operational(sender, incarnation, join)
        elif self._has_left_the_commit(sender, incarnation, join):
            self._gather(f"node {sender} gathers again", join=(sender, join))
        else:
            self.counters.dropped_stale += 1

    def _on_join_when_operational(self, sender: NodeId, incarnation: int, join: Join) -> None:
        if sender in self.members and incarnation == self.incarnations[sender]:
            if join.ring_seq < self.ring_id.seq:  # sent before this ring was formed
                self.counters.dropped_stale += 1
            else:
                self._gather(f"node {sender} has left the ring to gather", join=(sender, join))
        elif self._local in join.fail:  # it does not want this node: its ring will come to be merged
            self.counters.dropped_stale += 1
        else:
            again = sender in self.members
            self._gather(f"node {sender} {'was started again' if again else 'joins'}", join=(sender, join))

    def _has_left_the_commit(self, sender: NodeId, incarnation: int, join: Join) -> bool:
        """Whether a member of the ring that is forming has gone back to gathering."""
        commit, gathering = self._commit, self._gathering
        assert commit is not None
        assert gathering is not None
        if sender not in commit.members:
            return False
        told = commit.entries[commit.members.index(sender)].incarnation
        if join.ring_seq >= commit.ring_seq or (told and told != incarnation):
            return True
        other_sets = join.proc != tuple(sorted(gathering.proc)) or join.fail != tuple(sorted(gathering.fail))
        return self.state is COMMIT and other_sets

    def _note_departed(self, sender: NodeId, incarnation: int, join: Join) -> None:
        self._ring_seq = max(self._ring_seq, join.ring_seq)
        former = self._last_incarnations.get(sender, incarnation)
        for node, gone in ((sender, former), *join.gone) if former < incarnation else join.gone:
            if gone > self.departed.get(node, 0) and node != self._local:
                self.departed[node] = gone

    def _sets_changed(self) -> None:
        self._timers[_Timer.CONSENSUS] = self._now + self._options.timeouts.consensus
        self._send_join()

    def _look_for_silent(self) -> None:
        gathering = self._gathering
        assert gathering is not None
        silent = gathering.silent(self.heard, self._now, self._options.timeouts.silence)
        if gathering.give_up(silent):
            self._log("info", f"No answer from {_names(silent)}")
            self._timers[_Timer.CONSENSUS] = self._now + self._options.timeouts.consensus

    def _consensus_is_late(self) -> None:
        """Give up those that do not agree; or the representative, when all agree and it sends no commit token."""
        gathering = self._gathering
        assert gathering is not None
        late = gathering.laggards() or [gathering.members[0]]
        gathering.give_up(late)
        self._log("info", f"No agreement with {_names(late)}")
        self._sets_changed()
        self._form_if_agreed()

    def _form_if_agreed(self) -> None:
        gathering = self._gathering
        assert gathering is not None
        members = gathering.members
        if members[0] != self._local or gathering.laggards():
            return
        waits = self._installed is None and gathering.all_fresh() and self._now < self._settle_at
        if waits and not (self._options.peers and gathering.proc.issuperset(self._options.peers)):
            self._timers[_Timer.SETTLE] = self._settle_at
            return
        ring_seq = max(self._ring_seq, gathering.ring_seq()) + 1
        self._first_round(Commit(ring_seq, 0, tuple(Entry(node) for node in members)))

    # COMMIT

    def _on_commit(self, commit: Commit) -> None:
        members = commit.members
        if self._local not in members:
            self.counters.dropped_stale += 1
            return
        index, count = members.index(self._local), len(members)
        mine = self._commit
        gathering = self._gathering
        agreed = gathering is not None and members == gathering.members
        if mine is not None and commit.ring_id == mine.ring_id and members == mine.members:
            if self.state is COMMIT and commit.hop == (count + index if index else count):
                self._second_round(commit)
                return
            if self.state is RECOVERY and index == 0 and commit.hop == 2 * count and self._hop == 0:
                self._start_token()
                return
        elif (
            agreed and self.state in (GATHER, COMMIT) and index == commit.hop and commit.ring_seq > self._committed_seq
        ):
            self._first_round(commit)
            return
        self.counters.dropped_stale += 1

    def _first_round(self, commit: Commit) -> None:
        """Write down what this node holds of its old ring. From now on nothing more of it is taken from the network,
        or the others would be told less than what is delivered here."""
        self._deliver()
        old = self._installed
        entry = Entry(
            self._local,
            self._options.incarnation,
            self._options.window_bytes,
            old.ring_id.seq if old else 0,
            old.ring_id.representative if old else 0,
            old.window.aru if old else 0,
            old.window.high if old else 0,
        )
        entries = tuple(entry if other.node == self._local else other for other in commit.entries)
        self._commit = commit = Commit(commit.ring_seq, commit.hop + 1, entries)
        self._committed_seq = commit.ring_seq
        self._ring_seq = max(self._ring_seq, commit.ring_seq)
        self.state = COMMIT
        goodbye = self._timers.get(_Timer.GOODBYE)
        self._timers = {} if goodbye is None else {_Timer.GOODBYE: goodbye}
        if len(entries) == 1:
            self._enter_recovery(commit)
            assert self._forming is not None
            self._install(self._forming)
        else:
            self._expect_token()
            self._forward_commit(commit)

    def _second_round(self, commit: Commit) -> None:
        if not all(entry.incarnation for entry in commit.entries):
            raise BadPacket("commit token came round with empty entries")
        self._enter_recovery(commit)
        self._expect_token()
        self._forward_commit(Commit(commit.ring_seq, commit.hop + 1, commit.entries))

    def _forward_commit(self, commit: Commit) -> None:
        members = commit.members
        successor = members[(members.index(self._local) + 1) % len(members)]
        self._forward(successor, packets.COMMIT, packets.pack_control(commit))

    # RECOVERY

    def _enter_recovery(self, commit: Commit) -> None:
        options = self._options
        limits = Limits(
            min(entry.window_bytes for entry in commit.entries),
            options.window_packets,
            options.visit_packets,
            charge_bytes(options.packet_bytes_max),
            len(commit.entries),
        )
        self.state = RECOVERY
        self._commit = commit
        self._forming = Ordering(commit.ring_id, self._local, limits)
        old = self._installed
        frames = recovery.frames_to_resend(old.window, commit.entries, old.ring_id, self._local) if old else []
        self._resending = recovery.Resending(frames)
        self._install_seq = None
        self._hop = 0
        self._forwarded_seq = 0
        self._release_wanted = False

    def _start_token(self) -> None:
        assert self._commit is not None
        self._on_token(Token(self._commit.ring_id, hop=1))

    def _absorb(self) -> None:
        old = self._installed
        assert self._forming is not None
        recovery.absorb(self._forming.window, old.window if old else None, old.ring_id if old else None)

    def _is_recovered(self, ordering: Ordering, token: Token) -> bool:
        """Whether every member of the new ring has every frame that was sent again. After a full rotation `pending`
        counts all members' frames; when it is 0 the last of them has a number, and that has to become safe."""
        if self._install_seq is None and ordering.visits > 1 and token.pending == 0:
            self._install_seq = token.seq
        return self._install_seq is not None and ordering.safe >= self._install_seq

    def _install(self, ordering: Ordering) -> None:
        """Finish the old order, then begin the new one: this is where extended virtual synchrony is kept."""
        commit, old = self._commit, self._installed
        assert commit is not None
        ring_id, members = commit.ring_id, commit.members
        if old is not None:
            remaining = recovery.transitional_members(commit.entries, old.ring_id)
            self._deliver_frames(old.window.take())
            self._out.append(Configuration(ConfigurationKind.TRANSITIONAL, ring_id, remaining, self._reason))
            self._deliver_frames(recovery.deliverable_after_gap(old.window, remaining))
        self._out.append(Configuration(ConfigurationKind.REGULAR, ring_id, members, self._reason))
        self._log("notice", f"Ring {ring_id.seq} of nodes {_names(members)} is operational")
        self.counters.configurations += 1
        self.state = OPERATIONAL
        self.ring_id, self.members = ring_id, members
        self.incarnations = {entry.node: entry.incarnation for entry in commit.entries}
        self._last_incarnations.update(self.incarnations)
        self._installed = ordering
        self._assembler.clear()
        self._outbox.rewind()
        self._safe_told = 0
        self._gathering = self._commit = self._forming = None
        self._suitors.clear()
        if members[0] == self._local:
            self._timers[_Timer.MERGE] = self._now + self._options.timeouts.merge
        if len(members) == 1:
            self._held = Token(ring_id)
            self._order_alone(ordering)

    # Other rings, leaving, time

    def _on_merge(self, sender: NodeId, incarnation: int) -> None:
        """Another ring exists. It is joined when its node answers: what cannot hear this node cannot be joined."""
        if self.state is OPERATIONAL and sender not in self.members and incarnation > self.departed.get(sender, 0):
            self._suitors[sender] = self._now
            self._probe([sender])

    def _on_answer(self, sender: NodeId, asked_at: float) -> None:
        if asked_at <= self._now:
            self.known_heard[sender] = max(self.known_heard.get(sender, asked_at), asked_at)
        if self._suitors.pop(sender, None) is not None and self.state is OPERATIONAL and sender not in self.members:
            self._gather(f"node {sender} of another ring was found", also=(sender,))

    def _on_goodbye(self, sender: NodeId, incarnation: int) -> None:
        self.departed[sender] = max(self.departed.get(sender, 0), incarnation)
        if self.state is OPERATIONAL:
            if self.incarnations.get(sender) == incarnation:
                self._gather(f"node {sender} said goodbye", fail=(sender,))
        elif self.state is GATHER:
            assert self._gathering is not None
            if self._gathering.give_up([sender]):
                self._sets_changed()
                self._form_if_agreed()
        elif sender in self._ring_members():
            self._gather(f"node {sender} said goodbye", fail=(sender,))

    def _said_everything(self) -> bool:
        ordering = self._installed
        if self.state is not OPERATIONAL or ordering is None:
            return False
        return not self._outbox and ordering.safe >= ordering.sent

    def _say_goodbye(self) -> None:
        """Twice, for one may get lost."""
        self._out.append(Broadcast([self._seal(packets.GOODBYE, b"") for _ in range(2)], beyond=True))
        self._log("notice", "This node leaves the ring")
        self._timers.clear()
        self.left = True

    def _probe(self, nodes: Iterable[NodeId]) -> None:
        body = packets.pack_control(packets.Probe(self._now))
        for node in nodes:
            if node != self._local:
                self.counters.probes += 1
                self._out.append(Send(node, self._seal(packets.PROBE, body)))

    def _due(self, timer: _Timer) -> None:
        now, timeouts = self._now, self._options.timeouts
        match timer:
            case _Timer.TOKEN:
                self.counters.tokens_lost += 1
                self._gather(f"no token for {timeouts.token:.2f} s")
            case _Timer.RETRANSMIT:
                if self._forwarded is not None:
                    self.counters.tokens_retransmitted += 1
                    self._forward(*self._forwarded)
            case _Timer.HOLD:
                self._release()
            case _Timer.JOIN:
                self._look_for_silent()
                self._send_join()
                self._form_if_agreed()
            case _Timer.SETTLE:
                self._form_if_agreed()
            case _Timer.CONSENSUS:
                self._consensus_is_late()
            case _Timer.MERGE:
                self._show_ring()
            case _Timer.PROBE:
                self._ask_everybody()
                self._timers[_Timer.PROBE] = now + timeouts.probe
            case _Timer.GOODBYE:
                self._say_goodbye()

    def _show_ring(self) -> None:
        self._timers[_Timer.MERGE] = self._now + self._options.timeouts.merge
        peers = self._options.peers
        if not peers or not set(self.members).issuperset(peers):
            body = packets.pack_control(packets.Merge(self.ring_id.seq))
            self._out.append(Broadcast([self._seal(packets.MERGE, body)], beyond=True))

    def _ask_everybody(self) -> None:
        if self.state is GATHER:
            assert self._gathering is not None
            self._probe(self._gathering.members)
            return
        if self._asked_since is None:
            self._asked_since = self._now
        self._probe(self._ring_members())
        warning = self._options.timeouts.token_warning
        if self.state is OPERATIONAL and warning and self._now - self._token_at >= warning and not self._warned:
            self._warned = True
            self._log("warning", f"No token for {self._now - self._token_at:.2f} s")


def _names(nodes: Iterable[NodeId]) -> str:
    return ", ".join(map(str, nodes))
