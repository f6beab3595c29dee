"""The cluster membership as an application uses it.

    async with initialize() as service:
        me = await service.cluster_node_get()
        async for event in service.views():
            print(event.view.view_number, event.reason)

Source: SAI-AIS-CLM-B.04.01 chapter 3.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar, cast

import anyio.lowlevel

from corosync_amf.ais import LOCAL_NODE_ID, NodeId, TrackFlags
from corosync_amf.engine import Done, Request, Service
from corosync_amf.errors import AisError, BadFlags, BadHandle, InvalidParam, NotExist
from corosync_amf.following import Following
from corosync_amf.service import (
    SUPPORTED,
    Opening,
    Pending,
    ServiceClient,
    check_bool,
    check_enum,
    check_flags,
    check_int,
    check_name,
    check_timeout,
)

from . import messages as m
from .messages import NodeOperation
from .values import (
    Callback,
    ChangeStep,
    ClusterNode,
    ClusterNodeGot,
    ClusterTrack,
    ClusterView,
    Response,
)
from .views import CHANGE_FLAGS, problem_of_flags
from .waiting import Waiting

T = TypeVar("T")
U = TypeVar("U")
NODE_ID_MAX: Final = 0xFFFFFFFF
NEWER: Final = TrackFlags.LOCAL | TrackFlags.START_STEP | TrackFlags.VALIDATE_STEP
"""Flags that B.01 does not have."""
VIEWS: Final = -(1 << 62)
"""The number of the stream of `views`."""


class ClmService(ServiceClient):
    """A session with the cluster membership service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.CLM
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["CLM"]
    callback = Callback
    event_type = m.ClmEvent

    def attach(self) -> None:
        """See `ServiceClient`."""
        self._keep(Service.CLM)

    def _keep(self, stream: int) -> None:
        waiting = Waiting()
        self.session.attach(stream, m.ClmEvent, waiting, waiting.is_full)

    async def start(self) -> None:
        """See `ServiceClient`."""
        self.session.divert(Service.CLM, self._stream_of)

    async def stop(self) -> None:
        """See `ServiceClient`."""
        self._release(m.TrackStop())
        self.session.detach(VIEWS)

    def _stream_of(self, event: Any) -> int:
        is_view = isinstance(event, m.Tracked | ClusterTrack)
        return VIEWS if is_view and self.session.is_attached(VIEWS) else Service.CLM

    def translate(self, message: Any) -> object | None:
        """See `ServiceClient`."""
        return cast(object, _public(message))

    # ---- membership

    async def cluster_track(self, flags: TrackFlags, *, buffer: bool = True) -> ClusterView | None:
        """Get the present view (CURRENT) and follow its changes (CHANGES: all nodes each time; CHANGES_ONLY).

        With `buffer` the present view is returned, without it comes as an event. LOCAL: this node only. START_STEP and
        VALIDATE_STEP: be asked before a node is locked or shut down. A second call replaces the flags of the first.

        Raises: BadFlags (SA_AIS_ERR_BAD_FLAGS): none or unknown, CHANGES with CHANGES_ONLY, a step without either; Init
        (SA_AIS_ERR_INIT): events are to come, but no Callback.TRACK; Version: LOCAL or steps in a B.01 session.
        Source: saClmClusterTrack_4.
        """
        self.check_open()
        wanted = check_int(flags, "flags", minimum=None)
        if wanted & NEWER:
            self.check_version("B.03")
        wanted = check_flags(wanted, TrackFlags)
        if problem := problem_of_flags(wanted):
            raise BadFlags(problem)
        check_bool(buffer, "buffer")
        is_current, is_event = bool(wanted & TrackFlags.CURRENT), bool(wanted & TrackFlags.CURRENT) and not buffer
        if is_event or wanted & CHANGE_FLAGS:
            self.check_callback(Callback.TRACK)
        if is_event or wanted & CHANGE_FLAGS:
            answer = await self.request(m.Track(int(wanted), is_event), m.View)
        else:
            answer = await self.ask(m.GetView(int(wanted)), m.View)
        return answer.view if is_current and buffer else None

    async def cluster_track_stop(self) -> None:
        """Follow the membership no more.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): nothing is tracked.
        Source: saClmClusterTrackStop.
        """
        self.check_open()
        await self.request(m.TrackStop(), Done)

    def views(self, flags: TrackFlags = TrackFlags.CURRENT | TrackFlags.CHANGES) -> Following[ClusterTrack]:
        """Track, iterate over the views, stop tracking when the iteration ends (at `finalize` at the latest).

        Raises, at the first item: as `cluster_track`; InvalidParam: another such iteration is going on.
        """
        session = self.session
        is_streamed = False

        async def start() -> list[ClusterTrack]:
            nonlocal is_streamed
            self.check_open()
            if session.is_attached(VIEWS):
                await anyio.lowlevel.checkpoint()  # a loop that was just cancelled is dropped by then
            self._keep(VIEWS)
            is_streamed = True
            await self.cluster_track(flags, buffer=False)
            return []

        async def more() -> list[ClusterTrack] | None:
            try:
                return [_public(event) for event in await session.next_events(VIEWS)]
            except BadHandle:
                if self.is_open:
                    raise
                return None

        def stop() -> None:
            if is_streamed and self.is_open:
                session.detach(VIEWS)
                self._release(m.TrackStop())

        return Following(start, more, stop)

    async def cluster_node_get(self, node_id: NodeId = LOCAL_NODE_ID, *, timeout: float | None = 10.0) -> ClusterNode:
        """Facts about a member, by default this node. The answer is local; it needs no quorum.

        Raises: InvalidParam: no node id, 0; NotExist (SA_AIS_ERR_NOT_EXIST): no member (InvalidParam in B.01).
        Source: saClmClusterNodeGet_4.
        """
        self.check_open()
        query = m.GetNode(_node_id(node_id))
        try:
            return (await self.ask(query, m.Node, timeout=timeout)).node
        except NotExist as error:
            raise self._unknown(error) from None

    def cluster_node_get_async(
        self, node_id: NodeId = LOCAL_NODE_ID, *, invocation: int | None = None
    ) -> Pending[ClusterNode]:
        """`cluster_node_get` without waiting; the outcome is also an event, ClusterNodeGot, with this `invocation`.

        Raises: InvalidParam; Init (SA_AIS_ERR_INIT): without Callback.NODE_GET.
        Source: saClmClusterNodeGetAsync.
        """
        self.check_open()
        request, number = m.FetchNode(_node_id(node_id)), self.invocation(invocation)
        self.check_callback(Callback.NODE_GET)
        return self.submit(request, m.Node, lambda answer: answer.node, ClusterNodeGot, invocation=number)

    def hand_over(
        self, message: Request, reply: type[T], outcome: Callable[[T | AisError], U], *, invocation: int = 0
    ) -> Pending[U]:
        """See `ServiceClient`. Also in an event B.01 has but one word for a node that is not there."""

        def mapped(value: T | AisError) -> U:
            return outcome(self._unknown(value) if isinstance(value, NotExist) else value)

        return super().hand_over(message, reply, mapped, invocation=invocation)

    def _unknown(self, error: NotExist) -> AisError:
        return InvalidParam(error.reason) if self.version < "B.03" else error

    async def response(self, invocation: int, response: Response) -> None:
        """Answer a ClusterTrack event that has an invocation.

        Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): unknown or answered already; unknown response; Version: in a
        B.01 session.
        Source: saClmResponse_4.
        """
        self.check_open()
        self.check_version("B.03")
        number, answer = check_int(invocation, "invocation", maximum=2**63 - 1), check_enum(response, Response)
        await self.request(m.Respond(number, answer), Done)

    # ---- administration

    async def node_lock(
        self, name: str, *, timeout: float | None = None, force: bool = False, validate: bool = False
    ) -> None:
        """Take a node out of the cluster when those who asked for START have put things in order, or their time is up.

        `validate`: ask the VALIDATE trackers first, who may reject it. `force`: even if that takes away quorum.

        Raises: NoOp: locked already; NotExist; BadOperation: it would take away quorum; TryAgain: another operation
        runs on the node; FailedOperation: rejected; TimedOut; Interrupt (of a shutdown): a lock took its place.
        Source: SA_CLM_ADMIN_LOCK.
        """
        await self._operate(NodeOperation.LOCK, name, timeout, force, validate)

    async def node_unlock(self, name: str, *, timeout: float | None = None) -> None:
        """Let a locked node be a member again. Raises: NoOp: not locked; NotExist; TryAgain; TimedOut.

        Source: SA_CLM_ADMIN_UNLOCK.
        """
        await self._operate(NodeOperation.UNLOCK, name, timeout, False, False)

    async def node_shutdown(
        self, name: str, *, timeout: float | None = None, force: bool = False, validate: bool = False
    ) -> None:
        """As `node_lock`, but those who asked for START have all the time they need.

        Raises: NoOp: locked or shutting down already; others as `node_lock`.
        Source: SA_CLM_ADMIN_SHUTDOWN.
        """
        await self._operate(NodeOperation.SHUTDOWN, name, timeout, force, validate)

    async def node_reset(self, name: str) -> None:
        """Reset a node. Raises: NotExist: not in the cluster; NotSupported: it has no reset command."""
        self.check_open()
        await self.request(m.Reset(check_name(name)), Done)

    async def cluster_reset(self) -> None:
        """Reset all nodes. Raises: NotSupported: one of them has no reset command."""
        self.check_open()
        await self.request(m.Reset(None), Done)

    async def _operate(
        self, operation: NodeOperation, name: str, timeout: float | None, force: bool, validate: bool
    ) -> None:
        self.check_open()
        check_timeout(timeout)
        is_forced, is_validated = check_bool(force, "force"), check_bool(validate, "validate")
        request = m.Operate(operation, check_name(name), is_forced, is_validated)
        await self.request(request, Done, timeout=timeout)

    def _release(self, message: Request) -> None:
        try:
            self.session.post(Service.CLM, message)
        except AisError:
            pass  # the executive forgets a lost client


def _public(event: Any) -> Any:
    if not isinstance(event, m.Tracked):
        return event
    return ClusterTrack(
        event.view,
        event.view.number_of_members,
        event.invocation,
        event.root_cause_entity,
        ChangeStep(event.step),
        event.time_supervision,
        None,
        event.reason,
    )


def _node_id(value: object) -> NodeId:
    return check_int(value, "node_id", minimum=1, maximum=NODE_ID_MAX)


def initialize(
    *,
    version: str = SUPPORTED["CLM"][-1],
    events: Callback = Callback.ALL,
    retry: bool = True,
    address: str | None = None,
) -> Opening[ClmService]:
    """Open a session with the cluster membership service: enter or await the result.

    `events`: the kinds wanted. `retry=False`: TryAgain is raised at once. `address`: the executive's socket, default
    from the environment.

    Raises: InvalidParam; Version (SA_AIS_ERR_VERSION); Unavailable (SA_AIS_ERR_UNAVAILABLE): this node is no member;
    Library: no executive.
    Source: saClmInitialize_4.
    """
    return ClmService.opening(version=version, events=events, retry=retry, address=address)
