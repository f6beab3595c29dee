"""`amf dev` as a person uses it: a terminal, keys that break things, and what is left when it ends."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from corosync_amf._version import __version__
from corosync_amf.development_nodes import marked_processes
from corosync_amf.resources import SCAFFOLDS
from corosync_amf.scaffold import render, template

pytestmark = pytest.mark.real

PATIENCE = 60.0
NODES = ("node-a", "node-b", "node-c")
BREAKDOWN = r"failover (\d+) ms \((?:detect (\d+), decide \d+, )?activate \d+\)"
ABRUPT = {"k", "K", "f", "p"}
INTERRUPT = "\x03"


class Terminal:
    """`amf dev` in a terminal. `seen` is all that it has shown."""

    def __init__(self, app: Path, directory: Path, *words: str) -> None:
        self.directory = directory
        self.seen = ""
        self._read = 0
        self._mine, theirs = pty.openpty()
        command = [sys.executable, "-m", "corosync_amf.cli", "dev", "--directory", str(directory), *words]
        self.process = subprocess.Popen(
            command,
            cwd=app,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(theirs)

    def press(self, key: str) -> None:
        os.write(self._mine, key.encode())

    def until(self, pattern: str) -> "re.Match[str]":
        """Wait until what is shown since the last call has a pattern."""
        deadline = time.monotonic() + PATIENCE
        while (match := re.compile(pattern).search(self.seen, self._read)) is None:
            assert self._take(deadline), f"no {pattern!r} in what was shown last:\n{self.seen[-5000:]}"
        self._read = match.end()
        return match

    def end(self) -> int:
        """Wait until the command has ended, and return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._take(deadline):
            pass
        return self.process.wait(PATIENCE)

    def _take(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._mine], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self._mine, 1 << 16) if ready else b""
        except OSError:  # nobody has the terminal open any more
            return False
        self.seen += data.decode()
        return bool(data)

    def left(self) -> list[int]:
        """What still runs of the cluster."""
        return [pid for node in NODES for pid in marked_processes(self.directory / node)]

    def log(self, node: str) -> str:
        """The whole log of a node."""
        return (self.directory / node / "aisexec.log").read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._mine)


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    render(template(SCAFFOLDS, "counter"), "shop", tmp_path / "shop", __version__)
    amf_conf = tmp_path / "shop" / "amf.conf"
    amf_conf.write_text(amf_conf.read_text().replace('journal: ""', f'journal: "{tmp_path / "journal"}"'))
    return tmp_path / "shop"


@contextmanager
def terminal(app: Path, *words: str) -> Iterator[Terminal]:
    shown = Terminal(app, app.parent / "cluster", "--token", "600", *words)
    try:
        shown.until("every service instance is assigned")
        shown.until("q quit")
        yield shown
    finally:
        shown.close()


def counted(app: Path) -> list[int]:
    return [int(line.split()[0]) for line in (app.parent / "journal").read_text().splitlines()]


def test_keys_break_the_cluster_and_repair_it_and_the_counter_loses_nothing(app: Path) -> None:
    with terminal(app) as shown:
        keys = [*"k" * 10, *"prsKrfr"]
        for key in keys:
            shown.press(key)
            if key == "r":
                shown.until("repaired: 3 nodes are members, all is assigned")
                continue
            shown.until(r"at shop/su[12]\b")
            total, detect = shown.until(BREAKDOWN).groups()
            assert (detect is not None) == (key in ABRUPT)
            assert int(total) < 1000 * PATIENCE
            shown.until("without node-[ab]: r repairs" if key in "Kfp" else "all is assigned again")
        shown.press("t")
        shown.until(r"shop/shop +fully-assigned +shop/su\d on node-[ab]")
        shown.press("x")
        shown.until("q quit")
        shown.press("q")
        assert shown.end() == 0
        assert shown.left() == []
    numbers = counted(app)
    assert all(later > earlier for earlier, later in pairwise(numbers))
    assert numbers[-1] - len(numbers) <= sum(key in ABRUPT for key in keys)


def test_logs_of_all_nodes_are_one_and_an_interrupt_ends_the_cluster_in_order(app: Path) -> None:
    with terminal(app) as shown:
        assert len(shown.left()) >= 5
        shown.press("k")
        shown.until("all is assigned again")
        shown.press(INTERRUPT)
        assert shown.end() == 0
        assert shown.left() == []
    assert "Traceback" not in shown.seen
    assert all("counters: " in shown.log(name) for name in NODES)
    for name in NODES:
        assert re.search(rf"\x1b\[3\dm{name}\x1b\[0m ", shown.seen)
    assert re.search(r"\x1b\[33mAMF: shop/su\d/shop: fault process_died", shown.seen)
    assert shown.seen.count("AMF: cluster: first assignments") == 1


def test_hangup_of_the_terminal_ends_the_cluster_in_order(app: Path) -> None:
    with terminal(app, "--logs", "none") as shown:
        shown.process.send_signal(signal.SIGHUP)
        assert shown.end() == 0
        assert shown.left() == []
    assert all("counters: " in shown.log(name) for name in NODES)


def test_kill_of_the_command_itself_leaves_no_process_behind(app: Path) -> None:
    with terminal(app, "--logs", "none") as shown:
        shown.process.kill()
        shown.process.wait()
        deadline = time.monotonic() + PATIENCE
        while shown.left() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert shown.left() == []


def test_wrong_configuration_is_told_before_anything_is_started(app: Path) -> None:
    (app / "amf.conf").write_text("applications:\n  shop: {redundancy: 2n}\n")
    command = [sys.executable, "-m", "corosync_amf.cli", "dev"]
    done = subprocess.run(command, cwd=app, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "amf.conf:2" in done.stderr


def test_keys_may_come_from_a_pipe_or_a_file(app: Path) -> None:
    keys = app / "keys"
    keys.write_text("kq")
    command = [sys.executable, "-m", "corosync_amf.cli", "dev", "--logs", "none"]
    with keys.open() as file:
        done = subprocess.run(
            command, cwd=app, stdin=file, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    assert done.returncode == 0, done.stderr
    assert re.search(BREAKDOWN, done.stdout)
