"""Persistent checkpoints: what goes into the journals, who must have stored it, and how they come back.

Every node that keeps state on disk (`NodeFacts.is_persistent`) writes all changes of persistent checkpoints into its
journal, outside the order. A change of a WR_ALL_REPLICAS checkpoint is answered when all of them have it on disk;
each says so through the order (Stored).

A cluster that starts from nothing is not *settled*: each node brings the checkpoints of its journal into the order
(Restore), of which the latest version stands; nobody opens anything before all members of a quorate membership have
said that they are through (Restored). From then on journals follow the replicas: a node that joins writes its anew.
"""

from collections import deque
from collections.abc import Iterable
from logging import INFO
from typing import Final

from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import Client, Effect, Failed, Log, Membership, Origin, Reply, Run
from corosync_amf.errors import TryAgain

from . import messages as m
from .entries import Begun, Changed, Ended, Expires, JournalEntry, Retains
from .registry import Registry, rearmed
from .replication import outcome
from .shelf import note_gone
from .store import Checkpoint
from .values import SectionChange

RESTORED_SECONDS: Final = 300.0
"""The least time that a restored checkpoint waits to be opened, whatever its retention duration."""
OUTCOME_UNKNOWN: Final = Failed(ErrorCode.TIMEOUT, "the partition lost its quorum before every journal had it")


class Persistence:
    """See the module. `keepers` are the members that have a journal, `awaited` those that have yet to bring theirs.

    `gone` are the checkpoints that have ended, by name: the latest that has. Journals that begin anew keep that, for a
    node that was away and has one of them still. `waiting` are changes to be answered, with who must store them;
    `stored` is the order up to which a node has.
    """

    def __init__(self, state: m.PersistenceRecord) -> None:
        self.keepers = state.keepers
        self.is_settled = state.is_settled
        self.awaited = set(state.awaited)
        self.gone = dict(state.gone)
        self.waiting = deque(state.waiting)
        self.stored = dict(state.stored)
        self._entries: list[JournalEntry] = []

    def record(self) -> m.PersistenceRecord:
        """The state in a snapshot."""
        return m.PersistenceRecord(
            self.keepers,
            self.is_settled,
            sorted(self.awaited),
            sorted(self.gone.items()),
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
            self._entries.append(Begun(checkpoint.name, checkpoint.born, checkpoint.attributes))

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
            note_gone(self.gone, checkpoint.name, checkpoint.born)
            self._entries.append(Ended(checkpoint.name, checkpoint.born))

    def flush(self, order: int) -> list[Effect]:
        """Have written down what one request did."""
        if not self._entries:
            return []
        entries, self._entries = self._entries, []
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
        effects: list[Effect] = []
        present, stored, waiting = frozenset(self.keepers), self.stored, self.waiting
        while waiting:
            first = waiting[0]
            if any(node in present and stored.get(node, 0) < first.origin.order for node in first.nodes):
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
        if change.quorate:
            effects = self._ready()
        else:  # that those who are left have stored something does not make it last
            effects = [Reply(each.origin, OUTCOME_UNKNOWN) for each in self.waiting]
            self.waiting.clear()
        joined = [node for node in self.keepers if node in change.joined]
        if self.is_settled:
            return effects + [Run(node, m.RewriteJournal(change.order)) for node in joined]
        if change.left:  # who is gone may have been in the middle of it: all begin again
            for checkpoint in [each for each in registry.checkpoints.values() if each.bringer]:
                registry.drop(checkpoint)
            joined = list(self.keepers)
        self.awaited = (self.awaited & set(self.keepers)) | set(joined)
        effects += [Run(node, m.BringJournal()) for node in joined]
        return effects + self._settled(change.quorate, change.order, change.time, registry)

    # ---- the beginning

    def restore(self, message: m.Restore, node: NodeId, registry: Registry) -> None:
        """A node brings a part of a checkpoint: the latest version stands."""
        if self.is_settled:
            return
        present = registry.names.get(message.name)
        if message.is_first:
            version = (message.born, message.sequence)
            if present is not None:
                if (present.born, present.sequence) >= version and present.bringer != node:
                    return
                registry.drop(present)
            present = registry.add(message.name, message.attributes)
            present.born, present.sequence, present.bringer = message.born, message.sequence, node
            present.fence = message.fence
            present.sections.clear()
            present.size = 0
        if (
            present is None
            or present.bringer != node
            or (present.born, present.sequence)
            != (
                message.born,
                message.sequence,
            )
        ):
            return
        present.put(message.sections)
        present.births = message.births
        if message.is_last:
            present.bringer = 0

    def restored(
        self, gone: Iterable[tuple[str, int]], node: NodeId, quorate: bool, origin: Origin, registry: Registry
    ) -> list[Effect]:
        """A node has brought everything."""
        if self.is_settled:
            return []
        self.awaited.discard(node)
        for name, born in gone:
            note_gone(self.gone, name, born)
        return self._settled(quorate, origin.order, origin.time, registry)

    def _settled(self, quorate: bool, order: int, time: float, registry: Registry) -> list[Effect]:
        if self.awaited or not quorate:
            return []
        self.is_settled = True
        for name, born in sorted(self.gone.items()):
            checkpoint = registry.names.get(name)
            if checkpoint is not None and checkpoint.born <= born:
                registry.drop(checkpoint)
        effects: list[Effect] = []
        restored = list(registry.checkpoints.values())
        for checkpoint in restored:
            effects += registry.unopened(checkpoint, RESTORED_SECONDS)
            effects += rearmed(checkpoint, None, time)
        if restored:
            effects.append(Log(INFO, f"CKPT: {len(restored)} persistent checkpoints are restored"))
        return effects + [Run(node, m.RewriteJournal(order)) for node in self.keepers]
