"""`amf check`: validate an amf.conf."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import msgspec

from corosync_amf.config import (
    Code,
    ConfigError,
    Problem,
    Severity,
    amf_config_file,
    load_amf,
    load_executive,
    render_text,
)
from corosync_amf.errors import InvalidParam
from corosync_amf.plugins import find
from corosync_amf.services.amf.model import Cluster, Index

from .listing import FOR_PROGRAMS, as_data, is_data

EXAMPLE_NODES: Final = ("node-a", "node-b", "node-c")


def import_fault(plugin: str) -> str:
    """Say why a plugin, `module:object` or an entry point, cannot be imported; "" when it can."""
    try:
        find(plugin)
    except InvalidParam as error:
        return error.reason
    return ""


def check_imports(cluster: Cluster, file: str) -> list[Problem]:
    """Return an error for every plugin that cannot be imported here, at the first component that uses it."""
    problems: list[Problem] = []
    index = Index(cluster)
    users = {comp.plugin: dn for dn, comp in reversed(index.components.items()) if comp.plugin}
    for plugin, dn in reversed(users.items()):
        fault = import_fault(plugin)
        if fault:
            problems.append(
                Problem(
                    file=file,
                    line=0,
                    column=0,
                    severity=Severity.ERROR,
                    object=dn,
                    message=f"plugin '{plugin}': {fault}",
                    hint="is it installed in this environment, or beside the file?",
                    code=Code.NOT_IMPORTABLE,
                )
            )
    return problems


def known_nodes(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the nodelist's names, or some examples where there is none; a corosync.conf with errors is told of."""
    from corosync_amf.config.machine import machine_facts

    try:
        config, _ = load_executive(None, environ, machine_facts())
    except ConfigError as error:
        file = error.problems[0].file
        examples = ", ".join(EXAMPLE_NODES)
        click.echo(f"{file}: cannot be used (see aisexec -t); nodes are taken to be {examples}", err=True)
        return EXAMPLE_NODES
    return tuple(node.name for node in config.nodes) or EXAMPLE_NODES


def chosen_file(file: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the file to check: the argument, the environment's, ./amf.conf, the default."""
    path, named = amf_config_file(file, environ)
    local = Path("amf.conf")
    return local if not named and local.exists() else path


def summary(cluster: Cluster) -> str:
    """Return what the model has, in a few words."""
    index = Index(cluster)
    counts = (
        (len(index.nodes), "node"),
        (len(index.applications), "application"),
        (len(index.groups), "service group"),
        (len(index.units), "service unit"),
        (len(index.components), "component"),
        (len(index.instances), "service instance"),
    )
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)


@click.command(name="check")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "-o", "--output", type=click.Choice(["text", *FOR_PROGRAMS]), default="text", show_default=True, help="Form of it."
)
@click.option("--import", "imports", is_flag=True, help="Also import every plugin.")
def command(file: Path | None, output: str, imports: bool) -> None:
    """Validate FILE (default: the environment's amf.conf, ./amf.conf, /etc/ais/amf.conf).

    All errors are listed at once, with their lines. Exit status 1 when there is one.
    """
    path = chosen_file(file, os.environ)
    text = ""
    try:
        cluster, problems = load_amf(path, os.environ, nodes=known_nodes(os.environ))
        text = f"{path}: ok: {summary(cluster)}"
        if imports:
            sys.path.insert(0, str(path.resolve().parent))
            problems += check_imports(cluster, str(path))
    except ConfigError as error:
        problems = list(error.problems)
    failed = any(problem.severity is Severity.ERROR for problem in problems)
    if is_data(output):
        if problems or output != "jsonl":
            click.echo(as_data(output, msgspec.to_builtins(problems)))
    else:
        if problems:
            click.echo(render_text(problems), err=True)
        if not failed:
            click.echo(text)
    if failed:
        sys.exit(1)
