"""A notification of AMF as the notification service gets it: class 18568.2.

Source: SAI-AIS-AMF-B.04.01 chapter 12.
"""

from enum import IntEnum
from typing import Final

from corosync_amf.ais import Admin, Assignment, Dn, HaReadiness, HaState, Operational, Presence
from corosync_amf.engine import Notice

from .commands import Notification

CLASS: Final = (18568, 2)
STATE_CHANGE, ALARM_COMMUNICATION, ALARM_PROCESSING, ERROR_REPORT, ERROR_CLEAR = 0x3001, 0x4001, 0x4003, 0x6006, 0x6007
CLEARED, MAJOR = 0, 4
SOFTWARE_ERROR, ABNORMALLY_TERMINATED, RESOURCE_UNAVAILABLE, COMMUNICATIONS_FAILURE = 45, 46, 55, 5
INFO_NODE, INFO_SI, INFO_CAMPAIGN, INFO_RECOMMENDED, INFO_APPLIED, INFO_REASON, INFO_ADVICE = 1, 2, 3, 4, 5, 100, 101
"""Ids of additional information."""

_STATES: Final[dict[int, tuple[int, str, type[IntEnum]]]] = {
    **dict.fromkeys((0x65, 0x66, 0x67, 0x68, 0x69, 0x6A), (5, "administrative state", Admin)),
    **dict.fromkeys((0x6B, 0x6C), (4, "operational state", Operational)),
    **dict.fromkeys((0x6D, 0x410), (3, "presence state", Presence)),
    **dict.fromkeys((0x6E, 0x411), (2, "HA state", HaState)),
    0x6F: (6, "assignment state", Assignment),
    0x71: (8, "HA readiness state", HaReadiness),
}
"""For each notification of a state change the SaAmfStateT, its name, and what the values mean."""

_CAUSES: Final = {
    0x401: (ALARM_COMMUNICATION, RESOURCE_UNAVAILABLE),
    0x402: (ALARM_COMMUNICATION, COMMUNICATIONS_FAILURE),
    0x403: (ALARM_PROCESSING, ABNORMALLY_TERMINATED),
}
"""Event type and probable cause of the alarms whose are not ALARM_PROCESSING and SOFTWARE_ERROR."""

_MISCELLANEOUS: Final = {0x191: ERROR_REPORT, 0x192: ERROR_CLEAR}


def notice_of(notification: Notification, notifier: Dn, node: Dn = "", si: Dn = "", campaign: str = "") -> Notice:
    """`notifier` is the AMF node that says it; `node` and `si` are those that it is about, `campaign` the maintenance
    that its SU is under."""
    number, text = notification.number, notification.text
    event_type, severity, cause = _MISCELLANEOUS.get(number, STATE_CHANGE), -1, -1
    states: tuple[tuple[int, int | None, int], ...] = ()
    info = {
        INFO_NODE: node,
        INFO_SI: si,
        INFO_CAMPAIGN: campaign,
        INFO_RECOMMENDED: notification.recommended,
        INFO_APPLIED: notification.applied,
        INFO_REASON: text,
        INFO_ADVICE: notification.advice,
    }
    if notification.alarm:
        event_type, cause = _CAUSES.get(number, (ALARM_PROCESSING, SOFTWARE_ERROR))
        severity = CLEARED if notification.cleared else MAJOR
        text = f"{text}: {notification.advice}" if notification.advice else text
    elif number in _STATES:
        state, name, kind = _STATES[number]
        states = ((state, notification.old or None, notification.new),)
        change = f"{name} {_word(kind, notification.old)} -> {_word(kind, notification.new)}"
        text = f"{change}: {text}" if text else change
    return Notice(
        event_type,
        notification.object,
        notifier,
        (*CLASS, number),
        text,
        severity=severity,
        probable_cause=cause,
        states=states,
        info=tuple((number, value) for number, value in info.items() if value),
    )


def _word(kind: type[IntEnum], value: int) -> str:
    return kind(value).name if value else "-"
