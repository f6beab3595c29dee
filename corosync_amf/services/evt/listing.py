"""What sessions ask and replicas answer at once: how they are set, and, page by page, what operators see."""

from typing import Final, assert_never

from corosync_amf.engine import Client, Message

from .channels import PUBLISHER, SUBSCRIBER, Channel, Channels, Handle
from .messages import (
    AskSettings,
    ChannelOpener,
    ChannelStatus,
    EvtQuery,
    ListChannels,
    ListOpeners,
    ListRetained,
    Openers,
    RetainedEvent,
    RetainedEvents,
    Settings,
)
from .messages import (
    Channels as ChannelsPage,
)

PAGE: Final = 256


def answer(channels: Channels, settings: Settings, query: EvtQuery) -> Message:
    """The answer to a query. Raises: NotExist."""
    match query:
        case AskSettings():
            return settings
        case ListChannels(after_name):
            names = sorted(name for name in channels.named if name > after_name)
            return ChannelsPage([_status(channels.named[name]) for name in names[:PAGE]])
        case ListOpeners(name, after):
            keyed = sorted(channels.name(name).handles.items(), key=_key)[max(after, 0) :][:PAGE]
            return Openers(
                [
                    ChannelOpener(client.node, client.number, handle.open_flags, len(handle.subscriptions))
                    for (client, _), handle in keyed
                ]
            )
        case ListRetained(name, after):
            events = [event for event in channels.name(name).events() if event.event_id > after]
            return RetainedEvents(
                [
                    RetainedEvent(
                        event.event_id,
                        event.patterns,
                        event.priority,
                        event.publisher_name,
                        event.publish_time,
                        event.until,
                        len(event.data),
                    )
                    for event in events[:PAGE]
                ]
            )
        case _:
            assert_never(query)


def _key(item: tuple[tuple[Client, int], Handle]) -> tuple[Client, int]:
    return item[0]


def _status(channel: Channel) -> ChannelStatus:
    handles = channel.handles.values()
    return ChannelStatus(
        channel.name,
        len(handles),
        sum(bool(handle.open_flags & PUBLISHER) for handle in handles),
        sum(bool(handle.open_flags & SUBSCRIBER) for handle in handles),
        sum(len(handle.subscriptions) for handle in handles),
        sum(map(len, channel.retained)),
        sum(len(event.data) for kept in channel.retained for event in kept.values()),
    )
