"""Component processes of a simulated cluster: what AMF's commands start, and what those processes believe.

They are clients of the production node like any other; they answer late, die and hang as the seed wants. What they
believe is the truth that AMF's promise is checked against: at no moment do two of them do the same work.
"""

import random
from dataclasses import dataclass, field
from typing import Any, Final

from aisexec.node import ClientLost, FromClients, NodeEvent, Report
from corosync_amf.ais import Dn, HaState, NodeId
from corosync_amf.engine import Message, Request, Service
from corosync_amf.services.amf import messages as amf
from corosync_amf.services.amf.model import Cluster
from corosync_amf.wire import PROTOCOL, Events, Hello, Refused, Replies, Requests, Welcome, decode, encode

WORKING: Final = frozenset({HaState.ACTIVE, HaState.QUIESCING})
START_SECONDS: Final = 0.05
ANSWER_SECONDS: Final = 0.005
DIES_ON_CALLBACK: Final = 0.03
HANGS_ON_CALLBACK: Final = 0.02
START_FAILS: Final = 0.05


@dataclass(slots=True)
class Resident:
    """One process. `csis` is what it believes to do; `epochs` what it was told with ACTIVE."""

    node: NodeId
    component: Dn
    instance: int
    client: int
    csis: dict[Dn, HaState] = field(default_factory=dict)
    epochs: dict[Dn, int] = field(default_factory=dict)
    next_request: int = 1
    is_hung: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """Something a resident will do after `delay` seconds: hand these events to its node."""

    delay: float
    events: list[NodeEvent]


class Residents:
    """The component processes of one node. Each method returns what is to be done and when."""

    def __init__(self, node: NodeId, rng: random.Random, first_client: int) -> None:
        self.node = node
        self.processes: dict[Dn, Resident] = {}
        self.is_calm = False
        self._rng = rng
        self._next_client = first_client

    def working(self) -> list[tuple[Dn, Resident]]:
        """Which CSIs processes of this node do the work of."""
        return [
            (csi, process)
            for process in self.processes.values()
            for csi, state in process.csis.items()
            if state in WORKING
        ]

    def command(self, command: Message, now: float) -> list[Later]:
        """Carry out a command of AMF."""
        match command:
            case amf.Instantiate(component, ticket):
                return self._instantiate(component, ticket)
            case amf.Cleanup(component, ticket):
                return self._end(component, amf.Verb.CLEANUP, ticket)
            case amf.Terminate(component, ticket):
                return self._end(component, amf.Verb.TERMINATE, ticket)
            case amf.AwaitExit(component, ticket):
                return self._end(component, amf.Verb.AWAIT_EXIT, ticket)
            case _:
                return []

    def hear(self, client: int, frames: list[bytes], now: float) -> list[Later]:
        """A process gets frames of its executive."""
        process = next((found for found in self.processes.values() if found.client == client), None)
        todo: list[Later] = []
        for frame in frames if process is not None and not process.is_hung else []:
            value = decode(frame, Welcome | Refused | Replies | Events)
            if isinstance(value, Events):
                for _, event in value.items:
                    assert process is not None
                    todo += self._told(process, decode(event, amf.AmfEvent), now)
        return todo

    def die(self, component: Dn, now: float) -> list[Later]:
        """A process ends by itself; its node has nothing of it left and says so."""
        process = self.processes.pop(component, None)
        if process is None:
            return []
        fault = amf.FaultDetected(component, process.instance, amf.Kind.PROCESS_DIED, time=now, cleaned=True)
        return [Later(0.001, [Report(Service.AMF, [fault]), ClientLost(process.client)])]

    def hang(self, component: Dn, now: float) -> list[Later]:
        """A process answers no more; a healthcheck finds it."""
        process = self.processes.get(component)
        if process is None:
            return []
        process.is_hung = True
        kind = amf.Kind.HEALTHCHECK_TIMEOUT
        fault = amf.FaultDetected(component, process.instance, kind, time=now)
        return [Later(0.3, [Report(Service.AMF, [fault])])]

    def _instantiate(self, component: Dn, ticket: int) -> list[Later]:
        if self._happens(START_FAILS):
            return [Later(START_SECONDS, [self._done(component, amf.Verb.INSTANTIATE, ticket, ok=False)])]
        process = Resident(self.node, component, ticket, self._next_client)
        self._next_client += 1
        self.processes[component] = process
        up = [
            self._done(component, amf.Verb.INSTANTIATE, ticket, ok=True),
            FromClients([(process.client, Hello(PROTOCOL, process.client, component))]),
            self._request(process, amf.Register(component)),
        ]
        return [Later(START_SECONDS * (0.5 + self._rng.random()), up)]

    def _end(self, component: Dn, verb: amf.Verb, ticket: int) -> list[Later]:
        process = self.processes.pop(component, None)
        events: list[NodeEvent] = [] if process is None else [ClientLost(process.client)]
        return [Later(ANSWER_SECONDS, [*events, self._done(component, verb, ticket, ok=True)])]

    def _told(self, process: Resident, event: Any, now: float) -> list[Later]:
        """Work begins at once and ends before the answer: the hardest reading of what a component may do."""
        if self._happens(DIES_ON_CALLBACK):
            return self.die(process.component, now)
        if self._happens(HANGS_ON_CALLBACK):
            return self.hang(process.component, now)
        match event:
            case amf.CsiSet(invocation, _, state, descriptor):
                named = [descriptor.name] if descriptor.name else list(process.csis)
                process.csis |= dict.fromkeys(named, state)
                if state is HaState.ACTIVE:
                    process.epochs |= dict.fromkeys(named, descriptor.epoch)
                answers = [self._request(process, amf.Response(invocation))]
                if state is HaState.QUIESCING:
                    process.csis |= dict.fromkeys(named, HaState.QUIESCED)
                    answers.append(self._request(process, amf.QuiescingComplete(invocation)))
                return [Later(self._answer_delay(), answers)]
            case amf.CsiRemove(invocation, _, csi):
                if csi:
                    process.csis.pop(csi, None)
                else:
                    process.csis.clear()
                return [Later(self._answer_delay(), [self._request(process, amf.Response(invocation))])]
            case amf.ComponentTerminate(invocation):
                process.csis.clear()
                return [Later(self._answer_delay(), [self._request(process, amf.Response(invocation))])]
            case _:
                return []

    def _answer_delay(self) -> float:
        return ANSWER_SECONDS * (0.2 + self._rng.expovariate(1.0))

    def _request(self, process: Resident, request: Request) -> NodeEvent:
        frame = Requests(Service.AMF, process.next_request, 1, encode([request]))
        process.next_request += 1
        return FromClients([(process.client, frame)])

    def _done(self, component: Dn, verb: amf.Verb, ticket: int, *, ok: bool) -> NodeEvent:
        return Report(Service.AMF, [amf.CommandDone(component, verb, ticket, ok)])

    def _happens(self, chance: float) -> bool:
        return not self.is_calm and self._rng.random() < chance


AMF_CONF: Final = """
nodes: {names}
applications:
  phone:
    service_groups:
      phone:
        units:
          su1: {{rank: 1, node: node-1, su_failover: true, components: {{main: {{command: x}}}}}}
          su2: {{rank: 2, node: node-2, su_failover: true, components: {{main: {{command: x}}}}}}
          su3: {{rank: 3, node: node-3, components: {{main: {{command: x}}}}}}
    service_instances:
      calls: {{rank: 1, csis: {{calls: {{}}, billing: {{depends_on: [calls]}}}}}}
      mail: {{rank: 2, depends_on: {{calls: {{tolerance: 500}}}}}}
  shop:
    service_groups:
      shop:
        units:
          su1: {{node: node-2, components: {{a: {{command: x}}, b: {{command: x, instantiation_level: 1}}}}}}
          su2: {{node: node-3, components: {{a: {{command: x}}, b: {{command: x, instantiation_level: 1}}}}}}
    service_instances:
      shop: {{}}
"""


def model(node_ids: list[NodeId]) -> Cluster:
    """The applications of the simulated cluster."""
    from corosync_amf.config import parse_amf

    names = [f"node-{node_id}" for node_id in node_ids]
    text = AMF_CONF.format(names="[" + ", ".join(names) + "]").replace("command: x", "instantiate: [x]")
    return parse_amf(text, "amf.conf")[0]
