"""The journal of this node's persistent checkpoints: one file, written in batches by a worker thread.

    header    octets "aisckpt2"
    records   length (4 octets), CRC-32 (4 octets), entry as msgpack; big-endian

What was appended is told (`Stored`) when it is on disk. A tail that was torn by a crash is cut off when the file is
read; a file of another version is left alone. When more than half of a large file is of the past, or a write has
failed, it is written anew from the replica.
"""

import logging
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, assert_never

import anyio.to_thread

from corosync_amf.engine import Request
from corosync_amf.services.ckpt.entries import JournalEntry
from corosync_amf.services.ckpt.messages import (
    BringJournal,
    CkptCommand,
    RewriteJournal,
    Stored,
    WriteJournal,
)
from corosync_amf.services.ckpt.shelf import Shelf
from corosync_amf.wire import BadMessage, decode, encode

from . import durable
from .doorbell import Doorbell

log = logging.getLogger("aisexec.journal")

FILE: Final = "checkpoints.journal"
MAGIC: Final = b"aisckpt2"
HEAD: Final = struct.Struct(">II")
REWRITE_BYTES_MIN: Final = 16 * 1024 * 1024
"""A shorter file is not written anew for its length."""
RETRY_SECONDS: Final = 1.0


class UnknownJournal(ValueError):
    """The file is whole, but no journal of this version: what it holds must not be thrown away."""


def framed(entries: list[JournalEntry]) -> bytes:
    """Entries as records."""
    parts: list[bytes] = []
    for entry in entries:
        body = encode(entry)
        parts += (HEAD.pack(len(body), zlib.crc32(body)), body)
    return b"".join(parts)


def read_records(data: bytes) -> tuple[list[JournalEntry], int]:
    """The entries in a journal's bytes, and up to where it is whole.

    Raises: UnknownJournal: it begins in another way, or a record is in order but is no entry.
    """
    if not data.startswith(MAGIC):
        if MAGIC.startswith(data):
            return [], 0
        raise UnknownJournal(f"it begins with {data[: len(MAGIC)]!r}")
    entries: list[JournalEntry] = []
    position = len(MAGIC)
    view = memoryview(data)
    while position + HEAD.size <= len(data):
        length, checksum = HEAD.unpack_from(data, position)
        body = view[position + HEAD.size : position + HEAD.size + length]
        if not length or len(body) < length or zlib.crc32(body) != checksum:
            break  # torn; after a power failure blanks may stand there, which even have their checksum
        try:
            entries.append(decode(body, JournalEntry))
        except BadMessage as error:
            raise UnknownJournal(f"the record at {position}: {error}") from None
        position += HEAD.size + length
    return entries, position


class Journal:
    """See the module. `contents` gives what the replica holds now; `report` puts requests of CKPT into the order."""

    def __init__(
        self,
        directory: Path,
        contents: Callable[[], list[JournalEntry]],
        report: Callable[[list[Request]], None],
        rewrite_bytes_min: int = REWRITE_BYTES_MIN,
    ) -> None:
        self.path = directory / FILE
        self._contents = contents
        self._report = report
        self._rewrite_bytes_min = rewrite_bytes_min
        self._shelf = Shelf()
        self._file: int | None = None
        self._size = self._size_anew = 0
        self._entries: list[JournalEntry] = []
        self._order = 0
        self._is_anew = False
        self._asked: int | None = None
        self._bell = Doorbell()
        self.backlog_bytes = 0

    def load(self) -> None:
        """Read what a former life has written. Raises: OSError: that cannot be read; UnknownJournal."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = self.path.read_bytes() if self.path.exists() else b""
        entries, whole = read_records(data)
        for entry in entries:
            self._shelf.add(entry)
        if whole < len(data):
            log.warning("JOURNAL: %s: the last %d bytes are torn and are cut off", self.path, len(data) - whole)
            os.truncate(self.path, whole)
        if self._shelf.checkpoints:
            log.info("JOURNAL: %d checkpoints are in %s", len(self._shelf.checkpoints), self.path)

    # ---- commands

    def run(self, command: CkptCommand) -> None:
        """Take note of a command of the engine; `work` carries it out."""
        match command:
            case WriteJournal(order, entries):
                self._entries += entries
                self._order = order
                self.backlog_bytes += sum(_size_of(entry) for entry in entries)
            case RewriteJournal(order):
                self._is_anew = True
                self._order = max(order, self._order)
            case BringJournal(asked):
                self._asked = asked
            case _:
                assert_never(command)
        self._bell.ring()

    async def drained(self) -> None:
        """Wait until all commands are carried out."""
        await self._bell.drained()

    async def work(self) -> None:
        """Carry out commands until cancelled."""
        while True:
            await self._bell.wait()
            if self._asked is not None:
                self._bring(self._asked)
            if self._entries or self._is_anew:
                await self._store()
            if not (self._entries or self._is_anew or self._asked is not None):
                self._bell.quiet()

    def _bring(self, asked: int) -> None:
        """One request at a time: together they may be too long for the order."""
        self._asked = None
        for request in self._shelf.requests(asked):
            self._report([request])

    async def _store(self) -> None:
        entries, order, self._entries, self.backlog_bytes = self._entries, self._order, [], 0
        is_anew = self._is_anew or self._file is None or self._size > max(self._rewrite_bytes_min, 2 * self._size_anew)
        self._is_anew = False
        if is_anew:
            entries = self._contents()  # in it is what the entries say
            self._shelf = Shelf()
        try:
            await anyio.to_thread.run_sync(self._write_anew if is_anew else self._append, entries)
        except OSError as error:
            log.critical("JOURNAL: %s cannot be written, changes of checkpoints wait for it: %s", self.path, error)
            self._is_anew = True
            await anyio.sleep(RETRY_SECONDS)
            self._bell.ring()
            return
        self._report([Stored(order)])

    # ---- the file

    def _append(self, entries: list[JournalEntry]) -> None:
        assert self._file is not None
        data = framed(entries)
        durable.write_all(self._file, data)
        os.fdatasync(self._file)
        self._size += len(data)

    def _write_anew(self, entries: list[JournalEntry]) -> None:
        data = MAGIC + framed(entries)
        file = durable.put_in_place(self.path, data)
        self.close()
        self._file, self._size, self._size_anew = file, len(data), len(data)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _size_of(entry: JournalEntry) -> int:
    changes = getattr(entry, "changes", ())
    return 64 + sum(len(change.data or b"") for change in changes)
