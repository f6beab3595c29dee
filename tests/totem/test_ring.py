import random
from dataclasses import replace

import pytest

from aisexec.groups import Configuration, ConfigurationKind, Delivered
from aisexec.simulation.network import PacketOptions
from aisexec.totem import packets
from aisexec.totem.events import PAYLOAD_BYTES_MAX, Broadcast, Multicast, Received, RingOptions, RingState, Send
from aisexec.totem.ring import Ring
from aisexec.totem.seal import AesSeal, NullSeal
from aisexec.totem.timeouts import Timeouts
from tests.totem.nets import KEY, Net

REGULAR, TRANSITIONAL = ConfigurationKind.REGULAR, ConfigurationKind.TRANSITIONAL
EVERYBODY = (1, 2, 3)


def test_three_nodes_form_one_ring_at_once_when_they_know_of_one_another():
    net = Net(3, peers=EVERYBODY)
    assert net.network.now < 0.05
    assert all(net.configurations(node) == [(REGULAR, EVERYBODY)] for node in EVERYBODY)


def test_nodes_that_know_of_nobody_wait_a_moment_before_they_form_a_ring():
    net = Net(3)
    assert net.network.now < 0.2
    assert all(net.configurations(node) == [(REGULAR, EVERYBODY)] for node in EVERYBODY)


def test_a_node_alone_orders_at_once_and_all_is_safe():
    net = Net(1)
    net.multicast(1, b"a", b"b")
    assert (net.delivered(1), net.safe(1)) == ([(1, b"a"), (1, b"b")], 2)


def test_all_deliver_the_same_order_and_all_becomes_safe():
    net = Net(3)
    for number in range(50):
        for node in EVERYBODY:
            net.multicast(node, b"%d of %d" % (number, node))
        net.run(0.0003)
    assert net.until(lambda: all(net.safe(node) == 150 for node in EVERYBODY), 1.0)
    assert net.delivered(1) == net.delivered(2) == net.delivered(3)


def test_a_single_message_of_an_idle_ring_does_not_wait_for_the_hold_to_end():
    net = Net(3)
    net.run(1.0)
    for node in EVERYBODY:
        sent = net.network.now
        net.multicast(node, b"hello")
        assert net.until(lambda: len(net.delivered(1)) == node)  # noqa: B023
        assert net.network.now - sent < 0.01
        net.run(1.0)


@pytest.mark.parametrize("node", EVERYBODY)
def test_messages_at_any_moment_of_a_ring_that_falls_idle_never_wait_for_the_hold(node):
    net = Net(3)
    pauses = random.Random(node)
    net.run(1.0)
    for number in range(1, 301):
        sent = net.network.now
        net.multicast(node, b"%d" % number)
        assert net.until(lambda: net.safe(node) == number)  # noqa: B023
        assert net.network.now - sent < 0.02
        net.run(pauses.random() * 0.003)


def test_the_representative_holds_the_token_of_an_idle_ring():
    net = Net(3)
    net.run(1.0)
    before = net.rings[2].counters.tokens
    net.run(1.8)
    assert net.rings[2].counters.tokens - before <= 11
    assert net.rings[1].counters.holds > 0
    assert net.rings[2].counters.tokens_retransmitted == 0


def test_a_crashed_node_is_out_within_the_token_timeout_and_little_more():
    net = Net(5)
    net.run(1.0)
    crashed = net.network.now
    net.crash(3)
    assert net.until(lambda: net.together(1, 2, 4, 5))
    assert max(net.configured_at[node] for node in (1, 2, 4, 5)) - crashed < 1.0 + 0.06
    assert net.configurations(1)[-2:] == [(TRANSITIONAL, (1, 2, 4, 5)), (REGULAR, (1, 2, 4, 5))]
    reason = [e.reason for e in net.handed[1] if isinstance(e, Configuration)][-1]
    assert reason.startswith("no token for 1.00 s")
    assert any("ends: no token for 1.00 s" in text for text in net.logs[1])


def test_the_crash_of_the_representative_under_load_takes_no_longer():
    net = Net(3)
    crashed = net.network.now
    net.multicast(1, b"from the one that dies")
    net.crash(1)
    for number in range(100):
        net.multicast(2, b"%d" % number)
    assert net.until(lambda: net.together(2, 3))
    assert net.network.now - crashed < 1.1
    assert net.until(
        lambda: len(net.delivered(2)) == len(net.delivered(3)) == 100 or net.delivered(2) == net.delivered(3)
    )


def test_a_goodbye_needs_no_timeout_and_says_that_the_node_is_gone():
    net = Net(3)
    net.multicast(2, b"last words")
    left = net.network.now
    net.leave(2)
    assert net.until(lambda: net.rings[2].left and net.together(1, 3))
    assert net.network.now - left < 0.1
    assert net.rings[1].departed == net.rings[3].departed == {2: 1}
    assert (2, b"last words") in [m for e in net.handed[3] if isinstance(e, Delivered) for m in e.messages]
    assert net.rings[2].next_deadline() is None
    assert net.rings[2].handle(Multicast(b"x"), net.network.now) == []


def test_a_node_that_comes_back_is_known_to_have_been_gone():
    net = Net(3)
    net.run(0.5)
    net.crash(2)
    net.run(0.01)
    net.boot(2)
    assert net.until(lambda: net.together(1, 2, 3))
    assert net.network.now < 1.2
    assert net.rings[1].departed == {2: 1}
    assert net.rings[1].incarnations[2] > 1


def test_partitions_go_on_apart_and_merge():
    net = Net(5)
    net.network.partition((1, 2), (3, 4, 5))
    assert net.until(lambda: net.together(1, 2) and net.together(3, 4, 5))
    net.multicast(1, b"left")
    net.multicast(3, b"right")
    net.run(0.1)
    assert net.delivered(2) == [(1, b"left")]
    assert net.delivered(5) == [(3, b"right")]
    net.network.heal()
    healed = net.network.now
    assert net.until(lambda: net.together(1, 2, 3, 4, 5))
    assert net.network.now - healed < 0.5
    assert net.configurations(1)[-2:] == [(TRANSITIONAL, (1, 2)), (REGULAR, (1, 2, 3, 4, 5))]
    assert net.configurations(4)[-2:] == [(TRANSITIONAL, (3, 4, 5)), (REGULAR, (1, 2, 3, 4, 5))]


def test_a_ring_that_only_hears_another_but_is_not_heard_stays_together():
    net = Net(2)
    net.boot(3)
    assert net.until(lambda: net.together(1, 2, 3))
    for node in (1, 2):
        net.network.block(node, 3)
    assert net.until(lambda: net.together(1, 2))
    configured = net.rings[1].counters.configurations
    net.run(5.0)
    assert net.together(1, 2)
    assert net.rings[1].counters.configurations == configured


def test_a_payload_larger_than_a_packet_arrives_whole_between_small_ones():
    net = Net(3, packet_bytes_max=1400)
    large = bytes(random.Random(1).randrange(256) for _ in range(100_000))
    net.multicast(2, b"before", large, b"after")
    assert net.until(lambda: net.safe(1) == 3)
    assert net.delivered(1) == net.delivered(3) == [(2, b"before"), (2, large), (2, b"after")]


def test_a_payload_above_the_limit_is_refused_and_nothing_is_sent():
    net = Net(1)
    with pytest.raises(ValueError, match="larger than"):
        net.rings[1].handle(Multicast(bytes(PAYLOAD_BYTES_MAX + 1)), net.network.now)
    assert net.rings[1].backlog_bytes == 0


def test_many_payloads_share_a_packet_and_one_batch():
    net = Net(3)
    before = net.rings[2].counters.packets_sent
    net.multicast(2, *(b"%d" % number for number in range(1000)))
    assert net.until(lambda: len(net.delivered(3)) == 1000)
    assert net.rings[2].counters.packets_sent - before == 1
    assert len([e for e in net.handed[3] if isinstance(e, Delivered)]) == 1


@pytest.mark.parametrize("loss", [0.05, 0.3])
def test_lost_packets_are_sent_again(loss: float):
    net = Net(3)
    net.network.options = PacketOptions(loss=loss)
    for number in range(30):
        net.multicast(1 + number % 3, bytes(20_000) + b"%d" % number)
    net.run(3.0)
    net.network.options = PacketOptions()
    assert net.until(lambda: net.together(1, 2, 3))
    sent = [m for e in net.handed[2] if isinstance(e, Delivered) for m in e.messages]
    assert len(sent) == 30
    assert sum(ring.counters.retransmissions for ring in net.rings.values()) > 0


def test_the_token_comes_back_after_it_was_lost():
    net = Net(3)
    net.network.partition((1,), (2,), (3,))
    net.run(0.3)
    net.network.heal()
    net.multicast(3, b"still together")
    assert net.until(lambda: net.safe(1) == 1, 0.5)
    assert all(len(net.configurations(node)) == 1 for node in EVERYBODY)
    assert sum(ring.counters.tokens_retransmitted for ring in net.rings.values()) > 0


def test_a_late_token_is_logged():
    net = Net(3)
    net.network.partition((1,), (2,), (3,))
    net.run(0.9)
    net.network.heal()
    net.run(0.5)
    assert any(text.startswith("No token for 0.7") or text.startswith("No token for 0.8") for text in net.logs[1])
    assert any(text.startswith("The token came back after") for text in net.logs[1])


def test_all_are_known_to_have_heard_this_node_while_the_token_turns():
    net = Net(3)
    net.run(2.0)
    ring = net.rings[2]
    assert set(ring.known_heard) >= {1, 3}
    assert all(net.network.now - ring.known_heard[node] < 0.5 for node in (1, 3))


def test_survivors_keep_hearing_one_another_between_a_crash_and_its_detection():
    net = Net(5)
    net.run(1.0)
    net.crash(5)
    crashed = net.network.now
    while net.network.now < crashed + 1.0:
        net.run(0.01)
        for node in (1, 2, 3, 4):
            ring = net.rings[node]
            freshest = sorted(ring.known_heard.get(other, 0) for other in (1, 2, 3, 4) if other != node)
            assert net.network.now - freshest[0] < 0.5


def test_a_member_that_receives_nothing_any_more_is_left_out():
    net = Net(3, fail_receive_visits=50)

    def drop_frames(ring: Ring) -> None:
        take = ring._on_frame  # this member's socket loses every frame, though no token
        ring._on_frame = lambda body: None if ring.state is RingState.OPERATIONAL else take(body)  # type: ignore[method-assign]

    drop_frames(net.rings[3])
    for number in range(20):
        net.multicast(1, b"%d" % number)
    assert net.until(lambda: 3 not in net.rings[1].members)
    assert any("node 3 receives nothing any more" in text for text in net.logs[1] + net.logs[2])


def test_another_cluster_is_reported_and_kept_out():
    net = Net(2)
    net.boot(7, seal=AesSeal(bytes(128), "test", 7, 1))
    net.run(12.0)
    assert net.together(1, 2)
    reports = [text for text in net.logs[1] if text.startswith("Invalid digest")]
    assert reports == ["Invalid digest from 7"] * 2
    assert net.rings[1].counters.dropped_digest > 2


def test_two_nodes_with_one_id_are_reported():
    net = Net(2)
    net.run(0.2)
    twin = AesSeal(KEY, "test", 1, 10**9)
    datagram = twin.seal(packets.MERGE, packets.pack_control(packets.Merge(1)))
    net.network.handle(1, Received([(datagram, "elsewhere")]))
    assert "Node id 1 is also used at elsewhere" in net.logs[1]
    assert net.rings[1].counters.dropped_own == 1


def test_more_members_than_allowed_are_refused():
    net = Net(2, members_max=2)
    net.boot(3)
    net.run(3.0)
    assert net.together(1, 2)
    assert "Node 3 refused: more than 2 members" in net.logs[1]


@pytest.mark.parametrize("kind", range(0, 12))
def test_authentic_nonsense_of_any_kind_is_counted_and_dropped(kind: int):
    net = Net(2)
    stranger = AesSeal(KEY, "test", 9, 1)
    rng = random.Random(kind)
    for length in (0, 1, 8, 25, 66, 300):
        body = bytes(rng.randrange(256) for _ in range(length))
        net.network.handle(1, Received([(stranger.seal(kind, body), "x")]))
    assert net.rings[1].state is RingState.OPERATIONAL
    net.multicast(2, b"still here")
    assert net.until(lambda: net.delivered(1) == [(2, b"still here")], 1.0)


def test_noise_of_any_kind_is_counted_and_dropped():
    net = Net(2)
    ring = net.rings[1]
    future = bytearray(NullSeal("test", 2, 1).seal(1, b""))
    future[2] = 9
    before = ring.counters.as_dict()
    for datagram in (b"", b"x", b"AX", b"AX\x01\x01", bytes(future), bytes(70_000)):
        ring.handle(Received([(datagram, "x")]), net.network.now)
    after = ring.counters.as_dict()
    dropped = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert dropped == {"datagrams": 6, "dropped_garbage": 3, "dropped_truncated": 2, "dropped_protocol": 1}


def test_a_probe_is_answered_in_every_state():
    ring = Ring(RingOptions(1, 1), NullSeal("c", 1, 1), 0.0)
    ring.start(0.0)
    probe = NullSeal("c", 2, 1).seal(packets.PROBE, packets.pack_control(packets.Probe(5.0)))
    (answer,) = ring.handle(Received([(probe, "b")]), 0.0)
    assert isinstance(answer, Send)
    assert answer.to == 2
    expected = packets.pack_control(packets.Answer(5.0, 0, 1))  # this node has installed no ring yet
    assert NullSeal("c", 2, 1).open(answer.packet)[::3] == (packets.ANSWER, expected)
    assert ring.sources == {2: "b"}
    assert ring.heard == {2: 0.0}


def test_a_first_join_can_be_delayed_by_the_jitter():
    ring = Ring(RingOptions(1, 1, join_jitter=0.02), NullSeal("c", 1, 1), 0.0)
    assert ring.start(0.0) == []
    assert ring.wake(0.01) == []
    assert isinstance(ring.wake(0.02)[0], Broadcast)


def test_ring_numbers_grow_beyond_what_was_stored():
    net = Net(2, ring_seq=1000)
    assert net.rings[1].ring_id.seq > 1000


@pytest.mark.parametrize("token", [0.3, 3.0])
def test_detection_follows_the_token_timeout(token: float):
    net = Net(3, timeouts=Timeouts.from_token(token))
    net.run(1.0)
    crashed = net.network.now
    net.crash(2)
    assert net.until(lambda: net.together(1, 3))
    assert net.network.now - crashed < token + 0.06


@pytest.mark.parametrize(
    "wrong",
    [
        {"node_id": 0},
        {"incarnation": 0},
        {"packet_bytes_max": 100},
        {"window_bytes": 100},
        {"ring_seq": -1},
        {"visit_packets": 0},
        {"members_max": 129},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, int]):
    with pytest.raises(ValueError, match="must"):
        replace(RingOptions(1, 1), **wrong)  # type: ignore[arg-type]


def test_nothing_of_the_old_ring_is_taken_once_it_is_written_down_what_is_held():
    """Else this member would deliver what the others were never told of."""
    net = Net(2)
    ring, old = net.rings[1], net.rings[1].ring_id
    net.boot(3)
    while ring.state is not RingState.COMMIT:
        net.run(0.000_01)
    late = packets.FRAME.pack(old.seq, old.representative, 1, 2, packets.BUNDLE) + packets.pack_bundle([b"late"])
    net.network.handle(1, Received([(AesSeal(KEY, "test", 9, 1).seal(packets.DATA, late), "x")]))
    assert net.until(lambda: net.together(1, 2, 3))
    assert not [effect for effect in net.handed[1] if isinstance(effect, Delivered)]


def test_frames_of_the_old_ring_that_one_member_has_reach_the_others_before_the_new_one():
    net = Net(2)
    old = net.rings[1].ring_id
    frame = packets.FRAME.pack(old.seq, old.representative, 1, 2, packets.BUNDLE) + packets.pack_bundle([b"rescued"])
    net.network.handle(1, Received([(AesSeal(KEY, "test", 9, 1).seal(packets.DATA, frame), "x")]))
    net.boot(3)
    assert net.until(lambda: net.together(1, 2, 3))
    for node in (1, 2):
        kinds = [type(effect).__name__ for effect in net.handed[node]][:4]
        assert kinds == ["Configuration", "Delivered", "Configuration", "Configuration"]
    assert net.delivered(3) == []


def test_a_lone_ring_keeps_its_token_when_a_stranger_asks_for_it():
    net = Net(1)
    net.network.handle(1, Received([(AesSeal(KEY, "test", 9, 1).seal(packets.CANCEL, b""), "x")]))
    net.multicast(1, b"x")
    assert net.delivered(1) == [(1, b"x")]


def test_a_lone_ring_takes_neither_token_nor_frames_from_others():
    net = Net(1)
    ring_id, stranger = net.rings[1].ring_id, AesSeal(KEY, "test", 9, 1)
    tokens = [packets.Token(ring_id, hop, 1 << 40, 1 << 40) for hop in range(1, 20)]
    frame = packets.FRAME.pack(ring_id.seq, ring_id.representative, 1, 9, packets.BUNDLE) + packets.pack_bundle([b"y"])
    for token in tokens:
        net.network.handle(1, Received([(stranger.seal(packets.TOKEN, token.pack()), "x")]))
    net.network.handle(1, Received([(stranger.seal(packets.DATA, frame), "x")]))
    net.multicast(1, b"x")
    net.multicast(1, b"z")
    assert net.delivered(1) == [(1, b"x"), (1, b"z")]


def test_a_node_that_leaves_takes_no_more_payloads_and_goes_even_if_nobody_answers():
    net = Net(2)
    net.network.partition((1,), (2,))
    net.multicast(1, b"never safe")
    net.leave(1)
    net.multicast(1, b"too late")
    assert net.until(lambda: net.rings[1].left, 1.1)
    assert net.rings[1].counters.payloads_sent == 1


def test_a_lone_node_leaves_at_once():
    net = Net(1)
    net.leave(1)
    assert net.rings[1].left


@pytest.mark.parametrize("blocked", [[(1, 2)], [(2, 3)], [(1, 2), (2, 1)], [(3, 1), (2, 1)]])
def test_nodes_that_cannot_all_reach_one_another_do_not_stop_the_ring_all_the_time(blocked: list[tuple[int, int]]):
    net = Net(3)
    for source, target in blocked:
        net.network.block(source, target)
    net.run(3.0)
    before = {node: net.rings[node].counters.gathers for node in EVERYBODY}
    net.run(30.0)
    assert all(net.rings[node].counters.gathers - before[node] < 16 for node in EVERYBODY)
    net.network.heal()
    assert net.until(lambda: net.together(*EVERYBODY), 20.0)


def test_a_single_frame_is_known_to_be_safe_before_the_token_comes_round():
    net = Net(3)
    net.run(1.0)
    tokens = net.rings[1].counters.tokens
    net.multicast(1, b"waited for", prompt=True)
    while not all(map(net.safe, (1, 2, 3))):
        net.run(0.00001)
    assert net.rings[1].counters.tokens == tokens


def test_who_lacks_something_does_not_say_that_it_holds_what_it_sends():
    net = Net(3)
    net.run(1.0)
    before = net.rings[2].counters.tokens
    net.multicast(3, b"lost on the way to node 1")
    while net.rings[2].counters.tokens == before:
        net.run(0.00001)
    net.network.block(3, 1)
    while not net.delivered(2):
        net.run(0.00001)
    net.multicast(1, b"sent without it", prompt=True)
    net.network.heal()
    while len(net.delivered(2)) < 2:
        net.run(0.00001)
        if not net.delivered(1):
            assert not any(map(net.safe, (1, 2, 3)))
    net.run(2.0)
    assert net.delivered(1) == net.delivered(2) == net.delivered(3)
    assert {net.safe(node) for node in (1, 2, 3)} == {2}


def test_a_frame_that_nobody_waits_for_is_not_acknowledged():
    net = Net(3)
    net.run(1.0)
    for payload, prompt in ((b"waited for", True), (b"not", False)):
        before = net.rings[1].counters.datagrams
        tokens = net.rings[1].counters.tokens
        net.multicast(1, payload, prompt=prompt)
        net.run(1.0)
        others = (net.rings[1].counters.datagrams - before) - (net.rings[1].counters.tokens - tokens)
        assert others == (2 if prompt else 0)
    assert net.safe(1) == 2


def test_an_acknowledgement_of_another_ring_or_of_a_stranger_counts_for_nothing():
    net = Net(3)
    ring = net.rings[1]
    before = ring.counters.dropped_stale
    for sender, ring_id in ((2, replace(ring.ring_id, seq=ring.ring_id.seq + 1)), (9, ring.ring_id)):
        ack = AesSeal(KEY, "test", sender, 10**15).seal(packets.ACK, packets.pack_ack(ring_id, 1000))
        net.network.handle(1, Received([(ack, "elsewhere")]))
    assert ring.counters.dropped_stale == before + 2
    assert net.safe(1) == 0
