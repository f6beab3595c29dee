import random

from hypothesis import given
from hypothesis import strategies as st

from aisexec.groups import RingId
from aisexec.totem.flow import Limits
from aisexec.totem.fragments import Outbox
from aisexec.totem.ordering import Ordering
from aisexec.totem.packets import FRAME, Token, requests_max, unpack_token

RING = RingId(3, 1)


class _Turn:
    """A token that goes round between members, and a network that loses what it is told to."""

    def __init__(self, count: int, window_bytes: int = 200_000) -> None:
        limits = Limits(window_bytes, 50, 17, 68_000, count)
        self.members = {node: Ordering(RING, node, limits, 100) for node in range(1, count + 1)}
        self.outboxes = {node: Outbox(1000) for node in self.members}
        self.token = Token(RING)

    def visit(self, node: int, lost: set[tuple[int, int]] | None = None) -> list[bytes]:
        ordering = self.members[node]
        resent = ordering.arrive(self.token)
        frames = ordering.depart(self.token, self.outboxes[node], resent)
        for frame in resent + frames:
            seq = FRAME.unpack_from(frame)[2]
            for other, receiver in self.members.items():
                if other != node and (other, seq) not in (lost or set()):
                    receiver.window.insert(seq, frame)
        self.token = unpack_token(self.token.pack())
        ordering.window.take()
        return frames

    def rotate(self, lost: set[tuple[int, int]] | None = None) -> None:
        for node in self.members:
            self.visit(node, lost)


def test_the_sender_knows_after_one_rotation_that_all_have_it():
    turn = _Turn(3)
    turn.rotate()
    turn.outboxes[2].add([b"x"])
    turn.rotate()
    assert turn.members[2].safe == 0
    turn.visit(1)
    turn.visit(2)
    assert turn.members[2].safe == 1
    turn.rotate()
    assert [ordering.safe for ordering in turn.members.values()] == [1, 1, 1]


def test_nothing_is_safe_while_one_member_misses_it_and_it_is_sent_again():
    turn = _Turn(3)
    turn.outboxes[1].add([b"x"])
    turn.rotate(lost={(3, 1)})
    assert turn.token.rtr == [1]
    assert turn.token.aru == 0
    turn.visit(1)
    assert turn.members[1].safe == 0
    assert turn.members[3].window.aru == 1
    turn.visit(2)
    turn.visit(3)
    turn.rotate()
    turn.rotate()
    assert [ordering.safe for ordering in turn.members.values()] == [1, 1, 1]
    assert all(ordering.window.held_bytes == 0 for ordering in turn.members.values())


def test_a_member_that_gets_nothing_is_noticed_by_the_others():
    turn = _Turn(3)
    turn.outboxes[1].add([b"x"])
    for _ in range(10):
        turn.rotate(lost={(3, 1)})
    assert turn.members[1].stuck >= 8
    assert turn.members[3].stuck == 0
    assert turn.token.aru_id == 3


def test_an_idle_ring_counts_its_idle_visits_and_news_end_them():
    turn = _Turn(2)
    for _ in range(5):
        turn.rotate()
    assert turn.members[1].idle == 4
    turn.outboxes[2].add([b"x"])
    turn.rotate()
    turn.rotate()
    assert turn.members[1].idle == 0


def test_the_backlog_of_all_travels_with_the_token():
    turn = _Turn(2, window_bytes=4096)
    turn.outboxes[1].add([bytes(900)] * 20)
    turn.outboxes[2].add([bytes(900)] * 20)
    turn.rotate()
    assert turn.token.backlog_bytes == turn.outboxes[1].backlog_bytes + turn.outboxes[2].backlog_bytes
    for _ in range(200):
        turn.rotate()
    assert (turn.token.backlog_bytes, turn.token.sent_bytes, turn.token.sent_packets) == (0, 0, 0)
    assert turn.members[1].window.aru == turn.token.seq > 20


def test_a_token_that_asks_for_much_still_fits_into_a_small_datagram():
    for packet_bytes in (512, 1400, 60_000):
        token = Token(RING, seq=10**6, rtr=list(range(requests_max(packet_bytes))))
        assert len(token.pack()) + 40 <= packet_bytes


@given(st.integers(0, 2**32), st.integers(2, 5), st.floats(0, 0.4))
def test_whatever_is_lost_all_get_all_in_one_order_and_safe_is_never_a_lie(seed: int, count: int, loss: float):
    rng = random.Random(seed)
    turn = _Turn(count, window_bytes=10_000)
    for step in range(60):
        node = 1 + step % count
        if rng.random() < 0.5:
            turn.outboxes[node].add([rng.randbytes(rng.randrange(1500))])
        lost = {(other, seq) for other in turn.members for seq in range(turn.token.seq + 20) if rng.random() < loss}
        turn.visit(node, lost)
        lowest = min(ordering.window.aru for ordering in turn.members.values())
        assert all(ordering.safe <= lowest for ordering in turn.members.values())
    for step in range(60, 60 + 80 * count):
        turn.visit(1 + step % count)
    seqs = {(ordering.window.aru, ordering.safe) for ordering in turn.members.values()}
    assert seqs == {(turn.token.seq, turn.token.seq)}
