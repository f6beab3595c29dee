"""Whatever a client sends that can be decoded, no engine raises, and replicas stay equal."""

from collections.abc import Callable
from typing import Any, get_args

import hypothesis.strategies as st
from hypothesis import given, settings

from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, ClientGone, Engine
from corosync_amf.services.ckpt import messages as ckpt
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.clm import messages as clm
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.cpg import messages as cpg
from corosync_amf.services.cpg.engine import CpgEngine
from corosync_amf.services.evs import messages as evs
from corosync_amf.services.evs.engine import EvsEngine

from .harness import Replicas

INTS = st.integers(-(2**63), 2**64 - 1)
NUMBERS = st.integers(-1, 3) | INTS
TIMES = st.none() | st.floats() | st.floats(1e6, 1e6 + 100)
NAMES = st.sampled_from(["c", "node1", "node2", "safNode=node3,x", ""]) | st.text(max_size=5)
IDS = st.sampled_from([b"", b"s", b"t"]) | st.binary(max_size=300)
FLAGS = st.integers(0, 0x7F) | INTS
ATTRIBUTES = st.sampled_from(
    [
        ckpt.Attributes(1, 400, 0.0, 4, 100, 20, False),
        ckpt.Attributes(10, 100, 5.0, 1, 100, 20, False),
    ]
) | st.builds(ckpt.Attributes, *[FLAGS, INTS, TIMES, INTS, INTS, INTS, st.booleans()])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "handle": st.integers(1, 2),
    "handles": st.lists(st.integers(0, 3), max_size=3).map(tuple),
    "name": NAMES,
    "open_flags": st.sampled_from([3, 7]) | FLAGS,
    "flags": FLAGS,
    "attributes": st.none() | ATTRIBUTES,
    "duration": TIMES,
    "expiration_time": TIMES,
    "section_id": IDS,
    "data": st.binary(max_size=120),
    "epoch": NUMBERS,
    "checkpoint": NUMBERS,
    "closing": NUMBERS,
    "invocation": NUMBERS,
    "number": NUMBERS,
    "node_id": NUMBERS,
    "after": NUMBERS,
    "until": st.none() | NUMBERS,
    "count": NUMBERS,
    "group": IDS,
    "groups": st.lists(IDS, max_size=3).map(tuple),
    "last": IDS,
    "pid": NUMBERS,
    "wanted": NUMBERS,
    "writes": st.just(()),
    "parts": st.lists(st.builds(ckpt.Part, IDS, NUMBERS, st.binary(max_size=20)), max_size=3),
    "extents": st.lists(st.builds(ckpt.Extent, IDS, NUMBERS, st.none() | NUMBERS), max_size=3),
    "changes": st.lists(st.builds(ckpt.Change, IDS, st.none() | st.binary(max_size=20)), max_size=3),
}
CLIENTS = st.builds(Client, st.integers(1, 3), st.integers(0, 2))


def messages_of(union: Any) -> st.SearchStrategy[Any]:
    kinds = [kind for kind in get_args(union) or (union,) if kind is not ClientGone]
    fields = {kind: {name: FIELDS[name] for name in kind.__struct_fields__ if name in FIELDS} for kind in kinds}
    return st.one_of([st.builds(kind, **fields[kind]) for kind in kinds] + [st.just(ClientGone())])


def run(make: Callable[[], Engine], first: Any, steps: list[Any]) -> None:
    replicas = Replicas(make)
    for client in (Client(1, 1), Client(2, 1)):
        replicas.send(client, first)
    for step in steps:
        match step:
            case ("request", client, message):
                replicas.send(client, message)
            case ("query", client, message):
                replicas.ask(client, message) if client.node in replicas.members else None
            case ("lose", node):
                lose(replicas, node)
            case ("wait", seconds):
                replicas.advance(seconds)
            case _:
                raise AssertionError(step)


def lose(replicas: Replicas, node: NodeId) -> None:
    if node in replicas.members and len(replicas.members) > 1:
        replicas.change(left=[node])
    else:
        replicas.change(joined={1, 2, 3} - set(replicas.members))


def steps_of(requests: Any, queries: Any) -> st.SearchStrategy[list[Any]]:
    request = st.tuples(st.just("request"), CLIENTS, messages_of(requests))
    query = st.tuples(st.just("query"), CLIENTS, messages_of(queries).filter(lambda each: each != ClientGone()))
    lost = st.tuples(st.just("lose"), st.integers(1, 3))
    wait = st.tuples(st.just("wait"), st.floats(0, 20))
    return st.lists(st.one_of(request, request, request, query, lost, wait), max_size=30)


@settings(max_examples=150, deadline=None)
@given(steps_of(ckpt.CkptRequest, ckpt.CkptQuery))
def test_no_request_makes_the_checkpoint_engine_raise(steps: list[Any]) -> None:
    run(CkptEngine, ckpt.Open(1, "c", 7, ckpt.Attributes(1, 400, 5.0, 4, 100, 20, False)), steps)


@settings(max_examples=150, deadline=None)
@given(steps_of(clm.ClmRequest, clm.ClmQuery))
def test_no_request_makes_the_membership_engine_raise(steps: list[Any]) -> None:
    run(ClmEngine, clm.Track(0x14), steps)


@settings(max_examples=100, deadline=None)
@given(steps_of(cpg.CpgRequest, cpg.CpgQuery))
def test_no_request_makes_the_cpg_engine_raise(steps: list[Any]) -> None:
    run(CpgEngine, cpg.Join(b"s", 1), steps)


@settings(max_examples=100, deadline=None)
@given(steps_of(evs.EvsRequest, evs.EvsQuery))
def test_no_request_makes_the_evs_engine_raise(steps: list[Any]) -> None:
    run(EvsEngine, evs.Open(), steps)
