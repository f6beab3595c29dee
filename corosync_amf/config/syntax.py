"""The two brace grammars, text <-> tree.

- corosync.conf: `name { key: value }`
- the amf.conf of openais: `kind = NAME { key = value }`, with bare words in some sections

Both are read line by line; a mistake in one line does not hide those in others.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from corosync_amf.config.problems import Code, Report
from corosync_amf.config.tree import DEPTH_MAX, Block, Pair, Text

_NO_BREAK_SPACE: Final = "\N{NO-BREAK SPACE}"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_BLANK: Final = " \t"
_COMMENT: Final = re.compile(r"[ \t]#")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*(?:#.*)?$')
_UNWRITABLE: Final = re.compile(r"[\r\n\x00\ud800-\udfff\N{NO-BREAK SPACE}\N{ZERO WIDTH NO-BREAK SPACE}]")

RAW_SECTIONS: Final = frozenset({"safCSIAttr", "saAmfCompCsTypes"})
"""Sections of the openais grammar whose lines are values as they stand."""


@dataclass(frozen=True, slots=True)
class _Open:
    pair: Pair
    closed: bool = False


class _Close:
    pass


_CLOSE: Final = _Close()
_Statement = _Open | _Close | Pair
_Reader = Callable[[str, int, Report, str], _Statement | None]


def parse_corosync(text: str, report: Report) -> Block:
    """Return the tree of a file in corosync.conf's grammar; mistakes go to `report`, their lines are left out.

    Source: corosync.conf(5).
    """
    return _parse(text, report, _corosync_statement)


def parse_openais(text: str, report: Report) -> Block:
    """Return the tree of a file in the grammar of openais' amf.conf; mistakes go to `report`."""
    return _parse(text, report, _openais_statement)


def render_corosync(tree: Block) -> str:
    """Return the text of a tree in corosync.conf's grammar.

    Raises: ValueError: a name or value cannot be written in it (line ends, no-break spaces).
    """
    lines: list[str] = []
    _render(tree, 0, lines, _corosync_pair)
    return "".join(line + "\n" for line in lines)


def render_openais(tree: Block) -> str:
    """Return the text of a tree in the grammar of openais' amf.conf.

    Raises: ValueError: a value cannot be written in it (line ends, a comment sign after a blank, outer blanks).
    """
    lines: list[str] = []
    _render(tree, 0, lines, _openais_pair)
    return "".join(line + "\n" for line in lines)


def split_lines(text: str) -> list[str]:
    """Split at LF, CRLF or CR, and nowhere else."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _parse(text: str, report: Report, statement: _Reader) -> Block:
    if text.startswith("\ufeff"):
        report.warning(Code.ENCODING, Text("", 1, 1), "", "the file begins with a byte order mark; it is skipped")
        text = text[1:]
    opened: list[Pair] = []
    pairs: list[list[Pair]] = [[]]
    comments: list[str] = []
    warned = False
    for number, raw in enumerate(split_lines(text), 1):
        if _NO_BREAK_SPACE in raw and not warned:
            warned = True
            at = Text("", number, raw.index(_NO_BREAK_SPACE) + 1)
            report.warning(Code.ENCODING, at, "", "no-break spaces are read as spaces")
        line = raw.replace(_NO_BREAK_SPACE, " ")
        content = line.strip(_BLANK)
        if not content:
            continue
        if content.startswith("#"):
            comments.append(content)
            continue
        found = statement(line, number, report, opened[-1].key.value if opened else "")
        if isinstance(found, _Close):
            _close(opened, pairs, report, Text("}", number, len(line) - len(line.lstrip(_BLANK)) + 1))
        elif isinstance(found, _Open) and not found.closed:
            opened.append(_with_comments(found.pair, comments))
            pairs.append([])
            if len(opened) > DEPTH_MAX:
                report.error(Code.BRACES, found.pair.key, "", f"sections are nested deeper than {DEPTH_MAX}")
                return Block()
        elif found is not None:
            pair = found.pair if isinstance(found, _Open) else found
            pairs[-1].append(_with_comments(pair, comments))
        comments = []
    while opened:
        report.error(Code.BRACES, opened[-1].key, "", f"section '{opened[-1].key.value}' is not closed", "add a '}'")
        _close(opened, pairs, report, opened[-1].key)
    return Block(tuple(pairs[0]), 1, 1)


def _with_comments(pair: Pair, comments: list[str]) -> Pair:
    return Pair(pair.key, pair.value, pair.name, tuple(comments))


def _close(opened: list[Pair], pairs: list[list[Pair]], report: Report, at: Text) -> None:
    if not opened:
        report.error(Code.BRACES, at, "", "this '}' closes nothing", "a section before it may be closed twice")
        return
    head, body = opened.pop(), tuple(pairs.pop())
    block = Block(body, head.key.line, head.key.column)
    pairs[-1].append(Pair(head.key, block, head.name, head.comments))


def _corosync_statement(line: str, number: int, report: Report, section: str) -> _Statement | None:
    start = len(line) - len(line.lstrip(_BLANK))
    if line[start] == "}":
        if line[start + 1 :].strip(_BLANK) and not line[start + 1 :].strip(_BLANK).startswith("#"):
            report.error(Code.SYNTAX, Text("", number, start + 2), section, "a '}' stands on a line of its own")
        return _CLOSE
    name = _NAME.match(line, start)
    if name is None:
        message = "a line is 'name {', 'name: value' or '}'"
        report.error(Code.SYNTAX, Text("", number, start + 1), section, message)
        return None
    key = Text(name.group(), number, start + 1)
    after = len(line) - len(line[name.end() :].lstrip(_BLANK))
    sign = line[after : after + 1]
    if sign == "{":
        rest = line[after + 1 :].strip(_BLANK)
        if rest and not rest.startswith("#"):
            message = "what a section contains begins on the next line"
            report.error(Code.SYNTAX, Text("", number, after + 2), key.value, message)
            if rest.endswith("}"):  # all of it on one line: what follows is not inside
                return _Open(Pair(key, Block((), number, start + 1)), closed=True)
        return _Open(Pair(key))
    if sign == ":":
        return Pair(key, _corosync_value(line, after + 1, number))
    hint = f"write '{key.value}: ...'" if sign == "=" else ""
    message = f"after '{key.value}' a ':' or '{{' is expected"
    report.error(Code.SYNTAX, Text("", number, after + 1), section, message, hint)
    return None


def _corosync_value(line: str, start: int, number: int) -> Text:
    begin = len(line) - len(line[start:].lstrip(_BLANK))
    quoted = _QUOTED.match(line, begin)
    if quoted:
        return Text(re.sub(r'\\(["\\])', r"\1", quoted.group(1)), number, begin + 1)
    comment = _COMMENT.search(line, start)
    value = line[begin : max(begin, comment.start()) if comment else None].strip(_BLANK)
    return Text(value, number, min(begin, len(line) - 1) + 1)


def _openais_statement(line: str, number: int, report: Report, section: str) -> _Statement | None:
    start = len(line) - len(line.lstrip(_BLANK))
    comment = _COMMENT.search(line, start)
    content = line[: comment.start() if comment else None].strip(_BLANK)
    if comment and not report.has(Code.OLD_SPELLING):  # once: whoever writes such comments writes many
        at = Text("", number, comment.start() + 2)
        report.warning(Code.OLD_SPELLING, at, "", "' #' begins a comment here; openais takes it as part of the value")
    if content == "}":
        return _CLOSE
    if section in RAW_SECTIONS and not content.startswith("}"):
        return Pair(Text(content, number, start + 1))
    if content.startswith("}"):
        report.error(Code.SYNTAX, Text("", number, start + 2), section, "a '}' stands on a line of its own")
        return _CLOSE
    head, brace, _ = content.partition("{")
    closed = content.endswith("}") and content[len(head) + 1 : -1].strip(_BLANK) == ""
    if brace and (content.endswith("{") or closed) and "{" not in content[len(head) + 1 :]:
        key, name = _openais_key(head, number, start, report, section)
        if key is None:
            return None
        return _Open(Pair(key, Block((), key.line, key.column) if closed else None, name), closed)
    if "=" in content:
        key, value = _openais_key(content, number, start, report, section)
        return Pair(key, value) if key else None
    return Pair(Text(content, number, start + 1))


def _openais_key(head: str, number: int, start: int, report: Report, obj: str) -> tuple[Text | None, Text | None]:
    key, equals, value = head.partition("=")
    key = key.rstrip(_BLANK)
    if not key or any(char in key for char in " \t{}"):
        report.error(Code.SYNTAX, Text("", number, start + 1), obj, "a line is 'kind = NAME {', 'key = value' or '}'")
        return None, None
    if not equals:
        return Text(key, number, start + 1), None
    skipped = len(head) - len(value.lstrip(_BLANK))
    return Text(key, number, start + 1), Text(value.strip(_BLANK), number, start + skipped + 1)


def _render(block: Block, depth: int, lines: list[str], head: Callable[[Pair, str], str], section: str = "") -> None:
    indent = "\t" * depth
    for pair in block.pairs:
        for comment in pair.comments:
            if not comment.startswith("#") or comment != comment.strip(_BLANK) or _UNWRITABLE.search(comment):
                raise ValueError(f"not a comment: {comment!r}")
            lines.append(indent + comment)
        text = head(pair, section)
        if _UNWRITABLE.search(text):
            raise ValueError(f"cannot be written on one line: {text!r}")
        lines.append(indent + text)
        if isinstance(pair.value, Block):
            _render(pair.value, depth + 1, lines, head, pair.key.value)
            lines.append(indent + "}")


def _corosync_pair(pair: Pair, section: str) -> str:
    if not _NAME.fullmatch(pair.key.value) or pair.name is not None:
        raise ValueError(f"not a name of this grammar: {pair.key.value!r}")
    if isinstance(pair.value, Block):
        return pair.key.value + " {"
    if not isinstance(pair.value, Text):
        raise ValueError(f"'{pair.key.value}' needs a text")
    value = pair.value.value
    if not value or value != value.strip(_BLANK) or value[0] in '"#' or _COMMENT.search(value):
        value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{pair.key.value}: {value}"


def _openais_pair(pair: Pair, section: str) -> str:
    key = pair.key.value
    if isinstance(pair.value, Block):
        text = f"{key} = {pair.name.value} {{" if pair.name is not None else f"{key} {{"
    elif isinstance(pair.value, Text):
        text = f"{key} = {pair.value.value}".rstrip(_BLANK)
    else:
        text = key
    again = _openais_statement(text, 0, Report(""), section) if text.strip(_BLANK) and text[0] != "#" else None
    found = again.pair if isinstance(again, _Open) else again
    expected = Pair(pair.key, None, pair.name) if isinstance(pair.value, Block) else Pair(pair.key, pair.value)
    if found != expected or (isinstance(again, _Open) and again.closed):
        raise ValueError(f"cannot be written in this grammar: {text!r}")
    return text
