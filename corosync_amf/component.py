"""A component written in Python: the base class, and the program that hosts it.

    from corosync_amf import Component

    class Counter(Component):
        total = 0

        async def restore(self, ctx, csi, state):
            self.total = state["total"]

        async def on_active(self, ctx, csi):
            ctx.start(self.count(ctx))

amf.conf names it: `plugin: counter:Counter`. The executive then runs `python -m corosync_amf.component
counter:Counter`.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from corosync_amf.ais import HaState
from corosync_amf.context import ComponentContext
from corosync_amf.work import Assignment

__all__ = ["Assignment", "Component", "ComponentContext"]

F = TypeVar("F", bound=Callable[..., Any])


def _does_nothing(method: F) -> F:
    method.does_nothing = True  # type: ignore[attr-defined]
    return method


class Component:
    """Override what you need; every method may also be a plain function. See `corosync_amf.hookspecs` for the hooks.

    `csi` is the `Assignment`: the CSI's DN, with its attributes and HA state.
    """

    unmarked_hooks: ClassVar[bool] = True

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        """Begin to serve: the state is restored. `ctx.start` runs tasks for as long as this lasts."""

    async def on_standby(self, ctx: ComponentContext, csi: Assignment) -> None:
        """Stand by for the active one."""

    async def on_quiesced(self, ctx: ComponentContext, csi: Assignment) -> None:
        """Stop serving; another one takes over once this returns."""

    async def on_quiescing(self, ctx: ComponentContext, csi: Assignment) -> None:
        """Take no new work; call `ctx.quiescing_complete` when what is under way has ended."""
        await called(self.on_quiesced(ctx, csi))
        await ctx.quiescing_complete(csi)

    async def on_removed(self, ctx: ComponentContext, csi: Assignment) -> None:
        """Let go of the CSI."""

    async def csi_set(self, ctx: ComponentContext, csi: Assignment, ha_state: HaState) -> None:
        """Calls `on_active`, `on_standby`, `on_quiesced` or `on_quiescing`."""
        match ha_state:
            case HaState.ACTIVE:
                await called(self.on_active(ctx, csi))
            case HaState.STANDBY:
                await called(self.on_standby(ctx, csi))
            case HaState.QUIESCED:
                await called(self.on_quiesced(ctx, csi))
            case HaState.QUIESCING:
                await called(self.on_quiescing(ctx, csi))

    async def csi_remove(self, ctx: ComponentContext, csi: Assignment) -> None:
        """Calls `on_removed`."""
        await called(self.on_removed(ctx, csi))

    @_does_nothing
    async def instantiate(self, ctx: ComponentContext) -> None:
        """Prepare, before the component is registered."""

    @_does_nothing
    async def terminate(self, ctx: ComponentContext) -> None:
        """End in an orderly way; the process exits afterwards."""

    @_does_nothing
    async def healthcheck(self, ctx: ComponentContext, key: str) -> bool | None:
        """Return False when the component is not well."""

    @_does_nothing
    async def checkpoint(self, ctx: ComponentContext, csi: Assignment) -> "Mapping[str, Any] | None":
        """Return the whole state, or `ctx.Partial(mapping)`; None when there is nothing to say."""

    @_does_nothing
    async def restore(self, ctx: ComponentContext, csi: Assignment, state: Any) -> None:
        """Take over the state that was checkpointed last. Not called when there is none."""

    @_does_nothing
    async def state_updated(self, ctx: ComponentContext, csi: Assignment, changes: Any) -> None:
        """Follow the active one; a value of None says that the key is gone."""


async def called(result: Any) -> Any:
    """What a function returned, waited for if it is a coroutine."""
    return await result if hasattr(result, "__await__") else result


if __name__ == "__main__":
    from corosync_amf.hosting import main

    main()
