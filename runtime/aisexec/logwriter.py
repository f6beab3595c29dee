"""LOG on this node: its files are written by a thread of their own, so that no disk stops the token.

What the engine commands within one step of the node is one batch for the thread. What the thread finds out, and what it
read, comes back to the event loop through a descriptor.
"""

import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, assert_never

from corosync_amf.ais import ErrorCode
from corosync_amf.engine import Failed, Message, Request
from corosync_amf.services.log.messages import Append, FileState, FileText, LogCommand, ReadFile
from corosync_amf.wire import replies_frame

from .drive import Driver
from .logfiles import Files

log = logging.getLogger("aisexec.log")

BACKLOG_BYTES_MAX: Final = 32 * 1024 * 1024
"""How much may wait for the disk; what comes then is lost here."""
READS_WAITING_MAX: Final = 256
END_SECONDS: Final = 5.0

Send = Callable[[int, list[bytes]], object]


class Batch(NamedTuple):
    """Commands, and how many bytes they are."""

    commands: list[LogCommand]
    size: int


class Question(NamedTuple):
    """A client wants to read."""

    client: int
    request: int
    message: ReadFile


class Answer(NamedTuple):
    """What the client gets."""

    client: int
    request: int
    message: FileText | Failed


Found = FileState | Answer


class LogWriter:
    """`report` puts requests into the order; `send` sends frames to a client of this node."""

    def __init__(self, files: Files, driver: Driver, report: Callable[[list[Request]], None], send: Send) -> None:
        self._files = files
        self._driver = driver
        self._report = report
        self._send = send
        self._commands: list[LogCommand] = []
        self._lost = 0
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._questions = 0
        self._work: queue.SimpleQueue[Batch | Question | None] = queue.SimpleQueue()
        self._found: deque[Found] = deque()
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        driver.on_readable(self._signal, self._take)
        self._thread = threading.Thread(target=self._run, name="log files", daemon=True)
        self._thread.start()

    # ---- for the event loop

    def run(self, command: LogCommand) -> None:
        """Take a command; `flush` hands it on."""
        self._commands.append(command)

    def flush(self) -> None:
        """The step is over."""
        if not self._commands:
            return
        commands, self._commands = self._commands, []
        size = sum(len(command.line) for command in commands if isinstance(command, Append))
        with self._lock:
            is_full = self._waiting_bytes + size > BACKLOG_BYTES_MAX
            self._waiting_bytes += 0 if is_full else size
        if is_full:
            if not self._lost:
                log.error("LOG: the disk does not keep up: records are lost here")
            self._lost += len(commands)
            return
        if self._lost:
            log.warning("LOG: %d records were lost here: the disk did not keep up", self._lost)
            self._lost = 0
        self._work.put(Batch(commands, size))

    def ask(self, client: int, request: int, message: Message) -> None:
        """A client wants to see the end of a file."""
        assert isinstance(message, ReadFile)
        self.flush()
        if self._questions >= READS_WAITING_MAX:
            refusal = Failed(ErrorCode.TRY_AGAIN, "too many wait to read")
            self._send(client, [replies_frame([(request, refusal)])])
            return
        self._questions += 1
        self._work.put(Question(client, request, message))

    def close(self) -> None:
        """Write what waits, if the disk lets us within five seconds."""
        self.flush()
        self._work.put(None)
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            log.error("LOG: the disk does not answer: the last records may be lost here")
            return
        self._driver.on_readable(self._signal, None)
        os.close(self._signal)

    def _take(self) -> None:
        """What the thread has found."""
        os.eventfd_read(self._signal)
        states: list[Request] = []
        while self._found:
            found = self._found.popleft()
            if isinstance(found, FileState):
                states.append(found)
            else:
                client, request, answer = found
                self._questions -= 1
                self._send(client, [replies_frame([(request, answer)])])
        if states:
            self._report(states)

    # ---- for the thread

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            match work:
                case Batch(commands, size):
                    found: Sequence[Found] = self._files.write(commands)
                    with self._lock:
                        self._waiting_bytes -= size
                case Question(client, request, message):
                    found = [Answer(client, request, self._files.read(message))]
                case _:
                    assert_never(work)
            if found:
                self._found.extend(found)
                os.eventfd_write(self._signal, 1)
        self._files.close()
