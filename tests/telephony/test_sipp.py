"""sipp calls through the call server, while that is killed."""

import csv
import shutil
import subprocess
from pathlib import Path

import anyio
import pytest

from telephony import ledger
from tests.telephony.harness import Host, Place, free_port

SCENARIOS = Path(__file__).parents[2] / "examples" / "telephony" / "scenarios"
CALLS = 30


def sipp(directory: Path, name: str, *options: str) -> list[str]:
    """A command line. sipp writes its counts to a file in `directory` when it ends."""
    return [
        shutil.which("sipp") or "sipp",
        *("-sf", str(SCENARIOS / f"{name}.xml"), "-i", "127.0.0.1", "-mi", "127.0.0.1", "-m", str(CALLS)),
        *("-nostdin", "-timeout", "40", "-l", "1000", "-buff_size", "4194304"),
        *("-trace_stat", "-stf", str(directory / f"{name}.csv"), "-fd", "1", *options),
    ]


def port() -> str:
    return str(free_port("127.0.0.1"))


def failed(directory: Path, name: str) -> int:
    with (directory / f"{name}.csv").open() as file:
        last = list(csv.DictReader(file, delimiter=";"))[-1]
    assert int(last["TotalCallCreated"]) == CALLS
    return int(last["TotalCallCreated"]) - int(last["SuccessfulCall(C)"])


@pytest.mark.sipp
@pytest.mark.real
def test_sipp_loses_no_call_when_the_active_server_is_killed(tmp_path):
    place = Place.find(tmp_path)
    host = Host(place.attributes())
    to = f"{place.server[0]}:{place.server[1]}"
    callee = sipp(tmp_path, "uas", "-p", str(place.callee[1]), "-mp", port(), "-cp", port())
    caller = sipp(tmp_path, "uac", "-r", "5", "-d", "600", "-mp", port(), "-cp", port(), to)

    async def go() -> None:
        await host.start()
        async with anyio.create_task_group() as tasks:
            for command in (callee, caller):
                tasks.start_soon(run, command)
            for _ in range(2):
                await anyio.sleep(2.3)
                await host.kill(0.05)
        await host.until_billed()
        host.check()
        await host.stop()

    async def run(command: list[str]) -> None:
        await anyio.run_process(command, cwd=tmp_path, check=False, stdout=subprocess.DEVNULL)

    anyio.run(go)
    assert (failed(tmp_path, "uac"), failed(tmp_path, "uas")) == (0, 0)
    records = ledger.read(place.cdr)
    assert len(records) == len({record.id for record in records}) == CALLS
    assert {record.outcome for record in records} == {200}
    # sipp sends no audio and tells no time, so a hang-up that was lost with the server counts when it is repeated.
    assert [record.duration for record in records if not 1.7 < record.duration < 2.6] == []
