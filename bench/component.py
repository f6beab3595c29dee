"""The smallest stateful component, for benchmarks."""

from collections.abc import Mapping

import anyio

from corosync_amf.component import Assignment, Component, ComponentContext


class Bench(Component):
    """Writes a number now and then."""

    number = 0

    async def restore(self, ctx: ComponentContext, csi: Assignment, state: Mapping[str, int]) -> None:
        self.number = state.get("number", 0)

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        ctx.start(self.count(ctx))

    async def count(self, ctx: ComponentContext) -> None:
        while True:
            self.number += 1
            await ctx.checkpoint("number", self.number)
            await anyio.sleep(0.05)
