"""The built wheel, installed into a fresh virtual environment outside the checkout, is the whole product."""

import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from corosync_amf._version import __version__

ROOT = Path(__file__).parents[2]
SURVIVE = """
import pathlib, anyio
from corosync_amf.development import development_cluster

async def main():
    environ = {"PYTHONPATH": "."}
    async with development_cluster(pathlib.Path("amf.conf"), environ=environ) as cluster:
        await cluster.until_assigned()
        print(await cluster.breakdown(await cluster.kill_component()))

anyio.run(main)
"""


def run(words: list[str | Path], directory: Path) -> str:
    """Run a command without anything of the checkout in its environment; return its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COROSYNC_", "PYTHON"))}
    done = subprocess.run(words, cwd=directory, env=kept, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, so that this one is complete, too."""
    directory = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--outdir", directory, ROOT], directory)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh virtual environment in which only the wheel, and what it asks for, is installed."""
    place = tmp_path_factory.mktemp("elsewhere")
    run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], place)
    python = place / "venv" / "bin" / "python"
    run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel], place)
    return python.parent


@pytest.fixture
def shop(programs: Path, tmp_path: Path) -> Path:
    run([programs / "amf", "new", "shop"], tmp_path)
    return tmp_path / "shop"


def test_wheel_holds_the_two_packages_and_nothing_else_on_top(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"corosync_amf", "aisexec", f"corosync_amf-{__version__}.dist-info"}
    assert {"corosync_amf/py.typed", "aisexec/py.typed"} <= set(names)
    assert [name for name in names if "__pycache__" in name or name.endswith(".pyc")] == []
    assert [name for name in names if "/tests/" in name and "/_data/" not in name] == []


@pytest.mark.parametrize("folder", ["scaffolds", "etc"])
def test_wheel_holds_every_file_of_the_shipped_folders(wheel: Path, folder: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name: archive.read(name) for name in archive.namelist() if f"/_data/{folder}/" in name}
    here = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert shipped == {f"corosync_amf/_data/{path.relative_to(ROOT)}": path.read_bytes() for path in here}


def test_both_packages_are_imported_from_the_environment_and_the_data_is_beside_them(
    programs: Path, tmp_path: Path
) -> None:
    code = "import aisexec, corosync_amf, corosync_amf.resources as r; "
    code += "print(aisexec.__file__, corosync_amf.__file__, r.SCAFFOLDS, r.REFERENCE_CONFIG, r.REFERENCE_MAIN_CONFIG)"
    places = [Path(word) for word in run([programs / "python", "-c", code], tmp_path).split()]
    assert len(places) == 5
    for place in places:
        assert place.exists()
        assert place.is_relative_to(programs.parent)


@pytest.mark.parametrize("program", ["aisexec", "amf"])
def test_programs_tell_their_version(programs: Path, tmp_path: Path, program: str) -> None:
    assert run([programs / program, "--version"], tmp_path) == f"{program}, version {__version__}\n"


def test_key_is_made_for_its_owner_only(programs: Path, tmp_path: Path) -> None:
    key = tmp_path / "authkey"
    run([programs / "ais-keygen", "-k", key], tmp_path)
    assert stat.S_IMODE(key.stat().st_mode) == 0o400
    assert key.stat().st_size == 128


def test_reference_configuration_is_in_order(programs: Path, tmp_path: Path) -> None:
    (etc,) = (programs.parent / "lib").glob("python*/site-packages/corosync_amf/_data/etc/ais")
    assert "ok: " in run([programs / "amf", "check", etc / "amf.conf"], tmp_path)
    run([programs / "aisexec", "-t", "-c", etc / "corosync.conf", "-a", etc / "amf.conf"], tmp_path)


def test_new_application_is_checked_without_a_problem(programs: Path, shop: Path) -> None:
    assert "2 service units" in run([programs / "amf", "check", "--import"], shop)


def test_new_application_can_be_installed_beside_it(programs: Path, shop: Path) -> None:
    python = programs / "python"
    run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "."], shop)
    elsewhere = shop.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "amf.conf").write_text("applications:\n  shop: {plugin: shop.counter:Counter}\n")
    assert "2 service units" in run([programs / "amf", "check", "--import"], elsewhere)
    run([sys.executable, "-m", "pip", "--python", python, "uninstall", "--quiet", "--yes", "shop"], elsewhere)


@pytest.mark.real
def test_new_application_runs_on_the_installed_executives_and_survives_a_kill(programs: Path, shop: Path) -> None:
    assert run([programs / "python", "-c", SURVIVE], shop).startswith("failover ")
