"""An open resource: what can be locked."""

import itertools
import math
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import anyio

from corosync_amf.engine import Done
from corosync_amf.errors import AisError, BadHandle, TimedOut
from corosync_amf.service import Opening, check_enum, check_flags, check_int, check_timeout

from . import messages as m
from .lock import Lock, LockGranted, NotGranted
from .values import SIGNAL_MAX, Callback, LockFlags, LockMode, LockStatus

if TYPE_CHECKING:
    from .client import LckService

WITHDRAW_SECONDS: Final = 5.0
LOCK_REPLY: Final[Any] = m.LockReply


class Resource:
    """A handle to a resource. Get it with `LckService.resource_open`; leave it with `close`.

    Every call raises BadHandle (SA_AIS_ERR_BAD_HANDLE) when the handle is closed.
    """

    _numbers: ClassVar = itertools.count(1)

    def __init__(self, service: "LckService", number: int, name: str) -> None:
        """For `LckService.resource_open`; open after `begin`."""
        self.name = name
        self.number = number
        self.service = service
        self.is_open = False
        self.locks: dict[int, Lock] = {}
        self._end = BadHandle(f"the resource {name!r} is closed")

    async def __aenter__(self) -> Self:
        self.check()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.is_open:
            await self.close()

    # ---- life cycle

    def check(self) -> None:
        """Raises: BadHandle: closed, lost, or the session finalized."""
        self.service.check_open()
        if not self.is_open:
            raise BadHandle(self._end.reason)

    def begin(self, _: Done) -> None:
        """The executive has opened it."""
        self.is_open = True

    async def close(self) -> None:
        """Give the handle back: its locks are released (those with ORPHAN stay as orphans), its requests withdrawn.

        Source: saLckResourceClose.
        """
        self.check()
        self.shut()
        await self.service.give_back(m.Close((self.number,)))

    def shut(self, reason: str | None = None) -> list[Lock]:
        """The handle is not valid any more, nor are its locks; returned are those that were held."""
        if reason is not None:
            self._end = BadHandle(reason)
        self.is_open = False
        self.service.forget(self)
        locks = list(self.locks.values())
        held = [lock for lock in locks if lock.is_held]
        for lock in locks:
            lock.shut(BadHandle(self._end.reason))
        return held

    async def lock_purge(self) -> None:
        """Do away with the locks that dead holders left behind (LockFlags.ORPHAN); others stay.

        Source: saLckLockPurge.
        """
        self.check()
        await self.service.request(m.Purge(self.number), Done)

    # ---- locks

    def lock(
        self,
        mode: LockMode = LockMode.EX,
        flags: LockFlags = LockFlags.NONE,
        *,
        waiter_signal: int = 0,
        timeout: float | None = None,
    ) -> Opening[Lock]:
        """Lock the resource: await the result for the Lock, or enter it to have it unlocked on leaving.

        It waits in a queue, first come first served, at most `timeout` seconds (None: for ever). A request that
        times out or whose task is cancelled is withdrawn: it either returned the lock, or never takes effect.
        `waiter_signal`, 0 to 2**64 - 1, is told to those who hold what the request waits for.

        Raises, when awaited or entered: NotGranted, one of its subclasses (Deadlock, NotQueued, Orphaned, DuplicateEx,
        and NoMore for B.01 sessions); BadFlags; InvalidParam: mode, signal, timeout; TimedOut (SA_AIS_ERR_TIMEOUT);
        NoResources (SA_AIS_ERR_NO_RESOURCES): too many locks in the cluster; TryAgain: no quorum.
        Source: saLckResourceLock.
        """
        return Opening(lambda: self._acquire(mode, flags, waiter_signal, timeout), Lock.leave)

    def lock_async(
        self,
        mode: LockMode = LockMode.EX,
        flags: LockFlags = LockFlags.NONE,
        *,
        waiter_signal: int = 0,
        invocation: int | None = None,
    ) -> Lock:
        """`lock` without waiting: a Lock that is pending (`status` None); await its `granted`, or enter it. The
        outcome is also an event, LockGranted.

        Raises: BadFlags, InvalidParam; Init (SA_AIS_ERR_INIT): without Callback.GRANT; TryAgain
        (SA_AIS_ERR_TRY_AGAIN): 256 requests are under way, or 1024 events wait to be read.
        Source: saLckResourceLockAsync.
        """
        self.check()
        service = self.service
        request = self._request(mode, flags, waiter_signal)
        number = service.invocation(invocation)
        service.check_callback(Callback.GRANT)
        service.check_room()
        lock = self._new(request, number)

        def outcome(answer: m.LockReply | AisError) -> None:
            if not isinstance(answer, m.Waits):
                self.settle(lock, answer)

        try:
            service.hand_over(request, LOCK_REPLY, outcome, invocation=number)
        except AisError as error:
            lock.shut(error)
            raise
        return lock

    def settle(self, lock: Lock, answer: m.Verdict | AisError) -> None:
        """Note what became of a request; if it was an asynchronous one, it is also an event."""
        outcome = self.service.outcome_of(answer)
        if lock.settle(outcome) and lock.invocation is not None:
            error = outcome if isinstance(outcome, AisError) else None
            self.service.tell(LockGranted(lock.invocation, lock, lock.status, error))

    async def _acquire(self, mode: LockMode, flags: LockFlags, waiter_signal: int, timeout: float | None) -> Lock:
        self.check()
        request = self._request(mode, flags, waiter_signal)
        check_timeout(timeout)
        lock = self._new(request)
        try:
            deadline = math.inf if timeout is None else anyio.current_time() + timeout
            answer: m.LockReply = await self.service.request(request, LOCK_REPLY, timeout=timeout)
            if isinstance(answer, m.Verdict):
                self.settle(lock, answer)
            if lock.is_settled:
                return lock.result()
            with anyio.CancelScope(deadline=deadline):
                return await lock.granted()
            raise _timed_out(timeout)
        except TimedOut:
            if timeout == 0 or await self._withdraw(lock):
                lock.shut(_timed_out(timeout))
                raise
            return lock.result()
        except (AisError, NotGranted) as error:
            lock.shut(error)
            raise
        except BaseException:
            lock.drop()
            raise

    async def _withdraw(self, lock: Lock) -> bool:
        """Take a request back that was given up. False: it was decided before."""
        try:
            with anyio.CancelScope(shield=True):
                withdraw = m.Withdraw(lock.lock_id)
                verdict = await self.service.request(withdraw, m.Withdrawn, timeout=WITHDRAW_SECONDS)
        except AisError:
            lock.drop()  # the executive is slow, or gone: in its order this comes behind the request
            return True
        except BaseException:
            lock.drop()
            raise
        if verdict.token is not None:
            lock.settle(m.Verdict(int(LockStatus.GRANTED), verdict.token))
        return not lock.is_settled

    def _request(self, mode: object, flags: object, waiter_signal: object) -> m.Lock:
        """Raises: BadFlags, InvalidParam."""
        checked_flags = check_flags(flags, LockFlags)
        checked_mode = check_enum(mode, LockMode, "mode")
        signal = check_int(waiter_signal, "waiter_signal", maximum=SIGNAL_MAX)
        return m.Lock(self.number, next(self._numbers), int(checked_mode), int(checked_flags), signal)

    def _new(self, request: m.Lock, invocation: int | None = None) -> Lock:
        lock = Lock(self, request.lock, LockMode(request.mode), invocation)
        self.service.remember_lock(lock)
        return lock


def _timed_out(timeout: float | None) -> TimedOut:
    return TimedOut(f"not granted in {timeout} s; the request is withdrawn")
