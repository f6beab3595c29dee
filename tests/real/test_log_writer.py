"""What stands between the executive's event loop and the files of log streams."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aisexec.drive import open_driver
from aisexec.logfiles import Files
from aisexec.logwriter import BACKLOG_BYTES_MAX, READS_WAITING_MAX, LogWriter
from corosync_amf.ais import ErrorCode
from corosync_amf.engine import Failed, Request
from corosync_amf.services.log.messages import Append, FileOf, FileState, FileText, LogCommand, ReadFile
from corosync_amf.wire import Replies, decode
from tests.services.loopback import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.real]
FILE = FileOf(1, ".", "calls", 3, 10**9, 3)
QUESTION = ReadFile(".", "calls", 10)


class Disk(Files):
    """One that does not answer for a while."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.answers = threading.Event()

    def write(self, commands: Sequence[LogCommand]) -> list[FileState]:
        self.answers.wait()
        return super().write(commands)


class World:
    """What the writer reports and sends."""

    def __init__(self) -> None:
        self.reported: list[Request] = []
        self.answers: list[tuple[int, int, Any]] = []

    def send(self, client: int, frames: list[bytes]) -> None:
        for frame in frames:
            for request, raw in decode(frame, Replies).items:
                self.answers.append((client, request, decode(raw, FileText | Failed)))


async def test_a_step_is_one_batch_and_a_question_sees_what_came_before_it(tmp_path: Path) -> None:
    world = World()
    async with open_driver() as driver:
        writer = LogWriter(Files(tmp_path / "log"), driver, world.reported.extend, world.send)
        writer.run(Append(FILE, b"one\n"))
        writer.run(Append(FILE, b"two\n"))
        writer.ask(7, -1, QUESTION)
        await eventually(lambda: world.answers == [(7, -1, FileText(b"one\ntwo\n", 8))])
        writer.run(Append(FILE, b"three\n"))
        writer.close()
    assert (tmp_path / "log" / "calls.log").read_bytes() == b"one\ntwo\nthree\n"


async def test_the_engine_hears_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    world = World()
    (tmp_path / "log").symlink_to(tmp_path / "nowhere" / "far")
    async with open_driver() as driver:
        writer = LogWriter(Files(tmp_path / "log"), driver, world.reported.extend, world.send)
        writer.run(Append(FILE, b"lost\n"))
        writer.flush()
        await eventually(lambda: len(world.reported) == 1)
        (tmp_path / "log").unlink()
        writer.run(Append(FILE, b"kept\n"))
        writer.flush()
        await eventually(lambda: len(world.reported) == 2)
        writer.close()
    assert isinstance(world.reported[0], FileState)
    assert world.reported[0].problem
    assert world.reported[1] == FileState(1, "")


async def test_a_disk_that_hangs_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    lines = [b"%9d\n" % number * 100_000 for number in range(50)]
    disk = Disk(tmp_path / "log")
    async with open_driver() as driver:
        writer = LogWriter(disk, driver, world.reported.extend, world.send)
        for line in lines:
            writer.run(Append(FILE, line))
            writer.flush()
        for number in range(300):
            writer.ask(7, -number - 1, QUESTION)
        disk.answers.set()
        refused = [answer for _, _, answer in world.answers]
        assert len(refused) == 300 - READS_WAITING_MAX
        assert all(isinstance(answer, Failed) and answer.code == ErrorCode.TRY_AGAIN for answer in refused)
        await eventually(lambda: len(world.answers) == 300)
        writer.run(Append(FILE, b"after\n"))
        writer.flush()
        writer.close()
    kept = BACKLOG_BYTES_MAX // len(lines[0])
    assert (tmp_path / "log" / "calls.log").read_bytes() == b"".join(lines[:kept]) + b"after\n"
    assert [record.getMessage() for record in caplog.records] == [
        "LOG: the disk does not keep up: records are lost here",
        f"LOG: {len(lines) - kept} records were lost here: the disk did not keep up",
    ]
