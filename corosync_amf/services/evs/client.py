"""EVS as an application uses it.

    async with initialize() as session:
        await session.join("alarms", "calls")
        await session.mcast_groups(["calls"], b"ringing")
        async for event in session:
            ...

Source: evs.h of corosync.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

from corosync_amf.checks import check_enum
from corosync_amf.engine import Done, Request, Service
from corosync_amf.errors import AisError, InvalidParam, NoResources, NotExist
from corosync_amf.messaging import unpack
from corosync_amf.multicasting import Buffer, GroupClient, GroupName, check_group, check_messages
from corosync_amf.service import Opening
from corosync_amf.session import Session

from . import messages as m
from .values import (
    GROUP_BYTES_MAX,
    GROUPS_MAX,
    MESSAGE_BYTES_MAX,
    ConfigurationChanged,
    ConfigurationKind,
    Delivered,
    Guarantee,
    Membership,
    NoChoice,
)

AGREED, SAFE = Guarantee.AGREED, Guarantee.SAFE
_group_name = partial(check_group, limit=GROUP_BYTES_MAX, too_long=InvalidParam)


class EvsService(GroupClient):
    """A session, in any number of groups. Get it with `initialize`; iterate over it for its events: the first is the
    present configuration.
    """

    service: ClassVar[Service] = Service.EVS
    callback = NoChoice
    event_type = m.EvsEvent

    def __init__(self, session: Session, **options: Any) -> None:
        """For `opening`."""
        super().__init__(session, **options)
        self._joined: set[bytes] = set()

    @classmethod
    def opening(  # type: ignore[override]  # EVS has neither versions nor kinds of events to choose from
        cls, *, retry: bool = True, address: str | None = None, session: Session | None = None
    ) -> "Opening[EvsService]":
        """See `initialize`."""
        return super().opening(retry=retry, address=address, session=session)

    async def start(self) -> None:
        """See `ServiceClient`."""
        await self.request(m.Open(), Done)

    async def stop(self) -> None:
        """See `ServiceClient`."""
        self._joined.clear()
        await self.request(m.Finalize(), Done)

    # ---- groups

    async def join(self, *groups: GroupName) -> None:
        """Get the messages to these groups, each 1 to 32 bytes (text counts in UTF-8): to all of them or, if it is
        refused, to none.

        Raises: InvalidParam (EVS_ERR_INVALID_PARAM): no group, or one that is empty or too long; Exist (EVS_ERR_EXIST):
        joined already; NoResources: 65,536 groups.
        Source: evs_join.
        """
        self.check_open()
        names = _group_names(groups)
        try:
            await self.request(m.Join(names), Done)
        except AisError:
            raise
        except BaseException:  # given up: what may still happen is taken back before anything else is done
            if self._joined.isdisjoint(names):
                self.withdraw(m.Leave(names))
            raise
        self._joined.update(names)

    async def leave(self, *groups: GroupName) -> None:
        """Get no more messages to these groups: of all of them or, if it is refused, of none.

        Raises: InvalidParam (EVS_ERR_INVALID_PARAM): as `join`; NotExist (EVS_ERR_NOT_EXIST): not joined.
        Source: evs_leave.
        """
        self.check_open()
        names = _group_names(groups)
        await self.request(m.Leave(names), Done)
        self._joined.difference_update(names)

    async def membership_get(self) -> Membership:
        """The nodes of the present configuration, as this node knows them.

        Source: evs_membership_get.
        """
        self.check_open()
        return Membership(self.session.node_id, (await self.ask(m.GetMembers(), m.Members)).nodes)

    # ---- messages

    async def mcast_joined(self, message: Buffer | Sequence[Buffer], guarantee: Guarantee = AGREED) -> None:
        """Send a message, or a sequence of them, to all sessions in any of this session's groups, this one included;
        each up to 1 MiB.

        It returns when the message is handed over: it is delivered to all of them if to any. It waits while flow
        control is on. Messages of one round of the event loop travel together, without a delay.

        Raises: InvalidParam: guarantee, or no message; TooBig: over 1 MiB; NotExist: nothing joined; TryAgain: flow
        control is on (with `retry=False`).
        Source: evs_mcast_joined.
        """
        sending = self.sending
        if (
            type(message) is bytes  # the usual case, without detours
            and len(message) <= MESSAGE_BYTES_MAX
            and guarantee is AGREED
            and self._joined
            and sending.has_room
        ):
            sending.add(None, message, False)
            return
        self.check_open()
        await self._mcast(None, message, guarantee)

    async def mcast_groups(
        self, groups: Iterable[GroupName], message: Buffer | Sequence[Buffer], guarantee: Guarantee = AGREED
    ) -> None:
        """`mcast_joined`, but to all sessions in any of `groups`: once to each, to this one only if it is in one.

        Raises: InvalidParam: as `join`, and as `mcast_joined`; TooBig; NotExist: this session has joined nothing;
        TryAgain: flow control is on (with `retry=False`).
        Source: evs_mcast_groups.
        """
        self.check_open()
        if isinstance(groups, str | bytes) or not isinstance(groups, Iterable):
            raise InvalidParam("groups must be a sequence of groups")
        await self._mcast(_group_names(groups), message, guarantee)

    async def _mcast(self, groups: tuple[bytes, ...] | None, message: object, guarantee: object) -> None:
        is_safe = check_enum(guarantee, Guarantee, "guarantee") is SAFE
        messages = check_messages(message)
        if not self._joined:
            raise NotExist("nothing is joined")
        await self.multicast(groups, messages, is_safe)

    # ---- for GroupClient

    def packed(self, destination: Any, is_safe: bool, count: int, data: memoryview) -> Request:
        """See `GroupClient`."""
        return m.Multicast(destination, is_safe, count, data)

    def expand(self, event: m.EvsEvent) -> Iterable[object]:
        """See `GroupClient`."""
        match event:
            case m.Messages(count, data, node):
                return [Delivered(node, message) for message in unpack(data, count)]
            case m.Changed(members, left, joined, ring_id, kind, reason):
                return [ConfigurationChanged(members, left, joined, ring_id, ConfigurationKind(kind), reason)]


def _group_names(groups: Iterable[object]) -> tuple[bytes, ...]:
    """Each once. Raises: InvalidParam; NoResources: more than there can be."""
    names = tuple(dict.fromkeys(_group_name(group) for group in groups))
    if not names:
        raise InvalidParam("no group")
    if len(names) > GROUPS_MAX:
        raise NoResources(f"{len(names)} groups; there are {GROUPS_MAX} at most")
    return names


def initialize(*, retry: bool = True, address: str | None = None) -> Opening[EvsService]:
    """Open a session: enter or await the result.

    `retry=False`: TryAgain is raised at once. `address`: the executive's socket, default from the environment.

    Raises: Library: no executive there; TimedOut.
    Source: evs_initialize.
    """
    return EvsService.opening(retry=retry, address=address)
