"""A descriptor that becomes readable at a time: the kernel's timerfd, which `os` has only from Python 3.13 on."""

import ctypes
import math
import os
import time
from typing import Final

import anyio

NANOSECONDS: Final = 1_000_000_000
DELAY_SECONDS_MAX: Final = 1_000_000.0
"""The alarm goes off after so long in any case; then there is nothing to do but to set it again."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Setting(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Alarm:
    """What a session reads in place of a connection (`turns.Source`)."""

    __slots__ = ("_descriptor", "_is_waited_for")

    def __init__(self) -> None:
        self._descriptor: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise _error()
        self._is_waited_for = False

    def set(self, delay: float | None) -> None:
        """Be readable after `delay` seconds, and not before; None: not at all."""
        nanoseconds = 0
        if delay is not None:
            nanoseconds = max(1, math.ceil(min(delay, DELAY_SECONDS_MAX) * NANOSECONDS))
        setting = _Setting(0, 0, *divmod(nanoseconds, NANOSECONDS))
        if _libc.timerfd_settime(self._descriptor, 0, ctypes.byref(setting), None):
            raise _error()

    def fileno(self) -> int:
        """The descriptor, to be watched and nothing else."""
        return self._descriptor

    async def wait(self) -> None:
        """Return when the time has come, or `interrupt` was called."""
        self._is_waited_for = True
        try:
            await anyio.wait_readable(self._descriptor)
        except anyio.ClosedResourceError:
            pass
        finally:
            self._is_waited_for = False

    def interrupt(self) -> None:
        """Make the task that is in `wait` return."""
        if self._is_waited_for:
            anyio.notify_closing(self._descriptor)

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        if self._descriptor >= 0:
            self.interrupt()
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
