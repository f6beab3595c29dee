"""EVT as applications use it: real sessions on executives in one process, on one node and on three."""

import select
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from corosync_amf import connect, errors, evt
from corosync_amf.ais import DispatchFlags
from corosync_amf.errors import AisError
from corosync_amf.services.clm.engine import ClmEngine
from corosync_amf.services.evt import Callback, ChannelOpenFlags, Event, EventDelivered, Filter, FilterType, LimitId
from corosync_amf.services.evt.engine import EvtEngine

from .loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]

P, S, C = ChannelOpenFlags.PUBLISHER, ChannelOpenFlags.SUBSCRIBER, ChannelOpenFlags.CREATE
ALL = P | S | C


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), EvtEngine()], request.param) as running:
        yield running
        await eventually(lambda: running.states()[0] == running.states()[-1])


def on(cluster: Loopback, node: int = 1, **arguments: Any) -> Any:
    return evt.initialize(address=cluster.nodes[min(node, len(cluster.nodes))].address, **arguments)


async def next_of(source: Any) -> Any:
    with anyio.fail_after(5):
        return await anext(aiter(source))


async def datas(source: Any, count: int) -> list[bytes]:
    return [(await next_of(source)).data_get() for _ in range(count)]


# ---- the normal case


async def test_what_one_node_publishes_another_receives(cluster: Loopback) -> None:
    async with (
        on(cluster, 1) as here,
        on(cluster, 3) as there,
        here.channel_open("alarms", P | C) as publishing,
        there.channel_open("alarms", S) as subscribing,
        subscribing.event_subscribe([Filter(FilterType.PREFIX, "disk")]) as alarms,
    ):
        await publishing.publish(b"ignored", patterns=[b"fan/1"])
        event_id = await publishing.publish(
            b"sda1 full", patterns=[b"disk/sda1"], priority=0, retention_time=60.0, publisher_name="monitor"
        )
        event = await next_of(alarms)
        attributes = event.attributes_get()
        assert event.data_get() == b"sda1 full"
        assert event_id > 1000
        assert attributes == evt.EventAttributes((b"disk/sda1",), 0, 60.0, "monitor", attributes.publish_time, event_id)
        assert attributes.publish_time > 1_700_000_000
        await publishing.event_retention_time_clear(event_id)
        with pytest.raises(errors.NotExist):
            await publishing.event_retention_time_clear(event_id)
