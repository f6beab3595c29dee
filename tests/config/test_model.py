import pytest

from corosync_amf.ais import Admin, RedundancyModel
from corosync_amf.errors import NotExist
from corosync_amf.services.amf.model import (
    Application,
    Category,
    CheckpointMode,
    CheckpointPolicy,
    Cluster,
    Component,
    ComponentServiceInstance,
    CsType,
    Healthcheck,
    Index,
    Node,
    NodeGroup,
    ServiceGroup,
    ServiceInstance,
    ServiceUnit,
    child_dn,
    decode,
    encode,
    rdn,
)


def cluster(*, si: str = "calls", env: dict[str, str] | None = None) -> Cluster:
    root = "safAmfCluster=cluster"
    app, group = "safApp=phone", "safSg=sg1,safApp=phone"
    units = []
    for name, node in (("su1", "a"), ("su2", "b")):
        unit = child_dn("safSu", name, group)
        component = child_dn("safComp", "server", unit)
        units.append(
            ServiceUnit(
                dn=unit,
                name=name,
                node=node,
                hosts=(node,),
                components=(
                    Component(
                        dn=component,
                        name="server",
                        category=Category.PROXY | Category.SA_AWARE,
                        plugin="shop:Counter",
                        cs_types=(CsType(name="sip"),),
                        env=env or {},
                        healthchecks=(Healthcheck(dn=f"safHealthcheckKey=alive,{component}", name="alive"),),
                        checkpoint=CheckpointPolicy(mode=CheckpointMode.BOTH),
                    ),
                ),
            )
        )
    instance = child_dn("safSi", si, app)
    return Cluster(
        dn=root,
        name="cluster",
        nodes=tuple(Node(dn=f"safAmfNode={n},{root}", name=n, clm_node=n) for n in ("a", "b")),
        node_groups=(NodeGroup(dn=f"safAmfNodeGroup=all,{root}", name="all", nodes=("a", "b")),),
        applications=(
            Application(
                dn=app,
                name="phone",
                service_groups=(ServiceGroup(dn=group, name="sg1", units=tuple(units)),),
                service_instances=(
                    ServiceInstance(
                        dn=instance,
                        name=si,
                        protected_by=group,
                        admin_state=Admin.LOCKED,
                        csis=(
                            ComponentServiceInstance(
                                dn=child_dn("safCsi", "sip", instance),
                                name="sip",
                                type="sip",
                                attributes={"codecs": ("pcma", "pcmu")},
                            ),
                        ),
                    ),
                ),
            ),
        ),
    )


def test_a_model_survives_encoding():
    model = cluster()
    assert decode(encode(model)) == model
    component = decode(encode(model)).applications[0].service_groups[0].units[0].components[0]
    assert component.category is Category.PROXY | Category.SA_AWARE


def test_equal_models_give_equal_bytes_whatever_the_order_of_their_maps():
    assert encode(cluster(env={"A": "1", "B": "2"})) == encode(cluster(env={"B": "2", "A": "1"}))


def test_a_comma_in_a_name_is_escaped():
    assert rdn("safSu", "a,b\\c") == "safSu=a\\,b\\\\c"


def test_index_finds_entities_and_their_relations():
    index = Index(cluster())
    unit = "safSu=su1,safSg=sg1,safApp=phone"
    component = f"safComp=server,{unit}"
    assert index.groups["safSg=sg1,safApp=phone"].redundancy_model is RedundancyModel.TWO_N
    assert index.group_of_unit[unit].name == "sg1"
    assert index.unit_of_component[component].name == "su1"
    assert [si.name for si in index.instances_of_group["safSg=sg1,safApp=phone"]] == ["calls"]
    assert index.instance_of_csi["safCsi=sip,safSi=calls,safApp=phone"].name == "calls"
    assert index.node_named["b"].dn == "safAmfNode=b,safAmfCluster=cluster"
    assert list(index.applications) == ["safApp=phone"]


@pytest.mark.parametrize(
    ("typed", "dn"),
    [
        ("phone", "safApp=phone"),
        ("phone/sg1", "safSg=sg1,safApp=phone"),
        ("phone/su1", "safSu=su1,safSg=sg1,safApp=phone"),
        ("phone/sg1/su1", "safSu=su1,safSg=sg1,safApp=phone"),
        ("phone/su1/server", "safComp=server,safSu=su1,safSg=sg1,safApp=phone"),
        ("phone/calls/sip", "safCsi=sip,safSi=calls,safApp=phone"),
        ("node/a", "safAmfNode=a,safAmfCluster=cluster"),
        ("a", "safAmfNode=a,safAmfCluster=cluster"),
        ("nodegroup/all", "safAmfNodeGroup=all,safAmfCluster=cluster"),
        ("cluster", "safAmfCluster=cluster"),
        ("ph/su2/ser", "safComp=server,safSu=su2,safSg=sg1,safApp=phone"),
        ("safSi=calls,safApp=phone", "safSi=calls,safApp=phone"),
    ],
)
def test_people_may_type_a_path_a_prefix_or_a_dn(typed, dn):
    assert Index(cluster()).resolve(typed) == dn


def test_every_entity_is_found_again_by_its_short_path():
    for si in ("calls", "sg1", "su1"):
        index = Index(cluster(si=si))
        for kind in (index.nodes, index.groups, index.units, index.components, index.instances, index.csis):
            for dn in kind:
                assert index.resolve(index.short(dn)) == dn


def test_a_path_that_two_entities_share_is_refused_naming_both():
    index = Index(cluster(si="sg1"))
    with pytest.raises(NotExist, match="could be phone/sg:sg1, phone/si:sg1"):
        index.resolve("phone/sg1")
    with pytest.raises(NotExist, match="could be phone/su1, phone/su2"):
        index.resolve("phone/su")


def test_an_unknown_name_is_refused_naming_near_ones():
    with pytest.raises(NotExist, match="did you mean phone/su1/server"):
        Index(cluster()).resolve("phone/su1/sever")
    with pytest.raises(NotExist, match=r"^there is no 'zzzzzzz'$"):
        Index(cluster()).resolve("zzzzzzz")
