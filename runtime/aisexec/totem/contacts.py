"""Who hears this node, and since when the ring is suspiciously quiet."""

from collections.abc import Iterable
from typing import Final

from aisexec.totem import packets
from aisexec.totem.events import Counters, Log, Send
from aisexec.totem.seal import Seal
from corosync_amf.ais import NodeId

_REFUSALS_MAX: Final = 4


class Contacts:
    """`known_heard`: a time at or after which each node is known to have heard this one. `asked_since`: since when
    members are probed because no token came; None while the token comes."""

    def __init__(self, local: NodeId, seal: Seal, counters: Counters, token: float, now: float) -> None:
        self._local = local
        self._seal = seal
        self._counters = counters
        self._token = token
        self.known_heard: dict[NodeId, float] = {}
        self.asked_since: float | None = None
        self._token_at = now
        self._warned = False
        self._suitors: set[NodeId] = set()
        self._refused: dict[NodeId, tuple[int, int, float]] = {}  # its incarnation, how often, until when

    def token_came(self, now: float) -> list[Log]:
        """The silence is over."""
        late, self._token_at, self.asked_since = now - self._token_at, now, None
        if not self._warned:
            return []
        self._warned = False
        return [Log("notice", f"The token came back after {late:.2f} s")]

    def heard_by(self, nodes: tuple[NodeId, ...], time: float) -> None:
        """All these have heard this node at or after `time`."""
        self.known_heard.update(dict.fromkeys(nodes, time))

    def quiet(self, now: float, warning: float) -> list[Log]:
        """No token: the members are being asked."""
        if self.asked_since is None:
            self.asked_since = now
        if not warning or self._warned or now - self._token_at < warning:
            return []
        self._warned = True
        return [Log("warning", f"No token for {now - self._token_at:.2f} s")]

    def probe(self, nodes: Iterable[NodeId], now: float) -> list[Send]:
        """Ask nodes whether they hear this one."""
        body = packets.pack_control(packets.Probe(now))
        probes = [Send(node, self._seal.seal(packets.PROBE, body)) for node in nodes if node != self._local]
        self._counters.probes += len(probes)
        return probes

    def court(self, node: NodeId, now: float) -> list[Send]:
        """A node of another ring was heard; its answer will show that it hears this one."""
        self._suitors.add(node)
        return self.probe([node], now)

    def answered(self, node: NodeId, asked_at: float, now: float, *, together: bool) -> bool:
        """A probe came back; True when it was to a node that is courted.

        `together`: the node has installed the same ring last. One that has gone on to another ring may have given this
        node up: that it hears it again does not renew anything.
        """
        if together and asked_at <= now:
            self.known_heard[node] = max(self.known_heard.get(node, asked_at), asked_at)
        courted = node in self._suitors
        self._suitors.discard(node)
        return courted

    def is_refused(self, node: NodeId, incarnation: int, now: float) -> bool:
        """Whether this life of the node is left alone at present."""
        former, _, until = self._refused.get(node, (incarnation, 0, now))
        return former == incarnation and now < until

    def settle(self, given_up: dict[NodeId, int], now: float) -> None:
        """A new ring was formed. `given_up`: nodes that are left out though they live, and their incarnations. Some
        member does not reach them, and to try again at once would stop the ring every time; so they are left alone
        for a while, and longer each time."""
        self._suitors.clear()
        for node, incarnation in given_up.items():
            former, count, until = self._refused.get(node, (incarnation, 0, now))
            if former != incarnation or now - until > self._token * 2 ** (_REFUSALS_MAX + 1):
                count = 0
            self._refused[node] = (incarnation, min(count + 1, _REFUSALS_MAX), now + self._token * 2**count)
