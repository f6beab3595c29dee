"""Assignments, the tasks that serve them, and the lease that bounds them."""

import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup

from corosync_amf.ais import HaState
from corosync_amf.lease import Lease, clock
from corosync_amf.work import Assignment, Tasks

CSI = "safCsi=i,safSi=s,safApp=p"


def test_an_assignment_is_the_name_of_its_csi_and_knows_more() -> None:
    assignment = Assignment(CSI, HaState.ACTIVE, {"port": ("1", "2")}, epoch=7)
    assert assignment == CSI
    assert {CSI: "found"}[assignment] == "found"
    assert type(assignment.csi) is str
    assert assignment.is_active
    assert repr(assignment) == f"Assignment('{CSI}', ACTIVE, epoch=7)"
    assignment.ha_state = HaState.STANDBY
    assert not assignment.is_active


def run(body: Callable[[Tasks, list[Exception], list[str]], Awaitable[None]]) -> tuple[list[Exception], list[str]]:
    failures: list[Exception] = []
    heard: list[str] = []

    async def main() -> None:
        async with anyio.create_task_group() as group:
            await body(made(group), failures, heard)

    def made(group: TaskGroup) -> Tasks:
        return Tasks(group, failures.append)

    anyio.run(main)
    return failures, heard


def test_cancelled_tasks_have_ended_when_cancel_returns() -> None:
    async def body(tasks: Tasks, failures: list[Exception], heard: list[str]) -> None:
        async def work() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.01)
                heard.append("ended")

        tasks.start(work())
        tasks.start(work())
        await anyio.wait_all_tasks_blocked()
        await tasks.cancel()
        heard.append("cancelled")

    assert run(body) == ([], ["ended", "ended", "cancelled"])


def test_a_task_that_cancels_all_is_cancelled_last() -> None:
    async def body(tasks: Tasks, failures: list[Exception], heard: list[str]) -> None:
        async def other() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                heard.append("other")

        async def mine() -> None:
            await tasks.cancel_others()
            heard.append("mine goes on")
            await tasks.cancel()
            await anyio.sleep_forever()

        tasks.start(other())
        tasks.start(mine())

    assert run(body) == ([], ["other", "mine goes on"])


def test_a_task_that_never_began_is_closed() -> None:
    async def body(tasks: Tasks, failures: list[Exception], heard: list[str]) -> None:
        async def work() -> None:
            heard.append("began")
            await anyio.sleep_forever()

        tasks.start(work())
        await tasks.cancel()

    failures, heard = run(body)
    assert failures == []
    assert len(heard) <= 1


def test_what_a_task_raises_is_told() -> None:
    async def body(tasks: Tasks, failures: list[Exception], heard: list[str]) -> None:
        async def work() -> None:
            raise ValueError("out of paper")

        tasks.start(work())
        await anyio.wait_all_tasks_blocked()

    failures, _ = run(body)
    assert [str(failure) for failure in failures] == ["out of paper"]


def test_the_lease_is_shared_and_ends_at_its_deadline(tmp_path: Path) -> None:
    writer = Lease(str(tmp_path / "lease"), writable=True)
    reader = Lease(writer.path)
    assert reader.deadline == math.inf
    assert not reader.is_over()
    writer.deadline = clock() + 3600
    assert reader.deadline == writer.deadline
    assert not reader.is_over()
    writer.deadline = clock()
    assert reader.is_over()
    with pytest.raises(TypeError):
        reader.deadline = 1.0
    reader.close()
    writer.close()


def test_a_lease_that_nobody_wrote_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Lease(str(tmp_path / "none"))
