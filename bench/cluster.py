"""The cluster that the services' benchmarks run on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from corosync_amf.development import DevelopmentCluster, development_cluster


@asynccontextmanager
async def three_nodes() -> AsyncIterator[DevelopmentCluster]:
    """Three executives on loopback, encrypted, that have found one another; AMF has nothing to do."""
    with TemporaryDirectory() as directory:
        amf_conf = Path(directory) / "amf.conf"
        amf_conf.write_text("applications: {}\n", encoding="utf-8")
        async with development_cluster(amf_conf) as cluster:
            await cluster.until(lambda status: len(status.cluster.members) == len(cluster.nodes), "three members")
            yield cluster
