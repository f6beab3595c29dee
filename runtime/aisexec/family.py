"""What the executive knows of the processes of one component."""

import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from corosync_amf.services.amf.messages import FaultDetected, Verb
from corosync_amf.services.amf.model import Component

from . import proc
from .output import Output

LOOK_SECONDS_FIRST = 0.001
LOOK_SECONDS_LAST = 0.05

Checked = Callable[[bool, str], None]


@dataclass(eq=False)
class Child:
    """A program that was started for a component. `verb` None: a healthcheck command, which tells `checked`."""

    process: "subprocess.Popen[bytes]"
    pidfd: int
    output: Output
    verb: Verb | None
    ticket: int = 0
    deadline: float | None = None
    checked: Checked | None = None


@dataclass(eq=False)
class Ending:
    """The wait until nothing is left of a component. `fault`: what is reported then, else CommandDone of `verb`."""

    verb: Verb
    ticket: int
    deadline: float
    kills: bool
    fault: FaultDetected | None = None
    look_at: float = 0.0
    pause: float = LOOK_SECONDS_FIRST


@dataclass(eq=False)
class Family:
    """A component's processes.

    `main` is the one that was started to be the component, or said that it is. None of them is older than `since`
    (0: that is not known). `known` are pid and start of the members that were found last.
    """

    component: Component
    instance: int = 0
    main: int = 0
    since: int = 0
    children: list[Child] = field(default_factory=list)
    groups: set[int] = field(default_factory=set)
    greeted: dict[int, int] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    ending: Ending | None = None
    known: set[tuple[int, int]] = field(default_factory=set)

    def members(self, marks: Mapping[str, str], processes: list[proc.Process] | None = None) -> list[proc.Process]:
        """The living processes of the component, among `processes` (default: all there are).

        One that was found stays a member until it has ended: on its way out it has no environment any more, but holds
        its sockets still.
        """
        seen = proc.look() if processes is None else processes
        leaving = [process for process in seen if not process.is_dead and (process.pid, process.started) in self.known]
        found = proc.members(seen, self.groups, self.greeted, marks, self.since)
        pids = {process.pid for process in found}
        found += [process for process in leaving if process.pid not in pids]
        self.known = {(process.pid, process.started) for process in found}
        return found

    def child_of(self, pid: int) -> Child | None:
        """The program that was started here and has this number."""
        return next((child for child in self.children if child.process.pid == pid), None)

    def kill(self) -> None:
        """SIGKILL to every process group that was started for the component."""
        proc.send(signal.SIGKILL, (), self.groups)

    def close_outputs(self) -> None:
        """Read no more what was left in the background."""
        while self.outputs:
            self.outputs.pop().close()
