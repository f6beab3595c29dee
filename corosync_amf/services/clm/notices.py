"""What the notification service is told of nodes: class 18568.3, minor ids 0x65 join, 0x66 leave, 0x68 admin state.

0x67 (reconfigured) is not sent: what a node says of itself stays as it is while the node is a member.

Source: SAI-AIS-CLM-B.04.01 chapter 5.
"""

from enum import IntEnum
from typing import Final

from corosync_amf.engine import Forward, NodeFacts, Notice, Service

from .values import ClusterChange
from .views import dn_of, named

OBJECT_STATE_CHANGE: Final = 0x3001
JOIN, LEAVE, ADMIN_STATE = 0x65, 0x66, 0x68
CLUSTER_CHANGE_STATUS_ID, ADMIN_STATE_ID = 1, 2
"""SaClmStateT."""
NOTIFYING_OBJECT: Final = "safApp=safClmService"


class AdminState(IntEnum):
    """SaClmAdminStateT."""

    UNLOCKED = 1
    LOCKED = 2
    SHUTTING_DOWN = 3


def joined(facts: NodeFacts, reason: str) -> Forward:
    """A node has become a member."""
    states = ((CLUSTER_CHANGE_STATUS_ID, None, int(ClusterChange.JOINED)),)
    return _notice(JOIN, facts.name, f"{named(facts)} joined the cluster: {reason}", states)


def left(facts: NodeFacts, reason: str) -> Forward:
    """A node is a member no more."""
    states = ((CLUSTER_CHANGE_STATUS_ID, None, int(ClusterChange.LEFT)),)
    return _notice(LEAVE, facts.name, f"{named(facts)} left the cluster: {reason}", states)


def administered(name: str, state: AdminState) -> Forward:
    """An operator has changed the administrative state of a node."""
    text = f"node {name} is {state.name} by an operator"
    return _notice(ADMIN_STATE, name, text, ((ADMIN_STATE_ID, None, int(state)),))


def _notice(minor: int, name: str, text: str, states: tuple[tuple[int, int | None, int], ...]) -> Forward:
    notice = Notice(OBJECT_STATE_CHANGE, dn_of(name), NOTIFYING_OBJECT, (18568, 3, minor), text, states=states)
    return Forward(Service.NTF, notice)
