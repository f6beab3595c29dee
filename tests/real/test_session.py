import math
import random
import threading
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from corosync_amf.connection import default_address
from corosync_amf.engine import Done, Service
from corosync_amf.errors import AisError, BadHandle, Busy, InvalidParam, Library, TimedOut, TooBig, TryAgain
from corosync_amf.session import Session
from corosync_amf.wire import MESSAGE_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX

from .echo_executive import Burst, EchoExecutive, Peek, Refuse, Said, Say, Ticked, echo_executive

pytestmark = [pytest.mark.anyio, pytest.mark.real]
EVT = Service.EVT


async def until(condition) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def say(session: Session, data: bytes, **options) -> bytes:
    return (await session.request(EVT, Say(data), Said, **options)).data


async def test_session_knows_the_node_it_is_connected_to(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path), component="safComp=A")
        assert (session.node_id, session.node_name, session.client) == (3, "node-3", 1)
        assert executive.frames[0].component == "safComp=A"  # type: ignore[union-attr]
        await session.close()


async def test_request_returns_its_reply_and_query_is_answered(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        assert await say(session, b"hello") == b"hello"
        assert (await session.ask(EVT, Peek(b"look"), Said, timeout=0)).data == b"look"
        await session.close()


async def test_requests_of_one_round_travel_in_one_bundle(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        answers: dict[int, bytes] = {}

        async def caller(number: int) -> None:
            answers[number] = await say(session, b"%d" % number)

        async with anyio.create_task_group() as tasks:
            for number in range(64):
                tasks.start_soon(caller, number)
        assert answers == {number: b"%d" % number for number in range(64)}
        assert sum(executive.bundles) == 64
        assert len(executive.bundles) <= 2
        await session.close()


async def test_bundles_are_cut_at_48_kilobytes_and_at_128_requests_and_at_another_service(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        pending = [session.submit(EVT, Say(b""), Said) for _ in range(130)]
        pending += [session.submit(EVT, Say(bytes(20_000)), Said) for _ in range(4)]
        pending += [session.submit(Service.NTF, Say(b""), Said), session.submit(EVT, Say(b""), Said)]
        assert [len((await call).data) for call in pending] == [0] * 130 + [20_000] * 4 + [0, 0]
        assert executive.bundles == [128, 4, 2, 1, 1]
        firsts = [frame.first for frame in executive.frames[1:]]  # type: ignore[union-attr]
        assert firsts == [1, 129, 133, 135, 136]
        await session.close()


async def test_replies_reach_their_callers_in_the_order_of_their_requests(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        order: list[int] = []

        async def caller(number: int, pending) -> None:
            assert (await pending).data == b"%d" % number
            order.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(caller, number, session.submit(EVT, Say(b"%d" % number), Said))
        assert sorted(order) == list(range(20))
        assert [frame.first for frame in executive.frames[1:]] == [1]  # type: ignore[union-attr]
        await session.close()


async def test_submit_is_refused_and_coroutines_wait_when_256_requests_are_under_way(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        executive.hold = True
        pending = [session.submit(EVT, Say(b""), Said) for _ in range(REQUESTS_IN_FLIGHT_MAX)]
        with pytest.raises(TryAgain, match="under way"):
            session.submit(EVT, Say(b""), Said)
        session.post(EVT, Say(b"posted"))
        answers: list[bytes] = []
        async with anyio.create_task_group() as tasks:

            async def caller() -> None:
                answers.append(await say(session, b"late"))

            tasks.start_soon(caller)
            await until(lambda: len(executive.held) == REQUESTS_IN_FLIGHT_MAX)
            executive.release(1)
            await pending[0]
            await until(lambda: len(executive.held) == REQUESTS_IN_FLIGHT_MAX)
            assert executive.held[-1][2] == Say(b"posted")
            executive.release(1)
            await until(lambda: len(executive.held) == REQUESTS_IN_FLIGHT_MAX)
            assert executive.held[-1][2] == Say(b"late")
            executive.release()
        assert answers == [b"late"]
        await session.close()


async def test_credit_given_to_a_cancelled_coroutine_goes_to_the_next(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        executive.hold = True
        for _ in range(REQUESTS_IN_FLIGHT_MAX):
            session.submit(EVT, Say(b""), Said)
        await until(lambda: len(executive.held) == REQUESTS_IN_FLIGHT_MAX)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(say, session, b"never")
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
                executive.release(1)
                session.poll()  # the one that leaves gets the credit all the same
            pending = session.submit(EVT, Say(b"next"), Said)
            executive.hold = False
            executive.release()
            assert (await pending).data == b"next"
            assert executive.bundles == [128, 128, 1]
        await session.close()


async def test_try_again_is_tried_again_until_it_succeeds_unless_not_wanted(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        await session.request(EVT, Refuse("a", 6, 3), Done)
        assert executive.refused["a"] == 4
        with pytest.raises(TryAgain, match="not yet"):
            await session.request(EVT, Refuse("b", 6, 3), Done, retry=False)
        assert executive.refused["b"] == 1
        with pytest.raises(TimedOut, match="not yet"):
            await session.request(EVT, Refuse("c", 6, 10**6), Done, timeout=0.05)
        with pytest.raises(Busy):
            await session.request(EVT, Refuse("d", 10, 1), Done)
        await session.close()


async def test_timeout_must_be_a_length_and_zero_is_no_time_for_the_total_order(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        for bad in (-1, math.nan, "1", True):
            with pytest.raises(InvalidParam):
                await session.request(EVT, Say(b""), Said, timeout=bad)  # type: ignore[arg-type]
        with pytest.raises(TimedOut):
            await session.request(EVT, Say(b""), Said, timeout=0)
        assert executive.bundles == []
        await session.close()


async def test_reply_that_comes_too_late_is_given_to_late(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        executive.hold = True
        late: list[Said] = []
        with pytest.raises(TimedOut):
            await session.request(EVT, Say(b"open"), Said, timeout=0.02, late=late.append)
        executive.hold = False
        executive.release()
        assert await say(session, b"next") == b"next"
        assert late == [Said(b"open")]
        await session.close()


async def test_cancelled_reader_hands_the_reading_over(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        executive.hold = True
        answers: list[bytes] = []
        scopes = [anyio.CancelScope() for _ in range(5)]

        async def caller(number: int) -> None:
            with scopes[number]:
                answers.append(await say(session, b"%d" % number))

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(caller, number)
            await until(lambda: len(executive.held) == 5)
            for scope in scopes[:4]:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
            executive.release()
        assert answers == [b"4"]
        await session.close()


async def test_pending_can_be_awaited_by_many_and_again(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        executive.hold = True
        pending = session.submit(EVT, Say(b"once"), Said, outcome=lambda reply: getattr(reply, "data", b""))
        got: list[bytes] = []

        async def wait() -> None:
            got.append(await pending)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait)
            await until(lambda: executive.held)
            assert not pending.done
            executive.release()
        assert pending.done
        assert [*got, await pending] == [b"once"] * 4
        await session.close()


async def test_everybody_gets_library_when_the_executive_dies(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        session.attach(EVT, Ticked)
        executive.hold = True
        reasons: list[str] = []

        async def expect(wait) -> None:
            with pytest.raises(Library) as caught:
                await wait()
            reasons.append(caught.value.reason)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(expect, lambda: session.next_events(EVT))
            tasks.start_soon(expect, lambda: say(session, b"a"))
            tasks.start_soon(expect, lambda: say(session, b"b", timeout=20))
            pending = session.submit(EVT, Say(b"c"), Said)
            await until(lambda: len(executive.held) == 3)
            executive.listener.close()
        assert reasons == ["the executive stops"] * 3
        for wait in (lambda: pending, lambda: say(session, b"d"), lambda: session.next_events(EVT)):
            with pytest.raises(Library, match="stops"):
                await wait()
        with pytest.raises(Library):
            session.submit(EVT, Say(b""), Said)
        await session.close()


async def test_events_that_came_before_the_end_are_still_delivered(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        session.attach(EVT, Ticked)
        executive.tick(1, range(3))
        executive.listener.close_client(1, "enough")
        assert await session.next_events(EVT) == [Ticked(0), Ticked(1), Ticked(2)]
        with pytest.raises(Library, match="enough"):
            await session.next_events(EVT)
        await session.close()


async def test_reason_of_the_end_is_known_even_when_the_executive_left_requests_unread(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        executive.listener.pause_reading(session.client)
        pending = session.submit(EVT, Say(b"unread"), Said)
        with anyio.move_on_after(0.02):
            await pending
        executive.listener.close_client(session.client, "enough")
        with pytest.raises(Library, match="enough"):
            await pending
        await session.close()


async def test_address_is_the_environments_else_the_systems_else_this_users(tmp_path: Path) -> None:
    system, home = tmp_path / "system.sock", {"XDG_RUNTIME_DIR": "/run/user/7"}
    users = "/run/user/7/corosync-amf/aisexec.sock"
    assert default_address({"COROSYNC_AMF_SOCKET": "/x", **home}, str(system)) == "/x"
    assert default_address(home, str(system)) == users
    assert default_address({}, str(system)) == str(system)
    system.touch()
    assert default_address(home, str(system)) == str(system)


async def test_no_executive_or_a_refusal_raises_library(tmp_path: Path) -> None:
    with pytest.raises(Library, match="no executive at"):
        await Session.open(str(tmp_path / "nobody.sock"))
    with pytest.raises(InvalidParam):
        await Session.open("a\0b")
    with pytest.raises(Library, match="no executive at"):
        await Session.open("x" * 200)


async def test_closed_session_wakes_those_who_wait_with_bad_handle(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        session.attach(EVT, Ticked)
        executive.hold = True
        ended: list[type[AisError]] = []

        async def expect(wait) -> None:
            try:
                await wait()
            except AisError as error:
                ended.append(type(error))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(expect, lambda: session.next_events(EVT))
            tasks.start_soon(expect, lambda: say(session, b"a"))
            await until(lambda: len(executive.held) == 1)
            await session.close()
        assert ended == [BadHandle, BadHandle]
        await session.close()
        with pytest.raises(BadHandle):
            await say(session, b"b")


async def test_sixteen_megabytes_pass_both_ways_while_others_talk(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        big = random.Random(1).randbytes(16 * 1024 * 1024)

        async def send_big() -> None:
            assert await say(session, big) == big

        async def send_small() -> None:
            for number in range(50):
                assert await say(session, b"%d" % number) == b"%d" % number

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send_big)
                tasks.start_soon(send_small)
                tasks.start_soon(send_big)
        with pytest.raises(TooBig):
            await say(session, bytes(MESSAGE_BYTES_MAX))
        await session.close()


async def test_full_stream_of_events_stops_the_reading_until_it_is_drained(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        session.attach(EVT, Ticked)
        session.attach(Service.NTF, Ticked)
        with pytest.raises(TimedOut):  # the reply stands behind events that nobody takes
            await session.request(EVT, Burst(5000), Done, timeout=0.2)
        assert 1024 <= session.waiting(EVT) < 1024 + 100
        with pytest.raises(TimedOut):
            await say(session, b"behind", timeout=0.05)
        got: list[Ticked] = []
        done = anyio.Event()

        async def listen() -> None:
            while len(got) < 5000:
                got.extend(await session.next_events(EVT))
            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            assert await say(session, b"again") == b"again"
        assert [event.number for event in got] == list(range(5000))
        await session.close()


async def test_session_may_not_be_used_from_another_thread(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        caught: list[BaseException] = []

        def elsewhere() -> None:
            try:
                session.submit(EVT, Say(b""), Said)
            except InvalidParam as error:
                caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len(caught) == 1
        await session.close()


async def test_reply_of_another_type_is_a_protocol_error(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        with pytest.raises(Library, match="protocol error"):
            await session.request(EVT, Say(b""), Done)
        await session.close()


@pytest.mark.parametrize("is_diverted", [False, True])
async def test_event_of_another_type_ends_the_session(tmp_path: Path, is_diverted: bool) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        session.attach(EVT, Said)
        if is_diverted:
            session.divert(EVT, lambda event: EVT)
        executive.tick(session.client, range(1))
        for _ in range(2):
            with pytest.raises(Library, match="event cannot be read"):
                await session.next_events(EVT)
        with pytest.raises(Library, match="event cannot be read"):
            await say(session, b"x")
        await session.close()


async def test_diverted_events_have_a_stream_of_their_own(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        session.attach(EVT, Ticked)
        session.attach(1000, Ticked)
        session.divert(EVT, lambda event: (EVT, 1000, 2000)[event.number % 3])
        await session.request(EVT, Burst(9), Done)
        assert [event.number for event in session.take_events(EVT)] == [0, 3, 6]
        assert [event.number for event in session.take_events(1000)] == [1, 4, 7]
        await session.close()


def held_by(executive: EchoExecutive) -> list[object]:
    return [request for _, _, request in executive.held]


async def test_posted_requests_go_without_anybody_waiting(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        executive.hold = True
        session.post(EVT, Say(b"1"))
        session.post(EVT, Say(b"2"))
        await until(lambda: len(executive.held) == 2)
        assert held_by(executive) == [Say(b"1"), Say(b"2")]
        await session.close()
        await until(lambda: executive.lost)
        assert executive.lost == [(1, "the client has closed the connection")]
