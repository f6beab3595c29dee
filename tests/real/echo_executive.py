"""A small executive for tests: the real listener, and a service that answers with what it was told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import IntFlag
from pathlib import Path

from aisexec.drive import open_driver
from aisexec.ipc import Arrival, Listener, ListenerOptions, Lost
from corosync_amf.engine import Done, Failed, Initialize, Message, Query, Request, Service
from corosync_amf.service import ServiceClient
from corosync_amf.wire import PROTOCOL, Ask, BadMessage, Events, Hello, Replies, Requests, Welcome, decode, encode, raw


class Say(Request, frozen=True):
    """Answered with Said."""

    data: bytes


class Refuse(Request, frozen=True):
    """Answered with Failed: `code` for the first `times` times that `key` is named, then Done."""

    key: str
    code: int
    times: int


class Burst(Request, frozen=True):
    """Answered with Done after `count` events of `size` bytes."""

    count: int
    size: int = 0


class Peek(Query, frozen=True):
    """Answered with Said at once."""

    data: bytes


class Said(Message, frozen=True):
    data: bytes


class Ticked(Message, frozen=True):
    number: int
    padding: bytes = b""


class Callback(IntFlag):
    TICK = 1
    SAY = 2
    ALL = 3


@dataclass(frozen=True, slots=True)
class SayOutcome:
    invocation: int
    data: bytes | None
    error: Exception | None


class EchoService(ServiceClient):
    service = Service.EVT
    versions = ("B.01.01", "B.02.03")
    callback = Callback
    event_type = Ticked


@dataclass
class EchoExecutive:
    """`hold`: requests are answered only by `release`. What came in stands in `frames`, who left in `lost`."""

    path: Path
    listener: Listener = field(init=False)
    frames: list[Hello | Requests | Ask] = field(default_factory=list)
    lost: list[tuple[int, str]] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)
    hold: bool = False
    held: list[tuple[int, int, Request]] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)

    @property
    def bundles(self) -> list[int]:
        """The number of requests in each frame of them."""
        return [frame.count for frame in self.frames if isinstance(frame, Requests)]

    def take(self, arrivals: list[Arrival]) -> None:
        for client, frame, pid in arrivals:
            self.pids.add(pid)
            match frame:
                case Lost(reason):
                    self.lost.append((client, reason))
                    continue
                case Hello():
                    self.listener.send(client, [encode(Welcome(PROTOCOL, 3, "node-3", client))])
                case Ask() | Requests():
                    try:
                        self._asked(client, frame)
                    except BadMessage as error:
                        self.listener.close_client(client, str(error))
            self.frames.append(frame)

    def _asked(self, client: int, frame: Ask | Requests) -> None:
        if isinstance(frame, Ask):
            query = decode(frame.query, Peek | Initialize)
            answer = Done() if isinstance(query, Initialize) else Said(query.data)
            self.listener.send(client, [encode(Replies([(frame.request, raw(answer))]))])
            return
        requests = decode(frame.bundle, list[Say | Refuse | Burst])
        self.held += [(client, number, request) for number, request in enumerate(requests, frame.first)]
        if not self.hold:
            self.release(service=frame.service)

    def release(self, count: int | None = None, service: int = Service.EVT) -> None:
        """Answer the oldest `count` requests, all by default."""
        end = len(self.held) if count is None else count
        released, self.held = self.held[:end], self.held[end:]
        replies: dict[int, list[tuple[int, Message]]] = {}
        for client, number, request in released:
            replies.setdefault(client, []).append((number, self._answer(client, service, request)))
        for client, items in replies.items():
            frame = Replies([(number, raw(message)) for number, message in items])
            self.listener.send(client, [encode(frame)])

    def _answer(self, client: int, service: int, request: Request) -> Message:
        match request:
            case Say(data):
                return Said(data)
            case Refuse(key, code, times):
                seen = self.refused[key] = self.refused.get(key, 0) + 1
                return Failed(code, "not yet") if seen <= times else Done()
            case Burst(count, size):
                padding = bytes(size)
                self.tick(client, range(count), padding, service)
                return Done()
            case _:
                raise AssertionError(request)

    def tick(self, client: int, numbers: range, padding: bytes = b"", service: int = Service.EVT) -> None:
        """Send events, a hundred in a frame."""
        for start in range(0, len(numbers), 100):
            items = [(service, raw(Ticked(number, padding))) for number in numbers[start : start + 100]]
            self.listener.send(client, [encode(Events(items))])


@asynccontextmanager
async def echo_executive(folder: Path, options: ListenerOptions | None = None) -> AsyncIterator[EchoExecutive]:
    """The executive listens in `folder` until the block is left."""
    executive = EchoExecutive(folder / "aisexec.sock")
    async with open_driver() as driver:
        executive.listener = Listener(driver, executive.path, executive.take, options)
        executive.listener.open()
        try:
            yield executive
        finally:
            executive.listener.close()
