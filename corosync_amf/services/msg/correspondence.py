"""What clients have sent, so that a request that is repeated acts once; and those who wait for a reply.

A client numbers what it sends. The outcome of each number is kept until the client says, with another one, that it
knows it (`settled`). It outlives the loss of the client's node: the client may only have been cut off, and ask again.
"""

from collections.abc import Iterable
from typing import Final

from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import Client, Effect, Failed, Origin, Reply
from corosync_amf.errors import InvalidParam, NoResources, NotExist

from .messages import Answered, Got, Outcome, ReceiveRecord, SentRecord, Waits

OUTCOMES_MAX: Final = 1024
"""Outcomes kept for one client; a library has at most 256 requests under way."""
CLIENTS_MAX: Final = 65_536
WAITING_MAX: Final = 1024
"""SendReceives of one client that wait."""
DELETED: Final = Failed(ErrorCode.NOT_EXIST, "the message was deleted before it was answered")
ANSWER_LOST: Final = Failed(ErrorCode.NOT_EXIST, "the message was answered, but the answer was lost with a partition")
GIVEN_UP: Final = Failed(ErrorCode.TIMEOUT, "the sender waits no more")


class Correspondence:
    """See the module. `sent`: outcomes by number; `receives`: who waits for a reply, by sender id."""

    def __init__(self) -> None:
        self.sent: dict[Client, dict[int, Outcome]] = {}
        self.receives: dict[int, ReceiveRecord] = {}
        self._waiting: dict[Client, dict[int, int]] = {}

    @classmethod
    def restored(cls, sent: Iterable[SentRecord], receives: Iterable[ReceiveRecord]) -> "Correspondence":
        """That of a snapshot."""
        made = cls()
        made.sent = {record.client: dict(record.outcomes) for record in sent}
        for receive in receives:
            made._add(receive)
        return made

    def records(self) -> tuple[list[SentRecord], list[ReceiveRecord]]:
        """That in a snapshot."""
        sent = [
            SentRecord(client, sorted(outcomes.items(), key=lambda item: item[0]))
            for client, outcomes in sorted(self.sent.items(), key=lambda item: item[0])
        ]
        return sent, [self.receives[sender_id] for sender_id in sorted(self.receives)]

    # ---- requests that may be repeated

    def first_outcome(self, client: Client, number: int, settled: tuple[int, ...]) -> Outcome | None:
        """What became of this number before; None: it is new. Those that are settled are forgotten."""
        outcomes = self.sent.get(client)
        if outcomes is None:
            return None
        for each in settled:
            outcomes.pop(each, None)
        return outcomes.get(number)

    def note(self, client: Client, number: int, outcome: Outcome) -> None:
        """Remember what became of a number."""
        outcomes = self.sent.get(client)
        if outcomes is None:
            if len(self.sent) >= CLIENTS_MAX:
                del self.sent[min(self.sent)]
            outcomes = self.sent[client] = {}
        elif len(outcomes) >= OUTCOMES_MAX:
            del outcomes[min(outcomes)]
        outcomes[number] = outcome

    def forget(self, client: Client) -> None:
        """The client has gone for good."""
        self.sent.pop(client, None)
        self.leave(client)

    def forget_node(self, node: NodeId, but: Iterable[Client] = ()) -> None:
        """The clients of a node have gone for good, except these."""
        kept = frozenset(but)
        for client in [each for each in self.sent if each.node == node and each not in kept]:
            del self.sent[client]

    # ---- senders that wait for a reply

    def check_may_wait(self, client: Client) -> None:
        """Raises: NoResources."""
        if len(self._waiting.get(client, ())) >= WAITING_MAX:
            raise NoResources(f"a client waits for at most {WAITING_MAX} replies")

    def wait(self, origin: Origin, number: int, waits: Waits) -> None:
        """A message is on its way whose sender waits."""
        self.note(origin.client, number, waits)
        self._add(ReceiveRecord(waits.sender_id, origin, number, waits.queue))

    def resume(self, origin: Origin, number: int, waits: Waits) -> None:
        """A sender whose node was cut off waits again. Raises: InvalidParam: it waits already."""
        if waits.sender_id in self.receives:
            raise InvalidParam("the sender waits for this reply already")
        self._add(ReceiveRecord(waits.sender_id, origin, number, waits.queue))

    def answer(self, sender_id: int, answered: Answered) -> Effect:
        """Give the reply to the sender. Raises: NotExist: nobody waits for it."""
        record = self.receives.get(sender_id)
        if record is None:
            raise NotExist("the message was answered already, or its sender waits no more")
        self._end(record, ANSWER_LOST)
        return Reply(record.origin, answered, safe=True)

    def withdraw(self, client: Client, number: int) -> tuple[bool, list[Effect]]:
        """The sender waits no more; say whether it had been answered before."""
        sender_id = self._waiting.get(client, {}).get(number)
        if sender_id is not None:
            record = self.receives[sender_id]
            self._end(record, GIVEN_UP)
            return False, [Reply(record.origin, GIVEN_UP)]
        return self.sent.get(client, {}).get(number) == ANSWER_LOST, []

    def discarded(self, messages: Iterable[Got]) -> list[Effect]:
        """Messages were discarded: who waits for replies to them is told."""
        waiting = [self.receives.get(got.sender_id) for got in messages if got.sender_id is not None]
        return [self._deleted(record) for record in waiting if record is not None]

    def queue_gone(self, queue: int) -> list[Effect]:
        """A queue is no more: who waits for replies from it is told."""
        gone = [record for _, record in sorted(self.receives.items()) if record.queue == queue]
        return [self._deleted(record) for record in gone]

    def _deleted(self, record: ReceiveRecord) -> Effect:
        self._end(record, DELETED)
        return Reply(record.origin, DELETED)

    def leave(self, client: Client) -> None:
        """The client is gone, perhaps to come back: nobody waits for what is replied to it meanwhile."""
        for sender_id in self._waiting.pop(client, {}).values():
            del self.receives[sender_id]

    def waiting_on(self, node: NodeId) -> list[ReceiveRecord]:
        """Those of one node that wait."""
        return [record for _, record in sorted(self.receives.items()) if record.origin.client.node == node]

    def _add(self, record: ReceiveRecord) -> None:
        self.receives[record.sender_id] = record
        self._waiting.setdefault(record.origin.client, {})[record.number] = record.sender_id

    def _end(self, record: ReceiveRecord, outcome: Outcome) -> None:
        client = record.origin.client
        del self.receives[record.sender_id]
        waiting = self._waiting[client]
        waiting.pop(record.number, None)
        if not waiting:
            del self._waiting[client]
        outcomes = self.sent.get(client, {})
        if record.number in outcomes:
            outcomes[record.number] = outcome

    def clients_on(self, node: NodeId) -> list[Client]:
        """The clients of a node whose numbers are remembered."""
        return sorted(client for client in self.sent if client.node == node)
