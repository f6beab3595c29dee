"""The events of a session, of whatever feeds it: the executive's socket, or the timers of this process.

`Session` adds the requests to it.
"""

from collections.abc import Callable
from typing import Any

import anyio.lowlevel

from corosync_amf.errors import AisError, BadHandle
from corosync_amf.streams import Queue, Streams
from corosync_amf.turns import Source, Turns, Waiter


class EventSession:
    """Streams of events, fed from one source. It belongs to the event loop and the thread that made it."""

    def __init__(self, source: Source, receive: Callable[[], bool]) -> None:
        """`receive` takes what the source has, without waiting, puts it into the streams with `tell`, and says whether
        there was anything.
        """
        self._source = source
        self._turns = Turns(source, receive)
        self._streams = Streams(self._turns, source)
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether `close` has not been called."""
        return not self._closed

    async def close(self) -> None:
        """End the session; who still waits on it gets BadHandle. A second call does nothing."""
        self.check_thread()
        if self._closed:
            return
        self._closed = True
        self._fail(BadHandle, "the session is closed")
        self._source.close()
        self._streams.close()
        await anyio.lowlevel.checkpoint()

    def _fail(self, kind: type[AisError], reason: str) -> None:
        """The session has ended: whoever waits is told."""
        self._turns.end(kind, reason)

    # ---- events

    def attach(
        self, service: int, kind: Any, queue: Queue | None = None, is_full: Callable[[], bool] | None = None
    ) -> None:
        """From now on keep the events of `service`, which are of the union `kind`; in `queue` if that is given. While
        `is_full()` nothing is read from the source; without it 1024 events are the limit, and a queue has none.

        Raises: BadHandle: the session is closed; InvalidParam: the service is attached already.
        """
        self._check()
        self._streams.attach(service, kind, queue, is_full)

    def divert(self, service: int, choose: Callable[[Any], int]) -> None:
        """Put each event of `service` into the stream whose number `choose(event)` gives: a part of a service's events
        can have a reader of its own. An event for a stream that is not attached is dropped.
        """
        self._streams.divert(service, choose)

    def discard(self, service: int) -> None:
        """The events of `service`, those that wait too, are not wanted any more: they keep nobody from an answer."""
        self._streams.discard(service)

    def detach(self, service: int) -> None:
        """Keep no events of `service` any more; who waits for one gets BadHandle."""
        self._streams.detach(service)

    def is_attached(self, service: int) -> bool:
        """Whether a service object uses `service` on this session."""
        return service in self._streams

    def tell(self, service: int, event: object) -> None:
        """Put an event at the end of the service's stream, as if the executive had sent it."""
        self._streams.tell(service, event)

    async def next_events(self, service: int) -> list[Any]:
        """Wait for at least one event of `service`; return all that are there. Call it again for more.

        While 1024 events of one service wait, nothing is read from the executive.

        Raises: BadHandle: the service is not attached any more; Library: the executive is gone.
        """
        await self.wait_events(service)
        return self._streams.take(service, None)

    async def wait_events(self, service: int) -> None:
        """Return when an event of `service` waits; `take_events` returns it.

        Raises: as `next_events`.
        """
        self.check_thread()
        await self._streams.wait(service)

    def take_events(self, service: int, limit: int | None = None) -> list[Any]:
        """The events of `service` that wait, at most `limit`, the oldest first; none: an empty list.

        Raises: as `next_events`.
        """
        self.check_thread()
        return self._streams.take(service, limit)

    def changed(self, service: int) -> None:
        """The queue given to `attach` holds more or less than before, for another reason than events and takes."""
        self._streams.changed(service)

    @property
    def has_ended(self) -> bool:
        """Whether the session is closed or its source known to be gone."""
        return self._turns.has_ended

    async def until(self, waiter: Waiter) -> None:
        """Return when `waiter` is done (see `wake`), and take meanwhile what the source gives.

        Raises: BadHandle: the session is closed; Library: the executive is gone.
        """
        await self._turns.until(waiter)

    def wake(self, waiter: Waiter) -> None:
        """The waiter has what it waited for."""
        self._turns.wake(waiter)

    def poll(self) -> None:
        """Take what the executive has sent, without waiting."""
        self.check_thread()
        if not self._turns.has_ended:
            self._turns.receive_now()

    def waiting(self, service: int) -> int:
        """How many events of `service` wait to be read."""
        return self._streams.waiting(service)

    def fileno_for(self, service: int) -> int:
        """A descriptor that is readable while an event of `service` waits. The session owns it.

        It is readable, too, while the executive's answers have not been read: `poll`, then `take_events`.
        """
        self._check()
        return self._streams.fileno(service)

    # ---- checks

    def check(self) -> None:
        """Raises: InvalidParam: called from another thread; BadHandle: closed; Library: the executive is gone."""
        self._check()

    def _check(self) -> None:
        self.check_thread()
        self._turns.check()

    def check_thread(self) -> None:
        """Raises: InvalidParam: this is not the thread that opened the session."""
        self._turns.check_thread()
