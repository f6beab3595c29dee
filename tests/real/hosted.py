"""Components for tests of the component host. What they see goes into the file `journal` of their directory."""

# ruff: noqa: ASYNC110, ASYNC220, ASYNC240  (files tell it what to do; other processes are looked at, they set no events)

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import msgspec

from corosync_amf import Component
from corosync_amf.ais import HaReadiness, HaState, Recovery
from corosync_amf.context import ComponentContext, ProtectionGroupMember
from corosync_amf.errors import AccessDenied, BadOperation, NotReady
from corosync_amf.hookspecs import hookimpl
from corosync_amf.services import amf
from corosync_amf.work import Assignment


def note(*words: object) -> None:
    with Path("journal").open("a") as file:
        file.write(" ".join(str(word) for word in words) + "\n")


class Counter(Component):
    """Counts whenever the file `count` says so."""

    total = 0

    async def restore(self, ctx: ComponentContext, csi: Assignment, state: Mapping[str, int]) -> None:
        self.total = state.get("total", 0)
        note(short(ctx), "restored", self.total)

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        note(short(ctx), "active", csi.attributes["port"][0], ctx.epoch == csi.epoch > 0)
        ctx.start(self.count(ctx))

    async def on_standby(self, ctx: ComponentContext, csi: Assignment) -> None:
        note(short(ctx), "standby")

    async def on_quiesced(self, ctx: ComponentContext, csi: Assignment) -> None:
        note(short(ctx), "quiesced")

    async def on_removed(self, ctx: ComponentContext, csi: Assignment) -> None:
        note(short(ctx), "removed")

    async def terminate(self, ctx: ComponentContext) -> None:
        note(short(ctx), "terminate")

    async def count(self, ctx: ComponentContext) -> None:
        try:
            for _ in range(3):
                self.total += 1
                await ctx.checkpoint("total", self.total)
            note(short(ctx), "counted", self.total)
            await anyio.sleep_forever()
        finally:
            note(short(ctx), "stopped")


class Follower(Counter):
    """A hot standby that takes every change as it comes."""

    async def state_updated(self, ctx: ComponentContext, csi: Assignment, changes: Mapping[str, int | None]) -> None:
        self.total = changes.get("total") or 0
        note(short(ctx), "followed", self.total)


@dataclass
class Call:
    caller: str
    minutes: int


class Typed(Component):
    """Gets its state in the types that it names."""

    async def restore(self, ctx: ComponentContext, csi: Assignment, state: Mapping[str, Call]) -> None:
        note(short(ctx), "restored", *[f"{key}={state[key]!r}" for key in sorted(state)])

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        if not ctx.state():
            await ctx.checkpoint({"a": Call("alice", 3), "b": Call("bob", 4), "c": Call("carol", 5)})
            await ctx.checkpoint("c", None)
            await ctx.checkpoint("d", Call("dora", 6), wait=False)
        note(short(ctx), "active")


class Periodic(Component):
    """Is asked for its state; the file `state` holds it."""

    rounds = 0

    async def checkpoint(self, ctx: ComponentContext, csi: Assignment) -> Mapping[str, object]:
        self.rounds += 1
        lines = Path("state").read_text().split() if Path("state").exists() else []
        return {word: {"raw": word} if word.startswith("x") else word.encode() for word in lines}

    async def restore(self, ctx: ComponentContext, csi: Assignment, state: Mapping[str, object]) -> None:
        note(short(ctx), "restored", *[f"{key}={state[key]}" for key in sorted(state)])

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        note(short(ctx), "active")


class Piecemeal(Component):
    """Says only what changed."""

    async def checkpoint(self, ctx: ComponentContext, csi: Assignment) -> Any:
        return ctx.Partial({"b": None, "c": 3} if "b" in ctx.state() else {"a": 1, "b": 2})

    async def restore(self, ctx: ComponentContext, csi: Assignment, state: Mapping[str, int]) -> None:
        note(short(ctx), "restored", *[f"{key}={state[key]}" for key in sorted(state)])


class Stumbling(Counter):
    """Cannot follow; the first restore after that works, later ones do not."""

    restores = 0

    async def state_updated(self, ctx: ComponentContext, csi: Assignment, changes: Mapping[str, int | None]) -> None:
        raise RuntimeError("stumbled")

    async def restore(self, ctx: ComponentContext, csi: Assignment, state: Mapping[str, int]) -> None:
        self.restores += 1
        if self.restores > 1:
            raise RuntimeError("fell")
        note(short(ctx), "restored")


class Social(Component):
    """Watches who else is there."""

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        service = await ctx.open(amf.initialize())
        note(short(ctx), "opened", service.version)

    @hookimpl
    async def protection_group_changed(self, csi: Assignment, members: tuple[ProtectionGroupMember, ...]) -> None:
        note(csi.ha_state.name, *[member.component for member in members])


class Silent(Component):
    """Says what its state is once, and has nothing to say after that."""

    rounds = 0

    async def checkpoint(self, ctx: ComponentContext, csi: Assignment) -> Mapping[str, object] | None:
        self.rounds += 1
        return {"a": 1, "b": b"raw"} if self.rounds == 1 else None

    async def restore(self, ctx: ComponentContext, csi: Assignment, state: Mapping[str, object]) -> None:
        note(short(ctx), "restored", *[f"{key}={state[key]}" for key in sorted(state)])


class Taciturn(Component):
    """Writes by itself; what it is asked for in the end takes it too long, or it cannot say it."""

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        await ctx.checkpoint("a", 1)

    async def checkpoint(self, ctx: ComponentContext, csi: Assignment) -> Mapping[str, object]:
        if short(ctx) == "a":
            raise RuntimeError("no state today")
        await anyio.sleep_forever()
        return {}

    async def on_standby(self, ctx: ComponentContext, csi: Assignment) -> None:
        note(short(ctx), "standby", dict(ctx.state()))


class FailingCheckpoint(Component):
    """Cannot say what its state is."""

    def checkpoint(  # type: ignore[override]
        self, ctx: ComponentContext, csi: Assignment
    ) -> Mapping[str, object]:
        raise RuntimeError("no state today")


class Stuck(Component):
    """Never becomes active; does not end either."""

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        await anyio.sleep_forever()

    async def on_standby(self, ctx: ComponentContext, csi: Assignment) -> None:
        raise RuntimeError("not in the mood")

    async def healthcheck(self, ctx: ComponentContext, key: str) -> bool:
        if key == "slow":
            await anyio.sleep_forever()
        return key == "alive"


class Unready(Component):
    """Refuses work until it has a licence, without being faulty."""

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        if not Path("licence").exists():
            ctx.start(anyio.sleep_forever())
            raise NotReady("the licence has run out")
        note(short(ctx), "active", ctx.ha_state.name)


class Crashing(Component):
    """Its task raises."""

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        ctx.start(self.crash())

    async def crash(self) -> None:
        raise RuntimeError("out of paper")


class Careful(Component):
    """Looks before it leaps."""

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        ctx.guard()
        ctx.start(self.leap(ctx))

    async def on_standby(self, ctx: ComponentContext, csi: Assignment) -> None:
        try:
            await ctx.checkpoint("a", 1)
        except BadOperation:
            note(short(ctx), "may not write")
        try:
            ctx.guard()
        except AccessDenied:
            note(short(ctx), "may not act")

    async def leap(self, ctx: ComponentContext) -> None:
        number = 0
        while True:
            try:
                ctx.guard()
                await ctx.checkpoint("leaps", number)
                number += 1
                note(short(ctx), "leapt")
            except AccessDenied as error:
                note(short(ctx), "denied", error.reason.split(":")[0])
                return
            while not Path(f"leap-{number}").exists():
                await anyio.sleep(0.002)


class Slow(Component):
    """Ends its work in its own time."""

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        ctx.start(anyio.sleep_forever())
        note(short(ctx), "active")

    async def on_quiescing(self, ctx: ComponentContext, csi: Assignment) -> None:
        note(short(ctx), "quiescing")
        ctx.start(self.finish(ctx))

    async def finish(self, ctx: ComponentContext) -> None:
        await ctx.checkpoint("last", "words")
        note(short(ctx), "finished")
        await ctx.quiescing_complete()

    async def on_quiesced(self, ctx: ComponentContext, csi: Assignment) -> None:
        note(short(ctx), "quiesced")

    async def csi_attribute_changed(self, ctx: ComponentContext, csi: Assignment) -> None:
        note(short(ctx), "attributes", csi.attributes["port"][0], ctx.attributes["port"][0])


class Reporter(Component):
    """Complains."""

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        await ctx.error_report(Recovery.COMPONENT_RESTART, "it itches")
        await ctx.ha_readiness(HaReadiness.NOT_READY_FOR_ACTIVE)


class Blocking(Component):
    """Holds up the event loop when it becomes active."""

    def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:  # type: ignore[override]
        time.sleep(600)


class Parent(Component):
    """Has a child process that ignores everything."""

    async def instantiate(self, ctx: ComponentContext) -> None:
        child = subprocess.Popen([sys.executable, "-S", "-E", "-c", "import time; time.sleep(600)"])
        note(os.getpid(), child.pid)


class Misspelt:
    @hookimpl
    def csi_sett(self, ctx: ComponentContext) -> None:
        """Is no hook."""


class Failing(Component):
    """Cannot be instantiated."""

    def instantiate(self, ctx: ComponentContext) -> None:  # type: ignore[override]
        raise RuntimeError("no port is free")


class Greedy:
    """A plugin with marked hooks that take few arguments."""

    @hookimpl
    def csi_set(self, ha_state: HaState) -> None:
        note("greedy", ha_state.name)


class Whole(msgspec.Struct):
    total: int


def short(ctx: ComponentContext) -> str:
    return ctx.name.partition(",")[0].removeprefix("safComp=")


greedy = Greedy()
