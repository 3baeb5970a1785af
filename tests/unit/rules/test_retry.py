from __future__ import annotations

import itertools

import pytest

from sedano.rules.retry import backoff_countdown, publish_intervals, reconnect_intervals


def no_jitter(retries: int, factor: float = 1, maximum: float = 600) -> int:
    return backoff_countdown(retries, factor=factor, maximum=maximum, jitter=False, randrange=lambda n: 0)


def test_the_backoff_doubles_up_to_its_maximum():
    assert [no_jitter(n) for n in range(12)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]


def test_a_factor_multiplies_the_backoff():
    assert [no_jitter(n, factor=5, maximum=100) for n in range(6)] == [5, 10, 20, 40, 80, 100]


def test_an_absurd_number_of_retries_still_gives_the_maximum():
    assert no_jitter(10**6) == 600


def test_jitter_draws_from_zero_to_the_countdown_inclusive():
    drawn = []

    def randrange(n: int) -> int:
        drawn.append(n)
        return n - 1

    assert backoff_countdown(3, factor=1, maximum=600, jitter=True, randrange=randrange) == 8
    assert drawn == [9]


@pytest.mark.parametrize(
    ("policy", "waits"),
    [
        ({"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 1}, [0.0, 0.2, 0.4]),
        ({"max_retries": 0}, []),
        ({"max_retries": 4, "interval_start": 1, "interval_step": 2, "interval_max": 4}, [1, 3, 4, 4]),
    ],
)
def test_publish_waits_as_the_policy_says(policy, waits):
    assert list(publish_intervals(policy)) == pytest.approx(waits)


def test_a_policy_without_a_limit_tries_for_ever():
    assert len(list(itertools.islice(publish_intervals({"max_retries": None}), 500))) == 500


def test_a_worker_waits_two_seconds_more_each_time_up_to_thirty_two():
    assert list(itertools.islice(reconnect_intervals(), 18))[-3:] == [32.0, 32.0, 32.0]
    assert list(itertools.islice(reconnect_intervals(), 3)) == [2.0, 4.0, 6.0]
