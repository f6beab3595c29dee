"""Starting a component's commands: argument vector, environment, and what the child does before it runs the program.

Every child leads a session of its own, and the kernel kills it when the executive dies (parent-death signal).
"""

import ctypes
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corosync_amf import lease
from corosync_amf.ais import Dn, NodeId
from corosync_amf.services.amf.model import Component

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class CannotStart(Exception):
    """The command cannot be run; the text says why."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is the same for all components of a node.

    `directory` is that of amf.conf: components run in it, and relative commands are looked up below `path_prefix`,
    if there is one, else below it. `environ` is what components inherit.
    """

    node_id: NodeId
    node_name: str
    socket_path: str
    directory: Path
    path_prefix: str = ""
    lease_path: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def marks(self, component: Dn) -> dict[str, str]:
        """What tells a component's processes from all others of the machine."""
        return {"COROSYNC_AMF_SOCKET": self.socket_path, "SA_AMF_COMPONENT_NAME": component}

    def environment(self, component: Component, more: Mapping[str, str]) -> dict[str, str]:
        """The environment of a component's commands."""
        environment = {**self.environ, **component.env, **more, **self.marks(component.dn)}
        environment |= {"AMF_NODE_NAME": self.node_name, "AMF_NODE_ID": str(self.node_id)}
        if self.lease_path is not None:
            environment[lease.VARIABLE] = self.lease_path
        return environment

    def resolve(self, argv: Sequence[str]) -> list[str]:
        """Put the path of the program in front.

        Raises: CannotStart: there is no such program, or it is set-uid or set-gid.
        """
        program = argv[0]
        if "/" in program:
            found: str | None = str(self.directory / self.path_prefix / program)  # an absolute path stays as it is
        else:
            beside = self.directory / self.path_prefix / program
            found = str(beside) if beside.is_file() else shutil.which(program, path=self.environ.get("PATH"))
        if found is None:
            raise CannotStart(f"there is no program {program}")
        try:
            mode = os.stat(found).st_mode
        except OSError as error:
            raise CannotStart(f"{found}: {error.strerror}") from None
        if mode & (stat.S_ISUID | stat.S_ISGID):
            raise CannotStart(f"{found} is set-uid or set-gid: such programs are not run")
        return [found, *argv[1:]]


def host_argv(plugin: str) -> list[str]:
    """What runs a component that is a Python plugin."""
    return [sys.executable, "-m", "corosync_amf.component", plugin]


def instantiate_argv(component: Component, surroundings: Surroundings) -> list[str]:
    """What starts a component.

    Raises: CannotStart.
    """
    if component.instantiate is not None:
        return surroundings.resolve(component.instantiate)
    if component.plugin is not None:
        return host_argv(component.plugin)
    raise CannotStart("no instantiate command is configured")


def spawn(
    argv: Sequence[str], environment: Mapping[str, str], directory: Path, *, outlives_us: bool = False
) -> tuple["subprocess.Popen[bytes]", int]:
    """Start a program in a session of its own; return it, and the descriptor that its output can be read from.

    Raises: CannotStart.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(writing, True)
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
            preexec_fn=None if outlives_us else _die_with(os.getpid()),
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        os.close(reading)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CannotStart(f"{argv[0]}: {reason}") from None
    finally:
        os.close(writing)
    return process, reading


def _die_with(parent: int) -> Callable[[], None]:
    prctl, getppid, kill = _libc.prctl, os.getppid, int(signal.SIGKILL)

    def before_exec() -> None:
        prctl(PR_SET_PDEATHSIG, kill, 0, 0, 0)
        if getppid() != parent:
            os._exit(1)

    return before_exec


def ended_how(code: int) -> str:
    """An exit code as subprocess gives it, in words."""
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
