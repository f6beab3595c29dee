"""A subscriber of the event benchmark: it counts events until the last one, and says now and then how many it got."""

import anyio

from bench.evt import CHANNEL, LAST, QUEUE_LENGTH, STEP
from bench.workers import answer, options
from corosync_amf.services import evt


async def _follow(address: str) -> None:
    count = 0
    async with (
        evt.initialize(address=address) as service,
        service.channel_open(CHANNEL, evt.ChannelOpenFlags.SUBSCRIBER) as channel,
        channel.event_subscribe(queue_length=QUEUE_LENGTH) as subscription,
    ):
        answer(count=0)
        async for event in subscription:
            if event.data_get() == LAST:
                break
            count += 1
            if count % STEP == 0:
                answer(count=count)
        answer(count=count, is_last=1)


if __name__ == "__main__":
    anyio.run(_follow, options()["address"])
