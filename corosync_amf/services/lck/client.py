"""Locks as an application uses them.

    async with initialize() as service, service.resource_open("billing-run") as billing:
        async with billing.lock() as lock:
            await ledger.write_batch(rows, epoch=lock.token)

Source: SAI-AIS-LCK-B.03.01 chapter 3.
"""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from corosync_amf.engine import Done, Service
from corosync_amf.errors import AisError, NoResources, TryAgain
from corosync_amf.handles import Handles
from corosync_amf.service import (
    SUPPORTED,
    Opening,
    Pending,
    ServiceClient,
    check_enum,
    check_flags,
    check_name,
    check_timeout,
)
from corosync_amf.session import Session

from . import messages as m
from .events import LckEvents
from .lock import Lock, LockLost, LockWaiter
from .resource import Resource
from .values import (
    EVENTS_MAX,
    LISTED_MAX,
    LOCKS_MAX,
    Callback,
    LimitId,
    LockMode,
    LockOptions,
    LockStatus,
    ResourceDescription,
    ResourceOpenFlags,
    ResourceStatus,
)

NOWHERE: Final = 0
"""The number of no stream."""


@dataclass(frozen=True, slots=True)
class ResourceOpened:
    """Event: the outcome of `resource_open_async`. Source: SaLckResourceOpenCallbackT."""

    invocation: int
    resource: Resource | None
    error: AisError | None


class LckService(ServiceClient):
    """A session with the lock service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.LCK
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["LCK"]
    callback = Callback
    event_type = m.LckEvent
    _numbers: ClassVar = itertools.count(1)

    def __init__(self, session: Session, **arguments: Any) -> None:
        """For `initialize`."""
        super().__init__(session, **arguments)
        self._resources: Handles[Resource, Done] = Handles(self, Done, m.Close)
        self._locks: dict[int, Lock] = {}
        self._events = LckEvents()

    async def start(self) -> None:
        """See `ServiceClient`."""
        self.session.detach(Service.LCK)
        self.session.attach(Service.LCK, m.LckEvent, self._events)
        self.session.divert(Service.LCK, self._stream_of)

    async def stop(self) -> None:
        """See `ServiceClient`."""
        await self._resources.close_all()

    def _stream_of(self, event: Any) -> int:
        """What the executive tells changes locks at once, and becomes public events."""
        match event:
            case m.Decided(lock, verdict):
                if (found := self._locks.get(lock)) is not None:
                    found.resource.settle(found, verdict)
            case m.Waiting(lock, requests):
                if (found := self._locks.get(lock)) is not None and self.callbacks & Callback.WAITER:
                    for signal, mode in requests:
                        self._events.append(LockWaiter(signal, found, found.mode, LockMode(mode)))
                    self.session.changed(Service.LCK)
            case m.HandleLost(handle, reason):
                if (resource := self._resources.known.get(handle)) is not None:
                    for lost in resource.shut(reason):
                        self.tell(LockLost(lost, reason))
            case _:
                return Service.LCK
        return NOWHERE

    # ---- what the service is

    def option_check(self) -> LockOptions:
        """What this implementation can do: ORPHAN_LOCKS and DEADLOCK_DETECTION.

        Source: saLckOptionCheck.
        """
        self.check_open()
        return LockOptions.ORPHAN_LOCKS | LockOptions.DEADLOCK_DETECTION

    def limit_get(self, limit_id: LimitId) -> int:
        """A limit: MAX_NUM_LOCKS, the locks in the cluster, requests that wait and orphans among them.

        Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): unknown id; Version (SA_AIS_ERR_VERSION): before B.03.
        Source: saLckLimitGet.
        """
        self.check_open()
        self.check_version("B.03")
        check_enum(limit_id, LimitId, "limit_id")
        return LOCKS_MAX

    async def resource_list(self) -> list[ResourceStatus]:
        """All resources of the cluster, by name. The answer is local; it needs no quorum."""
        found: list[ResourceStatus] = []
        while True:
            query = m.ListResources(found[-1].name if found else "", LISTED_MAX)
            page = (await self.ask(query, m.Resources)).resources
            if not page:
                return found
            found += page

    async def resource_describe(self, name: str) -> ResourceDescription:
        """The locks of one resource, open here or not. The answer is local; it needs no quorum.

        Raises: InvalidParam; TooBig: name; NotExist (SA_AIS_ERR_NOT_EXIST): no such resource.
        """
        self.check_open()
        return (await self.ask(m.Describe(check_name(name)), m.Described)).resource

    # ---- opening

    def resource_open(
        self,
        name: str,
        open_flags: ResourceOpenFlags = ResourceOpenFlags.CREATE,
        *,
        timeout: float | None = 10.0,
    ) -> Opening[Resource]:
        """Open a resource, and with CREATE make it when it is not there: await or enter the result.

        It vanishes when nobody has it open and no orphaned lock is left. `timeout` in seconds, None: for ever.

        Raises: BadFlags; InvalidParam, TooBig: name; NotExist (SA_AIS_ERR_NOT_EXIST): not there, without CREATE;
        NoResources (SA_AIS_ERR_NO_RESOURCES); TimedOut.
        Source: saLckResourceOpen.
        """

        async def open() -> Resource:
            self.check_open()
            flags = check_flags(open_flags, ResourceOpenFlags, "open_flags")
            check_timeout(timeout)  # before the name may be too big
            request = self._request_to_open(check_name(name), flags)
            return await self._resources.open(Resource(self, request.handle, request.name), request, timeout)

        return Opening(open, Resource.close)

    def resource_open_async(
        self,
        name: str,
        open_flags: ResourceOpenFlags = ResourceOpenFlags.CREATE,
        *,
        invocation: int | None = None,
    ) -> Pending[Resource]:
        """`resource_open` without waiting; the outcome is also an event, ResourceOpened.

        Raises: BadFlags, InvalidParam, TooBig; Init (SA_AIS_ERR_INIT): without Callback.OPEN; TryAgain
        (SA_AIS_ERR_TRY_AGAIN): 256 requests are under way, or 1024 events wait to be read.
        Source: saLckResourceOpenAsync.
        """
        self.check_open()
        flags = check_flags(open_flags, ResourceOpenFlags, "open_flags")
        number = self.invocation(invocation)
        with self.needing(Callback.OPEN):
            check_name(name)
        self.check_room()
        request = self._request_to_open(name, flags)
        return self._resources.open_async(Resource(self, request.handle, request.name), request, ResourceOpened, number)

    def _request_to_open(self, name: str, flags: ResourceOpenFlags) -> m.Open:
        return m.Open(next(self._numbers), name, int(flags), bool(self.callbacks & Callback.WAITER))

    # ---- for Resource and Lock

    def remember_lock(self, lock: Lock) -> None:
        """A request is about to be made."""
        self._locks[lock.lock_id] = lock.resource.locks[lock.lock_id] = lock

    def forget_lock(self, lock: Lock) -> None:
        """It is not there any more."""
        self._locks.pop(lock.lock_id, None)
        lock.resource.locks.pop(lock.lock_id, None)

    def outcome_of(self, answer: m.Verdict | AisError) -> m.Verdict | AisError:
        """What became of a request, as the agreed version says it: too many locks were a status once."""
        is_full = isinstance(answer, m.Verdict) and answer.status == LockStatus.NO_MORE
        return NoResources("there are too many locks") if is_full and self.version >= "B.02" else answer

    def check_room(self) -> None:
        """Raises: TryAgain: the application does not read its events."""
        if self._events.outcomes >= EVENTS_MAX:
            raise TryAgain(f"{EVENTS_MAX} events of this session wait to be read")

    def forget(self, resource: Resource) -> None:
        """The handle is closed."""
        self._resources.forget(resource)


def initialize(
    *,
    version: str = SUPPORTED["LCK"][-1],
    events: Callback = Callback.ALL,
    retry: bool = True,
    address: str | None = None,
) -> Opening[LckService]:
    """Open a session with the lock service: enter or await the result.

    `events`: the kinds wanted. `retry=False`: TryAgain is raised at once. `address`: the executive's socket, default
    from the environment.

    Raises: InvalidParam, Version (SA_AIS_ERR_VERSION), Library: no executive.
    Source: saLckInitialize.
    """
    return LckService.opening(version=version, events=events, retry=retry, address=address)
