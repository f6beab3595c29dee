"""An open channel.

Source: SAI-AIS-EVT-B.03.01 sections 3.5 to 3.7.
"""

import itertools
from collections.abc import Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Self

from corosync_amf.engine import Done
from corosync_amf.errors import Access, BadHandle, Exist, InvalidParam, NotExist
from corosync_amf.service import Opening, check_bytes, check_int

from . import messages as m
from .arguments import NEW, Draft, draft_of, filters_of, subscription_id_of
from .event import Event
from .limits import check_data, check_filters, check_retention
from .subscription import Subscription
from .values import (
    EVENT_ID_MAX,
    EVENT_ID_RESERVED,
    LOWEST_PRIORITY,
    QUEUE_LENGTH_MAX,
    Callback,
    ChannelOpenFlags,
    Filter,
)

if TYPE_CHECKING:
    from .client import EvtService

PUBLISHER, SUBSCRIBER = int(ChannelOpenFlags.PUBLISHER), int(ChannelOpenFlags.SUBSCRIBER)


class Channel:
    """A handle to a channel. Get it with `EvtService.channel_open`; leave it with `close`.

    Every call raises BadHandle (SA_AIS_ERR_BAD_HANDLE) when the handle is closed.
    """

    def __init__(self, service: "EvtService", number: int, name: str, open_flags: ChannelOpenFlags) -> None:
        """For `EvtService.channel_open`; open after `begin`."""
        self.service = service
        self.number = number
        self.name = name
        self.open_flags = open_flags
        self.is_open = False
        self.subscriptions: dict[int, Subscription] = {}
        self._rights = int(open_flags)
        self._free_ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        self.check_open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.is_open:
            await self.close()

    # ---- life cycle

    def begin(self, _: Done) -> None:
        """The executive has opened it."""
        self.is_open = True

    async def close(self) -> None:
        """Give the handle back, and with it its events and subscriptions.

        Source: saEvtChannelClose.
        """
        self.check_open()
        self.shut()
        await self.service.give_back(m.Close((self.number,)))

    def shut(self) -> None:
        """The handle is no longer valid; who iterates over a subscription sees the end."""
        self.is_open = False
        for subscription in list(self.subscriptions.values()):
            self.service.forget_subscription(subscription)
        self.subscriptions.clear()
        self.service.forget(self)

    # ---- publishing

    def event_allocate(self) -> Event:
        """A new event: no patterns, lowest priority, not retained, no publisher name.

        Source: saEvtEventAllocate.
        """
        self.check_open()
        return Event(self)

    async def publish(
        self,
        data: bytes = b"",
        *,
        patterns: Sequence[bytes | str] = (),
        priority: int = LOWEST_PRIORITY,
        retention_time: float = 0.0,
        publisher_name: str = "",
    ) -> int:
        """Publish an event and return its id, which is unique in the cluster: allocate, set and publish in one.

        The arguments are those of `Event.attributes_set` and `Event.publish`.

        Raises: InvalidParam, TooBig, Access (SA_AIS_ERR_ACCESS): not opened as PUBLISHER; NoResources.
        Source: saEvtEventPublish.
        """
        self.check_open()
        contents = [check_bytes(data)]
        draft = self._draft_of(patterns, priority, retention_time, publisher_name)
        check_data(contents)
        self.check_publisher()
        return await self.send(draft, contents)

    async def publish_batch(
        self,
        data: Sequence[bytes],
        *,
        patterns: Sequence[bytes | str] = (),
        priority: int = LOWEST_PRIORITY,
        retention_time: float = 0.0,
        publisher_name: str = "",
    ) -> list[int]:
        """Publish one event for each item of `data`, all with the same attributes, and return their ids.

        It is one step of the total order: subscribers get all of them, and nothing in between. At most 4096 events and
        4 MiB of data, unless it is one event alone.

        Raises: as `publish`.
        """
        self.check_open()
        if isinstance(data, str | bytes | bytearray | memoryview) or not isinstance(data, Sequence):
            raise InvalidParam("data must be a sequence of bytes")
        contents = [each if type(each) is bytes else check_bytes(each) for each in data]
        draft = self._draft_of(patterns, priority, retention_time, publisher_name)
        check_data(contents)
        self.check_publisher()
        first = await self.send(draft, contents)
        return list(range(first, first + m.NEXT_EVENT * len(contents), m.NEXT_EVENT))

    async def send(self, draft: Draft, data: list[bytes]) -> int:
        """For `Event` and the above: what is checked goes out. Raises: TooBig: a received event is kept for longer
        than this node allows."""
        check_retention(draft.retention_time, self.service.settings.retention_max)
        return (await self.service.request(m.Publish(self.number, *draft, data), m.Published)).event_id

    async def event_retention_time_clear(self, event_id: int) -> None:
        """End the retention of an event of this channel.

        Raises: InvalidParam: an id that no published event has (0 to 1000); NotExist (SA_AIS_ERR_NOT_EXIST): not
        retained: never, no more, or in another channel.
        Source: saEvtEventRetentionTimeClear.
        """
        self.check_open()
        number = check_int(event_id, "event_id", minimum=EVENT_ID_RESERVED + 1, maximum=EVENT_ID_MAX)
        await self.service.request(m.ClearRetention(self.number, number), Done)

    # ---- subscribing

    def event_subscribe(
        self,
        filters: Sequence[Filter] = (),
        subscription_id: int | None = None,
        *,
        queue_length: int | EllipsisType = ...,
    ) -> Opening[Subscription]:
        """Subscribe to the events whose patterns fit `filters` (none: to all): await or enter the result. Retained
        events come first.

        `subscription_id` is unique in this handle, None: a free one. When `queue_length` events wait that nobody
        takes, those of lowest priority are lost, and an event with id EVENT_ID_LOST says how many; by default as many
        as the executive is configured for (1000).

        Raises: InvalidParam: not a sequence of Filter, an unknown type; Init (SA_AIS_ERR_INIT): without
        Callback.DELIVER; TooBig: more than 16 filters, or one over 255 bytes; Access (SA_AIS_ERR_ACCESS): not opened as
        SUBSCRIBER; Exist (SA_AIS_ERR_EXIST): the id is in use; NoResources: 4096 subscriptions of this session.
        Source: saEvtEventSubscribe.
        """
        return Opening(lambda: self._subscribe(filters, subscription_id, queue_length), Subscription.close)

    async def _subscribe(self, filters: object, subscription_id: object, queue_length: object) -> Subscription:
        self.check_open()
        pairs, chosen = filters_of(filters), subscription_id_of(subscription_id)
        length, resume = self._queue_of(queue_length)
        self.service.check_callback(Callback.DELIVER)
        check_filters(pairs)
        if not self._rights & SUBSCRIBER:
            raise Access("the channel was not opened as SUBSCRIBER")
        if chosen is None:
            chosen = next(number for number in self._free_ids if number not in self.subscriptions)
        elif chosen in self.subscriptions:
            raise Exist(f"subscription id {chosen} is in use on this handle")
        subscription = self.service.new_subscription(self, chosen, length, resume)
        request = m.Subscribe(self.number, subscription.number, pairs)
        undo = m.Unsubscribe(self.number, subscription.number)
        try:
            await self.service.request(request, Done, undo=undo)
        except BaseException:
            self._end(subscription)
            raise
        self.check_open()
        return subscription

    def _queue_of(self, queue_length: object) -> tuple[int, int]:
        """How many events may wait, and at how many new ones are taken again."""
        if queue_length is ...:
            settings = self.service.settings
            return settings.queue_length, settings.queue_resume
        length = check_int(queue_length, "queue_length", minimum=1, maximum=QUEUE_LENGTH_MAX)
        return length, length // 2

    async def event_unsubscribe(self, subscription_id: int) -> None:
        """End a subscription; what still waits for it is dropped.

        Raises: InvalidParam: not an int; NotExist (SA_AIS_ERR_NOT_EXIST): no such subscription of this handle.
        Source: saEvtEventUnsubscribe.
        """
        self.check_open()
        number = check_int(subscription_id, "subscription_id", minimum=None)
        subscription = self.subscriptions.get(number)
        if subscription is None:
            raise NotExist(f"no subscription {number} of this handle")
        self._end(subscription)
        await self.service.request(m.Unsubscribe(self.number, subscription.number), Done)

    def _end(self, subscription: Subscription) -> None:
        if self.subscriptions.get(subscription.subscription_id) is subscription:
            del self.subscriptions[subscription.subscription_id]
        self.service.forget_subscription(subscription)

    # ---- checks

    def check_open(self) -> None:
        """Raises: BadHandle."""
        self.service.check_open()
        if not self.is_open:
            raise BadHandle("the channel is closed")

    def check_publisher(self) -> None:
        """Raises: Access."""
        if not self._rights & PUBLISHER:
            raise Access("the channel was not opened as PUBLISHER")

    def _draft_of(self, patterns: object, priority: object, retention_time: object, publisher_name: object) -> Draft:
        """The attributes given to `publish`. Raises: InvalidParam, TooBig."""
        if patterns is None or priority is None or retention_time is None or publisher_name is None:
            raise InvalidParam("None is no attribute of an event")
        name = None if publisher_name == "" else publisher_name
        return draft_of(NEW, self.service.settings.retention_max, patterns, priority, retention_time, name)
