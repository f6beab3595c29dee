"""The smallest service: a replicated list of lines. For tests of what hosts engines."""

from typing import Any, ClassVar

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import (
    Alarm,
    Client,
    ClientGone,
    Done,
    Effect,
    Event,
    Membership,
    Message,
    Origin,
    Query,
    Reply,
    Request,
    Service,
)


class Append(Request, frozen=True):
    line: str
    safe: bool = False


class Grant(Request, frozen=True):
    """Tell client 1 of this node, when it is firm."""

    node: NodeId
    line: str


class AppendLater(Request, frozen=True):
    line: str
    delay: float


class Count(Query, frozen=True):
    pass


class Counted(Message, frozen=True):
    count: int


class Noted(Message, frozen=True):
    line: str


class LedgerSnapshot(msgspec.Struct, frozen=True, array_like=True):
    lines: list[str]


class LedgerEngine:
    service: ClassVar[Service] = Service.CKPT
    request_type: ClassVar[Any] = Append | Grant | AppendLater | ClientGone
    query_type: ClassVar[Any] = Count
    snapshot_type: ClassVar[type[msgspec.Struct]] = LedgerSnapshot
    remnant_type: ClassVar[Any] = LedgerSnapshot

    def __init__(self) -> None:
        self.lines: list[str] = []

    def apply(self, message: Any, origin: Origin) -> list[Effect]:
        match message:
            case Append(line, safe):
                self.lines.append(line)
                return [Event(origin.client, Noted(line)), Reply(origin, Done(), safe)]
            case Grant(node, line):
                return [Event(Client(node, 1), Noted(line), firm=True), Reply(origin, Done())]
            case AppendLater(line, delay):
                return [Alarm(line, delay, Append(line)), Reply(origin, Done())]
            case ClientGone():
                self.lines.append(f"gone {origin.client.node}/{origin.client.number}")
                return []
            case _:
                raise AssertionError(message)

    def query(self, message: Any, client: Client) -> Message:
        return Counted(len(self.lines))

    def membership(self, change: Membership) -> list[Effect]:
        return []

    @property
    def highest(self) -> int:
        return len(self.lines)

    def snapshot(self) -> LedgerSnapshot:
        return LedgerSnapshot(list(self.lines))

    def restore(self, snapshot: LedgerSnapshot) -> None:
        self.lines = list(snapshot.lines)

    def remnant(self, node: NodeId) -> LedgerSnapshot | None:
        kept = [said for line in self.lines if (said := _said(line)).startswith("keep")]
        return LedgerSnapshot(kept) if kept else None

    def merge(self, remnant: LedgerSnapshot, origin: Origin) -> list[Effect]:
        known = set(map(_said, self.lines))
        self.lines += [f"{origin.client.node} brings {line}" for line in remnant.lines if line not in known]
        return []


def _said(line: str) -> str:
    return line.rpartition(" brings ")[2]
