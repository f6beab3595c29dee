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
    fd77::N, where N is 1 for the first. `networks` of 2 gives each an `eth1` as well, on a bridge of its own, with
    10.78.0.N and fd78::N. Use as a context manager: leaving it removes everything."""

    def __init__(self, count: int = 3, mtu: int = 1500, networks: int = 1) -> None:
        unique = f"{os.getpid() % 100_000}x{next(_numbers)}"
        self.numbers = tuple(range(1, count + 1))
        self._mtu = mtu
        self._networks = range(networks)
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
    def ipv4(number: int, network: int = 0) -> str:
        return f"10.{77 + network}.0.{number}"

    @staticmethod
    def ipv6(number: int, network: int = 0) -> str:
        return f"fd{77 + network}::{number}"

    def command(self, number: int, *words: str) -> list[str]:
        """The command line that runs `words` on a machine."""
        return ["ip", "netns", "exec", self._names[number], *words]

    def ip(self, number: int, *words: str) -> None:
        """Run the `ip` command on a machine."""
        ip("-n", self._names[number], *words)

    def link_down(self, number: int, network: int = 0) -> None:
        """Switch a machine's interface off. The kernel takes its IPv6 addresses and its routes."""
        self.ip(number, "link", "set", f"eth{network}", "down")

    def link_up(self, number: int, network: int = 0) -> None:
        """Switch it on again, and give it its addresses."""
        device = f"eth{network}"
        self.ip(number, "link", "set", device, "up")
        self.ip(number, "-6", "addr", "replace", f"{self.ipv6(number, network)}/64", "dev", device, "nodad")
        if network == 0:
            self.ip(number, "route", "replace", "default", "dev", device)

    def unplug(self, number: int, network: int = 0) -> None:
        """Pull the cable out of the switch."""
        ip("-n", self._switch, "link", "set", f"port{network}x{number}", "down")

    def plug(self, number: int, network: int = 0) -> None:
        """Put it back."""
        ip("-n", self._switch, "link", "set", f"port{network}x{number}", "up")

    def replace_interface(self, number: int, network: int = 0) -> None:
        """Take a machine's interface out and put another one in, of the same name and addresses."""
        self.ip(number, "link", "del", f"eth{network}")
        self._connect(number, network)

    def _build(self) -> None:
        ip("netns", "add", self._switch)
        for name in self._names.values():
            ip("netns", "add", name)
        for network in self._networks:
            bridge = ("type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
            ip("-n", self._switch, "link", "add", f"switch{network}", *bridge)
            ip("-n", self._switch, "link", "set", f"switch{network}", "mtu", str(self._mtu), "up")
            for number in self.numbers:
                self._connect(number, network)

    def _connect(self, number: int, network: int) -> None:
        port, device, mtu = f"port{network}x{number}", f"eth{network}", str(self._mtu)
        ip("-n", self._switch, "link", "add", port, "type", "veth", "peer", device, "netns", self._names[number])
        ip("-n", self._switch, "link", "set", port, "mtu", mtu, "master", f"switch{network}", "up")
        self.ip(number, "link", "set", "lo", "up")
        self.ip(number, "link", "set", device, "mtu", mtu)
        self.ip(number, "addr", "add", f"{self.ipv4(number, network)}/24", "dev", device)
        self.link_up(number, network)

    def _remove(self) -> None:
        for name in (*self._names.values(), self._switch):
            with suppress(RuntimeError):
                ip("netns", "del", name)
