"""The registers of `ckpt` in a persistent checkpoint, on nodes of which not all have a disk.

What must hold is the same, also when all nodes have lost power and start again: what was acknowledged is on the disks.
The disks take their time, so that a node may lose power with less on its own than others have.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from aisexec.node import NodeEvent, Report
from aisexec.simulation.workloads.ckpt import ATTRIBUTES, FLAGS, HANDLE, NAME, CkptWorkload
from corosync_amf.ais import NodeId
from corosync_amf.engine import Engine, Message, Service
from corosync_amf.services.ckpt import messages as m
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.ckpt.entries import JournalEntry
from corosync_amf.services.ckpt.shelf import Shelf
from corosync_amf.services.ckpt.values import OpenFlags

KEPT: Final = msgspec.structs.replace(ATTRIBUTES, persistent=True)
SLOW: Final = 0.3
"""How often a disk is not done before something else happens on its node."""


class JournaledCkptWorkload(CkptWorkload):
    """See the module, `Driving` and `Keeping`."""

    def __init__(self, nodes: Sequence[NodeId], rng: random.Random) -> None:
        super().__init__(nodes, rng)
        self.keepers = frozenset(nodes if rng.random() < 0.5 else nodes[: len(nodes) // 2 + 1])
        self.engine_on: Callable[[NodeId], Engine] = _no_world
        self.disks: Mapping[NodeId, list[JournalEntry]] = {node: [] for node in nodes}
        self._commands: Mapping[NodeId, list[m.WriteJournal | m.RewriteJournal]] = {node: [] for node in nodes}

    def opening(self, node: NodeId) -> m.Open:
        """See `CkptWorkload`. Only where there is a disk it can be made."""
        if node in self.keepers:
            return m.Open(HANDLE, NAME, FLAGS, KEPT, m.Tracking.IDS)
        return m.Open(HANDLE, NAME, FLAGS & ~int(OpenFlags.CREATE), None, m.Tracking.IDS)

    def work(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        return [*self._stored(node), *super().work(node, now)]

    def finish(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        return [*self._stored(node), *super().finish(node, now)]

    def command(self, node: NodeId, command: Message, now: float) -> list[NodeEvent]:
        """See `Driving`."""
        commands = self._commands[node]
        match command:
            case m.BringJournal(asked):
                commands.clear()  # of a former life
                shelf = Shelf()
                for entry in self.disks[node]:
                    shelf.add(entry)
                return [Report(Service.CKPT, [request]) for request in shelf.requests(asked)]
            case m.RewriteJournal():
                commands[:] = [command]
            case m.WriteJournal():
                commands.append(command)
            case _:
                raise AssertionError(command)
        return [] if self._rng.random() < SLOW else self._stored(node)

    def _stored(self, node: NodeId) -> list[NodeEvent]:
        """The disk of a node has done what it was told."""
        commands, disk = self._commands[node], self.disks[node]
        if not commands:
            return []
        for command in commands:
            if isinstance(command, m.WriteJournal):
                disk += command.entries
            else:
                engine = self.engine_on(node)
                assert isinstance(engine, CkptEngine)
                disk[:] = engine.contents()
        order = commands[-1].order
        commands.clear()
        return [Report(Service.CKPT, [m.Stored(order)])]


def _no_world(node: NodeId) -> Engine:
    raise KeyError(node)
