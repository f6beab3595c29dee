"""The file of call detail records: one JSON object per line, appended by whoever owns a call at its end."""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from telephony.model import Cdr

# Only calls of the last minute can be in doubt after a takeover. This many bytes are more than a minute of records.
TAIL_BYTES = 4 * 2**20

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Cdr)


def read(path: Path) -> list[Cdr]:
    """All records. A line that was only half written is left out."""
    return _records(path.read_bytes()) if path.exists() else []


class Ledger:
    """The file at `path`, made when there is none.

    Call `written_before` once after a takeover: a predecessor may have written a record and died before it could say
    so. Where instances do not share the file, the records' ids serve whoever collects the files in the same way.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._known: set[str] = set()

    def written_before(self) -> None:
        """Learn which records are there already."""
        self._known |= {record.id for record in _records(self._tail(TAIL_BYTES))}

    def append(self, records: Iterable[Cdr]) -> None:
        """Write what is not there yet, and return when it is on the disk. Raises `OSError`."""
        new = {record.id: record for record in records if record.id not in self._known}
        if not new:
            return
        lines = b"".join(_encoder.encode(record) + b"\n" for record in new.values())
        if self._tail(1) not in (b"", b"\n"):  # a predecessor died in the middle of a line
            lines = b"\n" + lines
        while lines:
            lines = lines[os.write(self._file, lines) :]
        os.fsync(self._file)
        self._known |= new.keys()

    def close(self) -> None:
        os.close(self._file)

    def _tail(self, size: int) -> bytes:
        end = os.fstat(self._file).st_size
        return os.pread(self._file, size, max(0, end - size))


def _records(data: bytes) -> list[Cdr]:
    records = []
    for line in data.split(b"\n"):
        try:
            records.append(_decoder.decode(line))
        except msgspec.MsgspecError:
            continue
    return records
