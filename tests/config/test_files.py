import sys
from pathlib import Path

import pytest

from corosync_amf.config import ConfigError, Machine, load_amf, load_executive
from corosync_amf.config.files import read_text
from corosync_amf.config.machine import interface_addresses, machine_facts
from corosync_amf.config.network import parse_address
from corosync_amf.config.tree import FILE_BYTES_MAX, Block, Pair, Text

MINIMAL = "applications: {phone: {plugin: 'm:o'}}\n"
NODES = ("a", "b")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_argument_comes_before_the_environment_and_that_before_the_old_name(tmp_path):
    files = {name: write(tmp_path / name, f"cluster: {{name: {name}}}\n") for name in ("given", "new", "old")}
    environ = {"COROSYNC_AMF_CONFIG_FILE": str(files["new"]), "OPENAIS_AMF_CONFIG_FILE": str(files["old"])}
    assert load_amf(files["given"], environ)[0].name == "given"
    assert load_amf(None, environ)[0].name == "new"
    del environ["COROSYNC_AMF_CONFIG_FILE"]
    assert load_amf(None, environ)[0].name == "old"


def test_a_file_that_was_named_must_exist(tmp_path):
    missing = tmp_path / "missing.conf"
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load_amf(missing, {})
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load_amf(None, {"COROSYNC_AMF_CONFIG_FILE": str(missing)})
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load_executive(None, {"COROSYNC_MAIN_CONFIG_FILE": str(missing)}, Machine())
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_executive(tmp_path, {}, Machine())


def test_all_errors_of_a_file_come_together_with_those_of_its_grammar(tmp_path):
    path = write(tmp_path / "corosync.conf", "totem {\nwhat\ntokn: 5\n}\n")
    with pytest.raises(ConfigError) as caught:
        load_executive(path, {}, Machine())
    assert [problem.line for problem in caught.value.problems] == [2, 3]


def test_warnings_come_with_the_configuration(tmp_path):
    path = write(tmp_path / "corosync.conf", "robots {\n}\n")
    config, problems = load_executive(path, {}, Machine())
    assert config.file == str(path)
    assert [problem.message for problem in problems] == ["unknown section 'robots'"]
    cluster, problems = load_amf(write(tmp_path / "amf.conf", MINIMAL), {}, nodes=("a",))
    assert len(cluster.applications) == 1
    assert "no protection" in problems[0].message


def test_users_and_groups_come_from_a_directory_too(tmp_path):
    path = write(tmp_path / "corosync.conf", "uidgid {\nuid: alice\n}\n")
    (tmp_path / "uidgid.d").mkdir()
    write(tmp_path / "uidgid.d" / "bob", "uidgid {\nuid: bob\ngid: staff\n}\n")
    write(tmp_path / "uidgid.d" / ".hidden", "not even a configuration\n")
    config, problems = load_executive(path, {}, Machine())
    assert (config.allowed_users, config.allowed_groups) == (("alice", "bob"), ("staff",))
    assert problems == []
    write(tmp_path / "uidgid.d" / "carol", "uidgid {\n")
    with pytest.raises(ConfigError, match=r"carol:1:1: error: section 'uidgid' is not closed"):
        load_executive(path, {}, Machine())


def test_mistakes_of_that_directory_are_told_where_they_stand(tmp_path):
    path = write(tmp_path / "corosync.conf", "totem {\n}\n")
    (tmp_path / "uidgid.d").mkdir()
    mine = write(tmp_path / "uidgid.d" / "mine", "totem {\n}\nuidgid {\nuid: bob\nuser: alice\n}\n")
    with pytest.raises(ConfigError) as refused:
        load_executive(path, {}, Machine())
    assert [(problem.file, problem.line, problem.message) for problem in refused.value.problems] == [
        (str(mine), 1, "only uidgid sections stand in this directory"),
        (str(mine), 5, "unknown directive 'user'"),
    ]
    write(mine, "uidgid {\nuid: bob\nuid: carol\n}\n")
    config, problems = load_executive(path, {}, Machine())
    assert config.allowed_users == ("carol",)
    assert [(problem.file, problem.line) for problem in problems] == [(str(mine), 3)]


def test_bytes_that_are_no_text_are_refused_where_they_stand(tmp_path):
    path = tmp_path / "amf.conf"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"amf.conf:2:4: error: byte 0xff is not UTF-8"):
        read_text(path)
    path.write_bytes(b" " * (FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="is larger than"):
        read_text(path)


def own_parser(path: Path) -> Block:
    return Block((Pair(Text("totem"), Block((Pair(Text("token"), Text("700")),))),))


def no_parser(path: Path) -> None:
    return None


def broken_parser(path: Path) -> Block:
    raise RuntimeError("no such store")


@pytest.mark.parametrize(
    ("iface", "token"),
    [
        ("", 0.9),
        ("corosync_parser", 0.9),
        ("openaisserviceenableexperimental:corosync_parser", 0.9),
        ("{here}:own_parser", 0.7),
        ("{here}:broken_parser:{here}:no_parser:{here}:own_parser", 0.7),
        ("{here}:broken_parser:corosync_parser", 0.9),
    ],
)
def test_another_parser_may_read_the_file(tmp_path, iface, token):
    path = write(tmp_path / "corosync.conf", "totem {\ntoken: 900\n}\n")
    environ = {"COROSYNC_DEFAULT_CONFIG_IFACE": iface.format(here=__name__)}
    assert load_executive(path, environ, Machine())[0].totem.token == token


def test_without_a_parser_that_works_the_file_is_refused(tmp_path):
    path = write(tmp_path / "corosync.conf", "")
    names = f"{__name__}:broken_parser:{__name__}:no_parser:nothing"
    with pytest.raises(ConfigError, match=r"no such store; .*returned no tree; nothing: "):
        load_executive(path, {"COROSYNC_DEFAULT_CONFIG_IFACE": names}, Machine())


def test_this_machine_has_an_address_a_name_and_hosts():
    facts = machine_facts()
    assert facts.host_name
    assert all(parse_address(own.address) for own in interface_addresses())
    assert parse_address(facts.default_address)
    assert facts.hosts.get("127.0.0.1") == ("127.0.0.1",)
    assert facts.hosts.get("no such host.invalid") is None
    assert len(facts.hosts) == 0


def test_reading_a_configuration_needs_no_event_loop():
    import subprocess

    code = "import sys, corosync_amf.config; print([m for m in sys.modules if m in ('anyio', 'asyncio', 'trio')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
