"""Render an application from a template: offline, in a second, never over something that is there.

A template is a folder of `scaffolds/` with a `scaffold.yaml` (what it is, which questions it has) and a tree
`template/`. Names of files and folders are templates themselves; contents only where the name ends in `.jinja`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from corosync_amf.errors import Exist, InvalidParam, NotExist

ANSWERS_FILE = ".amf-scaffold.yaml"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


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

    Raises: InvalidParam (SA_AIS_ERR_INVALID_PARAM): no usable name.
            Exist (SA_AIS_ERR_EXIST): `target` is there already.
    """
    if not _NAME.fullmatch(name):
        raise InvalidParam(f"{name!r} is no usable name: a lower-case letter, then letters, digits, '-' and '_'")
    if target.exists():
        raise Exist(f"{target} exists already; nothing was written")
    answers = {
        **source.answers,
        "name": name,
        "package": name.replace("-", "_"),
        "class_name": "".join(part.capitalize() for part in re.split("[-_]", name)),
        "version": version,
    }
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    root = source.folder / "template"
    written = []
    for path in sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        relative = environment.from_string(str(path.relative_to(root))).render(answers)
        text = path.read_text(encoding="utf-8")
        destination = target / relative.removesuffix(".jinja")
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_text(
            environment.from_string(text).render(answers) if relative.endswith(".jinja") else text, encoding="utf-8"
        )
        written.append(destination)
    kept = yaml.safe_dump({"template": source.name, **answers}, sort_keys=True)
    (target / ANSWERS_FILE).write_text(kept, encoding="utf-8")
    return written
