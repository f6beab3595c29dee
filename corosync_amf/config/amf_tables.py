"""The attributes of amf.conf, one table for each kind of entity. Defaults are those of the model's classes.

Source: SAI-AIS-AMF-B.04.01 chapter 8; the names of openais' amf.conf.
"""

from typing import Final

from corosync_amf.ais import Admin, Recovery, RedundancyModel
from corosync_amf.config.kinds import Argv, Choice, Flag, Free, Integer, MapOf, Milliseconds, Texts, Word, Words
from corosync_amf.config.schema import Option, Table
from corosync_amf.services.amf.model import Capability, Category, CheckpointMode

COUNT: Final = Integer(0)
POSITIVE: Final = Integer(1)
TIME: Final = Milliseconds(0)
PERIOD: Final = Milliseconds(1)
LIMIT: Final = Milliseconds(10)

MODELS: Final = Choice(
    {
        "2n": RedundancyModel.TWO_N,
        "n+m": RedundancyModel.N_PLUS_M,
        "n-way": RedundancyModel.N_WAY,
        "n-way-active": RedundancyModel.N_WAY_ACTIVE,
        "no-redundancy": RedundancyModel.NO_REDUNDANCY,
    },
    {
        "nplusm": RedundancyModel.N_PLUS_M,
        "nway": RedundancyModel.N_WAY,
        "nwayactive": RedundancyModel.N_WAY_ACTIVE,
        "noredundancy": RedundancyModel.NO_REDUNDANCY,
    },
)
CATEGORIES: Final = Choice(
    {
        "sa-aware": Category.SA_AWARE,
        "proxy": Category.PROXY,
        "proxied": Category.PROXIED,
        "local": Category.LOCAL,
        "container": Category.CONTAINER,
        "contained": Category.CONTAINED,
        "proxied-npi": Category.PROXIED_NPI,
    }
)
CAPABILITIES: Final = Choice(
    {
        "x_active_and_y_standby": Capability.X_ACTIVE_AND_Y_STANDBY,
        "x_active_or_y_standby": Capability.X_ACTIVE_OR_Y_STANDBY,
        "one_active_or_y_standby": Capability.ONE_ACTIVE_OR_Y_STANDBY,
        "one_active_or_one_standby": Capability.ONE_ACTIVE_OR_ONE_STANDBY,
        "x_active": Capability.X_ACTIVE,
        "1_active": Capability.ONE_ACTIVE,
        "non_pre_instantiable": Capability.NON_PRE_INSTANTIABLE,
    },
    {"one_active": Capability.ONE_ACTIVE, "non_preinstantiable": Capability.NON_PRE_INSTANTIABLE},
)
RECOVERIES: Final = Choice(
    {recovery.name.lower(): recovery for recovery in Recovery}, {"no_recomondation": Recovery.NO_RECOMMENDATION}
)
_STATES = {"unlocked": Admin.UNLOCKED, "locked": Admin.LOCKED}
ADMIN: Final = Option(
    "admin_state",
    Choice(_STATES | {"locked-instantiation": Admin.LOCKED_INSTANTIATION}),
    "administrative state at the first start",
)
ADMIN_OF_SI: Final = Option("admin_state", Choice(_STATES), "administrative state at the first start")
MODES: Final = Choice({mode.value: mode for mode in CheckpointMode}, {"no": CheckpointMode.OFF})

CLUSTER: Final = Table(
    "cluster",
    [
        Option("name", Word(256), "name of the cluster"),
        Option("startup_timeout", TIME, "longest wait for nodes", ("saAmfClusterStartupTimeout",)),
        Option("node_lock_callback_timeout", PERIOD, "longest wait of CLM before it locks a node"),
        Option("clm_cluster", Word(), "DN of the CLM cluster, informative", ("saAmfClusterClmCluster",)),
        Option("epoch_floor", Integer(0, 2**62), "lowest epoch to use"),
        ADMIN,
    ],
    children=["defaults"],
)
NODE: Final = Table(
    "node",
    [
        Option("clm_node", Word(256), "CLM node name, host name or node id", ("saAmfNodeClmNode",)),
        Option("capacity", MapOf(COUNT), "resource -> what the node has of it", ("saAmfNodeCapacity",), merge=True),
        Option("su_failover_probation", TIME, "window of level 3", ("saAmfNodeSuFailOverProb",)),
        Option("su_failover_max", COUNT, "SU failovers in it", ("saAmfNodeSuFailoverMax", "saAmfNodeSuFailOverMax")),
        Option("auto_repair", Flag(), "repair after node recovery", ("saAmfNodeAutoRepair",)),
        Option(
            "failfast_on_termination_failure",
            Flag(),
            "failfast when a cleanup fails",
            ("saAmfNodeFailfastOnTerminationFailure", "saAmfNodeRebootOnTerminationFailure"),
        ),
        Option(
            "failfast_on_instantiation_failure",
            Flag(),
            "failfast when an instantiation fails, once per start of the node",
            ("saAmfNodeFailfastOnInstantiationFailure", "saAmfNodeRebootOnInstantiationFailure"),
        ),
        Option("path_prefix", Free(), "directory of relative commands", ("saAmfNodeSwBundlePathPrefix",)),
        Option("failfast_command", Argv(), "what failfast runs"),
        ADMIN,
    ],
)
SERVICE_GROUP: Final = Table(
    "service_group",
    [
        Option("redundancy_model", MODELS, "redundancy model", ("saAmfSGRedundancyModel", "saAmfSgtRedundancyModel")),
        Option("node_group", Word(), "where its SUs may live", ("saAmfSGSuHostNodeGroup",)),
        Option("auto_repair", Flag(), "repair failed SUs", ("saAmfSGAutoRepair",)),
        Option("auto_adjust", Flag(), "go back to the preferred assignment", ("saAmfSGAutoAdjust",)),
        Option("auto_adjust_probation", TIME, "stable that long before", ("saAmfSGAutoAdjustProb",)),
        Option("preferred_active_sus", POSITIVE, "N of N+M", ("saAmfSGNumPrefActiveSUs",)),
        Option("preferred_standby_sus", COUNT, "M of N+M", ("saAmfSGNumPrefStandbySUs",)),
        Option("preferred_inservice_sus", POSITIVE, "SUs kept instantiated", ("saAmfSGNumPrefInserviceSUs",)),
        Option("preferred_assigned_sus", POSITIVE, "SUs with assignments", ("saAmfSGNumPrefAssignedSUs",)),
        Option(
            "max_active_sis_per_su",
            POSITIVE,
            "most active SIs of an SU",
            ("saAmfSGMaxActiveSIsperSU", "saAmfSGMaxActiveSIsperSUs"),
        ),
        Option(
            "max_standby_sis_per_su",
            POSITIVE,
            "most standby SIs of an SU",
            ("saAmfSGMaxStandbySIsperSU", "saAmfSGMaxStandbySIsperSUs"),
        ),
        Option("component_restart_probation", TIME, "window of level 1", ("saAmfSGCompRestartProb",)),
        Option("component_restart_max", COUNT, "component restarts in it", ("saAmfSGCompRestartMax",)),
        Option("su_restart_probation", TIME, "window of level 2", ("saAmfSGSuRestartProb",)),
        Option("su_restart_max", COUNT, "SU restarts in it", ("saAmfSGSuRestartMax",)),
        ADMIN,
    ],
    children=["units"],
)
SERVICE_UNIT: Final = Table(
    "service_unit",
    [
        Option("rank", COUNT, "1 is best, 0 last", ("saAmfSURank",)),
        Option("node", Word(), "node or node group", ("saAmfSUHostNodeOrNodeGroup", "saAmfSUHostedByNode")),
        Option("su_failover", Flag(), "a failover takes the whole SU", ("saAmfSUFailover",)),
        Option("is_external", Flag(), "lives outside the cluster", ("saAmfSutIsExternal", "saAmfSUIsExternal")),
        Option("maintenance_campaign", Word(), "no automatic repair while set", ("saAmfSUMaintenanceCampaign",)),
        ADMIN,
    ],
    children=["components"],
)
CS_TYPE: Final = Table(
    "cs_type",
    [
        Option("capability", CAPABILITIES, "capability for this type"),
        Option("max_active", POSITIVE, "most active CSIs of it"),
        Option("max_standby", POSITIVE, "most standby CSIs of it"),
    ],
)
HEALTHCHECK: Final = Table(
    "healthcheck",
    [
        Option("period", PERIOD, "time between two checks", ("saAmfHealthcheckPeriod",)),
        Option("max_duration", PERIOD, "longest wait for the answer", ("saAmfHealthcheckMaxDuration",)),
    ],
)
CHECKPOINT: Final = Table(
    "checkpoint",
    [
        Option("mode", MODES, "when state is written"),
        Option("period", PERIOD, "time between two periodic checkpoints"),
        Option("hot", Flag(), "the standby follows each update"),
        Option("retention", TIME, "kept that long without users"),
        Option("persistent", Flag(), "kept on disk, too"),
        Option("max_size", Integer(1024, 2**40), "most bytes"),
    ],
)


def _command(key: str, saf: str, help_text: str) -> list[Option]:
    timeout = Option(f"{key}_timeout", LIMIT, f"longest run of {key}", (f"saAmfComp{saf}Timeout",))
    return [Option(key, Argv(), help_text, (f"saAmfComp{saf}Cmd",)), timeout]


COMPONENT: Final = Table(
    "component",
    [
        Option("category", Words(CATEGORIES), "how AMF deals with it", ("saAmfCompCategory", "saAmfCtCompCategory")),
        Option("plugin", Word(), "Python component, module:object or an entry point of corosync_amf.components"),
        Option("capability", CAPABILITIES, "assignments it takes", ("saAmfCompCapability", "saAmfCtCompCapability")),
        Option(
            "max_active_csis",
            POSITIVE,
            "most active CSIs",
            ("saAmfCompNumMaxActiveCSIs", "saAmfCompNumMaxActiveCsi", "saAmfCompNumMaxActiveCsis"),
        ),
        Option(
            "max_standby_csis",
            POSITIVE,
            "most standby CSIs",
            ("saAmfCompNumMaxStandbyCSIs", "saAmfCompNumMaxStandbyCsi", "saAmfCompNumMaxStandbyCsis"),
        ),
        *_command("instantiate", "Instantiate", "starts it"),
        *_command("terminate", "Terminate", "ends it gracefully"),
        *_command("cleanup", "Cleanup", "ends it whatever its state"),
        *_command("am_start", "AmStart", "starts its active monitor"),
        *_command("am_stop", "AmStop", "ends its active monitor"),
        Option("healthcheck_command", Argv(), "run each healthcheck period", ("osafAmfCtRelPathHcCmd",)),
        Option("env", MapOf(Free()), "environment", ("saAmfCompCmdEnv",), merge=True),
        Option("clc_timeout", LIMIT, "default of the commands' timeouts", ("saAmfCompDefaultClcCliTimeout",)),
        Option("callback_timeout", LIMIT, "default of the callbacks' timeouts", ("saAmfCompDefaultCallbackTimeOut",)),
        Option("csi_set_timeout", LIMIT, "longest csi_set", ("saAmfCompCSISetCallbackTimeout",)),
        Option(
            "csi_remove_timeout",
            LIMIT,
            "longest csi_remove",
            ("saAmfCompCSIRmvCallbackTimeout",),
        ),
        Option("terminate_callback_timeout", LIMIT, "longest terminate", ("saAmfCompTerminateCallbackTimeout",)),
        Option("quiescing_complete_timeout", LIMIT, "longest quiescing", ("saAmfCompQuiescingCompleteTimeout",)),
        Option("instantiation_level", COUNT, "lower ones first", ("saAmfCompInstantiationLevel",)),
        Option(
            "max_instantiate_without_delay",
            POSITIVE,
            "attempts at once",
            ("saAmfCompNumMaxInstantiateWithoutDelay",),
        ),
        Option("max_instantiate_with_delay", COUNT, "further attempts", ("saAmfCompNumMaxInstantiateWithDelay",)),
        Option(
            "delay_between_attempts",
            TIME,
            "before each of them",
            ("saAmfCompDelayBetweenInstantiateAttempts",),
        ),
        Option("max_am_start_attempts", POSITIVE, "attempts of am_start", ("saAmfCompNumMaxAmStartAttempts",)),
        Option("max_am_stop_attempts", POSITIVE, "attempts of am_stop", ("saAmfCompNumMaxAmStopAttempts",)),
        Option("recovery_on_error", RECOVERIES, "recovery of faults AMF finds", ("saAmfCompRecoveryOnError",)),
        Option("disable_restart", Flag(), "a restart becomes a failover", ("saAmfCompDisableRestart",)),
        Option("proxy_csi", Word(), "CSI of its proxy", ("saAmfCompProxyCsi",)),
        Option("container_csi", Word(), "CSI of its container", ("saAmfCompContainerCsi",)),
    ],
    children=["cs_types", "healthchecks", "checkpoint"],
)
SERVICE_INSTANCE: Final = Table(
    "service_instance",
    [
        Option("protected_by", Word(), "its service group", ("saAmfSIProtectedbySG",)),
        Option("rank", COUNT, "1 most important, 0 last", ("saAmfSIRank",)),
        Option("preferred_active", POSITIVE, "active assignments", ("saAmfSIPrefActiveAssignments",)),
        Option("preferred_standby", COUNT, "standby assignments", ("saAmfSIPrefStandbyAssignments",)),
        Option("active_weight", MapOf(COUNT), "resource -> need when active", ("saAmfSIActiveWeight",), merge=True),
        Option("standby_weight", MapOf(COUNT), "resource -> need when standby", ("saAmfSIStandbyWeight",), merge=True),
        Option("ranked_sus", MapOf(COUNT), "SU -> rank for this SI", merge=True),
        ADMIN_OF_SI,
    ],
    children=["depends_on", "csis"],
)
DEPENDENCY: Final = Table(
    "dependency", [Option("tolerance", TIME, "how long the sponsor may be away", ("saAmfToleranceTime",))]
)
CSI: Final = Table(
    "csi",
    [
        Option("type", Word(), "component service type", ("saAmfCSTypeName", "saAmfCSType")),
        Option("depends_on", Words(), "CSIs of the SI that come first"),
        Option("attributes", MapOf(Texts()), "what the component is told", merge=True),
        Option("communicate_changes", Flag(), "changed attributes are told at once"),
    ],
    children=["checkpoint"],
)
APPLICATION: Final = Table("application", [ADMIN], children=["service_groups", "service_instances"])
NODE_GROUP: Final = Table("node_group", [Option("nodes", Words(), "its nodes", ("saAmfNGNodeList",)), ADMIN])

ENTITIES: Final = {table.name: table for table in (NODE, SERVICE_GROUP, SERVICE_UNIT, COMPONENT, SERVICE_INSTANCE, CSI)}
"""The kinds that `types:` can describe."""
