"""Machines with the package installed: namespaces, with processes, network, /etc, /run and /var/lib of their own.

The executives run there as they do in production, as root and from the default places.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.real.namespaces import Machines

PATIENCE = 60.0
POLL = 0.25
PLACES = {"etc": "/etc", "ais": "/etc/ais", "run": "/run", "lib": "/var/lib"}
BOOT = " && ".join(
    [
        "mount --make-rprivate /",
        *(f"mount --bind {{folder}}/{name} {place}" for name, place in PLACES.items()),
        "hostname {name}",
        'exec "$0" -ISc "import signal as s; s.signal(s.SIGCHLD, s.SIG_IGN); print(flush=True); s.pause()"',
    ]
)
"""Makes process 1 of a machine: it says that it is up, and reaps what others leave behind."""


class Machine:
    """One of `Installed`. `ais` is what the machine has as /etc/ais."""

    def __init__(self, machines: Machines, number: int, folder: Path, path: Path) -> None:
        self.number = number
        self.name = f"node-{'abcdefghi'[number - 1]}"
        self.folder = folder
        self.log_path = folder / "log"
        self._path = path
        self._boot: subprocess.Popen[bytes] = self._booted(machines)
        self._executives: list[subprocess.Popen[bytes]] = []

    def _booted(self, machines: Machines) -> "subprocess.Popen[bytes]":
        for name in PLACES:
            if name != "etc":
                (self.folder / name).mkdir(parents=True)
        shutil.copytree("/etc", self.folder / "etc", symlinks=True, ignore=shutil.ignore_patterns("ais", "netns"))
        (self.folder / "etc" / "ais").mkdir()
        boot = BOOT.format(folder=self.folder, name=self.name)
        words = ["unshare", "-m", "-u", "-p", "-f", "--mount-proc", "sh", "-c", boot, sys.executable]
        process = subprocess.Popen(machines.command(self.number, *words), stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout as output:
            assert output.readline() == b"\n", f"{self.name} does not boot"
        return process

    def switch_off(self) -> None:
        """The end of process 1 is the end of all the others of the machine."""
        os.kill(self._first(), signal.SIGKILL)
        for process in (*self._executives, self._boot):
            process.wait(PATIENCE)

    def _first(self) -> int:
        pid = self._boot.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())

    @property
    def ais(self) -> Path:
        return self.folder / "ais"

    def _words(self, *words: str) -> list[str]:
        return ["nsenter", "-t", str(self._first()), "-m", "-u", "-p", "-n", *words]

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
            self._executives.append(
                subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
            )

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
        try:
            for number in self.network.numbers:
                self[number] = Machine(self.network, number, self._folder / f"machine-{number}", self._path)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for machine in self.values():
            machine.switch_off()
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
