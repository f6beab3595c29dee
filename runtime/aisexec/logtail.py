"""The end of what was written: in memory, so that whoever follows a stream costs no disk. Pure."""

from typing import Final

from corosync_amf.services.log.values import TAIL_BYTES_MAX

SLACK_BYTES: Final = TAIL_BYTES_MAX
"""How much more may be kept before the oldest is dropped."""


class Recent:
    """The last 64 KiB or more that were written to a file; `end` counts all that ever was."""

    __slots__ = ("_kept", "end")

    def __init__(self) -> None:
        self.end = 0
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        """Take note of whole lines."""
        self.end += len(data)
        self._kept += data
        if len(self._kept) > TAIL_BYTES_MAX + SLACK_BYTES:
            del self._kept[: len(self._kept) - TAIL_BYTES_MAX]

    def since(self, position: int) -> tuple[bytes, bool]:
        """What was written after a position, at most 64 KiB; and whether something is missing before it."""
        start = self.end - len(self._kept)
        if not start <= position <= self.end:
            return last_lines(bytes(self._kept), TAIL_BYTES_MAX), position != self.end
        text = bytes(self._kept[position - start :])
        return (text, False) if len(text) <= TAIL_BYTES_MAX else (last_lines(text, TAIL_BYTES_MAX), True)


def last_lines(text: bytes, count: int) -> bytes:
    """The last `count` lines of at most 64 KiB, whole ones that are not blank."""
    is_whole = len(text) < TAIL_BYTES_MAX
    lines = text[-TAIL_BYTES_MAX:].split(b"\n")[:-1]
    kept = [line for line in (lines if is_whole else lines[1:]) if line.strip()]
    chosen = kept[-count:] if count > 0 else []
    return b"".join(line + b"\n" for line in chosen)
