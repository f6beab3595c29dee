"""The token of a quiet ring stays for a moment where a client asks one thing after the other."""

from aisexec.totem.events import Expect
from aisexec.totem.lingering import LINGER_SECONDS, Lingering

from .nets import Net

SOON = LINGER_SECONDS / 2


def test_it_pays_where_a_client_asks_again_at_once() -> None:
    lingering = Lingering()
    lingering.answered(1.0)
    assert lingering.until(1.0) is None  # not known yet
    lingering.asked(1.0 + SOON)
    lingering.answered(2.0)
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


def asks_again_and_again(net: Net, node: int, times: int) -> float:
    """A client of the node asks as soon as it is answered; returned is how long all takes."""
    start = net.network.now
    for number in range(times):
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
