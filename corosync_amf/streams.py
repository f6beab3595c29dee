"""The events of each service on a session, from the moment they are read to the moment the application takes them."""

import os
import select
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from corosync_amf.errors import BadHandle, InvalidParam, Library
from corosync_amf.turns import Source, Turns, Waiter
from corosync_amf.wire import BadMessage, decode

EVENTS_WAITING_MAX = 1024


class Queue(Protocol):
    """A place for events whose service has an overflow rule of its own: it takes every event, and bounds itself."""

    def append(self, event: Any, /) -> None: ...
    def popleft(self) -> Any: ...
    def __len__(self) -> int: ...


class Stream:
    """One service's events: as they came (`msgspec.Raw`), or as the library made them; decoded in a `Queue`."""

    __slots__ = ("divert", "events", "has_queue", "is_full", "is_shown", "is_wanted", "kind", "selection", "waiters")

    def __init__(self, kind: Any, queue: Queue | None, is_full: Callable[[], bool] | None) -> None:
        self.kind = kind
        self.divert: Callable[[Any], int] | None = None
        self.has_queue = queue is not None
        self.events: Queue = deque() if queue is None else queue
        self.is_full = is_full or (self._has_many if queue is None else _never)
        self.waiters: list[Waiter] = []
        self.selection: tuple[int, select.epoll] | None = None
        self.is_shown = False
        self.is_wanted = True

    def show(self) -> None:
        """Make the selection object readable exactly while an event waits."""
        waits = bool(self.events)
        if self.selection is None or waits == self.is_shown:
            return
        if waits:
            os.eventfd_write(self.selection[0], 1)
        else:
            os.eventfd_read(self.selection[0])
        self.is_shown = waits

    def _has_many(self) -> bool:
        return len(self.events) >= EVENTS_WAITING_MAX

    def close(self) -> None:
        if self.selection is not None:
            os.close(self.selection[0])
            self.selection[1].close()
            self.selection = None


def _never() -> bool:
    return False


class Streams:
    """While one stream is full nothing is read from the executive."""

    def __init__(self, turns: Turns, source: Source) -> None:
        self._turns = turns
        self._source = source
        self._streams: dict[int, Stream] = {}

    def __contains__(self, service: int) -> bool:
        return service in self._streams

    def attach(
        self, service: int, kind: Any, queue: Queue | None = None, is_full: Callable[[], bool] | None = None
    ) -> None:
        """Begin to keep events, which are of the union `kind`, in `queue` if that is given. Without `is_full`
        EVENTS_WAITING_MAX events are the limit, and a queue bounds itself.

        Raises: InvalidParam: it is done already.
        """
        if service in self._streams:
            raise InvalidParam(f"service {service} is on this session already")
        self._streams[service] = Stream(kind, queue, is_full)

    def divert(self, service: int, choose: Callable[[Any], int]) -> None:
        """Put each event into the stream whose number `choose(event)` gives; without such a stream it is dropped.

        Raises: BadHandle: no such stream.
        """
        self._get(service).divert = choose

    def discard(self, service: int) -> None:
        """Drop the events that wait in the stream, and those to come: it is never full again."""
        stream = self._streams.get(service)
        if stream is not None:
            stream.is_wanted = False
            while stream.events:
                stream.events.popleft()
            stream.show()
            self._regulate()

    def detach(self, service: int) -> None:
        """Forget the stream; who waits for an event of it gets BadHandle."""
        stream = self._streams.pop(service, None)
        if stream is not None:
            for waiter in stream.waiters:
                self._turns.wake(waiter)
            stream.close()
            self._regulate()

    def close(self) -> None:
        """Forget all streams."""
        for service in tuple(self._streams):
            self.detach(service)

    def tell(self, service: int, event: object) -> None:
        """Put an event at the end of a stream; without a stream it is dropped."""
        stream = self._streams.get(service)
        if stream is not None and stream.divert is not None:
            event = self._decoded(event, stream.kind)
            stream = self._streams.get(stream.divert(event))
        if stream is None or not stream.is_wanted:
            return
        stream.events.append(self._decoded(event, stream.kind) if stream.has_queue else event)
        if stream.selection is not None:
            stream.show()
        for waiter in stream.waiters:
            self._turns.wake(waiter)
        if stream.is_full():
            self._turns.is_stopped = True

    async def wait(self, service: int) -> None:
        """Return when an event waits.

        Raises: BadHandle: no such stream (any more); Library: there will be none.
        """
        stream = self._get(service)
        while not stream.events:
            waiter = Waiter()
            stream.waiters.append(waiter)
            try:
                await self._turns.until(waiter)
            finally:
                stream.waiters.remove(waiter)
            stream = self._get(service)

    def take(self, service: int, limit: int | None) -> list[Any]:
        """Take the oldest events, at most `limit`, decoded.

        Raises: BadHandle: no such stream (any more); Library: there are none, and will be none.
        """
        stream = self._get(service)
        if not stream.events:
            self._turns.check()
            return []
        count = len(stream.events) if limit is None else min(limit, len(stream.events))
        taken = [stream.events.popleft() for _ in range(count)]
        stream.show()
        if self._turns.is_stopped:
            self._regulate()
        return [self._decoded(event, stream.kind) for event in taken]

    def changed(self, service: int) -> None:
        """What waits in a stream that bounds itself has changed otherwise than by `tell` and `take`."""
        stream = self._streams.get(service)
        if stream is not None:
            stream.show()
            for waiter in stream.waiters if stream.events else ():
                self._turns.wake(waiter)

    def waiting(self, service: int) -> int:
        """How many events wait."""
        stream = self._streams.get(service)
        return len(stream.events) if stream is not None else 0

    def fileno(self, service: int) -> int:
        """A descriptor that is readable while an event waits or the socket has something to read."""
        stream = self._get(service)
        if stream.selection is None:
            waiting = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            either = select.epoll()
            either.register(waiting, select.EPOLLIN)
            either.register(self._source.fileno(), select.EPOLLIN)
            stream.selection = (waiting, either)
            stream.show()
        return stream.selection[1].fileno()

    def _regulate(self) -> None:
        self._turns.is_stopped = any(stream.is_full() for stream in self._streams.values())
        self._turns.hand_over()

    def _get(self, service: int) -> Stream:
        stream = self._streams.get(service)
        if stream is None:
            raise BadHandle("the service is finalized or the session closed")
        return stream

    def _decoded(self, event: object, kind: Any) -> Any:
        if not isinstance(event, msgspec.Raw):
            return event
        try:
            return decode(event, kind)
        except BadMessage as error:
            self._turns.end(Library, f"protocol error: an event cannot be read: {error}")
            raise self._turns.error() from None
