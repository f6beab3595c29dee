"""What an application passes, checked and turned into what goes over the wire."""

import os
import sys
from collections.abc import Iterable
from typing import Final

from corosync_amf.checks import check_bytes, check_enum, check_flags, check_int, check_name, check_text
from corosync_amf.errors import InvalidParam, TooBig

from .limits import WALL_CLOCK_MAX, problem_of, problem_of_name, shortest_path
from .messages import Attributes, ClassIdTuple, Write, WriteNotification
from .values import (
    BODY_BYTES_MAX,
    FullAction,
    GenericHeader,
    LogFileCreateAttributes,
    LogRecord,
    NotificationHeader,
    Severity,
    StreamOpenFlags,
)

INT_MAX: Final = 2**63 - 1
USER_BYTES_MAX: Final = 2048


def opening_of(attributes: object, open_flags: object) -> Attributes | None:
    """The attributes of an opening call; no flags named: CREATE exactly when attributes are given.

    Raises: BadFlags, InvalidParam.
    """
    is_creating = attributes is not None
    if open_flags is not None:
        is_creating = bool(check_flags(open_flags, StreamOpenFlags, "open_flags") & StreamOpenFlags.CREATE)
    if attributes is not None and not isinstance(attributes, LogFileCreateAttributes):
        raise InvalidParam("create_attributes must be LogFileCreateAttributes")
    if is_creating != (attributes is not None):
        raise InvalidParam("CREATE and create_attributes go together")
    return None if attributes is None else _attributes_of(attributes)


def _attributes_of(given: LogFileCreateAttributes) -> Attributes:
    for what in ("log_file_name", "log_file_path_name", "log_file_fmt"):
        if not isinstance(getattr(given, what), str):
            raise InvalidParam(f"{what} must be text")
    if problem := problem_of_name(given.log_file_name):
        raise InvalidParam(problem)
    path = shortest_path(given.log_file_path_name)
    if path is None:
        raise InvalidParam(f"log_file_path_name must be a path below the log directory, not {given.log_file_path_name}")
    if not isinstance(given.ha_property, bool):
        raise InvalidParam("ha_property must be a bool")
    attributes = Attributes(
        given.log_file_name,
        path,
        check_int(given.max_log_file_size, "max_log_file_size", maximum=INT_MAX),
        check_int(given.max_log_record_size, "max_log_record_size", maximum=INT_MAX),
        given.ha_property,
        int(check_enum(given.log_file_full_action, FullAction, "log_file_full_action")),
        check_int(given.max_files_rotated, "max_files_rotated", maximum=INT_MAX),
        given.log_file_fmt,
    )
    if problem := problem_of(attributes):
        raise InvalidParam(problem)
    return attributes


def record_of(
    handle: int, record: object, severity: object, is_notification: bool | None, user: str, *, safe: bool
) -> Write | WriteNotification:
    """The request that writes a record. `is_notification`: the header that the stream wants; None: either.

    Raises: InvalidParam, TooBig.
    """
    level = check_enum(severity, Severity, "severity")
    if not isinstance(record, LogRecord):
        record = LogRecord(_body_of(record), GenericHeader(user, level))
    header, time = record.header, _time_of(record.time_stamp, "time_stamp")
    body = _body_of(record.body)
    if not isinstance(header, GenericHeader | NotificationHeader):
        raise InvalidParam("the header must be a GenericHeader or a NotificationHeader")
    if is_notification is not None and isinstance(header, NotificationHeader) is not is_notification:
        kind = "notification" if is_notification else "generic"
        raise InvalidParam(f"a record of this stream has a {kind} header")
    if isinstance(header, GenericHeader):
        level = check_enum(header.severity, Severity, "severity")
        class_id = _class_id_of(header.class_id)
        names = {"user_name": check_text(header.user_name, "user_name")}
        request: Write | WriteNotification = Write(handle, body, int(level), header.user_name, safe, time, class_id)
    else:
        request = _notification_of(handle, body, header, time, safe)
        names = {"notification_object": header.notification_object, "notifying_object": header.notifying_object}
    for what, name in names.items():
        check_name(name, what)
    if len(body) > BODY_BYTES_MAX:
        raise TooBig(f"the record has {len(body)} bytes; {BODY_BYTES_MAX} is the limit")
    return request


def _notification_of(
    handle: int, body: bytes, header: NotificationHeader, time: float | None, safe: bool
) -> WriteNotification:
    return WriteNotification(
        handle,
        body,
        check_int(header.notification_id, "notification_id", maximum=2**64 - 1),
        check_int(header.event_type, "event_type", maximum=2**32 - 1),
        check_text(header.notification_object, "notification_object"),
        check_text(header.notifying_object, "notifying_object"),
        _class_id_of(header.notification_class_id),
        _time_of(header.event_time, "event_time"),
        safe,
        time,
    )


def _body_of(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise InvalidParam("the record cannot be written in UTF-8") from None
    return check_bytes(value, what="the record")


def _class_id_of(value: object) -> ClassIdTuple | None:
    """A class id as a tuple, or whatever has its three fields. Raises: InvalidParam."""
    if value is None:
        return None
    if not isinstance(value, tuple):
        value = tuple(getattr(value, name, None) for name in ("vendor_id", "major_id", "minor_id"))
    if len(value) != 3:
        raise InvalidParam("a class id has three numbers")
    vendor, major, minor = (check_int(number, "class id", maximum=2**32 - 1) for number in value)
    return vendor, major, minor


def _time_of(value: object, what: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < WALL_CLOCK_MAX:
        raise InvalidParam(f"{what} must be None or seconds since the epoch, not {value!r}")
    return float(value)


def severities_of(given: object) -> int:
    """The bits of severities. Raises: InvalidParam."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidParam("severities must be a collection of Severity")
    bits = 0
    for severity in given:
        bits |= 1 << check_enum(severity, Severity, "severity")
    return bits


def severities_in(bits: int) -> tuple[Severity, ...]:
    """The severities whose bits are set, the most severe first."""
    return tuple(severity for severity in Severity if bits >> severity & 1)


def user_of_this_process() -> str:
    """Who logs, unless a record says it: the component that AMF started, else the program with its process id."""
    component = os.environ.get("SA_AMF_COMPONENT_NAME", "")
    program = os.path.basename(sys.argv[0] if sys.argv else "") or "python"
    name = component or f"{program}:{os.getpid()}"
    return name.encode(errors="replace").replace(b"\0", b"")[:USER_BYTES_MAX].decode(errors="ignore")
