"""NTF as an application uses it.

    async with initialize() as service:
        async with service.notification_subscribe([Filter(types=[NotificationType.ALARM])]) as alarms:
            async for alarm in alarms:
                print(alarm.notification_id, alarm.perceived_severity.name, alarm.additional_text)

Source: SAI-AIS-NTF-A.03.01 chapter 3.
"""

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self

from corosync_amf.engine import Done, Service
from corosync_amf.errors import BadHandle, Exist, InvalidParam, Library, NotExist, Transient
from corosync_amf.service import SUPPORTED, Opening, ServiceClient, check_int
from corosync_amf.session import Session
from corosync_amf.wire import decode

from . import messages as m
from .arguments import filters_of, notification_of, record_of, search_of
from .reader import Reader
from .records import Record, Terms, check_filters, check_suppression
from .values import (
    NOTIFICATION_BYTES_MAX,
    SUBSCRIPTION_ID_MAX,
    Filter,
    Notification,
    NotificationDiscarded,
    NotificationReceived,
    SearchCriteria,
)
from .vocabulary import Callback
from .waiting import WaitingNotifications

NOWHERE: Final = 0
"""The number of no stream."""
STREAMS: Final = -(7 << 48)
"""Subscription `n` that is iterated over has the stream STREAMS - n."""
OWN_IDS: Final = 1 << 31
"""Where the subscription ids begin that the library gives."""
CLOSE_SECONDS: Final = 5.0
EVERYTHING: Final = SearchCriteria()


class Subscription:
    """Iterate over it for its notifications; close it when done. Get it with `NtfService.notification_subscribe`.

    What a slow reader has missed comes as a NotificationDiscarded in its place, unless the session was initialised
    without Callback.DISCARDED. Without iteration the events are among those of the service, as NotificationReceived.
    """

    def __init__(self, service: "NtfService", subscription_id: int) -> None:
        """For `notification_subscribe`."""
        self.subscription_id = subscription_id
        self.is_open = True
        self.is_streamed = False
        self._service = service

    @property
    def stream(self) -> int:
        """Under which number the session keeps the events, once it is iterated over."""
        return STREAMS - self.subscription_id

    async def close(self) -> None:
        """`notification_unsubscribe`. Raises: BadHandle (SA_AIS_ERR_BAD_HANDLE): closed already."""
        self._check()
        await self._service.notification_unsubscribe(self.subscription_id)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        session = self._service.session
        try:
            self._check()
            if not self.is_streamed:
                self._service.stream_apart(self)
            while True:
                await session.wait_events(self.stream)
                for event in session.take_events(self.stream, 1):
                    return event if isinstance(event, NotificationDiscarded) else notification_in(event)
        except BadHandle:
            if self.is_open and self._service.is_open:
                raise
            raise StopAsyncIteration from None

    def _check(self) -> None:
        if not self.is_open:
            raise BadHandle(f"subscription {self.subscription_id} is closed")
        self._service.check_open()


class NtfService(ServiceClient):
    """A session with the notification service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.NTF
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["NTF"]
    callback = Callback
    event_type = m.NtfEvent

    def __init__(self, session: Session, **arguments: Any) -> None:
        """For `initialize`."""
        super().__init__(session, **arguments)
        self.queue: WaitingNotifications = self._new_queue()
        self._subscriptions: dict[int, Subscription] = {}
        self._ids = itertools.count(OWN_IDS)

    def _new_queue(self) -> WaitingNotifications:
        return WaitingNotifications(bool(self.callbacks & Callback.DISCARDED))

    async def start(self) -> None:
        """See `ServiceClient`."""
        self.session.divert(Service.NTF, self._stream_of)

    async def stop(self) -> None:
        """See `ServiceClient`."""
        for subscription in list(self._subscriptions.values()):
            self._forget(subscription)
            await self._unsubscribe(subscription.subscription_id)

    def translate(self, message: Any) -> object | None:
        """See `ServiceClient`."""
        if not isinstance(message, m.Notified) or message.subscription_id not in self._subscriptions:
            return None
        return NotificationReceived(message.subscription_id, notification_in(message))

    def _stream_of(self, event: Any) -> int:
        if not isinstance(event, m.Notified | NotificationDiscarded):
            return Service.NTF
        subscription = self._subscriptions.get(event.subscription_id)
        if subscription is None:
            return NOWHERE
        return subscription.stream if subscription.is_streamed else Service.NTF

    # ---- sending

    async def notification_send(self, notification: Notification) -> int:
        """Send a notification; return the id that it got. Its `notification_id` does not matter.

        Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): the event type is not of the notification's type, unknown
        values, empty objects; TooBig (SA_AIS_ERR_TOO_BIG): over 64 KiB encoded, a name over 2048 bytes.
        Source: saNtfNotificationSend_3.
        """
        self.check_open()
        record, _ = record_of(notification)
        return (await self.request(m.Send(record), m.Identified)).identifier

    async def identifier_allocate(self) -> int:
        """An id for `notification_send_with_id`: it can stand in other notifications before it is sent.

        Raises: NoResources (SA_AIS_ERR_NO_RESOURCES): this session has 1024 that it has not used.
        Source: saNtfIdentifierAllocate.
        """
        self.check_open()
        self.check_version("A.03")
        return (await self.request(m.Allocate(), m.Identified)).identifier

    async def notification_send_with_id(self, notification: Notification) -> None:
        """Send a notification whose `notification_id` came from `identifier_allocate`, of any live session.

        Raises: as `notification_send`; InvalidParam: the id was not allocated; Exist (SA_AIS_ERR_EXIST): it was used.
        Source: saNtfNotificationSendWithId.
        """
        self.check_open()
        self.check_version("A.03")
        record, _ = record_of(notification)
        await self.request(m.SendWithId(record), m.Identified)

    async def static_suppression_filter_set(self, filters: Sequence[Filter] = ()) -> None:
        """From now on drop, in the whole cluster, what one of the filters matches, but no alarms; these filters take
        the place of those before. What is dropped gets an id, but is neither kept nor delivered.

        Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): no filters, or such that name alarms; NoResources.
        Source: SaNtfStaticSuppressionFilterSetCallbackT_3 tells of it in C.
        """
        self.check_open()
        self.check_version("A.03")
        terms = filters_of(filters, needed=False)
        check_suppression(terms)
        await self.request(m.Suppress(terms), Done)

    def localized_message_get(self, notification: Notification) -> str:
        """The text for people. There is no message catalogue: it is `additional_text`.

        Raises: InvalidParam. Source: saNtfLocalizedMessageGet.
        """
        self.check_open()
        record_of(notification)
        return notification.additional_text

    def variable_data_size_get(self, notification: Notification) -> int:
        """The bytes by which the notification may still grow.

        Raises: InvalidParam; TooBig: none. Source: saNtfVariableDataSizeGet.
        """
        self.check_open()
        return NOTIFICATION_BYTES_MAX - len(record_of(notification)[1])

    # ---- subscribing

    def notification_subscribe(
        self, filters: Sequence[Filter], subscription_id: int | None = None
    ) -> Opening[Subscription]:
        """Get every notification that one of the filters matches, from now on: await or enter the result.

        Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): no filters; Init (SA_AIS_ERR_INIT): without
        Callback.NOTIFICATION; Exist (SA_AIS_ERR_EXIST): the id is in use; TooBig: a name; NoResources: over 256
        subscriptions, 64 filters, 256 values in a field.
        Source: saNtfNotificationSubscribe_3.
        """

        async def open() -> Subscription:
            self.check_open()
            terms = filters_of(filters, needed=True)
            number = self._subscription_id(subscription_id)
            self.check_callback(Callback.NOTIFICATION)
            check_filters(terms, needed=True)
            return await self._subscribe(terms, number)

        return Opening(open, Subscription.close)

    def _subscription_id(self, given: int | None) -> int:
        if given is not None:
            return check_int(given, "subscription_id", maximum=SUBSCRIPTION_ID_MAX)
        return next(number for number in self._ids if number not in self._subscriptions)

    async def _subscribe(self, terms: tuple[Terms, ...], number: int) -> Subscription:
        if number in self._subscriptions:
            raise Exist(f"subscription {number} is there already")
        subscription = self._subscriptions[number] = Subscription(self, number)
        try:
            await self.request(m.Subscribe(number, terms), Done, undo=m.Unsubscribe(number))
        except BaseException:
            self._forget(subscription)
            raise
        self.check_open()
        return subscription

    async def notification_unsubscribe(self, subscription_id: int) -> None:
        """End a subscription; what waits for it is dropped.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): no such subscription; InvalidParam: no id.
        Source: saNtfNotificationUnsubscribe_2.
        """
        self.check_open()
        number = check_int(subscription_id, "subscription_id", maximum=SUBSCRIPTION_ID_MAX)
        subscription = self._subscriptions.get(number)
        if subscription is None:
            raise NotExist(f"no subscription {number}")
        self._forget(subscription)
        await self._unsubscribe(number)

    async def _unsubscribe(self, number: int) -> None:
        try:
            await self.request(m.Unsubscribe(number), Done, timeout=CLOSE_SECONDS)
        except (Library, NotExist, Transient):
            pass  # the executive forgets a lost client

    def _forget(self, subscription: Subscription) -> None:
        subscription.is_open = False
        if self._subscriptions.get(subscription.subscription_id) is subscription:
            del self._subscriptions[subscription.subscription_id]
        if subscription.is_streamed:
            self.session.detach(subscription.stream)
        else:
            self.queue.drop(subscription.subscription_id)
            self.session.changed(Service.NTF)

    def stream_apart(self, subscription: Subscription) -> None:
        """From now on the events of this subscription have a stream of their own; those that wait move there."""
        self.session.attach(subscription.stream, m.NtfEvent, self._new_queue())
        subscription.is_streamed = True
        for event in self.session.take_events(Service.NTF):
            self.session.tell(Service.NTF, event)

    # ---- reading

    def notification_read_initialize(
        self, search: SearchCriteria = EVERYTHING, filters: Sequence[Filter] = ()
    ) -> Opening[Reader]:
        """Read what was sent before and is kept: await or enter the result.

        Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): unknown mode, the time or the id that it needs is missing.
        Source: saNtfNotificationReadInitialize_3.
        """

        async def open() -> Reader:
            self.check_open()
            if isinstance(filters, Filter):
                raise InvalidParam("filters must be a sequence of Filter")
            wanted, terms = search_of(search), filters_of(filters, needed=False)
            check_filters(terms, needed=False)
            return Reader(self, wanted, terms)

        return Opening(open, Reader.finalize)


def notification_in(event: m.Notified) -> Notification:
    """The notification that an event brings."""
    return notification_of(decode(event.data, Record))


def initialize(
    *,
    version: str = SUPPORTED["NTF"][-1],
    events: Callback = Callback.ALL,
    retry: bool = True,
    address: str | None = None,
) -> Opening[NtfService]:
    """Open a session with the notification service: enter or await the result.

    `events`: the kinds wanted. `retry=False`: TryAgain is raised at once. `address`: the executive's socket, default
    from the environment.

    Raises: InvalidParam; Version (SA_AIS_ERR_VERSION); Library: no executive.
    Source: saNtfInitialize_3.
    """
    return NtfService.opening(version=version, events=events, retry=retry, address=address)
