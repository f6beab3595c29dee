"""A component that counts: each number is checkpointed, then written to a journal."""

from collections.abc import Mapping
from pathlib import Path

import anyio

from corosync_amf.component import Assignment, Component, ComponentContext


class Ledger(Component):
    """Appends 1, 2, 3, ... to the file that its CSI names, each after its checkpoint was acknowledged."""

    total = 0

    async def restore(self, ctx: ComponentContext, csi: Assignment, state: Mapping[str, int]) -> None:
        self.total = state.get("total", 0)

    async def state_updated(self, ctx: ComponentContext, csi: Assignment, changes: Mapping[str, int | None]) -> None:
        self.total = changes.get("total") or self.total

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        ctx.start(self.count(ctx, Path(csi.attributes["file"][0])))

    async def count(self, ctx: ComponentContext, journal: Path) -> None:
        while True:
            total = self.total + 1
            await ctx.checkpoint("total", total)
            self.total = total
            with journal.open("a") as file:
                file.write(f"{total}\n")
            await anyio.sleep(0.02)
