"""An event: one that is to be published, or one that was received.

Source: SAI-AIS-EVT-B.03.01 sections 3.6 and 3.7.
"""

from typing import TYPE_CHECKING

from corosync_amf.errors import Access, BadHandle
from corosync_amf.service import check_bytes

from .arguments import NEW, Draft, draft_of
from .delivery import Item
from .messages import Delivered
from .values import EVENT_BYTES_MAX, EVENT_ID_LOST, EVENT_ID_NONE, EventAttributes

if TYPE_CHECKING:
    from .channel import Channel


class Event:
    """Get it with `Channel.event_allocate`, then `attributes_set` and `publish`; or receive it from a subscription.

    Every call raises BadHandle (SA_AIS_ERR_BAD_HANDLE) when the event was freed or its channel is closed.
    """

    __slots__ = ("_channel", "_data", "_draft", "_event_id", "_message")

    def __init__(self, channel: "Channel", received: Item | None = None) -> None:
        """For `Channel`."""
        self._channel: Channel | None = channel
        self._draft: Draft | None = NEW
        self._message: Delivered | None = None
        self._event_id = EVENT_ID_NONE
        self._data = b""
        if received is not None:
            self._event_id, self._message, self._data = received
            self._draft = None

    def attributes_set(
        self,
        *,
        patterns: object = None,
        priority: int | None = None,
        retention_time: float | None = None,
        publisher_name: str | None = None,
    ) -> None:
        """Set what is given; None leaves it. `patterns`: up to 16 of up to 255 bytes; `priority` 0 (highest) to 3;
        `retention_time` 0 to 100,000 s, or what the executive allows; `publisher_name` 1 to 255 bytes.

        Raises: InvalidParam: out of range; TooBig: patterns, retention; Access (SA_AIS_ERR_ACCESS): a received event,
        or the channel was not opened as PUBLISHER.
        Source: saEvtEventAttributesSet.
        """
        channel = self._check()
        draft = draft_of(
            self._draft or NEW,
            channel.service.settings.retention_max,
            patterns,
            priority,
            retention_time,
            publisher_name,
        )
        if self._draft is None:
            raise Access("a received event cannot be changed")
        channel.check_publisher()
        self._draft = draft

    def attributes_get(self) -> EventAttributes:
        """The attributes. Source: saEvtEventAttributesGet."""
        self._check()
        message = self._message
        if message is None:
            draft = self._draft or NEW
            return EventAttributes(*draft, None, EVENT_ID_NONE)
        return EventAttributes(
            message.patterns,
            message.priority,
            message.retention_time,
            message.publisher_name,
            None if self._event_id == EVENT_ID_LOST else message.publish_time,
            self._event_id,
        )

    def data_get(self) -> bytes:
        """The data of a received event.

        Raises: BadHandle: also for an event that was allocated here: it has received nothing.
        Source: saEvtEventDataGet.
        """
        self._check()
        if self._message is None:
            raise BadHandle("the event was not received")
        return self._data

    async def publish(self, data: bytes = b"") -> int:
        """Publish the event with `data` (any buffer, up to 1 MiB); return its id, a new one each time.

        Raises: InvalidParam: data is no buffer; TooBig; Access (SA_AIS_ERR_ACCESS): the channel was not opened as
        PUBLISHER; NoResources: the cluster retains too much already.
        Source: saEvtEventPublish.
        """
        channel = self._check()
        content = check_bytes(data, EVENT_BYTES_MAX)
        channel.check_publisher()
        message, draft = self._message, self._draft
        if message is not None:  # a received event is published as it is
            draft = Draft(message.patterns, message.priority, message.retention_time, message.publisher_name)
        return await channel.send(draft or NEW, [content])

    def free(self) -> None:
        """Let go of the event. Source: saEvtEventFree."""
        self._check()
        self._channel = None
        self._message = None
        self._data = b""

    @property
    def data_size(self) -> int:
        """How many bytes of data were received."""
        return len(self._data)

    def _check(self) -> "Channel":
        if self._channel is None:
            raise BadHandle("the event is freed")
        self._channel.check_open()
        return self._channel

    def __repr__(self) -> str:
        return f"<Event {self._event_id}, {len(self._data)} bytes>"
