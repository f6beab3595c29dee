"""The engine at its border: registration, queries, snapshots, membership, quorum, start, epochs."""

import pytest
from msgspec.structs import replace

from corosync_amf import wire
from corosync_amf.ais import AdminOperation, Assignment, ErrorCode, HaReadiness, HaState, Presence, Recovery, TrackFlags
from corosync_amf.engine import Client, ClientGone, Done, Event, Failed, Membership, NodeFacts, Origin, Reply, Run
from corosync_amf.services.amf import messages as amf
from corosync_amf.services.amf.engine import AmfEngine
from corosync_amf.services.ntf.vocabulary import EventType, ProbableCause, Severity

from .clusters import cluster, comp, csi, node, si, su
from .stage import admin, ask, believed, kill, presence, process, said, severities, started, status, view

ACTIVE, STANDBY = HaState.ACTIVE, HaState.STANDBY
CODE = ErrorCode


def apply(world, message, client: Client):
    """Apply a message at once on the first replica and return its reply."""
    engine = world.sites[1].engine
    order = engine.view.facts.order + 1
    for site in world.sites.values():
        effects = site.engine.apply(message, Origin(client, 9, order, world.now))
    (reply,) = [effect.message for effect in effects if isinstance(effect, Reply) and effect.to.request == 9]
    return reply


def code(reply) -> int:
    return reply.code if isinstance(reply, Failed) else int(CODE.OK)


def client_of(world, component) -> Client:
    node, found = process(world, component)
    return Client(node, found.client)


STRANGER = Client(1, 77)


@pytest.mark.parametrize(
    ("message", "client", "expected"),
    [
        (amf.Register("safComp=x"), STRANGER, CODE.NOT_EXIST),
        (amf.Register(comp(1)), STRANGER, CODE.EXIST),
        (amf.Register(comp(1), "safComp=x"), STRANGER, CODE.NOT_EXIST),
        (amf.Register(comp(1), comp(2)), STRANGER, CODE.BAD_OPERATION),
        (amf.Unregister("safComp=x"), STRANGER, CODE.NOT_EXIST),
        (amf.Unregister(comp(1)), STRANGER, CODE.BAD_OPERATION),
        (amf.Response(12345), STRANGER, CODE.INVALID_PARAM),
        (amf.QuiescingComplete(12345), STRANGER, CODE.INVALID_PARAM),
        (amf.QuiescingComplete(0), STRANGER, CODE.INVALID_PARAM),
        (amf.ErrorReport("safComp=x"), STRANGER, CODE.NOT_EXIST),
        (amf.ErrorClear("safComp=x"), STRANGER, CODE.NOT_EXIST),
        (amf.ErrorClear(comp(1)), STRANGER, CODE.NO_OP),
        (amf.HaReadinessSet("safComp=x", None, HaReadiness.READY_FOR_ASSIGNMENT), STRANGER, CODE.NOT_EXIST),
        (amf.HaReadinessSet(comp(1), "safCsi=x", HaReadiness.READY_FOR_ASSIGNMENT), STRANGER, CODE.NOT_EXIST),
        (amf.HaReadinessSet(comp(1), None, HaReadiness.READY_FOR_ASSIGNMENT), STRANGER, CODE.BAD_OPERATION),
        (amf.ProtectionGroupTrackStart(csi(), 0), STRANGER, CODE.BAD_FLAGS),
        (amf.ProtectionGroupTrackStart(csi(), 6), STRANGER, CODE.BAD_FLAGS),
        (amf.ProtectionGroupTrackStart(csi(), 64), STRANGER, CODE.BAD_FLAGS),
        (amf.ProtectionGroupTrackStart("safCsi=x", 1), STRANGER, CODE.NOT_EXIST),
        (amf.ProtectionGroupTrackStop(csi()), STRANGER, CODE.NOT_EXIST),
        (amf.FaultDetected(comp(1), 0, amf.Kind.PROCESS_DIED), STRANGER, CODE.ACCESS_DENIED),
        (amf.CommandDone(comp(1), amf.Verb.CLEANUP, 1, True), STRANGER, CODE.ACCESS_DENIED),
        (amf.TimeUp("repair", su(1)), STRANGER, CODE.ACCESS_DENIED),
        (amf.FaultDetected("safComp=x", 0, amf.Kind.PROCESS_DIED), Client(1, 0), CODE.NOT_EXIST),
        (amf.CommandDone("safComp=x", amf.Verb.CLEANUP, 1, True), Client(1, 0), CODE.NOT_EXIST),
    ],
)
def test_refusals_change_nothing(message, client, expected):
    world = started()
    before = {name: wire.encode(fact) for name, fact in view(world).facts.components.items()}
    assert code(apply(world, message, client)) == expected
    assert {name: wire.encode(fact) for name, fact in view(world).facts.components.items()} == before


def test_process_of_another_node_cannot_register_as_the_component():
    world = started(0.0)
    world.run(0.007)
    fact = view(world).facts.component(comp(1))
    assert fact.presence is Presence.INSTANTIATING
    assert code(apply(world, amf.Register(comp(1)), Client(2, 5))) == CODE.INVALID_PARAM


def test_error_report_about_an_uninstantiated_component_is_refused():
    world = started(group={"auto_repair": False})
    kill(world, comp(1))
    assert code(apply(world, amf.ErrorReport(comp(1)), STRANGER)) == CODE.INVALID_PARAM


def test_component_that_unregisters_while_it_runs_is_faulty():
    world = started()
    world.send(world.sites[1], process(world, comp(1))[1].client, amf.Unregister(comp(1)))
    world.run(1.0)
    assert said(world, "fault unregistered") == 1
    assert believed(world, csi()) == {comp(1): STANDBY, comp(2): ACTIVE}


def test_session_that_ends_is_a_fault_of_its_component():
    world = started()
    world.send(world.sites[1], process(world, comp(1))[1].client, ClientGone())
    world.run(1.0)
    assert said(world, "fault process_died: its session ended") == 1


def test_answer_of_another_client_does_not_count():
    world = started(0.0)
    while not view(world).facts.callbacks:
        world.run(0.0005)
    invocation = next(iter(view(world).facts.callbacks))
    assert code(apply(world, amf.Response(invocation), STRANGER)) == CODE.INVALID_PARAM
    assert invocation in view(world).facts.callbacks


def test_callback_without_an_answer_is_a_fault():
    world = started(0.0, components=({"csi_set_timeout": 0.3},))
    while not view(world).facts.callbacks:
        world.run(0.0005)
    process(world, comp(1))[1].is_hung = True
    world.run(1.0)
    assert said(world, "fault csi_set_timeout: no answer to ACTIVE") == 1
    assert believed(world, csi())[comp(2)] is ACTIVE


def test_queries_tell_states_and_refuse_what_is_unknown():
    world = started()
    assert ask(world, amf.HaStateGet(comp(1), csi())) == amf.HaStateIs(ACTIVE)
    assert code(ask(world, amf.HaStateGet(comp(1), "safCsi=x"))) == CODE.NOT_EXIST
    assert [m.component for m in ask(world, amf.ProtectionGroupGet(csi())).members] == [comp(1), comp(2)]
    assert code(ask(world, amf.ProtectionGroupGet("safCsi=x"))) == CODE.NOT_EXIST
    assert code(ask(world, amf.CorrelationIdsGet(99))) == CODE.INVALID_PARAM
    assert ask(world, amf.ConfigurationGet(comp(1))).component.dn == comp(1)
    assert code(ask(world, amf.ConfigurationGet("safComp=x"))) == CODE.NOT_EXIST
    assert code(ask(world, amf.HealthcheckStop(comp(1), "alive"))) == CODE.NOT_SUPPORTED
    assert code(ask(world, amf.WhyGet("app/x"))) == CODE.NOT_EXIST


def test_status_of_an_object_holds_what_is_above_and_below_it():
    world = started(instances=({}, {}))
    found = status(world, su(1))
    assert [unit.dn for unit in found.units] == [su(1)]
    assert [component.dn for component in found.components] == [comp(1)]
    assert len(found.groups) == len(found.applications) == 1
    assert found.instances == ()
    assert found.history


def test_status_travels():
    world = started()
    found = status(world)
    assert wire.decode(wire.encode(found), amf.AmfReply) == found


def test_replica_that_was_restored_goes_on_like_the_others():
    world = started(nodes=3, units=3, instances=({}, {}))
    world.admin(su(1), AdminOperation.SHUTDOWN)
    world.run(0.02)
    source = world.sites[1].engine
    copy = AmfEngine(cluster(nodes=1, units=1))
    copy.restore(wire.decode(wire.encode(source.snapshot()), AmfEngine.snapshot_type))
    world.sites[3].engine = copy
    world.run(3.0)
    assert wire.encode(copy.snapshot()) == wire.encode(source.snapshot())


def test_query_on_one_replica_never_makes_it_differ():
    world = started()
    for dn in (None, su(1), si(), "node/n1"):
        world.sites[2].engine.query(amf.StatusGet(dn), STRANGER)
        if dn:
            world.sites[2].engine.query(amf.WhyGet(dn), STRANGER)
    assert wire.encode(world.sites[1].engine.snapshot()) == wire.encode(world.sites[2].engine.snapshot())


def facts_of(*nodes: int) -> dict[int, NodeFacts]:
    return {n: NodeFacts(n, f"host{n}", f"10.0.0.{n}", 0.0, 1) for n in nodes}


@pytest.mark.parametrize("clm_node", ["host1", "1", "10.0.0.1"])
def test_amf_node_is_found_by_name_id_or_address(clm_node):
    engine = AmfEngine(cluster(nodes=1, units=1, every_node={}))
    model = engine.view.index.cluster
    engine = AmfEngine(replace(model, nodes=(replace(model.nodes[0], clm_node=clm_node),)))
    effects = engine.membership(Membership((1,), frozenset({1}), frozenset(), True, facts_of(1), 1, 1.0))
    assert [effect.node for effect in effects if isinstance(effect, Run) and isinstance(effect.command, amf.Cleanup)]


def test_everything_is_cleaned_up_before_it_is_instantiated_on_a_node_that_joins():
    engine = AmfEngine(cluster())
    effects = engine.membership(Membership((1, 2), frozenset({1, 2}), frozenset(), True, facts_of(1, 2), 1, 1.0))
    commands = [(e.node, type(e.command)) for e in effects if isinstance(e, Run)]
    assert commands == [(1, amf.Cleanup), (2, amf.Cleanup)]


def test_nothing_is_assigned_without_quorum_but_components_are_instantiated():
    world = started(nodes=3)
    world.isolate(3)
    world.run(1.0)
    lonely = world.sites[3].engine.view.facts
    assert not lonely.quorate
    assert lonely.assignments == {}
    assert believed(world, csi())[comp(1)] is ACTIVE


def test_actives_of_a_node_that_lost_its_quorum_are_cleaned_and_the_others_take_over():
    world = started(nodes=3, units=3)
    world.isolate(1)
    world.run(1.0)
    assert believed(world, csi()) == {comp(2): ACTIVE, comp(3): STANDBY}
    assert severities(world, 0x401) == [Severity.MAJOR]


def test_node_that_comes_back_from_elsewhere_is_cleaned_and_becomes_spare():
    world = started(nodes=3, units=3)
    world.isolate(1)
    world.run(1.0)
    world.merge()
    world.run(2.0)
    assert believed(world, csi()) == {comp(2): ACTIVE, comp(3): STANDBY}
    assert presence(world, comp(1)) is Presence.INSTANTIATED


def test_operation_that_runs_when_quorum_is_lost_is_told_so():
    world = started(nodes=2)
    number = world.admin(su(1), AdminOperation.SHUTDOWN, 1)
    world.run(0.02)
    world.isolate(1)
    world.run(0.1)
    (answer,) = world.replies[number]
    assert isinstance(answer, Failed)
    assert answer.code == CODE.TRY_AGAIN


def test_first_assignments_wait_for_all_nodes_or_the_startup_time():
    engine = AmfEngine(cluster(startup_timeout=1.0))
    engine.membership(Membership((1,), frozenset({1}), frozenset(), True, facts_of(1), 1, 1.0))
    assert not engine.view.facts.started
    engine.apply(amf.TimeUp("startup", engine.view.index.cluster.dn), Origin(Client(1, 0), 0, 2, 2.0))
    assert engine.view.facts.started


def test_epochs_of_a_csi_grow_and_stand_in_the_descriptor():
    world = started()
    first = process(world, comp(1))[1].epochs[csi()]
    kill(world, comp(1))
    second = process(world, comp(2))[1].epochs[csi()]
    assert second > first > 1 << 43
    row = next(row for row in status(world).csis[0].assignments if row.component == comp(2))
    assert row.epoch == second


def test_descriptor_of_a_new_assignment_carries_the_attributes():
    world = started()
    first = next(m for m in world.told if isinstance(m, amf.CsiSet))
    assert first.descriptor.flags is amf.CsiFlags.ADD_ONE
    assert first.descriptor.attributes == {"key": ("i0",)}
    assert first.descriptor.transition is amf.Transition.NEW_ASSIGN
    second = next(m for m in world.told if isinstance(m, amf.CsiSet) and m.ha_state is STANDBY)
    assert (second.descriptor.active_component, second.descriptor.standby_rank) == (comp(1), 1)


def test_unassigned_si_raises_an_alarm_after_a_second_and_clears_it():
    world = started(group={"auto_repair": False}, units=1, nodes=1)
    kill(world, comp(1), 0.9)
    assert severities(world, 0x05) == []
    world.run(0.5)
    assert severities(world, 0x05) == [Severity.MAJOR]
    admin(world, su(1), AdminOperation.REPAIRED)
    assert severities(world, 0x05) == [Severity.MAJOR, Severity.CLEARED]
    assert status(world).instances[0].assignment is Assignment.PARTIALLY_ASSIGNED


def notices_of(world, minor: int):
    return [notice for notice in world.notifications if notice.class_id == (18568, 2, minor)]


def test_state_changes_are_told_once_with_state_reason_and_node():
    world = started()
    admin(world, su(1), AdminOperation.LOCK)
    (locked,) = notices_of(world, 0x66)
    assert (locked.event_type, locked.notification_object) == (EventType.OBJECT_STATE_CHANGE, su(1))
    assert locked.states == ((5, 1, 2),)
    assert locked.text == "administrative state UNLOCKED -> LOCKED: administrative state"
    assert locked.notifying_object == node(1)
    assert locked.info[0] == (1, node(1))
    active = [notice for notice in notices_of(world, 0x411) if notice.notification_object == comp(2)][-1]
    assert (active.states, active.text) == (((2, 2, 1),), f"HA state STANDBY -> ACTIVE: {csi()}")
    assert (2, si()) in active.info


def told_states(world, minor: int, dn) -> list[tuple[int | None, int]]:
    """What operators were told of an object's state: (old, new)."""
    notices = [notice for notice in notices_of(world, minor) if notice.notification_object == dn]
    return [(old, new) for notice in notices for _, old, new in notice.states]


def test_ha_states_are_told_up_to_the_end_of_quiescing():
    world = started()
    admin(world, su(1), AdminOperation.SHUTDOWN, 3.0)
    assert told_states(world, 0x411, comp(1)) == [
        (None, ACTIVE),
        (ACTIVE, HaState.QUIESCING),
        (HaState.QUIESCING, HaState.QUIESCED),
    ]


def test_ha_readiness_is_told_when_a_component_refuses_work_and_when_its_successor_is_ready():
    ready, unready = HaReadiness.READY_FOR_ASSIGNMENT, HaReadiness.NOT_READY_FOR_ASSIGNMENT
    world = answered(CODE.NOT_READY)
    assert told_states(world, 0x71, comp(1)) == [(ready, unready)]
    kill(world, comp(1))
    assert told_states(world, 0x71, comp(1)) == [(ready, unready), (unready, ready)]


def answered(error: ErrorCode):
    """A world in which the first callback was answered like this."""
    world = started(0.0)
    while not view(world).facts.callbacks:
        world.run(0.0005)
    process(world, comp(1))[1].is_hung = True  # what it says is said here
    invocation = next(iter(view(world).facts.callbacks))
    world.send(world.sites[1], client_of(world, comp(1)).number, amf.Response(invocation, int(error)))
    world.run(1.0)
    return world


@pytest.mark.parametrize(("error", "kind"), [(CODE.TIMEOUT, "timeout"), (CODE.FAILED_OPERATION, "failed")])
def test_a_component_that_says_that_it_took_too_long_has_that_fault(error, kind):
    assert said(answered(error), f"fault csi_set_{kind}: ACTIVE refused with error {int(error)}") == 1


def test_a_component_that_nobody_registered_cannot_be_unregistered():
    world = started(group={"auto_repair": False})
    kill(world, comp(1))
    assert code(apply(world, amf.Unregister(comp(1)), STRANGER)) == CODE.NOT_EXIST


def test_errors_and_alarms_are_told_with_what_caused_them():
    world = started()
    kill(world, comp(1))
    (report,) = notices_of(world, 0x191)
    assert (report.event_type, report.text) == (EventType.ERROR_REPORT, "process_died")
    recoveries = {4: "no_recommendation", 5: "component_failover"}
    assert dict(report.info) == {1: node(1), 100: "process_died"} | recoveries
    world = started(nodes=3)
    world.isolate(1)
    world.run(1.0)
    (lost,) = notices_of(world, 0x401)
    assert lost.text == "no quorum, nothing is assigned: bring nodes back"
    assert dict(lost.info) == {100: "no quorum, nothing is assigned", 101: "bring nodes back"}
    assert (lost.event_type, lost.probable_cause) == (
        EventType.ALARM_COMMUNICATION,
        ProbableCause.UNDERLYING_RESOURCE_UNAVAILABLE,
    )


def test_a_lost_node_that_could_not_be_fenced_is_an_alarm_until_it_is_back():
    world = started(nodes=3)
    failed = amf.FencingFailed("host1", 1, "10.0.0.1", "exit 3")
    world.send(world.sites[2], 0, failed)
    world.run(0.5)
    assert severities(world, 0x402) == []  # it is there
    world.crash(1)
    world.run(1.0)
    world.send(world.sites[2], 0, failed)
    world.send(world.sites[2], 7, failed)
    world.run(0.5)
    (alarm,) = notices_of(world, 0x402)
    assert alarm.notification_object == node(1)
    assert alarm.text.startswith("could not be fenced (exit 3): make sure that it is off")
    world.restart(1)
    world.run(2.0)
    assert severities(world, 0x402) == [Severity.MAJOR, Severity.CLEARED]


def test_what_happens_to_a_unit_under_maintenance_names_the_campaign():
    world = started(unit={"maintenance_campaign": "upgrade-7"})
    kill(world, comp(1))
    (report,) = notices_of(world, 0x191)
    assert dict(report.info)[3] == "upgrade-7"


def test_watcher_hears_of_changes_until_it_stops():
    world = started()
    assert isinstance(apply(world, amf.Watch(), STRANGER), Done)
    effects = world.sites[1].engine.apply(
        amf.ErrorReport(comp(1), Recovery.COMPONENT_FAILOVER), Origin(STRANGER, 1, 1 << 45, world.now)
    )
    heard = [effect.message for effect in effects if isinstance(effect, Event) and effect.to == STRANGER]
    assert 0x191 in [message.number for message in heard if isinstance(message, amf.Notification)]


def track(world, flags: int):
    return apply(world, amf.ProtectionGroupTrackStart(csi(), flags), STRANGER)


def test_protection_group_events_tell_all_members_or_only_the_changed():
    for flags, expected in (
        (TrackFlags.CHANGES, {comp(1): amf.Change.STATE_CHANGE, comp(2): amf.Change.NO_CHANGE}),
        (TrackFlags.CHANGES_ONLY, {comp(1): amf.Change.STATE_CHANGE}),
    ):
        world = started()
        track(world, int(flags))
        ready = amf.HaReadinessSet(comp(1), None, HaReadiness.READY_FOR_ACTIVE_DEGRADED)
        effects = world.sites[1].engine.apply(ready, Origin(client_of(world, comp(1)), 1, 1 << 45, world.now))
        events = [effect.message for effect in effects if isinstance(effect, Event)]
        (event,) = [message for message in events if isinstance(message, amf.ProtectionGroupTrack)]
        assert {member.component: member.change for member in event.members} == expected
        assert event.number_of_members == 2


def test_tracking_with_current_answers_with_the_members_and_ends_with_the_client():
    world = started()
    reply = track(world, int(TrackFlags.CURRENT | TrackFlags.CHANGES))
    assert [member.ha_state for member in reply.members] == [ACTIVE, STANDBY]
    for site in world.sites.values():
        site.engine.apply(ClientGone(), Origin(STRANGER, 0, 1 << 45, world.now))
    assert view(world).facts.tracks == {}
