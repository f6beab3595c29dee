"""Built-in callers and callees: they keep calls coming at a rate, and tell what became of each."""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from telephony import sip
from telephony.audio import INTERVAL, Audio, Stream
from telephony.duties import GIVE_UP
from telephony.model import Send
from telephony.phone import Phone, Step
from telephony.timers import Timers

BUFFER_BYTES = 4 * 2**20
DATAGRAM_MAX = 65536
RING = 0.1
SILENT_AFTER = 5.0  # seconds; no hold lasts so long


def script(talk: float) -> Sequence[tuple[float, Step]]:
    """Talk, hold for a fifth of the time, resume, talk, hang up: `talk` seconds in all."""
    return (0.4 * talk, "hold"), (0.2 * talk, "resume"), (0.4 * talk, "bye")


@dataclass
class Mark:
    """The calls that were there at one moment, to see later what became of them."""

    at: float
    phones: list[Phone]
    streams: list[Stream]
    received: list[int]  # packets on each stream until then

    @property
    def up(self) -> int:
        return sum(1 for phone in self.phones if phone.result.answered_at and phone.result.answered_at <= self.at)

    @property
    def gaps(self) -> list[float]:
        """The longest time, in seconds, that each listener heard nothing, beyond the time between two packets."""
        return [max(0.0, stream.largest - INTERVAL) for stream in self.streams]

    @property
    def silent(self) -> int:
        """How many listeners never heard anything again though their calls went on."""
        return sum(
            1
            for stream, before in zip(self.streams, self.received, strict=True)
            if stream.received == before and (stream.phone.result.ended_at or time.monotonic()) - self.at > SILENT_AFTER
        )

    @property
    def resumed_at(self) -> float | None:
        """When the first of those who heard nothing for a while heard something again."""
        ends = [s.largest_until for s in self.streams if s.largest_until > self.at and s.largest > 1.5 * INTERVAL]
        return min(ends, default=None)


@dataclass
class Callers:
    """Callers on one socket, callees on another. Run `run`; then `calls` holds every caller's telephone."""

    server: sip.Endpoint
    callee: sip.Endpoint
    rate: float = 20.0  # calls a second
    talk: float = 10.0
    ring: float = RING
    audio_every: int = 10  # every so many calls carry audio; 0: none
    patience: float = 60.0  # how long a caller listens to the ringing
    host: str = "127.0.0.1"
    name: str = "call"
    calls: list[Phone] = field(default_factory=list)
    answered: list[Phone] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._sip = {"caller": _open((self.host, 0)), "callee": _open(self.callee)}
        self._audio = {"caller": Audio(_open((self.host, 0))), "callee": Audio(_open((self.host, 0)))}
        self._phones: dict[str, dict[str, Phone]] = {"caller": {}, "callee": {}}
        self._timers = Timers()
        self._owners: dict[str, tuple[str, Phone]] = {}
        self._poke = anyio.Event()

    async def run(self, count: int) -> None:
        """Make `count` calls, and return when all are over (or lost)."""
        async with anyio.create_task_group() as tasks:
            for side in ("caller", "callee"):
                tasks.start_soon(self._receive, side)
                tasks.start_soon(self._hear, side)
            tasks.start_soon(self._keep_time)
            tasks.start_soon(self._speak)
            await self._generate(count)
            with anyio.move_on_after(self.talk + 2 * GIVE_UP):
                while not all(phone.result.over for phone in self.calls):
                    await self._poke.wait()
            await anyio.sleep(0.2)  # the last answers to the callees
            tasks.cancel_scope.cancel()

    def close(self) -> None:
        for opened in (*self._sip.values(), *(audio.socket for audio in self._audio.values())):
            opened.close()

    @property
    def up(self) -> int:
        """How many calls are up now."""
        return sum(1 for phone in self.calls if phone.talking)

    @property
    def lost(self) -> dict[str, str]:
        """The names of the calls that failed so far, on either side, and how."""
        failed = [phone for phone in (*self.answered, *self.calls) if phone.result.failure]
        return {phone.name.removeprefix("to-"): phone.result.failure for phone in failed}

    def mark(self) -> Mark:
        """The calls that are up or being set up now; measuring of audio gaps begins anew."""
        streams = [stream for audio in self._audio.values() for stream in audio.mark()]
        phones = [phone for phone in self.calls if not phone.result.over]
        return Mark(time.monotonic(), phones, streams, [stream.received for stream in streams])

    def answer_delays(self, since: float, until: float) -> list[float]:
        """Seconds between INVITE and answer, beyond the ringing, of calls begun in this span."""
        phones = [p for p in self.calls if since <= p.result.started_at < until and p.result.answered_at]
        return [max(0.0, p.result.answered_at - p.result.started_at - self.ring) for p in phones]

    async def _generate(self, count: int) -> None:
        begin = time.monotonic()
        for number in range(count):
            await anyio.sleep(max(0.0, begin + number / self.rate - time.monotonic()))
            phone = self._phone("caller", f"{self.name}-{number}", script(self.talk))
            self.calls.append(phone)
            self._phones["caller"][f"{phone.name}@{phone.contact[0]}"] = phone
            self._after("caller", phone, phone.call(time.monotonic()))

    def _phone(self, side: str, name: str, steps: Sequence[tuple[float, Step]]) -> Phone:
        contact, audio = self._sip[side].getsockname(), self._audio[side].socket.getsockname()
        return Phone(name, contact, self.server, audio, steps, self.ring, self.patience)

    async def _receive(self, side: str) -> None:
        opened = self._sip[side]
        while True:
            await anyio.wait_readable(opened)
            for _ in range(64):
                try:
                    data = opened.recv(DATAGRAM_MAX)
                except BlockingIOError:
                    break
                except OSError:
                    continue
                self._take(side, data)

    def _take(self, side: str, data: bytes) -> None:
        message = sip.parse(data)
        if message is None:
            return
        phone = self._phones[side].get(message.call_id)
        if phone is None:
            if side == "caller" or not data.startswith(b"INVITE "):
                return
            phone = self._phone("callee", f"to-{message.from_address.uri.user}", ())
            self.answered.append(phone)
            self._phones[side][message.call_id] = phone
        self._after(side, phone, phone.handle(message, time.monotonic()))

    def _after(self, side: str, phone: Phone, sends: list[Send]) -> None:
        for send in sends:
            try:
                self._sip[side].sendto(send.data, send.to)
            except OSError:
                continue
        key = f"{side} {phone.name}"
        self._timers.set(key, phone.next_deadline())
        self._owners[key] = side, phone
        if self.audio_every and phone.talking and _number(phone) % self.audio_every == 0:
            self._audio[side].follow(phone)
        self._poke.set()

    async def _keep_time(self) -> None:
        while True:
            now = time.monotonic()
            for key in self._timers.due(now):
                side, phone = self._owners[key]
                self._after(side, phone, phone.wake(now))
            self._poke = anyio.Event()
            deadline = self._timers.next()
            with anyio.move_on_after(1.0 if deadline is None else max(0.0, deadline - time.monotonic())):
                await self._poke.wait()

    async def _hear(self, side: str) -> None:
        audio = self._audio[side]
        while True:
            await anyio.wait_readable(audio.socket)
            audio.hear(time.monotonic())

    async def _speak(self) -> None:
        due = time.monotonic()
        while True:
            for audio in self._audio.values():
                audio.tick()
            due = max(due + INTERVAL, time.monotonic() - INTERVAL)
            await anyio.sleep(max(0.0, due - time.monotonic()))


def _number(phone: Phone) -> int:
    """The number of the call that this telephone takes part in."""
    digits = phone.name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 1


def _open(address: sip.Endpoint) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    opened.bind(address)
    return opened
