"""Nodes that CLM locks or shuts down: AMF moves the work away, then says so."""

import pytest

from aisexec.simulation.world import OPERATOR, World
from corosync_amf.ais import Admin, AdminOperation, ErrorCode, HaState, Presence, Readiness
from corosync_amf.engine import NodeCleared, NodeStanding
from corosync_amf.services.amf import messages as amf

from .clusters import comp, csi, node, si, su
from .stage import ask, believed, outcome, presence, refusal, started, status

ACTIVE, STANDBY, QUIESCING = HaState.ACTIVE, HaState.STANDBY, HaState.QUIESCING


def clm(world: World, number: int, state: Admin, *, name: str = "", client: int = 0) -> int:
    """CLM says how a node stands."""
    site = next(site for site in world.sites.values() if site.part is not None)
    request = world._next_request
    world._next_request += 1
    world.send(site, client, NodeStanding(name or f"host{number}", number, f"10.0.0.{number}", state), request)
    return request


def test_a_lock_moves_the_work_away_and_is_answered_when_the_node_is_empty():
    world = started()
    clm(world, 1, Admin.LOCKED)
    world.run(0.002)
    assert world.forwarded == []
    world.run(1.0)
    assert believed(world, csi()) == {comp(2): ACTIVE}
    assert presence(world, comp(1)) is Presence.INSTANTIATED
    assert world.forwarded == [NodeCleared("host1")]
    unit = next(unit for unit in status(world).units if unit.dn == su(1))
    assert (unit.effective_admin, unit.admin, unit.readiness) == (
        Admin.LOCKED,
        Admin.UNLOCKED,
        Readiness.OUT_OF_SERVICE,
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_answer_comes_after_the_other_unit_has_become_active(seed: int):
    world = started()
    world.rng.seed(seed)
    clm(world, 1, Admin.LOCKED)
    while not world.forwarded:
        world.run(0.0002)
    assert status(world).instances[0].active == (su(2),)


def test_an_unlock_lets_the_node_be_standby_again():
    world = started()
    clm(world, 1, Admin.LOCKED)
    world.run(1.0)
    clm(world, 1, Admin.UNLOCKED)
    world.run(1.0)
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}
    assert world.forwarded == [NodeCleared("host1")]


def test_a_shutdown_lets_the_work_end_by_itself():
    world = started()
    clm(world, 1, Admin.SHUTTING_DOWN)
    world.run(0.05)
    assert believed(world, csi()) == {comp(1): QUIESCING, comp(2): STANDBY}
    assert world.forwarded == []
    world.run(1.0)
    assert believed(world, csi()) == {comp(2): ACTIVE}
    assert world.forwarded == [NodeCleared("host1")]
    clm(world, 1, Admin.LOCKED)
    world.run(1.0)
    assert world.forwarded == [NodeCleared("host1")] * 2


def test_a_node_without_work_is_clear_at_once():
    world = started(nodes=3)
    clm(world, 3, Admin.LOCKED)
    world.run(0.5)
    clm(world, 9, Admin.LOCKED, name="a node that AMF does not know")
    world.run(0.5)
    assert world.forwarded == [NodeCleared("host3"), NodeCleared("a node that AMF does not know")]


def test_a_locked_node_that_left_and_is_back_gets_no_work():
    world = started()
    clm(world, 1, Admin.LOCKED)
    world.run(1.0)
    world.crash(1)
    world.run(2.0)
    world.restart(1)
    world.run(3.0)
    assert believed(world, csi()) == {comp(2): ACTIVE}
    assert outcome(world, su(1), AdminOperation.LOCK) is ErrorCode.OK
    assert outcome(world, su(1), AdminOperation.UNLOCK) is ErrorCode.OK
    assert believed(world, csi()) == {comp(2): ACTIVE}


def test_why_tells_of_the_lock():
    world = started()
    for number in (1, 2):
        clm(world, number, Admin.LOCKED)
        world.run(1.0)
    assert believed(world, csi()) == {}
    found = ask(world, amf.WhyGet(si()))
    assert isinstance(found, amf.Why)
    assert "node n1 is LOCKED in CLM" in "\n".join(found.lines)
    assert ask(world, amf.WhyGet(node(1))) is not None


def test_only_executives_say_how_a_node_stands():
    world = started()
    request = clm(world, 1, Admin.LOCKED, client=OPERATOR)
    world.run(0.5)
    assert refusal(world, request).code == ErrorCode.ACCESS_DENIED
    assert believed(world, csi()) == {comp(1): ACTIVE, comp(2): STANDBY}


def test_who_does_not_want_to_queue_is_refused_while_a_lock_runs():
    world = started(nodes=3, units=2, instances=({}, {}))
    clm(world, 1, Admin.SHUTTING_DOWN)
    number = world.admin(su(2), AdminOperation.LOCK, queue=False)
    world.run(0.01)
    assert refusal(world, number).code == ErrorCode.TRY_AGAIN
    world.run(1.0)
    assert outcome(world, su(2), AdminOperation.LOCK, queue=False) is ErrorCode.OK
