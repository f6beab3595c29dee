import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corosync_amf.ais import Admin, Recovery, RedundancyModel
from corosync_amf.config import ConfigError, Severity, parse_amf, render_text
from corosync_amf.services.amf.model import (
    Capability,
    CheckpointMode,
    CheckpointPolicy,
    Cluster,
    Component,
    CsType,
    Index,
    decode,
    encode,
)

NODES = ("a", "b", "c")
FULL = """\
cluster:
  startup_timeout: 3s
nodes:
  node-a: {su_failover_max: 2, su_failover_probation: 60s}
  node-b: {}
  node-c: {}
node_groups:
  phones: [node-a, node-b]
types:
  callserver:                      # reused by both components below
    kind: component
    plugin: telephony.callserver:CallServer
    env: {SIP_PORT: "5060"}
    callback_timeout: 2s
    recovery_on_error: component_failover
    healthchecks:
      alive: {period: 500, max_duration: 1000}
    checkpoint: {mode: on-change, hot: true, retention: 60s}
applications:
  phone:
    service_groups:
      sg1:
        redundancy_model: 2n
        node_group: phones
        component_restart_max: 3
        component_restart_probation: 10s
        units:
          su1: {rank: 1, node: node-a, su_failover: true, components: {callserver: {type: callserver}}}
          su2: {rank: 2, node: node-b, su_failover: true, components: {callserver: {type: callserver}}}
    service_instances:
      calls:
        rank: 1
        protected_by: sg1
        depends_on: {database: {tolerance: 2s}}
        csis:
          sip:
            type: sip
            attributes: {address: 10.0.0.100, codecs: [pcma, pcmu]}
      database: {protected_by: sg1, rank: 1, csis: {db: {depends_on: []}}}
"""


def index(text: str, nodes: tuple[str, ...] = NODES) -> Index:
    cluster, problems = parse_amf(textwrap.dedent(text), nodes=nodes)
    assert problems == []
    return Index(cluster)


def complaints(text: str, nodes: tuple[str, ...] = NODES) -> list[str]:
    """What is said about a text: errors, or warnings when there are none."""
    try:
        _, problems = parse_amf(textwrap.dedent(text), nodes=nodes)
    except ConfigError as error:
        problems = [problem for problem in error.problems if problem.severity is Severity.ERROR]
        assert problems
    return [f"{problem.line}:{problem.column} {problem.message}" for problem in problems]


def component(attributes: str) -> str:
    return f"""\
applications:
  phone:
    service_groups:
      sg:
        units: {{count: 2, template: {{components: {{server: {{{attributes}}}}}}}}}
    service_instances: {{calls: {{}}}}
"""


def group(attributes: str, instance: str = "", more: str = "") -> str:
    return f"""\
nodes: {{a: {{capacity: {{cpu: 4}}}}, b: {{capacity: {{cpu: 2}}}}, c: {{}}}}
node_groups: {{pair: [a, b]}}
{more}
applications:
  phone:
    service_groups:
      sg:
        {attributes}
    service_instances:
      calls: {{{instance}}}
      other: {{rank: 2}}
"""


UNITS = "units: {count: 2, template: {components: {server: {plugin: 'm:o'}}}}"


def test_the_full_form_is_resolved_completely():
    found = index(FULL)
    assert found.cluster.startup_timeout == 3.0
    assert found.nodes["safAmfNode=node-a,safAmfCluster=cluster"].su_failover_max == 2
    assert found.nodes["safAmfNode=node-b,safAmfCluster=cluster"].su_failover_probation == 60.0
    group = found.groups["safSg=sg1,safApp=phone"]
    assert (group.redundancy_model, group.node_group, group.preferred_inservice_sus) == (
        RedundancyModel.TWO_N,
        "phones",
        2,
    )
    unit = found.units["safSu=su2,safSg=sg1,safApp=phone"]
    assert (unit.rank, unit.node, unit.hosts, unit.su_failover) == (2, "node-b", ("node-b",), True)
    server = found.components["safComp=callserver,safSu=su2,safSg=sg1,safApp=phone"]
    assert server.plugin == "telephony.callserver:CallServer"
    assert server.instantiate is None
    assert server.env == {"SIP_PORT": "5060"}
    assert (server.callback_timeout, server.csi_set_timeout, server.clc_timeout) == (2.0, 2.0, 10.0)
    assert [(check.name, check.period, check.max_duration) for check in server.healthchecks] == [("alive", 0.5, 1.0)]
    assert server.checkpoint == CheckpointPolicy(mode=CheckpointMode.ON_CHANGE)
    assert server.cs_types == (CsType(name="db"), CsType(name="sip"))
    calls = found.instances["safSi=calls,safApp=phone"]
    assert calls.depends_on == {"safSi=database,safApp=phone": 2.0}
    assert calls.protected_by == group.dn
    assert calls.csis[0].attributes == {"address": ("10.0.0.100",), "codecs": ("pcma", "pcmu")}
    assert decode(encode(found.cluster)) == found.cluster


def test_the_minimal_form_is_a_pair_on_the_first_two_nodes():
    found = index("applications:\n  phone:\n    plugin: telephony.callserver:CallServer\n")
    units = list(found.units.values())
    assert [(unit.name, unit.node) for unit in units] == [("su1", "a"), ("su2", "b")]
    assert found.group_of_unit[units[0].dn].redundancy_model is RedundancyModel.TWO_N
    server = units[1].components[0]
    assert (server.name, server.plugin) == ("phone", "telephony.callserver:CallServer")
    assert [(check.name, check.period, check.max_duration) for check in server.healthchecks] == [("alive", 1.0, 1.0)]
    assert list(found.csis) == ["safCsi=phone,safSi=phone,safApp=phone"]
    assert list(found.nodes) == [f"safAmfNode={node},safAmfCluster=cluster" for node in NODES]


def test_the_minimal_form_takes_a_command_and_more_attributes():
    found = index(
        """
        applications:
          web:
            command: "/bin/server --name 'a b'"
            checkpoint: on-change
            healthchecks: {ping: {period: 200ms}}
            attributes: {port: 80}
            nodes: [c, a, b]
            admin_state: locked
        """
    )
    assert [unit.node for unit in found.units.values()] == ["c", "a", "b"]
    server = next(iter(found.components.values()))
    assert server.instantiate == ("/bin/server", "--name", "a b")
    assert server.plugin is None
    assert server.checkpoint.mode is CheckpointMode.ON_CHANGE
    assert [(check.name, check.period, check.max_duration) for check in server.healthchecks] == [("ping", 0.2, 5.0)]
    assert found.csis["safCsi=web,safSi=web,safApp=web"].attributes == {"port": ("80",)}
    assert found.applications["safApp=web"].admin_state is Admin.LOCKED


def test_an_empty_file_is_a_cluster_without_applications():
    for text in ("", "# nothing\n", "applications:\n"):
        cluster, problems = parse_amf(text, nodes=NODES)
        assert cluster.applications == ()
        assert problems == []


def test_five_different_mistakes_are_all_reported_where_they_stand():
    text = """\
nodes: [node-a, node-b, node-c]
applications:
  phone:
    service_groups:
      sg1:
        redundancy_mode: 2n
        units:
          su1:
            node: nod-b
            components:
              callserver: {plugin: m:o, callback_timeout: 3 parsecs, capability: x_active}
          su2: {node: node-a, rank: -1, components: {callserver: {plugin: m o}}}
    service_instances:
      calls: {depends_on: [databse], csis: {sip: {depends_on: [sip]}}}
"""
    assert complaints(text) == [
        "6:9 unknown attribute 'redundancy_mode'",
        "9:19 unknown node 'nod-b'",
        "11:59 callback_timeout: '3 parsecs' is not a time",
        "11:82 capability x_active for type 'sip' takes no standby assignments, which 2n needs",
        "12:37 rank: -1 is out of range",
        "12:75 a plugin is module:object or the name of an entry point, not 'm o'",
        "14:28 unknown service instance 'databse'",
        "14:51 depends on itself: phone/calls/sip -> phone/calls/sip",
    ]


def test_a_message_shows_the_line_the_place_and_the_remedy():
    with pytest.raises(ConfigError) as caught:
        parse_amf(FULL.replace("node: node-b", "node: nod-b"), "/etc/ais/amf.conf")
    assert str(caught.value) == (
        "/etc/ais/amf.conf:29:32: error: safSu=su2,safSg=sg1,safApp=phone: unknown node 'nod-b'\n"
        "    su2: {rank: 2, node: nod-b, su_failover: true, components: {callserver: {type: callserver}}}\n"
        "                         ^\n"
        "hint: did you mean 'node-b'? known: node-a, node-b, node-c"
    )
    assert render_text(caught.value.problems) == str(caught.value)


def test_instance_comes_before_type_before_extended_type_before_default():
    found = index(
        """
        cluster:
          defaults:
            component: {clc_timeout: 1s, instantiation_level: 1, recovery_on_error: node_failover}
            service_unit: {su_failover: true}
        types:
          base: {kind: component, clc_timeout: 2s, instantiation_level: 2, env: {A: base, B: base}}
          server: {kind: component, extends: base, instantiation_level: 3, env: {B: server, C: server}}
        applications:
          phone:
            service_groups:
              sg:
                units:
                  su1: {node: a, components: {s: {type: server, plugin: 'm:o', env: {C: own}}}}
                  su2: {node: b, su_failover: false, components: {s: {type: server, plugin: 'm:o', clc_timeout: 4s}}}
            service_instances: {calls: {}}
        """
    )
    one, two = found.components.values()
    assert (one.clc_timeout, one.instantiate_timeout, one.instantiation_level) == (2.0, 2.0, 3)
    assert one.env == {"A": "base", "B": "server", "C": "own"}
    assert two.clc_timeout == 4.0
    assert one.recovery_on_error is Recovery.NODE_FAILOVER
    assert [unit.su_failover for unit in found.units.values()] == [True, False]


def test_a_type_may_describe_any_entity_also_with_what_is_in_it():
    found = index(
        """
        types:
          pair: {kind: service_group, auto_adjust: yes, units: {count: 2, template: {type: unit}}}
          unit: {kind: service_unit, components: {s: {plugin: 'm:o'}}}
          work: {kind: service_instance, rank: 3, csis: {x: {type: sip}}}
          sip: {kind: csi, attributes: {port: 5060}}
        applications:
          phone: {service_groups: {sg: {type: pair}}, service_instances: {calls: {type: work, ranked_sus: {su2: 1}}}}
        """
    )
    assert found.groups["safSg=sg,safApp=phone"].auto_adjust
    assert len(found.components) == 2
    calls = found.instances["safSi=calls,safApp=phone"]
    assert (calls.rank, calls.csis[0].attributes) == (3, {"port": ("5060",)})
    assert calls.ranked_sus == {"safSu=su2,safSg=sg,safApp=phone": 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("types: {@t: {plugin: 'm:o'}}", "a type needs a kind"),
        ("types: {t: {kind: @thing}}", "its kind is not one that has types"),
        ("types: {t: @5}", "a type is a mapping of attributes"),
        ("types: {t: {kind: component, @plugn: x}}", "unknown attribute 'plugn'"),
        ("types: {t: {kind: component, extends: @u}}", "unknown type 'u'"),
        ("types: {t: {kind: component, extends: @t}}", "type 't' extends itself: t -> t"),
        ("cluster: {defaults: {@thing: {}}}", "unknown kind 'thing'"),
        ("cluster: {defaults: {component: {@plugn: x}}}", "unknown attribute 'plugn'"),
        ("cluster: {defaults: {component: @5}}", "expected a mapping of attributes"),
        ("cluster: {defaults: @5}", "expected a mapping of names"),
        ("types: {t: {kind: node}, u: {kind: component, extends: @t}}", "type 't' describes a node, not a component"),
        ("node_groups: {g: {@nodes: [[a]]}}", "nodes: every element of this list must be a plain text"),
        ("nodes: [@' a']", "' a' cannot be a name: outer blanks or characters that cannot be printed"),
        ("nodes: [@'']", "'' cannot be a name: it is empty"),
        ("nodes: [@" + "n" * 256 + "]", f"'{'n' * 256}' cannot be a name: it has more than 255 bytes"),
        ("cluster: {startup_timeout: @soon}", "startup_timeout: 'soon' is not a time"),
        ("cluster: @5", "cluster: expected a mapping of names"),
        ("@aplications: {}", "unknown section 'aplications'"),
        ("schema: @2", "this version reads schema 1"),
        ("nodes: [a, @a]", "'a' stands here twice"),
        ("nodes: [@a/b]", "'a/b' cannot be a name: a '/' separates names in paths"),
        ("nodes: {a: {clm_node: x}, b: {clm_node: @x}}", "maps to CLM node 'x' like 'a'"),
        ("node_groups: {g: [a, @z]}", "unknown node 'z'"),
        ("applications: {p: @5}", "p: expected a mapping of attributes"),
        ("@applications: [p]", "applications: expected a mapping of names"),
        ("applications: {p: {service_groups: {g: {}}, @color: red}}", "unknown attribute 'color'"),
        ("applications: {p: {service_instances: {@s: {}}}}", "no service group protects it"),
        (
            "applications: {p: {plugin: 'm:o', @service_groups: {}}}",
            "'plugin' is a short form and excludes 'service_groups'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(text, expected):
    assert complaints(text.replace("@", "")) == [f"1:{text.index('@') + 1} {expected}"]


def test_the_hints_of_the_minimal_form_are_its_own_attributes():
    with pytest.raises(ConfigError) as refused:
        parse_amf("applications: {p: {plugin: 'm:o', atributes: {a: b}}}", "amf.conf", nodes=("a", "b"))
    (problem,) = refused.value.problems
    assert problem.message == "unknown attribute 'atributes'"
    assert problem.hint.startswith("did you mean 'attributes'? known: plugin, redundancy_model")


def test_an_application_needs_nodes():
    assert complaints("applications: {p: {plugin: 'm:o'}}", nodes=()) == ["1:1 there are no nodes"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("type: @nothing", "unknown type 'nothing'"),
        ("plugin: 'm:o', instantiate: @x", "plugin and instantiate exclude each other"),
        ('instantiate: @"a \'b"', "instantiate: cannot be split into words: No closing quotation"),
        ("plugin: 'm:o', healthchecks: {alive: {period: @0}}", "period: '0' is out of range"),
        ("plugin: 'm:o', healthchecks: {@" + "k" * 33 + ": {}}", "a healthcheck key has at most 32 bytes"),
        ("plugin: 'm:o', clc_timeout: @9", "clc_timeout: '9' is out of range"),
        ("plugin: 'm:o', cs_types: {calls: {@max: 1}}", "unknown attribute 'max'"),
        ("plugin: 'm:o', category: @proxied", "component category proxied is not supported yet"),
        ("plugin: 'm:o', category: [sa-aware, @robot]", "category: 'robot' is not allowed here"),
        ("plugin: 'm:o', proxy_csi: @nothing", "unknown CSI 'nothing'"),
        (
            "plugin: 'm:o', proxy_csi: @phone/calls/calls",
            "no proxy component serves the type 'calls' of phone/calls/calls",
        ),
        ("plugin: 'm:o', @checkpoint: [off]", "checkpoint: expected a mode or a mapping"),
        ("plugin: 'm:o', @cleanup: []", "cleanup: names no command"),
        ("plugin: @''", "plugin: is empty"),
        ("plugin: @" + "m" * 4097, "plugin: is longer than 4096 characters"),
        ("plugin: 'm:o', checkpoint: @sometimes", "mode: 'sometimes' is not allowed here"),
        ("plugin: 'm:o', env: {@A: [x]}", "env: A: expected text, found a list"),
        ("plugin: 'm:o', env: @x", "env: expected a mapping of names to values"),
    ],
)
def test_a_component_that_cannot_work_is_refused(attributes, expected):
    marked = component(attributes)
    column = marked.splitlines()[4].index("@") + 1
    said = complaints(component(attributes.replace("@", "")))
    assert any(line.startswith(f"5:{column} {expected}") for line in said), said


def test_an_empty_node_group_leaves_no_place_to_live():
    text = component("plugin: 'm:o'").replace("count: 2", "nodes: [none], count: 2")
    assert complaints("nodes: [a]\nnode_groups: {none: []}\n" + text) == ["7:25 there is no node that it may live on"]


def test_external_units_are_not_supported_yet():
    text = component("plugin: 'm:o'").replace("{components", "{is_external: yes, components")
    assert complaints(text) == ["5:51 external service units are not supported yet"]


def test_a_typed_csi_may_be_named_like_another_kind_of_type():
    text = component("type: server").replace("calls: {}", "calls: {csis: {server: {type: server}}}")
    found = index("types: {server: {kind: component, plugin: 'm:o'}}\n" + text)
    assert [csi.type for csi in found.csis.values()] == ["server"]


def test_commands_are_lists_or_split_like_a_shells():
    found = index(component("instantiate: [/bin/a, 'b c'], terminate: \"/bin/d 'e f'\", env: {EMPTY: , A: 1}"))
    server = next(iter(found.components.values()))
    assert (server.instantiate, server.terminate) == (("/bin/a", "b c"), ("/bin/d", "e f"))
    assert server.env == {"A": "1", "EMPTY": ""}


def test_the_preferred_actives_of_n_way_active_should_be_reachable():
    text = group("redundancy_model: n-way-active\n        " + UNITS, "preferred_active: 5")
    with pytest.raises(ConfigError) as caught:
        parse_amf(text, nodes=NODES)
    assert [problem.message for problem in caught.value.problems] == [
        "redundancy model n-way-active is not supported yet",
        "preferred_active is 5, but there are 2 service units",
    ]


def test_a_component_without_plugin_and_command_is_refused():
    assert "5:51 nothing says how it is started" in complaints(component("capability: x_active_or_y_standby"))


def test_every_type_of_a_workload_needs_a_component_in_every_unit():
    assert complaints(component("plugin: 'm:o', cs_types: [other]")) == [
        "6:25 no component of phone/su1 serves the type 'calls'",
        "6:25 no component of phone/su2 serves the type 'calls'",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (group("redundancy_model: n-way\n        " + UNITS), ["redundancy model n-way is not supported yet"]),
        (group("redundancy_model: 3n\n        " + UNITS), ["redundancy_model: '3n' is not allowed here"]),
        (group("node_group: pears\n        " + UNITS), ["unknown node group 'pears'"]),
        (
            group("node_group: pair\n        units: {su1: {node: c, components: {s: {plugin: 'm:o'}}}}"),
            ["node 'c' is not in the service group's node group 'pair'"],
        ),
        (group("units: {su1: {node: a}}"), ["a service unit needs at least one component"]),
        (group("preferred_inservice_sus: 1\n        " + UNITS), ["a 2n group keeps at least two service units"]),
        (group(UNITS, "preferred_active: 2"), ["only n-way-active has more than one"]),
        (group(UNITS, "protected_by: gs"), ["unknown service group 'gs'"]),
        (group(UNITS, "ranked_sus: {su9: 1}"), ["unknown service unit 'su9'"]),
        (group(UNITS, "active_weight: {cpu: 5}"), ["needs 5 of 'cpu', the largest node of its group has 4"]),
        (group(UNITS, "rank: 1, depends_on: [other]"), ["its rank 1 is better than 2 of phone/other"]),
        (group(UNITS, "depends_on: [calls]"), ["depends on itself: phone/calls -> phone/calls"]),
        (group(UNITS, "csis: {a: {depends_on: [b]}, b: {depends_on: [a]}}"), ["depends on itself: phone/calls/a"]),
        (group(UNITS, "csis: {a: {depends_on: [z]}}"), ["unknown CSI of this SI 'z'"]),
        (group("units: {count: 0, template: {}}"), ["count: 0 is out of range"]),
        (group("units: {count: 2, templates: {}}"), ["unknown attribute 'templates'"]),
    ],
)
def test_a_group_that_cannot_work_is_refused(text, expected):
    said = complaints(text)
    for part in expected:
        assert any(part in line for line in said), said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (group("preferred_inservice_sus: 3\n        " + UNITS), "preferred_inservice_sus is 3, but there are 2"),
        (group("units: {su1: {components: {s: {plugin: 'm:o'}}}}"), "a 2n group of one service unit has no standby"),
        (
            group("units: {count: 2, nodes: [a], template: {components: {s: {plugin: 'm:o'}}}}"),
            "all service units are on node 'a': no protection",
        ),
        (
            group("units: {count: 3, nodes: [a, b], template: {components: {s: {plugin: 'm:o'}}}}"),
            "is on node 'a' like su1: no protection",
        ),
        (
            group("component_restart_max: 2\n        " + UNITS.replace("plugin", "disable_restart: yes, plugin")),
            "component_restart_max has no effect",
        ),
        (group(UNITS, "csis: {}"), "a service instance without CSIs is never assigned"),
    ],
)
def test_a_group_that_protects_less_than_it_seems_is_warned_about(text, expected):
    said = complaints(text)
    assert len(said) == 1
    assert expected in said[0]


def test_a_reference_may_be_a_name_a_path_or_a_dn():
    found = index(
        """
        nodes: [a, b]
        node_groups: {all: [a, "safAmfNode=b,safAmfCluster=cluster"]}
        applications:
          db: {plugin: 'm:o'}
          "safApp=phone":
            service_groups:
              safSg=sg:
                node_group: safAmfNodeGroup=all,safAmfCluster=cluster
                units:
                  safSu=su1: {node: all, components: {s: {plugin: 'm:o'}}}
                  su2: {node: "safAmfNode=b,safAmfCluster=cluster", components: {s: {plugin: 'm:o'}}}
            service_instances:
              calls:
                protected_by: safSg=sg,safApp=phone
                depends_on: [db/db]
              more: {depends_on: {"safSi=db,safApp=db": {tolerance: 1s}, calls: {}}}
        """
    )
    assert found.units["safSu=su1,safSg=sg,safApp=phone"].hosts == ("a", "b")
    assert found.units["safSu=su1,safSg=sg,safApp=phone"].node == ""
    assert found.units["safSu=su2,safSg=sg,safApp=phone"].node == "b"
    assert found.groups["safSg=sg,safApp=phone"].node_group == "all"
    assert found.instances["safSi=calls,safApp=phone"].depends_on == {"safSi=db,safApp=db": 0.0}
    assert found.instances["safSi=more,safApp=phone"].depends_on == {
        "safSi=calls,safApp=phone": 0.0,
        "safSi=db,safApp=db": 1.0,
    }


def test_times_have_units_and_become_seconds():
    for text, seconds in (("250", 0.25), ("250ms", 0.25), ("5s", 5.0), ("2min", 120.0), ("1.5 s", 1.5), ("1h", 3600.0)):
        assert index(component(f"plugin: 'm:o', callback_timeout: {text}")).components[
            "safComp=server,safSu=su1,safSg=sg,safApp=phone"
        ].callback_timeout == pytest.approx(seconds)


def test_cs_types_have_their_own_limits_or_the_components():
    text = component("plugin: 'm:o', max_active_csis: 3, cs_types: {calls: {max_standby: 2}}")
    server = next(iter(index(text).components.values()))
    assert server.cs_types == (
        CsType(name="calls", capability=Capability.X_ACTIVE_OR_Y_STANDBY, max_active=3, max_standby=2),
    )


def test_defaults_of_the_file_are_those_of_the_model():
    server = next(iter(index(component("plugin: 'm:o'")).components.values()))
    plain = Component(dn=server.dn, name="server", plugin="m:o", cs_types=server.cs_types)
    assert server.healthchecks != ()
    assert plain == Component(
        **{name: getattr(server, name) for name in Component.__struct_fields__ if name != "healthchecks"}
    )


pieces = st.sampled_from(FULL.splitlines(keepends=True))
noise = st.sampled_from(["- x\n", "  : \n", "nodes: 5\n", "{", "]\n", "a: &x [*x]\n"])
yaml_soup = st.lists(pieces | noise, max_size=30).map("".join)


def read(text: str) -> Cluster | list[str]:
    """The model of a text, or what is wrong with it; every other exception is a fault."""
    try:
        return parse_amf(text, nodes=NODES)[0]
    except ConfigError as error:
        return [problem.message for problem in error.problems]


@given(yaml_soup)
def test_no_mixture_of_lines_raises_anything_but_config_error(text):
    assert read(text)


@given(st.data())
def test_no_changed_word_raises_anything_but_config_error(data):
    words = FULL.split(" ")
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(words) - 1))
        words[place] = data.draw(st.sampled_from(["{}", "[]", "5", "x", "~", "-1", "{a: b}", "sg1", "callserver:"]))
    assert read(" ".join(words))


@given(st.text(max_size=60))
def test_no_text_raises_anything_but_config_error(text):
    assert read(text)
    assert read("safAmfCluster = x {\n" + text)
