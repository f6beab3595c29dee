"""Failover, switchover and start of a 2N application on three executives on loopback."""

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from bench.common import RUNS, Row, Steal, Table
from corosync_amf.development import Breakdown, DevelopmentCluster, Fault, development_cluster

TOKEN = 1000
AMF_CONF = """
applications:
  bench:
    plugin: bench.component:Bench
    checkpoint: {mode: on-change, hot: true}
"""


def run(*, quick: bool) -> Table:
    """Measure medians of the breakdown of each kind of fault, and of a cold start."""
    crash = Row("crashed component: standby ACTIVE on another node", "ms", 50, 10, less_is_better=True)
    swap = Row("switchover (si-swap)", "ms", 20, 5, less_is_better=True)
    dead = Row("dead node: standby ACTIVE after the fault", "ms", TOKEN + 350, TOKEN + 65, less_is_better=True)
    detection = Row("dead node: detection, token 1000 ms", "ms", TOKEN + 300, TOKEN + 60, less_is_better=True)
    promotion = Row("dead node: standby ACTIVE after the new membership", "ms", 50, 5, less_is_better=True)
    members = Row("cold start of three nodes to membership", "s", 1, 0.3, less_is_better=True)
    assigned = Row("cold start to every SI assigned", "s", 3, 1, less_is_better=True)
    rows = [crash, swap, dead, detection, promotion, members, assigned]
    for _ in range(1 if quick else RUNS):
        steal = Steal()
        anyio.run(_one_cluster, rows, quick)
        for row in rows:
            row.steal = max(row.steal, steal.share())
    return Table("Failover: three executives on loopback, 2N, hot standby", rows)


async def _one_cluster(rows: list[Row], quick: bool) -> None:
    crash, swap, dead, detection, promotion, members, assigned = rows
    with TemporaryDirectory() as directory:
        amf_conf = Path(directory) / "amf.conf"
        amf_conf.write_text(AMF_CONF, encoding="utf-8")
        environ = {"PYTHONPATH": str(Path(__file__).parent.parent)}
        start = time.monotonic()
        async with development_cluster(amf_conf, token=TOKEN, environ=environ, fence=False) as cluster:
            await cluster.until(lambda status: len(status.cluster.members) == len(cluster.nodes), "three members")
            members.values.append(time.monotonic() - start)
            await cluster.until_assigned()
            assigned.values.append(time.monotonic() - start)
            kills = [await _survive(cluster, await cluster.kill_component()) for _ in range(1 if quick else 5)]
            crash.values.append(statistics.median(kill.total for kill in kills))
            fault = await cluster.swap()
            swap.values.append(_handover(await _survive(cluster, fault)))
            gone = await cluster.breakdown(await cluster.kill_node())
            dead.values.append(gone.total)
            detection.values.append(gone.detect or 0.0)
            promotion.values.append(gone.total - (gone.detect or 0.0))


async def _survive(cluster: DevelopmentCluster, fault: Fault) -> Breakdown:
    """The breakdown of a fault, after which all is well again."""
    breakdown = await cluster.breakdown(fault)
    await cluster.until_assigned()
    return breakdown


def _handover(breakdown: Breakdown) -> float:
    """Without the way of the operator's command: from the old one quiesced to the new one active."""
    return breakdown.activate if breakdown.activate is not None else breakdown.total
