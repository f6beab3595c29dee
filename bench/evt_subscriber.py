"""A subscriber of the event benchmark: it counts events until the last one, and prints how many it got."""

import sys

import anyio

from bench.evt import CHANNEL, LAST, QUEUE_LENGTH
from corosync_amf.services import evt


async def _follow(address: str) -> None:
    count = 0
    async with (
        evt.initialize(address=address) as service,
        service.channel_open(CHANNEL, evt.ChannelOpenFlags.SUBSCRIBER) as channel,
        channel.event_subscribe(queue_length=QUEUE_LENGTH) as subscription,
    ):
        print("ready", flush=True)
        async for event in subscription:
            if event.data_get() == LAST:
                break
            count += 1
        print(count, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    anyio.run(_follow, sys.argv[1])
