"""What is configured: the AMF information model, frozen and completely resolved.

    Cluster
    |-- Node, NodeGroup
    `-- Application
        |-- ServiceGroup -- ServiceUnit -- Component -- CsType, Healthcheck
        `-- ServiceInstance -- ComponentServiceInstance

Attributes have the names they have in amf.conf; times are seconds. Types and defaults are merged in already, names of
other entities are DNs (nodes: names), so a reader never looks anything up twice. `Index` finds entities by DN or by
the short path that people type.

Source: SAI-AIS-AMF-B.04.01 section 3 and chapter 8 (the UML model).
"""

from enum import Enum, IntEnum, IntFlag
from typing import Final

import msgspec

from corosync_amf.ais import Admin, Dn, Recovery, RedundancyModel
from corosync_amf.services.amf.names import Names


class Category(IntFlag):
    """SaAmfCompCategoryT: how AMF deals with a component."""

    SA_AWARE = 1
    PROXY = 2
    PROXIED = 4
    LOCAL = 8
    CONTAINER = 0x10
    CONTAINED = 0x20
    PROXIED_NPI = 0x40


class Capability(IntEnum):
    """SaAmfCompCapabilityModelT: how many assignments of which HA state a component takes for one type."""

    X_ACTIVE_AND_Y_STANDBY = 1
    X_ACTIVE_OR_Y_STANDBY = 2
    ONE_ACTIVE_OR_Y_STANDBY = 3
    ONE_ACTIVE_OR_ONE_STANDBY = 4
    X_ACTIVE = 5
    ONE_ACTIVE = 6
    NON_PRE_INSTANTIABLE = 7


class CheckpointMode(Enum):
    """When the runtime writes a component's state."""

    OFF = "off"
    PERIODIC = "periodic"
    ON_CHANGE = "on-change"
    BOTH = "both"


class Entity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every configured object has."""

    dn: Dn
    name: str


class CheckpointPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a component's state is kept. `period` and `retention` in seconds, `max_size` in bytes."""

    mode: CheckpointMode = CheckpointMode.OFF
    period: float = 1.0
    hot: bool = True
    retention: float = 60.0
    persistent: bool = False
    max_size: int = 64 * 1024 * 1024


class Healthcheck(Entity, frozen=True, kw_only=True):
    """A healthcheck key of a component; `name` is the key."""

    period: float = 1.0
    max_duration: float = 1.0


class CsType(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A component service type that a component supports; limit None: as many as the capability allows."""

    name: str
    capability: Capability = Capability.X_ACTIVE_OR_Y_STANDBY
    max_active: int | None = None
    max_standby: int | None = None


class Component(Entity, frozen=True, kw_only=True):
    """The smallest thing that AMF starts, watches and assigns work to: one process (group).

    A component with a `plugin` has no `instantiate` command: the executive starts the component host for it. A command
    is an argv; None: AMF's own way (terminate: the callback; cleanup: SIGKILL to the process group).
    """

    category: Category = Category.SA_AWARE
    plugin: str | None = None
    cs_types: tuple[CsType, ...] = ()
    capability: Capability = Capability.X_ACTIVE_OR_Y_STANDBY
    max_active_csis: int | None = None
    max_standby_csis: int | None = None
    instantiate: tuple[str, ...] | None = None
    terminate: tuple[str, ...] | None = None
    cleanup: tuple[str, ...] | None = None
    am_start: tuple[str, ...] | None = None
    am_stop: tuple[str, ...] | None = None
    healthcheck_command: tuple[str, ...] | None = None
    env: dict[str, str] = {}
    clc_timeout: float = 10.0
    instantiate_timeout: float = 10.0
    terminate_timeout: float = 10.0
    cleanup_timeout: float = 10.0
    am_start_timeout: float = 10.0
    am_stop_timeout: float = 10.0
    callback_timeout: float = 5.0
    csi_set_timeout: float = 5.0
    csi_remove_timeout: float = 5.0
    terminate_callback_timeout: float = 5.0
    quiescing_complete_timeout: float = 60.0
    instantiation_level: int = 0
    max_instantiate_without_delay: int = 2
    max_instantiate_with_delay: int = 0
    delay_between_attempts: float = 0.0
    max_am_start_attempts: int = 2
    max_am_stop_attempts: int = 2
    recovery_on_error: Recovery = Recovery.COMPONENT_FAILOVER
    disable_restart: bool = False
    proxy_csi: Dn | None = None
    container_csi: Dn | None = None
    healthchecks: tuple[Healthcheck, ...] = ()
    checkpoint: CheckpointPolicy = CheckpointPolicy()


class ServiceUnit(Entity, frozen=True, kw_only=True):
    """Components that are assigned together, on one node.

    `node` names the node where the configuration pins one, else it is "" and `hosts` names the nodes it may live on
    (always at least one; `(node,)` when pinned).
    """

    rank: int = 0
    node: str = ""
    hosts: tuple[str, ...] = ()
    su_failover: bool = False
    is_external: bool = False
    maintenance_campaign: str | None = None
    admin_state: Admin = Admin.UNLOCKED
    components: tuple[Component, ...] = ()


class ServiceGroup(Entity, frozen=True, kw_only=True):
    """Service units that back each other up.

    A number that is None has no limit: `preferred_inservice_sus` all of them (amf.conf gives 2N groups 2),
    `preferred_assigned_sus` as many as are in service.
    """

    redundancy_model: RedundancyModel = RedundancyModel.TWO_N
    node_group: str | None = None
    auto_repair: bool = True
    auto_adjust: bool = False
    auto_adjust_probation: float = 5.0
    preferred_active_sus: int = 1
    preferred_standby_sus: int = 1
    preferred_inservice_sus: int | None = None
    preferred_assigned_sus: int | None = None
    max_active_sis_per_su: int | None = None
    max_standby_sis_per_su: int | None = None
    component_restart_probation: float = 10.0
    component_restart_max: int = 3
    su_restart_probation: float = 20.0
    su_restart_max: int = 3
    admin_state: Admin = Admin.UNLOCKED
    units: tuple[ServiceUnit, ...] = ()


class ComponentServiceInstance(Entity, frozen=True, kw_only=True):
    """One component's share of a workload. `depends_on` holds DNs of CSIs of the same SI."""

    type: str
    depends_on: tuple[Dn, ...] = ()
    attributes: dict[str, tuple[str, ...]] = {}
    communicate_changes: bool = True
    checkpoint: CheckpointPolicy | None = None


class ServiceInstance(Entity, frozen=True, kw_only=True):
    """A workload. `ranked_sus`: SU DN -> rank; `depends_on`: sponsor SI DN -> tolerance in seconds."""

    protected_by: Dn
    rank: int = 0
    preferred_active: int = 1
    preferred_standby: int = 1
    active_weight: dict[str, int] = {}
    standby_weight: dict[str, int] = {}
    ranked_sus: dict[Dn, int] = {}
    depends_on: dict[Dn, float] = {}
    admin_state: Admin = Admin.UNLOCKED
    csis: tuple[ComponentServiceInstance, ...] = ()


class Application(Entity, frozen=True, kw_only=True):
    admin_state: Admin = Admin.UNLOCKED
    service_groups: tuple[ServiceGroup, ...] = ()
    service_instances: tuple[ServiceInstance, ...] = ()


class NodeGroup(Entity, frozen=True, kw_only=True):
    """Nodes that are named together; `nodes` holds node names."""

    nodes: tuple[str, ...] = ()
    admin_state: Admin = Admin.UNLOCKED


class Node(Entity, frozen=True, kw_only=True):
    """An AMF node. `clm_node` is the CLM node's name, host name or decimal node id that it maps to."""

    clm_node: str
    capacity: dict[str, int] = {}
    su_failover_probation: float = 60.0
    su_failover_max: int = 3
    auto_repair: bool = True
    failfast_on_termination_failure: bool = False
    failfast_on_instantiation_failure: bool = False
    path_prefix: str = ""
    failfast_command: tuple[str, ...] | None = None
    admin_state: Admin = Admin.UNLOCKED


class Cluster(Entity, frozen=True, kw_only=True):
    """The root of the model. `node_lock_callback_timeout`: seconds that CLM waits before it locks a node."""

    startup_timeout: float = 3.0
    node_lock_callback_timeout: float = 10.0
    clm_cluster: Dn | None = None
    epoch_floor: int = 0
    admin_state: Admin = Admin.UNLOCKED
    nodes: tuple[Node, ...] = ()
    node_groups: tuple[NodeGroup, ...] = ()
    applications: tuple[Application, ...] = ()


_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(Cluster)


def encode(cluster: Cluster) -> bytes:
    """Return the model as bytes: equal models give equal bytes on every node."""
    return _ENCODER.encode(cluster)


def decode(data: bytes) -> Cluster:
    """Return the model that `encode` wrote.

    Raises: msgspec.ValidationError or msgspec.DecodeError: `data` is not such a model.
    """
    return _DECODER.decode(data)


def rdn(attribute: str, value: str) -> str:
    """Return one component of a DN: `rdn("safSu", "a,b")` is `safSu=a\\,b`."""
    return attribute + "=" + value.replace("\\", "\\\\").replace(",", "\\,")


def child_dn(attribute: str, value: str, parent: Dn = "") -> Dn:
    """Return the DN of the object `attribute`=`value` below `parent`."""
    own = rdn(attribute, value)
    return f"{own},{parent}" if parent else own


class Index:
    """The entities of one model by DN, their relations, and the names that people type for them.

    `nodes groups units components instances csis applications node_groups` map a DN to its entity, in configuration
    order. `group_of_unit`, `unit_of_component` and `instance_of_csi` map a DN to the entity above;
    `instances_of_group` maps a service group's DN to the service instances that it protects. `node_named` maps a
    node's name to it.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster: Final = cluster
        self.nodes: Final = {node.dn: node for node in cluster.nodes}
        self.node_named: Final = {node.name: node for node in cluster.nodes}
        self.node_groups: Final = {group.dn: group for group in cluster.node_groups}
        self.applications: Final = {app.dn: app for app in cluster.applications}
        self.groups: Final = {group.dn: group for app in cluster.applications for group in app.service_groups}
        self.units: Final = {unit.dn: unit for group in self.groups.values() for unit in group.units}
        self.components: Final = {comp.dn: comp for unit in self.units.values() for comp in unit.components}
        self.instances: Final = {si.dn: si for app in cluster.applications for si in app.service_instances}
        self.csis: Final = {csi.dn: csi for si in self.instances.values() for csi in si.csis}
        self.group_of_unit: Final = {unit.dn: group for group in self.groups.values() for unit in group.units}
        self.unit_of_component: Final = {comp.dn: unit for unit in self.units.values() for comp in unit.components}
        self.instance_of_csi: Final = {csi.dn: si for si in self.instances.values() for csi in si.csis}
        self.instances_of_group: Final[dict[Dn, tuple[ServiceInstance, ...]]] = {
            group: tuple(si for si in self.instances.values() if si.protected_by == group) for group in self.groups
        }
        dns = (cluster.dn, *self.nodes, *self.node_groups, *self.applications, *self.groups, *self.units)
        self._names: Final = Names((*dns, *self.components, *self.instances, *self.csis))

    def short(self, dn: Dn) -> str:
        """Return the shortest path that names the entity and nothing else; its DN if there is none."""
        return self._names.short(dn)

    def resolve(self, path: str) -> Dn:
        """Return the DN of what `path` names, see `Names.resolve`.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): nothing, or more than one thing, has that name.
        """
        return self._names.resolve(path)
