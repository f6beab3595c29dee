"""YAML, text <-> tree: scalars stay the text they are.

What a plain scalar means is for the schema to say, so `no`, `on`, `1:30` or `0755` are never anything but text;
duplicate keys, tabs, tags and several documents are errors. Anchors, aliases and merge keys (`<<`) are read.
"""

from collections.abc import Iterator
from typing import Final

import yaml

from corosync_amf.config.problems import Code, Report
from corosync_amf.config.tree import DEPTH_MAX, Block, Items, Pair, Text, Value

NODES_MAX: Final = 100_000
_NULL: Final = ("", "~", "null", "Null", "NULL")
_STR: Final = "tag:yaml.org,2002:str"
_PLAIN: Final = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "timestamp"))
_UNUSABLE: Final = {0, *range(0xD800, 0xE000)}


class _Mistake(Exception):
    def __init__(self, code: Code, at: Text | None, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.at, self.message, self.hint = code, at, message, hint


def parse_yaml(text: str, report: Report) -> Block:
    """Return the tree of a YAML text; an empty one gives an empty block. Mistakes go to `report`."""
    text = text.removeprefix("\ufeff")
    for number, line in enumerate(report.lines, 1):
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent and line.strip():
            report.error(Code.TAB, Text("", number, indent.index("\t") + 1), "", "a tab", "YAML indents with spaces")
    if report.has_errors:
        return Block()
    try:
        return _Composer(text, report).document()
    except _Mistake as mistake:
        report.error(mistake.code, mistake.at, "", mistake.message, mistake.hint)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = Text("", mark.line + 1, mark.column + 1) if mark else None
        told = " ".join(part for part in (error.context, error.problem) if part)
        report.error(Code.SYNTAX, at, "", told)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        report.error(Code.ENCODING, None, "", str(error).splitlines()[0])
    return Block()


def render_yaml(tree: Block) -> str:
    """Return the YAML text of a tree (comments are left out)."""
    resolver = yaml.SafeDumper("")  # type: ignore[arg-type]  # only its resolver is used, nothing is written
    return str(yaml.serialize(_node(tree, resolver), Dumper=yaml.SafeDumper, allow_unicode=True, width=110))


class _Composer:
    def __init__(self, text: str, report: Report) -> None:
        self._report = report
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._anchors: dict[str, tuple[Value, int]] = {}

    def document(self) -> Block:
        next(self._events)
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return Block((), 1, 1)
        value, _ = self._value(next(self._events), 0)
        next(self._events)
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise _Mistake(Code.SYNTAX, _at(event), "a second document", "one file holds one document")
        if value is None:
            return Block((), 1, 1)
        if not isinstance(value, Block):
            at = Text("", value.line, value.column)
            raise _Mistake(Code.SYNTAX, at, "the file must be a mapping: 'key: value' lines")
        return value

    def _value(self, event: yaml.Event, depth: int) -> tuple[Value, int]:
        """The value that begins with `event`, and how many nodes it has when aliases are written out."""
        if depth > DEPTH_MAX:
            raise _Mistake(Code.TOO_LARGE, _at(event), f"nested deeper than {DEPTH_MAX}")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _Mistake(Code.SYNTAX, _at(event), f"'*{event.anchor}' refers to nothing before it")
            return self._anchors[event.anchor]
        tag = getattr(event, "tag", None)
        if tag is not None:
            hint = "leave it out; every value has the type that its key asks for"
            raise _Mistake(Code.TAG, _at(event), f"a tag: {tag}", hint)
        if isinstance(event, yaml.ScalarEvent):
            found: tuple[Value, int] = self._scalar(event), 1
        elif isinstance(event, yaml.SequenceStartEvent):
            found = self._sequence(event, depth)
        else:
            found = self._mapping(event, depth)
        if found[1] > NODES_MAX:
            raise _Mistake(Code.TOO_LARGE, _at(event), f"more than {NODES_MAX} values, aliases written out")
        anchor = getattr(event, "anchor", None)
        if anchor:
            self._anchors[anchor] = found
        return found

    def _scalar(self, event: yaml.ScalarEvent) -> Text | None:
        if any(ord(char) in _UNUSABLE for char in event.value):
            raise _Mistake(Code.ENCODING, _at(event), "a character that no text may have")
        if event.style is None and event.value in _NULL:
            return None
        return _at(event, event.value)

    def _sequence(self, start: yaml.Event, depth: int) -> tuple[Items, int]:
        values: list[Value] = []
        size = 1
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            value, weight = self._value(event, depth + 1)
            values.append(value)
            size += weight
        at = _at(start)
        return Items(tuple(values), at.line, at.column), size

    def _mapping(self, start: yaml.Event, depth: int) -> tuple[Block, int]:
        pairs: dict[str, Pair] = {}
        merged: dict[str, Pair] = {}
        size = 1
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            is_merge = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.style is None
            key, _ = self._value(event, depth + 1)
            at = _at(event)
            value, weight = self._value(next(self._events), depth + 1)
            size += weight + 1
            if is_merge:
                merged |= _merge(value, at)
                continue
            if isinstance(event, yaml.ScalarEvent) and key is None:
                key = _at(event, event.value)
            if not isinstance(key, Text):
                raise _Mistake(Code.SYNTAX, at, "a key must be a plain name")
            if key.value in pairs:
                first = pairs[key.value].key.line
                hint = f"the first one is in line {first}"
                self._report.error(Code.DUPLICATE, key, "", f"'{key.value}' stands here twice", hint)
            pairs[key.value] = Pair(key, value, comments=self._comments(key))
        at = _at(start)
        return Block(tuple((merged | pairs).values()), at.line, at.column), size

    def _comments(self, key: Text) -> tuple[str, ...]:
        lines = self._report.lines
        if key.line > len(lines) or lines[key.line - 1][: key.column - 1].strip():
            return ()
        first = key.line - 1
        while first > 0 and lines[first - 1].lstrip().startswith("#"):
            first -= 1
        return tuple(line.strip() for line in lines[first : key.line - 1])


def _merge(value: Value, at: Text) -> dict[str, Pair]:
    sources = value.values if isinstance(value, Items) else (value,)
    merged: dict[str, Pair] = {}
    for source in sources:
        if not isinstance(source, Block):
            raise _Mistake(Code.SYNTAX, at, "'<<' merges mappings only")
        merged = {pair.key.value: pair for pair in source.pairs} | merged
    return merged


def _at(event: yaml.Event, value: str = "") -> Text:
    mark = event.start_mark
    return Text(value, mark.line + 1, mark.column + 1) if mark else Text(value)


def _node(value: Value, resolver: yaml.SafeDumper) -> yaml.Node:
    if isinstance(value, Block):
        pairs = [(_node(pair.key, resolver), _node(pair.value, resolver)) for pair in value.pairs]
        return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=not pairs)
    if isinstance(value, Items):
        items = [_node(item, resolver) for item in value.values]
        return yaml.SequenceNode("tag:yaml.org,2002:seq", items, flow_style=True)
    if value is None:
        return yaml.ScalarNode("tag:yaml.org,2002:null", "null")
    tag = resolver.resolve(yaml.ScalarNode, value.value, (True, False))  # type: ignore[no-untyped-call]
    if not value.value.isprintable():  # with a newline behind it a number would still resolve to one, and get a tag
        return yaml.ScalarNode(_STR, value.value, style='"')
    return yaml.ScalarNode(tag if tag in _PLAIN else _STR, value.value)
