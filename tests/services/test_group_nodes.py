"""CPG and EVS on three executives, as processes on a real ring; a client process dies, then a node."""

import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from corosync_amf import cpg, evs
from corosync_amf.development import development_cluster
from corosync_amf.development_nodes import DevelopmentNode
from corosync_amf.services.cpg import Guarantee, Reason

pytestmark = [pytest.mark.anyio, pytest.mark.real]

MEMBER = """
import sys, anyio
from corosync_amf import cpg

async def main():
    async with cpg.initialize(address=sys.argv[1]) as session:
        await session.join("g")
        await session.mcast_joined([b"%d" % number for number in range(2000)], cpg.Guarantee.SAFE)
        async for event in session:
            pass

anyio.run(main)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def address(node: DevelopmentNode) -> str:
    return str(node.socket_path)


async def until_changed(events: Any, taken: list[Any]) -> Any:
    """The next configuration; messages before it go to `taken`."""
    with anyio.fail_after(20):
        async for event in events:
            if not isinstance(event, cpg.Delivered | evs.Delivered):
                return event
            taken.append(event.message)


async def test_groups_live_through_the_death_of_a_process_and_of_a_node(tmp_path: Path) -> None:
    amf_conf = tmp_path / "amf.conf"
    amf_conf.write_text("applications: {}\n", encoding="utf-8")
    async with development_cluster(amf_conf, token=1000) as cluster:
        await cluster.until(lambda status: len(status.cluster.members) == 3, "three members")
        first, second, third = cluster.nodes
        other = await cpg.initialize(address=address(third))
        async with (
            cpg.initialize(address=address(first)) as a,
            cpg.initialize(address=address(second)) as b,
            evs.initialize(address=address(second)) as ring,
        ):
            got_a: list[bytes] = []
            got_b: list[bytes] = []
            assert len((await until_changed(ring, [])).members) == 3
            for session in (a, b, other):
                await session.join("g")
            for _ in range(3):
                await until_changed(a, got_a)
            for _ in range(2):
                await until_changed(b, got_b)
            process = await anyio.open_process([sys.executable, "-c", MEMBER, address(second)])
            change = await until_changed(a, got_a)
            assert change.joined == (cpg.Address(second.node_id, process.pid, Reason.JOIN),)
            assert await until_changed(b, got_b) == change
            with anyio.fail_after(20):
                while len(got_a) < 2000:
                    got_a += [event.message for event in await anext(a.batches())]
            process.kill()
            await process.wait()
            await process.aclose()
            change = await until_changed(a, got_a)
            assert change.left == (cpg.Address(second.node_id, process.pid, Reason.PROCDOWN),)
            assert await until_changed(b, got_b) == change
            assert got_a == got_b == [b"%d" % number for number in range(2000)]

            await a.mcast_joined(b"all", Guarantee.SAFE)
            assert third.process is not None
            third.process.kill()
            await anyio.to_thread.run_sync(third.process.wait)
            change = await until_changed(b, got_b)
            assert [(each.node_id, each.reason) for each in change.left] == [(third.node_id, Reason.NODEDOWN)]
            transitional, regular = await until_changed(ring, []), await until_changed(ring, [])
            assert (transitional.kind, transitional.left) == (evs.TRANSITIONAL, (third.node_id,))
            assert (regular.kind, len(regular.members)) == (evs.REGULAR, 2)
            assert await until_changed(a, got_a) == change
            assert got_a == got_b
            await other.session.close()
