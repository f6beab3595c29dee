"""Rings on a network without faults, for tests that tell a story."""

from collections.abc import Callable
from typing import Any

from aisexec.groups import Configuration, ConfigurationKind, Delivered, Safe
from aisexec.simulation.network import Network, PacketOptions
from aisexec.totem.events import Leave, Log, MulticastMany, RingOptions, RingState
from aisexec.totem.ring import Ring
from aisexec.totem.seal import AesSeal, Seal

KEY = bytes(range(128))


class Net:
    """`handed[node]` is what a node handed up, logs apart; `logs[node]` their texts."""

    def __init__(self, nodes: int = 3, *, start: bool = True, packets: PacketOptions | None = None, **options: Any):
        self.network = Network(1, packets or PacketOptions(), self._observe)
        self.rings: dict[int, Ring] = {}
        self.handed: dict[int, list[Any]] = {}
        self.logs: dict[int, list[str]] = {}
        self.options = options
        self.configured_at: dict[int, float] = {}
        if start:
            for node in range(1, nodes + 1):
                self.boot(node)
            assert self.until(lambda: self.together(*range(1, nodes + 1)))

    def boot(self, node: int, *, seal: Seal | None = None, **options: Any) -> Ring:
        incarnation = 1 + int(self.network.now * 1e6)
        merged = RingOptions(node, incarnation, **{**self.options, **options})
        self.rings[node] = Ring(merged, seal or AesSeal(KEY, "test", node, incarnation), self.network.now)
        self.handed[node] = []
        self.logs[node] = []
        self.network.boot(node, self.rings[node])
        return self.rings[node]

    def crash(self, node: int) -> None:
        self.network.crash(node)
        del self.rings[node]

    def multicast(self, node: int, *payloads: bytes, prompt: bool = False) -> None:
        self.network.handle(node, MulticastMany(list(payloads), prompt))

    def leave(self, node: int) -> None:
        self.network.handle(node, Leave())

    def run(self, seconds: float) -> None:
        self.network.run_until(self.network.now + seconds)

    def until(self, done: Callable[[], bool], seconds: float = 20.0) -> bool:
        end = self.network.now + seconds
        while not done() and self.network.now < end:
            self.run(0.001)
        return done()

    def together(self, *nodes: int) -> bool:
        rings = [self.rings[node] for node in nodes]
        return all(
            ring.state is RingState.OPERATIONAL and ring.members == nodes and ring.ring_id == rings[0].ring_id
            for ring in rings
        )

    def delivered(self, node: int) -> list[tuple[int, bytes]]:
        """Since the last regular configuration."""
        found: list[tuple[int, bytes]] = []
        for effect in self.handed[node]:
            if isinstance(effect, Delivered):
                found += effect.messages
            elif isinstance(effect, Configuration) and effect.kind is ConfigurationKind.REGULAR:
                found = []
        return found

    def safe(self, node: int) -> int:
        """The last count told to be safe in the present configuration."""
        count = 0
        for effect in self.handed[node]:
            if isinstance(effect, Safe):
                count = effect.count
            elif isinstance(effect, Configuration) and effect.kind is ConfigurationKind.REGULAR:
                count = 0
        return count

    def configurations(self, node: int) -> list[tuple[ConfigurationKind, tuple[int, ...]]]:
        return [(e.kind, e.members) for e in self.handed[node] if isinstance(e, Configuration)]

    def _observe(self, node: int, effect: Any) -> None:
        if isinstance(effect, Log):
            self.logs[node].append(effect.text)
            return
        self.handed[node].append(effect)
        if isinstance(effect, Configuration):
            self.configured_at[node] = self.network.now
