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
from corosync_amf.services.evt import messages as evt
from corosync_amf.services.evt.engine import EvtEngine
from corosync_amf.services.lck import messages as lck
from corosync_amf.services.lck.engine import LckEngine
from corosync_amf.services.log import messages as log
from corosync_amf.services.log.engine import LogEngine
from corosync_amf.services.log.values import STREAM_ALARM, STREAM_SYSTEM
from corosync_amf.services.msg import messages as msg
from corosync_amf.services.msg.engine import MsgEngine
from corosync_amf.services.msg.values import QueueThresholds
from corosync_amf.services.ntf import messages as ntf
from corosync_amf.services.ntf import records
from corosync_amf.services.ntf.engine import NtfEngine

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
    "beyond": NAMES,
    "lock": st.integers(0, 3) | INTS,
    "mode": st.integers(0, 3) | INTS,
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
    "asked": NUMBERS,
    "version": st.tuples(NUMBERS, NUMBERS),
    "sections": st.just([]),
    "sequence": INTS,
    "births": INTS,
    "order": INTS,
    "fence": st.none() | INTS,
    "Restore.attributes": ATTRIBUTES,
    "parts": st.lists(st.builds(ckpt.Part, IDS, NUMBERS, st.binary(max_size=20)), max_size=3),
    "extents": st.lists(st.builds(ckpt.Extent, IDS, NUMBERS, st.none() | NUMBERS), max_size=3),
    "changes": st.lists(st.builds(ckpt.Change, IDS, st.none() | st.binary(max_size=20)), max_size=3),
}
MSG_ATTRIBUTES = msg.Attributes(0, (100, 100, 0, 50), 5.0)
MSG_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "open_flags": st.sampled_from([0, 1, 2, 7]) | FLAGS,
    "attributes": st.none()
    | st.just(MSG_ATTRIBUTES)
    | st.builds(msg.Attributes, FLAGS, st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), TIMES),
    "number": st.integers(0, 5) | INTS,
    "settled": st.lists(st.integers(0, 5), max_size=2).map(tuple),
    "taken": st.lists(st.integers(0, 5), max_size=2).map(tuple),
    "destination": NAMES,
    "group": NAMES,
    "after": NAMES,
    "body": st.builds(msg.Body, st.binary(max_size=60), NUMBERS, NUMBERS, NUMBERS, st.none() | NAMES),
    "sender_id": st.integers(0, 40) | INTS,
    "retention_time": TIMES,
    "thresholds": st.builds(QueueThresholds, *[st.tuples(*[st.integers(-1, 2**40)] * 4)] * 2),
}
PLAIN = st.booleans() | INTS | st.floats() | st.text(max_size=3) | st.builds(records.Octets, st.binary(max_size=3))
EVENT_TYPES = st.sampled_from([0x1001, 0x2003, 0x3001, 0x4003, 0x5001, 0x6001]) | INTS
PAIRS = st.lists(st.tuples(INTS, PLAIN), max_size=2).map(tuple)
SMALL = st.integers(-1, 6) | INTS
FACTS = st.one_of(
    st.builds(records.Attributes, SMALL, PAIRS),
    st.builds(records.AttributeChanges, SMALL),
    st.builds(records.StateChanges, SMALL, st.just(((1, None, 2),))),
    st.builds(records.AlarmFacts, SMALL, SMALL),
    st.builds(records.SecurityFacts, SMALL, SMALL, PLAIN),
    st.just(records.Nothing()),
)
TERMS = st.builds(records.Terms, st.lists(SMALL, max_size=2).map(tuple), st.lists(EVENT_TYPES, max_size=2).map(tuple))
IDENTIFIERS = st.lists(st.integers(0, 2**64 - 1), max_size=2).map(tuple)
CLASSES = st.just((18568, 2, 5)) | st.tuples(INTS, INTS, INTS)
NTF_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "record": st.builds(
        records.Record,
        EVENT_TYPES,
        NAMES,
        NAMES,
        CLASSES,
        TIMES,
        NUMBERS,
        st.text(max_size=3),
        PAIRS,
        IDENTIFIERS,
        FACTS,
    ),
    "subscription_id": NUMBERS,
    "filters": st.lists(TERMS, max_size=2).map(tuple),
    "search": st.builds(records.Search, st.integers(0, 8), TIMES, st.none() | NUMBERS),
    "direction": st.integers(0, 3),
    "place": st.none() | st.tuples(st.floats(), st.integers(0, 2**63)),
    "event_type": EVENT_TYPES,
    "class_id": CLASSES,
    "severity": SMALL,
    "probable_cause": SMALL,
    "raised": st.integers(0, 3),
}
CLIENTS = st.builds(Client, st.integers(1, 3), st.integers(0, 2))


def messages_of(union: Any, own: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """`own`: fields that mean something else, or more, in this service."""
    kinds = [kind for kind in get_args(union) or (union,) if kind is not ClientGone]
    known = FIELDS | (own or {})

    def field_of(kind: Any, name: str) -> st.SearchStrategy[Any] | None:
        return known.get(f"{kind.__name__}.{name}", known.get(name))

    fields = {
        kind: {name: found for name in kind.__struct_fields__ if (found := field_of(kind, name)) is not None}
        for kind in kinds
    }
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


def steps_of(requests: Any, queries: Any, own: dict[str, Any] | None = None) -> st.SearchStrategy[list[Any]]:
    request = st.tuples(st.just("request"), CLIENTS, messages_of(requests, own))
    query = st.tuples(st.just("query"), CLIENTS, messages_of(queries, own).filter(lambda each: each != ClientGone()))
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


@settings(max_examples=150, deadline=None)
@given(steps_of(lck.LckRequest, lck.LckQuery))
def test_no_request_makes_the_lock_engine_raise(steps: list[Any]) -> None:
    run(LckEngine, lck.Open(1, "c", 1), steps)


@settings(max_examples=150, deadline=None)
@given(steps_of(msg.MsgRequest, msg.MsgQuery, MSG_FIELDS))
def test_no_request_makes_the_message_engine_raise(steps: list[Any]) -> None:
    run(MsgEngine, msg.Open(1, "c", 1, MSG_ATTRIBUTES), steps)


EVENTS: dict[str, st.SearchStrategy[Any]] = {
    "subscription": st.integers(0, 3),
    "filters": st.lists(st.tuples(NUMBERS, IDS), max_size=3).map(tuple),
    "patterns": st.lists(IDS, max_size=3).map(tuple),
    "priority": st.integers(-1, 4),
    "retention_time": st.floats(0, 20) | st.floats(),
    "publisher_name": NAMES,
    "data": st.lists(st.binary(max_size=9), max_size=3),
    "event_id": st.integers(4096, 4096 * 9) | st.integers(0, 2**64 - 1),
    "after_name": NAMES,
}
LOG_FILES = st.builds(
    log.Attributes,
    *[NAMES, NAMES, INTS | st.just(400), INTS | st.just(150), st.booleans(), INTS | st.just(2), INTS | st.just(3)],
    st.sampled_from(["@Cr @Cb", "@Ct @No @Nt @Ne3", "@CY @Sv @Sl5", "@Zz"]) | st.text(max_size=9),
)
LOG_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "attributes": st.none() | LOG_FILES,
    "name": NAMES | st.sampled_from([STREAM_SYSTEM, STREAM_ALARM]),
    "body": st.binary(max_size=300),
    "severity": st.integers(0, 6) | INTS,
    "severities": st.integers(0, 127) | INTS,
    "time_stamp": TIMES,
    "event_time": TIMES,
    "event_type": st.integers(0x4000, 0x6000) | INTS,
    "notification_id": NUMBERS,
    "stream": NUMBERS,
    "user": st.text(max_size=9),
    "text": st.text(max_size=9),
    "class_id": st.tuples(INTS, INTS, INTS),
    "states": st.just(()),
    "lines": NUMBERS,
    **dict.fromkeys(("after", "identifier", "probable_cause", "raised"), INTS),
}


@settings(max_examples=150, deadline=None)
@given(steps_of(evt.EvtRequest, evt.EvtQuery, EVENTS))
def test_no_request_makes_the_event_engine_raise(steps: list[Any]) -> None:
    run(EvtEngine, evt.Open(1, "c", 7), steps)


@settings(max_examples=150, deadline=None)
@given(steps_of(log.LogRequest, log.LogQuery, LOG_FIELDS))
def test_no_request_makes_the_log_engine_raise(steps: list[Any]) -> None:
    run(LogEngine, log.Open(1, "c", log.Attributes("c", ".", 400, 150, True, 2, 3, "@Cr @Ct @Sl @Cb"), True), steps)


@settings(max_examples=150, deadline=None)
@given(steps_of(ntf.NtfRequest, ntf.NtfQuery, NTF_FIELDS))
def test_no_request_makes_the_notification_engine_raise(steps: list[Any]) -> None:
    everything = ntf.Subscribe(1, (records.Terms(),))
    run(NtfEngine, everything, steps)


@settings(max_examples=100, deadline=None)
@given(steps_of(cpg.CpgRequest, cpg.CpgQuery))
def test_no_request_makes_the_cpg_engine_raise(steps: list[Any]) -> None:
    run(CpgEngine, cpg.Join(b"s", 1), steps)


@settings(max_examples=100, deadline=None)
@given(steps_of(evs.EvsRequest, evs.EvsQuery))
def test_no_request_makes_the_evs_engine_raise(steps: list[Any]) -> None:
    run(EvsEngine, evs.Open(), steps)
