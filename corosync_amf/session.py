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
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, overload

import anyio
import msgspec

from corosync_amf.bundles import Bundles
from corosync_amf.checks import check_timeout
from corosync_amf.connection import Connection, Gone, default_address
from corosync_amf.engine import Failed, Message, Query, Request, Service, to_error
from corosync_amf.errors import AisError, InvalidParam, Library, TimedOut, TooBig, TryAgain
from corosync_amf.eventing import EventSession
from corosync_amf.pending import Call, Pending
from corosync_amf.turns import Waiter
from corosync_amf.wire import (
    MESSAGE_BYTES_MAX,
    REQUESTS_IN_FLIGHT_MAX,
    BadMessage,
    Events,
    Replies,
    decode,
    encode,
)

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


class Session(EventSession):
    """One connection to the executive. Get it with `Session.open`, leave it with `close`.

    It belongs to the event loop and the thread that opened it. When the executive is gone every call raises Library.
    """

    def __init__(self, connection: Connection) -> None:
        """For `open`."""
        self.node_id = connection.node_id
        self.node_name = connection.node_name
        self.client = connection.client
        super().__init__(connection, self._receive)
        self._connection = connection
        self._soon = _soon()
        self._calls: dict[int, Call] = {}
        self._bundles = Bundles()
        self._credit = REQUESTS_IN_FLIGHT_MAX
        self._credit_waiters: deque[Waiter] = deque()
        self._posted: deque[tuple[int, msgspec.Raw, Call]] = deque()
        self._flush_is_due = False
        self._packers: list[Callable[[], None]] = []
        self.when_lost: Callable[[str], object] | None = None
        """Called with the reason when the executive is gone, before anybody who waits is told."""

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
        self.check_thread()
        if not self._closed:
            self._flush()
        await super().close()

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
        undo: Request | None = None,
    ) -> T:
        """Put `message` into the total order and return the reply, a `reply` struct (or one of that union).

        `timeout` in seconds, None: for ever. TryAgain is tried again until the timeout, 30 s without one; not at all
        with `retry=False`. A request that was given up (timeout, cancellation) may still be applied: `late` gets its
        reply when that is read after all; `undo` is handed over at once, and comes behind it in the order.

        Raises: TimedOut; TryAgain; InvalidParam: bad timeout; TooBig: message over 16 MiB; Library: the executive is
        gone; and what the service answers.
        """
        self._check()
        check_timeout(timeout)
        if timeout == 0:
            raise TimedOut("no time for what must pass the total order")
        encoded = _encoded(message)
        answer: T = await self._persist(lambda: self._request(service, encoded, reply, late, undo), timeout, retry)
        return answer

    async def ask(
        self, service: Service, query: Query, reply: type[T], *, timeout: float | None = None, retry: bool = True
    ) -> T:
        """Return the local replica's answer to `query`. `timeout` and `retry` as in `request`; but an answer is never
        too late: the time is that for trying again.

        Raises: as `request`.
        """
        self._check()
        check_timeout(timeout)
        encoded = _encoded(query)
        answer: T
        reason = ""
        if timeout is not None and timeout < LOCAL_ANSWER_SECONDS:
            try:
                answer = await self._persist(lambda: self._ask(service, encoded, reply), LOCAL_ANSWER_SECONDS, False)
                return answer
            except TryAgain as error:
                if not retry:
                    raise
                reason = error.reason
        answer = await self._persist(lambda: self._ask(service, encoded, reply), timeout, retry, reason)
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
                return self.read(answer, reply)
            try:
                value = self.read(answer, reply)
            except AisError as error:
                return outcome(error)
            return outcome(value)

        pending: Pending[Any] = Pending(self._turns, invocation, finish)
        self._credit -= 1
        self._put(service, encoded, Call(pending.arrived))
        return pending

    def expect(self, finish: Callable[[], T], *, invocation: int = 0) -> Pending[T]:
        """What can be awaited for something that an event will bring. Call its `arrived(None)` when it has come: then
        `finish()` gives the result, or raises it.
        """
        return Pending(self._turns, invocation, lambda _: finish())

    def post(
        self,
        service: Service,
        message: Request,
        arrived: Callable[[msgspec.Raw | None], None] | None = None,
        *,
        is_owed: bool = False,
    ) -> None:
        """Hand `message` over; nobody waits for its reply. `arrived` is called when it comes (None: it will not); who
        gives it bounds by itself what is under way. `is_owed`: it gives something back, and is never refused because
        too much is waiting.

        Raises: TryAgain: too much is waiting to be handed over; TooBig; Library: the executive is gone.
        """
        self._check()
        encoded, call = _encoded(message), Call(arrived)
        if self._credit:
            self._credit -= 1
            self._put(service, encoded, call)
        elif is_owed or arrived is not None or len(self._posted) < POSTED_WAITING_MAX:
            self._posted.append((service, encoded, call))
        else:
            raise TryAgain(f"{POSTED_WAITING_MAX} requests of this session wait for their turn")

    def soon(self, function: Callable[[], None]) -> None:
        """Call `function` in the next round of the event loop. What it hands over travels with what others do."""
        self._soon(function)

    async def _persist(self, attempt: Callable[[], Any], timeout: float | None, retry: bool, reason: str = "") -> Any:
        """Attempt again what raises TryAgain, as long as that is wanted; `reason`: why it did so before."""
        if timeout is None:
            return await self._insist(attempt, [], retry)
        reasons = [reason] if reason else []
        with anyio.CancelScope(deadline=anyio.current_time() + timeout):
            return await self._insist(attempt, reasons, retry, math.inf)
        raise TimedOut(f"no answer in {timeout} s" + "".join(f": {reason}" for reason in reasons[-1:]))

    async def _insist(
        self, attempt: Callable[[], Any], reasons: list[str], retry: bool, limit: float = RETRY_SECONDS_IN_ALL
    ) -> Any:
        waited, pause = 0.0, RETRY_SECONDS_FIRST
        while True:
            try:
                return await attempt()
            except TryAgain as error:
                reasons[:] = [error.reason]
                if not retry or waited >= limit:
                    raise
            await anyio.sleep(pause)
            waited += pause
            pause = min(2 * pause, RETRY_SECONDS_LAST)

    async def _request(
        self,
        service: Service,
        encoded: msgspec.Raw,
        reply: type[T],
        late: Callable[[T], object] | None,
        undo: Request | None,
    ) -> T:
        self._check()
        if self._credit:
            self._credit -= 1
        else:
            await self._wait_for_credit()
        call = Call()
        self._put(service, encoded, call)
        try:
            await self._turns.until(call)
        except BaseException:
            if late is not None:
                self._give_up(call, reply, late)
            if undo is not None and not self._turns.has_ended:
                self.post(service, undo, is_owed=True)
            raise
        return self.read(call.answer, reply)

    async def _ask(self, service: Service, encoded: msgspec.Raw, reply: type[T]) -> T:
        self._check()
        call = Call()
        self._calls[self._bundles.ask(service, encoded)] = call
        self._flush_soon()
        await self._turns.until(call)
        return self.read(call.answer, reply)

    def _give_up(self, call: Call, reply: type[T], late: Callable[[T], object]) -> None:
        def arrived(answer: msgspec.Raw | None) -> None:
            try:
                late(self.read(answer, reply))
            except AisError:
                pass  # it did not happen, or cannot be undone any more

        if call.done:
            arrived(call.answer)
        else:
            call.arrived = arrived

    def read(self, answer: msgspec.Raw | None, reply: type[T]) -> T:
        """What the executive has answered; None: it will not any more. Raises: what it says; Library."""
        if answer is None:
            raise self._turns.error()
        try:
            value = decode(answer, _or_failed(reply))
        except BadMessage as error:
            raise Library(f"protocol error: the reply cannot be read: {error}") from None
        if type(value) is Failed:
            raise to_error(value)
        return value  # type: ignore[no-any-return]

    # ---- what goes out

    async def _wait_for_credit(self) -> None:
        waiter = Waiter()
        self._credit_waiters.append(waiter)
        try:
            await self._turns.until(waiter)
            self._check()
        except BaseException:
            if waiter.done:
                self._return_credit()
            else:
                self._credit_waiters.remove(waiter)
            raise

    def _return_credit(self) -> None:
        if self._posted:
            self._put(*self._posted.popleft())
        elif self._credit_waiters:
            self._turns.wake(self._credit_waiters.popleft())
        else:
            self._credit += 1

    def _put(self, service: int, encoded: msgspec.Raw, call: Call) -> None:
        self._calls[self._bundles.put(service, encoded)] = call
        self._flush_soon()

    def flush_after(self, packer: Callable[[], None]) -> None:
        """In the next round of the event loop call `packer`, which posts what it has gathered until then; also when the
        session has ended by then.
        """
        self._packers.append(packer)
        self._flush_soon()

    def flush(self) -> None:
        """Send what was handed over, as far as the socket takes it, instead of in the next round of the event loop."""
        if self._turns.has_ended:
            return
        for frame in self._bundles.empty():
            self._connection.send(frame)
        if self._connection.has_ended:
            self._turns.receive_now()  # who only sends learns it, too

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._soon(self._flush)

    def _flush(self) -> None:
        packers, self._packers = self._packers, []
        for packer in packers:
            packer()
        self._flush_is_due = False
        self.flush()

    # ---- what comes in

    def _receive(self) -> bool:
        """Take all that is there, unless a stream of events is full; say whether that was anything."""
        is_anything = False
        try:
            while not self._turns.is_stopped and not self._turns.has_ended:
                frame = self._connection.receive()
                if frame is None:
                    break
                is_anything = True
                if type(frame) is Replies:
                    for number, answer in frame.items:
                        self._answered(number, answer)
                elif type(frame) is Events:
                    for service, event in frame.items:
                        self._streams.tell(service, event)
                else:
                    raise Gone("protocol error: a second welcome")
        except (Gone, Library) as error:
            self._fail(Library, str(error))
        return is_anything

    def _answered(self, number: int, answer: msgspec.Raw) -> None:
        call = self._calls.pop(number, None)
        if call is None:
            raise Gone(f"protocol error: a reply to request {number}, which was not made")
        call.answer = answer
        self._turns.wake(call)
        if number > 0:
            self._return_credit()
        if call.arrived is not None:
            call.arrived(answer)

    def _fail(self, kind: type[AisError], reason: str) -> None:
        """See `EventSession`."""
        if kind is Library and self.when_lost is not None:
            self.when_lost(reason)
        super()._fail(kind, reason)
        calls = [*self._calls.values(), *(call for _, _, call in self._posted)]
        self._calls = {}
        self._posted.clear()
        for call in calls:
            if call.arrived is not None:
                call.done = True
                call.arrived(None)


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
