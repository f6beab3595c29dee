"""CLM: who is in the cluster, in numbered views that are the same on all members.

Source: SAI-AIS-CLM-B.04.01.
"""

from corosync_amf.ais import LOCAL_NODE_ID, TrackFlags

from .client import ClmService, initialize
from .values import (
    AddressFamily,
    Callback,
    ChangeStep,
    ClusterChange,
    ClusterNode,
    ClusterNodeGot,
    ClusterNotification,
    ClusterTrack,
    ClusterView,
    NodeAddress,
    Response,
)

__all__ = [
    "LOCAL_NODE_ID",
    "AddressFamily",
    "Callback",
    "ChangeStep",
    "ClmService",
    "ClusterChange",
    "ClusterNode",
    "ClusterNodeGot",
    "ClusterNotification",
    "ClusterTrack",
    "ClusterView",
    "NodeAddress",
    "Response",
    "TrackFlags",
    "initialize",
]
