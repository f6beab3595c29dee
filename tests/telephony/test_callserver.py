"""The call server over real sockets, with callers that keep calling while it is killed."""

import anyio
import pytest

from telephony import ledger, report
from telephony.callers import Callers
from tests.telephony.harness import Host, Place

pytestmark = pytest.mark.real
RATE = 20.0


async def calls_while(
    host: Host, callers: Callers, count: int, faults: list[tuple[float, float]]
) -> list[report.FaultReport]:
    """Make calls; at each (time, outage) kill the active server."""
    reports = []

    async def break_things() -> None:
        begin = anyio.current_time()
        for when, outage in faults:
            await anyio.sleep(max(0.0, begin + when - anyio.current_time()))
            mark = callers.mark()
            await host.kill(outage)
            while not mark.over:
                await anyio.lowlevel.checkpoint()
                await anyio.sleep(0.05)  # noqa: ASYNC110 - the condition is in many calls
            reports.append(report.fault_report("kill", mark.at, mark, None, callers))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(break_things)
        await callers.run(count)
    callers.close()
    return reports


def run(place: Place, count: int, talk: float, faults: list[tuple[float, float]], **attributes: str):
    host = Host(place.attributes(**attributes))
    callers = None

    async def go():
        nonlocal callers
        callers = Callers(place.server, place.callee, rate=RATE, talk=talk, audio_every=4)
        await host.start()
        reports = await calls_while(host, callers, count, faults)
        host.check()
        await host.stop()
        return reports

    return host, anyio.run(go), callers


def test_calls_are_kept_and_billed_once_when_the_active_server_is_killed(tmp_path):
    place = Place.find(tmp_path)
    host, (first, second), callers = run(place, 160, 2.0, [(2.5, 0.02), (6.0, 1.15)])
    print(first.line(), first.figures(), second.line(), second.figures(), host.failovers, host.writes, host.written)
    assert [phone.name for phone in callers.calls if phone.result.failure or not phone.result.over] == []
    assert [phone.name for phone in callers.answered if phone.result.failure] == []
    assert report.billing_errors(callers.calls, callers.answered, ledger.read(place.cdr)) == []
    assert first.up > 20
    assert second.up > 20
    assert (first.lost, second.lost, first.silent, second.silent) == (0, 0, 0, 0)
