"""NTF as a replicated state machine: what is sent gets an id, is kept, and goes to those who want it.

    identifiers     the ids
    records         one notification, what a filter says of it
    store           what is kept for readers; the alarms that are not over
    subscriptions   who wants what

Other engines send their notifications as a `Notice`; every notification that is kept is told LOG in the same way.

Source: SAI-AIS-NTF-A.03.01 chapter 3.
"""

from collections.abc import Callable
from logging import ERROR
from typing import Any, ClassVar, Final, assert_never

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import (
    Client,
    ClientGone,
    Done,
    Effect,
    Forward,
    Log,
    Membership,
    Message,
    Notice,
    Origin,
    Reply,
    Service,
    failed,
)
from corosync_amf.errors import Access, AisError, Exist, InvalidParam, NoResources, TooBig
from corosync_amf.wire import decode, encode

from . import messages as m
from .identifiers import following
from .records import (
    Record,
    Selection,
    Terms,
    check_filters,
    check_record,
    check_size,
    check_suppression,
    notice_of,
    record_of,
)
from .store import Store, Uncleared
from .subscriptions import Subscriptions
from .values import SUBSCRIPTION_ID_MAX
from .vocabulary import Severity

DONE: Final = Done()
ALLOCATED_MAX: Final = 1024
"""Ids that one client may have for later."""
ALLOCATED_IN_ALL_MAX: Final = 16_384
_replace = msgspec.structs.replace


class NtfEngine:
    """See the module."""

    service: ClassVar[Service] = Service.NTF
    request_type: ClassVar[Any] = m.NtfRequest
    query_type: ClassVar[Any] = m.NtfQuery
    snapshot_type: ClassVar[type[msgspec.Struct]] = m.Snapshot
    remnant_type: ClassVar[Any] = m.Remnant

    def __init__(self) -> None:
        self._last = 0
        self._joined: dict[NodeId, int] = {}
        self._absent: dict[NodeId, int] = {}
        self._store = Store()
        self._uncleared = Uncleared()
        self._subscriptions = Subscriptions()
        self._allocated: dict[int, Client] = {}
        self._suppress(())

    # ---- the engine protocol

    def apply(self, message: m.NtfRequest, origin: Origin) -> list[Effect]:
        """See `Engine`."""
        try:
            match message:
                case m.Send(record):
                    check_record(record)
                    return self._send(record, origin)
                case m.SendWithId(record):
                    return self._send_with_id(record, origin)
                case m.Allocate():
                    return [Reply(origin, m.Identified(self._allocate(origin)))]
                case m.Subscribe(subscription_id, filters):
                    check_filters(filters, needed=True)
                    _check_subscription_id(subscription_id)
                    self._subscriptions.add(origin.client, subscription_id, filters)
                case m.Unsubscribe(subscription_id):
                    self._subscriptions.remove(origin.client, subscription_id)
                case m.Suppress(filters):
                    check_suppression(filters)
                    self._suppress(filters)
                case Notice():
                    return self._noticed(message, origin)
                case ClientGone():
                    self._drop(lambda client: client == origin.client)
                    return []
                case _:
                    assert_never(message)
        except AisError as error:
            return [Reply(origin, failed(error))]
        return [Reply(origin, DONE)]

    def query(self, message: m.NtfQuery, client: Client) -> Message:
        """See `Engine`."""
        try:
            return self._store.page(message)
        except AisError as error:
            return failed(error)

    def membership(self, change: Membership) -> list[Effect]:
        """See `Engine`. What a lost node's clients had is forgotten; ids go on after the highest of all members."""
        self._last = max(self._last, change.highest.get(Service.NTF, 0))
        arrivals, joined = self._store.arrivals, self._joined
        self._joined = {node: arrivals if node in change.joined else joined[node] for node in change.members}
        for node in sorted(change.left.difference(change.members)):
            self._absent.setdefault(node, arrivals)
        self._absent = {node: arrival for node, arrival in self._absent.items() if node not in change.members}
        present = frozenset(change.members) - change.left
        self._drop(lambda client: client.node not in present)
        return []

    @property
    def highest(self) -> int:
        """See `Numbering`."""
        return self._last

    def snapshot(self) -> m.Snapshot:
        """See `Engine`."""
        return m.Snapshot(
            self._last,
            self._store.arrivals,
            sorted(self._joined.items()),
            sorted(self._absent.items()),
            self._store.records(),
            self._uncleared.records(),
            self._subscriptions.records(),
            self._allocations(),
            self._suppressed,
        )

    def restore(self, snapshot: m.Snapshot) -> None:
        """See `Engine`."""
        self._last = snapshot.last
        self._joined = dict(snapshot.joined)
        self._absent = dict(snapshot.absent)
        self._store = Store(snapshot.kept, snapshot.arrivals)
        self._uncleared = Uncleared(snapshot.uncleared)
        self._subscriptions = Subscriptions(snapshot.subscriptions)
        self._allocated = {each.identifier: each.client for each in snapshot.allocated}
        self._suppress(snapshot.suppressed)

    def remnant(self, node: NodeId) -> m.Remnant:
        """See `Engine`. Others may lack what came in since the first node that is missing has left."""

        def is_there(client: Client) -> bool:
            return client.node == node

        kept = self._store.since(min(self._absent.values(), default=0))
        return m.Remnant(self._subscriptions.records(is_there), self._allocations(is_there), kept)

    def merge(self, remnant: m.Remnant, origin: Origin) -> list[Effect]:
        """See `Engine`. The union of what is kept. Nothing is delivered once more.

        What was sent since the node is a member found its clients' subscriptions missing: now they hear it. What either
        partition had sent before is not delivered in the other, nor is LOG told of it there.
        """
        effects = self._missed(remnant.subscriptions, origin.client.node)
        for subscription in remnant.subscriptions:
            self._subscriptions.put(subscription)
        for allocated in remnant.allocated:
            if allocated.identifier not in self._store:
                self._allocated[allocated.identifier] = allocated.client
        for kept in remnant.kept:
            if kept.identifier not in self._store:
                self._allocated.pop(kept.identifier, None)
                self._keep(decode(kept.data, Record), kept.data, is_brought=True)
        return effects

    def _missed(self, subscriptions: list[m.SubscriptionRecord], node: NodeId) -> list[Effect]:
        """What was sent since `node` joined, for those of its clients that want it."""
        returned = Subscriptions(subscriptions)
        effects: list[Effect] = []
        for data in self._store.sent_since(self._joined[node]) if subscriptions else ():
            effects += returned.events(decode(data, Record), data)
        return effects

    # ---- sending

    def _send(self, record: Record, origin: Origin) -> list[Effect]:
        identifier = self._number(origin, check_size(record))
        return self._sent(_replace(record, identifier=identifier), origin)

    def _send_with_id(self, record: Record, origin: Origin) -> list[Effect]:
        check_record(record)
        identifier = record.identifier
        check_size(record)
        if identifier in self._store:
            raise Exist(f"notification {identifier} was sent before")
        if self._allocated.pop(identifier, None) is None:
            raise InvalidParam(f"id {identifier} was not allocated")
        return self._sent(record, origin)

    def _sent(self, record: Record, origin: Origin) -> list[Effect]:
        reply = Reply(origin, m.Identified(record.identifier))
        if self._is_suppressed(record):
            return [reply]
        correlated = record.correlated
        if record.severity == Severity.CLEARED and not correlated:
            raised = self._uncleared.ended_by(record)
            correlated = (raised,) if raised else ()
        time = origin.time if record.event_time is None else record.event_time
        record = _replace(record, event_time=time, correlated=correlated)
        data = encode(record)
        self._keep(record, data)
        return [reply, *self._subscriptions.events(record, data), Forward(Service.LOG, notice_of(record))]

    def _keep(self, record: Record, data: bytes, *, is_brought: bool = False) -> None:
        assert record.event_time is not None
        self._uncleared.note(record)
        identifier, time, is_alarm = record.identifier, record.event_time, record.is_alarm
        for gone in self._store.add(identifier, time, is_alarm, data, is_brought=is_brought):
            self._uncleared.forget(gone)

    def _noticed(self, notice: Notice, origin: Origin) -> list[Effect]:
        if origin.client.number:
            raise Access("only executives may say this")
        try:
            record = record_of(notice)
            effects = self._send(record, origin)
        except (InvalidParam, TooBig) as error:
            return [Log(ERROR, f"NTF: a service's notification of {notice.notification_object!r} was refused: {error}")]
        return effects[1:]

    def _is_suppressed(self, record: Record) -> bool:
        return bool(self._suppressed) and not record.is_alarm and self._suppression.has(record)

    def _suppress(self, filters: tuple[Terms, ...]) -> None:
        self._suppressed = filters
        self._suppression = Selection(filters)

    # ---- ids

    def _number(self, origin: Origin, data: bytes = b"") -> int:
        self._last = following(self._last, origin, data)
        return self._last

    def _allocate(self, origin: Origin) -> int:
        own = sum(client == origin.client for client in self._allocated.values())
        if own >= ALLOCATED_MAX or len(self._allocated) >= ALLOCATED_IN_ALL_MAX:
            raise NoResources(f"a client may have {ALLOCATED_MAX} ids that it has not used")
        identifier = self._number(origin)
        self._allocated[identifier] = origin.client
        return identifier

    def _allocations(self, of: Callable[[Client], bool] = lambda client: True) -> list[m.AllocatedRecord]:
        return [
            m.AllocatedRecord(each, self._allocated[each])
            for each in sorted(self._allocated)
            if of(self._allocated[each])
        ]

    def _drop(self, has_gone: Callable[[Client], bool]) -> None:
        self._subscriptions.drop(has_gone)
        if self._allocated:
            self._allocated = {each: client for each, client in self._allocated.items() if not has_gone(client)}


def _check_subscription_id(subscription_id: int) -> None:
    if not 0 <= subscription_id <= SUBSCRIPTION_ID_MAX:
        raise InvalidParam(f"a subscription id is 0 to {SUBSCRIPTION_ID_MAX}, not {subscription_id}")
