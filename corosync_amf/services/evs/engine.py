"""EVS as a replicated state machine: who gets the messages to which group, and the configurations of the ring.

Messages are passed on unopened. A change of the ring is told as two configurations: a transitional one, ahead of what
was not safe by then, and a regular one behind it.

Source: evs.h of corosync.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Final, assert_never

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import (
    Client,
    ClientGone,
    Done,
    Effect,
    Event,
    Membership,
    Message,
    Origin,
    Reply,
    Service,
    failed,
)
from corosync_amf.errors import AisError, BadHandle, Exist, InvalidParam, NoResources, NotExist
from corosync_amf.messaging import RingId, is_sound

from . import messages as m
from .messages import SessionRecord
from .values import GROUP_BYTES_MAX, GROUPS_MAX, ConfigurationKind

DONE: Final = Done()
ADDRESSES_MAX: Final = 1024
"""Combinations of groups whose receivers are remembered."""
REGULAR, TRANSITIONAL = int(ConfigurationKind.REGULAR), int(ConfigurationKind.TRANSITIONAL)
Groups = tuple[bytes, ...]


class EvsEngine:
    """See the module. `_sessions` have their groups in the order of joining. `_receivers` remembers who gets what is
    sent to some groups, or to those of a client, as long as nobody comes or goes.
    """

    service: ClassVar[Service] = Service.EVS
    request_type: ClassVar[Any] = m.EvsRequest
    query_type: ClassVar[Any] = m.EvsQuery
    snapshot_type: ClassVar[type[msgspec.Struct]] = m.Snapshot
    remnant_type: ClassVar[Any] = m.Remnant

    def __init__(self) -> None:
        self._sessions: dict[Client, dict[bytes, None]] = {}
        self._groups: dict[bytes, set[Client]] = {}
        self._receivers: dict[Client | Groups, list[Client]] = {}
        self._nodes: tuple[NodeId, ...] = ()
        self._ring_id = RingId(0, 0)

    # ---- the engine protocol

    def apply(self, message: m.EvsRequest, origin: Origin) -> list[Effect]:
        """See `Engine`."""
        try:
            match message:
                case m.Multicast():
                    return self._multicast(message, origin)
                case m.Open():
                    return self._open(origin)
                case m.Join(groups):
                    return self._join(groups, origin)
                case m.Leave(groups):
                    return self._leave(groups, origin)
                case m.Finalize():
                    self._forget(origin.client)
                    return [Reply(origin, DONE)]
                case ClientGone():
                    self._forget(origin.client)
                    return []
                case _:
                    assert_never(message)
        except AisError as error:
            return [Reply(origin, failed(error))]

    def query(self, message: m.EvsQuery, client: Client) -> Message:
        """See `Engine`."""
        return m.Members(self._nodes)

    def membership(self, change: Membership) -> list[Effect]:
        """See `Engine`."""
        former = self._nodes
        self._nodes, self._ring_id = change.members, RingId(change.members[0], change.ring_seq)
        staying = set(change.members) - change.left
        for client in [client for client in self._sessions if client.node not in staying]:
            self._forget(client)
        stayed = tuple(node for node in former if node in staying and node not in change.joined)
        lost = [node for node in former if node not in stayed]
        words = [change.reasons.get(node) or f"node {node} is gone" for node in lost]
        words += [f"node {node} joined" for node in change.members if node not in stayed]
        reason = "; ".join(words) or "the ring formed anew"
        return self._changed(sorted(self._sessions), former, stayed, reason)

    def snapshot(self) -> m.Snapshot:
        """See `Engine`."""
        return m.Snapshot(self._records(self._sessions), self._nodes, self._ring_id)

    def restore(self, snapshot: m.Snapshot) -> None:
        """See `Engine`."""
        self._sessions, self._groups, self._receivers = {}, {}, {}
        for record in snapshot.sessions:
            self._enter(record.client, record.groups)
        self._nodes, self._ring_id = snapshot.nodes, snapshot.ring_id

    def remnant(self, node: NodeId) -> m.Remnant | None:
        """See `Engine`: that node's sessions, and who was there."""
        sessions = self._records(client for client in self._sessions if client.node == node)
        return m.Remnant(sessions, self._nodes) if sessions else None

    def merge(self, remnant: m.Remnant, origin: Origin) -> list[Effect]:
        """See `Engine`. Of the former configuration the node moves on alone: nobody knows whether the others did with
        the same messages."""
        node = origin.client.node
        back = [record for record in remnant.sessions if record.client.node == node]
        for record in back:
            self._enter(record.client, record.groups)
        reason = f"node {node} is back from another partition"
        return self._changed([record.client for record in back], remnant.nodes, (node,), reason)

    # ---- sessions

    def _open(self, origin: Origin) -> list[Effect]:
        self._sessions.setdefault(origin.client, {})
        present = m.Changed(self._nodes, (), self._nodes, self._ring_id, REGULAR, "the present configuration")
        return [Event(origin.client, present), Reply(origin, DONE)]

    def _join(self, groups: Groups, origin: Origin) -> list[Effect]:
        joined = self._groups_of(origin.client)
        _check_groups(groups)
        if again := [group for group in groups if group in joined]:
            raise Exist(f"joined already: {again[0]!r}")
        new = {group for group in groups if group not in self._groups}
        if len(self._groups) + len(new) > GROUPS_MAX:
            raise NoResources(f"there are {GROUPS_MAX} groups")
        self._enter(origin.client, groups)
        return [Reply(origin, DONE)]

    def _leave(self, groups: Groups, origin: Origin) -> list[Effect]:
        joined = self._groups_of(origin.client)
        _check_groups(groups)
        if missing := [group for group in groups if group not in joined]:
            raise NotExist(f"not joined: {missing[0]!r}")
        self._exit(origin.client, groups)
        return [Reply(origin, DONE)]

    def _groups_of(self, client: Client) -> dict[bytes, None]:
        groups = self._sessions.get(client)
        if groups is None:
            raise BadHandle("the client has opened no session")
        return groups

    def _enter(self, client: Client, groups: Groups) -> None:
        """The client has these groups, too."""
        self._receivers.clear()
        joined = self._sessions.setdefault(client, {})
        for group in groups:
            joined[group] = None
            self._groups.setdefault(group, set()).add(client)

    def _exit(self, client: Client, groups: Groups) -> None:
        """The client has these groups no more."""
        self._receivers.clear()
        joined = self._sessions[client]
        for group in groups:
            if group in joined:
                del joined[group]
                members = self._groups[group]
                members.discard(client)
                if not members:
                    del self._groups[group]

    def _forget(self, client: Client) -> None:
        if client in self._sessions:
            self._exit(client, tuple(self._sessions[client]))
            del self._sessions[client]

    def _records(self, clients: Iterable[Client]) -> list[SessionRecord]:
        return [SessionRecord(client, tuple(self._sessions[client])) for client in sorted(clients)]

    # ---- messages and configurations

    def _multicast(self, message: m.Multicast, origin: Origin) -> list[Effect]:
        joined = self._groups_of(origin.client)
        if not is_sound(message.count, message.data):
            raise InvalidParam("the pack is not what its head says")
        if message.groups is not None:
            _check_groups(message.groups)
        if not joined:
            raise NotExist("nothing is joined")
        address = origin.client if message.groups is None else message.groups
        receivers = self._receivers.get(address)
        if receivers is None:
            receivers = self._find_receivers(address, joined if message.groups is None else message.groups)
        told = m.Messages(message.count, message.data, origin.client.node)
        effects: list[Effect] = [Event(client, told, message.is_safe) for client in receivers]
        effects.append(Reply(origin, DONE))
        return effects

    def _find_receivers(self, address: Client | Groups, groups: Iterable[bytes]) -> list[Client]:
        """Each session once, in order."""
        if len(self._receivers) >= ADDRESSES_MAX:
            self._receivers.clear()
        found: set[Client] = set()
        for group in groups:
            found.update(self._groups.get(group, ()))
        receivers = self._receivers[address] = sorted(found)
        return receivers

    def _changed(
        self, clients: list[Client], former: tuple[NodeId, ...], stayed: tuple[NodeId, ...], reason: str
    ) -> list[Effect]:
        """From `former`, of which `stayed` move on together, to the present configuration."""
        left = tuple(node for node in former if node not in stayed)
        joined = tuple(node for node in self._nodes if node not in stayed)
        transitional = m.Changed(stayed, left, (), self._ring_id, TRANSITIONAL, reason)
        regular = m.Changed(self._nodes, (), joined, self._ring_id, REGULAR, reason)
        effects: list[Effect] = []
        for client in clients:
            effects += [Event(client, transitional, ahead=True), Event(client, regular)]
        return effects


def _check_groups(groups: Groups) -> None:
    """Raises: InvalidParam; NoResources: more than there can be."""
    if not groups or not all(1 <= len(group) <= GROUP_BYTES_MAX for group in groups):
        raise InvalidParam("no group, or one that is empty or too long")
    if len(groups) > GROUPS_MAX:
        raise NoResources(f"there are {GROUPS_MAX} groups")
