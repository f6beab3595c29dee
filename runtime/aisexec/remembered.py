"""Numbers that outlive the executive: one small file for each, below the persistence directory."""

import logging
from pathlib import Path
from typing import Final

log = logging.getLogger("aisexec.remembered")

ERA: Final = "era"
VIEW: Final = "view"


class Remembered:
    """`directory` None: nothing is remembered.

    A file is replaced in one step, without waiting for the disk: it survives the end of every process at once, and a
    power failure some seconds later.
    """

    def __init__(self, directory: str | None) -> None:
        self._directory = None if directory is None else Path(directory)

    def recall(self, name: str) -> int:
        """The number that was remembered last; 0: none."""
        try:
            return int((self._directory / name).read_text()) if self._directory else 0
        except (OSError, ValueError):
            return 0

    def remember(self, name: str, number: int) -> None:
        if self._directory is None:
            return
        path = self._directory / name
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_suffix(".new")
            temporary.write_text(f"{number}\n")
            temporary.replace(path)
        except OSError as error:
            log.warning("the %s cannot be stored: %s", name, error)
