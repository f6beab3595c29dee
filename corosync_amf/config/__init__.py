"""The two configuration files: corosync.conf for the executive, amf.conf for the applications.

`load_executive` and `load_amf` return typed values and the warnings; a file with errors raises `ConfigError`, which
carries all of them. Both files are optional: without one the defaults hold.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from corosync_amf.config.amf import parse_amf
from corosync_amf.config.files import chosen, read_text
from corosync_amf.config.problems import Code, ConfigError, Problem, Report, Severity, render_json, render_text
from corosync_amf.services.amf.model import Cluster

__all__ = [
    "AMF_CONFIG_FILE",
    "Code",
    "ConfigError",
    "Problem",
    "Severity",
    "amf_config_file",
    "load_amf",
    "parse_amf",
    "render_json",
    "render_text",
]

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
