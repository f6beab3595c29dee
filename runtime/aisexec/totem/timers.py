"""The deadlines of a ring."""

from enum import Enum


class Timer(Enum):
    __hash__ = object.__hash__  # Enum's own is a Python function, called several times with each token

    TOKEN = "the token is lost"
    RESEND = "the token or the commit token is sent again"
    HOLD = "the held token is passed on"
    JOIN = "the join message is sent again"
    SETTLE = "a node that starts no longer waits for others"
    CONSENSUS = "agreement is no longer waited for"
    MERGE = "the ring shows itself to others"
    PROBE = "all are asked whether they are there"
    GOODBYE = "what is queued is no longer waited for"


class Timers:
    """Deadlines by name. Each fires once, when `due` gives it."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: dict[Timer, float] = {}

    def set(self, timer: Timer, at: float) -> None:
        self._at[timer] = at

    def stop(self, timer: Timer) -> None:
        self._at.pop(timer, None)

    def clear(self) -> None:
        """Stop all, but for the goodbye: a node that leaves leaves in every state."""
        goodbye = self._at.get(Timer.GOODBYE)
        self._at.clear()
        if goodbye is not None:
            self._at[Timer.GOODBYE] = goodbye

    def next_deadline(self) -> float | None:
        return min(self._at.values(), default=None)

    def due(self, now: float) -> Timer | None:
        """The timer whose deadline passed first; it is stopped."""
        if not self._at:
            return None
        timer = min(self._at, key=self._at.__getitem__)
        if self._at[timer] > now:
            return None
        del self._at[timer]
        return timer
