"""The exceptions of the framework: one class per SaAisErrorT.

    AisError                .code: ErrorCode, .reason: str
    |-- Transient           TryAgain TimedOut Busy NoResources NoMemory Interrupt
    |-- Usage               InvalidParam BadHandle BadFlags Init Version Access BadOperation TooBig NameTooLong
    `-- State               all others

`TimedOut` is also a `TimeoutError`, `InvalidParam` a `ValueError` and `NotExist` a `LookupError`.

Source: SAI-AIS-OVERVIEW, SaAisErrorT.
"""

from typing import ClassVar

from corosync_amf.ais import ErrorCode


class AisError(Exception):
    """What a service refused or could not do.

    `code` is the AIS error code, `reason` says in words why. Facts that belong to one kind of error (the present
    epoch, the element of a vector) are attributes of it, None where they do not apply.
    """

    code: ClassVar[ErrorCode]

    def __init__(
        self,
        reason: str = "",
        *,
        supported: tuple[str, ...] = (),
        epoch: int | None = None,
        erroneous_vector_index: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.supported = supported
        self.epoch = epoch
        self.erroneous_vector_index = erroneous_vector_index

    def __str__(self) -> str:
        return self.reason or (type(self).__doc__ or "").split(";")[0].rstrip(".")


class Transient(AisError):
    """May succeed when tried again."""


class Usage(AisError):
    """The caller asked for something that cannot be asked for."""


class State(AisError):
    """The state of the cluster does not allow it."""


class Library(State):
    """The library, the connection or the protocol failed; nothing more can be done with this session."""

    code = ErrorCode.LIBRARY


class Version(Usage):
    """The version asked for is not supported; `supported` lists those that are."""

    code = ErrorCode.VERSION


class Init(Usage):
    """The session was initialised without the event kind that this call needs."""

    code = ErrorCode.INIT


class TimedOut(Transient, TimeoutError):
    """The time allowed is over; it is not known whether the request took effect."""

    code = ErrorCode.TIMEOUT


class TryAgain(Transient):
    """The service cannot answer now (state transfer, flow control, no quorum); `reason` says why."""

    code = ErrorCode.TRY_AGAIN


class InvalidParam(Usage, ValueError):
    """An argument is not what it must be."""

    code = ErrorCode.INVALID_PARAM


class NoMemory(Transient):
    """The library or the executive is out of memory."""

    code = ErrorCode.NO_MEMORY


class BadHandle(Usage):
    """The object is closed, or its parent is."""

    code = ErrorCode.BAD_HANDLE


class Busy(Transient):
    """The resource is in use."""

    code = ErrorCode.BUSY


class Access(Usage):
    """The handle was not opened with the right that this call needs."""

    code = ErrorCode.ACCESS


class NotExist(State, LookupError):
    """The named thing does not exist."""

    code = ErrorCode.NOT_EXIST


class NameTooLong(Usage):
    """The name is too long."""

    code = ErrorCode.NAME_TOO_LONG


class Exist(State):
    """The thing exists already."""

    code = ErrorCode.EXIST


class NoSpace(State):
    """There is no room left."""

    code = ErrorCode.NO_SPACE


class Interrupt(Transient):
    """Another operation ended this one."""

    code = ErrorCode.INTERRUPT


class NameNotFound(State):
    """The name is not known."""

    code = ErrorCode.NAME_NOT_FOUND


class NoResources(Transient):
    """A limit of the service is reached."""

    code = ErrorCode.NO_RESOURCES


class NotSupported(State):
    """The operation is not supported for this object."""

    code = ErrorCode.NOT_SUPPORTED


class BadOperation(Usage):
    """The operation is not allowed in this state."""

    code = ErrorCode.BAD_OPERATION


class FailedOperation(State):
    """The operation failed; `reason` says how."""

    code = ErrorCode.FAILED_OPERATION


class MessageError(State):
    """A communication error occurred."""

    code = ErrorCode.MESSAGE_ERROR


class QueueFull(State):
    """The queue has no room for the message."""

    code = ErrorCode.QUEUE_FULL


class QueueNotAvailable(State):
    """The queue group has no member that can take the message."""

    code = ErrorCode.QUEUE_NOT_AVAILABLE


class BadFlags(Usage):
    """Unknown flag bits, or a combination that is impossible."""

    code = ErrorCode.BAD_FLAGS


class TooBig(Usage):
    """A size is over its limit."""

    code = ErrorCode.TOO_BIG


class NoSections(State):
    """No (further) section matches."""

    code = ErrorCode.NO_SECTIONS


class NoOp(State):
    """The requested state is already there."""

    code = ErrorCode.NO_OP


class RepairPending(State):
    """The administrative state was set, but a repair is needed."""

    code = ErrorCode.REPAIR_PENDING


class NoBindings(State):
    """The object has no bindings."""

    code = ErrorCode.NO_BINDINGS


class Unavailable(State):
    """The node is not a member of the cluster."""

    code = ErrorCode.UNAVAILABLE


class CampaignErrorDetected(State):
    """A campaign detected an error."""

    code = ErrorCode.CAMPAIGN_ERROR_DETECTED


class CampaignProcFailed(State):
    """A procedure of the campaign failed."""

    code = ErrorCode.CAMPAIGN_PROC_FAILED


class CampaignCanceled(State):
    """The campaign was cancelled."""

    code = ErrorCode.CAMPAIGN_CANCELED


class CampaignFailed(State):
    """The campaign failed."""

    code = ErrorCode.CAMPAIGN_FAILED


class CampaignSuspended(State):
    """The campaign is suspended."""

    code = ErrorCode.CAMPAIGN_SUSPENDED


class CampaignSuspending(State):
    """The campaign is being suspended."""

    code = ErrorCode.CAMPAIGN_SUSPENDING


class AccessDenied(State):
    """The caller may not do this, or carries an epoch older than the fence (`epoch` tells the present one)."""

    code = ErrorCode.ACCESS_DENIED


class NotReady(State):
    """The component is not ready."""

    code = ErrorCode.NOT_READY


class Deployment(State):
    """The deployment is faulty."""

    code = ErrorCode.DEPLOYMENT


_BY_CODE: dict[int, type[AisError]] = {
    kind.code: kind
    for kind in (
        Library,
        Version,
        Init,
        TimedOut,
        TryAgain,
        InvalidParam,
        NoMemory,
        BadHandle,
        Busy,
        Access,
        NotExist,
        NameTooLong,
        Exist,
        NoSpace,
        Interrupt,
        NameNotFound,
        NoResources,
        NotSupported,
        BadOperation,
        FailedOperation,
        MessageError,
        QueueFull,
        QueueNotAvailable,
        BadFlags,
        TooBig,
        NoSections,
        NoOp,
        RepairPending,
        NoBindings,
        Unavailable,
        CampaignErrorDetected,
        CampaignProcFailed,
        CampaignCanceled,
        CampaignFailed,
        CampaignSuspended,
        CampaignSuspending,
        AccessDenied,
        NotReady,
        Deployment,
    )
}


def from_code(code: int) -> type[AisError]:
    """Return the exception class of an AIS error code (2..40).

    Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): no such code.
    """
    if not isinstance(code, int) or code not in _BY_CODE:
        raise InvalidParam(f"{code!r} is not an AIS error code")
    return _BY_CODE[code]
