"""LOG: log streams of the whole cluster, written to files on every node.

Source: SAI-AIS-LOG-A.02.01.
"""

from .client import LogService, initialize
from .stream import FilterSet, LogWritten, Stream, StreamOpened
from .values import (
    STREAM_ALARM,
    STREAM_NOTIFICATION,
    STREAM_SYSTEM,
    AckFlags,
    Callback,
    ClassId,
    FullAction,
    GenericHeader,
    LimitId,
    LogFileCreateAttributes,
    LogRecord,
    NotificationHeader,
    Severity,
    StreamOpenFlags,
    StreamStatus,
)

MAX_NUM_CLUSTER_APP_LOG_STREAMS = LimitId.MAX_NUM_CLUSTER_APP_LOG_STREAMS

__all__ = [
    "MAX_NUM_CLUSTER_APP_LOG_STREAMS",
    "STREAM_ALARM",
    "STREAM_NOTIFICATION",
    "STREAM_SYSTEM",
    "AckFlags",
    "Callback",
    "ClassId",
    "FilterSet",
    "FullAction",
    "GenericHeader",
    "LimitId",
    "LogFileCreateAttributes",
    "LogRecord",
    "LogService",
    "LogWritten",
    "NotificationHeader",
    "Severity",
    "Stream",
    "StreamOpenFlags",
    "StreamOpened",
    "StreamStatus",
    "initialize",
]
