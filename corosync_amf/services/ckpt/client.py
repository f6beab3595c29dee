"""Checkpoints as an application uses them.

    async with initialize() as service:
        async with service.checkpoint_open("calls", creation_attributes=CreationAttributes()) as calls:
            await calls.write_batch({"call-17": b"answered", "call-16": None})

Source: SAI-AIS-CKPT-B.02.02 chapter 3.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from corosync_amf.engine import Done, Service
from corosync_amf.errors import AisError, Exist, NotExist
from corosync_amf.handles import Handles
from corosync_amf.service import SUPPORTED, Opening, Pending, ServiceClient, check_bool, check_name, check_timeout
from corosync_amf.session import Session

from . import messages as m
from .arguments import opening_of
from .checkpoint import Checkpoint, SectionsChanged, stream_of
from .messages import Tracking
from .values import Callback, CreationAttributes, OpenFlags

NOWHERE = 0
"""The number of no stream."""


@dataclass(frozen=True, slots=True)
class CheckpointOpened:
    """Event: the outcome of `checkpoint_open_async`. Source: SaCkptCheckpointOpenCallbackT."""

    invocation: int
    checkpoint: Checkpoint | None
    error: AisError | None


class CkptService(ServiceClient):
    """A session with the checkpoint service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.CKPT
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["CKPT"]
    callback = Callback
    event_type = m.CkptEvent
    _numbers: ClassVar = itertools.count(1)

    def __init__(self, session: Session, **arguments: Any) -> None:
        """For `initialize`."""
        super().__init__(session, **arguments)
        self.deletions = 0
        """How often sections were deleted through this session: iterations look again."""
        self._handles: Handles[Checkpoint, m.Opened] = Handles(self, m.Opened, m.Close)
        self._tracking = Tracking.OFF
        self._tracked: set[int] = set()

    async def start(self) -> None:
        """See `ServiceClient`."""
        self.session.divert(Service.CKPT, self._stream_of)

    async def stop(self) -> None:
        """See `ServiceClient`."""
        await self._handles.close_all()

    def _stream_of(self, event: Any) -> int:
        if not isinstance(event, m.Changed | m.HandleLost):
            return Service.CKPT
        checkpoint = self._handles.known.get(event.handle)
        if isinstance(event, m.HandleLost):
            if checkpoint is not None:
                checkpoint.shut()
            return NOWHERE
        if checkpoint is None or checkpoint.tracking is Tracking.OFF:
            return NOWHERE  # closed, or no longer tracked, on the way
        return stream_of(event.handle) if checkpoint.is_streamed else Service.CKPT

    def translate(self, message: Any) -> object | None:
        """See `ServiceClient`."""
        checkpoint = self._handles.known.get(message.handle)
        if checkpoint is None or not message.changes:
            return None
        return SectionsChanged(checkpoint, message.changes, message.epoch, message.sequence)

    # ---- opening

    def checkpoint_open(
        self,
        name: str,
        open_flags: OpenFlags | None = None,
        creation_attributes: CreationAttributes | None = None,
        *,
        timeout: float | None = 10.0,
    ) -> Opening[Checkpoint]:
        """Open a checkpoint, and create it when it is not there and attributes are given: await or enter the result.

        `open_flags` None means READ | WRITE, and CREATE when attributes are given. `timeout` in seconds, None:
        for ever.

        Raises: BadFlags: no or unknown bits; InvalidParam: CREATE without attributes or attributes without CREATE,
        impossible attributes; TooBig: name; NotExist (SA_AIS_ERR_NOT_EXIST): not there, without CREATE; Exist
        (SA_AIS_ERR_EXIST): there, with other attributes; NotSupported: persistent; NoResources; TimedOut.
        Source: saCkptCheckpointOpen.
        """

        async def open() -> Checkpoint:
            self.check_open()
            flags, attributes = opening_of(open_flags, creation_attributes)
            check_timeout(timeout)  # before the name may be too big
            request = self._request_to_open(check_name(name), flags, attributes)
            return await self._handles.open(self._prepared(request), request, timeout)

        return Opening(open, Checkpoint.close)

    def checkpoint_open_async(
        self,
        name: str,
        open_flags: OpenFlags | None = None,
        creation_attributes: CreationAttributes | None = None,
        *,
        invocation: int | None = None,
    ) -> Pending[Checkpoint]:
        """`checkpoint_open` without waiting; the outcome is also an event, CheckpointOpened.

        Raises: BadFlags, InvalidParam, TooBig; Init (SA_AIS_ERR_INIT): without Callback.OPEN.
        Source: saCkptCheckpointOpenAsync.
        """
        self.check_open()
        flags, attributes = opening_of(open_flags, creation_attributes)
        number = self.invocation(invocation)
        with self.needing(Callback.OPEN):
            check_name(name)
        request = self._request_to_open(name, flags, attributes)
        return self._handles.open_async(self._prepared(request), request, CheckpointOpened, number)

    def _request_to_open(self, name: str, flags: OpenFlags, attributes: m.Attributes | None) -> m.Open:
        tracking = self._tracking if flags & OpenFlags.WRITE else Tracking.OFF
        return m.Open(next(self._numbers), name, int(flags), attributes, tracking)

    def _prepared(self, request: m.Open) -> Checkpoint:
        checkpoint = Checkpoint(self, request.handle, request.name, OpenFlags(request.open_flags))
        checkpoint.tracking = request.tracking
        if request.tracking is not Tracking.OFF:
            self._tracked.add(request.handle)
        return checkpoint

    async def checkpoint_unlink(self, name: str) -> None:
        """Take the name away; the data live until the last handle is closed.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): no such name; TooBig.
        Source: saCkptCheckpointUnlink.
        """
        self.check_open()
        await self.request(m.Unlink(check_name(name)), Done)

    # ---- tracking

    async def track(self, *, data: bool = True) -> None:
        """Track every checkpoint that this session has open for WRITE, or opens later.

        Raises: Init (SA_AIS_ERR_INIT): without Callback.TRACK; Exist: tracked already.
        Source: saCkptTrack of OpenSAF.
        """
        self.check_open()
        check_bool(data, "data")
        self.check_callback(Callback.TRACK)
        if self._tracking is not Tracking.OFF:
            raise Exist("the session tracks already")
        self._tracking = Tracking.DATA if data else Tracking.IDS
        chosen = [each for each in self._handles.known.values() if each.is_open and each.open_flags & OpenFlags.WRITE]
        chosen = [each for each in chosen if each.tracking is Tracking.OFF]
        self._tracked.update(each.number for each in chosen)
        if not chosen:
            return
        try:
            await self.track_some(chosen, self._tracking)
        except BaseException:
            self._tracking = Tracking.OFF
            self._tracked.clear()
            raise

    async def track_stop(self) -> None:
        """End what `track` began. Raises: NotExist (SA_AIS_ERR_NOT_EXIST): not tracked."""
        self.check_open()
        if self._tracking is Tracking.OFF:
            raise NotExist("the session does not track")
        self._tracking = Tracking.OFF
        chosen = [self._handles.known[number] for number in sorted(self._tracked) if number in self._handles.known]
        self._tracked.clear()
        tracked = [each for each in chosen if each.tracking is not Tracking.OFF]
        for checkpoint in tracked:
            checkpoint.tracking = Tracking.OFF
        if tracked:
            await self.request(m.Untrack(tuple(each.number for each in tracked)), Done)

    async def track_some(self, checkpoints: Sequence[Checkpoint], tracking: Tracking) -> None:
        """For `track` of service and checkpoint: the events of these may come from now on."""
        before = [each.tracking for each in checkpoints]
        for checkpoint in checkpoints:
            checkpoint.tracking = tracking
        try:
            await self.request(m.Track(tuple(each.number for each in checkpoints), tracking), Done)
        except BaseException as error:
            for checkpoint, was in zip(checkpoints, before, strict=True):
                checkpoint.tracking = was
            begun = tuple(each.number for each in checkpoints if each.tracking is Tracking.OFF)
            if begun and not isinstance(error, AisError):  # cancelled: it goes its way all the same
                self.release(m.Untrack(begun))
            raise

    # ---- for Checkpoint

    def begun(self, checkpoint: Checkpoint) -> None:
        """It is open. `track` may have been called meanwhile."""
        if self._tracking is not checkpoint.tracking is Tracking.OFF and checkpoint.open_flags & OpenFlags.WRITE:
            self._tracked.add(checkpoint.number)
            checkpoint.tracking = self._tracking
            self.release(m.Track((checkpoint.number,), self._tracking))

    def forget(self, checkpoint: Checkpoint) -> None:
        """The handle is closed."""
        self._handles.forget(checkpoint)
        self._tracked.discard(checkpoint.number)
        self.session.detach(stream_of(checkpoint.number))


def initialize(
    *,
    version: str = SUPPORTED["CKPT"][-1],
    events: Callback = Callback.ALL,
    retry: bool = True,
    address: str | None = None,
) -> Opening[CkptService]:
    """Open a session with the checkpoint service: enter or await the result.

    `events`: the kinds wanted. `retry=False`: TryAgain is raised at once. `address`: the executive's socket, default
    from the environment.

    Raises: InvalidParam, Version (SA_AIS_ERR_VERSION), Library: no executive.
    Source: saCkptInitialize.
    """
    return CkptService.opening(version=version, events=events, retry=retry, address=address)
