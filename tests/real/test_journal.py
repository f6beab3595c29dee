"""The journal of persistent checkpoints as a file: written in batches, torn, written anew."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from aisexec.journal import FILE, MAGIC, Journal, UnknownJournal, framed, read_records
from aisexec.remembered import Remembered
from corosync_amf.engine import NodeLocks, Request
from corosync_amf.services.ckpt import messages as m
from corosync_amf.services.ckpt.entries import Begun, Changed, Ended, JournalEntry, Reached
from corosync_amf.services.ckpt.values import SectionChange, SectionOperation

pytestmark = [pytest.mark.anyio, pytest.mark.real]
ATTRIBUTES = m.Attributes(1, 1000, 0.0, 10, 100, 20, True)
BEGUN = Begun("c", ATTRIBUTES)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def changed(number: int, data: bytes = b"x") -> Changed:
    return Changed("c", number, None, 0.0, (SectionChange(b"s%d" % number, SectionOperation.CREATED, 0, data),))


class Order:
    """Where the journal's requests go."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.heard = anyio.Event()

    def report(self, requests: list[Request]) -> None:
        self.requests += requests
        self.heard.set()

    async def next(self) -> Request:
        while not self.requests:
            self.heard = anyio.Event()
            await self.heard.wait()
        return self.requests.pop(0)


@asynccontextmanager
async def working(
    folder: Path, contents: list[JournalEntry], rewrite_bytes_min: int = 1_000_000
) -> AsyncIterator[tuple[Journal, Order]]:
    order = Order()
    journal = Journal(folder, lambda: contents, order.report, rewrite_bytes_min)
    journal.load()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal.work)
        with anyio.fail_after(10):
            yield journal, order
        tasks.cancel_scope.cancel()
    journal.close()


async def brought(folder: Path) -> list[Request]:
    """What the next life of the executive puts into the order."""
    async with working(folder, []) as (journal, order):
        journal.run(m.BringJournal(5))
        requests = [await order.next()]
        while not isinstance(requests[-1], m.Restored):
            requests.append(await order.next())
        return requests


async def test_what_was_written_is_told_and_comes_back(tmp_path: Path) -> None:
    async with working(tmp_path, [BEGUN]) as (journal, order):
        journal.run(m.RewriteJournal(10))
        assert await order.next() == m.Stored(10)
        for number in (1, 2):
            journal.run(m.WriteJournal(10 + number, [changed(number)]))
        assert await order.next() == m.Stored(12)
        journal.run(m.WriteJournal(13, [Ended("d"), Reached((10, 13))]))
        await journal.drained()
        assert await order.next() == m.Stored(13)
    restore, restored = await brought(tmp_path)
    assert isinstance(restore, m.Restore)
    assert [section.section_id for section in restore.sections] == [b"s1", b"s2"]
    assert (restore.asked, restore.version, restore.sequence, restore.is_first) == (5, (10, 13), 2, True)
    assert restored == m.Restored(5, (10, 13))


@pytest.mark.parametrize("torn", [b"\0", b"\0\0\0\x09abcd", b"\0\0\0\x01\0\0\0\0x", b"\xff" * 40, bytes(4096)])
async def test_a_torn_tail_is_cut_off(tmp_path: Path, torn: bytes, caplog: pytest.LogCaptureFixture) -> None:
    whole = MAGIC + framed([BEGUN, changed(1)])
    (tmp_path / FILE).write_bytes(whole + torn)
    restore, _ = await brought(tmp_path)
    assert isinstance(restore, m.Restore)
    assert len(restore.sections) == 1
    assert (tmp_path / FILE).read_bytes() == whole
    assert f"the last {len(torn)} bytes are torn" in caplog.text


def test_every_cut_of_a_journal_can_be_read() -> None:
    entries: list[JournalEntry] = [BEGUN, changed(1), changed(2), Ended("c")]
    data = MAGIC + framed(entries)
    lengths = []
    for cut in range(len(data) + 1):
        found, whole = read_records(data[:cut])
        assert found == entries[: len(found)]
        assert whole <= cut
        lengths.append(len(found))
    assert lengths == sorted(lengths)
    assert lengths[-1] == 4


@pytest.mark.parametrize(
    "foreign",
    [b"something else", b"aisckpt1" + framed([BEGUN]), MAGIC + framed([BEGUN, "another version's"]) + b"\0"],  # type: ignore[list-item]
)
def test_what_another_version_has_written_is_left_alone(tmp_path: Path, foreign: bytes) -> None:
    (tmp_path / FILE).write_bytes(foreign)
    journal = Journal(tmp_path, list, lambda requests: None)
    with pytest.raises(UnknownJournal):
        journal.load()
    assert (tmp_path / FILE).read_bytes() == foreign


async def test_a_long_journal_is_written_anew(tmp_path: Path) -> None:
    async with working(tmp_path, [BEGUN, changed(99)], 10_000) as (journal, order):
        journal.run(m.RewriteJournal(1))
        await order.next()
        for number in range(2, 30):
            journal.run(m.WriteJournal(number, [changed(number, bytes(1000))]))
            assert await order.next() == m.Stored(number)
        assert (tmp_path / FILE).stat().st_size < 13_000


async def test_a_disk_that_cannot_be_written_delays_the_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(tmp_path, [BEGUN]) as (journal, order):
        obstacle = tmp_path / FILE
        obstacle.mkdir()
        journal.run(m.RewriteJournal(1))
        with anyio.move_on_after(0.3):
            await order.next()
            raise AssertionError("it was told to be on disk")
        obstacle.rmdir()
        assert await order.next() == m.Stored(1)
    assert "cannot be written" in caplog.text


@asynccontextmanager
async def remembering(directory: Path | None) -> AsyncIterator[Remembered]:
    kept = Remembered(None if directory is None else str(directory))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kept.work)
        yield kept
        tasks.cancel_scope.cancel()


async def test_numbers_and_locks_are_remembered(tmp_path: Path) -> None:
    async with remembering(tmp_path / "state") as kept:
        locks = NodeLocks(3, ("node\nwith a line", "node2"))
        assert (kept.recall("view", 0), kept.recall("locks", NodeLocks())) == (0, NodeLocks())
        for number in range(8):
            kept.remember("view", number)
        kept.remember("locks", locks)
        await kept.drained()
        again = Remembered(str(tmp_path / "state"))
        assert (again.recall("view", 0), again.recall("locks", NodeLocks())) == (7, locks)
    async with remembering(None) as nowhere:
        nowhere.remember("view", 7)
        nowhere.store("era", 7)
        await nowhere.drained()
        assert (nowhere.recall("view", 0), nowhere.recall("era", 0)) == (0, 0)


def test_the_era_is_on_disk_before_the_executive_goes_on(tmp_path: Path) -> None:
    Remembered(str(tmp_path / "state")).store("era", 5)
    assert (tmp_path / "state" / "era").read_text() == "5\n"


async def test_nobody_waits_for_a_slow_disk(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "view.new")  # a file that cannot be opened before somebody reads it
    async with remembering(tmp_path) as kept:
        kept.remember("view", 7)
        await anyio.wait_all_tasks_blocked()
        kept.remember("view", 8)
        kept.remember("view", 9)
        slow = (tmp_path / "view.new").rename(tmp_path / "slow")
        reader = os.open(slow, os.O_RDONLY | os.O_NONBLOCK)
        await kept.drained()
        assert os.read(reader, 100) == b"7\n"
        os.close(reader)
        assert kept.recall("view", 0) == 9


def test_what_the_disk_does_not_confirm_does_not_take_the_place_of_what_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Remembered(str(tmp_path))
    kept.store("era", 5)
    os.mkfifo(tmp_path / "era.new")  # takes what is written, and cannot be synchronised with any disk
    reader = os.open(tmp_path / "era.new", os.O_RDONLY | os.O_NONBLOCK)
    kept.store("era", 6)
    os.close(reader)
    assert kept.recall("era", 0) == 5
    assert "the era cannot be stored" in caplog.text


def test_a_file_that_makes_no_sense_is_told_and_counts_for_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "view").write_text("nonsense")
    assert Remembered(str(tmp_path)).recall("view", 0) == 0
    assert "the view cannot be read" in caplog.text
