from typing import Any

from aisexec.simulation.network import Network, PacketOptions
from aisexec.totem.events import Broadcast, Received, Send


class Echo:
    """Sends what it is told to, hands up what it gets with the time, and wakes when it wants."""

    def __init__(self, wakes: tuple[float, ...] = ()) -> None:
        self.wakes = list(wakes)

    def start(self, now: float) -> list[Any]:
        return [("started", now)]

    def handle(self, event: Any, now: float) -> list[Any]:
        if isinstance(event, Received):
            return [(source, datagram, now) for datagram, source in event.datagrams]
        return list(event)

    def wake(self, now: float) -> list[Any]:
        self.wakes.pop(0)
        return [("woke", now)]

    def next_deadline(self) -> float | None:
        return self.wakes[0] if self.wakes else None


def _network(nodes: int = 2, seed: int = 1, **options: Any) -> tuple[Network, list[tuple[int, Any]]]:
    seen: list[tuple[int, Any]] = []
    network = Network(seed, PacketOptions(**options), lambda node, effect: seen.append((node, effect)))
    for node in range(1, nodes + 1):
        network.boot(node, Echo())
    seen.clear()
    return network, seen


def _got(seen: list[tuple[int, Any]]) -> list[tuple[int, int, bytes]]:
    return [(node, effect[0], effect[1]) for node, effect in seen]


def test_datagrams_arrive_later_and_in_order():
    network, seen = _network()
    network.handle(1, [Send(2, b"%d" % number) for number in range(20)])
    assert seen == []
    network.run_until(1.0)
    assert _got(seen) == [(2, 1, b"%d" % number) for number in range(20)]
    assert all(effect[2] > 0 for _, effect in seen)


def test_a_broadcast_reaches_everybody_else():
    network, seen = _network(3)
    network.handle(2, [Broadcast([b"x"])])
    network.run_until(1.0)
    assert sorted(_got(seen)) == [(1, 2, b"x"), (3, 2, b"x")]


def test_a_partition_cuts_both_ways_and_a_block_one():
    network, seen = _network(2)
    network.partition((1,), (2,))
    network.handle(1, [Send(2, b"x")])
    network.handle(2, [Send(1, b"x")])
    network.run_until(1.0)
    assert seen == []
    network.heal()
    network.block(1, 2)
    network.handle(1, [Send(2, b"x")])
    network.handle(2, [Send(1, b"y")])
    network.run_until(2.0)
    assert _got(seen) == [(1, 2, b"y")]


def test_loss_duplicates_and_noise_come_as_often_as_told():
    network, seen = _network(2, loss=0.2, duplicate=0.5, corrupt=0.3)
    for number in range(500):
        network.handle(1, [Send(2, b"%03d" % number)])
    network.run_until(1.0)
    whole = {b"%03d" % number for number in range(500)}
    arrived = [datagram for _, _, datagram in _got(seen)]
    assert 550 < len(arrived) < 650
    assert 120 < len([datagram for datagram in arrived if datagram not in whole]) < 260


def test_reordered_datagrams_overtake():
    network, seen = _network(2, reorder=0.3)
    network.handle(1, [Send(2, b"%d" % number) for number in range(50)])
    network.run_until(1.0)
    arrived = [int(datagram) for _, _, datagram in _got(seen)]
    assert sorted(arrived) == list(range(50))
    assert arrived != sorted(arrived)


def test_a_clogged_link_delivers_later():
    network, seen = _network(2)
    network.clog(1, 2, 0.5)
    network.handle(1, [Send(2, b"x")])
    network.run_until(0.49)
    assert seen == []
    network.run_until(0.51)
    assert _got(seen) == [(2, 1, b"x")]


def test_a_paused_machine_takes_everything_in_one_batch_when_it_goes_on():
    network, seen = _network(2)
    network.pause(2, 1.0)
    network.handle(2, [Send(1, b"not while paused")])
    for number in range(3):
        network.handle(1, [Send(2, b"%d" % number)])
        network.run_until(0.1 * number + 0.1)
    assert seen == []
    network.run_until(1.0)
    assert [effect[2] for _, effect in seen] == [1.0, 1.0, 1.0]


def test_a_crashed_machine_neither_hears_nor_wakes_and_its_successor_does():
    network, seen = _network(2)
    network.boot(2, Echo(wakes=(0.5,)))
    network.handle(1, [Send(2, b"lost")])
    network.crash(2)
    network.handle(2, [("ignored",)])
    network.run_until(1.0)
    assert [effect for _, effect in seen] == [("started", 0.0)]
    network.boot(2, Echo(wakes=(1.5,)))
    network.handle(1, [Send(2, b"found")])
    network.run_until(2.0)
    assert (2, ("woke", 1.5)) in seen
    assert (2, 1, b"found") in _got([pair for pair in seen if len(pair[1]) == 3])


def test_a_machine_is_woken_when_it_wants_and_after_a_pause():
    network, seen = _network(1)
    network.boot(1, Echo(wakes=(0.2, 0.4)))
    network.at(0.3, lambda: network.pause(1, 0.5))
    network.run_until(1.0)
    assert seen == [(1, ("started", 0.0)), (1, ("woke", 0.2)), (1, ("woke", 0.8))]


def test_the_same_seed_gives_the_same_run_and_another_does_not():
    def run(seed: int) -> list[tuple[int, Any]]:
        network, seen = _network(2, seed=seed, loss=0.3, reorder=0.3)
        network.handle(1, [Send(2, b"%d" % number) for number in range(50)])
        network.run_until(1.0)
        return seen

    assert run(1) == run(1)
    assert run(1) != run(2)
