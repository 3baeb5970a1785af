"""The limit of an answer: longer each time it runs out, the usual one again after a while."""

from __future__ import annotations

import pytest

from sedano.drivers.redis.patience import LONGEST_S, REMEMBERED_S, Patience


def test_given_a_limit_that_runs_out_when_asked_again_then_it_grows_up_to_the_longest() -> None:
    patience = Patience(7.0)
    limits = []
    for now in range(4):
        limits.append(patience.limit_s)
        patience.ran_out(float(now))
    assert limits == [7.0, 28.0, 112.0, LONGEST_S]


def test_given_a_longer_limit_that_was_long_enough_when_some_minutes_are_over_then_it_is_the_usual_one() -> None:
    patience = Patience(7.0)
    patience.ran_out(100.0)
    patience.look(100.0 + REMEMBERED_S)
    assert patience.is_longer
    patience.look(101.0 + REMEMBERED_S)
    assert (patience.limit_s, patience.is_longer) == (7.0, False)


@pytest.mark.parametrize("usual_s", [None, 600.0])
def test_given_a_user_who_waits_longer_anyway_then_nothing_changes(usual_s: float | None) -> None:
    patience = Patience(usual_s)
    patience.ran_out(1.0)
    assert (patience.limit_s, patience.is_longer) == (usual_s, False)
