"""A status as a cluster would give it: two units of a shop, one active and one standby."""

from corosync_amf.ais import (
    Admin,
    AdminOperation,
    Assignment,
    HaReadiness,
    HaState,
    Operational,
    Presence,
    Readiness,
    RedundancyModel,
)
from corosync_amf.services.amf.messages import (
    ApplicationStatus,
    AssignmentStatus,
    ClusterStatus,
    ComponentStatus,
    CsiStatus,
    GroupStatus,
    InstanceStatus,
    NodeStatus,
    OperationStatus,
    Status,
    UnitStatus,
)

CLUSTER = "safAmfCluster=cluster"
APP = "safApp=shop"
GROUP = f"safSg=shop,{APP}"
UNITS = (f"safSu=su1,{GROUP}", f"safSu=su2,{GROUP}")
INSTANCE = f"safSi=shop,{APP}"
CSI = f"safCsi=shop,{INSTANCE}"
NODES = ("node-a", "node-b")


def shop(*, well: bool = True, quorate: bool = True, doing: str = "") -> Status:
    """`well`: both units are there; else node-b is not."""
    here = (True, well)
    return Status(
        cluster=ClusterStatus(
            dn=CLUSTER,
            admin=Admin.UNLOCKED,
            quorate=quorate,
            started=True,
            members=(1, 2) if well else (1,),
            order=7,
            time=1.5,
        ),
        nodes=tuple(
            NodeStatus(
                dn=f"safAmfNode={name},{CLUSTER}",
                name=name,
                node_id=number if present else None,
                admin=Admin.UNLOCKED,
                operational=Operational.ENABLED,
            )
            for number, (name, present) in enumerate(zip(NODES, here, strict=True), 1)
        ),
        applications=(ApplicationStatus(dn=APP, admin=Admin.UNLOCKED, groups=1),),
        groups=(
            GroupStatus(
                dn=GROUP,
                model=RedundancyModel.TWO_N,
                admin=Admin.UNLOCKED,
                settled=True,
                assigned_sus=2,
                instantiated_spare_sus=0,
                uninstantiated_spare_sus=0,
            ),
        ),
        units=tuple(_unit(dn, node, present) for dn, node, present in zip(UNITS, NODES, here, strict=True)),
        components=tuple(
            ComponentStatus(
                dn=f"safComp=shop,{unit}",
                operational=Operational.ENABLED,
                presence=Presence.INSTANTIATED,
                readiness=Readiness.IN_SERVICE,
                ha_readiness=HaReadiness.READY_FOR_ASSIGNMENT,
                restarts=0,
                registered=True,
                doing=doing if unit == UNITS[1] else "",
            )
            for unit in UNITS
        ),
        instances=(
            InstanceStatus(
                dn=INSTANCE,
                group=GROUP,
                rank=1,
                admin=Admin.UNLOCKED,
                effective_admin=Admin.UNLOCKED,
                assignment=Assignment.FULLY_ASSIGNED if well else Assignment.PARTIALLY_ASSIGNED,
                active=UNITS[:1],
                standby=UNITS[1:] if well else (),
            ),
        ),
        csis=(
            CsiStatus(
                dn=CSI,
                type="shop",
                assignments=(
                    AssignmentStatus(
                        csi=CSI, component=f"safComp=shop,{UNITS[0]}", su=UNITS[0], ha_state=HaState.ACTIVE
                    ),
                ),
            ),
        ),
        operations=(
            OperationStatus(dn=UNITS[0], operation=AdminOperation.LOCK, running=False, since=1.0, waits_for="the swap"),
        )
        if doing
        else (),
        failovers=(),
    )


def _unit(dn: str, node: str, present: bool) -> UnitStatus:
    return UnitStatus(
        dn=dn,
        node=node,
        rank=1,
        admin=Admin.UNLOCKED,
        effective_admin=Admin.UNLOCKED,
        operational=Operational.ENABLED,
        presence=Presence.INSTANTIATED if present else Presence.UNINSTANTIATED,
        readiness=Readiness.IN_SERVICE if present else Readiness.OUT_OF_SERVICE,
        ha_readiness=HaReadiness.READY_FOR_ASSIGNMENT,
        active_sis=(INSTANCE,),
        standby_sis=(),
        other_sis=(),
        pre_instantiable=True,
        restarts=2,
    )
