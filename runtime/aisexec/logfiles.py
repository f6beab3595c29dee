"""The files of log streams on this node: opened, written, put away, read. Every call may wait for a disk.

A stream's file is `<name>.log` in its directory below the log directory. One that is put away is called
`<name>_<date>_<time>_<number>.log` (UTC). A file that was there before is continued, unless its stream wraps: then it
is put away first. Otherwise the engine says when, which counts what it has written; but it does not know what stood in
a file that is continued. Such a file is put away here before it would be longer than its stream allows.
No link is ever followed, so nothing is written or read outside the directory.
"""

import logging
import os
import re
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from corosync_amf.ais import ErrorCode
from corosync_amf.engine import Failed
from corosync_amf.services.log.limits import problem_of_name, shortest_path
from corosync_amf.services.log.messages import Append, FileOf, FileState, FileText, LogCommand, ReadFile
from corosync_amf.services.log.values import RECORD_BYTES_MAX, TAIL_BYTES_MAX, FullAction

from .logtail import Recent, last_lines

log = logging.getLogger("aisexec.log")

FILES_OPEN_MAX: Final = 128
DIRECTORY_MODE: Final = 0o750
FILE_MODE: Final = 0o640
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Key = tuple[str, str]
"""(path, name) of a file, as in `FileOf`."""


class OpenFile:
    """A stream's present file. `position` is where the next line goes."""

    def __init__(self, root: Path, spec: FileOf) -> None:
        """Raises: OSError."""
        self.spec = spec
        self.name = f"{spec.file_name}.log"
        self.fd = -1
        self.position = self.size = 0
        self.is_wrapped = False
        self.directory = open_directory(root, spec.path_name, make=True)
        try:
            self._begin()
            if spec.full_action == FullAction.WRAP:
                self._put_away()
        except OSError:
            self.close()
            raise

    def _begin(self) -> None:
        self.fd = open_regular(self.name, _WRITE, self.directory)
        self.is_wrapped = False
        self.position = self.size = os.fstat(self.fd).st_size
        if self.size and os.pread(self.fd, 1, self.size - 1) != b"\n":
            self._write(b"\n")  # the end of a line that was torn when the machine went down

    def close(self) -> None:
        self._close_file()
        os.close(self.directory)

    def _close_file(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def add(self, lines: bytes) -> None:
        """Add whole lines, or nothing. Raises: OSError."""
        if self.position == self.size and self.size + len(lines) > self.spec.file_bytes_max:
            self._put_away()
        self._write(lines)

    def _put_away(self) -> None:
        stamp = datetime.fromtimestamp(os.fstat(self.fd).st_mtime, UTC).strftime("%Y%m%d_%H%M%S")
        self.rotate(f"{self.spec.file_name}_{stamp}_0000")

    def _write(self, lines: bytes) -> None:
        data, done = lines, 0
        if self.position < self.size:
            data += self._rest_of_line(self.position + len(lines))
        try:
            while done < len(data):
                done += os.pwrite(self.fd, data[done:] if done else data, self.position + done)
        except OSError:
            if self.position == self.size:
                os.ftruncate(self.fd, self.size)
            raise
        self.size = max(self.size, self.position + len(data))
        self.position += len(lines)

    def _rest_of_line(self, start: int) -> bytes:
        """Blanks over what is left of a line that is overwritten in part: there are only whole lines in a file."""
        if start >= self.size or os.pread(self.fd, 1, start - 1) == b"\n":
            return b""
        rest, newline, _ = os.pread(self.fd, RECORD_BYTES_MAX, start).partition(b"\n")
        return b" " * len(rest) + newline

    def wrap(self) -> None:
        """Begin at the start again."""
        self.position, self.is_wrapped = 0, True

    def rotate(self, closed: str) -> None:
        """Put the file away and begin a new one. Raises: OSError."""
        if self.size:
            self._move(closed)
            self._close_file()
            self._begin()

    def _move(self, closed: str) -> None:
        """Never over another file; then remove the oldest of those that are too many."""
        names = set(os.listdir(self.directory))
        while f"{closed}.log" in names:
            closed += "1"
        os.rename(self.name, f"{closed}.log", src_dir_fd=self.directory, dst_dir_fd=self.directory)
        if self.spec.full_action == FullAction.HALT:
            return  # it stopped so that nothing be lost
        form = re.compile(re.escape(self.spec.file_name) + r"_[0-9]{8}_[0-9]{6}_[0-9]+\.log", re.ASCII)
        away = sorted(name for name in (*names, f"{closed}.log") if form.fullmatch(name))
        keep = (
            self.spec.files_max - 1 if self.spec.full_action == FullAction.ROTATE else max(1, self.spec.files_max - 1)
        )
        for name in away[: max(0, len(away) - keep)]:
            os.unlink(name, dir_fd=self.directory)


class Files:
    """All of them, below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[Key, OpenFile] = {}
        self._recent: dict[Key, Recent] = {}
        self._failing: dict[Key, int] = {}
        """Files that could not be written last, and the streams of which that was told; after a partition has given way
        another stream may have such a number."""

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}

    # ---- writing

    def write(self, commands: Sequence[LogCommand]) -> list[FileState]:
        """Carry out commands, neighbouring lines of a file in one write; say which files can no more, or again, be
        written. What cannot be written is lost here; other nodes may have it."""
        lines: dict[Key, list[bytes]] = {}
        changes: list[FileState] = []
        for command in commands:
            spec = command.file
            key = (spec.path_name, spec.file_name)
            if not isinstance(command, Append):
                changes += self._flush(key, lines)
                self._forget(key, spec)
                continue
            if command.closed or command.is_wrapped or self._is_another(key, spec):
                changes += self._flush(key, lines)
                changes += self._turn(key, command)
            lines.setdefault(key, []).append(command.line)
        for key in list(lines):
            changes += self._flush(key, lines)
        return changes

    def _is_another(self, key: Key, spec: FileOf) -> bool:
        file = self._files.get(key)
        return file is None or file.spec.stream != spec.stream

    def _turn(self, key: Key, command: Append) -> list[FileState]:
        """Open, put away or begin again."""
        spec = command.file
        try:
            if self._is_another(key, spec):
                self._open(key, spec)
            file = self._files[key]
            if command.closed:
                file.rotate(command.closed)
            elif command.is_wrapped:
                file.wrap()
        except OSError as error:
            return self._failed(key, spec, error)
        return []

    def _open(self, key: Key, spec: FileOf) -> None:
        if key in self._files:
            self._files.pop(key).close()
        while len(self._files) >= FILES_OPEN_MAX:
            self._files.pop(next(iter(self._files))).close()
        self._files[key] = OpenFile(self._root, spec)

    def _flush(self, key: Key, lines: dict[Key, list[bytes]]) -> list[FileState]:
        waiting, file = lines.pop(key, []), self._files.get(key)
        if not waiting or file is None:
            return []
        data = b"".join(waiting)
        try:
            if data:
                file.add(data)
        except OSError as error:
            return self._failed(key, file.spec, error)
        self._remember(key, data)
        if self._failing.pop(key, None) is None:
            return []
        log.warning("LOG: %s/%s.log can be written again", *key)
        return [FileState(file.spec.stream, "")]

    def _failed(self, key: Key, spec: FileOf, error: OSError) -> list[FileState]:
        """It is tried again with the next record."""
        if key in self._files:
            self._files.pop(key).close()
        if self._failing.get(key) == spec.stream:
            return []
        self._failing[key] = spec.stream
        problem = error.strerror or str(error)
        log.error("LOG: %s/%s.log cannot be written, records are lost here: %s", *key, problem)
        return [FileState(spec.stream, problem)]

    def _forget(self, key: Key, spec: FileOf) -> None:
        if self._failing.get(key) == spec.stream:
            del self._failing[key]
        file = self._files.get(key)
        if file is not None and file.spec.stream == spec.stream:
            self._files.pop(key).close()

    def _remember(self, key: Key, data: bytes) -> None:
        recent = self._recent.pop(key, None) or Recent()
        self._recent[key] = recent
        recent.add(data)
        while len(self._recent) > FILES_OPEN_MAX:
            del self._recent[next(iter(self._recent))]

    # ---- reading

    def read(self, question: ReadFile) -> FileText | Failed:
        """The end of a file."""
        path, name = question.path_name, question.file_name
        if shortest_path(path) != path or problem_of_name(name):
            return Failed(ErrorCode.INVALID_PARAM, "no file of a stream has such a name")
        recent = self._recent.get((path, name)) or Recent()
        if question.after is not None:
            text, is_gap = recent.since(question.after)
            return FileText(text, recent.end, is_gap)
        try:
            text = self._end_of((path, name))
        except OSError as error:
            reason = f"{path}/{name}.log of this node cannot be read: {error.strerror}"
            return Failed(ErrorCode.NOT_EXIST, reason)
        return FileText(last_lines(text, question.lines), recent.end)

    def _end_of(self, key: Key) -> bytes:
        path, name = key
        file = self._files.get(key)
        directory = open_directory(self._root, path, make=False)
        try:
            fd = open_regular(f"{name}.log", _READ, directory)
        finally:
            os.close(directory)
        try:
            size = os.fstat(fd).st_size
            if file is None or not file.is_wrapped:
                return _piece(fd, 0, size)
            newer = _piece(fd, 0, file.position)
            older = _piece(fd, file.position, size) if len(newer) < TAIL_BYTES_MAX else b""
            return (older + newer)[-TAIL_BYTES_MAX:]
        finally:
            os.close(fd)


def _piece(fd: int, start: int, end: int) -> bytes:
    """The last 64 KiB of a part of a file."""
    first = max(start, end - TAIL_BYTES_MAX)
    return os.pread(fd, end - first, first)


def open_directory(root: Path, path_name: str, *, make: bool) -> int:
    """A descriptor of a directory below `root`. Raises: OSError: not there, or a link is on the way."""
    if make:
        root.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in path_name.split("/"):
        if part == ".":
            continue
        above = directory
        try:
            if make:
                try:
                    os.mkdir(part, DIRECTORY_MODE, dir_fd=above)
                except FileExistsError:
                    pass
            directory = os.open(part, _DIRECTORY, dir_fd=above)
        finally:
            os.close(above)
    return directory


def open_regular(name: str, flags: int, directory: int) -> int:
    """Raises: OSError: also when it is not an ordinary file."""
    fd = os.open(name, flags, FILE_MODE, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "not an ordinary file")
    return fd
