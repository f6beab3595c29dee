"""One connection of this process to its executive, shared by the service objects on it.

    session = await Session.open()
    session.attach(Service.CKPT, CkptEvent)                 # before the first request that may cause events
    opened = await session.request(Service.CKPT, Open("calls"), Opened, timeout=10.0)
    events = await session.next_events(Service.CKPT)
    await session.close()

There is no background task: among the coroutines that wait for an answer or an event one reads the socket and wakes
the others; when it has what it wants, another one takes over. Requests made in the same round of the event loop travel
in one bundle.
"""

import asyncio
import math
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar, overload

import anyio
import anyio.lowlevel
import msgspec

from corosync_amf.connection import Connection, Gone, default_address
from corosync_amf.engine import Failed, Message, Query, Request, Service, to_error
from corosync_amf.errors import AisError, BadHandle, InvalidParam, Library, TimedOut, TooBig, TryAgain
from corosync_amf.wire import (
    MESSAGE_BYTES_MAX,
    REQUESTS_IN_FLIGHT_MAX,
    Ask,
    BadMessage,
    Events,
    Replies,
    Requests,
    decode,
    encode,
)

BUNDLE_BYTES_MAX = 48 * 1024
BUNDLE_COUNT = 128
EVENTS_WAITING_MAX = 1024
POSTED_WAITING_MAX = 4096
RETRY_SECONDS_FIRST = 0.01
RETRY_SECONDS_LAST = 1.0
RETRY_SECONDS_IN_ALL = 30.0
OPEN_SECONDS = 10.0
LOCAL_ANSWER_SECONDS = 5.0
FRAME_OVERHEAD_BYTES = 64

T = TypeVar("T")
U = TypeVar("U")
_OR_FAILED: dict[Any, Any] = {}


class _Waiter:
    """What a coroutine waits for; `event` is there only while it sleeps."""

    __slots__ = ("done", "event")

    def __init__(self) -> None:
        self.done = False
        self.event: anyio.Event | None = None


class _Call(_Waiter):
    """A request on its way. `arrived` is called with the answer when nobody waits for it (None: it will not come)."""

    __slots__ = ("answer", "arrived")

    def __init__(self, arrived: Callable[[msgspec.Raw | None], None] | None = None) -> None:
        self.done = False
        self.event = None
        self.answer: msgspec.Raw | None = None
        self.arrived = arrived


class Pending(Generic[T]):
    """A request that was handed over; `await` it for its result, as often as you like.

    `invocation` is the number that the outcome's event carries.
    """

    __slots__ = ("_call", "_error", "_finish", "_result", "_session", "invocation")

    def __init__(self, session: "Session", invocation: int, finish: Callable[[msgspec.Raw | None], T]) -> None:
        self.invocation = invocation
        self._session = session
        self._finish = finish
        self._call = _Call(self._arrived)
        self._error: Exception | None = None
        self._result: T | None = None

    @property
    def done(self) -> bool:
        """Whether the outcome is known: `await` returns at once."""
        return self._call.done

    def _arrived(self, answer: msgspec.Raw | None) -> None:
        try:
            self._result = self._finish(answer)
        except Exception as error:  # the outcome belongs to who awaits it, not to who happens to read the socket
            self._error = error

    def __await__(self) -> Generator[Any, None, T]:
        if self._call.done:
            yield from anyio.lowlevel.checkpoint().__await__()
        else:
            yield from self._session._until(self._call).__await__()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


class _Stream:
    """The events of one service that wait for their reader."""

    __slots__ = ("divert", "events", "kind", "selection", "waiters")

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.divert: Callable[[Any], int] | None = None
        self.events: deque[object] = deque()
        self.waiters: list[_Waiter] = []
        self.selection: tuple[int, select.epoll] | None = None

    def close(self) -> None:
        if self.selection is not None:
            os.close(self.selection[0])
            self.selection[1].close()
            self.selection = None


class Session:
    """One connection to the executive. Get it with `Session.open`, leave it with `close`.

    It belongs to the event loop and the thread that opened it. When the executive is gone every call raises Library.
    """

    def __init__(self, connection: Connection) -> None:
        """For `open`."""
        self.node_id = connection.node_id
        self.node_name = connection.node_name
        self.client = connection.client
        self._connection = connection
        self._thread = threading.get_ident()
        self._soon = _soon()
        self._end: tuple[type[AisError], str] | None = None
        self._closed = False
        self._reading = False
        self._sleepers: dict[_Waiter, None] = {}
        self._heir: _Waiter | None = None
        self._calls: dict[int, _Call] = {}
        self._next_request = 1
        self._next_ask = -1  # a row of its own, so that bundles stay numbered without gaps
        self._credit = REQUESTS_IN_FLIGHT_MAX
        self._credit_waiters: deque[_Waiter] = deque()
        self._posted: deque[tuple[int, msgspec.Raw]] = deque()
        self._bundle: list[msgspec.Raw] = []
        self._bundle_bytes = 0
        self._bundle_service = 0
        self._ready: list[bytes] = []
        self._flush_is_due = False
        self._streams: dict[int, _Stream] = {}
        self._full: set[int] = set()

    @classmethod
    async def open(
        cls, address: str | None = None, *, component: str | None = None, timeout: float | None = OPEN_SECONDS
    ) -> "Session":
        """Connect to the executive at `address` (default: `default_address`); wait at most `timeout` seconds.

        Raises: Library: no executive there, or it refuses this process. TimedOut: it does not answer in time.
        """
        check_timeout(timeout)
        return cls(await Connection.open(address or default_address(), component=component, timeout=timeout))

    async def close(self) -> None:
        """End the connection; who still waits on it gets BadHandle. A second call does nothing."""
        self._check_thread()
        if self._closed:
            return
        self._flush()
        self._closed = True
        self._fail(BadHandle, "the session is closed")
        self._connection.close()
        for stream in self._streams.values():
            stream.close()
        await anyio.lowlevel.checkpoint()

    # ---- requests

    async def request(
        self,
        service: Service,
        message: Request,
        reply: type[T],
        *,
        timeout: float | None = None,
        retry: bool = True,
        late: Callable[[T], object] | None = None,
    ) -> T:
        """Put `message` into the total order and return the reply, a `reply` struct (or one of that union).

        `timeout` in seconds, None: for ever. TryAgain is tried again until the timeout, 30 s without one; not at all
        with `retry=False`. `late` gets the reply of a request that was given up (timeout, cancellation) when it
        comes after all.

        Raises: TimedOut; TryAgain; InvalidParam: bad timeout; TooBig: message over 16 MiB; Library: the executive is
        gone; and what the service answers.
        """
        self._check()
        check_timeout(timeout)
        if timeout == 0:
            raise TimedOut("no time for what must pass the total order")
        encoded = _encoded(message)
        answer: T = await self._persist(lambda: self._request(service, encoded, reply, late), timeout, retry)
        return answer

    async def ask(
        self, service: Service, query: Query, reply: type[T], *, timeout: float | None = None, retry: bool = True
    ) -> T:
        """Return the local replica's answer to `query`. `timeout` and `retry` as in `request`; 0 is time enough.

        Raises: as `request`.
        """
        self._check()
        check_timeout(timeout)
        encoded = _encoded(query)
        timeout = LOCAL_ANSWER_SECONDS if timeout == 0 else timeout
        answer: T = await self._persist(lambda: self._ask(service, encoded, reply), timeout, retry)
        return answer

    @overload
    def submit(
        self, service: Service, message: Request, reply: type[T], *, invocation: int = 0, outcome: None = None
    ) -> Pending[T]: ...

    @overload
    def submit(
        self,
        service: Service,
        message: Request,
        reply: type[T],
        *,
        invocation: int = 0,
        outcome: Callable[[T | AisError], U],
    ) -> Pending[U]: ...

    def submit(
        self,
        service: Service,
        message: Request,
        reply: type[T],
        *,
        invocation: int = 0,
        outcome: Callable[[T | AisError], Any] | None = None,
    ) -> Pending[Any]:
        """Hand `message` over at once and return what can be awaited for its reply.

        `outcome` is called when the reply (or the error) is known; what it returns becomes the result. It must not
        wait, and may raise an AisError to make that the result.

        Raises: TryAgain: 256 requests are under way; TooBig; Library: the executive is gone.
        """
        self._check()
        encoded = _encoded(message)
        if not self._credit:
            raise TryAgain(f"{REQUESTS_IN_FLIGHT_MAX} requests of this session are under way")

        def finish(answer: msgspec.Raw | None) -> Any:
            if outcome is None:
                return self._read(answer, reply)
            try:
                value = self._read(answer, reply)
            except AisError as error:
                return outcome(error)
            return outcome(value)

        pending: Pending[Any] = Pending(self, invocation, finish)
        self._credit -= 1
        self._put(service, encoded, pending._call)
        return pending

    def post(self, service: Service, message: Request) -> None:
        """Hand `message` over; nobody waits for its reply.

        Raises: TryAgain: too much is waiting to be handed over; TooBig; Library: the executive is gone.
        """
        self._check()
        encoded = _encoded(message)
        if self._credit:
            self._credit -= 1
            self._put(service, encoded, _Call())
        elif len(self._posted) < POSTED_WAITING_MAX:
            self._posted.append((service, encoded))
        else:
            raise TryAgain(f"{POSTED_WAITING_MAX} requests of this session wait for their turn")

    async def _persist(self, attempt: Callable[[], Any], timeout: float | None, retry: bool) -> Any:
        """Attempt again what raises TryAgain, as long as that is wanted."""
        start, pause, reason = anyio.current_time(), RETRY_SECONDS_FIRST, ""
        end = start + (RETRY_SECONDS_IN_ALL if timeout is None else math.inf)
        with anyio.CancelScope(deadline=math.inf if timeout is None else start + timeout):
            while True:
                try:
                    return await attempt()
                except TryAgain as error:
                    reason = error.reason
                    if not retry or anyio.current_time() + pause > end:
                        raise
                await anyio.sleep(pause)
                pause = min(2 * pause, RETRY_SECONDS_LAST)
        raise TimedOut(f"no answer in {timeout} s" + (f": {reason}" if reason else ""))

    async def _request(
        self, service: Service, encoded: msgspec.Raw, reply: type[T], late: Callable[[T], object] | None
    ) -> T:
        self._check()
        if self._credit:
            self._credit -= 1
        else:
            await self._wait_for_credit()
        call = _Call()
        self._put(service, encoded, call)
        try:
            await self._until(call)
        except BaseException:
            if late is not None:
                self._give_up(call, reply, late)
            raise
        return self._read(call.answer, reply)

    async def _ask(self, service: Service, encoded: msgspec.Raw, reply: type[T]) -> T:
        self._check()
        call = _Call()
        number, self._next_ask = self._next_ask, self._next_ask - 1
        self._calls[number] = call
        self._ready.append(encode(Ask(service, number, bytes(encoded))))
        self._flush_soon()
        await self._until(call)
        return self._read(call.answer, reply)

    def _give_up(self, call: _Call, reply: type[T], late: Callable[[T], object]) -> None:
        def arrived(answer: msgspec.Raw | None) -> None:
            try:
                late(self._read(answer, reply))
            except AisError:
                pass  # it did not happen, or cannot be undone any more

        if call.done:
            arrived(call.answer)
        else:
            call.arrived = arrived

    def _read(self, answer: msgspec.Raw | None, reply: type[T]) -> T:
        if answer is None:
            raise self._ended()
        try:
            value = decode(answer, _or_failed(reply))
        except BadMessage as error:
            raise Library(f"protocol error: the reply cannot be read: {error}") from None
        if type(value) is Failed:
            raise to_error(value)
        return value  # type: ignore[no-any-return]

    # ---- what goes out

    async def _wait_for_credit(self) -> None:
        waiter = _Waiter()
        self._credit_waiters.append(waiter)
        try:
            await self._until(waiter)
            self._check()
        except BaseException:
            if waiter.done:
                self._return_credit()
            else:
                self._credit_waiters.remove(waiter)
            raise

    def _return_credit(self) -> None:
        if self._posted:
            service, encoded = self._posted.popleft()
            self._put(service, encoded, _Call())
        elif self._credit_waiters:
            self._wake(self._credit_waiters.popleft())
        else:
            self._credit += 1

    def _put(self, service: int, encoded: msgspec.Raw, call: _Call) -> None:
        size = len(encoded)
        if self._bundle and (
            service != self._bundle_service
            or len(self._bundle) >= BUNDLE_COUNT
            or self._bundle_bytes + size > BUNDLE_BYTES_MAX
        ):
            self._close_bundle()
        self._bundle.append(encoded)
        self._bundle_bytes += size
        self._bundle_service = service
        self._calls[self._next_request] = call
        self._next_request += 1
        self._flush_soon()

    def _close_bundle(self) -> None:
        count = len(self._bundle)
        frame = Requests(self._bundle_service, self._next_request - count, count, encode(self._bundle))
        self._ready.append(encode(frame))
        self._bundle = []
        self._bundle_bytes = 0

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._end is not None:
            return
        if self._bundle:
            self._close_bundle()
        ready, self._ready = self._ready, []
        try:
            for frame in ready:
                self._connection.send(frame)
        except Gone as gone:
            self._fail(Library, str(gone))

    # ---- what comes in

    async def _until(self, waiter: _Waiter) -> None:
        """Return when `waiter` is done; read the socket meanwhile if nobody else does.

        Raises: Library, BadHandle: the session has ended, and the waiter will never be done.
        """
        try:
            while not waiter.done:
                if self._end is not None:
                    raise self._ended()
                if self._reading or self._full:
                    await self._sleep(waiter)
                else:
                    await self._lead()
        finally:
            self._hand_over()

    async def _sleep(self, waiter: _Waiter) -> None:
        waiter.event = event = anyio.Event()
        self._sleepers[waiter] = None
        try:
            await event.wait()
        finally:
            waiter.event = None
            self._sleepers.pop(waiter, None)
            if self._heir is waiter:
                self._heir = None

    async def _lead(self) -> None:
        self._reading = True
        try:
            await self._connection.wait()
        except Gone as gone:
            self._fail(Library, str(gone))
        finally:
            self._reading = False
        self._receive()

    def _hand_over(self) -> None:
        """Nobody reads: wake one of those who sleep, to read from now on."""
        if not self._reading and not self._full and self._heir is None and self._sleepers:
            self._heir = heir = next(iter(self._sleepers))
            assert heir.event is not None
            heir.event.set()

    def _wake(self, waiter: _Waiter) -> None:
        waiter.done = True
        if waiter.event is not None:
            waiter.event.set()
            self._sleepers.pop(waiter, None)

    def _receive(self) -> None:
        """Take all that is there, unless a stream of events is full."""
        try:
            while not self._full and self._end is None:
                frame = self._connection.receive()
                if frame is None:
                    break
                if type(frame) is Replies:
                    for number, answer in frame.items:
                        self._answered(number, answer)
                elif type(frame) is Events:
                    for service, event in frame.items:
                        self.tell(service, event)
                else:
                    raise Gone("protocol error: a second welcome")
        except Gone as gone:
            self._fail(Library, str(gone))

    def _answered(self, number: int, answer: msgspec.Raw) -> None:
        call = self._calls.pop(number, None)
        if call is None:
            raise Gone(f"protocol error: a reply to request {number}, which was not made")
        call.answer = answer
        self._wake(call)
        if number > 0:
            self._return_credit()
        if call.arrived is not None:
            call.arrived(answer)

    def _fail(self, kind: type[AisError], reason: str) -> None:
        """The session has ended: whoever waits is told."""
        if self._end is not None:
            return
        self._end = (kind, reason)
        self._connection.interrupt()
        for waiter in tuple(self._sleepers):
            if waiter.event is not None:
                waiter.event.set()
        calls, self._calls = self._calls, {}
        self._posted.clear()
        for call in calls.values():
            if call.arrived is not None:
                call.done = True
                call.arrived(None)

    def _ended(self) -> AisError:
        kind, reason = self._end or (Library, "no answer")
        return kind(reason)

    # ---- events

    def attach(self, service: int, kind: Any) -> None:
        """From now on keep the events of `service`, which are of the union `kind`.

        Raises: BadHandle: the session is closed; InvalidParam: the service is attached already.
        """
        self._check()
        if service in self._streams:
            raise InvalidParam(f"service {service!r} is on this session already")
        self._streams[service] = _Stream(kind)

    def divert(self, service: int, choose: Callable[[Any], int]) -> None:
        """Put each event of `service` into the stream whose number `choose(event)` gives: a part of a service's events
        can have a reader of its own. An event for a stream that is not attached is dropped.
        """
        self._stream(service).divert = choose

    def detach(self, service: int) -> None:
        """Keep no events of `service` any more; who waits for one gets BadHandle."""
        stream = self._streams.pop(service, None)
        if stream is None:
            return
        self._full.discard(service)
        for waiter in stream.waiters:
            self._wake(waiter)
        stream.close()
        self._hand_over()

    def is_attached(self, service: int) -> bool:
        """Whether a service object uses `service` on this session."""
        return service in self._streams

    def tell(self, service: int, event: object) -> None:
        """Put an event at the end of the service's stream, as if the executive had sent it."""
        stream = self._streams.get(service)
        if stream is not None and stream.divert is not None:
            event = self._event(event, stream.kind)
            service = stream.divert(event)
            stream = self._streams.get(service)
        if stream is None:
            return
        stream.events.append(event)
        if len(stream.events) == 1 and stream.selection is not None:
            os.eventfd_write(stream.selection[0], 1)
        for waiter in stream.waiters:
            self._wake(waiter)
        if len(stream.events) >= EVENTS_WAITING_MAX:
            self._full.add(service)

    async def next_events(self, service: int) -> list[Message]:
        """Wait for at least one event of `service`; return all that are there. Call it again for more.

        While 1024 events of one service wait, nothing is read from the executive.

        Raises: BadHandle: the service is not attached any more; Library: the executive is gone.
        """
        await self.wait_events(service)
        return self.take_events(service)

    async def wait_events(self, service: int) -> None:
        """Return when an event of `service` waits; `take_events` returns it.

        Raises: as `next_events`.
        """
        self._check_thread()
        stream = self._stream(service)
        while not stream.events:
            waiter = _Waiter()
            stream.waiters.append(waiter)
            try:
                await self._until(waiter)
            finally:
                stream.waiters.remove(waiter)
            stream = self._stream(service)

    def take_events(self, service: int, limit: int | None = None) -> list[Message]:
        """The events of `service` that wait, at most `limit`, the oldest first; none: an empty list.

        Raises: as `next_events`.
        """
        stream = self._stream(service)
        if not stream.events:
            if self._end is not None:
                raise self._ended()
            return []
        count = len(stream.events) if limit is None else min(limit, len(stream.events))
        taken = [stream.events.popleft() for _ in range(count)]
        if not stream.events and stream.selection is not None:
            os.eventfd_read(stream.selection[0])
        if service in self._full and len(stream.events) < EVENTS_WAITING_MAX:
            self._full.discard(service)
            self._hand_over()
        return [self._event(event, stream.kind) for event in taken]

    def poll(self) -> None:
        """Take what the executive has sent, without waiting."""
        self._check_thread()
        if self._end is None:
            self._receive()
            if self._reading:
                self._connection.interrupt()  # the reader's answer may have been among it

    def waiting(self, service: int) -> int:
        """How many events of `service` wait to be read."""
        stream = self._streams.get(service)
        return len(stream.events) if stream is not None else 0

    def fileno_for(self, service: int) -> int:
        """A descriptor that is readable while an event of `service` waits. The session owns it.

        It is readable, too, while the executive's answers have not been read: `poll`, then `take_events`.
        """
        self._check()
        stream = self._stream(service)
        if stream.selection is None:
            waiting = os.eventfd(1 if stream.events else 0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            either = select.epoll()
            either.register(waiting, select.EPOLLIN)
            either.register(self._connection.fileno(), select.EPOLLIN)
            stream.selection = (waiting, either)
        return stream.selection[1].fileno()

    def _stream(self, service: int) -> _Stream:
        stream = self._streams.get(service)
        if stream is None or self._closed:
            raise BadHandle("the session is closed" if self._closed else "the service is finalized")
        return stream

    def _event(self, event: object, kind: Any) -> Any:
        if not isinstance(event, msgspec.Raw):
            return event
        try:
            return decode(event, kind)
        except BadMessage as error:
            self._fail(Library, f"protocol error: an event cannot be read: {error}")
            raise self._ended() from None

    # ---- checks

    def _check(self) -> None:
        self._check_thread()
        if self._end is not None:
            raise self._ended()

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise InvalidParam("the session belongs to another thread")


def check_timeout(timeout: float | None) -> None:
    """Raises: InvalidParam: `timeout` is neither None nor a number of seconds, 0 or more."""
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        raise InvalidParam(f"timeout must be None or a number of seconds, 0 or more, not {timeout!r}")


def _encoded(message: Message) -> msgspec.Raw:
    try:
        encoded = encode(message)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidParam(f"the request cannot be encoded: {error}") from None
    if len(encoded) > MESSAGE_BYTES_MAX - FRAME_OVERHEAD_BYTES:
        raise TooBig(f"a request of {len(encoded)} bytes; {MESSAGE_BYTES_MAX - FRAME_OVERHEAD_BYTES} is the limit")
    return msgspec.Raw(encoded)


def _or_failed(reply: Any) -> Any:
    try:
        return _OR_FAILED[reply]
    except KeyError:
        return _OR_FAILED.setdefault(reply, reply | Failed)


def _soon() -> Callable[[Callable[[], None]], object]:
    """What calls a function in the next round of the running event loop."""
    try:
        return asyncio.get_running_loop().call_soon
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon
