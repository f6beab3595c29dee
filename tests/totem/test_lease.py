from aisexec.totem.lease import contact

VOTES = {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}


def test_contact_is_the_time_at_which_the_last_needed_vote_was_gathered():
    known_heard = {2: 10.0, 3: 8.0, 4: 9.0, 5: 1.0}
    assert contact(known_heard, VOTES, 3, 1, 11.0) == 9.0
    assert contact(known_heard, VOTES, 5, 1, 11.0) == 1.0


def test_contact_is_now_when_the_own_votes_suffice():
    assert contact({}, {1: 3, 2: 1}, 3, 1, 11.0) == 11.0


def test_contact_is_none_when_too_few_ever_heard_this_node():
    assert contact({2: 10.0}, VOTES, 3, 1, 11.0) is None


def test_what_the_node_says_of_itself_and_strangers_have_no_vote():
    assert contact({1: 10.5, 9: 10.0, 2: 5.0}, {1: 1, 2: 1, 3: 1}, 2, 1, 11.0) == 5.0
