"""The executive's log: text, logfmt or JSON lines, written from a thread of its own so that no disk stops the token."""

import json
import logging
import logging.handlers
import queue
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from corosync_amf.config.settings import LogSettings

QUEUE_LENGTH_MAX: Final = 10_000
SYSLOG_SOCKET: Final = "/dev/log"


class TextFormatter(logging.Formatter):
    """`12:00:00.123 node-a info    CLM: view 7, ...`, readable on a terminal."""

    def __init__(self, node_name: str) -> None:
        super().__init__()
        self._node_name = node_name

    def format(self, record: logging.LogRecord) -> str:
        stamp = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        line = f"{stamp} {self._node_name} {record.levelname.lower():7} {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class LogfmtFormatter(TextFormatter):
    """`time=... node=node-a level=info msg="..."`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record, self._node_name)
        return " ".join(f"{key}={json.dumps(value) if ' ' in value else value}" for key, value in fields.items())


class JsonFormatter(TextFormatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(record, self._node_name))


def _fields(record: logging.LogRecord, node_name: str) -> dict[str, str]:
    stamp = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
    return {"time": stamp, "node": node_name, "level": record.levelname.lower(), "msg": record.getMessage()}


class _DroppingQueueHandler(logging.handlers.QueueHandler):
    """A full queue drops the line: the log must never wait."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), queue.Full):
            super().handleError(record)


def open_log(config: LogSettings, node_name: str) -> logging.handlers.QueueListener:
    """Send the root logger's lines where `config` says. Stop the listener to write what is left.

    Raises: OSError: the log file cannot be opened.
    """
    handlers = _handlers(config)
    formatter = {"text": TextFormatter, "logfmt": LogfmtFormatter, "json": JsonFormatter}[config.format](node_name)
    for handler in handlers:
        handler.setFormatter(formatter)
    lines: queue.Queue[logging.LogRecord] = queue.Queue(QUEUE_LENGTH_MAX)
    root = logging.getLogger()
    root.handlers = [_DroppingQueueHandler(lines)]
    root.setLevel(logging.DEBUG if config.debug != "off" else logging.INFO)
    listener = logging.handlers.QueueListener(lines, *handlers)
    listener.start()
    return listener


def _handlers(config: LogSettings) -> Sequence[logging.Handler]:
    handlers: list[logging.Handler] = []
    if config.to_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
    if config.to_logfile and config.logfile:
        handlers.append(logging.FileHandler(Path(config.logfile), encoding="utf-8"))
    if config.to_syslog:
        handlers.append(logging.handlers.SysLogHandler(SYSLOG_SOCKET, facility=config.syslog_facility))
    return handlers
