"""The ring's lengths of time, in seconds, and how they depend on the token timeout."""

from dataclasses import dataclass

RETRANSMITS_BEFORE_LOSS = 4


@dataclass(frozen=True, slots=True)
class Timeouts:
    """All lengths in seconds. `from_token` derives what configuration leaves open.

    token               without a token for this long the ring is broken
    token_retransmit    without a sign that the successor has the token it is sent again
    hold                how long the representative keeps the token of an idle ring
    join                between join messages while a membership is being agreed
    consensus           longest wait for agreement; agreement of all reachable nodes ends it at once
    merge               between the representative's probes for other partitions
    token_warning       a token this late is logged; 0 is never

    Raises: ValueError when the lengths contradict one another.

    Source: corosync.conf(5), section totem.
    """

    token: float = 1.0
    token_retransmit: float = 0.238
    hold: float = 0.180
    join: float = 0.050
    consensus: float = 1.2
    merge: float = 0.200
    token_warning: float = 0.75

    def __post_init__(self) -> None:
        for problem, found in (
            ("token must be at least 0.05 s", self.token < 0.05),
            ("token_retransmit must be above 0 and below token", not 0 < self.token_retransmit < self.token),
            ("hold must be above 0 and below token_retransmit", not 0 < self.hold < self.token_retransmit),
            ("join must be above 0 and below consensus", not 0 < self.join < self.consensus),
            ("consensus must not be below token", self.consensus < self.token),
            ("merge must be above 0", self.merge <= 0),
            ("token_warning must not be negative nor above token", not 0 <= self.token_warning <= self.token),
        ):
            if found:
                raise ValueError(problem)

    @classmethod
    def from_token(cls, token: float, *, retransmits_before_loss: int = RETRANSMITS_BEFORE_LOSS) -> "Timeouts":
        """The defaults for a token timeout of `token` seconds."""
        token_retransmit = token / (retransmits_before_loss + 0.2)
        return cls(
            token=token,
            token_retransmit=token_retransmit,
            hold=max(0.8 * token_retransmit - 0.010, 0.4 * token_retransmit),
            join=min(0.050, token / 10),
            consensus=1.2 * token,
            token_warning=0.75 * token,
        )

    @property
    def quiet(self) -> float:
        """Without a token for this long all members are probed."""
        return self.token / 4

    @property
    def probe(self) -> float:
        """Between probes."""
        return self.token / 8

    @property
    def silence(self) -> float:
        """A node that answered nothing for this long, while it was being asked, is taken for lost."""
        return 0.7 * self.token
