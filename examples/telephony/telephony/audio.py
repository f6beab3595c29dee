"""Audio of the built-in callers: a packet every 20 ms each way, and how long nothing was heard."""

import socket
import struct
from dataclasses import dataclass, field

from telephony.phone import Phone
from telephony.sip import Endpoint

INTERVAL = 0.02
SILENCE = bytes([0xD5]) * 160  # 20 ms of nothing in PCMA
HEADER = struct.Struct("!BBHII")
PACKET_MAX = 2048


@dataclass
class Stream:
    """What one telephone hears."""

    phone: Phone
    sent: int = 0
    received: int = 0
    lost: int = 0  # by sequence number, since the last mark
    last_number: int = -1
    last_at: float = 0.0  # 0: not yet, or not since a hold
    largest: float = 0.0  # seconds between two packets, since the last mark
    largest_until: float = 0.0


@dataclass
class Audio:
    """All streams of one side, through one socket: who speaks is known by the relay's port."""

    socket: socket.socket
    streams: dict[Endpoint, Stream] = field(default_factory=dict)

    def follow(self, phone: Phone) -> None:
        """Let this telephone speak and listen as long as it talks."""
        if phone.peer_audio is not None and phone.talking and phone.peer_audio not in self.streams:
            self.streams[phone.peer_audio] = Stream(phone)

    def tick(self) -> None:
        """Speak: one packet for everyone who talks."""
        for to, stream in list(self.streams.items()):
            phone = stream.phone
            if not phone.talking:
                del self.streams[to]
                continue
            if phone.held:
                stream.last_at = 0.0
                continue
            stream.sent += 1
            stamp, source = stream.sent * 160 & 0xFFFFFFFF, id(phone) & 0xFFFFFFFF
            header = HEADER.pack(0x80, 8, stream.sent & 0xFFFF, stamp, source)
            try:
                self.socket.sendto(header + SILENCE, to)
            except OSError:
                continue

    def hear(self, now: float) -> None:
        """Take in everything that waits."""
        while True:
            try:
                packet, source = self.socket.recvfrom(PACKET_MAX)
            except BlockingIOError:
                return
            except OSError:
                continue
            stream = self.streams.get(source)
            if stream is None or len(packet) < HEADER.size or stream.phone.held:
                continue
            number = HEADER.unpack_from(packet)[2]
            stream.received += 1
            if stream.last_at:
                stream.lost += max(0, ((number - stream.last_number) & 0xFFFF) - 1)
                if now - stream.last_at > stream.largest:
                    stream.largest, stream.largest_until = now - stream.last_at, now
            stream.last_at, stream.last_number = now, number

    def mark(self) -> list[Stream]:
        """Begin to measure anew; these are the streams that are heard now."""
        for stream in self.streams.values():
            stream.largest, stream.largest_until, stream.lost = 0.0, 0.0, 0
        return [stream for stream in self.streams.values() if stream.last_at]
