"""Small clusters for tests, as models."""

import random
from typing import Any

from corosync_amf.ais import Dn, Recovery
from corosync_amf.services.amf.model import (
    Application,
    Category,
    Cluster,
    Component,
    ComponentServiceInstance,
    Node,
    ServiceGroup,
    ServiceInstance,
    ServiceUnit,
)

CLUSTER = "safAmfCluster=cluster"
APP = "safApp=app"
SG = f"safSg=sg,{APP}"


def su(number: int, group: Dn = SG) -> Dn:
    return f"safSu=su{number},{group}"


def comp(number: int, name: str = "c0", group: Dn = SG) -> Dn:
    return f"safComp={name},{su(number, group)}"


def si(number: int = 1) -> Dn:
    return f"safSi=si{number},{APP}"


def csi(number: int = 1, name: str = "i0") -> Dn:
    return f"safCsi={name},{si(number)}"


def node(number: int) -> Dn:
    return f"safAmfNode=n{number},{CLUSTER}"


def cluster(
    *,
    nodes: int = 2,
    units: int = 2,
    components: tuple[dict[str, Any], ...] = ({},),
    instances: tuple[dict[str, Any], ...] = ({},),
    unit: dict[str, Any] | None = None,
    group: dict[str, Any] | None = None,
    every_node: dict[str, Any] | None = None,
    **options: Any,
) -> Cluster:
    """A 2N application: SU k on node k (round robin), each with the given components; each SI with one CSI per
    component unless it brings `csis` (names, or name -> those it depends on)."""
    made_nodes = tuple(
        Node(dn=node(n), name=f"n{n}", clm_node=f"host{n}", **(every_node or {})) for n in range(1, nodes + 1)
    )
    made_units = tuple(
        ServiceUnit(
            dn=su(n),
            name=f"su{n}",
            rank=n,
            node=f"n{(n - 1) % nodes + 1}",
            hosts=(f"n{(n - 1) % nodes + 1}",),
            components=tuple(_component(n, k, options_of) for k, options_of in enumerate(components)),
            **(unit or {}),
        )
        for n in range(1, units + 1)
    )
    made_instances = tuple(_instance(n, len(components), dict(options_of)) for n, options_of in enumerate(instances, 1))
    made_group = ServiceGroup(dn=SG, name="sg", units=made_units, **(group or {}))
    app = Application(dn=APP, name="app", service_groups=(made_group,), service_instances=made_instances)
    return Cluster(dn=CLUSTER, name="cluster", nodes=made_nodes, applications=(app,), **options)


def _component(unit: int, number: int, options: dict[str, Any]) -> Component:
    name = f"c{number}"
    return Component(dn=comp(unit, name), name=name, **options)


def _instance(number: int, components: int, options: dict[str, Any]) -> ServiceInstance:
    names = options.pop("csis", tuple(f"i{k}" for k in range(components)))
    depends = names if isinstance(names, dict) else dict.fromkeys(names, ())
    types = options.pop("types", {})
    csis = tuple(
        ComponentServiceInstance(
            dn=csi(number, name),
            name=name,
            type=types.get(name, name),
            depends_on=tuple(csi(number, other) for other in others),
            attributes={"key": (name,)},
        )
        for name, others in depends.items()
    )
    return ServiceInstance(dn=si(number), name=f"si{number}", protected_by=SG, csis=csis, **options)


def any_cluster(rng: random.Random) -> Cluster:
    """A cluster drawn at random from what is supported."""
    nodes, components = rng.choice((2, 3, 3, 4)), rng.choice((1, 1, 2, 3))
    instances: list[dict[str, Any]] = []
    for number in range(1, rng.choice((1, 1, 2, 3)) + 1):
        options: dict[str, Any] = {"rank": number}
        names = [f"i{k}" for k in range(components)]
        if rng.random() < 0.5:
            options["csis"] = {name: tuple(names[:k][-1:]) for k, name in enumerate(names)}
        if number > 1 and rng.random() < 0.4:
            options["depends_on"] = {si(number - 1): rng.choice((0.0, 0.05, 2.0))}
        instances.append(options)
    kinds = [
        {
            "instantiation_level": rng.choice((0, 0, 1)),
            "recovery_on_error": rng.choice(_RECOVERIES),
            "disable_restart": rng.random() < 0.15,
            "instantiate_timeout": 1.0,
            "csi_set_timeout": 0.5,
            "csi_remove_timeout": 0.5,
            "terminate_callback_timeout": 0.5,
            "max_instantiate_with_delay": rng.choice((0, 2)),
            "delay_between_attempts": 0.1,
            "quiescing_complete_timeout": 2.0,
            "terminate": rng.choice((None, None, ("stop",))),
            "category": Category.LOCAL if components > 1 and k == 1 and rng.random() < 0.25 else Category.SA_AWARE,
        }
        for k in range(components)
    ]
    return cluster(
        nodes=nodes,
        units=rng.choice((2, nodes, nodes + 1)),
        components=tuple(kinds),
        instances=tuple(instances),
        unit={"su_failover": rng.random() < 0.3},
        group={
            "component_restart_probation": 2.0,
            "component_restart_max": rng.choice((0, 1, 3)),
            "su_restart_probation": 4.0,
            "su_restart_max": rng.choice((0, 1, 2)),
            "preferred_inservice_sus": rng.choice((None, 2, 3)),
            "auto_adjust": rng.random() < 0.2,
            "auto_adjust_probation": 1.0,
        },
        every_node={
            "su_failover_probation": 8.0,
            "su_failover_max": rng.choice((0, 1, 2)),
            "failfast_on_termination_failure": rng.random() < 0.3,
        },
        startup_timeout=2.0,
    )


_RECOVERIES = (
    Recovery.COMPONENT_RESTART,
    Recovery.COMPONENT_RESTART,
    Recovery.COMPONENT_FAILOVER,
    Recovery.COMPONENT_FAILOVER,
    Recovery.NODE_SWITCHOVER,
    Recovery.NODE_FAILOVER,
)
