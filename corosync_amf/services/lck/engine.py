"""LCK as a replicated state machine: who is granted which lock, in the total order.

    store        resources, handles, and who holds, wants or left behind which lock
    deadlock     whether a request would wait for itself

Nothing is granted in a partition without quorum, but everything can be given up there. What waits is looked at again
when there is a quorum. Clients hear of a grant when a quorum holds it: then no other state can stand that lacks it, and
give the same token again.

Source: SAI-AIS-LCK-B.03.01 chapter 3.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Final, assert_never

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.checks import check_name
from corosync_amf.engine import (
    Client,
    ClientGone,
    Done,
    Effect,
    Event,
    Membership,
    Message,
    Origin,
    Reply,
    Service,
)
from corosync_amf.engine import failed as refusal
from corosync_amf.errors import AisError, BadFlags, InvalidParam, NotExist

from . import messages as m
from .deadlock import cycle_of
from .store import EX, ORPHAN, PR, Claim, Handle, Resource, Store
from .values import LISTED_MAX, LOCKS_MAX, SIGNAL_MAX, LockFlags, LockStatus, ResourceOpenFlags

DONE: Final = Done()
WAITS: Final = m.Waits()
NO_QUEUE: Final = int(LockFlags.NO_QUEUE)
LOCK_FLAGS: Final = int(LockFlags.NO_QUEUE | LockFlags.ORPHAN)
GRANTED: Final = int(LockStatus.GRANTED)
DUPLICATE_EX: Final = m.Verdict(int(LockStatus.DUPLICATE_EX))
NOT_QUEUED: Final = m.Verdict(int(LockStatus.NOT_QUEUED))
NO_MORE: Final = m.Verdict(int(LockStatus.NO_MORE))
ORPHANED: Final = m.Verdict(int(LockStatus.ORPHANED))
GAVE_WAY: Final = "the partition of this node gave way to another one, whose locks stand"


class LckEngine:
    """See the module."""

    service: ClassVar[Service] = Service.LCK
    request_type: ClassVar[Any] = m.LckRequest
    query_type: ClassVar[Any] = m.LckQuery
    snapshot_type: ClassVar[type[msgspec.Struct]] = m.Snapshot
    remnant_type: ClassVar[Any] = m.Remnant

    def __init__(self) -> None:
        self._store = Store()
        self._quorate = False

    # ---- the engine protocol

    def apply(self, message: m.LckRequest, origin: Origin) -> list[Effect]:
        """See `Engine`."""
        try:
            match message:
                case m.Lock():
                    return self._lock(message, origin)
                case m.Unlock(lock):
                    return self._unlock(lock, origin)
                case m.Withdraw(lock):
                    return self._withdraw(lock, origin)
                case m.Open():
                    _check_open(message)
                    self._store.open(origin.client, message)
                    return [Reply(origin, DONE)]
                case m.Close(handles):
                    freed = self._store.close(origin.client, handles)
                    return [Reply(origin, DONE), *self._granted(freed, origin.order)]
                case m.Purge(handle):
                    return self._purge(handle, origin)
                case ClientGone():
                    return self._granted(self._gone(origin.client), origin.order)
                case _:
                    assert_never(message)
        except AisError as error:
            return [Reply(origin, refusal(error))]

    def query(self, message: m.LckQuery, client: Client) -> Message:
        """See `Engine`."""
        match message:
            case m.ListResources(beyond, count):
                names = sorted(name for name in self._store.resources if name > beyond)
                chosen = names[: max(0, min(count, LISTED_MAX))]
                return m.Resources(tuple(self._store.resources[name].status() for name in chosen))
            case m.Describe(name):
                resource = self._store.resources.get(name)
                if resource is None:
                    return refusal(NotExist(f"no resource {name!r}"))
                return m.Described(resource.describe())
            case _:
                assert_never(message)

    def membership(self, change: Membership) -> list[Effect]:
        """See `Engine`. The clients of a lost node are gone; a quorum that comes back grants what it found waiting."""
        present = frozenset(change.members) - change.left
        freed: list[Resource] = []
        for client in sorted(self._store.owners):
            if client.node not in present:
                freed += self._gone(client)
        if change.quorate and not self._quorate:
            freed = list(self._store.resources.values())
        self._quorate = change.quorate
        return self._granted(freed, change.order)

    def snapshot(self) -> m.Snapshot:
        """See `Engine`."""
        resources, handles = self._store.records()
        return m.Snapshot(self._quorate, resources, handles)

    def restore(self, snapshot: m.Snapshot) -> None:
        """See `Engine`."""
        self._quorate = snapshot.quorate
        self._store = Store.restored(snapshot.resources, snapshot.handles)

    # ---- partitions that meet again

    def remnant(self, node: NodeId) -> m.Remnant | None:
        """See `Engine`: the handles of the node's clients, and what they wait for."""
        clients = [client for client in self._store.owners if client.node == node]
        if not clients:
            return None
        handles = [handle for client in clients for handle in self._store.owners[client].handles.values()]
        holding = {(each.client, each.number) for each in handles if _holds(each)}
        waiting = [
            claim.record()
            for _, resource in sorted(self._store.resources.items())
            for claim in resource.waiting
            if claim.client.node == node and (claim.client, claim.handle.number) not in holding
        ]
        return m.Remnant(node, self._store.handles_of(clients), sorted(holding), waiting)

    def merge(self, remnant: m.Remnant, origin: Origin) -> list[Effect]:
        """See `Engine`. A handle that held a lock is lost, with all its locks and requests: whoever goes on as if he
        held it is refused. Other handles are opened again, and what waited waits on, as if it were asked for now.
        """
        node, holding = origin.client.node, set(remnant.holding)
        effects: list[Effect] = []
        for record in remnant.handles:
            client, number = record.client, record.number
            if client.node != node:
                continue
            reason = GAVE_WAY
            if (client, number) not in holding:
                try:
                    again = m.Open(number, record.resource, int(ResourceOpenFlags.CREATE), record.wants_waiters)
                    self._store.open(client, again)
                    continue
                except AisError as error:
                    reason = f"{GAVE_WAY}; the resource cannot be opened again: {error.reason}"
            effects.append(Event(client, m.HandleLost(number, reason)))
        for each in remnant.waiting:
            owner = self._store.owners.get(each.client)
            handle = owner.handles.get(each.handle) if owner is not None else None
            if handle is None or owner is None or each.lock in owner.claims:
                continue
            claim = Claim(handle, each.lock, each.mode, each.flags, each.waiter_signal)
            answer, told = self._decide(claim, origin.order)
            if isinstance(answer, m.Verdict):
                effects.append(Event(each.client, m.Decided(each.lock, answer), firm=_is_grant(answer)))
            effects += told
        return effects

    # ---- requests

    def _lock(self, message: m.Lock, origin: Origin) -> list[Effect]:
        handle = self._store.handle(origin.client, message.handle)
        if message.flags & ~LOCK_FLAGS:
            raise BadFlags(f"unknown flags: {message.flags:#x}")
        if message.mode not in (PR, EX) or not 0 <= message.waiter_signal <= SIGNAL_MAX:
            raise InvalidParam("unknown mode, or a signal out of range")
        if self._store.claim(origin.client, message.lock) is not None:
            raise InvalidParam(f"lock {message.lock} is there already")
        claim = Claim(handle, message.lock, message.mode, message.flags, message.waiter_signal)
        answer, told = self._decide(claim, origin.order)
        return [Reply(origin, answer, safe=_is_grant(answer)), *told]

    def _decide(self, claim: Claim, token: int) -> tuple[m.LockReply, list[Effect]]:
        """Grant, refuse or queue a new claim; and tell those who now hold what somebody waits for."""
        resource, mode, flags = claim.resource, claim.mode, claim.flags
        if mode == EX and claim.handle.exclusive is not None:
            return DUPLICATE_EX, []
        if self._store.claims >= LOCKS_MAX:
            return NO_MORE, []
        if self._quorate and not resource.waiting and resource.admits(mode):
            resource.grant(claim, token)
            self._store.add(claim)
            return m.Verdict(GRANTED, token), []
        if flags & NO_QUEUE:
            return NOT_QUEUED, []
        if flags & ORPHAN and resource.orphaned:
            return ORPHANED, []
        if cycle := cycle_of(claim, self._store.owners):
            return m.Verdict(int(LockStatus.DEADLOCK), None, cycle), []
        self._store.add(claim)
        resource.waiting[claim] = None
        requests = ((claim.waiter_signal, mode),)
        return WAITS, [
            Event(held.client, m.Waiting(held.lock, requests), firm=True)
            for held in resource.held
            if held.excludes(mode) and held.handle.wants_waiters
        ]

    def _unlock(self, lock: int, origin: Origin) -> list[Effect]:
        claim = self._store.claim(origin.client, lock)
        if claim is None:
            raise NotExist("there is no such lock")
        self._store.remove(claim)
        return [Reply(origin, DONE), *self._granted((claim.resource,), origin.order)]

    def _withdraw(self, lock: int, origin: Origin) -> list[Effect]:
        claim = self._store.claim(origin.client, lock)
        if claim is None:
            return [Reply(origin, m.Withdrawn(None))]
        if claim.token is not None:
            return [Reply(origin, m.Withdrawn(claim.token), safe=True)]
        self._store.remove(claim)
        return [Reply(origin, m.Withdrawn(None)), *self._granted((claim.resource,), origin.order)]

    def _purge(self, handle: int, origin: Origin) -> list[Effect]:
        resource = self._store.handle(origin.client, handle).resource
        self._store.purge(resource)
        return [Reply(origin, DONE), *self._granted((resource,), origin.order)]

    def _gone(self, client: Client) -> list[Resource]:
        owner = self._store.owners.get(client)
        return self._store.close(client, sorted(owner.handles)) if owner is not None else []

    def _granted(self, resources: Iterable[Resource], token: int) -> list[Effect]:
        """Grant what waits for these and can be had now; each resource once, so that no token is given twice to those
        who exclude one another."""
        if not self._quorate:
            return []
        effects: list[Effect] = []
        for resource in sorted(set(resources), key=lambda each: each.name):
            if not resource.waiting:
                continue
            granted = resource.grant_waiting(token)
            verdict = m.Verdict(GRANTED, token)
            effects += [Event(claim.client, m.Decided(claim.lock, verdict), firm=True) for claim in granted]
            for claim in granted:
                if claim.handle.wants_waiters:
                    requests = tuple(
                        (each.waiter_signal, each.mode) for each in resource.waiting if claim.excludes(each.mode)
                    )
                    if requests:
                        effects.append(Event(claim.client, m.Waiting(claim.lock, requests), firm=True))
        return effects


def _is_grant(answer: m.LockReply) -> bool:
    return isinstance(answer, m.Verdict) and answer.token is not None


def _holds(handle: Handle) -> bool:
    return any(claim.token is not None for claim in handle.claims.values())


def _check_open(message: m.Open) -> None:
    """Raises: BadFlags, InvalidParam, TooBig."""
    if message.open_flags & ~int(ResourceOpenFlags.CREATE):
        raise BadFlags(f"unknown flags: {message.open_flags:#x}")
    check_name(message.name)
