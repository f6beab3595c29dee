"""The executive's end of its clients' connections.

    listener = Listener(driver, path, take)            # take(arrivals) gets what clients sent, a batch per drain
    listener.open()
    listener.send(client, [frame, ...])                # goes at once as far as the socket takes it
    listener.close_client(client, reason)
    listener.close()

Everything runs in callbacks of the driver; there is no task per client. Whatever a client does ends at worst its own
connection: it gets `Refused` with a reason, the log one line, and `take` a `Lost` if it had been handed the `Hello`.
"""

import errno
import logging
import os
import socket
import stat
import struct
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from corosync_amf.wire import (
    BUNDLE_COUNT_MAX,
    PIECE_BYTES_MAX,
    PROTOCOL,
    WHOLE,
    Ask,
    Assembly,
    BadMessage,
    FromClient,
    Hello,
    Refused,
    Requests,
    decode,
    encode,
    pieces,
)

from .drive import Driver

log = logging.getLogger("aisexec.ipc")

DATAGRAMS_PER_DRAIN = 64
REQUEST_NUMBER_MAX = 2**62
BACKLOG = 128
SO_PEERGROUPS = 59
ACCEPT_PAUSE_SECONDS = 1.0


class AddressUnusable(Exception):
    """There can be no socket at the address; the text says why."""


class AddressTaken(AddressUnusable):
    """Another executive, or something else, is at the address."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The client's connection has ended; nothing more comes from it. `reason` says why."""

    reason: str


Arrival = tuple[int, Hello | Requests | Ask | Lost, int]
"""Client number, what it sent, and the process id that the kernel vouches for."""


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """Who may connect (besides root and the executive's own user), and the bounds for each client.

    Above `queue_bytes_high` unsent bytes a client's requests are not read; above `queue_bytes_max`, or when it has
    taken nothing for `standstill_seconds`, it is disconnected.
    """

    uids: frozenset[int] = field(default_factory=frozenset)
    gids: frozenset[int] = field(default_factory=frozenset)
    is_private: bool = False
    clients_max: int = 4096
    queue_bytes_high: int = 4 * 1024 * 1024
    queue_bytes_max: int = 64 * 1024 * 1024
    send_buffer_bytes: int = 1024 * 1024  # must hold a whole piece
    hello_seconds: float = 5.0
    standstill_seconds: float = 60.0

    def allows(self, uid: int, groups: Collection[int], own_uid: int) -> bool:
        """Whether a process of this user and these groups may connect to an executive that `own_uid` runs."""
        return uid in (0, own_uid) or uid in self.uids or not self.gids.isdisjoint(groups)


class _Peer:
    """One client's connection."""

    __slots__ = (
        "assembly",
        "deadline",
        "fd",
        "is_greeted",
        "is_held",
        "is_paused",
        "number",
        "pid",
        "queue",
        "queued",
        "socket",
    )

    def __init__(self, connected: socket.socket, number: int, pid: int, deadline: float) -> None:
        self.socket = connected
        self.fd = connected.fileno()
        self.number = number
        self.pid = pid
        self.assembly = Assembly()
        self.queue: deque[bytes] = deque()
        self.queued = 0
        self.deadline = deadline
        """When the hello must have come, then when the queue must have moved; inf when neither is waited for."""
        self.is_greeted = False
        self.is_held = False  # its queue is too long
        self.is_paused = False  # by `pause_reading`


class Listener:
    """See the module. `take` is called with what arrived; it may call `send` and `close_client`, and never waits."""

    def __init__(
        self,
        driver: Driver,
        path: str | Path,
        take: Callable[[list[Arrival]], None],
        options: ListenerOptions | None = None,
    ) -> None:
        self.path = Path(path)
        self.options = options or ListenerOptions()
        self._driver = driver
        self._take = take
        self._peers: dict[int, _Peer] = {}
        self._next_number = 1
        self._buffer = memoryview(bytearray(PIECE_BYTES_MAX + 2))
        self._socket: socket.socket | None = None
        self._inode = 0
        self._lost: list[Arrival] = []
        self._timer = driver.timer(self._sweep)
        self._accept_again = driver.timer(self._listen)

    @property
    def clients(self) -> list[int]:
        """The numbers of the clients that are connected."""
        return list(self._peers)

    # ---- the socket

    def open(self) -> None:
        """Create the socket and listen; a directory that is missing is made, a socket nobody listens to is replaced.

        Raises: AddressTaken: another executive listens there, or the path is no socket. AddressUnusable: it cannot be
            made.
        """
        try:
            self._socket = self._listening()
        except OSError as error:
            raise AddressUnusable(f"no socket can be made at {self.path}: {error.strerror or error}") from error
        self._inode = self.path.stat().st_ino
        self._listen()

    def _listening(self) -> socket.socket:
        private = self.options.is_private
        self.path.parent.mkdir(mode=0o700 if private else 0o755, parents=True, exist_ok=True)
        _make_way(self.path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            listening.bind(str(self.path))
            self.path.chmod(0o600 if private else 0o666)  # who may stay is decided by the peer's credentials
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
        return listening

    def close(self) -> None:
        """Disconnect all clients and remove the socket. No `Lost` is reported."""
        if self._socket is None:
            return
        for peer in tuple(self._peers.values()):
            peer.is_greeted = False
            self._drop(peer, "the executive stops", refuse=True, level=logging.DEBUG)
        self._timer.set(None)
        self._accept_again.set(None)
        self._driver.on_readable(self._socket.fileno(), None)
        self._socket.close()
        self._socket = None
        try:
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        except OSError:
            pass

    def _listen(self) -> None:
        if self._socket is not None:
            self._driver.on_readable(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        assert self._socket is not None
        while True:
            try:
                connected, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.ECONNABORTED, errno.EINTR):
                    continue
                log.error("IPC: no connection can be accepted for %s s: %s", ACCEPT_PAUSE_SECONDS, error)
                self._driver.on_readable(self._socket.fileno(), None)
                self._accept_again.set(self._driver.now() + ACCEPT_PAUSE_SECONDS)
                return
            self._welcome(connected)

    def _welcome(self, connected: socket.socket) -> None:
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.options.send_buffer_bytes)
            pid, uid, gid = _credentials(connected)
            groups = _groups(connected)
        except OSError:
            connected.close()
            return
        peer = _Peer(connected, self._next_number, pid, self._driver.now() + self.options.hello_seconds)
        self._next_number += 1
        self._peers[peer.number] = peer
        if not self.options.allows(uid, (gid, *groups), os.geteuid()):
            self._drop(peer, f"user {uid} may not use this executive", refuse=True)
        elif len(self._peers) > self.options.clients_max:
            self._drop(peer, f"there are {self.options.clients_max} clients already", refuse=True)
        else:
            self._read(peer)
            self._arm()

    # ---- what comes in

    def _read(self, peer: _Peer) -> None:
        self._driver.on_readable(peer.fd, lambda: self._drain(peer))

    def _drain(self, peer: _Peer) -> None:
        """Take what is there, up to a share, and hand it on in one batch."""
        if peer.number not in self._peers:
            return
        arrivals: list[Arrival] = []
        reason, refuse = "", False
        receive, buffer = peer.socket.recv_into, self._buffer
        try:
            for _ in range(DATAGRAMS_PER_DRAIN):
                length = receive(buffer)
                if not length:
                    reason = "the client has closed the connection"
                    break
                whole = peer.assembly.feed(buffer[:length])
                if whole is not None:
                    frame = decode(whole, FromClient)
                    _check(frame, peer)
                    peer.is_greeted = True
                    arrivals.append((peer.number, frame, peer.pid))
        except BlockingIOError:
            pass
        except OSError as error:
            reason = f"the connection is broken ({error.strerror})"
        except BadMessage as error:
            reason, refuse = f"protocol error: {error}", True
        if arrivals:
            if not peer.queue:
                peer.deadline = float("inf")
            self._take(arrivals)
        if reason and peer.number in self._peers:
            self._drop(peer, reason, refuse=refuse, level=logging.WARNING if refuse else logging.DEBUG)

    def pause_reading(self, client: int) -> None:
        """Leave what the client sends in its socket until `resume_reading`; it will wait when that is full."""
        peer = self._peers.get(client)
        if peer is not None and not peer.is_paused:
            peer.is_paused = True
            self._driver.on_readable(peer.fd, None)

    def resume_reading(self, client: int) -> None:
        """Read the client again."""
        peer = self._peers.get(client)
        if peer is not None and peer.is_paused:
            peer.is_paused = False
            if not peer.is_held:
                self._read(peer)

    # ---- what goes out

    def send(self, client: int, frames: list[bytes]) -> None:
        """Send encoded frames to a client; one that is not there any more is ignored."""
        peer = self._peers.get(client)
        if peer is None:
            return
        if not peer.queue:
            frames = _send_whole(peer.socket, frames)
            if not frames:
                return
        try:
            parts = [part for frame in frames for part in pieces(frame)]
        except ValueError as error:
            self._drop(peer, str(error), refuse=True)
            return
        was_empty = not peer.queue
        peer.queue.extend(parts)
        peer.queued += sum(map(len, parts))
        if not was_empty or self._flush(peer):
            self._hold(peer)
            if was_empty and peer.queue:
                self._driver.on_writable(peer.fd, lambda: self._writable(peer))
                peer.deadline = self._driver.now() + self.options.standstill_seconds
                self._arm()

    def _flush(self, peer: _Peer) -> bool:
        """Send what the socket takes; False when the connection has ended."""
        queue, send = peer.queue, peer.socket.send
        try:
            while queue:
                send(queue[0])
                peer.queued -= len(queue.popleft())
        except BlockingIOError:
            pass
        except OSError as error:
            self._drop(peer, f"the connection is broken ({error.strerror})", level=logging.DEBUG)
            return False
        return True

    def _writable(self, peer: _Peer) -> None:
        before = peer.queued
        if not self._flush(peer):
            return
        if not peer.queue:
            self._driver.on_writable(peer.fd, None)
            peer.deadline = float("inf")
        elif peer.queued < before:
            peer.deadline = self._driver.now() + self.options.standstill_seconds
        self._hold(peer)

    def _hold(self, peer: _Peer) -> None:
        """Read a client only as fast as it takes what is sent to it."""
        options = self.options
        if peer.queued > options.queue_bytes_max:
            self._drop(peer, f"it left {peer.queued} bytes unread")
        elif not peer.is_held and peer.queued > options.queue_bytes_high:
            peer.is_held = True
            self._driver.on_readable(peer.fd, None)
        elif peer.is_held and peer.queued <= options.queue_bytes_high // 4:
            peer.is_held = False
            if not peer.is_paused:
                self._read(peer)

    # ---- the end

    def close_client(self, client: int, reason: str) -> None:
        """Tell the client why, as far as it still listens, and end its connection."""
        peer = self._peers.get(client)
        if peer is not None:
            self._drop(peer, reason, refuse=True)

    def _drop(self, peer: _Peer, reason: str, *, refuse: bool = False, level: int = logging.WARNING) -> None:
        log.log(level, "IPC: client %d (process %d) is disconnected: %s", peer.number, peer.pid, reason)
        del self._peers[peer.number]
        self._driver.on_readable(peer.fd, None)
        self._driver.on_writable(peer.fd, None)
        if refuse and not peer.queue:  # behind a frame that is cut in two it could not be understood
            try:
                peer.socket.send(pieces(encode(Refused(reason)))[0])
            except OSError:
                pass
        peer.socket.close()
        if peer.is_greeted:
            if not self._lost:
                self._driver.soon(self._report_lost)
            self._lost.append((peer.number, Lost(reason), peer.pid))

    def _report_lost(self) -> None:
        lost, self._lost = self._lost, []
        if self._socket is not None:
            self._take(lost)

    # ---- time

    def _arm(self) -> None:
        earliest = min((peer.deadline for peer in self._peers.values()), default=float("inf"))
        self._timer.set(None if earliest == float("inf") else earliest)

    def _sweep(self) -> None:
        now = self._driver.now()
        for peer in tuple(self._peers.values()):
            if peer.deadline <= now:
                why = "it has taken nothing for" if peer.is_greeted else "it has said no hello in"
                limit = self.options.standstill_seconds if peer.is_greeted else self.options.hello_seconds
                self._drop(peer, f"{why} {limit:g} s", refuse=True)
        self._arm()


def _send_whole(connected: socket.socket, frames: list[bytes]) -> list[bytes]:
    """Send frames that travel in one piece, without copying them; return those that are too long or did not go."""
    for number, frame in enumerate(frames):
        if len(frame) >= PIECE_BYTES_MAX:
            return frames[number:]
        try:
            connected.sendmsg((WHOLE, frame))
        except OSError:
            return frames[number:]  # there is no room, or no other end: who sends the rest finds out
    return []


def _check(frame: Hello | Requests | Ask, peer: _Peer) -> None:
    """Raises: BadMessage: the frame is not one that this client may send now."""
    if isinstance(frame, Hello):
        if peer.is_greeted:
            raise BadMessage("a second hello")
        if frame.protocol != PROTOCOL:
            raise BadMessage(f"the client speaks protocol {frame.protocol}, the executive {PROTOCOL}")
        return
    if not peer.is_greeted:
        raise BadMessage("the first frame is no hello")
    if not 0 <= frame.service <= 255:
        raise BadMessage(f"no service {frame.service}")
    if isinstance(frame, Ask):
        if abs(frame.request) > REQUEST_NUMBER_MAX:
            raise BadMessage("a request number out of range")
        return
    if not 1 <= frame.count <= BUNDLE_COUNT_MAX:
        raise BadMessage(f"a bundle of {frame.count} requests; {BUNDLE_COUNT_MAX} is the limit")
    if not 1 <= frame.first <= REQUEST_NUMBER_MAX:
        raise BadMessage("a request number out of range")


def _make_way(path: Path) -> None:
    """Remove a socket that a dead executive left behind.

    Raises: AddressTaken: the executive lives, or it is no socket.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AddressTaken(f"{path} exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as probe:
        if probe.connect_ex(str(path)) in (0, errno.EAGAIN):
            raise AddressTaken(f"another executive listens at {path}")
    path.unlink(missing_ok=True)


def _credentials(connected: socket.socket) -> tuple[int, int, int]:
    pid, uid, gid = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid & 0xFFFFFFFF, gid & 0xFFFFFFFF


def _groups(connected: socket.socket) -> tuple[int, ...]:
    """The peer's supplementary groups; none where the kernel does not tell."""
    try:
        found = connected.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    except OSError:
        return ()
    return struct.unpack(f"{len(found) // 4}I", found)
