"""Notifications for tests: as records for engines, as an application sends them."""

from typing import Any

from corosync_amf import ntf
from corosync_amf.services.ntf.records import AlarmFacts, Nothing, Record, Terms
from corosync_amf.services.ntf.vocabulary import EventType, NotificationType, ProbableCause, Severity

ERROR = int(ProbableCause.SOFTWARE_ERROR)
MAJOR, MINOR, CLEARED = int(Severity.MAJOR), int(Severity.MINOR), int(Severity.CLEARED)
ALARMS = Terms(types=(int(NotificationType.ALARM),))
EVERYTHING = Terms()


def record(
    about: str = "safApp=a",
    *,
    text: str = "",
    time: float | None = None,
    identifier: int = 0,
    event_type: int = EventType.APPLICATION_EVENT,
    facts: Any = None,
    correlated: tuple[int, ...] = (),
    class_id: tuple[int, int, int] = (18568, 0, 0),
) -> Record:
    """A miscellaneous notification, unless `event_type` and `facts` say something else."""
    made = facts if facts is not None else Nothing()
    return Record(int(event_type), about, "safApp=b", class_id, time, identifier, text, (), correlated, made)


def alarm(about: str = "safApp=a", severity: int = MAJOR, cause: int = ERROR, **options: Any) -> Record:
    """An alarm."""
    options.setdefault("event_type", EventType.ALARM_PROCESSING)
    return record(about, facts=AlarmFacts(cause, severity), **options)


def public_alarm(about: str = "safApp=a", severity: int = MAJOR, **options: Any) -> ntf.Alarm:
    """An alarm, as an application sends it."""
    return ntf.Alarm(
        ntf.EventType.ALARM_PROCESSING,
        about,
        "safApp=b",
        probable_cause=ntf.ProbableCause.SOFTWARE_ERROR,
        perceived_severity=ntf.Severity(severity),
        **options,
    )


def public_event(about: str = "safApp=a", **options: Any) -> ntf.Miscellaneous:
    """A miscellaneous notification, as an application sends it."""
    return ntf.Miscellaneous(ntf.EventType.APPLICATION_EVENT, about, "safApp=b", **options)
