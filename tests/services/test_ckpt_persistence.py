"""Persistent checkpoints: what is written down, when a change is answered, and what a cluster restores."""

import msgspec
import pytest

from corosync_amf import errors
from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, Done
from corosync_amf.services.ckpt import messages as m
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.ckpt.entries import Begun, Changed, Content, Ended, JournalEntry
from corosync_amf.services.ckpt.persistence import RESTORED_SECONDS
from corosync_amf.services.ckpt.shelf import CHUNK_BYTES, Shelf, note_gone
from corosync_amf.services.ckpt.values import CHECKPOINTS_MAX
from corosync_amf.wire import decode, encode

from .harness import Answer, Replicas, refused
from .merging import meet, split

A, B, C = Client(1, 7), Client(2, 7), Client(3, 7)
KEPT = m.Attributes(1, 1000, 0.0, 10, 100, 20, True)


class Journals:
    """The nodes' journals; a node stores what it is told when `store` says so."""

    def __init__(self, replicas: Replicas) -> None:
        self.replicas = replicas
        self.entries: dict[NodeId, list[JournalEntry]] = {}
        self.commands: dict[NodeId, list[m.CkptCommand]] = {}

    def take(self) -> None:
        for node, command in self.replicas.commands:
            self.commands.setdefault(node, []).append(command)  # type: ignore[arg-type]
        self.replicas.commands.clear()

    def store(self, *nodes: NodeId) -> None:
        """These nodes carry out what they were told."""
        self.take()
        for node in nodes or self.replicas.members:
            order = 0
            for command in self.commands.pop(node, []):
                match command:
                    case m.WriteJournal(order, entries):
                        self.entries[node] += [decode(encode(entry), JournalEntry) for entry in entries]
                    case m.RewriteJournal(order):
                        engine = self.replicas.engines[node]
                        assert isinstance(engine, CkptEngine)
                        self.entries[node] = engine.contents()
                    case m.BringJournal():
                        self.bring(node)
            if order:
                self.replicas.send(Client(node, 0), m.Stored(order))
        if self.replicas.commands:
            self.store()

    def bring(self, node: NodeId) -> None:
        shelf = Shelf()
        for entry in self.entries.get(node, []):
            shelf.add(entry)
        for request in [*shelf.requests(), m.Restored(sorted(shelf.gone.items()))]:
            self.replicas.send(Client(node, 0), request)


def started(before: Journals | None = None, members: tuple[NodeId, ...] = (1, 2, 3)) -> tuple[Replicas, Journals]:
    """A cluster that starts from nothing, with the journals of a former life."""
    order = 0 if before is None else before.replicas.order + 1000
    replicas = Replicas(CkptEngine, members=members, is_persistent=True, order=order)
    journals = Journals(replicas)
    if before is not None:
        journals.entries = {node: list(entries) for node, entries in before.entries.items()}
    journals.store()
    return replicas, journals


def open_(replicas: Replicas, client: Client = A, *, name: str = "c", number: int = 1) -> Answer:
    return replicas.send(client, m.Open(number, name, 7, KEPT))


def put(replicas: Replicas, client: Client = A, **sections: bytes | None) -> Answer:
    return replicas.send(client, m.WriteBatch(1, [m.Change(key.encode(), data) for key, data in sections.items()]))


def content(replicas: Replicas, client: Client = A) -> dict[bytes, bytes]:
    answer = replicas.ask(client, m.ReadAll(1))
    assert isinstance(answer, m.Content), answer
    return dict(answer.sections)


def test_without_a_directory_it_is_not_supported() -> None:
    assert type(refused(open_(Replicas(CkptEngine)))) is errors.NotSupported


def test_a_change_is_answered_when_all_journals_have_it() -> None:
    replicas, journals = started()
    open_(replicas)
    answer = put(replicas, s=b"1")
    journals.store(1, 3)
    assert answer.message is None
    journals.store(2)
    assert answer.message == Done()


def test_nobody_waits_for_a_node_that_is_gone() -> None:
    replicas, journals = started()
    open_(replicas)
    answer = put(replicas, s=b"1")
    journals.store(1, 2)
    replicas.change(left=[3])
    assert answer.message == Done()


def test_what_waits_when_the_quorum_is_lost_has_an_unknown_outcome() -> None:
    replicas, _ = started()
    open_(replicas)
    answer = put(replicas, s=b"1")
    replicas.change(left=[2, 3], quorate=False)
    assert type(refused(answer)) is errors.TimedOut


def test_what_only_those_have_stored_who_are_left_without_quorum_has_an_unknown_outcome() -> None:
    replicas, journals = started()
    open_(replicas)
    answer = put(replicas, s=b"1")
    journals.store(1)
    replicas.change(left=[2, 3], quorate=False)
    assert type(refused(answer)) is errors.TimedOut


def test_members_without_a_journal_have_a_change_too_when_it_is_answered() -> None:
    replicas, journals = started()
    open_(replicas)
    answer = put(replicas, s=b"1")
    journals.store()
    assert answer.message == Done()
    assert answer.safe


def test_other_checkpoints_do_not_wait_for_journals() -> None:
    replicas, journals = started()
    plain = msgspec.structs.replace(KEPT, persistent=False)
    weak = msgspec.structs.replace(KEPT, creation_flags=4)
    for number, (name, attributes) in enumerate({"plain": plain, "weak": weak}.items(), 1):
        replicas.send(A, m.Open(number, name, 7, attributes))
        assert isinstance(replicas.send(A, m.CreateSection(number, b"s", b"")).message, m.SectionCreated)
    journals.store()
    assert [type(entry).__name__ for entry in journals.entries[2]] == ["Begun", "Changed"]


def test_everything_comes_back_after_all_have_died() -> None:
    replicas, journals = started()
    open_(replicas)
    put(replicas, a=b"1", b=b"2", gone=b"3")
    replicas.send(A, m.Write(1, [m.Part(b"a", 2, b"x")], 5))
    replicas.send(A, m.DeleteSection(1, b"gone"))
    replicas.send(A, m.CreateSection(1, b"late", b"", replicas.now + 50))
    replicas.send(A, m.Overwrite(1, b"b", b"two"))
    replicas.send(A, m.SetRetention(1, 7.0))
    journals.store()
    sequence = replicas.engines[1].snapshot().checkpoints[0].sequence  # type: ignore[attr-defined]
    again, after = started(journals)
    assert open_(again).message == m.Opened(msgspec.structs.replace(KEPT, retention_duration=7.0))
    assert content(again) == {b"a": b"1\0x", b"b": b"two", b"late": b""}
    answer = put(again, new=b"4")
    after.store()
    assert answer.message == Done()
    (record,) = again.engines[1].snapshot().checkpoints  # type: ignore[attr-defined]
    assert (record.fence, record.sequence) == (5, sequence + 1)
    again.advance(60)
    assert b"late" not in content(again)


def test_the_latest_version_of_all_journals_stands() -> None:
    replicas, journals = started()
    open_(replicas)
    put(replicas, s=b"old")
    journals.store()
    put(replicas, s=b"new")
    journals.store(2)
    again, after = started(journals)
    open_(again)
    assert content(again) == {b"s": b"new"}
    after.store()
    assert [type(entry) for entry in after.entries[1]] == [Begun, Content]


def test_a_checkpoint_that_ended_while_a_node_was_away_stays_gone_and_a_later_one_of_its_name_stands() -> None:
    replicas, journals = started()
    for number, name in enumerate(("ended", "anew"), 1):
        open_(replicas, name=name, number=number)
    for _ in range(3):
        replicas.send(A, m.WriteBatch(2, [m.Change(b"s", b"former")]))
    journals.store()
    replicas.change(left=[3])
    for name in ("ended", "anew"):
        replicas.send(A, m.Unlink(name))
    open_(replicas, name="anew", number=3)
    replicas.send(A, m.WriteBatch(3, [m.Change(b"s", b"later")]))
    journals.store(1, 2)
    again, _ = started(journals)
    assert type(refused(again.send(A, m.Open(1, "ended", 3)))) is errors.NotExist
    assert isinstance(again.send(A, m.Open(1, "anew", 3)).message, m.Opened)
    assert content(again) == {b"s": b"later"}


def test_a_checkpoint_stays_gone_though_the_others_have_begun_their_journals_anew_since() -> None:
    replicas, journals = started()
    open_(replicas)
    journals.store()
    replicas.change(left=[3])
    replicas.send(A, m.Unlink("c"))
    journals.store(1, 2)
    without, rest = started(journals, members=(1, 2))  # node 3 is still away
    without.change(left=[2])
    without.change(joined=[2])
    rest.store(2)
    assert [type(entry) for entry in rest.entries[2]] == [Ended]
    again, _ = started(rest)
    assert type(refused(again.send(A, m.Open(1, "c", 3)))) is errors.NotExist


def test_so_many_are_known_to_be_gone_and_no_more() -> None:
    gone: dict[str, int] = {}
    for born in range(CHECKPOINTS_MAX + 2):
        note_gone(gone, f"c{born % (CHECKPOINTS_MAX + 1)}", born)
    assert (len(gone), min(gone.values())) == (CHECKPOINTS_MAX, 2)


def test_nothing_is_opened_before_all_have_brought_their_journals() -> None:
    replicas = Replicas(CkptEngine, is_persistent=True)
    assert type(refused(open_(replicas))) is errors.TryAgain
    for node in (1, 2):
        replicas.send(Client(node, 0), m.Restored([]))
    assert type(refused(open_(replicas))) is errors.TryAgain
    replicas.change(left=[3])
    assert type(refused(open_(replicas))) is errors.TryAgain
    for node in (1, 2):
        replicas.send(Client(node, 0), m.Restored([]))
    assert isinstance(open_(replicas).message, m.Opened)


def test_nothing_is_settled_without_quorum() -> None:
    replicas = Replicas(CkptEngine, members=(1,), is_persistent=True)
    replicas.change(quorate=False)
    replicas.send(Client(1, 0), m.Restored([]))
    replicas.send(Client(1, 0), m.Restore("c", 5, 1, 0, KEPT, None, [], True, True))
    replicas.change(joined=[2])
    assert [(node, type(command)) for node, command in replicas.commands[-1:]] == [(2, m.BringJournal)]
    section = m.SectionRecord(b"s", b"newer", 1, 0.0, None)
    replicas.send(Client(2, 0), m.Restore("c", 5, 2, 1, KEPT, None, [section], True, True))
    replicas.send(Client(2, 0), m.Restored([]))
    open_(replicas)
    assert content(replicas) == {b"s": b"newer"}


def test_who_dies_in_the_middle_of_bringing_is_replaced_by_another() -> None:
    replicas, journals = started()
    open_(replicas)
    put(replicas, a=b"1", b=b"2")
    journals.store()
    again = Replicas(CkptEngine, is_persistent=True, order=10_000)
    first = m.SectionRecord(b"a", b"1", 1, 0.0, None)
    shelf = Shelf()
    for entry in journals.entries[2]:
        shelf.add(entry)
    (whole,) = shelf.requests()
    part = msgspec.structs.replace(whole, sections=[first], is_last=False)
    again.send(Client(3, 0), part)
    again.change(left=[3])
    rest = Journals(again)
    rest.entries = journals.entries
    rest.store()
    open_(again)
    assert content(again) == {b"a": b"1", b"b": b"2"}


def test_a_restored_checkpoint_waits_a_while_to_be_opened() -> None:
    replicas, journals = started()
    open_(replicas)
    journals.store()
    again, _ = started(journals)
    again.advance(RESTORED_SECONDS - 1)
    assert isinstance(open_(again).message, m.Opened)
    third, _ = started(journals)
    third.advance(RESTORED_SECONDS + 1)
    assert type(refused(third.send(A, m.Open(1, "c", 3)))) is errors.NotExist


def test_the_end_of_a_checkpoint_is_written_down() -> None:
    replicas, journals = started()
    open_(replicas)
    replicas.send(A, m.Close((1,)))
    open_(replicas)
    replicas.send(A, m.Unlink("c"))
    put(replicas, s=b"nobody keeps this")
    replicas.gone(A)
    journals.store()
    assert [type(entry) for entry in journals.entries[1]] == [Begun, Ended, Begun, Ended]


def test_a_node_that_joins_or_gives_way_begins_its_journal_anew() -> None:
    replicas, journals = started()
    open_(replicas)
    put(replicas, s=b"1")
    journals.store()
    other = split(replicas, [3])
    put(replicas, s=b"2")
    meet(replicas, other)
    journals.store()
    assert [type(entry) for entry in journals.entries[3]] == [Begun, Content]
    put(replicas, s=b"3")
    journals.store()
    assert isinstance(journals.entries[3][-1], Changed)


def test_large_checkpoints_are_brought_in_parts() -> None:
    shelf = Shelf()
    large = msgspec.structs.replace(KEPT, max_section_size=3_000_000, checkpoint_size=30_000_000)
    shelf.add(Begun("c", 7, large))
    records = [m.SectionRecord(b"%d" % number, bytes(3_000_000), number, 0.0, None) for number in range(1, 4)]
    shelf.add(Content("c", 3, 3, None, records))
    requests = shelf.requests()
    assert [(request.is_first, request.is_last, len(request.sections)) for request in requests] == [
        (True, False, 1),
        (False, False, 1),
        (False, True, 1),
    ]
    assert all(len(encode(request)) < CHUNK_BYTES for request in requests)


@pytest.mark.parametrize(
    "message", [m.Restore("c", 1, 1, 1, KEPT, None, [], True, True), m.Restored([]), m.Stored(2**60)]
)
def test_only_executives_may_say_that(message: m.CkptRequest) -> None:
    replicas, _ = started()
    assert type(refused(replicas.send(A, message))) is errors.Access


def test_the_default_section_comes_back_with_its_content() -> None:
    one = msgspec.structs.replace(KEPT, max_sections=1, checkpoint_size=100)
    replicas, journals = started()
    replicas.send(A, m.Open(1, "one", 7, one))
    replicas.send(A, m.Write(1, [m.Part(b"", 0, b"data")]))
    journals.store()
    again, after = started(journals)
    third, _ = started(after)
    for each in (again, third):
        assert isinstance(each.send(A, m.Open(1, "one", 3)).message, m.Opened)
        assert content(each) == {b"": b"data"}
        assert each.engines[1].snapshot().checkpoints[0].sections[0].born == 1  # type: ignore[attr-defined]
