"""Executives in one process, for tests of clients: real sockets, sessions, nodes and engines, but no network."""

import itertools
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.abc

from aisexec.drive import Driver, open_driver
from aisexec.groups import Happening
from aisexec.groups.local import LocalGroup, LocalNetwork
from aisexec.ipc import Arrival, Listener, Lost
from aisexec.node import ClientLost, FromClients, Happened, Node, NodeEvent, NodeOptions, Report
from aisexec.outbox import CloseClient, Command, Local, Logged, NodeEffect, Payloads, ToClient
from aisexec.quorum import QuorumOptions
from corosync_amf.engine import Engine, Message, NodeFacts, Request, Service

E = TypeVar("E")
WALL_TIME = 1_800_000_000.0


class LoopbackNode:
    """One node: its executive listens at `address`; what it logs stands in `lines`, its drivers' work in `commands`."""

    def __init__(
        self, number: int, group: LocalGroup, driver: Driver, address: Path, engines: list[Engine], votes: int
    ) -> None:
        facts = NodeFacts(number, f"node{number}", f"10.0.0.{number}", 1000.0 + number, 1)
        quorum = QuorumOptions(enabled=votes > 0, votes=dict.fromkeys(range(1, votes + 1), 1))
        self.address = str(address)
        self.lines: list[str] = []
        self.drivers: dict[int, Any] = {}
        """By service, what carries out its commands and answers what is the node's own, as in `daemon`."""
        self.commands: list[Message] = []
        self.engines = engines
        self.group = group
        self.node = Node(NodeOptions(facts, quorum, wall_offset=WALL_TIME), engines)
        self.driver = driver
        self.listener = Listener(driver, address, self._arrived)
        self._timer = driver.timer(lambda: self._perform(self.node.wake(driver.now())))
        self.is_alive = True

    def happened(self, happenings: list[Happening]) -> None:
        self._step(Happened(happenings, {}))

    def report(self, service: Service, requests: list[Request]) -> None:
        """A driver puts requests into the order."""
        self._step(Report(service, requests))

    def sees(self, count: int) -> bool:
        """Whether its membership has so many nodes."""
        return self.node.membership is not None and len(self.node.membership.members) == count

    def _arrived(self, arrivals: list[Arrival]) -> None:
        for client, frame, _ in arrivals:
            self._step(ClientLost(client) if isinstance(frame, Lost) else FromClients([(client, frame)]))

    def _step(self, event: NodeEvent) -> None:
        self._perform(self.node.handle(event, self.driver.now()))

    def _perform(self, effects: list[NodeEffect]) -> None:
        for effect in effects:
            match effect:
                case Payloads(payloads):
                    for payload in payloads:
                        self.group.multicast(payload)
                case ToClient(client, frames):
                    self.listener.send(client, frames)
                case CloseClient(client, reason):
                    self.listener.close_client(client, reason)
                case Logged(_, text):
                    self.lines.append(text)
                case Command(service, command):
                    self.commands.append(command)
                    if service in self.drivers:
                        self.drivers[service].run(command)
                case Local(service, client, request, message):
                    self.drivers[service].ask(client, request, message)
                case _:
                    raise AssertionError(effect)
        self._timer.set(self.node.next_deadline())


class Loopback:
    """A cluster of them. `die` and `partition` are what may happen to it."""

    def __init__(self, nodes: list[LoopbackNode], network: LocalNetwork) -> None:
        self.nodes = {node.node.local: node for node in nodes}
        self.network = network

    def die(self, number: int) -> None:
        """The node stops, and its clients lose their executive."""
        self.network.kill(number)
        self.nodes[number].listener.close()

    def engines(self, kind: type[E]) -> list[E]:
        """The engine of this kind on each node."""
        return [engine for node in self.nodes.values() for engine in node.engines if isinstance(engine, kind)]

    def states(self) -> list[object]:
        """The snapshot of every engine, per node: equal on nodes that are together."""
        return [[engine.snapshot() for engine in node.engines] for node in self.nodes.values()]


@asynccontextmanager
async def loopback(
    engines: Callable[[], list[Engine]], count: int = 3, *, quorum: bool = False
) -> AsyncIterator[Loopback]:
    """`count` nodes, together, until the block is left."""
    with tempfile.TemporaryDirectory(prefix="loopback-") as folder:
        network = LocalNetwork()
        async with open_driver() as driver, anyio.create_task_group() as tasks:
            nodes = []
            for number in range(1, count + 1):
                path, votes = Path(folder) / f"{number}.sock", count if quorum else 0
                node = LoopbackNode(number, network.group(number), driver, path, engines(), votes)
                node.listener.open()
                tasks.start_soon(node.group.run, node.happened)
                nodes.append(node)
            await eventually(lambda: all(node.sees(count) for node in nodes))
            try:
                yield Loopback(nodes, network)
            finally:
                for node in nodes:
                    node.listener.close()
                tasks.cancel_scope.cancel()


async def take(session: Any, count: int) -> list[Any]:
    """The next events of a session."""
    events: list[Any] = []
    with anyio.fail_after(10):
        async for event in session:
            events.append(event)
            if len(events) == count:
                break
    return events


async def eventually(holds: Callable[[], bool], rounds: int = 2000) -> None:
    """Return when `holds()`; give up after `rounds` rounds."""
    for _ in itertools.repeat(None, rounds):
        if holds():
            return
        await anyio.sleep(0.002)
    raise AssertionError("it did not come to that")
