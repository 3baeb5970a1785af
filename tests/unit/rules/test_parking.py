"""How long a call waits for somebody who knows its task."""

from __future__ import annotations

import pytest

from sedano.rules.parking import park_until


@pytest.mark.parametrize(
    ("before", "timeout_s", "until"),
    [
        (None, 600.0, 1600.0),
        (None, 0.0, None),
        (1500.0, 0.0, None),  # the setting says so now
        (1000.0, 600.0, None),
        (999.0, 600.0, None),
        (1060.0, 600.0, 1060.0),  # near its end
        (1060.1, 600.0, 1600.0),  # somebody has fetched it
        (1000.5, 1.0, 1000.5),
        (1000.6, 1.0, 1001.0),
    ],
)
def test_given_a_call_that_nobody_here_knows_then_it_waits_until(
    before: float | None, timeout_s: float, until: float | None
) -> None:
    assert park_until(before, 1000.0, timeout_s) == until


def test_given_an_eta_then_the_call_waits_as_long_after_it() -> None:
    assert park_until(None, 1000.0, 600.0, 5000.0) == 5600.0
    assert park_until(5600.0, 2000.0, 600.0, 5000.0) == 5600.0
    assert park_until(None, 1000.0, 600.0, 500.0) == 1600.0
    assert park_until(5600.0, 5100.0, 600.0, 5000.0) == 5700.0  # its node was there before, and delayed it
    assert park_until(5600.0, 5600.0, 600.0, 5000.0) is None


def test_given_clocks_that_differ_when_its_time_is_over_for_one_then_the_other_does_not_begin_anew() -> None:
    until = park_until(None, 1000.0, 600.0)
    assert until is not None
    behind = until - 30.0  # promoted by a node whose clock is half a minute ahead
    assert park_until(until, behind, 600.0) == until
