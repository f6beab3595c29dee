"""Events as an application uses them.

    async with initialize() as service:
        async with service.channel_open("alarms", PUBLISHER | SUBSCRIBER | CREATE) as channel:
            async with channel.event_subscribe() as alarms:
                await channel.publish(b"sda1 full", patterns=[b"disk/sda1"])
                async for event in alarms:
                    ...

Source: SAI-AIS-EVT-B.03.01 chapter 3.
"""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from corosync_amf.engine import Done, Service
from corosync_amf.errors import AisError, BadFlags, TryAgain
from corosync_amf.handles import Handles
from corosync_amf.service import (
    SUPPORTED,
    Opening,
    Pending,
    ServiceClient,
    check_enum,
    check_flags,
    check_name,
    check_timeout,
)
from corosync_amf.session import Session

from . import messages as m
from .channel import Channel
from .delivery import OUTCOMES_MAX, Item, SessionQueue
from .event import Event
from .subscription import Subscription
from .values import LIMITS, Callback, ChannelOpenFlags, LimitId

FIRST_STREAM: Final = -(1 << 40)
"""Streams of subscriptions have numbers from here downwards."""


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """Event: the outcome of `channel_open_async`. Source: SaEvtChannelOpenCallbackT."""

    invocation: int
    channel: Channel | None
    error: AisError | None


@dataclass(frozen=True, slots=True)
class EventDelivered:
    """Event: an event of a subscription that nobody iterates over. Source: SaEvtEventDeliverCallbackT."""

    subscription_id: int
    event: Event
    data_size: int


class EvtService(ServiceClient):
    """A session with the event service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.EVT
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["EVT"]
    callback = Callback
    event_type = m.EvtEvent
    _numbers: ClassVar = itertools.count(1)

    def __init__(self, session: Session, **arguments: Any) -> None:
        """For `initialize`."""
        super().__init__(session, **arguments)
        self.queue: SessionQueue = SessionQueue(_delivered)
        self._channels: Handles[Channel, Done] = Handles(self, Done, m.Close)
        self._opening = 0
        self.settings = m.Settings()

    async def start(self) -> None:
        """See `ServiceClient`."""
        self.settings = await self.ask(m.AskSettings(), m.Settings)

    async def stop(self) -> None:
        """See `ServiceClient`."""
        await self._channels.close_all()

    def take(self, limit: int | None = None) -> list[Any]:
        """See `ServiceClient`. What has come meanwhile may be more urgent, or too much."""
        self.session.poll()
        return super().take(limit)

    # ---- opening

    def channel_open(
        self, name: str, open_flags: ChannelOpenFlags, *, timeout: float | None = 10.0
    ) -> Opening[Channel]:
        """Open a channel, with CREATE also make it when it is not there: await or enter the result.

        The handle may do what `open_flags` name: PUBLISHER, SUBSCRIBER. `timeout` in seconds, None: for ever.

        Raises: BadFlags (SA_AIS_ERR_BAD_FLAGS): no or unknown bits; InvalidParam: name; TooBig: name; NotExist
        (SA_AIS_ERR_NOT_EXIST): not there, without CREATE; TimedOut (SA_AIS_ERR_TIMEOUT); NoResources: 4096 channels in
        the cluster, or open in this session.
        Source: saEvtChannelOpen.
        """

        async def open() -> Channel:
            self.check_open()
            flags = _flags_of(open_flags)
            check_timeout(timeout)  # before the name may be too big
            channel = Channel(self, next(self._numbers), check_name(name), flags)
            return await self._channels.open(channel, m.Open(channel.number, name, int(flags)), timeout)

        return Opening(open, Channel.close)

    def channel_open_async(
        self, name: str, open_flags: ChannelOpenFlags, *, invocation: int | None = None
    ) -> Pending[Channel]:
        """`channel_open` without waiting; the outcome is also an event, ChannelOpened.

        Raises: BadFlags, InvalidParam, TooBig; Init (SA_AIS_ERR_INIT): without Callback.OPEN; TryAgain: 1024 outcomes
        wait to be read.
        Source: saEvtChannelOpenAsync.
        """
        self.check_open()
        flags, number = _flags_of(open_flags), self.invocation(invocation)
        with self.needing(Callback.OPEN):
            check_name(name)
        if self._opening + len(self.queue.outcomes) >= OUTCOMES_MAX:
            raise TryAgain(f"{OUTCOMES_MAX} outcomes wait to be read")
        channel = Channel(self, next(self._numbers), name, flags)

        def event(number: int, opened: Channel | None, error: AisError | None) -> ChannelOpened:
            self._opening -= 1
            return ChannelOpened(number, opened, error)

        opening = self._channels.open_async(channel, m.Open(channel.number, name, int(flags)), event, number)
        self._opening += 1
        return opening

    async def channel_unlink(self, name: str) -> None:
        """Take the name away; the channel and its retained events live until the last handle is closed.

        Raises: InvalidParam, TooBig: name; NotExist (SA_AIS_ERR_NOT_EXIST): no such name.
        Source: saEvtChannelUnlink.
        """
        self.check_open()
        await self.request(m.Unlink(check_name(name)), Done)

    def limit_get(self, limit_id: LimitId) -> int:
        """A limit of the service: bytes, seconds, or a number of things.

        Raises: Version (SA_AIS_ERR_VERSION): a session older than B.03; InvalidParam: no such limit.
        Source: saEvtLimitGet.
        """
        self.check_open()
        self.check_version("B.03")
        limit = check_enum(limit_id, LimitId, "limit_id")
        return int(self.settings.retention_max) if limit is LimitId.MAX_RETENTION_DURATION else LIMITS[limit]

    # ---- for operators

    async def channels(self) -> list[m.ChannelStatus]:
        """All channels that have a name, by name."""
        found: list[m.ChannelStatus] = []
        while page := (await self.ask(m.ListChannels(found[-1].name if found else ""), m.Channels)).channels:
            found += page
        return found

    async def channel_openers(self, name: str) -> list[m.ChannelOpener]:
        """Who has a channel open. Raises: InvalidParam, TooBig, NotExist (SA_AIS_ERR_NOT_EXIST)."""
        check_name(name)
        found: list[m.ChannelOpener] = []
        while page := (await self.ask(m.ListOpeners(name, len(found)), m.Openers)).openers:
            found += page
        return found

    async def channel_retained(self, name: str) -> AsyncIterator[m.RetainedEvent]:
        """The retained events of a channel, in publish order, without their data. Raises: as `channel_openers`."""
        check_name(name)
        after = 0
        while page := (await self.ask(m.ListRetained(name, after), m.RetainedEvents)).events:
            for event in page:
                yield event
            after = page[-1].event_id

    async def channel_purge(self, name: str) -> int:
        """End the retention of all events of a channel; return how many. Raises: as `channel_openers`."""
        return (await self.request(m.Purge(check_name(name)), m.Purged)).count

    # ---- for Channel and Subscription

    def forget(self, channel: Channel) -> None:
        """The handle is closed."""
        self._channels.forget(channel)

    def new_subscription(
        self, channel: Channel, subscription_id: int, queue_length: int, queue_resume: int
    ) -> Subscription:
        """A subscription, known before its first event can come."""
        subscription = Subscription(channel, subscription_id, next(self._numbers), queue_length, queue_resume)
        channel.subscriptions[subscription_id] = subscription
        self.queue.feeds[subscription.number] = subscription.feed
        return subscription

    def forget_subscription(self, subscription: Subscription) -> None:
        """It has ended: what waits is dropped, who iterates over it sees the end."""
        subscription.is_open = False
        self.queue.feeds.pop(subscription.number, None)
        self.queue.withdraw(subscription.feed)
        if subscription.iterations:
            self.session.detach(self.stream_of(subscription))
        self.session.changed(Service.EVT)

    def stream_of(self, subscription: Subscription) -> int:
        """Under which number the session keeps the events of a subscription that is iterated over."""
        return FIRST_STREAM - subscription.number

    def begin_iteration(self, subscription: Subscription) -> None:
        """From now on the subscription's events are not in the session's stream."""
        subscription.iterations += 1
        if subscription.iterations > 1:
            return
        feed, stream, session = subscription.feed, self.stream_of(subscription), self.session
        self.queue.withdraw(feed)
        session.changed(Service.EVT)
        session.attach(stream, None, feed.waiting)
        feed.tell = lambda item: session.tell(stream, item)

    def end_iteration(self, subscription: Subscription) -> None:
        """Nobody iterates any more: what waits, and what comes, is in the session's stream again."""
        subscription.iterations -= 1
        if subscription.iterations or not subscription.is_open:
            return
        subscription.feed.tell = None
        self.session.detach(self.stream_of(subscription))
        self.queue.give_back(subscription.feed)
        self.session.changed(Service.EVT)


def initialize(
    *,
    version: str = SUPPORTED["EVT"][-1],
    events: Callback = Callback.ALL,
    retry: bool = True,
    address: str | None = None,
) -> Opening[EvtService]:
    """Open a session with the event service: enter or await the result.

    `events`: the kinds wanted. `retry=False`: TryAgain is raised at once. `address`: the executive's socket, default
    from the environment.

    Raises: InvalidParam, Version (SA_AIS_ERR_VERSION), Library: no executive.
    Source: saEvtInitialize.
    """
    return EvtService.opening(version=version, events=events, retry=retry, address=address)


def _delivered(subscription: Subscription, item: Item) -> EventDelivered:
    return EventDelivered(subscription.subscription_id, Event(subscription.channel, item), len(item[2]))


def _flags_of(open_flags: object) -> ChannelOpenFlags:
    flags = check_flags(open_flags, ChannelOpenFlags, "open_flags")
    if not flags:
        raise BadFlags("open_flags has no bit")
    return flags
