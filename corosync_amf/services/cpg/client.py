"""CPG as an application uses it.

    async with initialize() as session:
        await session.join("chat")
        await session.mcast_joined(b"hello")
        async for event in session:
            ...

Source: cpg.h of corosync.
"""

import os
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

from corosync_amf.ais import NodeId
from corosync_amf.checks import check_enum
from corosync_amf.engine import Done, Request, Service
from corosync_amf.errors import AisError, InvalidParam, NameTooLong, NotExist
from corosync_amf.following import Following
from corosync_amf.messaging import unpack
from corosync_amf.multicasting import Buffer, GroupClient, GroupName, check_group, check_messages, group_bytes
from corosync_amf.service import Opening
from corosync_amf.session import Session

from . import messages as m
from .values import (
    GROUP_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    Address,
    ConfigurationChanged,
    Delivered,
    FlowControlState,
    GroupDescription,
    Guarantee,
    IterationType,
    Reason,
    TotemConfigurationChanged,
    TotemEvents,
)

AGREED, SAFE = Guarantee.AGREED, Guarantee.SAFE
_group_name = partial(check_group, limit=GROUP_BYTES_MAX, too_long=NameTooLong)


class CpgService(GroupClient):
    """A session, a member of at most one group. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.CPG
    callback = TotemEvents
    event_type = m.CpgEvent

    _group: bytes | None = None
    """The group that it is a member of; `_named`: as the application called the last one."""
    _named: GroupName = ""

    @classmethod
    def opening(  # type: ignore[override]  # CPG has neither versions nor kinds of events to choose from
        cls,
        *,
        totem_events: bool = False,
        initial_totem: bool = False,
        retry: bool = True,
        address: str | None = None,
        session: Session | None = None,
    ) -> "Opening[CpgService]":
        """See `initialize`."""
        for what, given in (("totem_events", totem_events), ("initial_totem", initial_totem)):
            if not isinstance(given, bool):
                raise InvalidParam(f"{what} must be a bool, not {given!r}")
        wanted = TotemEvents.CHANGES * totem_events | TotemEvents.INITIAL * initial_totem
        return super().opening(events=TotemEvents(wanted), retry=retry, address=address, session=session)

    async def start(self) -> None:
        """See `ServiceClient`."""
        if self.callbacks:
            await self.request(m.Watch(self.callbacks), Done)

    async def stop(self) -> None:
        """See `ServiceClient`."""
        self._group = None
        await self.request(m.Finalize(), Done)

    # ---- members

    async def join(self, group: GroupName) -> None:
        """Become a member of `group`, 1 to 128 bytes (text counts in UTF-8). All its members are told, this one first
        of all that it gets: a message is never delivered before the configuration that it was sent in.

        Raises: InvalidParam (CS_ERR_INVALID_PARAM): empty, or neither text nor bytes; NameTooLong; Exist
        (CS_ERR_EXIST): this session is in a group; NoResources: 128 members, or 65,536 groups.
        Source: cpg_join.
        """
        self.check_open()
        name = _group_name(group)
        if self._group is None:
            self._named = group
        try:
            await self.request(m.Join(name, os.getpid()), Done)
        except AisError:
            raise
        except BaseException:  # given up: what may still happen is taken back before anything else is done
            if self._group is None:
                self.withdraw(m.Leave(name))
            raise
        self._group = name

    async def leave(self) -> None:
        """Be a member no more. The last event of the group tells so, with Reason.LEAVE.

        Raises: NotExist (CS_ERR_NOT_EXIST): this session is in no group.
        Source: cpg_leave.
        """
        self.check_open()
        if self._group is None:
            raise NotExist("this session is in no group")
        await self.request(m.Leave(self._group), Done)
        self._group = None

    async def membership_get(self, group: GroupName) -> tuple[Address, ...]:
        """The members of a group, in the order of their joining, as this node knows them; none of an unknown group.

        Raises: InvalidParam, NameTooLong: group.
        Source: cpg_membership_get.
        """
        self.check_open()
        answer = await self.ask(m.GetMembers(_group_name(group)), m.Members)
        return tuple(Address(member.client.node, member.pid) for member in answer.members)

    def local_get(self) -> NodeId:
        """The node that this process is on. Source: cpg_local_get."""
        self.check_open()
        return self.session.node_id

    def iteration(
        self, kind: IterationType = IterationType.ALL, group: GroupName | None = None
    ) -> AsyncIterator[GroupDescription]:
        """The groups of the cluster in the order of their names: NAME_ONLY, ONE_GROUP (then `group` is needed), ALL
        with their members. It is read in pages; what changes meanwhile may or may not be seen.

        Raises: InvalidParam: kind, or no group; NameTooLong.
        Source: cpg_iteration_initialize, cpg_iteration_next, cpg_iteration_finalize.
        """
        self.check_open()
        kind = check_enum(kind, IterationType, "kind")
        name = _group_name(group) if kind is IterationType.ONE_GROUP else b""
        last: bytes | None = b""

        async def one() -> list[GroupDescription]:
            members = (await self.ask(m.GetMembers(name), m.Members)).members
            return _described(m.Group(name, members))

        async def more() -> list[GroupDescription] | None:
            nonlocal last
            if last is None:
                return None
            page = await self.ask(m.GetPage(last, kind is IterationType.ALL), m.Page)
            last = None if page.is_last or not page.groups else page.groups[-1].name
            if kind is IterationType.NAME_ONLY:
                return [GroupDescription(_text(each.name), 0, 0) for each in page.groups]
            return [description for each in page.groups for description in _described(each)]

        async def start() -> list[GroupDescription]:
            nonlocal last
            if kind is IterationType.ONE_GROUP:
                last = None
                return await one()
            return await more() or []

        return Following(start, more, lambda: None)

    # ---- messages

    async def mcast_joined(self, message: Buffer | Sequence[Buffer], guarantee: Guarantee = AGREED) -> None:
        """Send a message, or a sequence of them, to all members of the group, this one included; each up to 1 MiB.

        It returns when the message is handed over: it is delivered to all members if to any. It waits while flow
        control is on. Messages of one round of the event loop travel together, without a delay.

        Raises: InvalidParam: guarantee, or no message; TooBig: over 1 MiB; NotExist: not joined; TryAgain: flow control
        is on (with `retry=False`).
        Source: cpg_mcast_joined.
        """
        sending = self.sending
        if (
            type(message) is bytes  # the usual case, without detours
            and len(message) <= MESSAGE_BYTES_MAX
            and guarantee is AGREED
            and self._group is not None
            and sending.has_room
        ):
            sending.add(None, message, False)
            return
        self.check_open()
        guarantee = check_enum(guarantee, Guarantee, "guarantee")
        messages = check_messages(message)
        if self._group is None:
            raise NotExist("this session is in no group")
        await self.multicast(None, messages, guarantee is SAFE)

    def flow_control_state_get(self) -> FlowControlState:
        """ENABLED: who multicasts now has to wait (or gets TryAgain with `retry=False`).

        Source: cpg_flow_control_state_get.
        """
        self.check_open()
        return FlowControlState.DISABLED if self.has_room() else FlowControlState.ENABLED

    def max_atomic_msgsize_get(self) -> int:
        """The longest message, in bytes. Source: cpg_max_atomic_msgsize_get."""
        self.check_open()
        return MESSAGE_BYTES_MAX

    # ---- for GroupClient

    def packed(self, destination: Any, is_safe: bool, count: int, data: memoryview) -> Request:
        """See `GroupClient`."""
        return m.Multicast(is_safe, count, data)

    def expand(self, event: m.CpgEvent) -> Iterable[object]:
        """See `GroupClient`."""
        match event:
            case m.Messages(count, data, group, node, pid):
                name = self._name_of(group)
                return [Delivered(name, node, pid, message) for message in unpack(data, count)]
            case m.Changed(group, members, left, joined, reason):
                every = tuple(Address(node, pid) for node, pid in members)
                return [ConfigurationChanged(self._name_of(group), every, _changed(left), _changed(joined), reason)]
            case m.Totem(ring_id, nodes):
                return [TotemConfigurationChanged(ring_id, nodes)]

    def _name_of(self, group: bytes) -> GroupName:
        named = self._named
        return named if named == group or group_bytes(named) == group else _text(group)


def _changed(addresses: list[tuple[NodeId, int, int]]) -> tuple[Address, ...]:
    return tuple(Address(node, pid, Reason(reason)) for node, pid, reason in addresses)


def _described(group: m.Group) -> list[GroupDescription]:
    return [GroupDescription(_text(group.name), member.client.node, member.pid) for member in group.members]


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


def initialize(
    *, totem_events: bool = False, initial_totem: bool = False, retry: bool = True, address: str | None = None
) -> Opening[CpgService]:
    """Open a session: enter or await the result.

    `totem_events`: TotemConfigurationChanged events are wanted; `initial_totem`: also one at once. `retry=False`:
    TryAgain is raised at once. `address`: the executive's socket, default from the environment.

    Raises: Library: no executive there; TimedOut.
    Source: cpg_initialize, cpg_model_initialize.
    """
    return CpgService.opening(totem_events=totem_events, initial_totem=initial_totem, retry=retry, address=address)
