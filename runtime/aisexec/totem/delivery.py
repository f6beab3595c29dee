"""Frames in order become what is handed up."""

from aisexec.groups import Delivered, Safe
from aisexec.totem.events import Counters
from aisexec.totem.fragments import Assembler


class Delivery:
    """What one node hands up of the order, in one configuration after the other."""

    __slots__ = ("_assembler", "_counters", "_safe_told")

    def __init__(self, counters: Counters) -> None:
        self._assembler = Assembler()
        self._counters = counters
        self._safe_told = 0

    def begin(self) -> None:
        """A regular configuration begins: counts start at 0, unfinished payloads are forgotten."""
        self._assembler.clear()
        self._safe_told = 0

    def deliver(self, frames: list[bytes]) -> list[Delivered]:
        """The payloads of the next frames, in at most one batch."""
        messages = self._assembler.add(frames)
        if not messages:
            return []
        self._counters.payloads_delivered += len(messages)
        return [Delivered(messages)]

    def tell_safe(self, seq: int) -> list[Safe]:
        """How many payloads are safe when the frames up to `seq` are, if that is news."""
        count = self._assembler.count_up_to(seq)
        if count is None or count <= self._safe_told:
            return []
        self._safe_told = count
        return [Safe(count)]
