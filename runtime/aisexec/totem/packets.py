"""What travels between rings, once the seal is off.

DATA and TOKEN are on the hot path and have fixed struct headers; the rest are msgspec structs.

    DATA     one frame: a piece of the total order        TOKEN    the right to send, and what everybody holds
    JOIN     whom a node wants in the next ring           COMMIT   two rounds: collects, then tells, what members hold
    MERGE    a ring shows itself to other partitions      CANCEL   asks who keeps the token to pass it on
    PROBE    do you hear me?    ANSWER   yes              GOODBYE  an orderly leave
    PROMPT   DATA of one who holds all before it, and wants it to be known at once who has it: somebody waits
    ACK      the answer, to all: what the sender of the answer holds without a gap
"""

import struct
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec

from aisexec.groups import RingId
from corosync_amf.ais import NodeId

PROTOCOL: Final = 1

DATA: Final = 1
TOKEN: Final = 2
JOIN: Final = 3
COMMIT: Final = 4
MERGE: Final = 5
PROBE: Final = 6
ANSWER: Final = 7
CANCEL: Final = 8
GOODBYE: Final = 9
PROMPT: Final = 10
ACK: Final = 11

# How the content of a frame is to be read.
BUNDLE: Final = 0  # a msgspec list of payloads
FRAGMENT: Final = 1  # a piece of one large payload; more follow
FRAGMENT_END: Final = 2  # the last piece
RECOVERED: Final = 3  # a whole frame of a former ring, sent again while a new one forms

FRAME: Final = struct.Struct("<QIQIB")  # ring seq, ring representative, seq, origin, content kind
_ACK: Final = struct.Struct("<QIQ")  # ring seq, ring representative, aru
_TOKEN: Final = struct.Struct("<QIQQQIQIQIH")
RTR_MAX: Final = 400
REASON_MAX: Final = 200

_MEMBERS_MAX: Final = 128
_INT64_MAX: Final = (1 << 63) - 1
_INT32_MAX: Final = (1 << 31) - 1

_NodeId = Annotated[int, msgspec.Meta(ge=1, le=(1 << 32) - 1)]
_Seq = Annotated[int, msgspec.Meta(ge=0, le=_INT64_MAX)]
_Incarnation = Annotated[int, msgspec.Meta(ge=0, le=_INT64_MAX)]
_Nodes = Annotated[tuple[_NodeId, ...], msgspec.Meta(max_length=2 * _MEMBERS_MAX)]


class BadPacket(ValueError):
    """An authenticated packet that makes no sense."""


class Join(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node wants.

    number      grows with each join message of an incarnation
    ring_seq    highest ring sequence number known
    fresh       the sender was in no ring yet
    proc, fail  all nodes considered, and those of them given up; both sorted
    reason      in words, why the sender gathers
    gone        nodes known to have left for good, with their incarnation
    last        of the nodes given up: incarnation and number of the last join message that came from them
    """

    number: _Seq
    ring_seq: _Seq
    fresh: bool
    proc: _Nodes
    fail: _Nodes
    reason: Annotated[str, msgspec.Meta(max_length=REASON_MAX)] = ""
    gone: Annotated[tuple[tuple[_NodeId, _Incarnation], ...], msgspec.Meta(max_length=2 * _MEMBERS_MAX)] = ()
    last: Annotated[tuple[tuple[_NodeId, _Incarnation, _Seq], ...], msgspec.Meta(max_length=2 * _MEMBERS_MAX)] = ()


class Entry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What one member brings to a new ring: its former ring, all it holds of it up to `aru`, something up to `high`."""

    node: _NodeId
    incarnation: _Incarnation = 0
    window_bytes: _Seq = 0
    old_ring_seq: _Seq = 0
    old_representative: Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)] = 0
    aru: _Seq = 0
    high: _Seq = 0

    @property
    def old_ring_id(self) -> RingId | None:
        """None for a node that was in no ring yet."""
        return RingId(self.old_ring_seq, self.old_representative) if self.old_representative else None


class Commit(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The commit token. `hop` counts its steps: member i fills its entry at hop i and reads all at hop i + n."""

    ring_seq: _Seq
    hop: Annotated[int, msgspec.Meta(ge=0, le=2 * _MEMBERS_MAX)]
    entries: Annotated[tuple[Entry, ...], msgspec.Meta(min_length=1, max_length=_MEMBERS_MAX)]

    @property
    def ring_id(self) -> RingId:
        return RingId(self.ring_seq, self.entries[0].node)

    @property
    def members(self) -> tuple[NodeId, ...]:
        return tuple(entry.node for entry in self.entries)


class Merge(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    ring_seq: _Seq


class Probe(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """PROBE: do you hear me? `time` is the prober's clock."""

    time: float


class Answer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """ANSWER: `time` as it came in the probe, and the ring that the answering node has installed."""

    time: float
    ring_seq: _Seq
    representative: NodeId


@dataclass(slots=True)
class Token:
    """The papers' token. `hop` grows with every step; `aru` is what all are known to hold, `aru_id` who lowered it
    (0: nobody); `rtr` are the frames somebody misses. `sent_*` count the last rotation, `backlog_bytes` what waits
    to be sent at all members, `pending` the frames of former rings still to be sent again."""

    ring_id: RingId
    hop: int = 0
    seq: int = 0
    aru: int = 0
    aru_id: NodeId = 0
    sent_bytes: int = 0
    sent_packets: int = 0
    backlog_bytes: int = 0
    pending: int = 0
    rtr: list[int] = field(default_factory=list)

    def pack(self) -> bytes:
        ring_id, rtr = self.ring_id, self.rtr
        head = _TOKEN.pack(
            ring_id.seq, ring_id.representative, self.hop, self.seq, self.aru, self.aru_id, self.sent_bytes,
            self.sent_packets, self.backlog_bytes, self.pending, len(rtr),
        )  # fmt: skip
        return head + struct.pack(f"<{len(rtr)}Q", *rtr) if rtr else head


def requests_max(packet_bytes_max: int) -> int:
    """How many missing frames a token may ask for so that it fits into a datagram."""
    return min(RTR_MAX, (packet_bytes_max - _TOKEN.size - 64) // 8)


def unpack_token(body: bytes) -> Token:
    """Raises: BadPacket."""
    if len(body) < _TOKEN.size:
        raise BadPacket("token cut short")
    ring_seq, rep, hop, seq, aru, aru_id, sent, packets, backlog, pending, count = _TOKEN.unpack_from(body)
    if len(body) != _TOKEN.size + 8 * count or count > RTR_MAX or aru > seq:
        raise BadPacket("token contradicts itself")
    if max(hop, seq, sent, backlog) > _INT64_MAX or max(packets, pending) > _INT32_MAX:
        raise BadPacket("token with numbers that could not grow any more")
    rtr = list(struct.unpack_from(f"<{count}Q", body, _TOKEN.size)) if count else []
    return Token(RingId(ring_seq, rep), hop, seq, aru, aru_id, sent, packets, backlog, pending, rtr)


_CONTROL: Final[dict[int, msgspec.msgpack.Decoder[Any]]] = {
    JOIN: msgspec.msgpack.Decoder(Join),
    COMMIT: msgspec.msgpack.Decoder(Commit),
    MERGE: msgspec.msgpack.Decoder(Merge),
    PROBE: msgspec.msgpack.Decoder(Probe),
    ANSWER: msgspec.msgpack.Decoder(Answer),
}
_encoder: Final = msgspec.msgpack.Encoder()
_bundle_decoder: Final = msgspec.msgpack.Decoder(list[bytes])

Control = Join | Commit | Merge | Probe | Answer


def pack_ack(ring_id: RingId, aru: int) -> bytes:
    return _ACK.pack(ring_id.seq, ring_id.representative, aru)


def unpack_ack(body: bytes) -> tuple[RingId, int]:
    """Raises: BadPacket."""
    if len(body) != _ACK.size:
        raise BadPacket("acknowledgement of a wrong length")
    ring_seq, representative, aru = _ACK.unpack(body)
    return RingId(ring_seq, representative), aru


def pack_control(message: Control) -> bytes:
    return _encoder.encode(message)


def unpack_control(kind: int, body: bytes) -> Control | None:
    """None for the kinds that have no body (CANCEL, GOODBYE).

    Raises: BadPacket.
    """
    if kind in (CANCEL, GOODBYE):
        return None
    try:
        message: Control = _CONTROL[kind].decode(body)
    except (KeyError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadPacket(str(error)) from None
    if isinstance(message, Commit):
        members = message.members
        if list(members) != sorted(set(members)) or message.hop > 2 * len(members):
            raise BadPacket("commit token contradicts itself")
    return message


def pack_bundle(payloads: list[bytes]) -> bytes:
    return _encoder.encode(payloads)


def unpack_bundle(content: bytes | memoryview) -> list[bytes]:
    """Raises: BadPacket."""
    try:
        return _bundle_decoder.decode(content)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BadPacket(str(error)) from None
