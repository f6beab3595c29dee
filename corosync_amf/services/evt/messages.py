"""What applications, executives and replicas say to one another about EVT, and the replicated state."""

import msgspec

from corosync_amf.engine import ClientGone, Done

EvtRequest = ClientGone
EvtEvent = Done


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole state of EVT."""
