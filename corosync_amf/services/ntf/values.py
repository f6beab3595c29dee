"""What applications see of NTF: notifications, filters, events.

Source: SAI-AIS-NTF-A.03.01 section 3.12.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .vocabulary import (
    EventType,
    NotificationType,
    ProbableCause,
    SearchMode,
    Severity,
    SeverityTrend,
    SourceIndicator,
)

SAF_VENDOR: Final = 18568
NOTIFICATION_BYTES_MAX: Final = 65536
"""Of one encoded notification."""
QUEUE_MAX: Final = 1000
"""Notifications that wait for a slow subscriber."""
KEPT_MAX: Final = 10_000
"""Of alarms and security alarms, and of all others."""
SUBSCRIPTION_ID_MAX: Final = 2**32 - 1

Value = bool | int | float | str | bytes
"""SaNtfValueT and its type: the type of the Python value says it. An int has 64 bits."""


@dataclass(frozen=True, slots=True, order=True)
class ClassId:
    """SaNtfClassIdT: the kind of a notification, by whoever defines it. 18568 is the vendor id of the SA Forum."""

    vendor_id: int
    major_id: int
    minor_id: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """SaNtfAttributeT: an attribute of the notification object."""

    attribute_id: int
    attribute_value: Value


@dataclass(frozen=True, slots=True)
class ChangedAttribute:
    """SaNtfAttributeChangeT; None: there was, or is, no value."""

    attribute_id: int
    old_attribute_value: Value | None = None
    new_attribute_value: Value | None = None


@dataclass(frozen=True, slots=True)
class ChangedState:
    """SaNtfStateChangeT; `old_state` None: not known."""

    state_id: int
    old_state: int | None
    new_state: int


@dataclass(frozen=True, slots=True)
class SpecificProblem:
    """SaNtfSpecificProblemT."""

    problem_id: int
    problem_class_id: ClassId | None = None
    problem_value: Value = 0


@dataclass(frozen=True, slots=True)
class ThresholdInformation:
    """SaNtfThresholdInformationT. `arm_time`: wall clock, seconds since the epoch."""

    threshold_id: int
    threshold_value: Value
    threshold_hysteresis: Value | None = None
    observed_value: Value | None = None
    arm_time: float | None = None


@dataclass(frozen=True, slots=True)
class ProposedRepairAction:
    """SaNtfProposedRepairActionT."""

    action_id: int
    action_value: Value


@dataclass(frozen=True, slots=True)
class SecurityAlarmDetector:
    """SaNtfSecurityAlarmDetectorT: what noticed the violation."""

    value: Value


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """SaNtfServiceUserT: whose request led to the violation."""

    value: Value


@dataclass(frozen=True, slots=True)
class ServiceProvider:
    """SaNtfServiceProviderT: the service that was asked for."""

    value: Value


@dataclass(frozen=True, slots=True)
class Notification:
    """What all notifications have in common (SaNtfNotificationHeaderT); sent are those that follow.

    `notification_object` is what it is about, `notifying_object` who says so. `event_time` is wall clock, seconds since
    the epoch; None: the time of sending. `notification_id` is given by the service, unless it was allocated before.
    `additional_info` are (id, value) pairs; the ids are the notification class's.
    """

    event_type: EventType
    notification_object: str
    notifying_object: str
    notification_class_id: ClassId = ClassId(SAF_VENDOR, 0, 0)
    event_time: float | None = None
    notification_id: int = 0
    additional_text: str = ""
    additional_info: tuple[tuple[int, Value], ...] = ()
    correlated_notifications: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectCreateDelete(Notification):
    """SaNtfObjectCreateDeleteNotificationT: an object came or went."""

    source_indicator: SourceIndicator = SourceIndicator.UNKNOWN
    object_attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class AttributeChange(Notification):
    """SaNtfAttributeChangeNotificationT: attributes of an object changed."""

    source_indicator: SourceIndicator = SourceIndicator.UNKNOWN
    changed_attributes: tuple[ChangedAttribute, ...] = ()


@dataclass(frozen=True, slots=True)
class StateChange(Notification):
    """SaNtfStateChangeNotificationT: states of an object changed."""

    source_indicator: SourceIndicator = SourceIndicator.UNKNOWN
    changed_states: tuple[ChangedState, ...] = ()


@dataclass(frozen=True, slots=True)
class Alarm(Notification):
    """SaNtfAlarmNotificationT. With `perceived_severity` CLEARED it ends the one in `correlated_notifications`;
    when that is left empty the service puts in the last alarm of the same object, class and cause, if one is raised.
    """

    probable_cause: ProbableCause | int = ProbableCause.UNSPECIFIED_REASON
    perceived_severity: Severity = Severity.INDETERMINATE
    specific_problems: tuple[SpecificProblem, ...] = ()
    trend: SeverityTrend | None = None
    threshold_information: ThresholdInformation | None = None
    monitored_attributes: tuple[Attribute, ...] = ()
    proposed_repair_actions: tuple[ProposedRepairAction, ...] = ()


@dataclass(frozen=True, slots=True)
class SecurityAlarm(Notification):
    """SaNtfSecurityAlarmNotificationT."""

    probable_cause: ProbableCause | int = ProbableCause.UNSPECIFIED_REASON
    severity: Severity = Severity.INDETERMINATE
    security_alarm_detector: SecurityAlarmDetector | None = None
    service_user: ServiceUser | None = None
    service_provider: ServiceProvider | None = None


@dataclass(frozen=True, slots=True)
class Miscellaneous(Notification):
    """SaNtfMiscellaneousNotificationT: anything else."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which notifications are wanted. An empty field matches all; fields are and-ed.

    `severities` match alarms and security alarms; names and class ids match as a whole.
    """

    types: Sequence[NotificationType] = ()
    event_types: Sequence[EventType] = ()
    notification_objects: Sequence[str] = ()
    notifying_objects: Sequence[str] = ()
    class_ids: Sequence[ClassId] = ()
    severities: Sequence[Severity] = ()


@dataclass(frozen=True, slots=True)
class SearchCriteria:
    """SaNtfSearchCriteriaT: the modes with a time need `event_time`, NOTIFICATION_ID needs `notification_id`."""

    search_mode: SearchMode = SearchMode.ONLY_FILTER
    event_time: float | None = None
    notification_id: int | None = None


@dataclass(frozen=True, slots=True)
class NotificationReceived:
    """Event: a notification that a filter of the subscription matches. Source: SaNtfNotificationCallbackT."""

    subscription_id: int
    notification: Notification


@dataclass(frozen=True, slots=True)
class NotificationDiscarded:
    """Event: these were not kept for the subscriber, because it was too slow; a reader may still find them.

    Source: SaNtfNotificationDiscardedCallbackT.
    """

    subscription_id: int
    type: NotificationType
    identifiers: tuple[int, ...]
