from pathlib import Path

import msgspec
import pytest

from corosync_amf.config import (
    Machine,
    amf_tables,
    executive_tables,
    load_amf,
    load_executive,
    parse_executive,
    settings,
)
from corosync_amf.config.amf_tables import ENTITIES
from corosync_amf.config.executive_tables import NESTED, SECTIONS
from corosync_amf.config.reference import page
from corosync_amf.config.schema import Table
from corosync_amf.resources import REFERENCE_CONFIG, REFERENCE_MAIN_CONFIG, SCAFFOLDS
from corosync_amf.services.amf import model

MODELS: dict[str, type[msgspec.Struct]] = {
    "cluster": model.Cluster,
    "node": model.Node,
    "node_group": model.NodeGroup,
    "application": model.Application,
    "service_group": model.ServiceGroup,
    "service_unit": model.ServiceUnit,
    "component": model.Component,
    "cs_type": model.CsType,
    "healthcheck": model.Healthcheck,
    "checkpoint": model.CheckpointPolicy,
    "service_instance": model.ServiceInstance,
    "csi": model.ComponentServiceInstance,
}
SETTINGS: dict[str, type[msgspec.Struct]] = {
    "totem": settings.TotemSettings,
    "interface": settings.Interface,
    "quorum": settings.QuorumSettings,
    "logging": settings.LogSettings,
    "event": settings.EventSettings,
}
RESOLVED = {"dn", "name", "hosts", "auto_tie_breaker_ids", "members"}


def test_the_reference_files_are_where_the_package_looks():
    assert REFERENCE_CONFIG.is_file()
    assert REFERENCE_MAIN_CONFIG.is_file()
    assert SCAFFOLDS.is_dir()


def test_the_reference_amf_conf_is_a_protected_pair():
    cluster, problems = load_amf(REFERENCE_CONFIG, {})
    assert problems == []
    index = model.Index(cluster)
    assert [unit.node for unit in index.units.values()] == ["node-a", "node-b"]
    assert len(index.components) == 2


def test_the_reference_amf_conf_shows_the_defaults():
    cluster, _ = load_amf(REFERENCE_CONFIG, {})
    node = cluster.nodes[0]
    assert node == model.Node(dn=node.dn, name=node.name, clm_node=node.clm_node)
    group = cluster.applications[0].service_groups[0]
    plain = model.ServiceGroup(dn=group.dn, name=group.name, units=group.units, preferred_inservice_sus=2)
    assert group == plain
    component = group.units[0].components[0]
    shown = {"plugin", "cs_types", "healthchecks", "checkpoint", "dn", "name"}
    expected = model.Component(**{name: getattr(component, name) for name in shown})
    assert component == expected
    assert component.checkpoint == model.CheckpointPolicy(mode=model.CheckpointMode.ON_CHANGE)
    assert [(check.period, check.max_duration) for check in component.healthchecks] == [(1.0, 1.0)]
    assert cluster.startup_timeout == 3.0


def test_the_reference_corosync_conf_shows_the_defaults():
    config, problems = load_executive(REFERENCE_MAIN_CONFIG, {}, Machine())
    assert problems == []
    plain, _ = parse_executive("", str(REFERENCE_MAIN_CONFIG), Machine(), {})
    assert msgspec.structs.replace(config, subsystems={}) == plain
    assert config.subsystems == {"AMF": plain.logging}


@pytest.mark.parametrize("table", [table for table in vars(amf_tables).values() if isinstance(table, Table)])
def test_every_attribute_of_amf_conf_is_one_of_the_model(table):
    if table.name == "dependency":
        assert list(table.options) == ["tolerance"]
        return
    fields = {field.name for field in msgspec.structs.fields(MODELS[table.name])}
    assert {option.field for option in table.options.values()} <= fields
    nested = {"nodes", "node_groups", "applications"} if table.name == "cluster" else set()
    assert fields - RESOLVED - nested <= set(table.keys)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_of_the_executive_has_its_directive(name):
    table = {**executive_tables.SECTIONS, **executive_tables.NESTED}[name]
    fields = {field.name for field in msgspec.structs.fields(SETTINGS[name])}
    directives = {option.field for option in table.options.values()} - {"link_mode"}
    assert directives == fields - RESOLVED


def test_every_option_can_say_what_it_is():
    tables = [*amf_tables.ENTITIES.values(), *executive_tables.SECTIONS.values(), *executive_tables.NESTED.values()]
    for table in tables:
        for option in table.options.values():
            assert option.help
            assert option.kind.describe()


def test_no_name_of_the_brace_form_means_two_attributes():
    for table in amf_tables.ENTITIES.values():
        names = [saf for option in table.options.values() for saf in option.saf]
        assert len(names) == len(set(names)) == len(table.by_saf)


def test_the_page_of_all_keys_is_what_the_tables_say():
    stored = (Path(__file__).parents[2] / "docs" / "reference" / "config.md").read_text(encoding="utf-8")
    assert stored == page(), "python -m corosync_amf.config.reference > docs/reference/config.md"
    for table in (*SECTIONS.values(), *NESTED.values(), *ENTITIES.values()):
        for key in table.options:
            assert f"| `{key}` |" in stored
