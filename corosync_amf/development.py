"""A cluster of executives on this machine's loopback, for development, tests and demonstrations. Not for production.

    async with development_cluster(Path("amf.conf")) as cluster:
        await cluster.until_assigned()
        fault = await cluster.kill_component()
        print(await cluster.breakdown(fault))

No root is needed. Every node has its own address (127.0.0.1, 127.0.0.2, ...), socket, log and files below one
directory, and whatever happens all its processes are gone at the end.
"""

import math
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio

from corosync_amf.ais import AdminOperation, Assignment, Dn
from corosync_amf.development_nodes import (
    DevelopmentNode,
    environment_of,
    is_leader,
    kill_all,
    node_processes,
    prepare,
    send_signal,
    start,
    sweep,
)
from corosync_amf.errors import AisError, NotExist, TimedOut
from corosync_amf.services import amf
from corosync_amf.services.amf.messages import FailoverStatus, InstanceStatus, Status

POLL: Final = 0.02


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to the cluster, to what, and when (seconds since the epoch)."""

    what: str
    target: str
    time: float
    si: Dn


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Where the time of one failover went, in milliseconds since the fault; None: not known.

    `detect` until AMF knew, `decide` until the standby was told, `activate` until it had confirmed ACTIVE.
    """

    fault: Fault
    detect: float | None
    decide: float | None
    activate: float | None
    total: float

    def __str__(self) -> str:
        stages = {"detect": self.detect, "decide": self.decide, "activate": self.activate}
        parts = ", ".join(f"{name} {value:.0f}" for name, value in stages.items() if value is not None)
        return f"failover {self.total:.0f} ms ({parts})"


@dataclass(slots=True)
class DevelopmentCluster:
    """See the module. Made by `development_cluster`."""

    directory: Path
    amf_conf: Path
    nodes: list[DevelopmentNode]
    environ: dict[str, str] = field(default_factory=dict)

    # ---- nodes

    def start_node(self, node: DevelopmentNode) -> None:
        """Start (or restart) a node's executive."""
        start(node, {**self.environ, "COROSYNC_AMF_CONFIG_FILE": str(self.amf_conf.absolute())})

    def stop_all(self) -> None:
        """End every process of the cluster, orderly where that works, and wait until they are gone."""
        for node in self.nodes:
            if node.running and node.process is not None:
                if node.frozen:
                    kill_all(node_processes(node))
                else:
                    node.process.terminate()
        deadline = time.monotonic() + 10.0
        for node in self.nodes:
            if node.process is None:
                continue
            try:
                node.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                kill_all(node_processes(node))
                node.process.wait()
        for node in self.nodes:
            sweep(node.directory)

    def node(self, name: str) -> DevelopmentNode:
        """Raises: NotExist: no such node."""
        for node in self.nodes:
            if name in (node.name, str(node.node_id)):
                return node
        raise NotExist(f"no node {name!r}; there are {', '.join(node.name for node in self.nodes)}")

    @property
    def survivors(self) -> list[DevelopmentNode]:
        """The nodes that run and are not cut off from the others."""
        return [node for node in self.nodes if node.running and not node.frozen and not node.cut]

    # ---- what is going on

    @asynccontextmanager
    async def service(self, node: DevelopmentNode | None = None) -> AsyncIterator[amf.AmfService]:
        """A session with AMF on a node (any that answers, by default)."""
        candidates = [node] if node else self.survivors
        for candidate in candidates:
            try:
                service = await amf.initialize(address=str(candidate.socket_path))
            except AisError:
                if candidate is candidates[-1]:
                    raise
                continue
            try:
                yield service
            finally:
                await _finalize(service)
            return
        raise NotExist("no node of the cluster is running")

    async def status(self) -> Status:
        """AMF's status, from a node that answers."""
        async with self.service() as service:
            return await service.status()

    async def until(self, condition: Callable[[Status], bool], what: str, timeout: float = 30.0) -> Status:
        """Wait until AMF's status satisfies `condition`.

        Raises: TimedOut (SA_AIS_ERR_TIMEOUT): it does not within `timeout` seconds, or every executive has ended.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not any(node.running for node in self.nodes):
                raise TimedOut(f"{what}: every executive has ended; logs are in {self.directory}")
            try:
                async with self.service() as service:
                    while time.monotonic() < deadline:
                        status = await service.status()
                        if condition(status):
                            return status
                        await anyio.sleep(POLL)
            except AisError:
                await anyio.sleep(POLL)
        raise TimedOut(f"{what}: not within {timeout:g} s; logs are in {self.directory}")

    async def until_assigned(self, timeout: float = 30.0) -> Status:
        """Wait until every service instance is fully assigned."""
        return await self.until(_all_assigned, "not every service instance is fully assigned", timeout)

    async def repair(self, timeout: float = 30.0) -> Status:
        """End partitions, thaw and start nodes, and wait until all are members and all work is assigned."""
        self.heal()
        for node in self.nodes:
            if node.running and node.frozen:
                self.thaw_node(node.name)
            if not node.running:
                self.start_node(node)

        def is_whole(status: Status) -> bool:
            members = sum(node.node_id is not None for node in status.nodes)
            return members == len(self.nodes) and _all_assigned(status)

        return await self.until(is_whole, "the cluster is not whole", timeout)

    def component_process(self, component: Dn) -> int:
        """The process id of a component. Raises: NotExist: it is not running."""
        for node in self.nodes:
            for pid in node_processes(node):
                if environment_of(pid).get("SA_AMF_COMPONENT_NAME") == component and is_leader(pid):
                    return pid
        raise NotExist(f"{component} is not running")

    def signal_component(self, component: Dn, number: signal.Signals) -> None:
        """Send a signal to a component's process. Raises: NotExist: it is not running."""
        os.kill(self.component_process(component), number)

    async def stop_node(self, name: str) -> None:
        """End a node's executive in order (SIGTERM), and wait until it has ended. Raises: NotExist: no such node."""
        process = self.node(name).process
        if process is not None:
            process.terminate()
            await anyio.to_thread.run_sync(process.wait)

    # ---- faults

    async def kill_component(self, si: str | None = None) -> Fault:
        """SIGKILL to the active component of a service instance (the first, by default)."""
        fault = await self._fault("kill -9 of the component", si)
        component = await self._active_component(fault.si)
        self.signal_component(component, signal.SIGKILL)
        return fault

    async def kill_node(self, name: str | None = None, si: str | None = None) -> Fault:
        """SIGKILL to the executive and all components of a node (that of the active one, by default)."""
        fault = await self._fault("kill of the node", si)
        node = self.node(name) if name else await self.active_node(fault.si)
        kill_all(node_processes(node))
        if node.process is not None:
            await anyio.to_thread.run_sync(node.process.wait)
        return fault

    async def freeze_node(self, name: str | None = None, si: str | None = None) -> Fault:
        """SIGSTOP to all of a node: it holds its sockets and answers nothing, until it is fenced or thawed."""
        fault = await self._fault("freeze of the node", si)
        node = self.node(name) if name else await self.active_node(fault.si)
        for pid in node_processes(node):
            send_signal(pid, signal.SIGSTOP)
        node.frozen = True
        return fault

    def thaw_node(self, name: str) -> None:
        """Let a frozen node go on."""
        node = self.node(name)
        for pid in reversed(node_processes(node)):
            send_signal(pid, signal.SIGCONT)
        node.frozen = False

    async def partition(self, *names: str) -> Fault:
        """Cut the named nodes (that of the active one, by default) off from the others, in both directions."""
        fault = await self._fault("partition of the node", None)
        cut = {self.node(name).node_id for name in names} or {(await self.active_node(fault.si)).node_id}
        for node in self.nodes:
            others = {other.node_id for other in self.nodes} - {node.node_id}
            node.cut = node.node_id in cut and 2 * len(cut) < len(self.nodes)
            self._block(node, others - cut if node.node_id in cut else others & cut)
        return fault

    def heal(self) -> None:
        """End all partitions."""
        for node in self.nodes:
            node.cut = False
            self._block(node, set())

    async def swap(self, si: str | None = None) -> Fault:
        """Let active and standby change places."""
        fault = await self._fault("swap", si)
        async with self.service() as service:
            await service.admin(fault.si, AdminOperation.SI_SWAP, timeout=30.0)
        return fault

    async def breakdown(self, fault: Fault, timeout: float = 30.0) -> Breakdown:
        """Wait until the service instance has another active unit, and tell where the time went.

        Raises: TimedOut (SA_AIS_ERR_TIMEOUT): it has not within `timeout` seconds.
        """
        status = await self.until(
            lambda status: _failover_of(status, fault) is not None, f"{fault.si} has no new active unit", timeout
        )
        failover = _failover_of(status, fault)
        assert failover is not None
        assert failover.active is not None
        detected = _milliseconds(fault.time, failover.detected)
        decided = failover.cleaned or failover.decided
        return Breakdown(
            fault,
            detected,
            _milliseconds(failover.detected, decided),
            _milliseconds(decided, failover.active),
            (failover.active - fault.time) * 1000,
        )

    async def active_node(self, si: Dn | None = None) -> DevelopmentNode:
        """The node that hosts the active unit of a service instance. Raises: NotExist: there is none."""
        status = await self.status()
        active = _instance(status, si).active
        if not active:
            raise NotExist(f"{_instance(status, si).dn} has no active unit")
        unit = next(unit for unit in status.units if unit.dn == active[0])
        return self.node(unit.node)

    async def _active_component(self, si: Dn) -> Dn:
        status = await self.status()
        active = _instance(status, si).active
        for csi in status.csis:
            for assignment in csi.assignments:
                if csi.dn.endswith(f",{si}") and assignment.su in active:
                    return assignment.component
        raise NotExist(f"{si} has no active component")

    async def _fault(self, what: str, si: str | None) -> Fault:
        status = await self.status()
        instance = _instance(status, si)
        if not instance.active:
            raise NotExist(f"{instance.dn} has no active unit")
        return Fault(what, instance.active[0], time.time(), instance.dn)

    def _block(self, node: DevelopmentNode, node_ids: set[int]) -> None:
        (node.directory / "blocked").write_text(" ".join(str(node_id) for node_id in sorted(node_ids)))
        if node.running and node.process is not None:
            node.process.send_signal(signal.SIGUSR2)


@asynccontextmanager
async def development_cluster(
    amf_conf: Path,
    *,
    count: int = 3,
    directory: Path | None = None,
    token: int = 1000,
    environ: dict[str, str] | None = None,
    fence: bool = True,
) -> AsyncIterator[DevelopmentCluster]:
    """Start `count` executives on loopback with one `amf.conf`; leaving the block ends all their processes.

    `token` is the token timeout in milliseconds. With `fence` a lost node's processes are killed before its work is
    taken over, as a power switch would. Files are kept in `directory`, or in a temporary one that is removed.
    """
    with tempfile.TemporaryDirectory(prefix="amf-") as temporary:
        place = directory or Path(temporary)
        nodes = prepare(place, count, token, fence)
        cluster = DevelopmentCluster(place, amf_conf, nodes, environ or {})
        try:
            for node in nodes:
                cluster.start_node(node)
            yield cluster
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(cluster.stop_all)


async def _finalize(service: amf.AmfService) -> None:
    """End a session whose executive may be gone by now."""
    with anyio.CancelScope(shield=True):
        try:
            await service.finalize()
        except AisError:
            pass


# ---- reading a status


def _instance(status: Status, si: Dn | None) -> InstanceStatus:
    """The service instance that `si` names (by DN or by its own name), the first one by default."""
    for instance in status.instances:
        if si in (None, instance.dn, instance.dn.split(",", 1)[0].partition("=")[2]):
            return instance
    raise NotExist(f"no service instance {si!r}" if si else "no service instance is configured")


def _all_assigned(status: Status) -> bool:
    return bool(status.instances) and all(
        instance.assignment is Assignment.FULLY_ASSIGNED for instance in status.instances
    )


def _failover_of(status: Status, fault: Fault) -> FailoverStatus | None:
    """The first completed failover of the fault's service instance that was decided after the fault."""
    for failover in status.failovers:
        if failover.si == fault.si and failover.active is not None and (failover.decided or -math.inf) >= fault.time:
            return failover
    return None


def _milliseconds(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, (end - start) * 1000)
