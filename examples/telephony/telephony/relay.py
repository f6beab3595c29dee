"""The RTP relay: two ports per call, forwarding what comes in on one out of the other.

One epoll over raw sockets, drained when something is there; no framework is involved in forwarding a packet. Nothing
is remembered but what the records of the calls say, so a new instance has the same relay as soon as it has the calls.
RTCP is not relayed.
"""

import logging
import select
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

from telephony.model import Call, Side
from telephony.sip import Endpoint

PACKET_MAX = 2048
DRAIN_MAX = 64  # packets of one port in one turn
EVENTS_MAX = 256


@dataclass(slots=True)
class Port:
    call: str
    side: Side
    number: int
    socket: socket.socket
    peer: Endpoint | None  # who may send here, by address
    to: Endpoint | None = None
    through: "Port | None" = field(default=None, repr=False)
    heard: bool = False


class Relay:
    """All RTP ports of one instance, on one address."""

    def __init__(self, host: str, log: logging.Logger) -> None:
        self.last_audio: dict[int, float] = {}
        self.refused: set[int] = set()  # ports that somebody else has
        self.forwarded = 0
        self._host = host
        self._log = log
        self._epoll = select.epoll()
        self._by_file: dict[int, Port] = {}
        self._calls: dict[str, tuple[Port, Port]] = {}
        self._first: list[tuple[str, Side]] = []

    def fileno(self) -> int:
        """Readable when a packet waits on any port."""
        return self._epoll.fileno()

    def follow(self, name: str, call: Call | None) -> None:
        """Open, change or close the ports of a call as its record says."""
        if call is None or call.closed_at:
            for port in self._calls.pop(name, ()):
                self._close(port)
            return
        if name not in self._calls:
            pair = self._open(call)
            if pair is None:
                return
            self._calls[name] = pair
        for port, other in zip(self._calls[name], reversed(self._calls[name]), strict=True):
            port.peer, port.to, port.through = call.leg(port.side).media, call.leg(other.side).media, other

    def first_heard(self) -> Iterable[tuple[str, Side]]:
        """The calls and sides that have been heard for the first time since this was last asked."""
        first, self._first = self._first, []
        return first

    def pump(self, now: float) -> int:
        """Forward everything that waits; returns how many packets that was."""
        before = self.forwarded
        for file, _ in self._epoll.poll(0, EVENTS_MAX):
            port = self._by_file.get(file)
            if port is not None:
                self._drain(port, now)
        return self.forwarded - before

    def close(self) -> None:
        for pair in self._calls.values():
            for port in pair:
                self._close(port)
        self._calls.clear()
        self._epoll.close()

    def _drain(self, port: Port, now: float) -> None:
        for _ in range(DRAIN_MAX):
            try:
                packet, source = port.socket.recvfrom(PACKET_MAX)
            except BlockingIOError:
                return
            except OSError:  # the peer's port was closed: an ICMP message of an earlier packet
                continue
            if port.peer is None or source[0] != port.peer[0]:
                continue
            self.last_audio[port.number] = now
            if not port.heard:
                port.heard = True
                self._first.append((port.call, port.side))
            if port.to is not None and port.through is not None:
                try:
                    port.through.socket.sendto(packet, port.to)
                except OSError:
                    continue  # audio is not repeated
                self.forwarded += 1

    def _open(self, call: Call) -> tuple[Port, Port] | None:
        sockets: list[socket.socket] = []
        for number in (call.a.port, call.b.port):
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            sockets.append(opened)
            try:
                opened.bind((self._host, number))
            except OSError as error:
                for each in sockets:
                    each.close()
                if number not in self.refused:
                    self._log.warning("RTP port %s:%d cannot be used: %s", self._host, number, error)
                self.refused.add(number)
                return None
        a = Port(call.id, "a", call.a.port, sockets[0], None, heard=call.a.audible)
        b = Port(call.id, "b", call.b.port, sockets[1], None, heard=call.b.audible)
        for port in (a, b):
            self._by_file[port.socket.fileno()] = port
            self._epoll.register(port.socket.fileno(), select.EPOLLIN)
        return a, b

    def _close(self, port: Port) -> None:
        self._epoll.unregister(port.socket.fileno())
        del self._by_file[port.socket.fileno()]
        port.socket.close()
        self.last_audio.pop(port.number, None)
