"""What components print goes to the executive's log, line by line, within bounds."""

import logging
import os

from .drive import Driver

log = logging.getLogger("aisexec.component")

READ_BYTES = 64 * 1024
LINE_BYTES_MAX = 4096
LINES_PER_SECOND = 200

_LEVELS = {
    b"DEBUG": logging.DEBUG,
    b"INFO": logging.INFO,
    b"WARNING": logging.WARNING,
    b"ERROR": logging.ERROR,
    b"CRITICAL": logging.CRITICAL,
}


class Output:
    """Reads a pipe until its end. More than 200 lines in a second are counted, not logged: nobody has to wait."""

    def __init__(self, driver: Driver, descriptor: int, name: str) -> None:
        self._driver = driver
        self._descriptor = descriptor
        self._name = name
        self._rest = b""
        self._second = 0
        self._lines = 0
        self._left_out = 0
        self.last_line = ""
        driver.on_readable(descriptor, self._read)

    def _read(self) -> None:
        if self._descriptor >= 0 and self._take() == b"":
            self.close()

    def _take(self) -> bytes | None:
        """Log what is there; b"" at the end, None when there is nothing."""
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._log(line)
        if len(self._rest) > LINE_BYTES_MAX or (not data and self._rest):
            self._log(self._rest)
            self._rest = b""
        return data

    def _log(self, line: bytes) -> None:
        second = int(self._driver.now())
        if second != self._second:
            if self._left_out:
                log.warning("%s: %d lines were left out", self._name, self._left_out)
            self._second, self._lines, self._left_out = second, 0, 0
        self._lines += 1
        word, _, rest = line.partition(b" ")
        level = _LEVELS.get(word)
        text = (line if level is None else rest)[:LINE_BYTES_MAX].decode(errors="backslashreplace").rstrip()
        if text and level not in (logging.DEBUG, logging.INFO):
            self.last_line = text
        if self._lines > LINES_PER_SECOND:
            self._left_out += 1
        elif text:
            log.log(logging.INFO if level is None else level, "%s: %s", self._name, text)

    def close(self) -> None:
        """Log what is left to be read, then let go of the pipe."""
        if self._descriptor < 0:
            return
        self._driver.on_readable(self._descriptor, None)
        if self._take():
            self._take()
        if self._rest:
            self._log(self._rest)
            self._rest = b""
        os.close(self._descriptor)
        self._descriptor = -1
