"""What a component's hooks get as `ctx`: who they are, what they hold, and what they can ask for."""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import EllipsisType, MappingProxyType
from typing import Any, ClassVar, Final, TypeVar

from corosync_amf.ais import Dn, HaReadiness, HaState, NodeId, Recovery
from corosync_amf.checks import check_enum
from corosync_amf.errors import AccessDenied, BadOperation, FailedOperation, InvalidParam, NotExist
from corosync_amf.lease import Lease
from corosync_amf.service import EventClient, Opening
from corosync_amf.services.amf import AmfService, ProtectionGroupMember
from corosync_amf.work import Assignment, Work, current_csi

__all__ = ["Assignment", "ComponentContext", "Partial", "ProtectionGroupMember"]

S = TypeVar("S", bound=EventClient)


@dataclass(frozen=True, slots=True)
class Partial:
    """A `checkpoint` hook returns this to name only the keys that changed; a value of None deletes its key."""

    mapping: Mapping[str, Any]


class ComponentContext:
    """The component as its hooks see it.

    Where a method takes `csi`, None means the CSI whose hook or task is running, else the only one there is.
    """

    Partial: ClassVar = Partial

    def __init__(
        self,
        amf: AmfService,
        name: Dn,
        works: dict[Dn, Work],
        log: logging.Logger,
        settle: Callable[[Work], Awaitable[None]],
        lease: Lease | None = None,
    ) -> None:
        """For the component host. `settle` ends the work of a CSI: its state is written for the last time."""
        self.name: Final = name
        self.node_name: Final[str] = amf.session.node_name
        self.node_id: Final[NodeId] = amf.session.node_id
        self.log: Final = log
        self._amf = amf
        self._works = works
        self._settle = settle
        self._lease = lease
        self._opened: list[EventClient] = []

    @property
    def csis(self) -> Mapping[Dn, Assignment]:
        """What the component holds now."""
        return MappingProxyType({csi: work.assignment for csi, work in self._works.items()})

    @property
    def csi(self) -> Assignment:
        """The assignment whose hook or task is running, or the only one.

        Raises: NotExist: there is none, or more than one.
        """
        return self._work(None).assignment

    @property
    def ha_state(self) -> HaState:
        """The HA state of `csi`."""
        return self.csi.ha_state

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        """The attributes of `csi`."""
        return self.csi.attributes

    @property
    def epoch(self) -> int:
        """The fencing token of `csi`: it grows with every assignment of ACTIVE in the cluster."""
        return self.csi.epoch

    async def checkpoint(
        self,
        key_or_mapping: str | Mapping[str, Any],
        value: Any | EllipsisType = ...,
        *,
        csi: Dn | None = None,
        wait: bool = True,
    ) -> None:
        """Write state now: one key, or a mapping in one atomic step; a value of None deletes its key.

        Returns when every replica has it: whatever fails then, a standby goes on from it. `wait` False only queues
        it, in order (what comes of it is logged).

        Raises: BadOperation: not ACTIVE, or the component keeps no checkpoint; AccessDenied: another component was
        made active meanwhile; InvalidParam: a key is no text of 1 to 255 bytes, or a value cannot be written as
        msgpack.
        """
        if isinstance(key_or_mapping, str):
            if value is ...:
                raise InvalidParam("a value is missing")
            changes: Mapping[str, Any] = {key_or_mapping: value}
        elif isinstance(key_or_mapping, Mapping) and value is ...:
            changes = key_or_mapping
        else:
            raise InvalidParam("checkpoint takes a key and a value, or a mapping")
        work = self._work(csi)
        if work.keeper is None:
            raise BadOperation(f"{work.assignment} keeps no checkpoint: configure `checkpoint: {{mode: on-change}}`")
        if not work.is_serving:
            raise BadOperation(f"{work.assignment} is {work.assignment.ha_state.name}, only the active one writes")
        if wait:
            await work.keeper.write(changes)
        else:
            await work.keeper.put(changes)

    def state(self, csi: Dn | None = None) -> Mapping[str, Any]:
        """The checkpointed state as this process last knew it: written, read at STANDBY and at promotion, or followed
        when `hot`."""
        keeper = self._work(csi).keeper
        return {} if keeper is None else keeper.state()

    def guard(self, csi: Dn | None = None) -> None:
        """Call this before a side effect: it passes only while this component is the one that may have it.

        Raises: AccessDenied: the assignment is not active any more, another epoch has begun, or the node has lost
        touch with the cluster for so long that others may act in its place.
        """
        try:
            work = self._work(csi)
        except NotExist as error:
            raise AccessDenied(error.reason) from None
        if not work.is_serving:
            raise AccessDenied(f"{work.assignment} is {work.assignment.ha_state.name} here")
        if self._lease is not None and self._lease.is_over():
            raise AccessDenied("the lease of this node is over: it has lost touch with the cluster")
        if work.keeper is not None:
            work.keeper.check_current()

    async def healthcheck_confirm(self, key: str, ok: bool = True) -> None:
        """Confirm a healthcheck that the component started as COMPONENT_INVOKED."""
        await self._amf.healthcheck_confirm(self.name, key, None if ok else FailedOperation("not well"))

    async def error_report(self, recovery: Recovery, reason: str, component: Dn | None = None) -> None:
        """Report this component (or another one) as faulty."""
        await self._amf.component_error_report(component or self.name, recovery, reason=reason)

    async def quiescing_complete(self, csi: Dn | None = None) -> None:
        """Say that the work of a QUIESCING assignment has ended; its tasks are cancelled.

        Raises: BadOperation: not QUIESCING.
        """
        work = self._work(csi)
        invocation, work.quiescing = work.quiescing, None
        if invocation is None:
            raise BadOperation(f"{work.assignment} is not QUIESCING")
        await work.tasks.cancel_others()
        await self._settle(work)
        work.is_serving = False
        work.assignment.ha_state = HaState.QUIESCED
        await self._amf.csi_quiescing_complete(invocation)
        await work.tasks.cancel()

    async def ha_readiness(self, state: HaReadiness, csi: Dn | None = None) -> None:
        """Say which roles the component is ready to take, for one CSI or (None) for all."""
        checked = check_enum(state, HaReadiness, "state")
        await self._amf.ha_readiness_state_set(self.name, None if csi is None else str(csi), checked)

    def start(self, coroutine: Coroutine[Any, Any, object], csi: Dn | None = None) -> None:
        """Run a coroutine for as long as the CSI is active here: it is cancelled, and has ended, before AMF hears
        that the component is quiesced. What it raises is a fault of the component.

        Raises: BadOperation: not ACTIVE.
        """
        try:
            work = self._work(csi)
            if not work.assignment.is_active:
                raise BadOperation(f"{work.assignment} is {work.assignment.ha_state.name}: tasks run while ACTIVE")
        except BaseException:
            coroutine.close()
            raise
        work.tasks.start(coroutine)

    async def open(self, service: Opening[S]) -> S:
        """Open a session of any service, closed with the component: `await ctx.open(ckpt.initialize())`."""
        opened = await service
        self._opened.append(opened)
        return opened

    async def close(self) -> None:
        """For the component host: finalize what `open` opened."""
        while self._opened:
            service = self._opened.pop()
            if service.is_open:
                await service.finalize()

    def _work(self, csi: Dn | None) -> Work:
        name = csi if csi is not None else current_csi.get()
        if name is not None:
            try:
                return self._works[name]
            except KeyError:
                raise NotExist(f"{name} is not assigned to {self.name}") from None
        if len(self._works) != 1:
            raise NotExist(f"{self.name} holds {len(self._works)} CSIs: name one")
        return next(iter(self._works.values()))
