"""Bytes between a client and its executive: encoding, and the frames of one connection.

The connection is a SEQPACKET Unix socket. A message longer than one datagram travels in pieces; each piece starts
with one octet, MORE or LAST. Requests travel in bundles: the executive routes a bundle by its head (service, count)
and never opens it on its way to the total order; every node decodes it after delivery.

    client      Hello, then Requests and Ask in any order
    executive   Welcome (or Refused), then Replies and Events in any order
"""

from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from corosync_amf.engine import Message

PROTOCOL: Final = 1
"""The version of everything that crosses a process border; another one is refused."""
PIECE_BYTES_MAX: Final = 120_000
MESSAGE_BYTES_MAX: Final = 17 * 1024 * 1024
REQUESTS_IN_FLIGHT_MAX: Final = 256
BUNDLE_COUNT_MAX: Final = 1024

_MORE, _LAST = b"\x01", b"\x00"
WHOLE: Final = _LAST
"""What stands before a frame that travels in one piece."""

T = TypeVar("T")


class BadMessage(ValueError):
    """Bytes that are no message of the expected type."""


class Frame(msgspec.Struct, frozen=True, tag=True, array_like=True, forbid_unknown_fields=True):
    """What one connection carries."""


class Hello(Frame, frozen=True, tag=0):
    """The first frame of a client. `component` is the DN it was started for, if AMF started it."""

    protocol: int
    pid: int
    component: str | None = None


class Requests(Frame, frozen=True, tag=1):
    """`count` requests of one service, numbered from `first`; `bundle` is the encoded list of them."""

    service: int
    first: int
    count: int
    bundle: bytes


class Ask(Frame, frozen=True, tag=2):
    """One query, to be answered from the local replica."""

    service: int
    request: int
    query: bytes


class Welcome(Frame, frozen=True, tag=3):
    """The executive's answer to Hello. `client` is the connection's number on this node."""

    protocol: int
    node_id: int
    node_name: str
    client: int


class Refused(Frame, frozen=True, tag=4):
    """The executive ends the connection; `reason` says why."""

    reason: str


class Replies(Frame, frozen=True, tag=5):
    """Answers, each with the number of its request."""

    items: list[tuple[int, msgspec.Raw]]


class Events(Frame, frozen=True, tag=6):
    """What services tell the client unasked, each with its service."""

    items: list[tuple[int, msgspec.Raw]]


FromClient = Hello | Requests | Ask
FromExecutive = Welcome | Refused | Replies | Events


def _plain(value: object) -> object:
    """What goes over the wire for a value of a class that an application derived from text, bytes or a number."""
    match value:
        case str():
            return str.__str__(value)
        case bytes():
            return bytes(memoryview(value))
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case _:
            raise TypeError(f"a {type(value).__qualname__} cannot be sent")


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)


@cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def encode(message: Any) -> bytes:
    """The bytes of a message, a frame, or a list of them."""
    return _encoder.encode(message)


def raw(message: Message) -> msgspec.Raw:
    """An encoded message, to be put into a frame."""
    return msgspec.Raw(_encoder.encode(message))


def decode(data: bytes | memoryview | msgspec.Raw, kind: Any) -> Any:
    """The value of type `kind` (a struct, a union of structs, `list[...]` of them) that `data` holds.

    Raises: BadMessage: it holds something else.
    """
    try:
        return _decoder(kind).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError, RecursionError) as error:
        raise BadMessage(str(error)) from None


def pieces(data: bytes) -> list[bytes]:
    """Cut an encoded frame into datagrams.

    Raises: ValueError: longer than MESSAGE_BYTES_MAX.
    """
    if len(data) < PIECE_BYTES_MAX:
        return [_LAST + data]
    if len(data) > MESSAGE_BYTES_MAX:
        raise ValueError(f"a message of {len(data)} bytes is over the limit of {MESSAGE_BYTES_MAX}")
    starts = range(0, len(data), PIECE_BYTES_MAX)
    parts = [data[start : start + PIECE_BYTES_MAX] for start in starts]
    return [_MORE + part for part in parts[:-1]] + [_LAST + parts[-1]]


class Assembly:
    """Puts the pieces of one connection together again."""

    __slots__ = ("_held", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._held = 0

    def feed(self, piece: bytes | memoryview) -> bytes | None:
        """Take one datagram; return the frame it completes.

        Raises: BadMessage: no piece, or the frame grows over MESSAGE_BYTES_MAX.
        """
        mark, body = bytes(piece[:1]), bytes(piece[1:])
        if mark == _LAST and not self._parts:
            return body
        if mark not in (_LAST, _MORE):
            raise BadMessage("not a piece of a frame")
        if mark == _MORE and len(body) != PIECE_BYTES_MAX:
            raise BadMessage("a piece that is not full, and not the last")  # many small ones cost more than they hold
        self._held += len(body)
        if self._held > MESSAGE_BYTES_MAX:
            raise BadMessage(f"a frame over {MESSAGE_BYTES_MAX} bytes")
        self._parts.append(body)
        if mark == _MORE:
            return None
        frame = b"".join(self._parts)
        self._parts, self._held = [], 0
        return frame


def replies_frame(items: list[tuple[int, Message]]) -> bytes:
    """An encoded `Replies`, without encoding each message by itself."""
    return _encoder.encode((5, items))


def events_frame(items: list[tuple[int, Message]]) -> bytes:
    """An encoded `Events`, without encoding each message by itself."""
    return _encoder.encode((6, items))
