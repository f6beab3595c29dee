import socket
from collections.abc import Callable

import anyio
import pytest

from aisexec.drive import Driver, open_driver

BACKENDS = ["asyncio", "trio"]


def run(backend: str, test: Callable[[Driver], object]) -> None:
    async def main() -> None:
        with anyio.fail_after(10):
            async with open_driver() as driver:
                await test(driver)  # type: ignore[misc]

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_callback_comes_whenever_a_socket_has_something_to_read(backend: str) -> None:
    async def body(driver: Driver) -> None:
        here, there = socket.socketpair()
        with here, there:
            got: list[bytes] = []
            enough = anyio.Event()

            def receive() -> None:
                got.append(here.recv(100))
                if len(got) == 3:
                    driver.on_readable(here.fileno(), None)
                    enough.set()
                else:
                    there.send(b"more")

            driver.on_readable(here.fileno(), receive)
            there.send(b"first")
            await enough.wait()
            assert got == [b"first", b"more", b"more"]

    run(backend, body)


@pytest.mark.parametrize("backend", BACKENDS)
def test_callback_comes_when_a_socket_can_be_written_and_reading_goes_on_after_it_is_taken_back(backend: str) -> None:
    async def body(driver: Driver) -> None:
        here, there = socket.socketpair()
        with here, there:
            written, read = anyio.Event(), anyio.Event()

            def write() -> None:
                driver.on_writable(here.fileno(), None)
                written.set()
                there.send(b"x")

            def receive() -> None:
                here.recv(1)
                read.set()

            driver.on_readable(here.fileno(), receive)
            driver.on_writable(here.fileno(), write)
            await written.wait()
            await read.wait()
            driver.on_readable(here.fileno(), None)

    run(backend, body)


@pytest.mark.parametrize("backend", BACKENDS)
def test_timer_rings_once_and_not_before_the_deadline_it_was_last_set_to(backend: str) -> None:
    async def body(driver: Driver) -> None:
        rung: list[float] = []
        done = anyio.Event()
        timer = driver.timer(lambda: rung.append(driver.now()) or done.set())  # type: ignore[func-returns-value]
        start = driver.now()
        timer.set(start + 0.005)
        timer.set(start + 0.02)
        await done.wait()
        assert len(rung) == 1
        assert rung[0] >= start + 0.02
        timer.set(start + 3600)
        timer.set(driver.now() + 0.001)
        done = anyio.Event()
        await done.wait()
        assert len(rung) == 2

    run(backend, body)


@pytest.mark.parametrize("backend", BACKENDS)
def test_timer_that_is_taken_back_does_not_ring(backend: str) -> None:
    async def body(driver: Driver) -> None:
        rung: list[str] = []
        done = anyio.Event()
        first, second = driver.timer(lambda: rung.append("first")), driver.timer(done.set)
        first.set(driver.now() + 0.005)
        first.set(None)
        second.set(driver.now() + 0.02)
        await done.wait()
        assert rung == []

    run(backend, body)


@pytest.mark.parametrize("backend", BACKENDS)
def test_callbacks_asked_for_soon_run_in_order_when_the_caller_is_done(backend: str) -> None:
    async def body(driver: Driver) -> None:
        done = anyio.Event()
        driver.soon(done.set)
        assert not done.is_set()
        await done.wait()

    run(backend, body)


@pytest.mark.parametrize("backend", BACKENDS)
def test_failing_callback_ends_the_block_with_its_exception(backend: str) -> None:
    def fail() -> None:
        raise ValueError("broken")

    async def body(driver: Driver) -> None:
        driver.soon(fail)
        await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as raised:
        run(backend, body)
    assert raised.group_contains(ValueError, match="broken")
