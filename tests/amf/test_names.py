"""What people type for an object, and what object that is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corosync_amf.errors import NotExist
from corosync_amf.services.amf.model import child_dn
from corosync_amf.services.amf.names import Names, parent, paths_of

CLUSTER = "safAmfCluster=cluster"
NODE = f"safAmfNode=node-a,{CLUSTER}"
APP = "safApp=shop"
GROUP = f"safSg=shop,{APP}"
UNITS = [f"safSu=su{number},{GROUP}" for number in (1, 2)]
COMPONENTS = [f"safComp=counter,{unit}" for unit in UNITS]
INSTANCE = f"safSi=shop,{APP}"
CSI = f"safCsi=till,{INSTANCE}"
ALL = [CLUSTER, NODE, APP, GROUP, *UNITS, *COMPONENTS, INSTANCE, CSI]


@pytest.mark.parametrize(
    ("typed", "dn"),
    [
        ("cluster", CLUSTER),
        ("node/node-a", NODE),
        ("node-a", NODE),
        ("shop", APP),
        ("shop/sg:shop", GROUP),
        ("shop/si:shop", INSTANCE),
        ("shop/su1", UNITS[0]),
        ("shop/shop/su2", UNITS[1]),
        ("su2", UNITS[1]),
        ("shop/su1/counter", COMPONENTS[0]),
        ("sh/su2/co", COMPONENTS[1]),
        ("shop/shop/till", CSI),
        ("till", CSI),
        (CSI, CSI),
    ],
)
def test_object_is_found_by_dn_path_prefix_or_end(typed: str, dn: str) -> None:
    assert Names(ALL).resolve(typed) == dn


def test_path_that_two_objects_have_is_refused_unless_a_kind_is_preferred() -> None:
    with pytest.raises(NotExist, match="'shop/shop' could be shop/sg:shop, shop/si:shop"):
        Names(ALL).resolve("shop/shop")
    assert Names(ALL).resolve("shop/shop", "safSi=") == INSTANCE
    assert Names(ALL).resolve("shop/shop", "safSg=") == GROUP
    with pytest.raises(NotExist, match="could be shop/su1/counter, shop/su2/counter"):
        Names(ALL).resolve("counter", "safSi=")


def test_many_candidates_are_not_all_listed() -> None:
    many = [f"safSu=su{number},{GROUP}" for number in range(9)]
    with pytest.raises(NotExist, match=r"shop/su4, \.\.\.$"):
        Names(many).resolve("shop/su")


def test_unknown_name_is_refused_with_near_ones() -> None:
    with pytest.raises(NotExist, match="there is no 'shop/su9'; did you mean shop/su"):
        Names(ALL).resolve("shop/su9")
    with pytest.raises(NotExist, match=r"^there is no 'zzzzzz'$"):
        Names(ALL).resolve("zzzzzz")


def test_unknown_dn_is_its_own_short_name() -> None:
    assert Names([APP]).short(CSI) == CSI


def test_comma_in_a_name_is_part_of_it() -> None:
    assert paths_of(r"safSu=a\,b,safSg=g,safApp=p") == ("p/a,b", "p/g/a,b")


TEXTS = st.text(st.sampled_from("a,\\="), min_size=1, max_size=4)


@given(TEXTS, TEXTS)
def test_whatever_a_name_consists_of_its_parent_and_its_path_are_found(above: str, below: str) -> None:
    app = child_dn("safApp", above)
    instance = child_dn("safSi", below, app)
    assert parent(instance) == app
    assert parent(app) == ""
    assert paths_of(instance)[0] == f"{above}/{below}"


WORDS = st.sampled_from(["a", "b", "ab", "node", "sg:a"])


@given(st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS), max_size=5))
def test_every_object_is_found_by_its_short_name(rows: list[tuple[str, str, str, str]]) -> None:
    dns = {CLUSTER}
    for app, first, second, third in rows:
        top = f"safApp={app}"
        group, instance = f"safSg={first},{top}", f"safSi={second},{top}"
        dns |= {top, group, instance, f"safSu={second},{group}", f"safCsi={third},{instance}"}
        dns |= {f"safComp={third},safSu={second},{group}", f"safAmfNode={third},{CLUSTER}"}
    names = Names(sorted(dns))
    for dn in dns:
        assert names.resolve(names.short(dn)) == dn
