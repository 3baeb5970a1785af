from __future__ import annotations

import pytest

from sedano.rules.scaling import Scaling


def test_given_busy_slots_and_waiting_calls_when_it_is_asked_then_as_many_more_are_wanted_up_to_the_most() -> None:
    scaling = Scaling(8, 1)
    assert scaling.wanted(0.0, slots=2, busy=2, waiting=0) == 2
    assert scaling.wanted(0.0, slots=2, busy=2, waiting=3) == 5
    assert scaling.wanted(0.0, slots=5, busy=5, waiting=1000) == 8


def test_given_fewer_slots_than_the_least_when_it_is_asked_then_the_least_is_wanted() -> None:
    assert Scaling(8, 3).wanted(0.0, slots=0, busy=0, waiting=0) == 3
    assert Scaling(8, 0).wanted(0.0, slots=0, busy=0, waiting=0) == 0
    assert Scaling(8, 0).wanted(0.0, slots=0, busy=0, waiting=2) == 2


def test_given_spare_slots_when_the_keepalive_is_over_then_those_that_were_of_use_in_it_stay() -> None:
    scaling = Scaling(8, 1, keepalive_s=30.0)
    assert scaling.wanted(100.0, slots=6, busy=1, waiting=0) == 6
    assert scaling.wanted(110.0, slots=6, busy=3, waiting=0) == 6
    assert scaling.wanted(129.9, slots=6, busy=0, waiting=0) == 6
    assert scaling.wanted(130.0, slots=6, busy=0, waiting=0) == 3
    assert scaling.wanted(131.0, slots=3, busy=0, waiting=0) == 3, "the keepalive begins anew"
    assert scaling.wanted(161.0, slots=3, busy=0, waiting=0) == 1
    assert scaling.wanted(999.0, slots=1, busy=0, waiting=0) == 1


def test_given_spare_slots_when_all_are_busy_once_then_the_keepalive_begins_anew() -> None:
    scaling = Scaling(4, 1, keepalive_s=30.0)
    assert scaling.wanted(0.0, slots=4, busy=0, waiting=0) == 4
    assert scaling.wanted(29.0, slots=4, busy=4, waiting=0) == 4
    assert scaling.wanted(31.0, slots=4, busy=0, waiting=0) == 4
    assert scaling.wanted(61.0, slots=4, busy=0, waiting=0) == 1


@pytest.mark.parametrize(("most", "least"), [(0, 0), (2, 3), (2, -1)])
def test_given_limits_that_cannot_be_when_it_is_made_then_it_is_refused(most: int, least: int) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        Scaling(most, least)
