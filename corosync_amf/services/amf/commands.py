"""What AMF tells an executive to do with the components of its node, and the notifications that it sends.

A command that starts or ends something carries a `ticket`; its `CommandDone` brings the ticket back.
"""

import msgspec

from corosync_amf.ais import Dn
from corosync_amf.engine import Message


class Notification(Message, frozen=True):
    """Something that operators may want to know.

    `number` is the minor id of class 18568.2; `alarm`: an alarm, of which `cleared` says that it is over. `old` and
    `new` are state values (0: none), `text` says what happened and `advice`, for alarms, what to do. An error report
    has the recovery that was `recommended` and what was `applied`, in the words of amf.conf and `amf status`.
    """

    number: int
    object: Dn
    time: float
    text: str
    alarm: bool = False
    cleared: bool = False
    old: int = 0
    new: int = 0
    advice: str = ""
    recommended: str = ""
    applied: str = ""


class Command(Message, frozen=True):
    """Carried out by one node outside the order. `timeout` in seconds: over it the process group is killed and the
    command has failed."""


class Instantiate(Command, frozen=True):
    """Start the component's process; answered with CommandDone(INSTANTIATE). `environment` goes over the configured."""

    component: Dn
    ticket: int
    attempt: int
    timeout: float
    environment: dict[str, str] = msgspec.field(default_factory=dict)


class Terminate(Command, frozen=True):
    """Run the terminate command; CommandDone(TERMINATE) with `ok` only when no process of the component is left."""

    component: Dn
    ticket: int
    timeout: float


class AwaitExit(Command, frozen=True):
    """Wait until no process of the component is left; CommandDone(AWAIT_EXIT), not ok when the time is over."""

    component: Dn
    ticket: int
    timeout: float


class Cleanup(Command, frozen=True):
    """End whatever is left of the component, known or not; CommandDone(CLEANUP), ok only when nothing is left.

    `source` is a fault's word (`Kind`, lower case) for AMF_ERROR_SOURCE, "" when there was none.
    """

    component: Dn
    ticket: int
    timeout: float
    source: str = ""


class AmStart(Command, frozen=True):
    """Start the active monitor; CommandDone(AM_START)."""

    component: Dn
    ticket: int
    timeout: float


class AmStop(Command, frozen=True):
    """Stop the active monitor; CommandDone(AM_STOP)."""

    component: Dn
    ticket: int
    timeout: float


class Monitor(Command, frozen=True):
    """The component is instantiated: start the periodic healthcheck command, if one is configured. Terminate,
    AwaitExit and Cleanup of the component end it."""

    component: Dn
    instance: int


class Failfast(Command, frozen=True):
    """Leave the cluster at once: the node's failfast command, or kill all components and exit with 75."""

    reason: str


AmfCommand = Instantiate | Terminate | AwaitExit | Cleanup | AmStart | AmStop | Monitor | Failfast
