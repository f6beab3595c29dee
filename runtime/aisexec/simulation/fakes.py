"""What a `World` consists of: nodes, partitions, processes, and how often things go wrong in it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from corosync_amf.ais import Dn, HaState, NodeId
from corosync_amf.engine import Request
from corosync_amf.services.amf.engine import AmfEngine
from corosync_amf.services.amf.model import Index

WORKING: Final = frozenset({HaState.ACTIVE, HaState.QUIESCING})


class Violation(AssertionError):
    """The world has seen what must never be."""


@dataclass(frozen=True, slots=True)
class Chances:
    """How often (0..1) things go wrong while `World.is_calm` is false."""

    start_fails: float = 0.08
    start_hangs: float = 0.03
    dies_after_start: float = 0.05
    callback_fails: float = 0.05
    callback_hangs: float = 0.05
    callback_not_ready: float = 0.02
    dies_in_callback: float = 0.05
    cleanup_fails: float = 0.03
    cleanup_by_node: float = 0.7
    exit_hangs: float = 0.1
    slow: float = 0.1


@dataclass(slots=True)
class Process:
    """A component's process. `csis`: what it believes; `is_stopped`: frozen by its executive (no lease)."""

    component: Dn
    instance: int
    client: int
    csis: dict[Dn, HaState] = field(default_factory=dict)
    epochs: dict[Dn, int] = field(default_factory=dict)
    asked: dict[int, list[Dn]] = field(default_factory=dict)
    last_event: float = 0.0
    is_hung: bool = False
    is_stopped: bool = False


@dataclass(slots=True)
class Site:
    """One node: its replica and its processes. `part` names the partition it is in; None: the node is down. `blips`:
    how often all its clients lost their sessions without its death."""

    node_id: NodeId
    name: str
    engine: AmfEngine
    part: int | None = None
    incarnation: int = 0
    blips: int = 0
    next_client: int = 1
    last_sent: float = 0.0
    last_command: float = 0.0
    processes: dict[Dn, Process] = field(default_factory=dict)


@dataclass(slots=True)
class Part:
    """Nodes that share one total order."""

    members: tuple[NodeId, ...]
    quorate: bool
    order: int
    alarms: dict[str, tuple[int, float, Request]] = field(default_factory=dict)


def check_work(index: Index, processes: Iterable[Process]) -> None:
    """No two SUs do the work of one SI, and no two components that of one CSI.

    Raises: Violation.
    """
    workers: dict[Dn, set[Dn]] = {}
    for process in processes:
        for csi, state in process.csis.items():
            if state in WORKING and not process.is_stopped:
                workers.setdefault(csi, set()).add(process.component)
                su = index.unit_of_component[process.component].dn
                workers.setdefault(index.instance_of_csi[csi].dn, set()).add(su)
    for dn, found in workers.items():
        if len(found) > 1:
            raise Violation(f"{dn} is worked on by {sorted(found)}")
