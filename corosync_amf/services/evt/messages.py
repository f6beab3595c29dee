"""What applications, executives and replicas say to one another about EVT, and the replicated state."""

from typing import Final

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, ClientGone, Message, Query, Request

from .values import QUEUE_LENGTH_DEFAULT, RETENTION_SECONDS_MAX

FilterPair = tuple[int, bytes]
"""The type (`FilterType`) and the bytes of a filter."""

NODE_BITS: Final = 12
NEXT_EVENT: Final = 1 << NODE_BITS
"""What lies between the ids of neighbouring events of one batch."""


# Requests of applications. Handles and subscriptions have numbers that the client chooses, each its own.


class Open(Request, frozen=True):
    """Open a channel; answered by Done."""

    handle: int
    name: str
    open_flags: int


class Close(Request, frozen=True):
    """Close handles; those that are not open are left out."""

    handles: tuple[int, ...]


class Unlink(Request, frozen=True):
    """Take the name away."""

    name: str


class Subscribe(Request, frozen=True):
    """`subscription` is unique in the client, not only in the handle."""

    handle: int
    subscription: int
    filters: tuple[FilterPair, ...]


class Unsubscribe(Request, frozen=True):
    """Answered by Done, also when it was ended before."""

    handle: int
    subscription: int


class Publish(Request, frozen=True, gc=False):
    """One event for each item of `data`, all with the same attributes; answered by Published."""

    handle: int
    patterns: tuple[bytes, ...]
    priority: int
    retention_time: float
    publisher_name: str
    data: list[bytes]


class ClearRetention(Request, frozen=True):
    """End the retention of an event of the handle's channel."""

    handle: int
    event_id: int


class Purge(Request, frozen=True):
    """End the retention of all events of a channel; answered by Purged. For operators."""

    name: str


# Requests of executives.


class RetentionOver(Request, frozen=True):
    """Time to look which events are not retained any more."""


EvtRequest = (
    Open | Close | Unlink | Subscribe | Unsubscribe | Publish | ClearRetention | Purge | RetentionOver | ClientGone
)


# Queries, for operators.


class ListChannels(Query, frozen=True):
    """Channels with a name behind `after_name`, answered by Channels."""

    after_name: str = ""


class ListOpeners(Query, frozen=True):
    """Who has a channel open, answered by Openers."""

    name: str
    after: int = 0


class ListRetained(Query, frozen=True):
    """Retained events of a channel with an id behind `after`, answered by RetainedEvents."""

    name: str
    after: int = 0


class AskSettings(Query, frozen=True):
    """What a session keeps to on this node, answered by Settings."""


EvtQuery = ListChannels | ListOpeners | ListRetained | AskSettings


# Replies.


class Settings(Message, frozen=True):
    """What the sessions of one node keep to, as its executive is configured; replicas decide nothing by it.

    `queue_length` events wait for a subscription that names no length itself, and when there were more, it takes new
    ones again at `queue_resume`; `retention_max` in seconds.
    Source: corosync.conf, section event.
    """

    queue_length: int = QUEUE_LENGTH_DEFAULT
    queue_resume: int = QUEUE_LENGTH_DEFAULT // 2
    retention_max: float = RETENTION_SECONDS_MAX


class Published(Message, frozen=True):
    """`event_id` is that of the first event; the next ones follow in steps of NEXT_EVENT."""

    event_id: int


class Purged(Message, frozen=True):
    """How many events that was."""

    count: int


class ChannelStatus(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A channel as operators see it; `retained_bytes` counts the data of its retained events."""

    name: str
    handles: int
    publishers: int
    subscribers: int
    subscriptions: int
    retained: int
    retained_bytes: int


class Channels(Message, frozen=True):
    """A page; an empty one is the end."""

    channels: list[ChannelStatus]


class ChannelOpener(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One handle: the node and the number of its client there, its flags, how many subscriptions it has."""

    node_id: int
    client: int
    open_flags: int
    subscriptions: int


class Openers(Message, frozen=True):
    """A page; an empty one is the end."""

    openers: list[ChannelOpener]


class RetainedEvent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A retained event without its data; times are seconds since the epoch."""

    event_id: int
    patterns: tuple[bytes, ...]
    priority: int
    publisher_name: str
    publish_time: float
    retained_until: float
    data_size: int


class RetainedEvents(Message, frozen=True):
    """A page; an empty one is the end."""

    events: list[RetainedEvent]


# Events.


class Delivered(Message, frozen=True, gc=False):
    """One event for each item of `data`, for each of these subscriptions of the client; ids as in Published."""

    subscriptions: tuple[int, ...]
    event_id: int
    publish_time: float
    patterns: tuple[bytes, ...]
    priority: int
    retention_time: float
    publisher_name: str
    data: list[bytes]
    at_subscribe: bool = False


EvtEvent = Delivered


# The replicated state.


Stay = tuple[NodeId, int, NodeId]
"""A node from one joining to the next: its id, and the ring in which it joined (its number and its lowest member)."""

Key = tuple[float, int, int, int, int]
"""What identifies an event through splits: its publish time, the node and number of the client, the number of the
request, the place in its batch. (What was on its way when the cluster split may have got another id on each side.)"""


class Retained(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """An event that is kept for subscribers to come. `source` is the rest of its key; `also` are other ids it has."""

    event_id: int
    publish_time: float
    patterns: tuple[bytes, ...]
    priority: int
    retention_time: float
    publisher_name: str
    data: bytes
    source: tuple[int, int, int, int]
    also: tuple[int, ...] = ()

    @property
    def key(self) -> Key:
        """See `Key`."""
        return self.publish_time, *self.source

    @property
    def until(self) -> float:
        """When its retention ends, in seconds since the epoch."""
        return self.publish_time + self.retention_time


class ChannelRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A channel. `numbers` identify it: one, or several when channels of one name met in a merge. `evicted` is the
    highest id among the events that had to make room for others; `published` and `forgotten` are its `Tally`."""

    numbers: tuple[int, ...]
    name: str
    is_linked: bool
    evicted: int
    retained: list[Retained]
    published: list[tuple[Stay, int]]
    forgotten: int


class SubscriptionRecord(msgspec.Struct, frozen=True, order=True, array_like=True, forbid_unknown_fields=True):
    """A subscription of a handle."""

    number: int
    filters: tuple[FilterPair, ...]


class HandleRecord(msgspec.Struct, frozen=True, order=True, array_like=True, forbid_unknown_fields=True):
    """An open handle; `channel` is the first of that channel's numbers."""

    client: Client
    number: int
    channel: int
    open_flags: int
    subscriptions: list[SubscriptionRecord]


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole state of EVT.

    `last` stands in the last id that was given. `unlinked` are numbers of channels that were unlinked, `cleared` keys
    of events that were cleared, with the end of their time: the oldest first, as many as a merge may have to know.
    What ended until `expired`, in seconds since the epoch, has been removed. `stays` are those of the members.
    """

    last: int
    channels: list[ChannelRecord]
    handles: list[HandleRecord]
    unlinked: list[int]
    cleared: list[tuple[Key, float]]
    expired: float
    stays: list[Stay]


class Remnant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node brings along into the state that stands: `state` with the handles of its own clients only, and with
    as many retained events as fit, the newest first; `omitted` are the ids of the others, of each channel."""

    state: Snapshot
    omitted: list[list[int]]
