"""The public value types of the log service.

Source: SAI-AIS-LOG-A.02.01 section 3.4.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

STREAM_SYSTEM: Final = "safLgStrCfg=saLogSystem,safApp=safLogService"
STREAM_NOTIFICATION: Final = "safLgStrCfg=saLogNotification,safApp=safLogService"
STREAM_ALARM: Final = "safLgStrCfg=saLogAlarm,safApp=safLogService"
DEFAULT_FORMAT: Final = '@Cr @Ch:@Cn:@Cs @Cm/@Cd/@CY @Sv @Sl "@Cb"'
APPLICATION_STREAMS_MAX: Final = 64
BODY_BYTES_MAX: Final = 65_535
RECORD_BYTES_MIN: Final = 150
RECORD_BYTES_MAX: Final = 65_535
TAIL_BYTES_MAX: Final = 65_536
"""How much of the end of a stream's file can be read at once."""


class Callback(IntFlag):
    """The kinds of events a session wants."""

    OPEN = 1
    WRITE = 2
    FILTER = 4
    ALL = 7


class Severity(IntEnum):
    """SaLogSeverityT."""

    EMERGENCY = 0
    ALERT = 1
    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


class FullAction(IntEnum):
    """SaLogFileFullActionT: what becomes of a file that has reached its size.

    WRAP begins again at its start and overwrites the oldest records, HALT takes no more records, ROTATE puts the file
    away under another name and begins a new one.
    """

    WRAP = 1
    HALT = 2
    ROTATE = 3


class StreamOpenFlags(IntFlag):
    """SaLogStreamOpenFlagsT."""

    NONE = 0
    CREATE = 1


class AckFlags(IntFlag):
    """SaLogAckFlagsT."""

    NONE = 0
    RECORD_WRITE_ACK = 1


class LimitId(IntEnum):
    """SaLogLimitIdT."""

    MAX_NUM_CLUSTER_APP_LOG_STREAMS = 1


class ClassId(NamedTuple):
    """SaNtfClassIdT, as it stands in the header of a record."""

    vendor_id: int
    major_id: int
    minor_id: int


@dataclass(frozen=True, slots=True)
class LogFileCreateAttributes:
    """SaLogFileCreateAttributesT_2: the file of an application stream.

    `log_file_name` becomes `<name>.log` in the directory `log_file_path_name`, which is relative to the executive's log
    directory. Sizes are bytes: a record 150 to 65,535, a file at least a record. With `ha_property` every member writes
    the file, else only the lowest. `max_files_rotated` counts the files of a ROTATE stream, 1 to 1000, the present one
    too. `log_file_fmt` is made of tokens (see docs/services/log.md).
    """

    log_file_name: str
    log_file_path_name: str = "."
    max_log_file_size: int = 5_000_000
    max_log_record_size: int = 1024
    ha_property: bool = True
    log_file_full_action: FullAction = FullAction.ROTATE
    max_files_rotated: int = 4
    log_file_fmt: str = DEFAULT_FORMAT


@dataclass(frozen=True, slots=True)
class GenericHeader:
    """SaLogGenericHeaderT: who logs, and how severe it is. For the system stream and most application streams."""

    user_name: str
    severity: Severity
    class_id: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class NotificationHeader:
    """SaLogNtfLogHeaderT: which notification a record tells of. For the alarm and the notification stream.

    `event_time` is wall clock, seconds since the epoch; None: the time of writing.
    """

    notification_id: int
    event_type: int
    notification_object: str
    notifying_object: str
    notification_class_id: tuple[int, int, int] | None = None
    event_time: float | None = None


@dataclass(frozen=True, slots=True)
class LogRecord:
    """SaLogRecordT. `time_stamp` is wall clock, seconds since the epoch; None: the time of writing."""

    body: bytes
    header: GenericHeader | NotificationHeader
    time_stamp: float | None = None


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """A stream as an operator sees it.

    `records` counts what was written since the stream exists, `size` the bytes of its present file. `severities` are
    those that are let through. `opened` says how often it is open in the cluster.
    """

    name: str
    attributes: LogFileCreateAttributes
    records: int
    size: int
    is_halted: bool
    severities: tuple[Severity, ...]
    opened: int
