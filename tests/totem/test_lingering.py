"""The token of a quiet ring stays for a moment where a client asks one thing after the other."""

from aisexec.totem.events import Expect, RingState
from aisexec.totem.lingering import ANSWER_SECONDS, KEEP_SECONDS, LINGER_SECONDS, Lingering

from .nets import Net

SOON = LINGER_SECONDS / 2


def test_it_pays_where_a_client_asks_again_at_once() -> None:
    lingering = Lingering()
    lingering.answered(1.0)
    assert lingering.until(1.0) is None  # not known yet
    lingering.asked(1.0 + SOON)
    lingering.answered(2.0)
    lingering.came(2.0)
    assert lingering.until(2.0 + SOON) == 2.0 + LINGER_SECONDS
    assert lingering.until(2.0 + LINGER_SECONDS) is None
    lingering.asked(2.0 + SOON)
    assert lingering.until(2.0 + SOON) is None  # it has been asked


def test_it_does_not_pay_where_nobody_asks_or_only_later() -> None:
    for asked in (None, 2.0 + 2 * LINGER_SECONDS):
        lingering = Lingering()
        lingering.answered(1.0)
        lingering.asked(1.0)
        lingering.answered(2.0)
        if asked is not None:
            lingering.asked(asked)
        lingering.answered(3.0)
        assert lingering.until(3.0) is None


def asks_again_and_again(net: Net, node: int, times: int, *, done: int = 0) -> float:
    """A client of the node asks as soon as it is answered; returned is how long all takes. `done`: it did so before."""
    start = net.network.now
    for number in range(done, done + times):
        net.multicast(node, b"%d" % number, prompt=True)
        while net.safe(node) <= number:
            net.run(0.00001)
        net.network.handle(node, Expect())
        net.run(SOON)
    return net.network.now - start


def test_a_member_whose_client_asks_again_and_again_keeps_the_token_for_it() -> None:
    net = Net(3)
    net.run(1.0)
    asks_again_and_again(net, 2, 20)
    rings = net.rings
    assert rings[2].counters.lingers > 0
    assert rings[1].counters.lingers == rings[3].counters.lingers == 0
    assert net.delivered(1) == net.delivered(3) == [(2, b"%d" % number) for number in range(20)]
    net.run(1.0)  # and when it asks no more the ring turns on
    before = rings[2].counters.tokens
    net.run(1.0)
    assert rings[2].counters.tokens > before
    assert net.together(1, 2, 3)


def test_others_get_the_token_meanwhile() -> None:
    net = Net(3)
    net.run(1.0)
    asks_again_and_again(net, 2, 5)
    net.multicast(1, b"from another one")
    net.run(4 * LINGER_SECONDS)
    assert net.delivered(3)[-1] == (1, b"from another one")


def test_the_token_stays_from_one_request_to_the_next() -> None:
    net = Net(3)
    net.run(1.0)
    asks_again_and_again(net, 2, 5)
    net.run(1.0)
    tokens = net.rings[2].counters.tokens
    asks_again_and_again(net, 2, 20, done=5)
    assert net.rings[2].counters.tokens - tokens < 10
    assert net.delivered(1) == net.delivered(2) == net.delivered(3)
    assert len(net.delivered(1)) == 25


def test_it_stays_for_so_long_only() -> None:
    net = Net(3)
    net.run(1.0)
    asks_again_and_again(net, 2, 5)
    tokens = net.rings[2].counters.tokens
    took = asks_again_and_again(net, 2, 50, done=5)
    assert net.rings[2].counters.tokens - tokens >= int(took / (KEEP_SECONDS + SOON)) - 1


def test_who_wants_the_token_asks_the_one_who_keeps_it() -> None:
    net = Net(3)
    net.run(1.0)
    asks_again_and_again(net, 2, 5)
    net.multicast(2, b"kept", prompt=True)
    net.run(SOON / 2)
    start = net.network.now
    net.multicast(3, b"wanted")
    while net.delivered(1)[-1] != (3, b"wanted"):
        net.run(0.00001)
    assert net.network.now - start < ANSWER_SECONDS


def test_an_answer_that_is_lost_on_the_way_is_made_up_for_when_the_token_goes_on() -> None:
    net = Net(3)
    net.run(1.0)
    asks_again_and_again(net, 2, 5)
    net.network.block(2, 3)
    net.multicast(2, b"lost", prompt=True)
    net.run(SOON / 2)
    net.network.heal()
    net.run(1.0)
    assert net.delivered(3)[-1] == (2, b"lost")
    assert net.safe(2) == 6
    assert net.together(1, 2, 3)


def test_a_member_that_is_left_alone_while_it_keeps_the_token_loses_nothing() -> None:
    net = Net(3)
    net.run(1.0)
    asks_again_and_again(net, 2, 5)
    net.multicast(2, b"kept", prompt=True)
    net.crash(3)
    net.boot(3)  # it asks for a new ring, while the token is kept
    while net.rings[2].state is RingState.OPERATIONAL:
        net.run(0.00001)
    for other in (1, 3):
        net.network.block(2, other)
        net.network.block(other, 2)
    assert net.until(lambda: net.together(2))
    said = [b"alone %d" % number for number in range(5)]
    for payload in said:
        net.network.handle(2, Expect())
        net.run(SOON)
        net.multicast(2, payload)
    assert net.delivered(2)[-5:] == [(2, payload) for payload in said]
