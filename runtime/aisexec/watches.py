"""Passive monitoring: which processes are watched, for whom, and whether an end is a fault. Pure."""

from dataclasses import dataclass, replace
from typing import Final

from corosync_amf.ais import Dn, ErrorCode, Recovery
from corosync_amf.engine import Done, Failed, Message
from corosync_amf.services.amf.messages import PmErrors, PmStart, PmStop, StopQualifier

WATCHES_MAX: Final = 1024
"""Processes watched for one component."""
DEPTH_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Watch:
    """Watch a process and its descendants down to `depth`; tell of their ends with `ProcessEnded`."""

    pid: int
    depth: int


@dataclass(frozen=True, slots=True)
class Unwatch:
    """No more."""

    pid: int


@dataclass(frozen=True, slots=True)
class Watched:
    """One client's wish to have a process of a component watched."""

    client: int
    component: Dn
    pid: int
    depth: int
    errors: int
    recovery: Recovery

    @property
    def subject(self) -> tuple[int, Dn, int]:
        """The same again replaces the former wish."""
        return self.client, self.component, self.pid


class Watches:
    """All that is watched on this node; `effects` says what that means for the watcher of processes."""

    def __init__(self) -> None:
        self._watched: list[Watched] = []
        self._effects: list[Watch | Unwatch] = []

    def effects(self) -> list[Watch | Unwatch]:
        """What has come up since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def start(self, client: int, message: PmStart) -> Message:
        """The answer to PmStart for a process that exists."""
        component, pid = message.component, message.process_id
        if message.descendants_tree_depth < 0 or not 0 < message.pm_errors <= PmErrors.ALL:
            return Failed(ErrorCode.INVALID_PARAM, "the depth is negative, or no error is named")
        if sum([watched.component == component for watched in self._watched]) >= WATCHES_MAX:
            return Failed(ErrorCode.NO_RESOURCES, f"{WATCHES_MAX} processes of {component} are watched already")
        depth = min(message.descendants_tree_depth, DEPTH_MAX)
        new = Watched(client, component, pid, depth, message.pm_errors, message.recovery)
        self._watched = [*[other for other in self._watched if other.subject != new.subject], new]
        self._tell([new])
        return Done()

    def stop(self, client: int, message: PmStop) -> Message:
        """The answer to PmStop."""
        everything = message.stop_qualifier is StopQualifier.ALL_PROCESSES
        matching = [
            watched
            for watched in self._watched
            if watched.component == message.component
            and watched.errors & message.pm_errors
            and (everything or watched.pid == message.process_id)
        ]
        mine = [watched for watched in matching if watched.client == client]
        if not matching:
            return Failed(ErrorCode.NOT_EXIST, "nothing like that is watched")
        if not mine:
            return Failed(ErrorCode.BAD_HANDLE, "another session started this")
        self._remove(mine, message.pm_errors)
        return Done()

    def ended(self, root: int, pid: int, how: PmErrors | None) -> list[Watched]:
        """Whose fault the end of `pid`, `root` or a descendant of it, is: one wish per component."""
        concerned = [watched for watched in self._watched if watched.pid == root]
        if pid == root:
            self._watched = [watched for watched in self._watched if watched.pid != root]
        faults = [watched for watched in concerned if how is None or how & watched.errors]
        return list({watched.component: watched for watched in faults}.values())

    def drop(self, component: Dn) -> None:
        """Watch nothing of the component any more."""
        self._remove([watched for watched in self._watched if watched.component == component])

    def client_ended(self, client: int) -> None:
        """Forget what the client wished."""
        self._remove([watched for watched in self._watched if watched.client == client])

    def _remove(self, gone: list[Watched], errors: int = PmErrors.ALL) -> None:
        """Take these `errors` out of what is watched for."""
        left = [
            replace(watched, errors=watched.errors & ~errors) if watched in gone else watched
            for watched in self._watched
        ]
        self._watched = [watched for watched in left if watched.errors]
        self._tell(gone)

    def _tell(self, changed: list[Watched]) -> None:
        for pid in dict.fromkeys(watched.pid for watched in changed):
            depth = max((watched.depth for watched in self._watched if watched.pid == pid), default=None)
            self._effects.append(Unwatch(pid) if depth is None else Watch(pid, depth))
