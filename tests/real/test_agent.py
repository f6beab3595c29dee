"""The agent: commands, supervision and the watching of processes together, with real processes."""

# ruff: noqa: ASYNC110, ASYNC220  (other processes are looked at, they set no events)

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from aisexec.agent import Agent, surroundings_of
from aisexec.drive import Driver, open_driver
from aisexec.ipc import Lost
from corosync_amf.ais import ErrorCode
from corosync_amf.engine import Done, Failed, NodeFacts, Request
from corosync_amf.services.amf.messages import (
    AmfEvent,
    CommandDone,
    FaultDetected,
    HealthcheckInvoked,
    HealthcheckStart,
    Instantiate,
    InvocationType,
    Kind,
    Monitor,
    PmStart,
    Verb,
)
from corosync_amf.services.amf.model import (
    Application,
    Cluster,
    Component,
    Healthcheck,
    ServiceGroup,
    ServiceUnit,
)
from corosync_amf.wire import PROTOCOL, Events, FromExecutive, Hello, Replies, decode

pytestmark = pytest.mark.real

DN = "safComp=a,safSu=u,safSg=g,safApp=p"
PATIENCE = 30.0
SLEEP = "import time; time.sleep(600)"
T = TypeVar("T")


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-E", "-c", code)


def cluster_of(component: Component) -> Cluster:
    unit = ServiceUnit(dn="safSu=u,safSg=g,safApp=p", name="u", components=(component,))
    group = ServiceGroup(dn="safSg=g,safApp=p", name="g", units=(unit,))
    return Cluster(
        dn="safAmfCluster=c", name="c", applications=(Application(dn="safApp=p", name="p", service_groups=(group,)),)
    )


class World:
    """An agent, what it reported, and what it sent to its one client."""

    def __init__(self, driver: Driver, folder: Path, component: Component) -> None:
        facts = NodeFacts(7, "node-7", "127.0.0.1", 0.0, 1)
        around = surroundings_of(facts, folder / "socket", folder, str(folder / "lease"), os.environ)
        self.reports: list[Request] = []
        self.sent: list[Any] = []
        self.agent = Agent(cluster_of(component), facts, around, driver, self._reported, self._send)
        self.agent.client_said(1, Hello(PROTOCOL, os.getpid(), None), os.getpid())

    def _reported(self, requests: list[Request]) -> None:
        self.reports += requests

    def _send(self, client: int, frames: list[bytes]) -> None:
        assert client == 1
        for frame in frames:
            value = decode(frame, FromExecutive)
            if isinstance(value, Replies):
                self.sent += [decode(item, Done | Failed) for _, item in value.items]
            elif isinstance(value, Events):
                self.sent += [decode(item, AmfEvent) for _, item in value.items]

    def ask(self, message: Any) -> Any:
        self.sent.clear()
        self.agent.ask(1, 55, message)
        return next(value for value in self.sent if isinstance(value, Done | Failed))

    async def until(self, found: Callable[[], T | None]) -> T:
        with anyio.fail_after(PATIENCE):
            while not (value := found()):
                await anyio.sleep(0.002)
        return value

    async def fault(self) -> FaultDetected:
        return await self.until(
            lambda: next((report for report in self.reports if isinstance(report, FaultDetected)), None)
        )


def run(folder: Path, component: Component, body: Callable[[World], Awaitable[None]]) -> None:
    @asynccontextmanager
    async def world() -> AsyncIterator[World]:
        async with open_driver() as driver:
            made = World(driver, folder, component)
            try:
                yield made
            finally:
                made.agent.close()

    async def main() -> None:
        async with world() as made:
            await body(made)

    anyio.run(main)


def component(**more: Any) -> Component:
    check = Healthcheck(dn=f"safHealthcheckKey=alive,{DN}", name="alive", period=0.05, max_duration=0.05)
    return Component(dn=DN, name="a", **({"healthchecks": (check,)} | more))


@pytest.fixture
def sleeper() -> Any:
    """A process with a child, that both sleep."""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-E', '-c', {SLEEP!r}])"
    process = subprocess.Popen(python(code), start_new_session=True)
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_component_that_does_not_answer_is_found(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        assert world.ask(HealthcheckStart(DN, "alive", InvocationType.AMF_INVOKED)) == Done()
        assert any(isinstance(value, HealthcheckInvoked) for value in world.sent)
        fault = await world.fault()
        assert (fault.component, fault.kind) == (DN, Kind.HEALTHCHECK_TIMEOUT)

    run(tmp_path, component(), body)


def test_a_client_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.ask(HealthcheckStart(DN, "alive", InvocationType.AMF_INVOKED))
        world.agent.client_said(1, Lost("closed"), os.getpid())
        world.agent.run(Instantiate(DN, 3, 1, PATIENCE))
        await world.until(lambda: CommandDone(DN, Verb.INSTANTIATE, 3, True) in world.reports or None)
        assert [report for report in world.reports if isinstance(report, FaultDetected)] == []

    slow = python("import time; time.sleep(0.3)")
    run(tmp_path, component(instantiate=slow), body)


def test_the_healthcheck_command_is_run_until_it_fails(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.agent.run(Instantiate(DN, 4, 1, PATIENCE))
        await world.until(lambda: world.reports or None)
        world.agent.run(Monitor(DN, 4))
        fault = await world.fault()
        assert (fault.instance, fault.kind) == (4, Kind.HEALTHCHECK_FAILED)
        assert fault.detail == "healthcheck command: exit 7"
        assert (tmp_path / "runs").read_text() == "xxx"

    code = "open('runs', 'a').write('x')\nraise SystemExit(7 if len(open('runs').read()) == 3 else 0)"
    check = Healthcheck(dn=f"safHealthcheckKey=c,{DN}", name="c", period=0.01, max_duration=PATIENCE)
    watched = component(instantiate=python("pass"), healthcheck_command=python(code), healthchecks=(check,))
    run(tmp_path, watched, body)


def test_a_watched_process_that_ends_is_found(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    async def body(world: World) -> None:
        assert world.ask(PmStart(DN, sleeper.pid)) == Done()
        sleeper.kill()
        fault = await world.fault()
        assert fault.kind is Kind.PASSIVE_MONITORING
        assert str(sleeper.pid) in fault.detail

    run(tmp_path, component(), body)


def test_a_descendant_of_a_watched_process_that_ends_is_found(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    async def body(world: World) -> None:
        children = Path(f"/proc/{sleeper.pid}/task/{sleeper.pid}/children")
        child = int(await world.until(lambda: children.read_text().strip()))
        assert world.ask(PmStart(DN, sleeper.pid, 1)) == Done()
        os.kill(child, signal.SIGKILL)
        fault = await world.fault()
        assert str(child) in fault.detail

    run(tmp_path, component(), body)


def test_a_process_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        gone = subprocess.Popen(python("pass"))
        gone.wait()
        answer = world.ask(PmStart(DN, gone.pid))
        assert answer.code == ErrorCode.NOT_EXIST

    run(tmp_path, component(), body)
