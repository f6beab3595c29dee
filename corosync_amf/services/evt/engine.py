"""EVT as a replicated state machine.

Source: SAI-AIS-EVT-B.03.01.
"""

from typing import Any, ClassVar

import msgspec

from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import Client, Effect, Failed, Membership, Message, Origin, Service

from . import messages as m


class EvtEngine:
    """See the module."""

    service: ClassVar[Service] = Service.EVT
    request_type: ClassVar[Any] = m.EvtRequest
    query_type: ClassVar[Any] = None
    snapshot_type: ClassVar[type[msgspec.Struct]] = m.Snapshot
    remnant_type: ClassVar[Any] = None

    def apply(self, message: Any, origin: Origin) -> list[Effect]:
        """See `Engine`."""
        return []

    def query(self, message: Any, client: Client) -> Message:
        """See `Engine`."""
        return Failed(ErrorCode.NOT_SUPPORTED)

    def membership(self, change: Membership) -> list[Effect]:
        """See `Engine`."""
        return []

    def snapshot(self) -> m.Snapshot:
        """See `Engine`."""
        return m.Snapshot()

    def restore(self, snapshot: m.Snapshot) -> None:
        """See `Engine`."""

    def remnant(self, node: NodeId) -> None:
        """See `Engine`."""

    def merge(self, remnant: Any, origin: Origin) -> list[Effect]:
        """See `Engine`."""
        return []
