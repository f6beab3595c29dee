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
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio

from corosync_amf.ais import AdminOperation, Assignment, Dn
from corosync_amf.errors import AisError, NotExist, TimedOut
from corosync_amf.services import amf
from corosync_amf.services.amf.messages import FailoverStatus, InstanceStatus, Status

NODE_NAMES: Final = tuple(f"node-{letter}" for letter in "abcdefghijklmnop")
POLL: Final = 0.02
KEY_BYTES: Final = 128
MARK: Final = "AMF_DEVELOPMENT_NODE"
"""An environment variable by which the processes of a node are known, the executive and all that it starts."""


@dataclass(slots=True)
class DevelopmentNode:
    """One executive of the cluster and where its files are."""

    name: str
    node_id: int
    address: str
    directory: Path
    process: subprocess.Popen[bytes] | None = None
    frozen: bool = False
    cut: bool = False

    @property
    def socket_path(self) -> Path:
        return self.directory / "aisexec.sock"

    @property
    def log_path(self) -> Path:
        return self.directory / "aisexec.log"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to the cluster, to what, and when (seconds since the epoch)."""

    what: str
    target: str
    time: float
    si: Dn
    active_before: Dn


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
        environ = {
            **os.environ,
            **self.environ,
            "COROSYNC_MAIN_CONFIG_FILE": str(node.directory / "corosync.conf"),
            "COROSYNC_AMF_CONFIG_FILE": str(self.amf_conf.absolute()),
            "COROSYNC_TOTEM_AUTHKEY_FILE": str(self.directory / "authkey"),
            "COROSYNC_AMF_SOCKET": str(node.socket_path),
            MARK: str(node.directory),
        }
        with node.log_path.open("ab") as log:
            command = [sys.executable, "-m", "aisexec", "--development", str(node.directory)]
            node.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, start_new_session=True
            )
        node.frozen = False

    def stop_all(self) -> None:
        """End every process of the cluster, orderly where that works, and wait until they are gone."""
        for node in self.nodes:
            if node.running and node.process is not None:
                if node.frozen:
                    _kill_all(_node_processes(node))
                else:
                    node.process.terminate()
        deadline = time.monotonic() + 10.0
        for node in self.nodes:
            if node.process is None:
                continue
            try:
                node.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill_all(_node_processes(node))
                node.process.wait()

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

        Raises: TimedOut (SA_AIS_ERR_TIMEOUT): it does not within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
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

    def component_process(self, component: Dn) -> int:
        """The process id of a component. Raises: NotExist: it is not running."""
        for node in self.nodes:
            for pid in _node_processes(node):
                if _environment(pid).get("SA_AMF_COMPONENT_NAME") == component and _is_leader(pid):
                    return pid
        raise NotExist(f"{component} is not running")

    def signal_component(self, component: Dn, number: signal.Signals) -> None:
        """Send a signal to a component's process. Raises: NotExist: it is not running."""
        os.kill(self.component_process(component), number)

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
        _kill_all(_node_processes(node))
        if node.process is not None:
            await anyio.to_thread.run_sync(node.process.wait)
        return fault

    async def freeze_node(self, name: str | None = None, si: str | None = None) -> Fault:
        """SIGSTOP to all of a node: it holds its sockets and answers nothing, until it is fenced or thawed."""
        fault = await self._fault("freeze of the node", si)
        node = self.node(name) if name else await self.active_node(fault.si)
        for pid in _node_processes(node):
            _signal(pid, signal.SIGSTOP)
        node.frozen = True
        return fault

    def thaw_node(self, name: str) -> None:
        """Let a frozen node go on."""
        node = self.node(name)
        for pid in reversed(_node_processes(node)):
            _signal(pid, signal.SIGCONT)
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
        return Fault(what, instance.active[0], time.time(), instance.dn, instance.active[0])

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
        nodes = _prepare(place, count, token, fence)
        cluster = DevelopmentCluster(place, amf_conf, nodes, environ or {})
        try:
            for node in nodes:
                cluster.start_node(node)
            yield cluster
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(cluster.stop_all)


def _prepare(place: Path, count: int, token: int, fence: bool) -> list[DevelopmentNode]:
    place.mkdir(parents=True, exist_ok=True)
    key = place / "authkey"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(KEY_BYTES))
        key.chmod(0o400)
    port = _free_port(count)
    nodes = [
        DevelopmentNode(name, number, f"127.0.0.{number}", place / name)
        for number, name in enumerate(NODE_NAMES[:count], 1)
    ]
    fence_line = ""
    if fence:
        command = place / "fence"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m corosync_amf.development "{place}" "$1"\n')
        command.chmod(0o755)
        fence_line = f"\tfence: {command}\n"
    for node in nodes:
        node.directory.mkdir(exist_ok=True)
        (node.directory / "corosync.conf").write_text(_corosync_conf(node, nodes, port, token, fence_line))
        (node.directory / "blocked").unlink(missing_ok=True)
    return nodes


def _corosync_conf(node: DevelopmentNode, nodes: list[DevelopmentNode], port: int, token: int, fence: str) -> str:
    listed = "".join(
        f"\tnode {{\n\t\tring0_addr: {other.address}\n\t\tname: {other.name}\n\t\tnodeid: {other.node_id}\n\t}}\n"
        for other in nodes
    )
    return (
        f"totem {{\n\tversion: 2\n\tcluster_name: development\n\ttransport: udpu\n\ttoken: {token}\n"
        f"\tnodeid: {node.node_id}\n"
        f"\tinterface {{\n\t\tbindnetaddr: {node.address}\n\t\tmcastport: {port}\n\t}}\n}}\n"
        f"nodelist {{\n{listed}}}\nquorum {{\n\tprovider: corosync_votequorum\n{fence}}}\n"
        f"persistence {{\n\tdirectory: {node.directory}\n}}\n"
        "logging {\n\tto_stderr: yes\n}\n"
    )


def _free_port(count: int) -> int:
    """A UDP port that is free on the addresses of all nodes."""
    for _ in range(100):
        port = 20_000 + secrets.randbelow(20_000)
        try:
            for number in range(1, count + 1):
                for candidate in (port, port - 1):
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                        probe.bind((f"127.0.0.{number}", candidate))
        except OSError:
            continue
        return port
    raise TimedOut("no free port on the loopback addresses")


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


# ---- processes of one node: the executive and all below it


def _node_processes(node: DevelopmentNode) -> list[int]:
    """The executive first, then what was started below it, found by the mark in their environment."""
    own = [] if node.process is None or node.process.poll() is not None else [node.process.pid]
    others = [pid for pid in _marked_processes(node.directory) if pid not in own]
    return own + others


def _marked_processes(directory: Path) -> list[int]:
    pids = sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    own = os.getpid()
    return [pid for pid in pids if pid != own and _environment(pid).get(MARK) == str(directory)]


def _environment(pid: int) -> dict[str, str]:
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition("=") for item in data.decode(errors="replace").split("\0"))
    return {name: value for name, _, value in pairs}


def _is_leader(pid: int) -> bool:
    """Whether the process leads its process group: a component's first process does."""
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _kill_all(pids: list[int]) -> None:
    for pid in pids:
        _signal(pid, signal.SIGKILL)


def fence(place: Path, node_name: str) -> None:
    """Kill what is left of a node and wait until it is gone: the development cluster's power switch."""
    pids = _marked_processes(place / node_name)
    _kill_all(pids)
    deadline = time.monotonic() + 5.0
    while any(_is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            sys.exit(f"{node_name} is still there")
        time.sleep(0.001)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    fence(Path(sys.argv[1]), sys.argv[2])
