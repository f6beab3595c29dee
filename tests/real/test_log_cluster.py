"""LOG on three executives, as processes on a real ring: the files of all nodes are equal."""

from pathlib import Path

import anyio
import pytest

from corosync_amf import log
from corosync_amf.development import development_cluster
from corosync_amf.development_nodes import DevelopmentNode
from tests.services.loopback import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.real]
RECORDS = 60
SMALL = log.LogFileCreateAttributes(
    "small", "phone", max_log_file_size=1000, max_log_record_size=150, max_files_rotated=50, log_file_fmt="@Cr @Cb"
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def contents(node: DevelopmentNode) -> dict[str, str]:
    """Every log file of a node, by its name."""
    directory = node.directory / "log"
    return {str(path.relative_to(directory)): path.read_text() for path in sorted(directory.rglob("*.log"))}


def has_ended(node: DevelopmentNode) -> bool:
    return contents(node).get("saLogSystem.log", "").count("\n") == 3


async def write_from(node: DevelopmentNode) -> None:
    async with (
        log.initialize(address=str(node.socket_path)) as service,
        service.stream_open("small", SMALL) as small,
        service.stream_open(log.STREAM_SYSTEM) as system,
    ):
        for number in range(RECORDS):
            await small.write_log(f"{node.name} {number}")
        await system.write_log(f"{node.name} is done", severity=log.Severity.NOTICE)


async def test_the_files_of_all_nodes_are_equal(tmp_path: Path) -> None:
    amf_conf = tmp_path / "amf.conf"
    amf_conf.write_text("applications: {}\n", encoding="utf-8")
    async with development_cluster(amf_conf, token=1000) as cluster:
        await cluster.until(lambda status: len(status.cluster.members) == 3, "three members")
        keeper = await log.initialize(address=str(cluster.nodes[0].socket_path))
        await keeper.stream_open("small", SMALL)
        async with anyio.create_task_group() as tasks:
            for node in cluster.nodes:
                tasks.start_soon(write_from, node)
        await eventually(lambda: all(has_ended(node) for node in cluster.nodes), 5000)
        first, *others = [contents(node) for node in cluster.nodes]
        assert all(other == first for other in others)
        away = sorted(name for name in first if name.startswith("phone/small_"))
        assert len(away) > 1
        lines = "".join(first[name] for name in [*away, "phone/small.log"]).splitlines()
        assert [int(line.split()[0]) for line in lines] == list(range(1, 3 * RECORDS + 1))
        assert all(len(first[name]) <= 1000 for name in first if name.startswith("phone/"))
        assert await keeper.tail("small", 1) == [lines[-1]]
        await keeper.finalize()
