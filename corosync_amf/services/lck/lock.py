"""A lock, or the request for one; what its events look like; and what is raised when it is not granted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import anyio

from corosync_amf.engine import Done
from corosync_amf.errors import AisError, BadHandle, Library, NotExist, Transient
from corosync_amf.service import Pending, check_timeout

from . import messages as m
from .values import Callback, CycleEntry, LockMode, LockStatus

if TYPE_CHECKING:
    from .resource import Resource

LEAVE_SECONDS: Final = 10.0
GIVEN_BACK: Final = "the lock was given back"


class NotGranted(Exception):
    """A lock was not granted, for a reason that is no error: `status` says which.

    Source: SaLckLockStatusT.
    """

    status: LockStatus

    def __init__(self, cycle: tuple[CycleEntry, ...] = ()) -> None:
        self.cycle = cycle
        super().__init__(cycle) if cycle else super().__init__()

    def __str__(self) -> str:
        return (type(self).__doc__ or "").split("\n")[0].rstrip(".")


class Deadlock(NotGranted):
    """The request would have waited for itself.

    `cycle`: the requests that would wait for one another, each as (node, resource, lock id), this one first.
    """

    status = LockStatus.DEADLOCK

    def __str__(self) -> str:
        waits = ", ".join(f"lock {lock} of node {node} for {resource!r}" for node, resource, lock in self.cycle)
        return f"these would wait for one another for ever: {waits}"


class NotQueued(NotGranted):
    """Somebody else holds the lock, and the request was not to wait."""

    status = LockStatus.NOT_QUEUED


class Orphaned(NotGranted):
    """A lock that a dead holder left behind is in the way."""

    status = LockStatus.ORPHANED


class NoMore(NotGranted):
    """There are too many locks."""

    status = LockStatus.NO_MORE


class DuplicateEx(NotGranted):
    """The resource handle has an exclusive lock already, or has asked for it."""

    status = LockStatus.DUPLICATE_EX


_REFUSALS: Final[dict[int, type[NotGranted]]] = {
    int(kind.status): kind for kind in (Deadlock, NotQueued, Orphaned, NoMore, DuplicateEx)
}


@dataclass(frozen=True, slots=True)
class LockGranted:
    """Event: the outcome of `lock_async`. `status` is None when there is an `error`.

    Source: SaLckLockGrantCallbackT.
    """

    invocation: int
    lock: "Lock"
    status: LockStatus | None
    error: AisError | None


@dataclass(frozen=True, slots=True)
class LockWaiter:
    """Event: a request waits for a lock that is held here. `waiter_signal` is what it was made with.

    Source: SaLckLockWaiterCallbackT.
    """

    waiter_signal: int
    lock: "Lock"
    mode_held: LockMode
    mode_requested: LockMode


@dataclass(frozen=True, slots=True)
class ResourceUnlocked:
    """Event: the outcome of `unlock_async`. Source: SaLckResourceUnlockCallbackT."""

    invocation: int
    error: AisError | None


@dataclass(frozen=True, slots=True)
class LockLost:
    """Event: a lock that was held here is not any more; `reason` says why. Its resource handle is not valid either."""

    lock: "Lock"
    reason: str


class Lock:
    """A lock, or the request for one. Get it with `Resource.lock` or `lock_async`; give it back with `unlock`.

    `lock_id` is its number in this session; `status` None while it is not decided. `token`, once it is granted, is the
    order number of the grant: greater than that of every earlier exclusive lock of the resource, on whatever node.
    Hand it to what the lock protects, and have older ones refused there.

    Every call raises BadHandle (SA_AIS_ERR_BAD_HANDLE) when the resource is closed or the lock was lost.
    """

    __slots__ = (
        "_is_over",
        "_refusal",
        "_waiting",
        "invocation",
        "is_settled",
        "lock_id",
        "mode",
        "resource",
        "status",
        "token",
    )

    def __init__(self, resource: "Resource", lock_id: int, mode: LockMode, invocation: int | None = None) -> None:
        """For `Resource`."""
        self.resource = resource
        self.lock_id = lock_id
        self.mode = mode
        self.invocation = invocation
        self.status: LockStatus | None = None
        self.token: int | None = None
        self.is_settled = False
        self._refusal: AisError | NotGranted | None = None
        self._waiting: Pending[Lock] | None = None
        self._is_over = False

    def __repr__(self) -> str:
        state = "pending" if self.status is None else self.status.name
        return f"<Lock {self.lock_id} {self.mode.name} of {self.resource.name!r}: {state}>"

    async def granted(self) -> Self:
        """Wait until the request is granted, and return this lock.

        Raises: NotGranted, one of its subclasses: refused; NotExist (SA_AIS_ERR_NOT_EXIST): given back by `unlock`;
        NoResources (SA_AIS_ERR_NO_RESOURCES): too many locks; Library.
        """
        self._check()
        if not self.is_settled:
            if self._waiting is None:
                self._waiting = self.resource.service.session.expect(self.result)
            await self._waiting
        return self.result()

    async def unlock(self, *, timeout: float | None = 10.0) -> None:
        """Give the lock back; a request that is still pending is withdrawn, and no event of it follows.

        `timeout` in seconds, None: for ever. It works without quorum, too: giving up is always possible.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): unlocked already, or never granted; TimedOut (SA_AIS_ERR_TIMEOUT): it
        will still happen.
        Source: saLckResourceUnlock.
        """
        self._check()
        check_timeout(timeout)
        self._check_held()
        service, was_held = self.resource.service, self.is_held
        self._end(NotExist(GIVEN_BACK))
        try:
            await service.request(m.Unlock(self.lock_id), Done, timeout=timeout)
        except NotExist:
            if not was_held:
                raise  # refused in between
        except BaseException:
            service.release(m.Unlock(self.lock_id))  # it may not have been sent; a second one does no harm
            raise
        finally:
            service.forget_lock(self)  # only now: before the answer come the last events of it

    def unlock_async(self, *, invocation: int | None = None) -> Pending[None]:
        """`unlock` without waiting; the outcome is also an event, ResourceUnlocked.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): as `unlock`; Init (SA_AIS_ERR_INIT): without Callback.UNLOCK;
        TryAgain (SA_AIS_ERR_TRY_AGAIN): 256 requests are under way, or 1024 events wait to be read.
        Source: saLckResourceUnlockAsync.
        """
        self._check()
        service = self.resource.service
        number = service.invocation(invocation)
        service.check_callback(Callback.UNLOCK)
        self._check_held()
        service.check_room()

        def event(number: int, _: None, error: AisError | None) -> ResourceUnlocked:
            service.forget_lock(self)
            return ResourceUnlocked(number, error)

        pending = service.submit(m.Unlock(self.lock_id), Done, lambda _: None, event, invocation=number)
        self._end(NotExist(GIVEN_BACK))
        return pending

    async def __aenter__(self) -> Self:
        try:
            return await self.granted()
        except BaseException:
            self.drop()
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + LEAVE_SECONDS):
            await self.leave()

    async def leave(self) -> None:
        """Give the lock back if it is there still; whatever else becomes of it is no news to who has left."""
        try:
            await self.unlock()
        except (BadHandle, NotExist, Library, Transient):
            pass

    # ---- for the resource and the service

    @property
    def is_held(self) -> bool:
        """Whether it was granted and is there still."""
        return self.status is LockStatus.GRANTED and not self._is_over

    def result(self) -> Self:
        """What `granted` gives, once that is known."""
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)
        if self._is_over:
            self._check()
            raise NotExist(GIVEN_BACK)
        return self

    def settle(self, outcome: m.Verdict | AisError) -> bool:
        """What became of the request. False: that is known already."""
        if self.is_settled:
            return False
        if isinstance(outcome, AisError):
            self.shut(outcome)
            return True
        self.status = LockStatus(outcome.status)
        if self.status is not LockStatus.GRANTED:
            self.shut(_REFUSALS[outcome.status](outcome.cycle))
            return True
        self.token = outcome.token
        self._settled()
        return True

    def shut(self, error: AisError | NotGranted) -> None:
        """It is not there any more, or never was."""
        self._end(error)
        self.resource.service.forget_lock(self)

    def drop(self) -> None:
        """Give it back without waiting, whatever its state is."""
        if not self._is_over:
            self.shut(NotExist(GIVEN_BACK))
            self.resource.service.release(m.Unlock(self.lock_id))

    def _end(self, error: AisError | NotGranted) -> None:
        self._is_over = True
        if not self.is_settled:
            self._refusal = error
            self._settled()

    def _settled(self) -> None:
        self.is_settled = True
        if self._waiting is not None:
            self._waiting.arrived(None)

    def _check(self) -> None:
        self.resource.check()

    def _check_held(self) -> None:
        if self._is_over:
            raise NotExist(GIVEN_BACK if self._refusal is None else "the lock was never granted")
