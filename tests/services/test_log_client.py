"""LOG as applications use it: real sessions on executives in one process, and the files that come of it."""

import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from corosync_amf import connect, errors, log
from corosync_amf.ais import DispatchFlags
from corosync_amf.errors import AisError
from corosync_amf.services.log import (
    STREAM_ALARM,
    STREAM_SYSTEM,
    AckFlags,
    Callback,
    FilterSet,
    FullAction,
    GenericHeader,
    LogFileCreateAttributes,
    LogRecord,
    LogWritten,
    NotificationHeader,
    Severity,
    StreamOpened,
    StreamOpenFlags,
)

from .logs import Logging, logging_cluster
from .loopback import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.real]

CALLS = LogFileCreateAttributes("calls", "phone", log_file_fmt="@Cr @Sv @Cb")
HALTING = LogFileCreateAttributes(
    "halting", max_log_file_size=200, max_log_record_size=200, log_file_full_action=FullAction.HALT
)
ALARM = NotificationHeader(17, 0x4003, "safSu=1", "safApp=amf", (18568, 0, 0), 1.0)


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Logging]:
    async with logging_cluster(request.param) as running:
        yield running
        states = running.cluster.states
        await eventually(lambda: states()[0] == states()[-1])


async def next_event(service: log.LogService) -> Any:
    with anyio.fail_after(5):
        return await anext(aiter(service))


# ---- the normal case


async def test_records_of_all_nodes_stand_in_one_order_in_the_file_of_each(cluster: Logging) -> None:
    async with cluster.on(1) as here, cluster.on(3) as there:
        assert here.version == "A.02.01"
        streams = [await service.stream_open(STREAM_SYSTEM) for service in (here, there)]
        await streams[0].write_log("call server ready", severity=Severity.NOTICE)
        await streams[1].write_log(bytearray("früh".encode()))
        await streams[0].write_log(LogRecord(b"as it says", GenericHeader("phone", Severity.ALERT), 0.0))
        first, second, third = await cluster.written("saLogSystem", 3)
        assert re.fullmatch(rf'1 ..:..:.. ../../2027 NO {here.user_name} "call server ready"', first)
        assert second.endswith('"früh"')
        assert third == '3 00:00:00 01/01/1970 AL phone "as it says"'


async def test_an_application_stream_is_made_with_its_first_opening_and_goes_with_the_last_close(
    cluster: Logging,
) -> None:
    async with cluster.on(1) as here, cluster.on(2) as there:
        async with here.stream_open("calls", CALLS) as stream:
            assert stream.attributes == CALLS
            async with there.stream_open("calls") as other, there.stream_open("calls", CALLS) as again:
                assert other.attributes == again.attributes == CALLS
                await other.write_log("one")
            await stream.write_log("two", severity=Severity.ERROR)
            assert await cluster.written("phone/calls", 2) == ["1 IN one", "2 ER two"]
        with pytest.raises(errors.NotExist):
            await here.stream_open("calls")
        async with here.stream_open("calls", CALLS, StreamOpenFlags.CREATE) as stream:
            await stream.write_log("three")
            assert await cluster.written("phone/calls", 3) == ["1 IN one", "2 ER two", "1 IN three"]


async def test_a_notification_header_goes_to_the_alarm_stream(cluster: Logging) -> None:
    async with cluster.on() as service, service.stream_open(STREAM_ALARM) as stream:
        await stream.write_log(LogRecord(b"it broke", ALARM))
        (line,) = await cluster.written("saLogAlarm", 1)
        assert line.endswith(' 0x000000003b9aca00 0x4003 safSu=1 safApp=amf "it broke"')


async def test_files_are_put_away_and_the_oldest_removed(cluster: Logging) -> None:
    attributes = LogFileCreateAttributes(
        "small", max_log_file_size=200, max_log_record_size=150, max_files_rotated=3, log_file_fmt="@Cr @Cb"
    )
    async with cluster.on() as service, service.stream_open("small", attributes) as stream:
        for _ in range(9):
            await stream.write_log("x" * 90)
        last = ["9 " + "x" * 90]
        await eventually(lambda: all(cluster.lines(node, "small") == last for node in cluster.cluster.nodes))

        def names(node: int) -> list[str]:
            found = sorted(path.name for path in (cluster.directory / str(node)).glob("small*"))
            return [re.sub("_[0-9]{8}_[0-9]{6}_", "_", name) for name in found]

        kept = ["small.log", "small_0003.log", "small_0004.log"]
        await eventually(lambda: all(names(node) == kept for node in cluster.cluster.nodes))


async def test_several_services_share_a_connection(cluster: Logging) -> None:
    async with connect(cluster.address()) as session, session.log() as service:
        async with service.stream_open(STREAM_SYSTEM) as stream:
            await stream.write_log("x")
        assert service.limit_get(log.MAX_NUM_CLUSTER_APP_LOG_STREAMS) == 64


# ---- asynchronous calls and events


async def test_outcomes_of_asynchronous_calls_are_also_events(cluster: Logging) -> None:
    async with cluster.on() as service:
        opening = service.stream_open_async("calls", CALLS, invocation=7)
        stream = await opening
        assert await next_event(service) == StreamOpened(7, stream, None)
        failing = service.stream_open_async("nothing", invocation=8)
        with pytest.raises(errors.NotExist):
            await failing
        event = await next_event(service)
        assert (event.invocation, event.stream, type(event.error)) == (8, None, errors.NotExist)
        pending = stream.write_log_async("a", ack_flags=AckFlags.RECORD_WRITE_ACK, invocation=9)
        assert pending.invocation == 9
        assert await next_event(service) == LogWritten(9, None)
        await pending
        await stream.write_log_async("b", severity=Severity.CRITICAL)
        assert await cluster.written("phone/calls", 2) == ["1 IN a", "2 CR b"]
        assert await service.dispatch(DispatchFlags.ALL, print) == 0


async def test_whoever_has_a_stream_open_hears_of_its_filter(cluster: Logging) -> None:
    async with cluster.on(2, events=Callback.OPEN | Callback.WRITE) as there, cluster.on(1) as here:
        stream, quiet = await here.stream_open(STREAM_SYSTEM), await there.stream_open(STREAM_SYSTEM)
        grave = {Severity.EMERGENCY, Severity.ALERT}
        await there.filter_set(STREAM_SYSTEM, grave)
        assert await next_event(here) == FilterSet(stream, (Severity.EMERGENCY, Severity.ALERT))
        await quiet.write_log("chatter")
        await stream.write_log("fire", severity=Severity.EMERGENCY)
        assert (await cluster.written("saLogSystem", 1))[0].endswith('"fire"')
        (status,) = await here.streams(STREAM_SYSTEM)
        assert (status.severities, status.records, status.opened) == ((Severity.EMERGENCY, Severity.ALERT), 1, 2)
        assert there.session.waiting(there.service) == 0
        for bad in (None, "ERROR", [7]):
            with pytest.raises(errors.InvalidParam):
                await here.filter_set(STREAM_SYSTEM, bad)
        with pytest.raises(errors.NotExist):
            await here.filter_set("nothing", grave)
        with pytest.raises(errors.BadOperation):
            await here.filter_set(STREAM_ALARM, grave)


# ---- refusals

BAD_OPENINGS: list[tuple[tuple[Any, ...], type[AisError]]] = [
    ((STREAM_SYSTEM, None, StreamOpenFlags.CREATE), errors.InvalidParam),
    (("a", CALLS, StreamOpenFlags.NONE), errors.InvalidParam),
    ((None,), errors.InvalidParam),
    (("",), errors.InvalidParam),
    (("a\0",), errors.InvalidParam),
    (("x" * 2049,), errors.TooBig),
    (("a", "attributes"), errors.InvalidParam),
    (("a", CALLS, 2), errors.BadFlags),
    (("a", CALLS, "create"), errors.InvalidParam),
    (("a", LogFileCreateAttributes(None)), errors.InvalidParam),  # type: ignore[arg-type]
    (("a", LogFileCreateAttributes("")), errors.InvalidParam),
    (("a", LogFileCreateAttributes("../x")), errors.InvalidParam),
    (("a", LogFileCreateAttributes("x", "/var/log")), errors.InvalidParam),
    (("a", LogFileCreateAttributes("x", "..")), errors.InvalidParam),
    (("a", LogFileCreateAttributes("x", "a/../../b")), errors.InvalidParam),
    (("a", LogFileCreateAttributes("x", None)), errors.InvalidParam),  # type: ignore[arg-type]
    (("a", LogFileCreateAttributes("x", max_log_record_size=149)), errors.InvalidParam),
    (("a", LogFileCreateAttributes("x", max_log_record_size=65_536)), errors.InvalidParam),
    (("a", LogFileCreateAttributes("x", max_log_file_size=1023)), errors.InvalidParam),
    (("a", LogFileCreateAttributes("x", max_log_file_size="big")), errors.InvalidParam),  # type: ignore[arg-type]
    (("a", LogFileCreateAttributes("x", log_file_full_action=4)), errors.InvalidParam),  # type: ignore[arg-type]
    (("a", LogFileCreateAttributes("x", max_files_rotated=0)), errors.InvalidParam),
    (("a", LogFileCreateAttributes("x", ha_property=1)), errors.InvalidParam),  # type: ignore[arg-type]
    (("a", LogFileCreateAttributes("x", log_file_fmt="@Zz")), errors.InvalidParam),
    (("a", LogFileCreateAttributes("x", log_file_fmt=None)), errors.InvalidParam),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("arguments", "error"), BAD_OPENINGS)
async def test_impossible_openings_are_refused(arguments: tuple[Any, ...], error: type[AisError]) -> None:
    async with logging_cluster(1) as cluster, cluster.on() as service:
        with pytest.raises(error) as caught:
            await service.stream_open(*arguments)
        assert type(caught.value) is error
        with pytest.raises(error) as caught:
            service.stream_open_async(*arguments)
        assert type(caught.value) is error


async def test_a_path_may_go_up_again_but_not_out(cluster: Logging) -> None:
    async with cluster.on() as service:
        for path, shortest in (("a/../b", "b"), ("./a//b/.", "a/b"), ("a/b/../..", ".")):
            attributes = LogFileCreateAttributes("x", path)
            async with service.stream_open("x", attributes) as stream:
                assert stream.attributes.log_file_path_name == shortest
                async with service.stream_open("x", LogFileCreateAttributes("x", shortest)):
                    pass  # the same attributes


async def test_refused_openings_tell_why(cluster: Logging) -> None:
    async with cluster.on() as service, service.stream_open("calls", CALLS):
        for arguments, error in (
            (("nothing",), errors.NotExist),
            (("calls", LogFileCreateAttributes("calls")), errors.Exist),
            (("other", CALLS), errors.Exist),
            ((STREAM_SYSTEM, LogFileCreateAttributes("x")), errors.InvalidParam),
        ):
            with pytest.raises(error):
                await service.stream_open(*arguments)
        with pytest.raises(errors.TimedOut):
            await service.stream_open("calls", timeout=0)
        for timeout in (-1, float("nan"), "long", 10**400):
            with pytest.raises(errors.InvalidParam):
                await service.stream_open("calls", timeout=timeout)
            with pytest.raises(errors.InvalidParam):
                await service.stream_open("x" * 2049, timeout=timeout)
        for number in range(63):
            await service.stream_open(f"s{number}", LogFileCreateAttributes(f"s{number}"))
        with pytest.raises(errors.NoResources):
            await service.stream_open("one more", LogFileCreateAttributes("more"))


BAD_RECORDS: list[tuple[Any, dict[str, Any], type[AisError]]] = [
    (None, {}, errors.InvalidParam),
    (17, {}, errors.InvalidParam),
    ("x", {"severity": 7}, errors.InvalidParam),
    ("x", {"severity": None}, errors.InvalidParam),
    ("\ud800", {}, errors.InvalidParam),
    (LogRecord(None, GenericHeader("u", Severity.INFO)), {}, errors.InvalidParam),  # type: ignore[arg-type]
    (LogRecord(b"", None), {}, errors.InvalidParam),  # type: ignore[arg-type]
    (LogRecord(b"", GenericHeader("", Severity.INFO)), {}, errors.InvalidParam),
    (LogRecord(b"", GenericHeader("u" * 2049, Severity.INFO)), {}, errors.TooBig),
    (LogRecord(b"", GenericHeader("u" * 2049, Severity.INFO), -1.0), {}, errors.InvalidParam),
    (LogRecord(b"", GenericHeader("u" * 2049, Severity.INFO, (1, 2))), {}, errors.InvalidParam),  # type: ignore[arg-type]
    (LogRecord(b"", GenericHeader("u", 9)), {}, errors.InvalidParam),  # type: ignore[arg-type]
    (LogRecord(b"", GenericHeader("u", Severity.INFO, (1, 2))), {}, errors.InvalidParam),  # type: ignore[arg-type]
    (LogRecord(b"", GenericHeader("u", Severity.INFO), -1.0), {}, errors.InvalidParam),
    (LogRecord(b"", GenericHeader("u", Severity.INFO), float("nan")), {}, errors.InvalidParam),
    (LogRecord(b"", ALARM), {}, errors.InvalidParam),
    (b"x" * 65_536, {}, errors.TooBig),
]


async def test_a_wrong_notification_header_is_refused_before_a_long_one(cluster: Logging) -> None:
    async with cluster.on() as service, service.stream_open(STREAM_ALARM) as stream:
        long = "x" * 2049
        for header in (
            NotificationHeader(1, 0x4001, long, ""),
            NotificationHeader(1, 0x4001, long, "b", (1, 2)),  # type: ignore[arg-type]
            NotificationHeader(1, 0x4001, long, "b", None, -1.0),
        ):
            with pytest.raises(errors.InvalidParam):
                await stream.write_log(LogRecord(b"", header))
        for header in (NotificationHeader(1, 0x4001, long, "b"), NotificationHeader(1, 0x4001, "a", long)):
            with pytest.raises(errors.TooBig):
                await stream.write_log(LogRecord(b"", header))


async def test_impossible_records_are_refused(cluster: Logging) -> None:
    async with cluster.on() as service, service.stream_open(STREAM_SYSTEM) as stream:
        for record, more, error in BAD_RECORDS:
            with pytest.raises(error) as caught:
                await stream.write_log(record, **more)
            assert type(caught.value) is error
            with pytest.raises(error):
                stream.write_log_async(record, **more)
        for flags, flag_error in ((2, errors.BadFlags), ("ack", errors.InvalidParam)):
            with pytest.raises(flag_error):
                stream.write_log_async(None, ack_flags=flags)
        with pytest.raises(errors.InvalidParam):
            stream.write_log_async("x", invocation="seven")
        with pytest.raises(errors.InvalidParam):
            await stream.write_log("x", timeout=-1)
        with pytest.raises(errors.TimedOut):
            await stream.write_log("x", timeout=0)
        await stream.write_log(b"x" * 65_535)
        (line,) = await cluster.written("saLogSystem", 1)
        assert len(line) == 1023
        async with service.stream_open(STREAM_ALARM) as alarms:
            for header in (
                NotificationHeader(-1, 1, "o", "n"),
                NotificationHeader(1, -1, "o", "n"),
                NotificationHeader(1, 1, "", "n"),
                NotificationHeader(1, 1, "o", "n", event_time=-1.0),
            ):
                with pytest.raises(errors.InvalidParam):
                    await alarms.write_log(LogRecord(b"", header))
            with pytest.raises(errors.InvalidParam):
                await alarms.write_log("no header")


async def test_events_that_were_left_out_cannot_be_asked_for(cluster: Logging) -> None:
    async with cluster.on(events=Callback(0)) as service, service.stream_open(STREAM_SYSTEM) as stream:
        for name in (STREAM_SYSTEM, "x" * 2049):
            with pytest.raises(errors.Init):
                service.stream_open_async(name)
        for record in ("x", b"x" * 65_536):
            with pytest.raises(errors.Init):
                stream.write_log_async(record, ack_flags=AckFlags.RECORD_WRITE_ACK)
        await stream.write_log_async("x")


async def test_a_halted_stream_asks_to_try_again(cluster: Logging) -> None:
    async with cluster.on(retry=False) as service, service.stream_open("halting", HALTING) as stream:
        await stream.write_log("x" * 100)
        with pytest.raises(errors.TryAgain, match="its file is full"):
            await stream.write_log("x" * 100)
        pending = stream.write_log_async("", ack_flags=AckFlags.RECORD_WRITE_ACK, invocation=1)
        with pytest.raises(errors.TryAgain):
            await pending
        event = await next_event(service)
        assert (event.invocation, type(event.error)) == (1, errors.TryAgain)
        assert (await service.streams("halting"))[0].is_halted
    async with cluster.on() as service, service.stream_open("halting", HALTING) as stream:
        await stream.write_log("x" * 100)
        with pytest.raises(errors.TimedOut):
            await stream.write_log("x" * 100, timeout=0.05)


async def test_what_is_closed_is_closed(cluster: Logging) -> None:
    async with cluster.on() as service:
        stream = await service.stream_open(STREAM_SYSTEM)
        await stream.close()
        with pytest.raises(errors.BadHandle):
            await stream.close()
        with pytest.raises(errors.BadHandle):
            await stream.write_log("x")
        with pytest.raises(errors.BadHandle):
            stream.write_log_async("x")
        left = await service.stream_open(STREAM_SYSTEM)
    with pytest.raises(errors.BadHandle):
        await left.write_log("x")
    for call in (service.stream_open, service.tail, service.streams):
        with pytest.raises(errors.BadHandle):
            await call(STREAM_SYSTEM)
    with pytest.raises(errors.BadHandle):
        service.limit_get(1)
    async with cluster.on() as again:
        assert (await again.streams(STREAM_SYSTEM))[0].opened == 0


async def test_versions(cluster: Logging) -> None:
    async with cluster.on(version="A.01.01") as service:
        with pytest.raises(errors.Version):
            service.limit_get(1)
    async with cluster.on() as service:
        for bad in (0, 2, None):
            with pytest.raises(errors.InvalidParam):
                service.limit_get(bad)
    for version, error in (("B.01.01", errors.Version), ("A.2", errors.InvalidParam)):
        with pytest.raises(error):
            await cluster.on(version=version)


# ---- reading


async def test_the_end_of_a_file_is_read_through_the_executive(cluster: Logging) -> None:
    async with cluster.on(1) as here, cluster.on(2) as there:
        with pytest.raises(errors.NotExist):
            await here.tail("calls")
        with pytest.raises(errors.NotExist):
            await here.tail(STREAM_SYSTEM)
        async with here.stream_open("calls", CALLS) as stream:
            for number in range(5):
                await stream.write_log(f"record {number}")
            await cluster.written("phone/calls", 5)
            assert await there.tail("calls", 2) == ["4 IN record 3", "5 IN record 4"]
            assert len(await there.tail("calls")) == 5
            assert await there.tail("calls", 0) == []
            for bad in (-1, 10_001, None):
                with pytest.raises(errors.InvalidParam):
                    await there.tail("calls", bad)


async def test_a_stream_can_be_followed(cluster: Logging) -> None:
    async with cluster.on(1) as here, cluster.on(2) as there, here.stream_open("calls", CALLS) as stream:
        for number in range(3):
            await stream.write_log(f"record {number}")
        await cluster.written("phone/calls", 3)
        async with there.follow("calls", 1) as lines:
            with anyio.fail_after(5):
                assert await anext(lines) == "3 IN record 2"
                await stream.write_log("new")
                await stream.write_log("newer")
                assert [await anext(lines), await anext(lines)] == ["4 IN new", "5 IN newer"]


async def test_a_stream_without_a_record_can_be_followed(cluster: Logging) -> None:
    async with cluster.on(2) as there, there.follow(STREAM_SYSTEM) as lines, anyio.create_task_group() as tasks:

        async def write_when_it_is_asked_for() -> None:
            await anyio.wait_all_tasks_blocked()
            async with there.stream_open(STREAM_SYSTEM) as stream:
                await stream.write_log("the first")

        tasks.start_soon(write_when_it_is_asked_for)
        with anyio.fail_after(5):
            assert (await anext(lines)).endswith('"the first"')
        with pytest.raises(errors.NotExist):
            await anext(there.follow("nothing"))


async def test_a_file_that_cannot_be_written_loses_nothing_elsewhere(cluster: Logging) -> None:
    (cluster.directory / "1" / "phone").mkdir(parents=True)
    (cluster.directory / "1" / "phone" / "calls.log").symlink_to("/etc/passwd")
    async with cluster.on() as service, service.stream_open("calls", CALLS) as stream:
        await stream.write_log("x")
        for node in cluster.cluster.nodes:
            if node != 1:
                await cluster.written("phone/calls", 1, [node])
        with pytest.raises(errors.NotExist):
            await service.tail("calls")
        (cluster.directory / "1" / "phone" / "calls.log").unlink()
        await stream.write_log("y")
        await eventually(lambda: cluster.lines(1, "phone/calls") == ["2 IN y"])
