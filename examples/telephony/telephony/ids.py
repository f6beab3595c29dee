"""Identifiers that any instance computes alike.

Whatever this server puts on the wire in place of a peer's identifier is a keyed hash of it. So a retransmission that
reaches another instance is the same transaction there, and nobody outside can compute one leg's names from the other's.
"""

import hashlib

BRANCH_MAGIC = "z9hG4bK"  # RFC 3261 section 8.1.1.7


class Ids:
    """The keyed hash. `secret` is the same on every instance; at most 64 bytes of it count."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret[:64]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and other._secret == self._secret

    def __hash__(self) -> int:
        return hash(self._secret)

    def call(self, call_id: str, from_tag: str, cseq: int) -> str:
        """The name of the call that this first INVITE begins."""
        return self._hash("call", call_id, from_tag, str(cseq))

    def call_id(self, call: str) -> str:
        return self._hash("call-id", call)

    def tag(self, call: str, side: str) -> str:
        return self._hash("tag", call, side)

    def branch(self, call: str, side: str, method: str, number: int) -> str:
        """The Via branch of a request sent on `side`; an INVITE and its CANCEL share one."""
        name = "INVITE" if method == "CANCEL" else method
        return BRANCH_MAGIC + self._hash("branch", call, side, name, str(number))

    def number(self, call: str, purpose: str, limit: int) -> int:
        """A number from 0 to `limit` - 1."""
        return int(self._hash(purpose, call), 16) % limit

    def _hash(self, *parts: str) -> str:
        # Every part is preceded by its length, so that no two lists of parts hash alike.
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hashlib.blake2b(text.encode(), key=self._secret, digest_size=10).hexdigest()
