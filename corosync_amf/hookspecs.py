"""What a component may implement: the hooks, called in its own process by the component host.

Mark an implementation with `hookimpl` (or subclass `corosync_amf.Component`, whose methods need no mark). A hook may
be a plain or an async function and may leave out arguments that it does not need. A plain function runs in the event
loop and holds up everything else there, healthchecks too. Several plugins in one component are called in pluggy's
order, one after the other; the first that raises decides. Wrappers and `firstresult` are not offered: they would act
on coroutine objects.

`ctx` is the `ComponentContext`; `csi` is the `Assignment`: the DN of the component service instance, a `str` that also
knows its attributes, HA state and epoch.

Source: SAI-AIS-AMF-B.04.01 section 7 (callbacks); checkpointing hooks are additions.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import pluggy

from corosync_amf.ais import Dn, HaState

if TYPE_CHECKING:
    from corosync_amf.context import Assignment, ComponentContext, ProtectionGroupMember

PROJECT: Final = "corosync_amf"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def instantiate(ctx: "ComponentContext") -> None:
    """Prepare, before the component is registered. Raising: the attempt to instantiate failed."""


@hookspec
def csi_set(ctx: "ComponentContext", csi: "Assignment", ha_state: HaState) -> None:
    """Take the workload in this HA state; return when that is done (saAmfCSISetCallback).

    Raising is a fault (csi_set_failed). `NotReady` is none: the component's HA readiness becomes
    NOT_READY_FOR_ASSIGNMENT and another one gets the work.
    """


@hookspec
def csi_remove(ctx: "ComponentContext", csi: "Assignment") -> None:
    """Let go of the workload (saAmfCSIRemoveCallback)."""


@hookspec
def terminate(ctx: "ComponentContext") -> None:
    """End in an orderly way; the process exits afterwards (saAmfComponentTerminateCallback)."""


@hookspec
def healthcheck(ctx: "ComponentContext", key: str) -> "bool | None":
    """Called each period of the healthcheck `key`: False or an exception says that the component failed."""


@hookspec
def checkpoint(ctx: "ComponentContext", csi: "Assignment") -> "Mapping[str, Any] | None":
    """The whole state as a mapping, or `ctx.Partial(mapping)`, or None when there is nothing to say.

    Called while ACTIVE, each checkpoint period and before QUIESCED is answered. Three failures in a row are a fault.
    """


@hookspec
def restore(ctx: "ComponentContext", csi: "Assignment", state: Mapping[str, Any]) -> None:
    """Take over the last state that was checkpointed: before ACTIVE, and before STANDBY when the policy is `hot`.

    `state` holds plain data, or what the annotation of this parameter names (`state: Mapping[str, Call]`, or a type
    of which the whole mapping is the fields).
    """


@hookspec
def state_updated(ctx: "ComponentContext", csi: "Assignment", changes: Mapping[str, Any]) -> None:
    """STANDBY with `hot`: the active wrote these keys; a value of None says that the key is gone.

    Raising: the standby is brought up to date with `restore`; raising again is a fault.
    """


@hookspec
def csi_attribute_changed(ctx: "ComponentContext", csi: "Assignment") -> None:
    """The attributes of the CSI changed; `csi.attributes` has the new ones."""


@hookspec
def protection_group_changed(
    ctx: "ComponentContext", csi: "Assignment", members: "tuple[ProtectionGroupMember, ...]"
) -> None:
    """Who holds the CSI, and in which state, changed. What it raises is only logged."""


@hookspec
def proxied_instantiate(ctx: "ComponentContext", component: Dn) -> None:
    """Instantiate the component that this one is the proxy of."""


@hookspec
def proxied_cleanup(ctx: "ComponentContext", component: Dn) -> None:
    """Make sure that the component that this one is the proxy of is gone."""


@hookspec
def contained_instantiate(ctx: "ComponentContext", component: Dn) -> None:
    """Instantiate a component inside this container."""


@hookspec
def contained_cleanup(ctx: "ComponentContext", component: Dn) -> None:
    """Make sure that a component inside this container is gone."""
