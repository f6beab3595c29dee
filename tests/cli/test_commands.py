"""The commands without a cluster: what they import, print, and say when there is no executive."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from corosync_amf.cli import COMMANDS, cli, code_of
from corosync_amf.cli.listing import as_data, as_item, dated, is_data, table, when
from corosync_amf.cli.objects import known, resolve, short
from corosync_amf.cli.status import as_table, exit_code, plain
from corosync_amf.errors import NotExist, TimedOut, TryAgain
from tests.cli.statuses import APP, CSI, GROUP, INSTANCE, UNITS, shop

MODULES_OF_VERSION_MAX = 130


def modules_after(*words: str, directory: Path) -> set[str]:
    """The modules that a command has imported when it ends. There is no executive where it looks for one."""
    code = f"import atexit, sys; atexit.register(lambda: print('MODULES', *sys.modules)); sys.argv = {['amf', *words]}"
    code += "; from corosync_amf.cli import main; main()"
    environ = {**os.environ, "COROSYNC_AMF_SOCKET": str(directory / "no.sock")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    return set(done.stdout.rpartition("MODULES ")[2].split())


def test_version_imports_next_to_nothing(tmp_path: Path) -> None:
    modules = modules_after("--version", directory=tmp_path)
    assert "corosync_amf.cli" in modules
    assert modules.isdisjoint({"anyio", "asyncio", "jinja2", "msgspec", "pluggy", "rich", "yaml", "cryptography"})
    assert len(modules) < MODULES_OF_VERSION_MAX


def test_status_imports_no_library_that_it_does_not_use(tmp_path: Path) -> None:
    modules = modules_after("status", directory=tmp_path)
    assert {"anyio", "corosync_amf.session"} <= modules
    assert modules.isdisjoint({"jinja2", "rich", "yaml", "cryptography", "pluggy", "corosync_amf.config"})


def test_new_imports_nothing_of_a_cluster(tmp_path: Path) -> None:
    modules = modules_after("new", "Bad", directory=tmp_path)
    assert "jinja2" in modules
    assert modules.isdisjoint({"anyio", "asyncio", "msgspec", "rich", "cryptography"})


def test_every_command_is_listed_and_explains_itself() -> None:
    listed = CliRunner().invoke(cli, ["--help"]).output
    for name in COMMANDS:
        assert f"\n  {name} " in listed
        explained = CliRunner().invoke(cli, [name, "--help"])
        assert explained.exit_code == 0
        assert len(explained.output.splitlines()) > 3


def test_unknown_command_is_refused() -> None:
    refused = CliRunner().invoke(cli, ["explode"])
    assert refused.exit_code == 2
    assert "No such command 'explode'" in refused.output


@pytest.mark.parametrize("words", [["status"], ["lock", "shop"]])
def test_without_an_executive_one_line_says_so(tmp_path: Path, words: list[str]) -> None:
    environ = {**os.environ, "COROSYNC_AMF_SOCKET": str(tmp_path / "no.sock")}
    command = [sys.executable, "-m", "corosync_amf.cli", *words]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "no.sock" in done.stderr
    assert done.stderr.count("\n") == 1


def test_exit_codes_tell_what_was_wanting() -> None:
    assert [
        code_of(error) for error in (NotExist("x"), TryAgain("busy"), OSError("x"), TimedOut("no answer in 1 s"))
    ] == [1, 1, 1, 3]
    assert code_of(TryAgain("partition has no quorum")) == 5
    assert code_of(TimedOut("no answer in 1 s: partition has no quorum")) == 5


def test_programs_get_the_same_in_each_of_their_formats() -> None:
    rows = [{"name": "a", "nodes": [1, 2], "open": None}, {"name": "grün", "nodes": [], "open": True}]
    assert json.loads(as_data("json", rows)) == yaml.safe_load(as_data("yaml", rows)) == rows
    assert [json.loads(line) for line in as_data("jsonl", rows).splitlines()] == rows
    assert json.loads(as_data("jsonl", rows[0])) == rows[0]
    assert as_data("jsonl", []) == ""
    assert [json.loads(as_item(output, rows[0])) for output in ("json", "jsonl")] == [rows[0]] * 2
    documents = "\n".join(as_item("yaml", row) for row in rows)
    assert list(yaml.safe_load_all(documents)) == rows
    assert [output for output in ("table", "wide", "json", "jsonl", "yaml") if is_data(output)] == [
        "json",
        "jsonl",
        "yaml",
    ]


def test_cells_of_a_table_are_on_one_line_and_do_not_speak_to_the_terminal() -> None:
    assert table(["NAME", "N"], [["a\nb\x1b[31m\u202e", 1]]).splitlines()[1].split() == ["a\\nb\\x1b[31m\\u202e", "1"]


def test_times_of_a_history_are_shown_as_people_say_them() -> None:
    assert dated("1795631457.931 LOCKED") == f"{when(1795631457.931)}  LOCKED"
    assert dated("shop/su1 is LOCKED") == "shop/su1 is LOCKED"


def test_usual_names_of_objects() -> None:
    assert [short(dn) for dn in (APP, GROUP, *UNITS, INSTANCE, CSI)] == [
        "shop",
        "shop/shop",
        "shop/su1",
        "shop/su2",
        "shop/shop",
        "shop/shop/shop",
    ]


def test_every_object_of_a_status_is_known_and_found_by_its_dn() -> None:
    status = shop()
    assert len(known(status)) == len(set(known(status))) == 11
    for dn in known(status):
        assert resolve(status, dn) == dn


def test_instance_and_group_of_one_name_are_told_apart_by_what_is_preferred() -> None:
    assert resolve(shop(), "shop/shop", "safSi=") == INSTANCE
    with pytest.raises(NotExist, match="could be shop/sg:shop, shop/si:shop"):
        resolve(shop(), "shop/shop")


def test_table_of_a_cluster_that_is_well() -> None:
    assert as_table(shop()) == (
        "cluster quorate, 2 of 2 nodes: node-a, node-b\n"
        "\n"
        "SERVICE INSTANCE  STATE           ACTIVE              STANDBY\n"
        "shop/shop         fully-assigned  shop/su1 on node-a  shop/su2 on node-b\n"
        "\n"
        "UNIT      NODE    ADMIN     PRESENCE      READINESS   RESTARTS\n"
        "shop/su1  node-a  unlocked  instantiated  in-service  2\n"
        "shop/su2  node-b  unlocked  instantiated  in-service  2"
    )


def test_table_shows_what_is_down_and_what_is_going_on() -> None:
    lines = as_table(shop(well=False, quorate=False, doing="instantiating: attempt 2")).splitlines()
    assert lines[0] == "cluster NO QUORUM, 1 of 2 nodes: node-a, node-b (down)"
    assert lines[3].split() == ["shop/shop", "partially-assigned", "shop/su1", "on", "node-a", "-"]
    assert lines[7].split() == ["shop/su2", "node-b", "unlocked", "uninstantiated", "out-of-service", "2"]
    assert lines[-3:] == ["now:", "  shop/su2/shop: instantiating: attempt 2", "  shop/su1: lock the swap"]


def test_json_names_enumerators_and_keeps_every_field() -> None:
    data = json.loads(as_data("json", plain(shop(doing="cleanup"))))
    assert data["version"] == 1
    assert data["cluster"] == {
        "dn": "safAmfCluster=cluster",
        "admin": "UNLOCKED",
        "quorate": True,
        "started": True,
        "members": [1, 2],
        "order": 7,
        "time": 1.5,
    }
    assert data["groups"][0]["model"] == "TWO_N"
    assert data["instances"][0]["assignment"] == "FULLY_ASSIGNED"
    assert data["instances"][0]["unassigned_since"] is None
    assert data["csis"][0]["assignments"][0]["ha_state"] == "ACTIVE"
    assert data["operations"][0]["operation"] == "LOCK"
    assert list(data) == list(shop().__struct_fields__)


def test_exit_code_tells_how_the_cluster_is() -> None:
    assert [exit_code(status) for status in (shop(), shop(well=False), shop(quorate=False))] == [0, 4, 5]
