"""The executive's log: text, logfmt or JSON lines, written from a thread of its own so that no disk stops the token.

Where a line goes and what it looks like is said by the settings of its subsystem, else by those of the whole log.
"""

import copy
import json
import logging
import logging.handlers
import os
import queue
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final, TextIO

from corosync_amf.config.executive_tables import SUBSYSTEMS
from corosync_amf.config.settings import LogSettings

QUEUE_LENGTH_MAX: Final = 10_000
SYSLOG_SOCKET: Final = "/dev/log"
LEVELS: Final = {
    **dict.fromkeys(("emerg", "alert", "crit"), logging.CRITICAL),
    **{"err": logging.ERROR, "warning": logging.WARNING},
    **{"notice": logging.INFO, "info": logging.INFO, "debug": logging.DEBUG},
}
"""The words of corosync.conf; there are no lines between info and warning."""
_PREFIX: Final = re.compile(r"([A-Z]+): ")
_PREFIXES: Final = {name: name for name in SUBSYSTEMS} | {
    **{"NODE": "SYNC", "JOURNAL": "CKPT", "LEASE": "QUORUM", "FENCE": "QUORUM"},
}
_LOGGERS: Final = {
    **{"TOTEM": "TOTEM", "aisexec.ipc": "IPC", "aisexec.log": "LOG", "aisexec.journal": "CKPT"},
    **dict.fromkeys(("aisexec.agent", "aisexec.processes", "aisexec.component"), "AMF"),
}
_BARE: Final = re.compile(r"[^\s\"=\\]+")


def subsystem_of(record: logging.LogRecord) -> str:
    """The subsystem that a line is of: by the logger, else by the word it begins with; "" when it is of none."""
    if record.name in _LOGGERS:
        return _LOGGERS[record.name]
    begin = _PREFIX.match(record.getMessage())
    return _PREFIXES.get(begin[1], "") if begin else ""


class LogSettingsOf:
    """The settings that hold for a line."""

    def __init__(self, main: LogSettings, subsystems: Mapping[str, LogSettings]) -> None:
        self._main, self._subsystems = main, dict(subsystems)

    def __iter__(self) -> Iterator[LogSettings]:
        return iter((self._main, *self._subsystems.values()))

    def of(self, record: logging.LogRecord) -> LogSettings:
        if not self._subsystems:
            return self._main
        return self._subsystems.get(subsystem_of(record), self._main)


class LineFormatter(logging.Formatter):
    """`12:00:00.123 node-a info    CLM: view 7, ...`, or `time=... node=node-a level=info msg="..."`, or JSON."""

    def __init__(self, settings: LogSettingsOf, node_name: str) -> None:
        super().__init__()
        self._settings, self._node_name = settings, node_name

    def format(self, record: logging.LogRecord) -> str:
        settings = self._settings.of(record)
        if settings.format == "text":
            return self._text(record, settings)
        fields = self._fields(record, settings)
        if settings.format == "json":
            return json.dumps(fields)
        shown = ((key, value if _BARE.fullmatch(value) else json.dumps(value)) for key, value in fields.items())
        return " ".join(f"{key}={value}" for key, value in shown)

    def _text(self, record: logging.LogRecord, settings: LogSettings) -> str:
        moment = datetime.fromtimestamp(record.created)
        stamp = {"off": "", "on": f"{moment:%H:%M:%S} ", "hires": f"{moment:%H:%M:%S.%f}"[:-3] + " "}
        source = "".join(f"[{value}] " for value in _source(record, settings).values())
        told = f"{record.levelname.lower():7} {source}{record.getMessage()}"
        line = f"{stamp[settings.timestamp]}{self._node_name} {told}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def _fields(self, record: logging.LogRecord, settings: LogSettings) -> dict[str, str]:
        moment = datetime.fromtimestamp(record.created).astimezone()
        detail = "seconds" if settings.timestamp == "on" else "milliseconds"
        fields = {} if settings.timestamp == "off" else {"time": moment.isoformat(timespec=detail)}
        fields |= {"node": self._node_name, "level": record.levelname.lower(), **_source(record, settings)}
        fields["msg"] = record.getMessage()
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return fields


def _source(record: logging.LogRecord, settings: LogSettings) -> dict[str, str]:
    source = {}
    if settings.fileline:
        source["source"] = f"{record.filename}:{record.lineno}"
    if settings.function_name:
        source["function"] = record.funcName
    return source


class Chosen(logging.Filter):
    """Lets through the lines that are for one target: `is_for` says whether, `least` from which priority on."""

    def __init__(
        self, settings: LogSettingsOf, is_for: Callable[[LogSettings], bool], least: Callable[[LogSettings], str]
    ) -> None:
        super().__init__()
        self._settings, self._is_for, self._least = settings, is_for, least

    def filter(self, record: logging.LogRecord) -> bool:
        settings = self._settings.of(record)
        level = logging.DEBUG if settings.debug != "off" else LEVELS[self._least(settings)]
        return self._is_for(settings) and record.levelno >= level


class _DroppingQueueHandler(logging.handlers.QueueHandler):
    """A full queue drops the line: the log must never wait."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """The message is put together now, while its arguments are what they are; the rest is for the formatter."""
        record = copy.copy(record)
        record.msg, record.args = record.getMessage(), None
        return record

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), queue.Full):
            super().handleError(record)


class _Quiet:
    """A line that cannot be written is lost: there is nowhere to tell it."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


class _ToStream(_Quiet, logging.StreamHandler[TextIO]):
    pass


class _ToFile(_Quiet, logging.FileHandler):
    pass


class _ToSyslog(_Quiet, logging.handlers.SysLogHandler):
    pass


def open_log(
    main: LogSettings, subsystems: Mapping[str, LogSettings], node_name: str
) -> logging.handlers.QueueListener:
    """Send the root logger's lines where the settings say. Stop the listener to write what is left.

    Raises: OSError: a log file cannot be opened.
    """
    settings = LogSettingsOf(main, subsystems)
    handlers = _handlers(settings)
    for handler in handlers:
        handler.setFormatter(LineFormatter(settings, node_name))
    lines: queue.Queue[logging.LogRecord] = queue.Queue(QUEUE_LENGTH_MAX)
    root = logging.getLogger()
    root.handlers = [_DroppingQueueHandler(lines)]
    root.setLevel(logging.DEBUG if any(_wants_debug(each) for each in settings) else logging.INFO)
    listener = logging.handlers.QueueListener(lines, *handlers)
    listener.start()
    if any(each.to_syslog for each in settings) and not os.path.exists(SYSLOG_SOCKET):
        logging.getLogger("aisexec").warning("LOG: there is no syslog at %s: its lines are lost", SYSLOG_SOCKET)
    return listener


def unusable_files(main: LogSettings, subsystems: Mapping[str, LogSettings]) -> list[str]:
    """The log files that cannot be opened, by what can be known without doing it."""
    paths = dict.fromkeys(each.logfile for each in LogSettingsOf(main, subsystems) if each.to_logfile and each.logfile)
    return [path for path in paths if not _may_be_written(path)]


def _may_be_written(path: str) -> bool:
    if os.path.exists(path):
        return not os.path.isdir(path) and os.access(path, os.W_OK)
    return os.access(os.path.dirname(os.path.abspath(path)), os.W_OK | os.X_OK)


def _wants_debug(settings: LogSettings) -> bool:
    return settings.debug != "off" or "debug" in (settings.logfile_priority, settings.syslog_priority)


def _handlers(settings: LogSettingsOf) -> list[logging.Handler]:
    """One handler for each place that any line may go to."""
    handlers: list[logging.Handler] = []
    if any(each.to_stderr for each in settings):
        handlers.append(_ToStream(sys.stderr))
        handlers[-1].addFilter(Chosen(settings, lambda each: each.to_stderr, lambda _: "info"))
    for path in dict.fromkeys(each.logfile for each in settings if each.to_logfile and each.logfile):
        handlers.append(_ToFile(path, encoding="utf-8"))
        handlers[-1].addFilter(Chosen(settings, _to_file(path), lambda each: each.logfile_priority))
    for facility in dict.fromkeys(each.syslog_facility for each in settings if each.to_syslog):
        handlers.append(_ToSyslog(SYSLOG_SOCKET, facility=facility))
        handlers[-1].addFilter(Chosen(settings, _to_facility(facility), lambda each: each.syslog_priority))
    return handlers


def _to_file(path: str) -> Callable[[LogSettings], bool]:
    return lambda each: each.to_logfile and each.logfile == path


def _to_facility(facility: str) -> Callable[[LogSettings], bool]:
    return lambda each: each.to_syslog and each.syslog_facility == facility
