"""A cluster in one process whose nodes write the files of log streams, for the tests of LOG."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aisexec.logfiles import Files
from aisexec.logwriter import LogWriter
from corosync_amf import log
from corosync_amf.engine import Service
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.log.engine import LogEngine
from corosync_amf.services.log.messages import LogCommand

from .loopback import Loopback, LoopbackNode, eventually, loopback


class Logging:
    """A cluster, and where its nodes keep their files."""

    def __init__(self, cluster: Loopback, directory: Path) -> None:
        self.cluster = cluster
        self.directory = directory

    def on(self, node: int = 1, **arguments: Any) -> Any:
        """A session on a node; those that there are not stand for the last one."""
        return log.initialize(address=self.address(node), **arguments)

    def address(self, node: int = 1) -> str:
        return self.cluster.nodes[min(node, len(self.cluster.nodes))].address

    def lines(self, node: int, path: str) -> list[str]:
        """What stands in a file of a node; nothing while it is being put away."""
        try:
            return (self.directory / str(node) / f"{path}.log").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    async def written(self, path: str, count: int, nodes: list[int] | None = None) -> list[str]:
        """Wait until the file has so many lines on every node, and is the same there."""
        chosen = nodes or sorted(self.cluster.nodes)
        await eventually(lambda: all(len(self.lines(node, path)) == count for node in chosen))
        first, *others = [self.lines(node, path) for node in chosen]
        assert all(other == first for other in others)
        return first


class _Prompt(LogWriter):
    """A loopback node does not say where a step ends."""

    def run(self, command: LogCommand) -> None:
        super().run(command)
        self.flush()


def _driver_of(node: LoopbackNode, directory: Path) -> LogWriter:
    def report(requests: list[Any]) -> None:
        node.report(Service.LOG, requests)

    return _Prompt(Files(directory / str(node.node.local)), node.driver, report, node.listener.send)


@asynccontextmanager
async def logging_cluster(count: int) -> AsyncIterator[Logging]:
    """`count` nodes with CLM, LOG and files."""
    with tempfile.TemporaryDirectory(prefix="logs-") as folder:
        async with loopback(lambda: [ClmEngine(), LogEngine()], count) as cluster:
            drivers = {number: _driver_of(node, Path(folder)) for number, node in cluster.nodes.items()}
            for number, node in cluster.nodes.items():
                node.drivers[Service.LOG] = drivers[number]
            try:
                yield Logging(cluster, Path(folder))
            finally:
                for driver in drivers.values():
                    driver.close()
