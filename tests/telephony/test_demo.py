"""The demonstration itself, with the host in miniature in place of a cluster."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
import yaml

from telephony import demo, report
from tests.telephony.harness import Host, Place


@dataclass
class Fault:
    time: float


@dataclass
class Stages:
    total: float
    detect: float | None = 1.0
    decide: float | None = 2.0
    activate: float | None = None


class HostControl:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.done: list[str] = []

    async def ready(self) -> None: ...

    async def kill_component(self) -> Fault:
        return await self._kill("component", 0.02)

    async def kill_node(self) -> Fault:
        return await self._kill("node", 0.4)

    async def freeze_node(self) -> Fault:
        return await self._kill("freeze", 0.5)

    async def breakdown(self, fault: demo.Fault) -> Stages:
        return Stages(1000 * self.host.failovers[-1])

    async def repair(self) -> None:
        self.done.append("repair")

    async def _kill(self, what: str, outage: float) -> Fault:
        self.done.append(what)
        fault = Fault(time.time())
        await self.host.kill(outage)
        return fault


def clusters(made: list[HostControl]):
    @asynccontextmanager
    async def cluster(amf_conf: Path) -> AsyncIterator[demo.Control]:
        tree = yaml.safe_load(await anyio.Path(amf_conf).read_text())
        attributes = tree["applications"]["phone"]["service_instances"]["calls"]["csis"]["sip"]["attributes"]
        host = Host({name: (str(value),) for name, value in attributes.items()})
        await host.start()
        made.append(HostControl(host))
        yield made[-1]
        host.check()
        await host.stop()

    return cluster


@pytest.mark.real
def test_demonstration_breaks_everything_once_and_ends_with_the_control_run(tmp_path):
    place = Place.find(tmp_path)
    plan = demo.Plan(20, 20.0, 0.8, 15, place.server, place.callee, patience=1.0, token=0.4)
    made: list[HostControl] = []
    said: list[str] = []
    outcome = anyio.run(demo.demonstrate, clusters(made), plan, tmp_path, said.append)
    assert [control.done for control in made] == [
        ["component", "repair", "node", "repair", "freeze", "repair"],
        ["component"],
    ]
    assert [(fault.lost, fault.silent) for fault in outcome.faults] == [(0, 0)] * 3
    assert outcome.billing_errors == []
    assert outcome.billed == 60
    assert outcome.control_lost >= outcome.control_up > 0
    assert any("calls up, 0 lost, audio gap" in line for line in said)
    assert demo.summary(outcome)[1] == "summary"


def fault_report(**changes) -> report.FaultReport:
    settings = {
        "what": "active component killed",
        "up": 212,
        "lost": 0,
        "silent": 0,
        "failover": 9.2,
        "stages": (("detect", 2.1), ("decide", 1.0), ("activate", 4.0), ("first packet", 2.1)),
        "gaps": (0.0, 20.0, 40.0),
        "delays": (1.0, 2.0, 3.0),
        "gap_limit": 100.0,
        **changes,
    }
    return report.FaultReport(**settings)


def test_line_of_a_fault_reads_as_promised():
    assert fault_report().line() == (
        "failover 9 ms (detect 2, decide 1, activate 4, first packet 2) - 212 calls up, 0 lost, audio gap 40 ms"
    )


@pytest.mark.parametrize(
    ("outcome", "failure"),
    [
        (demo.Outcome([fault_report(lost=2)], control_lost=1), "active component killed: 2 calls lost"),
        (demo.Outcome([fault_report(silent=1)], control_lost=1), "active component killed: 1 listeners without audio"),
        (demo.Outcome([fault_report()], ["call-1: 2 records"], control_lost=1), "call-1: 2 records"),
        (demo.Outcome([fault_report()]), "the control run lost no call, so nothing is proven"),
    ],
)
def test_demonstration_fails_when_something_does_not_hold(outcome, failure):
    assert outcome.failures == [failure]
    assert f"  NOT HELD: {failure}" in demo.summary(outcome)


def test_an_audio_gap_over_its_limit_is_told_and_fails_nothing():
    outcome = demo.Outcome([fault_report(gaps=(120.0,))], control_lost=1)
    assert outcome.failures == []
    assert "  over the limit: active component killed: audio gap p99 120 ms, allowed 100 ms" in demo.summary(outcome)


def test_demonstration_succeeds_when_everything_held():
    outcome = demo.Outcome([fault_report()], [], 400, 100, 100)
    assert outcome.failures == []
    assert demo.summary(outcome)[-1] == "  everything held"
