"""The files of log streams: what stands in them, what is put away, and what is never touched."""

import os
import resource
import signal
import stat
from pathlib import Path

import pytest

from aisexec.logfiles import Files
from aisexec.logtail import Recent, last_lines
from corosync_amf.ais import ErrorCode
from corosync_amf.engine import Failed
from corosync_amf.services.log.messages import Append, CloseFile, FileOf, FileState, FileText, ReadFile
from corosync_amf.services.log.values import TAIL_BYTES_MAX, FullAction

ROTATE, WRAP, HALT = FullAction.ROTATE, FullAction.WRAP, FullAction.HALT


def spec(action: int = ROTATE, size: int = 100, files: int = 3, stream: int = 1, path: str = ".") -> FileOf:
    return FileOf(stream, path, "calls", action, size, files)


def written(files: Files, file: FileOf, *lines: bytes) -> None:
    assert files.write([Append(file, line) for line in lines]) == []


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def tail(files: Files, lines: int = 100, path: str = ".", name: str = "calls", after: int | None = None) -> bytes:
    answer = files.read(ReadFile(path, name, lines, after))
    assert isinstance(answer, FileText), answer
    return answer.text


def refused(files: Files, path: str, name: str) -> int:
    answer = files.read(ReadFile(path, name, 10))
    assert isinstance(answer, Failed), answer
    return answer.code


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "log")


def test_lines_are_added_below_the_directory(files: Files, tmp_path: Path) -> None:
    file = spec(path="a/b")
    written(files, file, b"", b"one\n", b"two\n")
    path = tmp_path / "log" / "a" / "b" / "calls.log"
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) & ~0o640 == 0
    assert files.write([CloseFile(file), CloseFile(file)]) == []
    written(files, spec(path="a/b", stream=2), b"three\n")
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_file_is_put_away_and_the_oldest_go(files: Files, tmp_path: Path) -> None:
    file = spec()
    for number in range(1, 6):
        files.write([Append(file, b"x\n", f"calls_20270115_08000{number}_000{number}"), Append(file, b"%d\n" % number)])
    (tmp_path / "log" / "calls_other.log").write_text("not ours")
    files.write([Append(file, b"last\n", "calls_20270115_080006_0006")])
    assert names(tmp_path / "log") == [
        "calls.log",
        "calls_20270115_080005_0005.log",
        "calls_20270115_080006_0006.log",
        "calls_other.log",
    ]
    assert (tmp_path / "log" / "calls_20270115_080006_0006.log").read_bytes() == b"x\n5\n"


def test_no_file_is_put_over_another(files: Files, tmp_path: Path) -> None:
    file = spec(files=9)
    for line in (b"one\n", b"two\n", b"three\n"):
        files.write([Append(file, line, "calls_20270115_080000_0001")])
    assert names(tmp_path / "log") == [
        "calls.log",
        "calls_20270115_080000_0001.log",
        "calls_20270115_080000_00011.log",
    ]


@pytest.mark.parametrize("action", [ROTATE, HALT])
def test_a_file_that_was_there_is_continued_unless_it_is_full(files: Files, tmp_path: Path, action: int) -> None:
    (tmp_path / "log").mkdir()
    path = tmp_path / "log" / "calls.log"
    path.write_bytes(b"before\ntorn")
    written(files, spec(action), b"now\n")
    assert path.read_bytes() == b"before\ntorn\nnow\n"
    files.close()
    path.write_bytes(b"x" * 99 + b"\n")
    written(Files(tmp_path / "log"), spec(action), b"now\n")
    assert path.read_bytes() == b"now\n"
    assert len(names(tmp_path / "log")) == 2


@pytest.mark.parametrize("action", [ROTATE, HALT])
def test_a_continued_file_is_not_longer_than_its_stream_allows(tmp_path: Path, action: int) -> None:
    """The engine counts from nothing after a restart: by its count there is room for 100 bytes more."""
    written(Files(tmp_path), spec(action), b"x" * 59 + b"\n")
    again = Files(tmp_path)
    written(again, spec(action), b"y" * 39 + b"\n")
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [100]
    written(again, spec(action), b"z" * 39 + b"\n", b"z" * 19 + b"\n")
    assert sorted(path.stat().st_size for path in tmp_path.iterdir()) == [60, 100]
    again.write([Append(spec(action), b"next\n", "calls_29991231_235959_0009")])
    assert [(tmp_path / name).stat().st_size for name in names(tmp_path)][::2] == [5, 60]
    assert (tmp_path / "calls.log").read_bytes() == b"next\n"


def test_a_file_that_wraps_has_only_whole_lines(files: Files, tmp_path: Path) -> None:
    file = spec(WRAP)
    path = tmp_path / "log" / "calls.log"
    written(files, file, b"one long line\n", b"two\n", b"three\n")
    files.write([Append(file, b"four\n", is_wrapped=True)])
    assert path.read_bytes() == b"four\n" + b" " * 8 + b"\ntwo\nthree\n"
    assert tail(files) == b"two\nthree\nfour\n"
    written(files, file, b"five\n", b"six\n")
    assert path.read_bytes() == b"four\nfive\nsix\ntwo\nthree\n"
    assert tail(files, 2) == b"five\nsix\n"
    files.close()
    written(Files(tmp_path / "log"), file, b"anew\n")
    assert path.read_bytes() == b"anew\n"
    assert len(names(tmp_path / "log")) == 2


def test_no_link_leads_out_of_the_directory(files: Files, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "calls.log").write_text("secret\n")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "linked").symlink_to(outside)
    (tmp_path / "log" / "calls.log").symlink_to(outside / "calls.log")
    os.mkfifo(tmp_path / "log" / "fifo.log")
    for file in (spec(path="linked", stream=1), spec(stream=2)):
        (state,) = files.write([Append(file, b"x\n"), Append(file, b"y\n")])
        assert state.stream == file.stream
        assert state.problem
        assert files.write([Append(file, b"x\n")]) == []
    assert (outside / "calls.log").read_text() == "secret\n"
    assert names(outside) == ["calls.log"]
    for path, name in (("linked", "calls"), (".", "calls"), (".", "fifo"), ("nowhere", "calls"), (".", "nothing")):
        assert refused(files, path, name) == ErrorCode.NOT_EXIST
    for path, name in (("..", "calls"), ("/etc", "passwd"), (".", "../outside/calls"), ("./.", "calls"), (".", "")):
        assert refused(files, path, name) == ErrorCode.INVALID_PARAM


def test_a_disk_that_fails_is_told_once_and_tried_again(files: Files, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("in the way")
    (state,) = files.write([Append(spec(), b"lost\n")])
    assert state.problem == "File exists"
    assert files.write([Append(spec(), b"lost\n")]) == []
    (tmp_path / "log").unlink()
    assert files.write([Append(spec(), b"kept\n")]) == [FileState(1, "")]
    assert (tmp_path / "log" / "calls.log").read_bytes() == b"kept\n"


def test_a_file_that_fails_is_told_of_whatever_the_number_of_its_stream_meant_before(
    files: Files, tmp_path: Path
) -> None:
    (tmp_path / "log").write_text("in the way")
    former, other, present = spec(path="a", stream=5), spec(path="b", stream=5), spec(path="a", stream=7)
    for file in (former, other, present):
        (state,) = files.write([Append(file, b"lost\n")])
        assert (state.stream, bool(state.problem)) == (file.stream, True)
    assert files.write([CloseFile(former)]) == []
    (tmp_path / "log").unlink()
    assert files.write([Append(present, b"kept\n")]) == [FileState(7, "")]


def test_a_write_that_fails_halfway_leaves_no_half_line(files: Files, tmp_path: Path) -> None:
    size = len(b"one\n") + 3
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    written(files, spec(), b"one\n")
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        (state,) = files.write([Append(spec(), b"too long\n")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        signal.signal(signal.SIGXFSZ, ignored)
    assert state.problem == "File too large"
    assert (tmp_path / "log" / "calls.log").read_bytes() == b"one\n"
    assert files.write([Append(spec(), b"kept\n")]) == [FileState(1, "")]
    assert (tmp_path / "log" / "calls.log").read_bytes() == b"one\nkept\n"


def test_not_more_files_stay_open_than_are_needed(files: Files, tmp_path: Path) -> None:
    for number in range(200):
        written(files, FileOf(number, ".", f"f{number}", ROTATE, 1000, 2), b"x\n")
    assert len(names(tmp_path / "log")) == 200
    assert len(os.listdir("/proc/self/fd")) < 300
    written(files, FileOf(0, ".", "f0", ROTATE, 1000, 2), b"y\n")
    assert (tmp_path / "log" / "f0.log").read_bytes() == b"x\ny\n"
    files.close()


def test_what_was_written_since_is_told_from_memory(files: Files) -> None:
    written(files, spec(size=10**6), b"one\n")
    first = files.read(ReadFile(".", "calls", 10))
    assert first == FileText(b"one\n", 4)
    written(files, spec(size=10**6), b"two\n")
    assert files.read(ReadFile(".", "calls", 10, 4)) == FileText(b"two\n", 8)
    assert files.read(ReadFile(".", "calls", 10, 8)) == FileText(b"", 8)
    assert files.read(ReadFile(".", "calls", 10, 99)) == FileText(b"one\ntwo\n", 8, True)


def test_only_so_much_is_kept_in_memory() -> None:
    recent = Recent()
    for number in range(30_000):
        recent.add(b"%07d\n" % number)
    text, is_gap = recent.since(0)
    assert is_gap
    assert len(text) <= TAIL_BYTES_MAX
    assert text.endswith(b"0029999\n")
    assert text.startswith(b"00")
    assert recent.since(recent.end - 16) == (b"0029998\n0029999\n", False)


def test_the_last_lines_of_a_text() -> None:
    assert last_lines(b"a\n\n  \nb\ntorn", 9) == b"a\nb\n"
    assert last_lines(b"a\nb\n", 1) == b"b\n"
    assert last_lines(b"a\nb\n", 0) == b""
    assert last_lines(b"x" * TAIL_BYTES_MAX + b"\ny\n", 9) == b"y\n"
