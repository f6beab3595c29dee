import contextlib
import os
import stat
import sys

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from corosync_amf.cli import check, keygen
from corosync_amf.config.authkey import KEY_BYTES, KeyFileError, read_authkey

MINIMAL = "nodes: [a, b]\napplications: {phone: {plugin: '%s'}}\n"


NOTHING = dict.fromkeys(("COROSYNC_AMF_CONFIG_FILE", "OPENAIS_AMF_CONFIG_FILE", "COROSYNC_MAIN_CONFIG_FILE"))


@pytest.fixture
def bare(tmp_path):
    """A directory without configuration as the present one."""
    paths = list(sys.path)
    with contextlib.chdir(tmp_path):
        yield tmp_path
    sys.path[:] = paths


def amf_check(*arguments: str, **environ: str):
    return CliRunner().invoke(check.command, list(arguments), env={**NOTHING, **environ})


def ais_keygen(*arguments: str):
    return CliRunner().invoke(keygen.command, list(arguments))


def test_check_says_what_a_good_file_has(bare):
    (bare / "amf.conf").write_text(MINIMAL % "m:o")
    done = amf_check()
    assert done.exit_code == 0
    assert done.output == (
        "amf.conf: ok: 2 nodes, 1 application, 1 service group, 2 service units, 2 components, 1 service instance\n"
    )


def test_check_takes_the_file_of_the_environment(bare):
    (bare / "amf.conf").write_text("nonsense\n")
    (bare / "other.conf").write_text(MINIMAL % "m:o")
    assert amf_check(COROSYNC_AMF_CONFIG_FILE="other.conf").output.startswith("other.conf: ok")
    assert amf_check("amf.conf").exit_code == 1


def test_check_lists_all_errors_and_fails(bare):
    (bare / "amf.conf").write_text("nodes: [a/b]\napplication: {}\n")
    done = amf_check("amf.conf")
    assert done.exit_code == 1
    assert "amf.conf:1:9: error: nodes: 'a/b' cannot be a name" in done.output
    assert "amf.conf:2:1: error: unknown section 'application'" in done.output


def test_check_has_a_form_for_machines(bare):
    (bare / "amf.conf").write_text("application: {}\n")
    done = amf_check("-o", "json", "amf.conf")
    assert done.exit_code == 1
    (problem,) = msgspec.json.decode(done.output)
    assert (problem["line"], problem["column"], problem["code"]) == (1, 1, "E1102")
    (bare / "amf.conf").write_text(MINIMAL % "m:o")
    done = amf_check("-o", "json", "amf.conf")
    assert (done.exit_code, msgspec.json.decode(done.output)) == (0, [])
    assert amf_check("-o", "jsonl", "amf.conf").output == ""
    (bare / "amf.conf").write_text("application: {}\nnode: {}\n")
    lines = amf_check("-o", "jsonl", "amf.conf").output.splitlines()
    assert [msgspec.json.decode(line)["line"] for line in lines] == [1, 2]
    assert [problem["line"] for problem in yaml.safe_load(amf_check("-o", "yaml", "amf.conf").output)] == [1, 2]


def test_check_counts_the_members_of_the_node_list(bare):
    (bare / "corosync.conf").write_text("nodelist {\nnode {\nring0_addr: 127.0.0.1\nname: solo\n}\n}\n")
    (bare / "amf.conf").write_text("applications: {phone: {plugin: 'm:o'}}\n")
    done = amf_check(COROSYNC_MAIN_CONFIG_FILE="corosync.conf")
    assert "all service units are on node 'solo'" in done.output
    (bare / "corosync.conf").write_text("nonsense\n")
    told = amf_check(COROSYNC_MAIN_CONFIG_FILE="corosync.conf").output
    assert "corosync.conf: cannot be used (see aisexec -t); nodes are taken to be node-a, node-b, node-c" in told
    assert "3 nodes" in told


def test_check_imports_plugins_when_asked(bare):
    (bare / "checked_plugin.py").write_text("class Good:\n    class Inner: pass\n")
    (bare / "broken_plugin.py").write_text("1 / 0\n")
    installed = bare / "checked-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: checked\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[corosync_amf.components]\nchecked-name = checked_plugin:Good\n")
    for plugin, fault in (
        ("checked_plugin:Good.Inner", None),
        ("checked_plugin:Bad", "checked_plugin has no Bad"),
        ("broken_plugin:X", "broken_plugin cannot be imported: ZeroDivisionError: division by zero"),
        ("no_such_plugin:X", "no_such_plugin cannot be imported: ModuleNotFoundError: No module named"),
        ("checked-name", None),
        ("unknown-name", "'unknown-name' is neither module:object nor an entry point of corosync_amf.components"),
    ):
        (bare / "amf.conf").write_text(MINIMAL % plugin)
        assert amf_check("amf.conf").exit_code == 0
        done = amf_check("--import", "amf.conf")
        assert done.exit_code == (1 if fault else 0)
        assert fault is None or f"plugin '{plugin}': {fault}" in done.output


def test_a_key_is_written_for_its_owner_only(tmp_path):
    path = tmp_path / "new" / "authkey"
    done = ais_keygen("-k", str(path))
    assert done.output == f"Gathering 1024 bits for key\nWriting corosync key to {path}.\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(read_authkey(path)) == KEY_BYTES


def test_an_existing_key_is_left_alone_unless_forced(tmp_path):
    path = tmp_path / "authkey"
    ais_keygen("-k", str(path))
    first = read_authkey(path)
    done = ais_keygen("-k", str(path))
    assert done.exit_code == 1
    assert "exists and is left as it is" in done.output
    assert read_authkey(path) == first
    assert ais_keygen("-k", str(path), "--force").exit_code == 0
    assert read_authkey(path) != first
    assert read_authkey(tmp_path / "authkey.old") == first


def test_a_link_to_nothing_is_replaced_when_forced_and_a_file_is_no_directory(tmp_path):
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(tmp_path / "nowhere")
    assert CliRunner().invoke(keygen.command, ["-k", str(link)]).exit_code == 1
    assert CliRunner().invoke(keygen.command, ["-k", str(link), "--force"]).exit_code == 0
    assert len(read_authkey(link)) == KEY_BYTES
    file.touch()
    done = CliRunner().invoke(keygen.command, ["-k", str(file / "key")])
    assert (done.exit_code, done.output.splitlines()[-1]) == (1, f"Error: {file}/key: {file} is no directory")


def test_a_key_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    done = ais_keygen("-k", str(tmp_path / "file" / "authkey"))
    assert done.exit_code == 1
    assert "Error:" in done.output


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (b"x" * 127, 0o400, "has 127 bytes instead of 128"),
        (b"x" * 129, 0o400, "has more than 128 bytes instead of 128"),
        (b"x" * 128, 0o440, r"group or others have access \(mode 0440\); chmod 0400"),
        (b"x" * 128, 0o604, "group or others have access"),
        (None, 0o400, "there is no key; run ais-keygen"),
    ],
)
def test_a_key_file_that_cannot_be_trusted_is_refused_naming_the_remedy(tmp_path, content, mode, expected):
    path = tmp_path / "authkey"
    if content is not None:
        path.write_bytes(content)
        os.chmod(path, mode)
    with pytest.raises(KeyFileError, match=expected):
        read_authkey(path)


def test_a_directory_is_no_key(tmp_path):
    with pytest.raises(KeyFileError, match="cannot be read: Is a directory"):
        read_authkey(tmp_path)
