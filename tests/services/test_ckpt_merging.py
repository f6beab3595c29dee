"""CKPT when partitions meet again: whose content stands, which handles go on, what their holders are told."""

from typing import Any

import msgspec

from corosync_amf import errors
from corosync_amf.engine import Client, Done
from corosync_amf.services.ckpt import messages as m
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.ckpt.messages import Tracking
from corosync_amf.services.ckpt.values import SectionChange, SectionOperation

from .harness import Answer, Replicas, refused
from .merging import meet, split

A, C = Client(1, 7), Client(3, 7)
ALL = m.Attributes(1, 1000, 10.0, 10, 100, 20, False)
CREATED, OVERWRITTEN, DELETED = SectionOperation.CREATED, SectionOperation.OVERWRITTEN, SectionOperation.DELETED


def opened(name: str = "c", *clients: Client, attributes: m.Attributes = ALL) -> Replicas:
    replicas = Replicas(CkptEngine)
    for client in clients or (A, C):
        replicas.send(client, m.Open(1, name, 7, attributes))
    return replicas


def put(replicas: Replicas, client: Client, **sections: bytes | None) -> Answer:
    return replicas.send(client, m.WriteBatch(1, [m.Change(key.encode(), data) for key, data in sections.items()]))


def content(replicas: Replicas, client: Client = C) -> dict[bytes, bytes]:
    answer = replicas.ask(client, m.ReadAll(1))
    assert isinstance(answer, m.Content), answer
    return dict(answer.sections)


def changes(replicas: Replicas, client: Client = C) -> list[Any]:
    return [change for event in replicas.events_for(client) for change in event.changes]


def test_handles_go_on_with_the_content_that_stands() -> None:
    replicas = opened()
    put(replicas, A, s=b"before")
    other = split(replicas, [3])
    put(replicas, A, s=b"after", t=b"new")
    put(other, C, s=b"lost")
    meet(replicas, other)
    assert content(replicas) == {b"s": b"after", b"t": b"new"}
    assert put(replicas, C, s=b"on").message == Done()
    assert replicas.events_for(C) == []


def test_a_tracker_gets_the_difference_and_then_what_follows() -> None:
    replicas = opened()
    put(replicas, A, same=b"same", changed=b"1", gone=b"1")
    replicas.send(C, m.Track((1,), Tracking.DATA))
    other = split(replicas, [3])
    put(replicas, A, changed=b"2", gone=None, new=b"3")
    for _ in range(3):
        put(other, C, lost=b"x")
    meet(replicas, other)
    (event,) = replicas.events_for(C)
    assert set(event.changes) == {
        SectionChange(b"changed", OVERWRITTEN, 0, b"2"),
        SectionChange(b"new", CREATED, 0, b"3"),
        SectionChange(b"gone", DELETED),
        SectionChange(b"lost", DELETED),
    }
    assert (event.is_merge, event.sequence) == (True, 2)
    put(replicas, A, new=None)
    assert [each.sequence for each in replicas.events_for(C)] == [3]


def test_a_tracker_without_data_is_told_the_ids() -> None:
    replicas = opened()
    replicas.send(C, m.Track((1,), Tracking.IDS))
    other = split(replicas, [3])
    put(replicas, A, new=b"3")
    meet(replicas, other)
    assert changes(replicas) == [SectionChange(b"new", CREATED)]


def test_where_nothing_differs_the_tracker_learns_only_where_it_stands() -> None:
    replicas = opened()
    put(replicas, A, s=b"1")
    replicas.send(C, m.Track((1,), Tracking.DATA))
    other = split(replicas, [3])
    meet(replicas, other)
    assert replicas.events_for(C) == [m.Changed(1, (), None, 1, True)]


def test_a_difference_longer_than_a_frame_comes_in_parts() -> None:
    large = msgspec.structs.replace(ALL, max_section_size=3_000_000, checkpoint_size=30_000_000)
    replicas = opened(attributes=large)
    replicas.send(C, m.Track((1,), Tracking.DATA))
    other = split(replicas, [3])
    for key in ("1", "2", "3"):
        put(replicas, A, **{key: bytes(3_000_000)})
    meet(replicas, other)
    events = replicas.events_for(C)
    assert [len(event.changes) for event in events] == [1, 1, 1]


def test_handles_of_what_is_not_there_or_different_or_unlinked_are_closed() -> None:
    replicas = Replicas(CkptEngine)
    keeper = Client(2, 1)
    for number, name in enumerate(("unlinked", "different", "same"), 1):
        replicas.send(keeper, m.Open(number, name, 7, ALL))
        replicas.send(C, m.Open(number, name, 7, ALL))
    replicas.send(C, m.Unlink("unlinked"))
    other = split(replicas, [3])
    other.send(C, m.Open(4, "new", 7, ALL))
    replicas.send(keeper, m.Unlink("different"))
    replicas.send(keeper, m.Close((2,)))
    replicas.send(keeper, m.Open(5, "different", 7, msgspec.structs.replace(ALL, max_sections=5)))
    meet(replicas, other)
    assert [type(event) for event in replicas.events_for(C)] == [m.HandleLost] * 3
    for number in (1, 2, 4):
        assert type(refused(replicas.ask(C, m.GetStatus(number)))) is errors.BadHandle
    assert isinstance(replicas.ask(C, m.GetStatus(3)), m.Status)


def test_a_handle_that_goes_on_stops_the_retention_time() -> None:
    replicas = opened("c", C)
    other = split(replicas, [3])
    assert replicas.alarms
    replicas.advance(5)
    meet(replicas, other)
    assert not replicas.alarms
    replicas.advance(100)
    assert content(replicas) == {}


def test_a_change_that_waited_for_its_active_replica_has_an_unknown_outcome() -> None:
    active = msgspec.structs.replace(ALL, creation_flags=2)
    replicas = Replicas(CkptEngine, holds_multicasts=True)
    for client in (A, C):
        replicas.send(client, m.Open(1, "c", 7, active))
    answer = put(replicas, C, s=b"1")
    other = split(replicas, [3, 1])  # the active replica, which has yet to confirm, is there
    assert answer.message is None
    meet(replicas, other)
    assert type(refused(answer)) is errors.TimedOut


def test_content_too_long_to_be_compared_closes_its_trackers() -> None:
    wide = msgspec.structs.replace(ALL, max_sections=1_000_000, max_section_id_size=255, checkpoint_size=1_000_000)
    replicas = opened(attributes=wide)
    for start in range(0, 60_000, 20_000):
        batch = [m.Change(b"%0200d" % number, b"") for number in range(start, start + 20_000)]
        replicas.send(A, m.WriteBatch(1, batch))
    replicas.send(C, m.Track((1,), Tracking.DATA))
    other = split(replicas, [3])
    meet(replicas, other)
    assert replicas.events_for(C) == [m.HandleLost(1)]
