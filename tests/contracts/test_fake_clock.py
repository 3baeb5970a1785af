"""The clock that suites and tests move."""

from __future__ import annotations

import pytest

from sedano.clock import Clock
from sedano.testing import FakeClock


def test_given_a_fake_clock_when_nobody_moves_it_then_it_stands() -> None:
    clock: Clock = FakeClock(wall=100.0, monotonic=5.0)
    assert (clock.wall(), clock.monotonic()) == (100.0, 5.0)
    assert (clock.wall(), clock.monotonic()) == (100.0, 5.0)


def test_given_a_fake_clock_when_time_passes_then_both_readings_move() -> None:
    clock = FakeClock(wall=100.0, monotonic=5.0)
    clock.advance(2.5)
    assert (clock.wall(), clock.monotonic()) == (102.5, 7.5)


def test_given_a_fake_clock_when_the_wall_clock_is_set_then_monotonic_time_does_not_notice() -> None:
    clock = FakeClock(wall=100.0, monotonic=5.0)
    clock.jump_wall(-50)
    clock.jump_wall(1)
    assert (clock.wall(), clock.monotonic()) == (51.0, 5.0)


def test_given_a_fake_clock_when_time_is_to_go_back_then_it_refuses() -> None:
    with pytest.raises(ValueError, match="jump_wall"):
        FakeClock().advance(-1)
