"""What outlives the executive besides checkpoints: one small file for each, below the persistence directory."""

import logging
from pathlib import Path
from typing import Final, TypeVar

import anyio.to_thread
import msgspec

from . import durable
from .doorbell import Doorbell

log = logging.getLogger("aisexec.remembered")

ERA: Final = "era"
VIEW: Final = "view"
LOCKS: Final = "locks"

T = TypeVar("T")


class Remembered:
    """`directory` None: nothing is remembered.

    A file is replaced in one step, when the new one is on disk. `work` does that in a thread, so that nobody waits
    for the disk; `store` does it at once.
    """

    def __init__(self, directory: str | None) -> None:
        self._directory = None if directory is None else Path(directory)
        self._pending: dict[str, bytes] = {}
        self._bell = Doorbell()

    def recall(self, name: str, default: T) -> T:
        """What was remembered last, of the type of `default`, which stands for nothing."""
        if self._directory is None:
            return default
        path = self._directory / name
        try:
            return msgspec.json.decode(path.read_bytes(), type=type(default))
        except FileNotFoundError:
            return default
        except (OSError, msgspec.DecodeError) as error:
            log.warning("the %s cannot be read from %s: %s", name, path, error)
            return default

    def store(self, name: str, value: object) -> None:
        """Replace what is remembered under this name; it is on disk when this returns."""
        self._write({name: _line(value)})

    def remember(self, name: str, value: object) -> None:
        """Replace what is remembered under this name, soon; of what waits for the disk only the latest is written."""
        if self._directory is None:
            return
        self._pending[name] = _line(value)
        self._bell.ring()

    async def drained(self) -> None:
        """Wait until all is on disk that was to be remembered, or is known not to get there."""
        await self._bell.drained()

    async def work(self) -> None:
        """Write what is to be remembered until cancelled."""
        while True:
            await self._bell.wait()
            pending, self._pending = self._pending, {}
            await anyio.to_thread.run_sync(self._write, pending)
            if not self._pending:
                self._bell.quiet()

    def _write(self, contents: dict[str, bytes]) -> None:
        if self._directory is None:
            return
        for name, data in contents.items():
            try:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                durable.replace(self._directory / name, data)
            except OSError as error:
                log.warning("the %s cannot be stored: %s", name, error)


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"
