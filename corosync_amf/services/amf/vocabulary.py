"""The words of the AMF library that AMF alone uses. Values are those of saAmf.h where it has them."""

from enum import IntEnum, IntFlag


class CsiFlags(IntFlag):
    """SaAmfCSIFlagsT: how much of a component's work a callback is about."""

    ADD_ONE = 1
    TARGET_ONE = 2
    TARGET_ALL = 4


class Transition(IntEnum):
    """SaAmfCSITransitionDescriptorT: what became of the former active, told with ACTIVE."""

    NEW_ASSIGN = 1
    QUIESCED = 2
    NOT_QUIESCED = 3
    STILL_ACTIVE = 4


class InvocationType(IntEnum):
    """SaAmfHealthcheckInvocationT: who starts each healthcheck."""

    AMF_INVOKED = 1
    COMPONENT_INVOKED = 2


class StopQualifier(IntEnum):
    """SaAmfPmStopQualifierT: what to stop watching."""

    PROC = 1
    PROC_AND_DESCENDANTS = 2
    ALL_PROCESSES = 3


class PmErrors(IntFlag):
    """SaAmfPmErrorsT: which ends of a watched process are faults."""

    ZERO_EXIT = 1
    NON_ZERO_EXIT = 2
    ABNORMAL_END = 4
    ALL = 7


class Change(IntEnum):
    """SaAmfProtectionGroupChangesT: what happened to a member of a protection group."""

    NO_CHANGE = 1
    ADDED = 2
    REMOVED = 3
    STATE_CHANGE = 4


class Kind(IntEnum):
    """What kind of fault was found; `name.lower()` is the word that people and cleanup commands see."""

    ERROR_REPORT = 1
    PROCESS_DIED = 2
    HEALTHCHECK_FAILED = 3
    HEALTHCHECK_TIMEOUT = 4
    PASSIVE_MONITORING = 5
    ACTIVE_MONITORING = 6
    COMMAND_FAILED = 7
    REGISTRATION_TIMEOUT = 8
    UNREGISTERED = 9
    CSI_SET_FAILED = 10
    CSI_SET_TIMEOUT = 11
    CSI_REMOVE_FAILED = 12
    CSI_REMOVE_TIMEOUT = 13
    TERMINATE_FAILED = 14
    TERMINATE_TIMEOUT = 15
    QUIESCING_TIMEOUT = 16
    PROXY_DIED = 17
    CONTAINER_DIED = 18
    NODE_LEFT = 19


class Verb(IntEnum):
    """What an executive was told to do with a component."""

    INSTANTIATE = 1
    TERMINATE = 2
    AWAIT_EXIT = 3
    CLEANUP = 4
    AM_START = 5
    AM_STOP = 6
