"""What LOG tells operators through NTF. Pure."""

from typing import Final

from corosync_amf.ais import NodeId
from corosync_amf.engine import Notice

from .limits import FULLY_WARNED

PROCESSING_ALARM: Final = 0x4003
CLASS_ID: Final = (18568, 0, 0)
SERVICE_DN: Final = "safApp=safLogService"
CLEARED, WARNING, MAJOR = 0, 2, 4
FILE_ERROR, STORAGE_CAPACITY_PROBLEM = 16, 48


def full_notice(name: str, percentage: int) -> Notice:
    """The file of a stream that halts is full, or will be soon."""
    is_full = percentage == FULLY_WARNED
    text = f"log stream {name} has halted: its file is full" if is_full else f"log stream {name}: its file is 80 % full"
    return _alarm(name, text, MAJOR if is_full else WARNING, STORAGE_CAPACITY_PROBLEM)


def cleared_notice(name: str) -> Notice:
    """The stream has gone, and with it what was said of its file."""
    return _alarm(name, f"log stream {name} is closed", CLEARED, STORAGE_CAPACITY_PROBLEM)


def failing_notice(name: str, node: NodeId, problem: str) -> Notice:
    """A node cannot write the file of a stream (`problem` in words), or can again (empty)."""
    text = f"log stream {name}: node {node} cannot write its file: {problem}"
    if not problem:
        text = f"log stream {name}: node {node} can write its file again"
    return _alarm(name, text, MAJOR if problem else CLEARED, FILE_ERROR)


def forgotten_notice(name: str, node: NodeId) -> Notice:
    """A node that could not write the file of a stream has gone, or the stream has: what was said of it is over."""
    return _alarm(name, f"log stream {name}: node {node} writes its file no more", CLEARED, FILE_ERROR)


def _alarm(name: str, text: str, severity: int, cause: int) -> Notice:
    return Notice(PROCESSING_ALARM, name, SERVICE_DN, CLASS_ID, text, severity, cause)
