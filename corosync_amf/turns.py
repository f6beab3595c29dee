"""Whose turn it is to read the socket (or what else there is), among the coroutines that wait for something from it.

The first one that waits reads; the others sleep until what they wait for has been read, or until it is their turn.
Whoever leaves - because it has what it wanted, or is cancelled - wakes one of the sleepers to go on reading.
"""

import threading
from collections.abc import Callable
from typing import Protocol

import anyio

from corosync_amf.errors import AisError, InvalidParam, Library


class Source(Protocol):
    """What is read: the connection to the executive, for one. `interrupt` makes `wait` return."""

    def fileno(self) -> int: ...
    async def wait(self) -> None: ...
    def interrupt(self) -> None: ...
    def close(self) -> None: ...


class Waiter:
    """What a coroutine waits for; `event` is there only while it sleeps."""

    __slots__ = ("done", "event")

    def __init__(self) -> None:
        self.done = False
        self.event: anyio.Event | None = None


class Turns:
    """`receive` takes what the source has, calls `wake` for those who waited for it, and says whether there was
    anything; it never waits.

    `is_stopped`: nobody shall read now; call `hand_over` when it is taken back.
    """

    __slots__ = ("_end", "_heir", "_reading", "_receive", "_sleepers", "_source", "_thread", "is_stopped")

    def __init__(self, source: Source, receive: Callable[[], bool]) -> None:
        self.is_stopped = False
        self._source = source
        self._thread = threading.get_ident()
        self._receive = receive
        self._end: tuple[type[AisError], str] | None = None
        self._reading = False
        self._sleepers: dict[Waiter, None] = {}
        self._heir: Waiter | None = None

    async def until(self, waiter: Waiter) -> None:
        """Return when `waiter` is done; read meanwhile if nobody else does.

        Raises: what `check` raises, when the waiter will never be done.
        """
        try:
            while not waiter.done:
                self.check()
                if self._reading or self.is_stopped:
                    await self._sleep(waiter)
                else:
                    await self._lead()
        finally:
            self.hand_over()

    async def _sleep(self, waiter: Waiter) -> None:
        waiter.event = event = anyio.Event()
        self._sleepers[waiter] = None
        try:
            await event.wait()
        finally:
            waiter.event = None
            self._sleepers.pop(waiter, None)
            if self._heir is waiter:
                self._heir = None

    async def _lead(self) -> None:
        self._reading = True
        try:
            await self._source.wait()
        finally:
            self._reading = False
        self._receive()

    def hand_over(self) -> None:
        """If nobody reads, wake one of those who sleep, to read from now on."""
        if not self._reading and not self.is_stopped and self._heir is None and self._sleepers:
            self._heir = heir = next(iter(self._sleepers))
            if heir.event is not None:
                heir.event.set()

    def wake(self, waiter: Waiter) -> None:
        """The waiter has what it waited for."""
        waiter.done = True
        if waiter.event is not None:
            waiter.event.set()
            self._sleepers.pop(waiter, None)
        elif self._reading:
            self._source.interrupt()  # it may be the one who reads

    def receive_now(self) -> None:
        """Receive without waiting, whosever turn it is."""
        if self._receive() and self._reading:
            self._source.interrupt()  # what the reader waits for may have been among it

    @property
    def has_ended(self) -> bool:
        """Whether nothing will be read any more."""
        return self._end is not None

    def end(self, kind: type[AisError], reason: str) -> None:
        """Nothing will be read any more: everybody who waits gets this error. Only the first call counts."""
        if self._end is None:
            self._end = (kind, reason)
            self._source.interrupt()
            for waiter in self._sleepers:
                if waiter.event is not None:
                    waiter.event.set()

    def check_thread(self) -> None:
        """Raises: InvalidParam: this is not the thread that made it."""
        if threading.get_ident() != self._thread:
            raise InvalidParam("the session belongs to another thread")

    def check(self) -> None:
        """Raises: the error given to `end`."""
        if self._end is not None:
            raise self.error()

    def error(self) -> AisError:
        """The error given to `end`, new for everybody who raises it."""
        kind, reason = self._end or (Library, "no answer")
        return kind(reason)
