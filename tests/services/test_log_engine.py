"""LOG as a replicated state machine: streams, files, filters, partitions."""

import re
from typing import Any

import pytest

from corosync_amf import errors
from corosync_amf.engine import Client, Done, Notice, Origin, Service
from corosync_amf.errors import AisError
from corosync_amf.services.log import messages as m
from corosync_amf.services.log.engine import LogEngine
from corosync_amf.services.log.values import (
    DEFAULT_FORMAT,
    STREAM_ALARM,
    STREAM_NOTIFICATION,
    STREAM_SYSTEM,
    FullAction,
)
from corosync_amf.wire import decode, encode

from .harness import Answer, Replicas, refused

ONE, OTHER, THIRD = Client(1, 1), Client(2, 1), Client(3, 1)
ROTATE, WRAP, HALT = FullAction.ROTATE, FullAction.WRAP, FullAction.HALT


def attributes(name: str = "calls", action: int = ROTATE, size: int = 400, **changes: Any) -> m.Attributes:
    fields: dict[str, Any] = {
        "file_name": name,
        "path_name": ".",
        "file_bytes_max": size,
        "record_bytes_max": 150,
        "is_everywhere": True,
        "full_action": action,
        "files_max": 3,
        "format": "@Cr @Cb",
    }
    return m.Attributes(**fields | changes)


@pytest.fixture
def replicas() -> Replicas:
    return Replicas(LogEngine)


def opened(replicas: Replicas, client: Client, name: str, attributes: m.Attributes | None = None, **more: Any) -> None:
    answer = replicas.send(client, m.Open(1, name, attributes, **more))
    assert isinstance(answer.message, m.Opened), answer.error


def write(replicas: Replicas, client: Client, body: bytes, handle: int = 1, severity: int = 6) -> Answer:
    return replicas.send(client, m.Write(handle, body, severity, "user"))


def appended(replicas: Replicas, node: int = 1) -> list[m.Append]:
    """What a node was to write since the last call."""
    mine = [command for to, command in replicas.commands if to == node]
    replicas.commands = [(to, command) for to, command in replicas.commands if to != node]
    return [command for command in mine if isinstance(command, m.Append) and command.line]


def shown(replicas: Replicas, name: str, node: int = 1) -> m.StreamShown:
    answer = replicas.ask(Client(node, 9), m.ListStreams(name))
    assert isinstance(answer, m.Streams)
    return answer.streams[0]


# ---- well-known streams


def test_the_well_known_streams_are_there_from_the_start(replicas: Replicas) -> None:
    answer = replicas.ask(ONE, m.ListStreams())
    assert isinstance(answer, m.Streams)
    assert [stream.name for stream in answer.streams] == [STREAM_ALARM, STREAM_NOTIFICATION, STREAM_SYSTEM]
    opened(replicas, ONE, STREAM_SYSTEM)
    assert replicas.send(ONE, m.Close((1, 7))).message == Done()
    assert shown(replicas, STREAM_SYSTEM).opened == 0


def test_a_record_is_written_on_every_member_and_answered_when_all_have_it(replicas: Replicas) -> None:
    opened(replicas, ONE, STREAM_SYSTEM)
    opened(replicas, OTHER, STREAM_SYSTEM)
    answer = write(replicas, ONE, b"ready", severity=5)
    assert (answer.message, answer.safe) == (m.Written(1), True)
    assert write(replicas, OTHER, b"too").message == m.Written(2)
    lines = [[append.line for append in appended(replicas, node)] for node in (1, 2, 3)]
    assert lines[0] == [b'1 13:46:40 01/12/1970 NO user "ready"\n', b'2 13:46:40 01/12/1970 IN user "too"\n']
    assert lines[1] == lines[2] == lines[0]


def test_a_record_that_wants_no_acknowledgement_is_answered_at_once(replicas: Replicas) -> None:
    opened(replicas, ONE, STREAM_SYSTEM)
    answer = replicas.send(ONE, m.Write(1, b"quick", 6, "user", False))
    assert (answer.message, answer.safe) == (m.Written(1), False)


def test_the_time_of_a_record_is_its_own_if_it_has_one(replicas: Replicas) -> None:
    opened(replicas, ONE, STREAM_SYSTEM)
    replicas.send(ONE, m.Write(1, b"old", 6, "user", True, 0.0))
    assert appended(replicas)[0].line == b'1 00:00:00 01/01/1970 IN user "old"\n'


def test_notifications_go_to_their_stream_as_they_pass(replicas: Replicas) -> None:
    alarm = Notice(0x4003, "safSu=1", "safApp=amf", (18568, 0, 0), "it broke", 4, identifier=17)
    executive = Client(2, 0)
    for event_type in (0x4001, 0x5FFF):
        replicas.send(executive, Notice(event_type, *[getattr(alarm, name) for name in alarm.__struct_fields__[1:]]))
    for event_type in (0x4000, 0x6000, 0x3001):
        replicas.send(executive, Notice(event_type, "o", "n", (1, 2, 3), "text"))
    assert (shown(replicas, STREAM_ALARM).records, shown(replicas, STREAM_NOTIFICATION).records) == (2, 3)
    line = appended(replicas)[0].line.decode()
    time = f"{10**15:#018x}"
    assert line == f'1 {time} {time} 0x4001 safSu=1 safApp=amf "it broke"\n'
    assert isinstance(refused(replicas.send(ONE, alarm)), errors.Access)


# ---- refusals


BAD_ATTRIBUTES = [
    attributes(""),
    attributes("a/b"),
    attributes(".."),
    attributes("a\n"),
    attributes("x" * 201),
    attributes("calls_20270115_080000_0001"),
    attributes(path_name="/etc"),
    attributes(path_name="../x"),
    attributes(path_name="a/../../x"),
    attributes(path_name="a/./b"),
    attributes(path_name=""),
    attributes(path_name="x" * 300),
    attributes(path_name="x/" * 600 + "y"),
    attributes(record_bytes_max=149),
    attributes(record_bytes_max=65_536, file_bytes_max=100_000),
    attributes(file_bytes_max=149),
    attributes(file_bytes_max=2**41),
    attributes(full_action=0),
    attributes(full_action=4),
    attributes(files_max=0),
    attributes(files_max=1001),
    attributes(files_max=-1, full_action=HALT),
    attributes(format="@Zz"),
    attributes(format="@Sv @No"),
    attributes(format=""),
]


@pytest.mark.parametrize("bad", BAD_ATTRIBUTES)
def test_impossible_attributes_are_refused(replicas: Replicas, bad: m.Attributes) -> None:
    assert isinstance(refused(replicas.send(ONE, m.Open(1, "a", bad))), errors.InvalidParam)


def test_openings_are_refused_for_what_is_there(replicas: Replicas) -> None:
    opened(replicas, ONE, "a", attributes())
    cases: list[tuple[m.Open, type[AisError]]] = [
        (m.Open(2, "b"), errors.NotExist),
        (m.Open(2, ""), errors.NotExist),
        (m.Open(2, "", attributes()), errors.InvalidParam),
        (m.Open(2, "x" * 2049), errors.TooBig),
        (m.Open(2, STREAM_SYSTEM, attributes()), errors.InvalidParam),
        (m.Open(2, "a", attributes(size=500)), errors.Exist),
        (m.Open(2, "b", attributes()), errors.Exist),
        (m.Open(2, "b", attributes("saLogSystem")), errors.Exist),
        (m.Open(1, "a"), errors.NoResources),
    ]
    for request, error in cases:
        assert type(refused(replicas.send(ONE, request))) is error
    assert isinstance(refused(replicas.ask(ONE, m.ListStreams("b"))), errors.NotExist)
    assert replicas.send(ONE, m.Open(2, "b", attributes(path_name="b"))).message == m.Opened(attributes(path_name="b"))


def test_there_are_sixty_four_application_streams(replicas: Replicas) -> None:
    for number in range(64):
        replicas.send(ONE, m.Open(number, f"s{number}", attributes(f"f{number}")))
    last = m.Open(64, "one more", attributes("more"))
    assert isinstance(refused(replicas.send(ONE, last)), errors.NoResources)
    replicas.send(ONE, m.Close((5,)))
    assert isinstance(replicas.send(ONE, last).message, m.Opened)


def test_writes_are_refused_for_what_they_are(replicas: Replicas) -> None:
    opened(replicas, ONE, STREAM_SYSTEM)
    replicas.send(ONE, m.Open(2, STREAM_ALARM))
    note = m.WriteNotification(1, b"", 1, 0x4001, "o", "n")
    cases: list[tuple[Any, type[AisError]]] = [
        (m.Write(9, b"", 6, "u"), errors.BadHandle),
        (m.Write(1, b"", 7, "u"), errors.InvalidParam),
        (m.Write(1, b"", -1, "u"), errors.InvalidParam),
        (m.Write(1, b"x" * 65_536, 6, "u"), errors.TooBig),
        (m.Write(1, b"", 6, "u" * 2049), errors.TooBig),
        (m.Write(1, b"", 6, "é" * 1025), errors.TooBig),
        (m.Write(1, b"", 6, "u", True, -1.0), errors.InvalidParam),
        (m.Write(1, b"", 6, "u", True, float("nan")), errors.InvalidParam),
        (m.Write(1, b"", 6, "u", True, 1e18), errors.InvalidParam),
        (m.Write(2, b"", 6, "u"), errors.InvalidParam),
        (note, errors.InvalidParam),
        (m.WriteNotification(2, b"", 1, -1, "o", "n"), errors.InvalidParam),
        (m.WriteNotification(2, b"", -1, 1, "o", "n"), errors.InvalidParam),
        (m.WriteNotification(2, b"", 1, 1, "o" * 2049, "n"), errors.TooBig),
        (m.WriteNotification(2, b"", 1, 1, "o", "n", None, -1.0), errors.InvalidParam),
        (m.FileState(1, "full"), errors.Access),
        (m.SetFilter("nothing", 1), errors.NotExist),
        (m.SetFilter(STREAM_SYSTEM, 128), errors.InvalidParam),
        (m.SetFilter(STREAM_SYSTEM, -1), errors.InvalidParam),
        (m.SetFilter(STREAM_ALARM, 1), errors.BadOperation),
    ]
    for request, error in cases:
        assert type(refused(replicas.send(ONE, request))) is error, request
    assert not appended(replicas)
    answer = replicas.send(ONE, m.WriteNotification(2, b"broke", 5, 0x4003, "o", "n", (1, 2, 3), 1.0))
    assert answer.message == m.Written(1)
    assert appended(replicas)[0].line.decode().split()[2:] == [f"{10**9:#018x}", "0x4003", "o", "n", '"broke"']


# ---- files


def test_a_full_file_is_put_away_at_the_same_record_everywhere(replicas: Replicas) -> None:
    opened(replicas, ONE, "a", attributes(size=150))
    for _ in range(4):
        write(replicas, ONE, b"x" * 60)
    first, second, third, fourth = appended(replicas, 3)
    assert [append.closed for append in (first, second, fourth)] == ["", "", ""]
    assert third.closed == "calls_19700112_134640_0001"
    assert third.file.files_max == 3
    assert (shown(replicas, "a").records, shown(replicas, "a").size) == (4, 126)


def test_a_stream_that_wraps_begins_its_file_again(replicas: Replicas) -> None:
    opened(replicas, ONE, "a", attributes(action=WRAP, size=150))
    for _ in range(3):
        write(replicas, ONE, b"x" * 60)
    assert [(append.is_wrapped, append.closed) for append in appended(replicas)] == [
        (False, ""),
        (False, ""),
        (True, ""),
    ]


def test_a_stream_that_halts_warns_and_then_takes_nothing_more(replicas: Replicas) -> None:
    opened(replicas, ONE, "a", attributes(action=HALT, size=150))
    write(replicas, ONE, b"x" * 60)
    assert not replicas.forwarded
    write(replicas, ONE, b"x" * 60)
    assert [(service, notice.event_type, notice.severity) for service, notice in notices(replicas)] == [
        (Service.NTF, 0x4003, 2)
    ]
    for body in (b"x" * 60, b"", b"y"):
        assert isinstance(refused(write(replicas, ONE, body)), errors.TryAgain)
    assert [notice.severity for _, notice in notices(replicas)] == [2, 4]
    assert notices(replicas)[1][1].notification_object == "a"
    assert len(appended(replicas)) == 2
    assert shown(replicas, "a").is_halted
    replicas.gone(ONE)
    assert notices(replicas)[-1][1].severity == 0
    opened(replicas, ONE, "a", attributes(action=HALT, size=150))
    assert write(replicas, ONE, b"again").message == m.Written(1)


def notices(replicas: Replicas) -> list[tuple[int, Notice]]:
    return [(service, message) for service, message in replicas.forwarded if isinstance(message, Notice)]


def test_a_record_is_cut_to_the_size_that_the_stream_allows(replicas: Replicas) -> None:
    opened(replicas, ONE, "a", attributes())
    write(replicas, ONE, b"x" * 60_000)
    assert appended(replicas)[0].line == b"1 " + b"x" * 147 + b"\n"


def test_only_the_lowest_member_writes_a_file_that_is_not_to_be_everywhere(replicas: Replicas) -> None:
    opened(replicas, OTHER, "a", attributes(is_everywhere=False))
    write(replicas, OTHER, b"one")
    replicas.change(left=[1])
    write(replicas, OTHER, b"two")
    written = [[append.line for append in appended(replicas, node)] for node in (1, 2, 3)]
    assert written == [[b"1 one\n"], [b"2 two\n"], []]


def test_an_application_stream_with_its_own_headers(replicas: Replicas) -> None:
    opened(replicas, ONE, "a", attributes(format="@Cr @No @Cb"))
    assert isinstance(refused(write(replicas, ONE, b"x")), errors.InvalidParam)
    assert replicas.send(ONE, m.WriteNotification(1, b"x", 1, 1, "o", "n")).message == m.Written(1)
    replicas.send(ONE, m.Open(2, "b", attributes("b")))
    assert write(replicas, ONE, b"x", 2).message == m.Written(1)
    assert replicas.send(ONE, m.WriteNotification(2, b"x", 1, 1, "o", "n")).message == m.Written(2)


def test_operators_hear_once_that_a_node_cannot_write(replicas: Replicas) -> None:
    stream = appended_file(replicas).stream
    executive = Client(2, 0)
    for problem in ("disk full", "disk full", "", ""):
        replicas.send(executive, m.FileState(stream, problem))
    replicas.send(executive, m.FileState(99, "no such stream"))
    assert [notice.severity for _, notice in notices(replicas)] == [4, 0]
    assert "node 2 cannot write its file: disk full" in notices(replicas)[0][1].text
    replicas.send(executive, m.FileState(stream, "disk full"))
    replicas.change(left=[2])
    assert (notices(replicas)[-1][1].severity, notices(replicas)[-1][1].probable_cause) == (0, 16)
    replicas.change(joined=[2])
    replicas.send(executive, m.FileState(stream, "disk full"))
    assert [notice.severity for _, notice in notices(replicas)] == [4, 0, 4, 0, 4]


def test_what_was_said_of_a_file_is_over_when_its_stream_is(replicas: Replicas) -> None:
    opened(replicas, ONE, "a", attributes())
    write(replicas, ONE, b"x")
    stream = appended(replicas)[0].file.stream
    for node in (3, 2):
        replicas.send(Client(node, 0), m.FileState(stream, "disk full"))
    replicas.gone(ONE)
    assert [notice.severity for _, notice in notices(replicas)] == [4, 4, 0, 0]
    assert ["node 2" in notices(replicas)[2][1].text, "node 3" in notices(replicas)[3][1].text] == [True, True]


def appended_file(replicas: Replicas) -> m.FileOf:
    opened(replicas, ONE, STREAM_SYSTEM)
    write(replicas, ONE, b"x")
    return appended(replicas)[0].file


# ---- filters


def test_what_the_filter_holds_back_is_answered_and_not_written(replicas: Replicas) -> None:
    opened(replicas, ONE, STREAM_SYSTEM, is_filtered=True)
    opened(replicas, OTHER, STREAM_SYSTEM)
    assert replicas.send(THIRD, m.SetFilter(STREAM_SYSTEM, 0b1111)).message == Done()
    assert replicas.events_for(ONE) == [m.Filter(1, 0b1111)]
    assert replicas.events_for(OTHER) == []
    assert write(replicas, ONE, b"chatter", severity=4).message == m.Written(0)
    assert write(replicas, ONE, b"grave", severity=3).message == m.Written(1)
    assert len(appended(replicas)) == 1
    replicas.send(THIRD, m.SetFilter(STREAM_SYSTEM, 0b1111))
    assert replicas.events_for(ONE) == []


def test_who_opens_a_filtered_stream_is_told(replicas: Replicas) -> None:
    replicas.send(THIRD, m.SetFilter(STREAM_SYSTEM, 1))
    opened(replicas, ONE, STREAM_SYSTEM, is_filtered=True)
    assert replicas.events_for(ONE) == [m.Filter(1, 1)]


# ---- clients and nodes come and go


def test_an_application_stream_goes_with_its_last_handle(replicas: Replicas) -> None:
    opened(replicas, ONE, "a", attributes())
    opened(replicas, OTHER, "a", attributes())
    opened(replicas, THIRD, "a")
    replicas.send(ONE, m.Close((1,)))
    replicas.gone(OTHER)
    assert shown(replicas, "a").opened == 1
    replicas.commands.clear()
    replicas.change(left=[3])
    assert isinstance(refused(replicas.ask(ONE, m.ListStreams("a"))), errors.NotExist)
    assert [(node, type(command)) for node, command in replicas.commands] == [(1, m.CloseFile), (2, m.CloseFile)]


def test_a_new_stream_has_its_file_at_once(replicas: Replicas) -> None:
    opened(replicas, ONE, "a", attributes())
    assert [(node, command.line) for node, command in replicas.commands if isinstance(command, m.Append)] == [
        (1, b""), (2, b""), (3, b""),
    ]  # fmt: skip


def test_a_node_that_joins_writes_what_comes_from_then_on(replicas: Replicas) -> None:
    opened(replicas, ONE, STREAM_SYSTEM)
    replicas.change(left=[3])
    write(replicas, ONE, b"meanwhile")
    replicas.change(joined=[3])
    write(replicas, ONE, b"together")
    assert [re.findall(b'"(.*)"', append.line)[0] for append in appended(replicas, 3)] == [b"together"]
    assert shown(replicas, STREAM_SYSTEM, 3).records == 2


def merged(standing: Replicas, lost: Replicas, node: int) -> None:
    """Node `node` of a lost partition takes over the standing state and brings its remnant along."""
    engine = lost.engines[node]
    remnant = decode(encode(engine.remnant(node)), LogEngine.remnant_type)
    standing.change(joined=[node])
    standing.order += 1
    origin = Origin(Client(node, 0), 0, standing.order, standing.now)
    standing._all([(number, each.merge(remnant, origin)) for number, each in sorted(standing.engines.items())])


@pytest.fixture
def split() -> tuple[Replicas, Replicas]:
    """Nodes 1 and 2 stand, node 3 is alone; before that, client 1 of each had stream `a` open."""
    parts = (Replicas(LogEngine), Replicas(LogEngine))
    for part in parts:
        for client in (ONE, THIRD):
            opened(part, client, "a", attributes(), is_filtered=True)
        write(part, ONE, b"before")
    parts[0].change(left=[3])
    parts[1].change(left=[1, 2])
    return parts


def test_clients_of_a_node_that_gives_way_keep_their_streams(split: tuple[Replicas, Replicas]) -> None:
    standing, lost = split
    for body in (b"lost 2", b"lost 3", b"lost 4"):
        write(lost, THIRD, body)
    write(standing, ONE, b"stands 2")
    merged(standing, lost, 3)
    assert write(standing, THIRD, b"goes on").message == m.Written(5)
    assert shown(standing, "a").opened == 2


def test_a_stream_that_has_gone_is_made_again_for_those_who_come_back(split: tuple[Replicas, Replicas]) -> None:
    standing, lost = split
    standing.gone(ONE)
    replaced = lost.send(THIRD, m.Open(2, "b", attributes("b")))
    assert isinstance(replaced.message, m.Opened)
    merged(standing, lost, 3)
    assert write(standing, THIRD, b"goes on").message == m.Written(2)
    assert write(standing, THIRD, b"goes on", 2).message == m.Written(1)


def test_a_stream_that_another_has_taken_the_place_of_is_lost(split: tuple[Replicas, Replicas]) -> None:
    standing, lost = split
    standing.gone(ONE)
    opened(standing, OTHER, "c", attributes())
    merged(standing, lost, 3)
    assert isinstance(refused(write(standing, THIRD, b"nowhere")), errors.BadHandle)
    assert any("has lost stream a" in line for line in standing.lines)


def test_attributes_that_stand_hold_for_those_who_come_back(split: tuple[Replicas, Replicas]) -> None:
    standing, lost = split
    standing.gone(ONE)
    opened(standing, OTHER, "a", attributes("other", size=1000))
    standing.send(OTHER, m.SetFilter("a", 0b111))
    merged(standing, lost, 3)
    assert standing.events_for(THIRD) == [m.Filter(1, 0b111)]
    assert write(standing, THIRD, b"x", severity=0).message == m.Written(2)
    assert shown(standing, "a").attributes.file_name == "other"


def test_a_node_that_cannot_write_comes_back_with_its_alarm(split: tuple[Replicas, Replicas]) -> None:
    standing, lost = split
    opened(standing, OTHER, "b", attributes("b"))
    lost.send(THIRD, m.Open(3, "b", attributes("b")))
    lost.send(THIRD, m.Open(2, "only there", attributes("c")))
    for stream in (4, 5, 6):
        lost.send(Client(3, 0), m.FileState(stream, "disk full"))
    lost.send(Client(3, 0), m.FileState(5, ""))
    merged(standing, lost, 3)
    failing = [notice.notification_object for _, notice in notices(standing) if notice.probable_cause == 16]
    assert failing == ["a", "only there"]
    for stream in (4, 5, 6):
        standing.send(Client(3, 0), m.FileState(stream, ""))
    assert [notice.severity for _, notice in notices(standing) if notice.probable_cause == 16] == [4, 4, 0, 0]


def test_a_remnant_speaks_only_for_its_own_node_and_only_once(split: tuple[Replicas, Replicas]) -> None:
    standing, lost = split
    remnant = lost.engines[3].remnant(3)
    assert isinstance(remnant, m.Remnant)
    assert [record.client for record in remnant.handles] == [THIRD]
    forged = m.Remnant(remnant.streams, [m.HandleRecord(Client(2, 5), 1, remnant.handles[0].stream, True)])
    merged(standing, lost, 3)
    for again in (remnant, forged):
        origin = Origin(Client(3, 0), 0, standing.order, standing.now)
        standing._all([(number, each.merge(again, origin)) for number, each in sorted(standing.engines.items())])
    assert shown(standing, "a").opened == 2


def test_the_default_format_is_that_of_the_page(replicas: Replicas) -> None:
    assert shown(replicas, STREAM_SYSTEM).attributes.format == DEFAULT_FORMAT


def test_handles_hear_of_a_filter_in_the_same_order_on_a_replica_that_was_restored(replicas: Replicas) -> None:
    for handle in (2, 1):
        replicas.send(ONE, m.Open(handle, "calls", attributes(), True))
    replicas.change(left=[3])
    replicas.change(joined=[3])
    replicas.events_for(ONE)
    assert isinstance(replicas.send(OTHER, m.SetFilter("calls", 1)).message, Done)
    assert replicas.events_for(ONE) == [m.Filter(1, 1), m.Filter(2, 1)]
