"""amf.conf -> the model: the form is recognised, read, resolved and checked."""

import re
from typing import Final

from corosync_amf.config.amf_build import Builder
from corosync_amf.config.brace_form import to_yaml_form
from corosync_amf.config.check import Finding, findings
from corosync_amf.config.problems import Code, Place, Problem, Report, Severity
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
    known = [problem for problem in report.problems if problem.severity is Severity.ERROR]
    for finding in findings(Index(cluster), builder.places):
        at = builder.places.at(finding.dn, finding.key)
        if any(_may_follow_from(finding, at, problem) for problem in known):
            continue
        tell = report.error if finding.severity is Severity.ERROR else report.warning
        tell(finding.code, at, finding.dn, finding.message, finding.hint)
    report.raise_errors()
    return cluster, report.problems


def _may_follow_from(finding: Finding, at: Place | None, problem: Problem) -> bool:
    """Whether a rule is only broken because the attribute (or, for a missing one, an attribute) could not be read."""
    if finding.dn != problem.object:
        return False
    return not finding.key or (at is not None and (at.line, at.column) == (problem.line, problem.column))


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
