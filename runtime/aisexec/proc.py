"""Which processes belong to a component: a look into /proc.

A process belongs to it when it is in a process group or session that was started for it, or carries the marks of its
environment, which children inherit. Zombies do not count: they hold nothing any more.
"""

import os
import signal
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

STAT_BYTES_MAX = 4096
ENVIRON_BYTES_MAX = 256 * 1024
DEAD_STATES = frozenset("ZXx")
EXEC_LOOKS = 5
EXEC_SECONDS = 0.0005
YOUNG_TICKS = 20
PF_KTHREAD = 0x00200000
"""The flag of the kernel's own threads, which have no environment at all."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it was when looked at. `started` is in clock ticks since the machine was booted; `is_dead`: it has
    ended, or is a part of the kernel."""

    pid: int
    parent: int
    group: int
    session: int
    started: int
    is_dead: bool


def look() -> list[Process]:
    """All processes of the machine that can be seen."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := _look_at(int(name))) is not None:
            found.append(process)
    return found


def _look_at(pid: int) -> Process | None:
    try:
        stat = _head(f"/proc/{pid}/stat", STAT_BYTES_MAX)
    except OSError:
        return None
    # The name of the program stands in parentheses and may contain anything, parentheses too.
    fields = stat[stat.rfind(b")") + 2 :].split(None, 20)
    if len(fields) < 20:
        return None
    parent, group, session, started = int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19])
    # A process whose first thread has ended looks like a zombie while its other threads go on.
    is_dead = fields[0].decode() in DEAD_STATES and int(fields[17]) <= 1
    return Process(pid, parent, group, session, started, is_dead or bool(int(fields[6]) & PF_KTHREAD))


def ticks() -> int:
    """The present time as `Process.started` counts it."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def environ_has(pid: int, marks: Mapping[str, str], *, is_young: bool = False) -> bool:
    """Whether the process was started with all of `marks` in its environment.

    For a moment while it begins to run its program a process has none: a young one is looked at again.
    """
    environ = b""
    for _ in range(EXEC_LOOKS if is_young else 1):
        try:
            environ = _head(f"/proc/{pid}/environ", ENVIRON_BYTES_MAX)
        except OSError:
            return False
        if environ:
            break
        time.sleep(EXEC_SECONDS if is_young else 0)
    entries = environ.split(b"\0")
    return all(os.fsencode(f"{name}={value}") in entries for name, value in marks.items())


def _head(path: str, limit: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(limit)


def members(
    processes: Collection[Process],
    groups: Collection[int],
    pids: Collection[int],
    marks: Mapping[str, str],
    since: int = 0,
) -> list[Process]:
    """Those that live and are in these groups or sessions, or have these numbers or marks; never ourselves.

    Marks are looked for in what was started at `since` or later.
    """
    now = ticks()

    def is_member(process: Process) -> bool:
        if process.is_dead or process.pid == os.getpid():
            return False
        if process.group in groups or process.session in groups or process.pid in pids:
            return True
        if process.started < since:
            return False
        return environ_has(process.pid, marks, is_young=now - process.started < YOUNG_TICKS)

    return [process for process in processes if is_member(process)]


def descendants(pid: int, depth: int) -> set[int]:
    """The living descendants of a process, down to `depth` generations."""
    children: dict[int, list[int]] = {}
    for process in look():
        if not process.is_dead:
            children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    generation = [pid]
    for _ in range(depth):
        generation = [child for parent in generation for child in children.get(parent, ()) if child not in found]
        if not generation:
            break
        found.update(generation)
    return found


def send(number: signal.Signals, processes: Collection[Process], groups: Collection[int] = ()) -> None:
    """Signal whole groups and single processes; those that are gone do not matter."""
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            pass
    for process in processes:
        try:
            os.kill(process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass
