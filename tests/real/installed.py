"""Machines with the package installed: network namespaces with /etc, /run, /var/lib and host names of their own.

The executives run there as they do in production, as root and from the default places.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.real.namespaces import Machines

PATIENCE = 60.0
STOP_SECONDS = 20.0
POLL = 0.05
PLACES = {"etc": "/etc", "ais": "/etc/ais", "run": "/run", "lib": "/var/lib"}
ENTER = (
    "mount --make-rprivate / && "
    + " && ".join(f"mount --bind {{folder}}/{name} {place}" for name, place in PLACES.items())
    + ' && hostname {name} && exec "$@"'
)


class Machine:
    """One of `Installed`. `ais` is what the machine has as /etc/ais."""

    def __init__(self, machines: Machines, number: int, folder: Path, path: Path) -> None:
        self.number = number
        self.name = f"node-{'abcdefghi'[number - 1]}"
        self.folder = folder
        self.log_path = folder / "log"
        self.executive: subprocess.Popen[bytes] | None = None
        self._machines = machines
        self._path = path
        for name in PLACES:
            if name != "etc":
                (folder / name).mkdir(parents=True)
        shutil.copytree("/etc", folder / "etc", symlinks=True, ignore=shutil.ignore_patterns("ais", "netns"))
        (folder / "etc" / "ais").mkdir()

    @property
    def ais(self) -> Path:
        return self.folder / "ais"

    def _words(self, *words: str) -> list[str]:
        enter = ENTER.format(folder=self.folder, name=self.name)
        return self._machines.command(self.number, "unshare", "-m", "-u", "sh", "-c", enter, "sh", *words)

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("COROSYNC_", "XDG_"))}
        programs = f"{Path(sys.executable).parent}:{kept.get('PATH', '/usr/bin:/bin')}"
        return {**kept, "PATH": programs, "PYTHONPATH": str(self._path)}

    def run(self, line: str) -> "subprocess.CompletedProcess[str]":
        """Run a command line of the shell on the machine."""
        words, environ = self._words("sh", "-c", line), self._environ()
        return subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=PATIENCE)

    def succeed(self, line: str) -> str:
        """Run a command line that must succeed; return its output."""
        done = self.run(line)
        assert done.returncode == 0, f"{self.name}: {line}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, line: str = "aisexec") -> None:
        """Start the executive."""
        with self.log_path.open("ab") as log:
            words, environ = self._words(*line.split()), self._environ()
            self.executive = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)

    def status(self) -> Any:
        """What `amf status -o json` says here; None when there is no executive."""
        done = self.run("amf status -o json")
        return json.loads(done.stdout) if done.stdout else None

    def lines(self, text: str) -> list[str]:
        """The lines of the executive's log that have a text; each begins with its time, HH:MM:SS.mmm."""
        return [line for line in self.log_path.read_text(errors="replace").splitlines() if text in line]


class Installed(dict[int, Machine]):
    """Machines by number; `path` is the PYTHONPATH of their executives. Leaving the `with` block stops all of it."""

    def __init__(self, folder: Path, path: Path, count: int = 3) -> None:
        super().__init__()
        self.network = Machines(count)
        self._folder = folder
        self._path = path

    def __enter__(self) -> Self:
        self.network.__enter__()
        for number in self.network.numbers:
            self[number] = Machine(self.network, number, self._folder / f"machine-{number}", self._path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = [machine.executive for machine in self.values() if machine.executive is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.network.__exit__(kind, error, trace)

    def until(self, machine: Machine, condition: Callable[[Any], bool], what: str) -> Any:
        """Wait until the status on a machine satisfies a condition, and return it.

        Raises: AssertionError with the ends of the logs: it does not within a minute.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status = machine.status()
            if status is not None and condition(status):
                return status
            time.sleep(POLL)
        logs = "\n".join(f"{each.name}:\n" + "\n".join(each.lines("")[-30:]) for each in self.values())
        raise AssertionError(f"{what}: not on {machine.name}\n{logs}")

    def named(self, name: str) -> Machine:
        return next(machine for machine in self.values() if machine.name == name)

    def active(self, status: Any) -> Machine:
        """The machine of the active unit of the only service instance."""
        (active,) = status["instances"][0]["active"]
        return self.named(next(unit["node"] for unit in status["units"] if unit["dn"] == active))


def fully_assigned(status: Any) -> bool:
    """Every node is a member and the service instance has all that it is to have."""
    return status["instances"][0]["assignment"] == "FULLY_ASSIGNED" and all(
        node["node_id"] is not None for node in status["nodes"]
    )
