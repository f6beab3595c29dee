"""What applications, executives and replicas say to one another about MSG, and the replicated state."""

import msgspec

from corosync_amf.engine import ClientGone, Done

MsgRequest = ClientGone
MsgEvent = Done


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole state of MSG."""
