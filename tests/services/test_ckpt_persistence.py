"""Persistent checkpoints: what is written down, when a change is answered, and what a cluster restores."""

import msgspec
import pytest

from aisexec.sync import MEMBERSHIP_STEP
from corosync_amf import errors
from corosync_amf.ais import NodeId
from corosync_amf.engine import Client, Done, Origin, Run
from corosync_amf.services.ckpt import messages as m
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.ckpt.entries import Begun, Changed, Content, Ended, JournalEntry, Reached
from corosync_amf.services.ckpt.persistence import RESTORED_SECONDS
from corosync_amf.services.ckpt.shelf import CHUNK_BYTES, Shelf
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
                    case m.BringJournal(asked):
                        self.bring(node, asked)
            if order:
                self.replicas.send(Client(node, 0), m.Stored(order))
        if self.replicas.commands:
            self.store()

    def bring(self, node: NodeId, asked: int) -> None:
        shelf = Shelf()
        for entry in self.entries.get(node, []):
            shelf.add(entry)
        for request in shelf.requests(asked):
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
    assert answer.message is None  # it is promised when it is known on disk, too, that this membership goes on with it
    journals.store(1, 2)
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
    assert [type(entry).__name__ for entry in journals.entries[2]] == [
        "Reached",
        "Begun",
        "Reached",
        "Changed",
        "Reached",
    ]


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
    assert [type(entry) for entry in after.entries[1]] == [Begun, Content, Reached]


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
    rest.store(1, 2)
    again, _ = started(rest)
    assert type(refused(again.send(A, m.Open(1, "c", 3)))) is errors.NotExist


def cut_off(replicas: Replicas, journals: Journals, node: NodeId, *requests: m.WriteBatch | m.Unlink) -> None:
    """A node applies, and writes down, what nobody else ever gets; the others go on without it."""
    journals.store()
    engine = CkptEngine()
    engine.restore(decode(encode(replicas.engines[node].snapshot()), m.Snapshot))
    for order, request in enumerate(requests, replicas.order + 1):
        for effect in engine.apply(request, Origin(Client(node, 7), order, order, replicas.now)):
            if isinstance(effect, Run) and effect.node == node:
                assert isinstance(effect.command, m.WriteJournal)
                journals.entries[node] += effect.command.entries
    replicas.order += MEMBERSHIP_STEP
    replicas.change(left=[node])


@pytest.mark.parametrize("node", [1, 3])
def test_what_a_quorum_was_promised_stands_against_more_that_one_node_alone_had(node: NodeId) -> None:
    replicas, journals = started()
    writer, other = (Client(each, 7) for each in ((node, 2)))
    for client in (writer, other):
        open_(replicas, client)
    put(replicas, other, s=b"before")
    cut_off(replicas, journals, node, *[m.WriteBatch(1, [m.Change(b"s", b"alone %d" % each)]) for each in range(5)])
    answer = put(replicas, other, s=b"promised")
    journals.store()
    assert answer.message == Done()
    again, _ = started(journals)
    open_(again)
    assert content(again) == {b"s": b"promised"}


def test_what_a_node_alone_had_unlinked_is_there() -> None:
    replicas, journals = started()
    open_(replicas)
    open_(replicas, C)
    put(replicas, s=b"kept")
    cut_off(replicas, journals, 3, m.Unlink("c"))
    journals.store()
    again, _ = started(journals)
    open_(again)
    assert content(again) == {b"s": b"kept"}


def test_what_a_part_without_quorum_makes_of_a_checkpoint_is_not_written_down() -> None:
    replicas, journals = started()
    open_(replicas)
    put(replicas, s=b"1")
    journals.store()
    other = split(replicas, [3])
    assert not [command for node, command in other.commands if node == 3]  # nobody has it open there, so it has ended
    again, _ = started(journals, members=(3,))
    open_(again, C)
    assert content(again, C) == {b"s": b"1"}
    other.change(quorate=True)
    assert [type(command) for node, command in other.commands if node == 3] == [m.RewriteJournal]


def test_nothing_is_opened_before_all_have_brought_their_journals() -> None:
    replicas = Replicas(CkptEngine, is_persistent=True)
    asked = replicas.order
    assert type(refused(open_(replicas))) is errors.TryAgain
    for node in (1, 2):
        replicas.send(Client(node, 0), m.Restored(asked, (0, 0)))
    assert type(refused(open_(replicas))) is errors.TryAgain
    replicas.change(left=[3])
    again = replicas.order
    assert type(refused(open_(replicas))) is errors.TryAgain
    for node in (1, 2):
        replicas.send(Client(node, 0), m.Restored(asked, (0, 0)))  # on its way since before
    assert type(refused(open_(replicas))) is errors.TryAgain
    for node in (1, 2):
        replicas.send(Client(node, 0), m.Restored(again, (0, 0)))
    assert isinstance(open_(replicas).message, m.Opened)


def test_nothing_is_settled_without_quorum() -> None:
    replicas = Replicas(CkptEngine, members=(1,), is_persistent=True, begins_quorate=False)
    asked = replicas.order
    for request in brought(asked, (5, 6), b"older"):
        replicas.send(Client(1, 0), request)
    replicas.change(joined=[2])
    assert [(node, command) for node, command in replicas.commands[-1:]] == [(2, m.BringJournal(asked))]
    for request in brought(asked, (5, 7), b"newer"):
        replicas.send(Client(2, 0), request)
    open_(replicas)
    assert content(replicas) == {b"s": b"newer"}


def brought(asked: int, version: m.Version, *data: bytes) -> list[m.Restore | m.Restored]:
    """What a node brings: a checkpoint in as many parts as there are data for its sections s, t, ..."""
    sections = [m.SectionRecord(b"stu"[each : each + 1], part, each + 1, 0.0, None) for each, part in enumerate(data)]
    parts = [
        m.Restore(asked, version, "c", 1, each + 1, KEPT, None, [section], each == 0)
        for each, section in enumerate(sections)
    ]
    return [*parts, m.Restored(asked, version)]


def test_a_journal_of_a_higher_version_replaces_what_others_have_brought() -> None:
    replicas = Replicas(CkptEngine, is_persistent=True)
    asked = replicas.order
    older, newer, empty = brought(asked, (5, 9), b"1", b"2"), brought(asked, (6, 6), b"3", b"4"), brought(asked, (5, 5))
    for node, request in ((1, older[0]), (2, newer[0]), (1, older[1]), (2, newer[1]), (3, empty[0])):
        replicas.send(Client(node, 0), request)
    replicas.send(Client(1, 0), older[2])
    replicas.send(Client(2, 0), newer[2])
    open_(replicas)
    assert content(replicas) == {b"s": b"3", b"t": b"4"}


def test_an_empty_journal_of_a_higher_version_leaves_nothing() -> None:
    replicas = Replicas(CkptEngine, members=(1, 2), is_persistent=True)
    asked = replicas.order
    for node, version, data in ((1, (5, 9), (b"1",)), (2, (6, 6), ())):
        for request in brought(asked, version, *data):
            replicas.send(Client(node, 0), request)
    assert type(refused(replicas.send(A, m.Open(1, "c", 3)))) is errors.NotExist


def test_who_dies_in_the_middle_of_bringing_is_replaced_by_another() -> None:
    replicas, journals = started()
    open_(replicas)
    put(replicas, a=b"1", b=b"2")
    journals.store()
    again = Replicas(CkptEngine, is_persistent=True, order=10_000)
    again.send(Client(3, 0), brought(again.order, (10**6, 10**6), b"1")[0])
    again.change(left=[3])
    rest = Journals(again)
    rest.entries = journals.entries
    rest.store()
    open_(again)
    assert content(again) == {b"a": b"1", b"b": b"2"}


def test_what_was_asked_for_in_a_former_membership_does_not_count() -> None:
    replicas = Replicas(CkptEngine, is_persistent=True)
    first, last, end = brought(replicas.order, (5, 5), b"1", b"2")
    replicas.send(Client(1, 0), first)
    replicas.change(left=[3])
    asked = replicas.order
    for request in (last, end):  # on their way since before
        replicas.send(Client(1, 0), request)
    for node in (2, 1):
        for request in brought(asked, (5, 5), b"1", b"2"):
            replicas.send(Client(node, 0), request)
    open_(replicas)
    assert content(replicas) == {b"s": b"1", b"t": b"2"}


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
    assert [type(entry) for entry in journals.entries[1]] == [
        *[Reached, Begun, Reached, Ended, Reached],
        *[Begun, Reached, Ended, Reached],
    ]


def test_a_node_that_joins_or_gives_way_begins_its_journal_anew() -> None:
    replicas, journals = started()
    open_(replicas)
    put(replicas, s=b"1")
    journals.store()
    other = split(replicas, [3])
    put(replicas, s=b"2")
    meet(replicas, other)
    journals.store()
    assert [type(entry) for entry in journals.entries[3]] == [Begun, Content, Reached]
    put(replicas, s=b"3")
    journals.store()
    assert [type(entry) for entry in journals.entries[3][-2:]] == [Changed, Reached]


def test_large_checkpoints_are_brought_in_parts() -> None:
    shelf = Shelf()
    large = msgspec.structs.replace(KEPT, max_section_size=3_000_000, checkpoint_size=30_000_000)
    shelf.add(Begun("c", large))
    records = [m.SectionRecord(b"%d" % number, bytes(3_000_000), number, 0.0, None) for number in range(1, 4)]
    shelf.add(Content("c", 3, 3, None, records))
    shelf.add(Reached((7, 8)))
    *requests, last = shelf.requests(5)
    assert [(request.is_first, len(request.sections)) for request in requests if isinstance(request, m.Restore)] == [
        (True, 1),
        (False, 1),
        (False, 1),
    ]
    assert last == m.Restored(5, (7, 8))
    assert all(len(encode(request)) < CHUNK_BYTES for request in requests)


@pytest.mark.parametrize("message", [*brought(1, (1, 1), b"x"), m.Stored(2**60)])
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
