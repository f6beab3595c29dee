"""What the executives multicast to one another, above the ring."""

from typing import Any

import msgspec

from corosync_amf.engine import Request
from corosync_amf.wire import decode, encode

from .sync import Chunk, Hello


class Bundle(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="bundle"):
    """Requests of one client (0: the executive itself) to one service, numbered from `first`.

    `data` is the encoded list of them, as the client made it; what is decoded looks into the payload instead of copying
    it. `time` is the wall clock of the client's node.
    """

    service: int
    client: int
    first: int
    count: int
    time: float
    data: memoryview


class Gone(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="gone"):
    """A client of the sender's node has closed its session or died."""

    client: int
    time: float


class Rung(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="rung"):
    """A replicated timer is due. Every member knows its message; a replaced timer has another generation."""

    service: int
    key: str
    generation: int
    time: float


class Return(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="return"):
    """The sender has taken over the state that stands, since the cut in the ring `serial`; what it brings along.

    `data` is the encoded remnant of one service (0: there is none); parts are numbered from 0 to the `last`.
    """

    serial: int
    part: int
    last: bool
    time: float
    service: int
    data: bytes


Payload = Bundle | Gone | Rung | Return | Hello | Chunk


def bundle_of(service: int, requests: list[Request], time: float) -> bytes:
    """The executive's own requests, encoded for the order."""
    return encode(Bundle(service, 0, 0, len(requests), time, memoryview(encode(requests))))


def is_of_client(value: Payload) -> bool:
    """Whether a client stands behind it, and not the executive itself."""
    return isinstance(value, Gone) or (isinstance(value, Bundle) and value.client != 0)


def read(payload: bytes) -> Any:
    """The payload's value. Raises: BadMessage."""
    return decode(payload, Payload)
