"""The server dies at every point of a call; another goes on with what was safe, and nobody notices."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.telephony.world import Crash, World

FLOWS = {
    "caller holds, resumes and hangs up": World(script=[(0.5, "hold"), (0.5, "resume"), (0.7, "bye")]),
    "callee holds, resumes and hangs up": World(callee_script=[(0.5, "hold"), (0.5, "resume"), (0.7, "bye")]),
    "caller cancels": World(script=[(0.2, "cancel")], ring=5.0),
    "callee is busy": World(refuse=486),
}
MEANT = {"caller cancels": "refused 487", "callee is busy": "refused 486"}


def fresh(flow: str, **changes: object) -> World:
    model = FLOWS[flow]
    settings = {
        "script": model.script,
        "callee_script": model.callee_script,
        "ring": model.ring,
        "refuse": model.refuse,
        **changes,
    }
    return World(**settings)  # type: ignore[arg-type]


def problems(flow: str, world: World) -> list[str]:
    found = []
    meant = MEANT.get(flow, "")
    caller, callee = world.caller.result, world.callee.result
    if not caller.over or caller.failure != meant:
        found.append(f"caller: {caller}")
    if callee.started_at and (not callee.over or (not meant and callee.failure)):
        found.append(f"callee: {callee}")
    if len(world.cdrs) != 1:
        found.append(f"{len(world.cdrs)} records")
    else:
        # From when the caller knew that he was heard, to when the first of both hung up.
        talked = min(caller.ended_at, callee.ended_at) - caller.answered_at if caller.answered_at else 0.0
        if abs(world.cdrs[0].duration - talked) > 0.5:
            found.append(f"billed {world.cdrs[0].duration} for {talked:.3f} s")
        if world.cdrs[0].outcome != int(meant.split()[-1] if meant else "200"):
            found.append(f"outcome {world.cdrs[0].outcome}")
    if world.safe:
        found.append("the record of the call was never removed")
    return found


@pytest.mark.parametrize("outage", [0.03, 0.3, 1.3])
@pytest.mark.parametrize("when", ["before", "between", "after"])
@pytest.mark.parametrize("flow", list(FLOWS))
def test_call_survives_takeover_at_every_commit(flow, when, outage):
    steps = fresh(flow).run(100).steps
    assert steps >= 5
    found = {}
    for step in range(1, steps + 1):
        if bad := problems(flow, fresh(flow, crashes=[Crash(step, when, outage)]).run(100)):
            found[step] = bad
    assert found == {}


@pytest.mark.parametrize("flow", list(FLOWS))
def test_call_survives_loss_of_any_one_datagram(flow):
    datagrams = fresh(flow).run(100).datagrams
    found = {}
    for number in range(1, datagrams + 1):
        world = fresh(flow, lose=frozenset({number})).run(100)
        # A lost datagram of the network is not an outage of ours: its time may be billed.
        bad = [text for text in problems(flow, world) if not text.startswith("billed")]
        if bad:
            found[number] = bad
    assert found == {}


@pytest.mark.parametrize("flow", list(FLOWS))
def test_call_without_any_fault_is_billed_exactly(flow):
    world = fresh(flow).run(100)
    assert problems(flow, world) == []
    talked = world.caller.result.ended_at - world.caller.result.answered_at if not MEANT.get(flow) else 0.0
    assert world.cdrs[0].duration == pytest.approx(talked, abs=0.02)


crashes = st.lists(
    st.builds(
        Crash, st.integers(1, 30), st.sampled_from(["before", "between", "after"]), st.sampled_from([0.01, 0.2, 0.7])
    ),
    max_size=4,
)


@given(st.sampled_from(list(FLOWS)), crashes, st.frozensets(st.integers(1, 60), max_size=3))
@settings(max_examples=300, deadline=None)
def test_call_survives_several_takeovers_and_a_network_that_loses_datagrams(flow, crashes, lose):
    world = fresh(flow, crashes=crashes, lose=lose).run(300)
    # What several faults at once do to the time is no promise.
    assert [text for text in problems(flow, world) if not text.startswith("billed")] == []
