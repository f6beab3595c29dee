"""Authenticate and encrypt packets.

    AesSeal(authkey, cluster_name, node_id, incarnation)     AES-256-GCM, or another `Suite`; authkey: the 128 bytes of
                                                             the key file
    NullSeal(cluster_name, node_id, incarnation)             secauth off: a checksum, no protection

A datagram is a clear header (protocol, kind, sender, its incarnation, a counter), then the sealed body. Each
incarnation of each sender has a key of its own, so that the counter alone makes nonces unique; the header is
authenticated with the body. A counter is accepted once, and a sender's incarnation never goes backwards.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from aisexec.totem.packets import PROTOCOL
from corosync_amf.ais import NodeId

MAGIC: Final = b"AX"
HEADER: Final = struct.Struct("<2sBBIQQ")  # magic, protocol, kind, sender, incarnation, counter
_NONCE: Final = struct.Struct("<4sQ")
_CHECKSUM: Final = struct.Struct("<I")
TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = HEADER.size + TAG_BYTES
AUTHKEY_BYTES: Final = 128
SENDERS_MAX: Final = 512

_REPLAY_BITS: Final = 1024
_REPLAY_MASK: Final = (1 << _REPLAY_BITS) - 1

Reason = Literal["garbage", "truncated", "protocol", "digest", "replayed", "stale"]
Opened = tuple[int, NodeId, int, bytes]


class Rejected(Exception):
    """A datagram that is not to be looked at. `text` is for the log line."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason: Reason = reason
        self.text = text


class Seal(Protocol):
    def seal(self, kind: int, body: bytes) -> bytes:
        """One datagram from this node."""

    def open(self, datagram: bytes) -> Opened:
        """(kind, sender, sender's incarnation, body) of a datagram.

        Raises: Rejected with the reason why it is dropped.
        """


class _Aead(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes: ...
    def decrypt(self, nonce: bytes, data: memoryview, associated_data: memoryview) -> bytes: ...


class _Authenticator:
    """Cipher `none`: the body stays readable, AES-GCM makes nothing but its tag."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        return data + self._aead.encrypt(nonce, b"", associated_data + data)

    def decrypt(self, nonce: bytes, data: memoryview, associated_data: memoryview) -> bytes:
        body = bytes(data[:-TAG_BYTES])
        self._aead.decrypt(nonce, data[-TAG_BYTES:], bytes(associated_data) + body)
        return body


_CIPHERS: Final[dict[str, Callable[[bytes], _Aead]]] = {
    "aes256": AESGCM,
    "aes128": lambda key: AESGCM(key[:16]),
    "chacha20": ChaCha20Poly1305,
    "none": _Authenticator,
}
_HASHES: Final[dict[str, Callable[[], HashAlgorithm]]] = {"sha256": SHA256, "sha384": SHA384, "sha512": SHA512}


@dataclass(frozen=True, slots=True)
class Suite:
    """What seals packets, the same on all nodes.

    cipher      aes256, aes128, chacha20; none: packets are authenticated, and anybody can read them
    digest      sha256, sha384, sha512: how keys are derived
    """

    cipher: str = "aes256"
    digest: str = "sha256"


USUAL: Final = Suite()


def _read_header(datagram: bytes, overhead: int) -> tuple[int, NodeId, int, int]:
    if datagram[:2] != MAGIC:
        raise Rejected("garbage", "not a packet of this protocol")
    if len(datagram) >= 3 and datagram[2] != PROTOCOL:
        raise Rejected("protocol", f"Protocol {datagram[2]} refused, this node speaks {PROTOCOL}:")
    if len(datagram) < overhead:
        raise Rejected("truncated", "packet cut short")
    _, _, kind, sender, incarnation, counter = HEADER.unpack_from(datagram)
    return kind, sender, incarnation, counter


class _Key:
    """The key of one incarnation of one sender, and which of its counters were seen."""

    __slots__ = ("aead", "highest", "incarnation", "salt", "seen")

    def __init__(self, authkey: bytes, cluster_name: str, sender: NodeId, incarnation: int, suite: Suite) -> None:
        purpose = struct.pack("<BIQ", PROTOCOL, sender, incarnation) + f"{suite.cipher}/{cluster_name}".encode()
        derive = HKDF(_HASHES[suite.digest](), 36, salt=None, info=b"corosync-amf ring" + purpose).derive
        material = derive(authkey)
        self.aead = _CIPHERS[suite.cipher](material[:32])
        self.salt = material[32:]
        self.incarnation = incarnation
        self.highest = 0
        self.seen = 0

    def is_new(self, counter: int) -> bool:
        behind = self.highest - counter
        return behind < 0 or (behind < _REPLAY_BITS and not self.seen >> behind & 1)

    def note(self, counter: int) -> None:
        ahead = counter - self.highest
        if ahead <= 0:
            self.seen |= 1 << -ahead
        else:
            self.seen = (self.seen << ahead | 1) & _REPLAY_MASK if ahead < _REPLAY_BITS else 1
            self.highest = counter


class AesSeal:
    """Raises: ValueError for an authkey of another length than 128 bytes."""

    def __init__(
        self, authkey: bytes, cluster_name: str, node_id: NodeId, incarnation: int, suite: Suite = USUAL
    ) -> None:
        if len(authkey) != AUTHKEY_BYTES:
            raise ValueError(f"the authkey has {len(authkey)} bytes, not {AUTHKEY_BYTES}")
        self._authkey = authkey
        self._cluster_name = cluster_name
        self._node_id = node_id
        self._incarnation = incarnation
        self._suite = suite
        self._own = _Key(authkey, cluster_name, node_id, incarnation, suite)
        self._counter = 0
        self._senders: dict[NodeId, _Key] = {}

    def seal(self, kind: int, body: bytes) -> bytes:
        """One datagram from this node."""
        self._counter = counter = self._counter + 1
        header = HEADER.pack(MAGIC, PROTOCOL, kind, self._node_id, self._incarnation, counter)
        own = self._own
        return header + own.aead.encrypt(_NONCE.pack(own.salt, counter), body, header)

    def open(self, datagram: bytes) -> Opened:
        """(kind, sender, sender's incarnation, body); raises Rejected."""
        kind, sender, incarnation, counter = _read_header(datagram, OVERHEAD_BYTES)
        known = key = self._senders.get(sender)
        if key is None or key.incarnation != incarnation:
            if key is not None and incarnation < key.incarnation:
                raise Rejected("stale", f"node {sender} sent as an incarnation that is over")
            key = _Key(self._authkey, self._cluster_name, sender, incarnation, self._suite)
        elif not key.is_new(counter):
            raise Rejected("replayed", f"packet {counter} of node {sender} came again")
        view = memoryview(datagram)
        try:
            body = key.aead.decrypt(_NONCE.pack(key.salt, counter), view[HEADER.size :], view[: HEADER.size])
        except InvalidTag:
            raise Rejected("digest", "Invalid digest") from None
        key.note(counter)
        if key is not known:
            if known is None and len(self._senders) >= SENDERS_MAX:
                del self._senders[next(iter(self._senders))]
            self._senders[sender] = key
        return kind, sender, incarnation, body


class NullSeal:
    """No authentication, no secrecy, no protection against replay: for closed networks and the simulator."""

    def __init__(self, cluster_name: str, node_id: NodeId, incarnation: int) -> None:
        self._start = zlib.crc32(cluster_name.encode())
        self._node_id = node_id
        self._incarnation = incarnation
        self._counter = 0
        self._senders: dict[NodeId, int] = {}

    def seal(self, kind: int, body: bytes) -> bytes:
        """One datagram from this node."""
        self._counter += 1
        packet = HEADER.pack(MAGIC, PROTOCOL, kind, self._node_id, self._incarnation, self._counter) + body
        return packet + _CHECKSUM.pack(zlib.crc32(packet, self._start))

    def open(self, datagram: bytes) -> Opened:
        """(kind, sender, sender's incarnation, body); raises Rejected."""
        kind, sender, incarnation, _ = _read_header(datagram, HEADER.size + _CHECKSUM.size)
        end = len(datagram) - _CHECKSUM.size
        if zlib.crc32(memoryview(datagram)[:end], self._start) != _CHECKSUM.unpack_from(datagram, end)[0]:
            raise Rejected("digest", "Invalid digest")
        known = self._senders.get(sender, 0)
        if incarnation != known:
            if incarnation < known:
                raise Rejected("stale", f"node {sender} sent as an incarnation that is over")
            if not known and len(self._senders) >= SENDERS_MAX:
                del self._senders[next(iter(self._senders))]
            self._senders[sender] = incarnation
        return kind, sender, incarnation, datagram[HEADER.size : end]
