from typing import Any

import pytest

from aisexec.groups import Configuration, ConfigurationKind, Delivered, RingId, Safe
from aisexec.simulation.checkers import History, check

R1, R2, R3 = RingId(1, 1), RingId(2, 1), RingId(3, 1)


def _regular(ring: RingId, *members: int) -> Configuration:
    return Configuration(ConfigurationKind.REGULAR, ring, members)


def _transitional(ring: RingId, *members: int) -> Configuration:
    return Configuration(ConfigurationKind.TRANSITIONAL, ring, members)


def _said(*messages: tuple[int, bytes]) -> Delivered:
    return Delivered(list(messages))


def _history(node: int, *effects: Any, sent: tuple[bytes, ...] = ()) -> History:
    history = History(node, 1)
    history.sent = list(sent)
    for effect in effects:
        history.take(effect)
    return history


A, B, C = (1, b"a"), (2, b"b"), (1, b"c")


def test_a_run_that_keeps_all_promises_passes():
    one = _history(
        1, _regular(R1, 1, 2), _said(A, B), Safe(1), _transitional(R2, 1, 2), _said(C), _regular(R2, 1, 2),
        sent=(b"a", b"c"),
    )  # fmt: skip
    two = _history(
        2, _regular(R1, 1, 2), _said(A), _said(B), _transitional(R2, 1, 2), _said(C), _regular(R2, 1, 2), sent=(b"b",)
    )
    assert check([one, two], alive={(1, 1), (2, 1)}) == []


@pytest.mark.parametrize(
    ("effects", "fault"),
    [
        ([_said(A)], "before the first configuration"),
        ([_regular(R1, 2)], "strange members"),
        ([_regular(R1, 1), _regular(R2, 1)], "no transitional configuration"),
        ([_regular(R2, 1), _transitional(R1, 1), _regular(R1, 1)], "after"),
        ([_regular(R1, 1), _transitional(R2, 1), _transitional(R2, 1)], "out of place"),
        ([_regular(R1, 1, 2), _transitional(R2, 1, 3), _regular(R2, 1, 3)], "strange transitional members"),
        ([_regular(R1, 1), _said(A), Safe(2)], "safe is out of place"),
        ([_regular(R1, 1), _said(A), Safe(1), Safe(1)], "safe is out of place"),
        ([_regular(R1, 1), _said(A, A)], "delivered twice"),
    ],
)
def test_what_one_node_may_not_be_handed_is_found(effects: list[Any], fault: str):
    faults = check([_history(1, *effects)], alive=set())
    assert any(fault in text for text in faults)


def test_another_order_is_found():
    one = _history(1, _regular(R1, 1, 2), _said(A, B))
    two = _history(2, _regular(R1, 1, 2), _said(B, A))
    assert any("other order" in text for text in check([one, two], alive=set()))


def test_another_order_after_the_gap_is_found():
    one = _history(1, _regular(R1, 1, 2), _transitional(R2, 1), _said(A, B))
    two = _history(2, _regular(R1, 1, 2), _transitional(R3, 2), _said(B, A))
    assert any("after the gap" in text for text in check([one, two], alive=set()))


def test_other_deliveries_of_those_that_go_together_are_found():
    one = _history(1, _regular(R1, 1, 2), _said(A, B), _transitional(R2, 1, 2), _regular(R2, 1, 2))
    two = _history(2, _regular(R1, 1, 2), _said(A), _transitional(R2, 1, 2), _regular(R2, 1, 2))
    assert any("other deliveries" in text for text in check([one, two], alive=set()))


def test_disagreement_about_who_goes_together_is_found():
    one = _history(1, _regular(R1, 1, 2), _transitional(R2, 1), _regular(R2, 1, 2))
    two = _history(2, _regular(R1, 1, 2), _transitional(R2, 1, 2), _regular(R2, 1, 2))
    faults = check([one, two], alive=set())
    assert any("disagree who went" in text for text in faults)
    assert any("unannounced" in text for text in faults)


def test_a_safe_message_that_another_member_misses_is_found():
    one = _history(1, _regular(R1, 1, 2), _said(A), Safe(1))
    two = _history(2, _regular(R1, 1, 2), _transitional(R2, 2), _regular(RingId(2, 2), 2))
    assert any("knew to be safe" in text for text in check([one, two], alive=set()))


def test_other_members_of_one_ring_are_found():
    assert any(
        "different members" in text
        for text in check([_history(1, _regular(R1, 1, 2)), _history(2, _regular(R1, 1, 2, 3))], alive=set())
    )


def test_an_own_message_that_is_missing_is_found_unless_the_node_crashed():
    history = _history(1, _regular(R1, 1), sent=(b"a",))
    assert any("own messages" in text for text in check([history], alive={(1, 1)}))
    assert check([history], alive=set()) == []
