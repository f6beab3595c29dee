"""A subscription and the iteration over its events."""

from typing import TYPE_CHECKING, Final, Self

import anyio.lowlevel

from corosync_amf.errors import AisError, BadHandle, Library, Transient

from .delivery import Feed
from .event import Event

if TYPE_CHECKING:
    from .channel import Channel

TAKEN_AT_ONCE_MAX: Final = 64
"""After so many events without a wait other tasks get their turn."""


class Subscription:
    """Iterate over it for its events: `async for event in subscription`, as often as you like.

    While nobody does, its events are in the session's stream, as EventDelivered. What waits stays when an iteration
    ends. `await anext(subscription)` works, too: then its events are kept for further such calls.
    Leaving `async with` unsubscribes.
    """

    def __init__(
        self, channel: "Channel", subscription_id: int, number: int, queue_length: int, queue_resume: int
    ) -> None:
        """For `Channel.event_subscribe`."""
        self.subscription_id = subscription_id
        self.channel = channel
        self.number = number
        self.feed = Feed(self, queue_length, queue_resume)
        self.is_open = True
        self.iterations = 0
        self._taker: Iteration | None = None

    def __aiter__(self) -> "Iteration":
        return Iteration(self)

    async def __anext__(self) -> Event:
        if self._taker is None:
            self._taker = Iteration(self)
        return await self._taker.__anext__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.is_open:
            await self.close()

    async def close(self) -> None:
        """Unsubscribe; see `Channel.event_unsubscribe`. Raises: BadHandle: done already, or the channel is closed."""
        if not self.is_open:
            raise BadHandle("the subscription has ended")
        try:
            await self.channel.event_unsubscribe(self.subscription_id)
        except (Library, Transient):
            pass  # the executive ends what a lost client had


class Iteration:
    """Takes the events of a subscription from its first item on until it is dropped, or the subscription ends."""

    def __init__(self, subscription: Subscription) -> None:
        """For `Subscription`."""
        self._subscription = subscription
        self._service = subscription.channel.service
        self._has_begun = False
        self._at_once = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        subscription, service = self._subscription, self._service
        waiting = subscription.feed.waiting
        if subscription.is_open and not self._has_begun:
            self._has_begun = True
            service.begin_iteration(subscription)
        if subscription.is_open:
            service.session.poll()  # more urgent ones may have come, or too many
        self._at_once += 1
        if self._at_once >= TAKEN_AT_ONCE_MAX:
            self._at_once = 0
            await anyio.lowlevel.checkpoint()
        while True:
            if not subscription.is_open:
                raise StopAsyncIteration
            if waiting:
                return Event(subscription.channel, waiting.popleft())
            self._at_once = 0
            try:
                await service.session.wait_events(service.stream_of(subscription))
            except BadHandle:
                if subscription.is_open:
                    raise
            except BaseException:
                del self  # the traceback of a cancelled task must not keep its iteration, and its events, alive
                raise

    async def aclose(self) -> None:
        """End the iteration."""
        self._end()
        await anyio.lowlevel.checkpoint()

    def __del__(self) -> None:
        self._end()

    def _end(self) -> None:
        if self._has_begun:
            self._has_begun = False
            try:
                self._service.end_iteration(self._subscription)
            except (AisError, RuntimeError):
                pass  # the session, or its event loop, has ended
