"""LCK: requests in, replies, events and replicas out."""

from typing import Any

import pytest

from corosync_amf import errors
from corosync_amf.engine import Client, Done, Effect, Event, Message, Origin
from corosync_amf.errors import AisError
from corosync_amf.services.lck import engine as lck_engine
from corosync_amf.services.lck import messages as m
from corosync_amf.services.lck import store as lck_store
from corosync_amf.services.lck.engine import LckEngine
from corosync_amf.services.lck.values import LockStatus
from corosync_amf.wire import decode, encode

from .harness import Replicas, refused

A, B, C, D = Client(1, 7), Client(2, 7), Client(3, 7), Client(1, 8)
PR, EX = 1, 2
NO_QUEUE, ORPHAN = 1, 2
GRANTED, DEADLOCK, NOT_QUEUED, ORPHANED, DUPLICATE_EX = 1, 2, 3, 4, 6


def ready(*clients: Client, names: tuple[str, ...] = ("r",)) -> Replicas:
    """Three replicas; each of the clients has the resources open, numbered from 1."""
    replicas = Replicas(LckEngine)
    for client in clients or (A, B, C):
        for number, name in enumerate(names, 1):
            assert replicas.send(client, m.Open(number, name, 1)).message == Done()
    return replicas


def ask(
    replicas: Replicas, client: Client, lock: int, mode: int = EX, flags: int = 0, *, handle: int = 1, signal: int = 0
) -> Any:
    """What is answered to a request: a verdict, or that it waits."""
    return replicas.send(client, m.Lock(handle, lock, mode, flags, signal)).message


def granted(answer: Any) -> int:
    assert isinstance(answer, m.Verdict)
    assert answer.status == GRANTED
    assert answer.token is not None
    return answer.token


def told(replicas: Replicas, client: Client) -> list[Any]:
    """Events in short: granted (lock), refused (lock, status), waiter (lock, signal, mode), lost (handle)."""
    found: list[Any] = []
    for event in replicas.events_for(client):
        match event:
            case m.Decided(lock, m.Verdict(1)):
                found.append(("granted", lock))
            case m.Decided(lock, m.Verdict(status)):
                found.append(("refused", lock, status))
            case m.Waiting(lock, requests):
                found += [("waiter", lock, *request) for request in requests]
            case m.HandleLost(handle, _):
                found.append(("lost", handle))
            case _:
                raise AssertionError(event)
    return found


def snapshot(replicas: Replicas) -> m.Snapshot:
    found = replicas.engines[replicas.members[0]].snapshot()
    assert isinstance(found, m.Snapshot)
    return found


def unlock(replicas: Replicas, client: Client, lock: int) -> None:
    assert replicas.send(client, m.Unlock(lock)).message == Done()


# ---- granting


def test_a_free_resource_is_granted_with_the_order_number_as_its_token() -> None:
    replicas = ready()
    assert granted(ask(replicas, A, 1)) == replicas.order
    unlock(replicas, A, 1)
    assert granted(ask(replicas, B, 1)) == replicas.order


def test_a_client_hears_of_a_grant_when_a_quorum_holds_it() -> None:
    """Else another state, that lacks it, could stand and give the same token again."""
    replicas = ready()
    assert replicas.send(A, m.Lock(1, 1, EX, 0, 0)).safe
    assert not replicas.send(B, m.Lock(1, 1, EX, 0, 0)).safe  # it waits
    assert replicas.send(A, m.Withdraw(1)).safe
    effects = replicas.engines[1].apply(m.Unlock(1), Origin(A, 9, 100))
    assert [effect.firm for effect in effects if isinstance(effect, Event)] == [True]


def test_an_exclusive_request_waits_and_is_granted_by_the_unlock() -> None:
    replicas = ready()
    first = granted(ask(replicas, A, 1))
    assert ask(replicas, B, 2) == m.Waits()
    assert ask(replicas, C, 3) == m.Waits()
    unlock(replicas, A, 1)
    (decided, waiting) = replicas.events_for(B)
    assert decided == m.Decided(2, m.Verdict(GRANTED, replicas.order))
    assert replicas.order > first
    assert waiting == m.Waiting(2, ((0, EX),))
    assert told(replicas, C) == []
    unlock(replicas, B, 2)
    assert told(replicas, C) == [("granted", 3)]


def test_shared_requests_are_granted_together_and_none_overtakes() -> None:
    replicas = ready(A, B, C, D)
    granted(ask(replicas, A, 1, PR))
    granted(ask(replicas, B, 1, PR))
    assert ask(replicas, C, 1, EX) == m.Waits()
    assert ask(replicas, D, 1, PR) == m.Waits()
    assert ask(replicas, D, 2, PR) == m.Waits()
    unlock(replicas, A, 1)
    assert told(replicas, C) == []
    unlock(replicas, B, 1)
    assert told(replicas, C) == [("granted", 1), ("waiter", 1, 0, PR), ("waiter", 1, 0, PR)]
    unlock(replicas, C, 1)
    assert told(replicas, D) == [("granted", 1), ("granted", 2)]


def test_withdrawing_the_request_in_front_lets_those_behind_it_pass() -> None:
    replicas = ready()
    granted(ask(replicas, A, 1, PR))
    assert ask(replicas, B, 1, EX) == m.Waits()
    assert ask(replicas, C, 1, PR) == m.Waits()
    assert replicas.send(B, m.Withdraw(1)).message == m.Withdrawn(None)
    assert told(replicas, C) == [("granted", 1)]
    assert replicas.send(C, m.Withdraw(1)).message == m.Withdrawn(replicas.order - 1)
    assert replicas.send(C, m.Withdraw(9)).message == m.Withdrawn(None)
    assert len(snapshot(replicas).resources[0].held) == 2


def test_several_locks_released_by_one_message_give_one_token_per_resource() -> None:
    replicas = ready(A, B)
    replicas.send(B, m.Open(2, "r", 1))
    granted(ask(replicas, A, 1))
    assert ask(replicas, B, 1) == m.Waits()
    replicas.send(C, m.Open(1, "r", 1))
    assert ask(replicas, C, 1) == m.Waits()
    replicas.send(B, m.Close((2, 1, 1, 9)))
    unlock(replicas, A, 1)
    assert told(replicas, B) == []
    assert told(replicas, C) == [("granted", 1)]


# ---- refusals


def test_no_queue_refuses_rather_than_wait() -> None:
    replicas = ready()
    granted(ask(replicas, A, 1, PR))
    assert ask(replicas, B, 1, EX, NO_QUEUE) == m.Verdict(NOT_QUEUED)
    assert told(replicas, A) == []
    granted(ask(replicas, B, 1, PR, NO_QUEUE))
    assert ask(replicas, C, 1, EX) == m.Waits()
    assert ask(replicas, A, 2, PR, NO_QUEUE) == m.Verdict(NOT_QUEUED)


def test_one_handle_has_one_exclusive_lock_or_request() -> None:
    replicas = ready()
    granted(ask(replicas, A, 1))
    assert ask(replicas, A, 2, EX) == m.Verdict(DUPLICATE_EX)
    assert ask(replicas, A, 2, EX, NO_QUEUE | ORPHAN) == m.Verdict(DUPLICATE_EX)
    assert ask(replicas, B, 1) == m.Waits()
    assert ask(replicas, B, 2) == m.Verdict(DUPLICATE_EX)
    replicas.send(B, m.Withdraw(1))
    assert ask(replicas, B, 2) == m.Waits()


@pytest.mark.parametrize(("held", "asked"), [(EX, PR), (PR, EX), (EX, EX)])
def test_a_session_does_not_wait_for_itself(held: int, asked: int) -> None:
    replicas = ready()
    replicas.send(A, m.Open(2, "r", 1))
    granted(ask(replicas, A, 1, held))
    assert ask(replicas, A, 5, asked, handle=2) == m.Verdict(DEADLOCK, None, ((1, "r", 5),))
    assert ask(replicas, A, 5, asked, NO_QUEUE, handle=2) == m.Verdict(NOT_QUEUED)


def test_but_it_may_wait_behind_its_own_request() -> None:
    replicas = ready()
    replicas.send(B, m.Open(2, "r", 1))
    granted(ask(replicas, A, 1))
    assert ask(replicas, B, 1) == m.Waits()
    assert ask(replicas, B, 2, EX, handle=2) == m.Waits()
    assert ask(replicas, B, 3, PR) == m.Waits()
    unlock(replicas, A, 1)
    assert told(replicas, B) == [("granted", 1), ("waiter", 1, 0, EX), ("waiter", 1, 0, PR)]


def test_a_cycle_of_three_sessions_is_refused_to_the_one_that_closes_it() -> None:
    replicas = ready(names=("x", "y", "z"))
    for client, handle in ((A, 1), (B, 2), (C, 3)):
        granted(ask(replicas, client, 1, handle=handle))
    assert ask(replicas, A, 2, handle=2) == m.Waits()
    assert ask(replicas, B, 3, PR, handle=3) == m.Waits()
    answer = ask(replicas, C, 4, PR, handle=1)
    assert answer == m.Verdict(DEADLOCK, None, ((3, "x", 4), (1, "y", 2), (2, "z", 3)))
    assert ask(replicas, C, 4, PR, NO_QUEUE, handle=1) == m.Verdict(NOT_QUEUED)
    unlock(replicas, C, 1)
    assert told(replicas, B) == [("waiter", 1, 0, EX), ("granted", 3)]


def test_a_cycle_through_a_queue_is_found_too() -> None:
    replicas = ready(names=("x", "y"))
    granted(ask(replicas, A, 1, PR))
    assert ask(replicas, B, 1, EX) == m.Waits()
    granted(ask(replicas, C, 1, EX, handle=2))
    assert ask(replicas, C, 2, PR) == m.Waits()  # behind B, which waits for A
    answer = ask(replicas, B, 2, EX, handle=2)  # for C, which waits behind this session's own request
    assert answer == m.Verdict(DEADLOCK, None, ((2, "y", 2), (3, "x", 2)))


def test_who_waits_for_a_cycle_of_nobody_waits() -> None:
    replicas = ready(names=("x", "y"))
    granted(ask(replicas, A, 1))
    granted(ask(replicas, B, 1, handle=2))
    assert ask(replicas, A, 2, handle=2) == m.Waits()
    assert ask(replicas, C, 1, handle=2) == m.Waits()
    assert ask(replicas, C, 2, PR) == m.Waits()


def test_impossible_requests_are_refused_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    replicas = ready(A)
    ask(replicas, A, 1, PR)
    before = snapshot(replicas)
    cases: list[tuple[Any, type[AisError]]] = [
        (m.Lock(2, 5, EX), errors.BadHandle),
        (m.Lock(2, 5, 9, 9), errors.BadHandle),
        (m.Lock(1, 5, 9, 4), errors.BadFlags),
        (m.Lock(1, 5, 3), errors.InvalidParam),
        (m.Lock(1, 5, 0), errors.InvalidParam),
        (m.Lock(1, 5, EX, 0, -1), errors.InvalidParam),
        (m.Lock(1, 1, PR), errors.InvalidParam),
        (m.Unlock(5), errors.NotExist),
        (m.Purge(2), errors.BadHandle),
        (m.Open(2, "", 2), errors.BadFlags),
        (m.Open(2, "", 1), errors.InvalidParam),
        (m.Open(2, "a\0", 1), errors.InvalidParam),
        (m.Open(2, "x" * 2049, 1), errors.TooBig),
        (m.Open(2, "new", 0), errors.NotExist),
        (m.Open(1, "r", 1), errors.InvalidParam),
    ]
    for message, error in cases:
        assert type(refused(replicas.send(A, message))) is error, message
    assert type(refused(replicas.send(B, m.Unlock(1)))) is errors.NotExist
    monkeypatch.setattr(lck_store, "RESOURCES_MAX", 1)
    monkeypatch.setattr(lck_store, "HANDLES_MAX", 1)
    monkeypatch.setattr(lck_engine, "LOCKS_MAX", 1)
    assert type(refused(replicas.send(B, m.Open(2, "new", 1)))) is errors.NoResources
    assert type(refused(replicas.send(A, m.Open(2, "r", 1)))) is errors.NoResources
    assert ask(replicas, A, 2, PR) == m.Verdict(LockStatus.NO_MORE)
    assert snapshot(replicas) == before


# ---- waiter events


def test_five_shared_locks_and_one_exclusive_request_are_five_events() -> None:
    replicas = ready()
    for lock in range(5):
        ask(replicas, A, lock, PR)
    assert ask(replicas, B, 9, EX, signal=2**64 - 1) == m.Waits()
    assert told(replicas, A) == [("waiter", lock, 2**64 - 1, EX) for lock in range(5)]
    assert told(replicas, B) == []


def test_five_events_also_when_the_request_came_before_the_grant() -> None:
    replicas = ready()
    ask(replicas, C, 1)
    for lock in range(5):
        ask(replicas, A, lock, PR)
    ask(replicas, B, 9, EX, signal=4)
    assert told(replicas, A) == []
    unlock(replicas, C, 1)
    granted_and_told = [("granted", lock) for lock in range(5)] + [("waiter", lock, 4, EX) for lock in range(5)]
    assert told(replicas, A) == granted_and_told


def test_who_wants_no_waiter_events_gets_none() -> None:
    replicas = ready(B, C)
    replicas.send(A, m.Open(1, "r", 1, False))
    ask(replicas, B, 1)
    ask(replicas, A, 1)
    ask(replicas, C, 1)
    unlock(replicas, B, 1)
    assert told(replicas, A) == [("granted", 1)]


# ---- orphans


def test_an_orphan_stays_until_it_is_purged() -> None:
    replicas = ready()
    granted(ask(replicas, A, 1, EX, ORPHAN))
    assert ask(replicas, B, 1, EX, ORPHAN) == m.Waits()
    replicas.gone(A)
    assert told(replicas, B) == [], "it came before there was an orphan"
    assert ask(replicas, C, 1, PR, ORPHAN) == m.Verdict(ORPHANED)
    assert ask(replicas, C, 1, PR, ORPHAN | NO_QUEUE) == m.Verdict(NOT_QUEUED)
    assert ask(replicas, C, 1, PR) == m.Waits()
    assert replicas.send(C, m.Purge(1)).message == Done()
    assert told(replicas, B) == [("granted", 1), ("waiter", 1, 0, PR)]
    assert replicas.send(C, m.Purge(1)).message == Done()
    assert len(snapshot(replicas).resources[0].held) == 1, "a purge takes no lock that somebody holds"


def test_a_shared_orphan_lets_shared_locks_be_held_beside_it() -> None:
    replicas = ready()
    ask(replicas, A, 1, PR, ORPHAN)
    ask(replicas, A, 2, PR)
    replicas.send(A, m.Close((1,)))
    granted(ask(replicas, B, 1, PR, ORPHAN))
    assert ask(replicas, C, 1, EX) == m.Waits()
    assert told(replicas, B) == [("waiter", 1, 0, EX)]
    assert ask(replicas, B, 2, PR, ORPHAN) == m.Verdict(ORPHANED), "it would wait behind who waits for the orphan"


def test_orphans_and_handles_keep_a_resource_alive() -> None:
    replicas = ready(A)
    replicas.send(A, m.Close((1,)))
    assert snapshot(replicas) == m.Snapshot(True)
    replicas.send(A, m.Open(1, "r", 1))
    ask(replicas, A, 1, EX, ORPHAN)
    replicas.gone(A)
    assert [each.name for each in snapshot(replicas).resources] == ["r"]
    assert replicas.send(B, m.Open(1, "r", 0)).message == Done()
    replicas.send(B, m.Purge(1))
    replicas.send(B, m.Close((1,)))
    assert snapshot(replicas) == m.Snapshot(True)


def test_a_request_that_never_was_granted_leaves_nothing() -> None:
    replicas = ready()
    ask(replicas, A, 1)
    ask(replicas, B, 1, EX, ORPHAN)
    ask(replicas, C, 1, EX, ORPHAN)
    replicas.gone(B)
    unlock(replicas, A, 1)
    assert told(replicas, C) == [("granted", 1)]
    assert snapshot(replicas).resources[0].orphaned == []


# ---- death and quorum


def test_the_locks_of_a_lost_node_are_released_with_the_membership() -> None:
    replicas = ready(A, B, C)
    ask(replicas, C, 1)
    ask(replicas, A, 1)
    ask(replicas, B, 1)
    replicas.change(left=[3])
    assert told(replicas, A) == [("granted", 1), ("waiter", 1, 0, EX)]
    (resource,) = snapshot(replicas).resources
    assert [record.token for record in resource.held] == [replicas.order]
    replicas.change(joined=[3])
    assert [handle.client for handle in snapshot(replicas).handles] == [A, B]


def test_without_quorum_everything_can_be_given_up_but_nothing_is_granted() -> None:
    replicas = ready()
    ask(replicas, A, 1)
    ask(replicas, B, 1)
    ask(replicas, C, 1)
    replicas.change(left=[3], quorate=False)
    unlock(replicas, A, 1)
    assert told(replicas, B) == []
    assert replicas.send(A, m.Close((1,))).message == Done()
    replicas.change(joined=[3])
    assert told(replicas, B) == [("granted", 1)]


def test_what_may_be_asked_without_quorum_only_gives_up() -> None:
    kinds: list[Any] = [m.Lock, m.Unlock, m.Withdraw, m.Open, m.Close, m.Purge]
    assert [kind for kind in kinds if kind.without_quorum] == [m.Unlock, m.Withdraw, m.Close]


# ---- partitions that meet again


def fork(replicas: Replicas) -> LckEngine:
    """The replica of node 3, which goes its own way."""
    lost = LckEngine()
    lost.restore(replicas.engines[3].snapshot())  # type: ignore[arg-type]
    replicas.change(left=[3])
    return lost


def merge(replicas: Replicas, lost: LckEngine) -> None:
    """Node 3 comes back, takes over the state of the others and brings its remnant along."""
    remnant = lost.remnant(3)
    assert remnant is not None
    replicas.change(joined=[3])
    data, order = encode(remnant), replicas.order + 1
    replicas.order = order
    origin = Origin(Client(3, 0), 0, order, replicas.now)
    effects: list[tuple[int, list[Effect]]] = [
        (node, engine.merge(decode(data, engine.remnant_type), origin))
        for node, engine in sorted(replicas.engines.items())
    ]
    replicas._all(effects)


def test_a_holder_elsewhere_loses_its_lock_and_its_handle() -> None:
    replicas = ready()
    replicas.send(C, m.Open(2, "s", 1))
    replicas.send(C, m.Open(3, "r", 1))
    ask(replicas, C, 1, PR, handle=1)
    ask(replicas, C, 2, handle=2)
    ask(replicas, A, 5, EX)
    lost = fork(replicas)
    assert told(replicas, A) == [("granted", 5)]
    told(replicas, C)
    merge(replicas, lost)
    assert told(replicas, C) == [("lost", 1), ("lost", 2)]
    assert type(refused(replicas.send(C, m.Unlock(1)))) is errors.NotExist
    assert type(refused(replicas.send(C, m.Lock(1, 9, PR)))) is errors.BadHandle
    assert ask(replicas, C, 9, PR, handle=3) == m.Waits()
    assert [each.name for each in snapshot(replicas).resources] == ["r"], "s had no other handle"


def test_what_waited_elsewhere_waits_on_or_is_granted() -> None:
    replicas = ready(names=("r", "s"))
    ask(replicas, A, 1)
    ask(replicas, A, 2, handle=2)
    ask(replicas, C, 1, EX)
    ask(replicas, C, 2, PR, handle=2)
    lost = fork(replicas)
    unlock(replicas, A, 2)
    ask(replicas, B, 1, EX)
    told(replicas, A)
    merge(replicas, lost)
    assert told(replicas, C) == [("granted", 2)]
    assert told(replicas, A) == [("waiter", 1, 0, EX)], "told anew: the request was gone for a while"
    unlock(replicas, A, 1)
    assert told(replicas, B)[0] == ("granted", 1)
    unlock(replicas, B, 1)
    assert told(replicas, C) == [("granted", 1)]


def test_orphan_requests_are_answered_by_the_state_that_stands() -> None:
    replicas = ready()
    ask(replicas, A, 1, EX, ORPHAN)
    ask(replicas, C, 1, EX, ORPHAN)
    lost = fork(replicas)
    replicas.gone(A)
    merge(replicas, lost)
    assert told(replicas, C) == [("refused", 1, ORPHANED)]


def test_the_resource_of_an_open_handle_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    replicas = ready(C, names=("r", "s"))
    lost = fork(replicas)
    assert snapshot(replicas).resources == []
    merge(replicas, lost)
    assert [each.name for each in snapshot(replicas).resources] == ["r", "s"]
    assert told(replicas, C) == []
    lost = fork(replicas)
    monkeypatch.setattr(lck_store, "RESOURCES_MAX", 1)
    merge(replicas, lost)
    assert told(replicas, C) == [("lost", 2)]


def test_too_many_locks_after_a_merge_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    replicas = ready()
    ask(replicas, A, 1)
    ask(replicas, C, 1)
    lost = fork(replicas)
    monkeypatch.setattr(lck_engine, "LOCKS_MAX", 1)
    merge(replicas, lost)
    assert told(replicas, C) == [("refused", 1, LockStatus.NO_MORE)]


def test_a_node_without_clients_brings_nothing_along() -> None:
    replicas = ready(A)
    assert replicas.engines[1].remnant(3) is None
    assert replicas.engines[1].remnant(1) is not None


def test_a_remnant_speaks_for_its_own_node_only() -> None:
    replicas = ready(A)
    handles = [m.HandleRecord(A, 5, "x", True), m.HandleRecord(C, 1, "r", True), m.HandleRecord(C, 1, "r", True)]
    waiting = [m.LockRecord(B, 1, 1, EX, 0, 0, None), m.LockRecord(C, 1, 1, EX, 0, 0, None)]
    engine = replicas.engines[1]
    effects = engine.merge(m.Remnant(3, handles, [], [*waiting, waiting[1]]), Origin(Client(3, 0), 0, 99))
    assert len(effects) == 2  # the handle that is there twice is lost, and the lock granted once
    assert [each.name for each in engine.snapshot().resources] == ["r"]  # type: ignore[attr-defined]


# ---- queries


def test_what_there_is_can_be_listed_page_by_page() -> None:
    replicas = ready(A, names=("a", "b", "c"))
    ask(replicas, A, 1, EX, ORPHAN, handle=2)
    page = replicas.ask(A, m.ListResources("", 2))
    assert isinstance(page, m.Resources)
    assert [(each.name, each.held) for each in page.resources] == [("a", 0), ("b", 1)]
    assert [each.name for each in _resources(replicas.ask(B, m.ListResources("b", 10**9)))] == ["c"]
    assert _resources(replicas.ask(B, m.ListResources("c", -1))) == ()
    described = replicas.ask(B, m.Describe("b"))
    assert isinstance(described, m.Described)
    (held,) = described.resource.held
    assert (held.node_id, held.client, held.lock_id, held.token) == (1, 7, 1, replicas.order)
    assert type(refused(replicas.ask(B, m.Describe("x")))) is errors.NotExist


def _resources(answer: Message) -> Any:
    assert isinstance(answer, m.Resources)
    return answer.resources
