"""`amf ntf` on executives in one process."""

import json
from collections.abc import AsyncIterator

import anyio
import click
import pytest
from click.testing import CliRunner, Result

from corosync_amf import ntf
from corosync_amf.cli import cli
from corosync_amf.cli.listing import when
from corosync_amf.cli.ntf import as_lines, as_table, moment, plain
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.ntf.engine import NtfEngine
from tests.services.loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture
async def cluster() -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), NtfEngine()], 1) as running:
        yield running


async def amf(cluster: Loopback, *words: str) -> Result:
    """Run the command in a thread, which has an event loop of its own."""
    runner = CliRunner(env={"COROSYNC_AMF_SOCKET": cluster.nodes[1].address})
    return await anyio.to_thread.run_sync(lambda: runner.invoke(cli, ["ntf", *words]))


async def test_what_is_sent_is_listed_and_shown(cluster: Loopback) -> None:
    sent = await amf(
        cluster, "send", "safApp=shop", "too hot:\nopen a window", "--severity", "major", "--cause", "congestion"
    )
    number = sent.output.strip()
    assert (sent.exit_code, number.isdecimal()) == (0, True)
    event = (
        await amf(cluster, "send", "safApp=shop", "hello", "--class", "1,2,3", "--from", "safApp=me")
    ).output.strip()
    listed = (await amf(cluster, "list")).output.splitlines()
    assert listed[0].split() == ["ID", "TIME", "EVENT", "TYPE", "SEVERITY", "OBJECT", "TEXT"]
    assert [line.split()[0] for line in listed[-2:]] == [number, event]
    assert listed[-2].endswith("alarm-processing     major     safApp=shop    too hot: open a window")
    shown = (await amf(cluster, "show", number)).output
    assert shown.startswith("Alarm\n")
    assert "CONGESTION" in shown
    data = json.loads((await amf(cluster, "show", event, "-o", "json")).output)
    assert data["notification_class_id"] == {"vendor_id": 1, "major_id": 2, "minor_id": 3}
    assert (data["notifying_object"], data["event_type"]) == ("safApp=me", "APPLICATION_EVENT")


async def test_a_list_can_be_narrowed(cluster: Loopback) -> None:
    for about in ("safApp=a", "safApp=b"):
        await amf(cluster, "send", about)
        await amf(cluster, "send", about, "--severity", "minor")

    async def objects(*words: str) -> list[str]:
        return [
            each["notification_object"]
            for each in json.loads((await amf(cluster, "list", "-o", "json", *words)).output)
        ]

    assert await objects("--alarms") == ["safApp=a", "safApp=b"]
    assert await objects("--type", "miscellaneous", "-n", "1") == ["safApp=b"]
    assert await objects("--object", "safApp=a") == ["safApp=a", "safApp=a"]
    assert await objects("--since", "2199-01-01") == []
    assert len(await objects("--since", "2001-01-01T12:00")) == 5


async def test_following_prints_what_comes(cluster: Loopback) -> None:
    results: list[Result] = []

    async def follow(*words: str) -> None:
        results.append(await amf(cluster, "follow", *words))

    async with anyio.create_task_group() as tasks, ntf.initialize(address=cluster.nodes[1].address) as service:
        tasks.start_soon(follow, "--type", "alarm", "-n", "2", "-o", "json")
        engine = cluster.engines(NtfEngine)[0]
        await eventually(lambda: bool(engine.snapshot().subscriptions))
        for about in ("safApp=a", "safApp=b"):
            await service.notification_send(ntf.Miscellaneous(ntf.EventType.ERROR_CLEAR, about, "x"))
            await service.notification_send(ntf.Alarm(ntf.EventType.ALARM_QOS, about, "x"))
    lines = [line for line in results[0].stdout.splitlines() if line.startswith("{")]
    assert [json.loads(line)["notification_object"] for line in lines] == ["safApp=a", "safApp=b"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["send", "safApp=a", "--class", "1,2"], "VENDOR,MAJOR,MINOR"),
        (["send", "safApp=a", "--event-type", "nonsense"], "none of its names"),
        (["send", "safApp=a", "--severity", "major", "--cause", "nonsense"], "none of its names"),
        (["list", "--since", "yesterday"], "neither a span"),
        (["show", "0"], "0 is not in the range"),
    ],
)
def test_bad_words_are_told(words: list[str], problem: str) -> None:
    done = CliRunner().invoke(cli, ["ntf", *words])
    assert done.exit_code == 2
    assert problem in done.output


async def test_what_is_not_there_and_what_cannot_be_is_an_error(cluster: Loopback) -> None:
    assert "no notification 7 is kept" in str((await amf(cluster, "show", "7")).exception)
    wrong = await amf(cluster, "send", "safApp=a", "--event-type", "alarm-qos")
    assert "ALARM_QOS is not of this kind" in str(wrong.exception)


def test_forms() -> None:
    assert moment("90s", 1000.0) == 910.0
    assert moment("1.5h", 6000.0) == 600.0
    assert when(None) == "-"
    for nonsense in ("soon", "9" * 400 + "d", "99999999999999d"):
        with pytest.raises(click.BadParameter):
            moment(nonsense, 0.0)
    alarm = ntf.Alarm(ntf.EventType.ALARM_QOS, "a", "b", additional_info=((1, b"\x01\xff"),), event_time=5.0)
    assert plain(alarm)["additional_info"] == [[1, "01ff"]]
    assert "probable_cause" in as_lines(alarm)


def test_no_notification_is_too_odd_to_be_shown() -> None:
    """Any time is taken, any text may stand in a name, and a value need not be a number."""
    values = ((1, float("nan")), (2, float("-inf")))
    odd = ntf.Miscellaneous(ntf.EventType.ERROR_REPORT, "a\nb\x1b[31m", "c", event_time=2.0**53, additional_info=values)
    assert [line.split()[1:] for line in as_table([odd]).splitlines()[1:]] == [
        ["9007199254740992", "error-report", "-", "a\\nb\\x1b[31m"]
    ]
    assert "\x1b" not in as_lines(odd)
    assert plain(odd)["additional_info"] == [[1, "nan"], [2, "-inf"]]
    assert when(-(2.0**53)) == "-9007199254740992"
