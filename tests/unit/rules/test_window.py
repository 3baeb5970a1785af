from __future__ import annotations

import pytest

from sedano.rules.window import MAX_STASH, MAX_WINDOW, MEASURED_AFTER, RunTimes, choose_window, stash_target

WINDOW_S = 0.02


def test_given_no_measurement_then_the_call_gets_a_window_of_its_own():
    assert choose_window([None, 0.001], window_s=WINDOW_S) == 1


def test_given_short_calls_then_the_window_takes_as_many_as_fit_in_its_time():
    assert choose_window([0.005] * 10, window_s=WINDOW_S) == 4


def test_given_one_call_longer_than_the_window_then_it_is_alone():
    assert choose_window([1.0, 0.001], window_s=WINDOW_S) == 1


def test_given_an_unknown_call_behind_short_ones_then_the_window_ends_before_it():
    assert choose_window([0.001, 0.001, None, 0.001], window_s=WINDOW_S) == 2


def test_given_a_redelivery_then_it_shares_its_window_with_nobody():
    assert choose_window([0.001] * 3, window_s=WINDOW_S, redelivered=[True, False, False]) == 1
    assert choose_window([0.001] * 3, window_s=WINDOW_S, redelivered=[False, True, False]) == 1
    assert choose_window([0.001] * 3, window_s=WINDOW_S, redelivered=[False, False, True]) == 2


def test_given_an_empty_stash_then_there_is_no_window():
    assert choose_window([], window_s=WINDOW_S) == 0


def test_given_very_short_calls_then_the_window_has_a_cap():
    assert choose_window([1e-7] * 500, window_s=WINDOW_S) == MAX_WINDOW


def test_a_task_is_predicted_after_steady_runs_only():
    times = RunTimes()
    for _ in range(MEASURED_AFTER):
        assert times.predict("t") is None
        times.observe("t", 0.001)
    assert times.predict("t") == pytest.approx(0.001)


def test_given_a_run_far_longer_than_predicted_then_the_task_is_unmeasured_again():
    times = RunTimes()
    for _ in range(20):
        times.observe("t", 0.001)
    times.observe("t", 0.5)
    assert times.predict("t") is None


def test_given_a_no_op_that_takes_a_millisecond_once_then_the_prediction_stays():
    times = RunTimes()
    for _ in range(20):
        times.observe("t", 0.00001)
    times.observe("t", 0.001)
    assert times.predict("t") is not None


@pytest.mark.parametrize(
    ("mean_s", "cap", "expected"),
    [(None, None, 1), (0.0, None, MAX_STASH), (0.01, None, 4), (10.0, None, 1), (0.0001, 8, 7), (0.01, 1, 0), (None, 1, 0)],
)
def test_the_stash_is_measured_in_time_and_obeys_the_cap(mean_s: float | None, cap: int | None, expected: int):
    assert stash_target(mean_s, window_s=WINDOW_S, cap=cap) == expected
