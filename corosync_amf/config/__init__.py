"""The two configuration files: corosync.conf for the executive, amf.conf for the applications.

`load_executive` and `load_amf` return typed values and the warnings; a file with errors raises `ConfigError`, which
carries all of them. Both files are optional: without one the defaults hold.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from corosync_amf.config.amf import parse_amf
from corosync_amf.config.executive import build_executive
from corosync_amf.config.files import chosen, read_text
from corosync_amf.config.network import InterfaceAddress, Machine
from corosync_amf.config.parsers import parse_with
from corosync_amf.config.problems import Code, ConfigError, Problem, Report, Severity, render_text
from corosync_amf.config.sections import read_sections
from corosync_amf.config.settings import ExecutiveConfig
from corosync_amf.config.syntax import parse_corosync
from corosync_amf.config.tree import Block, Pair
from corosync_amf.services.amf.model import Cluster

__all__ = [
    "AMF_CONFIG_FILE",
    "MAIN_CONFIG_FILE",
    "Code",
    "ConfigError",
    "ExecutiveConfig",
    "InterfaceAddress",
    "Machine",
    "Problem",
    "Severity",
    "amf_config_file",
    "executive_config_file",
    "load_amf",
    "load_executive",
    "parse_amf",
    "parse_executive",
    "render_text",
]

MAIN_CONFIG_FILE: Final = "/etc/ais/corosync.conf"
AMF_CONFIG_FILE: Final = "/etc/ais/amf.conf"
_AMF_VARIABLES: Final = ("COROSYNC_AMF_CONFIG_FILE", "OPENAIS_AMF_CONFIG_FILE")


def amf_config_file(path: Path | None, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """Return the amf.conf to read, and whether somebody named it (then it must exist)."""
    return chosen(path, environ, _AMF_VARIABLES, AMF_CONFIG_FILE)


def load_amf(
    path: Path | None, environ: Mapping[str, str], *, nodes: tuple[str, ...] = ()
) -> tuple[Cluster, list[Problem]]:
    """Return the information model of amf.conf and the warnings.

    `path` comes before the variables COROSYNC_AMF_CONFIG_FILE and OPENAIS_AMF_CONFIG_FILE; `nodes` names the members
    of the cluster for a file that lists none. A missing default file gives a cluster without applications.

    Raises: ConfigError: the file has errors, or was named and cannot be read.
    """
    file, named = amf_config_file(path, environ)
    if not named and not file.exists():
        report = Report(str(file))
        report.warning(Code.UNREADABLE, None, "", "there is no such file: no applications are configured")
        return parse_amf("", str(file), nodes=nodes)[0], report.problems
    return parse_amf(read_text(file), str(file), nodes=nodes)


def executive_config_file(path: Path | None, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """Return the corosync.conf to read, and whether somebody named it (then it must exist)."""
    return chosen(path, environ, ("COROSYNC_MAIN_CONFIG_FILE",), MAIN_CONFIG_FILE)


def load_executive(
    path: Path | None, environ: Mapping[str, str], machine: Machine
) -> tuple[ExecutiveConfig, list[Problem]]:
    """Return the executive's configuration and the warnings.

    `path` comes before the variable COROSYNC_MAIN_CONFIG_FILE; files of a directory `uidgid.d` beside it are read
    with it. A missing default file means all defaults. `machine` is what `machine.machine_facts` found out.

    Raises: ConfigError: the file has errors, or was named and cannot be read.
    """
    file, named = executive_config_file(path, environ)
    if not named and not file.exists():
        config, problems = parse_executive("", str(file), machine, environ)
        report = Report(str(file))
        report.warning(Code.UNREADABLE, None, "", "there is no such file: all defaults are used")
        return config, [*report.problems, *problems]
    text = read_text(file)
    report = Report(str(file), text)
    tree = parse_with(environ.get("COROSYNC_DEFAULT_CONFIG_IFACE", ""), file, text, report)
    pairs, problems = list(tree.pairs), []
    for extra in sorted((file.parent / "uidgid.d").glob("[!.]*")):
        found, more = _users(extra)
        pairs += found
        problems += more
    return _executive(Block(tuple(pairs)), report, machine, environ), [*report.problems, *problems]


def _users(file: Path) -> tuple[list[Pair], list[Problem]]:
    """The uidgid sections of a file of uidgid.d, each directive once, and the warnings about it."""
    text = read_text(file)
    report = Report(str(file), text)
    tree = parse_corosync(text, report)
    users = [pair for pair in tree.pairs if pair.key.value == "uidgid" and isinstance(pair.value, Block)]
    for pair in tree.pairs:
        if pair not in users:
            report.error(Code.UNKNOWN_SECTION, pair.key, "", "only uidgid sections stand in this directory")
    read_sections(Block(tuple(users)), report)
    report.raise_errors()
    last = [{inner.key.value: inner for inner in pair.value.pairs} for pair in users if isinstance(pair.value, Block)]
    return [
        Pair(pair.key, Block(tuple(each.values()))) for pair, each in zip(users, last, strict=True)
    ], report.problems


def parse_executive(
    text: str, file: str, machine: Machine, environ: Mapping[str, str]
) -> tuple[ExecutiveConfig, list[Problem]]:
    """Return what the text of a corosync.conf says, and the warnings.

    Raises: ConfigError: the text has errors; it lists all of them.
    """
    report = Report(file, text)
    tree = parse_corosync(text, report)
    return _executive(tree, report, machine, environ), report.problems


def _executive(tree: Block, report: Report, machine: Machine, environ: Mapping[str, str]) -> ExecutiveConfig:
    """Build and check. Where braces do not match, what stands where is not known, so nothing more is said."""
    if any(problem.code in (Code.BRACES, Code.UNREADABLE) for problem in report.problems):
        report.raise_errors()
    config = build_executive(tree, report, machine, environ)
    report.raise_errors()
    return config
