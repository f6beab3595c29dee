"""How a component's state gets into its checkpoint and back out of it.

One checkpoint per CSI, one section per key of the state. A section holds `bytes` as they are and anything else as
msgpack behind the octet 0xc1, which begins no msgpack text (bytes that happen to begin with it get a second one).
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, get_args, get_origin

import anyio
import msgspec
from anyio.abc import TaskGroup

from corosync_amf.ais import Dn, RedundancyModel
from corosync_amf.arguments import PerFunction
from corosync_amf.errors import AccessDenied, AisError, InvalidParam, Unavailable
from corosync_amf.services.amf.model import CheckpointPolicy, child_dn
from corosync_amf.services.ckpt import Checkpoint, CkptService, CreationAttributes, OpenFlags
from corosync_amf.services.ckpt.checkpoint import SectionsChanged, stream_of
from corosync_amf.services.ckpt.values import SECTION_BYTES_MAX, SECTIONS_MAX, SectionChange, SectionOperation

KEY_BYTES_MAX: Final = 255
BATCH_BYTES_MAX: Final = 12 * 1024 * 1024
QUEUED_BYTES_MAX: Final = 1024 * 1024
DRAIN_LOOK_SECONDS: Final = 0.005

_MSGPACK: Final = b"\xc1"
_MAPPINGS: Final = (dict, Mapping, MutableMapping)

Encoded = dict[str, bytes | None]
Follow = Callable[[Encoded], Awaitable[None]]


def encode(value: Any) -> bytes:
    """The content of the section that holds `value`.

    Raises: InvalidParam: it is neither bytes nor anything that msgpack can say.
    """
    if isinstance(value, bytes):
        return _MSGPACK + value if value.startswith(_MSGPACK) else value
    try:
        return _MSGPACK + msgspec.msgpack.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidParam(f"a {type(value).__name__} cannot be checkpointed: {error}") from None


def decode(data: bytes, kind: Any = Any) -> Any:
    """The value that a section holds: bytes, plain data, or what `kind` names.

    Raises: InvalidParam: it holds something else.
    """
    is_msgpack = data.startswith(_MSGPACK)
    if is_msgpack and not data.startswith(_MSGPACK, 1):
        try:
            return msgspec.msgpack.decode(memoryview(data)[1:], type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidParam(f"the checkpoint does not hold what is expected: {error}") from None
    plain = data[1:] if is_msgpack else data
    if kind in (Any, bytes):
        return plain
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise InvalidParam(f"the checkpoint does not hold what is expected: {error}") from None


def encode_all(mapping: object) -> Encoded:
    """Sections for a mapping; None stands for a key that is to go.

    Raises: InvalidParam: no mapping, a key that is no text of 1 to 255 bytes, or a value as in `encode`.
    """
    if not isinstance(mapping, Mapping):
        raise InvalidParam(f"state must be a mapping, not {type(mapping).__name__}")
    encoded: Encoded = {}
    for key, value in mapping.items():
        if not isinstance(key, str) or not 0 < len(key.encode(errors="surrogatepass")) <= KEY_BYTES_MAX:
            raise InvalidParam(f"a key of the state must be text of 1 to {KEY_BYTES_MAX} bytes, not {key!r:.300}")
        encoded[key] = None if value is None else encode(value)
    return encoded


class State(PerFunction):
    """Sections as an argument of a hook: each implementation gets the type that its annotation names.

    A mapping type (`Mapping[str, Call]`) gives the type of the values, any other that of the whole (`Calls` with a
    field per key); without annotation it is plain data.
    """

    def __init__(self, sections: Encoded, parameter: str) -> None:
        self._sections = sections
        self._parameter = parameter

    def seen_by(self, function: Any) -> Any:
        """Raises: InvalidParam: the sections do not fit the type."""
        kind = annotation(function, self._parameter)
        values: Any = Any
        if get_origin(kind) in _MAPPINGS and len(get_args(kind)) == 2:
            values = get_args(kind)[1]
        plain = {key: None if data is None else decode(data, values) for key, data in self._sections.items()}
        if kind is Any or kind in _MAPPINGS or get_origin(kind) in _MAPPINGS or None in plain.values():
            return plain
        try:
            return msgspec.convert(plain, kind)
        except msgspec.ValidationError as error:
            raise InvalidParam(f"the checkpoint does not hold what is expected: {error}") from None


def annotation(function: Any, parameter: str) -> Any:
    """The type that `function` names for a parameter; Any when it names none, or one that cannot be found."""
    found = inspect.get_annotations(inspect.unwrap(function)).get(parameter, Any)
    if isinstance(found, str):
        try:
            found = eval(found, getattr(inspect.unwrap(function), "__globals__", {}))  # as typing.get_type_hints does
        except Exception as error:
            logging.getLogger(__name__).warning("%s: annotation %r is of no use: %s", parameter, found, error)
            return Any
    return found


def checkpoint_name(component: Dn, csi: Dn, model: RedundancyModel) -> str:
    """A CSI has one checkpoint, which its components share; with several actives each keeps its own."""
    return child_dn("safCkpt", component if model is RedundancyModel.N_WAY_ACTIVE else "amf", csi)


class _Batch:
    """Changes that are written together, and who waits for them."""

    __slots__ = ("changes", "error", "is_done", "is_due", "size")

    def __init__(self) -> None:
        self.changes: Encoded = {}
        self.size = 0
        self.is_due = False
        self.is_done = False
        self.error: AisError | None = None


class Keeper:
    """The checkpoint of one CSI.

    `known` is its content as far as this process knows. What is written while a write is under way is gathered and
    goes with the next one, so that writes never overtake one another.
    """

    def __init__(self, checkpoint: Checkpoint, service: CkptService, group: TaskGroup, log: logging.Logger) -> None:
        """For `open`."""
        self.known: dict[str, bytes] = {}
        self.epoch: int | None = None
        self.is_following = False
        self._checkpoint = checkpoint
        self._service = service
        self._group = group
        self._log = log
        self._denied: AccessDenied | None = None
        self._is_doubtful = True
        self._next: _Batch | None = None
        self._writing = anyio.Lock(fast_acquire=True)
        self._follower: anyio.CancelScope | None = None
        self._untold: Encoded = {}
        self._is_telling = False
        self._news = anyio.Event()
        self._told = anyio.Event()

    @classmethod
    async def open(
        cls, service: CkptService, name: str, policy: CheckpointPolicy, group: TaskGroup, log: logging.Logger
    ) -> "Keeper":
        """Open the checkpoint `name`, or create it.

        Raises: as `CkptService.checkpoint_open`.
        """
        attributes = CreationAttributes(
            checkpoint_size=policy.max_size,
            retention_duration=policy.retention,
            max_sections=SECTIONS_MAX,
            max_section_size=min(policy.max_size, SECTION_BYTES_MAX),
            persistent=policy.persistent,
        )
        flags = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE
        return cls(await service.checkpoint_open(name, flags, attributes), service, group, log)

    async def close(self) -> None:
        """Write what is queued, then give the checkpoint back."""
        self.stop_following()
        try:
            await self.flush()
        except AisError as error:
            self._log.warning("%s: the last changes were not written: %s", self._checkpoint.name, error)
        try:
            await self._checkpoint.close()
        except Unavailable:
            pass  # the node is locked: it is given back with the session

    # ---- the active one

    async def take_over(self, epoch: int) -> bool:
        """Fence the checkpoint with `epoch`, then make sure that all its content is known.

        Returns whether it was followed all the time: nothing had to be read.

        Raises: AccessDenied: a later epoch has begun.
        """
        await self.fence(epoch)
        if self.is_following:
            await self._catch_up()  # the answer to the fence came behind all changes that stand before it
        was_following = self.is_following
        self.stop_following()
        self._is_doubtful = False
        if not was_following:
            await self.load()
        return was_following

    async def fence(self, epoch: int) -> None:
        """Write with `epoch` from now on; who writes with a lower one is refused.

        Raises: AccessDenied: a later epoch has begun.
        """
        await self._checkpoint.fence(epoch)
        self.epoch, self._denied = epoch, None

    async def load(self) -> None:
        """Read the whole content from the local replica."""
        self.known = {key.decode(errors="replace"): data for key, data in (await self._checkpoint.read_all()).items()}

    def check_current(self) -> None:
        """Raises: AccessDenied: this process was found to be deposed."""
        if self._denied is not None:
            raise AccessDenied(self._denied.reason, epoch=self._denied.epoch)

    async def write(self, changes: Mapping[str, Any]) -> None:
        """Write, and return when every replica has it.

        Raises: InvalidParam; AccessDenied: deposed; and what `Checkpoint.write_batch` raises.
        """
        await self._deliver(self._join(encode_all(changes)))

    async def put(self, changes: Mapping[str, Any]) -> None:
        """Have the changes written, without waiting unless too much is queued already."""
        batch = self._join(encode_all(changes))
        if batch.size > QUEUED_BYTES_MAX:
            await self._deliver(batch)
        elif not batch.is_due:
            batch.is_due = True
            self._group.start_soon(self._deliver_quietly, batch)

    async def replace(self, state: Mapping[str, Any]) -> None:
        """Make `state` the whole content: only what differs from the known content is sent.

        Raises: as `write`.
        """
        await self.flush()
        wanted = encode_all(state)
        gone: Encoded = {key: None for key in self.known if wanted.get(key) is None}
        await self._deliver(self._join({**wanted, **gone}))

    async def flush(self) -> None:
        """Return when nothing is queued any more.

        Raises: as `write`.
        """
        async with self._writing:
            batch = self._next
        if batch is not None:
            await self._deliver(batch)

    def _join(self, changes: Encoded) -> _Batch:
        self.check_current()
        for key, data in changes.items():
            limit = self._checkpoint.creation_attributes.max_section_size
            if data is not None and len(data) > limit:
                raise InvalidParam(f"the value of {key!r} has {len(data)} bytes; {limit} is the limit")
        if self._next is None:
            self._next = _Batch()
        self._next.changes.update(changes)
        self._next.size += sum([len(data or b"") for data in changes.values()])
        return self._next

    async def _deliver(self, batch: _Batch) -> None:
        """Whoever comes first writes for all who joined the batch."""
        async with self._writing:
            if not batch.is_done:
                if self._next is batch:
                    self._next = None
                try:
                    await self._commit(batch.changes)
                except AisError as error:
                    batch.error = error
                batch.is_done = True
        if batch.error is not None:
            raise batch.error

    async def _deliver_quietly(self, batch: _Batch) -> None:
        try:
            await self._deliver(batch)
        except AisError as error:
            self._log.warning("%s was not written: %s", self._checkpoint.name, error)

    async def _commit(self, changes: Encoded) -> None:
        if self._is_doubtful:
            if self.epoch is not None:
                await self._checkpoint.fence(self.epoch)  # what was given up half-way is applied before this
            await self.load()
        known = self.known
        different = {key: data for key, data in changes.items() if data != known.get(key)}
        self._is_doubtful = True
        for batch in _cut(different):
            try:
                await self._checkpoint.write_batch(batch, epoch=self.epoch)  # type: ignore[arg-type]
            except AccessDenied as error:
                self._denied = error
                raise
            for key, data in batch.items():
                if data is None:
                    known.pop(key, None)
                else:
                    known[key] = data
        self._is_doubtful = False

    def state(self) -> dict[str, Any]:
        """The known content as plain data."""
        return {key: decode(data) for key, data in self.known.items()}

    # ---- the standby

    async def follow(self, follow: Follow) -> None:
        """Keep `known` up to date from now on; call `follow` with the changes that the active one makes.

        Changes that come while `follow` is busy are gathered for its next call. Returns when the present content is
        known. `follow` must not raise.
        """
        self.stop_following()
        ready = anyio.Event()
        self._follower = scope = anyio.CancelScope()
        self._untold, self._is_telling = {}, False
        self._group.start_soon(self._following, follow, ready, scope)
        await ready.wait()

    async def _following(self, follow: Follow, ready: anyio.Event, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._tell, follow)
                    await self._read_changes(ready)
                    group.cancel_scope.cancel()
        finally:
            ready.set()
            if self._follower is scope:
                self.is_following = False

    async def _read_changes(self, ready: anyio.Event) -> None:
        """Read as fast as changes come: nothing else is read from the executive while too many of them wait."""
        try:
            async with self._checkpoint.changes(current=True) as changes:
                first = await anext(changes)
                self.known = {}
                self._apply(first)
                self.is_following = True
                ready.set()
                async for change in changes:
                    self._untold.update(self._apply(change))
                    self._news.set()
        except AisError as error:
            self._log.warning("%s cannot be followed: %s", self._checkpoint.name, error)

    async def _tell(self, follow: Follow) -> None:
        while True:
            if not self._untold:
                self._news = anyio.Event()
                await self._news.wait()
            changes, self._untold, self._is_telling = self._untold, {}, True
            await follow(changes)
            self._is_telling = False
            self._told.set()
            self._told = anyio.Event()

    async def _catch_up(self) -> None:
        """Return when `follow` knows everything that has arrived."""
        stream = stream_of(self._checkpoint.number)
        while self._is_telling or self._untold or self._service.session.waiting(stream):
            with anyio.move_on_after(DRAIN_LOOK_SECONDS):
                await self._told.wait()

    def stop_following(self) -> None:
        """Follow no more."""
        if self._follower is not None:
            self._follower.cancel()
            self._follower = None
        self.is_following = False

    def _apply(self, changed: SectionsChanged) -> Encoded:
        changes: Encoded = {}
        for change in changed.changes:
            key = change.section_id.decode(errors="replace")
            data = changes[key] = self._applied(key, change)
            if data is None:
                self.known.pop(key, None)
            else:
                self.known[key] = data
        return changes

    def _applied(self, key: str, change: SectionChange) -> bytes | None:
        data = change.data or b""
        if change.operation in (SectionOperation.DELETED, SectionOperation.EXPIRED):
            return None
        if change.operation is not SectionOperation.WRITTEN:
            return data
        former = self.known.get(key, b"").ljust(change.offset, b"\0")
        return former[: change.offset] + data + former[change.offset + len(data) :]


def _cut(changes: Encoded) -> list[Encoded]:
    """Changes in pieces that one call can carry: one piece, and so one atomic step, unless they are very large."""
    pieces: list[Encoded] = []
    room = 0
    for key, data in changes.items():
        size = len(data or b"") + len(key)
        if not pieces or size > room:
            pieces.append({})
            room = BATCH_BYTES_MAX
        pieces[-1][key] = data
        room -= size
    return pieces
