"""The public value types of the cluster membership service.

Source: SAI-AIS-CLM-B.04.01 section 3.3.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from corosync_amf.ais import NodeId
from corosync_amf.errors import AisError


class Callback(IntFlag):
    """The kinds of events that a session may ask for."""

    TRACK = 1
    NODE_GET = 2
    ALL = TRACK | NODE_GET


class AddressFamily(IntEnum):
    """SaClmNodeAddressFamilyT."""

    INET = 1
    INET6 = 2


class ClusterChange(IntEnum):
    """SaClmClusterChangesT: what a change does, or did, to a node."""

    NO_CHANGE = 1
    JOINED = 2
    LEFT = 3
    RECONFIGURED = 4
    UNLOCK = 5
    SHUTDOWN = 6


class ChangeStep(IntEnum):
    """SaClmChangeStepT."""

    VALIDATE = 1
    START = 2
    ABORTED = 3
    COMPLETED = 4


class Response(IntEnum):
    """SaClmResponseT."""

    OK = 1
    REJECTED = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """SaClmNodeAddressT; `value` is the address as text."""

    family: AddressFamily
    value: str


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """SaClmClusterNodeT. `boot_timestamp` is wall clock, seconds since the epoch.

    `initial_view_number` is that of the view with which the node became a member.
    """

    node_id: NodeId
    node_address: NodeAddress
    node_name: str
    execution_environment: str | None
    member: bool
    boot_timestamp: float
    initial_view_number: int


@dataclass(frozen=True, slots=True)
class ClusterNotification:
    """SaClmClusterNotificationT."""

    cluster_node: ClusterNode
    cluster_change: ClusterChange


@dataclass(frozen=True, slots=True)
class ClusterView:
    """SaClmClusterNotificationBufferT: the members, in order of their ids, and with a change those it concerns.

    `number_of_members` counts the members after the change; `quorate`: whether they may change replicated state.
    """

    view_number: int
    notifications: tuple[ClusterNotification, ...]
    number_of_members: int
    quorate: bool


@dataclass(frozen=True, slots=True)
class ClusterTrack:
    """Event: the membership changes (VALIDATE, START, ABORTED) or has changed (COMPLETED).

    `invocation` is to be answered with `ClmService.response` when it is not None, within `time_supervision` seconds
    (None: no limit). `root_cause_entity` names what the change began with, `reason` says it in words.
    Source: SaClmClusterTrackCallbackT_4.
    """

    view: ClusterView
    number_of_members: int
    invocation: int | None
    root_cause_entity: str | None
    step: ChangeStep
    time_supervision: float | None
    error: AisError | None
    reason: str


@dataclass(frozen=True, slots=True)
class ClusterNodeGot:
    """Event: the outcome of `cluster_node_get_async`. Source: SaClmClusterNodeGetCallbackT_4."""

    invocation: int
    cluster_node: ClusterNode | None
    error: AisError | None
