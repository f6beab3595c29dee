"""How state becomes sections and comes back."""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corosync_amf.ais import RedundancyModel
from corosync_amf.checkpointing import Encoded, State, _cut, checkpoint_name, decode, encode, encode_all
from corosync_amf.errors import InvalidParam

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN | st.binary() | st.binary().map(b"\xc1".__add__))
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    assert decode(encode(value)) == value


@given(st.binary().filter(lambda data: not data.startswith(b"\xc1")))
def test_bytes_are_stored_as_they_are(data: bytes) -> None:
    assert encode(data) == data


@dataclasses.dataclass
class Call:
    caller: str
    since: datetime


class Ledger(msgspec.Struct):
    total: int
    calls: dict[str, Call] = {}


CALL = Call("alice", datetime(2026, 1, 1, tzinfo=UTC))


def plain(ctx: Any, csi: Any, state: Any) -> None: ...
def bare(state) -> None: ...
def of_mapping(state: Mapping[str, Call]) -> None: ...
def of_optional(state: "dict[str, Call | None]") -> None: ...
def of_bytes(state: Mapping[str, bytes]) -> None: ...
def of_whole(state: Ledger) -> None: ...
def of_dict(state: dict) -> None: ...  # type: ignore[type-arg]
def of_nothing_known(state: "Unknown") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def sections(**state: Any) -> Encoded:
    return encode_all(state)


@pytest.mark.parametrize("hook", [plain, bare, of_dict])
def test_without_a_type_state_is_plain_data(hook: Any) -> None:
    assert State(sections(a=CALL), "state").seen_by(hook) == {"a": {"caller": "alice", "since": CALL.since}}


@pytest.mark.parametrize("hook", [of_mapping, of_optional])
def test_a_mapping_type_names_the_type_of_the_values(hook: Any) -> None:
    assert State(sections(a=CALL), "state").seen_by(hook) == {"a": CALL}


def test_a_key_that_is_gone_is_none_whatever_the_type() -> None:
    assert State({"a": None, **sections(b=CALL)}, "state").seen_by(of_mapping) == {"a": None, "b": CALL}


def test_any_other_type_is_that_of_the_whole() -> None:
    state = State(sections(total=3, calls={"a": CALL}), "state").seen_by(of_whole)
    assert state == Ledger(3, {"a": CALL})


def test_bytes_reach_a_hook_that_names_them() -> None:
    assert State(sections(a=b"raw", b=b"\xc1x"), "state").seen_by(of_bytes) == {"a": b"raw", "b": b"\xc1x"}


@pytest.mark.parametrize(
    ("state", "hook"), [({"a": 3}, of_mapping), ({"a": b"raw"}, of_mapping), ({"b": 1}, of_whole), ({"a": 3}, of_bytes)]
)
def test_state_of_another_type_is_refused_in_words(state: dict[str, Any], hook: Any) -> None:
    with pytest.raises(InvalidParam, match="does not hold what is expected"):
        State(encode_all(state), "state").seen_by(hook)


def test_an_annotation_that_cannot_be_found_gives_plain_data(caplog: pytest.LogCaptureFixture) -> None:
    assert State(sections(a=1), "state").seen_by(of_nothing_known) == {"a": 1}
    assert "Unknown" in caplog.text


@pytest.mark.parametrize("state", [None, [("a", 1)], {1: 2}, {"": 1}, {"k" * 256: 1}, {"é" * 128: 1}, {"a": object()}])
def test_what_cannot_be_checkpointed_is_refused(state: Any) -> None:
    with pytest.raises(InvalidParam):
        encode_all(state)


def test_none_in_a_state_means_that_the_key_goes() -> None:
    assert encode_all({"a": None, "b": b""}) == {"a": None, "b": b""}


@pytest.mark.parametrize("data", [b"\xc1", b"\xc1\x92\x01", b"\xc1\x81\x01"])
def test_damaged_sections_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidParam):
        decode(data)


CSI = "safCsi=i,safSi=s,safApp=p"


def test_checkpoints_are_named_after_the_csi_and_with_several_actives_after_the_component() -> None:
    assert checkpoint_name("safComp=a,safSu=u", CSI, RedundancyModel.TWO_N) == f"safCkpt=amf,{CSI}"
    name = checkpoint_name("safComp=a,safSu=u", CSI, RedundancyModel.N_WAY_ACTIVE)
    assert name == f"safCkpt=safComp=a\\,safSu=u,{CSI}"


@given(st.dictionaries(st.text(max_size=3), st.none() | st.integers(0, 5).map(lambda n: bytes(n * 1024 * 1024))))
def test_large_changes_are_cut_into_pieces_that_lose_nothing(changes: Encoded) -> None:
    pieces = _cut(changes)
    assert {key: data for piece in pieces for key, data in piece.items()} == changes
    assert all(sum(len(data or b"") for data in piece.values()) <= 12 * 1024 * 1024 for piece in pieces)
