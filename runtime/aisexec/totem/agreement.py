"""GATHER: join messages go round until all that answer want the same ring."""

from collections.abc import Iterable

from aisexec.totem import packets
from aisexec.totem.events import Broadcast, Effect, Log, RingOptions
from aisexec.totem.lives import Lives
from aisexec.totem.membership import Gathering
from aisexec.totem.packets import Commit, Entry, Join
from aisexec.totem.seal import Seal
from aisexec.totem.timers import Timer, Timers
from corosync_amf.ais import NodeId


class Agreement:
    """What one node says while a membership is agreed. `ring_seq` is the highest ring sequence number known,
    `committed_seq` that of the last ring which this node began to form."""

    def __init__(self, options: RingOptions, seal: Seal, timers: Timers, lives: Lives) -> None:
        self._options = options
        self._timeouts = options.timeouts
        self._seal = seal
        self._timers = timers
        self._lives = lives
        self._number = 0
        self._settle_at = 0.0
        self._reason = ""
        self._fresh = True
        self.ring_seq = self.committed_seq = options.ring_seq

    def start(self, now: float) -> None:
        """A node that starts gives the others a moment, or every cold start would begin with rings of one."""
        self._settle_at = now + self._options.join_jitter + 2 * self._timeouts.join

    def gather(self, proc: Iterable[NodeId], fail: Iterable[NodeId], now: float) -> Gathering:
        """A new attempt."""
        return Gathering(self._options.node_id, proc, fail, now, (self._options.incarnation, self._number + 1))

    def begin(self, gathering: Gathering, reason: str, *, fresh: bool, now: float) -> list[Effect]:
        """Say for the first time what this node wants, and why; `fresh`: it was in no ring yet."""
        self._reason, self._fresh = reason, fresh
        self._timers.set(Timer.CONSENSUS, now + self._timeouts.consensus)
        if not self._options.join_jitter:
            return self._say(gathering, now)
        self._timers.set(Timer.JOIN, now + self._options.join_jitter)
        return []

    def _say(self, gathering: Gathering, now: float) -> list[Effect]:
        self._number += 1
        proc, fail = gathering.sorted_sets()
        departed = self._lives.departed
        gone = tuple((node, departed[node]) for node in proc if node in departed)
        last = tuple((node, *self._lives.last_join(node)) for node in fail)
        reason = self._reason[: packets.REASON_MAX]
        join = Join(self._number, self.ring_seq, self._fresh, proc, fail, reason, gone, last)
        self._timers.set(Timer.JOIN, now + self._timeouts.join)
        return [Broadcast([self._seal.seal(packets.JOIN, packets.pack_control(join))], beyond=True)]

    def changed(self, gathering: Gathering, now: float) -> list[Effect]:
        """This node wants something else than it said."""
        self._timers.set(Timer.CONSENSUS, now + self._timeouts.consensus)
        return self._say(gathering, now)

    def say_again(self, gathering: Gathering, heard: dict[NodeId, float], now: float) -> list[Effect]:
        """The message may have been lost; and nodes that are silent for long are given up."""
        silent = gathering.silent(heard, now, self._timeouts.silence)
        if gathering.give_up(silent):
            return [Log("info", f"No answer from {names(silent)}"), *self.changed(gathering, now)]
        return self._say(gathering, now)

    def late(self, gathering: Gathering, now: float) -> list[Effect]:
        """Give up those that do not agree; or the representative, when all agree and it sends no commit token."""
        late = gathering.laggards() or [gathering.members[0]]
        gathering.give_up(late)
        return [Log("info", f"No agreement with {names(late)}"), *self.changed(gathering, now)]

    def proposal(self, gathering: Gathering, now: float) -> Commit | None:
        """The commit token, when all agree and this node is the representative that has to send it."""
        members = gathering.members
        if members[0] != self._options.node_id or gathering.laggards():
            return None
        peers = self._options.peers
        complete = peers and gathering.proc.issuperset(peers)
        if self._fresh and gathering.all_fresh() and now < self._settle_at and not complete:
            self._timers.set(Timer.SETTLE, self._settle_at)
            return None
        ring_seq = max(self.ring_seq, gathering.ring_seq()) + 1
        return Commit(ring_seq, 0, tuple(Entry(node) for node in members))

    def commit(self, ring_seq: int) -> None:
        """A ring of this number is being formed."""
        self.committed_seq = ring_seq
        self.ring_seq = max(self.ring_seq, ring_seq)


def names(nodes: Iterable[NodeId]) -> str:
    """Nodes for a log line."""
    return ", ".join(map(str, nodes))
