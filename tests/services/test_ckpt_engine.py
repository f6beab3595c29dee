"""CKPT: requests in, replies, events and replicas out."""

from typing import Any

import msgspec
import pytest

from corosync_amf import errors
from corosync_amf.engine import Client, Done, Message, Request
from corosync_amf.errors import AisError
from corosync_amf.services.ckpt import messages as m
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.ckpt.values import (
    CreationFlags,
    OpenFlags,
    SectionChange,
    SectionOperation,
    SectionsChosen,
)

from .harness import START_TIME, Answer, Replicas, refused

A, B, C = Client(1, 7), Client(2, 7), Client(3, 7)
READ, WRITE, CREATE = OpenFlags.READ, OpenFlags.WRITE, OpenFlags.CREATE
ALL, ACTIVE, WEAK = CreationFlags.WR_ALL_REPLICAS, CreationFlags.WR_ACTIVE_REPLICA, CreationFlags.WR_ACTIVE_REPLICA_WEAK
COLLOCATED = CreationFlags.CHECKPOINT_COLLOCATED
CREATED, WRITTEN, OVERWRITTEN = SectionOperation.CREATED, SectionOperation.WRITTEN, SectionOperation.OVERWRITTEN
DELETED, EXPIRED = SectionOperation.DELETED, SectionOperation.EXPIRED


def attributes(flags: int = ALL, **changes: Any) -> m.Attributes:
    sections, size = changes.pop("max_sections", 4), changes.pop("max_section_size", 100)
    total = changes.pop("checkpoint_size", min(250, sections * size))
    return msgspec.structs.replace(m.Attributes(int(flags), total, 0.0, sections, size, 20, False), **changes)


def opened(
    replicas: Replicas, client: Client = A, handle: int = 1, *, name: str = "c", flags: int = 7, of: Any = None
) -> Answer:
    """Open with `of` as attributes, or what is there."""
    if of is None:
        flags &= ~CREATE
    return replicas.send(client, m.Open(handle, name, int(flags), of))


def ready(of: m.Attributes | None = None, **arguments: Any) -> Replicas:
    """Three replicas, and a checkpoint that A has open as number 1."""
    replicas = Replicas(CkptEngine)
    assert isinstance(opened(replicas, of=of or attributes(), **arguments).message, m.Opened)
    return replicas


def section(section_id: bytes | None = b"s", data: bytes = b"", **more: Any) -> m.CreateSection:
    return m.CreateSection(1, section_id, data, **more)


def write(*parts: tuple[bytes, int, bytes], epoch: int | None = None, handle: int = 1) -> m.Write:
    return m.Write(handle, [m.Part(*part) for part in parts], epoch)


def batch(changes: dict[bytes, bytes | None], epoch: int | None = None) -> m.WriteBatch:
    return m.WriteBatch(1, [m.Change(*change) for change in changes.items()], epoch)


def done(replicas: Replicas, message: Request, client: Client = A) -> Answer:
    answer = replicas.send(client, message)
    assert isinstance(answer.message, Done | m.SectionCreated), answer
    return answer


def content(replicas: Replicas, client: Client = A, handle: int = 1) -> dict[bytes, bytes]:
    answer = replicas.ask(client, m.ReadAll(handle))
    assert isinstance(answer, m.Content), answer
    assert not answer.more
    return dict(answer.sections)


def read(replicas: Replicas, *extents: Any, client: Client = A) -> Message:
    return replicas.ask(client, m.Read(1, [m.Extent(*each) for each in extents]))


# ---- every row of the error table: what is prepared, what is asked, what is raised

ROWS: list[tuple[str, m.Attributes, list[Request], Any, type[AisError]]] = [
    # the opening call
    ("attributes without CREATE", attributes(), [], m.Open(2, "x", READ, attributes()), errors.InvalidParam),
    ("CREATE without attributes", attributes(), [], m.Open(2, "x", CREATE), errors.InvalidParam),
    ("no WR flag", attributes(), [], m.Open(2, "x", 7, attributes(0)), errors.InvalidParam),
    ("two WR flags", attributes(), [], m.Open(2, "x", 7, attributes(3)), errors.InvalidParam),
    ("COLLOCATED alone", attributes(), [], m.Open(2, "x", 7, attributes(8)), errors.InvalidParam),
    ("too big", attributes(), [], m.Open(2, "x", 7, attributes(checkpoint_size=401)), errors.InvalidParam),
    ("no sections", attributes(), [], m.Open(2, "x", 7, attributes(max_sections=0)), errors.InvalidParam),
    ("sections", attributes(), [], m.Open(2, "x", 7, attributes(max_sections=1_000_001)), errors.InvalidParam),
    ("section size", attributes(), [], m.Open(2, "x", 7, attributes(max_section_size=2**24 + 1)), errors.InvalidParam),
    ("no section size", attributes(), [], m.Open(2, "x", 7, attributes(max_section_size=0)), errors.InvalidParam),
    ("id size", attributes(), [], m.Open(2, "x", 7, attributes(max_section_id_size=256)), errors.InvalidParam),
    ("retention", attributes(), [], m.Open(2, "x", 7, attributes(retention_duration=-1.0)), errors.InvalidParam),
    (
        "no number",
        attributes(),
        [],
        m.Open(2, "x", 7, attributes(retention_duration=float("nan"))),
        errors.InvalidParam,
    ),
    ("no name", attributes(), [], m.Open(2, "", 7, attributes()), errors.InvalidParam),
    ("NUL in the name", attributes(), [], m.Open(2, "x\0", 7, attributes()), errors.InvalidParam),
    ("long name", attributes(), [], m.Open(2, "\u00e4" * 1025, 7, attributes()), errors.TooBig),
    ("not there", attributes(), [], m.Open(2, "x", READ), errors.NotExist),
    ("other attributes", attributes(), [], m.Open(2, "c", 7, attributes(max_sections=5)), errors.Exist),
    ("other flags", attributes(), [], m.Open(2, "c", 7, attributes(WEAK)), errors.Exist),
    ("persistent", attributes(), [], m.Open(2, "x", 7, attributes(persistent=True)), errors.NotSupported),
    # life
    ("unlink nothing", attributes(), [], m.Unlink("x"), errors.NotExist),
    ("unlink again", attributes(), [m.Unlink("c")], m.Unlink("c"), errors.NotExist),
    ("negative retention", attributes(), [], m.SetRetention(1, -1.0), errors.InvalidParam),
    ("retention of nothing", attributes(), [m.Unlink("c")], m.SetRetention(1, 1.0), errors.BadOperation),
    ("active of all", attributes(), [], m.SetActiveReplica(1), errors.BadOperation),
    ("active of all, collocated", attributes(ALL | COLLOCATED), [], m.SetActiveReplica(1), errors.BadOperation),
    ("active chosen by CKPT", attributes(ACTIVE), [], m.SetActiveReplica(1), errors.BadOperation),
    ("status without active", attributes(WEAK | COLLOCATED), [], m.GetStatus(1), errors.NotExist),
    # section_create
    ("empty id", attributes(), [], section(b""), errors.InvalidParam),
    ("long id", attributes(), [], section(b"x" * 21), errors.InvalidParam),
    ("much data", attributes(), [], section(b"x", b"d" * 101), errors.InvalidParam),
    ("past expiration", attributes(), [], section(b"x", expiration_time=START_TIME), errors.InvalidParam),
    ("expiration no number", attributes(), [], section(b"x", expiration_time=float("nan")), errors.InvalidParam),
    ("generated id does not fit", attributes(max_section_id_size=7), [], section(None), errors.InvalidParam),
    ("section exists", attributes(), [section()], section(), errors.Exist),
    ("default section exists", attributes(max_sections=1), [], section(b""), errors.Exist),
    ("another beside the default", attributes(max_sections=1), [], section(b"x"), errors.NoSpace),
    ("generated beside the default", attributes(max_sections=1), [], section(None), errors.NoSpace),
    ("sections full", attributes(max_sections=2), [section(b"1"), section(b"2")], section(b"3"), errors.NoSpace),
    ("full", attributes(checkpoint_size=5), [section(b"1", b"1234")], section(b"2", b"12"), errors.NoSpace),
    ("create without active", attributes(ACTIVE | COLLOCATED), [], section(), errors.NotExist),
    ("create deposed", attributes(), [m.Fence(1, 5)], section(epoch=4), errors.AccessDenied),
    # section_delete
    ("delete default", attributes(max_sections=1), [], m.DeleteSection(1, b""), errors.InvalidParam),
    ("delete nothing", attributes(), [], m.DeleteSection(1, b"x"), errors.NotExist),
    ("delete without active", attributes(WEAK | COLLOCATED), [], m.DeleteSection(1, b"x"), errors.NotExist),
    ("delete deposed", attributes(), [section(epoch=5)], m.DeleteSection(1, b"s", 4), errors.AccessDenied),
    # section_expiration_time_set
    ("expire default", attributes(max_sections=1), [], m.SetExpiration(1, b"", None), errors.InvalidParam),
    ("expire in the past", attributes(), [section()], m.SetExpiration(1, b"s", START_TIME - 1), errors.InvalidParam),
    ("expire nothing", attributes(), [], m.SetExpiration(1, b"x", None), errors.NotExist),
    ("expire without active", attributes(WEAK | COLLOCATED), [], m.SetExpiration(1, b"x", None), errors.NotExist),
    # section_overwrite
    ("overwrite much", attributes(), [section()], m.Overwrite(1, b"s", b"d" * 101), errors.InvalidParam),
    ("overwrite nothing", attributes(), [], m.Overwrite(1, b"x", b"d"), errors.NotExist),
    ("overwrite without active", attributes(WEAK | COLLOCATED), [], m.Overwrite(1, b"x", b"d"), errors.NotExist),
    ("overwrite full", attributes(checkpoint_size=5), [section()], m.Overwrite(1, b"s", b"d" * 6), errors.NoSpace),
    ("overwrite deposed", attributes(), [section(epoch=5)], m.Overwrite(1, b"s", b"d", 4), errors.AccessDenied),
    # write, write_batch
    ("write no element", attributes(), [], write(), errors.InvalidParam),
    ("write too far", attributes(), [section()], write((b"s", 99, b"12")), errors.InvalidParam),
    ("write before the start", attributes(), [section()], write((b"s", -1, b"1")), errors.InvalidParam),
    ("write nothing", attributes(), [section()], write((b"s", 0, b"1"), (b"x", 0, b"1")), errors.NotExist),
    ("write without active", attributes(WEAK | COLLOCATED), [], write((b"x", 0, b"1")), errors.NotExist),
    ("write full", attributes(checkpoint_size=5), [section()], write((b"s", 3, b"123")), errors.NoSpace),
    ("write deposed", attributes(), [section(epoch=5)], write((b"s", 0, b"1"), epoch=4), errors.AccessDenied),
    ("batch of nothing", attributes(), [], batch({}), errors.InvalidParam),
    ("batch much", attributes(), [], batch({b"x": b"d" * 101}), errors.InvalidParam),
    ("batch empty id", attributes(), [], batch({b"": b"d"}), errors.InvalidParam),
    ("batch deletes nothing", attributes(), [], batch({b"y": b"", b"x": None}), errors.NotExist),
    ("batch deletes default", attributes(max_sections=1), [], batch({b"": None}), errors.InvalidParam),
    ("batch without active", attributes(WEAK | COLLOCATED), [], batch({b"x": b""}), errors.NotExist),
    ("batch full", attributes(checkpoint_size=5), [], batch({b"x": b"123", b"y": b"123"}), errors.NoSpace),
    ("batch sections", attributes(max_sections=2), [], batch({b"x": b"", b"y": b"", b"z": b""}), errors.NoSpace),
    ("batch deposed", attributes(), [m.Fence(1, 5)], batch({b"x": b""}, 4), errors.AccessDenied),
    # read, read_all
    ("read no element", attributes(), [], m.Read(1, []), errors.InvalidParam),
    ("read before the start", attributes(), [section()], m.Read(1, [m.Extent(b"s", -1)]), errors.InvalidParam),
    ("read beyond the end", attributes(), [section()], m.Read(1, [m.Extent(b"s", 1)]), errors.InvalidParam),
    ("read less than nothing", attributes(), [section()], m.Read(1, [m.Extent(b"s", 0, -1)]), errors.InvalidParam),
    ("read nothing", attributes(), [], m.Read(1, [m.Extent(b"x")]), errors.NotExist),
    ("read without active", attributes(WEAK | COLLOCATED), [], m.Read(1, [m.Extent(b"x")]), errors.NotExist),
    ("read all without active", attributes(WEAK | COLLOCATED), [], m.ReadAll(1), errors.NotExist),
    # the others
    ("synchronize all", attributes(), [], m.Synchronize(1), errors.BadOperation),
    ("synchronize without active", attributes(WEAK | COLLOCATED), [], m.Synchronize(1), errors.NotExist),
    (
        "iterate without active",
        attributes(WEAK | COLLOCATED),
        [],
        m.ListSections(1, SectionsChosen.ANY, None, 0, None, 1),
        errors.NotExist,
    ),
    (
        "iterate without time",
        attributes(),
        [],
        m.ListSections(1, SectionsChosen.LEQ_EXPIRATION_TIME, None, 0, None, 1),
        errors.InvalidParam,
    ),
    ("track again", attributes(), [m.Track((1,), m.Tracking.DATA)], m.Track((1,), m.Tracking.IDS), errors.Exist),
    ("untrack nothing", attributes(), [], m.Untrack((1,)), errors.NotExist),
    ("fence lower", attributes(), [m.Fence(1, 5)], m.Fence(1, 4), errors.AccessDenied),
    ("more of nothing", attributes(), [], m.ReadAll(1, True), errors.Interrupt),
]


def outcome(replicas: Replicas, message: Any, client: Client = A) -> Any:
    return replicas.send(client, message) if isinstance(message, Request) else replicas.ask(client, message)


@pytest.mark.parametrize(("of", "before", "message", "error"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_each_refusal_has_its_error_and_changes_nothing(
    of: m.Attributes, before: list[Request], message: Any, error: type[AisError]
) -> None:
    replicas = ready(of)
    for request in before:
        done(replicas, request)
    state = replicas.engines[1].snapshot()
    assert type(refused(outcome(replicas, message))) is error
    assert replicas.engines[1].snapshot() == state
    assert not replicas.events


HANDLE_REQUESTS: list[Any] = [
    m.SetRetention(9, 1.0),
    m.SetActiveReplica(9),
    m.CreateSection(9, b"s", b""),
    m.DeleteSection(9, b"s"),
    m.Overwrite(9, b"s", b""),
    m.SetExpiration(9, b"s", None),
    write((b"s", 0, b""), handle=9),
    m.WriteBatch(9, [m.Change(b"s", b"")]),
    m.Fence(9, 1),
    m.Synchronize(9),
    m.Track((9,), m.Tracking.DATA),
    m.Untrack((9,)),
    m.Read(9, [m.Extent(b"s")]),
    m.ReadAll(9),
    m.GetStatus(9),
    m.ListSections(9, SectionsChosen.ANY, None, 0, None, 1),
]


@pytest.mark.parametrize("message", HANDLE_REQUESTS, ids=lambda message: type(message).__name__)
def test_a_handle_that_is_not_open_or_belongs_to_another_is_bad(message: Any) -> None:
    replicas = ready(handle=9)
    assert type(refused(outcome(replicas, message, B))) is errors.BadHandle
    done(replicas, m.Close((9,)))
    assert type(refused(outcome(replicas, message, A))) is errors.BadHandle


@pytest.mark.parametrize("message", HANDLE_REQUESTS[1:10], ids=lambda message: type(message).__name__)
def test_changes_need_a_handle_opened_for_writing(message: Any) -> None:
    replicas = ready(handle=9, flags=READ | CREATE)
    assert type(refused(outcome(replicas, message))) is errors.Access


def test_reading_needs_a_handle_opened_for_reading_and_iterating_one_of_both() -> None:
    replicas = ready(flags=WRITE | CREATE)
    done(replicas, section())
    assert type(refused(read(replicas, (b"s",)))) is errors.Access
    assert type(refused(replicas.ask(A, m.ReadAll(1)))) is errors.Access
    listing = m.ListSections(1, SectionsChosen.ANY, None, 0, None, 9)
    assert isinstance(replicas.ask(A, listing), m.Sections)
    opened(replicas, B, flags=CREATE, of=attributes())
    assert type(refused(replicas.ask(B, listing))) is errors.Access


def test_errors_of_vectors_name_the_element() -> None:
    replicas = ready(attributes(checkpoint_size=5))
    done(replicas, section(b"s", b"12"))
    good = (b"s", 0, b"")
    for message in (
        write(good, (b"s", 101, b"")),
        write(good, (b"x", 0, b"")),
        write(good, (b"s", 0, b"123456")),
        batch({b"s": b"", b"y": None}),
        batch({b"s": b"123", b"y": b"123"}),
        batch({b"s": b"1", b"y" * 21: b""}),
    ):
        assert refused(replicas.send(A, message)).erroneous_vector_index == 1
    assert refused(read(replicas, (b"s",), (b"x",))).erroneous_vector_index == 1
    assert refused(read(replicas, (b"s",), (b"s", 3))).erroneous_vector_index == 1


def test_invalid_elements_are_told_before_missing_ones_and_those_before_lack_of_room() -> None:
    replicas = ready(attributes(checkpoint_size=5))
    done(replicas, section(b"s"))
    full, missing, invalid = (b"s", 0, b"123456"), (b"x", 0, b""), (b"s", 200, b"")
    assert refused(replicas.send(A, write(full, missing, invalid))).erroneous_vector_index == 2
    assert type(refused(replicas.send(A, write(full, missing)))) is errors.NotExist
    assert type(refused(replicas.send(A, write(full)))) is errors.NoSpace


def test_access_denied_tells_the_present_epoch() -> None:
    replicas = ready()
    done(replicas, section(epoch=7))
    error = refused(replicas.send(A, write((b"s", 0, b"1"), epoch=6)))
    assert (type(error), error.epoch) == (errors.AccessDenied, 7)
    done(replicas, write((b"s", 0, b"1"), epoch=7))
    done(replicas, write((b"s", 0, b"1")))
    done(replicas, batch({b"s": b"2"}, 9))
    assert refused(replicas.send(A, m.Fence(1, 8))).epoch == 9


def test_a_deposed_active_cannot_write_once_the_new_one_has_fenced() -> None:
    replicas = ready()
    opened(replicas, B)
    done(replicas, batch({b"owner": b"A"}, 100))
    done(replicas, m.Fence(1, 200), B)
    assert refused(replicas.send(A, batch({b"owner": b"A again"}, 100))).epoch == 200
    assert content(replicas, B) == {b"owner": b"A"}


def test_cluster_and_client_have_limits() -> None:
    replicas = Replicas(CkptEngine, members=(1,))
    engine = replicas.engines[1]
    state = engine.snapshot()
    full = [m.CheckpointRecord(n, f"c{n}", True, attributes(), 0, 0, None, None, 0, []) for n in range(1, 4097)]
    handles = [m.HandleRecord(A, n, 1, 7, m.Tracking.OFF) for n in range(16384)]
    engine.restore(msgspec.structs.replace(state, checkpoints=full, numbers=4096, handles=handles))
    assert type(refused(opened(replicas, B, name="one more", of=attributes()))) is errors.NoResources
    assert isinstance(opened(replicas, B, name="c9", of=attributes()).message, m.Opened)
    assert type(refused(opened(replicas, A, 16384, name="c9"))) is errors.NoResources


def test_only_executives_may_speak_as_executives() -> None:
    replicas = ready(attributes(retention_duration=60.0))
    done(replicas, m.Close((1,)))
    state = replicas.engines[1].snapshot()
    for message in (m.RetentionOver(1, 1), m.Expire(1), m.Applied(())):
        assert type(refused(replicas.send(A, message))) is errors.Access
    assert replicas.engines[1].snapshot() == state


# ---- life


def test_equal_attributes_open_what_is_there_whatever_the_retention() -> None:
    replicas = ready()
    answer = opened(replicas, B, of=attributes(retention_duration=99.0))
    assert answer.message == m.Opened(attributes())


def test_without_retention_the_last_close_ends_the_checkpoint() -> None:
    replicas = ready()
    opened(replicas, B)
    done(replicas, m.Close((1,)))
    assert isinstance(opened(replicas, C).message, m.Opened)
    replicas.gone(C)
    done(replicas, m.Close((1,)), B)
    assert type(refused(opened(replicas, A))) is errors.NotExist


def test_retention_begins_at_the_last_close_and_an_open_stops_it() -> None:
    replicas = ready(attributes(retention_duration=10.0))
    done(replicas, section(b"s", b"kept"))
    replicas.gone(A)
    replicas.advance(9.0)
    opened(replicas, B)
    replicas.advance(100.0)
    assert content(replicas, B) == {b"s": b"kept"}
    done(replicas, m.SetRetention(1, 5.0), B)
    done(replicas, m.Close((1,)), B)
    replicas.advance(4.9)
    assert isinstance(opened(replicas, B).message, m.Opened)
    replicas.gone(B)
    replicas.advance(5.1)
    assert type(refused(opened(replicas, B))) is errors.NotExist


def test_an_alarm_of_an_earlier_closing_does_no_harm() -> None:
    replicas = ready(attributes(retention_duration=10.0))
    done(replicas, m.Close((1,)))
    opened(replicas, A)
    done(replicas, m.Close((1,)))
    replicas.send(Client(1, 0), m.RetentionOver(1, 1))
    assert isinstance(opened(replicas, A).message, m.Opened)
    replicas.send(Client(1, 0), m.RetentionOver(1, 2))
    assert content(replicas) == {}


def test_retention_for_ever_is_ended_by_unlink() -> None:
    replicas = ready(attributes(retention_duration=None))
    done(replicas, m.Close((1,)))
    replicas.advance(1e9)
    assert isinstance(opened(replicas).message, m.Opened)
    done(replicas, m.Close((1,)))
    done(replicas, m.Unlink("c"))
    assert type(refused(opened(replicas))) is errors.NotExist


def test_unlinked_data_live_until_the_last_close_and_the_name_is_free() -> None:
    replicas = ready(attributes(retention_duration=60.0))
    done(replicas, section(b"s", b"old"))
    done(replicas, m.Unlink("c"))
    assert type(refused(opened(replicas, B))) is errors.NotExist
    opened(replicas, B, of=attributes())
    done(replicas, section(b"s", b"new"), B)
    assert (content(replicas, A), content(replicas, B)) == ({b"s": b"old"}, {b"s": b"new"})
    replicas.gone(A)
    snapshot = replicas.engines[1].snapshot()
    assert isinstance(snapshot, m.Snapshot)
    assert [record.sections[0].data for record in snapshot.checkpoints] == [b"new"]
    assert not replicas.alarms


def test_holders_on_a_lost_node_are_closed_and_a_node_that_came_back_at_once_holds_nothing() -> None:
    replicas = ready(attributes(retention_duration=10.0))
    opened(replicas, B)
    done(replicas, m.Close((1,)))
    replicas.change(left=[2])
    replicas.advance(9.0)
    opened(replicas, C)
    replicas.change(left=[3], joined=[3])
    assert type(refused(replicas.ask(C, m.GetStatus(1)))) is errors.BadHandle
    replicas.advance(10.1)
    assert type(refused(opened(replicas, C))) is errors.NotExist


def test_a_node_that_joins_has_what_the_others_have() -> None:
    replicas = ready(attributes(retention_duration=60.0))
    done(replicas, batch({b"x": b"1", b"y": b"2"}))
    replicas.change(left=[2], reasons={2: "token lost"})
    replicas.change(joined=[2, 4])
    opened(replicas, Client(4, 1))
    assert content(replicas, Client(4, 1)) == {b"x": b"1", b"y": b"2"}


# ---- when a write is answered


def test_a_write_to_all_replicas_is_answered_at_the_safe_point() -> None:
    replicas = ready()
    for message in (section(), write((b"s", 0, b"1")), m.Overwrite(1, b"s", b"2"), batch({b"t": b""})):
        assert done(replicas, message).safe
    assert done(replicas, m.SetExpiration(1, b"s", START_TIME + 1)).safe
    assert done(replicas, m.DeleteSection(1, b"s")).safe


def test_a_weak_write_is_answered_at_once() -> None:
    replicas = ready(attributes(WEAK))
    replicas.holds_multicasts = True
    assert not done(replicas, section()).safe
    assert not replicas.held
    assert done(replicas, m.Synchronize(1)).safe


def test_a_write_is_answered_when_the_active_replica_has_it() -> None:
    replicas = ready(attributes(ACTIVE))
    opened(replicas, B)
    replicas.holds_multicasts = True
    done(replicas, section(), A)  # node 1 is the active replica: applied here is applied there
    answer = replicas.send(B, write((b"s", 0, b"1")))
    created = replicas.send(B, section(b"t"))
    assert (answer.message, created.message) == (None, None)
    assert [node for node, _ in replicas.held] == [1, 1]
    replicas.deliver_held()
    assert (answer.message, created.message) == (Done(), m.SectionCreated(b"t"))
    assert not answer.safe


def test_when_the_active_replica_dies_the_next_one_confirms() -> None:
    replicas = ready(attributes(ACTIVE))
    opened(replicas, B)
    opened(replicas, C)
    replicas.holds_multicasts = True
    mine, other = replicas.send(B, section(b"2")), replicas.send(C, section(b"3"))
    replicas.change(left=[1])
    assert mine.message == m.SectionCreated(b"2")  # node 2 is the active replica now
    assert other.message is None
    replicas.deliver_held()
    assert other.message == m.SectionCreated(b"3")


@pytest.mark.parametrize("left", [(1,), (1, 2)])
def test_without_quorum_nobody_takes_the_place_of_an_active_replica_that_did_not_confirm(left: tuple[int, ...]) -> None:
    replicas = ready(attributes(ACTIVE))
    opened(replicas, C)
    replicas.holds_multicasts = True
    answer = replicas.send(C, section())
    replicas.change(left=left, quorate=False)
    replicas.deliver_held()
    assert type(refused(answer)) is errors.TimedOut


def test_a_collocated_checkpoint_has_the_active_replica_it_was_given_until_that_node_dies() -> None:
    replicas = ready(attributes(ACTIVE | COLLOCATED))
    opened(replicas, B)
    done(replicas, m.SetActiveReplica(1), B)
    replicas.holds_multicasts = True
    answer = replicas.send(A, section())
    status = replicas.ask(A, m.GetStatus(1))
    assert isinstance(status, m.Status)
    assert (status.status.replicas, status.status.active_replica) == ((1, 2), 2)
    replicas.change(left=[2])
    assert type(refused(answer)) is errors.NotExist
    assert type(refused(replicas.send(A, write((b"s", 0, b"1"))))) is errors.NotExist
    done(replicas, m.SetActiveReplica(1))
    assert content(replicas) == {b"s": b""}


def test_a_writer_that_dies_is_not_waited_for() -> None:
    replicas = ready(attributes(ACTIVE))
    opened(replicas, B)
    replicas.holds_multicasts = True
    answer = replicas.send(B, section())
    replicas.gone(B)
    replicas.deliver_held()
    assert answer.message is None


def test_status_tells_size_fence_and_replicas() -> None:
    replicas = ready()
    done(replicas, batch({b"x": b"123", b"y": b"45"}, 8))
    answer = replicas.ask(A, m.GetStatus(1))
    assert isinstance(answer, m.Status)
    status = answer.status
    assert (status.number_of_sections, status.memory_used, status.epoch) == (2, 5, 8)
    assert (status.replicas, status.active_replica) == ((1, 2, 3), None)
    assert status.checkpoint_creation_attributes == attributes().public()


# ---- data


def test_write_changes_parts_extends_and_fills_gaps_with_zeros() -> None:
    replicas = ready()
    done(replicas, section(b"s", b"abcdef"))
    done(replicas, write((b"s", 2, b"XY")))
    assert content(replicas)[b"s"] == b"abXYef"
    done(replicas, write((b"s", 8, b"!")))
    assert content(replicas)[b"s"] == b"abXYef\0\0!"
    done(replicas, m.Overwrite(1, b"s", b"short"))
    assert read(replicas, (b"s", 1, 3), (b"s",), (b"s", 5), (b"s", 3, 99)) == m.Data([b"hor", b"short", b"", b"rt"])


def test_big_sections_are_changed_in_place_and_read_back() -> None:
    replicas = ready(attributes(max_section_size=200_000, max_sections=2, checkpoint_size=300_000))
    done(replicas, section(b"s", bytes(100_000)))
    done(replicas, write((b"s", 50_000, b"middle"), (b"s", 120_000, b"end")))
    data = content(replicas)[b"s"]
    assert (len(data), data[50_000:50_006], data[119_999:]) == (120_003, b"middle", b"\0end")
    done(replicas, write((b"s", 0, b"x" * 130_000)))
    assert content(replicas)[b"s"] == b"x" * 130_000


def test_parts_of_one_write_may_meet_in_one_section() -> None:
    replicas = ready(attributes(checkpoint_size=10))
    done(replicas, section(b"s"))
    done(replicas, write((b"s", 0, b"12345"), (b"s", 5, b"67890"), (b"s", 0, b"abc")))
    assert content(replicas)[b"s"] == b"abc4567890"
    assert type(refused(replicas.send(A, write((b"s", 0, b"x"), (b"s", 5, b"123456"))))) is errors.NoSpace


def test_a_batch_is_judged_by_what_it_ends_with() -> None:
    replicas = ready(attributes(max_sections=2, checkpoint_size=5))
    done(replicas, batch({b"x": b"123", b"y": b"45"}))
    done(replicas, m.WriteBatch(1, [m.Change(b"z", b"67"), m.Change(b"y", None)]))
    assert content(replicas) == {b"x": b"123", b"z": b"67"}


def test_generated_ids_are_new_and_fit() -> None:
    replicas = ready(attributes(max_section_id_size=8))
    ids = []
    for _ in range(3):
        answer = done(replicas, section(None)).message
        assert isinstance(answer, m.SectionCreated)
        ids.append(answer.section_id)
    done(replicas, m.DeleteSection(1, ids[0]))
    done(replicas, section(b"00000005"))  # in the way of the next one
    done(replicas, m.DeleteSection(1, ids[1]))
    assert done(replicas, section(None)).message == m.SectionCreated(b"00000006")
    assert len(set(ids)) == 3
    assert all(len(each) == 8 for each in ids)


def test_sections_expire_on_all_replicas_by_the_wall_clock() -> None:
    replicas = ready()
    for number, delay in enumerate((5.0, 3.0, 9.0)):
        done(replicas, section(b"%d" % number, expiration_time=START_TIME + delay))
    done(replicas, m.SetExpiration(1, b"0", None))
    opened(replicas, B)
    done(replicas, m.Track((1,), m.Tracking.DATA), B)
    replicas.advance(4.0)
    assert set(content(replicas)) == {b"0", b"2"}
    done(replicas, m.SetExpiration(1, b"2", START_TIME + 6))
    replicas.advance(3.0)
    assert set(content(replicas)) == {b"0"}
    assert [event.changes for event in replicas.events_for(B)] == [
        (SectionChange(b"1", EXPIRED),),
        (SectionChange(b"2", EXPIRED),),
    ]
    assert not replicas.alarms


def test_an_expiration_that_is_put_off_again_and_again_holds() -> None:
    replicas = ready()
    done(replicas, section(expiration_time=START_TIME + 1))
    for number in range(1, 200):
        done(replicas, m.SetExpiration(1, b"s", START_TIME + number))
    replicas.advance(198.9)
    assert set(content(replicas)) == {b"s"}
    replicas.advance(0.2)
    assert content(replicas) == {}


def test_a_coordinator_whose_clock_lags_rings_again() -> None:
    replicas = ready()
    done(replicas, section(expiration_time=START_TIME + 5))
    replicas.now -= 100.0
    replicas.send(Client(1, 0), m.Expire(1))
    assert set(content(replicas)) == {b"s"}
    replicas.advance(105.1)
    assert content(replicas) == {}


def test_deleting_the_section_that_expires_next_takes_its_alarm_back() -> None:
    replicas = ready(attributes(retention_duration=60.0))
    done(replicas, section(expiration_time=START_TIME + 5))
    done(replicas, batch({b"s": None}))
    assert not replicas.alarms
    done(replicas, section(expiration_time=START_TIME + 5))
    done(replicas, m.Unlink("c"))
    replicas.gone(A)
    assert not replicas.alarms


def test_iteration_leaves_out_later_creations_and_deleted_sections() -> None:
    replicas = ready()
    done(replicas, batch({b"1": b"", b"2": b"x", b"3": b""}))
    first = replicas.ask(A, m.ListSections(1, SectionsChosen.ANY, None, 0, None, 0))
    assert isinstance(first, m.Sections)
    done(replicas, batch({b"2": None, b"4": b""}))
    listing = replicas.ask(A, m.ListSections(1, SectionsChosen.ANY, None, 0, first.until, 9))
    assert isinstance(listing, m.Sections)
    assert [each.section_id for each in listing.descriptors] == [b"1", b"3"]
    rest = replicas.ask(A, m.ListSections(1, SectionsChosen.ANY, None, listing.births[0], first.until, 9))
    assert isinstance(rest, m.Sections)
    assert [each.section_id for each in rest.descriptors] == [b"3"]


def test_iteration_chooses_by_expiration() -> None:
    replicas = ready()
    for number, delay in enumerate((5.0, 9.0, None)):
        done(replicas, section(b"%d" % number, expiration_time=None if delay is None else START_TIME + delay))

    def chosen(choice: SectionsChosen, time: float | None = None) -> list[bytes]:
        listing = replicas.ask(A, m.ListSections(1, choice, time, 0, None, 9))
        assert isinstance(listing, m.Sections)
        return [each.section_id for each in listing.descriptors]

    assert chosen(SectionsChosen.ANY) == [b"0", b"1", b"2"]
    assert chosen(SectionsChosen.FOREVER) == [b"2"]
    assert chosen(SectionsChosen.CORRUPTED) == []
    assert chosen(SectionsChosen.LEQ_EXPIRATION_TIME, START_TIME + 5) == [b"0"]
    assert chosen(SectionsChosen.GEQ_EXPIRATION_TIME, START_TIME + 6) == [b"1", b"2"]


def test_a_long_read_shows_one_moment_though_others_write() -> None:
    size = 1_000_000
    replicas = ready(attributes(max_sections=10, max_section_size=size, checkpoint_size=10 * size))
    for number in range(10):
        done(replicas, section(b"%d" % number, b"a" * size))
    done(replicas, write((b"9", 5, b"in place")))
    answer = replicas.ask(A, m.ReadAll(1))
    assert isinstance(answer, m.Content)
    assert answer.more
    sections, sequence = dict(answer.sections), answer.sequence
    done(replicas, write((b"9", 5, b"changed!"), (b"1", 0, b"changed!")))
    done(replicas, batch({b"8": None}))
    while answer.more:
        following = replicas.ask(A, m.ReadAll(1, True))
        assert isinstance(following, m.Content)
        answer = following
        assert answer.sequence == sequence
        sections |= dict(answer.sections)
    assert set(sections) == {b"%d" % number for number in range(10)}
    assert sections[b"9"][:14] == b"aaaaain placea"
    assert type(refused(replicas.ask(A, m.ReadAll(1, True)))) is errors.Interrupt


def test_closing_gives_back_what_a_long_read_had_kept() -> None:
    size = 3_000_000
    replicas = ready(
        attributes(max_sections=3, max_section_size=size, checkpoint_size=3 * size, retention_duration=9.0)
    )
    done(replicas, batch({b"1": bytes(size), b"2": bytes(size)}))
    answer = replicas.ask(A, m.ReadAll(1))
    assert isinstance(answer, m.Content)
    assert answer.more
    done(replicas, m.Close((1,)))
    opened(replicas)
    assert type(refused(replicas.ask(A, m.ReadAll(1, True)))) is errors.Interrupt


def test_one_read_holds_sixteen_megabytes_at_most() -> None:
    size = 9_000_000
    replicas = ready(attributes(max_section_size=size, max_sections=2, checkpoint_size=size))
    done(replicas, section(b"s", bytes(size)))
    error = refused(read(replicas, (b"s",), (b"s",)))
    assert (type(error), error.erroneous_vector_index) == (errors.NoResources, 1)


# ---- tracking


def test_trackers_get_one_event_per_request_with_the_data_and_not_their_own() -> None:
    replicas = ready()
    opened(replicas, B, 5)
    opened(replicas, C, 6)
    done(replicas, m.Track((1,), m.Tracking.DATA))
    done(replicas, m.Track((5,), m.Tracking.DATA), B)
    done(replicas, m.Track((6,), m.Tracking.IDS), C)
    done(replicas, batch({b"x": b"1", b"y": b"2"}, 3))
    done(replicas, write((b"x", 1, b"z"), (b"y", 0, b"w")))
    done(replicas, m.Overwrite(1, b"x", b"o"))
    done(replicas, m.DeleteSection(1, b"y"))
    assert replicas.events_for(A) == []
    assert replicas.events_for(B) == [
        m.Changed(5, (SectionChange(b"x", CREATED, 0, b"1"), SectionChange(b"y", CREATED, 0, b"2")), 3, 1),
        m.Changed(5, (SectionChange(b"x", WRITTEN, 1, b"z"), SectionChange(b"y", WRITTEN, 0, b"w")), 3, 2),
        m.Changed(5, (SectionChange(b"x", OVERWRITTEN, 0, b"o"),), 3, 3),
        m.Changed(5, (SectionChange(b"y", DELETED),), 3, 4),
    ]
    assert [event.changes[0] for event in replicas.events_for(C)][1] == SectionChange(b"x", WRITTEN, 1)


def test_tracking_ends_with_untrack_close_and_death() -> None:
    replicas = ready()
    for client in (B, C):
        opened(replicas, client)
        done(replicas, m.Track((1,), m.Tracking.DATA), client)
    done(replicas, m.Untrack((1,)), B)
    replicas.gone(C)
    done(replicas, section())
    assert not replicas.events


def test_an_opening_call_may_track_from_the_start() -> None:
    replicas = ready()
    replicas.send(B, m.Open(2, "c", 3, None, m.Tracking.DATA))
    done(replicas, section())
    assert len(replicas.events_for(B)) == 1


def test_several_handles_are_tracked_and_released_in_one_step() -> None:
    replicas = ready()
    opened(replicas, B, 1)
    opened(replicas, B, 2)
    done(replicas, m.Track((1, 2, 99), m.Tracking.DATA), B)
    done(replicas, section())
    assert [event.handle for event in replicas.events_for(B)] == [1, 2]
    done(replicas, m.Untrack((1, 2)), B)
    done(replicas, m.DeleteSection(1, b"s"))
    assert not replicas.events
