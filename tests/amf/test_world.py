"""The world sees what must never be."""

import pytest

from aisexec.simulation.fakes import Process, Violation, check_work
from corosync_amf.ais import HaState
from corosync_amf.services.amf.model import Index

from .clusters import cluster, comp, csi

INDEX = Index(cluster(components=({}, {}), instances=({}, {})))


def process(component: str, name: str, state: HaState, *, stopped: bool = False) -> Process:
    return Process(component, 1, 1, csis={name: state}, is_stopped=stopped)


@pytest.mark.parametrize("state", [HaState.ACTIVE, HaState.QUIESCING])
def test_two_components_that_work_on_one_csi_are_seen(state):
    first = process(comp(1, "c0"), csi(1, "i0"), HaState.ACTIVE)
    with pytest.raises(Violation, match="worked on by"):
        check_work(INDEX, [first, process(comp(1, "c1"), csi(1, "i0"), state)])


def test_two_sus_that_work_on_one_si_are_seen():
    first = process(comp(1, "c0"), csi(1, "i0"), HaState.ACTIVE)
    with pytest.raises(Violation, match="worked on by"):
        check_work(INDEX, [first, process(comp(2, "c1"), csi(1, "i1"), HaState.ACTIVE)])


def test_standby_quiesced_and_stopped_ones_do_no_work():
    first = process(comp(1, "c0"), csi(1, "i0"), HaState.ACTIVE)
    others = [
        process(comp(2, "c0"), csi(1, "i0"), HaState.STANDBY),
        process(comp(2, "c1"), csi(1, "i1"), HaState.QUIESCED),
        process(comp(2, "c1"), csi(1, "i0"), HaState.ACTIVE, stopped=True),
    ]
    check_work(INDEX, [first, *others])
    others[2].is_stopped = False
    with pytest.raises(Violation, match="worked on by"):
        check_work(INDEX, [first, *others])
