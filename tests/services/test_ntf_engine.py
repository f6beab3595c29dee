"""The notification engine: what becomes of each request, on replicas that are compared after every step."""

from typing import Any

import pytest
from msgspec.structs import replace

from corosync_amf import errors
from corosync_amf.engine import Client, Done, Notice, Origin, Service
from corosync_amf.services.ntf import engine as engine_module
from corosync_amf.services.ntf import messages as m
from corosync_amf.services.ntf import records as r
from corosync_amf.services.ntf import store as store_module
from corosync_amf.services.ntf.engine import NtfEngine
from corosync_amf.services.ntf.identifiers import following
from corosync_amf.services.ntf.records import AlarmFacts, Record, Search, Terms
from corosync_amf.services.ntf.store import Store
from corosync_amf.services.ntf.vocabulary import Direction, EventType, NotificationType, SearchMode, Severity
from corosync_amf.wire import decode, encode

from .harness import START_TIME, Replicas, refused
from .notifications import ALARMS, CLEARED, ERROR, EVERYTHING, MAJOR, MINOR, alarm, record

A, B, EXECUTIVE = Client(1, 1), Client(2, 1), Client(1, 0)


def started(members: tuple[int, ...] = (1, 2, 3)) -> Replicas:
    return Replicas(NtfEngine, members=members)


def send(replicas: Replicas, what: Record, client: Client = A) -> int:
    answer = replicas.send(client, m.Send(what)).message
    assert isinstance(answer, m.Identified)
    return answer.identifier


def found(replicas: Replicas, search: Search | None = None, *filters: Terms, up: bool = True) -> list[Record]:
    """All that a reader finds."""
    direction = int(Direction.YOUNGER if up else Direction.OLDER)
    after: tuple[float, int] | None = None
    records: list[Record] = []
    while True:
        page = replicas.ask(A, m.Read(search or Search(), filters, direction, after, 7))
        assert isinstance(page, m.Page)
        records += [decode(data, Record) for _, _, data in page.items]
        if page.is_over:
            return records
        after = page.reached


def heard(replicas: Replicas, client: Client) -> list[tuple[int, int]]:
    """(subscription, id) of the events of a client."""
    events = replicas.events_for(client)
    for event in events:
        assert decode(event.data, Record).identifier == event.identifier
    return [(event.subscription_id, event.identifier) for event in events]


# ---- sending


def test_ids_grow_and_what_was_sent_is_kept_with_id_and_time():
    replicas = started()
    first, second = send(replicas, record(text="one")), send(replicas, record(text="two", time=5.0))
    assert 0 < first < second
    assert [(each.identifier, each.event_time, each.text) for each in found(replicas)] == [
        (second, 5.0, "two"),
        (first, START_TIME, "one"),
    ]


def test_an_id_that_the_sender_put_in_does_not_matter():
    replicas = started()
    assert send(replicas, record(identifier=77)) != 77


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (record(event_type=0x1003), errors.InvalidParam),
        (record(event_type=0), errors.InvalidParam),
        (record(event_type=EventType.ALARM_QOS), errors.InvalidParam),
        (record(facts=AlarmFacts(ERROR, MAJOR)), errors.InvalidParam),
        (alarm(severity=6), errors.InvalidParam),
        (alarm(severity=-1), errors.InvalidParam),
        (record(event_type=EventType.ALARM_QOS, facts=AlarmFacts(ERROR, MAJOR, trend=3)), errors.InvalidParam),
        (record(event_type=EventType.OBJECT_STATE_CHANGE, facts=r.StateChanges(0)), errors.InvalidParam),
        (record(""), errors.InvalidParam),
        (record("a\0b"), errors.InvalidParam),
        (record("x" * 2049), errors.TooBig),
        (record(time=float("nan")), errors.InvalidParam),
        (record(time=1e300), errors.InvalidParam),
        (record(text="x" * 65536), errors.TooBig),
    ],
)
def test_a_bad_notification_is_refused_and_changes_nothing(what: Record, error: type[Exception]):
    replicas = started()
    before = replicas.engines[1].snapshot()
    assert type(refused(replicas.send(A, m.Send(what)))) is error
    assert replicas.engines[1].snapshot() == before


def test_every_type_of_notification_passes():
    replicas = started()
    every = [
        record(event_type=EventType.OBJECT_CREATION, facts=r.Attributes(1, ((1, r.Octets(b"x")), (2, True)))),
        record(event_type=EventType.ATTRIBUTE_CHANGED, facts=r.AttributeChanges(2, ((1, None, 2.5),))),
        record(event_type=EventType.OBJECT_STATE_CHANGE, facts=r.StateChanges(3, ((1, None, 2), (2, 1, 3)))),
        alarm(),
        record(event_type=EventType.TIME_VIOLATION, facts=r.SecurityFacts(3, MINOR, "fw", "me", 7)),
        record(event_type=EventType.ERROR_CLEAR),
    ]
    for each in every:
        send(replicas, each)
    assert [each.facts for each in found(replicas)] == [each.facts for each in every]


# ---- ids that are allocated


def test_an_allocated_id_is_used_once():
    replicas = started()
    answer = replicas.send(A, m.Allocate()).message
    assert isinstance(answer, m.Identified)
    later = send(replicas, record())
    assert answer.identifier < later
    named = record(identifier=answer.identifier)
    assert replicas.send(B, m.SendWithId(named)).message == answer
    assert type(refused(replicas.send(A, m.SendWithId(named)))) is errors.Exist
    assert [each.identifier for each in found(replicas)] == [answer.identifier, later]


def test_an_id_that_was_not_allocated_is_refused():
    replicas = started()
    assert type(refused(replicas.send(A, m.SendWithId(record(identifier=5))))) is errors.InvalidParam
    assert type(refused(replicas.send(A, m.SendWithId(record(event_type=1))))) is errors.InvalidParam


def test_allocated_ids_are_bounded_and_end_with_their_client(monkeypatch: pytest.MonkeyPatch):
    replicas = started()
    monkeypatch.setattr(engine_module, "ALLOCATED_MAX", 3)
    numbers = [replicas.send(A, m.Allocate()).message for _ in range(3)]
    assert type(refused(replicas.send(A, m.Allocate()))) is errors.NoResources
    assert isinstance(replicas.send(B, m.Allocate()).message, m.Identified)
    replicas.gone(A)
    assert isinstance(numbers[0], m.Identified)
    named = record(identifier=numbers[0].identifier)
    assert type(refused(replicas.send(B, m.SendWithId(named)))) is errors.InvalidParam


def test_ids_of_two_partitions_differ_and_never_fall_behind_the_clock():
    def given(last: int, time: float, client: Client = A, data: bytes = b"x", request: int = 1) -> int:
        return following(last, Origin(client, request, 1, time), data)

    last = given(0, 1000.0)
    others = {given(last, 1000.0, B), given(last, 1000.0, data=b"y"), given(last, 1000.0, request=2)}
    assert len({given(last, 1000.0), *others}) == 4
    assert min(others) > last
    assert given(last, 0.0) > last
    assert given(last, float("inf")) > last
    assert given(last, float("nan")) > last
    assert given(last, 2000.0) > given(0, 1999.9)
    assert given(0, 4e9) < 2**63


# ---- subscribing


def test_a_notification_goes_once_to_each_subscription_that_wants_it():
    replicas = started()
    for client, number, terms in ((A, 1, ALARMS), (A, 2, EVERYTHING), (B, 1, ALARMS)):
        assert replicas.send(client, m.Subscribe(number, (terms, ALARMS))).message == Done()
    event, raised = send(replicas, record()), send(replicas, alarm())
    assert heard(replicas, A) == [(2, event), (1, raised), (2, raised)]
    assert heard(replicas, B) == [(1, raised)]
    assert replicas.send(A, m.Unsubscribe(2)).message == Done()
    later = send(replicas, alarm())
    assert heard(replicas, A) == [(1, later)]


@pytest.mark.parametrize(
    ("terms", "wanted"),
    [
        (Terms(types=(int(NotificationType.MISCELLANEOUS),)), {"m"}),
        (Terms(event_types=(int(EventType.ALARM_PROCESSING),)), {"a", "b"}),
        (Terms(notification_objects=("safApp=x", "safApp=y")), {"b"}),
        (Terms(notifying_objects=("safApp=nobody",)), set()),
        (Terms(class_ids=((1, 2, 3),)), {"s"}),
        (Terms(severities=(MAJOR,)), {"a", "s"}),
        (Terms(severities=(MINOR, MAJOR), types=(int(NotificationType.ALARM),)), {"a", "b"}),
        (Terms(severities=(MINOR,), types=(int(NotificationType.SECURITY_ALARM),)), set()),
        (EVERYTHING, {"a", "b", "s", "m"}),
    ],
)
def test_fields_of_a_filter_are_and_ed(terms: Terms, wanted: set[str]):
    replicas = started()
    send(replicas, alarm(text="a"))
    send(replicas, alarm("safApp=x", MINOR, text="b"))
    facts = r.SecurityFacts(1, MAJOR)
    send(replicas, record(text="s", event_type=EventType.TIME_VIOLATION, facts=facts, class_id=(1, 2, 3)))
    send(replicas, record(text="m"))
    assert {each.text for each in found(replicas, None, terms)} == wanted


def test_bad_subscriptions_are_refused():
    replicas = started()
    many = tuple(EVERYTHING for _ in range(r.SUBSCRIBER_FILTERS_MAX + 1))
    long = (Terms(types=tuple(range(r.FILTER_TERMS_MAX + 1))),)
    big = (Terms(notification_objects=tuple(f"{number}{'x' * 2000}" for number in range(40))),)
    assert type(refused(replicas.send(A, m.Subscribe(1, ())))) is errors.InvalidParam
    assert type(refused(replicas.send(A, m.Subscribe(-1, (ALARMS,))))) is errors.InvalidParam
    assert type(refused(replicas.send(A, m.Subscribe(2**32, (ALARMS,))))) is errors.InvalidParam
    for filters in (many, long, big):
        assert type(refused(replicas.send(A, m.Subscribe(1, filters)))) is errors.NoResources
    named = (Terms(notifying_objects=("x" * 2049,)),)
    assert type(refused(replicas.send(A, m.Subscribe(1, named)))) is errors.TooBig
    assert type(refused(replicas.send(A, m.Unsubscribe(1)))) is errors.NotExist
    replicas.send(A, m.Subscribe(1, (ALARMS,)))
    assert type(refused(replicas.send(A, m.Subscribe(1, (ALARMS,))))) is errors.Exist


def test_a_client_has_a_limited_number_of_subscriptions(monkeypatch: pytest.MonkeyPatch):
    replicas = started()
    monkeypatch.setattr("corosync_amf.services.ntf.subscriptions.SUBSCRIPTIONS_MAX", 2)
    replicas.send(A, m.Subscribe(1, (ALARMS,)))
    replicas.send(A, m.Subscribe(2, (ALARMS,)))
    assert type(refused(replicas.send(A, m.Subscribe(3, (ALARMS,))))) is errors.NoResources
    replicas.send(A, m.Unsubscribe(1))
    assert replicas.send(A, m.Subscribe(3, (ALARMS,))).message == Done()


def test_who_is_gone_gets_nothing_more():
    replicas = started()
    replicas.send(A, m.Subscribe(1, (EVERYTHING,)))
    replicas.send(B, m.Subscribe(1, (EVERYTHING,)))
    replicas.gone(A)
    replicas.change(left=[2])
    send(replicas, record())
    assert replicas.events == []
    replicas.change(joined=[2])
    send(replicas, record())
    assert replicas.events == []


# ---- alarms that are over


def test_a_cleared_alarm_refers_to_the_raised_one():
    replicas = started()
    replicas.send(A, m.Subscribe(1, (ALARMS,)))
    first = send(replicas, alarm())
    other = send(replicas, alarm(cause=7))
    send(replicas, alarm("safApp=x"))
    send(replicas, alarm(severity=CLEARED))
    send(replicas, alarm(severity=CLEARED))
    send(replicas, alarm(severity=CLEARED))
    correlated = [each.correlated for each in found(replicas) if each.severity == CLEARED]
    assert correlated == [(first,), (other,), ()]
    assert [decode(event.data, Record).correlated for event in replicas.events_for(A)][3:] == correlated


def test_what_the_sender_correlated_stays_and_ends_those_alarms():
    replicas = started()
    first, second = send(replicas, alarm()), send(replicas, alarm(cause=7))
    send(replicas, alarm(severity=CLEARED, correlated=(second, 99)))
    send(replicas, alarm(severity=CLEARED, cause=7))
    assert [each.correlated for each in found(replicas) if each.severity == CLEARED] == [(second, 99), (first,)]


def test_an_alarm_raised_again_takes_the_place_of_the_former():
    replicas = started()
    send(replicas, alarm(severity=MINOR))
    again = send(replicas, alarm(severity=MAJOR))
    send(replicas, alarm(severity=CLEARED))
    send(replicas, alarm(severity=CLEARED))
    assert [each.correlated for each in found(replicas) if each.severity == CLEARED] == [(again,), ()]


# ---- what other services say


def notice(**options: Any) -> Notice:
    return Notice(**{
        "event_type": int(EventType.ALARM_PROCESSING),
        "notification_object": "safComp=c",
        "notifying_object": "safAmfNode=n",
        "class_id": (18568, 2, 5),
        "text": "gone: look at it",
        "severity": MAJOR,
        "probable_cause": ERROR,
        "info": ((1, "n"), (100, "gone")),
        **options,
    })  # fmt: skip


def test_a_notice_of_another_service_becomes_a_notification_and_log_is_told():
    replicas = started()
    replicas.send(A, m.Subscribe(1, (ALARMS,)))
    replicas.send(EXECUTIVE, notice())
    replicas.send(EXECUTIVE, notice(severity=CLEARED))
    raised, cleared = found(replicas)
    assert (raised.text, raised.info, raised.class_id, raised.severity) == (
        "gone: look at it",
        ((1, "n"), (100, "gone")),
        (18568, 2, 5),
        MAJOR,
    )
    assert cleared.correlated == (raised.identifier,)
    assert [number for _, number in heard(replicas, A)] == [raised.identifier, cleared.identifier]
    assert replicas.forwarded == [
        (Service.LOG, notice(identifier=raised.identifier)),
        (Service.LOG, notice(identifier=cleared.identifier, severity=CLEARED, raised=raised.identifier)),
    ]


def test_notices_of_every_type_are_understood():
    replicas = started()
    replicas.send(EXECUTIVE, notice(event_type=0x3001, severity=-1, probable_cause=-1, states=((5, 1, 2),)))
    replicas.send(EXECUTIVE, notice(event_type=0x1001, severity=-1, probable_cause=-1))
    replicas.send(EXECUTIVE, notice(event_type=0x2003, severity=-1, probable_cause=-1))
    replicas.send(EXECUTIVE, notice(event_type=0x5001, raised=9))
    replicas.send(EXECUTIVE, notice(event_type=0x6006, severity=-1, probable_cause=-1))
    replicas.send(EXECUTIVE, notice(event_type=0x4001, severity=-1, probable_cause=-1))
    facts = [each.facts for each in found(replicas)]
    assert facts[0] == r.StateChanges(1, ((5, 1, 2),))
    assert [type(each) for each in facts[1:5]] == [r.Attributes, r.AttributeChanges, r.SecurityFacts, r.Nothing]
    assert facts[5] == AlarmFacts(74, int(Severity.INDETERMINATE))
    assert replicas.forwarded[0][1].states == ((5, 1, 2),)  # type: ignore[attr-defined]


def test_a_notice_that_cannot_be_is_logged_and_a_client_may_not_send_one():
    replicas = started()
    replicas.send(EXECUTIVE, notice(event_type=0x7001))
    replicas.send(EXECUTIVE, notice(notification_object=""))
    replicas.send(EXECUTIVE, notice(text="x" * 70_000))
    assert len(replicas.lines) == 3
    assert type(refused(replicas.send(A, notice()))) is errors.Access
    assert found(replicas) == []


def test_log_is_told_of_what_applications_send_with_bytes_in_words():
    replicas = started()
    what = replace(record(text="hello"), info=((1, r.Octets(b"\x01\xff")),))
    number = send(replicas, what)
    ((service, told),) = replicas.forwarded
    assert service == Service.LOG
    assert isinstance(told, Notice)
    assert (told.identifier, told.text, told.severity, told.info) == (number, "hello", -1, ((1, "01ff"),))


# ---- suppression


def test_what_is_suppressed_gets_an_id_but_goes_nowhere():
    replicas = started()
    replicas.send(A, m.Subscribe(1, (EVERYTHING,)))
    assert replicas.send(B, m.Suppress((Terms(notification_objects=("safApp=x",)),))).message == Done()
    assert send(replicas, record("safApp=x")) > 0
    raised = send(replicas, alarm("safApp=x"))
    assert heard(replicas, A) == [(1, raised)]
    assert [each.identifier for each in found(replicas)] == [raised]
    assert len(replicas.forwarded) == 1
    replicas.send(B, m.Suppress(()))
    again = send(replicas, record("safApp=x"))
    assert heard(replicas, A) == [(1, again)]


def test_alarms_cannot_be_suppressed():
    replicas = started()
    for terms in (ALARMS, Terms(event_types=(int(EventType.TIME_VIOLATION),)), Terms(severities=(MINOR,))):
        assert type(refused(replicas.send(A, m.Suppress((terms,))))) is errors.InvalidParam


# ---- reading


def times(replicas: Replicas, mode: SearchMode, time: float | None = None, *, up: bool = True) -> list[float | None]:
    return [each.event_time for each in found(replicas, Search(int(mode), time), up=up)]


def test_each_search_mode_finds_its_part_in_both_directions():
    replicas = started()
    for time in (3.0, 1.0, 2.0, 2.0, 4.0):
        send(replicas, record(time=time))
    expected = {
        SearchMode.BEFORE_OR_AT_TIME: [1.0, 2.0, 2.0],
        SearchMode.AT_TIME: [2.0, 2.0],
        SearchMode.AT_OR_AFTER_TIME: [2.0, 2.0, 3.0, 4.0],
        SearchMode.BEFORE_TIME: [1.0],
        SearchMode.AFTER_TIME: [3.0, 4.0],
    }
    for mode, these in expected.items():
        assert times(replicas, mode, 2.0) == these
        assert times(replicas, mode, 2.0, up=False) == these[::-1]
    assert times(replicas, SearchMode.ONLY_FILTER) == [1.0, 2.0, 2.0, 3.0, 4.0]


def test_an_id_finds_one_notification():
    replicas = started()
    numbers = [send(replicas, record()) for _ in range(3)]
    mode = int(SearchMode.NOTIFICATION_ID)
    for up in (True, False):
        assert [each.identifier for each in found(replicas, Search(mode, None, numbers[1]), up=up)] == [numbers[1]]
    assert found(replicas, Search(mode, None, 12345)) == []
    assert found(replicas, Search(mode, None, numbers[0]), ALARMS) == []


@pytest.mark.parametrize(
    "search", [Search(0), Search(8), Search(1), Search(5), Search(2, float("nan")), Search(6), Search(6, None, 0)]
)
def test_a_bad_search_is_refused(search: Search):
    replicas = started()
    assert type(refused(replicas.ask(A, m.Read(search, (), 1)))) is errors.InvalidParam


def test_an_unknown_direction_and_too_many_filters_are_refused():
    replicas = started()
    assert type(refused(replicas.ask(A, m.Read(Search(), (), 3)))) is errors.InvalidParam
    many = (EVERYTHING,) * (r.SUBSCRIBER_FILTERS_MAX + 1)
    assert type(refused(replicas.ask(A, m.Read(Search(), many, 1)))) is errors.NoResources


def test_a_page_is_bounded_however_much_is_looked_at(monkeypatch: pytest.MonkeyPatch):
    replicas = started()
    monkeypatch.setattr(store_module, "LOOK_MAX", 4)
    numbers = [send(replicas, alarm() if each == 9 else record()) for each in range(10)]
    page = replicas.ask(A, m.Read(Search(), (ALARMS,), int(Direction.YOUNGER)))
    assert isinstance(page, m.Page)
    assert (page.items, page.is_over) == ([], False)
    assert [each.identifier for each in found(replicas, None, ALARMS)] == [numbers[9]]
    monkeypatch.setattr(store_module, "PAGE_BYTES_MAX", 10)
    page = replicas.ask(A, m.Read(Search(), (), int(Direction.YOUNGER), None, 100))
    assert isinstance(page, m.Page)
    assert len(page.items) == 1


# ---- what is kept


def test_alarms_and_others_are_kept_apart_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_module, "KEPT_MAX", 3)
    replicas = started()
    alarms = [send(replicas, alarm(f"safApp={each}")) for each in range(2)]
    others = [send(replicas, record()) for _ in range(5)]
    assert [each.identifier for each in found(replicas)] == [*alarms, *others[2:]]
    for each in range(2, 5):
        send(replicas, alarm(f"safApp={each}"))
    send(replicas, alarm("safApp=0", CLEARED))
    assert found(replicas)[-1].correlated == ()


def test_big_notifications_are_fewer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_module, "KEPT_BYTES_MAX", 3000)
    replicas = started()
    numbers = [send(replicas, record(text="x" * 1000)) for _ in range(5)]
    assert [each.identifier for each in found(replicas)] == numbers[-2:]


def test_a_node_that_joins_has_it_all():
    replicas = started((1, 2))
    replicas.send(A, m.Subscribe(1, (EVERYTHING,)))
    replicas.send(A, m.Allocate())
    replicas.send(A, m.Suppress((Terms(notification_objects=("safApp=x",)),)))
    send(replicas, alarm())
    replicas.change(joined=[3])
    send(replicas, alarm(severity=CLEARED))
    assert len(found(replicas)) == 2


# ---- partitions that meet


def engines_apart() -> tuple[Replicas, Replicas]:
    """A cluster that falls into 1 and 2, 3; both go on."""
    whole = started()
    raised = send(whole, alarm("safApp=before"))
    assert raised
    whole.send(B, m.Subscribe(7, (ALARMS,)))
    whole.send(B, m.Subscribe(8, (EVERYTHING,)))
    other = started()
    other.engines = {node: NtfEngine() for node in whole.engines}
    for engine in other.engines.values():
        engine.restore(decode(encode(whole.engines[1].snapshot()), m.Snapshot))
    other.order, other.members = whole.order, whole.members
    whole.change(left=[2, 3])
    other.change(left=[1])
    return whole, other


def brought(replicas: Replicas, node: int) -> m.Remnant:
    remnant = decode(encode(replicas.engines[node].remnant(node)), m.Remnant)
    assert isinstance(remnant, m.Remnant)
    return remnant


def merged(standing: Replicas, gave_way: Replicas, *nodes: int) -> None:
    """The nodes take over the standing state and bring along what they have."""
    remnants = [(node, brought(gave_way, node)) for node in nodes]
    meet(standing, gave_way, *nodes)
    for node, remnant in remnants:
        returned(standing, node, remnant)


def meet(standing: Replicas, gave_way: Replicas, *nodes: int) -> None:
    """The nodes become members of the standing partition."""
    engine = gave_way.engines[nodes[0]]
    assert isinstance(engine, NtfEngine)
    standing.change(joined=nodes, highest={Service.NTF: engine.highest})


def returned(standing: Replicas, node: int, remnant: m.Remnant) -> None:
    """A node has taken over the standing state, and its clients go on."""
    standing.order += 1
    origin = Origin(Client(node, 0), 0, standing.order, standing.now)
    standing._all([(each, engine.merge(remnant, origin)) for each, engine in sorted(standing.engines.items())])


def test_partitions_that_meet_unite_what_they_kept():
    whole, other = engines_apart()
    here = [send(whole, record(text="here")), send(whole, alarm("safApp=h"))]
    there = [send(other, record(text="there"), B), send(other, alarm("safApp=t"), B)]
    assert set(here).isdisjoint(there)
    merged(whole, other, 2, 3)
    identifiers = [each.identifier for each in found(whole)]
    assert len(identifiers) == 5
    assert {*here, *there} < set(identifiers)
    later = send(whole, record())
    assert later > max(identifiers)


def test_what_each_part_sent_is_neither_delivered_nor_logged_in_the_other():
    whole, other = engines_apart()
    whole.send(A, m.Subscribe(1, (EVERYTHING,)))
    send(whole, record(text="here"))
    send(other, alarm("safApp=t"), B)
    assert len(heard(whole, A)) == 1
    logged = list(whole.forwarded)
    merged(whole, other, 2, 3)
    assert (heard(whole, A), heard(whole, B), whole.forwarded) == ([], [], logged)


def test_clients_of_a_part_that_gave_way_hear_all_that_was_sent_since_their_node_is_a_member_again():
    whole, other = engines_apart()
    allocated = whole.send(A, m.Allocate()).message
    assert isinstance(allocated, m.Identified)
    send(whole, alarm("safApp=h"))
    other.now += 3600
    there = send(other, alarm("safApp=t"), Client(3, 1))
    two, three = brought(other, 2), brought(other, 3)
    meet(whole, other, 2, 3)
    first = send(whole, alarm())
    assert first > there
    returned(whole, 3, three)
    whole.send(A, m.SendWithId(record(identifier=allocated.identifier)))
    whole.change(left=[3])
    second = send(whole, alarm())
    assert heard(whole, B) == []
    returned(whole, 2, two)
    assert heard(whole, B) == [(7, first), (8, first), (8, allocated.identifier), (7, second), (8, second)]
    third = send(whole, alarm())
    assert heard(whole, B) == [(7, third), (8, third)]


def test_only_what_others_missed_is_brought_along():
    _, other = engines_apart()
    there = send(other, record(), B)
    remnant = brought(other, 2)
    assert [each.identifier for each in remnant.kept] == [there]
    assert [each.subscription_id for each in remnant.subscriptions] == [7, 8]
    assert brought(other, 3).subscriptions == []


def test_clients_go_on_with_their_subscriptions_and_allocated_ids():
    whole, other = engines_apart()
    allocated = other.send(B, m.Allocate()).message
    assert isinstance(allocated, m.Identified)
    unused = other.send(B, m.Allocate()).message
    assert isinstance(unused, m.Identified)
    other.send(B, m.SendWithId(record(identifier=allocated.identifier)))
    merged(whole, other, 2, 3)
    raised = send(whole, alarm())
    assert heard(whole, B) == [(7, raised), (8, raised)]
    assert type(refused(whole.send(B, m.SendWithId(record(identifier=allocated.identifier))))) is errors.Exist
    assert whole.send(B, m.SendWithId(record(identifier=unused.identifier))).message == unused


def test_an_alarm_cleared_in_the_other_part_is_over():
    whole, other = engines_apart()
    send(other, alarm("safApp=before", CLEARED), B)
    raised = send(other, alarm("safApp=t"), B)
    merged(whole, other, 2, 3)
    send(whole, alarm("safApp=before", CLEARED))
    send(whole, alarm("safApp=t", CLEARED))
    assert [each.correlated for each in found(whole)[-2:]] == [(), (raised,)]


def test_what_is_brought_along_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_module, "BROUGHT_BYTES_MAX", 2500)
    _, other = engines_apart()
    numbers = [send(other, record(text="x" * 1000), B) for _ in range(5)]
    assert [each.identifier for each in brought(other, 2).kept] == numbers[-2:]


def test_a_store_forgets_by_id_not_by_arrival(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_module, "KEPT_MAX", 2)
    kept = Store()
    assert [kept.add(number, 1.0, False, b"x") for number in (5, 9, 3)] == [[], [], [3]]
    assert [each.identifier for each in kept.records()] == [5, 9]
