"""The nodes of a development cluster: their files, and the processes that belong to each.

A script among the files is what the executives are told to fence one another with: the cluster's power switch.
"""

import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from corosync_amf.errors import TimedOut

NODE_NAMES: Final = tuple(f"node-{letter}" for letter in "abcdefghijklmnop")
KEY_BYTES: Final = 128
MARK: Final = "AMF_DEVELOPMENT_NODE"
"""An environment variable by which the processes of a node are known, the executive and all that it starts."""
SWEEP_SECONDS: Final = 5.0
FENCE: Final = """#!/bin/sh
# The power switch of the development cluster: kills what is left of the node $1 and waits until it is gone.
# In shell, because every millisecond counts before the others may take over.
left() {{ grep -lxzF -e "{mark}={place}/$1" /proc/[0-9]*/environ 2>/dev/null | cut -d / -f 3; }}
tries=0
while pids=$(left "$1") && [ -n "$pids" ]; do
    kill -9 $pids 2>/dev/null
    tries=$((tries + 1))
    [ $tries -le 500 ] || {{ echo "$1 is still there" >&2; exit 1; }}
    sleep 0.005
done
"""
_PR_SET_PDEATHSIG: Final = 1


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


def prepare(place: Path, count: int, token: int, fence: bool) -> list[DevelopmentNode]:
    """Write the files of `count` nodes below `place`; see `development_cluster` for `token` and `fence`."""
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
        command.write_text(FENCE.format(mark=MARK, place=place))
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


# ---- processes of one node: the executive and all below it


def start(node: DevelopmentNode, environ: dict[str, str]) -> None:
    """Start a node's executive. It and its components are killed when this process ends, however that happens."""
    environ = {
        **os.environ,
        **environ,
        "COROSYNC_MAIN_CONFIG_FILE": str(node.directory / "corosync.conf"),
        "COROSYNC_TOTEM_AUTHKEY_FILE": str(node.directory.parent / "authkey"),
        "COROSYNC_AMF_SOCKET": str(node.socket_path),
        MARK: str(node.directory),
    }
    # The kernel tells of the end of the thread that started a process: only the main one lives as long as we do.
    is_main = threading.current_thread() is threading.main_thread()
    with node.log_path.open("ab") as log:
        node.process = subprocess.Popen(
            [sys.executable, "-m", "aisexec", "--development", str(node.directory)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environ,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()) if is_main else None,
        )
    node.frozen = False


def _die_with(parent: int) -> Callable[[], None]:
    prctl = ctypes.CDLL(None).prctl

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def node_processes(node: DevelopmentNode) -> list[int]:
    """The executive first, then what was started below it, found by the mark in their environment."""
    own = [] if node.process is None or node.process.poll() is not None else [node.process.pid]
    others = [pid for pid in marked_processes(node.directory) if pid not in own]
    return own + others


def marked_processes(directory: Path) -> list[int]:
    """The processes that were started by the node of this directory, and below it."""
    pids = sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    own = os.getpid()
    return [pid for pid in pids if pid != own and environment_of(pid).get(MARK) == str(directory)]


def environment_of(pid: int) -> dict[str, str]:
    """What a process was started with; nothing when it is gone."""
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition("=") for item in data.decode(errors="replace").split("\0"))
    return {name: value for name, _, value in pairs}


def is_leader(pid: int) -> bool:
    """Whether the process leads its process group: a component's first process does."""
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def send_signal(pid: int, number: signal.Signals) -> None:
    """Like os.kill, for a process that may be gone by now."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def kill_all(pids: list[int]) -> None:
    """SIGKILL to all."""
    for pid in pids:
        send_signal(pid, signal.SIGKILL)


def sweep(directory: Path) -> bool:
    """Kill what is left of the node of this directory; return whether it is gone."""
    pids = marked_processes(directory)
    kill_all(pids)
    deadline = time.monotonic() + SWEEP_SECONDS
    while any(_is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
