"""The same client for programs without an event loop: every call blocks.

    from corosync_amf import ckpt, sync

    with sync.connect() as cluster, cluster.ckpt() as service:          # or: with sync.ckpt.initialize() as service
        with service.checkpoint_open("calls", creation_attributes=ckpt.CreationAttributes()) as calls:
            calls.section_create("call-17", b"ringing")
            for change in calls.changes():
                ...

It wraps whatever the client returns, by what it is; there is nothing of any one service here:

    a coroutine method                  blocks, and returns or raises what it would
    what opens something                a context manager, or `.open()`
    a Pending                           `.result(timeout=None)`
    an async iterator                   `BlockingIterator`; so `for event in service`, `for expiry in timer`
    a service, a handle                 `Blocking`: the same methods and attributes, which block
    an event, or another value          itself; a handle in it is a `Blocking`

The calls are carried out by an event loop in one background thread. It begins with the first object that is opened and
ends with the last; objects may be used from several threads. KeyboardInterrupt, while a call blocks, cancels the call
first: a lock that was waited for is withdrawn. The handler of `dispatch` is called in the thread that called it.
After `fork` the child has nothing open.
"""

import asyncio
import dataclasses
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from enum import Enum, auto
from importlib import import_module
from queue import SimpleQueue
from typing import Any, Final, cast

import anyio
import msgspec

from corosync_amf import cluster
from corosync_amf.background import BACKGROUND, Calls, Loop
from corosync_amf.checks import check_timeout
from corosync_amf.errors import BadHandle, TimedOut
from corosync_amf.service import EventClient
from corosync_amf.session import OPEN_SECONDS

__all__ = ["Blocking", "BlockingIterator", "Module", "Opening", "Pending", "connect"]

SERVICES: Final = ("amf", "ckpt", "clm", "cpg", "evs", "evt", "lck", "log", "msg", "ntf", "tmr")


def __getattr__(name: str) -> Any:
    if name not in SERVICES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = Module(name)
    return value


def connect(address: str | None = None, *, timeout: float | None = OPEN_SECONDS) -> "Opening":
    """`corosync_amf.connect`: `with sync.connect() as cluster, cluster.ckpt() as service`.

    Raises (when entered or opened): Library (SA_AIS_ERR_LIBRARY): no executive; TimedOut.
    """
    return Opening(None, cluster.connect(address, timeout=timeout))


class Module:
    """A service module, `sync.ckpt` for one: its `initialize` blocks, all else is that of `corosync_amf.ckpt`."""

    def __init__(self, name: str) -> None:
        """For this module."""
        self._module = import_module(f"corosync_amf.services.{name}")

    def initialize(self, **arguments: Any) -> "Opening":
        """As the module's own: `with sync.ckpt.initialize() as service`, or `.open()` and `finalize` later."""
        return Opening(None, self._module.initialize(**arguments))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __dir__(self) -> list[str]:
        return dir(self._module)


# ---- what stands for what the client returns


class Opening:
    """What opens something: enter it with `with`, which closes it on leaving, or call `open`."""

    __slots__ = ("_entered", "_loop", "_opening")

    def __init__(self, loop: Loop | None, opening: Any) -> None:
        """For this module. Without `loop` it is a new session."""
        self._loop = loop
        self._opening = opening
        self._entered: list[Loop] = []

    def open(self) -> Any:
        """Open it, and leave it open. Raises: what the client's method does."""

        async def wait() -> Any:
            return await self._opening

        return _call(self._loop, wait)

    def __enter__(self) -> Any:
        loop = BACKGROUND.begin(self._loop)
        try:
            entered = _call(loop, self._opening.__aenter__)
            self._entered.append(loop)
            return entered
        finally:
            BACKGROUND.end(loop)

    def __exit__(self, *exc_info: object) -> Any:
        loop = self._entered.pop()
        try:
            return _call(loop, lambda: self._opening.__aexit__(*exc_info))
        except BadHandle:
            return None  # it is closed already, with everything else


class Pending:
    """A request that was handed over; `result` waits for its outcome, as often as you like."""

    __slots__ = ("_loop", "_pending")

    def __init__(self, loop: Loop, pending: Any) -> None:
        """For this module."""
        self._loop = loop
        self._pending = pending

    @property
    def invocation(self) -> int:
        """The number that the outcome's event carries."""
        return self._pending.invocation  # type: ignore[no-any-return]

    @property
    def done(self) -> bool:
        """Whether the outcome is known: `result` returns at once."""
        return self._pending.done  # type: ignore[no-any-return]

    def result(self, timeout: float | None = None) -> Any:
        """Return the result, or raise the error. `timeout` in seconds, None: for ever.

        Raises: TimedOut (SA_AIS_ERR_TIMEOUT): not yet known; it can be asked for again.
        """
        check_timeout(timeout)

        async def wait() -> Any:
            with anyio.move_on_after(timeout):
                return await self._pending
            raise TimedOut(f"no outcome in {timeout} s")

        return _call(self._loop, wait)


class Blocking:
    """A service, a handle or an iterator of the client: what it has, this has, and it blocks.

    Two of them are equal when they stand for the same object.
    """

    __slots__ = ("__weakref__", "_box", "_loop")
    _box: list[Any]
    _loop: Loop

    def __init__(self, loop: Loop, wrapped: object) -> None:
        """For this module."""
        object.__setattr__(self, "_loop", loop)
        object.__setattr__(self, "_box", [wrapped])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self._box[0]).__qualname__!r} has no public attribute {name!r}")
        value = getattr(self._box[0], name)
        return self._blocking(value) if inspect.ismethod(value) else _wrap(self._loop, value)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._box[0], name, _unwrap(value))

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*positional: Any, **named: Any) -> Any:
            async def run() -> Any:
                outcome = method(*map(_unwrap, positional), **{name: _unwrap(each) for name, each in named.items()})
                return await outcome if inspect.iscoroutine(outcome) else outcome

            return _call(self._loop, run)

        return call

    def dispatch(self, flags: Any, handler: Callable[[Any], object]) -> int:
        """Call `handler(event)`, in this thread, for waiting events; return for how many.

        See `EventClient.dispatch`. The handler may call whatever it likes.
        """
        calls: Calls = SimpleQueue()

        async def handle(event: object) -> None:
            future: Future[object] = Future()
            calls.put(functools.partial(_answer, future, handler, _wrap(self._loop, event)))
            await asyncio.wrap_future(future)

        dispatch, given = self._box[0].dispatch, handle if callable(handler) else handler
        count: int = _call(self._loop, lambda: dispatch(flags, given), calls)
        return count

    def __iter__(self) -> Iterator[Any]:
        async def run() -> Any:
            return self._box[0].__aiter__()

        try:
            return cast(Iterator[Any], _call(self._loop, run))
        except BadHandle:
            if self._loop.is_stopped:
                return iter(())  # it is closed, with everything else
            raise

    def __enter__(self) -> Any:
        return _call(self._loop, self._box[0].__aenter__)

    def __exit__(self, *exc_info: object) -> Any:
        try:
            return _call(self._loop, lambda: self._box[0].__aexit__(*exc_info))
        except BadHandle:
            return None  # it is closed already, with everything else

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blocking) and self._box[0] is other._box[0]

    def __hash__(self) -> int:
        return hash(id(self._box[0]))

    def __repr__(self) -> str:
        return f"<blocking {self._box[0]!r}>"

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._box[0]) if not name.startswith("_")]


class BlockingIterator(Blocking):
    """An iterator of the client; some have methods, too."""

    __slots__ = ()

    def __next__(self) -> Any:
        try:
            return _call(self._loop, self._next)
        except BadHandle:
            if self._loop.is_stopped:
                raise StopIteration from None
            raise
        except _Ended:
            raise StopIteration from None

    async def _next(self) -> Any:
        try:
            return await self._box[0].__anext__()
        except StopAsyncIteration:
            raise _Ended from None  # the other one cannot leave a task

    def __del__(self) -> None:
        # An iteration that is dropped ends by itself, which it must do where its event loop runs.
        try:
            self._loop.portal.start_task_soon(self._box.clear)
        except RuntimeError:
            pass  # there is no loop any more, or this is its thread


class _Ended(Exception):
    """The end of an iteration."""


def _answer(future: "Future[object]", handler: Callable[[Any], object], event: object) -> None:
    try:
        future.set_result(handler(event))
    except Exception as error:  # it belongs to who called `dispatch`, and comes back from there
        future.set_exception(error)


class _Shape(Enum):
    """What a value is, for `_wrap`."""

    PLAIN = auto()
    OPENING = auto()
    PENDING = auto()
    BLOCKING = auto()
    ITERATOR = auto()
    RECORD = auto()
    SEQUENCE = auto()


@functools.cache
def _shape(kind: Any) -> _Shape:
    if kind in (tuple, list):
        return _Shape.SEQUENCE
    if hasattr(kind, "__anext__"):
        return _Shape.ITERATOR
    if kind.__module__.partition(".")[0] != __package__:
        return _Shape.PLAIN
    if hasattr(kind, "__await__"):
        return _Shape.OPENING if hasattr(kind, "__aenter__") else _Shape.PENDING
    members = (inspect.getattr_static(kind, name) for name in dir(kind))
    if any(map(inspect.iscoroutinefunction, members)) or hasattr(kind, "__aiter__"):
        return _Shape.BLOCKING
    if dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct):
        return _Shape.RECORD
    return _Shape.PLAIN


def _wrap(loop: Loop, value: Any) -> Any:
    kind: Any = type(value)
    match _shape(kind):
        case _Shape.OPENING:
            return Opening(loop, value)
        case _Shape.PENDING:
            return Pending(loop, value)
        case _Shape.BLOCKING:
            if isinstance(value, EventClient | cluster.Cluster):
                loop.keep(value)
            return Blocking(loop, value)
        case _Shape.ITERATOR:
            return BlockingIterator(loop, value)
        case _Shape.SEQUENCE:
            wrapped = [_wrap(loop, each) for each in value]
            same = all(new is old for new, old in zip(wrapped, value, strict=True))
            return value if same else type(value)(wrapped)
        case _Shape.RECORD:
            return _wrap_record(loop, value)
        case _:
            return value


def _wrap_record(loop: Loop, record: Any) -> Any:
    is_struct = isinstance(record, msgspec.Struct)
    names = record.__struct_fields__ if is_struct else [each.name for each in dataclasses.fields(record)]
    old = {name: getattr(record, name) for name in names}
    new = {name: wrapped for name, value in old.items() if (wrapped := _wrap(loop, value)) is not value}
    if not new:
        return record
    return msgspec.structs.replace(record, **new) if is_struct else dataclasses.replace(record, **new)


def _call(loop: Loop | None, function: Callable[[], Awaitable[Any]], calls: Calls | None = None) -> Any:
    """Await `function()` in the loop, None: the present one; return the result, wrapped."""
    loop = BACKGROUND.begin(loop)
    try:
        return _wrap(loop, loop.run(function, SimpleQueue() if calls is None else calls))
    finally:
        BACKGROUND.end(loop)


def _unwrap(value: Any) -> Any:
    return value._box[0] if isinstance(value, Blocking) else value
