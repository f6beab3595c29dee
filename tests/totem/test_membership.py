import random

from hypothesis import given
from hypothesis import strategies as st

from aisexec.totem.contacts import Contacts
from aisexec.totem.events import Counters, Log
from aisexec.totem.lives import Lives
from aisexec.totem.membership import Gathering, reason_to_gather
from aisexec.totem.packets import Join
from aisexec.totem.seal import NullSeal

FIRST = (1, 10)


def _gathering(local: int, *proc: int, fail: tuple[int, ...] = ()) -> Gathering:
    return Gathering(local, proc, fail, 0.0, FIRST)


def _join(*proc: int, fail: tuple[int, ...] = (), number: int = 1, last: tuple[tuple[int, int, int], ...] = ()) -> Join:
    return Join(number, 7, False, proc, fail, "", (), last)


def test_those_that_say_the_same_are_agreed():
    gathering = _gathering(1, 1, 2, 3)
    assert gathering.laggards() == [2, 3]
    assert not gathering.hear(2, _join(1, 2, 3), 0.0)
    assert not gathering.hear(3, _join(1, 2, 3), 0.0)
    assert gathering.laggards() == []
    assert (gathering.members, gathering.ring_seq()) == ((1, 2, 3), 7)


def test_new_nodes_and_losses_are_taken_over_and_have_to_be_agreed_again():
    gathering = _gathering(1, 1, 2)
    assert gathering.hear(2, _join(1, 2, 3, 4, fail=(4,)), 0.0)
    assert gathering.members == (1, 2, 3)
    assert gathering.laggards() == [3]


def test_a_node_that_gave_this_one_up_is_given_up_when_it_knew_of_this_attempt():
    gathering = _gathering(1, 1, 2, 3)
    assert gathering.hear(2, _join(1, 2, 3, fail=(1,), last=((1, *FIRST),)), 0.0)
    assert gathering.members == (1, 3)


def test_a_node_that_gave_this_one_up_before_this_attempt_is_waited_for():
    gathering = _gathering(1, 1, 2)
    assert not gathering.hear(2, _join(1, 2, fail=(1,), last=((1, 1, 9),)), 0.0)
    assert not gathering.hear(2, _join(1, 2, fail=(1,)), 0.0)
    assert gathering.members == (1, 2)
    assert gathering.laggards() == [2]


def test_nodes_given_up_are_not_listened_to():
    gathering = _gathering(1, 1, 2, fail=(2,))
    assert not gathering.hear(2, _join(1, 2, 3), 0.0)
    assert gathering.members == (1,)


def test_this_node_never_gives_itself_up():
    gathering = _gathering(1, 1, 2, fail=(1,))
    assert not gathering.give_up([1, 9])
    assert gathering.members == (1, 2)


def test_only_those_are_silent_that_were_asked_long_enough():
    gathering = _gathering(1, 1, 2, 3, 4)
    gathering.asked((2, 9), -0.5)
    gathering.hear(5, _join(1, 2, 3, 4, 5), 0.3)
    heard = {2: -2.0, 3: 0.2}
    assert gathering.silent(heard, 0.4, 0.7) == [2]
    assert gathering.silent(heard, 0.8, 0.7) == [2, 4]
    assert gathering.silent(heard, 1.0, 0.7) == [2, 3, 4, 5]


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_nodes_that_hear_one_another_agree_whatever_they_began_with(seed: int, count: int):
    """Join messages go round, in any order, until nobody has news: all that nobody gave up agree."""
    rng = random.Random(seed)
    nodes = list(range(1, count + 1))
    gatherings = {node: _gathering(node, *rng.sample(nodes, rng.randint(1, count))) for node in nodes}
    for number in range(1, 4 * count):
        for node in rng.sample(nodes, count):
            proc, fail = gatherings[node].sorted_sets()
            for other in rng.sample(nodes, count):
                if other != node:
                    gatherings[other].hear(node, _join(*proc, fail=fail, number=number), 0.0)
    assert all(gathering.members == tuple(nodes) for gathering in gatherings.values())
    assert all(gathering.laggards() == [] for gathering in gatherings.values())


def test_a_member_of_an_operational_ring_gathers_for_a_reason():
    members = {1: 5, 2: 6}
    fresh = Join(1, 20, True, (3,), (), "this node starts")
    assert reason_to_gather(1, 20, members, 3, 1, fresh) == "node 3 joins"
    assert reason_to_gather(1, 20, members, 2, 7, fresh) == "node 2 was started again"
    assert reason_to_gather(1, 20, members, 2, 6, fresh) == "this node starts, says node 2"
    assert (
        reason_to_gather(1, 20, members, 2, 6, Join(1, 20, False, (), (), "lost, says node 9")) == "lost, says node 9"
    )


def test_late_joins_and_strangers_that_gave_this_node_up_are_no_reason():
    members = {1: 5, 2: 6}
    assert reason_to_gather(1, 20, members, 2, 6, Join(1, 19, False, (1, 2), ())) is None
    assert reason_to_gather(1, 20, members, 3, 1, Join(1, 30, False, (1, 3), (1,))) is None


def test_a_join_is_late_when_a_later_one_of_the_same_life_came_or_a_later_life():
    lives = Lives()
    assert not lives.is_late(2, 1, _join(number=1))
    lives.hear(2, 1, _join(number=5), 1)
    assert lives.is_late(2, 1, _join(number=5))
    assert not lives.is_late(2, 1, _join(number=6))
    assert not lives.is_late(2, 2, _join(number=1))
    assert lives.last_join(2) == (1, 5)
    assert lives.last_join(3) == (0, 0)


def test_a_member_that_comes_back_as_a_new_life_has_departed():
    lives = Lives()
    lives.joined({1: 10, 2: 20})
    lives.hear(2, 20, _join(number=1), 1)
    assert lives.departed == {}
    lives.hear(2, 21, _join(number=1), 1)
    lives.joined({1: 11})
    assert lives.departed == {2: 20, 1: 10}
    assert lives.is_over(2, 20)
    assert not lives.is_over(2, 21)


def test_what_others_know_of_departures_is_learnt_but_not_about_this_node():
    lives = Lives()
    lives.hear(2, 1, Join(1, 1, False, (2,), (), "", ((3, 30), (1, 10))), 1)
    assert lives.departed == {3: 30}


def test_a_quiet_ring_is_warned_of_once_and_the_end_of_the_quiet_is_told():
    contacts = Contacts(1, NullSeal("c", 1, 1), Counters(), 1.0, 0.0)
    assert contacts.quiet(0.3, 0.75) == []
    assert contacts.asked_since == 0.3
    assert contacts.quiet(0.8, 0.75) == [Log("warning", "No token for 0.80 s")]
    assert contacts.quiet(0.9, 0.75) == []
    assert contacts.token_came(0.95) == [Log("notice", "The token came back after 0.95 s")]
    assert contacts.asked_since is None
    assert contacts.token_came(1.0) == []
    assert contacts.quiet(5.0, 0.0) == []


def test_an_answer_shows_when_this_node_was_heard_and_never_moves_back():
    contacts = Contacts(1, NullSeal("c", 1, 1), Counters(), 1.0, 0.0)
    assert not contacts.answered(2, 5.0, 6.0, together=True)
    assert not contacts.answered(2, 4.0, 6.0, together=True)
    assert not contacts.answered(3, 7.0, 6.0, together=True)  # from the future: not this node's clock
    assert not contacts.answered(2, 5.5, 6.0, together=False)  # it has installed another ring since
    assert contacts.known_heard == {2: 5.0}
    assert len(contacts.court(4, 6.0)) == 1
    assert contacts.answered(4, 6.0, 6.1, together=False)
    assert not contacts.answered(4, 6.0, 6.1, together=False)


def test_a_node_that_not_all_reach_is_left_alone_longer_each_time_but_not_for_ever():
    contacts = Contacts(1, NullSeal("c", 1, 1), Counters(), 1.0, 0.0)
    assert not contacts.is_refused(2, 5, 0.0)
    now = 0.0
    for wait in (1.0, 2.0, 4.0, 8.0, 16.0, 16.0):
        contacts.settle({2: 5}, now)
        assert contacts.is_refused(2, 5, now + wait - 0.1)
        assert not contacts.is_refused(2, 5, now + wait)
        assert not contacts.is_refused(2, 6, now)
        now += wait
    contacts.settle({2: 6}, now)
    assert not contacts.is_refused(2, 6, now + 1.0)
    contacts.settle({2: 6}, now + 100.0)
    assert not contacts.is_refused(2, 6, now + 101.0)
