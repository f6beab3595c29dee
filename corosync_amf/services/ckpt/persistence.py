"""Persistent checkpoints: what goes into the journals, who must have stored it, and how they come back.

Every node that keeps state on disk (`NodeFacts.is_persistent`) writes all changes of persistent checkpoints into its
journal, outside the order. A change of a WR_ALL_REPLICAS checkpoint is answered when all of them have it on disk;
each says so through the order (Stored).

A cluster that starts from nothing is not *settled*: each node brings the checkpoints of its journal into the order
(Restore), of which those of the journal with the highest version stand, and no others; nobody opens anything before all
members of a quorate membership have said that they are through (Restored). From then on journals *follow* the replicas,
as long as there is a quorum: what a part without one makes of a checkpoint is not written down. A node that joins, and
all when there is a quorum again, write theirs anew.

A journal's version (`messages.Version`) begins with the last quorate membership: a node that was cut off may have
written down more than the others, of what nobody was promised, but those who went on as a quorum have a higher one.
"""

from collections import deque
from logging import INFO
from typing import Final

from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import Client, Effect, Failed, Log, Membership, Origin, Reply, Run
from corosync_amf.errors import TryAgain

from . import messages as m
from .entries import Begun, Changed, Ended, Expires, JournalEntry, Reached, Retains
from .registry import Registry, rearmed
from .replication import outcome
from .store import Checkpoint
from .values import SectionChange

RESTORED_SECONDS: Final = 300.0
"""The least time that a restored checkpoint waits to be opened, whatever its retention duration."""
OUTCOME_UNKNOWN: Final = Failed(ErrorCode.TIMEOUT, "the partition lost its quorum before every journal had it")


class Persistence:
    """See the module. `keepers` are the members that have a journal.

    `version` is that of the journals that follow; until it is settled, the highest one that was brought, by `bringer`.
    `awaited` have yet to bring what was `asked` for. `waiting` are changes to be answered, with who must store them;
    `stored` is the order up to which a node has.
    """

    def __init__(self, state: m.PersistenceRecord) -> None:
        self.keepers = state.keepers
        self.is_settled = state.is_settled
        self.is_followed = state.is_followed
        self.version = state.version
        self.asked = state.asked
        self.awaited = set(state.awaited)
        self.bringer = state.bringer
        self.waiting = deque(state.waiting)
        self.stored = dict(state.stored)
        self._entries: list[JournalEntry] = []

    def record(self) -> m.PersistenceRecord:
        """The state in a snapshot."""
        return m.PersistenceRecord(
            self.keepers,
            self.is_settled,
            self.is_followed,
            self.version,
            self.asked,
            sorted(self.awaited),
            self.bringer,
            list(self.waiting),
            sorted(self.stored.items()),
        )

    def check_settled(self) -> None:
        """Raises: TryAgain: what there is is not known yet."""
        if not self.is_settled:
            raise TryAgain("the persistent checkpoints are being restored")

    # ---- what goes into the journals

    def begun(self, checkpoint: Checkpoint) -> None:
        """A checkpoint was created."""
        if checkpoint.attributes.persistent:
            self._entries.append(Begun(checkpoint.name, checkpoint.attributes))

    def changed(self, checkpoint: Checkpoint, time: float, changes: tuple[SectionChange, ...] = ()) -> None:
        """A change was counted, or (without changes) the fence moved."""
        if checkpoint.attributes.persistent and checkpoint.linked:
            entry = Changed(checkpoint.name, checkpoint.sequence, checkpoint.fence, time, changes)
            self._entries.append(entry)

    def expires(self, checkpoint: Checkpoint, section_id: bytes, time: float | None) -> None:
        """A section got an expiration time."""
        if checkpoint.attributes.persistent and checkpoint.linked:
            self._entries.append(Expires(checkpoint.name, section_id, time))

    def retains(self, checkpoint: Checkpoint) -> None:
        """The retention duration was changed."""
        if checkpoint.attributes.persistent:
            self._entries.append(Retains(checkpoint.name, checkpoint.attributes.retention_duration))

    def ended(self, checkpoint: Checkpoint) -> None:
        """A checkpoint has lost its name, or is gone."""
        if checkpoint.attributes.persistent:
            self._entries.append(Ended(checkpoint.name))

    def flush(self, order: int) -> list[Effect]:
        """Have written down what one request did."""
        if not self._entries:
            return []
        entries, self._entries = self._entries, []
        if not self.is_followed:
            return []
        self.version = self.version[0], order
        entries.append(Reached(self.version))
        return [Run(node, m.WriteJournal(order, entries)) for node in self.keepers]

    # ---- answers that wait for the journals

    def holds_back(self, checkpoint: Checkpoint, origin: Origin, created: bytes | None) -> bool:
        """Whether a change is answered only when all journals have it."""
        if not (checkpoint.attributes.persistent and checkpoint.is_safe and checkpoint.linked and self.keepers):
            return False
        self.waiting.append(m.StoringRecord(origin, self.keepers, created))
        return True

    def forget(self, client: Client) -> None:
        """The client is gone."""
        if self.waiting:
            self.waiting = deque(each for each in self.waiting if each.origin.client != client)

    def has_stored(self, node: NodeId, order: int) -> list[Effect]:
        """A node's journal has everything up to this place of the order."""
        if node in self.keepers:
            self.stored[node] = max(order, self.stored.get(node, 0))
        return self._ready()

    def _ready(self) -> list[Effect]:
        """What is stored is no promise before it is so under the present membership: else a journal of a node that is
        cut off, with a like version, may hold something else in its place."""
        effects: list[Effect] = []
        present, stored, waiting = frozenset(self.keepers), self.stored, self.waiting
        while waiting:
            first = waiting[0]
            needed = max(first.origin.order, self.version[0])
            if any(node in present and stored.get(node, 0) < needed for node in first.nodes):
                break
            waiting.popleft()
            effects.append(Reply(first.origin, outcome(first.created), True))  # those without a journal have it, too
        return effects

    # ---- members

    def membership(self, change: Membership, registry: Registry) -> list[Effect]:
        """Members have come and gone."""
        self.keepers = tuple(
            node for node in change.members if node in change.nodes and change.nodes[node].is_persistent
        )
        self.stored = {node: order for node, order in self.stored.items() if node in self.keepers}
        for node in change.joined | change.left:
            self.stored.pop(node, None)
        effects: list[Effect] = []
        if not change.quorate:  # that those who are left have stored something does not make it last
            effects = [Reply(each.origin, OUTCOME_UNKNOWN) for each in self.waiting]
            self.waiting.clear()
        return effects + (self._go_on(change) if self.is_settled else self._begin(change, registry))

    def _go_on(self, change: Membership) -> list[Effect]:
        """Have written down that a membership begins, and what it did."""
        entries, self._entries = self._entries, []
        was_followed, self.is_followed = self.is_followed, change.quorate
        if not change.quorate:
            return []
        order = change.order
        self.version = order, order
        entries.append(Reached(self.version))
        anew = change.joined if was_followed else self.keepers
        effects: list[Effect] = [
            Run(node, m.RewriteJournal(order) if node in anew else m.WriteJournal(order, entries))
            for node in self.keepers
        ]
        return effects + self._ready()

    # ---- the beginning

    def _begin(self, change: Membership, registry: Registry) -> list[Effect]:
        """Have the journals brought: of those who join, or of all when somebody has left, perhaps in the middle."""
        bringing = [node for node in self.keepers if node in change.joined]
        self.awaited = (self.awaited & set(self.keepers)) | set(bringing)
        if change.left or not self.asked:
            _drop_all(registry)
            self.version, self.bringer, self.asked = (0, 0), 0, change.order
            bringing = list(self.keepers)
            self.awaited = set(bringing)
        effects: list[Effect] = [Run(node, m.BringJournal(self.asked)) for node in bringing]
        return effects + self._settled(change.quorate, change.order, change.time, registry)

    def restore(self, message: m.Restore, node: NodeId, registry: Registry) -> None:
        """A node brings a part of a checkpoint."""
        if not self._weigh(message, node, registry):
            return
        checkpoint = registry.names.get(message.name)
        if message.is_first:
            checkpoint = registry.add(message.name, message.attributes)
            checkpoint.sequence, checkpoint.fence = message.sequence, message.fence
            checkpoint.sections.clear()
            checkpoint.size = 0
        if checkpoint is not None:
            checkpoint.put(message.sections)
            checkpoint.births = message.births

    def restored(
        self, message: m.Restored, node: NodeId, quorate: bool, origin: Origin, registry: Registry
    ) -> list[Effect]:
        """A node has brought everything."""
        self._weigh(message, node, registry)
        if message.asked == self.asked:
            self.awaited.discard(node)
        return self._settled(quorate, origin.order, origin.time, registry)

    def _weigh(self, message: m.Restore | m.Restored, node: NodeId, registry: Registry) -> bool:
        """Drop what a lesser journal brought; say whether what this node brings stands so far."""
        if self.is_settled or message.asked != self.asked:
            return False
        if not self.bringer or message.version > self.version:
            _drop_all(registry)
            self.version, self.bringer = message.version, node
        return node == self.bringer

    def _settled(self, quorate: bool, order: int, time: float, registry: Registry) -> list[Effect]:
        if self.is_settled or self.awaited or not quorate:
            return []
        self.is_settled = self.is_followed = True
        self.version, self.bringer, self.asked = (order, order), 0, 0
        effects: list[Effect] = []
        restored = list(registry.checkpoints.values())
        for checkpoint in restored:
            effects += registry.unopened(checkpoint, RESTORED_SECONDS)
            effects += rearmed(checkpoint, None, time)
        if restored:
            effects.append(Log(INFO, f"CKPT: {len(restored)} persistent checkpoints are restored"))
        return effects + [Run(node, m.RewriteJournal(order)) for node in self.keepers]


def _drop_all(registry: Registry) -> None:
    """Nobody has any open, and no alarm is set for them, before it is settled."""
    for checkpoint in list(registry.checkpoints.values()):
        registry.drop(checkpoint)
