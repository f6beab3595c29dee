"""An async iterator that sets something going when it begins and ends it when it is dropped."""

from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio.lowlevel

from corosync_amf.errors import AisError

T = TypeVar("T")


class Following(Generic[T]):
    """Iterate over it; `break` at will. Enter it with `async with` to have it end at a known place.

    `start` is awaited at the first item and gives the first items; `more` waits for further ones, None: there will be
    none. `stop` is called once, when the iteration ends, fails to start, or the object is dropped; it does not wait.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[list[T]]],
        more: Callable[[], Awaitable[list[T] | None]],
        stop: Callable[[], None],
    ) -> None:
        """For the services."""
        self._start = start
        self._more = more
        self._stop = stop
        self._items: deque[T] = deque()
        self._has_begun = False
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._is_over:
            raise StopAsyncIteration
        if not self._has_begun:
            self._has_begun = True
            try:
                self._items.extend(await self._start())
            except BaseException:
                self._end()
                raise
        while not self._items:
            further = await self._more()
            if further is None or self._is_over:
                self._end()
                raise StopAsyncIteration
            self._items.extend(further)
        return self._items.popleft()

    async def aclose(self) -> None:
        """End the iteration."""
        self._end()
        await anyio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def __del__(self) -> None:
        self._end()

    def _end(self) -> None:
        if self._has_begun and not self._is_over:
            try:
                self._stop()
            except (AisError, RuntimeError):
                pass  # the session, or its event loop, has ended: there is nothing left to stop
        self._is_over = True
