"""Component processes that do not exist: they start, answer, crash, hang, answer late and survive their cleanup.

`World` drives one `AmfEngine` per node with the same ordered messages and carries out what the engines want done. All
chance comes from one `random.Random`, all time from the event queue, so a seed is a history. It knows what really runs
(which process believes to be ACTIVE), and checks after every event what the facts of AMF cannot show: that no two
processes do the same work.
"""

import heapq
import random
from collections.abc import Iterator, Sequence
from typing import Any, Final

from corosync_amf import wire
from corosync_amf.ais import AdminOperation, Dn, ErrorCode, HaState, NodeId
from corosync_amf.engine import (
    Alarm,
    Client,
    ClientGone,
    Effect,
    Event,
    Failed,
    Forward,
    Log,
    Membership,
    Message,
    Multicast,
    NodeFacts,
    Notice,
    Origin,
    Reply,
    Request,
    Run,
)
from corosync_amf.services.amf import messages as amf
from corosync_amf.services.amf.engine import AmfEngine
from corosync_amf.services.amf.model import Cluster, Index

from .fakes import WORKING, Chances, Part, Process, Site, Violation, check_work

OPERATOR: Final = 1000
"""The client number of the administrator on each node."""


class World:
    """A cluster of engines and fake processes.

    `trace` tells what was ordered and logged, `replies` what administrators were answered (by number of the request),
    `notifications` what operators would see, `told` what components were told. Components in `refuse_cleanup`,
    `refuse_start`, `refuse_monitor` and `stay_after_terminate` do that, calm or not. With `is_replicated` false the
    nodes of a partition share one engine, which is faster and tells nothing of replicas that differ.
    """

    def __init__(
        self, cluster: Cluster, rng: random.Random, chances: Chances | None = None, *, is_replicated: bool = True
    ) -> None:
        self.cluster, self.index = cluster, Index(cluster)
        self.is_replicated = is_replicated
        self.rng, self.chances = rng, chances or Chances()
        self.is_calm = True
        self.now = 0.0
        self.sites = {n: Site(n, node.clm_node, AmfEngine(cluster)) for n, node in enumerate(cluster.nodes, 1)}
        self.parts: dict[int, Part] = {}
        self.replies: dict[int, list[Message]] = {}
        self.trace: list[str] = []
        self.notifications: list[Notice] = []
        self.told: list[Message] = []
        self.forwarded: list[Message] = []
        self.refuse_cleanup: set[Dn] = set()
        self.refuse_start: set[Dn] = set()
        self.refuse_monitor: set[Dn] = set()
        self.stay_after_terminate: set[Dn] = set()
        self._queue: list[tuple[float, int, tuple[Any, ...]]] = []
        self._count = 0
        self._next_part = 1
        self._next_request = 1
        self._epochs: dict[Dn, int] = {}

    # ---- running

    def boot(self) -> None:
        """Start all nodes as one quorate cluster."""
        self._form(tuple(self.sites), quorate=True, order=1 << 44, former=())

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            self._do(action)
            self.check()
        self.now = end

    def _at(self, delay: float, *action: Any) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, action))

    def _do(self, action: tuple[Any, ...]) -> None:
        name, *arguments = action
        getattr(self, name)(*arguments)

    def _happens(self, chance: float) -> bool:
        return not self.is_calm and self.rng.random() < chance

    def _delay(self, usual: float) -> float:
        factor = 20.0 if self._happens(self.chances.slow) else 1.0
        return usual * factor * (0.5 + self.rng.random())

    # ---- the total order

    def send(self, site: Site, client: int, message: Request, request: int = 0) -> None:
        """Put a message of a client of a node into the order of its partition."""
        if site.part is None:
            return
        due = max(self.now + 0.0005 + 0.001 * self.rng.random(), site.last_sent + 1e-6)
        site.last_sent = due
        self._at(due - self.now, "_deliver", site.part, site.node_id, site.incarnation, client, message, request)

    def _deliver(
        self, part: int, node: NodeId, incarnation: int, client: int, message: Request, request: int = 0
    ) -> None:
        site = self.sites[node]
        if site.part is None or site.incarnation != incarnation:
            return
        if site.part != part:
            # What was not ordered in the old partition is sent again in the new one.
            self.send(site, client, message, request)
            return
        self._apply(part, message, Client(node, client), request)

    def _apply(self, number: int, message: Request, client: Client, request: int = 0) -> None:
        part = self.parts[number]
        part.order += 1
        decoded: Any = wire.decode(wire.encode(message), AmfEngine.request_type)
        origin = Origin(client, request, part.order, self.now)
        self.trace.append(f"{self.now:9.4f} {part.order & 0xFFFFF} {client.node}/{client.number} {decoded}")
        self._perform(number, [engine.apply(decoded, origin) for engine in self._engines(self._alive(number))])

    def _engines(self, members: Sequence[NodeId]) -> list[AmfEngine]:
        """The replicas of some nodes, each once."""
        return list({id(self.sites[member].engine): self.sites[member].engine for member in members}.values())

    def _alive(self, number: int) -> list[NodeId]:
        """The members of a partition that are still in it."""
        return [member for member in self.parts[number].members if self.sites[member].part == number]

    def _perform(self, number: int, by_replica: list[list[Effect]]) -> None:
        effects = by_replica[0]
        if any(other != effects for other in by_replica[1:]):
            raise Violation("replicas want different things")
        part = self.parts[number]
        for effect in effects:
            match effect:
                case Reply(to, message):
                    if self.sites[to.client.node].part == number:
                        self._answer_operator(to, message)
                case Event(to, message):
                    self._tell(self.sites[to.node], to, message)
                case Alarm(key, delay, message):
                    if delay is None or message is None:
                        part.alarms.pop(key, None)
                    else:
                        part.alarms[key] = (part.order, self.now + delay, message)
                        self._at(delay, "_ring", number, key, part.order)
                case Run(node, command):
                    if self.sites[node].part == number:
                        self._run(self.sites[node], command)
                case Log(_, text):
                    self.trace.append(f"{self.now:9.4f}   {text}")
                case Multicast(node, message):
                    self.send(self.sites[node], 0, message)
                case Forward(_, message):
                    if isinstance(message, Notice):
                        self.notifications.append(message)
                    else:
                        self.forwarded.append(message)

    def _answer_operator(self, to: Origin, message: Message) -> None:
        if to.client.number == OPERATOR:
            self.replies.setdefault(to.request, []).append(message)
        elif isinstance(message, Failed):
            self.trace.append(f"{self.now:9.4f}   refused: {to.client} {message}")

    def _tell(self, site: Site, to: Client, message: Message) -> None:
        """Events of a client reach it in their order."""
        process = next((process for process in site.processes.values() if process.client == to.number), None)
        if process is not None:
            self.told.append(message)
            process.last_event = max(self.now + self._delay(0.001), process.last_event + 1e-6)
            self._at(process.last_event - self.now, "_event", site.node_id, process, message)

    def _run(self, site: Site, command: Message) -> None:
        """Commands of a node are carried out in their order."""
        site.last_command = max(self.now + self._delay(0.002), site.last_command + 1e-6)
        self._at(site.last_command - self.now, "_command", site.node_id, site.incarnation, command)

    def _ring(self, number: int, key: str, generation: int) -> None:
        part, alive = self.parts[number], self._alive(number)
        if not alive or key not in part.alarms or part.alarms[key][0] != generation:
            return
        message = part.alarms.pop(key)[2]
        self._apply(number, message, Client(alive[0], 0))

    # ---- membership

    def _form(self, members: tuple[NodeId, ...], *, quorate: bool, order: int, former: tuple[NodeId, ...]) -> None:
        """A new partition; those that were not in `former` take over the state of its first member that was."""
        number = self._next_part
        self._next_part += 1
        keepers = [member for member in members if member in former]
        # An era of its own: a stale partition that outlived the others never uses order numbers again.
        order = max([order, *(old.order for old in self.parts.values())])
        part = Part(members, quorate, order)
        if keepers:
            source = self.sites[keepers[0]]
            assert source.part is not None
            old = self.parts[source.part]
            encoded = [wire.encode(engine.snapshot()) for engine in self._engines(keepers)]
            if any(other != encoded[0] for other in encoded):
                raise Violation("replicas have different facts")
            self._restore(members if not self.is_replicated else [m for m in members if m not in keepers], encoded[0])
            for key, (_, due, message) in sorted(old.alarms.items()):
                part.alarms[key] = (part.order, due, message)
                self._at(max(due - self.now, 0.0), "_ring", number, key, part.order)
        elif not self.is_replicated:
            for member in members:
                self.sites[member].engine = self.sites[members[0]].engine
        self.parts[number] = part
        joined = frozenset(member for member in members if member not in keepers)
        for member in members:
            self.sites[member].part = number
        part.order += 1
        facts = {m: NodeFacts(m, self.sites[m].name, f"10.0.0.{m}", 0.0, self.sites[m].incarnation) for m in members}
        left = frozenset(former) - frozenset(members)
        change = Membership(members, joined, left, quorate, facts, part.order, self.now)
        self.trace.append(f"{self.now:9.4f} membership {members} joined {set(joined)} quorate {quorate}")
        self._perform(number, [engine.membership(change) for engine in self._engines(members)])

    def _restore(self, members: Sequence[NodeId], snapshot: bytes) -> None:
        shared = AmfEngine(self.cluster)
        shared.restore(wire.decode(snapshot, AmfEngine.snapshot_type))
        for member in members:
            site = self.sites[member]
            if self.is_replicated:
                site.engine.restore(wire.decode(snapshot, AmfEngine.snapshot_type))
            else:
                site.engine = shared

    def crash(self, node: NodeId) -> None:
        """A node dies with all its processes; the others notice after a while."""
        site = self.sites[node]
        if site.part is None:
            return
        self.trace.append(f"{self.now:9.4f} node {node} crashes")
        part = site.part
        site.part, site.processes = None, {}
        site.incarnation += 1
        self._at(0.4, "_notice", part, node)

    def _notice(self, number: int, node: NodeId) -> None:
        part, rest = self.parts[number], tuple(self._alive(number))
        if rest:
            quorate = (part.quorate and 2 * len(rest) > len(part.members)) or self._is_quorate(rest)
            self._form(rest, quorate=quorate, order=part.order, former=part.members)

    def _is_quorate(self, members: tuple[NodeId, ...]) -> bool:
        return 2 * len(members) > len(self.sites)

    def restart(self, node: NodeId) -> None:
        """A node that was down comes back, as a fresh one."""
        site = self.sites[node]
        if site.part is not None:
            return
        site.engine = AmfEngine(self.cluster)
        site.incarnation += 1
        parts = sorted({s.part for s in self.sites.values() if s.part is not None})
        standing = max(parts, key=lambda number: (self.parts[number].quorate, number), default=None)
        if standing is None:
            self._form((node,), quorate=self._is_quorate((node,)), order=(1 << 44) + self._count, former=())
            return
        members = tuple(self._alive(standing))
        everyone = tuple(sorted((*members, node)))
        quorate = self.parts[standing].quorate or self._is_quorate(everyone)
        self._form(everyone, quorate=quorate, order=0, former=members)

    def isolate(self, node: NodeId) -> None:
        """A node loses contact: its processes are stopped when the lease ends, before the others act."""
        site = self.sites[node]
        if site.part is None or self.parts[site.part].members == (node,):
            return
        self.trace.append(f"{self.now:9.4f} node {node} is isolated")
        for process in site.processes.values():
            process.is_stopped = True
        old = self.parts[site.part]
        rest = tuple(member for member in self._alive(site.part) if member != node)
        self._form((node,), quorate=self._is_quorate((node,)), order=old.order, former=old.members)
        if rest:
            quorate = old.quorate and 2 * len(rest) >= len(old.members)
            self._form(rest, quorate=quorate, order=old.order, former=old.members)

    def blip(self, node: NodeId) -> None:
        """A node is cut off and back before anybody has acted in its place; its processes have lost their sessions,
        and work on until they are ended."""
        number = self.sites[node].part
        if number is None or self._alive(number) == [node]:
            return
        self.trace.append(f"{self.now:9.4f} node {node} was cut off and is back")
        self.sites[node].blips += 1
        for process in self.sites[node].processes.values():
            process.is_hung = True
        alive = tuple(self._alive(number))
        former = tuple(member for member in alive if member != node)
        self._form(alive, quorate=self.parts[number].quorate, order=0, former=former)

    def merge(self) -> None:
        """All partitions become one; the quorate one's state stands."""
        numbers = sorted({site.part for site in self.sites.values() if site.part is not None})
        if len(numbers) < 2:
            return
        standing = max(numbers, key=lambda number: (self.parts[number].quorate, number))
        members = tuple(sorted(site.node_id for site in self.sites.values() if site.part is not None))
        for member in members:
            site = self.sites[member]
            if site.part != standing:
                site.incarnation += 1
        former = tuple(self._alive(standing))
        quorate = self.parts[standing].quorate or self._is_quorate(members)
        self._form(members, quorate=quorate, order=0, former=former)

    # ---- commands

    def _command(self, node: NodeId, incarnation: int, command: Message) -> None:
        site = self.sites[node]
        if site.incarnation != incarnation or site.part is None:
            return
        match command:
            case amf.Instantiate():
                self._instantiate(site, command)
            case amf.Cleanup(component, ticket):
                is_survivor = component in site.processes and self._happens(self.chances.cleanup_fails)
                is_survivor = is_survivor or component in self.refuse_cleanup
                if not is_survivor:
                    self._kill(site, component)
                self._done(site, component, amf.Verb.CLEANUP, ticket, ok=not is_survivor)
            case amf.Terminate(component, ticket):
                self._kill(site, component)
                self._done(site, component, amf.Verb.TERMINATE, ticket, ok=True)
            case amf.AwaitExit(component, ticket):
                is_stubborn = component in self.stay_after_terminate or self._happens(self.chances.exit_hangs)
                if not is_stubborn:
                    self._kill(site, component)
                self._done(site, component, amf.Verb.AWAIT_EXIT, ticket, ok=not is_stubborn)
            case amf.Failfast():
                self.crash(node)
            case amf.AmStart(component, ticket):
                self._done(site, component, amf.Verb.AM_START, ticket, ok=component not in self.refuse_monitor)
            case amf.AmStop(component, ticket):
                self._done(site, component, amf.Verb.AM_STOP, ticket, ok=component not in self.refuse_monitor)
            case _:
                pass

    def _done(self, site: Site, component: Dn, verb: amf.Verb, ticket: int, *, ok: bool) -> None:
        self.send(site, 0, amf.CommandDone(component, verb, ticket, ok))

    def _kill(self, site: Site, component: Dn) -> None:
        process = site.processes.pop(component, None)
        if process is not None and process.client:
            self.send(site, process.client, ClientGone())

    def _instantiate(self, site: Site, command: amf.Instantiate) -> None:
        if command.component in site.processes:
            raise Violation(f"{command.component} is started twice")
        if command.component in self.refuse_start or self._happens(self.chances.start_fails):
            self._done(site, command.component, amf.Verb.INSTANTIATE, command.ticket, ok=False)
            return
        process = Process(command.component, command.ticket, site.next_client)
        site.next_client += 1
        site.processes[command.component] = process
        self._done(site, command.component, amf.Verb.INSTANTIATE, command.ticket, ok=True)
        if self._happens(self.chances.start_hangs):
            process.is_hung = True
            return
        self._at(self._delay(0.01), "_register", site.node_id, process)
        if self._happens(self.chances.dies_after_start):
            self._at(0.02 * self.rng.random(), "die", site.node_id, process)

    def _lives(self, node: NodeId, process: Process) -> bool:
        return self.sites[node].processes.get(process.component) is process and not process.is_stopped

    def _register(self, node: NodeId, process: Process) -> None:
        if self._lives(node, process) and not process.is_hung:
            self.send(self.sites[node], process.client, amf.Register(process.component))

    # ---- processes

    def die(self, node: NodeId, process: Process) -> None:
        """A process ends by itself; its node sees that at once."""
        site = self.sites[node]
        if site.processes.get(process.component) is not process:
            return
        del site.processes[process.component]
        cleaned = self.rng.random() < self.chances.cleanup_by_node
        fault = amf.FaultDetected(
            process.component, process.instance, amf.Kind.PROCESS_DIED, time=self.now, cleaned=cleaned
        )
        self.send(site, 0, fault)
        self.send(site, process.client, ClientGone())

    def hang(self, node: NodeId, process: Process) -> None:
        """A process answers no more; a healthcheck notices."""
        if self._lives(node, process):
            process.is_hung = True
            self._at(0.5, "_miss", node, process)

    def _miss(self, node: NodeId, process: Process) -> None:
        if self._lives(node, process):
            kind = amf.Kind.HEALTHCHECK_TIMEOUT
            self.send(self.sites[node], 0, amf.FaultDetected(process.component, process.instance, kind, time=self.now))

    def report(self, node: NodeId, process: Process, recovery: Any) -> None:
        """A process reports an error about itself."""
        if self._lives(node, process):
            self.send(self.sites[node], process.client, amf.ErrorReport(process.component, recovery))

    def _event(self, node: NodeId, process: Process, message: Message) -> None:
        if not self._lives(node, process) or process.is_hung:
            return
        match message:
            case amf.CsiSet(_, _, state, descriptor):
                names = list(process.csis) if descriptor.flags is amf.CsiFlags.TARGET_ALL else [descriptor.name]
                process.asked[message.invocation] = names
                for csi in names:
                    self._believe(process, csi, state, descriptor.epoch)
                if self._happens(self.chances.dies_in_callback):
                    self.die(node, process)
                else:
                    self._at(self._delay(0.005), "_answer", node, process, message)
            case amf.CsiRemove(_, _, csi):
                if process.csis.get(csi) in WORKING:
                    raise Violation(f"{process.component} loses {csi} while {process.csis[csi].name}")
                self._at(self._delay(0.005), "_answer", node, process, message)
            case amf.ComponentTerminate():
                process.csis.clear()
                self._at(self._delay(0.005), "_answer", node, process, message)
            case _:
                pass

    def _believe(self, process: Process, csi: Dn, state: HaState, epoch: int) -> None:
        """A process begins work when it is told to, and stops it before it answers (`_answer`)."""
        old = process.csis.get(csi)
        if old is HaState.ACTIVE and state is HaState.STANDBY:
            raise Violation(f"{process.component} goes from ACTIVE to STANDBY for {csi}")
        if state is HaState.ACTIVE:
            if epoch <= self._epochs.get(csi, 0):
                raise Violation(f"the epoch of {csi} does not grow")
            self._epochs[csi] = process.epochs[csi] = epoch
        if state is not HaState.QUIESCED or old is None:
            process.csis[csi] = state

    def _answer(self, node: NodeId, process: Process, message: Any) -> None:
        if not self._lives(node, process) or process.is_hung:
            return
        site = self.sites[node]
        if self._happens(self.chances.callback_hangs):
            self.hang(node, process)
            return
        error = ErrorCode.OK
        if self._happens(self.chances.callback_fails):
            error = ErrorCode.FAILED_OPERATION
        elif isinstance(message, amf.CsiSet) and self._happens(self.chances.callback_not_ready):
            error = ErrorCode.NOT_READY
        if error is ErrorCode.OK:
            self._stop_work(node, process, message)
        elif error is ErrorCode.NOT_READY and message.descriptor.flags is amf.CsiFlags.ADD_ONE:
            process.csis.pop(message.descriptor.name, None)
        elif error is ErrorCode.NOT_READY:
            error = ErrorCode.FAILED_OPERATION
        self.send(site, process.client, amf.Response(message.invocation, int(error)))

    def _stop_work(self, node: NodeId, process: Process, message: Any) -> None:
        match message:
            case amf.CsiSet(invocation, _, state):
                names = process.asked.pop(invocation, [])
                process.csis |= dict.fromkeys(names, state)
                if state is HaState.QUIESCING:
                    self._at(self._delay(0.2), "_complete", node, process, invocation, names)
            case amf.CsiRemove(_, _, csi):
                process.csis.pop(csi, None)
            case _:
                pass

    def _complete(self, node: NodeId, process: Process, invocation: int, names: list[Dn]) -> None:
        if not self._lives(node, process) or process.is_hung:
            return
        if any(process.csis.get(name) is HaState.QUIESCING for name in names):
            for name in names:
                process.csis[name] = HaState.QUIESCED
            self.send(self.sites[node], process.client, amf.QuiescingComplete(invocation))

    # ---- what people do

    def admin(self, dn: Dn, operation: AdminOperation, node: NodeId | None = None, **options: Any) -> int:
        """An administrator on a node (default: the lowest that is up) asks for an operation; return its number."""
        up = [site for site in self.sites.values() if site.part is not None]
        site = self.sites[node] if node is not None else up[0]
        number = self._next_request
        self._next_request += 1
        self.send(site, OPERATOR, amf.Admin(dn, int(operation), **options), number)
        return number

    def processes(self) -> Iterator[tuple[NodeId, Process]]:
        """Every process that exists, with its node."""
        for site in self.sites.values():
            for process in list(site.processes.values()):
                yield site.node_id, process

    # ---- what must never be

    def check(self) -> None:
        """Raises: Violation: work is done twice."""
        check_work(self.index, [process for _, process in self.processes()])
