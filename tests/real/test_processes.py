"""The executive's processes driver, with real short-lived processes."""

# ruff: noqa: ASYNC110, ASYNC222  (other processes are looked at, they set no events)

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aisexec import proc
from aisexec.drive import Driver, open_driver
from aisexec.processes import Processes
from aisexec.spawning import Surroundings
from corosync_amf.engine import Request
from corosync_amf.services.amf.messages import (
    AwaitExit,
    Cleanup,
    CommandDone,
    Failfast,
    FaultDetected,
    Instantiate,
    Kind,
    Terminate,
    Verb,
)
from corosync_amf.services.amf.model import Component

pytestmark = pytest.mark.real

DN = "safComp=a,safSu=u,safSg=g,safApp=p"
PATIENCE = 30.0


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-E", "-c", code)


def component(**changes: object) -> Component:
    return Component(dn=DN, name="a", **changes)  # type: ignore[arg-type]


class World:
    """Processes of one component, and what they reported."""

    def __init__(self, driver: Driver, folder: Path, configured: Component, **options: Any) -> None:
        self.folder = folder
        self.left: list[int] = []
        self._reports: list[Request] = []
        self._news = anyio.Event()
        surroundings = Surroundings(7, "node-7", str(folder / "socket"), folder)
        self.processes = Processes(
            driver, surroundings, {configured.dn: configured}, self._reported, leave=self.left.append, **options
        )

    def _reported(self, requests: list[Request]) -> None:
        self._reports += requests
        self._news.set()
        self._news = anyio.Event()

    async def next_report(self) -> Request:
        with anyio.fail_after(PATIENCE):
            while not self._reports:
                await self._news.wait()
        return self._reports.pop(0)

    async def line_of(self, name: str) -> str:
        """What a component wrote into a file of its directory."""
        path = self.folder / name
        with anyio.fail_after(PATIENCE):
            while not path.exists() or not path.read_text().endswith("\n"):
                await anyio.sleep(0.005)
        return path.read_text().strip()

    async def instantiate(self, ticket: int = 1) -> None:
        self.processes.run(Instantiate(DN, ticket, 1, PATIENCE))
        assert await self.next_report() == CommandDone(DN, Verb.INSTANTIATE, ticket, True)


@asynccontextmanager
async def world(folder: Path, configured: Component, **options: Any) -> AsyncIterator[World]:
    async with open_driver() as driver:
        made = World(driver, folder, configured, **options)
        try:
            yield made
        finally:
            made.processes.close()


def run(body: Callable[[], Awaitable[None]]) -> None:
    anyio.run(body)


def gone(pid: int) -> bool:
    return pid not in {process.pid for process in proc.look() if not process.is_dead}


def plugin_folder(folder: Path, code: str) -> None:
    """A module `corosync_amf.component` can be asked to load; its import is all that it does."""
    (folder / "plug.py").write_text(code)


SLEEPER = "import time, os; open('pid', 'w').write(f'{os.getpid()}\\n'); time.sleep(600)"
WITH_CHILD = (
    "import subprocess, sys, time, os\n"
    "child = subprocess.Popen([sys.executable, '-S', '-E', '-c', 'import time; time.sleep(600)'], "
    "start_new_session=True)\n"
    "open('pid', 'w').write(f'{os.getpid()} {child.pid}\\n')\n"
    "time.sleep(600)\n"
)


def test_a_killed_component_is_reported_at_once_as_dead_and_cleaned(tmp_path: Path) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, SLEEPER)
        async with world(tmp_path, component(plugin="plug:x")) as w:
            await w.instantiate(ticket=5)
            pid = int(await w.line_of("pid"))
            os.kill(pid, signal.SIGKILL)
            fault = await w.next_report()
            assert isinstance(fault, FaultDetected)
            assert (fault.component, fault.instance, fault.kind, fault.cleaned) == (DN, 5, Kind.PROCESS_DIED, True)
            assert fault.detail == "SIGKILL"
            assert gone(pid)

    run(body)


def test_cleanup_ends_children_that_left_the_process_group(tmp_path: Path) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, WITH_CHILD)
        async with world(tmp_path, component(plugin="plug:x")) as w:
            await w.instantiate()
            pid, child = map(int, (await w.line_of("pid")).split())
            assert w.processes.pids(DN) == sorted([pid, child])
            w.processes.run(Cleanup(DN, 9, PATIENCE, "error_report"))
            assert await w.next_report() == CommandDone(DN, Verb.CLEANUP, 9, True)
            assert gone(pid)
            assert gone(child)

    run(body)


def test_children_of_a_dead_component_are_gone_when_its_death_is_reported_as_cleaned(tmp_path: Path) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, WITH_CHILD)
        async with world(tmp_path, component(plugin="plug:x")) as w:
            await w.instantiate()
            pid, child = map(int, (await w.line_of("pid")).split())
            os.kill(pid, signal.SIGKILL)
            fault = await w.next_report()
            assert isinstance(fault, FaultDetected)
            assert fault.cleaned
            assert gone(child)

    run(body)


def test_a_process_whose_first_thread_has_ended_is_not_dead(tmp_path: Path) -> None:
    code = (
        "import ctypes, os, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "open('pid', 'w').write(f'{os.getpid()}\\n')\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )

    async def body() -> None:
        plugin_folder(tmp_path, code)
        async with world(tmp_path, component(plugin="plug:x")) as w:
            await w.instantiate()
            pid = int(await w.line_of("pid"))
            with anyio.fail_after(PATIENCE):
                while state_of(pid) != "Z":
                    await anyio.sleep(0.002)
            assert not gone(pid)
            w.processes.run(Cleanup(DN, 2, PATIENCE))
            assert await w.next_report() == CommandDone(DN, Verb.CLEANUP, 2, True)
            assert gone(pid)

    run(body)


def test_the_last_words_of_a_component_that_fails_stand_in_the_fault(tmp_path: Path) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, "raise RuntimeError('no port is free')")
        async with world(tmp_path, component(plugin="plug:x")) as w:
            await w.instantiate()
            fault = await w.next_report()
            assert isinstance(fault, FaultDetected)
            assert fault.detail.startswith("exit 2 (")
            assert "no port is free" in fault.detail

    run(body)


def test_a_lost_connection_of_a_dying_component_reports_its_death_first(tmp_path: Path) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, SLEEPER)
        async with world(tmp_path, component(plugin="plug:x")) as w:
            await w.instantiate()
            pid = int(await w.line_of("pid"))
            pidfd = os.pidfd_open(pid)
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
            os.close(pidfd)
            w.processes.connection_lost(pid)
            with anyio.fail_after(PATIENCE):
                assert isinstance(await w.next_report(), FaultDetected)

    run(body)


def test_an_instantiate_command_that_ends_well_has_started_a_component_with_its_environment(tmp_path: Path) -> None:
    async def body() -> None:
        code = (
            "import os, sys\n"
            "names = ['SA_AMF_COMPONENT_NAME', 'AMF_NODE_NAME', 'AMF_NODE_ID', 'FLAVOUR', 'port']\n"
            "open('seen', 'w').write(' '.join(os.environ[name] for name in names) + '\\n')"
        )
        configured = component(instantiate=python(code), env={"FLAVOUR": "plum"})
        async with world(tmp_path, configured) as w:
            w.processes.run(Instantiate(DN, 1, 1, PATIENCE, {"port": "5060"}))
            assert await w.next_report() == CommandDone(DN, Verb.INSTANTIATE, 1, True)
            assert await w.line_of("seen") == f"{DN} node-7 7 plum 5060"

    run(body)


def test_an_instantiate_command_that_says_it_is_the_component_is_watched(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path, component(instantiate=python(SLEEPER))) as w:
            w.processes.run(Instantiate(DN, 3, 1, PATIENCE))
            pid = int(await w.line_of("pid"))
            w.processes.greeted(DN, pid)
            assert await w.next_report() == CommandDone(DN, Verb.INSTANTIATE, 3, True)
            os.kill(pid, signal.SIGTERM)
            fault = await w.next_report()
            assert isinstance(fault, FaultDetected)
            assert (fault.instance, fault.detail, fault.cleaned) == (3, "SIGTERM", True)

    run(body)


def test_a_component_that_became_a_daemon_is_watched_once_it_says_hello(tmp_path: Path) -> None:
    async def body() -> None:
        code = (
            "import os, time\n"
            "if os.fork(): os._exit(0)\n"
            "os.setsid()\n"
            "open('pid', 'w').write(f'{os.getpid()}\\n')\n"
            "time.sleep(600)"
        )
        async with world(tmp_path, component(instantiate=python(code))) as w:
            await w.instantiate()
            pid = int(await w.line_of("pid"))
            w.processes.greeted(DN, pid)
            os.kill(pid, signal.SIGKILL)
            fault = await w.next_report()
            assert isinstance(fault, FaultDetected)
            assert fault.cleaned
            assert gone(pid)

    run(body)


def test_a_stranger_who_says_it_is_the_component_is_not_believed(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path, component(instantiate=python("pass"))) as w:
            await w.instantiate()
            w.processes.greeted(DN, os.getppid())
            w.processes.run(Cleanup(DN, 2, PATIENCE))
            assert await w.next_report() == CommandDone(DN, Verb.CLEANUP, 2, True)

    run(body)


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        (python("import sys; print('ERROR the disk is full'); sys.exit(4)"), "exit 4 (the disk is full)"),
        (python("import os; os.kill(os.getpid(), 9)"), "SIGKILL"),
        (("/no/such/program",), "/no/such/program: No such file or directory"),
        (("no-such-program-anywhere",), "there is no program no-such-program-anywhere"),
    ],
)
def test_an_instantiate_command_that_fails_says_how(tmp_path: Path, command: tuple[str, ...], detail: str) -> None:
    async def body() -> None:
        async with world(tmp_path, component(instantiate=command)) as w:
            w.processes.run(Instantiate(DN, 1, 1, PATIENCE))
            assert await w.next_report() == CommandDone(DN, Verb.INSTANTIATE, 1, False, detail)

    run(body)


def test_a_command_that_takes_too_long_is_killed_and_has_failed(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path, component(instantiate=python("import time; time.sleep(600)"))) as w:
            w.processes.run(Instantiate(DN, 1, 1, 0.05))
            assert await w.next_report() == CommandDone(DN, Verb.INSTANTIATE, 1, False, "timeout")
            w.processes.run(AwaitExit(DN, 2, PATIENCE))
            assert await w.next_report() == CommandDone(DN, Verb.AWAIT_EXIT, 2, True)

    run(body)


def test_set_uid_programs_are_refused(tmp_path: Path) -> None:
    async def body() -> None:
        program = tmp_path / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o4755)
        async with world(tmp_path, component(instantiate=("./program",))) as w:
            w.processes.run(Instantiate(DN, 1, 1, PATIENCE))
            report = await w.next_report()
            assert isinstance(report, CommandDone)
            assert "set-uid" in report.detail

    run(body)


def test_the_cleanup_command_learns_the_fault_and_decides_about_success(tmp_path: Path) -> None:
    async def body() -> None:
        code = "import os; open('source', 'w').write(os.environ['AMF_ERROR_SOURCE'] + '\\n')"
        plugin_folder(tmp_path, SLEEPER)
        async with world(tmp_path, component(plugin="plug:x", cleanup=python(code))) as w:
            await w.instantiate()
            pid = int(await w.line_of("pid"))
            w.processes.run(Cleanup(DN, 2, PATIENCE, "healthcheck_timeout"))
            assert await w.next_report() == CommandDone(DN, Verb.CLEANUP, 2, True)
            assert await w.line_of("source") == "healthcheck_timeout"
            assert gone(pid)

    run(body)


def test_a_death_is_not_reported_as_cleaned_when_there_is_a_cleanup_command(tmp_path: Path) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, SLEEPER)
        async with world(tmp_path, component(plugin="plug:x", cleanup=python("pass"))) as w:
            await w.instantiate()
            os.kill(int(await w.line_of("pid")), signal.SIGKILL)
            fault = await w.next_report()
            assert isinstance(fault, FaultDetected)
            assert not fault.cleaned

    run(body)


def test_a_failed_cleanup_command_is_a_failed_cleanup(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path, component(instantiate=python("pass"), cleanup=python("raise SystemExit(1)"))) as w:
            w.processes.run(Cleanup(DN, 2, PATIENCE))
            assert await w.next_report() == CommandDone(DN, Verb.CLEANUP, 2, False, "exit 1")

    run(body)


def test_terminate_has_succeeded_when_nothing_is_left(tmp_path: Path) -> None:
    async def body() -> None:
        starts = "import os, time\nif os.fork(): os._exit(0)\n" + SLEEPER
        ends = "import os, signal; os.kill(int(open('pid').read()), signal.SIGTERM)"
        async with world(tmp_path, component(instantiate=python(starts), terminate=python(ends))) as w:
            await w.instantiate()
            pid = int(await w.line_of("pid"))
            w.processes.run(Terminate(DN, 2, PATIENCE))
            assert await w.next_report() == CommandDone(DN, Verb.TERMINATE, 2, True)
            assert gone(pid)

    run(body)


@pytest.mark.parametrize("verb", [Verb.TERMINATE, Verb.CLEANUP])
def test_a_command_that_ends_the_component_is_all_that_is_reported(tmp_path: Path, verb: Verb) -> None:
    async def body() -> None:
        ends = python("import os, signal, time; os.kill(int(open('pid').read()), signal.SIGTERM); time.sleep(0.1)")
        configured = component(instantiate=python(SLEEPER), terminate=ends, cleanup=ends)
        async with world(tmp_path, configured) as w:
            w.processes.run(Instantiate(DN, 1, 1, PATIENCE))
            pid = int(await w.line_of("pid"))
            w.processes.greeted(DN, pid)
            assert await w.next_report() == CommandDone(DN, Verb.INSTANTIATE, 1, True)
            w.processes.run((Terminate if verb is Verb.TERMINATE else Cleanup)(DN, 2, PATIENCE))
            assert await w.next_report() == CommandDone(DN, verb, 2, True)
            assert gone(pid)

    run(body)


def test_waiting_for_the_exit_of_a_component_that_stays_fails_and_leaves_it(tmp_path: Path) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, SLEEPER)
        async with world(tmp_path, component(plugin="plug:x")) as w:
            await w.instantiate()
            pid = int(await w.line_of("pid"))
            w.processes.run(AwaitExit(DN, 2, 0.05))
            report = await w.next_report()
            assert report == CommandDone(DN, Verb.AWAIT_EXIT, 2, False, f"still there: {pid}")
            assert not gone(pid)

    run(body)


def test_an_exit_that_is_awaited_is_no_fault(tmp_path: Path) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, SLEEPER)
        async with world(tmp_path, component(plugin="plug:x")) as w:
            await w.instantiate()
            pid = int(await w.line_of("pid"))
            w.processes.run(AwaitExit(DN, 2, PATIENCE))
            os.kill(pid, signal.SIGTERM)
            assert await w.next_report() == CommandDone(DN, Verb.AWAIT_EXIT, 2, True)

    run(body)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_frozen_component_stands_still_until_it_is_thawed_and_can_be_killed(tmp_path: Path) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, SLEEPER)
        async with world(tmp_path, component(plugin="plug:x")) as w:
            await w.instantiate()
            pid = int(await w.line_of("pid"))

            async def until(states: str) -> None:
                with anyio.fail_after(PATIENCE):
                    while state_of(pid) not in states:
                        await anyio.sleep(0.002)

            w.processes.freeze([DN])
            await until("T")
            assert w.processes.frozen == {DN}
            w.processes.thaw()
            await until("SR")
            w.processes.freeze([DN])
            await until("T")
            w.processes.run(Cleanup(DN, 2, PATIENCE))
            assert await w.next_report() == CommandDone(DN, Verb.CLEANUP, 2, True)
            assert w.processes.frozen == frozenset()

    run(body)


def test_stopping_leaves_nothing_of_any_component(tmp_path: Path) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, WITH_CHILD)
        async with world(tmp_path, component(plugin="plug:x")) as w:
            await w.instantiate()
            pid, child = map(int, (await w.line_of("pid")).split())
            await w.processes.stop()
            assert gone(pid)
            assert gone(child)

    run(body)


def test_what_a_former_executive_left_behind_is_killed_at_the_start(tmp_path: Path) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, WITH_CHILD)
        async with world(tmp_path, component(plugin="plug:x")) as w:
            await w.instantiate()
            pid, child = map(int, (await w.line_of("pid")).split())
            async with world(tmp_path, component(plugin="plug:x")) as later:
                later.processes.kill_leftovers()
                later.processes.run(AwaitExit(DN, 1, PATIENCE))
                assert await later.next_report() == CommandDone(DN, Verb.AWAIT_EXIT, 1, True)
                assert gone(child)
                assert gone(pid)

    run(body)


def test_components_die_with_their_executive(tmp_path: Path) -> None:
    """The executive is a process of its own here, and is killed."""
    plugin_folder(tmp_path, SLEEPER)
    executive = Path(__file__).with_name("lonely_executive.py")

    async def body() -> None:
        async with await anyio.open_process([sys.executable, str(executive), str(tmp_path)]) as process:
            with anyio.fail_after(PATIENCE):
                while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().endswith("\n"):
                    await anyio.sleep(0.005)
            pid = int((tmp_path / "pid").read_text())
            process.kill()
            await process.wait()
            with anyio.fail_after(PATIENCE):
                while not gone(pid):
                    await anyio.sleep(0.002)

    run(body)


def test_failfast_kills_all_components_and_leaves_with_75(tmp_path: Path) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, SLEEPER)
        async with world(tmp_path, component(plugin="plug:x")) as w:
            await w.instantiate()
            pid = int(await w.line_of("pid"))
            w.processes.run(Failfast("somebody asked for it"))
            assert w.left == [75]
            with anyio.fail_after(PATIENCE):
                while not gone(pid):
                    await anyio.sleep(0.002)

    run(body)


@pytest.mark.parametrize("command", [python("open('last', 'w').write('words\\n')"), ("no-such-program-anywhere",)])
def test_failfast_runs_its_command_or_kills_all_components(tmp_path: Path, command: tuple[str, ...]) -> None:
    async def body() -> None:
        plugin_folder(tmp_path, SLEEPER)
        async with world(tmp_path, component(plugin="plug:x"), failfast_command=command) as w:
            await w.instantiate()
            pid = int(await w.line_of("pid"))
            w.processes.run(Failfast("somebody asked for it"))
            assert w.left == [75]
            if command[0] == sys.executable:
                assert await w.line_of("last") == "words"
                assert not gone(pid)
            else:
                with anyio.fail_after(PATIENCE):
                    while not gone(pid):
                        await anyio.sleep(0.002)

    run(body)


def test_a_healthcheck_command_tells_how_it_ended(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path, component(healthcheck_command=python("raise SystemExit(3)"))) as w:
            told: list[tuple[bool, str]] = []
            heard = anyio.Event()

            def checked(ok: bool, detail: str) -> None:
                told.append((ok, detail))
                heard.set()

            w.processes.check(DN, PATIENCE, checked)
            with anyio.fail_after(PATIENCE):
                await heard.wait()
            assert told == [(False, "exit 3")]

    run(body)


def test_what_a_daemon_prints_is_logged_as_long_as_it_lives(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        code = (
            "import os, sys, time\n"
            "if os.fork(): os._exit(0)\n"
            "while not os.path.exists('go'): time.sleep(0.002)\n"
            "print('WARNING it is late', flush=True)\n"
            "print('no level', flush=True)\n" + SLEEPER
        )
        async with world(tmp_path, component(instantiate=python(code))) as w:
            await w.instantiate()
            (tmp_path / "go").touch()
            await w.line_of("pid")
            with anyio.fail_after(PATIENCE):
                while "no level" not in caplog.text:
                    await anyio.sleep(0.002)
            said = [(record.levelname, record.getMessage()) for record in caplog.records]
            assert said == [("WARNING", f"{DN}: it is late"), ("INFO", f"{DN}: no level")]

    with caplog.at_level("INFO", logger="aisexec.component"):
        run(body)


def test_a_component_that_floods_its_output_is_logged_in_part_and_not_held_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        code = "for n in range(100_000): print('line', n)\nprint('x' * 1_000_000)\n" + SLEEPER
        async with world(tmp_path, component(plugin="plug:x")) as w:
            plugin_folder(tmp_path, code)
            await w.instantiate()
            await w.line_of("pid")

    with caplog.at_level("INFO", logger="aisexec.component"):
        run(body)
    assert 200 <= len(caplog.records) < 20_000
    assert max(len(record.getMessage()) for record in caplog.records) < 5000
