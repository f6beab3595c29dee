"""Carries out what AMF wants done with the processes of this node's components.

    processes = Processes(driver, surroundings, components, report)
    processes.run(command)                  # Instantiate, Terminate, AwaitExit, Cleanup, AmStart, AmStop, Failfast
    processes.greeted(component, pid)       # a process says it is the component
    processes.connection_lost(pid)          # its connection has ended
    processes.freeze(components), processes.thaw()
    await processes.stop()

What comes of a command, and every death that nobody asked for, goes to `report` as requests for AMF. When the default
cleanup (SIGKILL to everything that belongs to the component) applies, a death is reported once nothing is left of the
component, as `FaultDetected(cleaned=True)`: the very message that tells of the fault lets the standby take over.
"""

import contextlib
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping

import anyio

from corosync_amf.ais import Dn
from corosync_amf.engine import Request
from corosync_amf.services.amf.messages import (
    AmfCommand,
    AmStart,
    AmStop,
    AwaitExit,
    Cleanup,
    CommandDone,
    Failfast,
    FaultDetected,
    Instantiate,
    Kind,
    Monitor,
    Terminate,
    Verb,
)
from corosync_amf.services.amf.model import Component

from . import proc
from .drive import Driver
from .family import LOOK_SECONDS_FIRST, LOOK_SECONDS_LAST, Checked, Child, Ending, Family
from .output import Output
from .spawning import CannotStart, Surroundings, ended_how, instantiate_argv, spawn

log = logging.getLogger("aisexec.processes")

GONE_SECONDS = 0.1
"""So long a death waits to be reported until nothing is left of the component."""
DYING_SECONDS = 0.005
DYING_SECONDS_MAX = 1.0
STOP_SECONDS = 5.0
EXIT_FAILFAST = 75

Report = Callable[[list[Request]], None]


class Processes:
    """See the module. `components` are those that may run here, by DN; `leave` ends the executive (failfast)."""

    def __init__(
        self,
        driver: Driver,
        surroundings: Surroundings,
        components: Mapping[Dn, Component],
        report: Report,
        *,
        failfast_command: tuple[str, ...] | None = None,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._driver = driver
        self._surroundings = surroundings
        self._components = components
        self._report = report
        self._failfast_command = failfast_command
        self._leave = leave
        self._families: dict[Dn, Family] = {}
        self._frozen: set[Dn] = set()
        self._timer = driver.timer(self._wake)

    # ---- commands

    def run(self, command: AmfCommand) -> None:
        """Begin to carry out a command. Monitor is not for here."""
        if not isinstance(command, Failfast) and command.component not in self._components:
            log.error("AMF names a component that is not configured: %s", command.component)
            return
        match command:
            case Instantiate():
                self._instantiate(command)
            case Terminate():
                self._family(command.component).main = 0  # its end is wanted now
                argv = self._family(command.component).component.terminate
                self._run_verb(command.component, Verb.TERMINATE, argv, command.ticket, command.timeout)
            case AmStart():
                argv = self._family(command.component).component.am_start
                self._run_verb(command.component, Verb.AM_START, argv, command.ticket, command.timeout)
            case AmStop():
                argv = self._family(command.component).component.am_stop
                self._run_verb(command.component, Verb.AM_STOP, argv, command.ticket, command.timeout)
            case AwaitExit(component, ticket, timeout):
                self._end(self._family(component), Ending(Verb.AWAIT_EXIT, ticket, timeout, kills=False))
            case Cleanup():
                self._cleanup(command)
            case Failfast(reason):
                self._failfast(reason)
            case Monitor():
                raise ValueError("Monitor is not a matter of processes")

    def check(self, component: Dn, timeout: float, checked: Checked) -> None:
        """Run the component's healthcheck command; `checked(ok, detail)` tells what came of it."""
        family = self._family(component)
        argv = family.component.healthcheck_command
        if argv is None:
            checked(False, "no healthcheck command is configured")
            return
        try:
            self._start(family, self._surroundings.resolve(argv), {}, None, 0, timeout, checked)
        except CannotStart as error:
            checked(False, str(error))

    def _family(self, component: Dn) -> Family:
        family = self._families.get(component)
        if family is None:
            family = self._families[component] = Family(self._components[component])
        elif component in self._components:
            family.component = self._components[component]
        return family

    def _instantiate(self, command: Instantiate) -> None:
        family = self._family(command.component)
        family.instance, family.main = command.ticket, 0
        family.since = family.since or proc.ticks() - 1
        is_plugin = family.component.instantiate is None
        timeout = None if is_plugin else command.timeout
        try:
            argv = instantiate_argv(family.component, self._surroundings)
            child = self._start(family, argv, command.environment, Verb.INSTANTIATE, command.ticket, timeout)
        except CannotStart as error:
            self._done(family, Verb.INSTANTIATE, command.ticket, False, str(error))
            return
        if is_plugin:
            family.main, child.verb = child.process.pid, None
            self._done(family, Verb.INSTANTIATE, command.ticket, True)

    def _run_verb(self, component: Dn, verb: Verb, argv: tuple[str, ...] | None, ticket: int, timeout: float) -> None:
        family = self._family(component)
        try:
            if argv is None:
                raise CannotStart("no such command is configured")
            self._start(family, self._surroundings.resolve(argv), {}, verb, ticket, timeout)
        except CannotStart as error:
            self._done(family, verb, ticket, False, str(error))

    def _cleanup(self, command: Cleanup) -> None:
        family = self._family(command.component)
        argv = family.component.cleanup
        family.main = 0
        ending = Ending(Verb.CLEANUP, command.ticket, command.timeout, kills=True)
        self._forget_commands(family)
        if argv is None:
            self._end(family, ending)
            return
        try:
            more = {"AMF_ERROR_SOURCE": command.source}
            argv_found = self._surroundings.resolve(argv)
            self._start(family, argv_found, more, Verb.CLEANUP, command.ticket, command.timeout)
        except CannotStart as error:
            self._done(family, Verb.CLEANUP, command.ticket, False, str(error))

    def _start(
        self,
        family: Family,
        argv: list[str],
        more: Mapping[str, str],
        verb: Verb | None,
        ticket: int,
        timeout: float | None,
        checked: Checked | None = None,
    ) -> Child:
        """Raises: CannotStart."""
        component = family.component
        environment = self._surroundings.environment(component, more)
        process, reading = spawn(argv, environment, self._surroundings.directory)
        pidfd = os.pidfd_open(process.pid)
        deadline = None if timeout is None else self._driver.now() + timeout
        output = Output(self._driver, reading, component.dn)
        child = Child(process, pidfd, output, verb, ticket, deadline, checked)
        family.children.append(child)
        family.groups.add(process.pid)
        self._driver.on_readable(pidfd, lambda: self._ended(family, child))
        self._arm()
        return child

    # ---- ends of processes

    def _ended(self, family: Family, child: Child) -> None:
        """A program that was started here has ended."""
        code = child.process.poll()
        if code is None or child not in family.children:
            return
        is_ok = code == 0
        self._let_go(family, child, keeps_output=is_ok and child.verb in (Verb.INSTANTIATE, Verb.AM_START))
        detail = ended_how(code)
        if child.checked is not None:
            child.checked(is_ok, detail)
        elif child.process.pid == family.main:
            self._died(family, detail, child)
        elif child.verb is Verb.INSTANTIATE and is_ok:
            self._done(family, Verb.INSTANTIATE, child.ticket, True)
        elif child.verb in (Verb.TERMINATE, Verb.CLEANUP) and is_ok:
            left = max(0.0, (child.deadline or 0.0) - self._driver.now())
            self._end(family, Ending(child.verb, child.ticket, left, kills=child.verb is Verb.CLEANUP))
        elif child.verb is not None:
            proc.send(signal.SIGKILL, (), [child.process.pid])
            said = f" ({child.output.last_line})" if child.output.last_line else ""
            self._done(family, child.verb, child.ticket, is_ok, "" if is_ok else detail + said)
        if family.ending is not None:
            self._look(family, family.ending)

    def _let_go(self, family: Family, child: Child, *, keeps_output: bool = False) -> None:
        family.children.remove(child)
        if child.process.pid != family.main:
            family.groups.discard(child.process.pid)  # the number may be given anew; marks tell who is left
        self._driver.on_readable(child.pidfd, None)
        os.close(child.pidfd)
        if keeps_output:  # what it left in the background goes on writing there
            family.outputs.append(child.output)
        else:
            child.output.close()

    def _died(self, family: Family, detail: str, child: Child | None = None) -> None:
        """The component's main process has ended: report it, unless somebody waits for just that."""
        said = f" ({child.output.last_line})" if child is not None and child.output.last_line else ""
        family.main = 0
        if family.ending is not None:
            return
        log.warning("%s: its process has ended: %s%s", family.component.dn, detail, said)
        is_cleaned = family.component.cleanup is None
        fault = FaultDetected(
            family.component.dn,
            family.instance,
            Kind.PROCESS_DIED,
            detail=f"{detail}{said}",
            time=time.time(),
            cleaned=is_cleaned,
        )
        if not is_cleaned:
            self._report([fault])
            return
        self._forget_commands(family)
        self._end(family, Ending(Verb.CLEANUP, 0, GONE_SECONDS, kills=True, fault=fault))

    def _forget_commands(self, family: Family) -> None:
        """Commands under way are ended with the component; nobody waits for what comes of them."""
        for child in family.children:
            child.verb = child.checked = None

    def greeted(self, component: Dn, pid: int) -> None:
        """A process of this node said that it is the component: its death is the component's from now on.

        An instantiate command that becomes the component itself, instead of ending, has succeeded with this.
        """
        family = self._families.get(component)
        if family is None or pid == family.main or pid in family.greeted or family.ending is not None:
            return
        child = family.child_of(pid)
        if child is not None and child.verb is Verb.INSTANTIATE:
            family.main, child.deadline, child.verb = pid, None, None
            self._done(family, Verb.INSTANTIATE, child.ticket, True)
            return
        if family.main or not proc.environ_has(pid, self._surroundings.marks(component)):
            return  # some helper of the component, or a process that only uses its name
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return
        family.main = pid
        family.greeted[pid] = pidfd
        self._driver.on_readable(pidfd, lambda: self._stranger_ended(family, pid))

    def _stranger_ended(self, family: Family, pid: int) -> None:
        pidfd = family.greeted.pop(pid, None)
        if pidfd is None:
            return
        self._driver.on_readable(pidfd, None)
        os.close(pidfd)
        if pid == family.main:
            self._died(family, "ended")

    def connection_lost(self, pid: int) -> None:
        """The connection of a process has ended. A component that loses it has failed: make sure that it is dead, and
        report that before anybody acts on the lost connection."""
        for family in self._families.values():
            if pid == family.main and pid and family.ending is None:
                self._make_sure(family, pid)
                return

    def _make_sure(self, family: Family, pid: int) -> None:
        child = family.child_of(pid)
        pidfd = family.greeted.get(pid) if child is None else child.pidfd
        if pidfd is None:
            return
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(DYING_SECONDS * 1000):
            # It lives, but AMF cannot talk to it any more: its orderly end, if it is one, takes no longer than this.
            return
        if child is None:
            self._stranger_ended(family, pid)
        else:
            self._ended(family, child)

    # ---- until nothing is left

    def _end(self, family: Family, ending: Ending) -> None:
        """Wait (`deadline` seconds from now) until nothing is left of the component."""
        now = self._driver.now()
        ending.deadline += now
        family.ending = ending
        self._look(family, ending)

    def _members(self, family: Family, processes: list[proc.Process] | None = None) -> list[proc.Process]:
        return family.members(self._surroundings.marks(family.component.dn), processes)

    def _look(self, family: Family, ending: Ending) -> None:
        """See what is left of the component, kill it if that is wanted, and report when it is over."""
        if ending.kills:
            family.kill()
        left = self._members(family)
        if not left:
            self._gone(family, ending)
            return
        if ending.kills:
            proc.send(signal.SIGKILL, left)
        now = self._driver.now()
        if now >= ending.deadline:
            self._not_gone(family, ending, left)
            return
        ending.look_at = min(now + ending.pause, ending.deadline)
        ending.pause = min(2 * ending.pause, LOOK_SECONDS_LAST)
        self._arm()

    def _gone(self, family: Family, ending: Ending) -> None:
        family.ending = None
        family.main = family.since = 0
        for child in list(family.children):
            child.process.poll()
            self._let_go(family, child)
        for pid in list(family.greeted):
            self._stranger_ended(family, pid)
        family.close_outputs()
        family.groups.clear()
        self._frozen.discard(family.component.dn)
        if ending.fault is not None:
            self._report([ending.fault])
        else:
            self._done(family, ending.verb, ending.ticket, True)

    def _not_gone(self, family: Family, ending: Ending, left: list[proc.Process]) -> None:
        family.ending = None
        detail = "still there: " + ", ".join(str(process.pid) for process in left[:5])
        if ending.fault is None:
            self._done(family, ending.verb, ending.ticket, False, detail)
            return
        fault = ending.fault
        told = f"{fault.detail}; {detail}"
        self._report([FaultDetected(fault.component, fault.instance, fault.kind, detail=told, time=fault.time)])

    def _done(self, family: Family, verb: Verb, ticket: int, ok: bool, detail: str = "") -> None:
        name = verb.name.lower().replace("_", " ")
        if not ok:
            log.warning("%s: %s failed: %s", family.component.dn, name, detail)
        self._report([CommandDone(family.component.dn, verb, ticket, ok, detail[:1000])])

    # ---- time

    def _arm(self) -> None:
        deadlines = [child.deadline for family in self._families.values() for child in family.children]
        deadlines += [family.ending.look_at for family in self._families.values() if family.ending is not None]
        self._timer.set(min((deadline for deadline in deadlines if deadline is not None), default=None))

    def _wake(self) -> None:
        now = self._driver.now()
        for family in list(self._families.values()):
            for child in list(family.children):
                if child.deadline is not None and child.deadline <= now:
                    self._out_of_time(family, child)
            if family.ending is not None and family.ending.look_at <= now:
                self._look(family, family.ending)
        self._arm()

    def _out_of_time(self, family: Family, child: Child) -> None:
        child.deadline = None
        proc.send(signal.SIGKILL, (), [child.process.pid])
        verb, child.verb = child.verb, None
        checked, child.checked = child.checked, None
        if checked is not None:
            checked(False, "timeout")
        elif verb is not None:
            self._done(family, verb, child.ticket, False, "timeout")

    # ---- all at once

    def freeze(self, components: Collection[Dn]) -> None:
        """Stop these components where they are, at once (SIGSTOP); a later death or cleanup still takes effect."""
        for component in components:
            family = self._families.get(component)
            if family is not None:
                self._frozen.add(component)
                proc.send(signal.SIGSTOP, (), family.groups)
                proc.send(signal.SIGSTOP, self._members(family))

    def thaw(self) -> None:
        """Let the frozen components go on as if nothing had happened."""
        frozen, self._frozen = self._frozen, set()
        for component in frozen:
            family = self._families[component]
            proc.send(signal.SIGCONT, self._members(family), family.groups)

    @property
    def frozen(self) -> frozenset[Dn]:
        """The components that are stopped now."""
        return frozenset(self._frozen)

    def pids(self, component: Dn) -> list[int]:
        """The living processes of a component."""
        return sorted(process.pid for process in self._members(self._family(component)))

    def kill_all(self) -> bool:
        """SIGKILL to everything of every component; whether nothing was left to kill."""
        is_over = True
        for component in self._components:
            self._family(component).kill()
        processes = proc.look()
        for family in self._families.values():
            left = self._members(family, processes)
            proc.send(signal.SIGKILL, left)
            is_over = is_over and not left
        return is_over

    def kill_leftovers(self) -> None:
        """At the start of the executive: end what a former one of this node left behind."""
        self.kill_all()

    async def stop(self) -> None:
        """Kill all components and return when nothing is left of them, after five seconds at most."""
        self._report = _nobody
        pause = LOOK_SECONDS_FIRST
        with anyio.move_on_after(STOP_SECONDS):
            while not self.kill_all():
                await anyio.sleep(pause)
                pause = min(2 * pause, LOOK_SECONDS_LAST)
        self.close()

    def close(self) -> None:
        """Kill what is left and let go of it, without waiting."""
        self._report = _nobody
        self._timer.set(None)
        for family in self._families.values():
            family.kill()
            for child in list(family.children):
                child.process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(DYING_SECONDS_MAX)
                self._let_go(family, child)
            family.close_outputs()
            for pid in list(family.greeted):
                self._driver.on_readable(family.greeted[pid], None)
                os.close(family.greeted.pop(pid))
        self._families.clear()

    def _failfast(self, reason: str) -> None:
        log.critical("failfast: %s", reason)
        if self._failfast_command is None:
            self.kill_all()
        else:
            try:
                argv = self._surroundings.resolve(self._failfast_command)
                process, reading = spawn(
                    argv, self._surroundings.environ, self._surroundings.directory, outlives_us=True
                )
                os.close(reading)
                log.critical("failfast: %s runs as process %d", argv[0], process.pid)
                process.returncode = 0  # nobody waits for it: we leave
            except CannotStart as error:
                log.critical("failfast: %s", error)
                self.kill_all()
        self._leave(EXIT_FAILFAST)


def _nobody(requests: list[Request]) -> None:
    """Where reports go while the executive stops."""
