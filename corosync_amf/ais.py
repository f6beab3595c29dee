"""The AIS vocabulary that every service shares: names, error codes, states.

Values are those of the SA Forum headers (saAis.h, saAmf.h); an enumerator's number is part of the contract.

Source: SAI-AIS-OVERVIEW and SAI-AIS-AMF-B.04.01 section 3.2 (states).
"""

from enum import IntEnum, IntFlag
from typing import Final, NewType

Dn = str
"""A distinguished name, `safComp=A,safSu=X,safSg=G,safApp=P`; a comma inside a value is written `\\,`."""
NodeId = int
"""A cluster node's number, 1..2**32-1."""
OrderNumber = NewType("OrderNumber", int)
"""A place in the total order of the cluster: `era * 2**44 + position`. Epochs and lock tokens are order numbers."""

LOCAL_NODE_ID: Final = 0xFFFFFFFF
"""Names the node that the caller runs on."""
NAME_BYTES_MAX: Final = 2048


class ErrorCode(IntEnum):
    """SaAisErrorT."""

    OK = 1
    LIBRARY = 2
    VERSION = 3
    INIT = 4
    TIMEOUT = 5
    TRY_AGAIN = 6
    INVALID_PARAM = 7
    NO_MEMORY = 8
    BAD_HANDLE = 9
    BUSY = 10
    ACCESS = 11
    NOT_EXIST = 12
    NAME_TOO_LONG = 13
    EXIST = 14
    NO_SPACE = 15
    INTERRUPT = 16
    NAME_NOT_FOUND = 17
    NO_RESOURCES = 18
    NOT_SUPPORTED = 19
    BAD_OPERATION = 20
    FAILED_OPERATION = 21
    MESSAGE_ERROR = 22
    QUEUE_FULL = 23
    QUEUE_NOT_AVAILABLE = 24
    BAD_FLAGS = 25
    TOO_BIG = 26
    NO_SECTIONS = 27
    NO_OP = 28
    REPAIR_PENDING = 29
    NO_BINDINGS = 30
    UNAVAILABLE = 31
    CAMPAIGN_ERROR_DETECTED = 32
    CAMPAIGN_PROC_FAILED = 33
    CAMPAIGN_CANCELED = 34
    CAMPAIGN_FAILED = 35
    CAMPAIGN_SUSPENDED = 36
    CAMPAIGN_SUSPENDING = 37
    ACCESS_DENIED = 38
    NOT_READY = 39
    DEPLOYMENT = 40


class DispatchFlags(IntEnum):
    """SaDispatchFlagsT."""

    ONE = 1
    ALL = 2
    BLOCKING = 3


class TrackFlags(IntFlag):
    """SaTrackFlags..., what a tracking call asks for."""

    CURRENT = 1
    CHANGES = 2
    CHANGES_ONLY = 4
    LOCAL = 8
    START_STEP = 0x10
    VALIDATE_STEP = 0x20


class Presence(IntEnum):
    """SaAmfPresenceStateT, of a component or a service unit."""

    UNINSTANTIATED = 1
    INSTANTIATING = 2
    INSTANTIATED = 3
    TERMINATING = 4
    RESTARTING = 5
    INSTANTIATION_FAILED = 6
    TERMINATION_FAILED = 7


class Operational(IntEnum):
    """SaAmfOperationalStateT, of a component, a service unit or a node."""

    ENABLED = 1
    DISABLED = 2


class Admin(IntEnum):
    """SaAmfAdminStateT."""

    UNLOCKED = 1
    LOCKED = 2
    LOCKED_INSTANTIATION = 3
    SHUTTING_DOWN = 4


class Readiness(IntEnum):
    """SaAmfReadinessStateT, of a component or a service unit."""

    OUT_OF_SERVICE = 1
    IN_SERVICE = 2
    STOPPING = 3


class HaState(IntEnum):
    """SaAmfHAStateT: a component's role for one component service instance."""

    ACTIVE = 1
    STANDBY = 2
    QUIESCED = 3
    QUIESCING = 4


class HaReadiness(IntEnum):
    """SaAmfHAReadinessStateT: which roles a component is ready to take."""

    READY_FOR_ASSIGNMENT = 1
    READY_FOR_ACTIVE_DEGRADED = 2
    NOT_READY_FOR_ACTIVE = 3
    NOT_READY_FOR_ASSIGNMENT = 4


class Assignment(IntEnum):
    """SaAmfAssignmentStateT, of a service instance."""

    UNASSIGNED = 1
    FULLY_ASSIGNED = 2
    PARTIALLY_ASSIGNED = 3


class Recovery(IntEnum):
    """SaAmfRecommendedRecoveryT."""

    NO_RECOMMENDATION = 1
    COMPONENT_RESTART = 2
    COMPONENT_FAILOVER = 3
    NODE_SWITCHOVER = 4
    NODE_FAILOVER = 5
    NODE_FAILFAST = 6
    CLUSTER_RESET = 7
    APPLICATION_RESTART = 8
    CONTAINER_RESTART = 9


class RedundancyModel(IntEnum):
    """SaAmfRedundancyModelT."""

    TWO_N = 1
    N_PLUS_M = 2
    N_WAY = 3
    N_WAY_ACTIVE = 4
    NO_REDUNDANCY = 5


class AdminOperation(IntEnum):
    """SaAmfAdminOperationIdT."""

    UNLOCK = 1
    LOCK = 2
    LOCK_INSTANTIATION = 3
    UNLOCK_INSTANTIATION = 4
    SHUTDOWN = 5
    RESTART = 6
    SI_SWAP = 7
    SG_ADJUST = 8
    REPAIRED = 9
    EAM_START = 10
    EAM_STOP = 11
