"""Whether a request would wait for itself: the wait-for graph over sessions, searched from the end that is short.

A request waits for whoever holds a lock that excludes it, and for whoever asked before it for such a lock; but behind a
request of its own session, which is not granted yet, it may wait: a program that asks for both does not wait for one
before the other. Only a new request adds to the graph, so a cycle can only be closed by one; usually nobody waits for
who makes it, and there is nothing to search.
"""

from collections import deque
from collections.abc import Iterator, Mapping

from corosync_amf.engine import Client

from .store import Claim, Owner
from .values import CycleEntry


def cycle_of(request: Claim, owners: Mapping[Client, Owner]) -> tuple[CycleEntry, ...]:
    """The cycle that `request`, at the end of its queue, would close; none: empty.

    It begins with the request. Each entry waits for a lock of the next one's session, the last for the first's.
    """
    session = request.client
    blocking = {claim.client for claim in request.resource.held if claim.excludes(request.mode)}
    if session in blocking:
        return (_entry(request),)
    blocking.update(claim.client for claim in request.resource.waiting if claim.excludes(request.mode))
    waits: dict[Client, tuple[Claim, Client]] = {}
    to_visit = deque([session])
    while to_visit:
        waited_for = to_visit.popleft()
        for claim in _waiting_for(waited_for, owners[waited_for]):
            if claim.client == session or claim.client in waits:
                continue
            waits[claim.client] = (claim, waited_for)
            if claim.client in blocking:
                return (_entry(request), *_path(claim.client, session, waits))
            to_visit.append(claim.client)
    return ()


def _waiting_for(session: Client, owner: Owner) -> Iterator[Claim]:
    """Requests of others that cannot be granted before the session gives something up."""
    for resource in owner.resources():
        if not resource.waiting:
            continue
        own = [claim for claim in resource.held if claim.client == session][:1]  # all in one mode
        for claim in resource.waiting:
            if claim.client == session:
                own.append(claim)
            elif any(each.excludes(claim.mode) for each in own):
                yield claim


def _path(start: Client, end: Client, waits: Mapping[Client, tuple[Claim, Client]]) -> Iterator[CycleEntry]:
    session = start
    while session != end:
        claim, session = waits[session]
        yield _entry(claim)


def _entry(claim: Claim) -> CycleEntry:
    return (claim.client.node, claim.resource.name, claim.lock)
