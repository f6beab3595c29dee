"""EVS and CPG where a partition gives way: what was not safe there is never delivered as if it had been."""

from itertools import groupby

from aisexec.node import FromClients
from aisexec.outbox import ToClient
from aisexec.simulation.ideal import IdealCluster
from corosync_amf.ais import NodeId
from corosync_amf.engine import Request, Service
from corosync_amf.messaging import pack, unpack
from corosync_amf.services.cpg import messages as c
from corosync_amf.services.cpg.engine import CpgEngine
from corosync_amf.services.cpg.values import Reason
from corosync_amf.services.evs import messages as e
from corosync_amf.services.evs.engine import TRANSITIONAL, EvsEngine
from corosync_amf.wire import PROTOCOL, Events, Hello, Replies, Requests, Welcome, decode, encode

EVS, CPG = 1, 2
"""The clients of each node, one for each service."""


class Groups:
    """Three nodes together, with one client of EVS and one of CPG on each, all in the group `g`."""

    def __init__(self) -> None:
        self.cluster = IdealCluster(lambda _: [EvsEngine(), CpgEngine()])
        self._asked = 0
        for node in (1, 2, 3):
            self.cluster.start(node)
        self.together()
        for node in (1, 2, 3):
            self.cluster.tell(node, FromClients([(client, Hello(PROTOCOL, 100)) for client in (EVS, CPG)]))
            self.ask(node, EVS, e.Open(), e.Join((b"g",)))
            self.ask(node, CPG, c.Join(b"g", node))
        self.cluster.deliver()

    def together(self) -> None:
        self.cluster.arrange((1, 2, 3))
        self.cluster.deliver()

    def ask(self, node: NodeId, client: int, *requests: Request) -> None:
        service = Service.EVS if client == EVS else Service.CPG
        self._asked += 100
        frame = Requests(service, self._asked, len(requests), encode(list(requests)))
        self.cluster.tell(node, FromClients([(client, frame)]))

    def told(self, node: NodeId, client: int) -> list[e.EvsEvent | c.CpgEvent]:
        """The events of a client, oldest first."""
        kind = e.EvsEvent if client == EVS else c.CpgEvent
        sent = [each for each in self.cluster.effects[node] if isinstance(each, ToClient) and each.client == client]
        frames = [decode(frame, Welcome | Replies | Events) for each in sent for frame in each.frames]
        return [decode(raw, kind) for frame in frames if isinstance(frame, Events) for _, raw in frame.items]

    def story(self, node: NodeId) -> list[tuple[int, ...] | list[bytes]]:
        """What the EVS client was told: members, negative in a transitional configuration, and messages."""
        story: list[tuple[int, ...] | list[bytes]] = []
        for is_message, run in groupby(self.told(node, EVS), lambda event: isinstance(event, e.Messages)):
            if is_message:
                story.append([name for each in run if isinstance(each, e.Messages) for name in names(each)])
            else:
                story += [members(each) for each in run if isinstance(each, e.Changed)]
        return story


def names(event: e.Messages) -> list[bytes]:
    return unpack(event.data, event.count)


def members(event: e.Changed) -> tuple[int, ...]:
    return tuple(-node if event.kind == TRANSITIONAL else node for node in event.members)


def safe(name: bytes) -> e.Multicast:
    return e.Multicast(None, True, 1, pack([name]))


def cut_off_with_what_is_not_safe() -> Groups:
    """Node 1 is cut off when something was delivered and not known to be safe, and comes back before it has gone on."""
    groups = Groups()
    groups.ask(1, EVS, safe(b"unsafe"))
    groups.cluster.deliver(1, is_told_safe=False)
    groups.cluster.arrange((1,), (2, 3))
    return groups


def test_what_was_not_safe_in_a_partition_that_gives_way_comes_behind_its_transitional_configuration() -> None:
    groups = cut_off_with_what_is_not_safe()
    groups.together()
    assert groups.story(1) == [(1, 2, 3), (-1,), [b"unsafe"], (1, 2, 3)]
    assert groups.story(2) == groups.story(3) == [(1, 2, 3), (-2, -3), [b"unsafe"], (1, 2, 3)]


def test_it_does_so_however_often_the_node_is_cut_off_again_on_its_way_back() -> None:
    for step in range(1, 10):
        groups = cut_off_with_what_is_not_safe()
        groups.cluster.arrange((1, 2, 3))
        groups.cluster.deliver(step)
        groups.cluster.arrange((2, 3), (1,))
        groups.together()
        story = groups.story(1)
        assert story[:3] == [(1, 2, 3), (-1,), [b"unsafe"]], step
        assert story[-1] == (1, 2, 3), step
        kinds = [min(each) < 0 for each in story[3:] if isinstance(each, tuple)]
        assert kinds == [number % 2 == 1 for number in range(len(kinds))], step


def test_who_has_left_its_group_before_the_node_gives_way_is_still_told_so() -> None:
    groups = Groups()
    groups.ask(1, CPG, c.Multicast(True, 1, pack([b"unsafe"])), c.Leave(b"g"))
    groups.cluster.deliver(1, is_told_safe=False)
    groups.cluster.arrange((1,), (2, 3))
    groups.together()
    message, left = groups.told(1, CPG)[-2:]
    assert isinstance(message, c.Messages)
    assert isinstance(left, c.Changed)
    assert left.left == [(1, 1, Reason.LEAVE)]
