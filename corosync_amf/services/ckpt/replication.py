"""When a write is answered: held by all replicas, by the active one, or by the writer's own node."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import Client, Done, Effect, Failed, Message, Multicast, Origin, Reply
from corosync_amf.errors import BadOperation

from .messages import Applied, CheckpointInfo, SectionCreated, WaitingRecord
from .store import Checkpoint
from .values import CheckpointStatus, CreationFlags

DONE: Final = Done()
ACTIVE = int(CreationFlags.WR_ACTIVE_REPLICA)
OUTCOME_UNKNOWN: Final = Failed(ErrorCode.TIMEOUT, "the partition lost its quorum before the active replica had it")


class Replication:
    """See the module. `members` hold all data; `waiting` are the writes that an active replica has yet to confirm."""

    def __init__(self, members: tuple[NodeId, ...] = (), waiting: Sequence[WaitingRecord] = ()) -> None:
        self.members = members
        self.waiting = {record.origin: record for record in waiting}

    def records(self) -> list[WaitingRecord]:
        """What is awaited, for a snapshot."""
        return [self.waiting[origin] for origin in sorted(self.waiting)]

    def active(self, checkpoint: Checkpoint) -> NodeId | None:
        """The node of the active replica; None: there is none now, or never."""
        if checkpoint.is_safe:
            return None
        if checkpoint.is_collocated:
            return checkpoint.active
        return self.members[0] if self.members else None

    def choose_active(self, checkpoint: Checkpoint, node: NodeId) -> None:
        """Make `node` the active replica. Raises: BadOperation: the service chooses, or there is none."""
        if not checkpoint.chooses_active:
            raise BadOperation("only a collocated checkpoint with an active replica lets it be chosen")
        checkpoint.active = node

    def status(self, checkpoint: Checkpoint) -> CheckpointStatus:
        """The checkpoint's status. Raises: NotExist: no active replica."""
        checkpoint.check_replica()
        holders = sorted({client.node for client, _ in checkpoint.handles})
        return CheckpointStatus(
            checkpoint.attributes.public(),
            len(checkpoint.sections),
            checkpoint.size,
            checkpoint.fence,
            tuple(holders) if checkpoint.is_collocated else self.members,
            self.active(checkpoint),
        )

    def info(self, checkpoint: Checkpoint) -> CheckpointInfo:
        """The checkpoint for operators."""
        return CheckpointInfo(
            checkpoint.name,
            checkpoint.attributes,
            len(checkpoint.sections),
            checkpoint.size,
            checkpoint.sequence,
            checkpoint.fence,
            self.active(checkpoint),
            len(checkpoint.handles),
            tuple(sorted({client.node for client, _ in checkpoint.handles})),
        )

    def acknowledge(self, checkpoint: Checkpoint, origin: Origin, created: bytes | None = None) -> list[Effect]:
        """Answer a change that was just applied, or ask the active replica to confirm it."""
        if checkpoint.is_safe:
            return [Reply(origin, DONE if created is None else SectionCreated(created), True)]
        if checkpoint.attributes.creation_flags & ACTIVE:
            active = self.active(checkpoint)
            if active is not None and active != origin.client.node:
                self.waiting[origin] = WaitingRecord(origin, checkpoint.number, active, created)
                return [Multicast(active, Applied((origin,)))]
        return [Reply(origin, outcome(created))]

    def synchronize(self, checkpoint: Checkpoint, origin: Origin) -> list[Effect]:
        """Answer when all replicas have what came before: who holds this request holds that, too."""
        if checkpoint.is_safe:
            raise BadOperation("every write to a WR_ALL_REPLICAS checkpoint is on all replicas when it returns")
        checkpoint.check_replica()
        return [Reply(origin, DONE, True)]

    def confirmed(self, writes: Sequence[Origin]) -> list[Effect]:
        """The active replica has these; what it confirmed before, or for a client that is gone, is left out."""
        found = [self.waiting.pop(origin, None) for origin in writes]
        return [Reply(record.origin, outcome(record.created)) for record in found if record is not None]

    def forget(self, client: Client) -> None:
        """The client is gone."""
        for origin in [origin for origin in self.waiting if origin.client == client]:
            del self.waiting[origin]

    def ask_again(
        self, present: frozenset[NodeId], quorate: bool, checkpoint_of: Callable[[int], Checkpoint | None]
    ) -> list[Effect]:
        """Ask the next active replica for what one that is gone did not confirm.

        A part without quorum has none that counts: its state may be replaced by one that lacks the change.
        """
        effects: list[Effect] = []
        again: dict[NodeId, list[Origin]] = {}
        for origin in sorted(self.waiting):
            record = self.waiting[origin]
            if record.asked in present:
                continue
            if not quorate:
                del self.waiting[origin]
                effects.append(Reply(origin, OUTCOME_UNKNOWN))
                continue
            checkpoint = checkpoint_of(record.checkpoint)
            active = None if checkpoint is None else self.active(checkpoint)
            if active is None or active == origin.client.node:
                del self.waiting[origin]
                gone = Failed(ErrorCode.NOT_EXIST, "the active replica is gone; the other replicas have the change")
                effects.append(Reply(origin, gone if active is None else outcome(record.created)))
            else:
                self.waiting[origin] = msgspec.structs.replace(record, asked=active)
                again.setdefault(active, []).append(origin)
        return effects + _asking(again)


def _asking(again: Mapping[NodeId, list[Origin]]) -> list[Effect]:
    return [Multicast(node, Applied(tuple(again[node]))) for node in sorted(again)]


def outcome(created: bytes | None) -> Message:
    """The answer of a change; `created`: the id of the section that it made."""
    return DONE if created is None else SectionCreated(created)
