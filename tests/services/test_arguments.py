from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corosync_amf.ais import ErrorCode, TrackFlags
from corosync_amf.checks import check_bool, check_bytes, check_enum, check_flags, check_int, check_name, check_timeout
from corosync_amf.errors import BadFlags, InvalidParam, TooBig, Version, from_code
from corosync_amf.versions import SUPPORTED, check_version, negotiate


def test_higher_minor_is_lowered_and_another_major_refused() -> None:
    assert negotiate("B.04.07", SUPPORTED["CLM"]) == "B.04.01"
    assert negotiate("B.02.01", SUPPORTED["CKPT"]) == "B.02.01"
    for unknown in ("B.02.01", "B.00.01", "A.01.01", "B.05.01"):
        with pytest.raises(Version) as caught:
            negotiate(unknown, SUPPORTED["CLM"])
        assert caught.value.supported == SUPPORTED["CLM"]
    with pytest.raises(Version):
        check_version("B.01.01", "B.03", SUPPORTED["CLM"])
    check_version("B.03.01", "B.03", SUPPORTED["CLM"])


@given(st.text() | st.none() | st.integers() | st.binary())
def test_negotiation_agrees_or_raises_what_it_says(asked) -> None:
    for supported in SUPPORTED.values():
        try:
            agreed = negotiate(asked, supported)
        except (InvalidParam, Version):
            continue
        assert agreed <= asked
        assert any(agreed[:4] == version[:4] and agreed <= version for version in supported)


class Colour(IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("check", "error"),
    [
        (lambda: check_name(None), InvalidParam),
        (lambda: check_name(b"x"), InvalidParam),
        (lambda: check_name(""), InvalidParam),
        (lambda: check_name("a\0b"), InvalidParam),
        (lambda: check_name("\ud800"), InvalidParam),
        (lambda: check_name("\u20ac" * 683), TooBig),
        (lambda: check_flags(None, TrackFlags), InvalidParam),
        (lambda: check_flags(True, TrackFlags), InvalidParam),
        (lambda: check_flags(0x40, TrackFlags), BadFlags),
        (lambda: check_flags(-1, TrackFlags), BadFlags),
        (lambda: check_enum(2, Colour), InvalidParam),
        (lambda: check_enum("RED", Colour), InvalidParam),
        (lambda: check_bytes("text"), InvalidParam),
        (lambda: check_bytes(None), InvalidParam),
        (lambda: check_bytes(5), InvalidParam),
        (lambda: check_bytes(b"123", 2), TooBig),
        (lambda: check_int(-1), InvalidParam),
        (lambda: check_bool(None, "it"), InvalidParam),
        (lambda: check_bool(1, "it"), InvalidParam),
        (lambda: check_int(11, maximum=10), InvalidParam),
        (lambda: check_timeout(-0.1), InvalidParam),
        (lambda: check_timeout(float("nan")), InvalidParam),
        (lambda: check_timeout(10**400), InvalidParam),
    ],
)
def test_bad_arguments_raise_what_the_standard_says(check, error) -> None:
    with pytest.raises(error):
        check()


def test_good_arguments_come_back_in_their_types() -> None:
    assert check_name("\u20ac" * 682) == "\u20ac" * 682
    assert check_flags(3, TrackFlags) is TrackFlags.CURRENT | TrackFlags.CHANGES
    assert check_enum(1, Colour) is Colour.RED
    assert check_bytes(memoryview(bytearray(b"abc"))[1:]) == b"bc"
    assert check_int(7, maximum=7) == 7
    for good in (None, 0, 0.0, 1.5, 10**300, float("inf")):
        check_timeout(good)


class Name(str):
    def __str__(self) -> str:
        return "something else"


class Data(bytes):
    pass


class Number(int):
    pass


def test_objects_of_subclasses_are_taken_and_come_back_as_what_can_be_sent() -> None:
    for subject, checked, plain in (
        (Name("name"), check_name(Name("name")), str),
        (Data(b"data"), check_bytes(Data(b"data")), bytes),
        (Number(7), check_int(Number(7)), int),
        (Colour.RED, check_int(Colour.RED), int),
    ):
        assert checked == subject
        assert type(checked) is plain


@pytest.mark.parametrize("code", [0, 1, 41, -1, True, 2.0, "2", b"2", None, [], {}])
def test_what_is_no_error_code_has_no_error(code) -> None:
    with pytest.raises(InvalidParam):
        from_code(code)


def test_every_error_code_has_its_error() -> None:
    assert [from_code(code).code for code in ErrorCode if code is not ErrorCode.OK] == list(range(2, 41))
