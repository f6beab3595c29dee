"""The client for programs without an event loop, on executives in a thread of their own."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, cast

import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

from corosync_amf import ais, ckpt, clm, errors, sync, tmr
from corosync_amf.background import BACKGROUND
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.clm.engine import ClmEngine

from .loopback import Loopback, loopback

pytestmark = pytest.mark.real
SMALL = ckpt.CreationAttributes(max_sections=4, max_section_size=100)
BEAT = tmr.TimerAttributes(tmr.TimeType.DURATION, 0.001, 0.01)


@pytest.fixture
def cluster() -> Iterator[Loopback]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(loopback(lambda: [ClmEngine(), CkptEngine()], 2)) as running,
    ):
        yield running


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert BACKGROUND._loop is None
    assert not [thread for thread in threading.enumerate() if thread.name == "corosync-amf"]


def on(cluster: Loopback, node: int = 1, **arguments: Any) -> Any:
    return sync.ckpt.initialize(address=cluster.nodes[node].address, **arguments)


# ---- calls


def test_a_program_without_an_event_loop_writes_and_reads(cluster: Loopback) -> None:
    with on(cluster) as service, service.checkpoint_open("calls", creation_attributes=SMALL) as calls:
        assert calls.section_create("call-17", b"ringing") == b"call-17"
        calls.write([ckpt.IoVector("call-17", b"RING")])
        assert calls.read([ckpt.IoVector("call-17")]) == [b"RINGing"]
        assert calls.read_all() == {b"call-17": b"RINGing"}
        assert (calls.name, calls.creation_attributes) == ("calls", SMALL_AS_OPENED)
        assert calls.status_get().number_of_sections == 1


SMALL_AS_OPENED = ckpt.CreationAttributes(max_sections=4, max_section_size=100, checkpoint_size=400)


def test_several_services_over_one_connection(cluster: Loopback) -> None:
    with sync.connect(cluster.nodes[2].address) as connection:
        assert (connection.node_id, connection.node_name) == (2, "node2")
        with connection.ckpt() as checkpoints, connection.clm() as membership, connection.tmr() as timers:
            assert membership.cluster_node_get().node_name == "node2"
            assert len(membership.cluster_track(ais.TrackFlags.CURRENT).notifications) == 2
            with checkpoints.checkpoint_open("c", creation_attributes=SMALL) as handle:
                handle.section_create("s")
            assert timers.version == "A.01.01"


def test_what_is_opened_without_a_block_is_closed_by_hand(cluster: Loopback) -> None:
    service = on(cluster).open()
    handle = service.checkpoint_open("c", creation_attributes=SMALL).open()
    handle.close()
    with pytest.raises(errors.BadHandle):
        handle.close()
    service.finalize()
    for call in (service.finalize, handle.close, lambda: handle.section_create("s")):
        with pytest.raises(errors.BadHandle):
            call()
    assert list(service) == []


def test_leaving_a_block_on_what_is_closed_already_is_silent(cluster: Loopback) -> None:
    with on(cluster) as service:
        with service.checkpoint_open("c", creation_attributes=SMALL) as handle:
            handle.close()
        service.finalize()
    with on(cluster) as service, service.checkpoint_open("c", creation_attributes=SMALL):
        service.finalize()


def test_errors_are_those_of_the_client(cluster: Loopback) -> None:
    with on(cluster, retry=False) as service:
        with pytest.raises(errors.NotExist):
            service.checkpoint_unlink("nothing")
        with pytest.raises(errors.NotExist), service.checkpoint_open("nothing"):
            pass
        with pytest.raises(errors.InvalidParam):
            service.checkpoint_open("c", creation_attributes="many").open()
        with pytest.raises(TypeError):
            service.checkpoint_unlink()
        with pytest.raises(AttributeError):
            service.checkpoint_invent("c")
        with pytest.raises(ZeroDivisionError), service.checkpoint_open("c", creation_attributes=SMALL):
            _ = 1 / 0
    with pytest.raises(errors.Library):
        sync.connect("/nobody/here").open()
    with pytest.raises(errors.Version):
        on(cluster, version="B.09.01").open()
    with pytest.raises(TypeError):
        sync.ckpt.initialize(nonsense=1)


# ---- outcomes and events


def test_a_pending_request_has_its_result_and_its_event(cluster: Loopback) -> None:
    with on(cluster) as service:
        pending = service.checkpoint_open_async("c", creation_attributes=SMALL, invocation=7)
        opened = pending.result(timeout=10.0)
        assert pending.done
        assert pending.result() == opened
        assert pending.invocation == 7
        opened.section_create("s", b"1")
        failed = service.checkpoint_open_async("nothing", invocation=8)
        with pytest.raises(errors.NotExist):
            failed.result()
        first, second = (event for _, event in zip(range(2), service, strict=False))
        assert isinstance(first, ckpt.CheckpointOpened)
        assert (first.checkpoint, first.invocation) == (opened, 7)
        assert first.checkpoint == opened
        assert cast(Any, first).checkpoint.read_all() == {b"s": b"1"}
        assert type(second.error) is errors.NotExist
        with pytest.raises(errors.InvalidParam):
            pending.result(timeout=-1)


def test_an_outcome_that_is_not_there_in_time_can_be_asked_for_again(cluster: Loopback) -> None:
    with on(cluster) as service:
        handle = service.checkpoint_open("c", creation_attributes=ckpt.CreationAttributes(ckpt.CreationFlags(2))).open()
        pending = handle.synchronize_async()
        with pytest.raises(errors.TimedOut):
            pending.result(timeout=0)
        assert pending.result() is None


def test_changes_are_iterated(cluster: Loopback) -> None:
    with (
        on(cluster, 1) as here,
        on(cluster, 2) as there,
        here.checkpoint_open("c", creation_attributes=SMALL) as written,
        there.checkpoint_open("c") as followed,
    ):
        written.section_create("a", b"1")
        seen = []
        for change in followed.changes(current=True):
            assert change.checkpoint == followed
            assert len({change.checkpoint, followed}) == 1
            seen += [(each.section_id, each.data) for each in change.changes]
            if len(seen) == 2:
                break
            written.section_create("b", b"2")
        assert seen == [(b"a", b"1"), (b"b", b"2")]
        for _ in range(200):  # the iteration was dropped, and ends where its loop is
            try:
                followed.track()
                break
            except errors.Exist:
                time.sleep(0.01)
        with followed.section_iteration_initialize() as sections:
            assert sections.next().section_id == b"a"
            assert [each.section_id for each in sections] == [b"b"]


def test_a_dispatch_handler_runs_in_the_thread_that_dispatches_and_may_block(cluster: Loopback) -> None:
    with on(cluster) as service:
        service.checkpoint_open_async("c", creation_attributes=SMALL, invocation=1).result()
        service.checkpoint_open_async("c", invocation=2).result()
        handled = []

        def handle(event: Any) -> None:
            assert threading.current_thread() is threading.main_thread()
            handled.append((event.invocation, event.checkpoint.status_get().number_of_sections))

        assert service.dispatch(ais.DispatchFlags.ONE, handle) == 1
        assert service.dispatch(ais.DispatchFlags.ALL, handle) == 1
        assert service.dispatch(ais.DispatchFlags.ALL, handle) == 0
        assert handled == [(1, 0), (2, 0)]
        for bad in ((7, handle), (ais.DispatchFlags.ALL, None)):
            with pytest.raises(errors.InvalidParam):
                service.dispatch(*bad)
        service.checkpoint_open_async("c", invocation=3).result()
        with pytest.raises(ZeroDivisionError):
            service.dispatch(ais.DispatchFlags.ALL, lambda event: 1 / 0)
        assert service.selection_object_get() >= 0


def test_views_and_timers_are_iterated() -> None:
    with sync.tmr.initialize() as service:
        timer = service.timer_start(BEAT, data="beat")
        for event in service:
            assert (event.timer, event.data) == (timer, "beat")
            break
        for expiry in timer:
            assert isinstance(expiry, tmr.TimerExpired)
            break
        timer.reschedule(BEAT)
        assert timer.cancel() == "beat"
        with pytest.raises(TypeError, match="not an iterator"):
            next(service)


def test_names_of_a_module_are_those_of_the_module_itself() -> None:
    assert sync.ckpt.CreationAttributes is ckpt.CreationAttributes
    assert sync.clm.Callback is clm.Callback
    assert sync.ckpt is sync.ckpt
    assert "initialize" in dir(sync.ckpt)
    with pytest.raises(AttributeError):
        sync.nonsense  # noqa: B018
    with pytest.raises(AttributeError):
        sync.ckpt.nonsense  # noqa: B018


def test_methods_keep_their_names_and_their_words() -> None:
    with sync.tmr.initialize() as service:
        assert service.timer_start.__doc__ == tmr.TmrService.timer_start.__doc__
        assert service.timer_start.__name__ == "timer_start"
        assert "timer_start" in dir(service)
        assert "_owner" not in dir(service)
        assert "TmrService" in repr(service)
        with pytest.raises(AttributeError):
            service._owner  # noqa: B018
        service.retry = False
        assert service.retry is False


# ---- whatever a service may return


class Handle:
    """As a service's own class would be, with everything that a handle may have."""

    __module__ = "corosync_amf.services.sample"
    number = 7

    def __init__(self) -> None:
        self.is_entered = False

    async def close(self) -> int:
        return self.number

    def other(self, given: "Handle") -> tuple["Handle", int]:
        return given, self.number

    def soon(self) -> "Soon":
        return Soon(self)

    async def numbers(self) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    async def __aenter__(self) -> "Handle":
        self.is_entered = True
        return self

    async def __aexit__(self, *exc_info: object) -> bool:
        self.is_entered = False
        return exc_info[0] is ZeroDivisionError


class Soon:
    """What can be awaited, and nothing else."""

    __module__ = "corosync_amf.services.sample"
    invocation, done = 3, False

    def __init__(self, handle: Handle) -> None:
        self.handle = handle

    def __await__(self) -> Generator[Any, None, Handle]:
        yield from ()
        return self.handle


class Happened(msgspec.Struct, frozen=True):
    """An event with handles in it."""

    handle: Handle
    others: list[Handle]
    number: int


Happened.__module__ = "corosync_amf.services.sample"


def test_values_are_wrapped_by_what_they_are() -> None:
    with sync.tmr.initialize() as service:
        service.sample = sample = Handle()
        handle = service.sample
        assert isinstance(handle, sync.Blocking)
        assert (handle.number, handle.close()) == (7, 7)
        same, number = handle.other(handle)
        assert (same, number) == (handle, 7)
        assert isinstance(handle.soon(), sync.Pending)
        assert handle.soon().result(timeout=10.0) == handle
        assert list(handle.numbers()) == [0, 1, 2]
        with handle as entered:
            assert entered == handle
            assert sample.is_entered
            _ = 1 / 0  # which this handle swallows
        assert not sample.is_entered
        service.event = happened = Happened(sample, [sample], 1)
        event = service.event
        assert isinstance(event, Happened)
        assert (event.handle, event.others, event.number) == (handle, [handle], 1)
        service.event = plain = Happened(None, [], 1)
        assert service.event is plain
        assert happened.handle is sample


# ---- threads


def test_several_threads_share_a_service(cluster: Loopback) -> None:
    with on(cluster) as service, service.checkpoint_open("c", creation_attributes=ckpt.CreationAttributes()) as handle:
        problems: list[Exception] = []

        def write(number: int) -> None:
            try:
                for count in range(10):
                    handle.section_create(f"{number}/{count}")
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        assert len(handle.read_all()) == 40


def test_finalize_in_one_thread_ends_the_iteration_in_another() -> None:
    service = sync.tmr.initialize().open()
    ended = threading.Event()

    def listen() -> None:
        for _ in service:
            pass
        ended.set()

    thread = threading.Thread(target=listen)
    thread.start()
    time.sleep(0.05)
    service.finalize()
    assert ended.wait(10.0)
    thread.join()


def test_the_thread_ends_with_the_last_object_and_begins_anew() -> None:
    def is_running() -> bool:
        return any(thread.name == "corosync-amf" for thread in threading.enumerate())

    assert not is_running()
    with sync.tmr.initialize():
        with sync.tmr.initialize():
            assert is_running()
        assert is_running()
    assert not is_running()
    with pytest.raises(errors.InvalidParam):
        sync.tmr.initialize(version="?").open()
    assert not is_running()
    opening = sync.tmr.initialize()
    for _ in range(2):
        with opening as service:
            assert service.time_get() > 0


def interrupt_soon(seconds: float = 0.2) -> None:
    def send() -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=send).start()


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_cancels_the_call_that_blocks() -> None:
    with sync.tmr.initialize() as service:
        timer = service.timer_start(tmr.TimerAttributes(tmr.TimeType.DURATION, 3600.0, 1.0))
        for wait in (lambda: next(iter(timer)), lambda: next(iter(service))):
            interrupt_soon()
            with pytest.raises(KeyboardInterrupt):
                wait()
        timer.cancel()


def test_an_interrupt_in_a_handler_ends_the_dispatch() -> None:
    with sync.tmr.initialize() as service:
        service.timer_start(BEAT)

        def handle(event: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            service.dispatch(ais.DispatchFlags.BLOCKING, handle)
        assert next(iter(service)).expiration_count >= 1


def run(code: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_process_that_forgets_to_close_ends_all_the_same() -> None:
    assert (
        run("""
            from corosync_amf import sync
            service = sync.tmr.initialize().open()
            service.timer_start(sync.tmr.TimerAttributes(2, 0.001, 0.001))
            print(next(iter(service)).timer.timer_id)
        """)
        == "1\n"
    )


def test_the_child_of_a_fork_has_nothing_open_and_can_begin_anew() -> None:
    assert (
        run("""
            import os, warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            from corosync_amf import sync, BadHandle
            with sync.tmr.initialize() as service:
                child = os.fork()
                if not child:
                    try:
                        service.time_get()
                    except BadHandle:
                        with sync.tmr.initialize() as own:
                            print("child", own.version, flush=True)
                    os._exit(0)
                os.waitpid(child, 0)
                print("parent", service.version)
        """)
        == "child A.01.01\nparent A.01.01\n"
    )
