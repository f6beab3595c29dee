"""A ring that is being formed: the commit token's two rounds, and the recovery of the old ring's frames.

The commit token visits member i at hop i, where the member writes down what it holds of its old ring, and at hop n + i,
where it reads what all wrote. The representative (0) makes hop 0 itself, so that its visits are n and, at the end, 2n.
Then the ordinary token turns, and carries the frames of old rings until every member is known to have them.
"""

from aisexec.groups import Configuration, ConfigurationKind
from aisexec.totem import packets, recovery
from aisexec.totem.circulation import Circulation
from aisexec.totem.delivery import Delivery
from aisexec.totem.events import Counters, Effect, RingOptions, Send
from aisexec.totem.membership import Gathering
from aisexec.totem.packets import BadPacket, Commit, Entry, Join, Token
from aisexec.totem.seal import Seal
from corosync_amf.ais import NodeId


class Formation:
    """From the first visit of the commit token until the ring is installed or given up.

    commit       the commit token as this member passed it on last
    circulation  the new ring, from the second visit on
    resending    the frames of the old ring that this member sends again
    """

    def __init__(
        self, commit: Commit, options: RingOptions, seal: Seal, counters: Counters, old: Circulation | None
    ) -> None:
        """The first visit. From now on nothing more of the old ring may be taken from the network, or the others would
        be told less than what is delivered here."""
        self._local = options.node_id
        self._options = options
        self._seal = seal
        self._counters = counters
        self._old = old
        self._install_seq: int | None = None
        entries = tuple(self._entry() if entry.node == self._local else entry for entry in commit.entries)
        self.commit = Commit(commit.ring_seq, commit.hop + 1, entries)
        self.members = commit.members
        self.circulation: Circulation | None = None
        self.resending = recovery.Resending([])
        if len(entries) == 1:
            self.second_visit(self.commit)

    def _entry(self) -> Entry:
        options, old = self._options, self._old
        if old is None:
            return Entry(self._local, options.incarnation, options.window_bytes)
        ring_id, window = old.ring_id, old.window
        return Entry(
            self._local, options.incarnation, options.window_bytes,
            ring_id.seq, ring_id.representative, window.aru, window.high,
        )  # fmt: skip

    def is_second_visit(self, commit: Commit) -> bool:
        """Whether this is the commit token of this ring, with all entries, for the first time."""
        return self._is_mine(commit) and not self.circulation and commit.hop == self._index + len(self.members)

    def is_last_visit(self, commit: Commit) -> bool:
        """Whether the commit token is back at the representative after both rounds."""
        begun = self.circulation is not None and not self.circulation.turning
        return self._is_mine(commit) and begun and commit.hop == 2 * len(self.members)

    def _is_mine(self, commit: Commit) -> bool:
        return commit.ring_id == self.commit.ring_id and commit.members == self.members

    @property
    def _index(self) -> int:
        return self.members.index(self._local)

    def second_visit(self, commit: Commit) -> None:
        """All entries are known: begin with the recovery.

        Raises: BadPacket.
        """
        if not all(entry.incarnation for entry in commit.entries):
            raise BadPacket("commit token came round with empty entries")
        self.commit = Commit(commit.ring_seq, commit.hop + 1, commit.entries)
        self.circulation = Circulation(commit, self._options, self._seal, self._counters)
        old = self._old
        if old is not None:
            frames = recovery.frames_to_resend(old.window, commit.entries, old.ring_id, self._local)
            self.resending = recovery.Resending(frames)

    def pass_on(self) -> Send:
        """What this member passed on last, for the next one: the commit token, then the token."""
        circulation = self.circulation
        if circulation is not None and circulation.turning:
            return circulation.token_again()
        successor = self.members[(self._index + 1) % len(self.members)]
        return Send(successor, self._seal.seal(packets.COMMIT, packets.pack_control(self.commit)))

    def has_left(self, sender: NodeId, incarnation: int, join: Join, gathering: Gathering) -> bool:
        """Whether a join message shows that a member has gone back to gathering.

        It has when it knows this ring already, or is another life than the one that committed. Before the second visit
        it also has when it wants another membership than was agreed; afterwards such a message is an old one.
        """
        if sender not in self.members:
            return False
        committed = self.commit.entries[self.members.index(sender)].incarnation
        if join.ring_seq >= self.commit.ring_seq or (committed and committed != incarnation):
            return True
        return self.circulation is None and (join.proc, join.fail) != gathering.sorted_sets()

    def absorb(self) -> None:
        """Take what came of the old ring over the new one."""
        if self.circulation is not None:
            old = self._old
            recovery.absorb(self.circulation.window, old.window if old else None, old.ring_id if old else None)

    def is_recovered(self, token: Token) -> bool:
        """Whether every member of the new ring has every frame that was sent again. After a full rotation `pending`
        counts all members' frames; when it is 0 the last of them has a number, and that has to become safe."""
        if self.circulation is None:
            return False
        ordering = self.circulation.ordering
        if self._install_seq is None and ordering.visits > 1 and token.pending == 0:
            self._install_seq = token.seq
        return self._install_seq is not None and ordering.safe >= self._install_seq

    def finish(self, delivery: Delivery, reason: str) -> list[Effect]:
        """What is handed up when the ring is installed: the rest of the old order, as far as it has no gap; what is
        beyond, to those that come from there too; the new configuration."""
        effects: list[Effect] = []
        ring_id, old = self.commit.ring_id, self._old
        if old is not None:
            remaining = recovery.transitional_members(self.commit.entries, old.ring_id)
            effects += delivery.deliver(old.window.take())
            effects.append(Configuration(ConfigurationKind.TRANSITIONAL, ring_id, remaining, reason))
            effects += delivery.deliver(recovery.deliverable_after_gap(old.window, remaining))
        effects.append(Configuration(ConfigurationKind.REGULAR, ring_id, self.members, reason))
        delivery.begin()
        return effects

    def incarnations(self) -> dict[NodeId, int]:
        return {entry.node: entry.incarnation for entry in self.commit.entries}
