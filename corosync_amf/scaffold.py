"""Render an application from a template: offline, in a second, never over something that is there.

A template is a folder of `scaffolds/` with a `scaffold.yaml` (what it is, which questions it has) and a tree
`template/`. Names of files and folders are templates themselves; contents only where the name ends in `.jinja`.
"""

import keyword
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from corosync_amf.errors import Exist, InvalidParam, NotExist

ANSWERS_FILE = ".amf-scaffold.yaml"
_NAME = re.compile(r"[a-z]([a-z0-9_-]{0,38}[a-z0-9])?")
_TAKEN = {
    "aisexec",
    "anyio",
    "corosync_amf",
    "systemd",
    "tests",
    *keyword.kwlist,
    *keyword.softkwlist,
    *sys.stdlib_module_names,
}
"""Names that a Python package beside the tests cannot have, or had better not."""


@dataclass(frozen=True, slots=True)
class Template:
    """One folder of `scaffolds/`."""

    name: str
    folder: Path
    description: str
    answers: dict[str, Any]


def templates(scaffolds: Path) -> list[Template]:
    """All templates, by name."""
    return [_load(path.parent) for path in sorted(scaffolds.glob("*/scaffold.yaml"))]


def template(scaffolds: Path, name: str) -> Template:
    """Raises: NotExist (SA_AIS_ERR_NOT_EXIST): there is no such template."""
    for found in templates(scaffolds):
        if found.name == name:
            return found
    known = ", ".join(found.name for found in templates(scaffolds))
    raise NotExist(f"no template {name!r}; there are: {known}")


def _load(folder: Path) -> Template:
    data = yaml.safe_load((folder / "scaffold.yaml").read_text(encoding="utf-8"))
    return Template(folder.name, folder, data["description"], data.get("answers", {}))


def render(source: Template, name: str, target: Path, version: str) -> list[Path]:
    """Write the application `name` into the new folder `target`; return the files written.

    Nothing is written unless the whole template can be rendered.

    Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): no usable name, or the template is wrong.
            Exist (SA_AIS_ERR_EXIST): `target` is there already.
    """
    package = package_of(name)
    if target.exists() or target.is_symlink():
        raise Exist(f"{target} exists already; nothing was written")
    answers = {**source.answers, "name": name, "package": package, "version": version}
    try:
        files = _rendered(source.folder / "template", answers)
    except jinja2.TemplateError as error:
        raise InvalidParam(f"template {source.name}: {error}") from None
    files[ANSWERS_FILE] = yaml.safe_dump({"template": source.name, **answers}, sort_keys=True)
    for relative, text in files.items():
        destination = target / relative
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_text(text, encoding="utf-8")
    return [target / relative for relative in files]


def package_of(name: str) -> str:
    """The Python package of the application `name`.

    Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): no usable name.
    """
    if not _NAME.fullmatch(name):
        raise InvalidParam(
            f"{name!r} is no usable name: at most 40 lower-case letters, digits, '-' and '_', a letter first, and"
            " at the end a letter or a digit"
        )
    package = name.replace("-", "_")
    if package in _TAKEN:
        raise InvalidParam(f"{name!r} is no usable name: a Python package cannot be called {package!r}")
    return package


def _rendered(root: Path, answers: dict[str, Any]) -> dict[str, str]:
    """The text of each file, by its path in the application."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,
    )
    files = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        relative = environment.from_string(str(path.relative_to(root))).render(answers)
        text = path.read_text(encoding="utf-8")
        if relative.endswith(".jinja"):
            text = environment.from_string(text).render(answers)
        files[relative.removesuffix(".jinja")] = text
    return files
