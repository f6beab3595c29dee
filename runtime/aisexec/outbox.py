"""What one step of a node wants done, gathered so that each client gets one frame per kind and step."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from corosync_amf.engine import Message, NodeFacts, Request
from corosync_amf.wire import MESSAGE_BYTES_MAX, events_frame, replies_frame


@dataclass(frozen=True, slots=True)
class Payloads:
    """Multicast these, in order. `prompt`: a client of one of them waits until every member has it."""

    payloads: list[bytes]
    prompt: bool = False


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send these encoded frames to a client of this node. `was_awaited`: it has waited for one of them until that was
    safe, and may ask the next thing at once."""

    client: int
    frames: list[bytes]
    was_awaited: bool = False


@dataclass(frozen=True, slots=True)
class CloseClient:
    """End a client's connection."""

    client: int
    reason: str


@dataclass(frozen=True, slots=True)
class Command:
    """Carry out a service's `Run` on this node."""

    service: int
    command: Message


@dataclass(frozen=True, slots=True)
class Local:
    """A client's question that this node's drivers answer, not a replica (`request` pairs the reply)."""

    service: int
    client: int
    request: int
    message: Message


@dataclass(frozen=True, slots=True)
class Logged:
    """A line for this node's log."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Fence:
    """Make sure that these nodes are off; answer with `Fenced`, naming the ring."""

    ring_seq: int
    nodes: tuple[NodeFacts, ...]


NodeEffect = Payloads | ToClient | CloseClient | Command | Local | Logged | Fence


class Outbox:
    """Collects; `empty` hands out and starts anew."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.prompt = False
        self.requests: list[tuple[int, Request]] = []
        self.effects: list[NodeEffect] = []
        self._items: dict[int, list[tuple[bool, int, Message]]] = {}
        self._awaited: set[int] = set()

    def reply(self, client: int, request: int, message: Message, *, was_awaited: bool = False) -> None:
        if was_awaited:
            self._awaited.add(client)
        self._items.setdefault(client, []).append((True, request, message))

    def event(self, client: int, service: int, message: Message, *, was_awaited: bool = False) -> None:
        if was_awaited:
            self._awaited.add(client)
        self._items.setdefault(client, []).append((False, service, message))

    def frame(self, client: int, frame: bytes) -> None:
        self.effects.append(ToClient(client, [frame]))

    def take_requests(self) -> list[tuple[int, Request]]:
        """What engines want this node to put into the order, each with its service."""
        requests, self.requests = self.requests, []
        return requests

    def empty(self) -> list[NodeEffect]:
        """The effects of this step."""
        effects: list[NodeEffect] = [Payloads(self.payloads, self.prompt)] if self.payloads else []
        effects += [ToClient(client, _frames(items), client in self._awaited) for client, items in self._items.items()]
        effects += self.effects
        self.payloads, self.prompt, self.effects, self._items, self._awaited = [], False, [], {}, set()
        return effects


def _frames(items: list[tuple[bool, int, Message]]) -> list[bytes]:
    """Replies and events in their order, neighbours of one kind in one frame."""
    frames: list[bytes] = []
    for is_reply, run in groupby(items, key=lambda item: item[0]):
        numbered = [(number, message) for _, number, message in run]
        frames += _fitting(replies_frame if is_reply else events_frame, numbered)
    return frames


def _fitting(frame: Callable[[list[tuple[int, Message]]], bytes], items: list[tuple[int, Message]]) -> list[bytes]:
    """One frame, or as many as it takes for none to be too long."""
    encoded = frame(items)
    if len(encoded) <= MESSAGE_BYTES_MAX or len(items) == 1:
        return [encoded]
    half = len(items) // 2
    return [*_fitting(frame, items[:half]), *_fitting(frame, items[half:])]
