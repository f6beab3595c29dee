"""Authenticate and encrypt packets: AES-256-GCM with a key for each incarnation of a sender.

AesSeal(authkey, cluster_name, node_id, incarnation)     authkey: the 128 bytes of the key file
NullSeal(cluster_name, node_id, incarnation)             secauth off: a checksum only
"""

from typing import Protocol


class Seal(Protocol):
    def seal(self, kind: int, body: bytes) -> bytes:
        """One datagram from this node."""

    def open(self, datagram: bytes) -> tuple[int, int, int, bytes]:
        """(kind, sender, sender's incarnation, body) of a datagram.

        Raises: Rejected with the reason why it is dropped.
        """
