"""A calm world with a started cluster, and short questions about it."""

import random
from typing import Any

from aisexec.simulation.fakes import Chances, Process
from aisexec.simulation.world import World
from corosync_amf.ais import AdminOperation, Dn, ErrorCode, HaState, NodeId, Presence
from corosync_amf.engine import Client, Done, Failed, Message
from corosync_amf.services.amf import messages as amf
from corosync_amf.services.amf.facts import ComponentFact
from corosync_amf.services.amf.states import View
from corosync_amf.services.ntf.vocabulary import NotificationType, Severity, type_of

from . import clusters


def started(seconds: float = 2.0, *, chances: Chances | None = None, **options: Any) -> World:
    """A world with `clusters.cluster(**options)`, started and settled."""
    world = World(clusters.cluster(**options), random.Random(7), chances or Chances(slow=0.0, cleanup_by_node=1.0))
    world.boot()
    world.run(seconds)
    return world


def view(world: World) -> View:
    return next(site for site in world.sites.values() if site.part is not None).engine.view


def believed(world: World, csi: Dn) -> dict[Dn, HaState]:
    """What the processes themselves say: component -> HA state."""
    return {p.component: p.csis[csi] for _, p in world.processes() if csi in p.csis}


def process(world: World, component: Dn) -> tuple[NodeId, Process]:
    return next((node, p) for node, p in world.processes() if p.component == component)


def severities(world: World, minor: int) -> list[Severity]:
    """What operators were told of the alarms with this minor id, in order."""
    found = [notice for notice in world.notifications if notice.class_id == (18568, 2, minor)]
    assert all(type_of(notice.event_type) is NotificationType.ALARM for notice in found)
    return [Severity(notice.severity) for notice in found]


def fact(world: World, component: Dn) -> ComponentFact:
    return view(world).facts.component(component)


def presence(world: World, component: Dn) -> Presence:
    return fact(world, component).presence


def kill(world: World, component: Dn, seconds: float = 1.0) -> None:
    world.die(*process(world, component))
    world.run(seconds)


def admin(world: World, dn: Dn, operation: AdminOperation, seconds: float = 1.0, **options: Any) -> Message | None:
    """Ask for an operation, let time pass, and return the answer; None: none yet."""
    number = world.admin(dn, operation, **options)
    world.run(seconds)
    return next(iter(world.replies.get(number, [])), None)


def outcome(world: World, dn: Dn, operation: AdminOperation, seconds: float = 1.0, **options: Any) -> ErrorCode | None:
    match admin(world, dn, operation, seconds, **options):
        case Done():
            return ErrorCode.OK
        case Failed(code):
            return ErrorCode(code)
        case _:
            return None


def ask(world: World, query: Any) -> Any:
    site = next(site for site in world.sites.values() if site.part is not None)
    return site.engine.query(query, Client(site.node_id, 1))


def status(world: World, dn: Dn | None = None) -> amf.Status:
    found = ask(world, amf.StatusGet(dn))
    assert isinstance(found, amf.Status)
    return found


def said(world: World, text: str) -> int:
    """How many lines of the trace contain a text."""
    return sum(text in line for line in world.trace)


def refusal(world: World, number: int) -> Failed:
    """The one answer to an operation, which must be a refusal."""
    (answer,) = world.replies[number]
    assert isinstance(answer, Failed)
    return answer
