"""amf.conf -> the model: the form is recognised, read, resolved and checked."""

import re
from typing import Final

from corosync_amf.ais import Dn
from corosync_amf.config.amf_build import Builder
from corosync_amf.config.brace_form import to_yaml_form
from corosync_amf.config.check import findings
from corosync_amf.config.problems import Code, Problem, Report, Severity
from corosync_amf.config.syntax import parse_openais, split_lines
from corosync_amf.config.tree import Block
from corosync_amf.config.yaml_syntax import parse_yaml
from corosync_amf.services.amf.model import Cluster, Index

_BRACE_FORM: Final = re.compile(r"[ \t]*safAmfCluster[ \t]*=")


def parse_amf(text: str, file: str = "amf.conf", *, nodes: tuple[str, ...] = ()) -> tuple[Cluster, list[Problem]]:
    """Return the model that `text` describes, in either form, and the warnings.

    `nodes` names the members of the cluster, for a text without a `nodes:` section.

    Raises: ConfigError: the text has errors; it lists all of them.
    """
    report = Report(file, text)
    tree = amf_tree(text, report)
    if any(problem.code is Code.BRACES for problem in report.problems):
        report.raise_errors()
    builder = Builder(report, nodes)
    cluster = builder.cluster(tree)
    faulty = [problem.object for problem in report.problems if problem.severity is Severity.ERROR]
    for finding in findings(Index(cluster), builder.places):
        if any(_related(finding.dn, dn) for dn in faulty):
            continue
        tell = report.error if finding.severity is Severity.ERROR else report.warning
        at = builder.places.at(finding.dn, finding.key)
        tell(finding.code, at, finding.dn, finding.message, finding.hint)
    report.raise_errors()
    return cluster, report.problems


def _related(dn: Dn, other: Dn) -> bool:
    """Whether a mistake of one may only be a consequence of a mistake of the other."""
    return dn == other or dn.endswith("," + other) or other.endswith("," + dn)


def amf_tree(text: str, report: Report) -> Block:
    """Return the tree of an amf.conf with the keys of the YAML form, whichever form it has."""
    if is_brace_form(text):
        return to_yaml_form(parse_openais(text, report), report)
    return parse_yaml(text, report)


def is_brace_form(text: str) -> bool:
    """Whether the first significant line is that of openais' form."""
    for line in split_lines(text.removeprefix("\ufeff")):
        if line.strip() and not line.lstrip().startswith("#"):
            return bool(_BRACE_FORM.match(line))
    return False
