"""Requests on their way: with somebody who waits, or to be awaited later."""

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

import anyio.lowlevel
import msgspec

from corosync_amf.turns import Turns, Waiter

T = TypeVar("T")


class Call(Waiter):
    """A request on its way. `arrived` is called with the answer when it comes (None: it will not come)."""

    __slots__ = ("answer", "arrived")

    def __init__(self, arrived: Callable[[msgspec.Raw | None], None] | None = None) -> None:
        self.done = False
        self.event = None
        self.answer: msgspec.Raw | None = None
        self.arrived = arrived


class Pending(Generic[T]):
    """A request that was handed over; `await` it for its result, as often as you like.

    `invocation` is the number that the outcome's event carries.
    """

    __slots__ = ("_done", "_error", "_finish", "_result", "_turns", "_waiters", "invocation")

    def __init__(self, turns: Turns, invocation: int, finish: Callable[[msgspec.Raw | None], T]) -> None:
        self.invocation = invocation
        self._turns = turns
        self._finish = finish
        self._waiters: list[Waiter] = []
        self._done = False
        self._error: Exception | None = None
        self._result: T | None = None

    @property
    def done(self) -> bool:
        """Whether the outcome is known: `await` returns at once."""
        return self._done

    def arrived(self, answer: msgspec.Raw | None) -> None:
        """Take the answer; for the session."""
        try:
            self._result = self._finish(answer)
        except Exception as error:  # the outcome belongs to who awaits it, not to who happens to read the socket
            self._error = error
        self._done = True
        for waiter in self._waiters:
            self._turns.wake(waiter)

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        self._turns.check_thread()
        if self._done:
            await anyio.lowlevel.checkpoint()
        else:
            waiter = Waiter()
            self._waiters.append(waiter)
            try:
                await self._turns.until(waiter)
            finally:
                self._waiters.remove(waiter)
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]
