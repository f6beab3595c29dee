"""Whatever can be decoded, the engine does not raise, replicas stay equal, and what it says can be encoded."""

import random
from enum import IntEnum
from typing import Any, get_args, get_type_hints

from aisexec.simulation.world import World
from corosync_amf import wire
from corosync_amf.ais import AdminOperation
from corosync_amf.engine import Client, ClientGone, NodeLocal, Origin
from corosync_amf.services.amf.engine import AmfEngine

from .clusters import any_cluster

TEXTS = ("", "x", "safSu=su1", "app/su1", "repair", "callback", "operation", "startup", "\x00,\\,")
NUMBERS = (-1, 0, 1, 2, 3, 7, 1 << 63)
TIMES = (None, -1.0, 0.0, 1e9, float("nan"), float("inf"))


def any_value(rng: random.Random, hint: Any, names: list[str], numbers: list[int]) -> Any:
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return rng.choice(list(hint))
    kinds = get_args(hint) or (hint,)
    kind = rng.choice(kinds)
    if kind is float:
        return rng.choice(TIMES[1:])
    if kind is bool:
        return rng.random() < 0.5
    if kind is int:
        return rng.choice(numbers)
    if kind is str:
        return rng.choice(names)
    return None


def any_message(rng: random.Random, union: Any, names: list[str], numbers: list[int]) -> Any:
    kinds = [kind for kind in get_args(union) if kind is not ClientGone and not issubclass(kind, NodeLocal)]
    kind = rng.choice(kinds)
    hints = get_type_hints(kind)
    return kind(**{name: any_value(rng, hints[name], names, numbers) for name in kind.__struct_fields__})


def test_engine_survives_any_request_and_query():
    for seed in range(40):
        rng = random.Random(seed)
        world = World(any_cluster(rng), rng)
        world.boot()
        world.run(rng.choice((0.0, 0.02, 0.05, 2.0)))
        first, second = world.sites[1].engine, world.sites[2].engine
        index, facts = world.index, first.view.facts
        names = [*index.units, *index.components, *index.instances, *index.csis, *index.groups, *index.nodes, *TEXTS]
        order = facts.order
        for _ in range(40):
            order += 1
            clients = [fact.client for fact in facts.components.values() if fact.client is not None]
            client = rng.choice([Client(1, 0), Client(1, 7), *clients])
            tickets = [fact.ticket for fact in facts.components.values()]
            numbers = [*NUMBERS, *AdminOperation, *tickets, *facts.callbacks]
            message = any_message(rng, AmfEngine.request_type, names, numbers)
            if rng.random() < 0.05:
                message = ClientGone()
            encoded = wire.encode(message)
            origin = Origin(client, order, order, world.now)
            effects = [engine.apply(wire.decode(encoded, AmfEngine.request_type), origin) for engine in (first, second)]
            assert repr(effects[0]) == repr(effects[1])
            for effect in effects[0]:
                wire.encode(getattr(effect, "message", None) or getattr(effect, "command", None))
            query = any_message(rng, AmfEngine.query_type, names, numbers)
            wire.encode(first.query(query, client))
        assert wire.encode(first.snapshot()) == wire.encode(second.snapshot())
        restored = AmfEngine(world.cluster)
        restored.restore(wire.decode(wire.encode(first.snapshot()), AmfEngine.snapshot_type))
        assert wire.encode(restored.snapshot()) == wire.encode(first.snapshot())


def test_timeouts_that_make_no_sense_are_refused():
    world = World(any_cluster(random.Random(1)), random.Random(1))
    world.boot()
    world.run(2.0)
    for timeout in (-1.0, float("nan"), float("inf")):
        number = world.admin(next(iter(world.index.units)), AdminOperation.LOCK, timeout=timeout)
        world.run(0.1)
        assert getattr(world.replies[number][0], "code", 0) == 7
