"""The log service as a replicated state machine: what becomes of each request.

    streams    which streams there are, and how far their files are written
    formats    from a record to its line
    limits     what may be asked

A record is drawn once, here; the drivers of the nodes that write the file get its line (`messages.Append`). A write is
answered when every member has the record in its memory; the file follows, outside the order.

Source: SAI-AIS-LOG-A.02.01 chapter 3.
"""

from collections.abc import Sequence
from logging import WARNING
from typing import Any, ClassVar, Final, assert_never

import msgspec

from corosync_amf.ais import NodeId
from corosync_amf.engine import (
    Client,
    ClientGone,
    Done,
    Effect,
    Event,
    Forward,
    Log,
    Membership,
    Message,
    Notice,
    Origin,
    Reply,
    Run,
    Service,
)
from corosync_amf.engine import failed as refusal
from corosync_amf.errors import Access, AisError, BadOperation, InvalidParam, NotSupported, TooBig, TryAgain

from . import messages as m
from .alarms import cleared_notice, failing_notice, forgotten_notice, full_notice
from .formats import Kind, Line
from .limits import WALL_CLOCK_MAX
from .streams import SEVERITIES_ALL, Registry, Stream
from .values import BODY_BYTES_MAX, STREAM_ALARM, STREAM_NOTIFICATION, Severity

NAME_BYTES_MAX: Final = 2048
PROBLEM_BYTES_MAX: Final = 1024
ALARMS: Final = range(0x4001, 0x6000)
"""Event types that go to the alarm stream."""
EVENT_TYPE_MAX: Final = 2**32 - 1
DONE: Final = Done()


class LogEngine:
    """See the module."""

    service: ClassVar[Service] = Service.LOG
    request_type: ClassVar[Any] = m.LogRequest
    query_type: ClassVar[Any] = m.LogQuery
    snapshot_type: ClassVar[type[msgspec.Struct]] = m.Snapshot
    remnant_type: ClassVar[Any] = m.Remnant

    def __init__(self) -> None:
        self._registry = Registry()
        self._members: tuple[NodeId, ...] = ()
        self._failing: set[tuple[NodeId, int]] = set()
        """Nodes that cannot write the file of a stream, by its number."""

    # ---- the engine protocol

    def apply(self, message: m.LogRequest, origin: Origin) -> list[Effect]:
        """See `Engine`."""
        try:
            match message:
                case m.Write():
                    return self._write(message, origin)
                case m.WriteNotification():
                    return self._write_notification(message, origin)
                case m.Open():
                    return self._open(message, origin)
                case m.Close(handles):
                    return [*self._close(origin.client, handles), Reply(origin, DONE)]
                case m.SetFilter(name, severities):
                    return self._set_filter(name, severities, origin)
                case ClientGone():
                    return self._client_gone(origin.client)
                case Notice():
                    return self._note(message, origin)
                case m.FileState():
                    return self._file_state(message, origin)
                case _:
                    assert_never(message)
        except AisError as error:
            return [Reply(origin, refusal(error))]

    def query(self, message: m.LogQuery, client: Client) -> Message:
        """See `Engine`."""
        try:
            match message:
                case m.ListStreams(name):
                    registry = self._registry
                    chosen = registry.listed() if name is None else [registry.named(name)]
                    return m.Streams([stream.shown() for stream in chosen])
                case m.ReadFile():
                    raise NotSupported("files are read by the drivers")
                case _:
                    assert_never(message)
        except AisError as error:
            return refusal(error)

    def membership(self, change: Membership) -> list[Effect]:
        """See `Engine`. What a lost node's clients had open is closed."""
        self._members = change.members
        present = frozenset(change.members) - change.left
        streams = {stream.number: stream for stream in self._registry.streams.values()}
        failing = [(node, streams[number]) for node, number in sorted(self._failing)]
        effects = self._forgotten([each for each in failing if each[0] not in present])
        for client in sorted(self._registry.handles):
            if client.node not in present:
                effects += self._client_gone(client)
        return effects

    def snapshot(self) -> m.Snapshot:
        """See `Engine`."""
        registry = self._registry
        return m.Snapshot(
            self._members,
            registry.numbers,
            registry.closed,
            registry.stream_records(),
            registry.handle_records(),
            sorted(self._failing),
        )

    def restore(self, snapshot: m.Snapshot) -> None:
        """See `Engine`."""
        state = snapshot
        self._registry = Registry.restored(state.numbers, state.closed, state.streams, state.handles)
        self._members = state.members
        self._failing = set(state.failing)

    def remnant(self, node: NodeId) -> m.Remnant:
        """See `Engine`. How far every stream had come, and what the node's clients have open."""
        handles = [record for record in self._registry.handle_records() if record.client.node == node]
        failing = sorted(number for each, number in self._failing if each == node)
        return m.Remnant(self._registry.stream_records(), handles, failing)

    def merge(self, remnant: m.Remnant, origin: Origin) -> list[Effect]:
        """See `Engine`. Streams of the node's clients are made again if they have gone; record numbers go on growing.

        A stream that has other attributes meanwhile keeps those.
        """
        records = {record.number: record for record in remnant.streams}
        effects: list[Effect] = []
        for held in remnant.handles:
            record = records.get(held.stream)
            is_known = held.number in self._registry.handles.get(held.client, ())
            if record is None or is_known or held.client.node != origin.client.node:
                continue
            try:
                stream = self._registry.streams.get(record.name)
                if stream is None:
                    stream = self._registry.create(record.name, record.attributes)
                    effects += self._commanded(m.Append(stream.file, b""))
            except AisError as error:
                effects.append(Log(WARNING, f"LOG: {held.client} has lost stream {record.name}: {error}"))
                continue
            self._registry.attach(held.client, held.number, stream, held.is_filtered)
            if held.is_filtered and stream.severities != record.severities:
                effects.append(Event(held.client, m.Filter(held.number, stream.severities)))
        for record in remnant.streams:
            stream = self._registry.streams.get(record.name)
            if stream is not None:
                stream.records = max(stream.records, record.records)
                if record.number in remnant.failing:
                    effects += self._fails(stream, origin.client.node, "it could not before it came back, either")
        return effects

    # ---- opening, closing

    def _open(self, message: m.Open, origin: Origin) -> list[Effect]:
        if _is_long(message.name):
            raise TooBig(f"a name has at most {NAME_BYTES_MAX} bytes")
        made = self._registry.numbers
        stream = self._registry.open(origin.client, message)
        effects: list[Effect] = [Reply(origin, m.Opened(stream.attributes))]
        if message.is_filtered and stream.severities != SEVERITIES_ALL:
            effects.append(Event(origin.client, m.Filter(message.handle, stream.severities)))
        if self._registry.numbers > made:
            effects += self._commanded(m.Append(stream.file, b""))
        return effects

    def _close(self, client: Client, numbers: Sequence[int]) -> list[Effect]:
        effects: list[Effect] = []
        for stream in self._registry.close(client, numbers):
            failing = [node for node, number in sorted(self._failing) if number == stream.number]
            effects += self._forgotten([(node, stream) for node in failing])
            effects += [Run(node, m.CloseFile(stream.file)) for node in self._members]
            if stream.warned:
                effects.append(Forward(Service.NTF, cleared_notice(stream.name)))
        return effects

    def _client_gone(self, client: Client) -> list[Effect]:
        return self._close(client, sorted(self._registry.handles.get(client, ())))

    # ---- writing

    def _write(self, message: m.Write, origin: Origin) -> list[Effect]:
        stream = self._registry.stream(origin.client, message.handle)
        severity, body = message.severity, message.body
        if not 0 <= severity <= Severity.INFO:
            raise InvalidParam("no such severity")
        stream.check_kind(Kind.GENERIC)
        time = _time_of(message.time_stamp, origin)
        _check_sizes(body, message.user)
        if not stream.severities >> severity & 1:
            return [Reply(origin, m.Written(0), message.safe)]
        line = Line(stream.records + 1, time, body, message.class_id, severity, message.user)
        return self._appended(stream, line, origin, safe=message.safe)

    def _write_notification(self, message: m.WriteNotification, origin: Origin) -> list[Effect]:
        stream = self._registry.stream(origin.client, message.handle)
        if not 0 <= message.event_type <= EVENT_TYPE_MAX or message.notification_id < 0:
            raise InvalidParam("no such event type or notification id")
        stream.check_kind(Kind.NOTIFICATION)
        time = _time_of(message.time_stamp, origin)
        event_time = _time_of(message.event_time, origin)
        _check_sizes(message.body, message.notification_object, message.notifying_object)
        line = Line(
            stream.records + 1,
            time,
            message.body,
            message.class_id,
            notification_id=message.notification_id,
            event_type=message.event_type,
            event_time=event_time,
            notification_object=message.notification_object,
            notifying_object=message.notifying_object,
        )
        return self._appended(stream, line, origin, safe=message.safe)

    def _appended(self, stream: Stream, line: Line, origin: Origin, *, safe: bool) -> list[Effect]:
        if stream.is_halted:
            raise TryAgain(f"{stream.name} has halted: its file is full")
        try:
            effects = self._append(stream, line, origin.time)
        except TryAgain as error:
            return [Reply(origin, refusal(error)), *_warned(stream, refused=True)]
        return [*effects, Reply(origin, m.Written(stream.records), safe), *_warned(stream, refused=False)]

    def _append(self, stream: Stream, line: Line, time: float) -> list[Effect]:
        """Raises: TryAgain: the file is full."""
        drawn = stream.draw(line)
        append = stream.append(drawn, "" if stream.fits(drawn) else self._registry.closed_name(stream, _clock(time)))
        if append.closed:
            self._registry.closed += 1
        return self._commanded(append)

    def _commanded(self, append: m.Append) -> list[Effect]:
        """The line, to those who write the file: every member, or only the lowest."""
        writers = self._members if append.file.is_everywhere else self._members[:1]
        return [Run(node, append) for node in writers]

    def _note(self, message: Notice, origin: Origin) -> list[Effect]:
        """A notification is written as it passes NTF."""
        if origin.client.number:
            raise Access("only executives may say this")
        stream = self._registry.named(STREAM_ALARM if message.event_type in ALARMS else STREAM_NOTIFICATION)
        time = _clock(origin.time)
        line = Line(
            stream.records + 1,
            time,
            message.text.encode(errors="replace"),
            message.class_id,
            notification_id=message.identifier,
            event_type=message.event_type,
            event_time=time,
            notification_object=message.notification_object,
            notifying_object=message.notifying_object,
        )
        return self._append(stream, line, time)

    # ---- administration

    def _set_filter(self, name: str, severities: int, origin: Origin) -> list[Effect]:
        if not 0 <= severities <= SEVERITIES_ALL:
            raise InvalidParam("no such severities")
        stream = self._registry.named(name)
        if stream.kind is Kind.NOTIFICATION:
            raise BadOperation(f"records of {name} have no severity")
        effects: list[Effect] = [Reply(origin, DONE)]
        if severities != stream.severities:
            stream.severities = severities
            followers = self._registry.followers(stream)
            effects += [Event(client, m.Filter(handle.number, severities)) for client, handle in followers]
        return effects

    def _file_state(self, message: m.FileState, origin: Origin) -> list[Effect]:
        """An executive can write a file no more, or again: operators hear of it once."""
        if origin.client.number:
            raise Access("only executives may say this")
        stream = next((each for each in self._registry.streams.values() if each.number == message.stream), None)
        if stream is None or origin.client.node not in self._members:
            return []
        return self._fails(stream, origin.client.node, message.problem[:PROBLEM_BYTES_MAX])

    def _fails(self, stream: Stream, node: NodeId, problem: str) -> list[Effect]:
        key = (node, stream.number)
        if bool(problem) == (key in self._failing):
            return []
        self._failing ^= {key}
        return [Forward(Service.NTF, failing_notice(stream.name, node, problem))]

    def _forgotten(self, gone: Sequence[tuple[NodeId, Stream]]) -> list[Effect]:
        """Nothing more will be heard of these nodes' files: the alarms about them are over."""
        self._failing.difference_update((node, stream.number) for node, stream in gone)
        return [Forward(Service.NTF, forgotten_notice(stream.name, node)) for node, stream in gone]


def _warned(stream: Stream, *, refused: bool) -> list[Effect]:
    level = stream.warning(refused=refused)
    return [Forward(Service.NTF, full_notice(stream.name, level))] if level else []


def _clock(time: float) -> float:
    """Wall clock as a calendar can show it."""
    return min(max(time, 0.0), WALL_CLOCK_MAX - 1)


def _time_of(given: float | None, origin: Origin) -> float:
    if given is None:
        return _clock(origin.time)
    if not 0 <= given < WALL_CLOCK_MAX:
        raise InvalidParam("a time must be seconds since the epoch")
    return given


def _check_sizes(body: bytes, *names: str) -> None:
    if len(body) > BODY_BYTES_MAX:
        raise TooBig(f"a record has at most {BODY_BYTES_MAX} bytes")
    if any(_is_long(name) for name in names):
        raise TooBig(f"a name has at most {NAME_BYTES_MAX} bytes")


def _is_long(name: str) -> bool:
    return len(name) > NAME_BYTES_MAX or (4 * len(name) > NAME_BYTES_MAX and len(name.encode()) > NAME_BYTES_MAX)
