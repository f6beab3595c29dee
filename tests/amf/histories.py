"""Random histories of faults and operations, and what must hold at their end."""

import random
from typing import Any

from aisexec.simulation.fakes import Violation
from aisexec.simulation.world import World
from corosync_amf.ais import Admin, AdminOperation, Assignment, Dn, HaReadiness, Presence, Readiness, Recovery
from corosync_amf.engine import Client
from corosync_amf.services.amf import messages as amf
from corosync_amf.services.amf.states import View, assignments_of_instance, instance_assignment, unit_readiness

from .clusters import any_cluster

RECOVERIES = (
    Recovery.NO_RECOMMENDATION,
    Recovery.COMPONENT_RESTART,
    Recovery.COMPONENT_FAILOVER,
    Recovery.NODE_SWITCHOVER,
    Recovery.NODE_FAILOVER,
    Recovery.NODE_FAILFAST,
    Recovery.APPLICATION_RESTART,
)


def live_through(seed: int, *, steps: int = 25) -> World:
    """A history: start, faults and operations at random times, then quiet, repair by the operator, and the checks."""
    rng = random.Random(seed)
    world = World(any_cluster(rng), rng, is_replicated=seed % 4 == 0)
    world.is_calm = rng.random() < 0.5
    world.boot()
    asked: dict[int, tuple[int, int]] = {}
    for _ in range(rng.randrange(steps)):
        world.run(rng.choice((0.0, 0.003, 0.01, 0.03, 0.1, 1.0, 3.0)))
        world.is_calm = rng.random() < 0.3
        _happen(world, rng, asked)
    world.is_calm = True
    calm_down(world)
    check_replies(world, asked)
    return world


def _happen(world: World, rng: random.Random, asked: dict[int, tuple[int, int]]) -> None:
    up = [site for site in world.sites.values() if site.part is not None]
    processes = list(world.processes())
    kind = rng.choices(
        ("die", "hang", "report", "admin", "crash", "restart", "isolate", "merge", "readiness", "blip"),
        (6, 3, 4, 10, 1.5, 3, 1, 3, 2, 1),
    )[0]
    if kind in ("die", "hang", "report", "readiness") and processes:
        node, process = rng.choice(processes)
        match kind:
            case "die":
                world.die(node, process)
            case "hang":
                world.hang(node, process)
            case "report":
                world.report(node, process, rng.choice(RECOVERIES))
            case _:
                state = rng.choice(list(HaReadiness))
                world.send(world.sites[node], process.client, amf.HaReadinessSet(process.component, None, state))
    elif kind == "admin" and up:
        index = world.index
        dns = [index.cluster.dn, *index.nodes, *index.applications, *index.groups]
        dns += 2 * [*index.units, *index.components, *index.instances]
        site = rng.choice(up)
        operation = rng.choice(list(AdminOperation))
        number = world.admin(rng.choice(dns), operation, site.node_id, queue=rng.random() < 0.8)
        asked[number] = (site.node_id, site.incarnation + site.blips)
    elif kind == "crash" and len(up) > 1:
        world.crash(rng.choice(up).node_id)
    elif kind == "restart":
        world.restart(rng.choice(sorted(world.sites)))
    elif kind == "isolate" and len(up) > 1:
        world.isolate(rng.choice(up).node_id)
    elif kind == "blip" and up:
        world.blip(rng.choice(up).node_id)
    elif kind == "merge":
        world.merge()


def calm_down(world: World) -> None:
    """All nodes come back, the operator unlocks and repairs everything; then all must be well."""
    world.merge()
    world.run(2.0)
    for node in sorted(world.sites):
        world.restart(node)
    world.run(30.0)
    for node, process in list(world.processes()):
        client = world.sites[node].engine.view.facts.component(process.component).client
        if client == Client(node, process.client):
            ready = HaReadiness.READY_FOR_ASSIGNMENT
            world.send(world.sites[node], process.client, amf.HaReadinessSet(process.component, None, ready))
    for _ in range(3):
        view = replica(world)
        for dn, state in list(view.facts.admin.items()):
            if state is Admin.LOCKED_INSTANTIATION:
                world.admin(dn, AdminOperation.UNLOCK_INSTANTIATION)
        world.run(20.0)
        for dn, state in list(view.facts.admin.items()):
            if state is not Admin.UNLOCKED:
                world.admin(dn, AdminOperation.UNLOCK)
        world.run(20.0)
        for dn, configured in view.index.nodes.items():
            if view.facts.node(configured.name).disabled:
                world.admin(dn, AdminOperation.REPAIRED)
        for su in view.index.units:
            world.admin(su, AdminOperation.REPAIRED)
        world.run(20.0)
    world.run(400.0)
    check_settled(world)


def replica(world: World) -> View:
    return next(site for site in world.sites.values() if site.part is not None).engine.view


def check_settled(world: World) -> None:
    """Nothing is under way, the facts say what really is, and everything that can be is assigned."""
    view = replica(world)
    facts, index = view.facts, view.index
    if len({site.part for site in world.sites.values()}) > 1:
        raise Violation("not one partition")
    if facts.callbacks or facts.operations:
        raise Violation(f"still under way: {facts.callbacks} {facts.operations}")
    real = {(csi, process.component, state) for _, process in world.processes() for csi, state in process.csis.items()}
    known = {
        (csi, comp, row.state)
        for csi, held in facts.assignments.items()
        for comp, row in held.items()
        if comp in registering(view)
    }
    if {row for row in real if row[1] in registering(view)} != known:
        raise Violation(f"facts and world differ: {real ^ known}")
    for comp, fact in facts.components.items():
        if fact.doing is not None or (fact.instance != 0) != any(p.component == comp for _, p in world.processes()):
            raise Violation(f"{comp}: {fact}")
    for group in index.groups.values():
        in_service = [u.dn for u in group.units if unit_in_service(view, u.dn)]
        wanted = len(group.units)
        if group.preferred_inservice_sus is not None:
            wanted = min(wanted, group.preferred_inservice_sus)
        if len(in_service) < wanted:
            raise Violation(f"only {in_service} are in service: {_broken(view)}")
        for instance in index.instances_of_group[group.dn]:
            check_assigned(view, instance.dn, len(in_service))


def registering(view: View) -> set[Dn]:
    return set(view.registering)


def _broken(view: View) -> list[Any]:
    return [(dn, fact) for dn, fact in view.facts.components.items() if fact.presence is not Presence.INSTANTIATED]


def unit_in_service(view: View, su: Dn) -> bool:
    return unit_readiness(view, su) is Readiness.IN_SERVICE


def check_assigned(view: View, si: Dn, in_service: int) -> None:
    state = instance_assignment(view, si)
    if in_service >= 2 and state is not Assignment.FULLY_ASSIGNED:
        raise Violation(f"{si} is {state.name}: {list(assignments_of_instance(view, si))}")
    if state is Assignment.UNASSIGNED:
        raise Violation(f"{si} is UNASSIGNED: {list(assignments_of_instance(view, si))}")


def check_replies(world: World, asked: dict[int, tuple[int, int]]) -> None:
    """Every operation is answered exactly once, unless the node of whoever asked has gone."""
    for number, (node, incarnation) in asked.items():
        count = len(world.replies.get(number, []))
        is_there = world.sites[node].incarnation + world.sites[node].blips == incarnation
        if count > 1 or (is_there and count != 1):
            raise Violation(f"operation {number} was answered {count} times")
