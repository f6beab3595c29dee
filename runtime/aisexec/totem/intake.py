"""The ring's door: opens datagrams, counts and reports what is refused, remembers who was heard when and from where."""

import math
from typing import Final

from aisexec.totem.events import Counters, Log, Source
from aisexec.totem.seal import Rejected, Seal
from corosync_amf.ais import NodeId

REPORT_EVERY: Final = 10.0
_REPORTED_MAX: Final = 1024

Packet = tuple[int, NodeId, int, bytes]  # kind, sender, its incarnation, body


class Intake:
    """`heard`, `sources` and `incarnations` speak of authenticated packets only."""

    def __init__(self, seal: Seal, local: NodeId, incarnation: int, counters: Counters) -> None:
        self._seal = seal
        self._local = local
        self._incarnation = incarnation
        self._counters = counters
        self._reported: dict[Source, float] = {}
        self.heard: dict[NodeId, float] = {}
        self.sources: dict[NodeId, Source] = {}
        self.incarnations: dict[NodeId, int] = {}

    def open(self, datagrams: list[tuple[bytes, Source]], now: float) -> tuple[list[Packet], list[Log]]:
        """The packets among the datagrams, and what to log about the others."""
        packets: list[Packet] = []
        logs: list[Log] = []
        heard, sources, local, open_ = self.heard, self.sources, self._local, self._seal.open
        self._counters.datagrams += len(datagrams)
        for datagram, source in datagrams:
            try:
                packet = open_(datagram)
            except Rejected as rejected:
                logs += self._refuse(rejected, source, now)
                continue
            sender = packet[1]
            if sender == local:
                logs += self._own(packet[2], source, now)
                continue
            heard[sender] = now
            sources[sender] = source
            self.incarnations[sender] = packet[2]
            packets.append(packet)
        return packets, logs

    def living(self, nodes: set[NodeId], since: float) -> dict[NodeId, int]:
        """Those of the nodes that were heard at or after `since`, with their incarnations."""
        return {node: self.incarnations[node] for node in sorted(nodes) if self.heard.get(node, -math.inf) >= since}

    def _refuse(self, rejected: Rejected, source: Source, now: float) -> list[Log]:
        counters, name = self._counters, f"dropped_{rejected.reason}"
        setattr(counters, name, getattr(counters, name) + 1)
        if rejected.reason in ("digest", "protocol"):
            return self.report(f"{rejected.text} from {source}", source, now)
        return []

    def _own(self, incarnation: int, source: Source, now: float) -> list[Log]:
        self._counters.dropped_own += 1
        if incarnation <= self._incarnation:  # looped back, or late from this node's former life
            return []
        return self.report(f"Node id {self._local} is also used at {source}", source, now)

    def report(self, text: str, source: Source, now: float) -> list[Log]:
        """A line about a source, at most one in `REPORT_EVERY` seconds."""
        last = self._reported.get(source)
        if last is not None and now - last < REPORT_EVERY:
            return []
        if last is None and len(self._reported) >= _REPORTED_MAX:
            del self._reported[next(iter(self._reported))]
        self._reported[source] = now
        return [Log("error", text)]
