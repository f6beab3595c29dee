"""A client of a service in a simulated cluster: it numbers its requests and pairs the answers. Pure."""

from collections.abc import Sequence
from typing import Any

from aisexec.node import FromClients, NodeEvent
from corosync_amf.ais import NodeId
from corosync_amf.engine import Message, Query, Request, Service
from corosync_amf.wire import PROTOCOL, Ask, Events, Hello, Refused, Replies, Requests, Welcome, decode, encode

Heard = tuple[Message | None, Any]
"""(what was asked, the answer), or (None, event)."""


class Caller:
    """`asked` are the requests and queries that have not been answered; `client` is 0 while it is not connected."""

    def __init__(self, node: NodeId, service: Service, replies: Any, events: Any) -> None:
        self.node = node
        self.service = service
        self.client = 0
        self.asked: dict[int, Message] = {}
        self._replies = replies
        self._events = events
        self._next_request = 1
        self._next_query = -1

    def connect(self, client: int) -> NodeEvent:
        """A new connection."""
        self.client = client
        self._next_request, self._next_query = 1, -1
        self.asked = {}
        return FromClients([(client, Hello(PROTOCOL, client))])

    def request(self, *messages: Request) -> NodeEvent:
        """Requests in one bundle."""
        first = self._next_request
        self._next_request += len(messages)
        self.asked |= dict(enumerate(messages, first))
        frame = Requests(self.service, first, len(messages), encode(list(messages)))
        return FromClients([(self.client, frame)])

    def query(self, message: Query) -> NodeEvent:
        """A question to the local replica."""
        number = self._next_query
        self._next_query -= 1
        self.asked[number] = message
        return FromClients([(self.client, Ask(self.service, number, encode(message)))])

    def hear(self, frames: Sequence[bytes]) -> list[Heard]:
        """What the executive says, in its order."""
        heard: list[Heard] = []
        for frame in frames:
            value = decode(frame, Welcome | Refused | Replies | Events)
            if isinstance(value, Replies):
                heard += [(self.asked.pop(number, None), decode(raw, self._replies)) for number, raw in value.items]
            elif isinstance(value, Events):
                heard += [(None, decode(raw, self._events)) for _, raw in value.items]
        return heard

    def lost(self) -> list[Message]:
        """The connection has ended; returned is what was asked and will not be answered."""
        unanswered = list(self.asked.values())
        self.client, self.asked = 0, {}
        return unanswered
