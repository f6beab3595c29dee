"""Protection groups: who has a CSI, and who wants to know.

Source: SAI-AIS-AMF-B.04.01 section 7.8.
"""

from typing import Final

from corosync_amf.ais import Dn, ErrorCode, HaState, TrackFlags
from corosync_amf.engine import Client, Failed, Message

from .messages import Change, ProtectionGroup, ProtectionGroupMember, ProtectionGroupTrack
from .states import View, ha_readiness
from .turn import Turn

Members = dict[Dn, ProtectionGroupMember]
_BOTH: Final = int(TrackFlags.CHANGES | TrackFlags.CHANGES_ONLY)
_KNOWN: Final = int(TrackFlags.CURRENT) | _BOTH


def members(view: View, csi: Dn) -> Members:
    """The components that have the CSI, with what they have confirmed."""
    return {
        comp: ProtectionGroupMember(
            comp, row.state, ha_readiness(view, comp, csi), row.rank if row.state is HaState.STANDBY else 0
        )
        for comp, row in sorted(view.facts.assigned(csi).items())
        if row.confirmed or row.kept
    }


def as_reply(view: View, csi: Dn) -> Message:
    """The present members of a CSI's group."""
    if csi not in view.index.csis:
        return Failed(int(ErrorCode.NOT_EXIST), f"there is no CSI {csi}")
    return ProtectionGroup(csi, tuple(members(view, csi).values()))


def track(turn: Turn, csi: Dn, flags: int, client: Client) -> Message:
    """Begin, or change, tracking; the reply holds the members when CURRENT is asked for."""
    if csi not in turn.index.csis:
        return Failed(int(ErrorCode.NOT_EXIST), f"there is no CSI {csi}")
    if not flags or flags & ~_KNOWN or flags & _BOTH == _BOTH:
        return Failed(int(ErrorCode.BAD_FLAGS), f"flags {flags:#x}: CURRENT and one of CHANGES, CHANGES_ONLY")
    if flags & _BOTH:
        turn.facts.tracks.setdefault(csi, {})[_key(client)] = flags
    found = members(turn.view, csi) if flags & TrackFlags.CURRENT else {}
    return ProtectionGroup(csi, tuple(found.values()))


def stop(turn: Turn, csi: Dn, client: Client) -> Message | None:
    """End tracking; return why not."""
    if csi not in turn.index.csis:
        return Failed(int(ErrorCode.NOT_EXIST), f"there is no CSI {csi}")
    if turn.facts.tracks.get(csi, {}).pop(_key(client), None) is None:
        return Failed(int(ErrorCode.NOT_EXIST), "it is not tracked")
    if not turn.facts.tracks[csi]:
        del turn.facts.tracks[csi]
    return None


def forget(turn: Turn, client: Client) -> None:
    """The client is gone."""
    for csi in [csi for csi, trackers in turn.facts.tracks.items() if _key(client) in trackers]:
        stop(turn, csi, client)


def forget_node(turn: Turn, node: int) -> None:
    """All clients of a node are gone."""
    clients = {_client(key) for trackers in turn.facts.tracks.values() for key in trackers}
    for client in sorted(clients):
        if client.node == node:
            forget(turn, client)


def tracked(view: View) -> dict[Dn, Members]:
    """The members of every group that somebody tracks."""
    return {csi: members(view, csi) for csi in view.facts.tracks}


def tell(turn: Turn, before: dict[Dn, Members]) -> None:
    """Send what has changed since `before`."""
    for csi, old in before.items():
        new = members(turn.view, csi)
        trackers = turn.facts.tracks.get(csi)
        if new == old or not trackers:
            continue
        changed = [_changed(member, old.get(comp)) for comp, member in new.items()]
        removed = [_with(member, Change.REMOVED) for comp, member in old.items() if comp not in new]
        everything = tuple(changed + removed)
        news = tuple(member for member in everything if member.change is not Change.NO_CHANGE)
        for key, flags in trackers.items():
            shown = news if flags & TrackFlags.CHANGES_ONLY else everything
            turn.event(_client(key), ProtectionGroupTrack(csi, shown, len(new)))


def _changed(member: ProtectionGroupMember, old: ProtectionGroupMember | None) -> ProtectionGroupMember:
    if old is None:
        return _with(member, Change.ADDED)
    return member if member == old else _with(member, Change.STATE_CHANGE)


def _with(member: ProtectionGroupMember, change: Change) -> ProtectionGroupMember:
    return ProtectionGroupMember(member.component, member.ha_state, member.ha_readiness_state, member.rank, change)


def _key(client: Client) -> str:
    return f"{client.node} {client.number}"


def _client(key: str) -> Client:
    node, number = key.split()
    return Client(int(node), int(number))
