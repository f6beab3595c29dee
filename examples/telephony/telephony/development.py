"""The demonstration's hands: a development cluster of corosync-amf on loopback."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from corosync_amf import development
from telephony.demo import Control, Fault
from telephony.report import Stages

HERE = str(Path(__file__).parents[1])


class DevelopmentControl:
    def __init__(self, cluster: development.DevelopmentCluster) -> None:
        self._cluster = cluster

    async def ready(self) -> None:
        await self._cluster.until_assigned()

    async def kill_component(self) -> Fault:
        return await self._cluster.kill_component()

    async def kill_node(self) -> Fault:
        return await self._cluster.kill_node()

    async def freeze_node(self) -> Fault:
        return await self._cluster.freeze_node()

    async def breakdown(self, fault: Fault) -> Stages:
        assert isinstance(fault, development.Fault)
        return await self._cluster.breakdown(fault)

    async def repair(self) -> None:
        for node in self._cluster.nodes:
            if not node.running:
                self._cluster.start_node(node)


def cluster(token: int) -> Callable[[Path], AbstractAsyncContextManager[Control]]:
    """How to start a cluster; `token` is its token timeout in milliseconds."""

    @asynccontextmanager
    async def started(amf_conf: Path) -> AsyncIterator[Control]:
        path = os.pathsep.join(filter(None, (HERE, os.environ.get("PYTHONPATH"))))
        environ = {"PYTHONPATH": path}
        async with development.development_cluster(amf_conf, token=token, environ=environ) as running:
            yield DevelopmentControl(running)

    return started
