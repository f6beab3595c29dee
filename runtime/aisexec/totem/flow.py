"""How much one visit of the token may carry, so that no member's socket overflows and every member gets its share."""

from dataclasses import dataclass


def charge_bytes(datagram_bytes: int) -> int:
    """What a datagram takes of a socket's receive buffer, as the kernel counts it (somewhat more than its size)."""
    return datagram_bytes + datagram_bytes // 8 + 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """`window_*`: what one rotation may carry, over all members; `visit_packets`: one visit; `packet_bytes`: the
    charge of the largest packet; `members`: how many share the window."""

    window_bytes: int
    window_packets: int
    visit_packets: int
    packet_bytes: int
    members: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Charged bytes and packets that were sent, or may be."""

    charged_bytes: float = 0
    packets: float = 0

    def __sub__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.charged_bytes - other.charged_bytes, self.packets - other.packets)


NOTHING = Traffic()


def credit(limits: Limits, backlog: int, others_backlog: int, saved: Traffic) -> Traffic:
    """This member's fair share of a rotation and what it `saved` of former ones.

    Alone with a backlog it may use all of the window. Else three quarters are shared by backlog and one quarter evenly,
    so that a single message does not wait behind others' heaps. A share too small for a packet is saved until it is
    enough; no more than that is. The shares leave one packet of the window free: where whole packets have to fit,
    somebody could otherwise find no room for ever.
    """
    if not backlog:
        return NOTHING
    share_bytes, share_packets = float(limits.window_bytes), float(limits.window_packets)
    if others_backlog > 0:
        part = 0.75 * backlog / (backlog + others_backlog) + 0.25 / limits.members
        share_bytes = max(share_bytes - limits.packet_bytes, share_bytes / 4) * part
        share_packets = max(share_packets - 1, 0.5) * part
    return Traffic(
        share_bytes + min(max(saved.charged_bytes, 0), limits.packet_bytes),
        share_packets + min(max(saved.packets, 0), 1),
    )


def allowance(limits: Limits, others_sent: Traffic, own_credit: Traffic) -> Traffic:
    """What this visit may send: the credit, as far as the others left room in the window in the last rotation. One
    packet larger than the window may go when the others sent nothing.

    Source: Totem single-ring protocol, flow control: fcc and backlog.
    """
    room = limits.window_bytes - others_sent.charged_bytes
    if not others_sent.packets:
        room = max(room, limits.packet_bytes)
    packets = min(limits.window_packets - others_sent.packets, own_credit.packets, limits.visit_packets)
    return Traffic(max(min(room, own_credit.charged_bytes), 0), max(packets, 0))
