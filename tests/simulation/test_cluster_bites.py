"""The simulator finds faults that were made on purpose: a check that cannot fail proves nothing."""

import pytest

from aisexec.node import Node
from aisexec.replica import Replica
from aisexec.simulation.cluster import ClusterWorld
from corosync_amf.engine import Message, Origin


class HastyReplica(Replica):
    """Acknowledges before every replica has the write."""

    def _reply(self, to: Origin, message: Message, safe: bool) -> None:
        super()._reply(to, message, False)


class HastyWorld(ClusterWorld):
    """A cluster of such nodes."""

    def boot(self, node_id: int) -> None:
        super().boot(node_id)
        make_hasty(self.stacks[node_id].node)


def make_hasty(node: Node) -> None:
    node._replica.__class__ = HastyReplica


FOUND_BY = (0, 5, 12)


def test_acknowledging_too_early_is_found() -> None:
    assert any("durability" in fault for seed in FOUND_BY for fault in HastyWorld(seed).run().faults)


@pytest.mark.parametrize("seed", FOUND_BY[:2])
def test_the_same_seeds_pass_without_that_fault(seed: int) -> None:
    assert not ClusterWorld(seed).run().faults
