"""What the line of a record looks like, token by token."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corosync_amf.services.log.formats import Format, Kind, Line, clipped, kind_of, problem_of_format, visible
from corosync_amf.services.log.values import DEFAULT_FORMAT

TIME = 1_800_000_000.25  # 2027-01-15 08:00:00 UTC
LINE = Line(
    7,
    TIME,
    b"call server ready",
    (18568, 2, 3),
    severity=5,
    user="phone",
    notification_id=42,
    event_type=0x4003,
    event_time=TIME + 1,
    notification_object="safSu=1",
    notifying_object="safApp=amf",
)


def drawn(text: str, line: Line = LINE, size: int = 1024) -> str:
    assert problem_of_format(text) is None
    return Format(text).line(line, size).decode()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("@Cr", "7"),
        ("@Cr4", "0007"),
        ("@Ch:@Cn:@Cs", "08:00:00"),
        ("@Cm/@Cd/@CY", "01/15/2027"),
        ("@CY2", "27"),
        ("@Ct", f"{int(TIME * 1e9):#018x}"),
        ("@Cb", "call server ready"),
        ("@Cb4|", "call|"),
        ("@Cb20|", "call server ready   |"),
        ("@Sv@Sl", "NOphone"),
        ("@Sl8|", "phone   |"),
        ("@Nc", "18568,2,3"),
        ("@Ci", "42"),
        ("@Ne", "0x4003"),
        ("@Ne8", "0x004003"),
        ("@Ne4", "4003"),
        ("@Nt", f"{int((TIME + 1) * 1e9):#018x}"),
        ("@No|@Ng4", "safSu=1|safA"),
        ("no token", "no token"),
        (DEFAULT_FORMAT, '7 08:00:00 01/15/2027 NO phone "call server ready"'),
    ],
)
def test_each_token_is_drawn(text: str, line: str) -> None:
    assert drawn(text) == line + "\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "@@",
        "@C",
        "@Zz",
        "@cb",
        "mail@example",
        "@Cb0",
        "@Cb65536",
        "@Cb999999999",
        "a\nb",
        "@Sv @No",
        "x" * 1025,
    ],
)
def test_what_is_no_format_is_found_out(text: str) -> None:
    assert problem_of_format(text)


def test_the_tokens_tell_which_header_is_needed() -> None:
    assert kind_of("@Cr @Cb @Nc") is Kind.EITHER
    assert kind_of("@Cr @Sv") is Kind.GENERIC
    assert kind_of("@Ci") is Kind.NOTIFICATION


def test_a_long_record_is_cut_but_not_through_a_character() -> None:
    assert drawn("@Cb", LINE._replace(body=b"x" * 300), 150) == "x" * 149 + "\n"
    assert drawn("@Cb", LINE._replace(body="é".encode() * 100), 150) == "é" * 74 + "\n"
    assert clipped(b"\x80" * 10, 5) == b"\x80" * 5


def test_a_record_is_one_line_whatever_its_body() -> None:
    assert (
        drawn("@Cb", LINE._replace(body=b"one\n2 08:00:00 forged\r\x00\tx")) == "one\\n2 08:00:00 forged\\r\\x00\tx\n"
    )
    assert drawn("@Sl", LINE._replace(user="a\nb")) == "a\\nb\n"
    assert visible(b"plain") == b"plain"


@given(st.binary(max_size=400), st.text(max_size=40), st.integers(150, 300), st.sampled_from(["", "9", "40"]))
def test_whatever_is_drawn_is_one_line_of_the_size_at_most(body: bytes, user: str, size: int, width: str) -> None:
    line = Format(f"@Cr{width} @Sl{width} @Cb{width}").line(LINE._replace(body=body, user=user), size)
    assert len(line) <= size
    assert re.fullmatch(rb"[^\n]*\n", line)
