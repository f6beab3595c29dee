"""What applications, executives and replicas say to one another about NTF, and the replicated state."""

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, ClientGone, Message, Notice, Query, Request

from .records import Record, Search, Terms

# Requests of applications.


class Send(Request, frozen=True):
    """Send a notification. Answered by Identified."""

    record: Record


class SendWithId(Request, frozen=True):
    """Send a notification whose id was allocated."""

    record: Record


class Allocate(Request, frozen=True):
    """Give an id for a later SendWithId. Answered by Identified."""


class Subscribe(Request, frozen=True):
    """Send Notified for each notification that one of the filters matches."""

    subscription_id: int
    filters: tuple[Terms, ...]


class Unsubscribe(Request, frozen=True):
    """Send it no more."""

    subscription_id: int


class Suppress(Request, frozen=True):
    """From now on drop notifications, but no alarms, that one of the filters matches; instead of those before."""

    filters: tuple[Terms, ...]


NtfRequest = Send | SendWithId | Allocate | Subscribe | Unsubscribe | Suppress | Notice | ClientGone


class Read(Query, frozen=True):
    """Notifications that are kept, in the order of (time, id), from beyond `place` on. Answered by Page."""

    search: Search
    filters: tuple[Terms, ...]
    direction: int
    place: tuple[float, int] | None = None
    count: int = 1


NtfQuery = Read


class Identified(Message, frozen=True):
    """An id."""

    identifier: int


class Page(Message, frozen=True):
    """Encoded records, each with its place; ask on with `reached`, unless `is_over`."""

    items: list[tuple[float, int, bytes]]
    reached: tuple[float, int] | None
    is_over: bool


class Notified(Message, frozen=True):
    """Event: a notification for a subscription; `data` is the encoded record."""

    subscription_id: int
    identifier: int
    event_type: int
    data: bytes


NtfEvent = Notified


# The replicated state.


class KeptRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One notification that is kept for readers. `arrival` counts the notifications of this state.

    `is_brought`: it was sent, and delivered, in a partition that gave way.
    """

    identifier: int
    time: float
    arrival: int
    is_alarm: bool
    data: bytes
    is_brought: bool


class UnclearedRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, order=True):
    """An alarm that is not over."""

    notification_object: str
    class_id: tuple[int, int, int]
    probable_cause: int
    identifier: int


class SubscriptionRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One subscription of a client."""

    client: Client
    subscription_id: int
    filters: tuple[Terms, ...]


class AllocatedRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An id that a client has not used yet."""

    identifier: int
    client: Client


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole state of NTF.

    `absent`: how many notifications had come in when a missing node left; `joined`: when a member joined.
    """

    last: int = 0
    arrivals: int = 0
    joined: list[tuple[NodeId, int]] = []
    absent: list[tuple[NodeId, int]] = []
    kept: list[KeptRecord] = []
    uncleared: list[UnclearedRecord] = []
    subscriptions: list[SubscriptionRecord] = []
    allocated: list[AllocatedRecord] = []
    suppressed: tuple[Terms, ...] = ()


class Remnant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node brings along: its clients' subscriptions and ids, and the notifications that others have missed."""

    subscriptions: list[SubscriptionRecord]
    allocated: list[AllocatedRecord]
    kept: list[KeptRecord]
