import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corosync_amf.config.problems import Report, Severity
from corosync_amf.config.syntax import parse_corosync, parse_openais, render_corosync, render_openais
from corosync_amf.config.tree import Block, Items, Pair, Text
from corosync_amf.config.yaml_syntax import parse_yaml, render_yaml


def messages(report: Report) -> list[str]:
    return [f"{problem.line}:{problem.column} {problem.message}" for problem in report.problems]


def corosync(text: str) -> tuple[Block, Report]:
    report = Report("corosync.conf", text)
    return parse_corosync(text, report), report


def openais(text: str) -> tuple[Block, Report]:
    report = Report("amf.conf", text)
    return parse_openais(text, report), report


def yaml_tree(text: str) -> tuple[Block, Report]:
    report = Report("amf.conf", text)
    return parse_yaml(text, report), report


names = st.text(string.ascii_letters + string.digits + "_-.", min_size=1, max_size=8)
line_text = st.text(st.characters(exclude_characters="\r\n\0\xa0\ufeff", exclude_categories=["Cs"]), max_size=20)
comments = st.lists(line_text.map(lambda text: "#" + text.rstrip(" \t")), max_size=2).map(tuple)


def blocks(pairs: st.SearchStrategy[Pair]) -> st.SearchStrategy[Block]:
    return st.lists(pairs, max_size=4).map(lambda found: Block(tuple(found)))


def corosync_blocks() -> st.SearchStrategy[Block]:
    leaf = st.builds(Pair, names.map(Text), line_text.map(Text), comments=comments)
    return st.recursive(
        blocks(leaf),
        lambda inner: blocks(leaf | st.builds(Pair, names.map(Text), inner, comments=comments)),
        max_leaves=8,
    )


openais_text = st.text(string.ascii_letters + string.digits + "_-./ =#:\"'", max_size=16).map(
    lambda text: text.replace(" #", "#").strip(" #")
)


def openais_blocks() -> st.SearchStrategy[Block]:
    key = st.text(string.ascii_letters, min_size=1, max_size=12).map(Text)
    leaf = st.builds(Pair, key, openais_text.map(Text), comments=comments) | st.builds(Pair, key, comments=comments)
    raw = openais_text.filter(lambda text: text and not text.startswith("#")).map(lambda text: Pair(Text(text)))
    attribute = st.builds(Pair, st.just(Text("safCSIAttr")), blocks(raw), openais_text.map(Text))
    return st.recursive(
        blocks(leaf | attribute),
        lambda inner: blocks(leaf | st.builds(Pair, key, inner, openais_text.map(Text) | st.none(), comments=comments)),
        max_leaves=8,
    )


def yaml_blocks() -> st.SearchStrategy[Block]:
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10).map(Text)
    value = st.recursive(
        text | st.none(),
        lambda inner: st.lists(inner, max_size=3).map(lambda found: Items(tuple(found))) | _mapping(inner),
        max_leaves=8,
    )
    return _mapping(value)


def _mapping(value: st.SearchStrategy[object]) -> st.SearchStrategy[Block]:
    keys = st.text(string.ascii_letters + "<~ -:#", max_size=6)
    pairs = st.dictionaries(keys, value, max_size=4)
    return pairs.map(lambda found: Block(tuple(Pair(Text(key), item) for key, item in found.items())))  # type: ignore[arg-type]


@given(corosync_blocks())
def test_a_corosync_tree_is_read_as_it_was_written(tree):
    again, report = corosync(render_corosync(tree))
    assert again == tree
    assert report.problems == []


@given(openais_blocks())
def test_an_openais_tree_is_read_as_it_was_written(tree):
    again, report = openais(render_openais(tree))
    assert again == tree
    assert report.problems == []


@given(yaml_blocks())
@example(Block((Pair(Text(""), Text("0\n")),)))
def test_a_yaml_tree_is_read_as_it_was_written(tree):
    again, report = yaml_tree(render_yaml(tree))
    assert [strip(pair) for pair in again.pairs] == list(tree.pairs)
    assert report.problems == []


def strip(pair: Pair) -> Pair:
    """Comments of a YAML text come from its lines; those inside a multi-line text look like comments."""
    value = pair.value
    if isinstance(value, Block):
        value = Block(tuple(strip(inner) for inner in value.pairs))
    if isinstance(value, Items):
        value = Items(tuple(strip(Pair(Text(""), item)).value for item in value.values))
    return Pair(pair.key, value)


grammar_soup = st.lists(
    st.sampled_from(
        ["{", "}", ":", "=", "#", "\n", "\r", " ", "\t", "\xa0", "a", "safSu", '"', "-", "&x", "*x", "[", "!t"]
    )
    | st.characters(),
    max_size=40,
).map("".join)


@given(grammar_soup)
def test_no_text_at_all_breaks_a_parser(text):
    for parse in (corosync, openais, yaml_tree):
        tree, _ = parse(text)
        assert isinstance(tree, Block)


def test_a_corosync_file_keeps_names_values_positions_and_comments():
    tree, report = corosync('# top\ntotem {\n\tversion: 2\n\n  name: "a # b"  # said\n}\nx{\r\n}\rlast:\n')
    assert report.problems == []
    totem, x, last = tree.pairs
    assert (totem.key.line, totem.key.column, totem.comments) == (2, 1, ("# top",))
    assert isinstance(totem.value, Block)
    version, name = totem.value.pairs
    assert (version.key.line, version.key.column) == (3, 2)
    assert isinstance(version.value, Text)
    assert (version.value.value, version.value.line, version.value.column) == ("2", 3, 11)
    assert isinstance(name.value, Text)
    assert name.value.value == "a # b"
    assert x.value == Block()
    assert x.key.line == 7
    assert last.value == Text("")
    assert last.key.line == 9


def test_every_bad_line_of_a_corosync_file_is_reported():
    _, report = corosync("totem {\n  version 2\n  token = 5\n  ? what\n} x\n}\nlogging { to_syslog: no\nquorum {\n")
    assert messages(report) == [
        "2:11 after 'version' a ':' or '{' is expected",
        "3:9 after 'token' a ':' or '{' is expected",
        "4:3 a line is 'name {', 'name: value' or '}'",
        "5:2 a '}' stands on a line of its own",
        "6:1 this '}' closes nothing",
        "7:1 section 'logging' is not closed",
        "7:10 what a section contains begins on the next line",
        "8:1 section 'quorum' is not closed",
    ]
    assert all(problem.severity is Severity.ERROR for problem in report.problems)


def test_a_byte_order_mark_and_no_break_spaces_are_accepted_with_a_warning():
    tree, report = corosync("\ufefftotem {\n\xa0token:\xa01000\n}\n")
    assert tree == Block((Pair(Text("totem"), Block((Pair(Text("token"), Text("1000")),))),))
    assert [problem.severity for problem in report.problems] == [Severity.WARNING, Severity.WARNING]


def test_an_openais_file_has_named_sections_bare_words_and_raw_values():
    tree, report = openais(
        "safCsi=A B  {\n"
        "  safCSIAttr = address {\n    a = b { c\n  }\n"
        "  saAmfCSTypeName =  x  y \n"
        "  saAmfCsiDependencies { }\n"
        "}\n"
        "saAmfCompCsTypes {\nT1\n}\nsaAmfCompCmdEnv {\nVAR=1=2\n}\n"
    )
    assert report.problems == []
    csi, types, env = tree.pairs
    assert csi.name == Text("A B")
    assert isinstance(csi.value, Block)
    attribute, type_name, dependencies = csi.value.pairs
    assert attribute == Pair(Text("safCSIAttr"), Block((Pair(Text("a = b { c")),)), Text("address"))
    assert type_name.value == Text("x  y")
    assert isinstance(type_name.value, Text)
    assert type_name.value.column == 22
    assert dependencies.value == Block()
    assert types.value == Block((Pair(Text("T1")),))
    assert env.value == Block((Pair(Text("VAR"), Text("1=2")),))


def test_a_comment_after_a_value_of_an_openais_file_is_warned_about_once():
    tree, report = openais("a = b # c\nd = e # f\n")
    assert tree.pairs[0].value == Text("b")
    assert [problem.severity for problem in report.problems] == [Severity.WARNING]


def test_yaml_words_stay_text():
    tree, report = yaml_tree("no: on\nyes: 1:30\nnull: ~\n0755: 2001-01-01\n'x': !<tag:yaml.org,2002:str> 1\n")
    assert messages(report) == ["5:6 a tag: tag:yaml.org,2002:str"]
    tree, report = yaml_tree("no: on\nyes: 1:30\nnull: ~\n0755: 2001-01-01\n")
    assert report.problems == []
    assert tree == Block(
        (
            Pair(Text("no"), Text("on")),
            Pair(Text("yes"), Text("1:30")),
            Pair(Text("null"), None),
            Pair(Text("0755"), Text("2001-01-01")),
        )
    )


def test_yaml_anchors_and_merge_keys_are_read():
    tree, report = yaml_tree("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: *x\n")
    assert report.problems == []
    b, c = tree.pairs[1].value, tree.pairs[2].value
    assert b == Block((Pair(Text("p"), Text("1")), Pair(Text("q"), Text("3"))))
    assert c == Block((Pair(Text("p"), Text("1")), Pair(Text("q"), Text("2"))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1 'a' stands here twice"),
        ("a:\n\tb: 1\n", "2:1 a tab"),
        ("a: 1\n---\nb: 2\n", "2:1 a second document"),
        ("- a\n", "1:1 the file must be a mapping: 'key: value' lines"),
        ("a: *b\n", "1:4 '*b' refers to nothing before it"),
        ("a: &a [*a]\n", "1:8 '*a' refers to nothing before it"),
        ("a: [1\n", "2:1 while parsing a flow sequence expected ',' or ']', but got '<stream end>'"),
        ('a: "\\ud800"\n', "1:4 a character that no text may have"),
        ("[a]: 1\n", "1:1 a key must be a plain name"),
        ("a: {<<: b}\n", "1:5 '<<' merges mappings only"),
        ("a: " + "[" * 40 + "]" * 40, "1:36 nested deeper than 32"),
        ("a: \x07\n", "0:0 unacceptable character #x0007: special characters are not allowed"),
    ],
)
def test_yaml_that_is_no_configuration_is_refused(text, expected):
    _, report = yaml_tree(text)
    assert messages(report) == [expected]


def test_aliases_that_multiply_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    _, report = yaml_tree("\n".join(lines))
    assert messages(report) == ["5:5 more than 100000 values, aliases written out"]


@pytest.mark.parametrize("value", ["a # b", " a", "a\nb", "x {"])
def test_an_openais_value_that_the_grammar_cannot_hold_is_refused(value):
    with pytest.raises(ValueError, match="cannot be written"):
        render_openais(Block((Pair(Text("a"), Text(value)),)))


def test_a_corosync_value_that_the_grammar_cannot_hold_is_refused():
    for pair in (Pair(Text("a"), Text("b\nc")), Pair(Text("a b"), Text("c")), Pair(Text("a"), Items(()))):
        with pytest.raises(ValueError, match=r"."):
            render_corosync(Block((pair,)))


def test_a_comment_that_is_none_is_not_written():
    with pytest.raises(ValueError, match="not a comment"):
        render_corosync(Block((Pair(Text("a"), Text("b"), comments=("no sign",)),)))


def test_sections_nested_too_deep_are_refused():
    _, report = corosync("a {\n" * 40 + "}\n" * 40)
    assert messages(report) == ["33:1 sections are nested deeper than 32"]


def test_a_brace_that_ends_and_begins_is_refused():
    _, report = openais("a = b {\n} c {\n")
    assert messages(report) == ["2:2 a '}' stands on a line of its own"]


def test_a_yaml_document_of_nothing_is_an_empty_tree():
    for text in ("--- ~\n", "", "# only a comment\n"):
        tree, report = yaml_tree(text)
        assert (tree, report.problems) == (Block(), [])
