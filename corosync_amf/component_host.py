"""The component host: registers a component, answers AMF and the healthchecks, calls the hooks within their limits."""

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import anyio
from anyio.abc import TaskGroup

from corosync_amf import lease as leases
from corosync_amf.ais import Dn, HaState, Recovery, TrackFlags
from corosync_amf.checkpointing import Encoded, Keeper, State, checkpoint_name
from corosync_amf.context import ComponentContext, Partial
from corosync_amf.errors import (
    AccessDenied,
    AisError,
    FailedOperation,
    Library,
    NotReady,
    NotSupported,
    TimedOut,
    Unavailable,
)
from corosync_amf.plugins import Plugins
from corosync_amf.services import amf
from corosync_amf.services.amf.messages import Configuration
from corosync_amf.services.amf.model import CheckpointMode, CheckpointPolicy
from corosync_amf.services.ckpt import CkptService
from corosync_amf.work import Assignment, Tasks, Work, current_csi

CHECKPOINT_FAILURES_MAX: Final = 3

_FOR_OTHERS: Final = (amf.ProxiedInstantiate, amf.ProxiedCleanup, amf.ContainedInstantiate, amf.ContainedCleanup)

T = TypeVar("T")


class Host:
    """One component in this process: `start` it, then `serve`, while `group` runs."""

    def __init__(
        self, service: amf.AmfService, plugins: Plugins, group: TaskGroup, lease: leases.Lease | None = None
    ) -> None:
        self._amf = service
        self._plugins = plugins
        self._group = group
        self._name = service.component_name_get()
        self._log = logging.getLogger(self._name)
        self._works: dict[Dn, Work] = {}
        self._ckpt: CkptService | None = None
        self._configuration: Configuration | None = None
        self._ended = anyio.Event()
        self.ctx = ComponentContext(service, self._name, self._works, self._log, self._settle, lease)

    # ---- life

    async def start(self) -> None:
        """Call `instantiate`, register, start the healthchecks.

        Raises: what the hook raises; TimedOut: the hook takes too long; AisError: AMF refuses.
        """
        configured = await self._configure()
        await _within(configured.component.instantiate_timeout, "instantiate", self._call("instantiate"))
        await self._amf.component_register()
        for check in configured.component.healthchecks:
            await self._amf.healthcheck_start(None, check.name, amf.InvocationType.AMF_INVOKED)

    async def serve(self) -> None:
        """Answer AMF until the component is terminated.

        Raises: Library: the executive is gone.
        """
        self._group.start_soon(self._take_events)
        await self._ended.wait()

    async def _take_events(self) -> None:
        async for event in self._amf:
            self._group.start_soon(self._answer, event)

    async def _configure(self) -> Configuration:
        self._configuration = await self._amf.configuration_get()
        return self._configuration

    @property
    def _limits(self) -> Any:
        assert self._configuration is not None
        return self._configuration.component

    async def _call(self, hook: str, **arguments: Any) -> list[Any]:
        return await self._plugins.call(hook, ctx=self.ctx, **arguments)

    # ---- answering

    async def _answer(self, event: Any) -> None:
        """Carry out what one event asks for, and say what came of it."""
        if isinstance(event, amf.ProtectionGroupTrack):
            await self._tell_group(event)
            return
        if not hasattr(event, "invocation"):
            return
        kind, limit, task = self._task(event)
        error: AisError | None = None
        try:
            await _within(limit, kind, task(event))
        except Library:
            raise
        except Exception as failure:
            error = self._explained(kind, failure)
        if isinstance(event, amf.CsiSet) and event.ha_state is HaState.QUIESCING and error is None:
            await self._respond(event.invocation, None)
            self._group.start_soon(self._quiesce, self._meant(event.descriptor.name))
            return
        await self._respond(event.invocation, error)
        if isinstance(event, amf.ComponentTerminate) and error is None:
            self._ended.set()

    async def _respond(self, invocation: int, error: AisError | None) -> None:
        try:
            await self._amf.response(invocation, error)
        except Library:
            raise
        except AisError as refused:
            self._log.warning("AMF does not take the answer: %s", refused)

    def _task(self, event: Any) -> tuple[str, float, Callable[[Any], Awaitable[None]]]:
        """What an event asks for, how long it may take, and who does it."""
        limits = self._limits
        if getattr(event, "component", self._name) != self._name and not isinstance(event, _FOR_OTHERS):
            return type(event).__name__, limits.callback_timeout, self._not_supported
        match event:
            case amf.CsiSet():
                return "csi_set", limits.csi_set_timeout, self._csi_set
            case amf.CsiRemove():
                return "csi_remove", limits.csi_remove_timeout, self._csi_remove
            case amf.ComponentTerminate():
                return "terminate", limits.terminate_callback_timeout, self._terminate
            case amf.HealthcheckInvoked(key=key):
                limit = next((check.max_duration for check in limits.healthchecks if check.name == key), 1.0)
                return "healthcheck", limit, self._healthcheck
            case amf.CsiAttributeChange():
                return "csi_attribute_changed", limits.callback_timeout, self._csi_attribute_changed
            case amf.ProxiedInstantiate():
                return "proxied_instantiate", limits.clc_timeout, self._for_another("proxied_instantiate")
            case amf.ProxiedCleanup():
                return "proxied_cleanup", limits.clc_timeout, self._for_another("proxied_cleanup")
            case amf.ContainedInstantiate():
                return "contained_instantiate", limits.clc_timeout, self._for_another("contained_instantiate")
            case amf.ContainedCleanup():
                return "contained_cleanup", limits.clc_timeout, self._for_another("contained_cleanup")
            case _:
                pass
        return type(event).__name__, limits.callback_timeout, self._not_supported

    def _explained(self, kind: str, failure: Exception) -> AisError:
        if isinstance(failure, NotReady | TimedOut | NotSupported | AccessDenied):
            self._log.warning("%s: %s", kind, failure)
            return failure
        self._log.error("%s failed", kind, exc_info=failure)
        return FailedOperation(f"{kind}: {type(failure).__name__}: {failure}"[:500])

    async def _not_supported(self, event: Any) -> None:
        raise NotSupported(f"{type(event).__name__} is not for this component")

    def _for_another(self, hook: str) -> Callable[[Any], Awaitable[None]]:
        async def call(event: Any) -> None:
            if not self._plugins.has(hook):
                raise NotSupported(f"the component has no hook {hook}")
            await self._call(hook, component=event.component)

        return call

    async def _healthcheck(self, event: amf.HealthcheckInvoked) -> None:
        if any(answer is False for answer in await self._call("healthcheck", key=event.key)):
            raise FailedOperation(f"healthcheck {event.key} says that the component is not well")

    async def _terminate(self, _: amf.ComponentTerminate) -> None:
        for work in self._works.values():
            await work.tasks.cancel()
        await self._call("terminate")
        await self.ctx.close()

    async def _tell_group(self, event: amf.ProtectionGroupTrack) -> None:
        if event.csi in self._works:
            try:
                csi = self._works[event.csi].assignment
                await self._call("protection_group_changed", csi=csi, members=event.members)
            except Exception as failure:
                self._explained("protection_group_changed", failure)

    async def _csi_attribute_changed(self, event: amf.CsiAttributeChange) -> None:
        if not self._plugins.has("csi_attribute_changed"):
            raise NotSupported("the component has no hook csi_attribute_changed")
        work = self._works[event.csi]
        work.assignment.attributes = event.attributes
        current_csi.set(event.csi)
        await self._call("csi_attribute_changed", csi=work.assignment)

    # ---- assignments

    def _meant(self, csi: Dn) -> list[Work]:
        """The work that a callback is about: one CSI, or (no name) all."""
        return [self._works[csi]] if csi else list(self._works.values())

    async def _csi_set(self, event: amf.CsiSet) -> None:
        descriptor = event.descriptor
        if descriptor.name and descriptor.name not in self._works:
            await self._add(descriptor)
        works = self._meant(descriptor.name)
        if event.ha_state in (HaState.QUIESCED, HaState.QUIESCING):
            works.reverse()
        for work in works:
            former = work.assignment.ha_state
            try:
                await self._change(work, event)
            except NotReady:
                work.assignment.ha_state, work.is_serving = former, False
                await work.tasks.cancel()
                raise

    async def _add(self, descriptor: amf.CsiDescriptor) -> None:
        csi = descriptor.name
        configured = await self._configure()
        work = Work(Assignment(csi, HaState.STANDBY), Tasks(self._group, self._failed))
        policy = configured.checkpoints.get(csi, configured.component.checkpoint)
        if policy.mode is not CheckpointMode.OFF:
            name = checkpoint_name(self._name, csi, configured.redundancy_model)
            work.keeper = await self._keeper(name, policy)
            work.policy = policy
        self._works[csi] = work
        if self._plugins.has("protection_group_changed"):
            await self._amf.protection_group_track(csi, TrackFlags.CHANGES)

    async def _keeper(self, name: str, policy: CheckpointPolicy) -> Keeper:
        if self._ckpt is None:
            self._ckpt = await CkptService.opening(session=self._amf.session)
        try:
            return await Keeper.open(self._ckpt, name, policy, self._group, self._log)
        except Unavailable:
            stale, self._ckpt = self._ckpt, None  # the node was locked between two assignments
            await stale.finalize()
        self._ckpt = await CkptService.opening(session=self._amf.session)
        return await Keeper.open(self._ckpt, name, policy, self._group, self._log)

    async def _change(self, work: Work, event: amf.CsiSet) -> None:
        """Bring one CSI into its new HA state."""
        if event.ha_state is work.assignment.ha_state is HaState.QUIESCED:
            return  # it has said itself that it is
        assignment, descriptor = work.assignment, event.descriptor
        async with work.lock:
            current_csi.set(str(assignment))
            assignment.ha_state = event.ha_state
            assignment.epoch = descriptor.epoch or assignment.epoch
            assignment.active_component = descriptor.active_component
            assignment.standby_rank = descriptor.standby_rank
            if descriptor.name:
                assignment.attributes = descriptor.attributes
            match event.ha_state:
                case HaState.ACTIVE:
                    await self._activate(work)
                case HaState.STANDBY:
                    await self._stand_by(work)
                case HaState.QUIESCED:
                    await self._call_csi_set(work)
                    await work.tasks.cancel()
                    await self._settle(work)
                    work.is_serving = False
                case HaState.QUIESCING:
                    work.quiescing = event.invocation

    async def _call_csi_set(self, work: Work) -> None:
        await self._call("csi_set", csi=work.assignment, ha_state=work.assignment.ha_state)

    async def _activate(self, work: Work) -> None:
        keeper = work.keeper
        if keeper is not None and work.is_serving:
            await keeper.fence(work.assignment.epoch)
        elif keeper is not None:
            followed = await keeper.take_over(work.assignment.epoch)
            if not (followed and work.is_restored):
                await self._restore(work)
        work.quiescing = None
        was_serving, work.is_serving = work.is_serving, True
        await self._call_csi_set(work)
        periodic = work.policy.mode in (CheckpointMode.PERIODIC, CheckpointMode.BOTH)
        if keeper is not None and periodic and not was_serving and self._plugins.has("checkpoint"):
            work.tasks.start(self._write_periodically(work))

    async def _stand_by(self, work: Work) -> None:
        work.is_serving = False
        await work.tasks.cancel()
        if work.keeper is not None and work.policy.hot and not work.keeper.is_following:

            async def follow(changes: Encoded) -> None:
                await self._updated(work, changes)

            await work.keeper.follow(follow)
            await self._restore(work)
        elif work.keeper is not None and not work.policy.hot:
            await work.keeper.load()  # for `ctx.state`; it is read again at the promotion
        await self._call_csi_set(work)

    async def _restore(self, work: Work) -> None:
        """Give the application the whole known state, if there is any."""
        assert work.keeper is not None
        if work.keeper.known:
            state = State(dict(work.keeper.known), "state")
            await self._call("restore", csi=work.assignment, state=state)
        work.is_restored = self._plugins.has("state_updated")

    async def _updated(self, work: Work, changes: Encoded) -> None:
        """The active one wrote: tell the application; a standby that cannot follow is restored."""
        if not work.is_restored:
            return  # it gets the whole state when it is promoted
        current_csi.set(str(work.assignment))
        limit = self._limits.callback_timeout
        try:
            told = self._call("state_updated", csi=work.assignment, changes=State(changes, "changes"))
            await _within(limit, "state_updated", told)
            return
        except Exception as failure:
            self._explained("state_updated", failure)
        try:
            await _within(limit, "restore", self._restore(work))
        except Exception as failure:
            work.is_restored = False
            self._failed(failure)

    async def _quiesce(self, works: list[Work]) -> None:
        for work in reversed(works):
            current_csi.set(str(work.assignment))
            try:
                await self._call_csi_set(work)
            except Exception as failure:
                self._failed(failure)

    async def _csi_remove(self, event: amf.CsiRemove) -> None:
        if event.csi and event.csi not in self._works:
            return
        for work in reversed(self._meant(event.csi)):
            csi = str(work.assignment)
            async with work.lock:
                current_csi.set(csi)
                await work.tasks.cancel()
                work.is_serving = False
                await self._call("csi_remove", csi=work.assignment)
                if work.keeper is not None:
                    await work.keeper.close()
                del self._works[csi]
            if self._plugins.has("protection_group_changed"):
                await self._amf.protection_group_track_stop(csi)

    # ---- checkpointing

    async def _settle(self, work: Work) -> None:
        """Everything that the application knows is in the checkpoint."""
        if work.keeper is None or not work.is_serving:
            return
        if self._plugins.has("checkpoint"):
            await self._write_last_round(work)
        await work.keeper.flush()

    async def _write_last_round(self, work: Work) -> None:
        """The round before QUIESCED. A hook that fails counts as in any other round: what was written stands."""
        try:
            answers = await _within(self._limits.callback_timeout, "checkpoint", self._asked_for_state(work))
        except Library:
            raise
        except Exception as failure:
            self._count_failure(work, failure)
            return
        work.checkpoint_failures = 0
        await self._write(work, answers)

    async def _write_periodically(self, work: Work) -> None:
        """One round each period; a round that takes longer makes those that it covers fall out."""
        period = work.policy.period
        due = anyio.current_time() + period
        while True:
            await anyio.sleep_until(due)
            try:
                await _within(self._limits.callback_timeout, "checkpoint", self._write_round(work))
                work.checkpoint_failures = 0
            except Library:
                raise
            except AccessDenied as deposed:
                self._log.warning("checkpoint: %s", deposed)
                return
            except Exception as failure:
                self._count_failure(work, failure)
            due += period
            late = anyio.current_time() - due
            if late > 0:
                work.rounds_skipped += 1 + int(late / period)
                due += period * (1 + int(late / period))

    def _count_failure(self, work: Work, failure: Exception) -> None:
        self._explained("checkpoint", failure)
        work.checkpoint_failures += 1
        if work.checkpoint_failures == CHECKPOINT_FAILURES_MAX:
            raise FailedOperation(f"the checkpoint failed {CHECKPOINT_FAILURES_MAX} times in a row") from failure

    async def _write_round(self, work: Work) -> None:
        """Ask the application for its state and write what changed."""
        await self._write(work, await self._asked_for_state(work))

    async def _asked_for_state(self, work: Work) -> list[Any]:
        return await self._call("checkpoint", csi=work.assignment)

    async def _write(self, work: Work, answers: list[Any]) -> None:
        """Write what changed. Who has nothing to say (None) changes nothing: then no key is taken to be gone."""
        assert work.keeper is not None
        whole: dict[str, Any] = {}
        part: dict[str, Any] = {}
        is_partial = len(answers) < self._plugins.count("checkpoint")
        for answer in answers:
            if isinstance(answer, Partial):
                part.update(answer.mapping)
                is_partial = True
            else:
                whole.update(answer)
        if is_partial:
            await work.keeper.write({**whole, **part})
        else:
            await work.keeper.replace(whole)

    def _failed(self, failure: Exception) -> None:
        """A task of the application raised, or it cannot follow: that is a fault of the component."""
        if isinstance(failure, Library):
            raise failure
        self._log.error("a task failed", exc_info=failure)
        self._group.start_soon(self._report, f"{type(failure).__name__}: {failure}"[:500])

    async def _report(self, reason: str) -> None:
        with contextlib.suppress(NotSupported):
            await self._amf.component_error_report(None, Recovery.NO_RECOMMENDATION, reason=reason)


async def _within(limit: float, what: str, task: Awaitable[T]) -> T:
    """Raises: TimedOut: the task did not end within `limit` seconds (it was cancelled)."""
    with anyio.move_on_after(limit):
        return await task
    raise TimedOut(f"{what} did not end within {limit:g} s")
