"""The logs of several executives as one."""

from pathlib import Path

import click
from hypothesis import given
from hypothesis import strategies as st

from corosync_amf.cli.logs import LogFile, Once, merged, painted


def line(second: int, node: str, text: str, level: str = "info") -> str:
    return f"12:00:{second:02}.000 node-{node} {level:7} {text}"


def test_lines_are_merged_in_the_order_of_time() -> None:
    first = [line(1, "a", "one"), line(3, "a", "three")]
    second = [line(2, "b", "two"), line(3, "b", "three, too")]
    assert [text.split()[-1] for _, text in merged([first, second, []])] == ["one", "two", "three", "too"]
    assert [number for number, _ in merged([first, second])] == [0, 1, 0, 1]


def test_traceback_stays_below_the_line_that_it_belongs_to() -> None:
    first = [line(1, "a", "it broke"), "Traceback:", "  ValueError", line(4, "a", "on")]
    merged_lines = [text for _, text in merged([first, [line(2, "b", "fine")]])]
    assert merged_lines == [*first[:3], line(2, "b", "fine"), first[3]]


@given(st.lists(st.lists(st.integers(0, 59)), max_size=4))
def test_merging_keeps_every_line_and_the_order_of_each_log(times: list[list[int]]) -> None:
    logs = [
        [line(second, "a", f"{number} {at}") for at, second in enumerate(sorted(log))]
        for number, log in enumerate(times)
    ]
    found = merged(logs)
    for number, log in enumerate(logs):
        assert [text for owner, text in found if owner == number] == log
    stamps = [text.split()[0] for _, text in found]
    assert stamps == sorted(stamps)


def test_file_gives_only_lines_that_are_complete_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(path)
    assert log.new_lines() == []
    path.write_bytes(b"one\ntw")
    assert log.new_lines() == ["one"]
    assert log.new_lines() == []
    with path.open("ab") as file:
        file.write(b"o\n\xff\n")
    assert log.new_lines() == ["two", "\ufffd"]


def test_what_all_nodes_say_is_new_once() -> None:
    once = Once()
    said = [(0, "AMF: x: ACTIVE"), (1, "AMF: x: ACTIVE"), (2, "AMF: x: ACTIVE"), (1, "AMF: x: ACTIVE"), (0, "CLM: two")]
    assert [once.is_new(number, line(1, "a", text)) for number, text in said] == [True, False, False, True, True]


def test_what_a_node_says_of_itself_is_always_new() -> None:
    once = Once()
    for text in ("No token for 0.7 s", "LEASE: over"):
        assert [once.is_new(number, line(1, "a", text)) for number in (0, 1, 0)] == [True, True, True]
    assert once.is_new(0, "Traceback:")
    assert once.is_new(1, "Traceback:")


def test_node_and_weight_have_their_colours() -> None:
    shown = painted(line(1, "b", "LEASE: over", "warning"), 1)
    assert click.unstyle(shown) == "12:00:01.000 node-b LEASE: over"
    assert click.style("node-b", fg="magenta") in shown
    assert click.style("LEASE: over", fg="yellow") in shown
    assert painted("no log line", 0) == "no log line"
