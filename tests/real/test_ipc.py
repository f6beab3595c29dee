import os
import random
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from aisexec.ipc import AddressTaken, ListenerOptions
from corosync_amf.engine import Done, Service
from corosync_amf.errors import Library, TimedOut
from corosync_amf.session import Session
from corosync_amf.wire import (
    BUNDLE_COUNT_MAX,
    MESSAGE_BYTES_MAX,
    PIECE_BYTES_MAX,
    PROTOCOL,
    Ask,
    Assembly,
    FromExecutive,
    Hello,
    Refused,
    Requests,
    Welcome,
    decode,
    encode,
    pieces,
)

from .echo_executive import Burst, EchoExecutive, Said, Say, Ticked, echo_executive

pytestmark = [pytest.mark.anyio, pytest.mark.real]
EVT = Service.EVT
HELLO = encode(Hello(PROTOCOL, 1))


class RawClient:
    """A client without the library's manners."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.socket.connect(str(path))
        self.assembly = Assembly()

    async def send(self, datagram: bytes) -> None:
        while True:
            try:
                self.socket.send(datagram)
                return
            except BlockingIOError:
                await anyio.wait_writable(self.socket)
            except OSError:
                return  # the executive has ended the connection: `receive` tells why

    async def send_frame(self, frame: bytes) -> None:
        for piece in pieces(frame):
            await self.send(piece)

    async def receive(self) -> object:
        """The next frame; None at the end."""
        with anyio.fail_after(20):
            while True:
                try:
                    data = self.socket.recv(PIECE_BYTES_MAX + 2)
                except BlockingIOError:
                    await anyio.wait_readable(self.socket)
                    continue
                except ConnectionResetError:
                    continue
                if not data:
                    return None
                if (frame := self.assembly.feed(data)) is not None:
                    return decode(frame, FromExecutive)

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def still_serves(executive: EchoExecutive) -> bool:
    session = await Session.open(str(executive.path))
    answer = await session.request(EVT, Say(b"well?"), Said, timeout=20)
    await session.close()
    return answer.data == b"well?"


@pytest.mark.parametrize(
    ("greets", "frame", "reason"),
    [
        (False, encode(Requests(4, 1, 1, b"")), "no hello"),
        (False, encode(Hello(PROTOCOL + 1, 1)), "protocol 2"),
        (False, encode(Welcome(PROTOCOL, 1, "", 1)), "protocol error"),
        (False, b"", "protocol error"),
        (False, b"\xc1garbage", "protocol error"),
        (True, HELLO, "second hello"),
        (True, encode(Requests(4, 1, BUNDLE_COUNT_MAX + 1, b"")), "limit"),
        (True, encode(Requests(4, 1, 0, b"")), "limit"),
        (True, encode(Requests(4, 0, 1, b"")), "out of range"),
        (True, encode(Requests(4, 2**63, 1, b"")), "out of range"),
        (True, encode(Requests(-1, 1, 1, b"")), "no service"),
        (True, encode(Ask(256, 1, b"")), "no service"),
        (True, encode(Ask(4, -(2**63), b"")), "out of range"),
        (True, encode([1, 4, 1, 1]), "protocol error"),
        (True, encode([1, 4, "1", 1, b""]), "protocol error"),
    ],
)
async def test_client_that_breaks_the_rules_is_told_why_and_disconnected(
    tmp_path: Path, greets: bool, frame: bytes, reason: str
) -> None:
    async with echo_executive(tmp_path) as executive:
        with RawClient(executive.path) as client:
            if greets:
                await client.send_frame(HELLO)
                assert isinstance(await client.receive(), Welcome)
            await client.send_frame(frame)
            refused = await client.receive()
            assert isinstance(refused, Refused)
            assert reason in refused.reason
            assert await client.receive() is None
        assert executive.listener.clients == []
        if greets:
            await until(lambda: executive.lost)
        assert [client for client, _ in executive.lost] == ([1] if greets else [])
        assert await still_serves(executive)


async def test_frame_that_never_ends_and_datagram_that_is_no_piece_end_the_connection(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        with RawClient(executive.path) as client:
            await client.send_frame(HELLO)
            assert isinstance(await client.receive(), Welcome)
            for _ in range(MESSAGE_BYTES_MAX // PIECE_BYTES_MAX + 2):
                await client.send(b"\x01" + bytes(PIECE_BYTES_MAX))
            refused = await client.receive()
            assert isinstance(refused, Refused)
            assert str(MESSAGE_BYTES_MAX) in refused.reason
        for piece in (b"\x02", b"\xff" * 1000, bytes(200_000), b"\x01", b"\x01x"):  # the last ones: not full
            with RawClient(executive.path) as client:
                await client.send(piece)
                refused = await client.receive()
                assert isinstance(refused, Refused)
                assert "protocol error" in refused.reason
        assert await still_serves(executive)


@pytest.mark.parametrize("seed", range(5))
async def test_random_bytes_never_disturb_the_others(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    valid = [HELLO, encode(Requests(9, 1, 1, encode([Say(b"x")]))), encode(Ask(9, 1, b"\x00"))]
    async with echo_executive(tmp_path) as executive:
        for _ in range(20):
            with RawClient(executive.path) as client:
                for _ in range(chance.randrange(1, 5)):
                    data = bytearray(b"\0" + chance.choice([*valid, chance.randbytes(chance.randrange(1, 40))]))
                    for _ in range(chance.randrange(3)):
                        data[chance.randrange(len(data))] = chance.randrange(256)
                    await client.send(bytes(data))
        assert await still_serves(executive)
        await until(lambda: not executive.listener.clients)


async def test_client_that_says_nothing_is_disconnected(tmp_path: Path) -> None:
    async with echo_executive(tmp_path, ListenerOptions(hello_seconds=0.05)) as executive:
        with RawClient(executive.path) as client:
            refused = await client.receive()
            assert isinstance(refused, Refused)
            assert "no hello" in refused.reason
        session = await Session.open(str(executive.path))
        await anyio.sleep(0.1)  # the limit is for the hello only
        assert (await session.request(EVT, Say(b"x"), Said)).data == b"x"
        await session.close()


async def test_client_that_reads_nothing_is_held_then_disconnected(tmp_path: Path) -> None:
    options = ListenerOptions(
        queue_bytes_high=100_000, queue_bytes_max=2_000_000, send_buffer_bytes=100_000, standstill_seconds=0.2
    )
    async with echo_executive(tmp_path, options) as executive:
        with RawClient(executive.path) as slow, RawClient(executive.path) as flood:
            for client in (slow, flood):
                await client.send_frame(HELLO)
                assert isinstance(await client.receive(), Welcome)
            executive.tick(1, range(100), bytes(10_000))
            await slow.send_frame(encode(Requests(EVT, 1, 1, encode([Say(b"held")]))))
            executive.tick(2, range(1000), bytes(10_000))
            assert executive.listener.clients == [1]
            await until(lambda: len(executive.lost) == 2)
            (first, too_much), (second, too_slow) = executive.lost
            assert (first, second) == (2, 1)
            assert "bytes unread" in too_much
            assert "taken nothing" in too_slow
            assert executive.bundles == []  # it was not read any more
            assert executive.listener.clients == []
        assert await still_serves(executive)


async def test_session_whose_stream_overflows_is_read_on_when_it_is_drained(tmp_path: Path) -> None:
    options = ListenerOptions(queue_bytes_high=10_000, send_buffer_bytes=100_000)
    async with echo_executive(tmp_path, options) as executive:
        session = await Session.open(str(executive.path))
        session.attach(EVT, Ticked)
        with pytest.raises(TimedOut):
            await session.request(EVT, Burst(20_000, 10), Done, timeout=0.3)
        pending = session.submit(EVT, Say(b"after"), Said)
        count = 0
        with anyio.fail_after(20):
            while count < 20_000:
                count += len(await session.next_events(EVT))
            assert (await pending).data == b"after"
        await session.close()


async def test_paused_client_is_read_again_when_it_is_resumed(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        session = await Session.open(str(executive.path))
        executive.listener.pause_reading(session.client)
        with pytest.raises(TimedOut):
            await session.request(EVT, Say(b"x"), Said, timeout=0.05)
        assert executive.bundles == []
        executive.listener.resume_reading(session.client)
        assert (await session.request(EVT, Say(b"y"), Said)).data == b"y"
        executive.listener.pause_reading(99)
        executive.listener.resume_reading(99)
        executive.listener.send(99, [b""])
        executive.listener.close_client(99, "nobody")
        await session.close()


async def test_kernel_vouches_for_the_process_and_its_user(tmp_path: Path) -> None:
    async with echo_executive(tmp_path) as executive:
        assert await still_serves(executive)
        assert executive.pids == {os.getpid()}


async def test_more_clients_than_allowed_are_refused(tmp_path: Path) -> None:
    async with echo_executive(tmp_path, ListenerOptions(clients_max=1)) as executive:
        session = await Session.open(str(executive.path))
        with pytest.raises(Library, match="1 clients already"):
            await Session.open(str(executive.path))
        await session.close()


async def test_stale_socket_is_replaced_but_not_that_of_a_living_executive(tmp_path: Path) -> None:
    path = tmp_path / "aisexec.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(path))
    async with echo_executive(tmp_path) as executive:
        assert await still_serves(executive)
        with pytest.RaisesGroup(AddressTaken):
            async with echo_executive(tmp_path):
                pass
        assert await still_serves(executive)
    assert not path.exists()
    path.write_text("precious")
    with pytest.RaisesGroup(AddressTaken):
        async with echo_executive(tmp_path):
            pass
    assert path.read_text() == "precious"


async def test_private_socket_is_for_its_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    async with echo_executive(folder, ListenerOptions(is_private=True)) as executive:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(executive.path.stat().st_mode) == 0o600


async def test_users_and_groups_that_are_allowed_may_connect() -> None:
    options = ListenerOptions(uids=frozenset({5}), gids=frozenset({7}))
    allowed = [(0, ()), (1000, ()), (5, ()), (6, (1, 7))]
    refused = [(6, ()), (6, (5, 1000, 0)), (7, (8,))]
    assert all(options.allows(uid, groups, 1000) for uid, groups in allowed)
    assert not any(options.allows(uid, groups, 1000) for uid, groups in refused)
