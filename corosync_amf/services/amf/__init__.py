"""AMF: components that are started, watched, given work, and replaced when they fail. See `initialize`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from corosync_amf.ais import AdminOperation, HaReadiness, HaState, Recovery, TrackFlags

from .messages import (
    Change,
    ComponentTerminate,
    ContainedCleanup,
    ContainedInstantiate,
    CorrelationIds,
    CsiAttributeChange,
    CsiDescriptor,
    CsiFlags,
    CsiRemove,
    CsiSet,
    HealthcheckInvoked,
    InvocationType,
    Notification,
    PmErrors,
    ProtectionGroupMember,
    ProxiedCleanup,
    ProxiedInstantiate,
    Status,
    StopQualifier,
    Transition,
)

if TYPE_CHECKING:
    from .client import AmfService, Callback, ProtectionGroupTrack, initialize

__all__ = [
    "AdminOperation",
    "AmfService",
    "Callback",
    "Change",
    "ComponentTerminate",
    "ContainedCleanup",
    "ContainedInstantiate",
    "CorrelationIds",
    "CsiAttributeChange",
    "CsiDescriptor",
    "CsiFlags",
    "CsiRemove",
    "CsiSet",
    "HaReadiness",
    "HaState",
    "HealthcheckInvoked",
    "InvocationType",
    "Notification",
    "PmErrors",
    "ProtectionGroupMember",
    "ProtectionGroupTrack",
    "ProxiedCleanup",
    "ProxiedInstantiate",
    "Recovery",
    "Status",
    "StopQualifier",
    "TrackFlags",
    "Transition",
    "initialize",
]


def __getattr__(name: str) -> Any:
    """The client is imported when it is first used: the model and the engine need no connection."""
    if name not in ("AmfService", "Callback", "ProtectionGroupTrack", "initialize"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.client"), name)
    globals()[name] = value
    return value
