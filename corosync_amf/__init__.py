"""Applications that keep their state and their service when a process, a node or a network fails.

    from corosync_amf import lck                    one service (amf ckpt clm cpg evs evt lck log msg ntf tmr), or
                                                    several over one connection:
    from corosync_amf import connect
    from corosync_amf import Component              the base class of what AMF starts; its hooks get
    from corosync_amf import ComponentContext, Assignment
    from corosync_amf import AisError, NotExist     one exception class per AIS error code
    from corosync_amf import sync                   the same for programs without an event loop

Names are imported when they are first used, so that importing this package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from corosync_amf._version import __version__

if TYPE_CHECKING:
    from corosync_amf import ais, errors, sync
    from corosync_amf.cluster import Cluster, connect
    from corosync_amf.component import Component
    from corosync_amf.context import ComponentContext
    from corosync_amf.errors import (
        Access,
        AccessDenied,
        AisError,
        BadFlags,
        BadHandle,
        BadOperation,
        Busy,
        CampaignCanceled,
        CampaignErrorDetected,
        CampaignFailed,
        CampaignProcFailed,
        CampaignSuspended,
        CampaignSuspending,
        Deployment,
        Exist,
        FailedOperation,
        Init,
        Interrupt,
        InvalidParam,
        Library,
        MessageError,
        NameNotFound,
        NameTooLong,
        NoBindings,
        NoMemory,
        NoOp,
        NoResources,
        NoSections,
        NoSpace,
        NotExist,
        NotReady,
        NotSupported,
        QueueFull,
        QueueNotAvailable,
        RepairPending,
        State,
        TimedOut,
        TooBig,
        Transient,
        TryAgain,
        Unavailable,
        Usage,
        Version,
    )
    from corosync_amf.services import amf, ckpt, clm, cpg, evs, evt, lck, log, msg, ntf, tmr
    from corosync_amf.work import Assignment

__all__ = [
    "Access",
    "AccessDenied",
    "AisError",
    "Assignment",
    "BadFlags",
    "BadHandle",
    "BadOperation",
    "Busy",
    "CampaignCanceled",
    "CampaignErrorDetected",
    "CampaignFailed",
    "CampaignProcFailed",
    "CampaignSuspended",
    "CampaignSuspending",
    "Cluster",
    "Component",
    "ComponentContext",
    "Deployment",
    "Exist",
    "FailedOperation",
    "Init",
    "Interrupt",
    "InvalidParam",
    "Library",
    "MessageError",
    "NameNotFound",
    "NameTooLong",
    "NoBindings",
    "NoMemory",
    "NoOp",
    "NoResources",
    "NoSections",
    "NoSpace",
    "NotExist",
    "NotReady",
    "NotSupported",
    "QueueFull",
    "QueueNotAvailable",
    "RepairPending",
    "State",
    "TimedOut",
    "TooBig",
    "Transient",
    "TryAgain",
    "Unavailable",
    "Usage",
    "Version",
    "__version__",
    "ais",
    "amf",
    "ckpt",
    "clm",
    "connect",
    "cpg",
    "errors",
    "evs",
    "evt",
    "lck",
    "log",
    "msg",
    "ntf",
    "sync",
    "tmr",
]

_MODULES: Final = {
    "ais": "corosync_amf.ais",
    "errors": "corosync_amf.errors",
    "sync": "corosync_amf.sync",
    **{
        name: f"corosync_amf.services.{name}"
        for name in ("amf", "ckpt", "clm", "cpg", "evs", "evt", "lck", "log", "msg", "ntf", "tmr")
    },
}
_HOMES: Final = {
    "Assignment": "corosync_amf.work",
    "Cluster": "corosync_amf.cluster",
    "Component": "corosync_amf.component",
    "ComponentContext": "corosync_amf.context",
    "connect": "corosync_amf.cluster",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _MODULES:
        value: Any = import_module(_MODULES[name])
    else:
        value = getattr(import_module(_HOMES.get(name, "corosync_amf.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
