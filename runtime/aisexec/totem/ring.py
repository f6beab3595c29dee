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

from collections.abc import Iterable

from aisexec.groups import RingId
from aisexec.totem import packets
from aisexec.totem.agreement import Agreement, names
from aisexec.totem.circulation import Circulation
from aisexec.totem.contacts import Contacts
from aisexec.totem.delivery import Delivery
from aisexec.totem.events import (
    PAYLOAD_BYTES_MAX,
    Broadcast,
    Counters,
    Effect,
    Event,
    Expect,
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
from aisexec.totem.formation import Formation
from aisexec.totem.fragments import Outbox, content_bytes_max
from aisexec.totem.intake import Intake, Packet
from aisexec.totem.lingering import Lingering
from aisexec.totem.lives import Lives
from aisexec.totem.membership import Gathering, reason_to_gather
from aisexec.totem.packets import BadPacket, Commit, Control, Join, Token
from aisexec.totem.seal import Seal
from aisexec.totem.timers import Timer, Timers
from corosync_amf.ais import NodeId

__all__ = [
    "PAYLOAD_BYTES_MAX", "Broadcast", "Counters", "Effect", "Event", "Expect", "Leave", "Log", "Multicast",
    "MulticastMany", "Received", "Ring", "RingOptions", "RingState", "Send", "Source",
]  # fmt: skip

OPERATIONAL, GATHER, COMMIT, RECOVERY = RingState.OPERATIONAL, RingState.GATHER, RingState.COMMIT, RingState.RECOVERY


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
        self.left = False
        self.counters = Counters()
        self._options = options
        self._timeouts = options.timeouts
        self._local = options.node_id
        self._seal = seal
        self._intake = Intake(seal, options.node_id, options.incarnation, self.counters)
        self._lives = Lives()
        self._contacts = Contacts(options.node_id, seal, self.counters, options.timeouts.token, now)
        self.heard = self._intake.heard
        self.sources = self._intake.sources
        self.departed = self._lives.departed
        self.known_heard = self._contacts.known_heard
        self._now = now
        self._out: list[Effect] = []
        self._timers = Timers()
        self._outbox = Outbox(content_bytes_max(options.packet_bytes_max))
        self._delivery = Delivery(self.counters)
        self._installed: Circulation | None = None
        self._lingering = Lingering()
        self._reason = ""
        self._leaving = False
        # the next ring: `_gathering` in every state but OPERATIONAL, `_formation` in COMMIT and RECOVERY
        self._agreement = Agreement(options, seal, self._timers, self._lives)
        self._gathering: Gathering | None = None
        self._formation: Formation | None = None

    @property
    def backlog_bytes(self) -> int:
        """Bytes queued and not yet sent."""
        return self._outbox.backlog_bytes

    def start(self, now: float) -> list[Effect]:
        """Look for other nodes; a REGULAR configuration follows, of this node alone when nobody answers."""
        self._now = now
        self._agreement.start(now)
        self._gather("this node starts")
        return self._finish()

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event.

        Raises: ValueError for a payload above PAYLOAD_BYTES_MAX; nothing else, whatever the network brings.
        """
        self._now = now
        if self.left:
            return []
        if isinstance(event, Expect):
            self._expect()
            return []  # it may come in the midst of other effects being carried out
        if isinstance(event, Received):
            self._receive(event)
        elif self._leaving:
            pass  # nothing more is taken
        elif isinstance(event, Leave):
            self._leaving = True
            self._timers.set(Timer.GOODBYE, now + self._timeouts.token)
        else:
            many = event if isinstance(event, MulticastMany) else MulticastMany([event.payload])
            self._multicast(many.payloads, prompt=many.prompt)
        return self._finish()

    def wake(self, now: float) -> list[Effect]:
        """Do what is due. Harmless when nothing is."""
        self._now = now
        while (timer := self._timers.due(now)) is not None:
            self._act(timer)
        return self._finish()

    def next_deadline(self) -> float | None:
        """When `wake` is wanted; None is never."""
        return self._timers.next_deadline()

    def _finish(self) -> list[Effect]:
        self._deliver()
        leaving = self._leaving and not self.left and not self._outbox and self.state is OPERATIONAL
        if leaving and self._installed is not None and self._installed.all_safe:
            self._say_goodbye()
        out, self._out = self._out, []
        return out

    def _receive(self, event: Received) -> None:
        """Frames and control messages as they came, the token last: it must find all that was sent before it."""
        opened, logs = self._intake.open(event.datagrams, self._now)
        self._out += logs
        token: Token | None = None
        for packet in opened:
            kind, body = packet[0], packet[3]
            try:
                if kind == packets.DATA:
                    self._on_frame(body)
                elif kind == packets.PROMPT:
                    self._on_frame(body)
                    self._acknowledge(packet[1], body)
                elif kind == packets.ACK:
                    self._on_ack(packet[1], body)
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

    def _on_control(self, packet: Packet, message: Control | None) -> None:
        kind, sender, incarnation, _ = packet
        if isinstance(message, packets.Probe):
            answer = packets.Answer(message.time, self.ring_id.seq, self.ring_id.representative)
            self._out.append(Send(sender, self._seal.seal(packets.ANSWER, packets.pack_control(answer))))
        elif isinstance(message, packets.Answer):
            self._on_answer(sender, message)
        elif isinstance(message, Join):
            self._on_join(sender, incarnation, message)
        elif isinstance(message, Commit):
            self._on_commit(message)
        elif kind == packets.MERGE:
            self._on_merge(sender, incarnation)
        elif kind == packets.CANCEL:
            self._on_cancel(sender)
        elif kind == packets.GOODBYE:
            self._on_goodbye(sender, incarnation)

    def _turning(self) -> Circulation | None:
        """The ring whose token and frames count: in RECOVERY the one that forms. None in COMMIT: what this node holds
        of the old ring is written down then, and may not grow. None in a ring of one: its frames come from here."""
        circulation = self._formation.circulation if self._formation is not None else self._installed
        return circulation if circulation is not None and len(circulation.members) > 1 else None

    def _on_frame(self, body: bytes) -> None:
        circulation = self._turning()
        if circulation is None:
            self.counters.dropped_stale += 1
        elif circulation.take_frame(body) and self.state is not GATHER:
            self._timers.stop(Timer.RESEND)

    def _acknowledge(self, sender: NodeId, body: bytes) -> None:
        circulation = self._installed
        if self.state is OPERATIONAL and circulation is not None and circulation.prompted(sender, body):
            ack = self._seal.seal(packets.ACK, circulation.acknowledgement())
            self._out.append(Broadcast([ack], beyond=False))

    def _on_ack(self, sender: NodeId, body: bytes) -> None:
        if self.state is OPERATIONAL and self._installed is not None:
            self._installed.acknowledged(sender, body)

    def _on_token(self, token: Token) -> None:
        circulation, formation = self._turning(), self._formation
        if circulation is None or self.state is GATHER or not circulation.accept(token):
            self.counters.dropped_stale += 1
            return
        self.counters.tokens += 1
        ordering = circulation.ordering
        if ordering.visits and formation is None:
            # The token went through all others since: each of them has heard this node. In a ring that only forms that
            # says nothing: they may have gone on without this node in between.
            self._contacts.heard_by(circulation.members, circulation.forwarded_at)
        self._out += self._contacts.token_came(self._now)
        self._expect_token()
        self._lingering.came(self._now)
        self._timers.stop(Timer.RESEND)
        if formation is not None:
            formation.absorb()
        resent = ordering.arrive(token)
        if formation is not None and formation.is_recovered(token):
            self._install(formation)
        if ordering.stuck > self._options.fail_receive_visits:
            self._gather(f"node {token.aru_id} receives nothing any more", fail=(token.aru_id,))
        elif self.state is OPERATIONAL and circulation.hold(token, self._outbox):
            self.counters.holds += 1
            self._timers.set(Timer.HOLD, self._now + self._timeouts.hold)
        elif self.state is not OPERATIONAL or resent or not self._keep(circulation, token):
            self._pass_on(circulation, token, resent)

    def _keep(self, circulation: Circulation, token: Token) -> bool:
        """Whether the token stays for a moment, because a client may ask at once. What waits is sent then."""
        lingering, now = self._lingering, self._now
        until = lingering.until_answered(now) if self._outbox else lingering.until(now)
        if until is None or not circulation.may_keep(token, self._outbox):
            return False
        self._out += circulation.keep(token, self._outbox)
        self.counters.lingers += 1
        self._timers.set(Timer.HOLD, until)
        return True

    def _expect(self) -> None:
        """A client was told what it waited for."""
        lingering, circulation = self._lingering, self._installed
        lingering.answered(self._now)
        if circulation is not None and circulation.keeping and (until := lingering.until(self._now)) is not None:
            self._timers.set(Timer.HOLD, until)

    def _expect_token(self) -> None:
        self._timers.set(Timer.TOKEN, self._now + self._timeouts.token)
        self._timers.set(Timer.PROBE, self._now + self._timeouts.quiet)

    def _pass_on(self, circulation: Circulation, token: Token, resent: list[bytes]) -> None:
        """In RECOVERY the frames of the old ring go out, and beyond `members`, which is still the old ring's."""
        formation = self._formation
        outgoing = self._outbox if formation is None else formation.resending
        beyond = formation is not None
        self._out += circulation.pass_on(token, outgoing, resent, self._now, beyond=beyond)
        self._timers.set(Timer.RESEND, self._now + self._timeouts.token_retransmit)

    def _release(self) -> None:
        """Pass the held token on."""
        circulation = self._installed
        if circulation is not None and (token := circulation.release()) is not None:
            self._timers.stop(Timer.HOLD)
            self._pass_on(circulation, token, [])

    def _on_cancel(self, sender: NodeId) -> None:
        if self.state is OPERATIONAL and self._installed is not None and sender in self.members:
            self._installed.want_release()
            self._release()

    def _resend(self) -> None:
        """Nobody seems to have what was passed on last."""
        if self._formation is not None:
            self._out.append(self._formation.pass_on())
        elif self._installed is not None:
            self._out.append(self._installed.token_again())
        self.counters.tokens_retransmitted += 1
        self._timers.set(Timer.RESEND, self._now + self._timeouts.token_retransmit)

    def _multicast(self, payloads: list[bytes], *, prompt: bool) -> None:
        self._lingering.asked(self._now)
        self._outbox.add(payloads, prompt=prompt)
        self.counters.payloads_sent += len(payloads)
        circulation = self._installed
        if self.state is not OPERATIONAL or circulation is None or not payloads:
            return
        if len(self.members) == 1:
            self._order_alone(circulation)
        elif (token := circulation.held) is not None:
            if not self._keep(circulation, token):
                self._release()
        else:
            self._out += circulation.ask_release()

    def _order_alone(self, circulation: Circulation) -> None:
        while self._outbox:
            circulation.order_alone(self._outbox)
            self._deliver()
            circulation.window.release(circulation.window.delivered)

    def _deliver(self) -> None:
        circulation = self._installed
        if circulation is None or self.state in (COMMIT, RECOVERY):
            return
        if circulation.window.delivered != circulation.window.aru:
            self._out += self._delivery.deliver(circulation.window.take())
        self._out += self._delivery.tell_safe(circulation.ordering.safe)

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
        now, before = self._now, self._gathering
        if before is None:
            self._reason = reason
            if self._installed is not None:
                self._log("notice", f"Ring {self.ring_id.seq} of nodes {names(self.members)} ends: {reason}")
        else:
            self._log("info", f"The membership is gathered again: {reason}")
        if self._formation is not None:
            self._formation.absorb()
        proc, given_up = (before.proc, before.fail) if before is not None else (set(self.members), set[NodeId]())
        gathering = self._agreement.gather({*proc, *also}, {*given_up, *fail}, now)
        if self._contacts.asked_since is not None:
            gathering.asked(self._ring_members(), self._contacts.asked_since)
        gathering.give_up(gathering.silent(self.heard, now, self._timeouts.silence))
        if join is not None:
            gathering.hear(*join, now)
        if self._installed is not None:
            self._installed.release()
        self._gathering = gathering
        self._formation = None
        self.state = GATHER
        self.counters.gathers += 1
        self._timers.clear()
        self._timers.set(Timer.PROBE, now + self._timeouts.probe)
        fresh = self._installed is None
        self._gather_on(gathering, self._agreement.begin(gathering, self._reason, fresh=fresh, now=now))

    def _gather_on(self, gathering: Gathering, said: list[Effect]) -> None:
        """Send what was said; form the ring if that was all that was missing."""
        self._out += said
        if (commit := self._agreement.proposal(gathering, self._now)) is not None:
            self._first_round(commit)

    def _on_join(self, sender: NodeId, incarnation: int, join: Join) -> None:
        if self._lives.is_late(sender, incarnation, join):
            self.counters.dropped_stale += 1
            return
        if self._too_many({*join.proc, sender, *self.members}, sender):
            return
        self._lives.hear(sender, incarnation, join, self._local)
        self._agreement.ring_seq = max(self._agreement.ring_seq, join.ring_seq)
        gathering = self._gathering
        if gathering is None:
            reason = reason_to_gather(self._local, self.ring_id.seq, self.incarnations, sender, incarnation, join)
            if reason is not None and not self._contacts.is_refused(sender, incarnation, self._now):
                self._gather(reason, join=(sender, join))
        elif self._formation is None:
            changed = gathering.hear(sender, join, self._now)
            self._gather_on(gathering, self._agreement.changed(gathering, self._now) if changed else [])
        elif self._formation.has_left(sender, incarnation, join, gathering):
            self._gather(f"node {sender} gathers again", join=(sender, join))

    def _too_many(self, nodes: set[NodeId], sender: NodeId) -> bool:
        most = self._options.members_max
        if len(nodes) <= most:
            return False
        self._out += self._intake.report(f"Node {sender} refused: more than {most} members", sender, self._now)
        return True

    # COMMIT and RECOVERY

    def _on_commit(self, commit: Commit) -> None:
        formation, members = self._formation, commit.members
        if formation is not None and formation.is_second_visit(commit):
            formation.second_visit(commit)
            self.state = RECOVERY
            self._pass_commit_on(formation)
        elif formation is not None and formation.is_last_visit(commit):
            self._on_token(Token(commit.ring_id, hop=1))
        elif self._is_wanted(commit) and members.index(self._local) == commit.hop > 0:
            self._first_round(commit)
        else:
            self.counters.dropped_stale += 1

    def _is_wanted(self, commit: Commit) -> bool:
        """Whether this would be a new ring, of the members that this node has agreed to."""
        agreed = self._gathering is not None and commit.members == self._gathering.members
        return agreed and self.state is not RECOVERY and commit.ring_seq > self._agreement.committed_seq

    def _first_round(self, commit: Commit) -> None:
        self._deliver()
        self._formation = formation = Formation(commit, self._options, self._seal, self.counters, self._installed)
        self._agreement.commit(commit.ring_seq)
        self.state = COMMIT
        self._timers.clear()
        self._contacts.asked_since = None
        if len(formation.members) == 1:
            self._install(formation)
        else:
            self._pass_commit_on(formation)

    def _pass_commit_on(self, formation: Formation) -> None:
        self._expect_token()
        self._out.append(formation.pass_on())
        self._timers.set(Timer.RESEND, self._now + self._timeouts.token_retransmit)

    def _install(self, formation: Formation) -> None:
        """The new ring is in force."""
        self._out += formation.finish(self._delivery, self._reason)
        self.ring_id, self.members = formation.commit.ring_id, formation.members
        self.incarnations = formation.incarnations()
        self._log("notice", f"Ring {self.ring_id.seq} of nodes {names(self.members)} is operational")
        self.counters.configurations += 1
        self.state = OPERATIONAL
        self._lives.joined(self.incarnations)
        given_up = self._gathering.fail if self._gathering is not None else set[NodeId]()
        self._contacts.settle(self._intake.living(given_up, self._now - self._timeouts.token), self._now)
        self._outbox.rewind()
        self._installed = formation.circulation
        self._gathering = self._formation = None
        if self.members[0] == self._local:
            self._timers.set(Timer.MERGE, self._now + self._timeouts.merge)
        if len(self.members) == 1 and self._installed is not None:
            self._order_alone(self._installed)

    # Other rings, leaving, time

    def _on_merge(self, sender: NodeId, incarnation: int) -> None:
        """Another ring exists. It is joined when its node answers: what cannot hear this node cannot be joined."""
        known = sender in self.members or self._lives.is_over(sender, incarnation)
        if self.state is not OPERATIONAL or known or self._contacts.is_refused(sender, incarnation, self._now):
            return
        if not self._too_many({*self.members, sender}, sender):
            self._out += self._contacts.court(sender, self._now)

    def _on_answer(self, sender: NodeId, answer: packets.Answer) -> None:
        together = RingId(answer.ring_seq, answer.representative) == self.ring_id
        courted = self._contacts.answered(sender, answer.time, self._now, together=together)
        if courted and self.state is OPERATIONAL and sender not in self.members:
            self._gather(f"node {sender} of another ring was found", also=(sender,))

    def _show_ring(self) -> None:
        self._timers.set(Timer.MERGE, self._now + self._timeouts.merge)
        peers = self._options.peers
        if not peers or not set(self.members).issuperset(peers):
            body = packets.pack_control(packets.Merge(self.ring_id.seq))
            self._out.append(Broadcast([self._seal.seal(packets.MERGE, body)], beyond=True))

    def _say_goodbye(self) -> None:
        """Twice, for one may get lost."""
        self._out.append(Broadcast([self._seal.seal(packets.GOODBYE, b"") for _ in range(2)], beyond=True))
        self._log("notice", "This node leaves the ring")
        self._timers.stop(Timer.GOODBYE)
        self._timers.clear()
        self.left = True

    def _on_goodbye(self, sender: NodeId, incarnation: int) -> None:
        self._lives.depart(sender, incarnation)
        gathering = self._gathering
        if gathering is None:
            if self.incarnations.get(sender) == incarnation:
                self._gather(f"node {sender} said goodbye", fail=(sender,))
        elif self._formation is None:
            if gathering.give_up([sender]):
                self._gather_on(gathering, self._agreement.changed(gathering, self._now))
        elif sender in self._formation.members:
            self._gather(f"node {sender} said goodbye", fail=(sender,))

    def _act(self, timer: Timer) -> None:
        """What is done when a deadline has come."""
        gathering = self._gathering
        if timer is Timer.TOKEN:
            self.counters.tokens_lost += 1
            self._gather(f"no token for {self._timeouts.token:.2f} s")
        elif timer is Timer.RESEND:
            self._resend()
        elif timer is Timer.HOLD:
            self._release()
        elif timer is Timer.MERGE:
            self._show_ring()
        elif timer is Timer.PROBE:
            self._ask_everybody()
        elif timer is Timer.GOODBYE:
            self._say_goodbye()
        elif gathering is not None:
            said: list[Effect] = []
            if timer is Timer.JOIN:
                said = self._agreement.say_again(gathering, self.heard, self._now)
            elif timer is Timer.CONSENSUS:
                said = self._agreement.late(gathering, self._now)
            self._gather_on(gathering, said)

    def _ask_everybody(self) -> None:
        self._timers.set(Timer.PROBE, self._now + self._timeouts.probe)
        if self._gathering is not None and self._formation is None:
            self._out += self._contacts.probe(self._gathering.members, self._now)
        else:
            self._out += self._contacts.quiet(self._now, self._timeouts.token_warning)
            self._out += self._contacts.probe(self._ring_members(), self._now)

    def _ring_members(self) -> tuple[NodeId, ...]:
        """Of the ring that is forming, else of the installed one."""
        return self._formation.members if self._formation is not None else self.members
