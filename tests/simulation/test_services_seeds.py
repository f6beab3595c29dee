"""All services at once through the faults of the cluster: seeds, and those that once found something."""

import pytest

from aisexec.simulation.services import run_services_seed

FOUND_SOMETHING = {
    125: "a grant was told with a lower token than one that a quorum, but not every member, had",
    159: "EVS told what a partition that gave way had not known to be safe as if it had been",
    286: "the same",
    98: "NTF: clients missed what was sent while their node was a member again, but not yet back",
    448: "the same",
    647: "the same",
    203: "NTF's checker was too strict",
    1041: "the same",
    485: "EVT told a retained event again that one returning node had found to have run out",
    1168: "EVT's checker took what came with a membership for what came before it",
    1342: "a grant was told after another state stood",
    1339: "MSG: a node that was cut off twice had lost what it had taken when it closed its queue",
    1526: "a node alone lost what was sent: the token of its former ring had been kept for a client",
    3552: "LCK's checker did not expect an answer to overtake an event that waits",
}


@pytest.mark.parametrize("seed", [*range(10), *FOUND_SOMETHING])
def test_every_service_keeps_its_promises_whatever_fails(seed: int) -> None:
    assert run_services_seed(seed).faults == []
