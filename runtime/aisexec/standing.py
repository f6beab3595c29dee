"""Whose requests are served: not those of nodes that CLM has locked, and no handles from before a lock. Pure.

Whether a node is a member is replicated, so every replica refuses the same requests. Which of its clients held
something when it was locked only the node itself knows: they are *stale*, per service, until they begin anew.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import Engine, Failed, Roster, Service

UNAVAILABLE: Final = Failed(ErrorCode.UNAVAILABLE, "the node is not a member of the cluster")
STALE: Final = Failed(ErrorCode.UNAVAILABLE, "the node was locked meanwhile: finalize and initialize again")
EVERYWHERE: Final = frozenset({Service.AMF})
"""Served on locked nodes, too: the components there go on living, without assignments."""
REFUSES_ITSELF: Final = frozenset({Service.CLM})


class Standing:
    """See the module. Without an engine that knows better every node is a member."""

    def __init__(self, local: NodeId, engines: Iterable[Engine]) -> None:
        self._local = local
        self._roster = next((engine for engine in engines if isinstance(engine, Roster)), None)
        self._was_member = False
        self._stale: set[tuple[int, int]] = set()

    def is_member(self, node: NodeId) -> bool:
        return self._roster is None or self._roster.is_member(node)

    def refuses(self, service: int, node: NodeId) -> bool:
        """Whether requests of clients on `node` are not applied, but for exempt ones: the same on every replica."""
        return not (service in EVERYWHERE or service in REFUSES_ITSELF or self.is_member(node))

    def look(self, clients: Iterable[int], services: Sequence[int]) -> None:
        """Something was applied that may have locked this node: then all that its clients hold is stale."""
        is_member = self.is_member(self._local)
        if self._was_member and not is_member:
            affected = [service for service in services if service not in EVERYWHERE]
            self._stale.update((client, service) for client in clients for service in affected)
        self._was_member = is_member

    # ---- clients of this node

    def begins(self, client: int, service: int) -> Failed | None:
        """A service object begins; what it gets instead of Done."""
        if service not in EVERYWHERE and not self.is_member(self._local):
            return UNAVAILABLE
        self._stale.discard((client, service))
        return None

    def is_stale(self, client: int, service: int) -> bool:
        return bool(self._stale) and (client, service) in self._stale

    def refuses_query(self, client: int, service: int) -> Failed | None:
        """What a query gets instead of an answer."""
        if self.is_stale(client, service):
            return STALE
        if service in EVERYWHERE or service in REFUSES_ITSELF or self.is_member(self._local):
            return None
        return UNAVAILABLE

    def forget(self, client: int) -> None:
        """The client is gone."""
        if self._stale:
            self._stale = {entry for entry in self._stale if entry[0] != client}
