"""The cluster of `cluster`, with clients of every service instead of applications.

    python -m aisexec simulate --services --seeds 200

The faults are the same. Each service has a workload (`workloads`), which remembers what its clients did and were told
and says in the end what of it breaks the service's promises.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from aisexec.engines import engines_of
from aisexec.node import ClientLost
from aisexec.outbox import CloseClient, ToClient
from aisexec.simulation.cluster import ClusterWorld, Result
from aisexec.simulation.workloads import Workload
from corosync_amf.ais import NodeId
from corosync_amf.config import parse_amf
from corosync_amf.engine import Engine
from corosync_amf.services.amf.engine import AmfEngine

CALLERS: Final = 100_000_000
"""Numbers of the workloads' clients begin here."""

ANSWER_SECONDS: Final = 0.001

MakeWorkload = Callable[[list[NodeId], random.Random], Workload]
WORKLOADS: Final[tuple[MakeWorkload, ...]] = ()


class ServicesWorld(ClusterWorld):
    """`run` does all of it. `workloads` as in WORKLOADS."""

    def __init__(self, seed: int, *, trace: bool = False, workloads: Sequence[MakeWorkload] = WORKLOADS) -> None:
        super().__init__(seed, trace=trace)
        self._model = parse_amf("applications: {}\n", "amf.conf")[0]
        self._callers = 0
        self.workloads = [
            make(self.nodes, random.Random(f"workload {number} {seed}")) for number, make in enumerate(workloads)
        ]
        self._clients_of: dict[NodeId, dict[int, int]] = {node: {} for node in self.nodes}
        """Per node: the client number of each workload that is connected there."""

    def engines(self) -> list[Engine]:
        """The engines of one node."""
        return engines_of(AmfEngine(self._model))

    # ---- clients

    def boot(self, node_id: NodeId) -> None:
        """Start a node, and the workloads' clients there."""
        super().boot(node_id)
        for number in range(len(self.workloads)):
            self._call_on(node_id, number)

    def _call_on(self, node_id: NodeId, number: int) -> None:
        """Connect a workload's client."""
        self._callers += 1
        client = CALLERS + self._callers
        self._clients_of[node_id][number] = client
        self._hand_over(node_id, client, self.workloads[number].connect(node_id, client, self.network.now))

    def _hand_over(self, node_id: NodeId, client: int, events: Sequence[Any]) -> None:
        for event in events:
            if client in self._clients_of[node_id].values():
                self.network.handle(node_id, event)

    def _lose(self, node_id: NodeId, number: int) -> None:
        if self._clients_of[node_id].pop(number, None) is not None:
            self.workloads[number].lost(node_id, self.network.now)

    def crash(self, node_id: NodeId) -> None:
        """The node is gone, with its clients."""
        super().crash(node_id)
        for number in range(len(self.workloads)):
            self._lose(node_id, number)

    def _observe(self, node_id: NodeId, effect: Any) -> None:
        match effect:
            case ToClient(client, frames) if client >= CALLERS:
                self._caller_hears(node_id, client, frames)
            case CloseClient(client, _) if client >= CALLERS:
                for number in [each for each, found in self._clients_of[node_id].items() if found == client]:
                    self._lose(node_id, number)
            case _:
                super()._observe(node_id, effect)

    def _caller_hears(self, node_id: NodeId, client: int, frames: Sequence[bytes]) -> None:
        for number, found in list(self._clients_of[node_id].items()):
            if found == client:
                answers = self.workloads[number].hear(node_id, frames, self.network.now)
                if answers:
                    self._soon(node_id, client, answers)

    def _soon(self, node_id: NodeId, client: int, events: Sequence[Any]) -> None:
        """A client is another process: what it answers comes a little later."""
        self.network.at(self.network.now + ANSWER_SECONDS, lambda: self._hand_over(node_id, client, events))

    # ---- the story

    def _work(self) -> None:
        super()._work()
        if self.workloads and not self._quiet:
            node_id = self._load.choice(self.nodes)
            if node_id in self.stacks and self._runs(node_id):
                number = self._load.randrange(len(self.workloads))
                client = self._clients_of[node_id].get(number)
                if client is None:
                    self._call_on(node_id, number)
                else:
                    self._hand_over(node_id, client, self.workloads[number].work(node_id, self.network.now))

    def _operate(self) -> None:
        """There is nothing to administer."""

    def _drop_client(self, rng: random.Random) -> None:
        node_id = rng.choice(self.nodes)
        clients = self._clients_of[node_id]
        if not clients:
            super()._drop_client(rng)
            return
        if not self._runs(node_id):
            return  # a machine that stands still would never hear of it
        number = rng.choice(sorted(clients))
        self._note(node_id, f"the client of {self.workloads[number].service.name} dies")
        self.network.handle(node_id, ClientLost(clients[number]))
        self._lose(node_id, number)

    def _agreed(self) -> bool:
        if not super()._agreed():
            return False
        for number, workload in enumerate(self.workloads):
            for node_id in self.nodes:
                client = self._clients_of[node_id].get(number)
                if client is None:
                    self._call_on(node_id, number)
                else:
                    self._hand_over(node_id, client, workload.finish(node_id, self.network.now))
        # What was handed over just now may be applied and answered here, and still be on its way to the others.
        return all(workload.is_settled() for workload in self.workloads) and super()._agreed()

    def _check(self, converged: bool) -> None:
        super()._check(converged)
        if not converged:
            unsettled = [workload.service.name for workload in self.workloads if not workload.is_settled()]
            self.faults.append(f"services not settled: {', '.join(unsettled) or 'none'}")
            return
        for workload in self.workloads:
            engines = {node_id: stack.node.engines[workload.service] for node_id, stack in self.stacks.items()}
            self.faults += [f"{workload.service.name}: {fault}" for fault in workload.check(engines)]


def run_services_seed(seed: int, *, trace: bool = False, workloads: Sequence[MakeWorkload] = WORKLOADS) -> Result:
    """Run one seed. The same seed gives the same run, with or without `trace`."""
    return ServicesWorld(seed, trace=trace, workloads=workloads).run()
