"""AMF on this node: what is carried out and watched here, outside the order.

Commands of the engine go to `processes`; healthchecks and process monitoring to `supervision` (pure), which has its
descendants watched by `watcher`; what they find becomes requests for the order.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import assert_never

from corosync_amf.ais import Dn
from corosync_amf.engine import NodeFacts, NodeLocal, Request, Service
from corosync_amf.services.amf.messages import (
    AmfCommand,
    AwaitExit,
    Cleanup,
    Instantiate,
    Monitor,
    PmErrors,
    PmStart,
    Terminate,
)
from corosync_amf.services.amf.model import Cluster, Index
from corosync_amf.wire import Ask, Hello, Requests, events_frame, replies_frame

from . import supervision as watch
from .drive import Driver
from .ipc import Lost
from .processes import Processes
from .spawning import Surroundings
from .watcher import Watcher, owner_of
from .watches import Unwatch, Watch

log = logging.getLogger("aisexec.agent")

Send = Callable[[int, list[bytes]], object]


class Agent:
    """`report` puts requests into the order; `send` sends frames to a client of this node."""

    def __init__(
        self,
        cluster: Cluster,
        facts: NodeFacts,
        surroundings: Surroundings,
        driver: Driver,
        report: Callable[[list[Request]], None],
        send: Send,
    ) -> None:
        index = Index(cluster)
        node = next((node for node in cluster.nodes if facts.name in (node.name, node.clm_node)), None)
        failfast = None if node is None else node.failfast_command
        self._driver = driver
        self._report = report
        self._send = send
        self._pids: dict[int, int] = {}
        self._processes = Processes(driver, surroundings, index.components, report, failfast_command=failfast)
        self._processes.kill_leftovers()
        self._supervision = watch.Supervision(index.components, time.time() - driver.now())
        self._watcher = Watcher(driver, self._process_ended)
        self._timer = driver.timer(lambda: self._perform(self._supervision.wake(self._driver.now())))

    # ---- commands

    def run(self, command: AmfCommand) -> None:
        """Carry out a command of the engine."""
        match command:
            case Monitor(component, instance):
                self._supervise(watch.Monitored(component, instance))
                return
            case Instantiate():
                self._supervise(watch.Begun(command.component, command.ticket))
            case Terminate() | AwaitExit() | Cleanup():
                self._supervise(watch.Over(command.component))
            case _:
                pass
        self._processes.run(command)

    # ---- clients

    def client_said(self, client: int, frame: Hello | Requests | Ask | Lost, pid: int) -> None:
        """Take note of which process is behind a connection, and of its end."""
        if isinstance(frame, Hello):
            self._pids[client] = pid
            if frame.component is not None:
                self._processes.greeted(frame.component, pid)
        elif isinstance(frame, Lost):
            self._processes.connection_lost(self._pids.pop(client, 0))
            self._supervise(watch.ClientEnded(client))

    def ask(self, client: int, request: int, message: NodeLocal) -> None:
        """Answer a question that is this node's own."""
        is_alive = is_own = True
        if isinstance(message, PmStart):
            owner, asking = owner_of(message.process_id), owner_of(self._pids.get(client, 0))
            is_alive, is_own = owner is not None, asking in (0, owner)
        self._supervise(watch.Asked(client, request, message, is_alive, is_own))  # type: ignore[arg-type]

    # ---- supervision

    def _supervise(self, event: watch.SupervisionEvent) -> None:
        self._perform(self._supervision.handle(event, self._driver.now()))

    def _process_ended(self, root: int, pid: int, how: PmErrors | None) -> None:
        self._supervise(watch.ProcessEnded(root, pid, how))

    def _perform(self, effects: list[watch.SupervisionEffect]) -> None:
        self._timer.set(self._supervision.next_deadline())
        for effect in effects:
            match effect:
                case watch.Answer(client, request, message):
                    self._send(client, [replies_frame([(request, message)])])
                case watch.Tell(client, message):
                    self._send(client, [events_frame([(Service.AMF, message)])])
                case watch.Report(fault):
                    log.warning("%s: %s", fault.component, fault.detail)
                    self._report([fault])
                case watch.RunCheck():
                    self._check(effect)
                case Watch(pid, depth):
                    self._watcher.watch(pid, depth)
                case Unwatch(pid):
                    self._watcher.unwatch(pid)
                case _:
                    assert_never(effect)

    def _check(self, wanted: watch.RunCheck) -> None:
        def checked(ok: bool, detail: str) -> None:
            self._supervise(watch.Checked(wanted.component, wanted.instance, ok, detail))

        self._processes.check(wanted.component, wanted.timeout, checked)

    # ---- all at once

    def freeze(self, components: Collection[Dn]) -> None:
        """Stop components where they are: the lease is over."""
        self._processes.freeze(components)
        self._supervise(watch.Freeze(frozenset(components)))

    def thaw(self) -> None:
        """Let them go on."""
        self._processes.thaw()
        self._supervise(watch.Thaw())

    async def stop(self) -> None:
        """End all components of this node."""
        self._end_supervision()
        await self._processes.stop()

    def close(self) -> None:
        """Let go of everything, without waiting."""
        self._end_supervision()
        self._processes.close()

    def _end_supervision(self) -> None:
        self._timer.set(None)
        self._watcher.close()


def surroundings_of(
    facts: NodeFacts, socket_path: Path, directory: Path, lease_path: str, environ: Mapping[str, str]
) -> Surroundings:
    """What the components of a node find around them."""
    return Surroundings(
        facts.node_id, facts.name, str(socket_path), directory, lease_path=lease_path, environ=dict(environ)
    )
