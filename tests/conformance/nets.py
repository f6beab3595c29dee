"""The networks that the conformance suite of the groups runs on."""

import itertools
import os
import socket
from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Protocol, Self

from aisexec.drive import Driver, open_driver
from aisexec.groups import Group
from aisexec.groups.embedded import EmbeddedGroup, EmbeddedOptions
from aisexec.groups.local import LocalNetwork
from aisexec.totem.timeouts import Timeouts

NODES = (1, 2, 3)
KEY = bytes(range(128))
TIMEOUTS = Timeouts.from_token(0.5)
_loopbacks = itertools.count(os.getpid() * 64)
_incarnations = itertools.count(1)


class Net(Protocol):
    """Gives out the ends of one group, and does to the network what a test says."""

    def group(self, node: int) -> Group: ...
    def kill(self, node: int) -> None: ...
    def partition(self, *sides: Iterable[int]) -> None: ...
    def heal(self) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LocalNet(LocalNetwork):
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def loopback_address() -> str:
    """An address in 127.0.0.0/8 that nobody else is likely to use just now."""
    number = next(_loopbacks)
    return f"127.{1 + number // 62_500 % 250}.{1 + number // 250 % 250}.{1 + number % 250}"


class EmbeddedNet:
    """Embedded groups over loopback. Every pair of nodes talks through a relay, which `partition` can close."""

    def __init__(self, *, key: bytes | None = KEY, ipv6: bool = False, netmtu: int | None = None) -> None:
        self._key = key
        self._netmtu = netmtu
        self._family = socket.AF_INET6 if ipv6 else socket.AF_INET
        self._address = "::1" if ipv6 else loopback_address()
        self._relays: dict[tuple[int, int], socket.socket] = {}
        self._ports: dict[int, int] = {}
        self._side: dict[int, int] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        driver = await self._stack.enter_async_context(open_driver())
        for here, there in itertools.permutations(NODES, 2):
            self._relays[here, there] = self._socket()
            self._relay(driver, here, there)
        for node in NODES:
            with self._socket() as reserved:
                self._ports[node] = reserved.getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        for relay in self._relays.values():
            relay.close()

    def group(self, node: int) -> Group:
        return EmbeddedGroup(
            EmbeddedOptions(
                node_id=node,
                incarnation=next(_incarnations),
                address=self._address,
                port=self._ports[node],
                peers={other: (self._address, self._port_of(node, other)) for other in NODES},
                key=self._key,
                cluster_name="conformance",
                netmtu=self._netmtu,
                timeouts=TIMEOUTS,
            )
        )

    def kill(self, node: int) -> None:
        """Nothing to do: its end is cancelled."""

    def partition(self, *sides: Iterable[int]) -> None:
        self._side = {node: number for number, side in enumerate(sides) for node in side}

    def heal(self) -> None:
        self._side = {}

    def _port_of(self, here: int, there: int) -> int:
        return self._ports[here] if here == there else int(self._relays[here, there].getsockname()[1])

    def _socket(self) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setblocking(False)
        sock.bind((self._address, 0))
        return sock

    def _relay(self, driver: Driver, here: int, there: int) -> None:
        relay = self._relays[here, there]

        def forward() -> None:
            while True:
                try:
                    packet = relay.recv(65536)
                except BlockingIOError:
                    return
                if self._side.get(here) == self._side.get(there):
                    try:
                        relay.sendto(packet, (self._address, self._ports[there]))
                    except OSError:  # as a network does
                        pass

        driver.on_readable(relay.fileno(), forward)
