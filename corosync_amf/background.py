"""An event loop in a thread of its own, which carries out calls for threads that block. `sync` stands on it."""

import atexit
import inspect
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Final

from anyio.from_thread import start_blocking_portal

from corosync_amf.errors import BadHandle

Calls = SimpleQueue[Callable[[], None] | None]
"""What the thread that blocks is to call meanwhile; None: no more."""


class Loop:
    """The loop, for as long as something is open or under way."""

    def __init__(self) -> None:
        """Start it."""
        self._running = start_blocking_portal("asyncio", name="corosync-amf")
        self.portal = self._running.__enter__()
        self.calls = 0
        self.is_stopped = False
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()

    def keep(self, opened: object) -> None:
        """Go on while this has `is_open`."""
        with self._lock:
            self._open.add(opened)

    @property
    def is_needed(self) -> bool:
        """Whether something is open or under way."""
        with self._lock:
            return self.calls > 0 or any(each.is_open for each in self._open)

    def stop(self, *, cancel: bool = False) -> None:
        """End the thread; what is under way is waited for, or cancelled."""
        if cancel:
            self.portal.call(self.portal.stop, True)
        self._running.__exit__(None, None, None)

    def run(self, function: Callable[[], Awaitable[Any]], calls: Calls) -> Any:
        """Await `function()` there and return its result. Meanwhile call here what arrives in `calls`.

        When that is interrupted the call is cancelled before the interruption goes on; a result that came too late
        is closed, when it can be.
        """
        ended = threading.Event()
        results: list[Any] = []

        async def carry_out() -> Any:
            try:
                results.append(await function())
            finally:
                ended.set()
                calls.put(None)

        future = self.portal.start_task_soon(carry_out)
        try:
            while (call := calls.get()) is not None:
                call()
            error = future.exception()
        except BaseException:
            self._withdraw(future, ended, calls)
            if results:
                self.portal.call(_give_back, results[0])
            raise
        if error is not None:
            raise error
        return results[0]

    def _withdraw(self, future: "Future[Any]", ended: threading.Event, calls: Calls) -> None:
        future.cancel()
        while not ended.is_set():
            calls.get()


class Background:
    """The loop of this process, when there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: Loop | None = None

    def begin(self, loop: Loop | None) -> Loop:
        """Keep `loop` going for a call; None: the present one, which is started if there is none.

        Raises: BadHandle: it is stopped.
        """
        with self._lock:
            if loop is None:
                loop = self._loop = self._loop or Loop()
            elif loop.is_stopped:
                raise BadHandle("it is closed, as is everything else that was opened with it")
            loop.calls += 1
            return loop

    def end(self, loop: Loop) -> None:
        """The call is over. If nothing is open any more the loop is stopped."""
        with self._lock:
            loop.calls -= 1
            if loop.is_stopped or loop.is_needed:
                return
            loop.is_stopped = True
            self._loop = None
        loop.stop()

    def close(self) -> None:
        """The process ends."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is None:
                return
            loop.is_stopped = True
        loop.stop(cancel=True)

    def forked(self) -> None:
        """This is the child of a fork: it has no such thread."""
        self._lock = threading.Lock()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.is_stopped = True


BACKGROUND: Final = Background()
atexit.register(BACKGROUND.close)
os.register_at_fork(after_in_child=BACKGROUND.forked)


async def _give_back(opened: object) -> None:
    for name in ("finalize", "close", "unlock"):
        close = getattr(opened, name, None)
        if inspect.iscoroutinefunction(close):
            await close()
            return
