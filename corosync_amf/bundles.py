"""Requests on their way out, packed: those of one service that follow one another travel in one frame. Pure."""

import msgspec

from corosync_amf.wire import Ask, Requests, encode

BUNDLE_BYTES_MAX = 48 * 1024
BUNDLE_COUNT = 128


class Bundles:
    """`put` and `ask` number what they take; `empty` hands out the frames, in order."""

    __slots__ = ("_bundle", "_bytes", "_frames", "_next_ask", "_next_request", "_service")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._bundle: list[msgspec.Raw] = []
        self._bytes = 0
        self._service = 0
        self._next_request = 1
        self._next_ask = -1  # a row of its own, so that bundles stay numbered without gaps

    def put(self, service: int, encoded: msgspec.Raw) -> int:
        """Take a request; return its number, 1 or more."""
        size = len(encoded)
        if self._bundle and (
            service != self._service or len(self._bundle) >= BUNDLE_COUNT or self._bytes + size > BUNDLE_BYTES_MAX
        ):
            self._close_bundle()
        self._bundle.append(encoded)
        self._bytes += size
        self._service = service
        number = self._next_request
        self._next_request += 1
        return number

    def ask(self, service: int, encoded: msgspec.Raw) -> int:
        """Take a query; return its number, -1 or less."""
        number = self._next_ask
        self._next_ask -= 1
        self._frames.append(encode(Ask(service, number, bytes(encoded))))
        return number

    def empty(self) -> list[bytes]:
        """Hand out the frames and start anew."""
        if self._bundle:
            self._close_bundle()
        frames, self._frames = self._frames, []
        return frames

    def _close_bundle(self) -> None:
        count = len(self._bundle)
        self._frames.append(encode(Requests(self._service, self._next_request - count, count, encode(self._bundle))))
        self._bundle = []
        self._bytes = 0
