"""Message queues as an application uses them.

    async with initialize() as service:
        inbox = await service.queue_open("orders", QueueCreationAttributes())
        await service.message_send("orders", Message(b"order 1"))
        message = await inbox.message_get()

Source: SAI-AIS-MSG-B.03.01 chapter 3.
"""

import itertools
from typing import Any, ClassVar

import anyio

from corosync_amf.ais import TrackFlags
from corosync_amf.engine import Done, Service
from corosync_amf.errors import (
    InvalidParam,
)
from corosync_amf.handles import Handles
from corosync_amf.service import (
    SUPPORTED,
    Opening,
    Pending,
    check_enum,
    check_timeout,
)
from corosync_amf.session import Session

from . import messages as m
from .arguments import name_of, opening_of, track_flags_of
from .events import Incoming, QueueOpened
from .limits import CHANGE_FLAGS, check_name, check_opening
from .queue import Queue
from .sending import WAITING_PLACES, SendingClient
from .values import (
    LIMITS,
    Callback,
    GroupView,
    LimitId,
    QueueCreationAttributes,
    QueueGroupPolicy,
    QueueOpenFlags,
    QueueStatus,
)


class MsgService(SendingClient):
    """A session with the message service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.MSG
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["MSG"]
    callback = Callback
    event_type = m.MsgEvent

    def __init__(self, session: Session, **arguments: Any) -> None:
        """For `initialize`."""
        super().__init__(session, **arguments)
        self._queues: Handles[Queue, m.Opened] = Handles(self, m.Opened, m.Close)
        self._tracked: set[str] = set()
        self._incoming = Incoming(session, self._queues.known, self._tracked)
        self.getting = anyio.Semaphore(WAITING_PLACES, fast_acquire=True)

    async def start(self) -> None:
        """See `ServiceClient`."""
        self.session.divert(Service.MSG, self._incoming.stream_of)

    async def stop(self) -> None:
        """See `ServiceClient`."""
        for group in sorted(self._tracked):
            self.release(m.TrackStop(group))
        queues = [queue for _, queue in sorted(self._queues.known.items()) if queue.is_open]
        taken = tuple(itertools.chain.from_iterable(queue.shut() for queue in queues))
        if queues:
            await self.give_back(m.Close(tuple(queue.number for queue in queues), taken))

    def translate(self, message: Any) -> object | None:
        """See `ServiceClient`."""
        return self._incoming.public(message)

    # ---- queues

    def queue_open(
        self,
        name: str,
        creation_attributes: QueueCreationAttributes | None = None,
        open_flags: QueueOpenFlags | None = None,
        *,
        timeout: float | None = 10.0,
    ) -> Opening[Queue]:
        """Open a queue, and create it when it is not there and CREATE and attributes are given: await or enter it.

        `open_flags` None: CREATE exactly when attributes are given. `timeout` in seconds, None: for ever.

        Raises: BadFlags: unknown bits; InvalidParam: CREATE without attributes or the reverse, negative times; Init:
        RECEIVE_CALLBACK without Callback.RECEIVED; TooBig: name, an area or all; NotExist (SA_AIS_ERR_NOT_EXIST): not
        there, without CREATE; Exist (SA_AIS_ERR_EXIST): there, with other attributes; Busy (SA_AIS_ERR_BUSY): open
        already; NoResources; TimedOut.
        Source: saMsgQueueOpen.
        """

        async def open() -> Queue:
            self.check_open()
            request = self._request_to_open(name, open_flags, creation_attributes, timeout=timeout)
            return await self._queues.open(Queue(self, request.handle, request.name), request, timeout)

        return Opening(open, Queue.close)

    def queue_open_async(
        self,
        name: str,
        creation_attributes: QueueCreationAttributes | None = None,
        open_flags: QueueOpenFlags | None = None,
        *,
        invocation: int | None = None,
    ) -> Pending[Queue]:
        """`queue_open` without waiting; the outcome is also an event, QueueOpened.

        Raises: BadFlags, InvalidParam, TooBig; Init: also without Callback.OPEN. Others: in the outcome.
        Source: saMsgQueueOpenAsync.
        """
        self.check_open()
        number = self.invocation(invocation)
        request = self._request_to_open(name, open_flags, creation_attributes, Callback.OPEN)
        return self._queues.open_async(Queue(self, request.handle, request.name), request, QueueOpened, number)

    def _request_to_open(
        self,
        name: str,
        open_flags: QueueOpenFlags | None,
        attributes: QueueCreationAttributes | None,
        *needed: Callback,
        timeout: float | None = None,
    ) -> m.Open:
        name, flags, given = opening_of(name, open_flags, attributes)
        check_timeout(timeout)
        for callback in (*needed, *([Callback.RECEIVED] if flags & QueueOpenFlags.RECEIVE_CALLBACK else ())):
            self.check_callback(callback)
        check_name(name)
        check_opening(flags, given)
        return m.Open(next(self.numbers), name, flags, given)

    async def queue_status_get(self, name: str) -> QueueStatus:
        """What a queue was made for, when it was closed, and how full it is. The answer is local.

        Raises: InvalidParam; NotExist (SA_AIS_ERR_NOT_EXIST): no such queue.
        Source: saMsgQueueStatusGet.
        """
        self.check_open()
        return (await self.ask(m.GetStatus(_name(name)), m.Status)).status

    async def queue_unlink(self, name: str) -> None:
        """Delete a queue: at once if it is closed, else when it is closed. Nothing can be sent to it any more.

        Raises: InvalidParam; NotExist (SA_AIS_ERR_NOT_EXIST): no such queue.
        Source: saMsgQueueUnlink.
        """
        self.check_open()
        await self.request(m.Unlink(_name(name)), Done)

    async def queue_purge(self, name: str) -> int:
        """Discard the messages that wait in a queue, whoever has it open; return how many. For operators.

        Raises: InvalidParam; NotExist: no such queue.
        """
        self.check_open()
        return (await self.request(m.Purge(_name(name)), m.Purged)).count

    async def queue_list(self) -> list[m.QueueLine]:
        """All queues, in the order of their names: who has them open and what is in them. For operators."""
        self.check_open()
        found: list[m.QueueLine] = []
        while page := (await self.ask(m.ListQueues(found[-1].name if found else ""), m.Queues)).lines:
            found += page
        return found

    # ---- groups

    async def queue_group_create(self, name: str, policy: QueueGroupPolicy) -> None:
        """Make a queue group, empty.

        Raises: InvalidParam: policy, name; TooBig; Exist (SA_AIS_ERR_EXIST): a group or queue has this name;
        NoResources: 1024 groups.
        Source: saMsgQueueGroupCreate.
        """
        self.check_open()
        name, kind = name_of(name), check_enum(policy, QueueGroupPolicy, "policy")
        check_name(name)
        await self.request(m.CreateGroup(name, kind), Done)

    async def queue_group_delete(self, name: str) -> None:
        """Delete a group; its queues stay. Raises: InvalidParam; NotExist (SA_AIS_ERR_NOT_EXIST).

        Source: saMsgQueueGroupDelete.
        """
        self.check_open()
        await self.request(m.DeleteGroup(_name(name)), Done)

    async def queue_group_insert(self, group: str, queue: str) -> None:
        """Add a queue to a group, at the end.

        Raises: InvalidParam; NotExist: group or queue; Exist (SA_AIS_ERR_EXIST): it is a member; NoResources.
        Source: saMsgQueueGroupInsert.
        """
        self.check_open()
        await self.request(m.Insert(*_names(group, queue)), Done)

    async def queue_group_remove(self, group: str, queue: str) -> None:
        """Take a queue out of a group.

        Raises: InvalidParam; NotExist (SA_AIS_ERR_NOT_EXIST): group, queue, or no member.
        Source: saMsgQueueGroupRemove.
        """
        self.check_open()
        await self.request(m.Remove(*_names(group, queue)), Done)

    async def queue_group_list(self) -> list[m.GroupLine]:
        """All groups, in the order of their names. For operators."""
        self.check_open()
        found: list[m.GroupLine] = []
        while page := (await self.ask(m.ListGroups(found[-1].name if found else ""), m.Groups)).lines:
            found += page
        return found

    async def queue_group_track(self, group: str, flags: TrackFlags, *, buffer: bool = True) -> GroupView | None:
        """Get the queues of a group (CURRENT), and follow its changes (CHANGES: all queues each time; CHANGES_ONLY).

        With `buffer` the present view is returned, without it comes as an event. A second call replaces the flags.

        Raises: BadFlags: none, CHANGES with CHANGES_ONLY, unknown bits; InvalidParam; Init: events are to come, but no
        Callback.GROUP_TRACK; NotExist (SA_AIS_ERR_NOT_EXIST): no such group.
        Source: saMsgQueueGroupTrack.
        """
        self.check_open()
        wanted = track_flags_of(flags)
        name = name_of(group, "group")
        if not isinstance(buffer, bool):
            raise InvalidParam("buffer must be a bool")
        is_current = bool(wanted & TrackFlags.CURRENT)
        if wanted & CHANGE_FLAGS or not buffer:
            self.check_callback(Callback.GROUP_TRACK)
        check_name(name)
        if not wanted & CHANGE_FLAGS and buffer:
            return (await self.ask(m.GetView(name), m.View)).view
        answer = await self.request(m.Track(name, int(wanted), is_current and not buffer), m.View)
        if wanted & CHANGE_FLAGS:
            self._tracked.add(name)
        return answer.view if is_current and buffer else None

    async def queue_group_track_stop(self, group: str) -> None:
        """Follow a group no more. Raises: InvalidParam; NotExist (SA_AIS_ERR_NOT_EXIST): no group, or not tracked.

        Source: saMsgQueueGroupTrackStop.
        """
        self.check_open()
        name = _name(group, "group")
        await self.request(m.TrackStop(name), Done)
        self._tracked.discard(name)

    # ---- limits

    def metadata_size_get(self) -> int:
        """How many bytes of a queue a message takes besides its data: 0. Raises: Version: session older than B.03.

        Source: saMsgMetadataSizeGet.
        """
        self.check_open()
        self.check_version("B.03")
        return 0

    def limit_get(self, limit_id: LimitId) -> int:
        """A limit of the service. Raises: Version: session older than B.03; InvalidParam: unknown.

        Source: saMsgLimitGet.
        """
        self.check_open()
        self.check_version("B.03")
        return LIMITS[check_enum(limit_id, LimitId, "limit_id")]

    # ---- for Queue

    def forget(self, queue: Queue) -> None:
        """The queue is closed."""
        self._queues.forget(queue)


def _name(name: object, what: str = "name") -> str:
    found = name_of(name, what)
    check_name(found)
    return found


def _names(group: object, queue: object) -> tuple[str, str]:
    names = name_of(group, "group"), name_of(queue, "queue")
    for name in names:
        check_name(name)
    return names


def initialize(
    *,
    version: str = SUPPORTED["MSG"][-1],
    events: Callback = Callback.ALL,
    retry: bool = True,
    address: str | None = None,
) -> Opening[MsgService]:
    """Open a session with the message service: enter or await the result.

    `events`: the kinds wanted. `retry=False`: TryAgain is raised at once. `address`: the executive's socket, default
    from the environment.

    Raises: InvalidParam, Version (SA_AIS_ERR_VERSION), Library: no executive.
    Source: saMsgInitialize.
    """
    return MsgService.opening(version=version, events=events, retry=retry, address=address)
