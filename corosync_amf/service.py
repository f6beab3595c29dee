"""What the service objects of all AIS services have in common.

    class CkptService(ServiceClient):
        service = Service.CKPT
        versions = SUPPORTED["CKPT"]
        callback = Callback                    # the module's IntFlag, one member per C callback
        event_type = SectionsChanged | ...     # the union of events that the executive sends

        async def start(self) -> None: ...     # what `initialize` asks of the executive
        async def stop(self) -> None: ...      # what `finalize` gives back
        def translate(self, message): ...      # wire event -> public event, or None to keep it from the application

    def initialize(*, version="B.02.02", events=Callback.ALL, retry=True, address=None) -> Opening[CkptService]:
        return CkptService.opening(version=version, events=events, retry=retry, address=address)

An application enters or awaits `initialize`, calls methods, iterates over the object for events, and ends it with
`finalize` or by leaving `async with`.
"""

import inspect
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from enum import IntFlag
from types import EllipsisType
from typing import Any, ClassVar, Generic, Self, TypeVar

import anyio
import anyio.lowlevel

from corosync_amf.ais import DispatchFlags
from corosync_amf.checks import check_bool, check_bytes, check_enum, check_flags, check_int, check_name, check_timeout
from corosync_amf.engine import ClientGone, Done, Initialize, Message, Query, Request, Service
from corosync_amf.errors import AisError, BadHandle, Init, InvalidParam, Library, TooBig, Transient, Unavailable
from corosync_amf.eventing import EventSession
from corosync_amf.pending import Pending
from corosync_amf.session import Session
from corosync_amf.streams import Queue
from corosync_amf.versions import SUPPORTED, check_version, negotiate

__all__ = [
    "SUPPORTED",
    "Opening",
    "Pending",
    "ServiceClient",
    "check_bool",
    "check_bytes",
    "check_enum",
    "check_flags",
    "check_int",
    "check_name",
    "check_timeout",
]

T = TypeVar("T")
U = TypeVar("U")
Handler = Callable[[Any], Any]

FINALIZE_SECONDS = 10.0
GIVE_BACK_SECONDS = 5.0
INVOCATION_FIRST = 1 << 32
"""Where the invocation numbers begin that the library gives; applications' own are usually small."""


class Opening(Generic[T]):
    """What opens something: `await` it for the open object, or enter it to have it closed on leaving.

    Each await or entry opens anew. Leaving is silent when the object is closed already.
    """

    __slots__ = ("_close", "_entered", "_open")

    def __init__(self, open: Callable[[], Awaitable[T]], close: Callable[[T], Awaitable[object]]) -> None:
        self._open = open
        self._close = close
        self._entered: list[T] = []

    def __await__(self) -> Generator[Any, None, T]:
        return self._open().__await__()

    async def __aenter__(self) -> T:
        entered = await self._open()
        self._entered.append(entered)
        return entered

    async def __aexit__(self, *exc_info: object) -> None:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + FINALIZE_SECONDS):
            try:
                await self._close(self._entered.pop())
            except (BadHandle, Unavailable):
                pass  # closed already; or on a node that is no member, where `finalize` gives it back


class Events:
    """The events of a service, one at a time; ends when the service is finalized."""

    __slots__ = ("_client",)

    def __init__(self, client: "EventClient") -> None:
        self._client = client

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        client = self._client
        try:
            while True:
                client.check_open()
                await client.session.wait_events(client.service)
                for event in client.take(1):
                    return event
        except BadHandle:
            if client.is_open:
                raise
            raise StopAsyncIteration from None


class EventClient:
    """The life cycle and the events of a service object: iterate over it for these; call `finalize` when done."""

    service: ClassVar[Service]
    versions: ClassVar[tuple[str, ...]]
    callback: ClassVar[type[IntFlag]]
    event_type: ClassVar[Any]
    queue: Queue | None = None
    """Where the session keeps the events of this object, if their overflow has a rule of its own."""

    session: EventSession

    def __init__(
        self, session: Any, *, version: str = "", callbacks: int = 0, retry: bool = True, owner: bool = True
    ) -> None:
        """For `opening`. `owner`: the session ends with this object."""
        self.session = session
        self.version = version
        self.callbacks = callbacks
        self.retry = retry
        self.is_stale = False
        """The node was locked since `initialize`: nothing but `finalize` succeeds any more."""
        self._owner = owner
        self.is_ending = False
        """`finalize` was called: what opens from now on is given back."""
        self._is_finalized = False
        self._invocations = itertools.count(INVOCATION_FIRST)

    @classmethod
    def opening(
        cls,
        *,
        version: str | EllipsisType = ...,
        events: int | EllipsisType = ...,
        retry: bool = True,
        address: str | None = None,
        session: Any = None,
    ) -> Opening[Self]:
        """What a module's `initialize` returns. `session`: share this one; without it, or when it carries a service
        object of this kind already, the object opens its own to `address`.

        Raises (when entered or awaited): InvalidParam; Version; Unavailable: the node is no member (Library in B.01);
        TryAgain: it does not know yet; Library: no executive; TimedOut; and what `start` does.
        """

        async def open() -> Self:
            agreed = negotiate(cls.versions[-1] if version is ... else version, cls.versions) if cls.versions else ""
            callbacks, is_patient = check_callbacks(events, cls.callback), check_bool(retry, "retry")
            is_shared = session is not None and not session.is_attached(cls.service)
            used = session if is_shared else await cls.connection(address)
            client = cls(used, version=agreed, callbacks=callbacks, retry=is_patient, owner=not is_shared)
            client.attach()
            try:
                await client.begin()
                await client.start()
            except BaseException:
                client._is_finalized = True
                used.detach(cls.service)
                if not is_shared:
                    await used.close()
                raise
            return client

        return Opening(open, lambda client: client.finalize())

    @property
    def is_open(self) -> bool:
        """Whether it is neither finalized nor its connection closed."""
        return not self._is_finalized and self.session.is_open

    # ---- for the service to override

    def attach(self) -> None:
        """Begin to keep this service's events."""
        self.session.attach(self.service, self.event_type, self.queue)

    @classmethod
    async def connection(cls, address: str | None) -> Any:
        """A session of its own, for an object that shares none."""
        return await Session.open(address)

    async def begin(self) -> None:
        """What `initialize` asks first, whatever the service."""

    def _give_all_back(self) -> None:
        """The connection goes on: release what is still kept for this object."""

    async def start(self) -> None:
        """What `initialize` asks of the executive."""

    async def stop(self) -> None:
        """What `finalize` gives back. The connection may go on: other services may be on it."""

    def translate(self, message: Any) -> object | None:
        """The public event that the wire event `message` stands for; None: nothing the application should see."""
        return message  # type: ignore[no-any-return]

    # ---- life cycle and events, as every service has them

    async def finalize(self) -> None:
        """Close every object of this session and release what the process held.

        Raises: BadHandle (SA_AIS_ERR_BAD_HANDLE): finalized already.
        Source: sa<Svc>Finalize.
        """
        self.check_open()
        if self.is_ending:
            raise BadHandle(f"the {self.service.name} session is being finalized")
        self.is_ending = True
        self.session.discard(self.service)
        try:
            await self.stop()
        except (Library, Transient, Unavailable):
            pass  # the executive releases everything when the connection ends
        finally:
            if not self._owner:
                self._give_all_back()
            self._is_finalized = True
            self.session.detach(self.service)
            if self._owner:
                await self.session.close()

    def events(self) -> AsyncIterator[Any]:
        """The events of this session, in their order, until it is finalized: `async for event in service.events()`."""
        return Events(self)

    def __aiter__(self) -> AsyncIterator[Any]:
        return Events(self)

    async def dispatch(self, flags: DispatchFlags, handler: Handler) -> int:
        """Call `handler(event)` (a function or a coroutine function) for waiting events; return for how many.

        ONE: at most one event; ALL: all that wait now; both return 0 at once when none does. BLOCKING: every event,
        until the service is finalized. An event whose handler raises is taken; those behind it still wait.

        Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): flags unknown or no handler; BadHandle
        (SA_AIS_ERR_BAD_HANDLE): finalized.
        Source: sa<Svc>Dispatch.
        """
        self.check_open()
        flags = check_enum(flags, DispatchFlags, "flags")
        if not callable(handler):
            raise InvalidParam("handler must be callable")
        count = 0
        if flags is DispatchFlags.BLOCKING:
            async for event in Events(self):
                await _call(handler, event)
                count += 1
            return count
        await anyio.lowlevel.checkpoint()
        self.check_open()
        self.session.poll()
        for _ in range(max(1, self.session.waiting(self.service))):
            for event in self.take(1):
                await _call(handler, event)
                count += 1
            if not self.is_open or (count and flags is DispatchFlags.ONE):
                break
        return count

    def selection_object_get(self) -> int:
        """A descriptor that is readable while an event waits; then call `dispatch`. The session owns it: do not close.

        It may be readable, too, while answers to requests have not been read; `dispatch` takes them and returns 0.

        Raises: BadHandle (SA_AIS_ERR_BAD_HANDLE): finalized.
        Source: sa<Svc>SelectionObjectGet.
        """
        self.check_open()
        return self.session.fileno_for(self.service)

    # ---- for the methods of the services

    def check_open(self) -> None:
        """Raises: BadHandle: finalized, or its connection closed; InvalidParam: called in another thread than the one
        that opened it.
        """
        if not self.is_open:
            raise BadHandle(f"the {self.service.name} session is finalized")
        self.session.check_thread()

    def check_callback(self, kind: IntFlag) -> None:
        """Raises: Init: the session was initialised without events of this kind."""
        if not self.callbacks & kind:
            raise Init(f"needs events={kind.name} at initialize")

    @contextmanager
    def needing(self, kind: IntFlag) -> Iterator[None]:
        """`check_callback` after the checks inside; TooBig comes after it all the same. Raises: Init."""
        try:
            yield
        except TooBig:
            self.check_callback(kind)
            raise
        self.check_callback(kind)

    def check_version(self, least: str) -> None:
        """Raises: Version: what was agreed is older than `least` ("B.03")."""
        check_version(self.version, least, self.versions)

    def take(self, limit: int | None = None) -> list[Any]:
        """Take waiting events (at most `limit`), translated."""
        taken = self.session.take_events(self.service, limit)
        public = [self.translate(event) if isinstance(event, Message) else event for event in taken]
        return [event for event in public if event is not None]

    def tell(self, event: object) -> None:
        """Put a public event into this session's stream."""
        if self.is_open:
            self.session.tell(self.service, event)

    def invocation(self, given: int | None) -> int:
        """The invocation number that was given, or a new one.

        Raises: InvalidParam: not an int.
        """
        if given is None:
            return next(self._invocations)
        if not isinstance(given, int) or isinstance(given, bool):
            raise InvalidParam(f"invocation must be an int, not {given!r}")
        return given


class ServiceClient(EventClient):
    """One session with a service of the executive."""

    needs_membership: ClassVar[bool] = True
    """Whether the service is Unavailable on a node that is not a member of the cluster."""

    session: Session

    async def begin(self) -> None:
        """See `EventClient`."""
        if self.needs_membership:
            await self.ask(Initialize(), Done)

    async def request(
        self,
        message: Request,
        reply: type[T],
        *,
        timeout: float | None = None,
        late: Callable[[T], object] | None = None,
        undo: Request | None = None,
        retry: bool = True,
    ) -> T:
        """`Session.request` for this service. `retry` False: not even in a session that does it else."""
        self.check_open()
        session, retry = self.session, self.retry and retry
        try:
            return await session.request(
                self.service, message, reply, timeout=timeout, retry=retry, late=late, undo=undo
            )
        except Unavailable as error:
            raise self._unavailable(error) from None

    async def ask(self, query: Query, reply: type[T], *, timeout: float | None = None) -> T:
        """`Session.ask` for this service."""
        self.check_open()
        try:
            return await self.session.ask(self.service, query, reply, timeout=timeout, retry=self.retry)
        except Unavailable as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: Unavailable) -> AisError:
        """The node is not a member, or was not for a while. B.01 has no word for that."""
        self.is_stale = True
        return Library(error.reason) if self.version.startswith("B.01") else error

    def _give_all_back(self) -> None:
        """See `EventClient`."""
        if not self.is_stale:
            return  # `stop` has done that
        self.release(ClientGone())

    async def give_back(self, message: Request) -> None:
        """Give something back, with patience; without an answer it is given back as soon as may be, at the latest when
        the connection ends.
        """
        try:
            await self.request(message, Done, timeout=GIVE_BACK_SECONDS)
        except (Library, Transient):
            self.release(message)  # the first one may not have gone out; a second one does no harm
        except anyio.get_cancelled_exc_class():
            self.release(message)
            raise

    def release(self, message: Request) -> None:
        """Give something back without waiting."""
        try:
            self.session.post(self.service, message, is_owed=True)
        except AisError:
            pass  # the executive releases what a lost client had

    def post(self, message: Request) -> None:
        """`Session.post` for this service."""
        self.check_open()
        self.session.post(self.service, message)

    def submit(
        self,
        message: Request,
        reply: type[T],
        result: Callable[[T], U],
        event: Callable[[int, U | None, AisError | None], object],
        *,
        invocation: int | None = None,
    ) -> Pending[U]:
        """Hand a request over. `result(reply)` makes what awaiting gives; `event(invocation, result, error)` makes the
        event of the outcome. Both are called once, when the reply is there; `result` may raise an AisError.

        Raises: TryAgain: 256 requests are under way; InvalidParam: invocation is not an int.
        """
        self.check_open()
        number = self.invocation(invocation)

        def outcome(value: T | AisError) -> U:
            try:
                if isinstance(value, AisError):
                    raise value
                made = result(value)
            except AisError as error:
                self.tell(event(number, None, error))
                raise
            self.tell(event(number, made, None))
            return made

        return self.hand_over(message, reply, outcome, invocation=number)

    def hand_over(
        self, message: Request, reply: type[T], outcome: Callable[[T | AisError], U], *, invocation: int = 0
    ) -> Pending[U]:
        """`Session.submit` for this service, for what is no event, or not always.

        Raises: TryAgain: 256 requests are under way.
        """
        self.check_open()

        def mapped(value: T | AisError) -> U:
            return outcome(self._unavailable(value) if isinstance(value, Unavailable) else value)

        return self.session.submit(self.service, message, reply, invocation=invocation, outcome=mapped)


def check_callbacks(events: object, kind: type[IntFlag]) -> int:
    """The event kinds wanted; `...`: all.

    Raises: InvalidParam: `events` is not of the module's type, or has unknown bits.
    """
    every = 0
    for member in kind:
        every |= int(member)
    if events is ...:
        return every
    if not isinstance(events, kind) or events & ~every:
        raise InvalidParam(f"events must be a {kind.__qualname__}, not {events!r}")
    return int(events)


async def _call(handler: Handler, event: object) -> None:
    outcome = handler(event)
    if inspect.isawaitable(outcome):
        await outcome
