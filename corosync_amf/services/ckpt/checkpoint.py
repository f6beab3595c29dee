"""An open checkpoint."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import anyio
import anyio.lowlevel

from corosync_amf.engine import Done
from corosync_amf.errors import (
    Access,
    AisError,
    BadHandle,
    Exist,
    Interrupt,
    InvalidParam,
    NoResources,
    TooBig,
    Unavailable,
)
from corosync_amf.following import Following
from corosync_amf.service import Pending, check_bool, check_bytes, check_enum, check_int, check_timeout

from . import messages as m
from .arguments import (
    INT_MAX,
    changes_of,
    check_duration,
    check_epoch,
    check_time,
    extents_of,
    parts_of,
    section_id_of,
)
from .iteration import SectionIterator
from .limits import check_changes, check_data, check_elements, check_new, check_parts
from .messages import Tracking
from .values import (
    CALL_BYTES_MAX,
    DEFAULT_SECTION_ID,
    Callback,
    CheckpointStatus,
    CreationAttributes,
    IoVector,
    OpenFlags,
    SectionChange,
    SectionOperation,
    SectionsChosen,
)

if TYPE_CHECKING:
    from .client import CkptService

READ, WRITE = int(OpenFlags.READ), int(OpenFlags.WRITE)
READ_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class CheckpointSynchronized:
    """Event: the outcome of `synchronize_async`. Source: SaCkptCheckpointSynchronizeCallbackT."""

    invocation: int
    error: AisError | None


@dataclass(frozen=True, slots=True)
class SectionsChanged:
    """Event: somebody else changed sections, in one atomic step.

    `sequence` counts the changes of the checkpoint, own ones too; `epoch` is its fence (None: never fenced).
    """

    checkpoint: "Checkpoint"
    changes: tuple[SectionChange, ...]
    epoch: int | None
    sequence: int


class Checkpoint:
    """A handle to a checkpoint. Get it with `CkptService.checkpoint_open`; leave it with `close`.

    Every call raises BadHandle (SA_AIS_ERR_BAD_HANDLE) when the handle is closed. `epoch=` on a changing call says
    for which assignment the caller writes: older than the fence is AccessDenied (`.epoch` is the present one).
    """

    creation_attributes: CreationAttributes
    _limits: m.Attributes

    def __init__(self, service: "CkptService", number: int, name: str, open_flags: OpenFlags) -> None:
        """For `CkptService.checkpoint_open`; open after `begin`."""
        self.name = name
        self.open_flags = open_flags
        self.number = number
        self.tracking = Tracking.OFF
        self.is_open = False
        self.is_streamed = False
        self._rights = int(open_flags)  # plain numbers: flags are slow to combine
        self._service = service
        self._reading: anyio.Lock | None = None

    async def __aenter__(self) -> Self:
        self._check()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.is_open:
            try:
                await self.close()
            except Unavailable:
                pass  # the node is locked: `finalize` gives it back

    # ---- life cycle

    def begin(self, opened: m.Opened) -> None:
        """The executive has opened it."""
        self._limits = opened.attributes
        self.creation_attributes = opened.attributes.public()
        self.is_open = True
        self._service.begun(self)

    async def close(self) -> None:
        """Give the handle back. The last one to close starts the retention time.

        Source: saCkptCheckpointClose.
        """
        self._check()
        self.shut()
        await self._service.give_back(m.Close((self.number,)))

    def shut(self) -> None:
        """The handle is no longer valid; who iterates over `changes` sees the end."""
        self.is_open = False
        self._service.forget(self)

    async def retention_duration_set(self, duration: float | None) -> None:
        """Set for how many seconds the checkpoint outlives its last handle; None for ever.

        Raises: InvalidParam: negative; BadOperation (SA_AIS_ERR_BAD_OPERATION): unlinked already.
        Source: saCkptCheckpointRetentionDurationSet.
        """
        self._check()
        length = check_duration(duration)
        await self._service.request(m.SetRetention(self.number, length), Done)
        self.creation_attributes = dataclasses.replace(self.creation_attributes, retention_duration=length)

    async def active_replica_set(self) -> None:
        """Make this node's replica the active one.

        Raises: Access: not opened for WRITE; BadOperation (SA_AIS_ERR_BAD_OPERATION): not collocated, or
        WR_ALL_REPLICAS.
        Source: saCkptActiveReplicaSet.
        """
        self._check_right(WRITE)
        await self._service.request(m.SetActiveReplica(self.number), Done)

    async def status_get(self) -> CheckpointStatus:
        """The checkpoint's attributes, size, fence and replicas.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): no active replica.
        Source: saCkptCheckpointStatusGet.
        """
        self._check()
        return (await self._service.ask(m.GetStatus(self.number), m.Status)).status

    async def fence(self, epoch: int) -> None:
        """From now on refuse what carries an epoch lower than `epoch` (0..2**63-1).

        Raises: Access: not opened for WRITE; AccessDenied (SA_AIS_ERR_ACCESS_DENIED): the fence is higher already.
        """
        self._check()
        number = check_int(epoch, "epoch", maximum=INT_MAX)
        self._check_right(WRITE)
        await self._service.request(m.Fence(self.number, number), Done)

    # ---- sections

    async def section_create(
        self,
        section_id: bytes | str | None,
        data: bytes = b"",
        *,
        expiration_time: float | None = None,
        epoch: int | None = None,
    ) -> bytes:
        """Create a section and return its id; `section_id` None: the service chooses one.

        `expiration_time` is wall clock, seconds since the epoch: then the section is deleted; None: never.

        Raises: Access; InvalidParam: id empty or too long, data over max_section_size, time in the past; Exist;
        NoSpace: max_sections or checkpoint_size reached; NotExist: no active replica; AccessDenied: old epoch.
        Source: saCkptSectionCreate.
        """
        self._check()
        identity = None if section_id is None else section_id_of(section_id)
        content, time, number = check_bytes(data), check_time(expiration_time), check_epoch(epoch)
        check_new(self._limits, identity, content)
        self._check_right(WRITE)
        request = m.CreateSection(self.number, identity, content, time, number)
        return (await self._service.request(request, m.SectionCreated)).section_id

    async def section_delete(self, section_id: bytes | str, *, epoch: int | None = None) -> None:
        """Delete a section.

        Raises: Access; InvalidParam: the default section; NotExist: section or active replica; AccessDenied: old epoch.
        Source: saCkptSectionDelete.
        """
        self._check()
        request = m.DeleteSection(self.number, self._own_id(section_id), check_epoch(epoch))
        self._check_right(WRITE)
        await self._service.request(request, Done)
        self._service.deletions += 1

    async def section_overwrite(self, section_id: bytes | str, data: bytes, *, epoch: int | None = None) -> None:
        """Replace content and size of a section.

        Raises: Access; InvalidParam: data over max_section_size; NotExist; NoSpace; AccessDenied: old epoch.
        Source: saCkptSectionOverwrite.
        """
        self._check()
        request = m.Overwrite(self.number, section_id_of(section_id), check_bytes(data), check_epoch(epoch))
        check_data(self._limits, request.data)
        self._check_right(WRITE)
        await self._service.request(request, Done)

    async def section_expiration_time_set(self, section_id: bytes | str, expiration_time: float | None) -> None:
        """Set when a section is deleted (wall clock); None: never.

        Raises: Access; InvalidParam: the default section, time in the past; NotExist.
        Source: saCkptSectionExpirationTimeSet.
        """
        self._check()
        request = m.SetExpiration(self.number, self._own_id(section_id), check_time(expiration_time))
        self._check_right(WRITE)
        await self._service.request(request, Done)

    async def section_iteration_initialize(
        self, sections_chosen: SectionsChosen = SectionsChosen.ANY, expiration_time: float | None = None
    ) -> SectionIterator:
        """Iterate over the sections there are now.

        Raises: InvalidParam: unknown choice, LEQ or GEQ without a time; Access: opened neither for READ nor for WRITE;
        NotExist: no active replica.
        Source: saCkptSectionIterationInitialize.
        """
        self._check()
        chosen, time = check_enum(sections_chosen, SectionsChosen, "sections_chosen"), check_time(expiration_time)
        if time is None and chosen in (SectionsChosen.LEQ_EXPIRATION_TIME, SectionsChosen.GEQ_EXPIRATION_TIME):
            raise InvalidParam("the choice needs an expiration_time")
        self._check_right(READ | WRITE)
        first = await self.ask_page(m.ListSections(self.number, chosen, time, 0, None, 0))
        query = m.ListSections(self.number, chosen, time, 0, first.until, 1)
        return SectionIterator(self.ask_page, query, self._deleted)

    # ---- data

    async def write(self, vector: Sequence[IoVector], *, epoch: int | None = None) -> None:
        """Write parts of sections, all or none; gaps become zeros.

        Raises: Access; InvalidParam: empty vector, data None, over max_section_size; NotExist: section or active
        replica; NoSpace: checkpoint_size; NoResources: over 16 MiB; AccessDenied: old epoch.
        `.erroneous_vector_index` names the element.
        Source: saCkptCheckpointWrite.
        """
        self._check()
        parts, number = parts_of(vector), check_epoch(epoch)
        check_parts(self._limits, parts)
        self._check_right(WRITE)
        _check_call(sum([len(part.data) for part in parts]))
        try:
            await self._service.request(m.Write(self.number, parts, number), Done)
        except TooBig as error:
            raise _with_their_ids(error) from None

    async def write_batch(self, changes: Mapping[bytes | str, bytes | None], *, epoch: int | None = None) -> None:
        """Create, replace and (None) delete sections in one atomic step.

        Raises: as `write`; NotExist also when a section to delete is not there.
        """
        self._check()
        listed, number = changes_of(changes), check_epoch(epoch)
        check_changes(self._limits, listed)
        self._check_right(WRITE)
        _check_call(sum([len(change.data or b"") for change in listed]))
        try:
            await self._service.request(m.WriteBatch(self.number, listed, number), Done)
        except TooBig as error:
            raise _with_their_ids(error) from None
        self._service.deletions += any([change.data is None for change in listed])

    async def read(self, vector: Sequence[IoVector]) -> list[bytes]:
        """Read parts of sections from the local replica; shorter than `size` where a section ends.

        Raises: Access; InvalidParam: empty vector, offset negative or beyond the end; NotExist; NoResources: over
        16 MiB. `.erroneous_vector_index` names the element.
        Source: saCkptCheckpointRead.
        """
        self._check()
        extents = extents_of(vector)
        check_elements(extents)
        self._check_right(READ)
        return (await self._service.ask(m.Read(self.number, extents), m.Data)).items

    async def read_all(self) -> dict[bytes, bytes]:
        """All sections at one moment.

        Raises: Access: not opened for READ; NotExist: no active replica.
        """
        self._check_right(READ)
        return dict((await self._content())[0])

    async def _content(self) -> tuple[list[tuple[bytes, bytes]], m.Content]:
        """The content, in the order of creation, and what was said of it."""
        if self._reading is None:
            self._reading = anyio.Lock()
        async with self._reading:  # one long read at a time and handle
            for attempt in range(1, READ_ATTEMPTS + 1):
                content = await self._service.ask(m.ReadAll(self.number), m.Content)
                sections = list(content.sections)
                try:
                    while content.more:
                        content = await self._service.ask(m.ReadAll(self.number, True), m.Content)
                        sections += content.sections
                except Interrupt:
                    if attempt == READ_ATTEMPTS:
                        raise
                    continue
                return sections, content
        raise AssertionError("unreachable")

    # ---- synchronisation

    async def synchronize(self, *, timeout: float | None = None) -> None:
        """Return when all replicas have everything written before; `timeout` in seconds.

        Raises: Access: not opened for WRITE; BadOperation (SA_AIS_ERR_BAD_OPERATION): WR_ALL_REPLICAS; NotExist: no
        active replica; TimedOut.
        Source: saCkptCheckpointSynchronize.
        """
        self._check()
        check_timeout(timeout)
        self._check_right(WRITE)
        await self._service.request(m.Synchronize(self.number), Done, timeout=timeout)

    def synchronize_async(self, *, invocation: int | None = None) -> Pending[None]:
        """`synchronize` without waiting; the outcome is also an event, CheckpointSynchronized.

        Raises: Init (SA_AIS_ERR_INIT): without Callback.SYNCHRONIZE; Access: not opened for WRITE.
        Source: saCkptCheckpointSynchronizeAsync.
        """
        self._check()
        number = self._service.invocation(invocation)
        self._service.check_callback(Callback.SYNCHRONIZE)
        self._check_right(WRITE)
        return self._service.submit(
            m.Synchronize(self.number),
            Done,
            lambda _: None,
            lambda invocation, _, error: CheckpointSynchronized(invocation, error),
            invocation=number,
        )

    # ---- tracking

    async def track(self, *, data: bool = True) -> None:
        """Get a SectionsChanged event for each change that others make; `data`: with what they wrote.

        Raises: Init (SA_AIS_ERR_INIT): without Callback.TRACK; Exist: tracked already.
        Source: saCkptCheckpointTrack of OpenSAF.
        """
        self._check()
        check_bool(data, "data")
        self._service.check_callback(Callback.TRACK)
        await self._service.track_some([self], Tracking.DATA if data else Tracking.IDS)

    async def track_stop(self) -> None:
        """End what `track` began. Raises: NotExist (SA_AIS_ERR_NOT_EXIST): not tracked."""
        self._check()
        await self._service.request(m.Untrack((self.number,)), Done)
        self.tracking = Tracking.OFF
        self._service.session.detach(stream_of(self.number))

    def changes(self, *, current: bool = False) -> Following[SectionsChanged]:
        """Track, iterate over the changes others make, stop tracking when the iteration ends.

        With `current` the first item is the present content (all CREATED), and the changes go on from exactly there.
        These changes do not appear among the events of the service. Ends when the checkpoint is closed.

        Raises, at the first item: as `track`; with `current` also Access: not opened for READ; NotExist: no active
        replica.
        """
        session, stream = self._service.session, stream_of(self.number)
        since, is_ours = 0, False

        async def start() -> list[SectionsChanged]:
            nonlocal since, is_ours
            self._check()
            check_bool(current, "current")
            self._service.check_callback(Callback.TRACK)
            if current:
                self._check_right(READ)
            if self.tracking is not Tracking.OFF:
                await anyio.lowlevel.checkpoint()  # a loop that was just cancelled is dropped by then
                self._check()
            if self.tracking is not Tracking.OFF:
                raise Exist(f"checkpoint {self.name!r} is tracked already")
            session.attach(stream, m.CkptEvent)
            self.is_streamed = is_ours = True
            await self._service.track_some([self], Tracking.DATA)
            if not current:
                return []
            sections, content = await self._content()
            since = content.sequence
            made = tuple([SectionChange(key, SectionOperation.CREATED, 0, data) for key, data in sections])
            return [SectionsChanged(self, made, content.epoch, since)]

        async def more() -> list[SectionsChanged] | None:
            nonlocal since
            try:
                events = await session.next_events(stream)
            except BadHandle:
                if self.is_open and self._service.is_open and self.tracking is not Tracking.OFF:
                    raise
                return None
            news: list[SectionsChanged] = []
            for event in events:
                if event.is_merge:
                    since = min(since, event.sequence - 1)  # the standing content is counted anew
                if event.sequence > since and event.changes:
                    news.append(SectionsChanged(self, event.changes, event.epoch, event.sequence))
            return news

        return Following(start, more, lambda: self._stream_ended() if is_ours else None)

    def _stream_ended(self) -> None:
        self.is_streamed = False
        self._service.session.detach(stream_of(self.number))
        if self.is_open and self.tracking is not Tracking.OFF:
            self.tracking = Tracking.OFF
            self._service.release(m.Untrack((self.number,)))

    # ---- checks

    def _check(self) -> None:
        if not self.is_open:
            raise BadHandle(f"checkpoint {self.name!r} is closed")
        self._service.check_open()

    def _check_right(self, right: int) -> None:
        self._check()
        if not self._rights & right:
            raise Access(f"checkpoint {self.name!r} was not opened for {OpenFlags(right).name}")

    def _own_id(self, section_id: object) -> bytes:
        identity = section_id_of(section_id)
        if identity == DEFAULT_SECTION_ID:
            raise InvalidParam("the default section stays")
        return identity

    def _deleted(self) -> int:
        self._check()
        return self._service.deletions

    async def ask_page(self, query: m.ListSections) -> m.Sections:
        """For the iterator. Raises: BadHandle: closed."""
        self._check()
        return await self._service.ask(query, m.Sections)


def stream_of(number: int) -> int:
    """Under which number the session keeps the events of a handle whose changes have a reader of their own."""
    return -number


def _with_their_ids(error: TooBig) -> NoResources:
    """Long ids of very many elements do not fit one request, though their data would."""
    return NoResources(f"too many elements with long section ids: {error.reason}")


def _check_call(size: int) -> None:
    if size > CALL_BYTES_MAX:
        raise NoResources(f"{size} bytes in one call; {CALL_BYTES_MAX} is the limit")
