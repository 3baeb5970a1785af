from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedano.rules.rates import BURST_S, GRACE_S, LOOK_AGAIN_S, horizon_s, judge, read_rate


@pytest.mark.parametrize(
    ("written", "per_s"),
    [("10/s", 10.0), ("100/m", 100 / 60), ("5.5/h", 5.5 / 3600), (10, 10.0), ("10", 10.0), (2.5, 2.5), ("1e2/s", 100.0),
     (None, 0.0), ("", 0.0), (0, 0.0), ("0", 0.0), ("10 / m", 10 / 60)],
)  # fmt: skip
def test_given_a_limit_as_celery_writes_it_when_read_then_it_is_calls_per_second(written: object, per_s: float) -> None:
    assert read_rate(written) == pytest.approx(per_s)


@pytest.mark.parametrize(
    "written", ["abc", "10/x", "5/", "-5/s", -3, math.inf, math.nan, "nan", True, [], "5/d", "/s", "1e-310", "1e-9/h"]
)
def test_given_what_is_no_limit_when_read_then_the_error_shows_it_and_says_what_to_write(written: object) -> None:
    with pytest.raises(ValueError, match="'10/s', '100/m', '5/h'") as caught:
        read_rate(written)
    assert repr(written) in str(caught.value)


@given(
    per_s=st.floats(0.001, 10_000.0),
    gaps=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=200),
)
def test_given_calls_at_any_times_when_judged_then_no_stretch_of_time_has_more_than_its_share(
    per_s: float, gaps: list[float]
) -> None:
    free = promised = 0.0
    now, began = 1000.0, list[float]()
    for gap in gaps:
        now += gap
        free, promised, verdict = judge(free, promised, per_s, now)
        if verdict.go:
            began.append(now)
    for first in range(len(began)):
        for last in range(first, len(began)):
            seconds = began[last] - began[first]
            assert last - first + 1 <= (seconds + BURST_S) * per_s + 1.0 + 1e-6


def test_given_a_slow_limit_when_five_come_at_once_then_they_take_four_intervals() -> None:
    free = promised = 0.0
    times = [100.0]
    free, promised, verdict = judge(free, promised, 1.0, 100.0)
    assert verdict.go
    for _ in range(4):
        free, promised, verdict = judge(free, promised, 1.0, 100.0)
        times.append(verdict.at)
    assert times == pytest.approx([100.0, 101.0, 102.0, 103.0, 104.0])


def test_given_those_that_come_back_at_their_times_when_judged_then_each_begins() -> None:
    free = promised = 0.0
    asked = [judge(0.0, 0.0, 10.0, 50.0)]
    for _ in range(20):
        asked.append(judge(asked[-1][0], asked[-1][1], 10.0, 50.0))
    free, promised, _ = asked[-1]
    for at in sorted(verdict.at for _, _, verdict in asked if not verdict.go):
        free, promised, verdict = judge(free, promised, 10.0, at + 0.003, returns=True)
        assert verdict.go


def test_given_more_than_fit_before_the_horizon_when_judged_then_the_rest_is_left_in_its_queue() -> None:
    free = promised = 0.0
    verdicts = []
    for _ in range(1000):
        free, promised, verdict = judge(free, promised, 1.0, 5.0)
        verdicts.append(verdict)
    near = [verdict.at for verdict in verdicts if not verdict.go and not verdict.far]
    assert max(near) - 5.0 == pytest.approx(horizon_s(1.0))
    assert {verdict.at for verdict in verdicts if verdict.far} == {6.0 + GRACE_S}


def test_given_what_is_left_in_its_queue_when_the_next_may_begin_late_or_soon_then_it_is_looked_at_in_between() -> None:
    assert judge(105.0, 605.0, 0.01, 10.0)[2] == (False, 10.0 + LOOK_AGAIN_S, True)
    assert judge(10.05, 70.0, 500.0, 10.0)[2] == (False, pytest.approx(10.05), True)
    assert judge(10.001, 70.0, 10.0, 10.0, returns=False)[2].at == pytest.approx(10.001 + GRACE_S)


def test_given_calls_that_were_promised_a_time_when_another_comes_then_they_are_before_it_for_a_moment() -> None:
    free, promised, verdict = judge(10.0, 11.0, 2.0, 10.01)
    assert not verdict.go
    assert judge(free, promised, 2.0, 10.01, returns=True)[2].go
    assert judge(free, promised, 2.0, 10.0 + GRACE_S, returns=False)[2].go


def test_given_a_limit_of_less_than_one_an_hour_when_two_come_then_the_second_has_its_time_though_it_is_far() -> None:
    free, promised, verdict = judge(0.0, 0.0, 0.5 / 3600, 5.0)
    assert verdict.go
    _, _, verdict = judge(free, promised, 0.5 / 3600, 5.0)
    assert (verdict.at, verdict.far) == (pytest.approx(7205.0), False)


@pytest.mark.parametrize("per_s", [0.01, 1.0, 100.0])
def test_given_times_of_another_limit_or_of_a_clock_that_was_set_back_when_judged_then_nobody_waits_for_them(
    per_s: float,
) -> None:
    interval = 1.0 / per_s
    _, _, verdict = judge(10_000.0, 0.0, per_s, 500.0)
    assert verdict.go or verdict.at == pytest.approx(500.0 + interval)
    _, promised, verdict = judge(500.0 + interval, 90_000.0, per_s, 500.0)
    assert not verdict.far
    assert promised <= 500.0 + 2 * interval
