"""The logs of several executives as one: in the order of time, what all say said once, coloured by node and weight."""

import re
from collections import Counter
from heapq import merge
from pathlib import Path
from typing import Final

import click

COLOURS: Final = ("cyan", "magenta", "blue", "green", "bright_cyan", "bright_magenta", "bright_blue", "bright_green")
WEIGHTS: Final = {"warning": "yellow", "error": "red", "critical": "red", "debug": "bright_black"}
REPLICATED: Final = ("AMF: ", "CLM: ", "NODE: ")
READ_BYTES_MAX: Final = 1 << 20
_LINE: Final = re.compile(r"(?P<time>\d\d:\d\d:\d\d\.\d{3}) (?P<node>\S+) (?P<level>[a-z]+) +(?P<text>.*)")


class LogFile:
    """What is added to a file, line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._rest = b""

    def new_lines(self) -> list[str]:
        """The lines that were completed since the last call; none while there is no file."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read(READ_BYTES_MAX)
        except OSError:
            return []
        self._position += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def merged(logs: list[list[str]]) -> list[tuple[int, str]]:
    """The lines of all logs in the order of their times, each with the number of its log.

    A line without a time, such as one of a traceback, follows the one before it.
    """
    timed = []
    for number, lines in enumerate(logs):
        time = ""
        stamped = []
        for position, line in enumerate(lines):
            match = _LINE.match(line)
            time = match["time"] if match else time
            stamped.append((time, number, position, line))
        timed.append(stamped)
    return [(number, line) for _, number, _, line in merge(*timed)]


class Once:
    """Leaves out what another node has said already: every node logs each decision, because every node makes it."""

    def __init__(self) -> None:
        self._said: Counter[tuple[int, str]] = Counter()
        self._shown: Counter[str] = Counter()

    def is_new(self, number: int, line: str) -> bool:
        """Whether the node of this number is the first that says it, or says it once more than any other."""
        match = _LINE.fullmatch(line)
        if match is None or not match["text"].startswith(REPLICATED):
            return True
        text = match["text"]
        self._said[number, text] += 1
        if self._said[number, text] <= self._shown[text]:
            return False
        self._shown[text] += 1
        return True


def painted(line: str, number: int) -> str:
    """A line for a terminal: the node in its own colour, warnings and errors in theirs."""
    match = _LINE.fullmatch(line)
    if match is None:
        return line
    node = click.style(match["node"], fg=COLOURS[number % len(COLOURS)])
    return f"{click.style(match['time'], dim=True)} {node} {click.style(match['text'], fg=WEIGHTS.get(match['level']))}"
