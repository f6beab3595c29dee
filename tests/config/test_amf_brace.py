from pathlib import Path

import pytest

from corosync_amf.ais import Recovery, RedundancyModel
from corosync_amf.config import ConfigError, Severity, parse_amf
from corosync_amf.config.amf import is_brace_form
from corosync_amf.services.amf.model import Capability, CheckpointMode, CsType, Index

EXCHANGE = (Path(__file__).parent / "exchange.conf").read_text()
SERVER = "safComp=SERVER,safSu=EAST,safSg=CALLS,safApp=SWITCH"
SMALL = """\
safAmfCluster = C {
  safAmfNode = a {
  }
  safAmfNode = b { }
  safApp = P {
    safSg = G {
      saAmfSGRedundancyModel = 2n
      safSu = S1 {
        saAmfSUHostedByNode = a
        safComp = X {
          plugin = m:o
        }
      }
      safSu = S2 {
        saAmfSUHostedByNode = b
        safComp = X {
          saAmfCompInstantiateCmd = /x
        }
      }
    }
    safSi = I {
      safCsi = W {
        saAmfCSTypeName = T
      }
    }
  }
}
"""


def said(text: str) -> list[str]:
    try:
        _, problems = parse_amf(text)
    except ConfigError as error:
        problems = [problem for problem in error.problems if problem.severity is Severity.ERROR]
        assert problems
    return [f"{problem.line}:{problem.column} {problem.message}" for problem in problems]


def changed(line: str, new: str) -> str:
    assert line in SMALL
    return SMALL.replace(line, new, 1)


def test_a_file_with_every_kind_of_section_is_read():
    cluster, problems = parse_amf(EXCHANGE)
    assert problems == []
    found = Index(cluster)
    assert (cluster.name, cluster.dn, cluster.startup_timeout) == ("EXCHANGE", "safAmfCluster=EXCHANGE", 3.0)
    east = found.node_named["east"]
    assert (east.clm_node, east.su_failover_probation, east.su_failover_max) == ("east.example", 2.0, 2)
    assert (east.auto_repair, east.failfast_on_termination_failure, east.failfast_on_instantiation_failure) == (
        True,
        False,
        True,
    )
    group = found.groups["safSg=CALLS,safApp=SWITCH"]
    assert group.redundancy_model is RedundancyModel.TWO_N
    assert (group.max_active_sis_per_su, group.max_standby_sis_per_su, group.preferred_assigned_sus) == (4, 5, 2)
    assert (group.component_restart_probation, group.component_restart_max, group.su_restart_max) == (100.0, 1, 0)
    assert (group.auto_adjust, group.auto_repair) == (False, True)
    unit = found.units["safSu=EAST,safSg=CALLS,safApp=SWITCH"]
    assert (unit.node, unit.rank, unit.su_failover, unit.is_external) == ("east", 1, True, False)


def test_a_component_of_the_brace_form_is_complete():
    server = Index(parse_amf(EXCHANGE)[0]).components[SERVER]
    assert server.capability is Capability.X_ACTIVE_OR_Y_STANDBY
    assert (server.max_active_csis, server.max_standby_csis) == (2, 3)
    assert server.cs_types == (CsType(name="SIP", max_active=2, max_standby=3),)
    assert server.instantiate == ("/opt/switch/bin/clc_cli", "instantiate", "two words")
    assert server.terminate == ("/opt/switch/bin/clc_cli", "terminate")
    assert server.cleanup == ("/bin/absolute", "cleanup")
    assert (server.am_start, server.am_stop) == (("/opt/switch/bin/am_start",), ("/opt/switch/bin/am_stop",))
    assert (server.instantiate_timeout, server.terminate_timeout, server.cleanup_timeout) == (1.0, 1.5, 0.5)
    assert (server.terminate_callback_timeout, server.csi_set_timeout, server.csi_remove_timeout) == (0.7, 0.8, 0.6)
    assert (server.quiescing_complete_timeout, server.instantiation_level) == (0.9, 1)
    assert (server.max_instantiate_without_delay, server.max_instantiate_with_delay) == (3, 4)
    assert (server.delay_between_attempts, server.disable_restart) == (0.05, False)
    assert server.env == {"MODE": "a=b c", "PATH": "/usr/bin:/bin"}
    assert [(check.name, check.period, check.max_duration) for check in server.healthchecks] == [("alive", 2.0, 0.35)]


def test_the_command_path_is_inherited_until_a_nearer_one_replaces_it():
    found = Index(parse_amf(EXCHANGE)[0])
    logger = found.components["safComp=LOGGER,safSu=EAST,safSg=CALLS,safApp=SWITCH"]
    assert logger.instantiate == ("/opt/logger/start",)
    text = changed("safComp = X {", "clccli_path = /opt/s1/\nsafComp = X {").replace(
        "plugin = m:o", "saAmfCompInstantiateCmd=run"
    )
    first = next(iter(Index(parse_amf(text)[0]).components.values()))
    assert first.instantiate == ("/opt/s1/run",)


def test_keys_of_the_yaml_form_and_historic_spellings_are_read():
    found = Index(parse_amf(EXCHANGE)[0])
    logger = found.components["safComp=LOGGER,safSu=EAST,safSg=CALLS,safApp=SWITCH"]
    assert (logger.recovery_on_error, logger.instantiation_level) == (Recovery.NO_RECOMMENDATION, 2)
    plugin = found.components["safComp=SERVER,safSu=WEST,safSg=CALLS,safApp=SWITCH"]
    assert plugin.plugin == "exchange.server:Server"
    assert plugin.checkpoint.mode is CheckpointMode.ON_CHANGE


def test_workloads_of_the_brace_form_are_complete():
    found = Index(parse_amf(EXCHANGE)[0])
    lines = found.instances["safSi=LINES,safApp=SWITCH"]
    assert (lines.rank, lines.preferred_active, lines.preferred_standby) == (1, 1, 1)
    assert lines.ranked_sus == {"safSu=WEST,safSg=CALLS,safApp=SWITCH": 1}
    assert lines.depends_on == {"safSi=BILLING,safApp=SWITCH": 0.25}
    first = lines.csis[0]
    assert first.attributes == {"address": ("10.0.0.100", "a = b  c")}
    assert first.depends_on == ("safCsi=LINE2,safSi=LINES,safApp=SWITCH",)
    assert found.instances["safSi=BILLING,safApp=SWITCH"].protected_by == "safSg=CALLS,safApp=SWITCH"


def test_the_form_is_recognised_by_its_first_significant_line():
    assert is_brace_form("\n# comment\n  safAmfCluster=X {\n}\n")
    assert not is_brace_form("cluster:\n  name: safAmfCluster = X\n")
    assert not is_brace_form("")


@pytest.mark.parametrize(
    ("line", "new", "expected"),
    [
        ("saAmfSUHostedByNode = a", "saAmfSUHostedByNode = z", "9:31 unknown node 'z'"),
        ("saAmfSUHostedByNode = a", "saAmfSUHostedByNod = a", "9:9 unknown attribute 'saAmfSUHostedByNod'"),
        ("saAmfSUHostedByNode = a", "saAmfSURank = first", "9:23 rank: 'first' is not a whole number"),
        ("saAmfSUHostedByNode = a", "saAmfSUHostedByNode", "9:9 'saAmfSUHostedByNode' needs a value"),
        ("saAmfSUHostedByNode = a", "saAmfSUFailover = maybe", "9:27 su_failover: 'maybe' is neither yes nor no"),
        ("saAmfSUHostedByNode = a", "saAmfSUNumComponents = one", "9:32 saAmfSUNumComponents: 'one' is not a whole"),
        ("plugin = m:o", "saAmfCompInstantiateCmdArgv = x", "11:11 saAmfCompInstantiateCmdArgv without saAmfComp"),
        ("plugin = m:o", "saAmfCompInstantiateCmd = 'x", "11:37 saAmfCompInstantiateCmd cannot be split"),
        ("plugin = m:o", "saAmfCompCmdEnv {\nNAME\n}", "12:1 an environment line is VARIABLE=VALUE"),
        ("saAmfSGRedundancyModel = 2n", "saAmfSGRedundancyModel = nplusm", "7:32 redundancy model n+m is not sup"),
        ("safSu = S1 {", "safSu S1 {", "8:7 a line is 'kind = NAME {', 'key = value' or '}'"),
        ("safSi = I {", "safSi {", "21:5 'safSi' begins a section"),
        ("safCsi = W {", "safRankedSu = S1 {\n}\nsafCsi = W {", "22:7 safRankedSu 'S1' has no saAmfRank"),
        ("safAmfNode = b { }", "}", "27:1 this '}' closes nothing"),
        ("saAmfCSTypeName = T", "saAmfCsiDependencies {\nother=1\n}", "24:1 unknown attribute 'other'"),
    ],
)
def test_what_openais_did_not_notice_is_an_error(line, new, expected):
    found = said(changed(line, new))
    assert any(entry.startswith(expected) for entry in found), found


def test_an_unknown_attribute_names_the_allowed_ones():
    with pytest.raises(ConfigError) as caught:
        parse_amf(changed("saAmfSUHostedByNode = a", "saAmfSURnk = a"))
    (problem,) = caught.value.problems
    assert problem.object == "safSu=S1,safSg=G,safApp=P"
    assert problem.hint.startswith("did you mean 'saAmfSURank'")
    assert "allowed: saAmfSURank, saAmfSUHostNodeOrNodeGroup, saAmfSUHostedByNode" in problem.hint


@pytest.mark.parametrize(
    ("line", "new", "expected"),
    [
        ("saAmfSUHostedByNode = a", "saAmfSUHostedByNode = a # here", "9:33 ' #' begins a comment here"),
        (
            "saAmfSUHostedByNode = a",
            "saAmfSUNumComponents=2\nnode=a",
            "9:30 saAmfSUNumComponents is 2, but there",
        ),
        ("saAmfSUHostedByNode = a", "saAmfSURank=1\nsaAmfSURank=2\nnode=a", "10:1 'saAmfSURank' stands here twice"),
        ("safSi = I {", "safSi = I {\nsaAmfSINumCSIs=3", "22:16 saAmfSINumCSIs is 3, but there are 1"),
    ],
)
def test_what_is_doubtful_is_warned_about(line, new, expected):
    text = changed(line, new)
    found = said(text)
    assert len(found) == 1, found
    assert found[0].startswith(expected)


def test_a_file_is_one_cluster():
    assert said("safAmfCluster = A {\n}\nsafAmfCluster = B {\n}\n") == ["3:1 a second safAmfCluster"]
    assert said("safAmfCluster = A {\n}\nsafApp = P {\n}\n") == ["3:1 'safApp' stands outside of the cluster"]


def test_attributes_that_their_type_does_not_have_are_warned_about():
    text = changed("saAmfCSTypeName = T", "saAmfCSTypeName = T\nsafCSIAttr = prot {\n1\n}")
    text = text.replace("safSi = I {", "safCSType = T {\nname = port\n}\nsafSi = I {")
    assert said(text) == ["27:14 safCSType 'T' has no attribute 'prot'"]
