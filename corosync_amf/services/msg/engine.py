"""The message service as a replicated state machine: what becomes of each request.

    directory       which queues and groups there are, and who has the queues open
    store           what one queue holds
    groups          where a message to a group goes
    correspondence  what clients have sent, and who waits for a reply
    capacity        when operators hear that queues are full

Source: SAI-AIS-MSG-B.03.01 chapter 3.
"""

from typing import Any, ClassVar, assert_never

import msgspec

from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import (
    Client,
    ClientGone,
    Done,
    Effect,
    Event,
    Failed,
    Membership,
    Message,
    Origin,
    Reply,
    Service,
)
from corosync_amf.engine import failed as refusal
from corosync_amf.errors import Access, AisError, BadFlags, Interrupt, InvalidParam, NoResources, NotExist

from . import messages as m
from .capacity import updated
from .correspondence import Correspondence
from .directory import Directory, announced
from .groups import Group
from .limits import CHANGE_FLAGS, check_body, check_thresholds, is_trackable
from .store import GETS_MAX, Queue
from .values import MESSAGE_BYTES_MAX, REPLY_BYTES_MAX, QueueGroupPolicy, QueueOpenFlags

DONE = Done()
DISCARD = int(QueueOpenFlags.EMPTY)
CLOSED = Failed(ErrorCode.BAD_HANDLE, "the queue was closed")
CANCELLED = refusal(Interrupt("message_cancel was called"))
GIVEN_AWAY = Failed(ErrorCode.NOT_EXIST, "the message was given to somebody else while this node was cut off")
WITHDRAWN = Failed(ErrorCode.TIMEOUT, "the receiver waits no more")
SEND_AGAIN = Failed(ErrorCode.TRY_AGAIN, "the partition was cut off before the message was sent")

Administration = (
    m.Open
    | m.Close
    | m.Unlink
    | m.Purge
    | m.SetRetention
    | m.SetThresholds
    | m.CreateGroup
    | m.DeleteGroup
    | m.Insert
    | m.Remove
    | m.Track
    | m.TrackStop
)


class MsgEngine:
    """See the module."""

    service: ClassVar[Service] = Service.MSG
    request_type: ClassVar[Any] = m.MsgRequest
    query_type: ClassVar[Any] = m.MsgQuery
    snapshot_type: ClassVar[type[msgspec.Struct]] = m.Snapshot
    remnant_type: ClassVar[Any] = m.Remnant

    def __init__(self) -> None:
        self._quorate = False
        self._closed: list[m.ClosedRemnant] = []
        self._incarnations: dict[NodeId, int] = {}
        self._correspondence = Correspondence()
        self._directory = Directory(self._correspondence)

    # ---- the engine protocol

    def apply(self, message: m.MsgRequest, origin: Origin) -> list[Effect]:
        """See `Engine`."""
        try:
            match message:
                case m.Send() | m.SendReceive() | m.Respond():
                    return self._numbered(message, origin)
                case m.Get():
                    return self._get(message, origin)
                case m.Taken(handle, taken):
                    is_known = self._directory.queue(origin.client, handle).took(taken)
                    return [Reply(origin, DONE if is_known else GIVEN_AWAY, safe=True)]
                case m.Withdraw():
                    return self._withdraw(message, origin)
                case m.WithdrawReceive(number):
                    answered, effects = self._correspondence.withdraw(origin.client, number)
                    return [*effects, Reply(origin, m.Withdrawn(answered), safe=True)]
                case m.Cancel(handle):
                    return self._cancel(self._directory.queue(origin.client, handle), origin)
                case m.RetentionOver(number, closing):
                    if origin.client.number:
                        raise Access("only executives may say this")
                    return self._directory.retention_over(number, closing)
                case ClientGone():
                    self._correspondence.forget(origin.client)
                    return self._client_gone(origin.client, origin.time)
                case _:
                    return self._administer(message, origin)
        except AisError as error:
            return [Reply(origin, refusal(error))]

    def _administer(self, message: Administration, origin: Origin) -> list[Effect]:
        client, directory = origin.client, self._directory
        match message:
            case m.Open():
                queue, effects = directory.open(message, client)
                return [Reply(origin, m.Opened(queue.attributes)), *effects]
            case m.Close(handles, taken):
                return [*self._close(client, handles, taken, origin.time), Reply(origin, DONE)]
            case m.Unlink(name):
                return [*directory.unlink(name), Reply(origin, DONE, safe=True)]
            case m.Purge(name):
                queue = directory.named(name)
                purged = Reply(origin, m.Purged(queue.count()), safe=True)
                return [*directory.discard(queue), purged]
            case m.SetRetention(handle, retention_time):
                directory.set_retention(directory.queue(client, handle), retention_time)
                return [Reply(origin, DONE, safe=True)]
            case m.SetThresholds(handle, thresholds):
                queue = directory.queue(client, handle)
                check_thresholds(thresholds, queue.size)
                queue.thresholds = thresholds
                return [*updated(queue), Reply(origin, DONE, safe=True)]
            case m.CreateGroup(name, policy):
                directory.create_group(name, policy)
                return [Reply(origin, DONE, safe=True)]
            case m.DeleteGroup(name):
                return [*directory.delete_group(name), Reply(origin, DONE, safe=True)]
            case m.Insert(group, queue_name):
                return [*directory.insert(group, queue_name), Reply(origin, DONE, safe=True)]
            case m.Remove(group, queue_name):
                return [*directory.remove(group, queue_name), Reply(origin, DONE, safe=True)]
            case m.Track():
                return self._track(message, origin)
            case m.TrackStop(name):
                if directory.group(name).trackers.pop(client, None) is None:
                    raise NotExist(f"queue group {name!r} is not tracked")
                return [Reply(origin, DONE)]
            case _:
                assert_never(message)

    def query(self, message: m.MsgQuery, client: Client) -> Message:
        """See `Engine`."""
        try:
            return self._query(message, client)
        except AisError as error:
            return refusal(error)

    def _query(self, message: m.MsgQuery, client: Client) -> Message:
        directory = self._directory
        match message:
            case m.GetStatus(name):
                queue = directory.named(name)
                return m.Status(queue.status(), queue.opener)
            case m.GetThresholds(handle):
                thresholds = directory.queue(client, handle).thresholds
                if thresholds is None:
                    raise NotExist("no thresholds were set")
                return m.Thresholds(thresholds)
            case m.GetView(name):
                return m.View(directory.group(name).view())
            case m.ListQueues(after):
                return m.Queues(directory.list_queues(after))
            case m.ListGroups(after):
                return m.Groups(directory.list_groups(after))
            case _:
                assert_never(message)

    def membership(self, change: Membership) -> list[Effect]:
        """See `Engine`. What a lost node's clients had open is closed; what they sent is remembered."""
        present = frozenset(change.members) - change.left
        effects: list[Effect] = []
        for client in self._clients():
            if client.node not in present:
                self._correspondence.leave(client)
                effects += self._client_gone(client, change.time)
        for node in sorted(change.joined):
            if self._incarnations.get(node) != change.nodes[node].incarnation:
                self._correspondence.forget_node(node)
        remembered = {client.node for client in self._correspondence.sent}
        known = {node: number for node, number in self._incarnations.items() if node in remembered}
        self._incarnations = known | {node: change.nodes[node].incarnation for node in change.members}
        was_quorate, self._quorate = self._quorate, change.quorate
        if change.quorate:
            self._closed.clear()
        if change.quorate and not was_quorate:
            for number in sorted(self._directory.queues):
                effects += self._serve(self._directory.queues[number])
        return effects

    def _clients(self) -> list[Client]:
        trackers = {client for group in self._directory.groups.values() for client in group.trackers}
        waiting = {record.origin.client for record in self._correspondence.receives.values()}
        return sorted(trackers | waiting | self._directory.handles.keys())

    def snapshot(self) -> m.Snapshot:
        """See `Engine`."""
        directory = self._directory
        sent, receives = self._correspondence.records()
        return m.Snapshot(
            self._quorate,
            directory.numbers,
            [directory.queues[number].record() for number in sorted(directory.queues)],
            [directory.groups[name].record() for name in sorted(directory.groups)],
            sent,
            receives,
            sorted(self._incarnations.items()),
            list(self._closed),
        )

    def restore(self, snapshot: m.Snapshot) -> None:
        """See `Engine`. The queues of a partition that gave way are replaced."""
        self._quorate = snapshot.quorate
        self._closed = list(snapshot.closed)
        self._incarnations = dict(snapshot.incarnations)
        self._correspondence = Correspondence.restored(snapshot.sent, snapshot.receives)
        self._directory = Directory.restored(snapshot, self._correspondence)

    # ---- the merge rule

    def remnant(self, node: NodeId) -> m.Remnant | None:
        """See `Engine`. What this node's clients have open, follow and wait for."""
        directory, correspondence = self._directory, self._correspondence
        handles = [
            _remnant_of(queue, client, handle)
            for client, numbered in sorted(directory.handles.items(), key=lambda item: item[0])
            if client.node == node
            for handle, queue in sorted(numbered.items(), key=lambda item: item[0])
        ]
        trackers = [
            (client, name, flags)
            for name, group in sorted(directory.groups.items())
            for client, flags in sorted(group.trackers.items())
            if client.node == node
        ]
        receives, clients = correspondence.waiting_on(node), correspondence.clients_on(node)
        closed = [each for each in self._closed if each.node == node]
        if not (handles or trackers or receives or clients or closed):
            return None
        return m.Remnant(handles, receives, trackers, clients, closed)

    def merge(self, remnant: m.Remnant, origin: Origin) -> list[Effect]:
        """See `Engine`. A queue that nobody else has opened stays open for its client; else the client is told."""
        directory, node = self._directory, origin.client.node
        self._correspondence.forget_node(node, but=remnant.clients)
        effects: list[Effect] = []
        for held in remnant.handles:
            queue = None if held.name is None else directory.names.get(held.name)
            is_free = queue is not None and not queue.is_open
            if queue is not None and is_free and held.handle not in directory.handles.get(held.client, {}):
                queue.give_again(held.in_hand, held.taken)
                effects += directory.take_up(queue, held.client, held.handle, held.open_flags & ~DISCARD)
                queue.gets.update((get.number, get.origin) for get in held.gets)
                effects += self._serve(queue)
            else:
                effects += [Reply(get.origin, CLOSED) for get in held.gets]
                effects.append(Event(held.client, m.Lost(held.handle)))
        for closed in remnant.closed:
            queue = directory.names.get(closed.name)
            if queue is not None:
                queue.take_out(closed.taken)
                effects += updated(queue)
        if not self._quorate:
            self._closed += remnant.closed  # those who go on as a quorum have still to hear of it
        for receive in remnant.receives:
            effects += self._wait_again(receive)
        for client, name, flags in remnant.trackers:
            group = directory.groups.get(name)
            if group is None:
                effects.append(Event(client, m.GroupChanged(name, None)))
            else:
                group.trackers[client] = flags
                effects.append(group.tell_present(client))
        return effects

    def _wait_again(self, receive: m.ReceiveRecord) -> list[Effect]:
        """Of a sender that was cut off while it waited for a reply."""
        client, correspondence = receive.origin.client, self._correspondence
        outcome = correspondence.first_outcome(client, receive.number, ())
        if outcome is None:
            return [Reply(receive.origin, SEND_AGAIN)]
        if not isinstance(outcome, m.Waits):
            return [Reply(receive.origin, outcome)]
        return self._resume(outcome, receive.number, receive.origin)

    # ---- openers that go

    def _close(self, client: Client, handles: tuple[int, ...], taken: tuple[int, ...], time: float) -> list[Effect]:
        held = self._directory.handles.get(client, {})
        effects: list[Effect] = []
        for handle in handles:
            queue = held.get(handle)
            if queue is not None:
                queue.took(taken)
                if not self._quorate and queue.linked:
                    self._closed.append(m.ClosedRemnant(client.node, queue.name, queue.taken_last()))
                effects += [Reply(origin, CLOSED) for origin in queue.gets.values()]
                queue.gets.clear()
        return effects + self._directory.close(client, handles, time)[1]

    def _client_gone(self, client: Client, time: float) -> list[Effect]:
        handles = tuple(sorted(self._directory.handles.get(client, ())))
        for handle in handles:
            self._directory.handles[client][handle].gets.clear()
        self._directory.untrack(client)
        return self._directory.close(client, handles, time)[1]

    # ---- messages

    def _numbered(self, message: m.Send | m.SendReceive | m.Respond, origin: Origin) -> list[Effect]:
        """Act once on what may come again."""
        client, number, correspondence = origin.client, message.number, self._correspondence
        first = correspondence.first_outcome(client, number, message.settled)
        if first is not None:
            if isinstance(first, m.Waits):
                return self._resume(first, number, origin)
            return [Reply(origin, first, safe=True)]
        try:
            match message:
                case m.Send():
                    effects = self._send(message, origin)
                case m.Respond():
                    effects = self._respond(message, origin)
                case m.SendReceive():
                    return self._send_receive(message, origin)
        except AisError as error:
            outcome = refusal(error)
            correspondence.note(client, number, outcome)
            return [Reply(origin, outcome, safe=True)]  # where this node is cut off from there may have been room
        correspondence.note(client, number, DONE)
        effects.append(Reply(origin, DONE, safe=True))
        return effects

    def _send(self, message: m.Send, origin: Origin) -> list[Effect]:
        body = message.body
        check_body(body, MESSAGE_BYTES_MAX)
        queues = self._destination(message.destination, body, origin)
        got = m.Got(body, origin.time, None)
        effects: list[Effect] = []
        for queue in queues:
            effects += self._put(queue, (origin.order, origin.client, got))
        return effects

    def _send_receive(self, message: m.SendReceive, origin: Origin) -> list[Effect]:
        body = message.body
        check_body(body, MESSAGE_BYTES_MAX)
        group = self._directory.groups.get(message.destination)
        if group is not None and group.policy is QueueGroupPolicy.BROADCAST:
            raise InvalidParam("a message to a BROADCAST group cannot be answered")
        self._correspondence.check_may_wait(origin.client)
        (queue,) = self._destination(message.destination, body, origin)
        self._correspondence.wait(origin, message.number, m.Waits(origin.order, queue.number))
        return self._put(queue, (origin.order, origin.client, m.Got(body, origin.time, origin.order)))

    def _destination(self, name: str, body: m.Body, origin: Origin) -> list[Queue]:
        """Raises: NotExist, QueueFull, QueueNotAvailable."""
        priority, size = body.priority, len(body.data)
        queue = self._directory.names.get(name)
        if queue is None:
            group = self._directory.groups.get(name)
            if group is None:
                raise NotExist(f"no queue or queue group {name!r}")
            return group.choose(origin.client.node, priority, size)
        queue.check_room(priority, size)
        return [queue]

    def _put(self, queue: Queue, numbered: m.Numbered) -> list[Effect]:
        """A new message: for the get that waits longest, else into the queue."""
        effects = announced(queue, 1)
        if queue.gets and self._quorate:
            effects.append(_handed(queue, numbered))
            return effects
        queue.put(numbered)
        return effects if queue.thresholds is None else effects + updated(queue)

    def _respond(self, message: m.Respond, origin: Origin) -> list[Effect]:
        check_body(message.body, REPLY_BYTES_MAX)
        return [self._correspondence.answer(message.sender_id, m.Answered(message.body, origin.time))]

    def _resume(self, waits: m.Waits, number: int, origin: Origin) -> list[Effect]:
        if waits.queue not in self._directory.queues:
            return [Reply(origin, refusal(NotExist("the queue was deleted before the message was answered")))]
        self._correspondence.resume(origin, number, waits)
        return []

    def _get(self, message: m.Get, origin: Origin) -> list[Effect]:
        queue, number = self._directory.queue(origin.client, message.handle), message.number
        if message.taken:
            queue.took(message.taken)
        if number in queue.in_hand or number in queue.gets or len(queue.in_hand) + len(queue.gets) >= GETS_MAX:
            raise NoResources(f"a queue has at most {GETS_MAX} gets under way, each with its own number")
        numbered = queue.take()
        if numbered is not None:
            queue.in_hand[number] = numbered
            effects: list[Effect] = [Reply(origin, numbered[2], safe=True)]
            return effects if queue.thresholds is None else updated(queue) + effects
        if not message.waits:
            return [Reply(origin, m.Withdrawn(False))]
        queue.gets[number] = origin
        return []

    def _serve(self, queue: Queue) -> list[Effect]:
        """Give the messages of a queue to the gets that wait, while there are both."""
        effects: list[Effect] = []
        while queue.gets and self._quorate and (numbered := queue.take()) is not None:
            effects.append(_handed(queue, numbered))
        return effects + updated(queue)

    def _withdraw(self, message: m.Withdraw, origin: Origin) -> list[Effect]:
        """End a get: it was answered, or never takes effect.

        A message in hand in a partition without quorum has perhaps not been given to the client: it is put back.
        """
        queue, number = self._directory.queue(origin.client, message.handle), message.number
        if number in queue.in_hand:
            if self._quorate and not message.put_back:
                return [Reply(origin, m.Withdrawn(True), safe=True)]
            queue.put_back([number])
            return [*announced(queue, 1), *self._serve(queue), Reply(origin, m.Withdrawn(False))]
        waiting = queue.gets.pop(number, None)
        ended: list[Effect] = [] if waiting is None else [Reply(waiting, WITHDRAWN)]
        return [*ended, Reply(origin, m.Withdrawn(False))]

    def _cancel(self, queue: Queue, origin: Origin) -> list[Effect]:
        if not queue.gets:
            raise NotExist("nobody waits for a message of this queue")
        effects: list[Effect] = [Reply(waiting, CANCELLED) for waiting in queue.gets.values()]
        queue.gets.clear()
        return [*effects, Reply(origin, DONE)]

    # ---- tracking

    def _track(self, message: m.Track, origin: Origin) -> list[Effect]:
        if not is_trackable(message.flags):
            raise BadFlags("flags must have CURRENT, CHANGES or CHANGES_ONLY, not both of these, and nothing else")
        group: Group = self._directory.group(message.group)
        effects: list[Effect] = [Reply(origin, m.View(group.view()))]
        if message.flags & CHANGE_FLAGS:
            group.trackers[origin.client] = message.flags
        return [*effects, group.tell_present(origin.client)] if message.as_event else effects


def _handed(queue: Queue, numbered: m.Numbered) -> Reply:
    """Give a message to the get that waits longest."""
    number, origin = next(iter(queue.gets.items()))
    del queue.gets[number]
    queue.in_hand[number] = numbered
    return Reply(origin, numbered[2], safe=True)


def _remnant_of(queue: Queue, client: Client, handle: int) -> m.HandleRemnant:
    name = queue.name if queue.linked else None
    given, taken, waiting = queue.given(), queue.taken_last(), queue.waiting()
    return m.HandleRemnant(client, handle, name, queue.open_flags, given, taken, waiting)
