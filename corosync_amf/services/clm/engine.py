"""The cluster membership service as a replicated state machine: views, who follows them, operations on nodes.

A node is a member while its executive is in the ring and it is not locked. Names carry the locks: a locked node stays
so when it leaves and comes back. An operation takes steps: VALIDATE (if asked for), START, then it is COMPLETED.

Source: SAI-AIS-CLM-B.04.01 chapter 3.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, assert_never

import msgspec

from corosync_amf.ais import Admin, ErrorCode, NodeId, TrackFlags
from corosync_amf.engine import (
    Alarm,
    Client,
    ClientGone,
    Done,
    Effect,
    Event,
    Failed,
    Forward,
    Membership,
    Message,
    NodeCleared,
    NodeStanding,
    Origin,
    Reply,
    Run,
    Service,
    failed,
)
from corosync_amf.errors import (
    Access,
    AisError,
    BadFlags,
    BadOperation,
    FailedOperation,
    Interrupt,
    InvalidParam,
    NoOp,
    NotExist,
    NotSupported,
    TryAgain,
)

from . import messages as m
from .messages import MemberRecord, NodeOperation, OperationRecord
from .roster import Roster
from .values import ChangeStep, ClusterChange, Response
from .views import (
    CHANGE_FLAGS,
    NODE_ADMIN_STATE,
    Changes,
    dn_of,
    name_of,
    named,
    node_of,
    notice,
    problem_of_flags,
)

DONE: Final = Done()
OUTCOME_UNKNOWN: Final = Failed(ErrorCode.TIMEOUT, "another partition's state stands: look what became of the node")
LOCK, UNLOCK, SHUTDOWN = NodeOperation.LOCK, NodeOperation.UNLOCK, NodeOperation.SHUTDOWN
VALIDATE, START, ABORTED = ChangeStep.VALIDATE, ChangeStep.START, ChangeStep.ABORTED


@dataclass(frozen=True, slots=True)
class ClmSettings:
    """What the configuration says, alike on all nodes.

    `node_names`: nodes that are known before they were ever seen. `node_lock_callback_timeout`: seconds that trackers
    have to answer. `quorum_votes`: what the members must have together (0: no quorum is configured); a node that
    `votes` leaves out has one. `resettable`: names, ids or addresses of the nodes that have a reset command.
    `has_amf`: AMF runs, and moves work away before a node is locked.
    """

    node_names: frozenset[str] = frozenset()
    node_lock_callback_timeout: float = 10.0
    quorum_votes: int = 0
    votes: Mapping[str, int] = field(default_factory=dict)
    resettable: frozenset[str] = frozenset()
    has_amf: bool = False


class ClmEngine:
    """See the module. What stands in the order at an operation of each name is in `_operations`."""

    service: ClassVar[Service] = Service.CLM
    request_type: ClassVar[Any] = m.ClmRequest
    query_type: ClassVar[Any] = m.ClmQuery
    snapshot_type: ClassVar[type[msgspec.Struct]] = m.Snapshot
    remnant_type: ClassVar[Any] = m.Remnant

    def __init__(self, settings: ClmSettings | None = None) -> None:
        self._settings = settings or ClmSettings()
        self._roster = Roster(self._settings.node_names)
        self._operations: dict[str, OperationRecord] = {}
        self._numbers = 0

    # ---- the engine protocol

    def apply(self, message: m.ClmRequest, origin: Origin) -> list[Effect]:
        """See `Engine`."""
        try:
            match message:
                case m.Track(flags, as_event):
                    return self._track(flags, as_event, origin)
                case m.TrackStop():
                    return self._track_stop(origin)
                case m.Respond(invocation, response):
                    return self._respond(invocation, response, origin)
                case m.FetchNode(node_id):
                    return [Reply(origin, m.Node(self._roster.node(node_id, origin.client)))]
                case m.Operate():
                    return self._operate(message, origin)
                case m.Reset(name):
                    return [Reply(origin, DONE), *self._reset(name)]
                case m.StepOver(number):
                    _check_executive(origin)
                    return self._step_over(number)
                case NodeCleared(name):
                    _check_executive(origin)
                    return self._cleared(name)
                case ClientGone():
                    self._roster.trackers.pop(origin.client, None)
                    return self._withdraw(lambda client: client == origin.client)
                case _:
                    assert_never(message)
        except AisError as error:
            return [Reply(origin, failed(error))]

    def query(self, message: m.ClmQuery, client: Client) -> Message:
        """See `Engine`."""
        try:
            match message:
                case m.GetNode(node_id):
                    return m.Node(self._roster.node(node_id, client))
                case m.GetView(flags):
                    self._roster.check_available(client)
                    return m.View(self._roster.view(flags & TrackFlags.LOCAL, client))
                case m.ListNodes():
                    return m.Nodes(self._roster.view_number, self._roster.quorate, self._infos())
                case _:
                    assert_never(message)
        except AisError as error:
            return failed(error)

    def _infos(self) -> list[m.NodeInfo]:
        infos: list[m.NodeInfo] = []
        for name in sorted(self._roster.known):
            operation = self._operations.get(name)
            admin = Admin.LOCKED if name in self._roster.locked else Admin.UNLOCKED
            if operation is not None and operation.operation is SHUTDOWN and operation.step is START:
                admin = Admin.SHUTTING_DOWN
            infos.append(self._roster.info(name, admin))
        return infos

    def membership(self, change: Membership) -> list[Effect]:
        """See `Engine`."""
        roster, present = self._roster, frozenset(change.members) - change.left
        before, version, was_quorate = set(roster.locked), roster.locks_version, roster.quorate
        roster.trackers = {client: flags for client, flags in roster.trackers.items() if client.node in present}
        over = [self._operations[name] for name in sorted(self._operations) if not self._stays(name, present)]
        effects = roster.enter(change, [operation.name for operation in over])
        for operation in over:
            effects += self._left_by_itself(operation)
        recalled = (roster.locked ^ before) - {operation.name for operation in over}
        effects += self._recalled(sorted(recalled))
        for node in sorted(change.joined):
            if node in roster.ring and roster.ring[node].facts.name in roster.locked - recalled:
                effects += self._amf_told(roster.ring[node].facts.name, Admin.LOCKED)
        is_new = version != roster.locks_version or not was_quorate
        effects += roster.remember_locks(None if is_new else change.joined)
        return effects + self._withdraw(lambda client: client.node not in present)

    def _recalled(self, names: list[str]) -> list[Effect]:
        """A node that joins remembers that these are locked, or are not locked any more."""
        roster = self._roster
        effects: list[Effect] = []
        for name in names:
            operation, record, is_locked = self._operations.get(name), roster.named(name), name in roster.locked
            states = (Admin.LOCKED, Admin.UNLOCKED) if is_locked else (Admin.UNLOCKED, Admin.LOCKED)
            effects += self._admin_is(name, *states) if operation is None else self._left_by_itself(operation)
            if record is not None and is_locked:
                effects += self._without_trackers(record.facts.node_id)
        return effects

    def _stays(self, name: str, present: frozenset[NodeId]) -> bool:
        record = self._roster.named(name)
        return record is not None and record.facts.node_id in present

    def snapshot(self) -> m.Snapshot:
        """See `Engine`."""
        roster = self._roster
        return m.Snapshot(
            roster.view_number,
            self._numbers,
            roster.quorate,
            [roster.ring[node] for node in sorted(roster.ring)],
            sorted(roster.known),
            sorted(roster.locked),
            [m.TrackerRecord(client, roster.trackers[client]) for client in sorted(roster.trackers)],
            [self._operations[name] for name in sorted(self._operations)],
            roster.locks_version,
        )

    def restore(self, snapshot: m.Snapshot) -> None:
        """See `Engine`."""
        state = snapshot
        roster = self._roster = Roster(frozenset(state.known))
        roster.view_number = state.view_number
        roster.quorate = state.quorate
        roster.ring = {record.facts.node_id: record for record in state.ring}
        roster.locked, roster.locks_version = set(state.locked), state.locks_version
        roster.trackers = {record.client: record.flags for record in state.trackers}
        self._operations = {record.name: record for record in state.operations}
        self._numbers = state.numbers

    def remnant(self, node: NodeId) -> m.Remnant:
        """See `Engine`."""
        roster = self._roster
        trackers = [
            m.TrackerRecord(client, roster.trackers[client])
            for client in sorted(roster.trackers)
            if client.node == node
        ]
        callers = sorted(each.caller for each in self._operations.values() if each.caller.client.node == node)
        return m.Remnant(roster.view_number, roster.members(), trackers, callers, roster.locks())

    def merge(self, remnant: m.Remnant, origin: Origin) -> list[Effect]:
        """See `Engine`. View numbers never repeat: they go on after the highest of all partitions.

        The trackers of the node go on, and are told the present view as a change of the last one they have seen.
        """
        node, roster = origin.client.node, self._roster
        effects: list[Effect] = [
            Reply(caller, OUTCOME_UNKNOWN) for caller in remnant.callers if caller.client.node == node
        ]
        if remnant.view_number >= roster.view_number:
            roster.view_number = remnant.view_number
            effects += roster.count_on(node)
        effects += roster.meet(remnant.locks)
        if roster.is_member(node):
            trackers = {each.client: each.flags for each in remnant.trackers if each.client.node == node}
            effects += roster.rejoined(trackers, remnant.members)
        return effects

    def is_member(self, node_id: NodeId) -> bool:
        """Whether a node is a member: in the ring and not locked. For what hosts the engine."""
        return self._roster.is_member(node_id)

    # ---- tracking

    def _track(self, flags: int, as_event: bool, origin: Origin) -> list[Effect]:
        roster, client = self._roster, origin.client
        roster.check_available(client)
        if problem := problem_of_flags(flags):
            raise BadFlags(problem)
        if flags & CHANGE_FLAGS:
            roster.trackers[client] = flags
        view = roster.view(flags & TrackFlags.LOCAL, client)
        effects: list[Effect] = [Reply(origin, m.View(view))]
        if as_event:
            effects.append(Event(client, m.Tracked(view, ChangeStep.COMPLETED, "the present view")))
        return effects

    def _track_stop(self, origin: Origin) -> list[Effect]:
        self._roster.check_available(origin.client)
        if self._roster.trackers.pop(origin.client, None) is None:
            raise NotExist("nothing is tracked")
        return [Reply(origin, DONE), *self._withdraw(lambda client: client == origin.client)]

    # ---- operations

    def _operate(self, message: m.Operate, origin: Origin) -> list[Effect]:
        name, roster = name_of(message.name), self._roster
        if name not in roster.known:
            raise NotExist(f"no node {name!r}")
        running, is_locked = self._operations.get(name), name in roster.locked
        if message.operation is UNLOCK:
            if running is not None:
                raise TryAgain(f"another operation runs on node {name!r}")
            if not is_locked:
                raise NoOp(f"node {name!r} is not locked")
            return self._unlock(name, origin)
        if is_locked or (running is not None and running.operation is message.operation is SHUTDOWN):
            raise NoOp(f"node {name!r} is {'locked' if is_locked else 'shutting down'} already")
        if running is not None and (running.operation, message.operation) != (SHUTDOWN, LOCK):
            raise TryAgain(f"another operation runs on node {name!r}")
        if not message.force:
            self._check_quorum(name)
        effects: list[Effect] = []
        if running is not None:
            interrupted = Interrupt(f"node {name!r} is locked instead")
            effects = [Reply(running.caller, failed(interrupted)), *self._ended(running)]
        record = roster.named(name)
        if record is None:
            roster.lock([name])
            effects += [*roster.remember_locks(), Reply(origin, DONE)]
            return effects + self._admin_is(name, Admin.LOCKED, Admin.UNLOCKED)
        step = VALIDATE if message.validate else START
        return effects + self._begin(OperationRecord(0, name, message.operation, step, origin, (), ()), record)

    def _unlock(self, name: str, origin: Origin) -> list[Effect]:
        self._roster.unlock(name)
        record = self._roster.named(name)
        effects = self._roster.remember_locks()
        if record is not None:
            effects += self._roster.turn({record.facts.node_id}, [], f"{named(record.facts)} unlocked")
        return [*effects, Reply(origin, DONE), *self._admin_is(name, Admin.UNLOCKED, Admin.LOCKED)]

    def _check_quorum(self, name: str) -> None:
        """Raises: BadOperation: the others would not have a quorum."""
        record = self._roster.named(name)
        if record is None:
            return
        others = [each.facts.name for each in self._roster.members() if each.facts.name != name]
        votes = sum(self._settings.votes.get(other, 1) for other in others)
        if not others or votes < self._settings.quorum_votes:
            raise BadOperation(f"without node {name!r} the cluster has no quorum")

    def _begin(self, operation: OperationRecord, record: MemberRecord) -> list[Effect]:
        """Tell the trackers of a step and wait for their answers; without any, go on."""
        asked = self._roster.asked(
            TrackFlags.VALIDATE_STEP if operation.step is VALIDATE else TrackFlags.START_STEP, record.facts.node_id
        )
        first = self._numbers + 2
        self._numbers += 1 + len(asked)
        waiting = tuple(enumerate(asked, first))
        told = operation.asked + tuple(client for client in asked if client not in operation.asked)
        is_clearing = operation.step is START and self._settings.has_amf
        operation = msgspec.structs.replace(
            operation, number=first - 1, asked=told, waiting=waiting, is_clearing=is_clearing
        )
        if not asked and not is_clearing:
            return self._go_on(operation)
        self._operations[operation.name] = operation
        limit = self._settings.node_lock_callback_timeout
        time = None if operation.operation is SHUTDOWN and operation.step is START else limit
        effects = self._told(operation, record, time)
        effects.append(Alarm(_alarm(operation), time, None if time is None else m.StepOver(operation.number)))
        if operation.step is START and operation.operation is SHUTDOWN:
            return effects + self._admin_is(operation.name, Admin.SHUTTING_DOWN, Admin.UNLOCKED)
        return effects + (self._amf_told(operation.name, Admin.LOCKED) if is_clearing else [])

    def _told(self, operation: OperationRecord, record: MemberRecord, time: float | None) -> list[Effect]:
        """One event for each that is asked, as if the change had happened."""
        roster, change = self._roster, LEFT_BY[operation.operation]
        changes: Changes = {record.facts.node_id: (node_of(record, member=True), change)}
        reason = f"{named(record.facts)} is to be {DONE_TO[operation.operation]}"
        cause = dn_of(operation.name)
        return [
            Event(
                client,
                m.Tracked(
                    roster.view(roster.trackers[client], client, changes),
                    operation.step,
                    reason,
                    cause,
                    invocation,
                    time,
                ),
            )
            for invocation, client in operation.waiting
        ]

    def _respond(self, invocation: int, response: Response, origin: Origin) -> list[Effect]:
        self._roster.check_available(origin.client)
        for operation in self._operations.values():
            if (invocation, origin.client) in operation.waiting:
                break
        else:
            raise InvalidParam(f"invocation {invocation} waits for no answer")
        reply = Reply(origin, DONE)
        if operation.step is VALIDATE and response is Response.REJECTED:
            return [reply, *self._rejected(operation, origin.client)]
        return [reply, *self._answered(operation, lambda client: client == origin.client)]

    def _answered(self, operation: OperationRecord, has: Callable[[Client], bool]) -> list[Effect]:
        waiting = tuple(each for each in operation.waiting if not has(each[1]))
        operation = msgspec.structs.replace(operation, waiting=waiting)
        self._operations[operation.name] = operation
        return [] if waiting or operation.is_clearing else self._go_on(operation)

    def _withdraw(self, has: Callable[[Client], bool]) -> list[Effect]:
        """Who is gone or tracks no more is not waited for."""
        effects: list[Effect] = []
        for name in sorted(self._operations):
            operation = self._operations.get(name)
            if operation is not None and any(has(client) for _, client in operation.waiting):
                effects += self._answered(operation, has)
        return effects

    def _step_over(self, number: int) -> list[Effect]:
        for operation in self._operations.values():
            if operation.number == number:
                return self._go_on(msgspec.structs.replace(operation, waiting=(), is_clearing=False))
        return []

    def _cleared(self, name: str) -> list[Effect]:
        """AMF has moved the work of a node away."""
        operation = self._operations.get(name)
        if operation is None or not operation.is_clearing:
            return []
        self._operations[name] = operation = msgspec.structs.replace(operation, is_clearing=False)
        return [] if operation.waiting else self._go_on(operation)

    def _admin_is(self, name: str, state: Admin, before: Admin) -> list[Effect]:
        """A node's admin state has changed."""
        text = f"node {name!r}: {before.name} -> {state.name}"
        return [notice(NODE_ADMIN_STATE, name, text, (before, state)), *self._amf_told(name, state)]

    def _amf_told(self, name: str, state: Admin) -> list[Effect]:
        """Tell AMF how a node stands."""
        if not self._settings.has_amf:
            return []
        record = self._roster.named(name)
        node_id, address = (0, "") if record is None else (record.facts.node_id, record.facts.address)
        return [Forward(Service.AMF, NodeStanding(name, node_id, address, state))]

    def _go_on(self, operation: OperationRecord) -> list[Effect]:
        """A step is over: the next one, or the end."""
        record = self._roster.named(operation.name)
        if record is None:
            return [*self._left_by_itself(operation), *self._roster.remember_locks()]
        if operation.step is VALIDATE:
            return self._begin(msgspec.structs.replace(operation, step=START), record)
        effects = self._ended(operation)
        roster = self._roster
        roster.lock([operation.name])
        effects += roster.remember_locks()
        effects += roster.turn(set(), [record], f"{named(record.facts)} {DONE_TO[operation.operation]}")
        effects += [Reply(operation.caller, DONE), *self._admin_is(operation.name, Admin.LOCKED, _admin_in(operation))]
        return effects + self._without_trackers(record.facts.node_id)

    def _without_trackers(self, node: NodeId) -> list[Effect]:
        """A node is locked: nobody follows the membership there any more."""
        trackers = self._roster.trackers
        gone = [client for client in trackers if client.number and client.node == node]
        for client in gone:
            del trackers[client]
        return self._withdraw(lambda client: client in gone)

    def _left_by_itself(self, operation: OperationRecord) -> list[Effect]:
        """The node left before its operation was over: that is all there was to do but to lock it."""
        self._roster.lock([operation.name])
        effects = [*self._ended(operation), Reply(operation.caller, DONE)]
        return effects + self._admin_is(operation.name, Admin.LOCKED, _admin_in(operation))

    def _rejected(self, operation: OperationRecord, by: Client) -> list[Effect]:
        record = self._roster.named(operation.name)
        effects = self._ended(operation)
        refusal = FailedOperation(f"client {by.number} on node {by.node} rejected it")
        if record is not None:
            changes: Changes = {record.facts.node_id: (node_of(record, member=True), ClusterChange.NO_CHANGE)}
            told = self._roster.told(changes, ABORTED, refusal.reason, dn_of(operation.name))
            effects += [each for each in told if isinstance(each, Event) and each.to in operation.asked]
        return [*effects, Reply(operation.caller, failed(refusal))]

    def _ended(self, operation: OperationRecord) -> list[Effect]:
        self._operations.pop(operation.name, None)
        return [Alarm(_alarm(operation), None)]

    def _reset(self, name: str | None) -> list[Effect]:
        roster = self._roster
        names = sorted(each.facts.name for each in roster.ring.values()) if name is None else [name_of(name)]
        found: list[NodeId] = []
        for each in names:
            record = roster.named(each)
            if record is None:
                raise NotExist(f"no node {each!r} in the cluster")
            facts = record.facts
            if self._settings.resettable.isdisjoint((facts.name, str(facts.node_id), facts.address)):
                raise NotSupported(f"node {each!r} has no reset command")
            found.append(facts.node_id)
        return [Run(node_id, m.ResetNode()) for node_id in found]


DONE_TO: Final = {LOCK: "locked", UNLOCK: "unlocked", SHUTDOWN: "shut down"}
LEFT_BY: Final = {LOCK: ClusterChange.LEFT, UNLOCK: ClusterChange.UNLOCK, SHUTDOWN: ClusterChange.SHUTDOWN}


def _admin_in(operation: OperationRecord) -> Admin:
    """The admin state of a node while the operation runs."""
    return Admin.SHUTTING_DOWN if operation.operation is SHUTDOWN else Admin.UNLOCKED


def _check_executive(origin: Origin) -> None:
    """Raises: Access: a client says what only executives may say."""
    if origin.client.number:
        raise Access("only executives may say this")


def _alarm(operation: OperationRecord) -> str:
    return f"step {operation.name}"
