"""MSG: requests in; replies, events and notices out."""

from typing import Any

import pytest

from corosync_amf import errors
from corosync_amf.engine import Client, Done, Failed, Membership, NodeFacts, Notice, Origin, Reply, Request, Service
from corosync_amf.errors import AisError
from corosync_amf.services.msg import messages as m
from corosync_amf.services.msg.engine import MsgEngine
from corosync_amf.services.msg.values import (
    CapacityStatus,
    GroupChange,
    QueueGroupPolicy,
    QueueOpenFlags,
    QueueThresholds,
    QueueUsage,
)
from corosync_amf.wire import decode, encode

from .harness import START_TIME, Answer, Replicas, facts_of, refused
from .merging import meet, split

A, B, C = Client(1, 7), Client(2, 7), Client(3, 7)
CREATE, CALLBACK, EMPTY = QueueOpenFlags.CREATE, QueueOpenFlags.RECEIVE_CALLBACK, QueueOpenFlags.EMPTY
ROUND, LOCAL, BEST, BROADCAST = QueueGroupPolicy
CURRENT, CHANGES, CHANGES_ONLY = 1, 2, 4
SIZE = 100


def attributes(flags: int = 0, size: int = SIZE, retention: float | None = 10.0) -> m.Attributes:
    return m.Attributes(flags, (size, size, size, size), retention)


def body(data: bytes = b"x", priority: int = 3) -> m.Body:
    return m.Body(data, 0, 0, priority, None)


class Scene:
    """Three replicas, and short ways to say what clients ask."""

    def __init__(self) -> None:
        self.replicas = Replicas(MsgEngine)
        self.number = 100

    def open(self, name: str = "q", client: Client = A, *, handle: int = 1, flags: int = 1, of: Any = None) -> Answer:
        of = (of or attributes()) if flags & CREATE else None
        return self.replicas.send(client, m.Open(handle, name, flags, of))

    def ask(self, message: Request, client: Client = A) -> Answer:
        return self.replicas.send(client, message)

    def done(self, message: Request, client: Client = A) -> None:
        answer = self.ask(message, client)
        assert isinstance(answer.message, Done), answer

    def send(self, data: bytes = b"x", client: Client = A, *, to: str = "q", priority: int = 3) -> Answer:
        self.number += 1
        return self.ask(m.Send(self.number, (), to, body(data, priority)), client)

    def receive(self, data: bytes = b"x", client: Client = B, *, to: str = "q") -> Answer:
        self.number += 1
        return self.ask(m.SendReceive(self.number, (), to, body(data)), client)

    def reply(self, sender_id: int, data: bytes = b"r", client: Client = A) -> Answer:
        self.number += 1
        return self.ask(m.Respond(self.number, (), sender_id, body(data)), client)

    def get(self, client: Client = A, *, handle: int = 1, waits: bool = False, taken: tuple[int, ...] = ()) -> Answer:
        self.number += 1
        return self.ask(m.Get(handle, self.number, waits, taken), client)

    def got(self, client: Client = A, *, handle: int = 1) -> bytes:
        """Get a message and take it."""
        answer = self.get(client, handle=handle)
        assert isinstance(answer.message, m.Got), answer
        self.done(m.Taken(handle, (self.number,)), client)
        return answer.message.body.data

    def all(self, client: Client = A, *, handle: int = 1) -> list[bytes]:
        """Everything that is in a queue."""
        found = []
        while isinstance((answer := self.get(client, handle=handle)).message, m.Got):
            self.done(m.Taken(handle, (self.number,)), client)
            found.append(answer.message.body.data)
        return found

    def state(self) -> m.Snapshot:
        snapshot = self.replicas.engines[self.replicas.members[0]].snapshot()
        assert isinstance(snapshot, m.Snapshot)
        return snapshot

    def status(self, name: str = "q") -> Any:
        answer = self.replicas.ask(Client(self.replicas.members[0], 9), m.GetStatus(name))
        assert isinstance(answer, m.Status), answer
        return answer.status

    def notices(self) -> list[tuple[str, int]]:
        """(object, capacity status) of what operators were told since the last call."""
        found = []
        for service, notice in self.replicas.forwarded:
            assert service == Service.NTF
            assert isinstance(notice, Notice)
            ((state, old, new),) = notice.states
            assert (state, old, notice.event_type, notice.class_id) == (1, None, 0x3001, (18568, 6, 0x64 + new))
            found.append((notice.notification_object, new))
        self.replicas.forwarded.clear()
        return found


@pytest.fixture
def scene() -> Scene:
    made = Scene()
    assert isinstance(made.open().message, m.Opened)
    return made


# ---- every row of the error table: what is prepared, what is asked, what is raised

TOO_BIG = m.Attributes(0, (2**24 + 1, 0, 0, 0), 0.0)
LOW = QueueThresholds((50,) * 4, (10,) * 4)
ROWS: list[tuple[str, list[Request], Request | Any, type[AisError]]] = [
    ("attributes without CREATE", [], m.Open(2, "x", 0, attributes()), errors.InvalidParam),
    ("CREATE without attributes", [], m.Open(2, "x", 1), errors.InvalidParam),
    ("open bits", [], m.Open(2, "x", 8), errors.BadFlags),
    ("creation bits", [], m.Open(2, "x", 1, attributes(2)), errors.BadFlags),
    ("negative retention", [], m.Open(2, "x", 1, attributes(retention=-1.0)), errors.InvalidParam),
    ("no number", [], m.Open(2, "x", 1, attributes(retention=float("nan"))), errors.InvalidParam),
    ("negative size", [], m.Open(2, "x", 1, attributes(size=-1)), errors.InvalidParam),
    ("area too big", [], m.Open(2, "x", 1, TOO_BIG), errors.TooBig),
    ("no name", [], m.Open(2, "", 1, attributes()), errors.InvalidParam),
    ("NUL", [], m.Open(2, "a\0", 1, attributes()), errors.InvalidParam),
    ("long name", [], m.Open(2, "x" * 2049, 1, attributes()), errors.TooBig),
    ("absent", [], m.Open(2, "x", 0), errors.NotExist),
    ("other sizes", [], m.Open(2, "q", 1, attributes(size=5)), errors.Exist),
    ("other flags", [], m.Open(2, "q", 1, attributes(1)), errors.Exist),
    ("other attributes of an open queue", [], m.Open(2, "q", 1, attributes(size=5)), errors.Exist),
    ("open already, by this client", [], m.Open(2, "q", 0), errors.Busy),
    ("group of this name", [m.CreateGroup("g", ROUND)], m.Open(2, "g", 1, attributes()), errors.Exist),
    ("handle in use", [], m.Open(1, "x", 1, attributes()), errors.NoResources),
    ("status of nothing", [], m.GetStatus("x"), errors.NotExist),
    ("unlink nothing", [], m.Unlink("x"), errors.NotExist),
    ("unlink twice", [m.Unlink("q")], m.Unlink("q"), errors.NotExist),
    ("purge nothing", [], m.Purge("x"), errors.NotExist),
    ("retention", [], m.SetRetention(1, -1.0), errors.InvalidParam),
    ("retention of unlinked", [m.Unlink("q")], m.SetRetention(1, 1.0), errors.BadOperation),
    ("retention of persistent", [m.Open(2, "p", 1, attributes(1))], m.SetRetention(2, 1.0), errors.BadOperation),
    ("retention of nothing", [], m.SetRetention(2, 1.0), errors.BadHandle),
    ("group without name", [], m.CreateGroup("", ROUND), errors.InvalidParam),
    ("group with long name", [], m.CreateGroup("x" * 2049, ROUND), errors.TooBig),
    ("group twice", [m.CreateGroup("g", ROUND)], m.CreateGroup("g", BROADCAST), errors.Exist),
    ("group named as a queue", [], m.CreateGroup("q", ROUND), errors.Exist),
    ("insert into nothing", [], m.Insert("g", "q"), errors.NotExist),
    ("insert nothing", [m.CreateGroup("g", ROUND)], m.Insert("g", "x"), errors.NotExist),
    ("insert twice", [m.CreateGroup("g", ROUND), m.Insert("g", "q")], m.Insert("g", "q"), errors.Exist),
    ("remove from nothing", [], m.Remove("g", "q"), errors.NotExist),
    ("remove nothing", [m.CreateGroup("g", ROUND)], m.Remove("g", "x"), errors.NotExist),
    ("remove no member", [m.CreateGroup("g", ROUND)], m.Remove("g", "q"), errors.NotExist),
    ("delete nothing", [], m.DeleteGroup("g"), errors.NotExist),
    ("track nothing", [], m.Track("g", CURRENT, False), errors.NotExist),
    ("no flags", [m.CreateGroup("g", ROUND)], m.Track("g", 0, False), errors.BadFlags),
    ("both kinds", [m.CreateGroup("g", ROUND)], m.Track("g", 6, False), errors.BadFlags),
    ("track bits", [m.CreateGroup("g", ROUND)], m.Track("g", 9, False), errors.BadFlags),
    ("view of nothing", [], m.GetView("g"), errors.NotExist),
    ("stop at nothing", [], m.TrackStop("g"), errors.NotExist),
    ("stop untracked", [m.CreateGroup("g", ROUND)], m.TrackStop("g"), errors.NotExist),
    ("priority", [], m.Send(1, (), "q", body(priority=4)), errors.InvalidParam),
    ("negative priority", [], m.Send(1, (), "q", body(priority=-1)), errors.InvalidParam),
    ("type", [], m.Send(1, (), "q", m.Body(b"", 2**32, 0, 3, None)), errors.InvalidParam),
    ("version", [], m.Send(1, (), "q", m.Body(b"", 0, -1, 3, None)), errors.InvalidParam),
    ("sender name", [], m.Send(1, (), "q", m.Body(b"", 0, 0, 3, "")), errors.InvalidParam),
    ("message too big", [], m.Send(1, (), "q", body(bytes(2**20 + 1))), errors.TooBig),
    ("send to nothing", [], m.Send(1, (), "x", body()), errors.NotExist),
    ("send to unlinked", [m.Unlink("q")], m.Send(1, (), "q", body()), errors.NotExist),
    ("queue full", [], m.Send(1, (), "q", body(bytes(SIZE + 1))), errors.QueueFull),
    ("empty group", [m.CreateGroup("g", ROUND)], m.Send(1, (), "g", body()), errors.QueueNotAvailable),
    (
        "a full queue of a broadcast",
        [m.CreateGroup("g", BROADCAST), m.Insert("g", "q"), m.Send(9, (), "q", body(bytes(60)))],
        m.Send(1, (), "g", body(bytes(60))),
        errors.QueueFull,
    ),
    ("request to a broadcast", [m.CreateGroup("g", BROADCAST)], m.SendReceive(1, (), "g", body()), errors.InvalidParam),
    ("request to nothing", [], m.SendReceive(1, (), "x", body()), errors.NotExist),
    ("reply to nobody", [], m.Respond(1, (), 5, body()), errors.NotExist),
    ("reply too big", [], m.Respond(1, (), 5, body(bytes(2**20 + 1))), errors.TooBig),
    ("get of nothing", [], m.Get(2, 1, True), errors.BadHandle),
    ("get twice", [m.Get(1, 1, True)], m.Get(1, 1, True), errors.NoResources),
    ("taken of nothing", [], m.Taken(2, ()), errors.BadHandle),
    ("withdraw of nothing", [], m.Withdraw(2, 1, False), errors.BadHandle),
    ("nobody waits", [], m.Cancel(1), errors.NotExist),
    ("thresholds of nothing", [], m.SetThresholds(2, LOW), errors.BadHandle),
    ("available over reached", [], m.SetThresholds(1, QueueThresholds((5,) * 4, (6,) * 4)), errors.InvalidParam),
    ("reached over size", [], m.SetThresholds(1, QueueThresholds((101,) * 4, (6,) * 4)), errors.InvalidParam),
    ("never set", [], m.GetThresholds(1), errors.NotExist),
    ("an executive's word", [], m.RetentionOver(1, 0), errors.Access),
]


@pytest.mark.parametrize(("before", "asked", "error"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_each_error_of_the_table_and_nothing_has_changed(
    scene: Scene, before: list[Request], asked: Any, error: type[AisError]
) -> None:
    for message in before:
        scene.ask(message)
    state = encode(scene.state().queues), encode(scene.state().groups)
    answer = scene.replicas.ask(A, asked) if isinstance(asked, m.MsgQuery) else scene.ask(asked)
    assert type(refused(answer)) is error
    assert (encode(scene.state().queues), encode(scene.state().groups)) == state


# ---- queues


def test_the_highest_priority_comes_first_and_the_oldest_of_it(scene: Scene) -> None:
    for data, priority in [(b"a", 3), (b"b", 0), (b"c", 3), (b"d", 0), (b"e", 1)]:
        assert scene.send(data, priority=priority).safe
    assert scene.all() == [b"b", b"d", b"e", b"a", b"c"]


def test_a_message_is_answered_for_and_given_away_only_when_every_member_has_it(scene: Scene) -> None:
    waiting = scene.get(waits=True)
    assert waiting.message is None
    assert scene.send(b"x", B).safe
    assert waiting.safe
    assert waiting.message == m.Got(body(), START_TIME, None)
    assert scene.status().usage[3].number_of_messages == 0


def test_gets_wait_in_line(scene: Scene) -> None:
    first, second = scene.get(waits=True), scene.get(waits=True)
    scene.send(b"1")
    assert second.message is None
    scene.send(b"2")
    assert [answer.message.body.data for answer in (first, second)] == [b"1", b"2"]  # type: ignore[union-attr]


def test_a_get_that_does_not_wait_says_that_there_is_nothing(scene: Scene) -> None:
    assert scene.get().message == m.Withdrawn(False)


def test_a_queue_of_size_0_takes_nothing_and_an_empty_message_fits_a_full_one(scene: Scene) -> None:
    scene.open("none", handle=2, of=attributes(size=0))
    assert isinstance(scene.send(b"", to="none").error, errors.QueueFull)
    scene.send(bytes(SIZE))
    assert scene.send(b"x").error is not None
    assert scene.send(b"").error is None
    assert scene.status().usage[3] == QueueUsage(SIZE, SIZE, 2)


def test_a_closed_queue_keeps_its_messages_for_its_retention_time(scene: Scene) -> None:
    scene.send(b"1")
    scene.done(m.Close((1,)))
    assert scene.status().close_time == START_TIME
    scene.send(b"2", B)
    scene.replicas.advance(9.0)
    scene.open(client=B, flags=0)
    assert scene.status().close_time is None
    scene.replicas.advance(20.0)
    assert scene.all(B) == [b"1", b"2"]
    scene.done(m.Close((1,)), B)
    scene.replicas.advance(11.0)
    assert scene.state().queues == []


def test_a_queue_without_retention_time_goes_with_its_close_and_a_persistent_one_stays(scene: Scene) -> None:
    scene.open("short", handle=2, of=attributes(retention=0.0))
    scene.open("long", handle=3, of=attributes(flags=1, retention=0.0))
    scene.done(m.Close((2, 3)))
    scene.replicas.advance(1e6)
    assert [queue.name for queue in scene.state().queues] == ["q", "long"]
    scene.done(m.Unlink("long"))
    assert [queue.name for queue in scene.state().queues] == ["q"]


def test_a_new_retention_time_counts_at_the_close(scene: Scene) -> None:
    scene.done(m.SetRetention(1, None))
    scene.done(m.Close((1,)))
    scene.replicas.advance(1e6)
    assert scene.status().retention_time is None
    assert isinstance(scene.open(flags=1, of=attributes(retention=3.0)).message, m.Opened)


def test_an_unlinked_queue_is_read_to_its_end_and_its_name_is_free(scene: Scene) -> None:
    scene.send(b"old")
    scene.done(m.Unlink("q"))
    assert isinstance(scene.open(client=B).message, m.Opened)
    scene.send(b"new")
    assert scene.all() == [b"old"]
    scene.done(m.Close((1,)))
    assert scene.all(B) == [b"new"]
    assert len(scene.state().queues) == 1


def test_empty_discards_what_is_in_the_queue(scene: Scene) -> None:
    scene.send()
    scene.done(m.Close((1,)))
    scene.open(flags=EMPTY)
    assert scene.all() == []


def test_an_operator_discards_what_is_in_an_open_queue(scene: Scene) -> None:
    scene.send()
    waiting = scene.receive()
    assert scene.ask(m.Purge("q"), C).message == m.Purged(2)
    assert isinstance(waiting.error, errors.NotExist)
    assert scene.status().usage[3].queue_used == 0


def test_one_announcement_per_message_and_one_for_those_that_wait_already(scene: Scene) -> None:
    scene.send()
    scene.send()
    scene.done(m.Close((1,)))
    scene.open(client=B, handle=5, flags=CALLBACK)
    scene.send()
    assert scene.replicas.events_for(B) == [m.Arrived(5, 2), m.Arrived(5, 1)]


def test_closing_ends_the_gets_that_wait(scene: Scene) -> None:
    waiting = scene.get(waits=True)
    scene.done(m.Close((1,)))
    assert isinstance(waiting.error, errors.BadHandle)


def test_cancelling_ends_the_gets_that_wait(scene: Scene) -> None:
    waiting = scene.get(waits=True), scene.get(waits=True)
    scene.done(m.Cancel(1))
    assert all(isinstance(answer.error, errors.Interrupt) for answer in waiting)


def test_lists_are_in_the_order_of_names(scene: Scene) -> None:
    scene.open("a", B)
    scene.done(m.Close((1,)), B)
    scene.send(b"abc")
    lines = scene.replicas.ask(A, m.ListQueues())
    assert lines == m.Queues([m.QueueLine("a", None, 0, 0, 400), m.QueueLine("q", A, 1, 3, 400)])
    assert scene.replicas.ask(A, m.ListQueues("q")) == m.Queues([])
    scene.done(m.CreateGroup("g", ROUND))
    scene.done(m.Insert("g", "a"))
    scene.done(m.Insert("g", "q"))
    assert scene.replicas.ask(A, m.ListGroups()) == m.Groups([m.GroupLine("g", ROUND, 2, 1)])


# ---- what is in hand


def test_what_a_dead_client_had_not_taken_is_back_at_its_place(scene: Scene) -> None:
    for data in (b"1", b"2", b"3", b"4"):
        scene.send(data)
    numbers = []
    for _ in range(3):
        scene.get()
        numbers.append(scene.number)
    scene.done(m.Taken(1, (numbers[1],)))
    assert scene.status().usage[3].number_of_messages == 1
    scene.replicas.gone(A)
    scene.open(client=B, flags=0)
    assert scene.all(B) == [b"1", b"3", b"4"]


def test_a_get_tells_what_was_taken_and_so_does_a_close(scene: Scene) -> None:
    scene.send(b"1")
    scene.send(b"2")
    scene.get()
    first = scene.number
    scene.get(taken=(first,))
    scene.done(m.Close((1,), (scene.number,)))
    scene.open(client=B, flags=0)
    assert scene.all(B) == []


def test_a_withdrawn_get_takes_nothing(scene: Scene) -> None:
    waiting = scene.get(waits=True)
    answer = scene.ask(m.Withdraw(1, scene.number, False))
    assert answer.message == m.Withdrawn(False)
    assert isinstance(waiting.error, errors.TimedOut)
    scene.send(b"1")
    assert scene.all() == [b"1"]


def test_a_get_that_was_answered_before_it_was_withdrawn_says_so_and_can_be_put_back(scene: Scene) -> None:
    scene.send(b"1")
    scene.send(b"2")
    scene.get()
    number = scene.number
    answer = scene.ask(m.Withdraw(1, number, False))
    assert (answer.message, answer.safe) == (m.Withdrawn(True), True)
    assert scene.ask(m.Withdraw(1, number, True)).message == m.Withdrawn(False)
    assert scene.all() == [b"1", b"2"]


def test_what_is_put_back_goes_to_the_get_that_waits(scene: Scene) -> None:
    scene.send(b"1")
    scene.get()
    number = scene.number
    waiting = scene.get(waits=True)
    scene.ask(m.Withdraw(1, number, True))
    assert isinstance(waiting.message, m.Got)


def test_in_a_partition_without_quorum_what_is_in_hand_is_put_back(scene: Scene) -> None:
    scene.send(b"1")
    scene.get()
    number = scene.number
    waiting = scene.get(waits=True)
    scene.replicas.change(left=[2, 3], quorate=False)
    assert scene.ask(m.Withdraw(1, number, False)).message == m.Withdrawn(False)
    assert waiting.message is None
    scene.replicas.change(joined=[2, 3])
    assert isinstance(waiting.message, m.Got)


def test_a_client_has_so_many_gets_under_way_and_no_more(scene: Scene) -> None:
    for _ in range(512):
        assert scene.get(waits=True).message is None
    assert isinstance(scene.get(waits=True).error, errors.NoResources)


# ---- once


def test_a_repeated_send_acts_once_and_has_the_first_outcome(scene: Scene) -> None:
    send = m.Send(1, (), "q", body(b"1"))
    for _ in range(3):
        scene.done(send, B)
    assert isinstance(scene.ask(m.Send(2, (), "x", body()), B).error, errors.NotExist)
    scene.open("x", C)
    assert isinstance(scene.ask(m.Send(2, (), "x", body()), B).error, errors.NotExist)
    assert scene.all() == [b"1"]


def test_outcomes_are_kept_until_they_are_settled(scene: Scene) -> None:
    scene.done(m.Send(1, (), "q", body()), B)
    scene.done(m.Send(2, (), "q", body()), B)
    assert [len(record.outcomes) for record in scene.state().sent] == [2]
    scene.done(m.Send(3, (1, 2), "q", body()), B)
    assert [record.outcomes for record in scene.state().sent] == [[(3, Done())]]
    scene.replicas.gone(B)
    assert scene.state().sent == []


def test_a_client_cannot_make_the_executives_remember_without_end(scene: Scene) -> None:
    scene.replicas.members = (1,)
    scene.replicas.engines = {1: scene.replicas.engines[1]}
    engine = scene.replicas.engines[1]
    for number in range(1100):
        engine.apply(m.Send(number, (), "nothing", body()), Origin(B, number, 1000 + number, START_TIME))
    assert [len(record.outcomes) for record in scene.state().sent] == [1024]


def test_a_client_that_was_cut_off_may_repeat_and_one_of_another_life_may_not(scene: Scene) -> None:
    scene.done(m.Send(1, (), "q", body(b"1")), B)
    scene.replicas.change(left=[2])
    assert len(scene.state().sent) == 1
    scene.replicas.change(joined=[2])
    scene.done(m.Send(1, (), "q", body(b"1")), B)
    assert scene.all() == [b"1"]
    snapshot = scene.state()
    engine = MsgEngine()
    engine.restore(snapshot)
    again = NodeFacts(2, "node2", "10.0.0.2", 900.0, 2)
    nodes = {1: facts_of(1), 2: again, 3: facts_of(3)}
    engine.membership(Membership((1, 2, 3), frozenset({2}), frozenset({2}), True, nodes, 99, START_TIME))
    assert engine.snapshot().sent == [each for each in snapshot.sent if each.client.node != 2]


# ---- replies


def test_a_reply_reaches_the_sender_once(scene: Scene) -> None:
    waiting = scene.receive(b"question")
    got = scene.get().message
    assert isinstance(got, m.Got)
    assert got.sender_id is not None
    answer = scene.reply(got.sender_id, b"answer")
    assert (answer.message, answer.safe, waiting.safe) == (Done(), True, True)
    assert waiting.message == m.Answered(body(b"answer"), START_TIME)
    assert isinstance(scene.reply(got.sender_id).error, errors.NotExist)


def test_a_repeated_reply_has_the_first_outcome(scene: Scene) -> None:
    scene.receive()
    sender = scene.state().receives[0].sender_id
    scene.done(m.Respond(1, (), sender, body()))
    scene.done(m.Respond(1, (), sender, body()))


def test_a_sender_that_waits_no_more_is_not_answered(scene: Scene) -> None:
    waiting = scene.receive()
    sender, number = scene.state().receives[0].sender_id, scene.number
    assert scene.ask(m.WithdrawReceive(number), B).message == m.Withdrawn(False)
    assert isinstance(waiting.error, errors.TimedOut)
    assert isinstance(scene.reply(sender).error, errors.NotExist)


def test_a_sender_that_is_answered_before_it_withdraws_hears_that(scene: Scene) -> None:
    scene.receive()
    number = scene.number
    scene.reply(scene.state().receives[0].sender_id)
    answer = scene.ask(m.WithdrawReceive(number), B)
    assert (answer.message, answer.safe) == (m.Withdrawn(True), True)


def test_a_sender_that_died_is_not_answered(scene: Scene) -> None:
    scene.receive()
    sender = scene.state().receives[0].sender_id
    scene.replicas.gone(B)
    assert isinstance(scene.reply(sender).error, errors.NotExist)
    assert scene.all() == [b"x"]


@pytest.mark.parametrize("is_got", [False, True])
def test_deleting_the_queue_ends_the_wait_for_a_reply(scene: Scene, is_got: bool) -> None:
    waiting = scene.receive()
    if is_got:
        scene.got()
    scene.done(m.Unlink("q"))
    assert waiting.message is None
    scene.done(m.Close((1,)))
    assert isinstance(waiting.error, errors.NotExist)


def test_a_client_waits_for_so_many_replies_and_no_more(scene: Scene) -> None:
    engine = scene.replicas.engines[1]
    for number in range(1024):
        assert engine.apply(m.SendReceive(number, (), "q", body(b"")), Origin(B, number, 1000 + number)) == []
    (reply,) = engine.apply(m.SendReceive(2000, (), "q", body(b"")), Origin(B, 2000, 5000))
    assert isinstance(reply, Reply)
    assert isinstance(refused(reply.message), errors.NoResources)


# ---- groups


def grouped(policy: QueueGroupPolicy) -> Scene:
    """Queues a and b open on node 1, c on node 2, d closed; all of them in g."""
    scene = Scene()
    for handle, (name, client) in enumerate([("a", A), ("b", A), ("c", B), ("d", B)], 1):
        scene.open(name, client, handle=handle)
    scene.done(m.Close((4,)), B)
    scene.done(m.CreateGroup("g", policy))
    for name in "abcd":
        scene.done(m.Insert("g", name))
    return scene


def counts(scene: Scene) -> list[int]:
    return [sum(map(len, queue.areas)) for queue in scene.state().queues]


def test_round_robin_takes_turns_and_skips_closed_queues() -> None:
    scene = grouped(ROUND)
    for client in (A, B, C, A):
        assert scene.send(client=client, to="g").error is None
    assert counts(scene) == [2, 1, 1, 0]


def test_round_robin_uses_closed_queues_when_all_are_closed() -> None:
    scene = grouped(ROUND)
    scene.done(m.Close((1, 2)))
    scene.done(m.Close((3,)), B)
    for _ in range(5):
        scene.send(to="g")
    assert counts(scene) == [2, 1, 1, 1]


def test_round_robin_skips_full_queues_until_none_has_room() -> None:
    scene = grouped(ROUND)
    scene.send(bytes(SIZE), to="b")
    for _ in range(3):
        assert scene.send(bytes(60), to="g").error is None
    assert counts(scene) == [1, 1, 1, 1]
    assert isinstance(scene.send(bytes(60), to="g").error, errors.QueueFull)


def test_local_round_robin_stays_on_the_node_while_it_can() -> None:
    scene = grouped(LOCAL)
    for client in (A, A, A, B):
        scene.send(client=client, to="g")
    assert counts(scene) == [2, 1, 1, 0]
    scene.send(client=C, to="g")
    assert counts(scene) == [3, 1, 1, 0]


def test_local_round_robin_goes_elsewhere_when_the_local_queues_are_full() -> None:
    scene = grouped(LOCAL)
    for name in "ab":
        scene.send(bytes(SIZE), to=name)
    scene.send(to="g")
    assert counts(scene) == [1, 1, 1, 0]


def test_the_best_local_queue_is_the_one_with_most_room() -> None:
    scene = grouped(BEST)
    scene.send(bytes(50), to="a")
    scene.send(bytes(10), to="g")
    scene.send(bytes(10), to="g")
    assert counts(scene) == [1, 2, 0, 0]


def test_without_a_local_queue_the_best_of_all_is_taken() -> None:
    scene = grouped(BEST)
    for name in "abd":
        scene.send(bytes(10), to=name)
    scene.send(bytes(5), C, to="g")
    assert counts(scene) == [1, 1, 1, 1]
    scene.send(bytes(5), C, to="g")
    assert counts(scene) == [1, 1, 2, 1]


def test_a_broadcast_reaches_all_or_none() -> None:
    scene = grouped(BROADCAST)
    assert scene.send(bytes(60), to="g").error is None
    assert counts(scene) == [1, 1, 1, 1]
    scene.got()
    assert isinstance(scene.send(bytes(60), to="g").error, errors.QueueFull)
    assert counts(scene) == [0, 1, 1, 1]


def test_taking_a_queue_out_leaves_whose_turn_it_is() -> None:
    scene = grouped(ROUND)
    scene.send(to="g")
    scene.send(to="g")
    scene.done(m.Remove("g", "a"))
    scene.send(to="g")
    assert counts(scene) == [1, 1, 1, 0]


def test_trackers_hear_of_changes_all_queues_or_only_what_changed() -> None:
    scene = grouped(ROUND)
    scene.done(m.Unlink("d"))
    scene.done(m.SetRetention(1, 0.0))
    assert isinstance(scene.ask(m.Track("g", CURRENT | CHANGES, True), A).message, m.View)
    scene.ask(m.Track("g", CHANGES_ONLY, False), B)
    scene.done(m.Remove("g", "b"))
    scene.done(m.Insert("g", "b"))
    scene.done(m.Close((1,)))
    scene.done(m.DeleteGroup("g"))
    no, added, removed = GroupChange.NO_CHANGE, GroupChange.ADDED, GroupChange.REMOVED
    seen = [
        [(each.queue_name, each.change) for each in event.view.notifications] if event.view else None
        for event in scene.replicas.events_for(A)
    ]
    assert seen == [
        [("a", no), ("b", no), ("c", no)],
        [("a", no), ("c", no), ("b", removed)],
        [("a", no), ("c", no), ("b", added)],
        [("c", no), ("b", no), ("a", removed)],
        None,
    ]
    only = scene.replicas.events_for(B)
    assert [event.view and event.view.number_of_members for event in only] == [2, 3, 2, None]
    assert [len(event.view.notifications) for event in only if event.view] == [1, 1, 1]


def test_opening_and_closing_changes_the_state_of_a_queue_in_its_groups() -> None:
    scene = grouped(ROUND)
    scene.ask(m.Track("g", CHANGES_ONLY, False), C)
    scene.open("d", B, handle=9, flags=0)
    scene.done(m.Close((9,)), B)
    changed = [event.view.notifications[0] for event in scene.replicas.events_for(C)]
    assert [(each.queue_name, each.change) for each in changed] == [("d", GroupChange.STATE_CHANGED)] * 2


def test_a_tracker_that_stops_or_dies_hears_no_more() -> None:
    scene = grouped(ROUND)
    for client in (A, B):
        scene.ask(m.Track("g", CHANGES, False), client)
    scene.done(m.TrackStop("g"), A)
    scene.replicas.gone(B)
    scene.done(m.Remove("g", "d"))
    assert scene.replicas.events == []


# ---- thresholds


def fill(scene: Scene, name: str = "q", size: int = 60) -> None:
    for priority in range(4):
        assert scene.send(bytes(size), to=name, priority=priority).error is None


def test_capacity_is_reached_when_all_areas_are_and_available_when_one_is() -> None:
    scene = Scene()
    scene.open()
    scene.done(m.SetThresholds(1, LOW))
    assert scene.replicas.ask(A, m.GetThresholds(1)) == m.Thresholds(LOW)
    fill(scene)
    assert scene.notices() == [("q", CapacityStatus.QUEUE_CAPACITY_REACHED)]
    scene.send(b"more")
    assert scene.notices() == []
    scene.got()
    assert scene.notices() == [("q", CapacityStatus.QUEUE_CAPACITY_AVAILABLE)]
    fill(scene, size=1)
    assert scene.notices() == []


def test_thresholds_that_are_passed_already_tell_at_once(scene: Scene) -> None:
    fill(scene)
    scene.done(m.SetThresholds(1, LOW))
    assert scene.notices() == [("q", CapacityStatus.QUEUE_CAPACITY_REACHED)]


def test_an_area_that_is_full_counts_as_reached_whatever_its_threshold(scene: Scene) -> None:
    scene.done(m.SetThresholds(1, QueueThresholds((SIZE,) * 4, (SIZE,) * 4)))
    fill(scene, size=SIZE)
    assert scene.notices() == [("q", CapacityStatus.QUEUE_CAPACITY_REACHED)]


def test_a_group_has_reached_its_capacity_when_all_its_queues_have(scene: Scene) -> None:
    scene.open("r", handle=2)
    scene.done(m.CreateGroup("g", ROUND))
    for handle, name in [(1, "q"), (2, "r")]:
        scene.done(m.Insert("g", name))
        scene.done(m.SetThresholds(handle, LOW))
    fill(scene, "q")
    fill(scene, "r")
    reached, group = CapacityStatus.QUEUE_CAPACITY_REACHED, CapacityStatus.QUEUE_GROUP_CAPACITY_REACHED
    assert scene.notices() == [("q", reached), ("r", reached), ("g", group)]
    scene.ask(m.Purge("r"))
    assert scene.notices() == [
        ("r", CapacityStatus.QUEUE_CAPACITY_AVAILABLE),
        ("g", CapacityStatus.QUEUE_GROUP_CAPACITY_AVAILABLE),
    ]
    scene.done(m.Remove("g", "r"))
    assert scene.notices() == [("g", group)]


# ---- nodes that go


def test_a_lost_node_closes_its_clients_queues_and_nobody_waits_there(scene: Scene) -> None:
    scene.send(b"1", B)
    scene.get()
    scene.open("other", B)
    waiting = scene.receive(client=A, to="other")
    scene.done(m.CreateGroup("g", ROUND))
    scene.ask(m.Track("g", CHANGES, False))
    scene.replicas.change(left=[1])
    assert waiting.message is None
    scene.open(client=B, handle=2, flags=0)
    assert scene.all(B, handle=2) == [b"1"]
    state = scene.state()
    assert (state.receives, state.groups[0].trackers) == ([], [])


def cut_off(scene: Scene, node: int) -> m.Remnant:
    """The node goes; what it would bring along is returned, as it comes over the wire."""
    remnant = scene.replicas.engines[node].remnant(node)
    scene.replicas.change(left=[node])
    brought: m.Remnant = decode(encode(remnant), m.Remnant)
    return brought


def come_back(scene: Scene, node: int, remnant: m.Remnant) -> None:
    replicas = scene.replicas
    replicas.change(joined=[node])
    replicas.order += 1
    origin = Origin(Client(node, 0), 0, replicas.order, replicas.now)
    replicas._all([(each, engine.merge(remnant, origin)) for each, engine in sorted(replicas.engines.items())])


def test_a_node_that_comes_back_goes_on_with_its_queues(scene: Scene) -> None:
    scene.done(m.Close((1,)))
    scene.open(handle=4, flags=CALLBACK)
    first, second = scene.get(handle=4, waits=True), scene.get(handle=4, waits=True)
    remnant = cut_off(scene, 1)
    scene.send(b"1", B)
    come_back(scene, 1, remnant)
    assert isinstance(first.message, m.Got)
    assert second.message is None
    assert scene.replicas.events_for(A) == [m.Arrived(4, 1)]
    scene.send(b"2", B)
    assert isinstance(second.message, m.Got)
    assert scene.status().close_time is None
    assert scene.replicas.alarms == {}


@pytest.mark.parametrize("why", ["open elsewhere", "deleted", "unlinked"])
def test_a_node_that_comes_back_hears_which_queues_are_lost(scene: Scene, why: str) -> None:
    if why == "unlinked":
        scene.done(m.Unlink("q"))
    waiting = scene.get(waits=True)
    remnant = cut_off(scene, 1)
    if why == "open elsewhere":
        scene.open(client=B, flags=0)
    elif why == "deleted":
        scene.done(m.Unlink("q"), B)
    come_back(scene, 1, remnant)
    assert isinstance(waiting.error, errors.BadHandle)
    assert scene.replicas.events_for(A) == [m.Lost(1)]
    assert isinstance(scene.get().error, errors.BadHandle)


def test_a_sender_that_comes_back_waits_on_for_its_reply(scene: Scene) -> None:
    waiting = scene.receive(client=B)
    remnant = cut_off(scene, 2)
    sender = remnant.receives[0].sender_id
    assert isinstance(scene.reply(sender).error, errors.NotExist)
    come_back(scene, 2, remnant)
    assert scene.reply(sender).message == Done()
    assert isinstance(waiting.message, m.Answered)


def test_a_sender_whose_queue_was_deleted_meanwhile_hears_that(scene: Scene) -> None:
    waiting = scene.receive(client=B)
    remnant = cut_off(scene, 2)
    scene.done(m.Unlink("q"))
    scene.done(m.Close((1,)))
    come_back(scene, 2, remnant)
    assert isinstance(waiting.error, errors.NotExist)


def test_a_sender_whose_message_only_the_lost_partition_had_sends_again(scene: Scene) -> None:
    remnant = m.Remnant([], [m.ReceiveRecord(77, Origin(B, 900, 77, START_TIME), 5, 1)], [], [B], [])
    scene.replicas.answers[remnant.receives[0].origin] = answer = Answer()
    scene.replicas.change(left=[2])
    come_back(scene, 2, remnant)
    assert isinstance(answer.error, errors.TryAgain)
    assert isinstance(answer.message, Failed)


def test_a_tracker_that_comes_back_gets_the_present_view_or_hears_that_the_group_is_gone(scene: Scene) -> None:
    for name in ("g", "h"):
        scene.done(m.CreateGroup(name, ROUND))
        scene.ask(m.Track(name, CHANGES, False), B)
    remnant = cut_off(scene, 2)
    scene.done(m.DeleteGroup("h"))
    scene.done(m.Insert("g", "q"))
    come_back(scene, 2, remnant)
    present, gone = scene.replicas.events_for(B)
    assert (present.group, present.view.number_of_members, gone) == ("g", 1, m.GroupChanged("h", None))
    scene.done(m.Remove("g", "q"))
    assert len(scene.replicas.events_for(B)) == 1


def test_clients_that_did_not_come_back_with_their_node_are_forgotten(scene: Scene) -> None:
    other = Client(2, 8)
    for client in (B, other):
        scene.done(m.Send(1, (), "q", body()), client)
    remnant = cut_off(scene, 2)
    assert remnant.clients == [B, other]
    come_back(scene, 2, m.Remnant([], [], [], [B], []))
    assert [record.client for record in scene.state().sent] == [B]


def test_a_node_whose_clients_hold_nothing_brings_nothing_along(scene: Scene) -> None:
    assert scene.replicas.engines[3].remnant(3) is None


def test_a_receiver_that_comes_back_keeps_what_it_has_in_hand_and_nobody_gets_what_it_took(scene: Scene) -> None:
    for data in (b"1", b"2", b"3"):
        scene.send(data, B)
    scene.get()
    in_hand = scene.number
    scene.get()
    taken = scene.number
    lost = scene.replicas.engines[1]
    lost.apply(m.Taken(1, (taken,)), Origin(A, 0, 999))  # only its own partition has heard that
    remnant = cut_off(scene, 1)
    assert scene.status().usage[3].number_of_messages == 3
    come_back(scene, 1, remnant)
    assert scene.status().usage[3].number_of_messages == 1
    scene.done(m.Taken(1, (in_hand, taken)))
    assert scene.all() == [b"3"]


def test_nobody_gets_what_a_receiver_took_that_closed_its_queue_while_it_was_cut_off(scene: Scene) -> None:
    for data in (b"1", b"2", b"3"):
        scene.send(data, B)
    scene.get()
    other = split(scene.replicas, [1])
    number = scene.number
    assert other.send(A, m.Close((1,), (number,))).message == Done()
    meet(scene.replicas, other)
    scene.open(client=C, flags=0)
    assert scene.all(C) == [b"2", b"3"]


def test_what_was_closed_without_quorum_is_carried_through_parts_that_have_none_either(scene: Scene) -> None:
    scene.send(b"1", B)
    scene.get()
    other = split(scene.replicas, [1, 2])
    alone = split(other, [1])
    assert alone.send(A, m.Close((1,), (scene.number,))).message == Done()
    meet(other, alone, quorate=False)
    meet(scene.replicas, other)
    scene.open(client=C, flags=0)
    assert scene.all(C) == []


def test_what_was_closed_without_quorum_is_forgotten_with_quorum(scene: Scene) -> None:
    scene.send(b"1", B)
    scene.get()
    scene.replicas.change(left=[2, 3], quorate=False)
    scene.done(m.Close((1,), (scene.number,)))
    assert [each.name for each in scene.state().closed] == ["q"]
    scene.replicas.change(joined=[2, 3])
    assert scene.state().closed == []


def test_a_receiver_that_comes_back_hears_that_somebody_else_was_given_what_it_has(scene: Scene) -> None:
    scene.send(b"1", B)
    scene.get()
    number = scene.number
    remnant = cut_off(scene, 1)
    scene.open(client=C, flags=0)
    assert scene.all(C) == [b"1"]
    scene.done(m.Close((1,)), C)
    come_back(scene, 1, remnant)
    assert isinstance(scene.ask(m.Taken(1, (number,))).error, errors.NotExist)


def test_what_a_partition_alone_was_sent_is_not_mistaken_for_another_message(scene: Scene) -> None:
    lost = scene.replicas.engines[1]
    place = scene.replicas.order + 2  # where the others will have a message of their own
    lost.apply(m.Send(1, (), "q", body(b"phantom")), Origin(A, 0, place, START_TIME))
    lost.apply(m.Get(1, 5, False), Origin(A, 0, place + 1, START_TIME))
    remnant = decode(encode(lost.remnant(1)), m.Remnant)
    scene.replicas.engines[1] = MsgEngine()
    scene.replicas.engines[1].restore(scene.replicas.engines[2].snapshot())
    scene.replicas.change(left=[1])
    scene.send(b"1", B)
    assert scene.state().queues[0].areas[3][0][0] == remnant.handles[0].in_hand[0][1]
    come_back(scene, 1, remnant)
    assert scene.all() == [b"1"]


def test_saying_again_what_was_taken_is_fine_for_a_while(scene: Scene) -> None:
    scene.send()
    scene.get()
    scene.done(m.Taken(1, (scene.number,)))
    scene.done(m.Taken(1, (scene.number,)))
    assert isinstance(scene.ask(m.Taken(1, (7,))).error, errors.NotExist)
    assert len(scene.state().queues[0].taken) == 1
    scene.done(m.Close((1,)))
    assert scene.state().queues[0].taken == []


def test_a_refusal_is_told_only_when_every_member_has_refused(scene: Scene) -> None:
    refusals = [scene.send(to="nothing"), scene.send(bytes(SIZE + 1)), scene.reply(5)]
    assert all(answer.error is not None and answer.safe for answer in refusals)
