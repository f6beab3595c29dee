"""What a stream's attributes must be. Pure; asked by the library and, again, by the replicas."""

import re
from typing import Final

from .formats import problem_of_format
from .messages import Attributes
from .values import RECORD_BYTES_MAX, RECORD_BYTES_MIN, FullAction

FILE_NAME_BYTES_MAX: Final = 200
PATH_BYTES_MAX: Final = 1024
PATH_PART_BYTES_MAX: Final = 255
FILE_BYTES_MAX: Final = 1 << 40
FILES_ROTATED_MAX: Final = 1000
HANDLES_MAX: Final = 1024
HALF_WARNED, FULLY_WARNED = 80, 100
"""Percentages of a HALT stream's file at which an alarm is raised."""
WALL_CLOCK_MAX: Final = 253_402_300_800.0
"""The year 10000."""
_PUT_AWAY: Final = re.compile(r".*_[0-9]{8}_[0-9]{6}_[0-9]+", re.ASCII | re.DOTALL)
"""Names of files that were put away."""


def shortest_path(path_name: str) -> str | None:
    """A relative path in its shortest form, "." for none; None when it leaves the directory it is relative to. Of links
    nothing is known here; they are not followed.
    """
    if not path_name or path_name.startswith("/") or not path_name.isprintable():
        return None
    parts: list[str] = []
    for part in path_name.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if _size(path_name) > PATH_BYTES_MAX or any(_size(part) > PATH_PART_BYTES_MAX for part in parts):
        return None
    return "/".join(parts) or "."


def problem_of_name(file_name: str) -> str | None:
    """Say in words why no log file can have this name; None when one can."""
    if not file_name or "/" in file_name or file_name in (".", "..") or not file_name.isprintable():
        return "log_file_name must be a printable name without a slash"
    if _size(file_name) > FILE_NAME_BYTES_MAX:
        return f"log_file_name has at most {FILE_NAME_BYTES_MAX} bytes"
    if _PUT_AWAY.fullmatch(file_name):
        return "log_file_name must not look like that of a file that was put away"
    return None


def problem_of(attributes: Attributes) -> str | None:
    """Say in words why no stream can have these attributes; None when one can."""
    if problem := problem_of_name(attributes.file_name):
        return problem
    if shortest_path(attributes.path_name) != attributes.path_name:
        return "log_file_path_name must be a path below the log directory"
    if not RECORD_BYTES_MIN <= attributes.record_bytes_max <= RECORD_BYTES_MAX:
        return f"max_log_record_size must be {RECORD_BYTES_MIN} to {RECORD_BYTES_MAX}"
    if not attributes.record_bytes_max <= attributes.file_bytes_max <= FILE_BYTES_MAX:
        return f"max_log_file_size must be max_log_record_size to {FILE_BYTES_MAX}"
    if attributes.full_action not in (FullAction.WRAP, FullAction.HALT, FullAction.ROTATE):
        return "log_file_full_action must be a FullAction"
    if not (attributes.full_action == FullAction.ROTATE) <= attributes.files_max <= FILES_ROTATED_MAX:
        return f"max_files_rotated must be 1 to {FILES_ROTATED_MAX}"
    return problem_of_format(attributes.format)


def _size(text: str) -> int:
    """Bytes in UTF-8; what cannot be written in it is too long."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 1 << 30
