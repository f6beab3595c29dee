"""What applications, executives and replicas say to one another about EVS, and the replicated state."""

import msgspec

from corosync_amf.engine import ClientGone, Done

EvsRequest = ClientGone
EvsEvent = Done


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole state of EVS."""
