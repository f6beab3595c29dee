"""Which RTP ports a call gets."""

from collections.abc import Container

from telephony.ids import Ids


def allocate(ids: Ids, call: str, first: int, last: int, used: Container[int]) -> tuple[int, int] | None:
    """Two neighbouring ports for a call, the lower one even; None if all are taken.

    A function of the call's name and of what other calls hold, so nothing but the calls need be remembered.
    """
    pairs = (last + 1 - first) // 2
    start = ids.number(call, "ports", pairs) if pairs > 0 else 0
    for step in range(pairs):
        port = first + 2 * ((start + step) % pairs)
        if port not in used and port + 1 not in used:
            return port, port + 1
    return None
