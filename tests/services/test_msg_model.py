"""MSG against plain lists: whatever is asked in whatever order, all replicas do what the lists do."""

from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from corosync_amf import errors
from corosync_amf.engine import Client, Done
from corosync_amf.errors import AisError
from corosync_amf.services.msg import messages as m
from corosync_amf.services.msg.engine import MsgEngine
from corosync_amf.services.msg.values import QueueGroupPolicy

from .harness import Answer, Replicas

NAMES = ("p", "q")
SIZES = (6, 0, 9, 6)
RETENTION = 10.0
GROUP = "g"
names = st.sampled_from(NAMES)
clients = st.builds(Client, st.integers(1, 3), st.integers(1, 2))
priorities = st.sampled_from([0, 0, 1, 2, 3])


@dataclass(eq=False)
class Letter:
    """One message, wherever it is. `place` is that in the order of all sends."""

    place: int
    data: bytes
    priority: int


@dataclass(eq=False)
class Box:
    """One queue as it should be; `dies_at` is set while it is closed."""

    letters: list[Letter] = field(default_factory=list)
    in_hand: dict[int, Letter] = field(default_factory=dict)
    gets: dict[int, Answer] = field(default_factory=dict)
    opener: Client | None = None
    handle: int = 0
    dies_at: float | None = None
    is_grouped: bool = False

    def fits(self, priority: int, size: int) -> bool:
        used = sum(len(each.data) for each in self.letters if each.priority == priority)
        return SIZES[priority] > 0 and (not size or used + size <= SIZES[priority])

    def next(self) -> Letter:
        return min(self.letters, key=lambda each: (each.priority, each.place))

    def serve(self) -> None:
        """The gets that wait have got what there is."""
        while self.gets and self.letters:
            number = next(iter(self.gets))
            answer, letter = self.gets.pop(number), self.next()
            self.letters.remove(letter)
            self.in_hand[number] = letter
            check_got(answer, letter)


def check_got(answer: Answer, letter: Letter) -> None:
    assert isinstance(answer.message, m.Got), answer
    assert answer.safe
    assert (answer.message.body.data, answer.message.body.priority) == (letter.data, letter.priority)


class QueuesAndLists(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.replicas = Replicas(MsgEngine)
        self.boxes: dict[str, Box] = {}
        self.number = 0
        self.sent: dict[Client, list[tuple[m.Send, type[AisError] | None]]] = {}
        self.replicas.send(Client(1, 9), m.CreateGroup(GROUP, QueueGroupPolicy.BROADCAST))

    def present(self, client: Client) -> Client:
        members = self.replicas.members
        return client if client.node in members else Client(members[0], client.number)

    def check(self, answer: Answer, expected: type[AisError] | None) -> None:
        error = answer.error
        assert (type(error) if error else None) == expected
        if error is None:
            assert isinstance(answer.message, Done)

    # ---- queues

    @initialize()
    def begin(self) -> None:
        for name in NAMES:
            self.open(name, Client(2, 1))
            self.regroup(name, True)

    @rule(name=names, client=clients)
    def open(self, name: str, client: Client) -> None:
        client = self.present(client)
        self.number += 1
        answer = self.replicas.send(client, m.Open(self.number, name, 1, m.Attributes(0, SIZES, RETENTION)))
        box = self.boxes.setdefault(name, Box())
        if box.opener is not None:
            assert isinstance(answer.error, errors.Busy)
            return
        assert isinstance(answer.message, m.Opened)
        box.opener, box.handle, box.dies_at = client, self.number, None

    @rule(name=names)
    def close(self, name: str) -> None:
        box = self.boxes.get(name)
        if box is not None and box.opener is not None:
            self.replicas.send(box.opener, m.Close((box.handle,)))
            for answer in box.gets.values():
                assert isinstance(answer.error, errors.BadHandle)
            self._closed(box)

    def _closed(self, box: Box) -> None:
        box.letters += box.in_hand.values()
        box.in_hand.clear()
        box.gets.clear()
        box.opener, box.dies_at = None, self.replicas.now + RETENTION

    @rule(name=names, is_reopened=st.booleans())
    def the_opener_dies(self, name: str, is_reopened: bool) -> None:
        box = self.boxes.get(name)
        if box is not None and box.opener is not None:
            client = box.opener
            self.replicas.gone(client)
            self.sent.pop(client, None)
            for each in self.boxes.values():
                if each.opener == client:
                    self._closed(each)
        if is_reopened:
            self.open(name, Client(3, 2))

    @rule(node=st.integers(1, 3), at_once=st.booleans())
    def lose_a_node(self, node: int, at_once: bool) -> None:
        if node not in self.replicas.members:
            self.replicas.change(joined={1, 2, 3} - set(self.replicas.members))
        elif len(self.replicas.members) > 1:
            self.replicas.change(left=[node], joined=[node] if at_once else [])
            for box in self.boxes.values():
                if box.opener is not None and box.opener.node == node:
                    self._closed(box)

    @rule(seconds=st.sampled_from([4.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.replicas.advance(seconds)
        for name, box in list(self.boxes.items()):
            if box.dies_at is not None and box.dies_at <= self.replicas.now:
                del self.boxes[name]

    @rule(name=names)
    def purge(self, name: str) -> None:
        answer = self.replicas.send(Client(self.replicas.members[0], 9), m.Purge(name))
        box = self.boxes.get(name)
        if box is None:
            assert isinstance(answer.error, errors.NotExist)
        else:
            assert answer.message == m.Purged(len(box.letters))
            box.letters.clear()

    # ---- the group

    @rule(name=names, inserts=st.booleans())
    def regroup(self, name: str, inserts: bool) -> None:
        request = m.Insert(GROUP, name) if inserts else m.Remove(GROUP, name)
        answer = self.replicas.send(Client(self.replicas.members[0], 9), request)
        box = self.boxes.get(name)
        if box is None or (not inserts and not box.is_grouped):
            self.check(answer, errors.NotExist)
        else:
            self.check(answer, errors.Exist if inserts and box.is_grouped else None)
            box.is_grouped = inserts

    # ---- messages

    @rule(
        to=st.sampled_from([*NAMES, "q", GROUP]),
        client=clients,
        letters=st.lists(st.tuples(st.binary(max_size=3), priorities), min_size=1, max_size=4),
    )
    def send(self, to: str, client: Client, letters: list[tuple[bytes, int]]) -> None:
        for data, priority in letters:
            self._send(to, self.present(client), data, priority)

    def _send(self, to: str, client: Client, data: bytes, priority: int) -> None:
        self.number += 1
        request = m.Send(self.number, (), to, m.Body(data, 0, 0, priority, None))
        if to == GROUP:
            boxes = [box for box in self.boxes.values() if box.is_grouped]
            expected: type[AisError] | None = None if boxes else errors.QueueNotAvailable
        else:
            boxes = [self.boxes[to]] if to in self.boxes else []
            expected = None if boxes else errors.NotExist
        if expected is None and not all(box.fits(priority, len(data)) for box in boxes):
            expected = errors.QueueFull
        self.check(self.replicas.send(client, request), expected)
        self.sent.setdefault(client, []).append((request, expected))
        if expected is None:
            for box in boxes:
                box.letters.append(Letter(self.number, data, priority))
                box.serve()

    @rule(client=clients, which=st.integers(0, 10))
    def send_again(self, client: Client, which: int) -> None:
        client = self.present(client)
        sent = self.sent.get(client, [])
        if sent:
            request, expected = sent[which % len(sent)]
            self.check(self.replicas.send(client, request), expected)

    @rule(name=names, waits=st.booleans(), takes=st.sampled_from([False, False, True]), count=st.integers(1, 3))
    def get(self, name: str, waits: bool, takes: bool, count: int) -> None:
        box = self.boxes.get(name)
        for _ in range(count if box is not None and box.opener is not None else 0):
            assert box is not None
            self._get(box, waits, takes)

    def _get(self, box: Box, waits: bool, takes: bool) -> None:
        assert box.opener is not None
        self.number += 1
        taken = tuple(box.in_hand) if takes else ()
        answer = self.replicas.send(box.opener, m.Get(box.handle, self.number, waits, taken))
        for number in taken:
            del box.in_hand[number]
        if box.letters:
            letter = box.next()
            box.letters.remove(letter)
            box.in_hand[self.number] = letter
            check_got(answer, letter)
        elif waits:
            assert answer.message is None
            box.gets[self.number] = answer
        else:
            assert answer.message == m.Withdrawn(False)

    @rule(name=names, which=st.integers(0, 10), put_back=st.booleans())
    def withdraw(self, name: str, which: int, put_back: bool) -> None:
        box = self.boxes.get(name)
        numbers = [] if box is None else [*box.gets, *box.in_hand]
        if box is None or box.opener is None or not numbers:
            return
        number = numbers[which % len(numbers)]
        answer = self.replicas.send(box.opener, m.Withdraw(box.handle, number, put_back))
        if number in box.gets:
            assert isinstance(box.gets.pop(number).error, errors.TimedOut)
            assert answer.message == m.Withdrawn(False)
        else:
            assert answer.message == m.Withdrawn(not put_back)
            if put_back:
                box.letters.append(box.in_hand.pop(number))
                box.serve()

    # ---- what must hold

    @invariant()
    def every_replica_holds_what_the_lists_do(self) -> None:
        snapshot = self.replicas.engines[self.replicas.members[-1]].snapshot()
        assert isinstance(snapshot, m.Snapshot)
        found = {
            record.name: (
                [got.body.data for area in record.areas for _, _, got in area],
                sorted(number for number, _ in record.in_hand),
                [get.number for get in record.gets],
                record.opener,
            )
            for record in snapshot.queues
        }
        expected = {
            name: (
                [each.data for each in sorted(box.letters, key=lambda each: (each.priority, each.place))],
                sorted(box.in_hand),
                list(box.gets),
                box.opener,
            )
            for name, box in self.boxes.items()
        }
        assert found == expected


TestQueuesAndLists = QueuesAndLists.TestCase
TestQueuesAndLists.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
