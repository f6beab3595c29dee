"""What an application passes, checked and turned into what goes over the wire, and back."""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Final, TypeVar

from corosync_amf.checks import check_enum, check_int, check_text
from corosync_amf.errors import InvalidParam

from . import records as r
from .records import Record, Search, Terms
from .values import (
    Alarm,
    Attribute,
    AttributeChange,
    ChangedAttribute,
    ChangedState,
    ClassId,
    Filter,
    Miscellaneous,
    Notification,
    ObjectCreateDelete,
    ProposedRepairAction,
    SearchCriteria,
    SecurityAlarm,
    SecurityAlarmDetector,
    ServiceProvider,
    ServiceUser,
    SpecificProblem,
    StateChange,
    ThresholdInformation,
    Value,
)
from .vocabulary import (
    EventType,
    NotificationType,
    ProbableCause,
    SearchMode,
    Severity,
    SeverityTrend,
    SourceIndicator,
)

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**64 - 1
ID_MAX: Final = 2**32 - 1

T = TypeVar("T")
E = TypeVar("E", bound=IntEnum)


# ---- single values


def _number(value: object, what: str, maximum: int = INT_MAX, minimum: int = 0) -> int:
    return check_int(value, what, minimum=minimum, maximum=maximum)


def _value(given: object, what: str) -> r.Plain:
    """A value that keeps its type. Raises: InvalidParam: of no type that can be sent."""
    if isinstance(given, bool):
        return given
    if isinstance(given, int):
        return _number(given, what, minimum=INT_MIN)
    if isinstance(given, float):
        return float(given)
    if isinstance(given, str):
        return _text(given, what)
    try:
        return r.Octets(bytes(memoryview(given)))  # type: ignore[arg-type]
    except TypeError:
        raise InvalidParam(f"{what} must be bool, int, float, str or bytes, not {given!r}") from None


def _or_none(given: object, what: str) -> r.Plain | None:
    return None if given is None else _value(given, what)


def _text(given: object, what: str) -> str:
    if not isinstance(given, str):
        raise InvalidParam(f"{what} must be text, not {given!r}")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise InvalidParam(f"{what} cannot be written in UTF-8") from None
    return given


def _time(given: object, what: str) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) <= r.TIME_MAX:
        raise InvalidParam(f"{what} must be None or seconds since the epoch, not {given!r}")
    return float(given)


def _class(given: object) -> r.ClassTriple:
    if isinstance(given, ClassId):
        given = (given.vendor_id, given.major_id, given.minor_id)
    if not isinstance(given, tuple) or len(given) != 3:
        raise InvalidParam(f"a ClassId is wanted, not {given!r}")
    vendor, major, minor = (_number(part, "a part of a class id", ID_MAX) for part in given)
    return vendor, major, minor


def _list(given: object, what: str, one: Callable[[Any], T]) -> tuple[T, ...]:
    """The elements of a sequence, each turned by `one`. Raises: InvalidParam."""
    if isinstance(given, str | bytes) or not isinstance(given, Sequence | frozenset | set):
        raise InvalidParam(f"{what} must be a sequence, not {given!r}")
    return tuple([one(each) for each in given])


def _parts(given: object, kind: type[Any], what: str) -> tuple[Any, ...]:
    """The fields of a `kind`, or of a tuple in its place. Raises: InvalidParam."""
    names = kind.__dataclass_fields__
    if isinstance(given, kind):
        return tuple([getattr(given, name) for name in names])
    if isinstance(given, tuple) and len(given) == len(names):
        return given
    raise InvalidParam(f"{what} must be {kind.__name__}, not {given!r}")


def _pair(kind: type[Any], what: str) -> Callable[[object], tuple[int, r.Plain]]:
    def pair(given: object) -> tuple[int, r.Plain]:
        number, value = _parts(given, kind, what)
        return _number(number, f"the id of {what}"), _value(value, f"the value of {what}")

    return pair


# ---- notifications


def record_of(notification: object) -> tuple[Record, bytes]:
    """A notification for the wire, and as bytes. Raises: InvalidParam; TooBig: a name, over 64 KiB."""
    if not isinstance(notification, Notification) or type(notification) is Notification:
        raise InvalidParam(f"a notification of one of the six types is wanted, not {notification!r}")
    given = notification
    record = Record(
        int(check_enum(given.event_type, EventType, "event_type")),
        _text(given.notification_object, "notification_object"),
        _text(given.notifying_object, "notifying_object"),
        _class(given.notification_class_id),
        _time(given.event_time, "event_time"),
        _number(given.notification_id, "notification_id"),
        _text(given.additional_text, "additional_text"),
        _list(given.additional_info, "additional_info", _info),
        _list(given.correlated_notifications, "correlated_notifications", lambda each: _number(each, "an id")),
        _facts(given),
    )
    r.check_record(record)
    return record, r.check_size(record)


def _info(given: object) -> tuple[int, r.Plain]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InvalidParam(f"additional_info is (id, value) pairs, not {given!r}")
    return _number(given[0], "the id of additional_info"), _value(given[1], "the value of additional_info")


def _facts(given: Notification) -> r.Facts:
    match given:
        case ObjectCreateDelete():
            attributes = _list(given.object_attributes, "object_attributes", _pair(Attribute, "an attribute"))
            return r.Attributes(_source(given.source_indicator), attributes)
        case AttributeChange():
            changes = _list(given.changed_attributes, "changed_attributes", _attribute_change)
            return r.AttributeChanges(_source(given.source_indicator), changes)
        case StateChange():
            states = _list(given.changed_states, "changed_states", _state_change)
            return r.StateChanges(_source(given.source_indicator), states)
        case Alarm():
            return _alarm(given)
        case SecurityAlarm():
            return r.SecurityFacts(
                _number(given.probable_cause, "probable_cause", ID_MAX),
                int(check_enum(given.severity, Severity, "severity")),
                _inner(given.security_alarm_detector, SecurityAlarmDetector, "security_alarm_detector"),
                _inner(given.service_user, ServiceUser, "service_user"),
                _inner(given.service_provider, ServiceProvider, "service_provider"),
            )
        case _:
            return r.Nothing()


def _alarm(given: Alarm) -> r.AlarmFacts:
    trend = given.trend
    return r.AlarmFacts(
        _number(given.probable_cause, "probable_cause", ID_MAX),
        int(check_enum(given.perceived_severity, Severity, "perceived_severity")),
        _list(given.specific_problems, "specific_problems", _problem),
        None if trend is None else int(check_enum(trend, SeverityTrend, "trend")),
        _threshold(given.threshold_information),
        _list(given.monitored_attributes, "monitored_attributes", _pair(Attribute, "an attribute")),
        _list(given.proposed_repair_actions, "proposed_repair_actions", _pair(ProposedRepairAction, "an action")),
    )


def _source(given: object) -> int:
    return int(check_enum(given, SourceIndicator, "source_indicator"))


def _inner(given: object, kind: type[Any], what: str) -> r.Plain | None:
    return _or_none(given.value if isinstance(given, kind) else given, what)


def _attribute_change(given: object) -> tuple[int, r.Plain | None, r.Plain | None]:
    number, old, new = _parts(given, ChangedAttribute, "a changed attribute")
    return _number(number, "attribute_id"), _or_none(old, "an old value"), _or_none(new, "a new value")


def _state_change(given: object) -> tuple[int, int | None, int]:
    number, old, new = _parts(given, ChangedState, "a changed state")
    before = None if old is None else _number(old, "old_state")
    return _number(number, "state_id"), before, _number(new, "new_state")


def _problem(given: object) -> tuple[int, r.ClassTriple | None, r.Plain]:
    number, class_id, value = _parts(given, SpecificProblem, "a specific problem")
    of_class = None if class_id is None else _class(class_id)
    return _number(number, "problem_id"), of_class, _value(value, "problem_value")


def _threshold(given: object) -> r.Threshold | None:
    if given is None:
        return None
    number, value, hysteresis, observed, armed = _parts(given, ThresholdInformation, "threshold_information")
    return r.Threshold(
        _number(number, "threshold_id"),
        _value(value, "threshold_value"),
        _or_none(hysteresis, "threshold_hysteresis"),
        _or_none(observed, "observed_value"),
        _time(armed, "arm_time"),
    )


def notification_of(record: Record) -> Notification:
    """A notification for the application."""
    base = (
        EventType(record.event_type),
        record.notification_object,
        record.notifying_object,
        ClassId(*record.class_id),
        record.event_time,
        record.identifier,
        record.text,
        tuple([(number, _plain(value)) for number, value in record.info]),
        record.correlated,
    )
    match record.facts:
        case r.Attributes(source, attributes):
            listed = tuple([Attribute(number, _plain(value)) for number, value in attributes])
            return ObjectCreateDelete(*base, SourceIndicator(source), listed)
        case r.AttributeChanges(source, changes):
            changed = tuple(
                [ChangedAttribute(number, _plain_or_none(old), _plain_or_none(new)) for number, old, new in changes]
            )
            return AttributeChange(*base, SourceIndicator(source), changed)
        case r.StateChanges(source, states):
            return StateChange(*base, SourceIndicator(source), tuple([ChangedState(*each) for each in states]))
        case r.AlarmFacts() as facts:
            return Alarm(*base, *_alarm_fields(facts))
        case r.SecurityFacts(cause, severity, detector, user, provider):
            return SecurityAlarm(
                *base,
                _cause(cause),
                Severity(severity),
                None if detector is None else SecurityAlarmDetector(_plain(detector)),
                None if user is None else ServiceUser(_plain(user)),
                None if provider is None else ServiceProvider(_plain(provider)),
            )
        case _:
            return Miscellaneous(*base)


def _alarm_fields(facts: r.AlarmFacts) -> tuple[Any, ...]:
    return (
        _cause(facts.probable_cause),
        Severity(facts.severity),
        tuple(
            [
                SpecificProblem(number, None if of_class is None else ClassId(*of_class), _plain(value))
                for number, of_class, value in facts.problems
            ]
        ),
        None if facts.trend is None else SeverityTrend(facts.trend),
        None if facts.threshold is None else _threshold_of(facts.threshold),
        tuple([Attribute(number, _plain(value)) for number, value in facts.monitored]),
        tuple([ProposedRepairAction(number, _plain(value)) for number, value in facts.repairs]),
    )


def _threshold_of(threshold: r.Threshold) -> ThresholdInformation:
    return ThresholdInformation(
        threshold.threshold_id,
        _plain(threshold.value),
        _plain_or_none(threshold.hysteresis),
        _plain_or_none(threshold.observed),
        threshold.arm_time,
    )


def _plain(value: r.Plain) -> Value:
    return value.data if isinstance(value, r.Octets) else value


def _plain_or_none(value: r.Plain | None) -> Value | None:
    return None if value is None else _plain(value)


def _cause(number: int) -> ProbableCause | int:
    return ProbableCause(number) if number <= ProbableCause.UNSPECIFIED_REASON else number


# ---- filters and searches


def filters_of(filters: object, *, needed: bool) -> tuple[Terms, ...]:
    """Filters for the wire; `check_filters` says whether they keep to the limits.

    Raises: InvalidParam: not filters, or none though `needed`.
    """
    listed = _list(filters, "filters", _terms)
    if needed and not listed:
        raise InvalidParam("at least one filter is needed")
    return listed


def _terms(given: object) -> Terms:
    if not isinstance(given, Filter):
        raise InvalidParam(f"a Filter is wanted, not {given!r}")
    return Terms(
        _enumerators(given.types, NotificationType, "types"),
        _enumerators(given.event_types, EventType, "event_types"),
        _list(given.notification_objects, "notification_objects", lambda each: check_text(each, "notification_object")),
        _list(given.notifying_objects, "notifying_objects", lambda each: check_text(each, "notifying_object")),
        _list(given.class_ids, "class_ids", _class),
        _enumerators(given.severities, Severity, "severities"),
    )


def _enumerators(given: object, kind: type[E], what: str) -> tuple[int, ...]:
    return _list(given, what, lambda each: int(check_enum(each, kind, what)))


def search_of(search: object) -> Search:
    """A search for the wire. Raises: InvalidParam: unknown mode, or without the time or id that it needs."""
    if not isinstance(search, SearchCriteria):
        raise InvalidParam(f"SearchCriteria are wanted, not {search!r}")
    mode = check_enum(search.search_mode, SearchMode, "search_mode")
    time = _time(search.event_time, "event_time")
    identifier = None if search.notification_id is None else _number(search.notification_id, "notification_id")
    wanted = Search(int(mode), time, identifier)
    r.check_search(wanted)
    return wanted
