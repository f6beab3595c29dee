"""The call server over real sockets, with callers that keep calling while it is killed."""

import socket

import anyio
import pytest

from telephony import ledger, report
from telephony.callers import Callers
from tests.telephony.harness import Host, Place

pytestmark = pytest.mark.real
RATE = 20.0


def run(
    place: Place, count: int, talk: float, faults: list[tuple[float, float]], patience: float = 60.0, **attributes: str
):
    """Make calls, and at each of the times kill the active server for so long."""
    host = Host(place.attributes(**attributes))

    async def go() -> tuple[list[report.FaultReport], Callers]:
        callers = Callers(place.server, place.callee, RATE, talk, audio_every=4, patience=patience)
        marks = []

        async def break_things() -> None:
            begin = anyio.current_time()
            for when, outage in faults:
                await anyio.sleep(begin + when - anyio.current_time())
                marks.append(callers.mark())
                await host.kill(outage)

        await host.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(break_things)
            await callers.run(count)
        await host.until_billed()
        host.check()
        await host.stop()
        callers.close()
        return [report.fault_report("kill", mark.at, mark, None, callers) for mark in marks], callers

    return host, *anyio.run(go)


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


def test_calls_are_lost_when_the_same_server_keeps_no_checkpoint(tmp_path):
    place = Place.find(tmp_path)
    host, (only,), callers = run(place, 30, 1.5, [(1.4, 0.02)], patience=1.5, checkpoint="no")
    assert host.state == {}
    assert only.up >= 20
    assert only.lost >= only.up
    errors = report.billing_errors(callers.calls, callers.answered, ledger.read(place.cdr))
    assert len(errors) >= only.up


def test_calls_are_kept_when_active_and_standby_change_places(tmp_path):
    place = Place.find(tmp_path)
    host = Host(place.attributes())

    async def go() -> Callers:
        callers = Callers(place.server, place.callee, rate=RATE, talk=1.5, audio_every=4)
        await host.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(callers.run, 40)
            await anyio.sleep(1.5)
            await host.swap()
        await host.until_billed()
        host.check()
        await host.stop()
        callers.close()
        return callers

    callers = anyio.run(go)
    assert [phone.name for phone in callers.calls if phone.result.failure or not phone.result.over] == []
    assert report.billing_errors(callers.calls, callers.answered, ledger.read(place.cdr)) == []


def test_server_that_cannot_have_its_address_says_so(tmp_path):
    place = Place.find(tmp_path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind(place.server)
        with pytest.raises(OSError, match=f"{place.server[0]}:{place.server[1]}"):
            anyio.run(Host(place.attributes()).start)
