"""The event loop as the executive's drivers use it: readiness callbacks and one timer per machine.

A machine (`handle`, `wake`, `next_deadline`) is driven by callbacks, not by tasks: the callback drains a socket, hands
everything to the machine in one call and carries out the effects. On asyncio (and uvloop) the callbacks sit directly
on the loop, which saves some 25 us per wake-up over a task that waits for the file descriptor; this is the only module
that knows. On trio each file descriptor has a small task.

    async with open_driver() as driver:
        driver.on_readable(sock.fileno(), receive)
        timer = driver.timer(wake)
        timer.set(machine.next_deadline())
        await anyio.sleep_forever()

A callback that raises ends the `async with` block with its exception (in an exception group): a driver that cannot go
on takes its node down.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import anyio
import anyio.abc

Callback = Callable[[], None]


class Timer(Protocol):
    """Calls its callback once, at or after the deadline it was last set to."""

    def set(self, deadline: float | None) -> None:
        """Move the deadline (on the clock of `Driver.now`); None takes it back. Cheap when it moves later."""


class Driver(Protocol):
    """Callbacks on the running event loop. All of them run on its thread; none may wait."""

    def now(self) -> float:
        """Seconds on the loop's monotonic clock: the `now` that machines get."""

    def on_readable(self, fd: int, callback: Callback | None) -> None:
        """Call back whenever `fd` has something to read, until taken back with None (do so before closing it)."""

    def on_writable(self, fd: int, callback: Callback | None) -> None:
        """Call back whenever `fd` can be written, until taken back with None (do so before closing it)."""

    def soon(self, callback: Callback) -> None:
        """Call back once, in the next round of the loop."""

    def timer(self, callback: Callback) -> Timer:
        """A timer that is not set yet."""


@asynccontextmanager
async def open_driver() -> AsyncIterator[Driver]:
    """The driver of the running loop. Leaving the block takes all callbacks back."""
    driver: _LoopDriver | _TaskDriver
    async with anyio.create_task_group() as tasks:
        try:
            driver = loop_driver = _LoopDriver(asyncio.get_running_loop())
            tasks.start_soon(loop_driver.fail)
        except RuntimeError:  # not on asyncio
            driver = _TaskDriver(tasks)
        try:
            yield driver
        finally:
            driver.close()
            tasks.cancel_scope.cancel()


class _LoopDriver:
    """On asyncio: directly on the loop."""

    now = staticmethod(time.monotonic)  # the clock of asyncio and uvloop, unrounded

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._readers: set[int] = set()
        self._writers: set[int] = set()
        self._timers: list[_LoopTimer] = []
        self._failed: asyncio.Future[None] = loop.create_future()

    def on_readable(self, fd: int, callback: Callback | None) -> None:
        if callback is not None:
            self._loop.add_reader(fd, self._run, callback)
            self._readers.add(fd)
        elif fd in self._readers:
            self._loop.remove_reader(fd)
            self._readers.remove(fd)

    def on_writable(self, fd: int, callback: Callback | None) -> None:
        if callback is not None:
            self._loop.add_writer(fd, self._run, callback)
            self._writers.add(fd)
        elif fd in self._writers:
            self._loop.remove_writer(fd)
            self._writers.remove(fd)

    def soon(self, callback: Callback) -> None:
        self._loop.call_soon(self._run, callback)

    def timer(self, callback: Callback) -> Timer:
        timer = _LoopTimer(self._loop, lambda: self._run(callback))
        self._timers.append(timer)
        return timer

    def _run(self, callback: Callback) -> None:
        if self._failed.done():
            return
        try:
            callback()
        except Exception as error:
            self._failed.set_exception(error)

    async def fail(self) -> None:
        """Raise what the first failing callback raised."""
        await self._failed

    def close(self) -> None:
        for fd in tuple(self._readers):
            self.on_readable(fd, None)
        for fd in tuple(self._writers):
            self.on_writable(fd, None)
        for timer in self._timers:
            timer.set(None)
        if not self._failed.done():
            self._failed.cancel()


class _LoopTimer:
    """One loop timer, left standing while the deadline only moves later: it looks again when it rings."""

    __slots__ = ("_armed", "_callback", "_deadline", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callback) -> None:
        self._loop = loop
        self._callback = callback
        self._deadline: float | None = None
        self._armed = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def set(self, deadline: float | None) -> None:
        self._deadline = deadline
        if self._handle is not None:
            if deadline is not None and self._armed <= deadline:
                return
            self._handle.cancel()
            self._handle = None
        if deadline is not None:
            self._arm(deadline)

    def _arm(self, deadline: float) -> None:
        self._armed = deadline
        self._handle = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._handle = None
        if self._deadline is None:
            return
        if time.monotonic() < self._deadline:
            self._arm(self._deadline)
            return
        self._deadline = None
        self._callback()


class _TaskDriver:
    """On any other loop that anyio knows: one small task per callback."""

    now = staticmethod(anyio.current_time)

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self._tasks = tasks
        self._watches: dict[tuple[str, int], anyio.CancelScope] = {}

    def on_readable(self, fd: int, callback: Callback | None) -> None:
        self._watch("r", fd, callback)

    def on_writable(self, fd: int, callback: Callback | None) -> None:
        self._watch("w", fd, callback)

    def _watch(self, kind: str, fd: int, callback: Callback | None) -> None:
        if (former := self._watches.pop((kind, fd), None)) is not None:
            former.cancel()
        if callback is None:
            return
        scope = self._watches[kind, fd] = anyio.CancelScope()
        wait = anyio.wait_readable if kind == "r" else anyio.wait_writable

        async def watch() -> None:
            with scope:
                while not scope.cancel_called:
                    await wait(fd)
                    if not scope.cancel_called:
                        callback()

        self._tasks.start_soon(watch)

    def soon(self, callback: Callback) -> None:
        async def call() -> None:
            callback()

        self._tasks.start_soon(call)

    def timer(self, callback: Callback) -> Timer:
        timer = _TaskTimer(callback)
        self._tasks.start_soon(timer.run)
        return timer

    def close(self) -> None:
        self._tasks.cancel_scope.cancel()


class _TaskTimer:
    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._deadline: float | None = None
        self._changed = anyio.Event()

    def set(self, deadline: float | None) -> None:
        self._deadline = deadline
        self._changed.set()

    async def run(self) -> None:
        while True:
            self._changed = anyio.Event()
            deadline = self._deadline
            with anyio.CancelScope(deadline=float("inf") if deadline is None else deadline):
                await self._changed.wait()
                continue
            if self._deadline is not None and anyio.current_time() >= self._deadline:
                self._deadline = None
                self._callback()
