"""sipp against the telephony example on three real executives, which lose the active process, then the active node."""

import csv
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio
import pytest

from corosync_amf.development import DevelopmentCluster, Fault, development_cluster
from telephony import ledger
from tests.telephony.harness import free_port

pytestmark = [pytest.mark.real, pytest.mark.sipp]

EXAMPLE = Path(__file__).parents[2] / "examples" / "telephony"
SERVER = "127.0.1.100"
CALLS, RATE, THIRD_MS = 400, 20, 1500
FAULT_EVERY = 5.0


def sipp(directory: Path, name: str, *options: str) -> list[str]:
    """A command line. sipp writes its counts to a file in `directory` when it ends."""
    return [
        shutil.which("sipp") or "sipp",
        *("-sf", str(EXAMPLE / "scenarios" / f"{name}.xml"), "-i", "127.0.0.1", "-mi", "127.0.0.1"),
        *("-m", str(CALLS), "-nostdin", "-timeout", "90", "-l", "2000", "-buff_size", "4194304"),
        *("-mp", str(free_port("127.0.0.1")), "-cp", str(free_port("127.0.0.1"))),
        *("-trace_stat", "-stf", str(directory / f"{name}.csv"), "-fd", "1", *options),
    ]


def failed(directory: Path, name: str) -> int:
    with (directory / f"{name}.csv").open() as file:
        last = list(csv.DictReader(file, delimiter=";"))[-1]
    assert int(last["TotalCallCreated"]) == CALLS
    return int(last["TotalCallCreated"]) - int(last["SuccessfulCall(C)"])


async def calls_survive(tmp_path: Path, faults: Sequence[Callable[[DevelopmentCluster], Awaitable[Fault]]]) -> None:
    callee_port, server_port = free_port("127.0.0.1"), free_port(SERVER)
    text = (EXAMPLE / "amf.conf").read_text()
    text = text.replace(f"{SERVER}:5060", f"{SERVER}:{server_port}").replace(
        "127.0.0.1:5070", f"127.0.0.1:{callee_port}"
    )
    amf_conf = tmp_path / "amf.conf"
    amf_conf.write_text(text.replace('cdr: "cdr.jsonl"', f'cdr: "{tmp_path / "cdr.jsonl"}"'))
    environ = {"PYTHONPATH": os.pathsep.join([str(EXAMPLE), os.environ.get("PYTHONPATH", "")])}

    async def run(command: list[str]) -> None:
        await anyio.run_process(command, cwd=tmp_path, check=False, stdout=subprocess.DEVNULL)

    async with development_cluster(amf_conf, directory=tmp_path / "cluster", environ=environ) as cluster:
        await cluster.until_assigned()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, sipp(tmp_path, "uas", "-p", str(callee_port)))
            tasks.start_soon(
                run, sipp(tmp_path, "uac", "-r", str(RATE), "-d", str(THIRD_MS), f"{SERVER}:{server_port}")
            )
            for break_it in faults:
                await anyio.sleep(FAULT_EVERY)
                print(await cluster.breakdown(await break_it(cluster)))
        with anyio.move_on_after(15):
            while len(ledger.read(tmp_path / "cdr.jsonl")) < CALLS:  # noqa: ASYNC110 - another process writes it
                await anyio.sleep(0.1)
    records = ledger.read(tmp_path / "cdr.jsonl")
    assert (failed(tmp_path, "uac"), failed(tmp_path, "uas")) == (0, 0)
    assert len(records) == len({record.id for record in records}) == CALLS


def test_no_call_is_lost_when_the_active_process_is_killed_three_times(tmp_path: Path) -> None:
    anyio.run(calls_survive, tmp_path, [DevelopmentCluster.kill_component] * 3)


def test_no_call_is_lost_when_the_active_node_is_killed(tmp_path: Path) -> None:
    anyio.run(calls_survive, tmp_path, [DevelopmentCluster.kill_node])
