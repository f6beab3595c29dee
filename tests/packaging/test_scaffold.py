"""`amf new` makes an application that is whole: valid, typed, tidy, and its own test passes on real executives."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from corosync_amf.errors import Exist, InvalidParam, NotExist
from corosync_amf.resources import SCAFFOLDS
from corosync_amf.scaffold import ANSWERS_FILE, package_of, render, template, templates

CODE_LINES_MAX = 70


def run(words: list[str], directory: Path) -> "subprocess.CompletedProcess[str]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COROSYNC_")}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, check=False, timeout=240)


def amf(directory: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return run(["corosync_amf.cli", *words], directory)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    render(template(SCAFFOLDS, "counter"), "shop", tmp_path / "shop", "0.1.0")
    return tmp_path / "shop"


def test_new_application_is_checked_without_a_problem(tmp_path: Path) -> None:
    made = amf(tmp_path, "new", "shop")
    assert made.returncode == 0, made.stderr
    assert "next: cd shop" in made.stdout
    checked = amf(tmp_path / "shop", "check", "--import")
    assert checked.returncode == 0, checked.stderr
    assert checked.stderr == ""
    assert "2 service units" in checked.stdout


@pytest.mark.real
def test_new_application_passes_its_own_test_which_kills_the_active_component(shop: Path) -> None:
    tested = run(["pytest", "-q", "-s", "-p", "no:cacheprovider"], shop)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "1 passed" in tested.stdout
    assert tested.stdout.count("failover ") == 3


def test_new_application_is_tidy_and_typed(shop: Path) -> None:
    for words in (
        ["ruff", "check", "--no-cache", "--extend-select", "I,UP,B,SIM", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        ["mypy", "--strict", "--cache-dir", str(shop.parent / "cache"), "shop", "tests"],
    ):
        checked = run(words, shop)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_new_application_has_one_short_component_of_public_names(shop: Path) -> None:
    code = (shop / "shop" / "counter.py").read_text()
    assert len(code.splitlines()) <= CODE_LINES_MAX
    assert "from corosync_amf import Assignment, Component, ComponentContext\n" in code
    assert "corosync_amf." not in code.replace("corosync_amf.hookspecs", "")


def test_project_of_the_new_application_names_its_package(shop: Path) -> None:
    project = tomllib.loads((shop / "pyproject.toml").read_text())
    assert project["project"]["name"] == "shop"
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["shop"]


def test_name_with_a_dash_gives_a_package_with_an_underscore(tmp_path: Path) -> None:
    made = amf(tmp_path, "new", "corner-shop")
    assert made.returncode == 0, made.stderr
    checked = amf(tmp_path / "corner-shop", "check", "--import")
    assert checked.returncode == 0, checked.stderr
    assert (tmp_path / "corner-shop" / "corner_shop" / "counter.py").is_file()
    assert "corner-shop/corner-shop" in (tmp_path / "corner-shop" / "README.md").read_text()


def test_nothing_of_the_template_is_left_in_what_is_written(shop: Path) -> None:
    for path in shop.rglob("*"):
        assert "{" not in path.name
        if path.is_file():
            assert "{{" not in path.read_text()
            assert "{%" not in path.read_text()


def test_answers_are_kept(shop: Path) -> None:
    kept = yaml.safe_load((shop / ANSWERS_FILE).read_text())
    assert kept == {"template": "counter", "name": "shop", "package": "shop", "version": "0.1.0"}


def test_all_files_that_were_written_are_named(tmp_path: Path) -> None:
    written = render(template(SCAFFOLDS, "counter"), "shop", tmp_path / "shop", "0.1.0")
    assert sorted(written) == sorted(path for path in (tmp_path / "shop").rglob("*") if path.is_file())


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    refused = amf(tmp_path, "new", "shop")
    assert refused.returncode == 1
    assert refused.stderr == "error: shop exists already; nothing was written\n"
    assert list((tmp_path / "shop").iterdir()) == []
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    with pytest.raises(Exist):
        render(template(SCAFFOLDS, "counter"), "nowhere", tmp_path / "nowhere", "0.1.0")


@pytest.mark.parametrize(
    "name", ["", "Shop", "9lives", "-shop", "shop-", "sh op", "sh/op", "a" * 41, "caf\u00e9", "class", "json", "tests"]
)
def test_name_that_gives_no_package_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidParam, match="is no usable name"):
        render(template(SCAFFOLDS, "counter"), name, tmp_path / "target", "0.1.0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "a" * 40, "shop2", "my-shop_2"])
def test_usable_names(name: str) -> None:
    assert package_of(name) == name.replace("-", "_")


def test_bad_name_and_unknown_template_are_one_line_on_stderr(tmp_path: Path) -> None:
    for words, said in (
        (["Shop"], "'Shop' is no usable name"),
        (["shop", "--template", "wheel"], "there are: counter"),
    ):
        refused = amf(tmp_path, "new", *words)
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert said in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_template_with_an_unknown_variable_writes_nothing(tmp_path: Path) -> None:
    source = tmp_path / "scaffolds" / "odd"
    (source / "template").mkdir(parents=True)
    (source / "scaffold.yaml").write_text("description: odd\nanswers: {colour: red}\n")
    (source / "template" / "a.txt.jinja").write_text("{{ colour }} {{ name }}\n")
    render(template(tmp_path / "scaffolds", "odd"), "shop", tmp_path / "shop", "0.1.0")
    assert (tmp_path / "shop" / "a.txt").read_text() == "red shop\n"
    (source / "template" / "b.txt.jinja").write_text("{{ shape }}\n")
    with pytest.raises(InvalidParam, match="'shape' is undefined"):
        render(template(tmp_path / "scaffolds", "odd"), "house", tmp_path / "house", "0.1.0")
    assert not (tmp_path / "house").exists()


def test_templates_are_listed_by_name() -> None:
    assert [found.name for found in templates(SCAFFOLDS)] == ["counter"]
    assert "counter" in templates(SCAFFOLDS)[0].description
    with pytest.raises(NotExist, match="there are: counter"):
        template(SCAFFOLDS, "wheel")
