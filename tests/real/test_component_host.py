"""Component hosts as processes, driven by a scripted AMF over real sockets and real checkpoints."""

# ruff: noqa: ASYNC110  (other processes are looked at, they set no events)

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from aisexec import proc
from corosync_amf.ais import ErrorCode, HaReadiness, HaState, Recovery
from corosync_amf.lease import clock
from corosync_amf.services.amf.messages import (
    CsiFlags,
    ErrorReport,
    FaultDetected,
    HaReadinessSet,
    HealthcheckStart,
    InvocationType,
    Kind,
    ProtectionGroupMember,
    ProtectionGroupTrack,
    ProtectionGroupTrackStart,
    ProtectionGroupTrackStop,
)
from corosync_amf.services.amf.model import CheckpointMode, CheckpointPolicy, Component, Healthcheck

from .small_executive import CSI, SmallExecutive, dn, small_executive

pytestmark = pytest.mark.real

ON_CHANGE = CheckpointPolicy(mode=CheckpointMode.ON_CHANGE)
COLD = CheckpointPolicy(mode=CheckpointMode.ON_CHANGE, hot=False)
ONE, ALL = CsiFlags.TARGET_ONE, CsiFlags.TARGET_ALL
SHORT = 0.1
LONG = 20.0
PATH = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
"""Where components find themselves, and the code that is tested."""


def component(name: str, plugin: str, checkpoint: CheckpointPolicy | None = None, **more: Any) -> Component:
    limits = {"instantiate_timeout": LONG, "csi_set_timeout": LONG, "callback_timeout": LONG}
    return Component(
        dn=dn(name),
        name=name,
        plugin=f"hosted:{plugin}",
        env={"PYTHONPATH": PATH},
        checkpoint=checkpoint or CheckpointPolicy(),
        healthchecks=(Healthcheck(dn=f"safHealthcheckKey=alive,{dn(name)}", name="alive", max_duration=LONG),),
        **(limits | more),
    )


def two(plugin: str, checkpoint: CheckpointPolicy) -> list[Component]:
    return [component("a", plugin, checkpoint), component("b", plugin, checkpoint)]


async def started(executive: SmallExecutive, *names: str) -> None:
    for name in names:
        await executive.start(name)


async def kill(executive: SmallExecutive, name: str) -> FaultDetected:
    os.kill(executive.pid(name), signal.SIGKILL)
    return await executive.reported(FaultDetected)


def is_ok(answer: Any) -> bool:
    return bool(answer.error == ErrorCode.OK)


async def gone(pid: int) -> None:
    with anyio.fail_after(30):
        while pid in {process.pid for process in proc.look() if not process.is_dead}:
            await anyio.sleep(0.002)


def test_component_is_started_assigned_and_terminated(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Counter", ON_CHANGE)) as executive:
            await started(executive, "a")
            pid = executive.pid("a")
            start = await executive.until(
                lambda: next((m for m in executive.local if isinstance(m, HealthcheckStart)), None)
            )
            assert start == HealthcheckStart(dn("a"), "alive", InvocationType.AMF_INVOKED)
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            assert await executive.lines("journal", 2) == ["a active 5060 True", "a counted 3"]
            assert is_ok(await executive.csi_set("a", HaState.QUIESCED, ONE))
            assert is_ok(await executive.csi_remove("a"))
            assert is_ok(await executive.terminate("a"))
            await gone(pid)
            assert (await executive.lines("journal", 6))[2:] == ["a quiesced", "a stopped", "a removed", "a terminate"]

    anyio.run(body)


def test_cold_standby_reads_the_state_of_the_killed_active_when_it_is_promoted(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, *two("Counter", COLD)) as executive:
            await started(executive, "a", "b")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            assert is_ok(await executive.csi_set("b", HaState.STANDBY))
            await executive.lines("journal", 3)
            fault = await kill(executive, "a")
            assert (fault.kind, fault.cleaned) == (Kind.PROCESS_DIED, True)
            assert is_ok(await executive.csi_set("b", HaState.ACTIVE, ONE))
            lines = [line for line in await executive.lines("journal", 6) if line.startswith("b")]
            assert lines == ["b standby", "b restored 3", "b active 5060 True", "b counted 6"]

    anyio.run(body)


def test_hot_standby_follows_every_change_and_is_promoted_without_a_restore(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, *two("Follower", ON_CHANGE)) as executive:
            await started(executive, "a", "b")
            assert is_ok(await executive.csi_set("b", HaState.STANDBY))
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            await executive.lines("journal", 1, "a counted")
            await kill(executive, "a")
            assert is_ok(await executive.csi_set("b", HaState.ACTIVE, ONE))
            lines = await executive.lines("journal", 1, "b counted")
            assert lines == ["b counted 6"]
            lines = await executive.lines("journal", having="b ")
            assert lines[0] == "b standby"
            assert lines[-3:] == ["b followed 3", "b active 5060 True", "b counted 6"]
            assert not [line for line in lines if "restored" in line]

    anyio.run(body)


def test_hot_standby_that_comes_late_is_restored_before_it_is_standby(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, *two("Follower", ON_CHANGE)) as executive:
            await started(executive, "a", "b")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            await executive.lines("journal", 2)
            assert is_ok(await executive.csi_set("b", HaState.STANDBY))
            assert (await executive.lines("journal", 4))[2:] == ["b restored 3", "b standby"]

    anyio.run(body)


def test_hot_standby_without_state_updated_is_restored_from_what_it_gathered(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, *two("Counter", ON_CHANGE)) as executive:
            await started(executive, "a", "b")
            assert is_ok(await executive.csi_set("b", HaState.STANDBY))
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            await executive.lines("journal", 3)
            await kill(executive, "a")
            assert is_ok(await executive.csi_set("b", HaState.ACTIVE, ONE))
            lines = [line for line in await executive.lines("journal", 6) if line.startswith("b")]
            assert lines == ["b standby", "b restored 3", "b active 5060 True", "b counted 6"]

    anyio.run(body)


def test_switchover_and_back_hands_the_state_over_each_time(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, *two("Counter", ON_CHANGE)) as executive:
            await started(executive, "a", "b")
            await executive.csi_set("a", HaState.ACTIVE)
            await executive.csi_set("b", HaState.STANDBY)
            await executive.lines("journal", 1, "counted")
            for round, (former, latter) in enumerate((("a", "b"), ("b", "a"), ("a", "b")), start=1):
                assert is_ok(await executive.csi_set(former, HaState.QUIESCED, ALL, csi=""))
                assert is_ok(await executive.csi_set(latter, HaState.ACTIVE, ALL, csi=""))
                assert is_ok(await executive.csi_set(former, HaState.STANDBY, ALL, csi=""))
                await executive.lines("journal", round + 1, "counted")
            counted = await executive.lines("journal", 4, "counted")
            assert counted == ["a counted 3", "b counted 6", "a counted 9", "b counted 12"]

    anyio.run(body)


def test_state_comes_back_in_the_types_that_the_hook_names(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, *two("Typed", COLD)) as executive:
            await started(executive, "a", "b")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            assert is_ok(await executive.csi_set("a", HaState.QUIESCED, ONE))
            assert is_ok(await executive.csi_set("b", HaState.ACTIVE))
            assert (await executive.lines("journal", 3))[1] == (
                "b restored a=Call(caller='alice', minutes=3) b=Call(caller='bob', minutes=4) "
                "d=Call(caller='dora', minutes=6)"
            )

    anyio.run(body)


def test_periodic_checkpoints_keep_bytes_and_plain_data_apart(tmp_path: Path) -> None:
    async def body() -> None:
        policy = CheckpointPolicy(mode=CheckpointMode.PERIODIC, period=0.02, hot=False)
        async with small_executive(tmp_path, *two("Periodic", policy)) as executive:
            await started(executive, "a", "b")
            (tmp_path / "state").write_text("gone x1 raw")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            (tmp_path / "state").write_text("raw x1 new")
            assert is_ok(await executive.csi_set("a", HaState.QUIESCED, ONE))
            assert is_ok(await executive.csi_set("b", HaState.ACTIVE))
            lines = await executive.lines("journal", 3)
            assert lines[1] == "b restored new=b'new' raw=b'raw' x1={'raw': 'x1'}"

    anyio.run(body)


def test_partial_checkpoints_change_only_what_they_name(tmp_path: Path) -> None:
    async def body() -> None:
        policy = CheckpointPolicy(mode=CheckpointMode.PERIODIC, period=3600.0, hot=False)
        async with small_executive(tmp_path, *two("Piecemeal", policy)) as executive:
            await started(executive, "a", "b")
            for _ in range(2):  # a round is written before each QUIESCED is answered
                assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
                assert is_ok(await executive.csi_set("a", HaState.QUIESCED, ONE))
            assert is_ok(await executive.csi_set("b", HaState.ACTIVE))
            assert await executive.lines("journal", 2) == ["a restored a=1 b=2", "b restored a=1 c=3"]

    anyio.run(body)


def test_a_checkpoint_hook_that_has_nothing_to_say_changes_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        policy = CheckpointPolicy(mode=CheckpointMode.PERIODIC, period=3600.0, hot=False)
        async with small_executive(tmp_path, *two("Silent", policy)) as executive:
            await started(executive, "a", "b")
            for _ in range(2):
                assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
                assert is_ok(await executive.csi_set("a", HaState.QUIESCED, ONE))
            assert is_ok(await executive.csi_set("b", HaState.ACTIVE))
            lines = await executive.lines("journal", 2)
            assert lines == [f"{name} restored a=1 b=b'raw'" for name in ("a", "b")]

    anyio.run(body)


def test_a_checkpoint_hook_that_fails_once_does_not_hold_up_a_switchover(tmp_path: Path) -> None:
    async def body() -> None:
        policy = CheckpointPolicy(mode=CheckpointMode.PERIODIC, period=3600.0)
        both = [component(name, "Taciturn", policy, callback_timeout=SHORT) for name in ("a", "b")]
        async with small_executive(tmp_path, *both) as executive:
            for name in ("a", "b"):
                await started(executive, name)
                for attempt in range(3):
                    assert is_ok(await executive.csi_set(name, HaState.ACTIVE))
                    answer = await executive.csi_set(name, HaState.QUIESCED, ONE)
                    assert is_ok(answer) == (attempt < 2)
                assert "3 times in a row" in answer.reason

    anyio.run(body)


def test_a_cold_standby_can_look_at_the_state(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, *two("Taciturn", COLD)) as executive:
            await started(executive, "a", "b")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            assert is_ok(await executive.csi_set("b", HaState.STANDBY))
            assert await executive.lines("journal") == ["b standby {'a': 1}"]

    anyio.run(body)


def test_a_standby_that_cannot_follow_is_restored_and_then_given_up(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, *two("Stumbling", ON_CHANGE)) as executive:
            await started(executive, "a", "b")
            assert is_ok(await executive.csi_set("b", HaState.STANDBY))
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            report = await executive.heard(ErrorReport)
            assert (report.component, report.reason) == (dn("b"), "RuntimeError: fell")
            assert await executive.lines("journal", 1, "b restored") == ["b restored"]

    anyio.run(body)


def test_a_component_hears_of_its_protection_group_and_opens_services(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Social")) as executive:
            await started(executive, "a")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            assert await executive.lines("journal") == ["a opened B.04.01"]
            assert await executive.heard(ProtectionGroupTrackStart) == ProtectionGroupTrackStart(CSI, 2)
            member = ProtectionGroupMember(dn("b"), HaState.STANDBY, HaReadiness.READY_FOR_ASSIGNMENT, 1)
            executive.send("a", ProtectionGroupTrack(CSI, (member,), 1))
            assert (await executive.lines("journal", 2))[1] == f"ACTIVE {dn('b')}"
            assert is_ok(await executive.csi_remove("a"))
            assert await executive.heard(ProtectionGroupTrackStop) == ProtectionGroupTrackStop(CSI)
            assert is_ok(await executive.terminate("a"))

    anyio.run(body)


def test_checkpoint_hook_that_fails_three_times_is_a_fault(tmp_path: Path) -> None:
    async def body() -> None:
        policy = CheckpointPolicy(mode=CheckpointMode.PERIODIC, period=0.01)
        async with small_executive(tmp_path, component("a", "FailingCheckpoint", policy)) as executive:
            await started(executive, "a")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            report = await executive.heard(ErrorReport)
            assert "3 times in a row" in report.reason

    anyio.run(body)


def test_deposed_active_can_neither_write_nor_act(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, *two("Careful", ON_CHANGE)) as executive:
            await started(executive, "a", "b")
            assert is_ok(await executive.csi_set("b", HaState.STANDBY))
            assert await executive.lines("journal", 2) == ["b may not write", "b may not act"]
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            assert (await executive.lines("journal", 3))[2] == "a leapt"
            assert is_ok(await executive.csi_set("b", HaState.ACTIVE, ONE))
            (tmp_path / "leap-1").touch()
            lines = await executive.lines("journal", 5)
            assert [line.split(" ")[:2] for line in lines if line.startswith("a")] == [["a", "leapt"], ["a", "denied"]]

    anyio.run(body)


def test_guard_fails_when_the_lease_of_the_node_is_over(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Careful", ON_CHANGE)) as executive:
            await started(executive, "a")
            executive.lease.deadline = clock() + 3600
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            assert await executive.lines("journal", 1) == ["a leapt"]
            executive.lease.deadline = clock()
            (tmp_path / "leap-1").touch()
            assert (await executive.lines("journal", 2))[1] == "a denied the lease of this node is over"

    anyio.run(body)


def test_hooks_that_take_too_long_or_raise_are_answered_with_an_error(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Stuck", csi_set_timeout=SHORT)) as executive:
            await started(executive, "a")
            assert (await executive.csi_set("a", HaState.ACTIVE)).error == ErrorCode.TIMEOUT
            answer = await executive.csi_set("a", HaState.STANDBY, ONE)
            assert answer.error == ErrorCode.FAILED_OPERATION
            assert answer.reason == "csi_set: RuntimeError: not in the mood"

    anyio.run(body)


def test_healthchecks_are_answered_with_what_the_hook_says(tmp_path: Path) -> None:
    async def body() -> None:
        slow = Healthcheck(dn=f"safHealthcheckKey=slow,{dn('a')}", name="slow", max_duration=SHORT)
        configured = component("a", "Stuck")
        async with small_executive(tmp_path, configured) as executive:
            await started(executive, "a")
            assert is_ok(await executive.healthcheck("a"))
            assert (await executive.healthcheck("a", "other")).error == ErrorCode.FAILED_OPERATION
        async with small_executive(tmp_path, msgspec.structs.replace(configured, healthchecks=(slow,))) as executive:
            await started(executive, "a")
            assert (await executive.healthcheck("a", "slow")).error == ErrorCode.TIMEOUT

    anyio.run(body)


def test_a_component_that_is_not_ready_says_so(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Unready")) as executive:
            await started(executive, "a")
            assert (await executive.csi_set("a", HaState.ACTIVE)).error == ErrorCode.NOT_READY
            (tmp_path / "licence").touch()
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            assert await executive.lines("journal") == ["a active ACTIVE"]

    anyio.run(body)


def test_what_a_task_raises_is_reported_as_a_fault(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Crashing")) as executive:
            await started(executive, "a")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            report = await executive.heard(ErrorReport)
            assert (report.component, report.reason) == (dn("a"), "RuntimeError: out of paper")
            assert report.recovery is Recovery.NO_RECOMMENDATION

    anyio.run(body)


def test_quiescing_is_answered_at_once_and_completed_by_the_component(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, *two("Slow", COLD)) as executive:
            await started(executive, "a", "b")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            assert is_ok(await executive.csi_set("a", HaState.QUIESCING, ONE))
            complete = await executive.quiesced()
            assert is_ok(complete)
            assert await executive.lines("journal", 3) == ["a active", "a quiescing", "a finished"]
            assert is_ok(await executive.csi_set("a", HaState.QUIESCED, ONE))
            assert is_ok(await executive.csi_remove("a"))

    anyio.run(body)


def test_an_active_component_that_gets_a_new_epoch_goes_on_without_a_restore(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Counter", ON_CHANGE)) as executive:
            await started(executive, "a")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            await executive.lines("journal", 1, "a counted")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE, ONE))
            assert (await executive.lines("journal", 2, "a counted"))[1] == "a counted 6"
            assert await executive.lines("journal", 0, "restored") == []

    anyio.run(body)


def test_removing_what_was_never_assigned_succeeds(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Counter", ON_CHANGE)) as executive:
            await started(executive, "a")
            assert is_ok(await executive.csi_remove("a"))

    anyio.run(body)


def test_changed_attributes_reach_the_hook(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Slow"), component("b", "Counter", COLD)) as executive:
            await started(executive, "a", "b")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            assert is_ok(await executive.change_attributes("a", {"port": ("5070",)}))
            assert (await executive.lines("journal", 2))[1] == "a attributes 5070 5070"
            assert (await executive.change_attributes("b", {})).error == ErrorCode.NOT_SUPPORTED

    anyio.run(body)


def test_error_reports_and_readiness_reach_amf(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Reporter")) as executive:
            await started(executive, "a")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            report = await executive.heard(ErrorReport)
            assert (report.recovery, report.reason) == (Recovery.COMPONENT_RESTART, "it itches")
            readiness = await executive.heard(HaReadinessSet)
            assert readiness == HaReadinessSet(dn("a"), None, HaReadiness.NOT_READY_FOR_ACTIVE)

    anyio.run(body)


def test_marked_plugins_that_take_few_arguments_are_called(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "greedy")) as executive:
            await started(executive, "a")
            assert is_ok(await executive.csi_set("a", HaState.ACTIVE))
            assert await executive.lines("journal") == ["greedy ACTIVE"]

    anyio.run(body)


def test_a_blocked_component_can_be_killed(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Blocking")) as executive:
            await started(executive, "a")
            pid = executive.pid("a")
            with anyio.move_on_after(SHORT):
                await executive.csi_set("a", HaState.ACTIVE)
            assert (await kill(executive, "a")).cleaned
            await gone(pid)

    anyio.run(body)


def test_a_component_and_its_children_end_when_the_executive_is_gone(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Parent")) as executive:
            await started(executive, "a")
            pid, child = map(int, (await executive.lines("journal"))[0].split())
            executive.kill_self()
            await gone(pid)
            await gone(child)

    anyio.run(body)


STUBBORN = """
import anyio
from corosync_amf import Library, amf
async def body():
    service = await amf.initialize()
    await service.component_register()
    while True:
        try:
            async for event in service:
                pass
        except Library:
            await anyio.sleep(600)
anyio.run(body)
"""


def test_a_program_that_registered_ends_when_the_executive_is_gone_whatever_it_does(tmp_path: Path) -> None:
    async def body() -> None:
        program = Component(
            dn=dn("a"), name="a", instantiate=(sys.executable, "-c", STUBBORN), env={"PYTHONPATH": PATH}
        )
        async with small_executive(tmp_path, program) as executive:
            await started(executive, "a")
            pid = executive.pid("a")
            executive.kill_self()
            await gone(pid)

    anyio.run(body)


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("Failing", "no port is free"),
        ("Misspelt", "did you mean csi_set?"),
        ("Absent", "hosted has no Absent"),
        ("Countr", "did you mean Counter?"),
    ],
)
def test_a_plugin_that_cannot_be_started_says_why(tmp_path: Path, plugin: str, words: str) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", plugin)) as executive:
            with anyio.move_on_after(0):
                await executive.start("a")
            fault = await executive.reported(FaultDetected)
            assert words in fault.detail
            assert fault.cleaned

    anyio.run(body)


def test_a_component_is_up_within_a_second(tmp_path: Path) -> None:
    async def body() -> None:
        async with small_executive(tmp_path, component("a", "Counter", COLD)) as executive:
            began = time.monotonic()
            await started(executive, "a")
            print(f"started in {time.monotonic() - began:.3f} s")
            assert executive.amf.clients.keys() == {dn("a")}
            assert CSI not in executive.checkpoints

    anyio.run(body)
