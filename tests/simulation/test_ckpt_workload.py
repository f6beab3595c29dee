"""Registers in checkpoints under simulated faults; and that the checker finds what it is there to find."""

import pytest

from aisexec.node import NodeEvent
from aisexec.simulation.services import BlackoutWorld, run_services_seed
from aisexec.simulation.workloads.ckpt import CkptWorkload, History, circle_in
from aisexec.simulation.workloads.journals import JournaledCkptWorkload
from corosync_amf.ais import NodeId
from corosync_amf.engine import Message
from corosync_amf.services.ckpt import messages as m

A, B = 1, 2
X = b"x"


@pytest.mark.parametrize("seed", range(8))
def test_registers_are_linearizable_in_their_writes(seed: int) -> None:
    result = run_services_seed(seed, workloads=[CkptWorkload])
    assert result.faults == []


@pytest.mark.parametrize("seed", range(8))
def test_registers_on_disk_are_there_when_all_nodes_have_lost_power(seed: int) -> None:
    world = BlackoutWorld(seed, workloads=[JournaledCkptWorkload])
    assert world.run().faults == []


class Forgetful(JournaledCkptWorkload):
    """On disks that say they have everything, and have what they had at the start of the last membership."""

    def command(self, node: NodeId, command: Message, now: float) -> list[NodeEvent]:
        if isinstance(command, m.WriteJournal):
            command = m.WriteJournal(command.order, [])
        return super().command(node, command, now)


def test_disks_that_do_not_hold_what_they_said_are_found() -> None:
    faults = [fault for seed in range(4) for fault in BlackoutWorld(seed, workloads=[Forgetful]).run().faults]
    assert any("CKPT: " in fault for fault in faults)


def written(*values: bytes, client: int = A) -> History:
    """One client has written these, one after the other, and each was acknowledged."""
    history = History()
    for number, value in enumerate(values):
        history.write(client, X, value, 10.0 * number)
        history.wrote(value, 10.0 * number + 1)
    return history


def test_a_calm_history_has_no_faults() -> None:
    history = written(b"1", b"2", b"3")
    for client, values in ((A, (b"3", b"3")), (B, (b"", b"1", b"3"))):
        for value in values:
            history.read(client, X, value)
    assert history.faults({X: b"3"}) == []


def test_a_lost_write_is_found() -> None:
    assert "lost write" in written(b"1").faults({})[0]
    assert "in a circle" in written(b"1", b"2").faults({X: b"1"})[0]


def test_a_read_that_goes_backwards_is_found() -> None:
    history = written(b"1", b"2")
    for value in (b"2", b"1"):
        history.read(B, X, value)
    assert "in a circle" in history.faults({X: b"2"})[0]
    history = written(b"1")
    for value in (b"1", b""):
        history.read(B, X, value)
    assert "empty after" in history.faults({X: b"1"})[0]


def test_what_was_not_acknowledged_may_be_lost_with_a_partition_and_what_was_may_not() -> None:
    history = written(b"1")
    history.write(B, X, b"2", 50.0)
    history.read(A, X, b"2")
    history.gave_way(A)
    history.read(A, X, b"1")
    assert history.faults({X: b"1"}) == []
    history.gave_way(A)
    history.read(A, X, b"")
    assert "empty after" in history.faults({X: b"1"})[0]


def test_a_client_that_does_not_see_its_own_write_is_found() -> None:
    history = written(b"1", b"2")
    history.read(A, X, b"1")
    assert "in a circle" in history.faults({X: b"2"})[0]


def test_two_clients_that_see_different_orders_are_found() -> None:
    history = History()
    for client, value in ((A, b"1"), (B, b"2")):
        history.write(client, X, value, 0.0)
        history.wrote(value, 5.0)
    for client, values in ((3, (b"1", b"2")), (4, (b"2", b"1"))):
        for value in values:
            history.read(client, X, value)
    assert "in a circle" in history.faults({X: b"2"})[0]


def test_a_later_write_that_comes_earlier_is_found() -> None:
    history = written(b"1")
    history.write(B, X, b"2", 5.0)
    history.wrote(b"2", 6.0)
    for value in (b"2", b"1"):
        history.read(3, X, value)
    assert "in a circle" in history.faults({X: b"1"})[0]


def test_values_that_nobody_wrote_or_that_were_refused_are_found() -> None:
    history = written(b"1")
    history.read(B, X, b"?")
    assert "phantom" in history.faults({X: b"1"})[0]
    history = written(b"1")
    history.write(A, X, b"2", 50.0)
    history.refused(b"2")
    history.read(B, X, b"2")
    assert "refused" in history.faults({X: b"1"})[0]


def test_an_unknown_outcome_may_be_either() -> None:
    for last in (b"1", b"2"):
        history = written(b"1")
        history.write(A, X, b"2", 50.0)
        assert history.faults({X: last}) == []


def test_circles_are_found_behind_long_chains() -> None:
    chain = {b"%d" % number: {b"%d" % (number + 1)} for number in range(3000)} | {b"3000": set()}
    assert circle_in(chain) == []
    assert circle_in(chain | {b"3000": {b"2998"}}) == [b"2998", b"2999", b"3000"]
