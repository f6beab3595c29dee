"""What outlives the executive besides checkpoints: one small file for each, below the persistence directory."""

import logging
from pathlib import Path
from typing import Final, TypeVar

import msgspec

log = logging.getLogger("aisexec.remembered")

ERA: Final = "era"
VIEW: Final = "view"
LOCKS: Final = "locks"

T = TypeVar("T")


class Remembered:
    """`directory` None: nothing is remembered.

    A file is replaced in one step, without waiting for the disk: it survives the end of every process at once, and a
    power failure some seconds later.
    """

    def __init__(self, directory: str | None) -> None:
        self._directory = None if directory is None else Path(directory)

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

    def remember(self, name: str, value: object) -> None:
        """Replace what is remembered under this name."""
        if self._directory is None:
            return
        path = self._directory / name
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_suffix(".new")
            temporary.write_bytes(msgspec.json.encode(value) + b"\n")
            temporary.replace(path)
        except OSError as error:
            log.warning("the %s cannot be stored: %s", name, error)
