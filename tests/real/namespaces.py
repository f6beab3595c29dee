"""Network namespaces joined by a bridge: several machines on one. Needs root and the `ip` command."""

import itertools
import os
import shutil
import subprocess
from contextlib import suppress
from types import TracebackType
from typing import Self

_numbers = itertools.count()


def have_namespaces() -> bool:
    """Whether this process may make network namespaces."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"ais{os.getpid()}probe"
    if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode:
        return False
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    return True


def ip(*words: str) -> None:
    """Run the `ip` command.

    Raises: RuntimeError with what it said.
    """
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Machines:
    """`count` namespaces, each with one interface `eth0` on a common bridge, and the addresses 10.77.0.N and
    fd77::N, where N is 1 for the first. Use as a context manager: leaving it removes everything."""

    def __init__(self, count: int = 3, mtu: int = 1500) -> None:
        unique = f"{os.getpid() % 100_000}x{next(_numbers)}"
        self.numbers = tuple(range(1, count + 1))
        self._mtu = mtu
        self._switch = f"aw{unique}"
        self._names = {number: f"an{unique}x{number}" for number in self.numbers}

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    @staticmethod
    def ipv4(number: int) -> str:
        return f"10.77.0.{number}"

    @staticmethod
    def ipv6(number: int) -> str:
        return f"fd77::{number}"

    def command(self, number: int, *words: str) -> list[str]:
        """The command line that runs `words` on a machine."""
        return ["ip", "netns", "exec", self._names[number], *words]

    def ip(self, number: int, *words: str) -> None:
        """Run the `ip` command on a machine."""
        ip("-n", self._names[number], *words)

    def link_down(self, number: int) -> None:
        """Switch a machine's interface off. The kernel takes its IPv6 addresses and its routes."""
        self.ip(number, "link", "set", "eth0", "down")

    def link_up(self, number: int) -> None:
        """Switch it on again, and give it its addresses."""
        self.ip(number, "link", "set", "eth0", "up")
        self.ip(number, "-6", "addr", "replace", f"{self.ipv6(number)}/64", "dev", "eth0", "nodad")
        self.ip(number, "route", "replace", "default", "dev", "eth0")

    def unplug(self, number: int) -> None:
        """Pull the cable out of the switch."""
        ip("-n", self._switch, "link", "set", f"port{number}", "down")

    def plug(self, number: int) -> None:
        """Put it back."""
        ip("-n", self._switch, "link", "set", f"port{number}", "up")

    def _build(self) -> None:
        ip("netns", "add", self._switch)
        ip("-n", self._switch, "link", "add", "switch", "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
        ip("-n", self._switch, "link", "set", "switch", "mtu", str(self._mtu), "up")
        for number, name in self._names.items():
            ip("netns", "add", name)
            port = f"port{number}"
            ip("-n", self._switch, "link", "add", port, "type", "veth", "peer", "eth0", "netns", name)
            ip("-n", self._switch, "link", "set", port, "mtu", str(self._mtu), "master", "switch", "up")
            self.ip(number, "link", "set", "lo", "up")
            self.ip(number, "link", "set", "eth0", "mtu", str(self._mtu))
            self.ip(number, "addr", "add", f"{self.ipv4(number)}/24", "dev", "eth0")
            self.link_up(number)

    def _remove(self) -> None:
        for name in (*self._names.values(), self._switch):
            with suppress(RuntimeError):
                ip("netns", "del", name)
