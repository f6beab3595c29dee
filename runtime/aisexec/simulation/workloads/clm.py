"""A tracker on every node, which notes each view it is told of.

What must hold:

    numbers      grow with each view, by one unless partitions have met again
    changes      a node joins only if it was no member, leaves only if it was one, and then is not shown again
    one history  trackers that are together are told the same views, and all have the same one in the end
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from aisexec.node import NodeEvent
from aisexec.simulation.callers import Caller
from corosync_amf.ais import NodeId, TrackFlags
from corosync_amf.engine import Done, Engine, Failed, Service
from corosync_amf.services.clm import messages as m
from corosync_amf.services.clm.values import ClusterChange, ClusterView

FLAGS: Final = int(TrackFlags.CURRENT | TrackFlags.CHANGES)
MET: Final = ("met again", "from another partition")
"""In the reason of a view that may leave numbers out."""


@dataclass(slots=True)
class Tracker:
    """What one connection was told: the present number and members, and each view as (number, members)."""

    node: NodeId
    client: int
    number: int = 0
    members: frozenset[NodeId] = frozenset()
    views: list[tuple[int, frozenset[NodeId]]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def begins(self, view: ClusterView) -> None:
        self.number, self.members = view.view_number, members_of(view)
        self.views.append((self.number, self.members))

    def told(self, event: m.Tracked) -> None:
        view, number = event.view, event.view.view_number
        if number <= self.number:
            self._fault(f"view {number} after view {self.number}")
        elif number != self.number + 1 and not any(words in event.reason for words in MET):
            self._fault(f"view {number} after view {self.number}, although nothing was missed: {event.reason}")
        members = set(self.members)
        for each in view.notifications:
            node = each.cluster_node.node_id
            match each.cluster_change:
                case ClusterChange.JOINED:
                    if node in members:
                        self._fault(f"view {number}: node {node} joins, but it is a member")
                    members.add(node)
                case ClusterChange.LEFT:
                    if node not in members or each.cluster_node.member:
                        self._fault(f"view {number}: node {node} leaves, but it is no member")
                    members.discard(node)
                case _:
                    if node not in members:
                        self._fault(f"view {number}: node {node} has not changed, but it was no member")
        shown = members_of(view)
        if members != shown or len(shown) != view.number_of_members:
            self._fault(f"view {number} shows {sorted(shown)}, its changes make {sorted(members)}")
        self.number, self.members = number, shown
        self.views.append((number, shown))

    def _fault(self, text: str) -> None:
        self.faults.append(f"tracker {self.client} on node {self.node}: {text}")


def members_of(view: ClusterView) -> frozenset[NodeId]:
    """The members that a view with all nodes shows."""
    return frozenset(each.cluster_node.node_id for each in view.notifications if each.cluster_node.member)


def differences(trackers: Sequence[Tracker]) -> list[str]:
    """Trackers that are together in the end, and were told different views under one number while they were."""
    faults: list[str] = []
    for one, other in pairwise(trackers):
        theirs = dict(other.views)
        for number, members in reversed(one.views):
            if number not in theirs or one.node not in theirs[number] or other.node not in members:
                break  # before that they were apart
            if theirs[number] != members:
                text = (
                    f"view {number} is {sorted(members)} on node {one.node}, {sorted(theirs[number])} on {other.node}"
                )
                faults.append(text)
    return faults


class ClmWorkload:
    """See the module, and `Workload`."""

    service: Service = Service.CLM

    def __init__(self, nodes: Sequence[NodeId], rng: random.Random) -> None:
        self.faults: list[str] = []
        self._rng = rng
        self._callers = {node: Caller(node, Service.CLM, m.View | m.Node | Done | Failed, m.ClmEvent) for node in nodes}
        self._trackers: dict[NodeId, Tracker] = {}
        self._asked_last: set[NodeId] = set()

    def connect(self, node: NodeId, client: int, now: float) -> list[NodeEvent]:
        caller = self._callers[node]
        self._trackers[node] = Tracker(node, client)
        self._asked_last.discard(node)
        return [caller.connect(client), caller.request(m.Track(FLAGS))]

    def work(self, node: NodeId, now: float) -> list[NodeEvent]:
        caller = self._callers[node]
        if len(caller.asked) > 10:
            return []
        return [caller.query(m.GetView(int(TrackFlags.CURRENT)))]

    def hear(self, node: NodeId, frames: Sequence[bytes], now: float) -> list[NodeEvent]:
        tracker = self._trackers[node]
        for asked, answer in self._callers[node].hear(frames):
            match asked, answer:
                case m.Track(), m.View(view):
                    tracker.begins(view)
                case None, m.Tracked():
                    tracker.told(answer)
                case m.GetView(), m.View(view):
                    self._compare(tracker, view)
                case _, Failed(_, reason) if not isinstance(asked, m.GetView):
                    self.faults.append(f"tracker on node {node}: {type(asked).__name__} was refused: {reason}")
                case _:
                    pass
        return []

    def _compare(self, tracker: Tracker, view: ClusterView) -> None:
        """The answer to a question agrees with what was told before it."""
        if tracker.number and tracker.number == view.view_number and tracker.members != members_of(view):
            self.faults.append(f"node {tracker.node}: view {view.view_number} was told otherwise")

    def lost(self, node: NodeId, now: float) -> None:
        self._callers[node].lost()
        tracker = self._trackers.pop(node, None)
        if tracker is not None:
            self.faults += tracker.faults

    def finish(self, node: NodeId, now: float) -> list[NodeEvent]:
        caller = self._callers[node]
        if caller.asked or node in self._asked_last:
            return []
        self._asked_last.add(node)
        return [caller.query(m.GetView(int(TrackFlags.CURRENT)))]

    def is_settled(self) -> bool:
        return all(node in self._asked_last and not caller.asked for node, caller in self._callers.items())

    def check(self, engines: Mapping[NodeId, Engine]) -> list[str]:
        trackers = [self._trackers[node] for node in sorted(self._trackers)]
        faults = self.faults + [fault for tracker in trackers for fault in tracker.faults] + differences(trackers)
        snapshot: Any = engines[min(engines)].snapshot()
        final = (snapshot.view_number, frozenset(record.facts.node_id for record in snapshot.ring))
        for tracker in trackers:
            if (tracker.number, tracker.members) != final:
                told = f"view {tracker.number} of {sorted(tracker.members)}"
                faults.append(f"node {tracker.node} was last told {told}, it is view {final[0]} of {sorted(final[1])}")
        return faults
