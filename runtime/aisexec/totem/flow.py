"""How much one visit of the token may carry, so that no member's socket overflows and every member gets its share."""

from dataclasses import dataclass


def charge_bytes(datagram_bytes: int) -> int:
    """What a datagram takes of a socket's receive buffer, as the kernel counts it (somewhat more than its size)."""
    return datagram_bytes + datagram_bytes // 8 + 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """`window_*`: what one rotation may carry, over all members; `visit_packets`: one visit; `packet_bytes`: the
    charge of the largest packet."""

    window_bytes: int
    window_packets: int
    visit_packets: int
    packet_bytes: int


@dataclass(frozen=True, slots=True)
class Allowance:
    sent_bytes: int
    packets: int


def allowance(
    limits: Limits, others_sent_bytes: int, others_sent_packets: int, backlog: int, others_backlog: int
) -> Allowance:
    """What this visit may send: what the others left of the window in the last rotation, and no more than this
    member's share by its backlog; at least one packet when there is room, and always when the others sent nothing.

    Source: Totem single-ring protocol, flow control: fcc and backlog.
    """
    if not backlog:
        return Allowance(0, 0)
    everything = backlog + others_backlog
    share_bytes = max(limits.window_bytes * backlog // everything, limits.packet_bytes)
    share_packets = max(limits.window_packets * backlog // everything, 1)
    free_bytes = limits.window_bytes - others_sent_bytes
    if not others_sent_bytes:
        free_bytes = max(free_bytes, limits.packet_bytes)
    free_packets = limits.window_packets - others_sent_packets
    return Allowance(
        max(min(free_bytes, share_bytes), 0), max(min(free_packets, share_packets, limits.visit_packets), 0)
    )
