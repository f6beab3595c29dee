"""Which SU is to have which SI in which HA state: one function `assign` per redundancy model.

All have the signature `assign(group, in_service, current) -> Assignments`: pure, deterministic, stable (unchanged input
gives back what it was given) and minimal (a working SU keeps its work).

Source: SAI-AIS-AMF-B.04.01 section 3.6.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from corosync_amf.ais import Dn, HaState
from corosync_amf.services.amf.model import Component, ServiceGroup, ServiceInstance


@dataclass(frozen=True, slots=True)
class Unit:
    """An SU as placement sees it.

    `refused` holds (component, CSI, HA state) that its HA readiness rules out; `degraded`: better not active. `room`
    is what the node's capacity leaves to this group (None: no limit); SUs on the same `node` share it.
    """

    dn: Dn
    rank: int
    node: str
    components: tuple[Component, ...]
    refused: frozenset[tuple[Dn, Dn, HaState]] = frozenset()
    degraded: bool = False
    room: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A service group as placement sees it: its units and its eligible SIs, both in order; `preferred`: the SUs that
    an administrator wants active and standby."""

    policy: ServiceGroup
    units: tuple[Unit, ...]
    instances: tuple[ServiceInstance, ...]
    preferred: tuple[Dn, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """What an SU is to do for an SI: `components` says which component gets which CSI."""

    ha_state: HaState
    components: Mapping[Dn, Dn]
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """What an SU has of an SI, or was told to have: its farthest HA state, and which component has which CSI."""

    ha_state: HaState
    components: Mapping[Dn, Dn] = field(default_factory=dict)


Assignments = dict[Dn, dict[Dn, Place]]
"""SI -> SU -> place."""
Current = Mapping[Dn, Mapping[Dn, Held]]
"""SI -> SU -> what it has."""
Assign = Callable[[Group, frozenset[Dn], Current], Assignments]


def by_rank(entity: Unit | ServiceInstance) -> tuple[bool, int, Dn]:
    """The order of SUs and SIs: rank 1 first, rank 0 after all ranked ones, then by DN."""
    return entity.rank == 0, entity.rank, entity.dn
