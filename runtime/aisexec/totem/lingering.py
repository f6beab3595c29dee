"""Whether a member keeps the token of a quiet ring for a moment, because a client of its own may ask again. Pure.

Whoever asks one thing after the other sends the next request as soon as the last one is answered. If the token has gone
by then it costs a whole rotation: of time for him, of work for all. So a member that has just answered a client waits
a little - but only if that paid off the last time: what clients are like is found out without holding the token.
"""

from typing import Final

LINGER_SECONDS: Final = 0.0005
"""How long a client takes at most to ask again, on a machine that is not overloaded."""
ANSWER_SECONDS: Final = 0.002
"""How long the other members take at most to acknowledge what was sent."""
KEEP_SECONDS: Final = 0.005
"""So long a token that has come stays at most."""


class Lingering:
    """`answered` and `asked` tell what happens between the clients and this member."""

    __slots__ = ("_came", "_pays", "_until")

    def __init__(self) -> None:
        self._came = 0.0
        self._until = 0.0
        self._pays = False

    def came(self, now: float) -> None:
        """The token is here."""
        self._came = now

    def answered(self, now: float) -> None:
        """A client was told what it waited for."""
        if self._until:
            self._pays = False  # nobody asked after the last answer
        self._until = now + LINGER_SECONDS

    def asked(self, now: float) -> None:
        """Something is to be multicast here."""
        if self._until:
            self._pays = now <= self._until
            self._until = 0.0

    def until(self, now: float) -> float | None:
        """How long to keep the token; None: not at all."""
        return self._limited(self._until) if self._pays and now < self._until else None

    def until_answered(self, now: float) -> float | None:
        """How long to keep the token though something is sent now, of which the client waits to hear; None: not at
        all."""
        return self._limited(now + ANSWER_SECONDS) if self._pays and now < self._came + KEEP_SECONDS else None

    def _limited(self, until: float) -> float:
        return min(until, self._came + KEEP_SECONDS)
