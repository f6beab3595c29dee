"""How EVS and CPG send and receive: many messages at a time, so that one costs next to nothing.

What is multicast in one round of the event loop travels in one pack, without a delay timer. A call returns when its
message is handed over; it waits while too much is under way (flow control). What arrives is unpacked at once and
waits as public events, which are taken one by one or all that are there.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, ClassVar, Final, Self

import msgspec

from corosync_amf.checks import check_bytes
from corosync_amf.engine import Done, Request, Service
from corosync_amf.errors import AisError, BadHandle, InvalidParam, TooBig, TryAgain, Unavailable
from corosync_amf.messaging import HEAD_BYTES_MAX, MESSAGE_BYTES_MAX, PACK_BYTES, Packed, pack
from corosync_amf.service import Events, ServiceClient
from corosync_amf.session import Session
from corosync_amf.turns import Waiter

UNDER_WAY_BYTES_MAX: Final = 2 * 1024 * 1024
UNDER_WAY_PACKS_MAX: Final = 128
"""Above either of them flow control is on: a sender waits."""
WAITING_BYTES_MAX: Final = 4 * 1024 * 1024
EVENT_BYTES: Final = 128
"""An event that waits counts as much, besides its message."""

Buffer = bytes | bytearray | memoryview
GroupName = str | bytes
Make = Callable[[Any, bool, int, memoryview], Request]


class Sending:
    """Packs messages to one destination with one guarantee and hands the packs over.

    `make(destination, is_safe, count, data)` makes the request of a pack. `has_room`: flow control is off.
    `refusal`: why the executive takes no more from this session; then there is never room again.
    """

    __slots__ = (
        "_bytes",
        "_destination",
        "_is_safe",
        "_make",
        "_pack",
        "_service",
        "_session",
        "_under_way_bytes",
        "_under_way_packs",
        "_waiters",
        "has_room",
        "refusal",
    )

    def __init__(self, session: Session, service: Service, make: Make) -> None:
        self.has_room = True
        self.refusal: Unavailable | None = None
        self._session = session
        self._service = service
        self._make = make
        self._pack: list[bytes] = []
        self._bytes = 0
        self._destination: Any = None
        self._is_safe = False
        self._under_way_bytes = 0
        self._under_way_packs = 0
        self._waiters: deque[Waiter] = deque()

    def add(self, destination: Any, message: bytes, is_safe: bool) -> None:
        """Hand one message over. Raises: BadHandle: the session is closed; Library: the executive is gone."""
        size = len(message) + HEAD_BYTES_MAX
        if self._pack:
            # What comes after a SAFE message waits behind it anyway, but what came before must not wait for it.
            if self._bytes + size > PACK_BYTES or is_safe > self._is_safe or destination != self._destination:
                self.close()
                self._session.flush()
                self._begin(destination, is_safe)
        else:
            self._begin(destination, is_safe)
        self._pack.append(message)
        self._bytes += size

    def add_many(self, destination: Any, messages: Sequence[bytes], is_safe: bool) -> None:
        """Hand many messages over, in as few packs as they fit into. Raises: as `add`."""
        ends = list(accumulate(map(len, messages)))
        size = ends[-1] + HEAD_BYTES_MAX * len(messages)
        if self._pack and (
            self._bytes + size > PACK_BYTES or is_safe > self._is_safe or destination != self._destination
        ):
            self.close()
        if size > PACK_BYTES:
            ends = [end + HEAD_BYTES_MAX * number for number, end in enumerate(ends, 1)]
        start = taken = 0
        while start < len(messages):
            if not self._pack:
                self._begin(destination, is_safe)
            if size - taken <= PACK_BYTES:
                self._pack += messages[start:] if start else messages
                self._bytes += size - taken
                return
            end = max(bisect_right(ends, taken + PACK_BYTES), start + 1)
            self._pack += messages[start:end]
            start, taken = end, ends[end - 1]
            self.close()
            self._session.flush()

    def _begin(self, destination: Any, is_safe: bool) -> None:
        self._session.check()
        self._session.flush_after(self._end_of_round)
        self._destination, self._is_safe = destination, is_safe

    def _end_of_round(self) -> None:
        if self._session.has_ended:
            self._pack, self._bytes = [], 0
        else:
            self.close()

    def close(self) -> None:
        """Hand over what has been gathered: what the session is given after this comes after it. Raises: as `add`."""
        messages = self._pack
        if not messages:
            return
        self._session.check()
        data, self._pack, self._bytes = pack(messages), [], 0
        size = len(data)
        self._under_way_bytes += size
        self._under_way_packs += 1
        self._look()
        request = self._make(self._destination, self._is_safe, len(messages), data)
        self._session.post(self._service, request, partial(self._arrived, size))

    def _arrived(self, size: int, answer: msgspec.Raw | None) -> None:
        self._under_way_bytes -= size
        self._under_way_packs -= 1
        if answer is not None:
            try:
                self._session.read(answer, Done)
            except Unavailable as error:
                self.refusal = error
            except AisError:
                pass  # for every other reason the library has refused it before
        self._look()

    def _look(self) -> None:
        has_room = self._under_way_bytes < UNDER_WAY_BYTES_MAX and self._under_way_packs < UNDER_WAY_PACKS_MAX
        self.has_room = has_room and self.refusal is None
        while (has_room or self.refusal is not None) and self._waiters:
            self._session.wake(self._waiters.popleft())

    async def room(self) -> None:
        """Return when there is room, or never will be. Raises: as `add`."""
        while not self.has_room and self.refusal is None:
            waiter = Waiter()
            self._waiters.append(waiter)
            try:
                await self._session.until(waiter)
            finally:
                if not waiter.done:
                    self._waiters.remove(waiter)


class Arrivals:
    """The events that wait, in a `streams.Queue`. `expand` makes the public events of one from the executive."""

    __slots__ = ("_expand", "_held", "events")

    def __init__(self, expand: Callable[[Any], Iterable[object]]) -> None:
        self.events: deque[Any] = deque()
        self._expand = expand
        self._held = 0

    def __len__(self) -> int:
        return len(self.events)

    def append(self, event: Any) -> None:
        """Take what came from the executive."""
        events = self.events
        had = len(events)
        events.extend(self._expand(event))
        held = EVENT_BYTES * (len(events) - had) + (len(event.data) if isinstance(event, Packed) else 0)
        self._held = self._held + held if had else held

    def popleft(self) -> Any:
        """The oldest event."""
        return self.events.popleft()

    def is_full(self) -> bool:
        """Whether nothing more should be taken, until it has been emptied."""
        return self._held >= WAITING_BYTES_MAX and bool(self.events)


class GroupEvents(Events):
    """Events one at a time: of what one pack brought all but the last cost a look into a queue."""

    __slots__ = ("_waiting",)

    def __init__(self, client: "GroupClient") -> None:
        super().__init__(client)
        self._waiting = client.arrivals.events

    async def __anext__(self) -> Any:
        if len(self._waiting) > 1:
            return self._waiting.popleft()
        return await Events.__anext__(self)


class Batches:
    """All events that wait, as a list, when there are any; ends when the service is finalized."""

    __slots__ = ("_client",)

    def __init__(self, client: "GroupClient") -> None:
        self._client = client

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Any]:
        client = self._client
        waiting = client.arrivals.events
        try:
            client.check_open()
            await client.session.wait_events(client.service)
            last = waiting.pop()
            batch = list(waiting)
            waiting.clear()
            waiting.append(last)
            batch += client.take(1)  # by way of the session, which then reads on
            return batch
        except BadHandle:
            if client.is_open:
                raise
            raise StopAsyncIteration from None


class GroupClient(ServiceClient, ABC):
    """What the service objects of EVS and CPG have in common. `context` is the application's own, as in C."""

    versions: ClassVar[tuple[str, ...]] = ()
    context: object

    def __init__(self, session: Session, **options: Any) -> None:
        """For `opening`."""
        super().__init__(session, **options)
        self.context = None
        self.arrivals = Arrivals(self.expand)
        self.sending = Sending(session, self.service, self.packed)

    # ---- for the service to override

    @abstractmethod
    def expand(self, event: Any) -> Iterable[object]:
        """The public events that one of the executive stands for."""

    @abstractmethod
    def packed(self, destination: Any, is_safe: bool, count: int, data: memoryview) -> Request:
        """The request that multicasts a pack."""

    # ---- events

    def attach(self) -> None:
        """See `ServiceClient`."""
        self.session.attach(self.service, self.event_type, self.arrivals, self.arrivals.is_full)

    def events(self) -> AsyncIterator[Any]:
        """The events of this session, in their order, until it is finalized: `async for event in service.events()`."""
        return GroupEvents(self)

    def __aiter__(self) -> AsyncIterator[Any]:
        return GroupEvents(self)

    def batches(self) -> AsyncIterator[list[Any]]:
        """The events of this session in lists, each of all that waited: cheaper than one at a time."""
        return Batches(self)

    # ---- multicasting

    def has_room(self) -> bool:
        """Whether flow control is off. Raises: Unavailable: what was multicast came from a node that was locked."""
        if not self.sending.has_room:
            self.session.poll()
        if self.sending.refusal is not None:
            raise self._unavailable(Unavailable(self.sending.refusal.reason))
        return self.sending.has_room

    async def multicast(self, destination: Any, messages: bytes | Sequence[bytes], is_safe: bool) -> None:
        """Hand checked messages over when flow control allows. Raises: TryAgain; Unavailable; BadHandle; Library."""
        sending = self.sending
        while not self.has_room():
            if not self.retry:
                raise TryAgain("flow control is on: too much is under way")
            await sending.room()
            self.check_open()
        if isinstance(messages, bytes):
            sending.add(destination, messages, is_safe)
        else:
            sending.add_many(destination, messages, is_safe)

    async def request(self, message: Request, reply: type[Any], **options: Any) -> Any:
        """See `ServiceClient`. What was multicast before stands before it in the order."""
        self.check_open()
        self.sending.close()
        return await super().request(message, reply, **options)

    def withdraw(self, message: Request) -> None:
        """Undo what the application has given up."""
        try:
            self.post(message)
        except AisError:
            pass  # the session has ended, and with it all that it could undo


def _is_buffer(value: Any) -> bool:
    try:
        memoryview(value)
    except TypeError:
        return isinstance(value, str)  # for `check_bytes` to refuse
    return True


def check_messages(message: object) -> bytes | Sequence[bytes]:
    """One message, any buffer, or a sequence of them (list, tuple, ...), each within the limit.

    Raises: InvalidParam: neither, or an empty sequence; TooBig: one is over 1 MiB.
    """
    if isinstance(message, bytes):
        return check_bytes(message, MESSAGE_BYTES_MAX, "a message")
    if not isinstance(message, list | tuple) and (not isinstance(message, Sequence) or _is_buffer(message)):
        return check_bytes(message, MESSAGE_BYTES_MAX, "a message")
    if not message:
        raise InvalidParam("no message")
    if set(map(type, message)) != {bytes}:
        message = [check_bytes(each, what="a message") for each in message]
    longest = max(map(len, message))
    if longest > MESSAGE_BYTES_MAX:
        raise TooBig(f"a message has {longest} bytes; {MESSAGE_BYTES_MAX} is the limit")
    return message if isinstance(message, list) else list(message)


def group_bytes(group: GroupName) -> bytes:
    """The name of a group as it travels. Raises: UnicodeEncodeError: it is text that UTF-8 cannot express."""
    return group if isinstance(group, bytes) else group.encode(errors="surrogateescape")


def check_group(group: object, limit: int, too_long: type[AisError]) -> bytes:
    """The name of a group, 1 to `limit` bytes; text counts in UTF-8.

    Raises: InvalidParam: neither text nor bytes, or empty; `too_long`.
    """
    if not isinstance(group, str | bytes) or not group:
        raise InvalidParam(f"a group must be text or bytes, and not empty: not {group!r}")
    try:
        name = group_bytes(group)
    except UnicodeEncodeError:
        raise InvalidParam("a group cannot be written in UTF-8") from None
    if len(name) > limit:
        raise too_long(f"a group has {len(name)} bytes; {limit} is the limit")
    return name
