"""Watches processes that are not the executive's children, and their descendants, by pidfd."""

import os
from collections.abc import Callable

from corosync_amf.services.amf.messages import PmErrors

from . import proc
from .drive import Driver

LOOK_SECONDS = 0.5
"""How often new descendants are looked for."""
PROCESSES_MAX = 4096

Ended = Callable[[int, int, PmErrors | None], None]


class Watcher:
    """`ended(root, pid, how)` is called for each watched process and descendant that ends.

    How a process ended is known to its parent alone, so `how` is None.
    """

    def __init__(self, driver: Driver, ended: Ended) -> None:
        self._driver = driver
        self._tell = ended
        self._roots: dict[int, int] = {}
        self._watched: dict[tuple[int, int], int] = {}
        self._timer = driver.timer(self._look)

    def watch(self, root: int, depth: int) -> None:
        """Watch a process and its descendants down to `depth` generations; again: with another depth."""
        self._roots[root] = depth
        self._add(root, root)
        if depth:
            self._look()

    def unwatch(self, root: int) -> None:
        """Watch it and its descendants no more."""
        self._roots.pop(root, None)
        for watched in [found for found in self._watched if found[0] == root]:
            self._close(watched)

    def _add(self, root: int, pid: int) -> None:
        if (root, pid) in self._watched or len(self._watched) >= PROCESSES_MAX:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            if pid == root:
                self._driver.soon(lambda: self._ended(root, pid))
            return
        self._watched[root, pid] = pidfd
        self._driver.on_readable(pidfd, lambda: self._ended(root, pid))

    def _ended(self, root: int, pid: int) -> None:
        if root not in self._roots:
            return
        self._close((root, pid))
        if pid == root:
            self.unwatch(root)
        self._tell(root, pid, None)

    def _close(self, watched: tuple[int, int]) -> None:
        pidfd = self._watched.pop(watched, None)
        if pidfd is not None:
            self._driver.on_readable(pidfd, None)
            os.close(pidfd)

    def _look(self) -> None:
        deep = {root: depth for root, depth in self._roots.items() if depth}
        for root, depth in deep.items():
            for pid in sorted(proc.descendants(root, depth)):
                self._add(root, pid)
        self._timer.set(self._driver.now() + LOOK_SECONDS if deep else None)

    def close(self) -> None:
        """Watch nothing any more."""
        self._timer.set(None)
        for root in list(self._roots):
            self.unwatch(root)


def owner_of(pid: int) -> int | None:
    """The user that a process runs as; None: there is no such process."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
