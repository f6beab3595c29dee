"""Skips: allowed only where a prerequisite cannot be had; on CI everything can."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import cache

import pytest


@cache
def namespaces_can_be_made() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode != 0:
        return False
    subprocess.run(["ip", "netns", "del", name], check=True)
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "namespaces" in item.keywords and not namespaces_can_be_made():
            item.add_marker(pytest.mark.skip(reason="needs root and network namespaces"))
        if "sipp" in item.keywords and shutil.which("sipp") is None:
            item.add_marker(pytest.mark.skip(reason="needs sipp (Debian: sip-tester)"))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that a shell has started in the background ignores SIGINT, and so does what it starts."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if reporter and skipped and os.environ.get("AMF_TESTS_MAY_NOT_SKIP"):
        reporter.write_line(f"{len(skipped)} tests were skipped where none may be", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
