"""A small executive for tests of component hosts: real processes, sockets and checkpoints, and a scripted AMF.

The test plays AMF: it starts components, sends them what it likes, and looks at what they answer.
"""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import anyio
import msgspec

from aisexec.drive import Driver, open_driver
from aisexec.groups import Happening
from aisexec.groups.local import LocalNetwork
from aisexec.ipc import Arrival, Listener, Lost
from aisexec.node import ClientLost, FromClients, Happened, Node, NodeEvent, NodeOptions
from aisexec.outbox import CloseClient, Command, Fence, Local, Logged, NodeEffect, Payloads, ToClient
from aisexec.processes import Processes
from aisexec.spawning import Surroundings
from corosync_amf import lease
from corosync_amf.ais import HaState, RedundancyModel
from corosync_amf.engine import Client, Done, Effect, Message, NodeFacts, Origin, Reply, Request, Service
from corosync_amf.services.amf.messages import (
    HEALTHCHECK_INVOCATION,
    AmfQuery,
    AmfRequest,
    ComponentTerminate,
    Configuration,
    CsiAttributeChange,
    CsiDescriptor,
    CsiFlags,
    CsiRemove,
    CsiSet,
    HealthcheckInvoked,
    HealthcheckResponse,
    Instantiate,
    ProtectionGroup,
    ProtectionGroupTrackStart,
    QuiescingComplete,
    Register,
    Response,
    Transition,
)
from corosync_amf.services.amf.model import CheckpointPolicy, Component
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.wire import events_frame, replies_frame

CSI = "safCsi=i,safSi=s,safApp=p"
PATIENCE = 30.0
T = TypeVar("T")


def dn(name: str) -> str:
    return f"safComp={name},safSu=u,safSg=g,safApp=p"


def component_without_plugin(name: str) -> Component:
    return Component(dn=dn(name), name=name)


class ScriptedAmf:
    """Keeps what components say, and answers queries from what the test configured."""

    service: ClassVar[Service] = Service.AMF
    request_type: ClassVar[Any] = AmfRequest
    query_type: ClassVar[Any] = AmfQuery
    snapshot_type: ClassVar[type[msgspec.Struct]] = Done
    remnant_type: ClassVar[Any] = None

    def __init__(self, components: dict[str, Component], checkpoints: dict[str, CheckpointPolicy]) -> None:
        self.components = components
        self.checkpoints = checkpoints
        self.heard: list[tuple[Client, Request]] = []
        self.clients: dict[str, Client] = {}

    def apply(self, message: Request, origin: Origin) -> list[Effect]:
        self.heard.append((origin.client, message))
        if isinstance(message, Register):
            self.clients[message.component] = origin.client
        if isinstance(message, ProtectionGroupTrackStart):
            return [Reply(origin, ProtectionGroup(message.csi, ()))]
        return [Reply(origin, Done())] if origin.client.number else []

    def query(self, message: Any, client: Client) -> Message:
        return Configuration(self.components[message.component], RedundancyModel.TWO_N, self.checkpoints)

    def membership(self, change: object) -> list[Effect]:
        return []

    def snapshot(self) -> msgspec.Struct:
        return Done()

    def restore(self, snapshot: object) -> None:
        pass

    def remnant(self, node: object) -> None:
        pass

    def merge(self, remnant: object, origin: Origin) -> list[Effect]:
        return []


@dataclass
class SmallExecutive:
    """One node. `local` holds the questions that go to the node's drivers."""

    folder: Path
    driver: Driver
    components: dict[str, Component]
    checkpoints: dict[str, CheckpointPolicy] = field(default_factory=dict)
    reports: list[Request] = field(default_factory=list)
    local: list[Message] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    epochs: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1000))
    invocations: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.amf = ScriptedAmf(self.components, self.checkpoints)
        self.node = Node(NodeOptions(NodeFacts(1, "node-1", "127.0.0.1", 0.0, 1)), [CkptEngine(), self.amf])
        self.group = LocalNetwork().group(1)
        self.path = self.folder / "aisexec.sock"
        self.listener = Listener(self.driver, self.path, self._arrived)
        self.lease = lease.Lease(str(self.folder / "lease"), writable=True)
        surroundings = Surroundings(1, "node-1", str(self.path), self.folder, lease_path=self.lease.path)
        self.processes = Processes(self.driver, surroundings, self.components, self._reported)
        self._timer = self.driver.timer(lambda: self._perform(self.node.wake(self.driver.now())))
        self._news = anyio.Event()

    # ---- wires

    def happened(self, happenings: list[Happening]) -> None:
        self._step(Happened(happenings, {}))

    def _arrived(self, arrivals: list[Arrival]) -> None:
        frames = [(client, frame) for client, frame, _ in arrivals if not isinstance(frame, Lost)]
        self._step(FromClients(frames))
        for client, frame, pid in arrivals:
            if isinstance(frame, Lost):
                self.lost.append(client)
                self.processes.connection_lost(pid)
                self._step(ClientLost(client))

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
                case Local(_, client, request, message):
                    self.local.append(message)
                    self.listener.send(client, [replies_frame([(request, Done())])])
                case Command() | Fence() | Logged():
                    pass
        self._timer.set(self.node.next_deadline())
        self._told()

    def _reported(self, requests: list[Request]) -> None:
        self.reports += requests
        self._told()

    def _told(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    # ---- the script

    async def until(self, found: Callable[[], T | None]) -> T:
        """Wait until `found` finds something."""
        with anyio.fail_after(PATIENCE):
            while not (value := found()):
                await self._news.wait()
        return value

    async def start(self, name: str, ticket: int = 1) -> None:
        """Start a component and wait until it is registered."""
        self.processes.run(Instantiate(dn(name), ticket, 1, PATIENCE))
        await self.until(lambda: self.amf.clients.get(dn(name)))

    def send(self, name: str, event: Message) -> None:
        self.listener.send(self.amf.clients[dn(name)].number, [events_frame([(Service.AMF, event)])])

    async def answer(self, invocation: int) -> Response:
        """The component's answer to an event."""

        def found() -> Response | None:
            answers = [message for _, message in self.amf.heard if isinstance(message, Response)]
            return next((answer for answer in answers if answer.invocation == invocation), None)

        return await self.until(found)

    async def csi_set(
        self, name: str, ha_state: HaState, flags: CsiFlags = CsiFlags.ADD_ONE, csi: str = CSI, **more: Any
    ) -> Response:
        """Send CsiSet and wait for the answer. An ACTIVE one gets a new epoch."""
        invocation = next(self.invocations)
        if ha_state is HaState.ACTIVE:
            more = {"epoch": next(self.epochs), "transition": Transition.NOT_QUIESCED} | more
        descriptor = CsiDescriptor(flags, csi, more.pop("attributes", {"port": ("5060",)}), **more)
        self.send(name, CsiSet(invocation, dn(name), ha_state, descriptor))
        return await self.answer(invocation)

    async def csi_remove(self, name: str, csi: str = CSI) -> Response:
        invocation = next(self.invocations)
        self.send(name, CsiRemove(invocation, dn(name), csi, CsiFlags.TARGET_ONE))
        return await self.answer(invocation)

    async def terminate(self, name: str) -> Response:
        invocation = next(self.invocations)
        self.send(name, ComponentTerminate(invocation, dn(name)))
        return await self.answer(invocation)

    async def change_attributes(self, name: str, attributes: dict[str, tuple[str, ...]]) -> Response:
        invocation = next(self.invocations)
        self.send(name, CsiAttributeChange(invocation, CSI, attributes))
        return await self.answer(invocation)

    async def healthcheck(self, name: str, key: str = "alive") -> HealthcheckResponse:
        invocation = HEALTHCHECK_INVOCATION | next(self.invocations)
        self.send(name, HealthcheckInvoked(invocation, dn(name), key))

        def found() -> HealthcheckResponse | None:
            answers = [message for message in self.local if isinstance(message, HealthcheckResponse)]
            return next((answer for answer in answers if answer.invocation == invocation), None)

        return await self.until(found)

    async def heard(self, kind: type[T]) -> T:
        """The first request of a kind."""
        return await self.until(lambda: next((m for _, m in self.amf.heard if isinstance(m, kind)), None))

    async def quiesced(self) -> QuiescingComplete:
        return await self.heard(QuiescingComplete)

    async def reported(self, kind: type[T]) -> T:
        """The first report of a kind that the processes driver made."""
        return await self.until(lambda: next((m for m in self.reports if isinstance(m, kind)), None))

    def pid(self, name: str) -> int:
        return self.processes.pids(dn(name))[0]

    async def lines(self, name: str, count: int = 1, having: str = "") -> list[str]:
        """The lines with `having` that components wrote into a file, once there are `count` of them."""
        path = self.folder / name
        with anyio.fail_after(PATIENCE):
            while True:
                whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
                lines = [line for line in whole.splitlines() if having in line]
                if len(lines) >= count:
                    return lines
                await anyio.sleep(0.005)

    def kill_self(self) -> None:
        """The executive is gone, as far as its components can see."""
        self.listener.close()


@asynccontextmanager
async def small_executive(
    folder: Path, *components: Component, checkpoints: dict[str, CheckpointPolicy] | None = None
) -> AsyncIterator[SmallExecutive]:
    async with open_driver() as driver, anyio.create_task_group() as tasks:
        named = {component.dn: component for component in components}
        executive = SmallExecutive(folder, driver, named, checkpoints or {})
        executive.listener.open()
        tasks.start_soon(executive.group.run, executive.happened)
        try:
            await executive.until(lambda: executive.node.membership)
            yield executive
        finally:
            executive.processes.close()
            executive.listener.close()
            executive.lease.close()
            tasks.cancel_scope.cancel()
