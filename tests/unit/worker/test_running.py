"""When a call that runs began, in wall time."""

from __future__ import annotations

import pytest

from sedano.worker.control.running import Epoch


def test_given_two_clocks_read_one_after_the_other_when_asked_again_then_a_call_began_at_the_same_time() -> None:
    walls = iter([1000.0, 1007.000001, 1009.00002])
    ticks = iter([50.0, 57.0, 59.0])
    epoch = Epoch(lambda: next(walls), lambda: next(ticks))
    assert [epoch.since(), epoch.since()] == [950.0, 950.0]


@pytest.mark.parametrize("by_s", [3600.0, -1.0])
def test_given_the_wall_clock_when_it_is_set_then_times_follow(by_s: float) -> None:
    walls = iter([1000.0, 1001.0 + by_s])
    ticks = iter([50.0, 51.0])
    assert Epoch(lambda: next(walls), lambda: next(ticks)).since() == 950.0 + by_s
