"""The client's socket to its executive: whole frames in and out, without blocking.

    connection = await Connection.open(address, timeout)
    connection.send(frame)                      # goes as far as the socket takes it; the rest waits
    while (frame := connection.receive()) is not None:
        ...
    await connection.wait()                     # something to read, or room for what waits

Nothing here runs by itself: whoever waits for an answer calls `wait` and then `receive`. One task at a time may wait.
"""

import errno
import os
import select
import socket
from collections import deque
from collections.abc import Mapping

import anyio

from corosync_amf.errors import AisError, InvalidParam, Library, TimedOut
from corosync_amf.wire import (
    PIECE_BYTES_MAX,
    PROTOCOL,
    WHOLE,
    Assembly,
    BadMessage,
    Events,
    FromExecutive,
    Hello,
    Refused,
    Replies,
    Welcome,
    decode,
    encode,
    pieces,
)

SYSTEM_ADDRESS = "/run/corosync-amf/aisexec.sock"
SEND_BUFFER_BYTES = 4 * 1024 * 1024
BUSY_SECONDS = 0.02
ENDED = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})


def default_address(environ: Mapping[str, str] = os.environ, system: str = SYSTEM_ADDRESS) -> str:
    """The executive's socket: COROSYNC_AMF_SOCKET, else `system`, else, if that is not there, the one of this user."""
    if address := environ.get("COROSYNC_AMF_SOCKET"):
        return address
    home = environ.get("XDG_RUNTIME_DIR")
    if home and not os.path.exists(system):
        return os.path.join(home, "corosync-amf", "aisexec.sock")
    return system


class Gone(Exception):
    """The connection has ended; the text says why."""


class Connection:
    """One connected socket. Close it with `close`."""

    __slots__ = (
        "_assembly",
        "_broken",
        "_buffer",
        "_either",
        "_outgoing",
        "_socket",
        "_waiting",
        "client",
        "has_ended",
        "node_id",
        "node_name",
    )

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._buffer = memoryview(bytearray(PIECE_BYTES_MAX + 2))
        self._assembly = Assembly()
        self._outgoing: deque[bytes] = deque()
        self._either: select.epoll | None = None
        self._waiting: int | None = None
        self._broken = ""
        self.has_ended = False
        """The executive takes no more; `receive` gives what it said before, and then raises."""
        self.node_id = 0
        self.node_name = ""
        self.client = 0

    @classmethod
    async def open(cls, address: str, *, component: str | None, timeout: float | None) -> "Connection":
        """Connect, introduce this process and wait for the welcome.

        Raises: Library: no executive there, or it refuses. TimedOut: it does not answer in time.
        """
        connection: Connection | None = None
        with anyio.move_on_after(timeout):
            connection = cls(await _connect(address))
            try:
                await connection._greet(component)
            except BaseException as error:
                connection.close()
                if isinstance(error, Gone):
                    raise Library(f"the executive at {address} refused the connection: {error}") from None
                raise
            return connection
        raise TimedOut(f"the executive at {address} did not answer in {timeout} s")

    async def _greet(self, component: str | None) -> None:
        self.send(encode(Hello(PROTOCOL, os.getpid(), component)))
        while (frame := self.receive()) is None:
            await self.wait()
        if not isinstance(frame, Welcome):
            raise Gone("it does not begin with a welcome")
        if frame.protocol != PROTOCOL:
            raise Gone(f"it speaks protocol {frame.protocol}, this library {PROTOCOL}")
        self.node_id, self.node_name, self.client = frame.node_id, frame.node_name, frame.client

    def fileno(self) -> int:
        """The socket itself, to be watched and nothing else."""
        return self._socket.fileno()

    def send(self, frame: bytes) -> None:
        """Send a frame, after what already waits. What the socket does not take goes in `wait`.

        Raises: ValueError: the frame is over MESSAGE_BYTES_MAX.
        """
        if not self._outgoing and len(frame) < PIECE_BYTES_MAX:
            try:
                self._socket.sendmsg((WHOLE, frame))
                return
            except OSError:
                pass  # no room, or worse: `flush` finds out
        self._outgoing.extend(pieces(frame))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        outgoing, send = self._outgoing, self._socket.send
        try:
            while outgoing:
                send(outgoing[0])
                outgoing.popleft()
        except BlockingIOError:
            self.interrupt()  # who waits must wait for room, too
        except OSError as error:
            outgoing.clear()
            self.has_ended = True
            if error.errno not in ENDED:  # else `receive` finds the end, and what the executive said before it
                self._broken = f"the connection is broken ({error.strerror})"

    def receive(self) -> Welcome | Replies | Events | None:
        """The next frame that is there, or None.

        Raises: Gone: the executive has ended the connection, or does not keep to the protocol.
        """
        while True:
            if self._broken:
                raise Gone(self._broken)
            try:
                length = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                return None
            except ConnectionResetError:
                continue  # reported once, before what was received
            except OSError as error:
                raise Gone(f"the connection is broken ({error.strerror})") from None
            if not length:
                raise Gone("the executive has ended the connection")
            try:
                whole = self._assembly.feed(self._buffer[:length])
                if whole is None:
                    continue
                frame = decode(whole, FromExecutive)
            except BadMessage as error:
                raise Gone(f"protocol error: {error}") from None
            if isinstance(frame, Refused):
                raise Gone(frame.reason)
            return frame  # type: ignore[no-any-return]

    async def wait(self) -> None:
        """Return when there may be something to receive, room to send, or `interrupt` was called."""
        watched = self._either_way() if self._outgoing else self._socket.fileno()
        self._waiting = watched
        try:
            await anyio.wait_readable(watched)
        except anyio.ClosedResourceError:
            pass
        finally:
            self._waiting = None
        if self._outgoing:
            self.flush()

    def _either_way(self) -> int:
        # Readable when the socket can be read or written: one descriptor to wait for both.
        if self._either is None:
            self._either = select.epoll()
            self._either.register(self._socket.fileno(), select.EPOLLIN | select.EPOLLOUT)
        return self._either.fileno()

    def interrupt(self) -> None:
        """Make the task that is in `wait` return."""
        if self._waiting is not None:
            anyio.notify_closing(self._waiting)

    def close(self) -> None:
        """End the connection. What waits to be sent is lost."""
        self.interrupt()
        if self._either is not None:
            self._either.close()
        self._socket.close()


async def _connect(address: str) -> socket.socket:
    if not isinstance(address, str) or not address or "\0" in address:
        raise InvalidParam(f"{address!r} is not the path of a socket")
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        while (number := connected.connect_ex(address)) in (errno.EAGAIN, errno.EINTR):  # noqa: ASYNC110
            await anyio.sleep(BUSY_SECONDS)  # the executive accepts as fast as it can
        if number:
            raise Library(f"no executive at {address} ({os.strerror(number)})")
    except BaseException as error:
        connected.close()
        if isinstance(error, OSError) and not isinstance(error, AisError):
            raise Library(f"no executive at {address} ({error})") from None
        raise
    return connected
