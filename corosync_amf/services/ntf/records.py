"""A notification on the wire and in the replicas, its limits, and what a filter says of it. Pure."""

import math
from typing import Final

import msgspec

from corosync_amf.ais import NAME_BYTES_MAX
from corosync_amf.engine import Notice
from corosync_amf.errors import InvalidParam, NoResources, TooBig
from corosync_amf.wire import encode

from .values import NOTIFICATION_BYTES_MAX
from .vocabulary import TYPE_BITS as TYPE_BITS
from .vocabulary import EventType, NotificationType, ProbableCause, SearchMode, Severity, SeverityTrend, SourceIndicator

TIME_MAX: Final = float(2**53)
SUBSCRIBER_FILTERS_MAX: Final = 64
"""Filters of one subscription, of one reader, and that suppress."""
FILTER_TERMS_MAX: Final = 256
"""Values of one field of a filter."""
ALARM_TYPES: Final = frozenset({NotificationType.ALARM, NotificationType.SECURITY_ALARM})


class Octets(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Bytes as a value: beside text they need a mark."""

    data: bytes


Plain = bool | int | float | str | Octets
ClassTriple = tuple[int, int, int]


class Attributes(msgspec.Struct, frozen=True, array_like=True, tag=1, forbid_unknown_fields=True):
    """The rest of an ObjectCreateDelete."""

    source: int
    attributes: tuple[tuple[int, Plain], ...] = ()


class AttributeChanges(msgspec.Struct, frozen=True, array_like=True, tag=2, forbid_unknown_fields=True):
    """The rest of an AttributeChange: (id, old, new)."""

    source: int
    changes: tuple[tuple[int, Plain | None, Plain | None], ...] = ()


class StateChanges(msgspec.Struct, frozen=True, array_like=True, tag=3, forbid_unknown_fields=True):
    """The rest of a StateChange: (id, old, new)."""

    source: int
    states: tuple[tuple[int, int | None, int], ...] = ()


class Threshold(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """See `ThresholdInformation`."""

    threshold_id: int
    value: Plain
    hysteresis: Plain | None
    observed: Plain | None
    arm_time: float | None


class AlarmFacts(msgspec.Struct, frozen=True, array_like=True, tag=4, forbid_unknown_fields=True):
    """The rest of an Alarm. `problems` are (id, class id, value), `repairs` and `monitored` (id, value)."""

    probable_cause: int
    severity: int
    problems: tuple[tuple[int, ClassTriple | None, Plain], ...] = ()
    trend: int | None = None
    threshold: Threshold | None = None
    monitored: tuple[tuple[int, Plain], ...] = ()
    repairs: tuple[tuple[int, Plain], ...] = ()


class SecurityFacts(msgspec.Struct, frozen=True, array_like=True, tag=5, forbid_unknown_fields=True):
    """The rest of a SecurityAlarm."""

    probable_cause: int
    severity: int
    detector: Plain | None = None
    user: Plain | None = None
    provider: Plain | None = None


class Nothing(msgspec.Struct, frozen=True, array_like=True, tag=6, forbid_unknown_fields=True):
    """A Miscellaneous has no more."""


Facts = Attributes | AttributeChanges | StateChanges | AlarmFacts | SecurityFacts | Nothing

_KIND: Final[dict[int, type[Facts]]] = {
    NotificationType.OBJECT_CREATE_DELETE: Attributes,
    NotificationType.ATTRIBUTE_CHANGE: AttributeChanges,
    NotificationType.STATE_CHANGE: StateChanges,
    NotificationType.ALARM: AlarmFacts,
    NotificationType.SECURITY_ALARM: SecurityFacts,
    NotificationType.MISCELLANEOUS: Nothing,
}
_EVENT_TYPES: Final = frozenset(map(int, EventType))
_SEVERITIES: Final = frozenset(map(int, Severity))
_SOURCES: Final = frozenset(map(int, SourceIndicator))
_TRENDS: Final = frozenset(map(int, SeverityTrend))


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A notification; see `Notification` for the fields."""

    event_type: int
    notification_object: str
    notifying_object: str
    class_id: ClassTriple
    event_time: float | None
    identifier: int
    text: str
    info: tuple[tuple[int, Plain], ...]
    correlated: tuple[int, ...]
    facts: Facts

    @property
    def severity(self) -> int:
        """Of an alarm or a security alarm; -1: there is none."""
        facts = self.facts
        return facts.severity if isinstance(facts, AlarmFacts | SecurityFacts) else -1

    @property
    def is_alarm(self) -> bool:
        """Whether it is an alarm or a security alarm."""
        return self.event_type & TYPE_BITS in ALARM_TYPES


def check_record(record: Record) -> None:
    """Raises: InvalidParam: contradictory or unknown values, empty names; TooBig: a name."""
    if record.event_type not in _EVENT_TYPES:
        raise InvalidParam(f"{record.event_type:#x} is no event type")
    facts = record.facts
    if type(facts) is not _KIND[record.event_type & TYPE_BITS]:
        raise InvalidParam(f"event type {EventType(record.event_type).name} is not of this kind of notification")
    if isinstance(facts, Attributes | AttributeChanges | StateChanges):
        if facts.source not in _SOURCES:
            raise InvalidParam(f"{facts.source} is no source indicator")
    elif isinstance(facts, AlarmFacts | SecurityFacts):
        if facts.severity not in _SEVERITIES:
            raise InvalidParam(f"{facts.severity} is no severity")
        if isinstance(facts, AlarmFacts) and facts.trend is not None and facts.trend not in _TRENDS:
            raise InvalidParam(f"{facts.trend} is no trend")
    time = record.event_time
    if time is not None and not (math.isfinite(time) and abs(time) <= TIME_MAX):
        raise InvalidParam(f"event_time {time} is no time")
    names = {"notification_object": record.notification_object, "notifying_object": record.notifying_object}
    for what, name in names.items():
        if not name or "\0" in name:
            raise InvalidParam(f"{what} must be text, not empty and without NUL")
    for what, name in names.items():
        _check_length(name, what)


def check_size(record: Record) -> bytes:
    """The record encoded, as it is sent: the service adds a few bytes. Raises: TooBig: over 64 KiB."""
    data = encode(record)
    if len(data) > NOTIFICATION_BYTES_MAX:
        raise TooBig(f"a notification of {len(data)} bytes; {NOTIFICATION_BYTES_MAX} is the limit")
    return data


def _check_length(name: str, what: str) -> None:
    if len(name.encode()) > NAME_BYTES_MAX:
        raise TooBig(f"{what} has more than {NAME_BYTES_MAX} bytes")


# ---- filters


class Terms(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A `Filter` on the wire."""

    types: tuple[int, ...] = ()
    event_types: tuple[int, ...] = ()
    notification_objects: tuple[str, ...] = ()
    notifying_objects: tuple[str, ...] = ()
    class_ids: tuple[ClassTriple, ...] = ()
    severities: tuple[int, ...] = ()


def check_filters(filters: tuple[Terms, ...], *, needed: bool) -> None:
    """Raises: InvalidParam: none though `needed`; TooBig: a name; NoResources: too many, or too long."""
    if needed and not filters:
        raise InvalidParam("at least one filter is needed")
    for terms in filters:
        for name in (*terms.notification_objects, *terms.notifying_objects):
            _check_length(name, "a name in a filter")
    if len(filters) > SUBSCRIBER_FILTERS_MAX:
        raise NoResources(f"{len(filters)} filters; {SUBSCRIBER_FILTERS_MAX} is the limit")
    for terms in filters:
        if any(len(getattr(terms, name)) > FILTER_TERMS_MAX for name in Terms.__struct_fields__):
            raise NoResources(f"more than {FILTER_TERMS_MAX} values in a field of a filter")
    if len(encode(filters)) > NOTIFICATION_BYTES_MAX:
        raise NoResources(f"filters of more than {NOTIFICATION_BYTES_MAX} bytes")


def check_suppression(filters: tuple[Terms, ...]) -> None:
    """Raises: InvalidParam: a filter names alarms; TooBig: a name; NoResources: too many."""
    named = {kind & TYPE_BITS for terms in filters for kind in (*terms.types, *terms.event_types)}
    if any(terms.severities for terms in filters) or not ALARM_TYPES.isdisjoint(named):
        raise InvalidParam("alarms and security alarms cannot be suppressed")
    check_filters(filters, needed=False)


class Selection:
    """Filters, made ready for use: what one of them matches is selected; without any, everything is."""

    __slots__ = ("_tests",)

    def __init__(self, filters: tuple[Terms, ...]) -> None:
        self._tests = [
            (
                frozenset(terms.types),
                frozenset(terms.event_types),
                frozenset(terms.notification_objects),
                frozenset(terms.notifying_objects),
                frozenset(terms.class_ids),
                frozenset(terms.severities),
            )
            for terms in filters
        ]

    @property
    def is_everything(self) -> bool:
        """Whether nothing needs to be looked at."""
        return not self._tests

    def has(self, record: Record) -> bool:
        """Whether a filter matches."""
        return not self._tests or any(_matches(test, record) for test in self._tests)


def _matches(test: tuple[frozenset[object], ...], record: Record) -> bool:
    types, event_types, objects, notifiers, classes, severities = test
    return (
        (not types or record.event_type & TYPE_BITS in types)
        and (not event_types or record.event_type in event_types)
        and (not objects or record.notification_object in objects)
        and (not notifiers or record.notifying_object in notifiers)
        and (not classes or record.class_id in classes)
        and (not severities or record.severity in severities)
    )


class Search(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`SearchCriteria` on the wire."""

    mode: int = SearchMode.ONLY_FILTER
    event_time: float | None = None
    identifier: int | None = None


def check_search(search: Search) -> SearchMode:
    """The mode. Raises: InvalidParam: unknown, or without the time or the id that it needs."""
    try:
        mode = SearchMode(search.mode)
    except ValueError:
        raise InvalidParam(f"{search.mode} is no search mode") from None
    time = search.event_time
    if mode < SearchMode.NOTIFICATION_ID and (time is None or not math.isfinite(time)):
        raise InvalidParam(f"a search with {mode.name} needs an event_time")
    if mode is SearchMode.NOTIFICATION_ID and not search.identifier:
        raise InvalidParam("a search for an id needs a notification_id")
    return mode


# ---- what engines tell one another


def record_of(notice: Notice) -> Record:
    """The notification that another service's engine wants to be sent. Raises: InvalidParam: it is none."""
    kind = _KIND.get(notice.event_type & TYPE_BITS)
    cause = notice.probable_cause if notice.probable_cause >= 0 else int(ProbableCause.UNSPECIFIED_REASON)
    severity = notice.severity if notice.severity >= 0 else int(Severity.INDETERMINATE)
    facts: Facts
    if kind is AlarmFacts:
        facts = AlarmFacts(cause, severity)
    elif kind is SecurityFacts:
        facts = SecurityFacts(cause, severity)
    elif kind is StateChanges:
        facts = StateChanges(int(SourceIndicator.OBJECT_OPERATION), notice.states)
    elif kind is Attributes or kind is AttributeChanges:
        facts = kind(int(SourceIndicator.OBJECT_OPERATION))
    else:
        facts = Nothing()
    record = Record(
        notice.event_type,
        notice.notification_object,
        notice.notifying_object,
        notice.class_id,
        None,
        0,
        notice.text,
        notice.info,
        (notice.raised,) if notice.raised else (),
        facts,
    )
    check_record(record)
    return record


def notice_of(record: Record) -> Notice:
    """What LOG is told of a notification."""
    facts = record.facts
    return Notice(
        record.event_type,
        record.notification_object,
        record.notifying_object,
        record.class_id,
        record.text,
        severity=record.severity,
        probable_cause=facts.probable_cause if isinstance(facts, AlarmFacts | SecurityFacts) else -1,
        states=facts.states if isinstance(facts, StateChanges) else (),
        raised=record.correlated[0] if record.correlated and record.severity == Severity.CLEARED else 0,
        identifier=record.identifier,
        info=tuple([(key, value.data.hex() if isinstance(value, Octets) else value) for key, value in record.info]),
    )
