"""The node's lease, shared by the executive with the components of its node.

One page of memory behind a file: the time, on the clock that also runs while the machine sleeps, until which this
node may keep active components. The executive writes it, `ComponentContext.guard` reads it; neither waits for the
other, and a frozen executive lets it run out.
"""

import math
import mmap
import os
import time
from typing import Final

VARIABLE: Final = "COROSYNC_AMF_LEASE"
"""The environment variable that names the file."""


def clock() -> float:
    """Seconds on the clock of leases: monotonic, and running while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The shared deadline. `writable` creates the file, without an end (for ever) at first."""

    def __init__(self, path: str, *, writable: bool = False) -> None:
        """Raises: OSError: the file cannot be created or opened."""
        self.path: Final = path
        flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
        try:
            if writable:
                os.ftruncate(descriptor, mmap.PAGESIZE)
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._page = mmap.mmap(descriptor, mmap.PAGESIZE, access=access)
        finally:
            os.close(descriptor)
        # One aligned store or load of eight octets: it cannot be seen half done.
        self._view = memoryview(self._page).cast("d")
        if writable:
            self._view[0] = math.inf

    @property
    def deadline(self) -> float:
        """When the lease ends, on `clock()`; infinite when there is no lease."""
        return self._view[0]

    @deadline.setter
    def deadline(self, deadline: float) -> None:
        self._view[0] = deadline

    def is_over(self) -> bool:
        """Whether the node may not keep active components any more."""
        return clock() >= self._view[0]

    def close(self) -> None:
        """Let go of the memory; the file stays."""
        self._view.release()
        self._page.close()
