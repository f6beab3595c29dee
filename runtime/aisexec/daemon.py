"""The executive: builds the layers of one node, feeds events in and carries effects out. Nothing else knows all layers.

    group  --happenings-->  node  --effects-->  group, listener, agent, log files, log
    listener --frames-->
    agent, log files --reports-->

All of it runs in callbacks on one event loop; nothing waits but the fence command, which has a task of its own.
"""

import logging
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, assert_never

import anyio
import anyio.abc

from corosync_amf import lease as shared_lease
from corosync_amf.config.settings import ExecutiveConfig
from corosync_amf.engine import Message, NodeFacts, NodeLocks, Request, Service
from corosync_amf.services.amf.engine import AmfEngine
from corosync_amf.services.amf.messages import Failfast, FencingFailed
from corosync_amf.services.amf.model import Cluster
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.ckpt.entries import JournalEntry
from corosync_amf.services.clm.messages import RememberLocks, RememberView

from . import wiring
from .agent import Agent, surroundings_of
from .drive import Driver, open_driver
from .engines import engines_of
from .groups import Happening
from .groups.embedded import EmbeddedGroup
from .ipc import Arrival, Listener, ListenerOptions, Lost
from .journal import Journal, UnknownJournal
from .logfiles import Files
from .logwriter import LogWriter
from .node import ClientLost, Fenced, FromClients, Happened, Node, NodeEvent, NodeOptions, Report
from .outbox import CloseClient, Command, Fence, Local, Logged, NodeEffect, Payloads, ToClient
from .quorum import lease_deadline
from .remembered import ERA, LOCKS, VIEW, Remembered

log = logging.getLogger("aisexec")

BACKLOG_BYTES_HIGH: Final = 2 * 1024 * 1024
"""Above this much in the queue of the ring, clients are read no further until half of it has gone."""
LEASE_LOOKS: Final = 16
"""How often within a token timeout the lease is looked at."""
DISK_SECONDS: Final = 5.0
"""How long an executive that stops waits for its disk."""
BLOCKED_FILE: Final = "blocked"


@dataclass(frozen=True, slots=True)
class Daemon:
    """What `run` is told. `development` is the directory of a development cluster's node, None outside one."""

    config: ExecutiveConfig
    cluster: Cluster
    amf_directory: Path
    key: bytes | None
    socket_path: Path
    allowed: ListenerOptions
    development: Path | None = None


async def run(daemon: Daemon) -> None:
    """Take part in the cluster until SIGTERM or SIGINT, then leave it in order.

    Raises: TransportError: the network cannot be used as configured; AddressUnusable: another executive runs here, or
        there can be no socket.
    """
    options = wiring.embedded_options(daemon.config, daemon.key, time.time(), random.random())
    group = EmbeddedGroup(options)
    async with open_driver() as driver, anyio.create_task_group() as tasks:
        executive = Executive(daemon, group, options.incarnation, driver, tasks)
        try:
            executive.open()
            tasks.start_soon(group.run, executive.happened)
            await _until_stopped(executive)
            log.info("the executive stops")
            await executive.stop()
        finally:
            executive.close()
            tasks.cancel_scope.cancel()


async def _until_stopped(executive: "Executive") -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGUSR2) as signals:
        notify_systemd("READY=1")
        async for number in signals:
            if number != signal.SIGUSR2:
                return
            executive.read_blocked()


class ServiceDriver(Protocol):
    """What carries out, on this node, the commands of one service, and answers what is this node's own."""

    def run(self, command: Any, /) -> None: ...
    def ask(self, client: int, request: int, message: Any, /) -> None: ...


class Executive:
    """One node's layers, and the wires between them."""

    def __init__(
        self,
        daemon: Daemon,
        group: EmbeddedGroup,
        incarnation: int,
        driver: Driver,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        """Raises: AddressUnusable: another executive listens at the socket, or it cannot be made."""
        config = daemon.config
        self._daemon = daemon
        self._group = group
        self._driver = driver
        self._tasks = tasks
        self._listener = Listener(driver, daemon.socket_path, self._arrived, daemon.allowed)
        self._listener.open()  # first: where another executive runs, its lease, files and components stay untouched
        self._quorum = wiring.quorum_options(config)
        self._remembered = Remembered(config.persistence_directory)
        self._journal = self._open_journal()
        self._facts = NodeFacts(
            config.node_id,
            config.node_name,
            config.interfaces[0].bind_address,
            time.time() - time.clock_gettime(time.CLOCK_BOOTTIME),
            incarnation,
            self._remembered.recall(VIEW, 0),
            self._journal is not None,
            self._remembered.recall(LOCKS, NodeLocks()),
        )
        options = NodeOptions(
            self._facts,
            self._quorum,
            self._next_era(),
            time.time() - driver.now(),
            fence=config.quorum.fence is not None,
            fence_required=config.quorum.fence_required,
        )
        self._amf = AmfEngine(daemon.cluster)
        clm, evt = wiring.clm_settings(config, daemon.cluster), wiring.evt_settings(config)
        self.node = Node(options, engines_of(self._amf, clm, evt))
        self._lease = shared_lease.Lease(f"{daemon.socket_path}.lease", writable=True)
        around = surroundings_of(self._facts, daemon.socket_path, daemon.amf_directory, self._lease.path, os.environ)
        self._agent = Agent(
            daemon.cluster, self._facts, around, driver, self._reporter(Service.AMF), self._listener.send
        )
        files = Files(wiring.log_directory(config, daemon.socket_path))
        self._log_writer = LogWriter(files, driver, self._reporter(Service.LOG), self._listener.send)
        self._drivers: dict[int, ServiceDriver] = {Service.AMF: self._agent, Service.LOG: self._log_writer}
        self._timer = driver.timer(self._wake)
        self._lease_timer = driver.timer(self._look_at_lease)
        self._paused: set[int] = set()
        self._frozen = False
        self._fence_told = 0

    # ---- life

    def open(self) -> None:
        for level, text in wiring.quorum_warnings(self._daemon.config, self._daemon.cluster):
            log.log(level, "%s", text)
        self._tasks.start_soon(self._remembered.work)
        if self._journal is not None:
            self._tasks.start_soon(self._journal.work)
        self._look_at_lease()

    async def stop(self) -> None:
        """Leave in order: nothing of AMF's runs here any more when the others hear the goodbye."""
        self._lease_timer.set(None)
        await self._agent.stop()
        with anyio.move_on_after(DISK_SECONDS):
            await self._remembered.drained()
            if self._journal is not None:
                await self._journal.drained()
        await self._group.leave()

    def close(self) -> None:
        self._lease_timer.set(None)
        self._agent.close()
        self._listener.close()
        self._log_writer.close()
        if self._journal is not None:
            self._journal.close()
        counters = ", ".join(f"{name} {count}" for name, count in self._group.counters.items() if count)
        log.info("counters: %s", counters)
        self._lease.deadline = 0.0
        self._lease.close()

    # ---- events in

    def happened(self, happenings: list[Happening]) -> None:
        self._step(Happened(happenings, self._group.heard, self._group.departed))
        if self._paused and self._backlog() < BACKLOG_BYTES_HIGH // 2:
            paused, self._paused = self._paused, set()
            for client in sorted(paused):
                self._listener.resume_reading(client)

    def _arrived(self, arrivals: list[Arrival]) -> None:
        frames = [(client, frame) for client, frame, _ in arrivals if not isinstance(frame, Lost)]
        for client, frame, pid in arrivals:
            self._agent.client_said(client, frame, pid)
        if frames:
            self._step(FromClients(frames))
        for client, frame, _ in arrivals:
            if isinstance(frame, Lost):
                self._step(ClientLost(client))
        if self._backlog() > BACKLOG_BYTES_HIGH:
            for client in {client for client, _ in frames}:
                self._paused.add(client)
                self._listener.pause_reading(client)

    def _backlog(self) -> int:
        waiting = 0 if self._journal is None else self._journal.backlog_bytes
        return self._group.backlog_bytes + self.node.held_bytes + waiting

    def _reporter(self, service: Service) -> Callable[[list[Request]], None]:
        return lambda requests: self._step(Report(service, requests))

    def _wake(self) -> None:
        self._perform(self.node.wake(self._driver.now()))

    def _step(self, event: NodeEvent) -> None:
        self._perform(self.node.handle(event, self._driver.now()))

    # ---- effects out

    def _perform(self, effects: list[NodeEffect]) -> None:
        """Multicasts come last: the ring may deliver them at once, and what follows from that follows these effects."""
        payloads: list[bytes] = []
        prompt = False
        for effect in effects:
            match effect:
                case Payloads():
                    payloads += effect.payloads
                    prompt |= effect.prompt
                case ToClient(client, frames, was_awaited):
                    self._listener.send(client, frames)
                    if was_awaited:
                        self._group.expect()
                case CloseClient(client, reason):
                    self._listener.close_client(client, reason)
                case Command(service, command):
                    self._command(service, command)
                case Local(service, client, request, message):
                    self._drivers[service].ask(client, request, message)
                case Logged(level, text):
                    log.log(level, "%s", text)
                case Fence(ring_seq, nodes):
                    self._tasks.start_soon(self._fence, ring_seq, nodes)
                case _:
                    assert_never(effect)
        self._log_writer.flush()
        if payloads:
            self._group.multicast_many(payloads, prompt=prompt)
        self._timer.set(self.node.next_deadline())

    def _command(self, service: int, command: Message) -> None:
        """Carry out what an engine wants done on this node; each service has its own commands."""
        match service:
            case Service.CKPT:
                assert self._journal is not None  # only a node that says it is persistent gets these
                self._journal.run(command)  # type: ignore[arg-type]  # one of CKPT's
            case Service.CLM if isinstance(command, RememberView):
                self._remembered.remember(VIEW, command.view_number)
            case Service.CLM if isinstance(command, RememberLocks):
                self._remembered.remember(LOCKS, command.locks)
            case Service.CLM:
                self._agent.run(Failfast("an operator resets the node"))
            case _:
                self._drivers[service].run(command)

    def _open_journal(self) -> Journal | None:
        directory = self._daemon.config.persistence_directory
        if directory is None:
            return None
        journal = Journal(Path(directory), self._journal_contents, self._reporter(Service.CKPT))
        try:
            journal.load()
        except (OSError, UnknownJournal) as error:
            log.error("JOURNAL: %s cannot be used, no checkpoints are kept on disk here: %s", journal.path, error)
            return None
        return journal

    def _journal_contents(self) -> list[JournalEntry]:
        engine = self.node.engines[Service.CKPT]
        assert isinstance(engine, CkptEngine)
        return engine.contents()

    # ---- lease, fence, files

    def _look_at_lease(self) -> None:
        """Publish how long this node may keep active components; stop them when that is over."""
        now = self._driver.now()
        change = self.node.membership
        deadline = lease_deadline(self._quorum, self._facts.node_id, self._group.known_heard, self.node.kin)
        self._lease.deadline = deadline + (shared_lease.clock() - now)
        if (now >= deadline) != self._frozen and change is not None and change.quorate:
            self._frozen = not self._frozen
            log.warning("LEASE: %s", "over: active components are stopped" if self._frozen else "renewed: they go on")
            if self._frozen:
                self._agent.freeze(self._amf.actives(self._facts.node_id))
            else:
                self._agent.thaw()
        look = now + self._daemon.config.totem.token / LEASE_LOOKS
        self._lease_timer.set(min(look, deadline) if deadline > now else look)

    async def _fence(self, ring_seq: int, nodes: tuple[NodeFacts, ...]) -> None:
        command = self._daemon.config.quorum.fence
        assert command is not None
        failed: list[Request] = []
        for node in nodes:
            wrong = await self._fence_one([*command, node.name, str(node.node_id)])
            if wrong:
                failed.append(FencingFailed(node.name, node.node_id, node.address, wrong))
        if failed and ring_seq != self._fence_told:
            self._fence_told = ring_seq
            self._step(Report(Service.AMF, failed))
        self._step(Fenced(ring_seq, not failed))

    async def _fence_one(self, command: list[str]) -> str:
        """Run the command; what is wrong with it, "" when the node is surely off."""
        try:
            with anyio.fail_after(self._daemon.config.quorum.fence_timeout):
                done = await anyio.run_process(command, check=False)
        except (OSError, TimeoutError) as error:
            wrong = str(error) or "no answer in time"
            log.error("FENCE: %s: %s", command[0], wrong)
            return wrong
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        log.warning("FENCE: %s of %s: exit %d %s", command[0], command[-2], done.returncode, said)
        return f"exit {done.returncode} {said}".rstrip() if done.returncode else ""

    def read_blocked(self) -> None:
        """In a development cluster: drop what comes from the nodes that a file lists (a partition)."""
        if self._daemon.development is None:
            return
        try:
            words = (self._daemon.development / BLOCKED_FILE).read_text().split()
        except OSError:
            words = []
        blocked = {int(word) for word in words if word.isdecimal()}
        nodes = [node for node in self._daemon.config.nodes if node.node_id not in blocked]
        self._group.transport.admit_only(frozenset(node.ip_addresses[0] for node in nodes))
        log.warning("development: packets of nodes %s are dropped", sorted(blocked) or "-")

    def _next_era(self) -> int:
        chosen = wiring.era(self._remembered.recall(ERA, 0), time.time())
        self._remembered.store(ERA, chosen)
        return chosen


def notify_systemd(text: str) -> None:
    """Tell the service manager, where there is one (sd_notify)."""
    import socket

    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] in ("/", "@"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            try:
                manager.sendto(text.encode(), address.replace("@", "\0", 1))
            except OSError as error:
                log.warning("the service manager cannot be told: %s", error)
