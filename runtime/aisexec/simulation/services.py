"""The cluster of `cluster`, with clients of every service instead of applications.

    python -m aisexec simulate --services --seeds 200

The faults are the same. Each service has a workload (`workloads`), which remembers what its clients did and were told
and says in the end what of it breaks the service's promises.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from aisexec.engines import engines_of
from aisexec.node import ClientLost
from aisexec.outbox import CloseClient, Command, Logged, ToClient
from aisexec.simulation.cluster import ClusterWorld, Result
from aisexec.simulation.residents import Later
from aisexec.simulation.workloads import Driving, Keeping, Leased, Watching, Workload
from aisexec.simulation.workloads.ckpt import CkptWorkload
from aisexec.simulation.workloads.clm import ClmWorkload
from aisexec.simulation.workloads.cpg import CpgWorkload
from aisexec.simulation.workloads.evs import EvsWorkload
from aisexec.simulation.workloads.evt import EvtWorkload
from aisexec.simulation.workloads.lck import LckWorkload
from aisexec.simulation.workloads.log import LogWorkload
from aisexec.simulation.workloads.msg import MsgWorkload
from aisexec.simulation.workloads.ntf import NtfWorkload
from corosync_amf.ais import NodeId
from corosync_amf.config import parse_amf
from corosync_amf.engine import Engine, Message, Service
from corosync_amf.services.amf.engine import AmfEngine

CALLERS: Final = 100_000_000
"""Numbers of the workloads' clients begin here."""

ANSWER_SECONDS: Final = 0.001
BLACKOUT_SECONDS: Final = 2.0
ALONE_TIMEOUTS: Final = 4.0
"""So many token timeouts at most a node is cut off before all lose power: the others go on after one or two."""

MakeWorkload = Callable[[list[NodeId], random.Random], Workload]
WORKLOADS: Final[tuple[MakeWorkload, ...]] = (
    ClmWorkload,
    CkptWorkload,
    EvtWorkload,
    MsgWorkload,
    LckWorkload,
    NtfWorkload,
    LogWorkload,
    EvsWorkload,
    CpgWorkload,
)


class ServicesWorld(ClusterWorld):
    """`run` does all of it. `workloads` as in WORKLOADS."""

    def __init__(self, seed: int, *, trace: bool = False, workloads: Sequence[MakeWorkload] = WORKLOADS) -> None:
        super().__init__(seed, trace=trace)
        self._model = parse_amf("applications: {}\n", "amf.conf")[0]
        self._callers = 0
        self._is_finishing = False
        self.workloads = [
            make(self.nodes, random.Random(f"workload {number} {seed}")) for number, make in enumerate(workloads)
        ]
        for workload in self.workloads:
            if isinstance(workload, Leased):
                workload.may_act = self._may_act
            if isinstance(workload, Keeping):
                workload.engine_on = partial(self._engine_on, workload.service)
        self._clients_of: dict[NodeId, dict[int, int]] = {node: {} for node in self.nodes}
        """Per node: the client number of each workload that is connected there."""

    def engines(self) -> list[Engine]:
        """The engines of one node."""
        return engines_of(AmfEngine(self._model))

    def keepers(self) -> frozenset[NodeId]:
        """Those of the workload that has some."""
        return frozenset().union(*(each.keepers for each in self.workloads if isinstance(each, Keeping)))

    # ---- for workloads that watch

    def _engine_on(self, service: Service, node_id: NodeId) -> Engine:
        return self.stacks[node_id].node.engines[service]

    def _may_act(self, node_id: NodeId) -> bool:
        return node_id in self.stacks and self._may_work(node_id)

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
            case Command(service, command) if service != Service.AMF:
                self._commanded(node_id, service, command)
            case Logged(_, text) if text.startswith("NODE: members"):
                super()._observe(node_id, effect)
                self._installed_on(node_id)
            case CloseClient(client, _) if client >= CALLERS:
                for number in [each for each, found in self._clients_of[node_id].items() if found == client]:
                    self._lose(node_id, number)
            case _:
                super()._observe(node_id, effect)

    def _commanded(self, node_id: NodeId, service: int, command: Message) -> None:
        """The drivers of a node get a command; what they report comes a little later."""
        for workload in self.workloads:
            if workload.service == service and isinstance(workload, Driving):
                events = workload.command(node_id, command, self.network.now)
                if events:
                    self._later(node_id, [Later(ANSWER_SECONDS, events)])

    def _installed_on(self, node_id: NodeId) -> None:
        node = self.stacks[node_id].node
        assert node.ring_id is not None
        assert node.membership is not None
        for workload in self.workloads:
            if isinstance(workload, Watching):
                workload.installed(node_id, node.ring_id, node.membership)

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
        if not clients or not self._runs(node_id):  # an executive that is paused would not hear of it
            super()._drop_client(rng)
            return
        number = rng.choice(sorted(clients))
        self._note(node_id, f"the client of {self.workloads[number].service.name} dies")
        self.network.handle(node_id, ClientLost(clients[number]))
        self._lose(node_id, number)

    def _agreed(self) -> bool:
        if not super()._agreed():
            return False
        if self._is_finishing and all(workload.is_settled() for workload in self.workloads):
            return True  # with all replicas at one place of the order: what follows would be on its way at the checks
        self._is_finishing = True
        for number, workload in enumerate(self.workloads):
            for node_id in self.nodes:
                client = self._clients_of[node_id].get(number)
                if client is None:
                    self._call_on(node_id, number)
                else:
                    self._hand_over(node_id, client, workload.finish(node_id, self.network.now))
        return False

    def _check(self, converged: bool) -> None:
        super()._check(converged)
        if not converged:
            unsettled = [workload.service.name for workload in self.workloads if not workload.is_settled()]
            self.faults.append(f"services not settled: {', '.join(unsettled) or 'none'}")
            return
        for workload in self.workloads:
            engines = {node_id: stack.node.engines[workload.service] for node_id, stack in self.stacks.items()}
            self.faults += [f"{workload.service.name}: {fault}" for fault in workload.check(engines)]


class BlackoutWorld(ServicesWorld):
    """In the end a node is cut off; then all lose power, one soon after the other, and start again from what their
    disks hold."""

    def __init__(self, seed: int, *, trace: bool = False, workloads: Sequence[MakeWorkload] = WORKLOADS) -> None:
        super().__init__(seed, trace=trace, workloads=workloads)
        self._is_dark = False

    def boot(self, node_id: NodeId) -> None:
        """See `ServicesWorld`."""
        if not self._is_dark:
            super().boot(node_id)

    def _fault(self) -> None:
        if not self._is_dark:
            super()._fault()

    def _make_peace(self) -> None:
        self._is_dark = True
        rng, network = self._rng, self.network
        alone = rng.choice(self.nodes)
        self._note(alone, "is cut off, soon all lose power")
        network.heal()
        network.partition([alone], [node_id for node_id in self.nodes if node_id != alone])
        network.run_until(network.now + rng.random() * ALONE_TIMEOUTS * self.plan.timeouts.token)
        begin, seconds = network.now, rng.choice((0.0, BLACKOUT_SECONDS))
        for node_id in self.nodes:
            network.at(begin + rng.random() * seconds, partial(self._black_out, node_id))
        network.run_until(begin + BLACKOUT_SECONDS)
        self._is_dark = False
        for writer in self.writers.values():
            writer.acknowledged = 0  # that was in memory only
        super()._make_peace()

    def _black_out(self, node_id: NodeId) -> None:
        if node_id in self.stacks:
            self.crash(node_id)


def run_services_seed(seed: int, *, trace: bool = False, workloads: Sequence[MakeWorkload] = WORKLOADS) -> Result:
    """Run one seed. The same seed gives the same run, with or without `trace`."""
    return ServicesWorld(seed, trace=trace, workloads=workloads).run()
