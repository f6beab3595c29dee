"""The message workload: one client per node reads its own queue and sends to the others, and asks them for replies.

`History` is what all of them were told; `faults_of` says what of it breaks the promises of the service:

    not lost      what was acknowledged to the sender was taken by a receiver, or is still in its queue
    once          no message is taken by two receivers that know that it is theirs; what was refused never arrives
    replies       a sender gets its reply once; what was acknowledged to the replier has reached the sender
    in order      a receiver gets the messages of one sender and priority in the order in which they were sent
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aisexec.node import NodeEvent
from aisexec.simulation.callers import Caller
from corosync_amf.ais import ErrorCode, NodeId
from corosync_amf.engine import Done, Engine, Failed, Request, Service
from corosync_amf.services.msg import messages as m
from corosync_amf.services.msg.values import CreationFlags, QueueGroupPolicy

AREA_BYTES: Final = 3000
GROUP: Final = "all"
PATIENCE: Final = 3
"""Rounds of peace after which a sender gives up waiting for a reply: its receiver may have died."""
REPLIES: Final = (
    m.Opened | m.Got | m.Answered | m.Withdrawn | m.Purged | m.View | m.Status | m.Queues | m.Groups | Done | Failed
)

Identity = bytes
"""What a message says: `node client number priority`, and padding. No two are alike."""


@dataclass(slots=True)
class History:
    """`delivered` names the connection (node, client) of the receiver, too. What is `uncertain` may have been sent,
    or may be sent later than its turn: its sender was not told, or asked again."""

    acknowledged: set[Identity] = field(default_factory=set)
    refused: set[Identity] = field(default_factory=set)
    uncertain: set[Identity] = field(default_factory=set)
    delivered: list[tuple[Identity, tuple[NodeId, int]]] = field(default_factory=list)
    kept: set[Identity] = field(default_factory=set)
    confirmed: list[Identity] = field(default_factory=list)
    disordered: set[tuple[NodeId, int]] = field(default_factory=set)
    answers: list[tuple[Identity, bytes]] = field(default_factory=list)
    replied: set[Identity] = field(default_factory=set)
    ended: set[Identity] = field(default_factory=set)


def faults_of(history: History, left: set[Identity]) -> list[str]:
    """What is wrong, in words; `left` is what the queues hold in the end."""
    faults = [
        f"lost: {identity!r} was acknowledged, and nobody has it"
        for identity in sorted(history.acknowledged - history.kept - left)
    ]
    faults += [f"twice: {identity!r} was taken by several receivers" for identity in repeated(history.confirmed)]
    arrived = {identity for identity, _ in history.delivered} | left
    never = history.refused - history.uncertain
    faults += [f"refused, but there: {identity!r}" for identity in sorted(never & arrived)]
    answered = [identity for identity, _ in history.answers]
    faults += [f"answered twice: {identity!r}" for identity in repeated(answered)]
    faults += [
        f"wrong answer: {answer!r} to {identity!r}"
        for identity, answer in history.answers
        if answer != answer_to(identity)
    ]
    missing = history.replied - set(answered) - history.ended
    faults += [f"reply lost: to {identity!r}" for identity in sorted(missing)]
    return faults + _out_of_order(history)


def _out_of_order(history: History) -> list[str]:
    latest: dict[Any, int] = {}
    faults = []
    for identity, receiver in history.delivered:
        node, client, number, priority = map(int, identity.split()[:4])
        if identity in history.uncertain:
            continue
        key = (receiver, node, client, priority)
        if receiver not in history.disordered and number <= latest.get(key, 0):
            faults.append(f"out of order: {identity!r} came to {receiver} after number {latest[key]}")
        latest[key] = number
    return faults


def repeated(items: Sequence[Identity]) -> list[Identity]:
    """What is there more than once."""
    seen: set[Identity] = set()
    return sorted({item for item in items if item in seen or seen.add(item)})  # type: ignore[func-returns-value]


def answer_to(identity: Identity) -> bytes:
    """What the receiver of a request replies."""
    return b"re " + identity


@dataclass(slots=True)
class Teller:
    """One node's client: what it has under way."""

    caller: Caller
    handle: int = 0
    is_open: bool = False
    is_opening: bool = False
    is_drained: bool = False
    rounds: int = 0
    held: dict[int, Identity] = field(default_factory=dict)
    """By get: what was delivered and not yet said to be taken."""
    owed: list[tuple[int, Identity]] = field(default_factory=list)
    """Replies to give: (sender id, request)."""
    sent: list[m.Send] = field(default_factory=list)
    again: list[m.Send] = field(default_factory=list)
    """Sends to repeat, as a library does."""
    settled: list[int] = field(default_factory=list)
    withdrawn: set[int] = field(default_factory=set)

    @property
    def connection(self) -> tuple[NodeId, int]:
        return self.caller.node, self.caller.client


class MsgWorkload:
    """See the module."""

    service = Service.MSG

    def __init__(self, nodes: list[NodeId], rng: random.Random) -> None:
        self.history = History()
        self._nodes = nodes
        self._rng = rng
        self._numbers = 0
        self._tellers = {node: Teller(Caller(node, Service.MSG, REPLIES, m.MsgEvent)) for node in nodes}

    def connect(self, node: NodeId, client: int, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        caller = self._tellers[node].caller
        self._tellers[node] = teller = Teller(caller)
        return [caller.connect(client), self._open(teller)]

    def _open(self, teller: Teller) -> NodeEvent:
        """Open the node's queue, and see to it that it is in the group."""
        teller.handle, teller.is_opening = self._number(), True
        name = _queue(teller.caller.node)
        attributes = m.Attributes(int(CreationFlags.PERSISTENT), (AREA_BYTES,) * 4, None)
        return teller.caller.request(
            m.Open(teller.handle, name, 1, attributes),
            m.CreateGroup(GROUP, QueueGroupPolicy.ROUND_ROBIN),
            m.Insert(GROUP, name),
        )

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    # ---- work

    def work(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        teller, rng = self._tellers[node], self._rng
        if not teller.is_open:
            return [] if teller.is_opening else [self._open(teller)]
        if len(teller.caller.asked) > 100:
            return []
        match rng.randrange(10):
            case 0 | 1 | 2:
                requests: list[Request] = [self._send(teller) for _ in range(rng.choice((1, 1, 2, 8)))]
                if rng.random() < 0.2:
                    again = rng.choice(teller.sent)  # as a library that does not know what became of it
                    self.history.uncertain.add(again.body.data)
                    requests.append(again)
            case 3:
                requests = [self._ask_for_reply(teller)]
            case 4:
                requests = self._withdrawals(teller)
            case 5:
                requests = self._close(teller) if rng.random() < 0.1 else self._taken(teller)
            case _:
                requests = [self._get(teller, waits=rng.random() < 0.7) for _ in range(rng.choice((1, 2, 4)))]
        requests += self._unfinished(teller)
        return [teller.caller.request(*requests)] if requests else []

    def _message(self, teller: Teller) -> m.Body:
        node, client = teller.connection
        priority = self._rng.randrange(4)
        identity = b"%d %d %d %d " % (node, client, self._number(), priority)
        return m.Body(identity + bytes(self._rng.choice((0, 10, 500))), 0, 0, priority, None)

    def _destination(self) -> str:
        return GROUP if self._rng.random() < 0.2 else _queue(self._rng.choice(self._nodes))

    def _send(self, teller: Teller) -> m.Send:
        busy = {each.number for each in [*teller.caller.asked.values(), *teller.again] if isinstance(each, m.Send)}
        settled = tuple(number for number in teller.settled[:-5] if number not in busy)
        teller.settled = [number for number in teller.settled if number not in settled]
        teller.sent = [each for each in teller.sent if each.number not in settled]
        request = m.Send(self._number(), settled, self._destination(), self._message(teller))
        teller.sent.append(request)
        return request

    def _ask_for_reply(self, teller: Teller) -> m.SendReceive:
        return m.SendReceive(self._number(), (), self._destination(), self._message(teller))

    def _get(self, teller: Teller, *, waits: bool) -> m.Get:
        taken = tuple(teller.held) if self._rng.random() < 0.8 else ()
        self.history.kept.update(teller.held[number] for number in taken)
        return m.Get(teller.handle, self._number(), waits, taken)

    def _taken(self, teller: Teller) -> list[Request]:
        if not teller.held:
            return []
        self.history.kept.update(teller.held.values())
        return [m.Taken(teller.handle, tuple(teller.held))]

    def _close(self, teller: Teller) -> list[Request]:
        """Give the queue back, and say what was taken; the next turn opens it again."""
        for asked in teller.caller.asked.values():
            if isinstance(asked, m.Get):
                self._gives_back(teller, asked.number)
        taken = tuple(teller.held)
        self.history.kept.update(teller.held.values())
        teller.held.clear()
        teller.is_open = False
        return [m.Close((teller.handle,), taken)]

    def _withdrawals(self, teller: Teller) -> list[Request]:
        """End a get or a wait for a reply, as when the time of the application is over."""
        waiting = [each for each in teller.caller.asked.values() if isinstance(each, m.Get | m.SendReceive)]
        if not waiting:
            return []
        if self._rng.random() < 0.1:
            return [m.Cancel(teller.handle)]
        chosen = self._rng.choice(waiting)
        if isinstance(chosen, m.SendReceive):
            return [m.WithdrawReceive(chosen.number)]
        put_back = self._rng.random() < 0.5
        if put_back:
            self._gives_back(teller, chosen.number)
        self.history.disordered.add(teller.connection)
        return [m.Withdraw(teller.handle, chosen.number, put_back)]

    def _gives_back(self, teller: Teller, number: int) -> None:
        teller.withdrawn.add(number)
        self.history.disordered.add(teller.connection)

    def _unfinished(self, teller: Teller) -> list[Request]:
        """Replies that are owed, and what has to be sent again."""
        owed, teller.owed = teller.owed, []
        again, teller.again = teller.again, []
        return again + [
            m.Respond(self._number(), (), sender, m.Body(answer_to(identity), 0, 0, 3, None))
            for sender, identity in owed
        ]

    # ---- what is heard

    def hear(self, node: NodeId, frames: Sequence[bytes], now: float) -> list[NodeEvent]:
        """See `Workload`."""
        teller = self._tellers[node]
        ended: list[Request] = []
        for asked, answer in teller.caller.hear(frames):
            match asked:
                case m.Open():
                    teller.is_opening, teller.is_open = False, isinstance(answer, m.Opened)
                case m.Send():
                    self._sent(teller, asked, answer)
                case m.SendReceive():
                    self._answered(teller, asked, answer)
                case m.Get() if isinstance(answer, m.Got):
                    teller.is_drained = False
                    self._got(teller, asked, answer)
                case m.Get():
                    teller.is_drained = isinstance(answer, m.Withdrawn)
                    if isinstance(answer, Failed) and answer.code == ErrorCode.TIMEOUT:
                        self._gives_back(teller, asked.number)
                        ended.append(m.Withdraw(teller.handle, asked.number, True))
                case m.Withdraw() if isinstance(answer, m.Withdrawn) and not answer.answered:
                    teller.held.pop(asked.number, None)  # it was put back, in a partition without quorum
                case m.Taken() if isinstance(answer, Done):
                    self._took(teller, asked.taken, self.history.confirmed)
                case m.Taken() if answer.code == ErrorCode.NOT_EXIST:
                    self._took(teller, asked.taken, [])
                case m.Respond():
                    self._responded(teller, asked, answer)
                case None if isinstance(answer, m.Lost) and answer.handle == teller.handle:
                    teller.is_open = False
                    teller.held.clear()
                case _:
                    pass
        return [teller.caller.request(*ended)] if ended else []

    def _sent(self, teller: Teller, asked: m.Send, answer: Any) -> None:
        identity = asked.body.data
        if isinstance(answer, Done):
            self.history.acknowledged.add(identity)
        elif answer.code in (ErrorCode.TIMEOUT, ErrorCode.TRY_AGAIN):
            # Another partition may have it all the same: the number sees to it that it is sent once.
            self.history.uncertain.add(identity)
            teller.again.append(asked)
            return
        else:
            self.history.refused.add(identity)
        teller.settled.append(asked.number)

    def _answered(self, teller: Teller, asked: m.SendReceive, answer: Any) -> None:
        identity = asked.body.data
        if isinstance(answer, m.Answered):
            self.history.answers.append((identity, answer.body.data))
        else:
            self.history.ended.add(identity)

    def _got(self, teller: Teller, asked: m.Get, answer: m.Got) -> None:
        if asked.number in teller.withdrawn:
            return
        identity = answer.body.data
        teller.held[asked.number] = identity
        self.history.delivered.append((identity, teller.connection))
        if answer.sender_id is not None:
            teller.owed.append((answer.sender_id, identity))

    def _took(self, teller: Teller, taken: tuple[int, ...], confirmed: list[Identity]) -> None:
        for number in taken:
            identity = teller.held.pop(number, None)
            if identity is not None:
                confirmed.append(identity)

    def _responded(self, teller: Teller, asked: m.Respond, answer: Any) -> None:
        identity = asked.body.data.removeprefix(answer_to(b""))
        if isinstance(answer, Done):
            self.history.replied.add(identity)
        elif answer.code == ErrorCode.TRY_AGAIN:
            teller.owed.append((asked.sender_id, identity))

    def lost(self, node: NodeId, now: float) -> None:
        """See `Workload`."""
        teller = self._tellers[node]
        for asked in teller.caller.lost():
            if isinstance(asked, m.SendReceive):
                self.history.ended.add(asked.body.data)
            elif isinstance(asked, m.Send):
                self.history.uncertain.add(asked.body.data)
        teller.is_open = teller.is_opening = False

    # ---- peace

    def finish(self, node: NodeId, now: float) -> list[NodeEvent]:
        """See `Workload`."""
        teller = self._tellers[node]
        caller = teller.caller
        teller.rounds += 1
        if not teller.is_open:
            return [] if teller.is_opening else [self._open(teller)]
        requests = self._unfinished(teller)
        for asked in list(caller.asked.values()):
            if isinstance(asked, m.Get) and asked.waits:
                self._gives_back(teller, asked.number)
                requests.append(m.Withdraw(teller.handle, asked.number, True))
            elif isinstance(asked, m.SendReceive) and teller.rounds > PATIENCE:
                requests.append(m.WithdrawReceive(asked.number))
        requests += self._taken(teller)
        if not caller.asked and not requests and not teller.is_drained:
            requests += [self._get(teller, waits=False) for _ in range(10)]
        return [caller.request(*requests)] if requests else []

    def is_settled(self) -> bool:
        """See `Workload`."""
        return all(self._is_done(teller) for teller in self._tellers.values())

    def _is_done(self, teller: Teller) -> bool:
        under_way = teller.held or teller.owed or teller.again or teller.caller.asked
        return teller.is_open and teller.is_drained and not under_way

    def check(self, engines: Mapping[NodeId, Engine]) -> list[str]:
        """See `Workload`."""
        snapshot = engines[self._nodes[0]].snapshot()
        assert isinstance(snapshot, m.Snapshot)
        return faults_of(self.history, left_in(snapshot))


def left_in(snapshot: m.Snapshot) -> set[Identity]:
    """What the queues hold, and what is in hand."""
    held = {got.body.data for queue in snapshot.queues for area in queue.areas for _, _, got in area}
    return held | {got.body.data for queue in snapshot.queues for _, (_, _, got) in queue.in_hand}


def _queue(node: NodeId) -> str:
    return f"queue {node}"
