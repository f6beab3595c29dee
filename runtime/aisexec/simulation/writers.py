"""The checkpoint workload: clients that overwrite their own section with growing numbers and note what was answered."""

import random
from dataclasses import dataclass, field
from typing import Any

from aisexec.node import FromClients, NodeEvent
from corosync_amf.ais import NodeId
from corosync_amf.engine import Done, Failed, Request, Service
from corosync_amf.services.ckpt import messages
from corosync_amf.services.ckpt.values import CreationFlags, OpenFlags
from corosync_amf.wire import PROTOCOL, Events, Hello, Refused, Replies, Requests, Welcome, decode, encode

CHECKPOINT = "sim"
HANDLE = 1
SECTION_BYTES_MAX = 4096
REPLY = messages.Opened | messages.SectionCreated | Done | Failed
ATTRIBUTES = messages.Attributes(
    int(CreationFlags.WR_ALL_REPLICAS), 64 * SECTION_BYTES_MAX, None, 64, SECTION_BYTES_MAX, 255, False
)


@dataclass(slots=True)
class Writer:
    """One client on one node. `acknowledged` is the highest number that every replica was said to have."""

    node: NodeId
    client: int
    section: bytes
    rng: random.Random
    number: int = 0
    acknowledged: int = 0
    connected: bool = False
    opened: bool = False
    next_request: int = 1
    written: dict[int, int] = field(default_factory=dict)

    def connect(self) -> list[NodeEvent]:
        """Say hello, open the checkpoint and see to it that the section is there."""
        self.connected, self.opened = True, False
        self.written = {}
        flags = int(OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE)
        hello = FromClients([(self.client, Hello(PROTOCOL, self.client))])
        opening = messages.Open(HANDLE, CHECKPOINT, flags, ATTRIBUTES)
        return [hello, self._request(opening), self._request(messages.CreateSection(HANDLE, self.section, b"0"))]

    def write(self) -> list[NodeEvent]:
        """Write the next number, in one write or a burst of them."""
        events = []
        for _ in range(self.rng.choice((1, 1, 3, 20))):
            self.number += 1
            self.written[self.next_request] = self.number
            data = b"%d " % self.number + bytes(self.rng.choice((0, 10, 1000)))
            events.append(self._request(messages.Overwrite(HANDLE, self.section, data)))
        return events

    def hear(self, frames: list[bytes]) -> None:
        """Note what was answered."""
        for frame in frames:
            value = decode(frame, Welcome | Refused | Replies | Events)
            if isinstance(value, Replies):
                for request, answer in value.items:
                    self._answered(request, decode(answer, REPLY))

    def lost(self) -> None:
        """The connection has ended: what was not answered stays unknown."""
        self.connected = self.opened = False

    def _answered(self, request: int, answer: Any) -> None:
        number = self.written.pop(request, None)
        if isinstance(answer, messages.Opened):
            self.opened = True
        elif number is not None and isinstance(answer, Done):
            self.acknowledged = max(self.acknowledged, number)

    def _request(self, request: Request) -> NodeEvent:
        frame = Requests(Service.CKPT, self.next_request, 1, encode([request]))
        self.next_request += 1
        return FromClients([(self.client, frame)])
