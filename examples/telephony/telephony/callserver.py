"""The call server as a component: it serves while it is active, and follows the calls while it is standby."""

import os
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from corosync_amf import Assignment, Component, ComponentContext
from telephony import settings
from telephony.ids import Ids
from telephony.model import PREFIX, Call, decode
from telephony.serving import Serving


class CallServer(Component):
    """One checkpoint section per call; with `hot: true` the standby has every call decoded when it is promoted.

    Attributes of the CSI: `address` (the service address), `route` (where calls are sent), `rtp` (range of ports),
    `secret` (the key of all identifiers), `cdr` (file of call detail records), `talk_max` (seconds) and
    `checkpoint: "no"`, which makes this a server that loses its calls, for comparison (so does the environment variable
    TELEPHONY_CHECKPOINT=no).
    """

    def __init__(self) -> None:
        self._records: dict[str, Call] = {}
        self._serving: Serving | None = None

    async def restore(self, ctx: ComponentContext, csi: Assignment, state: Mapping[str, bytes]) -> None:
        self._records = {}
        self._follow(ctx, state)

    async def state_updated(self, ctx: ComponentContext, csi: Assignment, changes: Mapping[str, bytes | None]) -> None:
        self._follow(ctx, changes)

    async def on_active(self, ctx: ComponentContext, csi: Assignment) -> None:
        chosen = settings.read(csi.attributes)
        if os.environ.get("TELEPHONY_CHECKPOINT") == "no":
            chosen = replace(chosen, checkpoint=False)
        if chosen.service.ids == Ids(settings.SECRET.encode()):
            ctx.log.warning("attribute 'secret' has its default: whoever knows it can tell the legs of a call")
        self._serving = await Serving.begin(chosen, ctx, self._records if chosen.checkpoint else {})
        ctx.start(self._serving.run())
        ctx.log.info("serving %s:%d with %d calls", *chosen.service.address, len(self._serving.calls.calls))

    async def on_quiesced(self, ctx: ComponentContext, csi: Assignment) -> None:
        await self._stop()

    async def on_removed(self, ctx: ComponentContext, csi: Assignment) -> None:
        await self._stop()
        self._records = {}

    async def terminate(self, ctx: ComponentContext) -> None:
        await self._stop()

    async def _stop(self) -> None:
        if self._serving is not None:
            serving, self._serving = self._serving, None
            await serving.stop()
            self._records = dict(serving.calls.calls)

    def _follow(self, ctx: ComponentContext, changes: Mapping[str, bytes | None]) -> None:
        for key, value in changes.items():
            name = key.removeprefix(PREFIX)
            if value is None:
                self._records.pop(name, None)
                continue
            try:
                self._records[name] = decode(value)
            except msgspec.MsgspecError as error:
                ctx.log.error("checkpoint section %s is not the record of a call and is left out: %s", key, error)
